//! Calls of clients with sessions to upstreams without them, and the other way round (protocol.md 3): what goes out, and
//! what is answered without going out.

pub(crate) mod rounds;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use mcp::{Envelope, Object, Params, Revision, Span, meta, write};
use serde_json::json;
use telemetry::trace;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::asked::{Asked, Renamed};
use crate::credentials::Part;
use crate::flights::Flight;
use crate::principal::Authenticated;
use crate::shape::{Cell, Shape};
use crate::table::Mount;
use crate::upstream::http::{self as streamable, Answer};
use crate::upstream::stateless::{Stateless, repeated};
use crate::upstream::{Connected, Failure};

/// A request as it goes to an upstream.
pub(crate) struct Outgoing {
    pub(crate) id: String,
    pub(crate) body: Bytes,
    /// The headers beside those of HTTP itself; `None`: those of the client that may cross.
    pub(crate) headers: Option<HeaderMap>,
    /// The raw params, where a retry would be made of them.
    pub(crate) params: Bytes,
}

/// The message for an upstream: a fresh envelope around the client's params, as its era wants them. `level`: from where on
/// the client's session wants log messages, raw JSON.
pub(crate) fn outgoing(
    asked: &Asked<'_>,
    mount: &Mount,
    connected: &Connected,
    part: Part,
    id: u64,
    renamed: &Renamed,
    level: Option<&[u8]>,
) -> Result<Outgoing, Failure> {
    let text = id.to_string();
    let params = asked.params();
    let token = params.and_then(|params| params.progress_token);
    // Two at the most, kept where they stand: every call comes by here.
    let mut places = [const { write::Patch { span: Span::NOWHERE, with: b"" } }; 2];
    let mut free = places.iter_mut();
    let wanted = [renamed.as_ref().map(|(span, with)| (*span, &**with)), token.map(|span| (span, text.as_bytes()))];
    for ((span, with), place) in wanted.into_iter().flatten().zip(&mut free) {
        *place = write::Patch { span, with };
    }
    let used = 2 - free.len();
    let patches = places.get_mut(..used).unwrap_or_default();
    patches.sort_unstable_by_key(|patch| patch.span.start());
    let all = params.map(|params| params.all);
    let stateless = match connected {
        Connected::Stateless(stateless) => Some(stateless),
        Connected::Http(_) | Connected::Legacy(..) => None,
    };
    let bridged = asked.session.client().is_stateless() != stateless.is_some();
    let (body, params) = if bridged {
        let mut own = Vec::new();
        if let Some(all) = all {
            write::patched(&mut own, asked.message, all, patches);
        }
        let own = match stateless {
            Some(stateless) => stateless.params(&own, level),
            None if own.is_empty() => Some(own),
            None => meta::without_reserved(&own),
        };
        let params = Bytes::from(own.ok_or(Failure::BadResponse("its params are no object"))?);
        let whole = Some(Span::whole(&params)).filter(|_| !params.is_empty());
        (write::request(&text, asked.method(), &params, whole, &[]), params)
    } else {
        (write::request(&text, asked.method(), asked.message, all, patches), Bytes::new())
    };
    let headers = match stateless {
        None => None,
        Some(_) => Some(headers(asked, mount, part, renamed).ok_or_else(unsayable)?),
    };
    Ok(Outgoing { id: text, body, headers, params })
}

/// The headers that repeat the body that goes out.
fn headers(asked: &Asked<'_>, mount: &Mount, part: Part, renamed: &Renamed) -> Option<HeaderMap> {
    let (method, message) = (asked.method(), asked.message);
    let span = asked.params().and_then(|params| match method {
        "tools/call" | "prompts/get" => params.name,
        "resources/read" => params.uri,
        "tasks/get" | "tasks/update" | "tasks/cancel" => params.task_id,
        _ => None,
    });
    let name = match renamed {
        Some((place, with)) if Some(*place) == span => mcp::unescape(with),
        _ => Params::text(span, message),
    };
    if method != "tools/call" {
        return repeated(asked.passed, method, name.as_deref(), &[]);
    }
    let listed = mount.known(part, mount.terms(asked.session.client()), mcp::ListKind::Tools);
    let annotated = listed.as_ref().and_then(|listed| listed.header_params.get(name.as_deref()?));
    let arguments = asked.params().and_then(|params| params.arguments).map(|span| span.of(message));
    let expected = annotated.map(|annotated| annotated.expected(arguments)).unwrap_or_default();
    repeated(asked.passed, method, name.as_deref(), &expected)
}

