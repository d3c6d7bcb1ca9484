//! How long a one-time link is to live.

use utoipa::ToSchema;

use crate::rest::fields::{Fields, number};
use crate::sign_in::link::{LONGEST, SHORTEST};

/// A one-time link to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = NewSignInLink)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignInLinkCreate {
    /// Seconds until it ends, used or not; a day when absent.
    #[schema(minimum = 900, maximum = 86400, nullable = false)]
    ttl: Option<u64>,
}

/// The seconds that it is to live.
pub(crate) fn create(fields: &mut Fields) -> u64 {
    let range = SHORTEST.as_secs()..=LONGEST.as_secs();
    fields.optional("ttl", number(range)).unwrap_or(LONGEST.as_secs())
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<SignInLinkCreate, _>(create);
    }
}
