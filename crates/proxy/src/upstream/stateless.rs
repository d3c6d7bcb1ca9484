//! Upstreams of 2026-07-28: every request carries its revision, its capabilities and the headers that repeat its body.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use mcp::param_headers::{Expected, encoded};
use mcp::{Object, Revision, Span, meta, write};

use super::http::{Answer, HttpSession};
use super::{Failure, OWN_INFO, Refusal, answer_of, http as streamable, mint_id};
use crate::client::Capabilities;
use crate::credentials::Lines;
use crate::table::Mount;

/// Repeats the method.
pub(crate) const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// Repeats the name of a tool or prompt, the URI of a resource or the id of a task.
pub(crate) const NAME: HeaderName = HeaderName::from_static("mcp-name");

/// How a stateless upstream is spoken with.
#[derive(Clone, Default)]
pub(crate) struct Stateless {
    /// What is declared with each request.
    pub(crate) capabilities: Capabilities,
    /// What a request bears.
    pub(crate) lines: Option<Arc<Lines>>,
}

impl Stateless {
    /// The same for a request that bears these lines.
    pub(super) fn bearing(&self, lines: Option<&Arc<Lines>>) -> Self {
        Self { lines: lines.cloned(), ..self.clone() }
    }

    /// The params of a client's session as this upstream wants them: what its session said once stands in each of them.
    /// `log_level` is raw JSON. `None` if they are no object.
    pub(crate) fn params(&self, params: &[u8], log_level: Option<&[u8]>) -> Option<Vec<u8>> {
        let capabilities = self.capabilities.declare();
        let reserved = meta::Reserved {
            version: Revision::STATELESS.as_str(),
            capabilities: capabilities.as_bytes(),
            client_info: OWN_INFO,
            log_level,
        };
        meta::with_reserved(params, &reserved)
    }

    /// Posts one request, with headers of [`repeated`].
    pub(crate) async fn post(&self, mount: &Mount, headers: &HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        let session = HttpSession { id: None, revision: Some(Revision::STATELESS), lines: self.lines.clone() };
        let posted = streamable::post(mount, &session, headers, body).await;
        posted.map(|(answer, _)| answer).map_err(|failure| match shows(&failure) {
            Shows::Sessions => Failure::OtherEra,
            Shows::Stateless | Shows::Nothing => failure,
        })
    }

    /// Asks on the gateway's own behalf.
    pub(super) async fn ask(&self, mount: &Mount, id: u64, method: &str, params: &[u8]) -> Result<Answer, Failure> {
        let params = self.params(params, None).ok_or(Failure::BadResponse("its cursor is no JSON"))?;
        let headers = repeated(&HeaderMap::new(), method, None, &[]).unwrap_or_default();
        let body = write::request(&id.to_string(), method, &params, Some(Span::whole(&params)), &[]);
        self.post(mount, &headers, body).await
    }

    /// Asks what the upstream is: the raw DiscoverResult, or that it is none of this era.
    pub(super) async fn discover(&self, mount: &Mount, passed: &HeaderMap) -> Result<Bytes, Failure> {
        let params = self.params(b"", None).unwrap_or_default();
        let headers = repeated(passed, "server/discover", None, &[]).unwrap_or_default();
        let id = mint_id();
        let body = write::request(&id.to_string(), "server/discover", &params, Some(Span::whole(&params)), &[]);
        let answered = match self.post(mount, &headers, body).await {
            Ok(Answer::Nothing) => return Err(Failure::OtherEra),
            Ok(answer) => answer_of(answer, id).await?,
            // It has this method in any case.
            Err(Failure::Status { status: 404, error: Some(error), .. }) if code(&error) == Some(-32601) => {
                return Err(Failure::OtherEra);
            }
            Err(Failure::Status { status: 404 | 405 | 406 | 415, .. }) => return Err(Failure::OtherEra),
            Err(failure) => return Err(failure),
        };
        match answered {
            Ok(result) if speaks(&result) => Ok(result),
            Ok(_) => Err(Failure::OtherEra),
            Err(error) => Err(match (Refusal::folded(&error), told(&error)) {
                (Some(refusal), _) => Failure::Unauthorized(Arc::new(refusal)),
                (None, Shows::Stateless) => Failure::Status { status: 400, retry_after: None, error: Some(error) },
                (None, Shows::Sessions | Shows::Nothing) => Failure::OtherEra,
            }),
        }
    }
}

