//! The database: what should be, who changed it, and what proxies must still be told.
//!
//! Start with [`Store`], then [`TenantStore`]: there is no other way to a tenant's data, so forgetting
//! the tenant is not expressible. [`PlatformStore`] has what belongs to no tenant, the look-up that
//! authenticates a key, and the whole intended state for the fleet.
//!
//! Every change goes through `change`: record, revision, audit row and outbox row commit in one
//! transaction. This crate knows nothing of HTTP, proxies or keys' plain text.

mod actor;
mod change;
mod connect;
mod entity;
mod error;
mod key_record;
mod platform;
mod row_text;
mod server_record;
mod tenant;
mod tenant_record;

use std::sync::Arc;

use model::{Clock, Revision, TenantId};
use sea_orm::DatabaseConnection;
use tokio::sync::watch;

pub use self::actor::Actor;
pub use self::change::Committed;
pub use self::error::StoreError;
pub use self::key_record::{KeyRecord, NewKey};
pub use self::platform::PlatformStore;
pub use self::platform::idempotency::{Claim, Place, Seen, StoredAnswer};
pub use self::platform::outbox::OutboxRow;
pub use self::platform::proxy_status::ProxyStatus;
pub use self::server_record::{NewServer, Page, ServerPatch, ServerRecord};
pub use self::tenant::TenantStore;
pub use self::tenant::audit::AuditRow;
pub use self::tenant_record::{NewTenant, TenantRecord};

/// The database, shared by clones.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// On SQLite one connection: writers take turns here instead of failing there.
    write: DatabaseConnection,
    /// On SQLite connections that can't write; on PostgreSQL the same pool.
    read: DatabaseConnection,
    clock: Arc<dyn Clock>,
    /// Written after every commit, by `change` and by `raise_epoch`.
    changes: watch::Sender<Revision>,
}

impl Store {
    /// The one handle to the data of `tenant`.
    pub fn tenant(&self, tenant: TenantId) -> TenantStore {
        TenantStore::new(self.clone(), tenant)
    }

    /// What belongs to no tenant.
    pub fn platform(&self) -> PlatformStore {
        PlatformStore::new(self.clone())
    }

    /// Wakes after every commit of this process that changed intended state. A hint: the truth is
    /// [`PlatformStore::revision`].
    pub fn changes(&self) -> watch::Receiver<Revision> {
        self.inner.changes.subscribe()
    }

    /// Waits for what is under way and closes the connections.
    pub async fn close(self) -> Result<(), StoreError> {
        self.inner.write.close_by_ref().await?;
        self.inner.read.close_by_ref().await?;
        Ok(())
    }

    pub(crate) fn now(&self) -> i64 {
        self.inner.clock.now_micros()
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}
