//! Everything that can go wrong on the way of a request, whose fault it is, and the one mapping to
//! HTTP status and JSON-RPC error.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use egress::{EgressError, Sent};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use mcp::{Era, Revision};

use crate::credentials::NoCredential;
use crate::upstream::Failure;

/// Longest URI that is told back to who asked for it.
const URI: usize = 2048;

/// Why a request has no proper answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The Host or Origin is not one of ours.
    Foreign,
    /// The header fields are too large.
    HeadTooLarge,
    /// No Host, or several.
    HostCount,
    /// A key in the query string: it would end up in logs.
    TokenInQuery,
    /// No key or token, or none that is valid here and now.
    Unauthenticated { reason: &'static str, challenge: Challenge },
    /// A valid key or token without this scope.
    InsufficientScope { scope: Box<str>, challenge: Challenge },
    /// The key's role is too low.
    Forbidden,
    /// A viewer's key, which only reads on the other listener.
    Viewer,
    /// No such path, tenant, or server for this principal.
    NotFound,
    /// Not with this HTTP method.
    MethodNotAllowed(&'static str),
    /// `Accept` lacks a type that an answer may have.
    NotAcceptable,
    /// The body is not `application/json`.
    UnsupportedMediaType,
    /// The body is too large.
    TooLarge(u32),
    /// The body did not arrive in time.
    ClientTimeout,
    /// This process is stopping.
    Draining,
    /// This process has never heard from control.
    NotReady,
    /// The tenant's table is older than is allowed without control.
    ConfigStale,
    /// Not JSON.
    Parse,
    /// JSON, but no message that may be served.
    Envelope { reason: &'static str, message: Cow<'static, str> },
    /// A revision that is not spoken here.
    Version { requested: String },
    /// A header of the stateless era is missing, or does not say what the body says.
    Headers(Cow<'static, str>),
    /// `_meta` lacks what each request of the stateless era says of its client.
    Meta(&'static str),
    /// The client can't be asked what this takes: the capabilities that it would have to declare, a raw object.
    Capability(Box<str>),
    /// No session where one is needed.
    SessionMissing,
    /// Unknown, ended or another principal's session.
    SessionUnknown,
    /// The session has a GET stream.
    StreamTaken,
    /// A rate or a number of places is used up.
    Quota { what: &'static str, retry_after: Duration },
    /// A method that this URL does not have.
    MethodUnknown,
    /// No such tool, prompt or resource.
    Unknown { reason: &'static str },
    /// No such resource: its URI, unless that is longer than [`URI`] bytes.
    UnknownResource(Option<Box<str>>),
    /// Params that can't be served.
    Params(&'static str),
    /// A tool that an admin disabled.
    ToolDisabled,
    /// The upstream can't be reached, or is left alone for a while.
    Unavailable { class: &'static str, retry_after: Option<Duration> },
    /// The upstream did not answer in time. `uncertain`: it may have acted all the same.
    Timeout { uncertain: bool },
    /// The upstream answered something that is no answer.
    BadResponse(&'static str),
    /// The upstream's answer is too large.
    AnswerTooLarge,
    /// The upstream wants a credential and none is bound to it.
    ConnectionRequired,
    /// The caller has no credential for the server, or none that can be used.
    NoCredential(Arc<NoCredential>),
    /// The same, for a client that opens the URL where its user can connect.
    Elicited(Arc<NoCredential>),
    /// The same, for such a client without a session: no error, but a result that asks for it.
    InputRequired(Arc<NoCredential>),
    /// The address policy forbids the upstream, or the upstream sent us elsewhere.
    Blocked(&'static str),
    /// The connection broke after the call may have been executed.
    Uncertain,
    /// The same, of a call that may have been executed before it came to this.
    AfterTheFact(Box<Fault>),
    /// Our own mistake.
    Internal,
}

/// What `WWW-Authenticate` tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Challenge {
    /// Something was shown and is no good.
    pub(crate) shown: bool,
    /// Where people can sign in, if they can.
    pub(crate) sign_in: Option<Box<SignIn>>,
}

/// How a client learns where to sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SignIn {
    /// The URL of the metadata of what was asked for (RFC 9728).
    pub(crate) metadata: String,
    /// The scope to ask for there.
    pub(crate) scope: Option<String>,
}

/// How a fault looks from outside.
struct Face {
    status: StatusCode,
    code: i32,
    reason: &'static str,
    message: Cow<'static, str>,
}

impl Fault {
    /// Nothing was shown that could be looked at.
    pub(crate) fn unauthenticated() -> Self {
        Self::Unauthenticated { reason: "unauthenticated", challenge: Challenge::default() }
    }

    /// What was shown is no good.
    pub(crate) fn invalid(reason: &'static str) -> Self {
        Self::Unauthenticated { reason, challenge: Challenge { shown: true, sign_in: None } }
    }

    /// What was shown lacks a scope.
    pub(crate) fn insufficient(scope: &str) -> Self {
        Self::InsufficientScope { scope: scope.into(), challenge: Challenge { shown: true, sign_in: None } }
    }

    /// The same, with the way to sign in where the fault is one of authentication.
    pub(crate) fn with_sign_in(mut self, find: impl FnOnce() -> Option<SignIn>) -> Self {
        if let Self::Unauthenticated { challenge, .. } | Self::InsufficientScope { challenge, .. } = &mut self {
            challenge.sign_in = find().map(Box::new);
        }
        self
    }

    /// What a failure of an upstream means for the client. `unsafe_call`: executing it twice could do harm.
    pub(crate) fn of(failure: &Failure, unsafe_call: bool) -> Self {
        let fault = Self::plain(failure, unsafe_call);
        match fault {
            Self::Uncertain | Self::Timeout { .. } => fault,
            fault if unsafe_call && failure.may_have_acted() => Self::AfterTheFact(Box::new(fault)),
            fault => fault,
        }
    }

    fn plain(failure: &Failure, unsafe_call: bool) -> Self {
        match failure {
            Failure::Egress(error) => match &**error {
                EgressError::Blocked(refusal) => Self::Blocked(refusal.code()),
                EgressError::FirstByteTimeout => Self::Timeout { uncertain: unsafe_call },
                EgressError::ConnectTimeout => Self::Timeout { uncertain: false },
                EgressError::TooLarge => Self::AnswerTooLarge,
                error if error.sent() == Sent::No => Self::Unavailable { class: error.class(), retry_after: None },
                _ if unsafe_call => Self::Uncertain,
                EgressError::Http | EgressError::Truncated => Self::BadResponse("it is broken off"),
                error => Self::Unavailable { class: error.class(), retry_after: None },
            },
            Failure::SessionLost | Failure::OtherEra => Self::Unavailable { class: "session", retry_after: None },
            Failure::Unauthorized(_) => Self::ConnectionRequired,
            Failure::NoCredential(why) => Self::NoCredential(why.clone()),
            Failure::Status { status: 429, retry_after, .. } => {
                Self::Unavailable { class: "busy", retry_after: *retry_after }
            }
            Failure::Status { status: 500.., retry_after, .. } => {
                Self::Unavailable { class: "status", retry_after: *retry_after }
            }
            Failure::Status { .. } => Self::BadResponse("its status is no success"),
            Failure::Redirected => Self::Blocked("redirect_refused"),
            Failure::BadResponse(what) => Self::BadResponse(what),
            Failure::TooLarge => Self::AnswerTooLarge,
            Failure::Deadline => Self::Timeout { uncertain: unsafe_call },
            Failure::Busy => {
                Self::Quota { what: "concurrent requests to this server", retry_after: Duration::from_secs(1) }
            }
            // Answered by the end of its stream before it comes here.
            Failure::Cancelled => Self::Internal,
            Failure::Cooling(wait) => Self::Unavailable { class: "cooling", retry_after: Some(*wait) },
        }
    }

    /// The same, for a client that can open a URL: if there is one where its user can connect.
    pub(crate) fn elicited(self) -> Self {
        match self {
            Self::NoCredential(why) if why.login_url.is_some() => Self::Elicited(why),
            fault => fault,
        }
    }

    /// The same, for one that has no session.
    pub(crate) fn input_required(self) -> Self {
        match self {
            Self::NoCredential(why) if why.login_url.is_some() => Self::InputRequired(why),
            fault => fault,
        }
    }

    /// No such resource.
    pub(crate) fn unknown_resource(uri: &str) -> Self {
        Self::UnknownResource((uri.len() <= URI).then(|| uri.into()))
    }

    /// The stable word for bodies, metrics and logs.
    pub(crate) fn reason(&self) -> &'static str {
        self.face().reason
    }

    /// Exhaustive on purpose: a new fault must say how it looks.
    fn face(&self) -> Face {
        let face = |status, code, reason, message| Face { status, code, reason, message: Cow::Borrowed(message) };
        let here = StatusCode::OK;
        let bad = StatusCode::BAD_REQUEST;
        match self {
            Self::Foreign => face(StatusCode::FORBIDDEN, -32600, "foreign_origin", "this Host or Origin is not served"),
            Self::HeadTooLarge => face(bad, -32600, "head_too_large", "the header fields are larger than 32 KiB"),
            Self::HostCount => face(bad, -32600, "host_count", "there must be one Host"),
            Self::TokenInQuery => {
                face(bad, -32600, "token_in_query", "a key belongs into the Authorization header, never into the URL")
            }
            Self::Unauthenticated { reason, .. } => face(
                StatusCode::UNAUTHORIZED,
                -32600,
                reason,
                "a valid key or token is needed: Authorization: Bearer ghk_…",
            ),
            Self::InsufficientScope { .. } => {
                face(StatusCode::FORBIDDEN, -32600, "insufficient_scope", "the key or token lacks the scope for this")
            }
            Self::Forbidden => face(StatusCode::FORBIDDEN, -32600, "forbidden", "this needs the key of a tenant admin"),
            Self::Viewer => face(
                StatusCode::FORBIDDEN,
                -32600,
                "viewer",
                "a viewer's key reads from the management service and calls nothing here: a key of the role user does",
            ),
            Self::NotFound => {
                face(StatusCode::NOT_FOUND, -32600, "not_found", "nothing is served at this URL, or not for this key")
            }
            Self::MethodNotAllowed(_) => {
                face(StatusCode::METHOD_NOT_ALLOWED, -32600, "method_not_allowed", "not with this HTTP method")
            }
            Self::NotAcceptable => face(
                StatusCode::NOT_ACCEPTABLE,
                -32600,
                "not_acceptable",
                "Accept must list application/json and text/event-stream",
            ),
            Self::UnsupportedMediaType => face(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                -32600,
                "unsupported_media_type",
                "Content-Type must be application/json",
            ),
            Self::TooLarge(limit) => Face {
                status: StatusCode::PAYLOAD_TOO_LARGE,
                code: -31004,
                reason: "request_too_large",
                message: format!("the body is larger than {limit} bytes").into(),
            },
            Self::ClientTimeout => {
                face(StatusCode::REQUEST_TIMEOUT, -32600, "request_timeout", "the body did not arrive in time")
            }
            Self::Draining => {
                face(StatusCode::SERVICE_UNAVAILABLE, -31010, "draining", "this process is stopping; try again")
            }
            Self::NotReady => face(
                StatusCode::SERVICE_UNAVAILABLE,
                -31012,
                "not_ready",
                "this process has no configuration yet; try again",
            ),
            Self::ConfigStale => face(
                StatusCode::SERVICE_UNAVAILABLE,
                -31012,
                "config_stale",
                "the configuration is too old to be trusted",
            ),
            Self::Parse => face(bad, -32700, "parse_error", "the body is not valid JSON"),
            Self::Envelope { reason, message } => Face { status: bad, code: -32600, reason, message: message.clone() },
            Self::Version { .. } => {
                face(bad, -32022, "unsupported_protocol_version", "this protocol version is not supported here")
            }
            Self::Headers(message) => {
                Face { status: bad, code: -32020, reason: "header_mismatch", message: message.clone() }
            }
            Self::Meta(message) => face(bad, -32602, "invalid_meta", message),
            Self::Capability(_) => face(
                bad,
                -32021,
                "missing_client_capability",
                "the client does not declare a capability that this needs",
            ),
            Self::SessionMissing => face(bad, -32600, "session_missing", "Mcp-Session-Id is missing: initialize first"),
            Self::SessionUnknown => face(
                StatusCode::NOT_FOUND,
                -32600,
                "session_unknown",
                "this session is over or unknown: initialize again",
            ),
            Self::StreamTaken => face(StatusCode::CONFLICT, -32600, "stream_taken", "this session has an open stream"),
            Self::Quota { what, .. } => Face {
                status: StatusCode::TOO_MANY_REQUESTS,
                code: -31009,
                reason: "quota",
                message: format!("the limit of {what} is reached").into(),
            },
            Self::MethodUnknown => face(here, -32601, "method_unknown", "this method is not served here"),
            Self::Unknown { reason } => Face {
                status: here,
                code: -32602,
                reason,
                message: format!("{}: this client is offered none of this name here", reason.replace('_', " ")).into(),
            },
            Self::UnknownResource(_) => face(here, -32602, "unknown_resource", "unknown resource"),
            Self::Params(message) => face(here, -32602, "invalid_params", message),
            Self::ToolDisabled => face(here, -31007, "tool_disabled", "an administrator disabled this tool"),
            Self::Unavailable { class, retry_after } => Face {
                status: here,
                code: -31001,
                reason: "upstream_unavailable",
                message: match *class {
                    "status" => "the server answered with a failure".into(),
                    "cooling" => {
                        let seconds = retry_after.unwrap_or_default().as_secs().max(1);
                        format!("the server failed and is left alone: try again in {seconds} s").into()
                    }
                    class => format!("the server can't be reached ({class})").into(),
                },
            },
            Self::Timeout { .. } => face(here, -31002, "upstream_timeout", "the server did not answer in time"),
            Self::BadResponse(what) => Face {
                status: here,
                code: -31003,
                reason: "upstream_bad_response",
                message: format!("the server's answer can't be passed on: {what}").into(),
            },
            Self::AnswerTooLarge => {
                face(here, -31004, "response_too_large", "the server's answer is larger than allowed")
            }
            Self::ConnectionRequired => face(
                here,
                -31006,
                "connection_required",
                "the server wants a credential and there is no connection for you",
            ),
            Self::NoCredential(why) | Self::Elicited(why) | Self::InputRequired(why) => Face {
                status: here,
                code: match self {
                    Self::Elicited(_) => -32042,
                    _ if why.needs_login => -31006,
                    _ => -31005,
                },
                reason: why.error,
                message: why.message.clone().into(),
            },
            Self::Blocked(reason) => face(here, -31007, reason, "the address policy does not allow this"),
            Self::Uncertain => face(
                here,
                -31013,
                "outcome_uncertain",
                "the connection broke: the call may or may not have been executed",
            ),
            Self::AfterTheFact(fault) => fault.face(),
            Self::Internal => face(here, -32603, "internal", "a fault of the gateway"),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Quota { retry_after, .. } => Some(*retry_after),
            Self::Unavailable { retry_after, .. } => *retry_after,
            Self::NoCredential(why) | Self::InputRequired(why) => why.retry_after,
            Self::AfterTheFact(fault) => fault.retry_after(),
            Self::Draining | Self::NotReady => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The JSON-RPC error body for the request with this id, about this server.
    pub(crate) fn body(&self, id: Option<&[u8]>, server: Option<&str>) -> Bytes {
        if let (Self::InputRequired(why), Some(id)) = (self, id) {
            return mcp::write::result(id, asking(why, server).to_string().as_bytes());
        }
        let face = self.face();
        let mut data = serde_json::json!({ "origin": "gateway", "error": face.reason, "reason": face.reason, "trace_id": telemetry::trace::trace_id() });
        if let Some(map) = data.as_object_mut() {
            if let Some(server) = server {
                map.insert("server".to_owned(), server.into());
            }
            if let Some(retry_after) = self.retry_after() {
                map.insert("retry_after_ms".to_owned(), (retry_after.as_millis() as u64).into());
            }
            match self {
                Self::Version { requested } => {
                    // Who asks without a session in a revision that has them is told of the ones that have none.
                    let session = Revision::parse(requested).is_some_and(|known| known.era() == Era::Session);
                    let spoken = |revision: &&Revision| !session || revision.era() == Era::Stateless;
                    let supported = Revision::ALL.iter().filter(spoken).map(|revision| revision.as_str()).collect();
                    map.insert("supported".to_owned(), supported);
                    map.insert("requested".to_owned(), requested.as_str().into());
                }
                Self::UnknownResource(Some(uri)) => {
                    map.insert("uri".to_owned(), (**uri).into());
                }
                Self::Capability(required) => {
                    let required = serde_json::from_str(required).unwrap_or_default();
                    map.insert("requiredCapabilities".to_owned(), required);
                }
                Self::Uncertain | Self::AfterTheFact(_) | Self::Timeout { uncertain: true } => {
                    map.insert("outcome_uncertain".to_owned(), true.into());
                }
                Self::ConnectionRequired => {
                    map.insert("needs_reauth".to_owned(), true.into());
                }
                Self::NoCredential(why) | Self::Elicited(why) | Self::InputRequired(why) => {
                    map.insert("reason".to_owned(), why.reason.into());
                    if why.needs_login {
                        map.insert("needs_reauth".to_owned(), true.into());
                    }
                    if let Some(url) = &why.login_url {
                        map.insert("login_url".to_owned(), url.as_str().into());
                    }
                    if let (Self::Elicited(_), Some(url)) = (self, &why.login_url) {
                        let id = uuid::Uuid::new_v4().to_string();
                        let asked = serde_json::json!({
                            "mode": "url", "elicitationId": id, "url": url, "message": invitation(server),
                        });
                        map.insert("elicitations".to_owned(), [asked].into_iter().collect());
                    }
                }
                _ => (),
            }
        }
        tracing::debug!(reason = face.reason, server, data = %data, "refused");
        mcp::write::error(id, face.code, &face.message, Some(data.to_string().as_bytes()))
    }

    /// The whole answer.
    pub(crate) fn response(&self, id: Option<&[u8]>, server: Option<&str>) -> Response<Bytes> {
        let face = self.face();
        let mut response = Response::new(self.body(id, server));
        *response.status_mut() = face.status;
        response.extensions_mut().insert(Code(i64::from(face.code)));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::Unauthenticated { challenge, .. } => {
                headers.insert(WWW_AUTHENTICATE, challenge.header(None));
            }
            Self::InsufficientScope { scope, challenge } => {
                headers.insert(WWW_AUTHENTICATE, challenge.header(Some(scope)));
            }
            Self::MethodNotAllowed(allow) => {
                headers.insert(ALLOW, HeaderValue::from_static(allow));
            }
            _ => (),
        }
        if face.status != StatusCode::OK
            && let Some(retry_after) = self.retry_after()
        {
            headers.insert(RETRY_AFTER, HeaderValue::from(retry_after.as_secs().max(1)));
        }
        response
    }
}

/// The code of the error that an answer carries: what its status is in the stateless era depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) i64);

impl Code {
    /// Of a raw JSON-RPC error.
    pub(crate) fn of(error: &[u8]) -> Option<Self> {
        std::str::from_utf8(mcp::member(error, "code")?.of(error)).ok()?.parse().ok().map(Self)
    }

    /// The status of a request without a session that ends so, if it is not that of an answer.
    pub(crate) fn status(self) -> Option<StatusCode> {
        match self.0 {
            -32601 => Some(StatusCode::NOT_FOUND),
            -32021 => Some(StatusCode::BAD_REQUEST),
            _ => None,
        }
    }
}

/// What a person reads who is asked to connect.
fn invitation(server: Option<&str>) -> String {
    format!(
        "Connect your account for the server \"{}\"; the call can be made again afterwards.",
        server.unwrap_or_default()
    )
}

/// The result that asks for it.
fn asking(why: &NoCredential, server: Option<&str>) -> serde_json::Value {
    let params = serde_json::json!({ "mode": "url", "url": why.login_url, "message": invitation(server) });
    serde_json::json!({
        "resultType": "input_required",
        "inputRequests": { "connect": { "method": "elicitation/create", "params": params } },
    })
}

impl Challenge {
    /// The header (RFC 6750, RFC 9728). Where nobody can sign in it is plain, as long as no scope is `missing`.
    fn header(&self, missing: Option<&str>) -> HeaderValue {
        let mut parts = Vec::with_capacity(3);
        if missing.is_some() {
            parts.push("error=\"insufficient_scope\"".to_owned());
        }
        let wanted = self.sign_in.as_ref().and_then(|sign_in| sign_in.scope.as_deref());
        if let Some(sign_in) = &self.sign_in {
            parts.push(format!("resource_metadata=\"{}\"", sign_in.metadata));
            if self.shown && missing.is_none() {
                parts.push("error=\"invalid_token\"".to_owned());
            }
        }
        // A scope is what RFC 6749 lets it be, or it is not told.
        let tellable =
            |scope: &&str| scope.bytes().all(|byte| matches!(byte, 0x20..0x7f) && !matches!(byte, b'"' | b'\\'));
        if let Some(scope) = missing.or(wanted).filter(tellable) {
            parts.push(format!("scope=\"{scope}\""));
        }
        let header = format!("Bearer {}", parts.join(", "));
        HeaderValue::try_from(header.trim_end()).unwrap_or(HeaderValue::from_static("Bearer"))
    }
}

#[cfg(test)]
mod tests;
