//! Servers, and what a look at their upstream gives.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use store::{Dependencies, ServerRecord};
use utoipa::ToSchema;
use wire::Challenge;

use super::{EffectiveView, TransportView, instant, millis, raw};
use crate::auth::AuthConfig;
use crate::proxies::{CommandError, ProbeReport};
use crate::rest::bodies::server::AuthBody;
use crate::servers::{Probe, Tried};

/// A server: the record that an admin manages.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Server)]
pub(crate) struct ServerView {
    /// UUID; never changes.
    #[schema(format = "uuid")]
    id: String,
    /// Unique among the tenant's live servers; part of the names of its tools.
    name: String,
    /// Unique among the tenant's live servers.
    title: String,
    /// Free text.
    #[schema(required)]
    description: Option<String>,
    transport: TransportView,
    /// Which eras of the protocol its upstream spoke when it was looked at: `session` (2024-11-05 to 2025-11-25),
    /// `stateless` (2026-07-28). Empty where nobody has looked.
    eras: Vec<&'static str>,
    /// Where the upstream is.
    url: String,
    /// Public headers sent with every request.
    headers: BTreeMap<String, String>,
    /// Milliseconds that connecting may take.
    connect_timeout_ms: u64,
    /// Milliseconds until the first byte of an answer.
    read_timeout_ms: u64,
    /// How often a request that is safe to repeat is tried again.
    retry_count: u32,
    /// Milliseconds before each further try.
    retry_delay_ms: u64,
    /// Tools that are absent from lists and refused by name.
    disabled_tools: Vec<String>,
    /// Whether the upstream's read-only and idempotent hints are believed.
    trust_hints: bool,
    /// Whether proxies mount it.
    enabled: bool,
    /// Words for finding it.
    tags: Vec<String>,
    /// A word or an https URL.
    #[schema(required)]
    icon: Option<String>,
    limits: ServerLimitsView,
    /// How it is authenticated to. `{"configured": true}` stands in the place of a secret.
    #[schema(value_type = AuthBody)]
    auth: Value,
    /// The secrets that a connection's credential must have.
    required_secrets: Vec<String>,
    /// Raised by every change; the ETag.
    generation: i64,
    /// Who made it.
    #[schema(required)]
    created_by: Option<String>,
    /// Who changed it last.
    #[schema(required)]
    updated_by: Option<String>,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
    /// When it was deleted; null for a live one.
    #[schema(required, format = "date-time")]
    deleted_at: Option<String>,
}

/// A server's share of its tenant's limits; null is the tenant's limit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ServerLimits)]
struct ServerLimitsView {
    /// Requests under way at once to the upstream.
    #[schema(required)]
    concurrent: Option<u32>,
    /// Bytes of one JSON answer.
    #[schema(required)]
    response_bytes: Option<u32>,
    /// Seconds that one call may take in all.
    #[schema(required)]
    call_secs: Option<u32>,
}

impl From<&ServerRecord> for ServerView {
    fn from(record: &ServerRecord) -> Self {
        let spec = &record.spec;
        let auth = AuthConfig::from_stored(&record.auth).unwrap_or_default();
        Self {
            id: spec.id.to_string(),
            name: spec.name.to_string(),
            title: spec.title.clone(),
            description: record.description.clone(),
            transport: spec.transport.into(),
            eras: spec.eras.words().collect(),
            url: spec.url.as_str().to_owned(),
            headers: spec.headers.iter().cloned().collect(),
            connect_timeout_ms: millis(spec.connect_timeout),
            read_timeout_ms: millis(spec.read_timeout),
            retry_count: spec.retry_count,
            retry_delay_ms: millis(spec.retry_delay),
            disabled_tools: spec.disabled_tools.clone(),
            trust_hints: spec.trust_hints,
            enabled: record.enabled,
            tags: record.tags.clone(),
            icon: record.icon.clone(),
            limits: ServerLimitsView {
                concurrent: spec.limits.concurrent,
                response_bytes: spec.limits.response_bytes,
                call_secs: spec.limits.call_secs,
            },
            auth: auth.view(),
            required_secrets: auth.required_secrets(),
            generation: spec.generation.0,
            created_by: record.created_by.clone(),
            updated_by: record.updated_by.clone(),
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
            deleted_at: record.deleted_at.map(instant),
        }
    }
}

