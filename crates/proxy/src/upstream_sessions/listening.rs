//! What is heard of an upstream without sessions: one `subscriptions/listen` for each principal, as long as somebody
//! listens here, for changes of its lists and for the resources that clients with sessions subscribed to.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use mcp::{Envelope, Kind, Span, meta, sse, write};
use model::{ServerId, Subject};
use tokio::sync::{Notify, watch};

use super::UpstreamSessions;
use super::watch::{EVENT, LOOK, Speaking, Watched};
use crate::client::Terms;
use crate::credentials::{Behalf, Part};
use crate::session::Uid;
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::http::{Answer, HttpSession};
use crate::upstream::stateless::{Stateless, repeated};
use crate::upstream::{Connected, Failure, mint_id};

/// Most resources that are listened to of one upstream for one principal.
const OF_ONE: usize = 1_000;
/// Most of all together.
pub(super) const MOST: usize = 50_000;

/// Longest time that whoever subscribes waits for the stream that will bring it.
const OPENING: Duration = Duration::from_secs(2);

/// Server, principal, and as whom: another version of the server goes on with it.
type Place = (ServerId, Subject, Part);

/// What is listened to, and for whom.
#[derive(Default)]
pub(crate) struct Listening(Mutex<HashMap<Place, Arc<Wants>>>);

/// What the clients of one principal want to hear of one upstream.
#[derive(Default)]
struct Wants {
    uris: Mutex<BTreeMap<Box<str>, HashSet<Uid>>>,
    changed: Notify,
    watched: AtomicBool,
    /// The resources of which the open stream tells.
    open: watch::Sender<BTreeSet<Box<str>>>,
}

