//! One call of a tool through a proxy, as an MCP client makes it: a session begins, is used once, and ends.

use std::time::Duration;

use bytes::Bytes;
use egress::operator::Client;
use http::{HeaderMap, Method, StatusCode, header};
use mcp::sse;
use model::Secret;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;

use crate::access::Target;
use crate::failure::Failure;
use crate::progress;
use crate::screen;

/// The revision that is spoken.
const REVISION: &str = "2025-11-25";
const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";
/// A tenant's call may take 120 s by default.
const PATIENCE: Duration = Duration::from_secs(150);
/// The largest event, as large as the largest answer.
const LARGEST: usize = 16 << 20;
/// The id of the call: `initialize` has the one before.
const CALL: u64 = 2;

/// A server behind a proxy, in the name of whoever the token is of.
pub(crate) struct Proxied {
    client: Client,
    told: String,
    path: String,
    authorization: Secret,
}

impl Proxied {
    /// `base` is where the proxy is; `server` the server's name in the tenant.
    pub(crate) fn new(
        target: &Target,
        base: &Url,
        tenant: Option<&str>,
        server: &str,
        token: &Secret,
    ) -> Result<Self, Failure> {
        Ok(Self {
            client: target.client(base)?.within(PATIENCE),
            told: base.to_string(),
            path: path(tenant, server),
            authorization: Secret::new(format!("Bearer {}", token.expose())),
        })
    }

    /// The answer to a call, as the proxy sent it: a JSON-RPC message with a result or an error.
    pub(crate) async fn call(&self, tool: &str, arguments: &RawValue) -> Result<Bytes, Failure> {
        let hello = json!({"jsonrpc": "2.0", "id": CALL - 1, "method": "initialize", "params": {
            "protocolVersion": REVISION, "capabilities": {},
            "clientInfo": {"name": "gatehouse", "version": env!("CARGO_PKG_VERSION")}}});
        let (headers, greeted) = self.asked(None, hello.to_string(), CALL - 1).await?;
        if let Some(why) = message(&greeted, CALL - 1).as_ref().and_then(error) {
            return Err(Failure::Failed(why));
        }
        let session = headers.get(SESSION).and_then(|id| id.to_str().ok()).map(|id| Secret::new(id.to_owned()));
        let session = session.as_ref();
        let begun = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        self.exchange(Method::POST, session, Some(begun.to_string())).await?;
        let call = Call { jsonrpc: "2.0", id: CALL, method: "tools/call", params: Params { name: tool, arguments } };
        let call = serde_json::to_string(&call).map_err(|error| Failure::caused("can't write the call", error))?;
        let answered = self.asked(session, call, CALL).await;
        // The session ends by itself too: that it could not be ended is no reason to fail.
        _ = self.exchange(Method::DELETE, session, None).await;
        answered.map(|(_, answer)| answer)
    }

    async fn asked(&self, session: Option<&Secret>, body: String, id: u64) -> Result<(HeaderMap, Bytes), Failure> {
        let (headers, body) = self.exchange(Method::POST, session, Some(body)).await?;
        let stranger = || Failure::Failed(format!("{} is not Gatehouse's proxy", self.told));
        let answer = answer(&headers, &body, id).ok_or_else(stranger)?;
        Ok((headers, answer))
    }

    async fn exchange(
        &self,
        method: Method,
        session: Option<&Secret>,
        body: Option<String>,
    ) -> Result<(HeaderMap, Bytes), Failure> {
        let mut headers = vec![
            (header::ACCEPT.as_str(), "application/json, text/event-stream"),
            (header::AUTHORIZATION.as_str(), self.authorization.expose()),
        ];
        headers.extend(body.as_ref().map(|_| (header::CONTENT_TYPE.as_str(), "application/json")));
        headers.extend(session.map(|session| (SESSION, session.expose())));
        headers.extend(session.map(|_| (VERSION, REVISION)));
        let exchange = self.client.request(method, &self.path, &headers, body.map(Bytes::from));
        let (status, headers, body) = progress::during("waiting for the proxy", exchange).await.map_err(|cause| {
            Failure::Unreachable { what: format!("no answer from {}", self.told), cause: Some(Box::new(cause)) }
        })?;
        if status.is_success() { Ok((headers, body)) } else { Err(refused(status, &body)) }
    }
}

