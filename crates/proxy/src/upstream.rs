//! The remote ends: their two transports, opening sessions, and asking on the gateway's own behalf.

mod challenge;
pub(crate) mod http;
pub(crate) mod legacy;
pub(crate) mod stateless;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use egress::{EgressError, Sent};
use http_body_util::BodyExt;
use mcp::{Envelope, Era, Kind, ListKind, Params, Revision, Span, sse, write};
use model::Transport;
use wire::Challenge;

use self::http::{Answer, HttpSession};
use self::legacy::LegacySession;
use self::stateless::Stateless;
use crate::client::Terms;
use crate::credentials::{Lines, NoCredential};
use crate::retry::Tries;
use crate::table::Mount;

/// Why an upstream gave no answer.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// The way there or back failed.
    Egress(Arc<EgressError>),
    /// The upstream does not know our session any more; it did nothing with the request.
    SessionLost,
    /// 401 or 403.
    Unauthorized(Arc<Refusal>),
    /// The caller has no credential for it, or none that can be used: it was not asked, or refused the one there was.
    NoCredential(Arc<NoCredential>),
    /// Another status that is no success, with the JSON-RPC error of its body, if it had one.
    Status { status: u16, retry_after: Option<Duration>, error: Option<Bytes> },
    /// It wanted us to go elsewhere.
    Redirected,
    /// Something that is no answer.
    BadResponse(&'static str),
    /// More than allowed.
    TooLarge,
    /// Nothing within the whole time of a call.
    Deadline,
    /// It is left alone for a while.
    Cooling(Duration),
    /// It does not speak the era in which it was spoken to; it did nothing with the request.
    OtherEra,
    /// All its places and those in the queue are taken.
    Busy,
    /// The client wants no answer any more.
    Cancelled,
}

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

/// How an upstream refused a request for the sake of its credential, or for want of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) challenge: Challenge,
    /// The JSON-RPC error of the answer, if it had one.
    pub(crate) error: Option<Bytes>,
}

impl Refusal {
    /// Whether the credential is good, and not for this.
    pub(crate) fn is_insufficient_scope(&self) -> bool {
        self.challenge.status == 403 && self.challenge.error.as_deref() == Some("insufficient_scope")
    }

    /// A 401 that came as a JSON-RPC error: only where it says so without doubt.
    pub(crate) fn folded(error: &[u8]) -> Option<Self> {
        challenge::folded(error).map(|challenge| Self { challenge, error: None })
    }
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

impl From<EgressError> for Failure {
    fn from(error: EgressError) -> Self {
        Self::Egress(Arc::new(error))
    }
}

impl Failure {
    /// Whether the transport failed (answers that were not liked are no failures of it), and if so,
    /// whether not even a connection came about.
    pub(crate) fn strikes(&self) -> Option<bool> {
        match self {
            Self::Egress(error) => match &**error {
                EgressError::Blocked(_) | EgressError::Target | EgressError::TooLarge => None,
                error => Some(error.sent() == Sent::No && !matches!(error, EgressError::Closed(_))),
            },
            Self::Status { status: 500.., .. } | Self::BadResponse(_) | Self::Deadline => Some(false),
            _ => None,
        }
    }

    /// Whether it may be that the upstream refused a client certificate: in TLS 1.3 it does so after the handshake, by
    /// closing the connection.
    pub(crate) fn may_be_a_certificates(&self) -> bool {
        matches!(self, Self::Egress(error) if matches!(**error, EgressError::Tls(_) | EgressError::Closed(_)))
    }

    /// Whether the upstream was too slow: it may still be at work.
    pub(crate) fn is_late(&self) -> bool {
        match self {
            Self::Deadline => true,
            Self::Egress(error) => matches!(**error, EgressError::FirstByteTimeout),
            _ => false,
        }
    }

    /// Whether the upstream may have acted on the request all the same.
    pub(crate) fn may_have_acted(&self) -> bool {
        match self {
            Self::Egress(error) => error.sent() == Sent::Maybe,
            Self::Status { status: 500.., .. } | Self::BadResponse(_) | Self::TooLarge | Self::Deadline => true,
            _ => false,
        }
    }

