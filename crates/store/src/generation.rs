//! What a caller expects of a record that it read before.

use model::Generation;

use crate::StoreError;

/// `Stale` unless the record is where the caller expects it.
pub(crate) fn expect(current: Generation, expected: Option<Generation>) -> Result<(), StoreError> {
    match expected {
        Some(expected) if expected != current => Err(StoreError::Stale { current }),
        _ => Ok(()),
    }
}
