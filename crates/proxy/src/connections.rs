//! The gateway's sessions with upstreams: opened on first use, one for each principal and mount,
//! bounded, watched for notifications only while somebody listens, and ended over there when nobody
//! will use them again.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt;
use mcp::{Envelope, Kind, Revision, sse};
use model::{KeyId, Subject};
use moka::future::Cache;
use tokio::sync::Semaphore;

use crate::answer::{note_change, refuse};
use crate::hub::Hub;
use crate::principal::{Authenticated, Caller};
use crate::session::Uid;
use crate::table::{Mount, Way};
use crate::timers::scaled;
use crate::upstream::http::{Answer, HttpSession, drain, judge, send};
use crate::upstream::legacy::Notify;
use crate::upstream::{Connected, Failure, OWN_INFO, Opened, Opening, open};

/// Most client sessions of which it is known that their own upstream session is gone.
const REPLACED: u64 = 100_000;
/// Most sessions that are kept.
const MOST: u64 = 50_000;
/// A session that nobody used for so long is given up.
const IDLE: Duration = Duration::from_secs(1800);
/// How long opening a session may take in all.
const OPENING: Duration = Duration::from_secs(60);
/// How often a watch looks whether anybody still listens.
const LOOK: Duration = Duration::from_secs(10);
/// Largest event on a watch.
const EVENT: usize = 4 << 20;
/// Goodbyes said at once.
const GOODBYES: usize = 64;

/// Sessions by mount and principal: one person's session never serves another.
pub(crate) struct Connections {
    open: Cache<(u64, Subject), Arc<Shared>>,
    goodbyes: Arc<Semaphore>,
    /// Client sessions whose own upstream session is gone; they use the shared one since.
    replaced: moka::sync::Cache<Uid, ()>,
}

/// Name of a bound, the bound, and what tells how much of it is in use.
pub(crate) type Fill = (&'static str, u64, Box<dyn Fn() -> u64 + Send + Sync>);

/// On whose behalf a session is opened.
#[derive(Clone)]
pub(crate) struct Behalf {
    /// `None` for what control asks on its own.
    caller: Option<Caller>,
    pub(crate) hub: Arc<Hub>,
}

impl Behalf {
    /// A caller's.
    pub(crate) fn of(who: &Authenticated) -> Self {
        Self { caller: Some(who.caller().clone()), hub: who.tenant.hub.clone() }
    }

    /// Control's own.
    pub(crate) fn of_control(hub: Arc<Hub>) -> Self {
        Self { caller: None, hub }
    }

    pub(crate) fn subject(&self) -> Subject {
        self.caller.as_ref().map_or_else(control, Caller::subject)
    }
}

/// The subject under which control's own questions keep their upstream sessions: of a key that is never minted.
fn control() -> Subject {
    #[allow(clippy::expect_used, reason = "the literal is 16 alphanumerics")]
    Subject::of_key("0control0control".parse::<KeyId>().expect("a literal id"))
}

/// A session that all requests of one principal to one mount share. Dropped, it is ended over there
/// too, unless it is over already.
pub(crate) struct Shared {
    opened: Opened,
    /// The upstream's session is known to be gone.
    over: AtomicBool,
    mount: Weak<Mount>,
    /// Who opened it; `None` for control.
    caller: Option<Caller>,
    way: Arc<Way>,
    goodbyes: Arc<Semaphore>,
}

impl Deref for Shared {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        &self.opened
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let Connected::Http(session) = &self.opened.connected else { return };
        let (false, Some(id), Some(revision)) = (*self.over.get_mut(), &session.id, session.revision) else { return };
        // Without a runtime the process is ending.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (way, id, goodbyes) = (self.way.clone(), id.clone(), self.goodbyes.clone());
        runtime.spawn(async move {
            let _one_of_few = goodbyes.acquire().await;
            say_goodbye(&way, id, revision).await;
        });
    }
}

impl Default for Connections {
    fn default() -> Self {
        Self::resting(scaled(IDLE))
    }
}

impl Connections {
    /// Sessions that may rest for so long.
    fn resting(idle: Duration) -> Self {
        Self {
            open: Cache::builder().max_capacity(MOST).time_to_idle(idle).build(),
            goodbyes: Arc::new(Semaphore::new(GOODBYES)),
            replaced: moka::sync::Cache::builder()
                .max_capacity(REPLACED)
                .time_to_live(Duration::from_secs(24 * 3600))
                .build(),
        }
    }

    /// Names of the bounds, the bounds, and what tells how much of each is in use.
    pub(crate) fn fill(&self) -> [Fill; 3] {
        let (open, replaced, goodbyes) = (self.open.clone(), self.replaced.clone(), self.goodbyes.clone());
        [
            ("upstream_sessions", MOST, Box::new(move || open.entry_count())),
            ("replaced_sessions", REPLACED, Box::new(move || replaced.entry_count())),
            ("goodbyes", GOODBYES as u64, Box::new(move || (GOODBYES - goodbyes.available_permits()) as u64)),
        ]
    }

