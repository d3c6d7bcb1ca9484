//! The intended state as the fleet pushes it: read once per revision, shared by all sessions.

use std::collections::HashMap;

use model::{Digest, Resource, ResourceName, Revision, table_digest};

/// The whole intended state at one revision.
#[derive(Debug, Default)]
pub(crate) struct Intended {
    /// Which revision this is.
    pub(crate) revision: Revision,
    entries: HashMap<ResourceName, Entry>,
    digest: Digest32,
    /// The revision published before this one, and the names in which the two differ.
    before: Revision,
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
    /// Builds the state of `revision`, noting what changed since `before`.
    pub(crate) fn build(revision: Revision, resources: Vec<Resource>, before: &Self) -> Self {
        let entries: HashMap<_, _> = resources
            .into_iter()
            .map(|resource| (resource.name(), Entry { digest: resource.digest(), resource }))
            .collect();
        let changed = entries.iter().filter(|(name, entry)| before.digest_of(name) != Some(entry.digest));
        let mut touched: Vec<_> = changed.map(|(name, _)| *name).collect();
        touched.extend(before.entries.keys().filter(|name| !entries.contains_key(name)));
        let digest = digest_of_table(entries.iter().map(|(name, entry)| (*name, entry.digest)));
        Self { revision, entries, digest: Digest32(digest), before: before.revision, touched }
    }

    /// Nothing, at the same revision: what a pool without tenants is to hold.
    pub(crate) fn emptied(&self) -> Self {
        Self { revision: self.revision, ..Self::default() }
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

    /// The names in which this differs from the state published just before it, if `revision` is
    /// that one's: spares the full comparison in the usual case.
    pub(crate) fn touched_since(&self, revision: Revision) -> Option<&[ResourceName]> {
        (revision == self.before).then_some(self.touched.as_slice())
    }
}

/// The digest of a table of these, in any order.
pub(crate) fn digest_of_table(held: impl Iterator<Item = (ResourceName, Digest)>) -> Digest {
    let mut sorted: Vec<_> = held.map(|(name, digest)| (name.to_string(), digest)).collect();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    table_digest(sorted.iter().map(|(name, digest)| (name.as_str(), *digest)))
}
