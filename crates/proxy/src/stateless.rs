//! Requests of the stateless era (2026-07-28): told apart from those of sessions, checked, and served by the same steps.

mod arguments;
mod discover;

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderName};
use http::{HeaderMap, HeaderValue, Response};
use mcp::{Additions, Envelope, Era, Kind, ListKind, Object, Params, Revision, meta, param_headers, write};

use crate::admission::accepts;
use crate::aggregate;
use crate::asked::Asked;
use crate::body::Body;
use crate::client::Capabilities;
use crate::fault::{Code, Fault};
use crate::gate::Gate;
use crate::limits::Held;
use crate::path::Target;
use crate::principal::Authenticated;
use crate::respond::refused;
use crate::session::{Scope, Session, Uid};
use crate::table::Offered;
use crate::toolsets;
use crate::upstream::http::VERSION;
use crate::upstream::{OWN_INFO, mint_id};

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// The extension of tasks.
const TASKS: &str = "io.modelcontextprotocol/tasks";

/// Whether a message is of the stateless era (protocol.md 1.4): what its `_meta` says, else its header.
pub(crate) fn is_stateless(headers: &HeaderMap, envelope: &Envelope) -> bool {
    envelope.params.as_ref().is_some_and(|params| params.meta_version.is_some()) || says_stateless(headers)
}

/// Whether the header says so: all there is before the body is read.
pub(crate) fn says_stateless(headers: &HeaderMap) -> bool {
    headers.get(VERSION).is_some_and(|version| version == Revision::STATELESS.as_str())
}

/// What a message says of its client, if header, body and `_meta` agree: the checks of protocol.md 1.3 up to the method,
/// in their order.
fn checked(headers: &HeaderMap, message: &[u8], envelope: &Envelope) -> Result<Capabilities, Fault> {
    if envelope.kind == Kind::Response {
        let message = "a response is posted to nobody: answers go into inputResponses".into();
        return Err(Fault::Envelope { reason: "response", message });
    }
    let params = envelope.params.as_ref();
    let version = params.and_then(|params| Params::text(params.meta_version, message));
    agree(headers, message, envelope, version.as_deref())?;
    if let Some(version) = &version
        && Revision::parse(version).is_none_or(|revision| revision.era() == Era::Session)
    {
        return Err(Fault::Version { requested: version.chars().take(32).collect() });
    }
    // A notification has no answer, and nothing of it is used.
    if envelope.kind == Kind::Notification {
        return Ok(Capabilities::NONE);
    }
    let meta = params.filter(|params| params.meta.is_some()).ok_or(Fault::Meta("_meta is missing"))?;
    if version.is_none() {
        return Err(Fault::Meta("_meta lacks io.modelcontextprotocol/protocolVersion"));
    }
    let declared = meta.meta_capabilities.map(|span| span.of(message)).filter(|raw| raw.first() == Some(&b'{'));
    let declared = declared.ok_or(Fault::Meta("_meta lacks io.modelcontextprotocol/clientCapabilities, an object"))?;
    acceptable(headers, envelope.method(message))?;
    Ok(Capabilities::declared(declared))
}

/// Headers must repeat what the body says.
fn agree(headers: &HeaderMap, message: &[u8], envelope: &Envelope, version: Option<&str>) -> Result<(), Fault> {
    let sent = one(headers, &VERSION)?;
    match (sent, version) {
        (None, _) => return Err(Fault::Headers("MCP-Protocol-Version is missing".into())),
        (Some(sent), Some(version)) if sent != version.as_bytes() => return Err(differs("MCP-Protocol-Version")),
        _ => (),
    }
    let method = envelope.method(message);
    match one(headers, &METHOD)? {
        None if envelope.kind == Kind::Request => return Err(Fault::Headers("Mcp-Method is missing".into())),
        Some(sent) if sent != method.as_bytes() => return Err(differs("Mcp-Method")),
        _ => (),
    }
    let Some(name) = named(message, envelope) else { return Ok(()) };
    match (one(headers, &NAME)?, name) {
        (None, Some(_)) => Err(Fault::Headers("Mcp-Name is missing".into())),
        (Some(sent), name) if param_headers::decoded(sent) != name => Err(differs("Mcp-Name")),
        _ => Ok(()),
    }
}

