//! How records look as JSON on the native routes: a struct for each, of which the OpenAPI document is
//! made too.

mod audit;
mod connection;
mod credentials;
mod department;
mod egress_rule;
mod grant;
mod import;
mod issuer;
mod key;
mod login;
mod me;
mod problem;
mod proxy;
mod report;
mod server;
mod session;
mod sign_in_link;
mod tenant;
mod token;
mod tools;
mod toolset;
mod user;
mod vault;

use model::{KeyRole, KeyScopes, Transport};
use serde::Serialize;
use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use utoipa::ToSchema;

use crate::proxies::Effective;

pub(crate) use self::audit::AuditView;
pub(crate) use self::connection::{
    ConnectionPageView, ConnectionView, FoundView, RevokedView, ScopeTypeView, TrialView,
};
pub(crate) use self::credentials::CredentialsView;
pub(crate) use self::department::DepartmentView;
pub(crate) use self::egress_rule::EgressRuleView;
pub(crate) use self::grant::GrantView;
pub(crate) use self::import::ImportedView;
pub(crate) use self::issuer::IssuerView;
pub(crate) use self::key::{KeyView, NewKeyView};
pub(crate) use self::login::{LoginErrorView, LoginStateView, LoginView};
pub(crate) use self::me::MeView;
pub(crate) use self::problem::ProblemView;
pub(crate) use self::proxy::ProxyView;
pub(crate) use self::report::{RecoveredView, ReportView};
pub(crate) use self::server::{
    AddedView, ChangedServerView, DependenciesView, NeedsView, ProbeView, RestoredServerView, ServerView, TestView,
};
pub(crate) use self::session::SessionView;
pub(crate) use self::sign_in_link::SignInLinkView;
pub(crate) use self::tenant::TenantView;
pub(crate) use self::token::NewTokenView;
pub(crate) use self::tools::{ToolsView, enabled_tools};
pub(crate) use self::toolset::{ListingView, ToolsetView};
pub(crate) use self::user::{ShownUserView, UserView};
pub(crate) use self::vault::{JobView, KekView, VaultView};

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    /// What the page holds, in the list's order.
    pub(crate) items: Vec<T>,
    /// The `cursor` of the next page; null on the last one.
    #[schema(required)]
    pub(crate) next: Option<String>,
}

/// A record, and how far its change has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Changed<T> {
    #[serde(flatten)]
    pub(crate) record: T,
    pub(crate) effective: EffectiveView,
}

/// What was deleted or revoked, and how far that has come.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Gone {
    /// The id of what is gone.
    pub(crate) id: String,
    /// Its name, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) name: Option<String>,
    pub(crate) effective: EffectiveView,
}

/// What was deleted, where proxies know nothing of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Forgotten {
    /// The id of what is gone.
    pub(crate) id: String,
    /// Its name or login.
    pub(crate) name: String,
}

/// A record that is back.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Restored)]
pub(crate) struct RestoredView<T> {
    #[serde(flatten)]
    pub(crate) record: T,
    /// What was erased when it was deleted and must be entered again, by the names of the fields.
    pub(crate) enter_again: Vec<&'static str>,
}

/// How far a change has come, over the proxies seen in the last 60 s.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Effective)]
pub(crate) struct EffectiveView {
    /// Proxies that have it in their table.
    live: u32,
    /// Proxies that have not answered yet.
    pending: u32,
    /// Proxies that refused it.
    rejected: Vec<RejectedView>,
}

/// One proxy's refusal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rejected)]
struct RejectedView {
    /// The proxy's node id.
    proxy: String,
    /// Why.
    reason: String,
}

impl From<Effective> for EffectiveView {
    fn from(effective: Effective) -> Self {
        let rejected = effective.rejected.into_iter();
        Self {
            live: effective.live,
            pending: effective.pending,
            rejected: rejected.map(|one| RejectedView { proxy: one.proxy, reason: one.reason }).collect(),
        }
    }
}

/// What a key's or a user's holder may do.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Role)]
pub(crate) enum RoleView {
    /// Reads everything of its tenant, changes nothing, calls no MCP.
    Viewer,
    /// Calls MCP; reads servers, their tools and its own keys.
    User,
    /// Administers one tenant.
    TenantAdmin,
    /// Administers every tenant.
    PlatformAdmin,
}

impl From<KeyRole> for RoleView {
    fn from(role: KeyRole) -> Self {
        match role {
            KeyRole::Viewer => Self::Viewer,
            KeyRole::User => Self::User,
            KeyRole::TenantAdmin => Self::TenantAdmin,
            KeyRole::PlatformAdmin => Self::PlatformAdmin,
        }
    }
}

/// What a key may be used for.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Scope)]
pub(crate) enum ScopeView {
    /// Calling MCP.
    Mcp,
    /// Calling REST, as far as the role goes.
    Rest,
    /// Asking for tokens in the name of the tenant's users.
    ActAs,
}

impl ScopeView {
    fn all_of(scopes: KeyScopes) -> Vec<Self> {
        let all = [(scopes.mcp, Self::Mcp), (scopes.rest, Self::Rest), (scopes.act_as, Self::ActAs)];
        all.into_iter().filter(|(has, _)| *has).map(|(_, scope)| scope).collect()
    }
}

/// How an upstream is spoken to.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Transport)]
pub(crate) enum TransportView {
    /// Streamable HTTP of 2025-03-26 and later.
    StreamableHttp,
    /// HTTP+SSE of 2024-11-05.
    Sse,
    /// Found out when it is used first.
    Auto,
}

impl From<Transport> for TransportView {
    fn from(transport: Transport) -> Self {
        match transport {
            Transport::StreamableHttp => Self::StreamableHttp,
            Transport::Sse => Self::Sse,
            Transport::Auto => Self::Auto,
        }
    }
}

/// Microseconds since 1970 as RFC 3339 text.
pub(crate) fn instant(micros: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok();
    at.and_then(|at| at.format(&Rfc3339).ok()).unwrap_or_default()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// JSON text of an upstream as a value; `null` where it is none.
fn raw(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
