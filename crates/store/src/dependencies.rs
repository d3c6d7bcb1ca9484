//! What refers to a record, for who wants to erase it.

use model::KeyId;

/// The most references that a summary lists.
pub(crate) const LISTED: u64 = 100;

/// What refers to a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dependencies {
    /// Live keys that name the server, at most 100 of them.
    pub keys: Vec<KeyReference>,
    /// How many there are in all.
    pub key_count: u64,
}

/// A key that refers to a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyReference {
    /// The key's id.
    pub id: KeyId,
    /// The key's label.
    pub label: String,
}

impl Dependencies {
    /// Whether nothing refers to it.
    pub fn is_empty(&self) -> bool {
        self.key_count == 0
    }
}
