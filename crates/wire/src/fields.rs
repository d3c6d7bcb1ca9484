//! Reading the fields of a message: every error names the field that is wrong.

use std::fmt::Display;
use std::str::FromStr;

use model::{Digest, Principal, ResourceName, Revision};

use crate::generated;

/// A message that can't be read, and the field that is to blame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {reason}")]
pub struct Malformed {
    /// The field's name in `proto/`.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

impl Malformed {
    pub(crate) fn new(field: &'static str, reason: impl Display) -> Self {
        Self { field, reason: reason.to_string() }
    }

    pub(crate) fn missing(field: &'static str) -> Self {
        Self::new(field, "missing")
    }
}

/// Reads a text field into its noun.
pub(crate) fn parsed<T: FromStr<Err: Display>>(field: &'static str, text: &str) -> Result<T, Malformed> {
    text.parse().map_err(|error| Malformed::new(field, error))
}

/// Reads an optional text field into its noun.
pub(crate) fn parsed_option<T: FromStr<Err: Display>>(
    field: &'static str,
    text: Option<&str>,
) -> Result<Option<T>, Malformed> {
    text.map(|text| parsed(field, text)).transpose()
}

/// Reads the 32 bytes of a digest.
pub(crate) fn digest(field: &'static str, bytes: &[u8]) -> Result<Digest, Malformed> {
    Digest::from_slice(bytes).ok_or_else(|| Malformed::new(field, "not 32 bytes"))
}

/// Reads a revision, which must be there.
pub(crate) fn revision(message: Option<generated::Revision>) -> Result<Revision, Malformed> {
    let message = message.ok_or_else(|| Malformed::missing("revision"))?;
    Ok(Revision { epoch: message.epoch, seq: message.seq })
}

/// Writes a revision.
pub(crate) fn revision_message(revision: Revision) -> Option<generated::Revision> {
    Some(generated::Revision { epoch: revision.epoch, seq: revision.seq })
}

/// Reads a list of what a table holds.
pub(crate) fn held(messages: &[generated::Held]) -> Result<Vec<(ResourceName, Digest)>, Malformed> {
    messages.iter().map(|held| Ok((parsed("held.name", &held.name)?, digest("held.digest", &held.digest)?))).collect()
}

/// Writes a list of what a table holds.
pub(crate) fn held_messages(held: &[(ResourceName, Digest)]) -> Vec<generated::Held> {
    held.iter().map(|(name, digest)| generated::Held { name: name.to_string(), digest: digest.0.to_vec() }).collect()
}

/// Reads a principal, which must be there.
pub(crate) fn principal(message: Option<generated::Principal>) -> Result<Principal, Malformed> {
    let message = message.ok_or_else(|| Malformed::missing("principal"))?;
    Ok(Principal {
        tenant: parsed("principal.tenant", &message.tenant)?,
        user: parsed_option("principal.user", message.user.as_deref())?,
        key: parsed_option("principal.key", Some(message.key.as_str()).filter(|key| !key.is_empty()))?,
    })
}

/// Writes a principal.
pub(crate) fn principal_message(principal: &Principal) -> Option<generated::Principal> {
    Some(generated::Principal {
        tenant: principal.tenant.to_string(),
        user: principal.user.map(|user| user.to_string()),
        key: principal.key.map(|key| key.to_string()).unwrap_or_default(),
    })
}
