//! What belongs to no tenant, and the two doors that must see all tenants: the look-up that
//! authenticates a key, and the whole intended state for the fleet.

pub(crate) mod idempotency;
mod intended;
mod keys;
pub(crate) mod outbox;
pub(crate) mod proxy_status;
mod revision;
mod sealed;
mod tenants;

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
