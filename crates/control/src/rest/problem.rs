//! The only place that knows the status code and the body of an error: one enum, one match.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use model::{Generation, KeyTextError};
use serde_json::{Map, Value, json};
use store::StoreError;

use crate::proxies::CommandError;
use crate::rest::fields::FieldError;
use crate::rest::json::JsonError;
use crate::rest::trace::trace_id;
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
        code: &'static str,
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
    /// Another live object has this name or title.
    Taken {
        /// `name` or `title`.
        field: &'static str,
    },
    /// The tenant has as many servers as it may have.
    QuotaServers(u32),
    /// The tenant has as many live keys as it may have.
    QuotaKeys(u32),
    /// Without this key nobody could administer the platform.
    LastAdmin,
    /// Too many passes of recover wait already.
    RecoverBusy,
    /// The probe did not reach an MCP server; nothing was saved.
    Unreachable {
        /// timeout, refused, not_found, protocol, dns, tls or other.
        class: String,
        /// One sentence without internals.
        message: String,
    },
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
    /// The database is full or read-only: nothing was saved.
    StorageFull,
    /// A fault of ours; the log has the reason under the trace id.
    Internal,
}

/// What a problem looks like from outside.
struct Shape {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: String,
}

fn shape(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Shape {
    Shape { status, code, title, detail: detail.into() }
}

/// The title of the problem that a response holds: what the seed's surface makes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Title(pub(crate) &'static str);

impl Problem {
    /// The status of its answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.shape().status
    }

    fn shape(&self) -> Shape {
        use StatusCode as S;
        match self {
            Self::Unauthenticated => shape(
                S::UNAUTHORIZED,
                "unauthenticated",
                "Unauthenticated",
                "send `Authorization: Bearer ghk_…` with a live key",
            ),
            Self::MalformedKey(error) => shape(S::UNAUTHORIZED, "malformed_key", "Malformed key", error.to_string()),
            Self::Forbidden(needs) => {
                shape(S::FORBIDDEN, "forbidden", "Forbidden", format!("this needs the role {needs}"))
            }
            Self::ForeignHost => shape(
                S::FORBIDDEN,
                "host_not_allowed",
                "Foreign host",
                "Host or Origin is not a name of this service; set public_url",
            ),
            Self::NotFound => shape(S::NOT_FOUND, "not_found", "Not found", "no such object in this tenant"),
            Self::NoRoute => shape(S::NOT_FOUND, "no_route", "Not found", "no such path"),
            Self::Method => {
                shape(S::METHOD_NOT_ALLOWED, "method_not_allowed", "Method not allowed", "see the Allow header")
            }
            Self::MediaType => shape(
                S::UNSUPPORTED_MEDIA_TYPE,
                "content_type",
                "Unsupported media type",
                "send Content-Type: application/json",
            ),
            Self::TooLarge => {
                shape(S::PAYLOAD_TOO_LARGE, "body_too_large", "Body too large", "a body may have 256 KiB")
            }
            Self::Truncated => {
                shape(S::BAD_REQUEST, "truncated_body", "Truncated body", "the body did not arrive whole")
            }
            Self::SlowBody => {
                shape(S::REQUEST_TIMEOUT, "body_too_slow", "Body too slow", "the body must arrive within 30 s")
            }
            Self::Json(error) => shape(S::BAD_REQUEST, json_code(error), "Invalid JSON", error.to_string()),
            Self::Fields(errors) => {
                let first = errors.first();
                let detail = first.map(|first| format!("`{}` {}", first.field, first.detail)).unwrap_or_default();
                shape(S::UNPROCESSABLE_ENTITY, first.map_or("invalid", |first| first.code), "Invalid fields", detail)
            }
            Self::Query { code, detail } => {
                let status = if *code == "range" { S::UNPROCESSABLE_ENTITY } else { S::BAD_REQUEST };
                shape(status, code, "Invalid query", detail)
            }
            Self::NoPrecondition => shape(
                S::PRECONDITION_REQUIRED,
                "if_match_required",
                "If-Match required",
                "send If-Match with the ETag that you read",
            ),
            Self::Stale(current) => shape(
                S::PRECONDITION_FAILED,
                "stale",
                "Stale",
                format!("changed meanwhile; the current generation is {}", current.0),
            ),
            Self::IdempotencyKey => shape(
                S::BAD_REQUEST,
                "idempotency_key",
                "Bad Idempotency-Key",
                "must be 1 to 255 printable ASCII characters",
            ),
            Self::IdempotencyReused => shape(
                S::UNPROCESSABLE_ENTITY,
                "idempotency_key_reused",
                "Idempotency-Key reused",
                "the same key came with another request",
            ),
            Self::IdempotencyRunning => shape(
                S::CONFLICT,
                "idempotency_running",
                "Still running",
                "the first request with this key is still running",
            ),
            Self::Taken { field } => {
                let code = if *field == "title" { "title_taken" } else { "name_taken" };
                shape(S::CONFLICT, code, "Taken", format!("another one has this {field}"))
            }
            Self::QuotaServers(limit) => shape(
                S::FORBIDDEN,
                "quota_servers",
                "Too many servers",
                format!("this tenant may have {limit} servers"),
            ),
            Self::QuotaKeys(limit) => {
                shape(S::FORBIDDEN, "quota_keys", "Too many keys", format!("a tenant may have {limit} live keys"))
            }
            Self::LastAdmin => shape(
                S::CONFLICT,
                "last_platform_admin",
                "Last platform admin",
                "this is the last live key of a platform admin; make another one first",
            ),
            Self::RecoverBusy => {
                shape(S::SERVICE_UNAVAILABLE, "recover_busy", "Recover busy", "too many passes wait already; try again")
            }
            Self::Unreachable { class, message } => shape(
                S::UNPROCESSABLE_ENTITY,
                "upstream_unreachable",
                "Upstream unreachable",
                format!("{message} ({class}); nothing was saved"),
            ),
            Self::AddressBlocked { hint } => {
                let detail = "the address policy does not allow this address";
                let detail =
                    hint.as_ref().map_or_else(|| detail.to_owned(), |hint| format!("{detail}; to allow it: {hint}"));
                shape(S::UNPROCESSABLE_ENTITY, "address_blocked", "Address blocked", detail)
            }
            Self::Upstream { class, message } => {
                shape(S::BAD_GATEWAY, "upstream_failed", "Upstream failed", format!("{message} ({class})"))
            }
            Self::NoProxyAttached => shape(
                S::SERVICE_UNAVAILABLE,
                "no_proxy_attached",
                "No proxy attached",
                "no proxy is attached that could reach the upstream; try again when one is",
            ),
            Self::ProxyTimedOut => {
                shape(S::GATEWAY_TIMEOUT, "proxy_timed_out", "Proxy timed out", "the proxy did not answer in time")
            }
            Self::ProxyRefused(reason) => shape(S::BAD_GATEWAY, "proxy_refused", "Proxy refused", reason),
            Self::Unavailable => shape(
                S::SERVICE_UNAVAILABLE,
                "database_unavailable",
                "Database unavailable",
                "the database can't be used now",
            ),
            Self::StorageFull => shape(
                S::INSUFFICIENT_STORAGE,
                "storage_full",
                "Storage full",
                "the database takes no writes now; reads go on",
            ),
            Self::Internal => shape(S::INTERNAL_SERVER_ERROR, "internal", "Internal error", "a fault of this service"),
        }
    }

    /// Members beyond the common ones.
    fn extra(&self) -> Map<String, Value> {
        let extra = match self {
            Self::Unreachable { class, .. } | Self::Upstream { class, .. } => json!({"class": class}),
            Self::AddressBlocked { hint: Some(hint) } => json!({"hint": hint}),
            Self::Json(JsonError::Invalid { offset }) => json!({"offset": offset}),
            Self::Stale(current) => json!({"current_generation": current.0}),
            Self::QuotaServers(limit) | Self::QuotaKeys(limit) => json!({"limit": limit}),
            _ => json!({}),
        };
        if let Value::Object(extra) = extra { extra } else { Map::new() }
    }
}