/// No more resources are listened to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Listening {
    fn of(&self, place: Place) -> Arc<Wants> {
        self.all().entry(place).or_default().clone()
    }

    /// A client's session wants to hear of a resource.
    fn begin(&self, place: Place, uid: Uid, uri: &str) -> Result<(), TooMany> {
        let full = self.len() >= MOST;
        let wants = self.of(place);
        let mut uris = wants.uris();
        if !uris.contains_key(uri) && (full || uris.len() >= OF_ONE) {
            return Err(TooMany);
        }
        if uris.entry(uri.into()).or_default().insert(uid) {
            wants.changed.notify_one();
        }
        Ok(())
    }

    /// It wants no more of it.
    fn end(&self, place: Place, uid: Uid, uri: &str) {
        let wants = self.of(place);
        wants.drop_where(|other, of| other == uri && of == uid);
        self.tidy();
    }

    /// A client's session is over.
    pub(crate) fn left(&self, uid: Uid) {
        let all: Vec<Arc<Wants>> = self.all().values().cloned().collect();
        all.iter().for_each(|wants| wants.drop_where(|_, of| of == uid));
        self.tidy();
    }

    /// How many resources are listened to.
    pub(super) fn len(&self) -> usize {
        self.all().values().map(|wants| wants.uris().len()).sum()
    }

    fn tidy(&self) {
        self.all().retain(|_, wants| wants.watched.load(Ordering::Acquire) || !wants.uris().is_empty());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Place, Arc<Wants>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wants {
    fn drop_where(&self, goes: impl Fn(&str, Uid) -> bool) {
        let mut uris = self.uris();
        let before = uris.len();
        uris.retain(|uri, of| {
            of.retain(|uid| !goes(uri, *uid));
            !of.is_empty()
        });
        if uris.len() != before {
            self.changed.notify_one();
        }
    }

    fn uris(&self) -> MutexGuard<'_, BTreeMap<Box<str>, HashSet<Uid>>> {
        self.uris.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until the stream that tells of a resource is open, or nobody tries to open one any more.
    async fn opened(&self, uri: &str) {
        let mut open = self.open.subscribe();
        let opening = open.wait_for(|open| open.contains(uri) || !self.watched.load(Ordering::Acquire));
        // What takes longer tells when it is open.
        _ = tokio::time::timeout(scaled(OPENING), opening).await;
    }

    /// What the upstream is asked for, raw JSON.
    fn asked(&self) -> Vec<u8> {
        let mut out =
            br#"{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"resourcesListChanged":true"#
                .to_vec();
        let uris = self.uris();
        for (at, uri) in uris.keys().enumerate() {
            out.extend_from_slice(if at == 0 { b",\"resourceSubscriptions\":[" } else { b"," });
            write::string(&mut out, uri);
        }
        if !uris.is_empty() {
            out.push(b']');
        }
        out.extend_from_slice(b"}}");
        out
    }
}

impl UpstreamSessions {
    /// A client's session wants to hear when a resource of an upstream without sessions changes.
    pub(crate) async fn want(
        &self,
        mount: &Arc<Mount>,
        behalf: &Behalf,
        part: Part,
        uid: Uid,
        uri: &str,
    ) -> Result<(), TooMany> {
        self.listening.begin((mount.spec.id, behalf.subject(), part), uid, uri)?;
        if behalf.hub.is_heard(behalf.subject(), mount) {
            self.watch(mount, behalf).await;
            // Whoever is told that it is subscribed must hear what happens from here on.
            self.listening.of((mount.spec.id, behalf.subject(), part)).opened(uri).await;
        }
        Ok(())
    }

    /// It does not want to any more.
    pub(crate) fn unwant(&self, mount: &Mount, behalf: &Behalf, part: Part, uid: Uid, uri: &str) {
        self.listening.end((mount.spec.id, behalf.subject(), part), uid, uri);
    }

    /// Listens to an upstream without sessions for as long as somebody listens here.
    pub(super) fn watch_stateless(&self, mount: &Arc<Mount>, behalf: &Behalf, part: Part, terms: Terms) {
        let wants = self.listening.of((mount.spec.id, behalf.subject(), part));
        if wants.watched.swap(true, Ordering::AcqRel) {
            return;
        }
        let watched = self.watched(mount, HttpSession::default(), behalf, part, None);
        tokio::spawn(async move {
            Ear { watched, terms, wants: wants.clone() }.listen().await;
            wants.watched.store(false, Ordering::Release);
            wants.open.send_replace(BTreeSet::new());
        });
    }
}

/// Who listens to one upstream.
struct Ear {
    watched: Watched,
    terms: Terms,
    wants: Arc<Wants>,
}

impl Ear {
    /// Again and again. Holds no mount while it waits: one that is unmounted is let go.
    async fn listen(mut self) {
        let mut pause = Duration::from_secs(1);
        while let Some(mount) = self.watched.heard() {
            if mount.terms(self.watched.behalf.client).era != self.terms.era {
                break;
            }
            if mount.spec.binding.is_some() {
                let held = self.watched.session.lines.take();
                let lines = self.watched.credentials.lines_of(&mount, self.watched.part, held.as_deref());
                // Nobody stands behind a question for new ones: the next request begins it again.
                self.watched.session.lines = lines;
                if self.watched.session.lines.is_none() {
                    break;
                }
            }
            match self.heard(mount).await {
                Ok(()) => pause = Duration::from_secs(1),
                // It keeps no such stream, or is of another era by now.
                Err(Failure::Status { status: ..500, .. } | Failure::OtherEra | Failure::Unauthorized(_)) => break,
                Err(failure) => {
                    tracing::debug!(class = failure.class(), "a watch broke off");
                    pause = (pause * 2).min(Duration::from_secs(60));
                }
            }
            tokio::time::sleep(pause).await;
        }
    }

    fn connected(&self) -> Stateless {
        Stateless { capabilities: self.terms.capabilities, lines: self.watched.session.lines.clone() }
    }

    async fn opened(&self, mount: &Mount) -> Result<egress::Body, Failure> {
        let stateless = self.connected();
        let uris = self.wants.uris().keys().cloned().collect();
        let params = stateless.params(&self.wants.asked(), None).ok_or(Failure::BadResponse("it wants nothing"))?;
        let headers = repeated(&HeaderMap::new(), "subscriptions/listen", None, &[]).unwrap_or_default();
        let id = mint_id().to_string();
        let body = write::request(&id, "subscriptions/listen", &params, Some(Span::whole(&params)), &[]);
        match stateless.post(mount, &headers, body).await? {
            Answer::Events(body) => {
                self.wants.open.send_replace(uris);
                Ok(body)
            }
            // An error in place of the stream.
            Answer::Json(_) | Answer::Nothing => Err(Failure::Status { status: 404, retry_after: None, error: None }),
        }
    }

    async fn heard(&self, mount: Arc<Mount>) -> Result<(), Failure> {
        // What was wanted up to here is asked for at once.
        _ = self.wants.changed.notified().now_or_never();
        let mut stream = Stream::of(self.opened(&mount).await?);
        let bound = mount.spec.binding.is_some();
        drop(mount);
        let mut changes = self.watched.credentials.changes();
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(LOOK, stream.body.frame()) => frame,
                () = self.wants.changed.notified() => {
                    let Some(mount) = self.watched.heard() else { return Ok(()) };
                    // The next one is there before this one goes, and what this one has brought is read.
                    let mut before = std::mem::replace(&mut stream, Stream::of(self.opened(&mount).await?));
                    while let Some(Some(Ok(frame))) = before.body.frame().now_or_never() {
                        self.tell(&mount, before.messages(frame)?);
                    }
                    continue;
                }
                // A connection has ended: perhaps this one.
                _ = changes.changed(), if bound => match self.watched.heard() {
                    Some(_) => continue,
                    None => return Ok(()),
                },
            };
            let frame = match frame {
                Ok(Some(frame)) => frame?,
                Err(_) if self.watched.heard().is_some() => continue,
                Ok(None) | Err(_) => return Ok(()),
            };
            let messages = stream.messages(frame)?;
            let Some(mount) = self.watched.heard() else { return Ok(()) };
            self.tell(&mount, messages);
        }
    }

    /// Passes on what the upstream said.
    fn tell(&self, mount: &Arc<Mount>, messages: Vec<Bytes>) {
        for message in messages.iter().filter_map(as_in_a_session) {
            let Ok(envelope) = Envelope::scan(&message) else { continue };
            let Watched { behalf, part, questions, client_sessions, .. } = &self.watched;
            let (connected, part, only) = (Connected::Stateless(self.connected()), *part, None);
            Speaking { mount, connected, behalf, part, only, questions, client_sessions }.said(&message, &envelope);
        }
    }
}

