//! What spans say of a request: the conventions of OpenTelemetry for MCP and HTTP. Never arguments, results,
//! URLs of upstreams or secrets.

use egress::EgressError;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use mcp::{Envelope, Params};
use telemetry::trace::{self, Details, Kind, Span};

use crate::principal::Authenticated;
use crate::session::Session;
use crate::table::Way;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The span of a client's request. Probes have none.
pub(crate) fn server<B>(request: &Request<B>) -> Span {
    let path = request.uri().path();
    if matches!(path, "/livez" | "/readyz") {
        return Span::default();
    }
    let header = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let span = trace::server(header(TRACEPARENT), header(TRACESTATE));
    span.describe(|span| {
        span.name(request.method().as_str());
        span.text("http.request.method", request.method());
        span.text("url.path", path);
        span.text("network.protocol.name", "http");
        span.text("network.transport", "tcp");
    });
    span
}

/// Who asks for what; the tool by its name, and nothing of its arguments.
pub(crate) fn describe(span: &mut Details, who: &Authenticated, envelope: &Envelope, message: &[u8]) {
    let method = envelope.method(message);
    let name = envelope.params.as_ref().and_then(|params| Params::text(params.name, message));
    match (method, &name) {
        ("tools/call" | "prompts/get", Some(name)) => span.name(&format!("{method} {name}")),
        _ => span.name(method),
    }
    span.text("mcp.method.name", method);
    match (method, name) {
        ("tools/call", Some(name)) => {
            span.text("gen_ai.operation.name", "execute_tool");
            span.text("gen_ai.tool.name", name);
        }
        ("prompts/get", Some(name)) => span.text("gen_ai.prompt.name", name),
        _ => (),
    }
    if let Some(id) = envelope.id {
        span.text("jsonrpc.request.id", String::from_utf8_lossy(id.of(message)).trim_matches('"'));
    }
    span.text("gatehouse.tenant", who.tenant.spec.name.as_str());
    if let Some(user) = who.user() {
        span.text("user.id", user.to_string());
    }
}

/// The session of the client. Not its id, which is a credential of sorts, but what stands in it.
pub(crate) fn in_session(span: &mut Details, session: &Session) {
    span.text("mcp.session.id", session.uid.0.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    span.text("mcp.protocol.version", session.revision.as_str());
}

/// The span of a request to an upstream, within the one at work.
pub(crate) fn upstream(way: &Way, method: &Method) -> Span {
    trace::child(Kind::Client, |span| {
        span.name(method.as_str());
        span.text("http.request.method", method);
        let authority = way.upstream.authority();
        match authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?))) {
            Some((host, port)) => {
                span.text("server.address", host);
                span.number("server.port", port);
            }
            None => span.text("server.address", authority),
        }
    })
}

/// Tells the upstream for which span it works. A trace that begins here and is not recorded is told too;
/// where nothing begins here, what the client said stays.
pub(crate) fn hand_on(span: &Span, headers: &mut HeaderMap) {
    let context = span.context().or_else(|| trace::current().filter(|_| !headers.contains_key(TRACEPARENT)));
    if let Some(Ok(value)) = context.map(|context| HeaderValue::try_from(context.to_string())) {
        headers.insert(TRACEPARENT, value);
    }
}

/// How the upstream answered.
pub(crate) fn answered<B>(span: &mut Details, answer: &Result<Response<B>, EgressError>) {
    match answer {
        Ok(response) => status(span, response, 400),
        Err(error) => span.failed(error.class()),
    }
}

/// The status of an answer; from `failing` on it is a failure.
pub(crate) fn status<B>(span: &mut Details, response: &Response<B>, failing: u16) {
    let status = response.status().as_u16();
    span.number("http.response.status_code", i64::from(status));
    if status >= failing {
        span.failed(&status.to_string());
    }
}