fn json_code(error: &JsonError) -> &'static str {
    match error {
        JsonError::Invalid { .. } => "invalid_json",
        JsonError::Duplicate(_) => "duplicate_key",
        JsonError::TooDeep => "too_deep",
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Shape { status, code, title, detail } = self.shape();
        let errors: Vec<Value> = match &self {
            Self::Fields(errors) => errors
                .iter()
                .map(|error| json!({"field": error.field, "code": error.code, "detail": error.detail}))
                .collect(),
            _ => Vec::new(),
        };
        let mut body = self.extra();
        body.insert("type".to_owned(), format!("urn:gatehouse:{code}").into());
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), status.as_u16().into());
        body.insert("code".to_owned(), code.into());
        body.insert("detail".to_owned(), detail.into());
        body.insert("trace_id".to_owned(), trace_id().into());
        body.insert("errors".to_owned(), errors.into());
        let mut response = (status, Value::Object(body).to_string()).into_response();
        response.extensions_mut().insert(Title(title));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self {
            Self::Unauthenticated | Self::MalformedKey(_) => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
            }
            Self::IdempotencyRunning | Self::NoProxyAttached | Self::RecoverBusy | Self::Unavailable => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => (),
        }
        response
    }
}

/// The challenge of every 401.
pub(crate) const CHALLENGE: &str = "Bearer realm=\"gatehouse\"";

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
            StoreError::Quota { limit } => Self::QuotaServers(limit),
            StoreError::QuotaKeys { limit } => Self::QuotaKeys(limit),
            StoreError::ClaimLost => Self::IdempotencyRunning,
            other @ StoreError::Full(_) => {
                tracing::error!(error = %telemetry::chain(&other), "the database takes no writes");
                Self::StorageFull
            }
            other @ (StoreError::Database(_)
            | StoreError::Unavailable(_)
            | StoreError::Uncertain(_)
            | StoreError::Damaged { .. }
            | StoreError::Interrupted) => {
                tracing::error!(error = %telemetry::chain(&other), "the database failed");
                Self::Unavailable
            }
            other @ (StoreError::KeyTaken
            | StoreError::CrossTenant
            | StoreError::Corrupt { .. }
            | StoreError::Address
            | StoreError::File { .. }) => {
                tracing::error!(error = %telemetry::chain(&other), "the store refused what should fit");
                Self::Internal
            }
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
                code: "https_required",
                detail: format!("must be https; a platform admin allows plain http with: {hint}"),
            }]),
            ServersError::Probe(CommandError::Upstream { class, message }) => Self::Unreachable { class, message },
            ServersError::Probe(error) => error.into(),
        }
    }
}
