//! Which proxies are attached to this replica or were a moment ago, and how far each has come.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{Clock, ResourceName, Revision};
use store::ProxyStatus;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;
use wire::frame::ControlFrame;

use super::lag::Reached;
use super::session::Session;
use super::stream::Request;
use crate::proxies::AttachedProxy;
use crate::timers::scaled;

/// Proxies that are remembered after they left; the oldest beyond it go first.
pub(super) const REMEMBERED: usize = 4_096;
/// A proxy that left is waited for so long.
pub(super) const MISSED: Duration = Duration::from_secs(60);
/// Streams of one node that were ended by a newer one within a minute, beyond which two processes must
/// have the same node id.
const FLAPS: usize = 3;

/// The proxies of this replica. The lock is held for moments and never over IO.
pub(crate) struct Roster {
    clock: Arc<dyn Clock>,
    /// This replica's name.
    replica: String,
    book: Mutex<Book>,
    /// Tells streams apart, so that an old one can't end the entry of a newer one.
    streams: AtomicU64,
    /// Counts up whenever a proxy has come further.
    progress: watch::Sender<u64>,
    /// Counts up whenever a proxy attaches.
    attachments: watch::Sender<u64>,
    /// Counts up whenever a proxy comes or goes.
    members: watch::Sender<u64>,
    /// Wakes who writes the rows, when a proxy has come further.
    unwritten: Notify,
}

#[derive(Default)]
struct Book {
    nodes: HashMap<String, Node>,
    /// Whose rows must be written.
    unwritten: HashSet<String>,
    /// Whose rows must go.
    gone: Vec<String>,
}

pub(super) struct Node {
    pub(super) pool: String,
    pub(super) instance: String,
    /// Where other proxies of its pool reach it.
    pub(super) peer_address: Option<String>,
    pub(super) since: i64,
    /// The stream that the entry belongs to.
    stream: u64,
    /// When its stream ended; `None` while it is attached.
    pub(super) left: Option<Instant>,
    queues: Queues,
    replaced: CancellationToken,
    pub(super) settled: Option<Revision>,
    applied: Revision,
    digest_matches: bool,
    pub(super) rejected: Vec<(ResourceName, String)>,
    mounts: u32,
    last_seen: i64,
    /// When its certificate ends, microseconds since 1970.
    certificate_until: Option<i64>,
    /// When streams of this node were ended by newer ones, within the last minute.
    flaps: VecDeque<Instant>,
}

/// Who attaches.
pub(crate) struct Arrival<'a> {
    pub(crate) node: &'a str,
    pub(crate) pool: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) peer_address: Option<&'a str>,
    pub(crate) certificate_until: Option<i64>,
    pub(crate) queues: Queues,
}

/// What waits for one proxy.
#[derive(Clone)]
pub(crate) struct Queues {
    /// Commands that the stream has yet to take.
    pub(crate) requests: mpsc::Sender<Request>,
    /// Messages that the proxy has yet to read. The stream's own half keeps it open.
    pub(crate) messages: mpsc::WeakSender<Result<ControlFrame, Status>>,
    /// Commands that it has yet to answer.
    pub(crate) commands: Arc<AtomicUsize>,
}

/// How full the fullest queues are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Fullest {
    pub(crate) requests: usize,
    pub(crate) messages: usize,
    pub(crate) commands: usize,
}

/// The entry of one stream; the stream ends its entry by [`Roster::leave`].
pub(crate) struct Entry {
    pub(crate) node: String,
    stream: u64,
    /// Cancelled when a newer stream of the same node came.
    pub(crate) replaced: CancellationToken,
}

/// What must be written down of the proxies.
pub(crate) struct Unwritten {
    pub(crate) rows: Vec<ProxyStatus>,
    pub(crate) gone: Vec<String>,
}

