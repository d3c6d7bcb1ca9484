//! Single secrets of a server's global connection.

use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::is_masked;
use crate::rest::code::Code;
use crate::rest::fields::{Fields, Wrong, text};

/// Characters of one.
const MAX_SECRET: usize = 8 << 10;

/// Secrets to put in place, never shown again. What is absent or empty stays as it is.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = CredentialsChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialsChange {
    /// The secret `api_key`.
    #[schema(max_length = 8192)]
    api_key: Option<String>,
    /// The secret `access_token`.
    #[schema(max_length = 8192)]
    token: Option<String>,
}

/// Reads the body: `api_key` and `token`.
pub(crate) fn change(fields: &mut Fields) -> [Option<String>; 2] {
    ["api_key", "token"].map(|name| fields.optional(name, secret).filter(|text| !text.is_empty()))
}

fn secret(value: Value) -> Result<String, Wrong> {
    let text = text(MAX_SECRET)(value)?;
    if is_masked(&text) {
        let detail = "looks masked: send the value itself, or leave the field away";
        return Err((Code::MaskedValueRejected, detail.to_owned()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        super::super::tests::agree::<CredentialsChange, _>(change);
    }

    #[test]
    fn absent_and_empty_secrets_stay_and_masks_are_refused() {
        let mut fields = Fields::of(json!({"api_key": "", "token": "t"})).unwrap();
        assert_eq!(change(&mut fields), [None, Some("t".to_owned())]);
        assert!(fields.finish().is_ok());
        let mut fields = Fields::of(json!({"api_key": "***", "other": 1})).unwrap();
        change(&mut fields);
        let codes: Vec<_> = fields.finish().unwrap_err().into_iter().map(|wrong| (wrong.field, wrong.code)).collect();
        assert_eq!(
            codes,
            [("api_key".to_owned(), Code::MaskedValueRejected), ("other".to_owned(), Code::UnknownField)]
        );
    }
}