    /// Whether the next try may go better. `safe`: the request may be executed twice.
    pub(crate) fn may_be_tried_again(&self, safe: bool) -> bool {
        match self {
            Self::Egress(error) => match &**error {
                EgressError::Blocked(_) | EgressError::Target | EgressError::TooLarge => false,
                error => safe || error.sent() == Sent::No,
            },
            Self::Status { status: 500.., .. } => safe,
            _ => false,
        }
    }

    /// The class, for admins; those of [`crate::CommandFailure`].
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Egress(error) => error.class(),
            Self::Unauthorized(_) | Self::NoCredential(_) => "auth",
            Self::Status { status: 404 | 405, .. } => "not_found",
            Self::Redirected => "address_blocked",
            Self::Deadline => "timeout",
            Self::SessionLost | Self::OtherEra | Self::Status { .. } | Self::BadResponse(_) | Self::TooLarge => {
                "protocol"
            }
            Self::Cooling(_) | Self::Busy | Self::Cancelled => "other",
        }
    }
}

/// How a session is opened.
pub(crate) struct Opening<'a> {
    /// The client's `clientInfo`, or our own; raw JSON.
    pub(crate) client_info: &'a [u8],
    /// The revision to ask for.
    pub(crate) revision: Revision,
    /// The era to speak, and what to declare.
    pub(crate) terms: Terms,
    pub(crate) passed: &'a HeaderMap,
    /// What its requests bear.
    pub(crate) lines: Option<&'a Arc<Lines>>,
    /// Whether to send notifications/initialized at once (no client will).
    pub(crate) complete: bool,
}

