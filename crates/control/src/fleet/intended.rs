//! The intended state as the fleet pushes it: read once per revision, shared by all sessions.

use std::collections::HashMap;

use model::{Digest, Resource, ResourceKind, ResourceName, Revision, table_digest};

/// The whole intended state at one revision.
#[derive(Debug, Default)]
pub(crate) struct Intended {
    /// Which revision this is.
    pub(crate) revision: Revision,
    entries: HashMap<ResourceName, Entry>,
    digest: Digest32,
    /// Counts the published states: one may be corrected without a new revision.
    serial: u64,
    /// The names in which this differs from the state published before it.
    touched: Vec<ResourceName>,
}

#[derive(Debug)]
struct Entry {
    resource: Resource,
    digest: Digest,
}

/// `Digest` has no default; an empty table's stands for it.
#[derive(Debug)]
struct Digest32(Digest);

impl Default for Digest32 {
    fn default() -> Self {
        Self(table_digest(std::iter::empty()))
    }
}

impl Intended {
    /// Builds the state of `revision`, noting what changed since `before`. What can't be read stays
    /// as it was before, except keys: one that nobody can judge opens nothing.
    pub(crate) fn build(
        revision: Revision,
        resources: Vec<Resource>,
        unreadable: &[ResourceName],
        before: &Self,
    ) -> Self {
        let kept = unreadable.iter().filter(|name| name.kind() != ResourceKind::Key);
        let kept = kept.filter_map(|name| before.resource(name)).cloned();
        let entries: HashMap<_, _> = resources
            .into_iter()
            .chain(kept)
            .map(|resource| (resource.name(), Entry { digest: resource.digest(), resource }))
            .collect();
        let changed = entries.iter().filter(|(name, entry)| before.digest_of(name) != Some(entry.digest));
        let mut touched: Vec<_> = changed.map(|(name, _)| *name).collect();
        touched.extend(before.entries.keys().filter(|name| !entries.contains_key(name)));
        let digest = digest_of_table(entries.iter().map(|(name, entry)| (*name, entry.digest)));
        Self { revision, entries, digest: Digest32(digest), serial: before.serial + 1, touched }
    }

    /// Nothing, at the same revision: what a pool without tenants is to hold.
    pub(crate) fn emptied(&self) -> Self {
        Self { revision: self.revision, serial: self.serial, ..Self::default() }
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
        self.digest.0
    }

    /// Names of all resources.
    pub(crate) fn names(&self) -> impl Iterator<Item = &ResourceName> {
        self.entries.keys()
    }

    /// How many resources there are.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether the two are one and the same published state.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.serial == other.serial
    }

    /// The names in which this differs from the state published just before it, if `other` is that
    /// one: spares the full comparison in the usual case.
    pub(crate) fn touched_since(&self, other: &Self) -> Option<&[ResourceName]> {
        (other.serial + 1 == self.serial).then_some(self.touched.as_slice())
    }
}

/// The digest of a table of these, in any order.
pub(crate) fn digest_of_table(held: impl Iterator<Item = (ResourceName, Digest)>) -> Digest {
    let mut sorted: Vec<_> = held.map(|(name, digest)| (name.to_string(), digest)).collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    table_digest(sorted.iter().map(|(name, digest)| (name.as_str(), *digest)))
}