/// What `Mcp-Name` must say, if the method has one and the body says it.
#[expect(clippy::option_option, reason = "whether there is such a header, and what it says")]
fn named<'m>(message: &'m [u8], envelope: &Envelope) -> Option<Option<Cow<'m, str>>> {
    let params = envelope.params.as_ref();
    let text = |span: fn(&Params) -> Option<mcp::Span>| params.and_then(|params| Params::text(span(params), message));
    match envelope.method(message) {
        "tools/call" | "prompts/get" => Some(text(|params| params.name)),
        "resources/read" => Some(text(|params| params.uri)),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some(text(|params| params.task_id)),
        _ => None,
    }
}

/// The one value of a header; of two, two readers would take different ones.
pub(crate) fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h [u8]>, Fault> {
    let mut values = headers.get_all(name).iter();
    let first = values.next().map(HeaderValue::as_bytes);
    match values.next() {
        None => Ok(first.map(<[u8]>::trim_ascii)),
        Some(_) => Err(Fault::Headers(format!("{name} stands twice").into())),
    }
}

/// A header that says something else.
pub(crate) fn differs(name: &str) -> Fault {
    Fault::Headers(format!("{name} does not say what the body says").into())
}

/// Whoever says nothing takes anything; what only ever has a JSON answer asks for no more.
fn acceptable(headers: &HeaderMap, method: &str) -> Result<(), Fault> {
    let plain = method == "server/discover" || ListKind::of_method(method).is_some();
    let stream = method == "subscriptions/listen";
    let json = stream || accepts(headers, "application/json");
    if !headers.contains_key(ACCEPT) || (json && (plain || accepts(headers, "text/event-stream"))) {
        return Ok(());
    }
    Err(Fault::NotAcceptable)
}

/// What is done with a request before, or in place of, what is done in a session.
enum Ahead {
    /// Nothing: it is served like any other.
    Serve,
    /// The arguments that headers repeat have to be looked at, which takes a list that is not here.
    LookUp,
    Discover,
    Listen,
}

impl Gate {
    /// What stands in for a session while this one request is served.
    pub(crate) fn stateless(
        &self,
        who: &Authenticated,
        target: Target<'_>,
        headers: &HeaderMap,
        message: &Bytes,
        envelope: &Envelope,
    ) -> Result<Session, Fault> {
        let capabilities = checked(headers, message, envelope)?;
        let scope = match target {
            Target::Aggregate => Scope::Aggregate,
            Target::BuiltIn => Scope::BuiltIn,
            Target::Toolset(name) => Scope::Toolset(toolsets::of(who, name).ok_or(Fault::NotFound)?),
            Target::Server(name) => Scope::of_nobody(who.mount(name).ok_or(Fault::NotFound)?.spec.id),
        };
        // Of the ids that nobody else in this process gets.
        let uid = Uid(mint_id().to_be_bytes());
        let now = self.clock.now_secs();
        let session = Session::new(uid, who.tenant.spec.id, who.subject(), Revision::STATELESS, now, scope);
        Ok(session.able_to(capabilities).owned_by(self.node))
    }

    /// Serves a request of either era.
    pub(crate) async fn served(&self, asked: &Asked<'_>, headers: &HeaderMap, call: Held) -> Response<Body> {
        let stateless = asked.session.client().is_stateless();
        let mut answer = match self.ahead(asked, headers) {
            Ok(Ahead::Serve) => self.request(asked, call).await,
            Ok(Ahead::LookUp) => match Box::pin(self.arguments_agree(asked, headers)).await {
                Ok(()) => self.request(asked, call).await,
                Err(fault) => refused(self, &fault, Some(&asked.id), None),
            },
            Ok(Ahead::Discover) => Box::pin(self.discover(asked)).await,
            Ok(Ahead::Listen) => {
                drop(call);
                Box::pin(self.subscribed(asked)).await
            }
            Err(fault) => refused(self, &fault, Some(&asked.id), None),
        };
        if stateless
            && answer.status() == http::StatusCode::OK
            && let Some(status) = answer.extensions().get::<Code>().copied().and_then(Code::status)
        {
            *answer.status_mut() = status;
        }
        answer
    }

