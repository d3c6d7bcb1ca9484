//! Connections: whose they are and how they do. Never a secret, a part of one, or a hint.

use model::{ConnectionStatus, Holder, Scope};
use serde::Serialize;
use serde_json::Value;
use store::{ConnectionHealth, ConnectionRecord, ConnectionSummary, ServerRecord};
use utoipa::ToSchema;

use super::{EffectiveView, instant, raw};
use crate::connections::{Outcome, Shown, TokenState};
use crate::upstream_login::Told;

/// How many share a connection.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionScope)]
pub(crate) enum ScopeTypeView {
    /// Everybody of the tenant. On input `system` means the same.
    Global,
    /// The members of a department.
    Department,
    /// One user.
    User,
}

impl From<Scope> for ScopeTypeView {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Global => Self::Global,
            Scope::Department => Self::Department,
            Scope::User => Self::User,
        }
    }
}

/// What a connection may be used for.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionStatus)]
enum StatusView {
    /// Used.
    Active,
    /// Put aside.
    Disabled,
    /// The upstream refused it: a login, a new credential or a good test makes it active again.
    ReauthRequired,
    /// It does not fit its server any more.
    Invalid,
}

impl From<ConnectionStatus> for StatusView {
    fn from(status: ConnectionStatus) -> Self {
        match status {
            ConnectionStatus::Active => Self::Active,
            ConnectionStatus::Disabled => Self::Disabled,
            ConnectionStatus::ReauthRequired => Self::ReauthRequired,
            ConnectionStatus::Invalid => Self::Invalid,
        }
    }
}

/// Whether somebody must look after a connection.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionHealth)]
enum HealthView {
    /// It can be used.
    Active,
    /// It was refused, has no credential, or its server does not accept its scope any more.
    Attention,
    /// It was put aside.
    Disabled,
}

impl From<ConnectionHealth> for HealthView {
    fn from(health: ConnectionHealth) -> Self {
        match health {
            ConnectionHealth::Active => Self::Active,
            ConnectionHealth::Attention => Self::Attention,
            ConnectionHealth::Disabled => Self::Disabled,
        }
    }
}

/// What there is of a token that was obtained with the credential.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ConnectionTokenState)]
enum TokenStateView {
    /// One that is good.
    Authorized,
    /// One that has ended, and can be renewed.
    Refreshable,
    /// One that nobody can renew: a login is needed.
    ReauthRequired,
    /// None.
    None,
}

impl From<TokenState> for TokenStateView {
    fn from(state: TokenState) -> Self {
        match state {
            TokenState::Authorized => Self::Authorized,
            TokenState::Refreshable => Self::Refreshable,
            TokenState::ReauthRequired => Self::ReauthRequired,
            TokenState::None => Self::None,
        }
    }
}

/// Where a credential is kept.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShownReference)]
struct ReferenceView {
    /// A source that the platform's configuration names.
    source: String,
    /// The name within the tenant's part of it.
    name: String,
}

/// What went wrong last.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionError)]
struct LastErrorView {
    /// Stable code.
    code: String,
    /// One sentence.
    message: String,
    #[schema(format = "date-time")]
    at: String,
}

/// A connection: the binding of a credential to a server and whoever shares it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub(crate) struct ConnectionView {
    /// UUID; never changes.
    #[schema(format = "uuid")]
    id: String,
    /// Id of the server.
    #[schema(format = "uuid")]
    server: String,
    /// Its name.
    server_name: String,
    scope_type: ScopeTypeView,
    /// Id of the department or user; null for everybody.
    #[schema(required, format = "uuid")]
    scope_id: Option<String>,
    /// The department's name or the user's login; null for everybody.
    #[schema(required)]
    scope_name: Option<String>,
    /// Name for people.
    #[schema(required)]
    display_name: Option<String>,
    /// Who the upstream says that it is, for people.
    #[schema(required)]
    external_subject: Option<String>,
    status: StatusView,
    health: HealthView,
    /// Whether there is a credential, a token, or a place where one is kept.
    has_credentials: bool,
    /// Where the credential is kept; null when it is kept here, or there is none.
    #[schema(required)]
    reference: Option<ReferenceView>,
    /// Raised when somebody replaces the credential or signs in again.
    credential_version: i64,
    /// Raised by every new token and every new credential.
    token_generation: i64,
    token_state: TokenStateView,
    /// When the token ends; null for never, or for no token.
    #[schema(required, format = "date-time")]
    token_expires_at: Option<String>,
    /// Whether a new token can be had without anybody.
    refresh_available: bool,
    /// What was kept beside it.
    #[schema(value_type = Object)]
    meta_json: Value,
    /// What went wrong last; null when nothing did since it was good.
    #[schema(required)]
    last_error: Option<LastErrorView>,
    /// When it was seen to be good.
    #[schema(required, format = "date-time")]
    last_success_at: Option<String>,
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
}