/// Whether a DiscoverResult names the revision.
fn speaks(result: &[u8]) -> bool {
    let versions = Object::read(result).and_then(|result| mcp::elements(result.get("supportedVersions")?));
    versions.is_some_and(|versions| versions.iter().any(|version| *version == b"\"2026-07-28\""))
}

/// The headers that a request has to have beside those that may cross: from what goes out, never from what came in.
/// `None` if the method can't stand in a header.
pub(crate) fn repeated(
    passed: &HeaderMap,
    method: &str,
    name: Option<&str>,
    arguments: &[Expected<'_>],
) -> Option<HeaderMap> {
    let mut headers = passed.clone();
    headers.insert(METHOD, HeaderValue::from_str(method).ok()?);
    if let Some(name) = name {
        headers.insert(NAME, HeaderValue::from_str(&encoded(name)).ok()?);
    }
    for argument in arguments {
        let header = HeaderName::from_bytes(argument.header.as_bytes()).ok()?;
        headers.insert(header, HeaderValue::from_str(&argument.value()).ok()?);
    }
    Some(headers)
}

/// What a refusal shows of who refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shows {
    /// It knows the stateless era.
    Stateless,
    /// It knows sessions alone: it did nothing with the request.
    Sessions,
    /// Neither.
    Nothing,
}

/// What the refusal of a request of the stateless era shows (protocol.md 1.4). What asks for a credential, fails or is
/// in the way shows nothing.
pub(crate) fn shows(failure: &Failure) -> Shows {
    match failure {
        Failure::Status { status: 400 | 404 | 405 | 406 | 415, error: Some(error), .. } => told(error),
        Failure::Status { status: 400 | 404 | 405 | 406 | 415, error: None, .. } => Shows::Sessions,
        _ => Shows::Nothing,
    }
}

fn told(error: &[u8]) -> Shows {
    match code(error) {
        Some(-32020 | -32021 | -32602) => Shows::Stateless,
        Some(-32022) => {
            let error = Object::read(error);
            let supported = error
                .and_then(|error| Object::read(error.get("data")?))
                .and_then(|data| mcp::elements(data.get("supported")?));
            match supported {
                Some(versions) if !versions.iter().any(|version| *version == b"\"2026-07-28\"") => Shows::Sessions,
                _ => Shows::Stateless,
            }
        }
        // Codes of before the revision, whose meaning nobody knows, and what transports say to a lost session.
        Some(-32019..=-32000 | -32600) | None => Shows::Sessions,
        Some(_) => Shows::Nothing,
    }
}

/// Whether the refusal of `initialize` may be that of an upstream that knows no sessions: it has to be asked.
pub(crate) fn may_know_no_sessions(failure: &Failure) -> bool {
    match failure {
        Failure::Status { status: 400 | 404 | 405, error, .. } => {
            matches!(error.as_deref().and_then(code), Some(-32022..=-32020 | -32602..=-32600) | None)
        }
        _ => false,
    }
}

/// Whether the refusal of a request in a session says for sure that there are none.
pub(crate) fn knows_no_sessions(failure: &Failure) -> bool {
    match failure {
        Failure::Status { status: 400, error: Some(error), .. } => match code(error) {
            Some(-32020) => true,
            Some(-32022) => matches!(told(error), Shows::Stateless),
            Some(-32602) => String::from_utf8_lossy(error).contains("_meta"),
            _ => false,
        },
        _ => false,
    }
}