    fn ahead(&self, asked: &Asked<'_>, headers: &HeaderMap) -> Result<Ahead, Fault> {
        let method = asked.method();
        if !asked.session.client().is_stateless() {
            // In a session these are no methods, whatever its server would say to them.
            return match method {
                "server/discover" | "subscriptions/listen" => Err(Fault::MethodUnknown),
                _ => Ok(Ahead::Serve),
            };
        }
        match method {
            "server/discover" => Ok(Ahead::Discover),
            "subscriptions/listen" => Ok(Ahead::Listen),
            "tools/call" => self.known_arguments_agree(asked, headers),
            "tasks/get" | "tasks/update" | "tasks/cancel" => tasks(asked).map(|()| Ahead::Serve),
            method if is_removed(method) => Err(Fault::MethodUnknown),
            _ => match ListKind::of_method(method) {
                Some(kind) if !has(&self.offered(asked), kind) => Err(Fault::MethodUnknown),
                _ => Ok(Ahead::Serve),
            },
        }
    }

    /// What there is at the URL of a request, as far as that is known.
    pub(crate) fn offered(&self, asked: &Asked<'_>) -> Offered {
        match &asked.session.scope {
            Scope::Aggregate => aggregate::offered(asked.who).0,
            Scope::BuiltIn | Scope::Toolset(_) => Offered { tools: true, ..Offered::default() },
            Scope::Server { server, .. } => asked
                .who
                .mounts()
                .find(|mount| mount.spec.id == *server)
                .and_then(|mount| mount.offers.known())
                .map_or_else(Offered::everything, |known| Offered::clone(&known)),
        }
    }

    /// Has the built-in service answer a message, which is the client's or made of it.
    pub(crate) async fn by_built_in(&self, asked: &Asked<'_>, message: Bytes) -> Response<Body> {
        if !asked.session.client().is_stateless() {
            return crate::respond::json_response(self.built_in.serve(self, asked.who, message).await);
        }
        let answer = self.built_in.serve(self, asked.who, without_meta(message)).await;
        let Ok(envelope) = Envelope::scan(&answer) else { return crate::respond::json_response(answer) };
        match (envelope.result, envelope.error) {
            (Some(result), _) => crate::respond::json_response(write::result(&asked.id, &complete(result.of(&answer)))),
            (None, error) => {
                let code = error.and_then(|error| Code::of(error.of(&answer)));
                let mut response = crate::respond::json_response(answer);
                response.extensions_mut().extend(code.map(extension).unwrap_or_default());
                response
            }
        }
    }
}

fn extension(code: Code) -> http::Extensions {
    let mut extensions = http::Extensions::new();
    extensions.insert(code);
    extensions
}

/// Whether a list of this kind is among what is offered.
fn has(offered: &Offered, kind: ListKind) -> bool {
    match kind {
        ListKind::Tools => offered.tools,
        ListKind::Prompts => offered.prompts,
        ListKind::Resources | ListKind::Templates => offered.resources,
    }
}

