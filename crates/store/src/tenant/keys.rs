//! A tenant's keys: create, list, revoke, mark as used.

use model::{KeyId, ResourceName};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
    Select, UpdateMany,
};

use super::TenantStore;
use crate::change::{Change, Deed, Notice};
use crate::entity::api_key::{ActiveModel, Column, Entity, Model};
use crate::{Actor, Committed, KeyRecord, NewKey, StoreError};

/// The most keys of one tenant, revoked ones included. Bounds the list and what proxies hold.
const MAX_KEYS: u32 = 10_000;

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

    fn key_record(&self, row: Model) -> Result<KeyRecord, StoreError> {
        let record = KeyRecord::try_from(row)?;
        self.check(record.verifier.tenant)?;
        Ok(record)
    }

    /// Stores a key: `KeyTaken`, `Quota`, or `CrossTenant` if the verifier names another tenant.
    pub async fn create_key(&self, actor: &Actor, new: NewKey) -> Result<Committed<KeyRecord>, StoreError> {
        self.check(new.verifier.tenant)?;
        let change = Change::begin(&self.store).await?;
        self.limits(&change.tx).await?;
        if self.scoped_keys().count(&change.tx).await? >= u64::from(MAX_KEYS) {
            return Err(StoreError::Quota { limit: MAX_KEYS });
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

    /// All keys, oldest first; revoked and expired ones with their marks.
    pub async fn keys(&self) -> Result<Vec<KeyRecord>, StoreError> {
        let query =
            self.scoped_keys().order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).limit(u64::from(MAX_KEYS));
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.key_record(row)).collect()
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
            tenant: self.tenant,
            name,
            removed: !after.is_intended(change.now),
            urgent: after.revoked_at.is_some(),
        };
        change.commit(actor, deed, notice, after).await
    }
}
