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

/// The digest of a whole table, kept while the table changes: the sum, modulo 2^256, of one SHA-256 for each
/// `(name, digest)` pair. Order means nothing, and a change costs one hash whatever else the table holds.
/// It finds drift between two honest sides; it seals nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TableDigest {
    /// The lowest 64 bits first.
    limbs: [u64; 4],
}

impl TableDigest {
    /// Takes in an entry.
    pub fn insert(&mut self, name: &str, digest: Digest) {
        self.add(limbs(name, digest), 0);
    }

    /// Takes out an entry that was taken in with this name and digest.
    pub fn remove(&mut self, name: &str, digest: Digest) {
        // The two's complement.
        self.add(limbs(name, digest).map(|limb| !limb), 1);
    }

    /// The digest of what is in.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("table");
        self.limbs.iter().for_each(|limb| canonical.number(*limb));
        canonical.finish()
    }

    fn add(&mut self, other: [u64; 4], carry: u64) {
        let mut carry = u128::from(carry);
        for (limb, other) in self.limbs.iter_mut().zip(other) {
            let sum = u128::from(*limb) + u128::from(other) + carry;
            *limb = sum as u64;
            carry = sum >> 64;
        }
    }
}

fn limbs(name: &str, digest: Digest) -> [u64; 4] {
    let mut canonical = Canonical::new("entry");
    canonical.text(name);
    canonical.bytes(&digest.0);
    let bytes = canonical.finish().0;
    let mut limbs = [0; 4];
    for (limb, bytes) in limbs.iter_mut().zip(bytes.chunks_exact(8)) {
        *limb = bytes.iter().rev().fold(0, |limb, byte| limb << 8 | u64::from(*byte));
    }
    limbs
}

/// The digest of a table of these entries, in any order. Heartbeats carry it in both directions.
pub fn table_digest<'a>(entries: impl Iterator<Item = (&'a str, Digest)>) -> Digest {
    let mut table = TableDigest::default();
    entries.for_each(|(name, digest)| table.insert(name, digest));
    table.digest()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_that_changed_has_the_digest_of_what_it_holds(
            entries in prop::collection::hash_map("[a-z]{1,8}", any::<[u8; 32]>(), 0..20),
            gone in prop::collection::hash_map("[0-9]{1,8}", any::<[u8; 32]>(), 0..20),
        ) {
            let mut table = TableDigest::default();
            gone.iter().for_each(|(name, bytes)| table.insert(name, Digest(*bytes)));
            entries.iter().for_each(|(name, bytes)| table.insert(name, Digest(*bytes)));
            gone.iter().for_each(|(name, bytes)| table.remove(name, Digest(*bytes)));
            let whole = table_digest(entries.iter().map(|(name, bytes)| (name.as_str(), Digest(*bytes))));
            prop_assert_eq!(table.digest(), whole);
        }
    }

    #[test]
    fn every_name_and_digest_counts() {
        let [one, two] = [Digest([1; 32]), Digest([2; 32])];
        let tables: [&[(&str, Digest)]; 6] =
            [&[], &[("a", one)], &[("a", two)], &[("b", one)], &[("a", one), ("a", one)], &[("a", one), ("b", one)]];
        let digests: std::collections::HashSet<_> =
            tables.iter().map(|table| table_digest(table.iter().copied())).collect();
        assert_eq!(digests.len(), tables.len());
    }
}
