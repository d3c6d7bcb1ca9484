//! A server as it is stored, created and changed; and its row.

use std::fmt;
use std::time::Duration;

use model::{
    Binding, Eras, Generation, ServerId, ServerLimits, ServerName, ServerSpec, TenantId, Transport, UpstreamUrl,
};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::bounds::{self, AUTH_BYTES};
use crate::entity::server;
use crate::{Actor, StoreError, row_text};

/// How a server is authenticated to that says nothing of it.
const NO_AUTH: &str = r#"{"type":"none"}"#;

/// A server record.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerRecord {
    /// What proxies mount.
    pub spec: ServerSpec,
    /// How it is authenticated to: the caller's own JSON object, without secrets.
    pub auth: String,
    /// The secrets of that, sealed by the vault.
    pub auth_secret: Option<Vec<u8>>,
    /// How many secrets were set so far; the one that is there was sealed for this version.
    pub auth_secret_version: i64,
    /// Whether proxies should mount it.
    pub enabled: bool,
    /// Free text for people, at most 2000 characters.
    pub description: Option<String>,
    /// Words to find it by, at most 32 of at most 64 characters.
    pub tags: Vec<String>,
    /// A word of at most 64 characters, or an https URL of at most 2048.
    pub icon: Option<String>,
    /// The key or the part of Gatehouse that made it; `None` for records older than this column.
    pub created_by: Option<String>,
    /// Who changed it last.
    pub updated_by: Option<String>,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// Microseconds since 1970; a record with this set is a tombstone.
    pub deleted_at: Option<i64>,
}

/// Without the sealed bytes.
impl fmt::Debug for ServerRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerRecord")
            .field("spec", &self.spec)
            .field("auth", &self.auth)
            .field("auth_secret", &self.auth_secret.is_some())
            .field("auth_secret_version", &self.auth_secret_version)
            .field("enabled", &self.enabled)
            .field("description", &self.description)
            .field("tags", &self.tags)
            .field("icon", &self.icon)
            .field("created_by", &self.created_by)
            .field("updated_by", &self.updated_by)
            .field("created_at", &self.created_at)
            .field("updated_at", &self.updated_at)
            .field("deleted_at", &self.deleted_at)
            .finish()
    }
}

/// How a server is to be authenticated to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAuth {
    /// See [`ServerRecord::auth`]; at most 32 KiB.
    pub config: String,
    /// What proxies are told of it.
    pub binding: Option<Binding>,
    /// What becomes of the secrets.
    pub secret: SecretChange,
}

/// What becomes of the secrets of how a server is authenticated to.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum SecretChange {
    /// They stay.
    #[default]
    Keep,
    /// There are none any more.
    Clear,
    /// These are put in their place.
    Set {
        /// What the vault made of them, at most 32 KiB.
        sealed: Vec<u8>,
        /// For which version: one more than [`ServerRecord::auth_secret_version`], 1 for a new server. `Stale`
        /// otherwise.
        version: i64,
    },
}

/// Without the sealed bytes.
impl fmt::Debug for SecretChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keep => f.write_str("Keep"),
            Self::Clear => f.write_str("Clear"),
            Self::Set { version, .. } => f.debug_struct("Set").field("version", version).finish_non_exhaustive(),
        }
    }
}

/// A server to be made. Its generation is given by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewServer {
    /// Chosen by a caller who seals something for it; `None` for a fresh one.
    pub id: Option<ServerId>,
    /// `None` for a server that is never shown a credential.
    pub auth: Option<ServerAuth>,
    /// Unique among the tenant's live servers.
    pub name: ServerName,
    /// Unique among the tenant's live servers.
    pub title: String,
    /// How the upstream is spoken to.
    pub transport: Transport,
    /// Where the upstream is.
    pub url: UpstreamUrl,
    /// Public headers, in this order.
    pub headers: Vec<(String, String)>,
    /// Kept in milliseconds.
    pub connect_timeout: Duration,
    /// Kept in milliseconds.
    pub read_timeout: Duration,
    /// The upstream's own names.
    pub disabled_tools: Vec<String>,
    /// Whether the upstream's hints are believed.
    pub trust_hints: bool,
    /// 0 to 10.
    pub retry_count: u32,
    /// 0 to 60 s, kept in milliseconds.
    pub retry_delay: Duration,
    /// Its share of the tenant's limits.
    pub limits: ServerLimits,
    /// Which eras its upstream speaks, as far as somebody has looked.
    pub eras: Eras,
    /// See [`ServerRecord::description`].
    pub description: Option<String>,
    /// See [`ServerRecord::tags`].
    pub tags: Vec<String>,
    /// See [`ServerRecord::icon`].
    pub icon: Option<String>,
    /// Whether proxies should mount it.
    pub enabled: bool,
}

