//! The only place that knows the body of an error: one enum, one match.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use model::{ConnectionId, ConnectionStatus, Generation, KeyTextError, Scope};
use serde_json::{Map, Value, json};
use store::{Dependencies, StoreError};
use vault::VaultError;

use crate::issuers::LookError;
use crate::keyring::KeyringError;
use crate::outward::OutwardError;
use crate::proxies::CommandError;
use crate::rest::code::Code;
use crate::rest::fields::FieldError;
use crate::rest::json::JsonError;
use crate::rest::trace::trace_id;
use crate::rest::views::DependenciesView;
use crate::servers::ServersError;

/// Everything that can go wrong for a caller of REST.
#[derive(Debug)]
pub(crate) enum Problem {
    /// No key, an unknown, a revoked or an expired one.
    Unauthenticated,
    /// A key whose shape or checksum is wrong; nothing was looked up.
    MalformedKey(KeyTextError),
    /// The key is good and its role too low; names what is needed.
    Forbidden(&'static str),
    /// The key is good and not for this; names the scope that is needed.
    Scope(&'static str),
    /// A change with the cookie of a session, and no proof that a page of ours sent it.
    Forged,
    /// `Host` or `Origin` is none of ours.
    ForeignHost,
    /// No such object in this tenant, whether or not another tenant has one.
    NotFound,
    /// No such route.
    NoRoute,
    /// The route exists for other methods.
    Method,
    /// The body is not declared as JSON.
    MediaType,
    /// The body is too large.
    TooLarge,
    /// The body did not arrive whole.
    Truncated,
    /// The body took too long to arrive.
    SlowBody,
    /// The body is not the JSON that we read.
    Json(JsonError),
    /// Fields of the body don't fit.
    Fields(Vec<FieldError>),
    /// A query parameter doesn't fit.
    Query {
        /// Stable code.
        code: Code,
        /// One sentence.
        detail: String,
    },
    /// `If-Match` is missing.
    NoPrecondition,
    /// `If-Match` names another generation than the current one.
    Stale(Generation),
    /// `Idempotency-Key` is empty, too long or not printable ASCII.
    IdempotencyKey,
    /// The same `Idempotency-Key` came with another body.
    IdempotencyReused,
    /// The first request with this `Idempotency-Key` is still running.
    IdempotencyRunning,
    /// There is no credential to do it with.
    ConnectionRequired {
        /// For whom one is accepted, in the server's order.
        scopes: Vec<Scope>,
        /// Where somebody can log in.
        login_url: Option<String>,
    },
    /// There is a connection for this server and holder.
    ConnectionExists(ConnectionId),
    /// People can't lead a connection from one to the other.
    StatusTransition {
        /// Where it is.
        from: ConnectionStatus,
        /// Where it should go.
        to: ConnectionStatus,
    },
    /// Another live object has this name or title.
    Taken {
        /// `name`, `title`, `login` or `external_id`.
        field: &'static str,
    },
    /// The tenant has as many records of a kind as it may have.
    Quota(Code, u32),
    /// Without this key nobody could administer the platform.
    LastAdmin,
    /// The tenant keeps no passwords.
    LocalAccountsOff,
    /// Nobody signs in at this server's upstream.
    LoginNotSupported,
    /// Only a deleted server can be purged.
    ServerLive,
    /// Other records name it.
    Referenced(Box<Dependencies>),
    /// Two keys of a chain live already.
    ChainFull,
    /// The key is revoked or has expired.
    KeyEnded,
    /// Too many passes of recover wait already.
    RecoverBusy,
    /// The probe did not reach an MCP server; nothing was saved.
    Unreachable {
        /// timeout, refused, not_found, protocol, dns, tls or other.
        class: String,
        /// One sentence without internals.
        message: String,
    },
    /// The issuer's keys can't be had; nothing was saved.
    Issuer(Box<LookError>),
    /// The address may not be dialled; says how an admin allows it.
    AddressBlocked {
        /// The exact command, for platform admins.
        hint: Option<String>,
    },
    /// A mounted upstream failed while a tool of it was listed or called.
    Upstream {
        /// Which kind of failure.
        class: String,
        /// One sentence without internals.
        message: String,
    },
    /// Nobody to ask.
    NoProxyAttached,
    /// The proxy did not answer in time.
    ProxyTimedOut,
    /// The proxy refused the command.
    ProxyRefused(String),
    /// The database can't be used now.
    Unavailable,
    /// The database went away in the middle of a commit.
    Uncertain,
    /// The database takes no writes.
    Full,
    /// Whoever holds the key that opens secrets does not answer.
    Sealed,
    /// A secret can't be opened, now or later; it was left as it is.
    CredentialUnreadable,
    /// A fault of ours; the log has the reason under the trace id.
    Internal,
}

/// The title of the problem that a response holds: what the seed's surface makes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Title(pub(crate) &'static str);

impl Problem {
    /// Its stable code.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::Unauthenticated => Code::Unauthenticated,
            Self::MalformedKey(_) => Code::MalformedKey,
            Self::Forbidden(_) => Code::Forbidden,
            Self::Scope(_) => Code::InsufficientScope,
            Self::Forged => Code::ForgedRequest,
            Self::ForeignHost => Code::HostNotAllowed,
            Self::NotFound => Code::NotFound,
            Self::NoRoute => Code::NoRoute,
            Self::Method => Code::MethodNotAllowed,
            Self::MediaType => Code::ContentType,
            Self::TooLarge => Code::BodyTooLarge,
            Self::Truncated => Code::TruncatedBody,
            Self::SlowBody => Code::BodyTooSlow,
            Self::Json(JsonError::Invalid { .. }) => Code::InvalidJson,
            Self::Json(JsonError::Duplicate(_)) => Code::DuplicateKey,
            Self::Json(JsonError::TooDeep) => Code::TooDeep,
            Self::Fields(errors) => errors.first().map_or(Code::Type, |first| first.code),
            Self::Query { code, .. } | Self::Quota(code, _) => *code,
            Self::NoPrecondition => Code::IfMatchRequired,
            Self::Stale(_) => Code::Stale,
            Self::IdempotencyKey => Code::IdempotencyKey,
            Self::IdempotencyReused => Code::IdempotencyKeyReused,
            Self::IdempotencyRunning => Code::IdempotencyRunning,
            Self::ConnectionRequired { .. } => Code::ConnectionRequired,
            Self::ConnectionExists(_) => Code::ConnectionExists,
            Self::StatusTransition { .. } => Code::StatusTransition,
            Self::Taken { field: "title" } => Code::TitleTaken,
            Self::Taken { .. } => Code::NameTaken,
            Self::LastAdmin => Code::LastPlatformAdmin,
            Self::ServerLive => Code::ServerLive,
            Self::LocalAccountsOff => Code::LocalAccountsOff,
            Self::LoginNotSupported => Code::LoginNotSupported,
            Self::Referenced(_) => Code::Referenced,
            Self::ChainFull => Code::ChainFull,
            Self::KeyEnded => Code::KeyEnded,
            Self::RecoverBusy => Code::RecoverBusy,
            Self::Unreachable { .. } => Code::UpstreamUnreachable,
            Self::Issuer(_) => Code::IssuerUnreachable,
            Self::AddressBlocked { .. } => Code::AddressBlocked,
            Self::Upstream { .. } => Code::UpstreamFailed,
            Self::NoProxyAttached => Code::NoProxyAttached,
            Self::ProxyTimedOut => Code::ProxyTimedOut,
            Self::ProxyRefused(_) => Code::ProxyRefused,
            Self::Unavailable | Self::Uncertain => Code::DatabaseUnavailable,
            Self::Sealed => Code::Sealed,
            Self::CredentialUnreadable => Code::CredentialUnreadable,
            Self::Full => Code::StorageFull,
            Self::Internal => Code::Internal,
        }
    }