/// The tasks of this era are an extension: a client declares it, and a server of sessions means others by their names.
fn tasks(asked: &Asked<'_>) -> Result<(), Fault> {
    let there = match &asked.session.scope {
        Scope::Aggregate => true,
        Scope::Server { server, .. } => asked
            .who
            .mounts()
            .find(|mount| mount.spec.id == *server)
            .is_some_and(|mount| mount.terms(asked.session.client()).era == Era::Stateless),
        Scope::BuiltIn | Scope::Toolset(_) => false,
    };
    if !there {
        return Err(Fault::MethodUnknown);
    }
    let declared = asked.params().and_then(|params| params.meta_capabilities).map(|span| span.of(asked.message));
    let extensions = declared.and_then(Object::read).and_then(|declared| declared.get("extensions"));
    match extensions.and_then(Object::read).is_some_and(|extensions| extensions.get(TASKS).is_some()) {
        true => Ok(()),
        false => Err(Fault::Capability(format!(r#"{{"extensions":{{"{TASKS}":{{}}}}}}"#).into())),
    }
}

/// Methods of sessions that this era has no more: no server is asked, it might have them in its sessions.
fn is_removed(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "ping"
            | "logging/setLevel"
            | "resources/subscribe"
            | "resources/unsubscribe"
            | "tasks/list"
            | "tasks/result"
    )
}

/// A result of our own, raw and not large, as this era has it: complete, and with the name of who answers.
pub(crate) fn complete(result: &[u8]) -> Bytes {
    static COMPLETE: LazyLock<Additions> = LazyLock::new(|| {
        let additions = Additions::of(&[("resultType", "\"complete\"")]);
        additions.with_meta(meta::SERVER_INFO, Bytes::from_static(OWN_INFO))
    });
    COMPLETE.to(result).map_or_else(|| Bytes::copy_from_slice(result), Bytes::from)
}

/// The message with an empty `_meta`: nothing in it is meant for who gets the message in a session.
fn without_meta(message: Bytes) -> Bytes {
    let meta = Envelope::scan(&message).ok().and_then(|envelope| envelope.params?.meta);
    let Some(span) = meta else { return message };
    let mut out = Vec::with_capacity(message.len());
    let patch = write::Patch { span, with: b"{}" };
    write::patched(&mut out, &message, mcp::Span::whole(&message), &[patch]);
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const META: &str = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"roots":{}}}"#;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    fn judge(pairs: &[(&'static str, &str)], message: &str) -> Result<Capabilities, i64> {
        let envelope = Envelope::scan(message.as_bytes()).unwrap();
        let headers = headers(pairs);
        assert!(is_stateless(&headers, &envelope), "{message}");
        let checked = checked(&headers, message.as_bytes(), &envelope);
        checked.map_err(|fault| {
            let body: serde_json::Value = serde_json::from_slice(&fault.body(None, None)).unwrap();
            body["error"]["code"].as_i64().unwrap()
        })
    }

    fn request(method: &str, params: &str) -> String {
        format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#)
    }

    const VERSION: (&str, &str) = ("mcp-protocol-version", "2026-07-28");

    #[test]
    fn header_and_body_must_agree_before_anything_else_is_looked_at() {
        let list = request("tools/list", META);
        let call = request("tools/call", &format!(r#"{META},"name":"a b","arguments":{{}}"#));
        let read = request("resources/read", &format!(r#"{META},"uri":"x:é""#));
        let task = request("tasks/get", &format!(r#"{META},"taskId":"7""#));
        let strange = list.replace("2026-07-28", "2031-01-01");
        let bare = request("tools/list", "");
        for (pairs, message, outcome) in [
            (&[VERSION, ("mcp-method", "tools/list")][..], &list, Ok(())),
            (&[VERSION, ("mcp-method", " tools/list\t")], &list, Ok(())),
            (&[("mcp-method", "tools/list")], &list, Err(-32020)),
            (&[("mcp-protocol-version", "2025-11-25"), ("mcp-method", "tools/list")], &list, Err(-32020)),
            (&[VERSION, VERSION, ("mcp-method", "tools/list")], &list, Err(-32020)),
            (&[VERSION], &list, Err(-32020)),
            (&[VERSION, ("mcp-method", "TOOLS/LIST")], &list, Err(-32020)),
            (&[VERSION, ("mcp-method", "prompts/list")], &list, Err(-32020)),
            (&[VERSION, ("mcp-method", "tools/list"), ("mcp-method", "tools/list")], &list, Err(-32020)),
            (&[VERSION, ("mcp-method", "tools/list"), ("mcp-name", "whatever")], &list, Ok(())),
            (&[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "  a b  ")], &call, Ok(())),
            (&[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?YSBi?=")], &call, Ok(())),
            (&[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?YSB?=")], &call, Err(-32020)),
            (&[VERSION, ("mcp-method", "tools/call"), ("mcp-name", "A B")], &call, Err(-32020)),
            (&[VERSION, ("mcp-method", "tools/call")], &call, Err(-32020)),
            (&[VERSION, ("mcp-method", "resources/read"), ("mcp-name", "=?base64?eDrDqQ==?=")], &read, Ok(())),
            (&[VERSION, ("mcp-method", "resources/read"), ("mcp-name", "x:é")], &read, Err(-32020)),
            (&[VERSION, ("mcp-method", "tasks/get"), ("mcp-name", "7")], &task, Ok(())),
            (&[VERSION, ("mcp-method", "tasks/get")], &task, Err(-32020)),
            // Two things are wrong: the first of them counts.
            (&[("mcp-protocol-version", "2031-01-01")], &strange, Err(-32020)),
            (&[("mcp-protocol-version", "2031-01-01"), ("mcp-method", "tools/list")], &strange, Err(-32022)),
            (&[VERSION, ("mcp-method", "tools/list")], &strange, Err(-32020)),
            (&[VERSION], &bare, Err(-32020)),
            (&[VERSION, ("mcp-method", "tools/list")], &bare, Err(-32602)),
        ] {
            assert_eq!(judge(pairs, message).map(drop), outcome, "{pairs:?} {message}");
        }
    }

    #[test]
    fn meta_says_the_version_and_what_the_client_can_be_asked() {
        let pairs = [VERSION, ("mcp-method", "server/discover")];
        let version = r#""io.modelcontextprotocol/protocolVersion":"2026-07-28""#;
        let able = r#""io.modelcontextprotocol/clientCapabilities":{"sampling":{}}"#;
        for (meta, outcome) in [
            (format!("{version},{able}"), Ok(Capabilities::declared(br#"{"sampling":{}}"#))),
            (format!(r#"{version},"io.modelcontextprotocol/clientCapabilities":{{}}"#), Ok(Capabilities::NONE)),
            (version.to_owned(), Err(-32602)),
            (able.to_owned(), Err(-32602)),
            (String::new(), Err(-32602)),
            (format!(r#"{version},"io.modelcontextprotocol/clientCapabilities":[]"#), Err(-32602)),
            (format!(r#"{version},"io.modelcontextprotocol/clientCapabilities":null"#), Err(-32602)),
            (format!(r#""io.modelcontextprotocol/protocolVersion":7,{able}"#), Err(-32602)),
        ] {
            let message = request("server/discover", &format!(r#""_meta":{{{meta}}}"#));
            assert_eq!(judge(&pairs, &message), outcome, "{message}");
        }
        for params in ["", r#""_meta":7"#] {
            assert_eq!(judge(&pairs, &request("server/discover", params)), Err(-32602), "{params}");
        }
        let legacy =
            request("server/discover", &format!(r#""_meta":{{{version},{able}}}"#)).replace("2026-07-28", "2025-11-25");
        assert_eq!(judge(&[("mcp-protocol-version", "2025-11-25"), pairs[1]], &legacy), Err(-32022));
    }

    #[test]
    fn there_are_notifications_and_no_responses() {
        let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        assert_eq!(judge(&[VERSION], notification), Ok(Capabilities::NONE));
        assert_eq!(judge(&[VERSION, ("mcp-method", "x")], notification), Err(-32020));
        for response in [r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, r#"{"jsonrpc":"2.0","id":1,"error":{}}"#] {
            assert_eq!(judge(&[VERSION], response), Err(-32600));
        }
    }

    #[test]
    fn a_client_accepts_what_may_come() {
        let both = Some("application/json, text/event-stream");
        for (accept, method, good) in [
            (None, "tools/call", true),
            (both, "tools/call", true),
            (both, "subscriptions/listen", true),
            (Some("*/*"), "tools/call", true),
            (Some("application/json"), "tools/list", true),
            (Some("application/json"), "server/discover", true),
            (Some("application/json"), "tools/call", false),
            (Some("text/event-stream"), "tools/call", false),
            (Some("text/event-stream"), "subscriptions/listen", true),
            (Some("application/json"), "subscriptions/listen", false),
            (Some("text/html"), "tools/list", false),
        ] {
            let headers = headers(&accept.map(|accept| ("accept", accept)).into_iter().collect::<Vec<_>>());
            assert_eq!(acceptable(&headers, method).is_ok(), good, "{accept:?} {method}");
        }
    }
}