#[derive(serde::Serialize)]
struct Call<'a> {
    jsonrpc: &'a str,
    id: u64,
    method: &'a str,
    params: Params<'a>,
}

#[derive(serde::Serialize)]
struct Params<'a> {
    name: &'a str,
    arguments: &'a RawValue,
}

/// Names come from the command line: each is one segment, whatever is in it.
fn path(tenant: Option<&str>, server: &str) -> String {
    #[allow(clippy::expect_used, reason = "the literal is a URL")]
    let mut url = Url::parse("http://proxy/").expect("a literal URL");
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty();
        if let Some(tenant) = tenant {
            segments.extend(["t", tenant]);
        }
        segments.extend(["servers", server, "mcp"]);
    }
    url.path().to_owned()
}

/// The answer to the request of this id: the whole body, or one event of a stream.
fn answer(headers: &HeaderMap, body: &Bytes, id: u64) -> Option<Bytes> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if !kind.starts_with("text/event-stream") {
        return message(body, id).map(|_| body.clone());
    }
    let mut events = Vec::new();
    sse::Decoder::new(LARGEST).push(body, &mut events).ok()?;
    events.into_iter().map(|event| event.data).find(|data| message(data, id).is_some())
}

fn message(text: &[u8], id: u64) -> Option<Value> {
    let message: Value = serde_json::from_slice(text).ok()?;
    let is_answer = message.get("result").is_some() || message.get("error").is_some();
    (is_answer && message.get("id").and_then(Value::as_u64) == Some(id)).then_some(message)
}

/// What the error of a message says.
fn error(message: &Value) -> Option<String> {
    let error = message.get("error")?;
    Some(screen::plain(&screen::cell(error, "message")))
}

fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let message: Option<Value> = serde_json::from_slice(body).ok();
    let why = message.as_ref().and_then(error).unwrap_or_else(|| format!("the proxy answered {status}"));
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::NoKey(why),
        StatusCode::NOT_FOUND => Failure::NotFound(why),
        _ => Failure::Failed(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, http::HeaderValue::from_static(kind))])
    }

    #[test]
    fn names_are_one_segment_each() {
        assert_eq!(path(None, "notes"), "/servers/notes/mcp");
        assert_eq!(path(Some("acme"), "notes"), "/t/acme/servers/notes/mcp");
        assert_eq!(path(Some("a/b"), "../x?y"), "/t/a%2Fb/servers/..%2Fx%3Fy/mcp");
    }

    #[test]
    fn the_answer_is_found_in_a_body_and_in_a_stream() {
        let answered = r#"{"jsonrpc":"2.0","id":2,"result":{"n":123456789012345678901234567890}}"#;
        let stream = format!(
            ": hello\nid: 1\ndata:\n\ndata: {{\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}}\n\nevent: message\ndata: {answered}\n\n"
        );
        for (kind, body) in [("application/json", answered.to_owned()), ("text/event-stream; charset=utf-8", stream)] {
            let found = answer(&headers(kind), &Bytes::from(body), 2).unwrap();
            assert_eq!(found, answered.as_bytes(), "{kind}");
        }
        for (kind, body) in [
            ("application/json", r#"{"jsonrpc":"2.0","id":1,"result":{}}"#),
            ("application/json", "<html>"),
            ("text/event-stream", "data: {\"id\":2,\"result\":{}}\n"),
            ("text/html", "hello"),
        ] {
            assert_eq!(answer(&headers(kind), &Bytes::from_static(body.as_bytes()), 2), None, "{body}");
        }
    }

    #[test]
    fn a_refusal_has_the_exit_code_that_help_promises() {
        let body = br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32001,"message":"not\u0007accepted"}}"#;
        for (status, code) in [(401, 4), (403, 4), (404, 3), (429, 1), (503, 1)] {
            let failure = refused(StatusCode::from_u16(status).unwrap(), body);
            assert_eq!((failure.exit_code(), failure.to_string().as_str()), (code, "not?accepted"), "{status}");
        }
        assert!(refused(StatusCode::BAD_GATEWAY, b"<html>").to_string().contains("502"));
    }
}
