//! The tenant's own record.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, Select};

use super::TenantStore;
use crate::entity::tenant::{Column, Entity};
use crate::{StoreError, TenantRecord};

impl TenantStore {
    fn scoped_tenant(&self) -> Select<Entity> {
        Entity::find_by_id(self.tenant.0).filter(Column::DeletedAt.is_null())
    }

    /// The tenant itself, unless it is deleted.
    pub async fn tenant(&self) -> Result<Option<TenantRecord>, StoreError> {
        self.own_record(&self.store.inner.read).await
    }

    pub(crate) async fn own_record(&self, db: &impl ConnectionTrait) -> Result<Option<TenantRecord>, StoreError> {
        let record = self.scoped_tenant().one(db).await?.map(TenantRecord::try_from).transpose()?;
        if let Some(record) = &record {
            self.check(record.spec.id)?;
        }
        Ok(record)
    }
}
