//! Requests under way, so that a client can cancel one by its own id.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::session::Uid;
use crate::table::Mount;
use crate::upstream::Connected;

/// So many locks share the table, so that two cores seldom meet.
const SHARDS: usize = 16;

/// Where a request went.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) mount: Arc<Mount>,
    pub(crate) connected: Connected,
    /// The id it has there.
    pub(crate) id: u64,
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
    id: u64,
}

impl Default for Flights {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl Flights {
    /// Remembers where the client's request `id` (raw JSON) of a session went.
    pub(crate) fn begin(self: &Arc<Self>, uid: Uid, id: Bytes, route: Route) -> Flight {
        let key = (uid, id);
        let upstream_id = route.id;
        self.shard(&key).insert(key.clone(), route);
        Flight { flights: self.clone(), key, id: upstream_id }
    }

    /// Where a request went, if it is under way.
    pub(crate) fn find(&self, uid: Uid, id: &[u8]) -> Option<Route> {
        let key = (uid, Bytes::copy_from_slice(id));
        self.shard(&key).get(&key).cloned()
    }

    fn shard(&self, key: &Key) -> MutexGuard<'_, HashMap<Key, Route>> {
        let at = self.hasher.hash_one(key) as usize % SHARDS;
        // Never out of range; the first shard stands in so that this needs no panic.
        let shard = self.shards.get(at).unwrap_or_else(|| &self.shards[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut shard = self.flights.shard(&self.key);
        // A client that reuses an id while it is under way must not lose the later one.
        if shard.get(&self.key).is_some_and(|route| route.id == self.id) {
            shard.remove(&self.key);
        }
    }
}
