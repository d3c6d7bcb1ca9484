//! A call of a tool.

use serde_json::Value;
use utoipa::ToSchema;

use crate::rest::code::Code;
use crate::rest::fields::{Fields, words};

/// A call of a tool.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ToolCall)]
#[serde(deny_unknown_fields)]
pub(crate) struct ToolCall {
    /// The upstream's name of the tool.
    #[schema(min_length = 1, max_length = 256)]
    tool: String,
    /// Login or id of the user as whom it is called; for keys with the scope `act_as`.
    #[schema(min_length = 1, max_length = 128)]
    r#as: Option<String>,
    /// What the tool is given; passed on as it is written here.
    #[schema(value_type = Option<Object>)]
    arguments: Option<Value>,
}

/// A call as it was read, without the arguments.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) tool: String,
    /// Login or id.
    pub(crate) user: Option<String>,
}

/// Reads a call, and checks that the arguments are an object; they are passed on as they came. `None` when something
/// is wrong, which `fields` then knows.
pub(crate) fn call(fields: &mut Fields) -> Option<Call> {
    let tool = fields.required("tool", words(256));
    let user = fields.optional("as", words(128));
    fields.optional("arguments", |value| match value {
        Value::Object(_) => Ok(()),
        _ => Err((Code::Type, "must be an object".to_owned())),
    });
    Some(Call { tool: tool?, user })
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<ToolCall, _>(call);
    }
}
