//! A token in the name of a user.

use std::time::Duration;

use utoipa::ToSchema;

use crate::rest::fields::{Fields, number, words};

/// Seconds that a token lives when nobody says, and at most.
const DEFAULT_TTL: u64 = 300;
const MAX_TTL: u64 = 900;

/// A token to be made.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = TokenCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenCreate {
    /// Login or id of the user in whose name it is.
    #[schema(min_length = 1, max_length = 128)]
    user: String,
    /// Name or id of the one server that it is good for; all that the key may use when absent.
    #[schema(min_length = 1, max_length = 64)]
    server: Option<String>,
    /// Seconds that it lives; 300 when absent.
    #[schema(minimum = 1, maximum = 900)]
    ttl: Option<u64>,
}

/// A token as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Create {
    /// Login or id.
    pub(crate) user: String,
    /// Name or id.
    pub(crate) server: Option<String>,
    pub(crate) ttl: Duration,
}

/// Reads what is asked for; `None` when something is wrong, which `fields` then knows.
pub(crate) fn create(fields: &mut Fields) -> Option<Create> {
    let user = fields.required("user", words(128));
    let server = fields.optional("server", words(64));
    let ttl = fields.optional("ttl", number(1..=MAX_TTL)).unwrap_or(DEFAULT_TTL);
    Some(Create { user: user?, server, ttl: Duration::from_secs(ttl) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<TokenCreate, _>(create);
    }
}
