//! What of a client's session can't stand in its id: when it was used last, how much its client wants to be told, what it
//! subscribed to, and the upstream's session that was opened for it alone. Kept by the owner; where another proxy serves
//! requests of a session, it keeps no more than that it was used.
//!
//! Who does not use a session for half an hour has left it: it ends, over there too, and looks unknown from then on.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderValue;
use model::{ServerId, Subject, TenantId};
use moka::policy::EvictionPolicy;

use crate::asked::Asked;
use crate::connected::is_own;
use crate::farewell::Farewell;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::principal::Authenticated;
use crate::session::{Scope, Session, Uid};
use crate::table::Mount;
use crate::timers::scaled;
use crate::upstream::http::HttpSession;

/// How long a session may rest.
const IDLE: Duration = Duration::from_secs(1800);
/// How often the owner is told that a session is used elsewhere.
const TELL: Duration = Duration::from_secs(300);
/// Most sessions that are kept. Of those beyond it the one goes that rested longest, as if its time were over.
pub(crate) const MOST: usize = 100_000;
/// Most sessions of which it is known that they have ended.
pub(crate) const ENDED: u64 = 100_000;
/// Most resources that one session subscribes to.
const SUBSCRIPTIONS: usize = 1_000;
/// So many locks share the sessions, so that two cores seldom meet.
const SHARDS: usize = 16;

/// The sessions of clients, as far as this proxy keeps something of them.
pub(crate) struct ClientSessions {
    shards: [Mutex<HashMap<Uid, Arc<Kept>>>; SHARDS],
    hasher: RandomState,
    ended: moka::sync::Cache<Uid, ()>,
    begun: Instant,
    idle: Duration,
}

/// What is kept of one session.
pub(crate) struct Kept {
    tenant: TenantId,
    subject: Subject,
    /// Milliseconds since the process began.
    used: AtomicU64,
    /// When the owner was told last that it is used here; of sessions of others.
    told: AtomicU64,
    says: Mutex<Says>,
}

/// What its client said that holds until the session ends.
#[derive(Default)]
struct Says {
    /// From which level on it wants to be told what servers log; raw JSON.
    level: Option<Box<[u8]>>,
    /// Resources by server and the server's own URI, and what the client calls them.
    subscriptions: BTreeMap<(ServerId, Box<str>), Box<str>>,
    /// Ends the upstream's session that was opened for this one.
    farewell: Option<Farewell>,
}

/// A subscription that can't be kept.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

impl Default for ClientSessions {
    fn default() -> Self {
        Self::resting(scaled(IDLE))
    }
}

impl ClientSessions {
    /// Sessions that may rest for so long.
    fn resting(idle: Duration) -> Self {
        let ended = moka::sync::Cache::builder()
            .max_capacity(ENDED)
            // The default would rather not take a new one in than lose one that is asked for often.
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(Duration::from_secs(24 * 3600))
            .build();
        let shards = std::array::from_fn(|_| Mutex::default());
        Self { shards, hasher: RandomState::new(), ended, begun: Instant::now(), idle }
    }

    /// A session begins here. `farewell` is for the upstream's session that was opened for it.
    pub(crate) fn begin(&self, session: &Session, farewell: Option<Farewell>) {
        self.kept(session).says().farewell = farewell;
    }

    /// A session is used; `false` if it is over.
    pub(crate) fn uses(&self, session: &Session) -> bool {
        if self.ended.contains_key(&session.uid) {
            return false;
        }
        let now = self.now();
        let before = self.kept(session).used.swap(now, Ordering::Relaxed);
        if now.saturating_sub(before) <= self.idle.as_millis() as u64 {
            return true;
        }
        self.end(session.uid);
        false
    }

