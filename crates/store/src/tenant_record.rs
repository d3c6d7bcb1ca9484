//! A tenant as it is stored, created and changed; and its row.

use std::time::Duration;

use model::{Generation, Limits, TenantId, TenantName, TenantSpec};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::tenant;
use crate::row_text::Settings;
use crate::{StoreError, row_text};

/// A tenant record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// What proxies hold.
    pub spec: TenantSpec,
    /// Free text for people.
    pub title: String,
    /// The pools of proxies that may have it.
    pub pools: Vec<String>,
    /// How long proxies may use header lines while control is away, in whole seconds; none: only while it answers.
    pub max_stale_credential: Duration,
    /// Whether its users may sign in with a password that Gatehouse keeps.
    pub local_accounts: bool,
    /// Whether its keys open anything and its servers are mounted.
    pub active: bool,
    /// Raised by every change of the record.
    pub generation: Generation,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// Microseconds since 1970; a record with this set is a tombstone.
    pub deleted_at: Option<i64>,
}

/// A tenant to be made. Its id is given by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// Unique among all tenants, deleted ones included: it stands in URLs, and nobody may inherit them
    /// before the old tenant is purged.
    pub name: TenantName,
    /// Free text for people.
    pub title: String,
    /// What it may use.
    pub limits: Limits,
    /// See [`TenantRecord::pools`].
    pub pools: Vec<String>,
    /// How long proxies may serve it without hearing of control, in whole seconds; `None` for ever.
    pub stale_after: Option<Duration>,
    /// See [`TenantRecord::max_stale_credential`].
    pub max_stale_credential: Duration,
    /// See [`TenantSpec::authorization_server`].
    pub authorization_server: bool,
    /// See [`TenantRecord::local_accounts`].
    pub local_accounts: bool,
}

impl NewTenant {
    /// A tenant of which nothing else was said: default limits, the pool `default`, stale after a day and header lines
    /// after four hours, accounts of its own, and no authorization server.
    pub fn new(name: TenantName) -> Self {
        Self {
            title: name.to_string(),
            name,
            limits: Limits::default(),
            pools: row_text::default_pools(),
            stale_after: Some(TenantSpec::STALE_AFTER),
            max_stale_credential: TenantRecord::MAX_STALE_CREDENTIAL,
            authorization_server: false,
            local_accounts: true,
        }
    }
}

/// What to change of a tenant; `None` leaves a field alone. Its name is for ever.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantPatch {
    /// See [`TenantRecord::title`].
    pub title: Option<String>,
    /// Each limit by itself.
    pub limits: LimitsPatch,
    /// See [`TenantRecord::pools`]: replaces all of them.
    pub pools: Option<Vec<String>>,
    /// See [`NewTenant::stale_after`]; `Some(None)` is never.
    pub stale_after: Option<Option<Duration>>,
    /// See [`TenantRecord::max_stale_credential`].
    pub max_stale_credential: Option<Duration>,
    /// See [`TenantSpec::authorization_server`].
    pub authorization_server: Option<bool>,
    /// See [`TenantRecord::local_accounts`].
    pub local_accounts: Option<bool>,
    /// See [`TenantRecord::active`].
    pub active: Option<bool>,
}

/// What to change of a tenant's limits; `None` leaves one alone. See [`Limits`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each stands for the limit of its name")]
pub struct LimitsPatch {
    pub key_rate: Option<u32>,
    pub tenant_rate: Option<u32>,
    pub concurrent: Option<u32>,
    pub streams: Option<u32>,
    pub upstream_concurrent: Option<u32>,
    pub servers: Option<u32>,
    pub request_bytes: Option<u32>,
    pub response_bytes: Option<u32>,
    pub call_secs: Option<u32>,
}

impl LimitsPatch {
    fn over(self, old: Limits) -> Limits {
        Limits {
            key_rate: self.key_rate.unwrap_or(old.key_rate),
            tenant_rate: self.tenant_rate.unwrap_or(old.tenant_rate),
            concurrent: self.concurrent.unwrap_or(old.concurrent),
            streams: self.streams.unwrap_or(old.streams),
            upstream_concurrent: self.upstream_concurrent.unwrap_or(old.upstream_concurrent),
            servers: self.servers.unwrap_or(old.servers),
            request_bytes: self.request_bytes.unwrap_or(old.request_bytes),
            response_bytes: self.response_bytes.unwrap_or(old.response_bytes),
            call_secs: self.call_secs.unwrap_or(old.call_secs),
        }
    }
}

