//! Resources by name, in shards: a copy shares all of them, and a change copies only its own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use model::{Digest, Resource, ResourceName};

/// With 10,000 entries a change copies some forty pointers.
const SHARDS: usize = 256;

/// One resource and its digest.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) resource: Resource,
    pub(crate) digest: Digest,
}

/// Entries that may have changed, as they are now; `None` for those that are gone.
pub(super) type Touched = HashMap<ResourceName, Option<Arc<Entry>>>;

/// Resources by name.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    shards: Vec<Arc<HashMap<ResourceName, Arc<Entry>>>>,
    len: usize,
}

impl Default for Entries {
    fn default() -> Self {
        Self { shards: vec![Arc::default(); SHARDS], len: 0 }
    }
}

impl Entries {
    pub(super) fn get(&self, name: &ResourceName) -> Option<&Arc<Entry>> {
        self.shards.get(shard(name))?.get(name)
    }

    /// Puts an entry in the place of the one before, or takes it out; answers the one before.
    pub(super) fn set(&mut self, name: ResourceName, entry: Option<Arc<Entry>>) -> Option<Arc<Entry>> {
        let shard = Arc::make_mut(self.shards.get_mut(shard(&name))?);
        let added = usize::from(entry.is_some());
        let before = match entry {
            Some(entry) => shard.insert(name, entry),
            None => shard.remove(&name),
        };
        self.len = self.len + added - usize::from(before.is_some());
        before
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&ResourceName, &Arc<Entry>)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}

fn shard(name: &ResourceName) -> usize {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    usize::try_from(hasher.finish() % SHARDS as u64).unwrap_or(0)
}
