//! The handle to one tenant's data.
//!
//! Everything on tenant data is an `impl TenantStore` in `tenant/*.rs`; every query there begins with
//! the `scoped_…` function of its entity, which filters by the handle's tenant, and every row leaves
//! through a mapper that checks the tenant once more.

pub(crate) mod audit;
mod bound;
mod clients;
mod codes;
pub(crate) mod connection_tokens;
mod connections;
mod departments;
mod erase;
pub(crate) mod grants;
mod issuer_keys;
mod issuers;
mod key_life;
pub(crate) mod keys;
mod liveness;
pub(crate) mod login_attempts;
pub(crate) mod manifests;
mod memberships;
mod own;
mod passwords;
mod refresh_tokens;
mod server_life;
mod servers;
mod sessions;
mod sign_in;
mod sign_in_links;
#[cfg(test)]
mod tests;
mod tools;
mod toolsets;
pub(crate) mod upstream_clients;
mod user_life;
mod users;

use model::{ResourceName, TenantId};
use sea_orm::DbBackend;

use crate::change::{Change, Notice};
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

    /// Begins a change of the tenant's data; `NotFound` for a tenant that isn't or that is deleted.
    async fn begin(&self) -> Result<(Change, TenantRecord), StoreError> {
        let change = Change::begin(&self.store).await?;
        let tenant = self.own_record(&change.tx).await?.ok_or(StoreError::NotFound)?;
        Ok((change, tenant))
    }

    fn backend(&self) -> DbBackend {
        self.store.inner.read.get_database_backend()
    }

    /// What proxies are told of one of the tenant's resources.
    fn notice(&self, name: ResourceName, intended: bool, urgent: bool) -> Notice {
        Notice { tenant: Some(self.tenant), name, removed: !intended, urgent }
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
