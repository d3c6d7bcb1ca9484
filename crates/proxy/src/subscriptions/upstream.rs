//! Where resources are subscribed to: in the session that a principal has with an upstream, counted, or by a stream of the
//! upstream's own where there are no sessions.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt as _;
use mcp::{Envelope, Kind, Object, Params, Span, sse, write};
use model::Subject;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::wanted::Resource;
use crate::asked::Asked;
use crate::client::Terms;
use crate::credentials::{Behalf, Part};
use crate::gate::Gate;
use crate::hub::Hub;
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::http::Answer;
use crate::upstream::stateless::{Stateless, repeated};
use crate::upstream::{Connected, Failure, ask, mint_id};
use crate::upstream_sessions::{Shared, UpstreamSessions};

/// How long a server may take for all that a stream subscribes to there.
const PATIENCE: Duration = Duration::from_secs(5);
/// Largest event of an upstream's stream.
const EVENT: usize = 1 << 20;

/// Who is subscribed to what in the sessions with upstreams, and how often. There are no more than the streams that the
/// tenants may have, with 256 resources each.
#[derive(Default)]
pub(crate) struct Subscribers(Mutex<HashMap<Key, u32>>);

/// Mount, principal, as whom, on what terms, and the resource.
type Key = (u64, Subject, Part, Terms, Box<str>);

impl Subscribers {
    /// One more; whether it is the first.
    fn begin(&self, key: &Key) -> bool {
        let mut there = self.there();
        let count = there.entry(key.clone()).or_default();
        *count += 1;
        *count == 1
    }

    /// One less; whether it was the last.
    fn end(&self, key: &Key) -> bool {
        let mut there = self.there();
        match there.get_mut(key) {
            Some(count) if *count > 1 => {
                *count -= 1;
                false
            }
            Some(_) => there.remove(key).is_some(),
            None => false,
        }
    }

    /// Whether any stream of a principal wants to hear of a resource of a mount.
    pub(crate) fn want(&self, mount: u64, subject: Subject, uri: &str) -> bool {
        self.there().keys().any(|(at, of, _, _, own)| *at == mount && *of == subject && **own == *uri)
    }

    fn there(&self) -> MutexGuard<'_, HashMap<Key, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one stream subscribed to at one server; dropped, it is subscribed to no more.
pub(super) struct Held {
    resources: Vec<Resource>,
    how: How,
}

enum How {
    Session(InSession),
    /// The upstream's own stream, which is read until this is dropped. The token fires when it has ended.
    Stream(CancellationToken, #[expect(dead_code, reason = "dropped with the rest")] DropGuard),
}

/// Subscriptions in a session that others have a part in.
struct InSession {
    sessions: Arc<UpstreamSessions>,
    subscribers: Arc<Subscribers>,
    shared: Arc<Shared>,
    mount: Arc<Mount>,
    behalf: Behalf,
    part: Part,
    keys: Vec<Key>,
}

impl Held {
    /// Subscribes to these, as far as that works within the patience.
    pub(super) async fn begin(
        gate: &Gate,
        asked: &Asked<'_>,
        mount: &Arc<Mount>,
        resources: &[Resource],
    ) -> Option<Self> {
        let behalf = asked.behalf();
        let deadline = tokio::time::Instant::now() + scaled(PATIENCE);
        let opening = async {
            let mut bearing = gate.credentials().bearing(mount, &behalf).await?;
            let shared = gate.sessions.shared(mount, &behalf, &mut bearing).await?;
            Ok::<_, Failure>((bearing, shared))
        };
        let (bearing, shared) = match tokio::time::timeout_at(deadline, opening).await.unwrap_or(Err(Failure::Deadline))
        {
            Ok(opened) => opened,
            Err(failure) => {
                tracing::debug!(server = mount.name(), class = failure.class(), "nothing is subscribed to");
                return None;
            }
        };
        match shared.connected.bearing(bearing.lines.as_ref()) {
            Connected::Stateless(stateless) => {
                let listening = listening(mount, &stateless, &asked.who.tenant.hub, behalf.subject(), resources);
                match tokio::time::timeout_at(deadline, listening).await.unwrap_or(Err(Failure::Deadline)) {
                    Ok(held) => Some(held),
                    Err(failure) => {
                        tracing::debug!(server = mount.name(), class = failure.class(), "nothing is subscribed to");
                        None
                    }
                }
            }
            connected => {
                let session = InSession {
                    sessions: gate.sessions.clone(),
                    subscribers: gate.subscribers.clone(),
                    shared,
                    mount: mount.clone(),
                    behalf: behalf.afterwards(),
                    part: bearing.part,
                    keys: Vec::new(),
                };
                Some(session.subscribed(&connected, resources, deadline).await)
            }
        }
    }

    /// What worked.
    pub(super) fn resources(&self) -> &[Resource] {
        &self.resources
    }