impl ConnectionView {
    /// A connection of this server, as it is now.
    pub(crate) fn of(server: &ServerRecord, record: &ConnectionRecord, shown: Shown) -> Self {
        let scope_id = match record.holder {
            Holder::Global => None,
            Holder::Department(id) => Some(id.to_string()),
            Holder::User(id) => Some(id.to_string()),
        };
        Self {
            id: record.id.to_string(),
            server: record.server.to_string(),
            server_name: server.spec.name.to_string(),
            scope_type: record.holder.scope().into(),
            scope_id,
            scope_name: record.holder_name.clone(),
            display_name: record.display_name.clone(),
            external_subject: record.external_subject.clone(),
            status: record.status.into(),
            health: shown.health.into(),
            has_credentials: record.has_credentials(),
            reference: record
                .reference
                .as_ref()
                .map(|one| ReferenceView { source: one.source.clone(), name: one.name.clone() }),
            credential_version: record.credential_version,
            token_generation: record.token_generation,
            token_state: shown.token_state.into(),
            token_expires_at: record.token_expires_at.map(instant),
            refresh_available: record.refreshable,
            meta_json: raw(&record.meta),
            last_error: record.last_error.as_ref().map(|error| LastErrorView {
                code: error.code.clone(),
                message: error.message.clone(),
                at: instant(error.at),
            }),
            last_success_at: record.last_success_at.map(instant),
            generation: record.generation.0,
            created_by: record.created_by.clone(),
            updated_by: record.updated_by.clone(),
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
        }
    }
}

/// One page of a server's connections, and how all of them do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionPage)]
pub(crate) struct ConnectionPageView {
    /// What the page holds, in the order of their making.
    pub(crate) items: Vec<ConnectionView>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required)]
    pub(crate) next: Option<String>,
    pub(crate) summary: SummaryView,
}

/// How many connections do how: `active`, `attention` and `disabled` add up to `total`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionSummary)]
pub(crate) struct SummaryView {
    total: u64,
    active: u64,
    attention: u64,
    disabled: u64,
}

impl From<ConnectionSummary> for SummaryView {
    fn from(summary: ConnectionSummary) -> Self {
        let ConnectionSummary { total, active, attention, disabled } = summary;
        Self { total, active, attention, disabled }
    }
}

/// Connections that use a secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = FoundConnections)]
pub(crate) struct FoundView {
    pub(crate) items: Vec<ConnectionView>,
}

/// What a test of a connection gave.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionTest)]
pub(crate) struct TrialView {
    /// Whether the upstream took the credential and listed its tools.
    ok: bool,
    /// The upstream's tools as it names them; absent when it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>, nullable = false)]
    tools: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<TrialErrorView>,
    /// The connection as it is now.
    connection: ConnectionView,
}

/// Why a test failed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionTestError)]
struct TrialErrorView {
    /// Stable code.
    code: String,
    /// One sentence.
    message: String,
}

impl TrialView {
    /// What came of it.
    pub(crate) fn of(outcome: &Outcome, connection: ConnectionView) -> Self {
        match outcome {
            Outcome::Good { tools } => Self { ok: true, tools: Some(raw(tools)), error: None, connection },
            Outcome::Bad { code, message } => Self {
                ok: false,
                tools: None,
                error: Some(TrialErrorView { code: code.clone(), message: message.clone() }),
                connection,
            },
        }
    }
}

/// A connection whose secrets were taken back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RevokedConnection)]
pub(crate) struct RevokedView {
    #[serde(flatten)]
    pub(crate) connection: ConnectionView,
    pub(crate) effective: EffectiveView,
    pub(crate) upstream: ToldView,
}

/// What the authorization server was told of a revocation.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = RevokedUpstream)]
pub(crate) enum ToldView {
    /// It took the tokens back.
    Revoked,
    /// Nothing: it has no way to be told, or it granted nothing.
    Nothing,
    /// It did not answer or refused; what was granted may live on there until it ends.
    Failed,
}

impl From<Told> for ToldView {
    fn from(told: Told) -> Self {
        match told {
            Told::Revoked => Self::Revoked,
            Told::Nothing => Self::Nothing,
            Told::Failed => Self::Failed,
        }
    }
}
