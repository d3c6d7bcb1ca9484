//! The gateway's sessions with upstreams: opened on first use, one for each principal, mount and connection,
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
use crate::client::Terms;
use crate::credentials::{Bearing, Behalf, Credentials, Finder, Lines, Part};
use crate::principal::Caller;
use crate::session::Uid;
use crate::table::{Mount, Way};
use crate::timers::scaled;
use crate::upstream::http::{Answer, HttpSession, bearable, drain, judge, send};
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

/// Sessions by mount, principal and part: one person's session never serves another, nor one that was begun with another
/// credential.
pub(crate) struct UpstreamSessions {
    pub(crate) credentials: Arc<Credentials>,
    open: Cache<Key, Arc<Shared>>,
    goodbyes: Arc<Semaphore>,
    /// Client sessions whose own upstream session is gone; they use the shared one since.
    replaced: moka::sync::Cache<Uid, ()>,
}

/// Mount, principal, as whom, and on what terms.
type Key = (u64, Subject, Part, Terms);

/// Name of a bound, the bound, and what tells how much of it is in use.
pub(crate) type Fill = (&'static str, u64, Box<dyn Fn() -> u64 + Send + Sync>);

impl Behalf {
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
/// too, unless it is over already, or what it bore is not there any more.
pub(crate) struct Shared {
    opened: Opened,
    /// The upstream's session is known to be gone.
    over: AtomicBool,
    mount: Weak<Mount>,
    /// Who opened it; `None` for control.
    caller: Option<Caller>,
    part: Part,
    pub(crate) terms: Terms,
    /// Where the lines for its goodbye are; `None` where it needs none.
    lines: Option<Finder>,
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
        let lines = match &self.lines {
            None => None,
            Some(finder) => match finder.find() {
                Some(lines) => Some(lines),
                // A credential that is gone is not used for a goodbye either.
                None => return,
            },
        };
        let (way, id, goodbyes) = (self.way.clone(), id.clone(), self.goodbyes.clone());
        runtime.spawn(async move {
            let _one_of_few = goodbyes.acquire().await;
            say_goodbye(&way, id, revision, lines).await;
        });
    }
}

impl UpstreamSessions {
    /// Sessions that bear these.
    pub(crate) fn new(credentials: Arc<Credentials>) -> Self {
        Self::resting(credentials, scaled(IDLE))
    }

    /// Sessions that may rest for so long.
    fn resting(credentials: Arc<Credentials>, idle: Duration) -> Self {
        Self {
            credentials,
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

    /// Lets go of the sessions that rested too long, whose mount is gone with its last call, whose caller is no
    /// longer `known`, or whose connection is not `there` any more as it was.
    pub(crate) async fn sweep(&self, known: impl Fn(&Caller) -> bool, there: impl Fn(&Part) -> bool) {
        for (key, shared) in &self.open {
            let unknown = shared.caller.as_ref().is_some_and(|caller| !known(caller));
            if shared.mount.strong_count() == 0 || unknown || !there(&shared.part) {
                self.open.invalidate(&*key).await;
            }
        }
        self.open.run_pending_tasks().await;
    }

    /// The principal's session with a mount; opened if need be, once for all who wait for it. If another token was
    /// needed for that, `bearing` has it afterwards.
    pub(crate) async fn shared(
        &self,
        mount: &Arc<Mount>,
        behalf: &Behalf,
        bearing: &mut Bearing,
    ) -> Result<Arc<Shared>, Failure> {
        let subject = behalf.subject();
        let key = (mount.uid, subject, bearing.part, mount.terms(behalf.client));
        if let Some(opened) = self.open.get(&key).await {
            if opened.is_usable() {
                // A watch that ended, or never began because nobody listened then.
                if !opened.is_watched() && behalf.hub.is_heard(subject, mount) {
                    Box::pin(self.watch(mount, behalf)).await;
                }
                return Ok(opened);
            }
            self.open.invalidate(&key).await;
        }
        // Boxed: the future of who finds a session is moved with each call, and must not hold what opens one.
        Box::pin(self.opened(mount, behalf, bearing, key)).await
    }

    async fn opened(
        &self,
        mount: &Arc<Mount>,
        behalf: &Behalf,
        bearing: &mut Bearing,
        key: Key,
    ) -> Result<Arc<Shared>, Failure> {
        let (_, subject, _, terms) = key;
        let mut own = bearing.clone();
        let opening = async {
            let deadline = tokio::time::Instant::now() + OPENING;
            let opening = self.open(mount, behalf, &mut own, terms, deadline);
            let opened = tokio::time::timeout_at(deadline, opening).await.unwrap_or(Err(Failure::Deadline));
            settle(mount, &opened);
            opened.map(|mut opened| {
                // Each request brings its own.
                opened.connected = opened.connected.bearing(None);
                mount.offers.said(&opened.result);
                Arc::new(Shared {
                    opened,
                    over: AtomicBool::new(false),
                    mount: Arc::downgrade(mount),
                    caller: behalf.caller.clone(),
                    part: own.part,
                    terms,
                    lines: mount.spec.binding.is_some().then(|| self.credentials.finder(mount, own.part)),
                    way: mount.way.clone(),
                    goodbyes: self.goodbyes.clone(),
                })
            })
        };
        let opened = self.open.try_get_with(key, opening).await.map_err(|failure| (*failure).clone())?;
        self.credentials.freshen(mount, bearing, behalf);
        if behalf.hub.is_heard(subject, mount) {
            self.watch(mount, behalf).await;
        }
        Ok(opened)
    }

    /// Opens a session; if the upstream refuses the credential, once more with another token.
    async fn open(
        &self,
        mount: &Arc<Mount>,
        behalf: &Behalf,
        bearing: &mut Bearing,
        terms: Terms,
        deadline: tokio::time::Instant,
    ) -> Result<Opened, Failure> {
        let passed = HeaderMap::new();
        loop {
            let opening = Opening {
                client_info: OWN_INFO,
                revision: Revision::LATEST,
                terms,
                passed: &passed,
                lines: bearing.lines.as_ref(),
                complete: true,
            };
            match open(mount, &opening, notify(mount, behalf, bearing.part), deadline).await {
                Ok(opened) => {
                    self.credentials.accepted(mount, bearing);
                    return Ok(opened);
                }
                Err(failure) => self.credentials.renewed(mount, behalf, bearing, failure).await?,
            }
        }
    }

    /// The session, if there is one.
    pub(crate) async fn known(&self, mount: &Mount, behalf: &Behalf, part: Part) -> Option<Arc<Shared>> {
        self.open.get(&(mount.uid, behalf.subject(), part, mount.terms(behalf.client))).await
    }

    /// The shared session turned out to be lost.
    pub(crate) async fn forget(&self, mount: &Mount, behalf: &Behalf, part: Part) {
        let key = (mount.uid, behalf.subject(), part, mount.terms(behalf.client));
        if let Some(lost) = self.open.remove(&key).await {
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
        let Ok(served) = behalf.served(mount) else { return };
        let Some(opened) = self.known(mount, behalf, served.part).await else { return };
        if let Connected::Http(session) = &opened.connected
            && opened.begin_watch()
        {
            let watched = self.watched(mount, session.clone(), behalf, served.part, None);
            tokio::spawn(watch(watched, Some(opened.clone())));
        }
    }

    /// Listens to a client session's own upstream session for as long as its stream is open.
    pub(crate) fn watch_own(&self, mount: &Arc<Mount>, session: HttpSession, behalf: &Behalf, part: Part, uid: Uid) {
        tokio::spawn(watch(self.watched(mount, session, behalf, part, Some(uid)), None));
    }

    fn watched(
        &self,
        mount: &Arc<Mount>,
        session: HttpSession,
        behalf: &Behalf,
        part: Part,
        only: Option<Uid>,
    ) -> Watched {
        let credentials = self.credentials.clone();
        Watched { mount: Arc::downgrade(mount), session, behalf: behalf.afterwards(), part, only, credentials }
    }
}

/// A session that is listened to.
struct Watched {
    mount: Weak<Mount>,
    session: HttpSession,
    behalf: Behalf,
    /// As whom it was opened: it is heard only for as long as its subject is served so.
    part: Part,
    /// The client session whose own it is.
    only: Option<Uid>,
    credentials: Arc<Credentials>,
}

/// Counts what became of a request towards the cooldown of its mount.
pub(crate) fn settle<T>(mount: &Mount, outcome: &Result<T, Failure>) {
    match outcome {
        Ok(_) => mount.cooldown.succeeded(),
        Err(failure) => match failure.strikes() {
            // One person's certificate must not close a server to the others.
            Some(_) if mount.spec.binding.is_some() && failure.may_be_a_certificates() => (),
            Some(connect) => mount.cooldown.failed(Instant::now(), connect, jitter()),
            None if matches!(failure, Failure::Cooling(_) | Failure::Busy | Failure::NoCredential(_)) => (),
            None => mount.cooldown.succeeded(),
        },
    }
}

/// 0.0 to 1.0.
fn jitter() -> f64 {
    f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX)
}

/// What a 2024-11-05 stream says on its own.
fn notify(mount: &Arc<Mount>, behalf: &Behalf, part: Part) -> Notify {
    // Weak: the stream belongs to the mount's session, it must not keep the mount alive.
    let (mount, behalf) = (Arc::downgrade(mount), behalf.afterwards());
    Arc::new(move |message: &Bytes, envelope: &Envelope| {
        if let Some(mount) = mount.upgrade() {
            pass_on(&mount, &behalf, part, None, message, envelope);
        }
    })
}

fn pass_on(mount: &Mount, behalf: &Behalf, part: Part, only: Option<Uid>, message: &Bytes, envelope: &Envelope) {
    note_change(mount, part, &behalf.hub, message, envelope);
    // What says that a list changed goes to all who have the list, a moment later, from the hub itself.
    // Progress that belongs to no request under way carries a token of ours: nobody knows it.
    let method = envelope.method(message);
    if !method.ends_with("/list_changed") && method != "notifications/progress" {
        behalf.hub.tell(behalf.subject(), mount, only, &sse::frame(message));
    }
}

/// Listens again and again. Holds no mount while it waits: one that is unmounted is let go.
async fn watch(mut watched: Watched, shared: Option<Arc<Shared>>) {
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
    fn heard(&self) -> Option<Arc<Mount>> {
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
                match envelope.kind {
                    Kind::Notification => {
                        pass_on(&mount, &self.behalf, self.part, self.only, &event.data, &envelope);
                    }
                    Kind::Request => refuse(&mount, &Connected::Http(session.clone()), &event.data, &envelope),
                    Kind::Response => (),
                }
            }
        }
    }
}

/// Tells the upstream that a session is over; nobody waits for it.
pub(crate) fn end(mount: &Arc<Mount>, id: HeaderValue, revision: Revision, lines: Option<Arc<Lines>>) {
    let way = mount.way.clone();
    tokio::spawn(async move { say_goodbye(&way, id, revision, lines).await });
}

async fn say_goodbye(way: &Way, id: HeaderValue, revision: Revision, lines: Option<Arc<Lines>>) {
    let session = HttpSession { id: Some(id), revision: Some(revision), lines };
    if bearable(&session).is_err() {
        return;
    }
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
        let tables = Arc::new(crate::table::Tables::new(egress.clone()));
        let credentials = Credentials::new(tables, Arc::new(model::SystemClock), egress);
        let sessions = UpstreamSessions::resting(credentials, Duration::from_millis(50));
        let behalf = Behalf::of_control(Arc::default());
        sessions.shared(&mount, &behalf, &mut Bearing::default()).await.unwrap();
        assert_eq!(upstream.sessions(), 1);
        let swept = async || {
            sessions.sweep(|_| true, |_| true).await;
            (upstream.sessions() == 0).then_some(())
        };
        eventually("the session is ended", swept).await;
    }
}
