//! The remote ends: how they are spoken with, what they said of themselves, and asking them on the gateway's own behalf.

mod challenge;
mod failure;
pub(crate) mod http;
pub(crate) mod legacy;
mod opening;
pub(crate) mod stateless;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use http_body_util::BodyExt;
use mcp::{Envelope, Era, Kind, ListKind, Params, Revision, Span, sse, write};

pub(crate) use self::failure::{Failure, Refusal};
use self::http::{Answer, HttpSession};
use self::legacy::LegacySession;
pub(crate) use self::opening::{Opening, look_for_stateless, open};
use self::stateless::Stateless;
use crate::credentials::Lines;
use crate::table::Mount;

/// A session with an upstream.
#[derive(Clone)]
pub(crate) enum Connected {
    /// Streamable HTTP.
    Http(HttpSession),
    /// HTTP+SSE of 2024-11-05, and what its messages bear.
    Legacy(Arc<LegacySession>, Option<Arc<Lines>>),
    /// 2026-07-28: each request says everything itself. What is declared, and what they bear.
    Stateless(Stateless),
}

impl Connected {
    /// The same session for a request that bears these lines.
    pub(crate) fn bearing(&self, lines: Option<&Arc<Lines>>) -> Self {
        match self {
            Self::Http(session) => Self::Http(HttpSession { lines: lines.cloned(), ..session.clone() }),
            Self::Legacy(session, _) => Self::Legacy(session.clone(), lines.cloned()),
            Self::Stateless(stateless) => Self::Stateless(stateless.bearing(lines)),
        }
    }

    /// The era that is spoken in it.
    pub(crate) fn era(&self) -> Era {
        match self {
            Self::Http(_) | Self::Legacy(..) => Era::Session,
            Self::Stateless(_) => Era::Stateless,
        }
    }

    /// Whether it is the same session, whatever its requests bear.
    pub(crate) fn is_session(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Http(one), Self::Http(other)) => one.id == other.id,
            (Self::Legacy(one, _), Self::Legacy(other, _)) => Arc::ptr_eq(one, other),
            _ => false,
        }
    }

    /// Whether a request in it bears a credential.
    pub(crate) fn bears(&self) -> bool {
        match self {
            Self::Http(session) => session.lines.is_some(),
            Self::Legacy(_, lines) => lines.is_some(),
            Self::Stateless(stateless) => stateless.lines.is_some(),
        }
    }

    /// Posts a message to which there is no answer.
    pub(crate) async fn tell(&self, mount: &Mount, passed: &HeaderMap, body: Bytes) -> Result<(), Failure> {
        match self {
            Self::Http(session) => http::post(mount, session, passed, body).await.map(drop),
            Self::Legacy(session, lines) => session.post(mount, lines.as_ref(), body).await,
            // Nothing that is no request is ever sent there.
            Self::Stateless(_) => Ok(()),
        }
    }
}

/// An opened session and what the upstream said of itself.
pub(crate) struct Opened {
    pub(crate) connected: Connected,
    /// The raw InitializeResult, or the raw DiscoverResult of an upstream without sessions.
    pub(crate) result: Bytes,
    pub(crate) revision: Revision,
    /// Which lists it declared, one bit each as [`ListKind`] counts them.
    lists: u8,
    watched: AtomicBool,
}

impl Opened {
    fn new(connected: Connected, result: Bytes, revision: Revision) -> Result<Self, Failure> {
        let said: Said =
            serde_json::from_slice(&result).map_err(|_| Failure::BadResponse("what it says of itself is malformed"))?;
        let lists = ListKind::ALL
            .into_iter()
            .filter(|kind| said.capabilities.contains_key(kind.capability()))
            .fold(0, |bits, kind| bits | 1 << (kind as u8));
        Ok(Self { connected, result, revision, lists, watched: AtomicBool::new(false) })
    }

    /// What the upstream says of itself, raw; an empty object if it says nothing.
    pub(crate) fn server_info(&self) -> Bytes {
        let result = mcp::Object::read(&self.result);
        let info = result.as_ref().and_then(|result| match self.connected.era() {
            Era::Session => result.get("serverInfo"),
            Era::Stateless => mcp::Object::read(result.get("_meta")?)?.get(mcp::meta::SERVER_INFO),
        });
        info.filter(|info| info.starts_with(b"{")).map_or(Bytes::from_static(b"{}"), |info| self.result.slice_ref(info))
    }

    /// Whether the upstream has such a list.
    pub(crate) fn has(&self, kind: ListKind) -> bool {
        self.lists & (1 << (kind as u8)) != 0
    }

    /// False once the session is known to be over.
    pub(crate) fn is_usable(&self) -> bool {
        match &self.connected {
            Connected::Http(_) | Connected::Stateless(_) => true,
            Connected::Legacy(session, _) => session.is_open(),
        }
    }

    /// True for the first who wants to watch.
    pub(crate) fn begin_watch(&self) -> bool {
        !self.watched.swap(true, Ordering::AcqRel)
    }

    /// Whether somebody watches.
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire) || matches!(self.connected, Connected::Legacy(..))
    }

    /// The watch is over; another may begin.
    pub(crate) fn end_watch(&self) {
        self.watched.store(false, Ordering::Release);
    }
}

