//! A login at an upstream that is to be begun.

use model::Scope;
use utoipa::ToSchema;

use super::connection::scope;
use crate::rest::fields::{Fields, text, words};
use crate::rest::views::ScopeTypeView;

/// Characters of where somebody wants to be afterwards.
const MAX_RETURN: usize = 2048;

/// A login to be begun; everything has a default.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = LoginCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginCreate {
    /// How many share the connection. When absent: the caller's own; for a key of nobody everybody's.
    scope_type: Option<ScopeTypeView>,
    /// The department or the user, by id, name or login; when absent, the caller. Whoever is named must sign in
    /// themselves.
    #[schema(max_length = 256)]
    scope_id: Option<String>,
    /// Where the browser goes afterwards: a path of this service, or a URL that the platform's settings allow.
    #[schema(max_length = 2048)]
    return_url: Option<String>,
}

/// A login as it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) scope: Option<Scope>,
    pub(crate) holder: Option<String>,
    pub(crate) back: Option<String>,
}

/// Reads it.
pub(crate) fn begin(fields: &mut Fields) -> Begin {
    Begin {
        scope: fields.optional("scope_type", scope),
        holder: fields.optional("scope_id", words(256)),
        back: fields.optional("return_url", text(MAX_RETURN)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<LoginCreate, _>(begin);
    }
}
