//! Events that clients of sessions may come back for (`Last-Event-ID`): of each stream the last ones, while it goes on
//! and for a minute after its end, at most 64 MiB of all streams together.
//!
//! Who relays an answer writes what it sends here too, so nothing stands between upstream and client. When the client's
//! connection goes away before the answer came, the relay goes on in a task of its own, up to the deadline of the call
//! (in this era a disconnect is no cancel), and whoever comes back reads what is kept, then what comes.

pub(crate) mod id;
mod log;

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Context;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use mcp::{Revision, sse};

pub(crate) use self::id::node_in;
use self::id::{EventId, Kind, prefix};
use self::log::Log;
pub(crate) use self::log::Replay;
use crate::session::{NodeTag, Session, Uid};
use crate::timers::scaled;
use crate::upstream_sessions::Fill;

/// Most events that are kept of one stream.
const STREAM_EVENTS: usize = 256;
/// Most bytes of them, with [`OF_EVENT`] for each; the last event is kept even if it is larger.
const STREAM_BYTES: usize = 1 << 20;
/// Most bytes of all streams together.
pub(crate) const TOTAL_BYTES: usize = 64 << 20;
/// Most streams that are kept after their end.
pub(crate) const ENDED_STREAMS: usize = 20_000;
/// How long a stream is kept after its end.
const KEPT: Duration = Duration::from_secs(60);
/// What an event is counted with beside its bytes.
const OF_EVENT: usize = 64;
/// What a stream is counted with beside its events.
const OF_STREAM: usize = 512;
/// When a client may come back, in milliseconds; said to those who understand it as a promise (2025-11-25).
const RETRY: u64 = 1000;
/// So many locks share the streams, so that two cores seldom meet.
const SHARDS: usize = 16;

/// The kept streams of a process.
pub(crate) struct Events {
    node: AtomicU64,
    next: AtomicU64,
    shards: [Mutex<HashMap<u64, Arc<Log>>>; SHARDS],
    /// Streams in the order of their ends. One that goes on again is passed over.
    ended: Mutex<VecDeque<(Instant, u64)>>,
    total: Arc<AtomicUsize>,
}

/// Writes one stream. Dropped, the stream has ended.
pub(crate) struct Recorder {
    events: Arc<Events>,
    log: Arc<Log>,
    /// The reader that it was begun for.
    turn: u64,
    primer: bool,
    epoch: u64,
}

/// What a client gets that comes back.
pub(crate) enum Resumed {
    /// The rest of an answer.
    Answer(Replay),
    /// What it missed of its own stream, which goes on. Whether it was broken off, and at which epoch of its hub.
    Listening(Recorder, VecDeque<Bytes>, Option<u64>),
    /// The answer is not kept here, or not for this session.
    Gone,
    /// Nothing is known of it, and nothing is lost by a new stream.
    Fresh,
}

impl Default for Events {
    fn default() -> Self {
        // A number that no earlier process has used: its ids must not be taken for ours.
        let (first, _) = uuid::Uuid::new_v4().as_u64_pair();
        Self {
            node: AtomicU64::new(0),
            next: AtomicU64::new(first),
            shards: std::array::from_fn(|_| Mutex::default()),
            ended: Mutex::default(),
            total: Arc::default(),
        }
    }
}

impl Events {
    /// The node that ids name from here on.
    pub(crate) fn of_node(&self, node: NodeTag) {
        self.node.store(u64::from_be_bytes(node.0), Ordering::Relaxed);
    }

    fn node(&self) -> NodeTag {
        NodeTag(self.node.load(Ordering::Relaxed).to_be_bytes())
    }

    /// Begins a stream of a session: the answer of a server, or what it listens to. `None` where the revision knows no
    /// resumption.
    pub(crate) fn begin(self: &Arc<Self>, uid: Uid, revision: Revision, kind: Kind, server: &str) -> Option<Recorder> {
        if !(Revision::V2025_03_26..Revision::STATELESS).contains(&revision) {
            return None;
        }
        let stream = self.next.fetch_add(1, Ordering::Relaxed);
        let prefix = prefix(self.node(), kind, stream);
        self.total.fetch_add(OF_STREAM, Ordering::Relaxed);
        let log = Arc::new(Log::new(stream, kind, prefix, uid, server, self.total.clone()));
        self.shard(stream).insert(stream, log.clone());
        let primer = revision >= Revision::V2025_11_25;
        Some(Recorder { events: self.clone(), log, turn: 0, primer, epoch: 0 })
    }