/// A method that no server has: it can't even be said.
fn unsayable() -> Failure {
    let error = Bytes::from_static(br#"{"code":-32601,"message":"there is no such method"}"#);
    Failure::Status { status: 404, retry_after: None, error: Some(error) }
}

/// Whether a stateless upstream refused a call because a header does not repeat an argument: it annotates its tools
/// otherwise than when they were listed.
pub(crate) fn misses_headers(failure: &Failure) -> bool {
    matches!(failure, Failure::Status { status: 400, error: Some(error), .. }
        if crate::upstream::stateless::code(error) == Some(-32020))
}

/// What the gateway answers itself to a method of sessions, in front of an upstream that has none: the raw result or error.
pub(crate) fn answered_here(shape: &Shape, method: &str) -> Option<Result<&'static [u8], &'static [u8]>> {
    if shape.cell() != Cell::LM {
        return None;
    }
    match method {
        // Goes along with each later call.
        "logging/setLevel" => Some(Ok(b"{}")),
        // Neither declared by the upstream nor to it.
        "tasks/get" | "tasks/list" | "tasks/result" | "tasks/cancel" => {
            Some(Err(br#"{"code":-32601,"message":"this server runs no tasks in a session"}"#))
        }
        _ => None,
    }
}

/// An answer of a stateless upstream for a client with a session.
pub(crate) enum Held {
    /// One message.
    Whole(Bytes),
    Events(egress::Body),
}

/// How long an answer is awaited.
pub(crate) struct Until<'a> {
    pub(crate) deadline: Instant,
    pub(crate) cancelled: &'a CancellationToken,
    /// Keeps the request among those under way.
    pub(crate) held: Option<Flight>,
    /// Who asked.
    pub(crate) who: Authenticated,
}

/// Posts a request of a client with a session. If that goes away, the upstream must not take it for a cancellation, as it
/// would when its stream is closed: the answer is awaited all the same, up to the deadline of the call. What the client
/// cancels itself is given up at once, then too. Without its client it has to have a place of its tenant's and one at the
/// upstream like any other call: where there is none, it is given up.
pub(crate) async fn posted(
    mount: &Arc<Mount>,
    stateless: &Stateless,
    headers: HeaderMap,
    body: Bytes,
    largest: usize,
    until: Until<'_>,
) -> Result<Held, Failure> {
    let Until { deadline, cancelled, held, who } = until;
    let (sender, answered) = oneshot::channel();
    let (mount, stateless, places, cancellation) =
        (mount.clone(), stateless.clone(), mount.places.clone(), cancelled.clone());
    // Dropped with the future of who waits for the answer.
    let left = CancellationToken::new();
    let _waits = left.clone().drop_guard();
    let alone = async move {
        left.cancelled().await;
        // What it had is given back in this moment.
        tokio::time::sleep(GIVEN_BACK).await;
        if let Some(_call) = who.tenant.usage.call()
            && let Some(_place) = places.take().await
        {
            std::future::pending::<()>().await;
        }
    };
    let posting = async move {
        let outcome = match stateless.post(&mount, &headers, body).await {
            Ok(Answer::Json(body)) => streamable::read(body, largest).await.map(Held::Whole),
            Ok(Answer::Events(body)) => Ok(Held::Events(body)),
            Ok(Answer::Nothing) => Err(Failure::BadResponse("it is empty")),
            Err(failure) => Err(failure),
        };
        // Nobody waits for it any more.
        if let Err(Ok(Held::Events(body))) = sender.send(outcome) {
            streamable::read(body, DRAINED).await.map(drop).unwrap_or_default();
        }
    };
    tokio::spawn(trace::carried(async move {
        tokio::select! {
            () = cancellation.cancelled() => (),
            () = alone => (),
            _done = tokio::time::timeout_at(deadline, posting) => (),
        }
        drop(held);
    }));
    // Of what was given up nothing is heard: that is no failure of the upstream's.
    let unheard = |_| if cancelled.is_cancelled() { Failure::Cancelled } else { Failure::Deadline };
    answered.await.map_err(unheard)?
}

/// How long what a request holds may take to be given back when its connection is gone.
const GIVEN_BACK: Duration = Duration::from_millis(50);

/// Most bytes of an answer that nobody waits for.
const DRAINED: usize = 64 << 20;

/// What a client's session begins with at the URL of a stateless upstream: an InitializeResult made of its DiscoverResult.
pub(crate) fn initialized(discovered: &[u8], revision: Revision, server: &str) -> Bytes {
    let said = Object::read(discovered);
    let raw = |name: &str| said.as_ref().and_then(|said| said.get(name));
    let capabilities = raw("capabilities").and_then(Object::read).map(|capabilities| {
        // Of extensions a session knows nothing.
        let dropped = |name: &str| if name == "extensions" { mcp::Change::Drop } else { mcp::Change::Keep };
        capabilities.edited(|name, _| dropped(name), &[])
    });
    let info = raw("_meta").and_then(Object::read).and_then(|meta| meta.get(meta::SERVER_INFO));
    let unnamed = json!({ "name": server, "version": "" }).to_string();
    let mut out = Vec::with_capacity(discovered.len() + 128);
    out.extend_from_slice(br#"{"protocolVersion":""#);
    out.extend_from_slice(revision.as_str().as_bytes());
    out.extend_from_slice(br#"","capabilities":"#);
    out.extend_from_slice(capabilities.as_deref().unwrap_or(b"{}"));
    out.extend_from_slice(br#","serverInfo":"#);
    out.extend_from_slice(info.filter(|info| info.starts_with(b"{")).unwrap_or(unnamed.as_bytes()));
    if let Some(instructions) = raw("instructions").filter(|text| text.starts_with(b"\"")) {
        out.extend_from_slice(br#","instructions":"#);
        out.extend_from_slice(instructions);
    }
    out.push(b'}');
    out.into()
}

/// The result or error of the response to `id` in a whole message.
fn response(message: &Bytes, id: u64) -> Result<crate::questions::Answer, Failure> {
    crate::upstream::response_in(message, id)?.ok_or(Failure::BadResponse("it answers something else"))
}

/// The envelope of a whole message that must be a response.
pub(crate) fn scanned(message: &Bytes) -> Result<Envelope, Failure> {
    Envelope::scan(message).map_err(|_| Failure::BadResponse("it is not a JSON-RPC message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_begins_with_what_was_discovered() {
        for (discovered, expected) in [
            (
                r#"{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{"listChanged":true},"extensions":{"x":{}}},"instructions":"Do\n","ttlMs":1,"_meta":{"io.modelcontextprotocol/serverInfo":{"name":"u","version":"1"}}}"#,
                r#"{"protocolVersion":"2025-06-18","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"u","version":"1"},"instructions":"Do\n"}"#,
            ),
            (
                r#"{"supportedVersions":["2026-07-28"]}"#,
                r#"{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"notes","version":""}}"#,
            ),
        ] {
            let result = initialized(discovered.as_bytes(), Revision::V2025_06_18, "notes");
            assert_eq!(String::from_utf8(result.to_vec()).unwrap(), expected);
        }
    }

    #[test]
    fn a_session_sets_its_level_here() {
        use crate::client::{Capabilities, Client};
        let client = |revision| Client { revision, capabilities: Capabilities::NONE };
        let shape = |revision, era| Shape::of(client(revision), era, "x");
        let bridged = shape(Revision::LATEST, mcp::Era::Stateless);
        assert_eq!(answered_here(&bridged, "logging/setLevel"), Some(Ok(&b"{}"[..])));
        assert!(matches!(answered_here(&bridged, "tasks/list"), Some(Err(_))));
        assert_eq!(answered_here(&bridged, "tools/call"), None);
        for other in [shape(Revision::LATEST, mcp::Era::Session), shape(Revision::STATELESS, mcp::Era::Stateless)] {
            assert_eq!(answered_here(&other, "logging/setLevel"), None);
        }
    }
}
