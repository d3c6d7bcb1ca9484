//! The handle to one tenant's data.
//!
//! Everything on tenant data is an `impl TenantStore` in `tenant/*.rs`; every query there begins with
//! the `scoped_…` function of its entity, which filters by the handle's tenant, and every row leaves
//! through a mapper that checks the tenant once more.

pub(crate) mod audit;
mod keys;
mod servers;

use model::{Limits, TenantId};
use sea_orm::{ConnectionTrait, EntityTrait, Select};

use crate::entity::tenant;
use crate::{Store, StoreError, TenantRecord};

/// One tenant's data. Another tenant's ids are unknown here.
#[derive(Debug, Clone)]
pub struct TenantStore {
    store: Store,
    tenant: TenantId,
}

impl TenantStore {
    pub(crate) fn new(store: Store, tenant: TenantId) -> Self {
        Self { store, tenant }
    }

    /// Whose data this is.
    pub fn id(&self) -> TenantId {
        self.tenant
    }

    fn scoped_tenant(&self) -> Select<tenant::Entity> {
        tenant::Entity::find_by_id(self.tenant.0)
    }

    /// The tenant's limits; `NotFound` for a tenant that isn't.
    async fn limits(&self, db: &impl ConnectionTrait) -> Result<Limits, StoreError> {
        let row = self.scoped_tenant().one(db).await?.ok_or(StoreError::NotFound)?;
        Ok(TenantRecord::try_from(row)?.spec.limits)
    }

    /// The canary: a row of another tenant here means that a query forgot its filter.
    fn check(&self, tenant: TenantId) -> Result<(), StoreError> {
        if tenant == self.tenant {
            return Ok(());
        }
        tracing::error!(expected = %self.tenant, found = %tenant, "a row of another tenant was stopped");
        Err(StoreError::CrossTenant)
    }
}
