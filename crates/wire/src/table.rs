//! The content of a proxy's last good table file.

use model::{Resource, Revision};
use prost::Message as _;

use crate::fields::{revision, revision_message};
use crate::{Malformed, generated};

/// What a file of [`table_to_bytes`] held.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What the table was at.
    pub revision: Revision,
    /// What it held.
    pub resources: Vec<Resource>,
}

/// Writes a table. Holds no secret.
pub fn table_to_bytes(revision: Revision, resources: &[Resource]) -> Vec<u8> {
    let resources = resources.iter().map(Into::into).collect();
    generated::LastGood { revision: revision_message(revision), resources }.encode_to_vec()
}

/// Reads a table; one that holds a single unreadable resource is unreadable: the bytes were
/// written by this program and authenticated, so something is wrong with all of it.
pub fn table_from_bytes(bytes: &[u8]) -> Result<Table, Malformed> {
    let message = generated::LastGood::decode(bytes).map_err(|error| Malformed::new("last_good", error))?;
    Ok(Table {
        revision: revision(message.revision)?,
        resources: message.resources.into_iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resource::tests::resource;

    proptest! {
        #[test]
        fn a_table_reads_back(resources in prop::collection::vec(resource(), 0..8), epoch: i64, seq: i64) {
            let revision = Revision { epoch, seq };
            let bytes = table_to_bytes(revision, &resources);
            prop_assert_eq!(table_from_bytes(&bytes).unwrap(), Table { revision, resources });
        }

        #[test]
        fn other_bytes_are_refused_or_read_without_a_panic(bytes: Vec<u8>) {
            let _ = table_from_bytes(&bytes);
        }
    }
}