/// The code of a raw JSON-RPC error.
pub(crate) fn code(error: &[u8]) -> Option<i64> {
    std::str::from_utf8(mcp::member(error, "code")?.of(error)).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, error: Option<&'static str>) -> Failure {
        Failure::Status { status, retry_after: None, error: error.map(|error| Bytes::from_static(error.as_bytes())) }
    }

    #[test]
    fn what_an_upstream_refuses_shows_which_era_it_knows() {
        for (status, error, expected) in [
            (
                400,
                Some(r#"{"code":-32022,"message":"","data":{"supported":["2026-07-28"],"requested":"x"}}"#),
                Shows::Stateless,
            ),
            (400, Some(r#"{"code":-32022,"message":"","data":{"supported":["2025-11-25"]}}"#), Shows::Sessions),
            (400, Some(r#"{"code":-32022,"message":""}"#), Shows::Stateless),
            (400, Some(r#"{"code":-32020,"message":""}"#), Shows::Stateless),
            (400, Some(r#"{"code":-32021,"message":""}"#), Shows::Stateless),
            (400, Some(r#"{"code":-32602,"message":""}"#), Shows::Stateless),
            (400, Some(r#"{"code":-32000,"message":"Bad Request: Server not initialized"}"#), Shows::Sessions),
            (400, Some(r#"{"code":-32600,"message":"Bad Request: Missing session ID"}"#), Shows::Sessions),
            (400, None, Shows::Sessions),
            (404, None, Shows::Sessions),
            (405, None, Shows::Sessions),
            (404, Some(r#"{"code":-32601,"message":""}"#), Shows::Nothing),
            (401, None, Shows::Nothing),
            (403, None, Shows::Nothing),
            (429, None, Shows::Nothing),
            (500, Some(r#"{"code":-32000,"message":""}"#), Shows::Nothing),
            (503, None, Shows::Nothing),
        ] {
            assert_eq!(shows(&refused(status, error)), expected, "{status} {error:?}");
        }
        assert_eq!(shows(&Failure::Deadline), Shows::Nothing);
    }

    #[test]
    fn only_an_upstream_that_cannot_mean_anything_else_knows_no_sessions() {
        for (status, error, sure, perhaps) in [
            (400, Some(r#"{"code":-32022,"message":"","data":{"supported":["2026-07-28"]}}"#), true, true),
            (400, Some(r#"{"code":-32022,"message":"","data":{"supported":["2025-06-18"]}}"#), false, true),
            (400, Some(r#"{"code":-32020,"message":"header"}"#), true, true),
            (400, Some(r#"{"code":-32602,"message":"Invalid _meta envelope"}"#), true, true),
            (400, Some(r#"{"code":-32602,"message":"bad argument"}"#), false, true),
            (404, Some(r#"{"code":-32601,"message":"Method not found"}"#), false, true),
            (404, None, false, true),
            (400, Some(r#"{"code":-32000,"message":"x"}"#), false, false),
            (500, None, false, false),
            (401, None, false, false),
        ] {
            let failure = refused(status, error);
            assert_eq!(
                (knows_no_sessions(&failure), may_know_no_sessions(&failure)),
                (sure, perhaps),
                "{status} {error:?}"
            );
        }
    }

    #[test]
    fn headers_repeat_what_goes_out() {
        let mut passed = HeaderMap::new();
        passed.insert("traceparent", "x".parse().unwrap());
        passed.insert(NAME, "of-the-client".parse().unwrap());
        let schema = br#"{"name":"a","inputSchema":{"type":"object","properties":{"r":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"}}}}"#;
        let annotated = mcp::param_headers::HeaderParams::of_tool(schema).unwrap();
        let expected = annotated.expected(Some(br#"{"r":"gr\u00fcn","n":null}"#));
        let headers = repeated(&passed, "tools/call", Some("a b"), &expected).unwrap();
        let mut lines: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        lines.sort();
        assert_eq!(
            lines,
            ["mcp-method: tools/call", "mcp-name: a b", "mcp-param-region: =?base64?Z3LDvG4=?=", "traceparent: x"]
        );
        assert!(repeated(&passed, "a\u{7f}b", None, &[]).is_none());
    }
}