    /// Lets go of the sessions that rested too long, whose mount is gone with its last call, or whose
    /// caller is no longer `known`.
    pub(crate) async fn sweep(&self, known: impl Fn(&Caller) -> bool) {
        for (key, shared) in &self.open {
            if shared.mount.strong_count() == 0 || shared.caller.as_ref().is_some_and(|caller| !known(caller)) {
                self.open.invalidate(&*key).await;
            }
        }
        self.open.run_pending_tasks().await;
    }

    /// The principal's session with a mount; opened if need be, once for all who wait for it.
    pub(crate) async fn shared(&self, mount: &Arc<Mount>, behalf: &Behalf) -> Result<Arc<Shared>, Failure> {
        let subject = behalf.subject();
        let key = (mount.uid, subject);
        if let Some(opened) = self.open.get(&key).await {
            if opened.is_usable() {
                // A watch that ended, or never began because nobody listened then.
                if !opened.is_watched() && behalf.hub.is_heard(subject, mount) {
                    self.watch(mount, behalf).await;
                }
                return Ok(opened);
            }
            self.open.invalidate(&key).await;
        }
        let opening = async {
            let passed = HeaderMap::new();
            let opening =
                Opening { client_info: OWN_INFO, revision: Revision::LATEST, passed: &passed, complete: true };
            let deadline = tokio::time::Instant::now() + OPENING;
            let opening = open(mount, &opening, notify(mount, behalf), deadline);
            let opened = tokio::time::timeout_at(deadline, opening).await.unwrap_or(Err(Failure::Deadline));
            settle(mount, &opened);
            opened.map(|opened| {
                let (over, goodbyes) = (AtomicBool::new(false), self.goodbyes.clone());
                let (mount, way) = (Arc::downgrade(mount), mount.way.clone());
                Arc::new(Shared { opened, over, mount, caller: behalf.caller.clone(), way, goodbyes })
            })
        };
        let opened = self.open.try_get_with(key, opening).await.map_err(|failure| (*failure).clone())?;
        if behalf.hub.is_heard(subject, mount) {
            self.watch(mount, behalf).await;
        }
        Ok(opened)
    }

    /// The session, if there is one.
    pub(crate) async fn known(&self, mount: &Mount, subject: Subject) -> Option<Arc<Shared>> {
        self.open.get(&(mount.uid, subject)).await
    }

    /// The shared session turned out to be lost.
    pub(crate) async fn forget(&self, mount: &Mount, subject: Subject) {
        if let Some(lost) = self.open.remove(&(mount.uid, subject)).await {
            lost.over.store(true, Ordering::Release);
        }
    }

    /// A client session's own upstream session turned out to be lost.
    pub(crate) fn replace(&self, uid: Uid) {
        self.replaced.insert(uid, ());
    }

    /// Whether that happened.
    pub(crate) fn is_replaced(&self, uid: Uid) -> bool {
        self.replaced.contains_key(&uid)
    }

    /// Listens to the shared session for as long as somebody listens here.
    pub(crate) async fn watch(&self, mount: &Arc<Mount>, behalf: &Behalf) {
        let Some(opened) = self.known(mount, behalf.subject()).await else { return };
        if let Connected::Http(session) = &opened.connected
            && opened.begin_watch()
        {
            tokio::spawn(watch(Arc::downgrade(mount), session.clone(), behalf.clone(), None, Some(opened.clone())));
        }
    }
}

/// Listens to a client session's own upstream session for as long as its stream is open.
pub(crate) fn watch_own(mount: &Arc<Mount>, session: HttpSession, behalf: Behalf, uid: Uid) {
    tokio::spawn(watch(Arc::downgrade(mount), session, behalf, Some(uid), None));
}

/// Counts what became of a request towards the cooldown of its mount.
pub(crate) fn settle<T>(mount: &Mount, outcome: &Result<T, Failure>) {
    match outcome {
        Ok(_) => mount.cooldown.succeeded(),
        Err(failure) => match failure.strikes() {
            Some(connect) => mount.cooldown.failed(Instant::now(), connect, jitter()),
            None if matches!(failure, Failure::Cooling(_) | Failure::Busy) => (),
            None => mount.cooldown.succeeded(),
        },
    }
}

/// 0.0 to 1.0.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// What a 2024-11-05 stream says on its own.
fn notify(mount: &Arc<Mount>, behalf: &Behalf) -> Notify {
    // Weak: the stream belongs to the mount's session, it must not keep the mount alive.
    let (mount, behalf) = (Arc::downgrade(mount), behalf.clone());
    Arc::new(move |message: &Bytes, envelope: &Envelope| {
        if let Some(mount) = mount.upgrade() {
            pass_on(&mount, &behalf, None, message, envelope);
        }
    })
}

fn pass_on(mount: &Mount, behalf: &Behalf, only: Option<Uid>, message: &Bytes, envelope: &Envelope) {
    note_change(mount, &behalf.hub, message, envelope);
    // What says that a list changed goes to everybody, a moment later, from the hub itself.
    // Progress that belongs to no request under way carries a token of ours: nobody knows it.
    let method = envelope.method(message);
    if !method.ends_with("/list_changed") && method != "notifications/progress" {
        behalf.hub.tell(behalf.subject(), mount, only, &sse::frame(message));
    }
}

