//! Requests under way, so that a client can cancel one by its own id.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::session::Uid;
use crate::table::Mount;
use crate::upstream::Connected;

/// So many locks share the table, so that two cores seldom meet.
const SHARDS: usize = 16;

/// Where a request went.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) mount: Arc<Mount>,
    /// `None` while it waits for its place or its session: nothing has gone upstream.
    pub(crate) connected: Option<Connected>,
    /// The id it has there; each try has its own.
    pub(crate) id: u64,
    /// The first of them, by which the flight knows its own entry.
    first: u64,
    cancelled: CancellationToken,
    /// Who keeps the entry.
    holders: usize,
}

type Key = (Uid, Bytes);

/// The requests under way of all sessions.
pub(crate) struct Flights {
    shards: [Mutex<HashMap<Key, Route>>; SHARDS],
    hasher: RandomState,
}

/// One request under way; dropped, it is over.
pub(crate) struct Flight {
    flights: Arc<Flights>,
    key: Key,
    first: u64,
    cancelled: CancellationToken,
}

impl Default for Flights {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Flights {
    /// Remembers the client's request `id` (raw JSON) of a session, which is to go to `mount` as `upstream_id`.
    pub(crate) fn begin(self: &Arc<Self>, uid: Uid, id: Bytes, mount: &Arc<Mount>, upstream_id: u64) -> Flight {
        let key = (uid, id);
        let cancelled = CancellationToken::new();
        let route = Route {
            mount: mount.clone(),
            connected: None,
            id: upstream_id,
            first: upstream_id,
            cancelled: cancelled.clone(),
            holders: 1,
        };
        self.shard(&key).insert(key.clone(), route);
        Flight { flights: self.clone(), key, first: upstream_id, cancelled }
    }

    /// A request under way goes on when its client is gone: it can be cancelled for as long as this is kept, too.
    pub(crate) fn held(self: &Arc<Self>, uid: Uid, id: &Bytes) -> Option<Flight> {
        let key = (uid, id.clone());
        let mut shard = self.shard(&key);
        let route = shard.get_mut(&key)?;
        route.holders += 1;
        let (first, cancelled) = (route.first, route.cancelled.clone());
        drop(shard);
        Some(Flight { flights: self.clone(), key, first, cancelled })
    }

    /// Ends the waiting for a request, if it is under way, and says where it went.
    pub(crate) fn cancel(&self, uid: Uid, id: &[u8]) -> Option<Route> {
        let key = (uid, Bytes::copy_from_slice(id));
        let route = self.shard(&key).get(&key).cloned()?;
        route.cancelled.cancel();
        Some(route)
    }

    /// The sessions that have a request under way.
    pub(crate) fn sessions(&self) -> HashSet<Uid> {
        let shards = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        shards.flat_map(|shard| shard.keys().map(|(uid, _)| *uid).collect::<Vec<_>>()).collect()
    }

    /// How many requests are under way.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Route>> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        // Never out of range; the first shard stands in so that this needs no panic.
        let shard = self.shards.get(at).unwrap_or_else(|| &self.shards[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight {
    /// The id of the first try.
    pub(crate) fn id(&self) -> u64 {
        self.first
    }

    /// A try begins, under this id and in this session; from here on a cancellation is passed on.
    pub(crate) fn goes_out(&self, id: u64, connected: &Connected) {
        if let Some(route) = self.own(&mut self.flights.shard(&self.key)) {
            route.id = id;
            route.connected = Some(connected.clone());
        }
    }

    /// Where the try under way went.
    pub(crate) fn route(&self) -> Option<Route> {
        self.own(&mut self.flights.shard(&self.key)).cloned()
    }

    /// A client that reuses an id while it is under way must not disturb the earlier one, nor the other way round.
    fn own<'a>(&self, shard: &'a mut MutexGuard<'_, HashMap<Key, Route>>) -> Option<&'a mut Route> {
        shard.get_mut(&self.key).filter(|route| route.first == self.first)
    }

    /// Fires when the client cancels the request.
    pub(crate) fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.key);
        let Some(route) = self.own(&mut shard) else { return };
        route.holders -= 1;
        if route.holders == 0 {
            shard.remove(&self.key);
        }
    }
}