    /// Whether the upstream knows nothing of it any more.
    pub(super) async fn is_lost(&self) -> bool {
        match &self.how {
            How::Session(session) => session.is_lost().await,
            How::Stream(ended, _) => ended.is_cancelled(),
        }
    }
}

impl InSession {
    async fn subscribed(
        mut self,
        connected: &Connected,
        resources: &[Resource],
        deadline: tokio::time::Instant,
    ) -> Held {
        let mut worked = Vec::new();
        for resource in resources {
            let subject = self.behalf.subject();
            let key = (self.mount.uid, subject, self.part, self.shared.terms, resource.own.clone());
            // Whoever comes second asks too: what the first one asked may not be answered yet.
            self.subscribers.begin(&key);
            self.keys.push(key);
            let params = uri(&resource.own);
            let asking = ask(&self.mount, connected, "resources/subscribe", &params);
            match tokio::time::timeout_at(deadline, asking).await.unwrap_or(Err(Failure::Deadline)) {
                Ok(Ok(_)) => worked.push(resource.clone()),
                Ok(Err(_)) => tracing::debug!(server = self.mount.name(), "a subscription was refused"),
                Err(failure) => {
                    tracing::debug!(server = self.mount.name(), class = failure.class(), "a subscription failed");
                }
            }
        }
        Held { resources: worked, how: How::Session(self) }
    }

    /// Another session has taken the place of the one in which it was subscribed, or the upstream does not know that one.
    async fn is_lost(&self) -> bool {
        let known = self.sessions.known(&self.mount, &self.behalf, self.part).await;
        if !known.is_some_and(|known| Arc::ptr_eq(&known, &self.shared)) || !self.shared.is_usable() {
            return true;
        }
        if self.shared.is_watched() {
            return false;
        }
        // Nobody hears it: does it answer?
        let Some(connected) = self.connected() else { return true };
        let lost = matches!(ask(&self.mount, &connected, "ping", b"{}").await, Err(Failure::SessionLost));
        if lost {
            self.sessions.forget(&self.mount, &self.behalf, self.part).await;
        } else {
            self.sessions.watch(&self.mount, &self.behalf).await;
        }
        lost
    }

    /// The session with what is there to be borne in it; `None` where a credential is needed and none is there.
    fn connected(&self) -> Option<Connected> {
        let lines = match self.mount.spec.binding.is_some() {
            false => None,
            true => Some(self.sessions.credentials.lines_of(&self.mount, self.part, None)?),
        };
        Some(self.shared.connected.bearing(lines.as_ref()))
    }
}

impl Drop for InSession {
    fn drop(&mut self) {
        let (sessions, server) = (&self.sessions.client_sessions, self.mount.spec.id);
        // A client with a session may have subscribed to it in the same one.
        let last = |key: &Key| self.subscribers.end(key) && !sessions.want(key.1, server, &key.4);
        let last: Vec<Key> = std::mem::take(&mut self.keys).into_iter().filter(last).collect();
        let (Some(connected), Ok(runtime)) = (self.connected(), tokio::runtime::Handle::try_current()) else { return };
        if last.is_empty() {
            return;
        }
        let (mount, shared) = (self.mount.clone(), self.shared.clone());
        runtime.spawn(async move {
            for (.., own) in last {
                let params = uri(&own);
                let asking = ask(&mount, &connected, "resources/unsubscribe", &params);
                let told = tokio::time::timeout(scaled(PATIENCE), asking).await.unwrap_or(Err(Failure::Deadline));
                if let Err(failure) = told {
                    tracing::debug!(
                        server = mount.name(),
                        class = failure.class(),
                        "a subscription could not be ended"
                    );
                    break;
                }
            }
            // Not before: its end would be the session's.
            drop(shared);
        });
    }
}

fn uri(uri: &str) -> Vec<u8> {
    let mut params = b"{\"uri\":".to_vec();
    write::string(&mut params, uri);
    params.push(b'}');
    params
}

/// Opens the upstream's own stream for these resources and reads it from here on.
async fn listening(
    mount: &Arc<Mount>,
    stateless: &Stateless,
    hub: &Arc<Hub>,
    subject: Subject,
    resources: &[Resource],
) -> Result<Held, Failure> {
    let uris: Vec<&str> = resources.iter().map(|resource| &*resource.own).collect();
    let wanted = serde_json::json!({ "notifications": { "resourceSubscriptions": uris } }).to_string();
    let params = stateless.params(wanted.as_bytes(), None).ok_or(Failure::BadResponse("no params"))?;
    let id = mint_id().to_string();
    let body = write::request(&id, "subscriptions/listen", &params, Some(Span::whole(&params)), &[]);
    let headers = repeated(&HeaderMap::new(), "subscriptions/listen", None, &[]).unwrap_or_default();
    let Answer::Events(body) = stateless.post(mount, &headers, body).await? else {
        return Err(Failure::BadResponse("it is no event stream"));
    };
    let mut events = Events { body, decoder: sse::Decoder::new(EVENT), ready: Vec::new() };
    let honoured = loop {
        let data = events.next().await?.ok_or(Failure::BadResponse("the stream ended at once"))?;
        if let Some(honoured) = acknowledged(&data) {
            break honoured;
        }
    };
    let resources = resources.iter().filter(|resource| honoured.iter().any(|uri| **uri == *resource.own));
    let resources: Vec<Resource> = resources.cloned().collect();
    let (ended, stop) = (CancellationToken::new(), CancellationToken::new());
    let (telling, stopped) = (ended.clone().drop_guard(), stop.clone());
    let (mount, hub) = (Arc::downgrade(mount), hub.clone());
    tokio::spawn(async move {
        let _telling = telling;
        loop {
            let data = tokio::select! {
                () = stopped.cancelled() => return,
                data = events.next() => data,
            };
            let (Ok(Some(data)), Some(mount)) = (data, mount.upgrade()) else { return };
            if let Ok(envelope) = Envelope::scan(&data)
                && let Some(uri) = updated(&data, &envelope)
            {
                hub.updated(subject, &mount, &uri);
            }
        }
    });
    Ok(Held { resources, how: How::Stream(ended, stop.drop_guard()) })
}

/// The events of an upstream's stream.
struct Events {
    body: egress::Body,
    decoder: sse::Decoder,
    ready: Vec<Bytes>,
}

impl Events {
    /// The next one that says something; `None` at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            if !self.ready.is_empty() {
                return Ok(Some(self.ready.remove(0)));
            }
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let Ok(data) = frame?.into_data() else { continue };
            let mut events = Vec::new();
            self.decoder.push(&data, &mut events).map_err(|_| Failure::TooLarge)?;
            self.ready.extend(events.into_iter().map(|event| event.data).filter(|data| !data.is_empty()));
        }
    }
}

