//! Tenants: create, list, find.

use model::{ResourceName, TenantId};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder};

use super::PlatformStore;
use crate::change::{Change, Deed, Notice};
use crate::entity::tenant::{Column, Entity};
use crate::{Actor, Committed, NewTenant, StoreError, TenantRecord};

impl PlatformStore {
    /// Makes a tenant, or `NameTaken`.
    pub async fn create_tenant(&self, actor: &Actor, new: NewTenant) -> Result<Committed<TenantRecord>, StoreError> {
        let change = Change::begin(&self.store).await?;
        if Entity::find().filter(Column::Name.eq(new.name.as_str())).count(&change.tx).await? > 0 {
            return Err(StoreError::NameTaken);
        }
        let record = TenantRecord::new(new, change.now);
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        let name = ResourceName::Tenant(record.spec.id);
        let deed = Deed {
            tenant: Some(record.spec.id),
            action: "tenant.create",
            object: name.to_string(),
            before: None,
            after: Some(record.redacted()),
        };
        let notice = Notice { tenant: Some(record.spec.id), name, removed: false, urgent: false };
        change.commit(actor, deed, [notice], record).await
    }

    /// All tenants in the order of their making.
    pub async fn tenants(&self) -> Result<Vec<TenantRecord>, StoreError> {
        let rows = Entity::find().order_by_asc(Column::Id).all(&self.store.inner.read).await?;
        rows.into_iter().map(TenantRecord::try_from).collect()
    }

    /// A tenant by its id.
    pub async fn tenant(&self, id: TenantId) -> Result<Option<TenantRecord>, StoreError> {
        let row = Entity::find_by_id(id.0).one(&self.store.inner.read).await?;
        row.map(TenantRecord::try_from).transpose()
    }

    /// A tenant by its slug.
    pub async fn tenant_by_name(&self, name: &str) -> Result<Option<TenantRecord>, StoreError> {
        let row = Entity::find().filter(Column::Name.eq(name)).one(&self.store.inner.read).await?;
        row.map(TenantRecord::try_from).transpose()
    }
}