    /// What the session gets after this event.
    pub(crate) fn resume(self: &Arc<Self>, last: &[u8], session: &Session) -> Resumed {
        let Some(id) = EventId::parse(last) else { return Resumed::Fresh };
        let log = self.shard(id.stream).get(&id.stream).cloned();
        let fits = |log: &Arc<Log>| log.uid == session.uid && log.kind == id.kind && log.has_told(id.number);
        let log = log.filter(|log| id.node == self.node() && fits(log));
        match (id.kind, log) {
            (Kind::Answer, Some(log)) => Resumed::Answer(Replay::new(log, id.number)),
            (Kind::Answer, None) => Resumed::Gone,
            (Kind::Listening, Some(log)) => {
                let (turn, broken_off) = (log.begin_turn(), log.revive());
                let missed = log.after(id.number);
                let recorder = Recorder { events: self.clone(), log, turn, primer: false, epoch: 0 };
                Resumed::Listening(recorder, missed, broken_off)
            }
            (Kind::Listening, None) => Resumed::Fresh,
        }
    }

    /// Forgets all streams of a session.
    pub(crate) fn forget(&self, uid: Uid) {
        for shard in &self.shards {
            let mut gone = Vec::new();
            shard.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, log| {
                let stays = log.uid != uid;
                if !stays {
                    gone.push(log.clone());
                }
                stays
            });
            gone.iter().for_each(|log| _ = log.begin_turn());
        }
    }

    /// Lets go of the streams whose time is over. Called every now and then.
    pub(crate) fn tidy(&self) {
        let kept = scaled(KEPT);
        self.let_go(|at, _| at.elapsed() >= kept);
    }

    /// Of the streams that have ended, the oldest ones for as long as `goes` says so.
    fn let_go(&self, goes: impl Fn(Instant, usize) -> bool) {
        loop {
            let (at, stream) = {
                let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
                match ended.front() {
                    Some((at, _)) if goes(*at, ended.len()) => (),
                    _ => return,
                }
                let Some(oldest) = ended.pop_front() else { return };
                oldest
            };
            let mut shard = self.shard(stream);
            if shard.get(&stream).is_some_and(|log| log.ended() == Some(at)) {
                let log = shard.remove(&stream);
                drop(shard);
                drop(log);
            }
        }
    }

    /// Names of the bounds, the bounds, and what tells how much of each is in use.
    pub(crate) fn fill(self: &Arc<Self>) -> [Fill; 2] {
        let (bytes, ended) = (self.total.clone(), self.clone());
        [
            ("kept_events_bytes", TOTAL_BYTES as u64, Box::new(move || bytes.load(Ordering::Relaxed) as u64)),
            (
                "kept_streams",
                ENDED_STREAMS as u64,
                Box::new(move || ended.ended.lock().unwrap_or_else(PoisonError::into_inner).len() as u64),
            ),
        ]
    }

    fn shard(&self, stream: u64) -> MutexGuard<'_, HashMap<u64, Arc<Log>>> {
        // Never out of range; the first shard stands in so that this needs no panic.
        let shard = self.shards.get(stream as usize % SHARDS).unwrap_or_else(|| &self.shards[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// What a stream of this revision begins with.
    pub(crate) fn primer(&mut self) -> Option<Bytes> {
        std::mem::take(&mut self.primer).then(|| self.kept(|id| sse::primer(id, RETRY)))
    }

    /// One message as an event.
    pub(crate) fn frame(&self, message: &[u8]) -> Bytes {
        self.kept(|id| sse::frame_with_id(id, message))
    }

    /// An event that has no id yet.
    pub(crate) fn identified(&self, event: &[u8]) -> Bytes {
        self.kept(|id| {
            let mut out = BytesMut::with_capacity(event.len() + id.len() + 5);
            [b"id: ", id.as_bytes(), b"\n", event].iter().for_each(|part| out.extend_from_slice(part));
            out.freeze()
        })
    }

    fn kept(&self, event: impl FnOnce(&str) -> Bytes) -> Bytes {
        let event = self.log.keep(event);
        let over = || self.log_total() > TOTAL_BYTES;
        if over() {
            self.events.let_go(|_, _| over());
            // Nothing is left that has ended: what goes on makes room for itself.
            if over() {
                self.log.clear();
            }
        }
        event
    }

    fn log_total(&self) -> usize {
        self.events.total.load(Ordering::Relaxed)
    }

    /// Whether somebody else reads the stream now; if not, `cx` is woken when it comes to that.
    pub(crate) fn is_taken(&self, cx: &Context<'_>) -> bool {
        self.log.is_taken(self.turn, cx)
    }

    /// Whether nobody may come back for the stream any more; if somebody may, `cx` is woken when it comes to that.
    pub(crate) fn is_forgotten(&self, cx: &Context<'_>) -> bool {
        self.log.wakes(cx);
        !self.events.shard(self.log.stream).contains_key(&self.log.stream)
    }

    /// Nothing of it may be read again.
    pub(crate) fn clear(&self) {
        self.log.clear();
    }

    /// The epoch of the hub, for a stream that ends.
    pub(crate) fn at_epoch(&mut self, epoch: u64) {
        self.epoch = epoch;
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Somebody else writes what its session hears of.
        if self.log.kind == Kind::Listening && self.log.turn() != self.turn {
            return;
        }
        self.log.end(self.epoch);
        let Some(at) = self.log.ended() else { return };
        self.events.ended.lock().unwrap_or_else(PoisonError::into_inner).push_back((at, self.log.stream));
        self.events.let_go(|_, ended| ended > ENDED_STREAMS);
        self.events.tidy();
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Poll, Waker};

    use model::{Subject, TenantId, UserId};

    use super::*;
    use crate::session::Scope;

    const NEWEST: Revision = Revision::V2025_11_25;

    fn session(uid: u8) -> Session {
        let subject = Subject::of_user(UserId(uuid::Uuid::from_u128(1)));
        Session::new(Uid([uid; 8]), TenantId(uuid::Uuid::from_u128(1)), subject, NEWEST, 0, Scope::Aggregate)
    }

    fn begin(events: &Arc<Events>, kind: Kind) -> Recorder {
        events.begin(Uid([1; 8]), NEWEST, kind, "notes").unwrap()
    }

    fn id_in(event: &[u8]) -> Vec<u8> {
        let line = event.split(|byte| *byte == b'\n').next().unwrap();
        line.strip_prefix(b"id: ").unwrap().to_vec()
    }

    fn read(replay: &mut Replay) -> Vec<String> {
        let mut read = Vec::new();
        let cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(event)) = replay.poll_event(&cx) {
            read.push(
                String::from_utf8_lossy(event.strip_suffix(b"\n\n").unwrap()).rsplit(' ').next().unwrap().to_owned(),
            );
        }
        read
    }

    fn again(events: &Arc<Events>, id: &[u8], uid: u8) -> Option<Replay> {
        match events.resume(id, &session(uid)) {
            Resumed::Answer(replay) => Some(replay),
            _ => None,
        }
    }

    #[test]
    fn only_revisions_that_know_it_have_ids_and_only_the_newest_a_primer() {
        let events = Arc::<Events>::default();
        for (revision, ids, primer) in [
            (Revision::V2024_11_05, false, false),
            (Revision::V2025_03_26, true, false),
            (Revision::V2025_06_18, true, false),
            (Revision::V2025_11_25, true, true),
            (Revision::STATELESS, false, false),
        ] {
            let recorder = events.begin(Uid([1; 8]), revision, Kind::Answer, "notes");
            assert_eq!(recorder.is_some(), ids, "{revision:?}");
            assert_eq!(recorder.and_then(|mut recorder| recorder.primer()).is_some(), primer, "{revision:?}");
        }
    }

    #[test]
    fn who_comes_back_reads_what_came_after_and_what_comes() {
        let events = Arc::<Events>::default();
        let mut recorder = begin(&events, Kind::Answer);
        let primer = id_in(&recorder.primer().unwrap());
        let first = id_in(&recorder.frame(b"1"));
        recorder.frame(b"2");
        let mut replay = again(&events, &first, 1).unwrap();
        assert_eq!(read(&mut replay), ["2"]);
        recorder.frame(b"3");
        let mut later = again(&events, &primer, 1).unwrap();
        assert_eq!(read(&mut replay), [""; 0], "somebody else reads now");
        assert_eq!(read(&mut later), ["1", "2", "3"]);
        let cx = Context::from_waker(Waker::noop());
        assert!(later.poll_event(&cx).is_pending());
        drop(recorder);
        assert!(matches!(later.poll_event(&cx), Poll::Ready(None)));
        assert_eq!(read(&mut again(&events, &first, 1).unwrap()), ["2", "3"], "also after its end");
    }

    #[test]
    fn nobody_reads_the_events_of_another_session() {
        let events = Arc::<Events>::default();
        let (answer, listening) = (begin(&events, Kind::Answer), begin(&events, Kind::Listening));
        let (answer, listening) = (id_in(&answer.frame(b"1")), id_in(&listening.frame(b"1")));
        assert!(again(&events, &answer, 2).is_none());
        assert!(matches!(events.resume(&answer, &session(2)), Resumed::Gone));
        assert!(matches!(events.resume(&listening, &session(2)), Resumed::Fresh));
        assert!(matches!(events.resume(b"42", &session(1)), Resumed::Fresh));
        assert!(again(&events, &answer, 1).is_some());
        let other = Arc::<Events>::default();
        other.of_node(NodeTag([7; 8]));
        assert!(again(&other, &answer, 1).is_none());
    }

    #[test]
    fn of_a_stream_the_last_events_are_kept() {
        let events = Arc::<Events>::default();
        let recorder = begin(&events, Kind::Answer);
        let first = id_in(&recorder.frame(b"first"));
        for number in 0..1000 {
            recorder.frame(number.to_string().as_bytes());
        }
        let read_again = read(&mut again(&events, &first, 1).unwrap());
        assert_eq!(read_again.len(), STREAM_EVENTS);
        assert_eq!(read_again.last().map(String::as_str), Some("999"));
        recorder.frame(&vec![b'x'; STREAM_BYTES * 2]);
        assert_eq!(read(&mut again(&events, &first, 1).unwrap()).len(), 1, "the last one whatever its size");
        recorder.frame(b"last");
        assert_eq!(read(&mut again(&events, &first, 1).unwrap()), ["last"]);
    }

    #[test]
    fn all_streams_together_stay_within_the_bound() {
        let events = Arc::<Events>::default();
        let mut ids = Vec::new();
        for _ in 0..200 {
            let recorder = begin(&events, Kind::Answer);
            ids.push(id_in(&recorder.frame(b"first")));
            recorder.frame(&vec![b'x'; STREAM_BYTES - 4096]);
            assert!(events.total.load(Ordering::Relaxed) <= TOTAL_BYTES);
        }
        assert!(again(&events, &ids[0], 1).is_none(), "the oldest went first");
        assert!(again(&events, &ids[199], 1).is_some());
        // What goes on makes room for itself.
        let live: Vec<_> = (0..100).map(|_| begin(&events, Kind::Answer)).collect();
        live.iter().for_each(|recorder| _ = recorder.frame(&vec![b'x'; STREAM_BYTES - 4096]));
        assert!(events.total.load(Ordering::Relaxed) <= TOTAL_BYTES);
        drop(live);
        events.forget(Uid([1; 8]));
        assert_eq!(events.total.load(Ordering::Relaxed), 0, "nothing is left");
    }

    #[test]
    fn what_has_ended_is_let_go_in_its_order() {
        let events = Arc::<Events>::default();
        let recorders: Vec<_> = (0..3).map(|_| begin(&events, Kind::Answer)).collect();
        let ids: Vec<_> = recorders.iter().map(|recorder| id_in(&recorder.frame(b"1"))).collect();
        drop(recorders);
        events.let_go(|_, ended| ended > 1);
        let there: Vec<_> = ids.iter().map(|id| again(&events, id, 1).is_some()).collect();
        assert_eq!(there, [false, false, true]);
        events.let_go(|_, _| true);
        assert_eq!(events.total.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_listener_that_comes_back_goes_on_with_its_stream() {
        let events = Arc::<Events>::default();
        let mut recorder = begin(&events, Kind::Listening);
        let first = id_in(&recorder.frame(b"1"));
        recorder.frame(b"2");
        recorder.at_epoch(7);
        drop(recorder);
        let Resumed::Listening(mut recorder, missed, epoch) = events.resume(&first, &session(1)) else {
            panic!("it is kept")
        };
        assert_eq!((missed.len(), epoch, recorder.primer()), (1, Some(7), None));
        let third = id_in(&recorder.identified(&sse::frame(b"3")));
        assert_eq!(EventId::parse(&third).unwrap().number, 3);
        events.let_go(|_, _| true);
        assert!(!recorder.is_forgotten(&Context::from_waker(Waker::noop())), "it goes on");
        // The connection was not dead at all: the later one has it.
        let Resumed::Listening(later, missed, epoch) = events.resume(&third, &session(1)) else { panic!("it goes on") };
        assert_eq!((missed.len(), epoch), (0, None));
        assert!(recorder.is_taken(&Context::from_waker(Waker::noop())));
        drop(recorder);
        assert!(later.log.ended().is_none());
    }
}
