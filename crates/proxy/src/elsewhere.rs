//! Messages of sessions that another proxy keeps: passed on to it, or served here in its place when it is gone.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use mcp::{Envelope, Kind, sse};
use tokio::sync::Semaphore;

use crate::body::Body;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::peers::route::{Goes, Said, goes, may_be_repeated};
use crate::peers::{NODE, NOT_SERVED, Peer, Peers, Place, Sending, TO, Unanswered};
use crate::questions;
use crate::session::{NodeTag, Session};

/// How long the others may take to hear of what was ended.
const HEARING: Duration = Duration::from_secs(2);
/// Others that are told of something at once, without anybody who waits.
pub(crate) const TELLING: usize = 256;

/// Says that a session is used, and nothing else.
const PING: &[u8] = br#"{"jsonrpc":"2.0","id":0,"method":"ping"}"#;

/// Who sent a request here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hop {
    /// A client.
    First,
    /// A proxy of the pool, on behalf of a client of its own. It goes no further.
    Second,
}

/// A request as it came.
pub(crate) struct Arrival<'a> {
    pub(crate) hop: Hop,
    pub(crate) head: &'a Parts,
}

/// A message of a session.
pub(crate) struct Told<'a> {
    pub(crate) said: Said<'a>,
    /// The node that the message itself names, where it does.
    pub(crate) names: Option<NodeTag>,
    pub(crate) body: &'a Bytes,
    /// Of a request.
    pub(crate) id: Option<&'a Bytes>,
}

/// The other proxies, and how many of them are being told something. Cloning gives another handle to the same.
#[derive(Clone)]
pub(crate) struct Elsewhere {
    pub(crate) peers: Arc<Peers>,
    telling: Arc<Semaphore>,
}

impl Elsewhere {
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        Self { peers, telling: Arc::new(Semaphore::new(TELLING)) }
    }

    /// How many are being told something.
    pub(crate) fn telling(&self) -> usize {
        TELLING - self.telling.available_permits()
    }
}

impl<'a> Told<'a> {
    /// A POSTed message.
    pub(crate) fn message(envelope: &'a Envelope, message: &'a Bytes, id: Option<&'a Bytes>) -> Self {
        let said = match envelope.kind {
            Kind::Request => Said::Request(envelope.method(message)),
            Kind::Notification => Said::Notification(envelope.method(message)),
            Kind::Response => Said::Answer,
        };
        Self {
            said,
            names: node_of(envelope, message),
            body: message,
            id: id.filter(|_| envelope.kind == Kind::Request),
        }
    }

    /// A request without a body.
    pub(crate) fn bare(said: Said<'a>) -> Self {
        static NOTHING: Bytes = Bytes::new();
        Self { said, names: None, body: &NOTHING, id: None }
    }

    /// The same, where the message names a node.
    pub(crate) fn naming(self, node: Option<NodeTag>) -> Self {
        Self { names: node, ..self }
    }
}

/// Where the question waits that a client answers, or tells how far it is with.
fn node_of(envelope: &Envelope, message: &[u8]) -> Option<NodeTag> {
    let named = match envelope.kind {
        Kind::Response => envelope.id,
        Kind::Notification if envelope.method(message) == "notifications/progress" => {
            envelope.params.as_ref().and_then(|params| params.progress_token_here)
        }
        Kind::Notification | Kind::Request => None,
    };
    questions::node_in(named?.of(message))
}

impl Gate {
    /// Whether a message that came here may be served here without asking anybody: what every call of a session that is
    /// kept here costs.
    pub(crate) fn is_at_home(&self, session: &Session, told: &Told<'_>) -> bool {
        if self.elsewhere.is_none() {
            return true;
        }
        let named = told.names.is_none_or(|node| node == self.node);
        named
            && match goes(&session.scope, told.said) {
                Goes::Anywhere => true,
                Goes::Owner => session.owner == self.node,
                Goes::Everywhere => false,
            }
    }

    /// A session is used here that another node keeps: that one hears of it now and then, or would end it.
    pub(crate) fn used_here(&self, arrival: &Arrival<'_>, session: &Session) {
        if session.owner == self.node || arrival.hop == Hop::Second {
            return;
        }
        let Some(elsewhere) = &self.elsewhere else { return };
        let Place::At(owner) = elsewhere.peers.owner(session.owner, session.uid) else { return };
        if !self.client_sessions.is_to_be_told(session) {
            return;
        }
        let Ok(place) = elsewhere.telling.clone().try_acquire_owned() else { return };
        let (peers, head) = (elsewhere.peers.clone(), Head::of(arrival.head));
        tokio::spawn(async move {
            let _place = place;
            let telling = peers.forward(&owner, head.sending(Bytes::from_static(PING)));
            _ = tokio::time::timeout(HEARING, telling).await;
        });
    }