    /// Whether the owner should hear that the session is used here; asked once, it counts as told.
    pub(crate) fn is_to_be_told(&self, session: &Session) -> bool {
        let (kept, now) = (self.kept(session), self.now());
        let told = kept.told.load(Ordering::Relaxed);
        let due =
            told == 0 || now.saturating_sub(told) > self.idle.as_millis() as u64 * TELL.as_secs() / IDLE.as_secs();
        // One of those who ask at once.
        due && kept.told.compare_exchange(told, now.max(1), Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The session is over, for whatever reason.
    pub(crate) fn end(&self, uid: Uid) {
        self.ended.insert(uid, ());
        let kept = self.shard(uid).remove(&uid);
        // Outside the lock: it says goodbye.
        drop(kept);
    }

    /// The same, where the upstream's own session has been ended already.
    pub(crate) fn end_here(&self, uid: Uid) {
        let kept = self.shard(uid).get(&uid).cloned();
        if let Some(farewell) = kept.and_then(|kept| kept.says().farewell.take()) {
            farewell.is_said();
        }
        self.end(uid);
    }

    /// Ends the sessions that rested too long, except those of which `heard` says that their stream is open. Which they
    /// were.
    pub(crate) fn sweep(&self, heard: impl Fn(TenantId, Uid) -> bool) -> Vec<(TenantId, Uid)> {
        let now = self.now();
        let mut over = Vec::new();
        for shard in &self.shards {
            let mut gone = Vec::new();
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|uid, kept| {
                if now.saturating_sub(kept.used.load(Ordering::Relaxed)) <= self.idle.as_millis() as u64 {
                    return true;
                }
                if heard(kept.tenant, *uid) {
                    kept.used.store(now, Ordering::Relaxed);
                    return true;
                }
                self.ended.insert(*uid, ());
                gone.push((kept.tenant, *uid, kept.clone()));
                false
            });
            over.extend(gone.into_iter().map(|(tenant, uid, _kept)| (tenant, uid)));
        }
        self.ended.run_pending_tasks();
        over
    }

    /// From which level on the client wants to be told what servers log, as it said it (raw JSON).
    pub(crate) fn level(&self, session: &Session) -> Option<Box<[u8]>> {
        self.kept(session).says().level.clone()
    }

    /// It said so.
    pub(crate) fn set_level(&self, session: &Session, level: &[u8]) {
        self.kept(session).says().level = Some(level.into());
    }

    /// The client subscribed to a resource of a server, which it calls `called`.
    pub(crate) fn subscribe(
        &self,
        session: &Session,
        server: ServerId,
        uri: &str,
        called: &str,
    ) -> Result<(), TooMany> {
        let kept = self.kept(session);
        let mut says = kept.says();
        if says.subscriptions.len() >= SUBSCRIPTIONS && !says.subscriptions.contains_key(&(server, uri.into())) {
            return Err(TooMany);
        }
        says.subscriptions.insert((server, uri.into()), called.into());
        Ok(())
    }

    /// It wants no more of it. Whether nobody else of its principal wants it either: the session upstream is theirs, too.
    pub(crate) fn unsubscribe(&self, session: &Session, server: ServerId, uri: &str) -> bool {
        self.kept(session).says().subscriptions.remove(&(server, uri.into()));
        !self.want(session.subject, server, uri)
    }

    /// Whether any session of a principal wants to hear of a resource of a server.
    pub(crate) fn want(&self, subject: Subject, server: ServerId, uri: &str) -> bool {
        let place = (server, uri.into());
        let wants = |kept: &Arc<Kept>| kept.subject == subject && kept.says().subscriptions.contains_key(&place);
        self.shards.iter().any(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).values().any(wants))
    }

    /// What the session subscribed to at a server, by the server's own URIs; with `of_all`, what all sessions of that
    /// principal did.
    pub(crate) fn subscribed(
        &self,
        session: &Session,
        of_all: Option<Subject>,
        server: ServerId,
    ) -> BTreeSet<Box<str>> {
        let kept = match of_all {
            None => vec![self.kept(session)],
            Some(subject) => {
                let shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
                let of = |kept: &&Arc<Kept>| kept.tenant == session.tenant && kept.subject == subject;
                shards.flat_map(|shard| shard.values().filter(of).cloned().collect::<Vec<_>>()).collect()
            }
        };
        let at_server = |says: &Says| -> Vec<Box<str>> {
            says.subscriptions.keys().filter(|(of, _)| *of == server).map(|(_, uri)| uri.clone()).collect()
        };
        kept.iter().flat_map(|kept| at_server(&kept.says())).collect()
    }

    /// What a session calls a resource of a server that it subscribed to.
    pub(crate) fn called(&self, uid: Uid, server: ServerId, uri: &str) -> Option<Box<str>> {
        let kept = self.shard(uid).get(&uid).cloned()?;
        kept.says().subscriptions.get(&(server, uri.into())).cloned()
    }