impl NewServer {
    /// An enabled server of which nothing else was said: `auto`, 10 s to connect, 30 s for the first
    /// byte, no retry, the tenant's limits.
    pub fn new(name: ServerName, title: String, url: UpstreamUrl) -> Self {
        Self {
            id: None,
            auth: None,
            name,
            title,
            transport: Transport::Auto,
            url,
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            disabled_tools: Vec::new(),
            trust_hints: false,
            retry_count: 0,
            retry_delay: Duration::from_secs(1),
            limits: ServerLimits::default(),
            eras: Eras::default(),
            description: None,
            tags: Vec::new(),
            icon: None,
            enabled: true,
        }
    }
}

/// What to change of a server; `None` leaves a field alone, and `Some(None)` clears one that may be
/// empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerPatch {
    /// See [`NewServer::name`].
    pub name: Option<ServerName>,
    /// See [`NewServer::title`].
    pub title: Option<String>,
    /// See [`NewServer::transport`].
    pub transport: Option<Transport>,
    /// See [`NewServer::url`].
    pub url: Option<UpstreamUrl>,
    /// See [`NewServer::headers`]: replaces all of them.
    pub headers: Option<Vec<(String, String)>>,
    /// See [`NewServer::connect_timeout`].
    pub connect_timeout: Option<Duration>,
    /// See [`NewServer::read_timeout`].
    pub read_timeout: Option<Duration>,
    /// See [`NewServer::disabled_tools`]: replaces all of them.
    pub disabled_tools: Option<Vec<String>>,
    /// See [`NewServer::trust_hints`].
    pub trust_hints: Option<bool>,
    /// See [`NewServer::retry_count`].
    pub retry_count: Option<u32>,
    /// See [`NewServer::retry_delay`].
    pub retry_delay: Option<Duration>,
    /// Each limit by itself.
    pub limits: ServerLimitsPatch,
    /// See [`NewServer::eras`]. Unknown again where nothing is said and the upstream is another one.
    pub eras: Option<Eras>,
    /// See [`ServerRecord::description`].
    pub description: Option<Option<String>>,
    /// See [`ServerRecord::tags`]: replaces all of them.
    pub tags: Option<Vec<String>>,
    /// See [`ServerRecord::icon`].
    pub icon: Option<Option<String>>,
    /// See [`NewServer::enabled`].
    pub enabled: Option<bool>,
    /// See [`NewServer::auth`]: replaces all of it but a secret that is kept.
    pub auth: Option<ServerAuth>,
    /// Only while no connection of the server has anything to authenticate with: it would go elsewhere than it was given
    /// for.
    pub bare: bool,
}

/// What to change of a server's limits: `None` leaves one alone, `Some(None)` makes it the tenant's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerLimitsPatch {
    /// See [`ServerLimits::concurrent`].
    pub concurrent: Option<Option<u32>>,
    /// See [`ServerLimits::response_bytes`].
    pub response_bytes: Option<Option<u32>>,
    /// See [`ServerLimits::call_secs`].
    pub call_secs: Option<Option<u32>>,
}

impl ServerLimitsPatch {
    fn over(self, old: ServerLimits) -> ServerLimits {
        ServerLimits {
            concurrent: self.concurrent.unwrap_or(old.concurrent),
            response_bytes: self.response_bytes.unwrap_or(old.response_bytes),
            call_secs: self.call_secs.unwrap_or(old.call_secs),
        }
    }
}

/// Which servers to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServerPage {
    /// Only those with one of these names.
    pub names: Option<Vec<String>>,
    /// Only those with this text in name, title or description, whatever the case (of ASCII letters on
    /// SQLite).
    pub search: Option<String>,
    /// Only those with exactly this tag.
    pub tag: Option<String>,
    /// Tombstones instead of live ones.
    pub deleted: bool,
    /// Only enabled or only disabled ones.
    pub enabled: Option<bool>,
    /// Only those after this one.
    pub after: Option<ServerId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

impl ServerRecord {
    /// `Stale` for a secret that was sealed for another version, `Bound` for what is too long.
    pub(crate) fn new(tenant: TenantId, actor: &Actor, new: NewServer, now: i64) -> Result<Self, StoreError> {
        let spec = ServerSpec {
            id: new.id.unwrap_or_else(ServerId::fresh),
            tenant,
            name: new.name,
            title: new.title,
            generation: Generation(1),
            transport: new.transport,
            url: new.url,
            headers: new.headers,
            connect_timeout: whole_millis(new.connect_timeout),
            read_timeout: whole_millis(new.read_timeout),
            disabled_tools: new.disabled_tools,
            trust_hints: new.trust_hints,
            retry_count: new.retry_count,
            retry_delay: whole_millis(new.retry_delay),
            limits: new.limits,
            binding: None,
            eras: new.eras,
        };
        let record = Self {
            spec,
            auth: NO_AUTH.to_owned(),
            auth_secret: None,
            auth_secret_version: 0,
            enabled: new.enabled,
            description: new.description,
            tags: new.tags,
            icon: new.icon,
            created_by: Some(actor.id()),
            updated_by: Some(actor.id()),
            created_at: now,
            updated_at: now,
            deleted_at: None,
        };
        record.with_auth(new.auth)
    }