    pub(crate) fn detail(&self) -> String {
        let fixed = match self {
            Self::Unauthenticated => "send `Authorization: Bearer ghk_…` with a live key",
            Self::MalformedKey(error) => return error.to_string(),
            Self::Forbidden(needs) => return format!("this needs the role {needs}"),
            Self::Scope(needs) => return format!("this needs a key with the scope {needs}"),
            Self::Forged => "send the session's CSRF token in Gatehouse-CSRF, from a page of this origin",
            Self::ForeignHost => "Host or Origin is not a name of this service; set public_url",
            Self::NotFound => "no such object in this tenant",
            Self::NoRoute => "no such path",
            Self::Method => "see the Allow header",
            Self::MediaType => "send Content-Type: application/json",
            Self::TooLarge => "a body may have 256 KiB",
            Self::Truncated => "the body did not arrive whole",
            Self::SlowBody => "the body must arrive within 30 s",
            Self::Json(error) => return error.to_string(),
            Self::Fields(errors) => {
                let first = errors.first();
                return first.map(|first| format!("`{}` {}", first.field, first.detail)).unwrap_or_default();
            }
            Self::Query { detail, .. } => return detail.clone(),
            Self::NoPrecondition => "send If-Match with the ETag that you read",
            Self::Stale(current) => return format!("changed meanwhile; the current generation is {}", current.0),
            Self::IdempotencyKey => "must be 1 to 255 printable ASCII characters",
            Self::IdempotencyReused => "the same key came with another request",
            Self::IdempotencyRunning => "the first request with this key is still running",
            Self::ConnectionRequired { scopes, login_url } => return connection_required(scopes, login_url.as_deref()),
            Self::ConnectionExists(_) => "there is one for this server and holder: change it",
            Self::StatusTransition { from, to } => {
                let (from, to) = (from.as_str(), to.as_str());
                return format!("from {from} to {to} leads only a login, a new credential or a good test");
            }
            Self::Taken { field } => return format!("another one has this {field}"),
            Self::Quota(Code::QuotaServers, limit) => return format!("this tenant may have {limit} servers"),
            Self::Quota(Code::QuotaKeys, limit) => return format!("a tenant may have {limit} live keys"),
            Self::Quota(_, limit) => return format!("there may be {limit} of them"),
            Self::LastAdmin => {
                "without it nobody could administer the platform, now or within a day; make another platform admin first"
            }
            Self::LocalAccountsOff => "this tenant's `local_accounts` is false",
            Self::LoginNotSupported => {
                "people don't sign in at this server: it takes a key or nothing (its auth type is not authorization_code)"
            }
            Self::ServerLive => "only a deleted server can be purged",
            Self::Referenced(_) => "keys name it: change or revoke them first; its dependencies list them",
            Self::ChainFull => {
                "the key and the one that it replaces, or that replaces it, live already: revoke one of them first"
            }
            Self::KeyEnded => "the key is revoked or has expired",
            Self::RecoverBusy => "too many passes wait already; try again",
            Self::Unreachable { class, message } => return format!("{message} ({class}); nothing was saved"),
            Self::Issuer(why) => return format!("{why} ({})", why.class()),
            Self::AddressBlocked { hint: Some(hint) } => {
                return format!(
                    "the address policy does not allow this address; a platform admin allows it, with --tenant for one tenant only: {hint}"
                );
            }
            Self::AddressBlocked { hint: None } => "the address policy does not allow this address",
            Self::Upstream { class, message } => return format!("{message} ({class})"),
            Self::NoProxyAttached => "no proxy is attached that could reach the upstream; try again when one is",
            Self::ProxyTimedOut => "the proxy did not answer in time",
            Self::ProxyRefused(reason) => return reason.clone(),
            Self::Unavailable => "the database can't be used now",
            Self::Uncertain => "the database went away while it committed: read whether the change was made",
            Self::Full => "the database has no room; nothing was changed",
            Self::Sealed => "the key that opens secrets can't be had now; nothing was changed",
            Self::CredentialUnreadable => {
                "the credential can't be opened with the keys of this installation: it was left as it is, give it again to replace it"
            }
            Self::Internal => "a fault of this service",
        };
        fixed.to_owned()
    }