/// What is read of an InitializeResult or a DiscoverResult.
#[derive(serde::Deserialize)]
struct Said {
    #[serde(rename = "protocolVersion", default)]
    protocol_version: String,
    #[serde(default)]
    capabilities: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
}

/// What we say of ourselves.
pub(crate) const OWN_INFO: &[u8] =
    concat!(r#"{"name":"gatehouse","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#).as_bytes();

/// The next id of a request to an upstream. Never the client's: what routes an answer must not be
/// chosen outside. Starts at a random place and stays far below 2^53.
pub(crate) fn mint_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    if id != 0 {
        return id;
    }
    let start = (uuid::Uuid::new_v4().as_u64_pair().0 >> 24) | 1;
    NEXT.fetch_add(start, Ordering::Relaxed) + start
}

/// Asks on the gateway's own behalf: the raw result, or the raw error object, unless that refuses a credential.
pub(crate) async fn ask(
    mount: &Mount,
    connected: &Connected,
    method: &str,
    params: &[u8],
) -> Result<Result<Bytes, Bytes>, Failure> {
    let id = mint_id();
    let text = id.to_string();
    let body = write::request(&text, method, params, Some(Span::whole(params)), &[]);
    match connected {
        Connected::Http(session) => {
            let posted = http::post(mount, session, &HeaderMap::new(), body).await;
            let (answer, _) = posted.map_err(|failure| match stateless::knows_no_sessions(&failure) {
                true => Failure::OtherEra,
                false => failure,
            })?;
            unfolded(answer_of(answer, id).await?, session.lines.as_ref())
        }
        Connected::Legacy(session, lines) => {
            unfolded(session.ask(mount, lines.as_ref(), id, body).await?, lines.as_ref())
        }
        Connected::Stateless(stateless) => {
            match stateless.ask(mount, id, method, params).await {
                // Where there are no sessions, errors have a status of their own.
                Err(Failure::Status { status: ..429, error: Some(error), .. }) => Ok(Err(error)),
                Err(failure) => Err(failure),
                Ok(answer) => unfolded(answer_of(answer, id).await?, stateless.lines.as_ref()),
            }
        }
    }
}

/// An error that refuses the credential of a request that bore one is a refusal.
fn unfolded(answer: Result<Bytes, Bytes>, lines: Option<&Arc<Lines>>) -> Result<Result<Bytes, Bytes>, Failure> {
    match answer.as_ref().err().filter(|_| lines.is_some()).and_then(|error| Refusal::folded(error)) {
        Some(refusal) => Err(Failure::Unauthorized(Arc::new(refusal))),
        None => Ok(answer),
    }
}

/// Largest answer to a question of the gateway's own: a list page.
const OWN_ANSWER: usize = 16 << 20;

async fn answer_of(answer: Answer, id: u64) -> Result<Result<Bytes, Bytes>, Failure> {
    match answer {
        Answer::Nothing => Err(Failure::BadResponse("it is empty")),
        Answer::Json(body) => {
            let message = http::read(body, OWN_ANSWER).await?;
            response_in(&message, id)?.ok_or(Failure::BadResponse("it answers something else"))
        }
        Answer::Events(mut body) => {
            let mut decoder = sse::Decoder::new(OWN_ANSWER);
            let mut events = Vec::new();
            let read = async {
                while let Some(frame) = body.frame().await {
                    let Ok(data) = frame?.into_data() else { continue };
                    decoder.push(&data, &mut events).map_err(|_| Failure::TooLarge)?;
                    for event in events.drain(..) {
                        // Junk between the events is passed over; the answer is what counts.
                        if let Ok(Some(answer)) = response_in(&event.data, id) {
                            return Ok(answer);
                        }
                    }
                }
                Err(Failure::BadResponse("the stream ended without an answer"))
            };
            tokio::time::timeout(Duration::from_secs(60), read).await.map_err(|_| Failure::Deadline)?
        }
    }
}

/// The result or error of the response to `id`, if that is what the message is.
pub(crate) fn response_in(message: &Bytes, id: u64) -> Result<Option<Result<Bytes, Bytes>>, Failure> {
    let envelope = Envelope::scan(message).map_err(|_| Failure::BadResponse("it is not a JSON-RPC message"))?;
    if envelope.kind != Kind::Response || !answers(&envelope, message, id) {
        return Ok(None);
    }
    let cut = |span: Span| message.slice(span.start()..span.end());
    Ok(match (envelope.result, envelope.error) {
        (Some(result), _) => Some(Ok(cut(result))),
        (None, Some(error)) => Some(Err(cut(error))),
        (None, None) => None,
    })
}

/// A number of ours as it came back: as a number, or as some servers do, as text.
pub(crate) fn ours(raw: &[u8]) -> Option<u64> {
    let raw = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")).unwrap_or(raw);
    std::str::from_utf8(raw).ok()?.parse().ok()
}

/// Whether a response is to the request `id`. One without an id can only be the refusal of what was
/// just sent.
pub(crate) fn answers(envelope: &Envelope, message: &[u8], id: u64) -> bool {
    match envelope.id {
        Some(span) => ours(span.of(message)) == Some(id),
        None => envelope.error.is_some(),
    }
}

/// The progress token of a notification's params, as a number of ours.
pub(crate) fn progress_token(params: &Params, message: &[u8]) -> Option<u64> {
    ours(params.progress_token_here?.of(message))
}