/// The resources that an acknowledgement honours, if that is what it is.
fn acknowledged(message: &[u8]) -> Option<Vec<String>> {
    let envelope = Envelope::scan(message).ok()?;
    if envelope.method(message) != "notifications/subscriptions/acknowledged" {
        return None;
    }
    let notifications = envelope.params?.notifications?.of(message);
    let uris = Object::read(notifications)?.get("resourceSubscriptions");
    Some(uris.and_then(|uris| serde_json::from_slice(uris).ok()).unwrap_or_default())
}

/// The resource that has changed, if that is what a message says.
pub(crate) fn updated<'m>(message: &'m [u8], envelope: &Envelope) -> Option<Cow<'m, str>> {
    let told = envelope.kind == Kind::Notification && envelope.method(message) == "notifications/resources/updated";
    Params::text(envelope.params.as_ref().filter(|_| told)?.uri, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_begins_and_the_last_ends() {
        let subscribers = Subscribers::default();
        let key = |uri: &str| {
            let subject = crate::principal::Caller::for_test("0123456789abcdef").subject();
            (7, subject, Part::default(), Terms::default(), uri.into())
        };
        assert!(subscribers.begin(&key("a")) && subscribers.begin(&key("b")));
        assert!(!subscribers.begin(&key("a")));
        let (mount, subject, ..) = key("a");
        assert!(subscribers.want(mount, subject, "a") && !subscribers.want(mount, subject, "c"));
        assert!(!subscribers.want(8, subject, "a"));
        assert!(!subscribers.end(&key("a")));
        assert!(subscribers.end(&key("a")) && subscribers.end(&key("b")));
        assert!(!subscribers.end(&key("a")), "what is over does not end again");
        assert!(subscribers.there().is_empty());
    }

    #[test]
    fn what_an_upstream_honours_and_tells_is_read() {
        let ack = |notifications: &str| {
            format!(
                r#"{{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{{"notifications":{notifications}}}}}"#
            )
        };
        for (message, honoured) in [
            (ack(r#"{"resourceSubscriptions":["a"]}"#), Some(vec!["a".to_owned()])),
            (ack("{}"), Some(vec![])),
            (r#"{"jsonrpc":"2.0","method":"notifications/message","params":{}}"#.to_owned(), None),
            (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#.to_owned(), None),
        ] {
            assert_eq!(acknowledged(message.as_bytes()), honoured, "{message}");
        }
        let told = r#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x"}}"#;
        let other = told.replace("updated", "list_changed");
        for (message, uri) in [(told, Some("x")), (&other, None)] {
            let envelope = Envelope::scan(message.as_bytes()).unwrap();
            assert_eq!(updated(message.as_bytes(), &envelope).as_deref(), uri, "{message}");
        }
    }
}
