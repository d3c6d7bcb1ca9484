//! Which proxies are attached or were a moment ago, and how far each has come.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::{Clock, ResourceName, Revision};
use store::ProxyStatus;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::Fleet;
use super::session::Session;
use super::stream::Request;
use crate::proxies::{AttachedProxy, Effective, Rejected};
use crate::timers::scaled;

/// Proxies that are remembered after they left; the oldest beyond it go first.
const REMEMBERED: usize = 4_096;
/// A proxy that left is waited for so long.
pub(super) const MISSED: Duration = Duration::from_secs(60);

/// The proxies. The lock is held for moments and never over IO.
pub(crate) struct Roster {
    clock: Arc<dyn Clock>,
    nodes: Mutex<HashMap<String, Node>>,
    /// Tells streams apart, so that an old one can't end the entry of a newer one.
    streams: AtomicU64,
    /// Counts up whenever a proxy has come further.
    progress: watch::Sender<u64>,
    /// Counts up whenever a proxy attaches.
    attachments: watch::Sender<u64>,
}

struct Node {
    pool: String,
    instance: String,
    since: i64,
    /// The stream that the entry belongs to.
    stream: u64,
    /// When its stream ended; `None` while it is attached.
    left: Option<Instant>,
    requests: mpsc::Sender<Request>,
    replaced: CancellationToken,
    settled: Option<Revision>,
    applied: Revision,
    digest_matches: bool,
    rejected: Vec<(ResourceName, String)>,
    mounts: u32,
    last_seen: i64,
}

/// The entry of one stream; the stream ends its entry by [`Roster::leave`].
pub(crate) struct Entry {
    pub(crate) node: String,
    stream: u64,
    /// Cancelled when a newer stream of the same node came.
    pub(crate) replaced: CancellationToken,
}

