//! Everything that can go wrong on the way of a request, whose fault it is, and the one mapping to
//! HTTP status and JSON-RPC error.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use egress::{EgressError, Sent};
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use mcp::Revision;

use crate::upstream::Failure;

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
    /// No key, or none that is valid now.
    Unauthenticated(&'static str),
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
    /// The upstream wants a credential and there is none.
    ConnectionRequired,
    /// The address policy forbids the upstream, or the upstream sent us elsewhere.
    Blocked(&'static str),
    /// The connection broke after the call may have been executed.
    Uncertain,
    /// The same, of a call that may have been executed before it came to this.
    AfterTheFact(Box<Fault>),
    /// Our own mistake.
    Internal,
}

/// How a fault looks from outside.
struct Face {
    status: StatusCode,
    code: i32,
    reason: &'static str,
    message: Cow<'static, str>,
}

impl Fault {
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
            Failure::SessionLost => Self::Unavailable { class: "session", retry_after: None },
            Failure::Unauthorized => Self::ConnectionRequired,
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
            Self::Unauthenticated(reason) => {
                face(StatusCode::UNAUTHORIZED, -32600, reason, "a valid key is needed: Authorization: Bearer ghk_…")
            }
            Self::Forbidden => face(StatusCode::FORBIDDEN, -32600, "forbidden", "this needs the key of a tenant admin"),
            Self::Viewer => face(
                StatusCode::FORBIDDEN,
                -32600,
                "viewer",
                "a viewer's key reads from the management service and calls nothing here: a key of the role user does",
            ),
            Self::NotFound => face(StatusCode::NOT_FOUND, -32600, "not_found", "nothing is served here"),
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
            Self::Unknown { reason } => {
                Face { status: here, code: -32602, reason, message: reason.replace('_', " ").into() }
            }
            Self::Params(message) => face(here, -32602, "invalid_params", message),
            Self::ToolDisabled => face(here, -31007, "tool_disabled", "an administrator disabled this tool"),
            Self::Unavailable { class, .. } => Face {
                status: here,
                code: -31001,
                reason: "upstream_unavailable",
                message: match *class {
                    "status" => "the server answered with a failure".into(),
                    "cooling" => "the server failed and is left alone for a while".into(),
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
            Self::AfterTheFact(fault) => fault.retry_after(),
            Self::Draining | Self::NotReady => Some(Duration::from_secs(1)),
            _ => None,
        }
    }

    /// The JSON-RPC error body for the request with this id, about this server.
    pub(crate) fn body(&self, id: Option<&[u8]>, server: Option<&str>) -> Bytes {
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
                    map.insert(
                        "supported".to_owned(),
                        Revision::ALL.iter().map(|revision| revision.as_str()).collect(),
                    );
                    map.insert("requested".to_owned(), requested.as_str().into());
                }
                Self::Uncertain | Self::AfterTheFact(_) | Self::Timeout { uncertain: true } => {
                    map.insert("outcome_uncertain".to_owned(), true.into());
                }
                Self::ConnectionRequired => {
                    map.insert("needs_reauth".to_owned(), true.into());
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
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        match self {
            Self::Unauthenticated(_) => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_look_as_the_table_says() {
        for (fault, status, code) in [
            (Fault::Parse, 400, -32700),
            (Fault::Unauthenticated("unauthenticated"), 401, -32600),
            (Fault::Viewer, 403, -32600),
            (Fault::SessionUnknown, 404, -32600),
            (Fault::StreamTaken, 409, -32600),
            (Fault::TooLarge(1), 413, -31004),
            (Fault::Quota { what: "calls", retry_after: Duration::from_millis(300) }, 429, -31009),
            (Fault::Draining, 503, -31010),
            (Fault::Unavailable { class: "refused", retry_after: None }, 200, -31001),
            (Fault::Timeout { uncertain: true }, 200, -31002),
            (Fault::Uncertain, 200, -31013),
            (Fault::ConnectionRequired, 200, -31006),
        ] {
            let response = fault.response(Some(b"7"), Some("notes"));
            assert_eq!(response.status().as_u16(), status, "{fault:?}");
            let body: serde_json::Value = serde_json::from_slice(&fault.body(Some(b"7"), Some("notes"))).unwrap();
            assert_eq!(body["error"]["code"], code, "{fault:?}");
            assert_eq!(body["id"], 7);
            assert_eq!(body["error"]["data"]["origin"], "gateway");
            assert_eq!(body["error"]["data"]["server"], "notes");
        }
    }

    #[test]
    fn a_refused_version_names_what_is_spoken() {
        let fault = Fault::Version { requested: "2026-07-28".to_owned() };
        let body: serde_json::Value = serde_json::from_slice(&fault.body(Some(b"1"), None)).unwrap();
        assert_eq!(body["error"]["code"], -32022);
        assert!(!body["error"]["data"]["supported"].to_string().contains("2026"));
    }
}
