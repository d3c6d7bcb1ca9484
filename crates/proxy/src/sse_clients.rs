//! Clients of HTTP+SSE, the transport of 2024-11-05: a stream that is the session, and a URL to which they post. What they
//! post is served like any other message, and its answer goes on the stream, as everything does that is said to them.
//!
//! The stream is in one process. When it ends, so does the session, and what was under way is cancelled at its upstream.

mod open;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use hyper::body::Incoming;
use mcp::{Envelope, Kind, Params, Span, write};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use self::open::{Open, Owned, Posting};
use crate::admission::{accepts, has_key, is_json, read_body, scan};
use crate::asked::Asked;
use crate::body::{Body, Gauge};
use crate::elsewhere::{Arrival, Hop};
use crate::fault::Fault;
use crate::gate::Gate;
use crate::hub::Hears;
use crate::messages::{Broken, KeptAlive, messages};
use crate::path::{Path, Target};
use crate::peers::{Sending, Unanswered};
use crate::pipeline::{Refused, call, may_call, shown};
use crate::principal::Authenticated;
use crate::respond::event_response;
use crate::seal::Sealer;
use crate::session::{NodeTag, Uid};
use crate::stateless::is_stateless;
use crate::timers::scaled;
use crate::upstream::http::{SESSION, VERSION};

/// Events that wait for a slow reader; who has more to say waits.
const BACKLOG: usize = 64;
/// How long what is cancelled may take to hear of it before the session ends.
const CANCELLING: Duration = Duration::from_secs(5);
/// What a stream's id is sealed for.
const LABEL: &str = "gatehouse/sse-stream/v1";
/// The parameter that names the stream.
const PARAMETER: &str = "sessionId";
/// How often an id is sealed anew that would be taken for a key. One in a hundred thousand is.
const SEALED: usize = 8;

/// The open streams, by what their ids say. As many as tenants may have: each holds a place of its tenant's.
#[derive(Default)]
pub(crate) struct SseClients(Mutex<HashMap<Uid, Arc<Open>>>);

impl SseClients {
    /// How many events wait for the slowest reader, and how many may.
    pub(crate) fn fill(&self) -> (usize, usize) {
        let waiting = |open: &Arc<Open>| BACKLOG.saturating_sub(open.events.capacity());
        (self.lock().values().map(waiting).max().unwrap_or(0), BACKLOG)
    }