    /// The record authenticated to in another way, if one is given.
    fn with_auth(mut self, auth: Option<ServerAuth>) -> Result<Self, StoreError> {
        let Some(auth) = auth else { return Ok(self) };
        bounds::fits(auth.config.len(), "bytes of how a server is authenticated to", AUTH_BYTES)?;
        self.auth = auth.config;
        self.spec.binding = auth.binding;
        match auth.secret {
            SecretChange::Keep => (),
            SecretChange::Clear => self.auth_secret = None,
            SecretChange::Set { sealed, version } => {
                bounds::fits_sealed(&sealed)?;
                if version != self.auth_secret_version + 1 {
                    return Err(StoreError::Stale { current: self.spec.generation });
                }
                (self.auth_secret, self.auth_secret_version) = (Some(sealed), version);
            }
        }
        Ok(self)
    }

    /// The record with the patch applied; generation, time and who changed it are left alone. Fails as `new` does.
    pub(crate) fn patched(&self, patch: ServerPatch) -> Result<Self, StoreError> {
        let Self { spec: old, enabled, description, tags, icon, .. } = self.clone();
        let elsewhere = patch.url.as_ref().is_some_and(|url| *url != old.url)
            || patch.transport.is_some_and(|transport| transport != old.transport);
        let spec = ServerSpec {
            id: old.id,
            tenant: old.tenant,
            name: patch.name.unwrap_or(old.name),
            title: patch.title.unwrap_or(old.title),
            generation: old.generation,
            transport: patch.transport.unwrap_or(old.transport),
            url: patch.url.unwrap_or(old.url),
            headers: patch.headers.unwrap_or(old.headers),
            connect_timeout: patch.connect_timeout.map_or(old.connect_timeout, whole_millis),
            read_timeout: patch.read_timeout.map_or(old.read_timeout, whole_millis),
            disabled_tools: patch.disabled_tools.unwrap_or(old.disabled_tools),
            trust_hints: patch.trust_hints.unwrap_or(old.trust_hints),
            retry_count: patch.retry_count.unwrap_or(old.retry_count),
            retry_delay: patch.retry_delay.map_or(old.retry_delay, whole_millis),
            limits: patch.limits.over(old.limits),
            binding: old.binding,
            // Of another upstream nobody knows.
            eras: patch.eras.unwrap_or(if elsewhere { Eras::default() } else { old.eras }),
        };
        let record = Self {
            spec,
            enabled: patch.enabled.unwrap_or(enabled),
            description: patch.description.unwrap_or(description),
            tags: patch.tags.unwrap_or(tags),
            icon: patch.icon.unwrap_or(icon),
            ..self.clone()
        };
        record.with_auth(patch.auth)
    }

    /// The record with one tool of the upstream enabled or disabled.
    pub(crate) fn with_tool(&self, tool: &str, enabled: bool) -> Self {
        let mut record = self.clone();
        let disabled = &mut record.spec.disabled_tools;
        if enabled {
            disabled.retain(|name| name != tool);
        } else if !disabled.iter().any(|name| name == tool) {
            disabled.push(tool.to_owned());
        }
        record
    }

    /// Whether it is part of the intended state, as far as its tenant is.
    pub(crate) fn is_intended(&self) -> bool {
        self.enabled && self.deleted_at.is_none()
    }

