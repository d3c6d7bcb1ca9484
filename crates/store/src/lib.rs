//! The database: what should be, who changed it, and what proxies must still be told.
//!
//! Start with [`Store`], then [`TenantStore`]: there is no other way to a tenant's data, so forgetting
//! the tenant is not expressible. [`PlatformStore`] has what belongs to no tenant, the look-up that
//! authenticates a key, and the whole intended state for the fleet.
//!
//! Every change goes through `change`: record, revision, audit row and outbox row commit in one
//! transaction. This crate knows nothing of HTTP, proxies or keys' plain text.

mod actor;
mod bounds;
mod change;
mod client_record;
mod code_record;
mod connect;
mod connection_record;
mod department_record;
mod dependencies;
mod egress_rule_record;
mod entity;
mod error;
mod generation;
mod grant_record;
mod hints;
mod issuer_record;
mod key_record;
mod listing;
mod platform;
mod restored;
mod row_text;
mod server_record;
mod session_record;
mod tally;
mod tenant;
mod tenant_record;
mod timed;
mod toolset_record;
mod user_record;

use std::sync::Arc;

use model::{Clock, Revision, TenantId};
use sea_orm::DatabaseConnection;
use tokio::sync::watch;

use self::hints::Heard;
use self::timed::Timed;

pub use self::actor::Actor;
pub use self::change::Committed;
pub use self::client_record::{ClientKind, ClientRecord};
pub use self::code_record::{Code, CodeTaken, NewCode};
pub use self::connection_record::{
    ConnectionHealth, ConnectionPage, ConnectionPatch, ConnectionRecord, ConnectionSummary, CredentialChange,
    LastError, LeaseOutcome, NewConnection, NewCredential, PutLogin, PutToken, Reference, Verdict,
};
pub use self::department_record::{DepartmentPage, DepartmentPatch, DepartmentRecord, NewDepartment};
pub use self::dependencies::{Dependencies, KeyReference};
pub use self::egress_rule_record::{EgressRulePage, EgressRuleRecord, NewEgressRule};
pub use self::error::StoreError;
pub use self::grant_record::{GRANT_IDLE, GRANT_LIFE, GrantPage, GrantRecord, NewGrant, Rotation};
pub use self::hints::Hint;
pub use self::issuer_record::{FetchedKeys, IssuerPage, IssuerPatch, IssuerRecord, NewIssuer};
pub use self::key_record::{KeyPage, KeyPatch, KeyRecord, KeyRotation, LiveKey, MAX_GRACE, NewKey, Rotated};
pub use self::platform::PlatformStore;
pub use self::platform::attempts::{Attempt, NewAttempt};
pub use self::platform::commands::{AskedCommand, OpenCommand};
pub use self::platform::idempotency::{Claim, Place, Seen, StoredAnswer};
pub use self::platform::intended::{Commit, IntendedState, Tail, Unreadable};
pub use self::platform::outbox::OutboxRow;
pub use self::platform::proxy_status::ProxyStatus;
pub use self::platform::purge::{Purged, Retention};
pub use self::platform::sealed_values::{Resealed, SealedPage, SealedValue};
pub use self::platform::signers::SignerRow;
pub use self::platform::tenant_keys::{KeyState, NewTenantKey, TenantKey};
pub use self::platform::vault_jobs::{JobState, VaultJob};
pub use self::restored::Restored;
pub use self::server_record::{
    NewServer, SecretChange, ServerAuth, ServerLimitsPatch, ServerPage, ServerPatch, ServerRecord,
};
pub use self::session_record::{LiveSession, NewSession, SessionPage, SessionRecord};
pub use self::tally::{Pool, STATEMENT_SECONDS, Tally};
pub use self::tenant::TenantStore;
pub use self::tenant::audit::{AuditPage, AuditRow};
pub use self::tenant::login_attempts::{LoginAttempt, LoginOutcome, LoginState, NewLoginAttempt};
pub use self::tenant::manifests::Manifest;
pub use self::tenant::upstream_clients::{NewUpstreamClient, UpstreamClient, UpstreamMetadata};
pub use self::tenant_record::{LimitsPatch, NewTenant, TenantPage, TenantPatch, TenantRecord};
pub use self::toolset_record::{NewToolset, ToolsetPage, ToolsetPatch, ToolsetRecord};
pub use self::user_record::{Membership, NewUser, UserPage, UserPatch, UserRecord};

/// The database, shared by clones.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    /// On SQLite one connection: writers take turns here instead of failing there.
    write: Timed<DatabaseConnection>,
    /// On SQLite connections that can't write.
    read: Timed<DatabaseConnection>,
    clock: Arc<dyn Clock>,
    /// Written after every commit, by `change` and by `raise_epoch`.
    changes: watch::Sender<Revision>,
    /// What other processes have hinted at.
    heard: Heard,
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

    /// What the database was asked, and how it went.
    pub fn tally(&self) -> &Tally {
        self.inner.write.tally()
    }

    /// How full the pools are: the one for writing and the one for reading.
    pub fn pools(&self) -> [Pool; 2] {
        let Inner { write, read, .. } = &*self.inner;
        [Pool::of("write", write.untimed()), Pool::of("read", read.untimed())]
    }

    /// Waits for what is under way and closes the connections.
    pub async fn close(self) -> Result<(), StoreError> {
        self.inner.write.close().await?;
        self.inner.read.close().await?;
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