impl Roster {
    pub(crate) fn new(replica: String, clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            replica,
            book: Mutex::default(),
            streams: AtomicU64::new(1),
            progress: watch::Sender::new(0),
            attachments: watch::Sender::new(0),
            members: watch::Sender::new(0),
            unwritten: Notify::new(),
        }
    }

    /// A stream of a node came. An older stream of the same node is closed; a node that left and was the
    /// same process or data folder is forgotten: it will not come back.
    pub(crate) fn enter(&self, arrival: Arrival<'_>) -> Entry {
        let Arrival { node, pool, instance, peer_address, certificate_until, queues } = arrival;
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let mut book = self.book();
        // Of two streams within one tick of the clock the later must be the newer one.
        let older_since = book.nodes.get(node).map_or(0, |older| older.since);
        let now = self.clock.now_micros().max(older_since + 1);
        let mut flaps = VecDeque::new();
        if let Some(older) = book.nodes.get_mut(node) {
            if older.left.is_none() {
                tracing::warn!(node, "a second stream of this node came, the older one is closed");
                older.end(node);
            }
            flaps = std::mem::take(&mut older.flaps);
        }
        let known = |other: &Node| other.left.is_some() && !instance.is_empty() && other.instance == instance;
        let forgotten: Vec<_> =
            book.nodes.iter().filter(|(_, other)| known(other)).map(|(name, _)| name.clone()).collect();
        for name in forgotten {
            book.forget(&name);
        }
        let replaced = CancellationToken::new();
        let entry = Node {
            pool: pool.to_owned(),
            instance: instance.to_owned(),
            peer_address: peer_address.map(str::to_owned),
            since: now,
            stream,
            left: None,
            queues,
            replaced: replaced.clone(),
            settled: None,
            applied: Revision::default(),
            digest_matches: true,
            rejected: vec![],
            mounts: 0,
            last_seen: now,
            certificate_until,
            flaps,
        };
        book.gone.retain(|gone| gone != node);
        book.nodes.insert(node.to_owned(), entry);
        book.unwritten.insert(node.to_owned());
        drop(book);
        self.unwritten.notify_one();
        self.attachments.send_modify(|count| *count += 1);
        self.members.send_modify(|count| *count += 1);
        Entry { node: node.to_owned(), stream, replaced }
    }

    /// The stream ended. A proxy that said goodbye is forgotten at once.
    pub(crate) fn leave(&self, entry: &Entry, goodbye: bool) {
        let mut book = self.book();
        let Some(node) = book.nodes.get_mut(&entry.node).filter(|node| node.stream == entry.stream) else { return };
        node.left = Some(Instant::now());
        book.unwritten.insert(entry.node.clone());
        if goodbye {
            book.forget(&entry.node);
        }
        while book.nodes.len() > REMEMBERED {
            let oldest = book.nodes.iter().filter_map(|(name, node)| Some((node.left?, name.clone()))).min();
            let Some((_, name)) = oldest else { break };
            book.nodes.remove(&name);
        }
        drop(book);
        self.unwritten.notify_one();
        self.progress.send_modify(|count| *count += 1);
        self.members.send_modify(|count| *count += 1);
    }

    /// A newer stream of the node is held by another replica: ours is closed.
    pub(crate) fn moved(&self, node: &str, since: i64) {
        let mut book = self.book();
        if let Some(ours) = book.nodes.get_mut(node).filter(|ours| ours.left.is_none() && ours.since < since) {
            tracing::info!(node, "the proxy has attached to another replica, its stream here is closed");
            ours.end(node);
        }
    }

    /// The proxy has come further.
    pub(crate) fn update(&self, entry: &Entry, session: &Session) {
        let now = self.clock.now_micros();
        let mut book = self.book();
        let Some(node) = book.nodes.get_mut(&entry.node).filter(|node| node.stream == entry.stream) else { return };
        let news = node.take(session);
        node.last_seen = now;
        book.unwritten.insert(entry.node.clone());
        drop(book);
        if news {
            self.unwritten.notify_one();
            self.progress.send_modify(|count| *count += 1);
        }
    }

    /// Wakes whenever a proxy has come further.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// Wakes whenever a proxy attaches.
    pub(crate) fn attachments(&self) -> watch::Receiver<u64> {
        self.attachments.subscribe()
    }

    /// Wakes whenever a proxy comes or goes.
    pub(crate) fn members(&self) -> watch::Receiver<u64> {
        self.members.subscribe()
    }

    /// Waits until there is something to write that another replica may wait for.
    pub(crate) async fn unwritten(&self) {
        self.unwritten.notified().await;
    }

    /// What is to be written, which is then taken as written.
    pub(crate) fn take_unwritten(&self) -> Unwritten {
        let mut book = self.book();
        let names = std::mem::take(&mut book.unwritten);
        let rows = names.iter().filter_map(|name| Some(book.nodes.get(name)?.row(name, &self.replica))).collect();
        Unwritten { rows, gone: std::mem::take(&mut book.gone) }
    }

    /// It could not be written.
    pub(crate) fn put_back(&self, unwritten: Unwritten) {
        let mut book = self.book();
        book.unwritten.extend(unwritten.rows.into_iter().map(|row| row.node));
        book.gone.extend(unwritten.gone);
        book.gone.truncate(REMEMBERED);
    }

    /// The attached proxies.
    pub(crate) fn attached(&self) -> Vec<AttachedProxy> {
        let book = self.book();
        let attached = book.nodes.iter().filter(|(_, node)| node.left.is_none());
        let attached = attached.map(|(name, node)| AttachedProxy {
            node: name.clone(),
            pool: node.pool.clone(),
            replica: self.replica.clone(),
            since: node.since,
            applied: node.applied,
            digest_matches: node.digest_matches,
            rejected: node.rejected.clone(),
            mounts: node.mounts,
            duplicate_node: node.is_duplicate(),
            certificate_until: node.certificate_until,
        });
        attached.collect()
    }

    /// When the attached proxy was heard of that was silent longest, microseconds since 1970.
    pub(crate) fn oldest_contact(&self) -> Option<i64> {
        self.book().nodes.values().filter(|node| node.left.is_none()).map(|node| node.last_seen).min()
    }

    /// How far all attached proxies have come.
    pub(crate) fn reached(&self) -> Reached {
        let book = self.book();
        let attached = book.nodes.values().filter(|node| node.left.is_none());
        match attached.map(|node| node.settled).min() {
            None => Reached::Nobody,
            Some(None) => Reached::Nothing,
            Some(Some(revision)) => Reached::All(revision),
        }
    }

    /// How full the queues of the attached proxies are, each as the fullest has it.
    pub(crate) fn fullest(&self) -> Fullest {
        let book = self.book();
        let attached = book.nodes.values().filter(|node| node.left.is_none());
        attached.fold(Fullest::default(), |fullest, node| fullest.or(node.queues.fill()))
    }

    /// How to ask the proxy something, if it is attached here.
    pub(crate) fn requests_of(&self, node: &str) -> Option<mpsc::Sender<Request>> {
        self.book().nodes.get(node).filter(|node| node.left.is_none()).map(|node| node.queues.requests.clone())
    }

    /// Attached proxies: which, since when, in which pool, and the state that each was brought to.
    pub(crate) fn candidates(&self) -> Vec<(String, i64, String, Option<Revision>)> {
        let book = self.book();
        let attached = book.nodes.iter().filter(|(_, node)| node.left.is_none());
        attached.map(|(name, node)| (name.clone(), node.since, node.pool.clone(), node.settled)).collect()
    }

    /// Whether the proxy is attached and waits for a push or its answer.
    pub(crate) fn is_unsettled(&self, node: &str) -> bool {
        self.book().nodes.get(node).is_some_and(|node| node.left.is_none() && node.settled.is_none())
    }

    /// Looks at all proxies of this replica, those that left included.
    pub(super) fn with_nodes<T>(&self, look: impl FnOnce(&HashMap<String, Node>) -> T) -> T {
        look(&self.book().nodes)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queues {
    fn fill(&self) -> Fullest {
        let messages = self.messages.upgrade();
        Fullest {
            requests: self.requests.max_capacity() - self.requests.capacity(),
            messages: messages.map_or(0, |messages| messages.max_capacity() - messages.capacity()),
            commands: self.commands.load(Ordering::Relaxed),
        }
    }
}

impl Fullest {
    fn or(self, other: Self) -> Self {
        Self {
            requests: self.requests.max(other.requests),
            messages: self.messages.max(other.messages),
            commands: self.commands.max(other.commands),
        }
    }
}

impl Book {
    fn forget(&mut self, node: &str) {
        self.nodes.remove(node);
        self.unwritten.remove(node);
        self.gone.push(node.to_owned());
    }
}

impl Node {
    /// Ends the stream for a newer one.
    fn end(&mut self, name: &str) {
        self.replaced.cancel();
        self.flaps.retain(|at| at.elapsed() < scaled(Duration::from_secs(60)));
        self.flaps.push_back(Instant::now());
        if self.is_duplicate() {
            tracing::error!(node = name, alarm = true, "two processes seem to have the same node id");
        }
    }

    fn is_duplicate(&self) -> bool {
        let lately = self.flaps.iter().filter(|at| at.elapsed() < scaled(Duration::from_secs(60)));
        lately.count() > FLAPS
    }

    /// Takes over what the session knows; says whether it is more than a sign of life.
    fn take(&mut self, session: &Session) -> bool {
        let rejected = session.rejected();
        let same = self.settled == session.settled()
            && self.applied == session.at()
            && self.digest_matches == session.digest_matches()
            && self.rejected.len() == rejected.len()
            && self.rejected.iter().all(|one| rejected.contains(one));
        self.settled = session.settled();
        self.applied = session.at();
        self.digest_matches = session.digest_matches();
        self.rejected = rejected;
        self.mounts = session.mounts();
        !same
    }

    fn row(&self, name: &str, replica: &str) -> ProxyStatus {
        let rejected: serde_json::Map<_, _> = self
            .rejected
            .iter()
            .map(|(name, reason)| (name.to_string(), serde_json::Value::from(reason.as_str())))
            .collect();
        ProxyStatus {
            node: name.to_owned(),
            pool: self.pool.clone(),
            instance: self.instance.clone(),
            replica: replica.to_owned(),
            attached: self.left.is_none(),
            since: self.since,
            // Not brought to anything yet, or compared anew: not known to have anything.
            applied: self.settled.unwrap_or(Revision { seq: 0, ..self.applied }),
            digest_matches: self.digest_matches,
            mounts: self.mounts,
            last_seen: self.last_seen,
            rejected: serde_json::Value::Object(rejected).to_string(),
            peer_address: self.peer_address.clone(),
        }
    }
}
