//! What belongs to no tenant, and the two doors that must see all tenants: the look-up that
//! authenticates a key, and the whole intended state for the fleet.

pub(crate) mod attempts;
pub(crate) mod commands;
mod egress_rules;
mod grants;
pub(crate) mod idempotency;
pub(crate) mod intended;
mod issuers;
mod keys;
pub(crate) mod last_admin;
pub(crate) mod outbox;
pub(crate) mod proxy_status;
pub(crate) mod purge;
mod revision;
mod sealed;
pub(crate) mod sealed_values;
mod sessions;
mod sign_in_links;
pub(crate) mod signers;
pub(crate) mod tenant_keys;
mod tenant_life;
mod tenants;
pub(crate) mod vault_jobs;

use crate::Store;

/// The platform's own data.
#[derive(Debug, Clone)]
pub struct PlatformStore {
    store: Store,
}

impl PlatformStore {
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }
}
