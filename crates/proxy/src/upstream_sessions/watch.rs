//! Sessions that are listened to outside of any call, and what becomes of what is heard there.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use http_body_util::BodyExt;
use mcp::{Envelope, Kind, Span, sse, write};

use super::Shared;
use crate::answer::note_change;
use crate::client_sessions::ClientSessions;
use crate::credentials::{Behalf, Credentials, Part};
use crate::questions::{Heard, Questions, words};
use crate::session::Uid;
use crate::subscriptions::updated;
use crate::table::Mount;
use crate::upstream::http::{Answer, HttpSession, bearable, judge, send};
use crate::upstream::{Connected, Failure};

/// How often a watch looks whether anybody still listens.
pub(super) const LOOK: Duration = Duration::from_secs(10);
/// Largest event on a watch.
pub(super) const EVENT: usize = 4 << 20;

/// Of which client sessions the own upstream session is listened to, and on which mount.
pub(super) type OwnWatches = Arc<Mutex<HashSet<(u64, Uid)>>>;

/// One of them; over on drop.
pub(super) struct Watching(OwnWatches, (u64, Uid));

impl Watching {
    pub(super) fn begin(all: &OwnWatches, key: (u64, Uid)) -> Option<Self> {
        let first = all.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
        first.then(|| Self(all.clone(), key))
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.1);
    }
}

/// A session that is listened to.
pub(super) struct Watched {
    pub(super) mount: Weak<Mount>,
    pub(super) session: HttpSession,
    pub(super) behalf: Behalf,
    /// As whom it was opened: it is heard only for as long as its subject is served so.
    pub(super) part: Part,
    /// The client session whose own it is.
    pub(super) only: Option<Uid>,
    pub(super) credentials: Arc<Credentials>,
    pub(super) questions: Arc<Questions>,
    pub(super) client_sessions: Arc<ClientSessions>,
}

/// A session with an upstream that is heard outside of any call.
pub(super) struct Speaking<'a> {
    pub(super) mount: &'a Arc<Mount>,
    pub(super) connected: Connected,
    pub(super) behalf: &'a Behalf,
    pub(super) part: Part,
    /// The client session whose own it is.
    pub(super) only: Option<Uid>,
    pub(super) questions: &'a Questions,
    pub(super) client_sessions: &'a ClientSessions,
}

impl Speaking<'_> {
    /// Whoever is meant hears or is asked what the upstream said.
    pub(super) fn said(self, message: &Bytes, envelope: &Envelope) {
        let Self { mount, connected, behalf, part, only, questions, client_sessions } = self;
        let (hub, subject) = (&behalf.hub, behalf.subject());
        match (envelope.kind, envelope.method(message)) {
            (Kind::Response, _) => (),
            (Kind::Request, _) => {
                let heard = Heard { mount, connected, subject, part, hub, only };
                questions.ask_outside(heard, message, envelope);
            }
            (Kind::Notification, "notifications/cancelled") => {
                let heard = Heard { mount, connected, subject, part, hub, only };
                questions.withdraw_outside(heard, message, envelope);
            }
            (Kind::Notification, "notifications/elicitation/complete") => {
                hub.tell_each(subject, mount, only, |_, several| {
                    Some(match several {
                        true => sse::frame(&words::completed(message, envelope, mount.name())),
                        false => sse::frame(message),
                    })
                });
            }
            (Kind::Notification, method) => {
                note_change(mount, part, hub, message, envelope);
                // Who has no session subscribed in the one that all of the principal's share.
                if only.is_none()
                    && let Some(uri) = updated(message, envelope)
                {
                    hub.updated(subject, mount, &uri);
                    // And of several sessions each hears of its own, by the name that it knows.
                    return hub.tell_each(subject, mount, None, |uid, _| {
                        let called = client_sessions.called(uid, mount.spec.id, &uri)?;
                        Some(sse::frame(&renamed_update(message, envelope, &called)))
                    });
                }
                // What says that a list changed goes to all who have the list, a moment later, from the hub itself.
                // Progress that belongs to no request under way carries a token of ours: nobody knows it.
                if !method.ends_with("/list_changed") && method != "notifications/progress" {
                    hub.tell(subject, mount, only, &sse::frame(message));
                }
            }
        }
    }
}

