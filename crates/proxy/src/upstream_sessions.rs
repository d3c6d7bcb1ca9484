//! The gateway's sessions with upstreams: opened on first use, one for each principal, mount and connection,
//! bounded, watched for notifications only while somebody listens, and ended over there when nobody
//! will use them again.

mod listening;
mod watch;

use std::ops::Deref;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use mcp::{Envelope, Era, Revision};
use model::{KeyId, Subject};
use moka::future::Cache;
use tokio::sync::Semaphore;

use self::listening::Listening;
use self::watch::{OwnWatches, Speaking, Watched, Watching, watch};
use crate::client::Terms;
use crate::client_sessions::ClientSessions;
use crate::credentials::{Bearing, Behalf, Credentials, Lines, Part};
use crate::farewell::{Farewell, say_goodbye};
use crate::principal::Caller;
use crate::questions::Questions;
use crate::session::Uid;
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::http::HttpSession;
use crate::upstream::legacy::{LegacySession, Notify};
use crate::upstream::{Connected, Failure, OWN_INFO, Opened, Opening, open};

/// Most client sessions of which it is known that their own upstream session is gone.
const REPLACED: u64 = 100_000;
/// Most sessions that are kept.
const MOST: u64 = 50_000;
/// A session that nobody used for so long is given up.
const IDLE: Duration = Duration::from_secs(1800);
/// How long opening a session may take in all.
const OPENING: Duration = Duration::from_secs(60);
/// Goodbyes said at once.
const GOODBYES: usize = 64;

/// Sessions by mount, principal and part: one person's session never serves another, nor one that was begun with another
/// credential.
pub(crate) struct UpstreamSessions {
    pub(crate) credentials: Arc<Credentials>,
    pub(crate) questions: Arc<Questions>,
    watching: OwnWatches,
    pub(crate) client_sessions: Arc<ClientSessions>,
    open: Cache<Key, Arc<Shared>>,
    goodbyes: Arc<Semaphore>,
    /// Client sessions whose own upstream session is gone; they use the shared one since.
    replaced: moka::sync::Cache<Uid, ()>,
    /// What is heard of upstreams without sessions.
    pub(crate) listening: Arc<Listening>,
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

/// A session that all requests of one principal to one mount share. Dropped, it is ended over there too.
pub(crate) struct Shared {
    opened: Opened,
    farewell: Option<Farewell>,
    mount: Weak<Mount>,
    /// Who opened it; `None` for control.
    caller: Option<Caller>,
    part: Part,
    pub(crate) terms: Terms,
    /// The upstream has heard a log level, or there was none to tell when the session was first used.
    pub(crate) level_told: AtomicBool,
}

impl Deref for Shared {
    type Target = Opened;

    fn deref(&self) -> &Opened {
        &self.opened
    }
}

impl UpstreamSessions {
    /// Sessions that bear these.
    pub(crate) fn new(
        credentials: Arc<Credentials>,
        questions: Arc<Questions>,
        client_sessions: Arc<ClientSessions>,
    ) -> Self {
        Self { questions, client_sessions, ..Self::resting(credentials, scaled(IDLE)) }
    }

    /// Sessions that may rest for so long.
    fn resting(credentials: Arc<Credentials>, idle: Duration) -> Self {
        Self {
            credentials,
            questions: Arc::default(),
            watching: Arc::default(),
            client_sessions: Arc::default(),
            open: Cache::builder().max_capacity(MOST).time_to_idle(idle).build(),
            goodbyes: Arc::new(Semaphore::new(GOODBYES)),
            replaced: moka::sync::Cache::builder()
                .max_capacity(REPLACED)
                .time_to_live(Duration::from_secs(24 * 3600))
                .build(),
            listening: Arc::default(),
        }
    }

