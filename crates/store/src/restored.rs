//! What came back from the dead.

/// A restored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored<T> {
    /// The record as it is now.
    pub record: T,
    /// What was erased when it was deleted and must be entered again, by the names of the fields.
    pub enter_again: Vec<&'static str>,
}

impl<T> Restored<T> {
    /// A record that lost nothing.
    pub(crate) fn whole(record: T) -> Self {
        Self { record, enter_again: Vec::new() }
    }
}
