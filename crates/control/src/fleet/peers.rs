//! Which proxies of a pool are there, for its proxies: they reach each other and share their clients' sessions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;
use wire::Peer;

use super::Fleet;
use super::effective::{known_better, superseded};
use super::others::Other;
use super::roster::{MISSED, Node};
use crate::timers::scaled;

/// Most proxies of one pool that are told of each other.
const MOST: usize = 4_096;
/// Whoever comes or goes within this time becomes one list.
const GATHER: Duration = Duration::from_millis(20);
/// How often it is looked who left too long ago, and who came to other replicas.
const LOOK: Duration = Duration::from_secs(2);

/// The proxies of each pool.
pub(super) type Pools = BTreeMap<String, Arc<[Peer]>>;

/// Those who are attached anywhere, and those who left so lately that they will most likely come back: what they keep
/// of clients is theirs until then.
fn pools(nodes: &HashMap<String, Node>, others: &[Other], window: Duration) -> Pools {
    let lately = |node: &Node| node.left.is_none_or(|left| left.elapsed() < window);
    let ours = nodes.iter().filter(|(name, node)| lately(node) && !superseded(name, node, others));
    let ours = ours.filter_map(|(name, node)| Some((&node.pool, name, node.peer_address.as_ref()?)));
    let theirs = others.iter().filter(|other| !known_better(other, nodes, others));
    let theirs = theirs.filter_map(|other| Some((&other.pool, &other.node, other.peer_address.as_ref()?)));
    let mut pools: BTreeMap<&String, Vec<Peer>> = BTreeMap::new();
    for (pool, node, address) in ours.chain(theirs) {
        pools.entry(pool).or_default().push(Peer { node: node.clone(), address: address.clone() });
    }
    let settled = pools.into_iter().map(|(pool, mut peers)| {
        peers.sort();
        peers.dedup_by(|a, b| a.node == b.node);
        peers.truncate(MOST);
        (pool.clone(), peers.into())
    });
    settled.collect()
}

/// Publishes who is there until `shutdown`.
pub(super) async fn run(fleet: Arc<Fleet>, shutdown: CancellationToken) {
    let mut members = fleet.roster.members();
    let mut looks = tokio::time::interval(scaled(LOOK));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Before the look: who comes during it wakes us again.
        members.mark_unchanged();
        publish(&fleet);
        tokio::select! {
            _ = members.changed() => tokio::time::sleep(GATHER).await,
            _ = looks.tick() => (),
            () = shutdown.cancelled() => return,
        }
    }
}

fn publish(fleet: &Fleet) {
    let others = fleet.others.seen();
    let now = fleet.roster.with_nodes(|nodes| pools(nodes, &others, scaled(MISSED)));
    fleet.peers.send_if_modified(|published| {
        let differs = **published != now;
        if differs {
            *published = Arc::new(now);
        }
        differs
    });
}

/// What one proxy is told, each time that it differs.
pub(super) struct Told {
    pools: watch::Receiver<Arc<Pools>>,
    pool: String,
    last: Option<Arc<[Peer]>>,
    /// Only who said where it is reached wants to know of others.
    wants: bool,
}

impl Told {
    pub(super) fn new(fleet: &Fleet, pool: &str, wants: bool) -> Self {
        Self { pools: fleet.peers.subscribe(), pool: pool.to_owned(), last: None, wants }
    }

    /// Waits until some pool has changed; for ever if nobody is to be told.
    pub(super) async fn changed(&mut self) {
        if !self.wants || self.pools.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The list, if it is another one than the last.
    pub(super) fn news(&mut self) -> Option<Vec<Peer>> {
        if !self.wants {
            return None;
        }
        let now = self.pools.borrow_and_update().get(&self.pool).cloned()?;
        if self.last.as_ref() == Some(&now) {
            return None;
        }
        self.last = Some(now.clone());
        Some(now.to_vec())
    }
}