    /// Names of the bounds, the bounds, and what tells how much of each is in use.
    pub(crate) fn fill(&self) -> [Fill; 4] {
        let (open, replaced, goodbyes) = (self.open.clone(), self.replaced.clone(), self.goodbyes.clone());
        let watched = self.listening.clone();
        [
            ("upstream_sessions", MOST, Box::new(move || open.entry_count())),
            ("replaced_sessions", REPLACED, Box::new(move || replaced.entry_count())),
            ("goodbyes", GOODBYES as u64, Box::new(move || (GOODBYES - goodbyes.available_permits()) as u64)),
            ("watched_resources", listening::MOST as u64, Box::new(move || watched.len() as u64)),
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
        match Box::pin(self.shared_on(mount, behalf, bearing, mount.terms(behalf.client))).await {
            // It does not know the era in which it was spoken to: once more in the other one.
            Err(Failure::OtherEra) => {
                Box::pin(self.shared_on(mount, behalf, bearing, mount.terms(behalf.client))).await
            }
            shared => shared,
        }
    }

    async fn shared_on(
        &self,
        mount: &Arc<Mount>,
        behalf: &Behalf,
        bearing: &mut Bearing,
        terms: Terms,
    ) -> Result<Arc<Shared>, Failure> {
        let subject = behalf.subject();
        let key = (mount.uid, subject, bearing.part, terms);
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
                let farewell = match &opened.connected {
                    Connected::Http(session) => self.farewell(mount, session, own.part),
                    Connected::Legacy(..) | Connected::Stateless(..) => None,
                };
                Arc::new(Shared {
                    opened,
                    farewell,
                    mount: Arc::downgrade(mount),
                    caller: behalf.caller.clone(),
                    part: own.part,
                    terms,
                    level_told: AtomicBool::new(false),
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
            match open(mount, &opening, self.notify(mount, behalf, bearing.part), deadline).await {
                Ok(opened) => {
                    self.credentials.accepted(mount, bearing);
                    return Ok(opened);
                }
                Err(failure) => self.credentials.renewed(mount, behalf, bearing, failure).await?,
            }
        }
    }

    /// What ends an upstream's session when nobody needs it any more.
    pub(crate) fn farewell(&self, mount: &Mount, session: &HttpSession, part: Part) -> Option<Farewell> {
        let lines = mount.spec.binding.is_some().then(|| self.credentials.finder(mount, part));
        Farewell::to(session, &mount.way, lines, &self.goodbyes)
    }

    /// The session, if there is one.
    pub(crate) async fn known(&self, mount: &Mount, behalf: &Behalf, part: Part) -> Option<Arc<Shared>> {
        self.open.get(&(mount.uid, behalf.subject(), part, mount.terms(behalf.client))).await
    }

    /// The shared session turned out to be lost; whether nobody had found that before.
    pub(crate) async fn forget(&self, mount: &Mount, behalf: &Behalf, part: Part) -> bool {
        let key = (mount.uid, behalf.subject(), part, mount.terms(behalf.client));
        let lost = self.open.remove(&key).await;
        lost.iter().flat_map(|lost| &lost.farewell).for_each(Farewell::is_said);
        lost.is_some()
    }

    /// A client session's own upstream session turned out to be lost; whether nobody had found that before.
    pub(crate) fn replace(&self, uid: Uid) -> bool {
        self.replaced.entry(uid).or_insert(()).is_fresh()
    }

    /// Whether that happened.
    pub(crate) fn is_replaced(&self, uid: Uid) -> bool {
        self.replaced.contains_key(&uid)
    }

    /// Listens to the shared session for as long as somebody listens here.
    pub(crate) async fn watch(&self, mount: &Arc<Mount>, behalf: &Behalf) {
        let Ok(served) = behalf.served(mount) else { return };
        let terms = mount.terms(behalf.client);
        if terms.era == Era::Stateless {
            return self.watch_stateless(mount, behalf, served.part, terms);
        }
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
        // Whoever comes back soon is still listened for.
        let Some(watching) = Watching::begin(&self.watching, (mount.uid, uid)) else { return };
        let watched = self.watched(mount, session, behalf, part, Some(uid));
        tokio::spawn(async move {
            watch(watched, None).await;
            drop(watching);
        });
    }

    fn watched(
        &self,
        mount: &Arc<Mount>,
        session: HttpSession,
        behalf: &Behalf,
        part: Part,
        only: Option<Uid>,
    ) -> Watched {
        Watched {
            mount: Arc::downgrade(mount),
            session,
            behalf: behalf.afterwards(),
            part,
            only,
            credentials: self.credentials.clone(),
            questions: self.questions.clone(),
            client_sessions: self.client_sessions.clone(),
        }
    }

    /// What a 2024-11-05 stream says on its own, and what it asks outside of any call.
    fn notify(&self, mount: &Arc<Mount>, behalf: &Behalf, part: Part) -> Notify {
        // Weak: the stream belongs to the mount's session, it must not keep the mount alive.
        let (mount, behalf) = (Arc::downgrade(mount), behalf.afterwards());
        let (credentials, questions) = (self.credentials.clone(), self.questions.clone());
        let client_sessions = self.client_sessions.clone();
        Arc::new(move |session: &Arc<LegacySession>, message: &Bytes, envelope: &Envelope| {
            let Some(mount) = mount.upgrade() else { return };
            let lines = mount.spec.binding.is_some().then(|| credentials.lines_of(&mount, part, None)).flatten();
            let connected = Connected::Legacy(session.clone(), lines);
            let (questions, client_sessions, only) = (&questions, &client_sessions, None);
            let speaking =
                Speaking { mount: &mount, connected, behalf: &behalf, part, only, questions, client_sessions };
            speaking.said(message, envelope);
        })
    }
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

/// Tells the upstream that a session is over; nobody waits for it.
pub(crate) fn end(mount: &Arc<Mount>, id: HeaderValue, revision: Revision, lines: Option<Arc<Lines>>) {
    let way = mount.way.clone();
    tokio::spawn(async move { say_goodbye(&way, id, revision, lines).await });
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
            eras: model::Eras::default(),
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
