//! Tenants: create, find, list, change.

use model::{Generation, ResourceName, TenantId};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};

use super::PlatformStore;
use crate::change::{Change, Deed, Notice};
use crate::entity::tenant::{Column, Entity};
use crate::generation::expect;
use crate::listing::{holds, page_size};
use crate::platform::last_admin::LastAdmin;
use crate::{Actor, Committed, NewTenant, StoreError, TenantPage, TenantPatch, TenantRecord};

impl PlatformStore {
    /// Makes a tenant, or `NameTaken`: a deleted one keeps its name until it is purged.
    pub async fn create_tenant(&self, actor: &Actor, new: NewTenant) -> Result<Committed<TenantRecord>, StoreError> {
        let change = Change::begin(&self.store).await?;
        if Entity::find().filter(Column::Name.eq(new.name.as_str())).count(&change.tx).await? > 0 {
            return Err(StoreError::NameTaken);
        }
        let record = TenantRecord::new(new, change.now);
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        let notice = notice(&record);
        change.commit(actor, deed("tenant.create", None, Some(&record)), [notice], record).await
    }

    /// Tenants in the order of their making.
    pub async fn tenants(&self, page: TenantPage) -> Result<Vec<TenantRecord>, StoreError> {
        let those = if page.deleted { tombstones() } else { live() };
        let mut query = those.order_by_asc(Column::Id).limit(page_size(page.limit));
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        if let Some(active) = page.active {
            query = query.filter(Column::Active.eq(active));
        }
        let db = &self.store.inner.read;
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            query = query.filter(holds(db.get_database_backend(), &[Column::Name, Column::Title], &text));
        }
        query.all(db).await?.into_iter().map(TenantRecord::try_from).collect()
    }

    /// A tenant that is not deleted, by its id.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<TenantRecord>, StoreError> {
        one(&self.store.inner.read, live().filter(Column::Id.eq(id.0))).await
    }

    /// A tenant that is not deleted, by its slug.
    pub async fn tenant_by_name(&self, name: &str) -> Result<Option<TenantRecord>, StoreError> {
        one(&self.store.inner.read, live().filter(Column::Name.eq(name))).await
    }

    /// A deleted tenant that was not purged yet.
    pub async fn deleted_tenant(&self, id: TenantId) -> Result<Option<TenantRecord>, StoreError> {
        one(&self.store.inner.read, tombstones().filter(Column::Id.eq(id.0))).await
    }

    /// A deleted tenant that was not purged yet, by its slug: names are unique among tombstones too.
    pub async fn deleted_tenant_by_name(&self, name: &str) -> Result<Option<TenantRecord>, StoreError> {
        one(&self.store.inner.read, tombstones().filter(Column::Name.eq(name))).await
    }

    /// Changes a tenant. With `expected`, only at that generation, else `Stale`. An inactive tenant's
    /// keys and servers leave proxies urgently, so does an authorization server that is off, and what people let clients
    /// do who signed in with passwords, where these don't count any more. `LastAdmin` if nobody could administer the
    /// platform then.
    pub async fn patch_tenant(
        &self,
        actor: &Actor,
        id: TenantId,
        expected: Option<Generation>,
        patch: TenantPatch,
    ) -> Result<Committed<TenantRecord>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let before = tenant_at(&change, live(), id, expected).await?;
        let after = before.patched(patch);
        if after == before {
            return change.nothing(before).await;
        }
        self.write_and_commit_tenant(change, actor, "tenant.change", before, after).await
    }

    /// Writes every column, one generation on, if the row is where it was read, and commits unless that
    /// leaves no platform admin.
    pub(super) async fn write_and_commit_tenant(
        &self,
        change: Change,
        actor: &Actor,
        action: &'static str,
        before: TenantRecord,
        mut after: TenantRecord,
    ) -> Result<Committed<TenantRecord>, StoreError> {
        let last_admin = LastAdmin::look(&self.store, &change).await?;
        let current = before.generation;
        after.generation = Generation(current.0 + 1);
        after.updated_at = change.now;
        let written = Entity::update_many()
            .set(after.clone().into_row())
            .filter(Column::Id.eq(after.spec.id.0))
            .filter(Column::Generation.eq(current.0))
            .exec(&change.tx)
            .await?;
        if written.rows_affected != 1 {
            return Err(StoreError::Stale { current });
        }
        last_admin.stays(&change).await?;
        let tenant = self.store.tenant(after.spec.id);
        let mut revoked = Vec::new();
        if before.local_accounts && !after.local_accounts {
            revoked = tenant.close_way(&change, &after, None).await?;
        }
        let notices = if before.is_live() == after.is_live() {
            let closed = before.spec.authorization_server && !after.spec.authorization_server;
            revoked.push(Notice { urgent: closed, ..notice(&after) });
            revoked
        } else {
            // Of which those that were just revoked are some.
            tenant.notices_of_all(&change, after.is_live()).await?
        };
        if after.deleted_at.is_some() {
            tenant.shred(&change).await?;
        }
        change.commit(actor, deed(action, Some(&before), Some(&after)), notices, after).await
    }
}

/// Tenants that are not deleted.
pub(super) fn live() -> Select<Entity> {
    Entity::find().filter(Column::DeletedAt.is_null())
}

/// Deleted tenants.
pub(super) fn tombstones() -> Select<Entity> {
    Entity::find().filter(Column::DeletedAt.is_not_null())
}

async fn one(db: &impl ConnectionTrait, query: Select<Entity>) -> Result<Option<TenantRecord>, StoreError> {
    query.one(db).await?.map(TenantRecord::try_from).transpose()
}

pub(super) async fn tenant_at(
    change: &Change,
    those: Select<Entity>,
    id: TenantId,
    expected: Option<Generation>,
) -> Result<TenantRecord, StoreError> {
    let record = one(&change.tx, those.filter(Column::Id.eq(id.0))).await?.ok_or(StoreError::NotFound)?;
    expect(record.generation, expected)?;
    Ok(record)
}

/// What proxies are told of the tenant alone.
fn notice(record: &TenantRecord) -> Notice {
    let id = record.spec.id;
    Notice { tenant: Some(id), name: ResourceName::Tenant(id), removed: !record.is_live(), urgent: false }
}

/// What the audit says of a tenant; one that is deleted has nothing after.
pub(super) fn deed(action: &'static str, before: Option<&TenantRecord>, after: Option<&TenantRecord>) -> Deed {
    let id = after.or(before).map(|record| record.spec.id);
    Deed {
        tenant: id,
        action,
        object: id.map(|id| ResourceName::Tenant(id).to_string()).unwrap_or_default(),
        before: before.map(TenantRecord::redacted),
        after: after.filter(|record| record.deleted_at.is_none()).map(TenantRecord::redacted),
    }
}