    /// What was erased with it when it was deleted, by the names of fields.
    pub(crate) fn lost(&self) -> Vec<&'static str> {
        let secret = self.auth_secret.is_none() && self.auth_secret_version > 0;
        let connections = self.spec.binding.as_ref().is_some_and(|binding| !binding.scopes.is_empty());
        [("auth", secret), ("connections", connections)].into_iter().filter(|(_, lost)| *lost).map(|(f, _)| f).collect()
    }

    /// What the audit row keeps: header values and the URL's query, where people hide secrets
    /// against all advice, stay out, and of how it is authenticated to all but the kind.
    pub(crate) fn redacted(&self) -> Value {
        let mut url = self.spec.url.url().clone();
        if url.query().is_some() {
            url.set_query(Some("[redacted]"));
        }
        json!({
            "name": self.spec.name.as_str(),
            "title": self.spec.title,
            "generation": self.spec.generation.0,
            "transport": self.spec.transport.as_str(),
            "url": url.as_str(),
            "headers": self.spec.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "connect_timeout_ms": millis(self.spec.connect_timeout),
            "read_timeout_ms": millis(self.spec.read_timeout),
            "disabled_tools": self.spec.disabled_tools,
            "trust_hints": self.spec.trust_hints,
            "retry_count": self.spec.retry_count,
            "retry_delay_ms": millis(self.spec.retry_delay),
            "limits": row_text::server_limits(&self.spec.limits),
            "auth": row_text::kind_of_auth(&self.auth),
            "auth_secret": self.auth_secret.is_some(),
            "auth_secret_version": self.auth_secret_version,
            "eras": self.spec.eras.words().collect::<Vec<_>>(),
            "scopes": self.spec.binding.iter().flat_map(|it| &it.scopes).map(|it| it.as_str()).collect::<Vec<_>>(),
            "description": self.description,
            "tags": self.tags,
            "icon": self.icon,
            "enabled": self.enabled,
        })
    }

    pub(crate) fn into_row(self) -> server::ActiveModel {
        let spec = self.spec;
        server::ActiveModel {
            tenant_id: Set(spec.tenant.0),
            id: Set(spec.id.0),
            name: Set(spec.name.to_string()),
            title: Set(spec.title),
            generation: Set(spec.generation.0),
            transport: Set(spec.transport.as_str().to_owned()),
            connect_timeout_ms: Set(millis(spec.connect_timeout)),
            read_timeout_ms: Set(millis(spec.read_timeout)),
            url: Set(spec.url.as_str().to_owned()),
            headers: Set(row_text::pairs(&spec.headers)),
            disabled_tools: Set(row_text::list(&spec.disabled_tools)),
            trust_hints: Set(spec.trust_hints),
            retry_count: Set(i32::try_from(spec.retry_count).unwrap_or(i32::MAX)),
            retry_delay_ms: Set(millis(spec.retry_delay)),
            limits: Set(row_text::server_limits(&spec.limits).to_string()),
            enabled: Set(self.enabled),
            description: Set(self.description),
            tags: Set(row_text::list(&self.tags)),
            icon: Set(self.icon),
            created_by: Set(self.created_by),
            updated_by: Set(self.updated_by),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
            deleted_at: Set(self.deleted_at),
            auth: Set(self.auth),
            auth_secret: Set(self.auth_secret),
            auth_secret_version: Set(self.auth_secret_version),
            binding: Set(spec.binding.as_ref().map(|binding| row_text::binding(binding).to_string())),
            eras: Set(i32::from(spec.eras.code())),
        }
    }
}

impl TryFrom<server::Model> for ServerRecord {
    type Error = StoreError;

    fn try_from(row: server::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let spec = ServerSpec {
            id: ServerId(row.id),
            tenant: TenantId(row.tenant_id),
            name: row.name.parse().map_err(|_| corrupt("server.name"))?,
            title: row.title,
            generation: Generation(row.generation),
            transport: Transport::parse(&row.transport).map_err(|_| corrupt("server.transport"))?,
            url: UpstreamUrl::parse(&row.url).map_err(|_| corrupt("server.url"))?,
            headers: row_text::read_pairs(&row.headers).ok_or(corrupt("server.headers"))?,
            connect_timeout: read_millis(row.connect_timeout_ms).ok_or(corrupt("server.connect_timeout_ms"))?,
            read_timeout: read_millis(row.read_timeout_ms).ok_or(corrupt("server.read_timeout_ms"))?,
            disabled_tools: row_text::read_list(&row.disabled_tools).ok_or(corrupt("server.disabled_tools"))?,
            trust_hints: row.trust_hints,
            retry_count: u32::try_from(row.retry_count).map_err(|_| corrupt("server.retry_count"))?,
            retry_delay: read_millis(row.retry_delay_ms).ok_or(corrupt("server.retry_delay_ms"))?,
            limits: row_text::read_server_limits(&row.limits).ok_or(corrupt("server.limits"))?,
            binding: row
                .binding
                .map(|text| row_text::read_binding(&text).ok_or(corrupt("server.binding")))
                .transpose()?,
            eras: Eras::from_code(u32::try_from(row.eras).map_err(|_| corrupt("server.eras"))?),
        };
        Ok(Self {
            spec,
            auth: row.auth,
            auth_secret: row.auth_secret,
            auth_secret_version: row.auth_secret_version,
            enabled: row.enabled,
            description: row.description,
            tags: row_text::read_list(&row.tags).ok_or(corrupt("server.tags"))?,
            icon: row.icon,
            created_by: row.created_by,
            updated_by: row.updated_by,
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        })
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn read_millis(millis: i64) -> Option<Duration> {
    u64::try_from(millis).ok().map(Duration::from_millis)
}

/// What a row can hold, so that an answer to a write equals the next read.
fn whole_millis(duration: Duration) -> Duration {
    read_millis(millis(duration)).unwrap_or(duration)
}