    /// Members beyond the common ones.
    fn extra(&self) -> Map<String, Value> {
        let extra = match self {
            Self::Forbidden(needs) | Self::Scope(needs) => json!({"needs": needs}),
            Self::Unreachable { class, .. } | Self::Upstream { class, .. } => json!({"class": class}),
            Self::Issuer(why) => json!({"class": why.class()}),
            Self::AddressBlocked { hint: Some(hint) } => json!({"hint": hint}),
            Self::Json(JsonError::Invalid { offset }) => json!({"offset": offset}),
            Self::Stale(current) => json!({"current_generation": current.0}),
            Self::Quota(_, limit) => json!({"limit": limit}),
            Self::ConnectionRequired { scopes, login_url } => {
                let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
                json!({"scopes": scopes, "login_url": login_url})
            }
            Self::ConnectionExists(id) => json!({"connection": id.to_string()}),
            Self::Taken { field } => json!({"field": field}),
            Self::Referenced(dependencies) => json!({"dependencies": DependenciesView::from(&**dependencies)}),
            _ => json!({}),
        };
        if let Value::Object(extra) = extra { extra } else { Map::new() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let code = self.code();
        let errors: Vec<Value> = match &self {
            Self::Fields(errors) => errors
                .iter()
                .map(|error| json!({"field": error.field, "code": error.code.as_str(), "detail": error.detail}))
                .collect(),
            _ => Vec::new(),
        };
        let mut body = self.extra();
        body.insert("type".to_owned(), format!("urn:gatehouse:{}", code.as_str()).into());
        body.insert("title".to_owned(), code.title().into());
        body.insert("status".to_owned(), code.status().as_u16().into());
        body.insert("code".to_owned(), code.as_str().into());
        body.insert("detail".to_owned(), self.detail().into());
        body.insert("trace_id".to_owned(), trace_id().into());
        body.insert("errors".to_owned(), errors.into());
        let mut response = (code.status(), Value::Object(body).to_string()).into_response();
        response.extensions_mut().insert(Title(code.title()));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match code {
            Code::Unauthenticated | Code::MalformedKey => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            }
            Code::InsufficientScope => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(SCOPE_CHALLENGE));
            }
            Code::IdempotencyRunning
            | Code::NoProxyAttached
            | Code::RecoverBusy
            | Code::DatabaseUnavailable
            | Code::Sealed => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => (),
        }
        response
    }
}

