//! Digests of resources and of whole tables, so that two processes can compare what they hold.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// SHA-256 over the canonical form of a resource.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Reads the 32 bytes of a digest; `None` for any other length.
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().take(6).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Feeds length-prefixed fields into SHA-256: no field can move its meaning into its neighbour.
pub(crate) struct Canonical(Sha256);

impl Canonical {
    pub(crate) fn new(kind: &str) -> Self {
        let mut canonical = Self(Sha256::new());
        canonical.text("gatehouse/resource/v1");
        canonical.text(kind);
        canonical
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn number(&mut self, number: u64) {
        self.0.update(number.to_be_bytes());
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The digest of a whole table: SHA-256 over its `(name, digest)` pairs, which must come sorted by
/// name. Heartbeats carry it in both directions.
pub fn table_digest<'a>(sorted: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let mut canonical = Canonical::new("table");
    for (name, digest) in sorted {
        canonical.text(name);
        canonical.bytes(&digest.0);
    }
    canonical.finish()
}