/// Listens again and again. Holds no mount while it waits: one that is unmounted is let go.
async fn watch(
    mount: Weak<Mount>,
    session: HttpSession,
    behalf: Behalf,
    only: Option<Uid>,
    shared: Option<Arc<Shared>>,
) {
    let mut pause = Duration::from_secs(1);
    while let Some(watched) = heard(&mount, &behalf, only) {
        match listen(watched, &session, &behalf, only).await {
            Ok(()) => pause = Duration::from_secs(1),
            // The upstream keeps no such stream, or knows the session no more.
            Err(Failure::Status { status: ..500, .. } | Failure::SessionLost | Failure::Unauthorized) => break,
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

/// The mount, if it is still mounted and somebody listens to it: that session, or anybody of the subject.
fn heard(mount: &Weak<Mount>, behalf: &Behalf, only: Option<Uid>) -> Option<Arc<Mount>> {
    mount.upgrade().filter(|mount| match only {
        Some(uid) => behalf.hub.is_open(uid),
        None => behalf.hub.is_heard(behalf.subject(), mount),
    })
}

async fn listen(mount: Arc<Mount>, session: &HttpSession, behalf: &Behalf, only: Option<Uid>) -> Result<(), Failure> {
    let response =
        send(&mount.way, Method::GET, mount.way.path.clone(), session, &HeaderMap::new(), Bytes::new()).await?;
    let (Answer::Events(mut body), _) = judge(response, session.id.is_some()).await? else {
        return Err(Failure::BadResponse("it is no event stream"));
    };
    let mount = {
        let weak = Arc::downgrade(&mount);
        drop(mount);
        weak
    };
    let mut decoder = sse::Decoder::new(EVENT);
    let mut events = Vec::new();
    loop {
        let frame = match tokio::time::timeout(LOOK, body.frame()).await {
            Ok(Some(frame)) => frame?,
            Err(_) if heard(&mount, behalf, only).is_some() => continue,
            Ok(None) | Err(_) => return Ok(()),
        };
        let Ok(data) = frame.into_data() else { continue };
        decoder.push(&data, &mut events).map_err(|_| Failure::TooLarge)?;
        let Some(mount) = heard(&mount, behalf, only) else { return Ok(()) };
        for event in events.drain(..) {
            let Ok(envelope) = Envelope::scan(&event.data) else { continue };
            match envelope.kind {
                Kind::Notification => pass_on(&mount, behalf, only, &event.data, &envelope),
                Kind::Request => refuse(&mount, &Connected::Http(session.clone()), &event.data, &envelope),
                Kind::Response => (),
            }
        }
    }
}

/// Tells the upstream that a session is over; nobody waits for it.
pub(crate) fn end(mount: &Arc<Mount>, id: HeaderValue, revision: Revision) {
    let way = mount.way.clone();
    tokio::spawn(async move { say_goodbye(&way, id, revision).await });
}

async fn say_goodbye(way: &Way, id: HeaderValue, revision: Revision) {
    let session = HttpSession { id: Some(id), revision: Some(revision) };
    let sent = send(way, Method::DELETE, way.path.clone(), &session, &HeaderMap::new(), Bytes::new()).await;
    match sent {
        Ok(answer) => drain(answer.into_body()).await,
        Err(error) => tracing::debug!(class = error.class(), "an upstream session could not be ended"),
    }
}

#[cfg(test)]
mod tests {
    use ::tests::{Upstream, eventually};

    use super::*;

    #[tokio::test]
    async fn a_session_that_rested_too_long_is_ended_over_there() {
        let upstream = Upstream::start().await;
        let spec = model::ServerSpec {
            id: model::ServerId::fresh(),
            tenant: model::TenantId::fresh(),
            name: "notes".parse().unwrap(),
            title: String::new(),
            generation: model::Generation(1),
            transport: model::Transport::StreamableHttp,
            url: model::UpstreamUrl::parse(&upstream.url()).unwrap(),
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            disabled_tools: Vec::new(),
            trust_hints: false,
            retry_count: 0,
            retry_delay: Duration::ZERO,
            limits: model::ServerLimits::default(),
            binding: None,
        };
        let egress = egress::Egress::new(egress::Policy { dev: true, ..egress::Policy::default() }).unwrap();
        let mount = Arc::new(Mount::new(spec, &egress, &model::Limits::default(), false, None).unwrap());
        let connections = Connections::resting(Duration::from_millis(50));
        let behalf = Behalf::of_control(Arc::default());
        connections.shared(&mount, &behalf).await.unwrap();
        assert_eq!(upstream.sessions(), 1);
        let swept = async || {
            connections.sweep(|_| true).await;
            (upstream.sessions() == 0).then_some(())
        };
        eventually("the session is ended", swept).await;
    }
}
