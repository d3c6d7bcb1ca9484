//! A tenant's keys: create, read, list, change.

use model::{Generation, KeyId, ResourceName, UserId};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, UpdateMany,
};

use super::TenantStore;
use crate::bounds::KEYS;
use crate::change::{Change, Deed, Notice};
use crate::entity::api_key::{Column, Entity, Model};
use crate::generation::expect;
use crate::key_record::takes_power;
use crate::listing::{holds, page_size};
use crate::platform::last_admin::LastAdmin;
use crate::{Actor, Committed, KeyPage, KeyPatch, KeyRecord, NewKey, StoreError, TenantRecord};

impl TenantStore {
    /// The tenant's keys: every read starts here.
    pub(super) fn scoped_keys(&self) -> Select<Entity> {
        Entity::find().filter(self.own_keys())
    }

    /// Those that are neither revoked nor expired at `now`.
    pub(super) fn scoped_live_keys(&self, now: i64) -> Select<Entity> {
        Entity::find().filter(self.own_keys()).filter(live(now))
    }

    /// The same for writes.
    pub(super) fn scoped_key_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_keys())
    }

    /// The same for erasing.
    pub(super) fn scoped_key_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_keys())
    }

    fn own_keys(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    fn key_record(&self, row: Model) -> Result<KeyRecord, StoreError> {
        let record = KeyRecord::try_from(row)?;
        self.check(record.verifier.tenant)?;
        Ok(record)
    }

    /// Stores a key: `KeyTaken`, `QuotaKeys`, `NoUser`, or `CrossTenant` if the verifier names another
    /// tenant.
    pub async fn create_key(&self, actor: &Actor, new: NewKey) -> Result<Committed<KeyRecord>, StoreError> {
        self.check(new.verifier.tenant)?;
        let (change, tenant) = self.begin().await?;
        if let Some(user) = new.verifier.user {
            self.check_user_is(&change, user).await?;
        }
        let evidence = new.evidence;
        let record = KeyRecord::new(new, change.now);
        self.insert_key(&change, record.clone(), evidence).await?;
        self.commit_key(change, &tenant, actor, "key.create", None, record).await
    }

    /// Ids are unique over all tenants: a key is looked up before its tenant is known.
    pub(super) async fn insert_key(
        &self,
        change: &Change,
        record: KeyRecord,
        evidence: [u8; 32],
    ) -> Result<(), StoreError> {
        if self.scoped_live_keys(change.now).count(&change.tx).await? >= u64::from(KEYS) {
            return Err(StoreError::QuotaKeys { limit: KEYS });
        }
        let inserted = Entity::insert(record.into_row(evidence)).exec_without_returning(&change.tx).await;
        inserted.map(drop).map_err(|cause| match cause.sql_err() {
            Some(sea_orm::SqlErr::UniqueConstraintViolation(_)) => StoreError::KeyTaken,
            _ => cause.into(),
        })
    }

    /// A key, with its marks if it is revoked or expired.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        self.one_key(&self.store.inner.read, id).await
    }

    pub(super) async fn one_key(&self, db: &impl ConnectionTrait, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let row = self.scoped_keys().filter(Column::Id.eq(id.as_str())).one(db).await?;
        row.map(|row| self.key_record(row)).transpose()
    }

    /// Keys in the order of their making, revoked and expired ones with their marks.
    pub async fn keys(&self, page: KeyPage) -> Result<Vec<KeyRecord>, StoreError> {
        let mut query = self.scoped_keys();
        if let Some((made, id)) = page.after {
            let later = Condition::all().add(Column::CreatedAt.eq(made)).add(Column::Id.gt(id.as_str()));
            query = query.filter(Condition::any().add(Column::CreatedAt.gt(made)).add(later));
        }
        if let Some(user) = page.user {
            query = query.filter(Column::UserId.eq(user.0));
        }
        if let Some(wanted) = page.live {
            let live = live(self.store.now());
            query = query.filter(if wanted { live } else { live.not() });
        }
        if page.below_platform {
            query = query.filter(Column::Role.ne(model::KeyRole::PlatformAdmin.as_str()));
        }
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            query = query.filter(holds(self.backend(), &[Column::Label], &text));
        }
        let query = query.order_by_asc(Column::CreatedAt).order_by_asc(Column::Id).limit(page_size(page.limit));
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.key_record(row)).collect()
    }

    /// Changes a live key; `KeyEnded` for one that is revoked or expired. With `expected`, only at that
    /// generation, else `Stale`.
    pub async fn patch_key(
        &self,
        actor: &Actor,
        id: KeyId,
        expected: Option<Generation>,
        patch: KeyPatch,
    ) -> Result<Committed<KeyRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.live_key_at(&change, id, expected).await?;
        let mut after = before.patched(patch);
        if after == before {
            return change.nothing(before).await;
        }
        let last_admin = LastAdmin::look(&self.store, &change).await?;
        self.write_key(&change, &mut after).await?;
        last_admin.stays(&change).await?;
        self.commit_key(change, &tenant, actor, "key.change", Some(before), after).await
    }

    /// A key that has not ended: one that has is never changed again, so nothing dead comes back.
    pub(super) async fn live_key_at(
        &self,
        change: &Change,
        id: KeyId,
        expected: Option<Generation>,
    ) -> Result<KeyRecord, StoreError> {
        let record = self.one_key(&change.tx, id).await?.ok_or(StoreError::NotFound)?;
        expect(record.generation, expected)?;
        if record.is_live(change.now) { Ok(record) } else { Err(StoreError::KeyEnded) }
    }

    /// Writes what may change of a key, one generation on. The change holds the writers' turn, so the
    /// row is where it was read.
    pub(super) async fn write_key(&self, change: &Change, after: &mut KeyRecord) -> Result<(), StoreError> {
        after.generation = Generation(after.generation.0 + 1);
        self.scoped_key_update()
            .set(after.clone().into_changes())
            .filter(Column::Id.eq(after.verifier.id.as_str()))
            .exec(&change.tx)
            .await?;
        Ok(())
    }

    /// What proxies are told of a key that has changed.
    pub(super) async fn key_notice(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        before: Option<&KeyRecord>,
        after: &KeyRecord,
    ) -> Result<Notice, StoreError> {
        let bound = if tenant.is_live() { self.bound_of(&change.tx, after).await? } else { None };
        let opened = before.and_then(|key| key.verifier_within(bound, change.now));
        let opens = after.verifier_within(bound, change.now);
        let urgent = takes_power(opened.as_ref(), opens.as_ref());
        Ok(self.notice(ResourceName::Key(after.verifier.id), opens.is_some(), urgent))
    }

    pub(super) async fn commit_key(
        &self,
        change: Change,
        tenant: &TenantRecord,
        actor: &Actor,
        action: &'static str,
        before: Option<KeyRecord>,
        after: KeyRecord,
    ) -> Result<Committed<KeyRecord>, StoreError> {
        let notice = self.key_notice(&change, tenant, before.as_ref(), &after).await?;
        let deed = Deed {
            tenant: Some(self.tenant),
            action,
            object: notice.name.to_string(),
            before: before.map(|record| record.redacted()),
            after: Some(after.redacted()),
        };
        change.commit(actor, deed, [notice], after).await
    }

    /// Live keys at `now`: of a user, or of the whole tenant.
    pub(super) async fn live_keys(
        &self,
        db: &impl ConnectionTrait,
        user: Option<UserId>,
        now: i64,
    ) -> Result<Vec<KeyRecord>, StoreError> {
        let mut query = self.scoped_live_keys(now);
        if let Some(user) = user {
            query = query.filter(Column::UserId.eq(user.0));
        }
        query.all(db).await?.into_iter().map(|row| self.key_record(row)).collect()
    }
}

/// Neither revoked nor expired at `now`.
pub(crate) fn live(now: i64) -> Condition {
    let unexpired = Condition::any().add(Column::ExpiresAt.is_null()).add(Column::ExpiresAt.gt(now));
    Condition::all().add(Column::RevokedAt.is_null()).add(unexpired)
}