/// A server that was just added.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AddedServer)]
pub(crate) struct AddedView {
    #[serde(flatten)]
    pub(crate) server: ServerView,
    pub(crate) effective: EffectiveView,
    /// What a look at the upstream gave; null when nobody looked.
    #[schema(required)]
    pub(crate) probe: Option<ProbeView>,
    /// What the upstream wants before it can be used; null when it is content, and when nobody looked.
    #[schema(required)]
    pub(crate) needs: Option<NeedsView>,
    /// The global connection that was made of `credential`.
    #[schema(required, format = "uuid")]
    pub(crate) connection: Option<String>,
    /// What of `auth_config` was passed over.
    pub(crate) warnings: Vec<String>,
}

/// A server that was just changed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ChangedServer)]
pub(crate) struct ChangedServerView {
    #[serde(flatten)]
    pub(crate) server: ServerView,
    pub(crate) effective: EffectiveView,
    /// What of `auth_config` was passed over.
    pub(crate) warnings: Vec<String>,
}

/// What an upstream wants before it can be used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Needs)]
pub(crate) struct NeedsView {
    /// `oauth_required`: somebody must log in; `credential_required`: it was shown nothing; `auth_failed`: it refuses what
    /// it was shown; `insufficient_scope`: that may too little.
    error: &'static str,
    /// 401 or 403.
    status: u16,
    /// Whose connections the server accepts, in this order.
    scopes: Vec<&'static str>,
    /// Where somebody logs in.
    #[schema(required)]
    login_url: Option<String>,
    /// Where the upstream says who its authorization server is.
    #[schema(required)]
    resource_metadata: Option<String>,
}

impl NeedsView {
    /// What a refused probe says.
    pub(crate) fn of(record: &ServerRecord, challenge: &Challenge, sent: bool, login_url: Option<String>) -> Self {
        let binding = record.spec.binding.as_ref();
        let login = binding.is_some_and(|binding| binding.login);
        let error = match challenge.error.as_deref() {
            Some("insufficient_scope") => "insufficient_scope",
            _ if login || (challenge.resource_metadata.is_some() && !sent) => "oauth_required",
            _ if sent || challenge.status == 403 => "auth_failed",
            _ => "credential_required",
        };
        Self {
            error,
            status: challenge.status,
            scopes: binding.iter().flat_map(|binding| &binding.scopes).map(|scope| scope.as_str()).collect(),
            login_url: login_url.filter(|_| login),
            resource_metadata: challenge.resource_metadata.clone(),
        }
    }
}

/// What a look at an upstream found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Probe)]
pub(crate) struct ProbeView {
    /// What it speaks; null when it wants a credential first.
    #[schema(required)]
    transport: Option<TransportView>,
    /// The MCP revision that was agreed.
    #[schema(required)]
    revision: Option<String>,
    /// Which eras of the protocol it speaks: `session`, `stateless`, as far as it was found out.
    eras: Vec<&'static str>,
    /// The upstream's own name and version.
    server_info: Value,
    /// Its tools as it describes them.
    tools: Value,
    /// How long it took.
    #[schema(required)]
    latency_ms: Option<u64>,
    /// Whether it answered that it wants a credential.
    needs_auth: bool,
}

impl ProbeView {
    /// `None` when nobody looked.
    pub(crate) fn of(probe: &Probe) -> Option<Self> {
        match probe {
            Probe::Skipped => None,
            Probe::NeedsAuth { .. } => Some(Self {
                transport: None,
                revision: None,
                eras: Vec::new(),
                server_info: Value::Null,
                tools: Value::Array(Vec::new()),
                latency_ms: None,
                needs_auth: true,
            }),
            Probe::Spoke(report) => Some(Self {
                transport: Some(report.transport.into()),
                revision: Some(report.revision.clone()),
                eras: report.eras.words().collect(),
                server_info: raw(&report.server_info),
                tools: raw(&report.tools),
                latency_ms: Some(report.latency_ms),
                needs_auth: false,
            }),
        }
    }
}