impl Roster {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            nodes: Mutex::default(),
            streams: AtomicU64::new(1),
            progress: watch::Sender::new(0),
            attachments: watch::Sender::new(0),
        }
    }

    /// A stream of `node` came. An older stream of the same node is closed; a node that left and
    /// was the same process or data folder is forgotten: it will not come back.
    pub(crate) fn enter(&self, node: &str, pool: &str, instance: &str, requests: mpsc::Sender<Request>) -> Entry {
        let now = self.clock.now_micros();
        let stream = self.streams.fetch_add(1, Ordering::Relaxed);
        let mut nodes = self.nodes();
        if let Some(older) = nodes.get(node).filter(|older| older.left.is_none()) {
            tracing::warn!(node, "a second stream of this node came, the older one is closed");
            older.replaced.cancel();
        }
        nodes.retain(|_, other| other.left.is_none() || instance.is_empty() || other.instance != instance);
        let replaced = CancellationToken::new();
        nodes.insert(
            node.to_owned(),
            Node {
                pool: pool.to_owned(),
                instance: instance.to_owned(),
                since: now,
                stream,
                left: None,
                requests,
                replaced: replaced.clone(),
                settled: None,
                applied: Revision::default(),
                digest_matches: true,
                rejected: vec![],
                mounts: 0,
                last_seen: now,
            },
        );
        drop(nodes);
        self.attachments.send_modify(|count| *count += 1);
        Entry { node: node.to_owned(), stream, replaced }
    }

    /// Proxies that another control or this one's earlier life has seen a moment ago: they serve and
    /// will come back, so they are waited for like those that left. Last seen first.
    pub(crate) fn remember(&self, statuses: Vec<ProxyStatus>) {
        let (now, here) = (self.clock.now_micros(), Instant::now());
        let mut nodes = self.nodes();
        for status in statuses {
            let known = |other: &Node| !status.instance.is_empty() && other.instance == status.instance;
            let age = Duration::from_micros(u64::try_from(now.saturating_sub(status.last_seen)).unwrap_or(0));
            let Some(left) = here.checked_sub(age).filter(|_| age < scaled(MISSED)) else { continue };
            if nodes.contains_key(&status.node) || nodes.values().any(known) {
                continue;
            }
            let (requests, _) = mpsc::channel(1);
            nodes.insert(
                status.node,
                Node {
                    pool: status.pool,
                    instance: status.instance,
                    since: status.last_seen,
                    stream: 0,
                    left: Some(left),
                    requests,
                    replaced: CancellationToken::new(),
                    settled: None,
                    applied: status.applied,
                    digest_matches: true,
                    rejected: vec![],
                    mounts: 0,
                    last_seen: status.last_seen,
                },
            );
        }
    }

    /// The stream ended. A proxy that said goodbye is forgotten at once.
    pub(crate) fn leave(&self, entry: &Entry, goodbye: bool) {
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(&entry.node).filter(|node| node.stream == entry.stream) else { return };
        node.left = Some(Instant::now());
        if goodbye {
            nodes.remove(&entry.node);
        }
        while nodes.len() > REMEMBERED {
            let oldest = nodes.iter().filter_map(|(name, node)| Some((node.left?, name.clone()))).min();
            let Some((_, name)) = oldest else { break };
            nodes.remove(&name);
        }
        drop(nodes);
        self.progress.send_modify(|count| *count += 1);
    }

    /// The proxy has come further.
    pub(crate) fn update(&self, entry: &Entry, session: &Session) {
        let now = self.clock.now_micros();
        let mut nodes = self.nodes();
        let Some(node) = nodes.get_mut(&entry.node).filter(|node| node.stream == entry.stream) else { return };
        node.settled = session.settled();
        node.applied = session.at();
        node.digest_matches = session.digest_matches();
        node.rejected = session.rejected();
        node.mounts = session.mounts();
        node.last_seen = now;
        drop(nodes);
        self.progress.send_modify(|count| *count += 1);
    }

    /// Wakes whenever a proxy has come further.
    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    /// Wakes whenever a proxy attaches.
    pub(crate) fn attachments(&self) -> watch::Receiver<u64> {
        self.attachments.subscribe()
    }

    /// The attached proxies, by name.
    pub(crate) fn attached(&self) -> Vec<AttachedProxy> {
        let nodes = self.nodes();
        let attached = nodes.iter().filter(|(_, node)| node.left.is_none()).map(|(name, node)| AttachedProxy {
            node: name.clone(),
            pool: node.pool.clone(),
            since: node.since,
            applied: node.applied,
            digest_matches: node.digest_matches,
            rejected: node.rejected.clone(),
            mounts: node.mounts,
        });
        let mut attached: Vec<_> = attached.collect();
        attached.sort_by(|a, b| a.node.cmp(&b.node));
        attached
    }

    /// Whom to ask: attached proxies whose pool has tenants, those that have come furthest first.
    pub(crate) fn to_ask(&self) -> Vec<(String, mpsc::Sender<Request>)> {
        let nodes = self.nodes();
        let mut candidates: Vec<_> =
            nodes.iter().filter(|(_, node)| node.left.is_none() && Fleet::pool_serves(&node.pool)).collect();
        candidates.sort_by(|a, b| b.1.settled.cmp(&a.1.settled).then_with(|| a.0.cmp(b.0)));
        candidates.into_iter().map(|(name, node)| (name.clone(), node.requests.clone())).collect()
    }

    /// Whether the proxy is attached and waits for a push or its answer.
    pub(crate) fn is_unsettled(&self, node: &str) -> bool {
        self.nodes().get(node).is_some_and(|node| node.left.is_none() && node.settled.is_none())
    }

    /// How far `revision` of `resource` has come, over the proxies seen within `window`.
    pub(crate) fn effective(&self, revision: Revision, resource: ResourceName, window: Duration) -> Effective {
        let mut effective = Effective::default();
        for (name, node) in self.nodes().iter().filter(|(_, node)| Fleet::pool_serves(&node.pool)) {
            let seen = node.left.is_none_or(|left| left.elapsed() < window);
            let reason = node.rejected.iter().find(|(rejected, _)| *rejected == resource);
            match (node.settled.is_some_and(|settled| settled >= revision), reason) {
                (true, Some((_, reason))) => {
                    effective.rejected.push(Rejected { proxy: name.clone(), reason: reason.clone() });
                }
                (true, None) if node.left.is_none() => effective.live += 1,
                _ if seen => effective.pending += 1,
                _ => (),
            }
        }
        effective
    }

    /// Rows for the database.
    pub(crate) fn statuses(&self) -> Vec<ProxyStatus> {
        let nodes = self.nodes();
        let attached = nodes.iter().filter(|(_, node)| node.left.is_none());
        let rows = attached.map(|(name, node)| {
            let rejected: serde_json::Map<_, _> = node
                .rejected
                .iter()
                .map(|(name, reason)| (name.to_string(), serde_json::Value::from(reason.as_str())))
                .collect();
            ProxyStatus {
                node: name.clone(),
                pool: node.pool.clone(),
                instance: node.instance.clone(),
                applied: node.applied,
                last_seen: node.last_seen,
                rejected: serde_json::Value::Object(rejected).to_string(),
            }
        });
        rows.collect()
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<String, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