/// What says that a resource changed, by the name that a client knows it under.
fn renamed_update(message: &Bytes, envelope: &Envelope, called: &str) -> Bytes {
    let Some(span) = envelope.params.as_ref().and_then(|params| params.uri) else { return message.clone() };
    let mut with = Vec::with_capacity(called.len() + 2);
    write::string(&mut with, called);
    let mut out = Vec::with_capacity(message.len() + with.len());
    write::patched(&mut out, message, Span::whole(message), &[write::Patch { span, with: &with }]);
    out.into()
}

/// Listens again and again. Holds no mount while it waits: one that is unmounted is let go.
pub(super) async fn watch(mut watched: Watched, shared: Option<Arc<Shared>>) {
    let mut pause = Duration::from_secs(1);
    while let Some(mount) = watched.heard() {
        if mount.spec.binding.is_some() {
            let held = watched.session.lines.take();
            watched.session.lines = watched.credentials.lines_of(&mount, watched.part, held.as_deref());
            // Nobody stands behind a question for new ones: the next request begins it again.
            if watched.session.lines.is_none() {
                if let Some(uid) = watched.only {
                    watched.behalf.hub.end(uid);
                }
                break;
            }
        }
        match watched.listen(mount).await {
            Ok(()) => pause = Duration::from_secs(1),
            // The upstream keeps no such stream, or knows the session no more.
            Err(Failure::Status { status: ..500, .. } | Failure::SessionLost | Failure::Unauthorized(_)) => break,
            Err(failure) => {
                tracing::debug!(class = failure.class(), "a watch broke off");
                pause = (pause * 2).min(Duration::from_secs(60));
            }
        }
        tokio::time::sleep(pause).await;
    }
    if let Some(opened) = shared {
        opened.end_watch();
    }
}

impl Watched {
    /// The mount, if it is still mounted, the subject is still served there as then, and somebody listens to it: that
    /// session, or anybody of the subject.
    pub(super) fn heard(&self) -> Option<Arc<Mount>> {
        let mount = self.mount.upgrade()?;
        let same = || self.behalf.served(&mount).is_ok_and(|served| served.part == self.part);
        if mount.spec.binding.is_some() && !same() {
            return None;
        }
        let heard = match self.only {
            Some(uid) => self.behalf.hub.is_open(uid),
            None => self.behalf.hub.is_heard(self.behalf.subject(), &mount),
        };
        heard.then_some(mount)
    }

    async fn listen(&self, mount: Arc<Mount>) -> Result<(), Failure> {
        let (way, session) = (&mount.way, &self.session);
        bearable(session)?;
        let response = send(way, Method::GET, way.path.clone(), session, &HeaderMap::new(), Bytes::new()).await?;
        let (Answer::Events(mut body), _) = judge(response, session.id.is_some()).await? else {
            return Err(Failure::BadResponse("it is no event stream"));
        };
        let bound = mount.spec.binding.is_some();
        drop(mount);
        let mut decoder = sse::Decoder::new(EVENT);
        let mut events = Vec::new();
        let mut changes = self.credentials.changes();
        loop {
            let frame = tokio::select! {
                frame = tokio::time::timeout(LOOK, body.frame()) => frame,
                // A connection has ended: perhaps this one.
                _ = changes.changed(), if bound => match self.heard() {
                    Some(_) => continue,
                    None => return Ok(()),
                },
            };
            let frame = match frame {
                Ok(Some(frame)) => frame?,
                Err(_) if self.heard().is_some() => continue,
                Ok(None) | Err(_) => return Ok(()),
            };
            let Ok(data) = frame.into_data() else { continue };
            decoder.push(&data, &mut events).map_err(|_| Failure::TooLarge)?;
            let Some(mount) = self.heard() else { return Ok(()) };
            for event in events.drain(..) {
                let Ok(envelope) = Envelope::scan(&event.data) else { continue };
                let connected = Connected::Http(session.clone());
                let Self { behalf, part, only, questions, client_sessions, .. } = self;
                let (part, only) = (*part, *only);
                let speaking = Speaking { mount: &mount, connected, behalf, part, only, questions, client_sessions };
                speaking.said(&event.data, &envelope);
            }
        }
    }
}
