//! What keys are rotated.

use serde_json::Value;
use utoipa::ToSchema;

use crate::rest::code::Code;
use crate::rest::fields::{Fields, Wrong, words};

/// What keys are rotated.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = Rotate)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateBody {
    /// `kek`: all data keys are wrapped under the key that control's configuration names first. `tenant`: data keys
    /// make room for new ones, and all that they sealed is sealed anew.
    #[schema(pattern = "^(kek|tenant)$")]
    what: String,
    /// Whose data key, by name or id; of all tenants and the platform when absent.
    tenant: Option<String>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rotate {
    /// The KEK, not data keys.
    pub(crate) kek: bool,
    pub(crate) tenant: Option<String>,
}

/// Reads it; `None` when something is wrong, which `fields` then knows.
pub(crate) fn rotate(fields: &mut Fields) -> Option<Rotate> {
    let kek = fields.required("what", is_kek);
    let tenant = fields.optional("tenant", words(64));
    if kek == Some(true) && tenant.is_some() {
        fields.wrong("tenant", (Code::UnknownField, "one key is above those of all tenants".to_owned()));
    }
    Some(Rotate { kek: kek?, tenant })
}

fn is_kek(value: Value) -> Result<bool, Wrong> {
    match value.as_str() {
        Some("kek") => Ok(true),
        Some("tenant") => Ok(false),
        _ => Err((Code::Type, "must be `kek` or `tenant`".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<RotateBody, _>(rotate);
    }
}