/// What a test of a server found. That the upstream fails is the answer, not a failure of the question.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Test)]
pub(crate) struct TestView {
    /// Whether it spoke MCP.
    ok: bool,
    /// Why it didn't: timeout, refused, auth, not_found, protocol, dns, tls, address_blocked or other.
    #[schema(required)]
    class: Option<String>,
    /// The same as a sentence.
    #[schema(required)]
    message: Option<String>,
    /// How long it took; null when it failed.
    #[schema(required)]
    latency_ms: Option<u64>,
    #[schema(required)]
    transport: Option<TransportView>,
    /// The MCP revision that was agreed.
    #[schema(required)]
    revision: Option<String>,
    /// Which eras of the protocol it speaks: `session`, `stateless`, as far as it was found out.
    eras: Vec<&'static str>,
    /// The upstream's own name and version.
    server_info: Value,
    /// Its tools as it describes them.
    tools: Value,
    /// Whether it answered that it wants a credential.
    needs_auth: bool,
    /// What it wants; null when it is content.
    #[schema(required)]
    needs: Option<NeedsView>,
}

impl TestView {
    /// What a trial found; failures of ours come back.
    pub(crate) fn of(record: &ServerRecord, tried: Tried, login_url: Option<String>) -> Result<Self, CommandError> {
        let Tried { outcome, sent } = tried;
        let report = match outcome {
            Ok(report) => report,
            Err(error) => return Self::of_failure(error),
        };
        let Some(challenge) = &report.challenge else { return Ok(Self::of_success(&report)) };
        let message = match (challenge.status, sent) {
            (403, _) => "the upstream knows the caller and refuses (403)",
            (_, true) => "the upstream refuses the credential (401)",
            (_, false) => "the upstream wants a credential (401)",
        };
        let failure = CommandError::Upstream { class: "auth".to_owned(), message: message.to_owned() };
        let needs = Some(NeedsView::of(record, challenge, sent, login_url));
        Ok(Self { needs, ..Self::of_failure(failure)? })
    }

    fn of_success(report: &ProbeReport) -> Self {
        Self {
            needs: None,
            ok: true,
            class: None,
            message: None,
            latency_ms: Some(report.latency_ms),
            transport: Some(report.transport.into()),
            revision: Some(report.revision.clone()),
            eras: report.eras.words().collect(),
            server_info: raw(&report.server_info),
            tools: raw(&report.tools),
            needs_auth: false,
        }
    }

    /// The upstream's failure as a finding; failures of ours come back.
    fn of_failure(error: CommandError) -> Result<Self, CommandError> {
        let (class, message) = match error {
            CommandError::Upstream { class, message } => (class, message),
            error @ CommandError::TimedOut => ("timeout".to_owned(), error.to_string()),
            error @ (CommandError::NoProxyAttached | CommandError::Rejected(_)) => return Err(error),
        };
        Ok(Self {
            ok: false,
            needs_auth: class == "auth",
            needs: None,
            class: Some(class),
            message: Some(message),
            latency_ms: None,
            transport: None,
            revision: None,
            eras: Vec::new(),
            server_info: Value::Null,
            tools: Value::Array(Vec::new()),
        })
    }
}

/// A server that is back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RestoredServer)]
pub(crate) struct RestoredServerView {
    #[serde(flatten)]
    pub(crate) server: ServerView,
    pub(crate) effective: EffectiveView,
    /// What was erased when it was deleted and must be entered again, by the names of the fields.
    pub(crate) enter_again: Vec<&'static str>,
}

/// What refers to a server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Dependencies)]
pub(crate) struct DependenciesView {
    /// Whether anything does.
    has_references: bool,
    /// Live keys that name it, at most 100 of them.
    keys: Vec<KeyReferenceView>,
    /// How many there are in all.
    key_count: u64,
}

/// A key that names a server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeyReference)]
struct KeyReferenceView {
    /// The public part of the key.
    id: String,
    /// What it is for.
    label: String,
}

impl From<&Dependencies> for DependenciesView {
    fn from(dependencies: &Dependencies) -> Self {
        let keys = dependencies.keys.iter();
        Self {
            has_references: !dependencies.is_empty(),
            keys: keys.map(|key| KeyReferenceView { id: key.id.to_string(), label: key.label.clone() }).collect(),
            key_count: dependencies.key_count,
        }
    }
}
