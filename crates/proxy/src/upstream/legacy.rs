//! HTTP+SSE of 2024-11-05: one stream that is the session, and an endpoint to post to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use http_body_util::BodyExt;
use mcp::{Envelope, Kind, sse};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::http::{Answer, HttpSession, bearable, drain, judge, send};
use super::{Failure, ours, progress_token};
use crate::credentials::Lines;
use crate::session::Uid;
use crate::table::Mount;

/// How long the upstream may take to name its endpoint.
const ENDPOINT: Duration = Duration::from_secs(10);
/// How long a question of the gateway's own waits on the stream.
const ASKING: Duration = Duration::from_secs(60);
/// How often a silent stream looks whether its server is still mounted.
const LOOK: Duration = Duration::from_secs(10);
/// Largest event.
const EVENT: usize = 4 << 20;
/// Most requests that wait on one stream.
const PENDING: usize = 1024;
/// Messages of one request that may wait for a slow client.
const MESSAGES: usize = 64;

/// Gets every notification and every question of the stream that belongs to no request under way.
pub(crate) type Notify = Arc<dyn Fn(&Arc<LegacySession>, &Bytes, &Envelope) + Send + Sync>;

/// An open stream with its endpoint. Dropped, it closes the stream.
pub(crate) struct LegacySession {
    endpoint: Uri,
    waiting: Arc<Mutex<Waiting>>,
    reader: AbortHandle,
}

#[derive(Default)]
struct Waiting {
    closed: bool,
    requests: HashMap<u64, Pending>,
}

struct Pending {
    messages: mpsc::Sender<Bytes>,
    answer: oneshot::Sender<Bytes>,
    /// The client session that can be asked on the stream of its answer.
    asks: Option<Uid>,
}

/// What comes back for one request.
pub(crate) struct Exchange {
    /// Progress, and questions, as they came.
    messages: mpsc::Receiver<Bytes>,
    /// One of them that was waited for.
    early: Option<Bytes>,
    /// The whole response message, with our id.
    pub(crate) answer: oneshot::Receiver<Bytes>,
    waiting: Arc<Mutex<Waiting>>,
    id: u64,
}

impl LegacySession {
    /// Opens the stream and waits for the endpoint, which must be on the same origin.
    pub(crate) async fn connect(
        mount: &Arc<Mount>,
        passed: &HeaderMap,
        lines: Option<&Arc<Lines>>,
        notify: Notify,
    ) -> Result<Arc<Self>, Failure> {
        let bearing = bearing(lines);
        bearable(&bearing)?;
        let response = send(&mount.way, Method::GET, mount.way.path.clone(), &bearing, passed, Bytes::new()).await?;
        let (Answer::Events(mut body), _) = judge(response, false).await? else {
            return Err(Failure::BadResponse("it is no event stream"));
        };
        let mut decoder = sse::Decoder::new(EVENT);
        let mut events = Vec::new();
        let first = async {
            while events.is_empty() {
                let Some(frame) = body.frame().await else { break };
                if let Ok(data) = frame?.into_data() {
                    decoder.push(&data, &mut events).map_err(|_| Failure::TooLarge)?;
                }
            }
            Ok::<_, Failure>(())
        };
        tokio::time::timeout(ENDPOINT, first).await.map_err(|_| Failure::Deadline)??;
        let endpoint = events.first().filter(|event| event.name.as_deref() == Some(b"endpoint"));
        let endpoint = endpoint
            .and_then(|event| resolve(mount, &event.data))
            .ok_or(Failure::BadResponse("its stream names no endpoint of its own origin"))?;
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let early = events.split_off(1);
        Ok(Arc::new_cyclic(|session| {
            let told = Told { session: session.clone(), waiting: waiting.clone(), notify };
            let reading = read(body, decoder, early, told, Arc::downgrade(mount));
            Self { endpoint, waiting, reader: tokio::spawn(reading).abort_handle() }
        }))
    }

    /// Whether the stream is still open.
    pub(crate) fn is_open(&self) -> bool {
        !lock(&self.waiting).closed
    }

    /// Posts a message; the answer comes on the stream.
    pub(crate) async fn post(&self, mount: &Mount, lines: Option<&Arc<Lines>>, body: Bytes) -> Result<(), Failure> {
        if !self.is_open() {
            return Err(Failure::SessionLost);
        }
        let bearing = bearing(lines);
        bearable(&bearing)?;
        let response = send(&mount.way, Method::POST, self.endpoint.clone(), &bearing, &HeaderMap::new(), body).await?;
        if !response.status().is_success() {
            return judge(response, true).await.map(drop);
        }
        // Read, so that the connection goes back to its pool.
        drain(response.into_body()).await;
        Ok(())
    }