    fn find(&self, uid: Uid) -> Option<Arc<Open>> {
        self.lock().get(&uid).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, Arc<Open>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the id of a stream says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Named {
    /// The node that has the stream.
    pub(crate) owner: NodeTag,
    uid: Uid,
}

impl Named {
    /// What the query of a POST names; `None` if that is nothing of ours.
    pub(crate) fn read(sealer: &Sealer, query: Option<&str>) -> Option<Self> {
        let (_, id) = url::form_urlencoded::parse(query?.as_bytes()).find(|(name, _)| name == PARAMETER)?;
        let plain = sealer.open(LABEL, id.as_bytes())?;
        let (owner, rest) = plain.split_first_chunk()?;
        Some(Self { owner: NodeTag(*owner), uid: Uid(rest.try_into().ok()?) })
    }

    /// The query that names it; `None` while there is no fleet key.
    fn query(self, sealer: &Sealer) -> Option<String> {
        let plain = [self.owner.0, self.uid.0].concat();
        let seal = || Some(format!("{PARAMETER}={}", sealer.seal(LABEL, &plain)?));
        // A query that looks like a key is refused, whoever made it.
        (0..SEALED).map_while(|_| seal()).find(|query| !has_key(query))
    }
}

impl Gate {
    /// A request to the stream's URL, or to the one that its clients post to.
    pub(crate) async fn of_sse_clients(
        self: &Arc<Self>,
        who: Authenticated,
        path: Path<'_>,
        arrival: &Arrival<'_>,
        body: Incoming,
    ) -> Result<Response<Body>, Refused> {
        let (Path::Stream { tenant, target } | Path::Posts { tenant, target }) = path else {
            return Err(Fault::NotFound.into());
        };
        if tenant.is_some_and(|tenant| tenant != who.tenant.spec.name.as_str()) {
            return Err(Fault::NotFound.into());
        }
        may_call(&who, target)?;
        self.within_limits(&who)?;
        match (path, &arrival.head.method) {
            (Path::Stream { .. }, &Method::GET) => Ok(self.begin(&who, target, arrival.head)?),
            (Path::Stream { .. }, _) => Err(Fault::MethodNotAllowed("GET").into()),
            (_, &Method::POST) => self.posted(who, path, target, arrival, body).await,
            _ => Err(Fault::MethodNotAllowed("POST").into()),
        }
    }

    /// Opens a stream. Its first event says where to post.
    fn begin(self: &Arc<Self>, who: &Authenticated, target: Target<'_>, head: &Parts) -> Result<Response<Body>, Fault> {
        if !accepts(&head.headers, "text/event-stream") {
            return Err(Fault::NotAcceptable);
        }
        let full = Fault::Quota { what: "open streams", retry_after: Duration::from_secs(5) };
        let place = who.tenant.usage.stream().ok_or(full)?;
        let (unique, _) = uuid::Uuid::new_v4().as_u64_pair();
        let uid = Uid(unique.to_be_bytes());
        // Nothing is heard there: it ends with the right of whoever opened it.
        let right = who.tenant.hub.listen(uid, who.caller().clone(), Hears::Nothing).ok_or(Fault::Internal)?;
        if !self.is_as_before(who) {
            return Err(Fault::invalid("unauthenticated"));
        }
        let query = Named { owner: self.node, uid }.query(&self.sealer).ok_or(Fault::NotReady)?;
        let endpoint = format!("event: endpoint\ndata: {}?{query}\n\n", posts_of(head.uri.path()));
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let counted = Gauge::one_more(&self.counters.streams);
        let open = Arc::new(Open::new(who, Owned::of(target), sender, (place, counted)));
        self.sse_clients.lock().insert(uid, open.clone());
        let until = self.until(who);
        let (over, mut right) = (open.over.clone(), right);
        let ended = async move {
            let until = async {
                match until {
                    Some(until) => tokio::time::sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = over.cancelled() => (),
                () = until => (),
                () = async { while right.events.recv().await.is_some() {} } => (),
            }
        };
        tokio::spawn(self.clone().kept(uid, open));
        let events = stream::iter([Bytes::from(endpoint)]).chain(ReceiverStream::new(receiver));
        let events = events.take_until(ended).map(Ok::<_, Broken>);
        Ok(event_response(Body::stream(KeptAlive::new(events.boxed()))))
    }

    /// Waits for the end of a stream, and ends what belongs to it.
    async fn kept(self: Arc<Self>, uid: Uid, open: Arc<Open>) {
        open.events.closed().await;
        self.sse_clients.lock().remove(&uid);
        open.over.cancel();
        open.tasks.close();
        let late = tokio::time::timeout(scaled(CANCELLING), open.tasks.wait()).await;
        if late.is_err() {
            tracing::debug!(stream = ?uid, "what was cancelled has not heard of it");
        }
        let Some(session) = open.session() else { return };
        let who = open.who(&self.tables.load(), self.clock.now_micros());
        let mut headers = HeaderMap::new();
        headers.insert(SESSION, session);
        // Whoever lost their right has no session left that could be ended as theirs.
        let Some(who) = who else { return };
        if let Err(fault) = self.end(&who, open.target.target(), &headers).await {
            tracing::debug!(stream = ?uid, reason = fault.reason(), "the session of a stream was over before it");
        }
    }

    /// Takes what a client posts.
    async fn posted(
        self: &Arc<Self>,
        who: Authenticated,
        path: Path<'_>,
        target: Target<'_>,
        arrival: &Arrival<'_>,
        body: Incoming,
    ) -> Result<Response<Body>, Refused> {
        let head = arrival.head;
        is_json(&head.headers)?;
        let call = call(&who)?;
        let message = read_body(&head.headers, body, &who.tenant.usage.limits).await?;
        let who = self.still(&who, path, target, &head.headers)?;
        let named = Named::read(&self.sealer, head.uri.query()).ok_or(Fault::SessionUnknown)?;
        if named.owner != self.node {
            return Ok(self.posted_elsewhere(arrival, named.owner, message).await?);
        }
        let open = self.sse_clients.find(named.uid).filter(|open| open.is_of(&who, target));
        let open = open.ok_or(Fault::SessionUnknown)?;
        let envelope = scan(&message)?;
        let id = envelope.id.map(|span| message.slice(span.start()..span.end()));
        let refuse = |fault| Refused { fault, id: id.clone().filter(|_| envelope.kind == Kind::Request) };
        let head = head_for(head, open.session());
        if is_stateless(&head.headers, &envelope) {
            let requested = envelope.params.as_ref().and_then(|params| Params::text(params.meta_version, &message));
            let requested = requested.unwrap_or_default().chars().take(32).collect();
            return Err(refuse(Fault::Version { requested }));
        }
        let begins = envelope.kind == Kind::Request && envelope.method(&message) == "initialize";
        if !begins && open.session().is_none() {
            return Err(refuse(Fault::SessionMissing));
        }
        match id.clone().filter(|_| envelope.kind == Kind::Request) {
            Some(id) => {
                let place = open.place().ok_or_else(|| {
                    refuse(Fault::Quota { what: "requests of one stream", retry_after: Duration::from_secs(1) })
                })?;
                if begins && !open.begins() {
                    let message = "the session of this stream has begun".into();
                    return Err(refuse(Fault::Envelope { reason: "initialized", message }));
                }
                let posting = Posting { who, head, message, id, begins, _place: place };
                let (gate, target) = (self.clone(), open.clone());
                open.tasks.spawn(async move { gate.answer(&target, posting, call).await });
            }
            None => {
                let arrival = Arrival { hop: Hop::First, head: &head };
                // In its turn: what is posted next may rest upon it.
                Box::pin(self.message(&who, target, &arrival, &message, call)).await?;
                if envelope.method(&message) == "notifications/initialized" {
                    let (gate, target) = (self.clone(), open.clone());
                    open.tasks.spawn(async move { gate.hear_for(&target, &who, head.headers).await });
                }
            }
        }
        let mut response = Response::new(Body::full(Bytes::from_static(b"Accepted")));
        *response.status_mut() = StatusCode::ACCEPTED;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        Ok(response)
    }

    /// Has the node that has the stream take what was posted here.
    async fn posted_elsewhere(
        &self,
        arrival: &Arrival<'_>,
        owner: NodeTag,
        body: Bytes,
    ) -> Result<Response<Body>, Fault> {
        if arrival.hop == Hop::Second {
            return Ok(self.not_served("elsewhere"));
        }
        let peers = self.elsewhere.as_ref().map(|elsewhere| &elsewhere.peers);
        let (peers, peer) = peers.and_then(|peers| Some((peers, peers.named(owner)?))).ok_or(Fault::SessionUnknown)?;
        self.counters.forwarded();
        let Parts { method, uri, headers, .. } = arrival.head;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let answered = peers.forward(&peer, Sending { method, path, headers, body, broken: None }).await;
        // The stream ends with the node that has it, and whatever was to be told there.
        answered.map_err(|(Unanswered::NotServed | Unanswered::Lost)| Fault::SessionUnknown)
    }

    /// Puts the answer to a request on the stream; if that ends before, the upstream is told so.
    async fn answer(&self, open: &Open, posting: Posting, call: crate::limits::Held) {
        let target = open.target.target();
        let mut served = std::pin::pin!(async {
            let arrival = Arrival { hop: Hop::First, head: &posting.head };
            let answer = Box::pin(self.message(&posting.who, target, &arrival, &posting.message, call)).await;
            if posting.begins {
                open.begun(answer.as_ref().ok().and_then(|response| response.headers().get(SESSION)));
            }
            match answer {
                Ok(response) => {
                    if self.told(open, response).await.is_err() {
                        // Nobody knows whether it was executed.
                        open.say(&Fault::Uncertain.body(Some(&posting.id), None)).await;
                    }
                }
                Err(Refused { fault, .. }) => {
                    self.counters.refused(fault.reason());
                    open.say(&fault.body(Some(&posting.id), None)).await;
                }
            }
        });
        tokio::select! {
            biased;
            () = &mut served => (),
            // While it is still under way: what is dropped can't be found to be cancelled.
            () = open.over.cancelled() => self.cancelled(&posting, target).await,
        }
    }

    /// As if the client had cancelled the request.
    async fn cancelled(&self, posting: &Posting, target: Target<'_>) {
        let Ok(session) = self.session(&posting.who, target, &posting.head.headers) else { return };
        let params = [br#"{"requestId":"#, &posting.id[..], br#","reason":"the stream was closed"}"#].concat();
        let message = write::notification("notifications/cancelled", &params, Some(Span::whole(&params)), &[]);
        let Ok(envelope) = Envelope::scan(&message) else { return };
        let headers = &posting.head.headers;
        let passed = crate::pipeline::passed(headers);
        let (who, shown, id) = (&posting.who, shown(headers), Bytes::new());
        let asked =
            Asked { who, session: &session, shown, passed: &passed, message: &message, envelope: &envelope, id };
        self.notification(&asked).await;
    }

    /// Hears for a stream whose session has begun what a GET stream would hear, until it ends.
    async fn hear_for(&self, open: &Open, who: &Authenticated, mut headers: HeaderMap) {
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        // Whatever was missed can't be asked for.
        headers.remove("last-event-id");
        // From here on the place is what hears.
        if !open.gives_place() {
            return;
        }
        let heard = async {
            match self.listen(who, open.target.target(), &headers).await {
                Ok(response) => _ = self.told(open, response).await,
                Err(fault) => self.counters.refused(fault.reason()),
            }
        };
        tokio::select! {
            () = open.over.cancelled() => (),
            // What may hear no more may not be answered either: it begins again.
            () = heard => open.over.cancel(),
        }
    }

    /// Puts each message of an answer on the stream.
    async fn told(&self, open: &Open, response: Response<Body>) -> Result<(), Broken> {
        let mut messages = messages(response);
        while let Some(message) = messages.next().await {
            open.say(&message?).await;
        }
        Ok(())
    }
}

/// The path to post to, of the path of a stream.
fn posts_of(stream: &str) -> String {
    let place = stream.strip_suffix('/').unwrap_or(stream);
    format!("{}message", place.strip_suffix("sse").unwrap_or(place))
}

/// The head of a message as it would come over one URL: the stream knows the session, and there was no version header.
fn head_for(head: &Parts, session: Option<HeaderValue>) -> Parts {
    let mut head = head.clone();
    head.headers.remove(VERSION);
    head.headers.remove(SESSION);
    if let Some(session) = session {
        head.headers.insert(SESSION, session);
    }
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_named_by_a_query_that_is_no_key() {
        let sealer = Sealer::with_own_key();
        let named = Named { owner: NodeTag([7; 8]), uid: Uid([3; 8]) };
        for _ in 0..100 {
            let query = named.query(&sealer).unwrap();
            assert!(!has_key(&query));
            assert_eq!(Named::read(&sealer, Some(&query)), Some(named));
            assert_eq!(Named::read(&sealer, Some(&format!("a=1&{query}"))), Some(named));
            assert_eq!(Named::read(&Sealer::with_own_key(), Some(&query)), None);
        }
        for query in [None, Some(""), Some("sessionId="), Some("sessionId=abc"), Some("session=x")] {
            assert_eq!(Named::read(&sealer, query), None, "{query:?}");
        }
        assert_eq!(named.query(&Sealer::default()), None);
    }

    #[test]
    fn clients_post_beside_the_stream() {
        for (stream, posts) in [
            ("/sse", "/message"),
            ("/sse/", "/message"),
            ("/servers/notes/sse", "/servers/notes/message"),
            ("/t/acme/servers/sse/sse", "/t/acme/servers/sse/message"),
        ] {
            assert_eq!(posts_of(stream), posts);
        }
    }
}
