//! What a pass of recover is to do.

use utoipa::ToSchema;

use crate::rest::fields::{Fields, flag};

/// What a pass of recover is to do.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = Recover)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecoverBody {
    /// Only look.
    dry_run: Option<bool>,
    /// Remove what was mounted past control.
    prune: Option<bool>,
    /// Make records of what was mounted past control.
    adopt: Option<bool>,
}

/// The options, each `None` when nothing was said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) dry_run: Option<bool>,
    pub(crate) prune: Option<bool>,
    pub(crate) adopt: Option<bool>,
}

/// Reads the options.
pub(crate) fn options(fields: &mut Fields) -> Options {
    Options {
        dry_run: fields.optional("dry_run", flag),
        prune: fields.optional("prune", flag),
        adopt: fields.optional("adopt", flag),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<RecoverBody, _>(options);
    }
}