/// Which tenants to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantPage {
    /// Only those with this text in name or title, whatever the case (of ASCII letters on SQLite).
    pub search: Option<String>,
    /// Only active or only inactive ones.
    pub active: Option<bool>,
    /// Tombstones instead of live ones.
    pub deleted: bool,
    /// Only those after this one.
    pub after: Option<TenantId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

impl TenantRecord {
    /// What a tenant has of which nothing else was said.
    pub const MAX_STALE_CREDENTIAL: Duration = Duration::from_secs(4 * 60 * 60);

    pub(crate) fn new(new: NewTenant, now: i64) -> Self {
        let spec = TenantSpec {
            id: TenantId::fresh(),
            name: new.name,
            limits: new.limits,
            stale_after: new.stale_after.map(whole_secs),
            authorization_server: new.authorization_server,
        };
        Self {
            spec,
            title: new.title,
            pools: new.pools,
            max_stale_credential: whole_secs(new.max_stale_credential),
            local_accounts: new.local_accounts,
            active: true,
            generation: Generation(1),
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }

    /// The record with the patch applied; generation and time are left alone.
    pub(crate) fn patched(&self, patch: TenantPatch) -> Self {
        let mut record = self.clone();
        record.spec.limits = patch.limits.over(self.spec.limits);
        if let Some(stale_after) = patch.stale_after {
            record.spec.stale_after = stale_after.map(whole_secs);
        }
        let credential = patch.max_stale_credential.map(whole_secs);
        record.max_stale_credential = credential.unwrap_or(record.max_stale_credential);
        record.title = patch.title.unwrap_or(record.title);
        record.spec.authorization_server = patch.authorization_server.unwrap_or(record.spec.authorization_server);
        record.pools = patch.pools.unwrap_or(record.pools);
        record.local_accounts = patch.local_accounts.unwrap_or(record.local_accounts);
        record.active = patch.active.unwrap_or(record.active);
        record
    }

    /// Whether it is part of the intended state, and with it what it owns.
    pub(crate) fn is_live(&self) -> bool {
        self.active && self.deleted_at.is_none()
    }

    fn settings(&self) -> Value {
        row_text::settings(&Settings {
            pools: self.pools.clone(),
            stale_after: self.spec.stale_after,
            max_stale_credential: self.max_stale_credential,
            authorization_server: self.spec.authorization_server,
            local_accounts: self.local_accounts,
        })
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "name": self.spec.name.as_str(),
            "title": self.title,
            "generation": self.generation.0,
            "limits": row_text::limits(&self.spec.limits),
            "settings": self.settings(),
            "active": self.active,
        })
    }

    pub(crate) fn into_row(self) -> tenant::ActiveModel {
        let settings = self.settings().to_string();
        tenant::ActiveModel {
            id: Set(self.spec.id.0),
            name: Set(self.spec.name.to_string()),
            title: Set(self.title),
            limits: Set(row_text::limits(&self.spec.limits).to_string()),
            settings: Set(settings),
            active: Set(self.active),
            generation: Set(self.generation.0),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
            deleted_at: Set(self.deleted_at),
        }
    }
}

impl TryFrom<tenant::Model> for TenantRecord {
    type Error = StoreError;

    fn try_from(row: tenant::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let settings = row_text::read_settings(&row.settings).ok_or(corrupt("tenant.settings"))?;
        let spec = TenantSpec {
            id: TenantId(row.id),
            name: row.name.parse().map_err(|_| corrupt("tenant.name"))?,
            limits: row_text::read_limits(&row.limits).ok_or(corrupt("tenant.limits"))?,
            stale_after: settings.stale_after,
            authorization_server: settings.authorization_server,
        };
        Ok(Self {
            spec,
            title: row.title,
            pools: settings.pools,
            max_stale_credential: settings.max_stale_credential,
            local_accounts: settings.local_accounts,
            active: row.active,
            generation: Generation(row.generation),
            created_at: row.created_at,
            // Rows older than the column have 0 there.
            updated_at: row.updated_at.max(row.created_at),
            deleted_at: row.deleted_at,
        })
    }
}

/// What a row can hold, so that an answer to a write equals the next read.
fn whole_secs(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