    /// Posts a request that expects an answer. `asks`: the client session that can be asked meanwhile.
    pub(crate) async fn exchange(
        &self,
        mount: &Mount,
        lines: Option<&Arc<Lines>>,
        id: u64,
        body: Bytes,
        asks: Option<Uid>,
    ) -> Result<Exchange, Failure> {
        let (messages, said) = mpsc::channel(MESSAGES);
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.closed {
                return Err(Failure::SessionLost);
            }
            if waiting.requests.len() >= PENDING {
                return Err(Failure::Busy);
            }
            waiting.requests.insert(id, Pending { messages, answer, asks });
        }
        let exchange = Exchange { messages: said, early: None, answer: answered, waiting: self.waiting.clone(), id };
        self.post(mount, lines, body).await?;
        Ok(exchange)
    }

    /// Asks on the gateway's own behalf.
    pub(crate) async fn ask(
        &self,
        mount: &Mount,
        lines: Option<&Arc<Lines>>,
        id: u64,
        body: Bytes,
    ) -> Result<Result<Bytes, Bytes>, Failure> {
        let mut exchange = self.exchange(mount, lines, id, body, None).await?;
        let message = tokio::time::timeout(ASKING, &mut exchange.answer).await.map_err(|_| Failure::Deadline)?;
        let message = message.map_err(|_| Failure::SessionLost)?;
        super::response_in(&message, id)?.ok_or(Failure::BadResponse("it answers something else"))
    }
}

impl Drop for LegacySession {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Exchange {
    /// Waits for the answer; `None` if something comes before it, which is the first of its messages then.
    pub(crate) async fn answered_at_once(&mut self) -> Option<Result<Bytes, oneshot::error::RecvError>> {
        tokio::select! {
            biased;
            Some(message) = self.messages.recv() => {
                self.early = Some(message);
                None
            }
            answer = &mut self.answer => Some(answer),
        }
    }

    /// Whether the client has other requests under way on the same stream.
    pub(crate) fn has_company(&self) -> bool {
        lock(&self.waiting).requests.iter().any(|(id, pending)| *id != self.id && pending.asks.is_some())
    }

    /// What comes before the answer.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match self.early.take() {
            Some(message) => Poll::Ready(Some(message)),
            None => self.messages.poll_recv(cx),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        lock(&self.waiting).requests.remove(&self.id);
    }
}

/// Nothing but header lines: the stream is the session.
fn bearing(lines: Option<&Arc<Lines>>) -> HttpSession {
    HttpSession { lines: lines.cloned(), ..HttpSession::default() }
}

/// The endpoint as path and query; `None` if it is elsewhere.
fn resolve(mount: &Mount, data: &[u8]) -> Option<Uri> {
    let base = mount.spec.url.url();
    let endpoint = base.join(std::str::from_utf8(data).ok()?).ok()?;
    if endpoint.origin() != base.origin() {
        return None;
    }
    match endpoint.query() {
        Some(query) => format!("{}?{query}", endpoint.path()).parse().ok(),
        None => endpoint.path().parse().ok(),
    }
}

/// Who is told of what comes on a stream.
struct Told {
    session: Weak<LegacySession>,
    waiting: Arc<Mutex<Waiting>>,
    notify: Notify,
}

async fn read(
    mut body: egress::Body,
    mut decoder: sse::Decoder,
    mut events: Vec<sse::Event>,
    told: Told,
    mount: Weak<Mount>,
) {
    loop {
        for event in events.drain(..) {
            told.deliver(&event.data);
        }
        let frame = match tokio::time::timeout(LOOK, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            // Unmounted, and the last call on it is over: nobody will ask here any more.
            Err(_) if mount.strong_count() > 0 => continue,
            _ => break,
        };
        if let Ok(data) = frame.into_data()
            && decoder.push(&data, &mut events).is_err()
        {
            break;
        }
    }
    // The stream is the session: whoever waits on it hears that it is over.
    let mut waiting = lock(&told.waiting);
    waiting.closed = true;
    waiting.requests.clear();
}

impl Told {
    fn deliver(&self, message: &Bytes) {
        let Ok(envelope) = Envelope::scan(message) else { return };
        let mut waiting = lock(&self.waiting);
        match envelope.kind {
            Kind::Response => {
                let id = envelope.id.and_then(|span| ours(span.of(message)));
                if let Some(pending) = id.and_then(|id| waiting.requests.remove(&id)) {
                    let _gone = pending.answer.send(message.clone());
                }
                return;
            }
            // Only the relay that passed a question on knows which one is meant.
            Kind::Notification if envelope.method(message) == "notifications/cancelled" => {
                let mut asked = waiting.requests.values().filter(|pending| pending.asks.is_some()).peekable();
                if asked.peek().is_some() {
                    return asked.for_each(|pending| _ = pending.messages.try_send(message.clone()));
                }
            }
            Kind::Notification => {
                let token = envelope.params.as_ref().and_then(|params| progress_token(params, message));
                if let Some(pending) = token.and_then(|token| waiting.requests.get(&token)) {
                    let _slow = pending.messages.try_send(message.clone());
                    return;
                }
            }
            Kind::Request => {
                let ping = envelope.method(message) == "ping";
                let taker = waiting.taker().filter(|_| !ping);
                if taker.is_some_and(|pending| pending.messages.try_send(message.clone()).is_ok()) {
                    return;
                }
            }
        }
        drop(waiting);
        if let Some(session) = self.session.upgrade() {
            (self.notify)(&session, message, &envelope);
        }
    }
}

impl Waiting {
    /// The request that a question belongs to. Nothing on this transport says which, so it is known only where a single
    /// client session has requests under way on which it can be asked; of several of its own the oldest has the stream,
    /// since whichever it is, the same client is asked. With more than one session the question belongs to no call.
    fn taker(&self) -> Option<&Pending> {
        let can = || self.requests.iter().filter_map(|(id, pending)| Some((id, pending, pending.asks?)));
        let (_, oldest, whose) = can().min_by_key(|(id, ..)| **id)?;
        can().all(|(.., other)| other == whose).then_some(oldest)
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
