//! The log of revocations: versions of resources that must never serve again.

use std::collections::HashSet;
use std::io;

use model::{Digest, Resource, ResourceName};

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
        let (name, digest) = (resource.name().to_string(), resource.digest());
        self.entries.iter().any(|entry| entry.1 == digest && entry.0 == name)
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

    /// Forgets what the table holds again, because control has pushed it anew; says whether there
    /// was any.
    pub(super) fn forgive(&mut self, table: &[Resource]) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        let held: HashSet<_> = table.iter().map(|resource| (resource.name().to_string(), resource.digest())).collect();
        let before = self.entries.len();
        self.entries.retain(|entry| !held.contains(entry));
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
