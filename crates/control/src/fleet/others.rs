//! The proxies of the other replicas, as their rows say.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::{Clock, ResourceName, Revision};
use store::{ProxyStatus, Store, StoreError};

use super::roster::{MISSED, Roster};
use super::sight::Sight;
use crate::proxies::AttachedProxy;
use crate::timers::{micros, scaled};

/// Two looks at the rows are at least so far apart, however many wait for them.
const APART: Duration = Duration::from_millis(40);
/// A row that was not written for so long is of a replica that died.
const SILENT: Duration = Duration::from_secs(30);
/// Looks are never so far apart while the database can be read.
const USUAL: Duration = Duration::from_secs(6);

/// A proxy that another replica holds or held.
#[derive(Debug, Clone)]
pub(super) struct Other {
    pub(super) node: String,
    pub(super) pool: String,
    pub(super) instance: String,
    pub(super) replica: String,
    /// Its stream is open and its replica lives.
    pub(super) attached: bool,
    pub(super) since: i64,
    pub(super) applied: Revision,
    pub(super) rejected: Vec<(ResourceName, String)>,
    /// Where other proxies of its pool reach it.
    pub(super) peer_address: Option<String>,
    digest_matches: bool,
    mounts: u32,
}

/// What the rows said when somebody looked last.
pub(super) struct Others {
    store: Store,
    clock: Arc<dyn Clock>,
    replica: String,
    /// Whether other replicas may live now, not only this one's earlier life.
    shared: bool,
    seen: Mutex<Arc<[Other]>>,
    looked: tokio::sync::Mutex<Looked>,
}

#[derive(Default)]
struct Looked {
    at: Option<Instant>,
    sight: Sight,
}

impl Others {
    pub(super) fn new(store: Store, clock: Arc<dyn Clock>, replica: String, shared: bool) -> Self {
        Self { store, clock, replica, shared, seen: Mutex::new(Arc::new([])), looked: tokio::sync::Mutex::default() }
    }

    /// The proxies as they were seen last.
    pub(super) fn seen(&self) -> Arc<[Other]> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The attached ones.
    pub(super) fn attached(&self) -> Vec<AttachedProxy> {
        let attached = self.seen();
        let attached = attached.iter().filter(|other| other.attached);
        let attached = attached.map(|other| AttachedProxy {
            node: other.node.clone(),
            pool: other.pool.clone(),
            replica: other.replica.clone(),
            since: other.since,
            applied: other.applied,
            digest_matches: other.digest_matches,
            rejected: other.rejected.clone(),
            mounts: other.mounts,
            duplicate_node: false,
            certificate_until: None,
        });
        attached.collect()
    }

    /// Reads the rows, unless somebody has just done so. Streams of ours whose proxy has moved on are closed.
    pub(super) async fn look(&self, roster: &Roster) -> Result<(), StoreError> {
        let mut looked = self.looked.lock().await;
        if looked.at.is_some_and(|at| at.elapsed() < APART) {
            return Ok(());
        }
        let now = self.clock.now_micros();
        let mut sight = looked.sight;
        sight.reads(now, micros(scaled(USUAL)));
        let rows = self.store.platform().proxy_statuses(sight.since(now, micros(scaled(MISSED)))).await?;
        looked.sight = sight;
        let alive = sight.since(now, micros(scaled(SILENT)));
        let others = rows.into_iter().filter(|row| row.replica != self.replica);
        let others: Arc<[Other]> = others.map(|row| self.other(row, alive)).collect();
        for other in others.iter().filter(|other| other.attached) {
            roster.moved(&other.node, other.since);
        }
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = others;
        looked.at = Some(Instant::now());
        Ok(())
    }

    /// `alive`: the instant since which the replicas that live have written.
    fn other(&self, row: ProxyStatus, alive: i64) -> Other {
        let rejected = serde_json::from_str::<std::collections::HashMap<String, String>>(&row.rejected);
        let rejected = rejected.unwrap_or_default().into_iter();
        Other {
            attached: self.shared && row.attached && row.last_seen > alive,
            rejected: rejected.filter_map(|(name, reason)| Some((name.parse().ok()?, reason))).collect(),
            node: row.node,
            pool: row.pool,
            instance: row.instance,
            replica: row.replica,
            since: row.since,
            applied: row.applied,
            digest_matches: row.digest_matches,
            mounts: row.mounts,
            peer_address: row.peer_address,
        }
    }
}