/// What is missing, and how to come by it.
fn connection_required(scopes: &[Scope], login_url: Option<&str>) -> String {
    let scopes: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let accepted = if scopes.is_empty() { "none".to_owned() } else { scopes.join(", ") };
    match login_url {
        Some(url) => format!("no usable connection; accepted: {accepted}; log in at {url}"),
        None => format!("no usable connection; accepted: {accepted}"),
    }
}

/// The challenge of every 401.
pub(crate) const CHALLENGE: &str = "Bearer realm=\"gatehouse\"";

/// Of a 403 for want of a scope (RFC 6750).
const SCOPE_CHALLENGE: &str = "Bearer realm=\"gatehouse\", error=\"insufficient_scope\"";

impl From<Vec<FieldError>> for Problem {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::Fields(errors)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            StoreError::NameTaken => Self::Taken { field: "name" },
            StoreError::TitleTaken => Self::Taken { field: "title" },
            StoreError::Stale { current } => Self::Stale(current),
            StoreError::Quota { limit } => Self::Quota(Code::QuotaServers, limit),
            StoreError::QuotaKeys { limit } => Self::Quota(Code::QuotaKeys, limit),
            StoreError::LoginTaken => Self::Taken { field: "login" },
            StoreError::Bound { limit, .. } => Self::Quota(Code::Quota, limit),
            StoreError::ExternalIdTaken => Self::Taken { field: "external_id" },
            StoreError::IssuerTaken => Self::Taken { field: "issuer" },
            StoreError::RuleTaken => Self::Taken { field: "rule" },
            StoreError::StillLive => Self::ServerLive,
            StoreError::Referenced(dependencies) => Self::Referenced(dependencies),
            StoreError::LastAdmin => Self::LastAdmin,
            StoreError::ChainFull => Self::ChainFull,
            StoreError::KeyEnded => Self::KeyEnded,
            StoreError::NoDepartment => Self::Fields(vec![FieldError {
                field: "departments".to_owned(),
                code: Code::Department,
                detail: "names what is no department of this tenant".to_owned(),
            }]),
            StoreError::NoServer => Self::Fields(vec![FieldError {
                field: "tools".to_owned(),
                code: Code::Server,
                detail: "names what is no server of this tenant".to_owned(),
            }]),
            StoreError::ClaimLost => Self::IdempotencyRunning,
            other => {
                tracing::error!(error = %telemetry::chain(&other), "the database failed or refused");
                match other {
                    StoreError::Unavailable(_) | StoreError::Interrupted => Self::Unavailable,
                    StoreError::Uncertain(_) => Self::Uncertain,
                    StoreError::Full(_) => Self::Full,
                    _ => Self::Internal,
                }
            }
        }
    }
}

