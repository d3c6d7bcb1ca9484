//! What the proxies of one pool are to hold, at one revision.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, OnceLock};

use model::{Digest, Resource, ResourceName, Revision, TableDigest};
use wire::Packed;

use super::entries::{Entries, Entry, Touched};

/// Published states of which it is kept what they touched: a proxy that is further behind is compared whole.
const HISTORY: usize = 64;

/// Tells published states of a pool apart: one may be corrected without a new revision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// When the pool began to have tenants; 0 for what all pools have that have none.
    lineage: u64,
    /// Counts the published states.
    serial: u64,
}

/// What the proxies of one pool are to hold.
#[derive(Debug, Default)]
pub(crate) struct View {
    /// At which revision.
    pub(crate) revision: Revision,
    stamp: Stamp,
    entries: Entries,
    digest: TableDigest,
    /// The names that each of the last states touched, the newest last.
    history: VecDeque<Arc<[ResourceName]>>,
    packed: OnceLock<Packed>,
}

impl View {
    /// Nothing yet, for a pool that begins to have tenants with the state of this serial.
    pub(super) fn begun(serial: u64) -> Self {
        Self { stamp: Stamp { lineage: serial, serial }, ..Self::default() }
    }

    /// The view of the next state, which differs by `touched`, as far as it belongs here.
    pub(super) fn next(
        &self,
        revision: Revision,
        serial: u64,
        touched: &Touched,
        belongs: impl Fn(&Entry) -> bool,
    ) -> Self {
        let (mut entries, mut digest) = (self.entries.clone(), self.digest);
        let mut names = vec![];
        for (name, entry) in touched {
            let now = entry.clone().filter(|entry| belongs(entry));
            let then = entries.get(name);
            if then.map(|entry| entry.digest) == now.as_ref().map(|entry| entry.digest) {
                continue;
            }
            let text = name.to_string();
            if let Some(now) = &now {
                digest.insert(&text, now.digest);
            }
            if let Some(then) = entries.set(*name, now) {
                digest.remove(&text, then.digest);
            }
            names.push(*name);
        }
        let mut history = self.history.clone();
        history.push_back(names.into());
        if history.len() > HISTORY {
            history.pop_front();
        }
        let stamp = Stamp { serial, ..self.stamp };
        Self { revision, stamp, entries, digest, history, packed: OnceLock::new() }
    }

    /// The digest of one resource; `None` if it isn't intended.
    pub(crate) fn digest_of(&self, name: &ResourceName) -> Option<Digest> {
        self.entries.get(name).map(|entry| entry.digest)
    }

    /// One resource.
    pub(crate) fn resource(&self, name: &ResourceName) -> Option<&Resource> {
        self.entries.get(name).map(|entry| &entry.resource)
    }

    /// The digest of a table that holds exactly this.
    pub(crate) fn digest(&self) -> Digest {
        self.digest.digest()
    }

    /// Names of all resources.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ResourceName> {
        self.entries.iter().map(|(name, _)| name)
    }

    /// How many resources there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Which of the published states this is.
    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The names in which this may differ from that state; `None` if it is another pool's, or too long ago.
    pub(crate) fn touched_since(&self, before: Stamp) -> Option<HashSet<ResourceName>> {
        if before.lineage != self.stamp.lineage {
            return None;
        }
        let behind = usize::try_from(self.stamp.serial.checked_sub(before.serial)?).ok()?;
        let skipped = self.history.len().checked_sub(behind)?;
        Some(self.history.iter().skip(skipped).flat_map(|names| names.iter()).copied().collect())
    }

    /// Everything as a push carries it: encoded at the first need, then shared.
    pub(crate) fn packed(&self) -> &Packed {
        self.packed.get_or_init(|| Packed::of(self.entries.iter().map(|(_, entry)| &entry.resource)))
    }
}

#[cfg(test)]
impl View {
    /// The next state, which holds exactly these.
    pub(crate) fn replaced(&self, revision: Revision, resources: Vec<Resource>) -> Self {
        let mut touched: Touched = self.names().map(|name| (*name, None)).collect();
        touched.extend(resources.into_iter().map(|resource| {
            let entry = Entry { digest: resource.digest(), resource };
            (entry.resource.name(), Some(Arc::new(entry)))
        }));
        self.next(revision, self.stamp.serial + 1, &touched, |_| true)
    }
}
