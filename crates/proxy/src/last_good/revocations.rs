//! The log of revocations: versions of resources that must never serve again, and grants that were taken back.

use std::collections::HashSet;
use std::io;

use model::{Digest, GrantId, Resource, ResourceKind, ResourceName, RevokedGrant};

use super::file::{Folder, Purpose};

const NAME: &str = "revocations";
/// The oldest entries go beyond this; by then both generations have been written long since.
const CAPACITY: usize = 4_096;

/// What was revoked, oldest first.
#[derive(Debug, Default)]
pub(super) struct Revocations {
    entries: Vec<(String, Digest)>,
    unreadable: bool,
    /// Something was revoked that a file on disk may still bring back.
    owed: bool,
}

impl Revocations {
    /// Reads the log; a missing one is empty, a damaged one remembers that it was.
    pub(super) fn load(folder: &Folder) -> Self {
        let read = folder.read(Purpose::Revocations, NAME).and_then(|bytes| parse(&bytes));
        match read {
            Some(entries) => Self { entries, ..Self::default() },
            None => Self { unreadable: folder.has(NAME), ..Self::default() },
        }
    }

    /// Whether the log can be relied on.
    pub(super) fn readable(&self) -> bool {
        !self.unreadable
    }

    /// Whether this very version of the resource was revoked.
    pub(super) fn revokes(&self, resource: &Resource) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        if says_revoked(resource.name().kind()) {
            return false;
        }
        let (name, digest) = (resource.name().to_string(), resource.digest());
        self.entries.iter().any(|entry| entry.1 == digest && entry.0 == name)
    }

    /// Puts the grants that were taken back into a table that has not heard of it. Which tenant's they are is
    /// told by the digest; those of tenants that are gone open nothing.
    pub(super) fn take_back(&self, table: &mut Vec<Resource>) {
        let taken_back: Vec<_> =
            self.entries.iter().filter_map(|(name, digest)| Some((grant(name)?, *digest))).collect();
        if taken_back.is_empty() {
            return;
        }
        let held: HashSet<ResourceName> = table.iter().map(Resource::name).collect();
        let tenants: Vec<_> = table
            .iter()
            .filter_map(|resource| match resource {
                Resource::Tenant(tenant) => Some(tenant.id),
                _ => None,
            })
            .collect();
        for (id, digest) in taken_back {
            let mut grants = tenants.iter().map(|tenant| RevokedGrant { id, tenant: *tenant });
            if !held.contains(&ResourceName::Revoked(id))
                && let Some(grant) = grants.find(|grant| grant.digest() == digest)
            {
                table.push(Resource::Revoked(grant));
            }
        }
    }

    /// Notes revoked versions; they are owed to the disk until [`Revocations::paid`].
    pub(super) fn add(&mut self, revoked: &[(ResourceName, Digest)]) {
        self.owed = true;
        self.entries.extend(revoked.iter().map(|(name, digest)| (name.to_string(), *digest)));
        let beyond = self.entries.len().saturating_sub(CAPACITY);
        self.entries.drain(..beyond);
    }

    /// Whether a revocation is not on disk yet.
    pub(super) fn owed(&self) -> bool {
        self.owed
    }

    /// No file on disk brings anything back that was revoked.
    pub(super) fn paid(&mut self) {
        self.owed = false;
    }

    /// Forgets what the table holds again, because control has pushed it anew, and the grants that it does not hold
    /// any more, because their last token has ended; says whether there was any.
    pub(super) fn forgive(&mut self, table: &[Resource]) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let held: HashSet<_> = table.iter().map(|resource| (resource.name().to_string(), resource.digest())).collect();
        let before = self.entries.len();
        self.entries.retain(|entry| held.contains(entry) == grant(&entry.0).is_some());
        self.entries.len() < before
    }

    /// Writes the log, synced.
    pub(super) fn save(&mut self, folder: &Folder) -> io::Result<()> {
        let mut text = String::new();
        for (name, digest) in &self.entries {
            text.push_str(name);
            text.push(' ');
            digest.0.iter().for_each(|byte| text.push_str(&format!("{byte:02x}")));
            text.push('\n');
        }
        let staged = folder.stage(Purpose::Revocations, NAME, text.as_bytes())?;
        folder.commit(staged)?;
        self.unreadable = false;
        Ok(())
    }
}

/// Whether a resource of this kind takes something away by being there.
fn says_revoked(kind: ResourceKind) -> bool {
    kind == ResourceKind::Revoked
}

/// The grant that an entry is about, if it is about one.
fn grant(name: &str) -> Option<GrantId> {
    match name.parse() {
        Ok(ResourceName::Revoked(id)) => Some(id),
        _ => None,
    }
}

fn parse(bytes: &[u8]) -> Option<Vec<(String, Digest)>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let entry = |line: &str| {
        let (name, hex) = line.split_once(' ')?;
        let bytes: Option<Vec<u8>> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect();
        Some((name.to_owned(), Digest::from_slice(&bytes?)?))
    };
    text.lines().map(entry).collect()
}