impl From<KeyringError> for Problem {
    fn from(error: KeyringError) -> Self {
        match error {
            KeyringError::Store(error) => error.into(),
            // A fault of whoever called: what is longer than a secret may be is refused before.
            KeyringError::Unreadable(VaultError::TooLong) => Self::Internal,
            KeyringError::Unreadable(_) => {
                tracing::error!(error = %telemetry::chain(&error), "a secret can't be opened");
                Self::CredentialUnreadable
            }
            KeyringError::Unavailable(_) => {
                tracing::error!(error = %telemetry::chain(&error), "the key that opens secrets can't be had");
                Self::Sealed
            }
        }
    }
}

impl From<LookError> for Problem {
    fn from(why: LookError) -> Self {
        match why {
            LookError::Document(OutwardError::Store(error)) | LookError::Keys(OutwardError::Store(error)) => {
                error.into()
            }
            why => Self::Issuer(Box::new(why)),
        }
    }
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::NoProxyAttached => Self::NoProxyAttached,
            CommandError::TimedOut => Self::ProxyTimedOut,
            CommandError::Upstream { class, message } => Self::Upstream { class, message },
            CommandError::Rejected(reason) => Self::ProxyRefused(reason),
        }
    }
}

impl From<ServersError> for Problem {
    fn from(error: ServersError) -> Self {
        match error {
            ServersError::Store(error) => error.into(),
            ServersError::Blocked { hint } => Self::AddressBlocked { hint },
            ServersError::Https { hint } => Self::Fields(vec![FieldError {
                field: "url".to_owned(),
                code: Code::HttpsRequired,
                detail: format!("must be https; a platform admin allows plain http with: {hint}"),
            }]),
            ServersError::Probe(CommandError::Upstream { class, message }) => Self::Unreachable { class, message },
            ServersError::Probe(error) => error.into(),
            ServersError::Fields(wrong) => Self::Fields(wrong),
            ServersError::Keyring(error) => error.into(),
            ServersError::Connection(error) => error.into(),
            ServersError::ConnectionRequired { scopes, .. } => Self::ConnectionRequired { scopes, login_url: None },
            ServersError::Unresolved(why) => match why.reason.as_str() {
                "sealed" => Self::Sealed,
                "credential_unreadable" => Self::CredentialUnreadable,
                _ => Self::Unreachable { class: why.reason, message: why.message },
            },
        }
    }
}