/// An open stream.
struct Stream {
    body: egress::Body,
    decoder: sse::Decoder,
}

impl Stream {
    fn of(body: egress::Body) -> Self {
        Self { body, decoder: sse::Decoder::new(EVENT) }
    }

    /// The messages that a frame completes.
    fn messages(&mut self, frame: http_body::Frame<Bytes>) -> Result<Vec<Bytes>, Failure> {
        let Ok(data) = frame.into_data() else { return Ok(Vec::new()) };
        let mut events = Vec::new();
        self.decoder.push(&data, &mut events).map_err(|_| Failure::TooLarge)?;
        Ok(events.into_iter().map(|event| event.data).collect())
    }
}

/// A notification as a session would have it; `None` for what only this stream knows, and for what no such upstream may
/// send.
fn as_in_a_session(message: &Bytes) -> Option<Bytes> {
    let envelope = Envelope::scan(message).ok()?;
    let method = envelope.method(message);
    if envelope.kind != Kind::Notification || method == "notifications/subscriptions/acknowledged" {
        return None;
    }
    let params = envelope.params.as_ref().map(|params| params.all.of(message));
    Some(match params.and_then(meta::without_subscription) {
        Some(params) if params == b"{}" => write::notification(method, b"", None, &[]),
        Some(params) => write::notification(method, &params, Some(Span::whole(&params)), &[]),
        None => message.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> Place {
        (ServerId(uuid::Uuid::nil()), crate::principal::Caller::for_test("0123456789abcdef").subject(), Part::default())
    }

    #[test]
    fn a_resource_is_listened_to_as_long_as_any_session_wants_it() {
        let listening = Listening::default();
        let (one, other) = (Uid([1; 8]), Uid([2; 8]));
        listening.begin(place(), one, "a:1").unwrap();
        listening.begin(place(), other, "a:1").unwrap();
        listening.begin(place(), other, "a:\"2").unwrap();
        let asked = || String::from_utf8(listening.of(place()).asked()).unwrap();
        assert!(asked().contains(r#""resourceSubscriptions":["a:\"2","a:1"]"#), "{}", asked());
        listening.end(place(), other, "a:1");
        assert!(asked().contains("a:1"), "another session wants it");
        listening.left(other);
        assert_eq!(listening.len(), 1);
        listening.left(one);
        assert!(!asked().contains("resourceSubscriptions"));
        listening.tidy();
        assert!(listening.all().is_empty(), "nothing is kept");
    }

    #[test]
    fn so_many_and_no_more() {
        let listening = Listening::default();
        for number in 0..OF_ONE {
            listening.begin(place(), Uid([1; 8]), &number.to_string()).unwrap();
        }
        assert_eq!(listening.begin(place(), Uid([1; 8]), "more"), Err(TooMany));
        assert_eq!(listening.begin(place(), Uid([2; 8]), "7"), Ok(()), "that is no more");
    }

    #[test]
    fn a_session_hears_nothing_of_the_stream() {
        for (message, expected) in [
            (
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed","params":{"_meta":{"io.modelcontextprotocol/subscriptionId":7}}}"#,
                Some(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a","_meta":{"io.modelcontextprotocol/subscriptionId":7,"x":1}}}"#,
                Some(
                    r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"a","_meta":{"x":1}}}"#,
                ),
            ),
            (
                r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
                Some(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#),
            ),
            (r#"{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{}}"#, None),
            (r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, None),
            (r#"{"jsonrpc":"2.0","id":7,"method":"roots/list"}"#, None),
        ] {
            let message = Bytes::from_static(message.as_bytes());
            let out = as_in_a_session(&message).map(|out| String::from_utf8(out.to_vec()).unwrap());
            assert_eq!(out.as_deref(), expected);
        }
    }
}