    /// Has another proxy answer what belongs there. `None`: it is to be served here.
    pub(crate) async fn elsewhere(
        &self,
        arrival: &Arrival<'_>,
        session: &Session,
        told: Told<'_>,
    ) -> Result<Option<Response<Body>>, Fault> {
        let Some(elsewhere) = &self.elsewhere else { return Ok(None) };
        let named = told.names.and_then(|node| elsewhere.peers.named(node));
        let place = match (goes(&session.scope, told.said), told.names) {
            (_, Some(node)) if node == self.node => Place::Here,
            (_, Some(_)) if named.is_some() => named.map_or(Place::Here, Place::At),
            (Goes::Anywhere, _) => Place::Here,
            (Goes::Everywhere, _) => {
                if arrival.hop == Hop::First {
                    self.tell_all(elsewhere, arrival, &told).await;
                }
                Place::Here
            }
            (Goes::Owner, _) => match arrival.hop {
                Hop::First => elsewhere.peers.owner(session.owner, session.uid),
                // Who sent it sees nobody of the session's node's name; we might.
                Hop::Second if session.owner == self.node => Place::Here,
                Hop::Second => elsewhere.peers.named(session.owner).map_or(Place::Here, Place::At),
            },
        };
        let Place::At(peer) = place else { return Ok(None) };
        if arrival.hop == Hop::Second {
            return Ok(Some(self.not_served("elsewhere")));
        }
        self.counters.forwarded();
        match elsewhere.peers.forward(&peer, told.sending(arrival)).await {
            Ok(response) => Ok(Some(response)),
            Err(Unanswered::NotServed) => Ok(None),
            Err(Unanswered::Lost) => match told.said {
                Said::Request(method) if !may_be_repeated(method) => Err(Fault::Uncertain),
                // Whoever asked it is gone, and does not wait for it any more.
                Said::Answer | Said::Notification(_) => Ok(Some(crate::pipeline::accepted())),
                _ => Ok(None),
            },
        }
    }

    /// Tells all others what the client said. Of an end it is waited until they have heard, for a moment; of anything else
    /// not at all.
    async fn tell_all(&self, elsewhere: &Elsewhere, arrival: &Arrival<'_>, told: &Told<'_>) {
        let others = elsewhere.peers.all();
        if told.said == Said::End {
            let tell = async |peer: Arc<Peer>| _ = elsewhere.peers.forward(&peer, told.sending(arrival)).await;
            let all = join_all(others.into_iter().map(tell));
            if tokio::time::timeout(HEARING, all).await.is_err() {
                tracing::warn!("a proxy of the pool did not hear in time that a session has ended");
            }
            return;
        }
        for peer in others {
            // Too many at once: a cancellation that is not heard costs an answer that nobody reads.
            let Ok(place) = elsewhere.telling.clone().try_acquire_owned() else { return };
            let (peers, head, body) = (elsewhere.peers.clone(), Head::of(arrival.head), told.body.clone());
            tokio::spawn(async move {
                let _place = place;
                let telling = peers.forward(&peer, head.sending(body));
                _ = tokio::time::timeout(HEARING, telling).await;
            });
        }
    }

    /// Refuses what another proxy sent here. Nothing of it has happened.
    pub(crate) fn not_served(&self, why: &'static str) -> Response<Body> {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::MISDIRECTED_REQUEST;
        let node = self.elsewhere.as_ref().and_then(|elsewhere| HeaderValue::from_str(elsewhere.peers.node()).ok());
        if let Some(node) = node {
            response.headers_mut().insert(NODE, node);
        }
        response.headers_mut().insert(NOT_SERVED, HeaderValue::from_static(why));
        response
    }

    /// Whether a request that another proxy sent is for this node.
    pub(crate) fn is_meant(&self, headers: &HeaderMap) -> bool {
        let node = self.elsewhere.as_ref().map(|elsewhere| elsewhere.peers.node());
        headers.get(TO).zip(node).is_some_and(|(to, node)| to == node)
    }
}

impl Told<'_> {
    fn sending<'a>(&self, arrival: &Arrival<'a>) -> Sending<'a> {
        let Parts { method, uri, headers, .. } = arrival.head;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Sending { method, path, headers, body: self.body.clone(), broken: self.broken() }
    }

    /// What the client of an event stream is told that breaks off before its answer came.
    fn broken(&self) -> Option<Bytes> {
        let Said::Request(method) = self.said else { return None };
        let fault = match may_be_repeated(method) {
            true => Fault::Unavailable { class: "other", retry_after: None },
            false => Fault::Uncertain,
        };
        Some(sse::frame(fault.response(Some(self.id?), None).body()))
    }
}

/// What outlives the request that it was taken from.
struct Head {
    method: http::Method,
    path: String,
    headers: HeaderMap,
}

impl Head {
    fn of(head: &Parts) -> Self {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        Self { method: head.method.clone(), path, headers: head.headers.clone() }
    }

    fn sending(&self, body: Bytes) -> Sending<'_> {
        Sending { method: &self.method, path: &self.path, headers: &self.headers, body, broken: None }
    }
}