/// What we say of ourselves.
pub(crate) const OWN_INFO: &[u8] =
    concat!(r#"{"name":"gatehouse","version":""#, env!("CARGO_PKG_VERSION"), r#""}"#).as_bytes();

/// Opens a session: Streamable HTTP, or HTTP+SSE, or whichever of them answers. No try begins after `deadline`.
pub(crate) async fn open(
    mount: &Arc<Mount>,
    opening: &Opening<'_>,
    notify: legacy::Notify,
    deadline: tokio::time::Instant,
) -> Result<Opened, Failure> {
    let mut tries = Tries::of(mount, deadline);
    loop {
        match open_once(mount, opening, notify.clone()).await {
            Err(failure) => tries.next(failure, true).await?,
            opened => return opened,
        }
    }
}

/// One try. What it shows of the upstream's eras is remembered; the other one than that of the terms is
/// [`Failure::OtherEra`].
async fn open_once(mount: &Arc<Mount>, opening: &Opening<'_>, notify: legacy::Notify) -> Result<Opened, Failure> {
    if opening.terms.era == Era::Stateless {
        return discovered(mount, opening).await;
    }
    let opened = match mount.transport() {
        Transport::Sse => open_legacy(mount, opening, notify).await,
        transport => match open_http(mount, opening).await {
            Err(failure) if matches!(failure, Failure::OtherEra) || stateless::may_know_no_sessions(&failure) => {
                match discovered(mount, opening).await {
                    Ok(_) => {
                        mount.eras.proved_wrong(Era::Session);
                        mount.eras.found(Era::Stateless, true);
                        return Err(Failure::OtherEra);
                    }
                    // It knows the question, and wants to know first who asks.
                    Err(refused @ Failure::Unauthorized(_)) => return Err(refused),
                    // What shows nothing is no.
                    Err(_) => (),
                }
                if matches!(failure, Failure::OtherEra) {
                    return Err(SESSIONLESS);
                }
                if transport == Transport::StreamableHttp {
                    return Err(failure);
                }
                let opened = open_legacy(mount, opening, notify).await?;
                mount.found(Transport::Sse);
                Ok(opened)
            }
            opened => {
                if opened.is_ok() {
                    mount.found(Transport::StreamableHttp);
                }
                opened
            }
        },
    }?;
    mount.eras.found(Era::Session, true);
    Ok(opened)
}

/// `server/discover` in place of a session.
async fn discovered(mount: &Mount, opening: &Opening<'_>) -> Result<Opened, Failure> {
    let stateless = Stateless { capabilities: opening.terms.capabilities, lines: opening.lines.cloned() };
    match stateless.discover(mount, opening.passed).await {
        Ok(result) => {
            mount.eras.found(Era::Stateless, true);
            mount.found(Transport::StreamableHttp);
            Opened::new(Connected::Stateless(stateless), result, Revision::STATELESS)
        }
        Err(Failure::OtherEra) => {
            mount.eras.proved_wrong(Era::Stateless);
            Err(Failure::OtherEra)
        }
        Err(failure) => Err(failure),
    }
}

/// Finds out whether an upstream with sessions speaks without them, too, for a record of it. What shows nothing leaves it
/// unknown.
pub(crate) async fn look_for_stateless(mount: &Mount, opening: &Opening<'_>) {
    if mount.eras.speaks(Era::Stateless).is_none()
        && let Err(failure) = discovered(mount, opening).await
    {
        tracing::debug!(class = failure.class(), "it was not found to speak without sessions");
    }
}

/// `initialize` with the capabilities of the client.
fn initialize(id: u64, opening: &Opening<'_>) -> Bytes {
    let mut body = format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"initialize","params":{{"protocolVersion":"{}","capabilities":{},"clientInfo":"#,
        opening.revision.as_str(),
        opening.terms.capabilities.declare()
    )
    .into_bytes();
    body.extend_from_slice(opening.client_info);
    body.extend_from_slice(b"}}");
    Bytes::from(body)
}

fn initialized() -> Bytes {
    Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#)
}

async fn open_http(mount: &Mount, opening: &Opening<'_>) -> Result<Opened, Failure> {
    let id = mint_id();
    let fresh = HttpSession { lines: opening.lines.cloned(), ..HttpSession::default() };
    let (answer, session) = http::post(mount, &fresh, opening.passed, initialize(id, opening)).await?;
    let result = answer_of(answer, id).await?.map_err(|error| match Refusal::folded(&error) {
        Some(refusal) => Failure::Unauthorized(Arc::new(refusal)),
        None => Failure::Status { status: 400, retry_after: None, error: Some(error) },
    })?;
    let revision = chosen_revision(&result)?;
    // It was asked for a session, and answers with a version that has none.
    if revision.era() == Era::Stateless {
        return Err(Failure::OtherEra);
    }
    if session.as_ref().is_some_and(|id| id.len() > SESSION_ID || id.to_str().is_err()) {
        return Err(Failure::BadResponse("its session id is malformed"));
    }
    let session = HttpSession { id: session, revision: Some(revision), lines: opening.lines.cloned() };
    if opening.complete {
        http::post(mount, &session, opening.passed, initialized()).await?;
    }
    Opened::new(Connected::Http(session), result, revision)
}

async fn open_legacy(mount: &Arc<Mount>, opening: &Opening<'_>, notify: legacy::Notify) -> Result<Opened, Failure> {
    let session = LegacySession::connect(mount, opening.passed, opening.lines, notify).await?;
    let id = mint_id();
    let result =
        session.ask(mount, opening.lines, id, initialize(id, opening)).await?.map_err(
            |error| match Refusal::folded(&error) {
                Some(refusal) => Failure::Unauthorized(Arc::new(refusal)),
                None => Failure::BadResponse("it refused to initialize"),
            },
        )?;
    let revision = chosen_revision(&result)?;
    if revision.era() == Era::Stateless {
        return Err(SESSIONLESS);
    }
    session.post(mount, opening.lines, initialized()).await?;
    Opened::new(Connected::Legacy(session, opening.lines.cloned()), result, revision)
}

fn chosen_revision(result: &Bytes) -> Result<Revision, Failure> {
    let said: Said =
        serde_json::from_slice(result).map_err(|_| Failure::BadResponse("its answer to initialize is malformed"))?;
    Revision::parse(&said.protocol_version).ok_or(Failure::BadResponse("it chose a version that is not known"))
}

/// What can be done neither with a session nor without one.
const SESSIONLESS: Failure = Failure::BadResponse("it chose a version that has no sessions, and speaks none without");

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

/// Longest session id of an upstream: it is sealed into ours, which must fit a header.
const SESSION_ID: usize = 1024;
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
