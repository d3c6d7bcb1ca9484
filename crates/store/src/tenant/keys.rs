//! A tenant's keys: create, list, revoke, mark as used.

use model::{KeyId, ResourceName};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select, UpdateMany,
};

use super::TenantStore;
use crate::change::{Change, Deed, Notice};
use crate::entity::api_key::{ActiveModel, Column, Entity, Model};
use crate::{Actor, Committed, KeyRecord, NewKey, StoreError};

/// The most live keys of one tenant: bounds what proxies hold. The list has as many rows at most.
const MAX_KEYS: u32 = if cfg!(test) { 3 } else { 10_000 };

impl TenantStore {
    /// The tenant's keys: every read starts here.
    fn scoped_keys(&self) -> Select<Entity> {
        Entity::find().filter(self.own_keys())
    }

    /// The same for writes.
    fn scoped_key_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_keys())
    }

    fn own_keys(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    /// Neither revoked nor expired at `now`.
    fn live(now: i64) -> Condition {
        let unexpired = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now));
        Condition::all().add(Column::RevokedAt.is_null()).add(unexpired)
    }

    fn key_record(&self, row: Model) -> Result<KeyRecord, StoreError> {
        let record = KeyRecord::try_from(row)?;
        self.check(record.verifier.tenant)?;
        Ok(record)
    }

    /// Stores a key: `KeyTaken`, `QuotaKeys`, or `CrossTenant` if the verifier names another tenant.
    pub async fn create_key(&self, actor: &Actor, new: NewKey) -> Result<Committed<KeyRecord>, StoreError> {
        self.check(new.verifier.tenant)?;
        let change = Change::begin(&self.store).await?;
        self.limits(&change.tx).await?;
        if self.scoped_keys().filter(Self::live(change.now)).count(&change.tx).await? >= u64::from(MAX_KEYS) {
            return Err(StoreError::QuotaKeys { limit: MAX_KEYS });
        }
        let record = KeyRecord {
            verifier: new.verifier,
            label: new.label,
            created_at: change.now,
            revoked_at: None,
            last_used_at: None,
        };
        // Ids are unique over all tenants: a key is looked up before its tenant is known.
        let inserted = Entity::insert(record.clone().into_row(new.evidence)).exec_without_returning(&change.tx).await;
        inserted.map_err(|cause| match cause.sql_err() {
            Some(sea_orm::SqlErr::UniqueConstraintViolation(_)) => StoreError::KeyTaken,
            Some(sea_orm::SqlErr::ForeignKeyConstraintViolation(_)) => StoreError::NotFound,
            _ => cause.into(),
        })?;
        self.commit_key(change, actor, "key.create", None, record).await
    }

    /// Keys, oldest first, revoked and expired ones with their marks: all live ones, and of the others
    /// the newest that there is room for in 10,000.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let live_first: Expr = Expr::case(Self::live(self.store.now()), 0).finally(1).into();
        let query = self.scoped_keys().order_by_asc(live_first).order_by_desc(Column::CreatedAt);
        let rows = query.limit(u64::from(MAX_KEYS)).all(&self.store.inner.read).await?;
        let mut keys = rows.into_iter().map(|row| self.key_record(row)).collect::<Result<Vec<_>, _>>()?;
        keys.sort_by_key(|key| (key.created_at, key.verifier.id));
        Ok(keys)
    }

    /// Revokes a key, urgently. Revoking it again changes nothing.
    pub async fn revoke_key(&self, actor: &Actor, id: KeyId) -> Result<Committed<()>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let query = self.scoped_keys().filter(Column::Id.eq(id.as_str()));
        let row = query.one(&change.tx).await?.ok_or(StoreError::NotFound)?;
        let before = self.key_record(row)?;
        if before.revoked_at.is_some() {
            return change.nothing(()).await;
        }
        let after = KeyRecord { revoked_at: Some(change.now), ..before.clone() };
        self.scoped_key_update()
            .set(ActiveModel { revoked_at: Set(after.revoked_at), ..Default::default() })
            .filter(Column::Id.eq(id.as_str()))
            .exec(&change.tx)
            .await?;
        let committed = self.commit_key(change, actor, "key.revoke", Some(before), after).await?;
        Ok(Committed { value: (), revision: committed.revision })
    }

    /// Notes that a key was used at `at` (microseconds since 1970). Never moves back; an unknown key is
    /// ignored. No change of intended state, so no revision and no audit row.
    pub async fn key_used(&self, id: KeyId, at: i64) -> Result<(), StoreError> {
        self.scoped_key_update()
            .set(ActiveModel { last_used_at: Set(Some(at)), ..Default::default() })
            .filter(Column::Id.eq(id.as_str()))
            .filter(Condition::any().add(Column::LastUsedAt.is_null()).add(Column::LastUsedAt.lt(at)))
            .exec(&self.store.inner.write)
            .await?;
        Ok(())
    }

    async fn commit_key(
        &self,
        change: Change,
        actor: &Actor,
        action: &'static str,
        before: Option<KeyRecord>,
        after: KeyRecord,
    ) -> Result<Committed<KeyRecord>, StoreError> {
        let name = ResourceName::Key(after.verifier.id);
        let deed = Deed {
            tenant: Some(self.tenant),
            action,
            object: name.to_string(),
            before: before.map(|record| record.redacted()),
            after: Some(after.redacted()),
        };
        let notice = Notice {
            tenant: Some(self.tenant),
            name,
            removed: !after.is_intended(change.now),
            urgent: after.revoked_at.is_some(),
        };
        change.commit(actor, deed, [notice], after).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{KeyRole, KeyVerifier, Limits, ManualClock};

    use super::*;
    use crate::{NewTenant, Store};

    #[tokio::test]
    async fn only_live_keys_count_and_none_of_them_is_left_off_the_list() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db?mode=rwc", folder.path().display());
        let clock = Arc::new(ManualClock::at(1));
        let store = Store::connect(&url, clock.clone()).await.unwrap();
        let actor = Actor::system("test");
        let new = NewTenant { name: "acme".parse().unwrap(), title: "Acme".to_owned(), limits: Limits::default() };
        let tenant = store.platform().create_tenant(&actor, new).await.unwrap().value.spec.id;
        let tenant = store.tenant(tenant);
        let id = |number: u32| -> KeyId { format!("key{number:013}").parse().unwrap() };
        let create = async |number: u32, expires_at: Option<i64>| {
            clock.advance_micros(1);
            let verifier = KeyVerifier {
                id: id(number),
                tenant: tenant.id(),
                user: None,
                role: KeyRole::User,
                sha256: [0; 32],
                servers: None,
                expires_at,
            };
            let new = NewKey { verifier, evidence: [0; 32], label: String::new() };
            tenant.create_key(&actor, new).await.map(drop)
        };
        create(0, None).await.unwrap();
        create(1, Some(50)).await.unwrap();
        create(2, None).await.unwrap();
        assert!(matches!(create(3, None).await, Err(StoreError::QuotaKeys { limit: 3 })));
        tenant.revoke_key(&actor, id(2)).await.unwrap();
        create(4, None).await.unwrap();
        clock.advance_micros(50);
        create(5, None).await.unwrap();
        assert!(matches!(create(6, None).await, Err(StoreError::QuotaKeys { limit: 3 })));
        let listed: Vec<_> = tenant.keys().await.unwrap().into_iter().map(|key| key.verifier.id).collect();
        assert_eq!(listed, [id(0), id(4), id(5)]);
    }
}