    /// Names of the bounds, the bounds, and how much of each is in use.
    pub(crate) fn fill(&self) -> [(&'static str, u64, u64); 2] {
        let kept = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len());
        [
            ("client_sessions", MOST as u64, kept.sum::<usize>() as u64),
            ("ended_sessions", ENDED, self.ended.entry_count()),
        ]
    }

    /// What is kept of it; from now on, if that was nothing.
    fn kept(&self, session: &Session) -> Arc<Kept> {
        let mut shard = self.shard(session.uid);
        let full = shard.len() >= MOST / SHARDS;
        match shard.entry(session.uid) {
            Entry::Occupied(kept) => return kept.get().clone(),
            Entry::Vacant(place) if !full => return place.insert(self.fresh(session)).clone(),
            Entry::Vacant(_) => (),
        }
        let oldest = shard.iter().min_by_key(|(_, kept)| kept.used.load(Ordering::Relaxed)).map(|(uid, _)| *uid);
        let oldest = oldest.and_then(|uid| Some((uid, shard.remove(&uid)?)));
        let kept = self.fresh(session);
        shard.insert(session.uid, kept.clone());
        drop(shard);
        if let Some((uid, _)) = &oldest {
            self.ended.insert(*uid, ());
        }
        kept
    }

    fn fresh(&self, session: &Session) -> Arc<Kept> {
        let used = AtomicU64::new(self.now());
        Arc::new(Kept {
            tenant: session.tenant,
            subject: session.subject,
            used,
            told: AtomicU64::new(0),
            says: Mutex::default(),
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn shard(&self, uid: Uid) -> MutexGuard<'_, HashMap<Uid, Arc<Kept>>> {
        let at = self.hasher.hash_one(uid) as usize % SHARDS;
        // Never out of range; the first shard stands in so that this needs no panic.
        let shard = self.shards.get(at).unwrap_or_else(|| &self.shards[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn says(&self) -> MutexGuard<'_, Says> {
        self.says.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gate {
    /// A client's session begins here.
    pub(crate) fn began(&self, who: &Authenticated, session: &Session) {
        let Scope::Server { server, upstream_revision, upstream, part, .. } = &session.scope else {
            return self.client_sessions.begin(session, None);
        };
        let mount = who.mounts().find(|mount| mount.spec.id == *server);
        let farewell = mount.zip(upstream.as_deref()).and_then(|(mount, id)| {
            let (id, revision) = (Some(HeaderValue::from_str(id).ok()?), Some(*upstream_revision));
            self.sessions.farewell(mount, &HttpSession { id, revision, lines: None }, *part)
        });
        self.client_sessions.begin(session, farewell);
    }
}

impl Gate {
    /// Remembers what a client with a session subscribes to, or no more, and what it calls it. Whether the upstream has to
    /// hear of it: in a session that several share, somebody else may want it still.
    pub(crate) fn subscribes_or_not(
        &self,
        asked: &Asked<'_>,
        mount: &Mount,
        uri: &str,
        called: &str,
    ) -> Result<bool, Fault> {
        let (session, server) = (asked.session, mount.spec.id);
        match asked.method() {
            "resources/subscribe" => {
                let full = Fault::Quota { what: "resource subscriptions of this session", retry_after: IDLE };
                self.client_sessions.subscribe(session, server, uri, called).map(|()| true).map_err(|TooMany| full)
            }
            "resources/unsubscribe" => {
                let last = self.client_sessions.unsubscribe(session, server, uri)
                    && !self.subscribers.want(mount.uid, session.subject, uri);
                Ok(last || asked.who.served(mount).is_ok_and(|served| is_own(session, mount, served.part)))
            }
            _ => Ok(true),
        }
    }
}

#[cfg(test)]
mod tests {
    use mcp::Revision;
    use model::{GrantId, Subject};

    use super::*;
    use crate::session::Scope;

    fn session(uid: u64) -> Session {
        let (tenant, subject) = (TenantId::fresh(), Subject::of_grant(GrantId::fresh()));
        Session::new(Uid(uid.to_be_bytes()), tenant, subject, Revision::V2025_11_25, 0, Scope::Aggregate)
    }

    #[test]
    fn a_session_that_rested_too_long_is_over_for_good() {
        let sessions = ClientSessions::resting(Duration::from_millis(30));
        let (left, used) = (session(1), session(2));
        sessions.begin(&left, None);
        assert!(sessions.uses(&used) && sessions.sweep(|_, _| false).is_empty());
        std::thread::sleep(Duration::from_millis(60));
        assert!(!sessions.uses(&left) && !sessions.uses(&left), "whether it was swept or not");
        assert_eq!(sessions.sweep(|_, _| false), [(used.tenant, used.uid)]);
        assert!(!sessions.uses(&used));
        assert_eq!(sessions.fill().map(|(_, _, used)| used), [0, 2]);
    }

    #[test]
    fn who_listens_has_not_left() {
        let sessions = ClientSessions::resting(Duration::from_millis(30));
        let session = session(1);
        sessions.begin(&session, None);
        std::thread::sleep(Duration::from_millis(60));
        assert!(sessions.sweep(|tenant, uid| (tenant, uid) == (session.tenant, session.uid)).is_empty());
        assert!(sessions.uses(&session));
    }

    #[test]
    fn what_a_client_said_holds_until_its_session_ends() {
        let sessions = ClientSessions::default();
        let (one, server) = (session(1), ServerId::fresh());
        let other = Session { uid: Uid([2; 8]), ..one.clone() };
        assert_eq!(sessions.level(&one), None);
        sessions.set_level(&one, b"\"debug\"");
        assert_eq!((sessions.level(&one).as_deref(), sessions.level(&other)), (Some(&b"\"debug\""[..]), None));
        for uri in ["note://b", "note://a", "note://a"] {
            sessions.subscribe(&one, server, uri, &format!("my {uri}")).unwrap();
        }
        sessions.subscribe(&other, server, "note://a", "note://a").unwrap();
        let called = |session: &Session, uri: &str| sessions.called(session.uid, server, uri);
        assert_eq!(called(&one, "note://b").as_deref(), Some("my note://b"));
        assert_eq!(sessions.called(one.uid, ServerId::fresh(), "note://b"), None, "another server's");
        let stranger = Some(Subject::of_grant(GrantId::fresh()));
        let count = |session, of_all| sessions.subscribed(session, of_all, server).len();
        assert_eq!((count(&one, None), count(&other, None)), (2, 1));
        assert_eq!((count(&other, Some(one.subject)), count(&other, stranger)), (2, 0));
        assert!(sessions.unsubscribe(&one, server, "note://b"), "nobody wants it any more");
        assert!(!sessions.unsubscribe(&one, server, "note://a"), "the other session does");
        assert_eq!((called(&one, "note://a"), called(&other, "note://a").as_deref()), (None, Some("note://a")));
        sessions.end(one.uid);
        assert!(!sessions.uses(&one) && sessions.uses(&other));
    }

    #[test]
    fn a_session_subscribes_to_so_many_and_no_more() {
        let sessions = ClientSessions::default();
        let (session, server) = (session(1), ServerId::fresh());
        for number in 0..SUBSCRIPTIONS {
            sessions.subscribe(&session, server, &number.to_string(), "").unwrap();
        }
        assert_eq!(sessions.subscribe(&session, server, "more", ""), Err(TooMany));
        assert_eq!(sessions.subscribe(&session, server, "7", ""), Ok(()), "that is no more");
    }

    #[test]
    fn beyond_the_bound_the_one_goes_that_rested_longest() {
        let sessions = ClientSessions::default();
        let all: Vec<_> = (0..MOST as u64 + 2_000).map(session).collect();
        for session in &all {
            sessions.begin(session, None);
        }
        let [(_, most, kept), (_, _, _)] = sessions.fill();
        assert!(kept <= most, "{kept}");
        assert!(sessions.uses(all.last().unwrap()));
        assert!(all.iter().take(2_000).any(|session| !sessions.uses(session)), "nobody is told that it goes on");
    }

    #[test]
    fn the_owner_hears_of_use_elsewhere_now_and_then() {
        let sessions = ClientSessions::default();
        let session = session(1);
        assert!(sessions.is_to_be_told(&session));
        assert!(!sessions.is_to_be_told(&session) && !sessions.is_to_be_told(&session));
    }
}
