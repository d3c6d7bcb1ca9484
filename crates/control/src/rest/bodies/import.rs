//! Rows of another system.

use std::collections::BTreeMap;

use model::{Secret, ServerId};
use serde_json::Value;
use utoipa::ToSchema;

use crate::auth::SecretJson;
use crate::import::Source;
use crate::rest::code::Code;
use crate::rest::fields::{Fields, Wrong, flag, text};

/// Rows of one request.
const MAX_ROWS: usize = 50;
/// Characters of the old system's key.
const MAX_KEY: usize = 4096;
/// The highest number of a line.
const MAX_LINE: u64 = 1_000_000_000;
/// Servers that rows may refer to.
const MAX_SERVERS: usize = 10_000;

/// Rows of another system.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = Import)]
#[serde(deny_unknown_fields)]
pub(crate) struct ImportBody {
    /// Whose: `yuxi`, `weknora` or `nexent`.
    #[schema(pattern = "^(yuxi|weknora|nexent)$")]
    from: String,
    /// Only say what would become of them; false when absent.
    dry_run: Option<bool>,
    /// The key with which that system has encrypted; it is kept nowhere.
    #[schema(max_length = 4096)]
    key: Option<String>,
    /// Servers of earlier rows by what these are called there; null for one that was not made.
    servers: Option<BTreeMap<String, Option<String>>>,
    /// The rows, those of servers before those that refer to them.
    #[schema(max_items = 50)]
    rows: Vec<ImportRowBody>,
}

/// A row.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = ImportRow)]
pub(crate) struct ImportRowBody {
    /// Its number, for the report.
    #[schema(minimum = 0, maximum = 1000000000)]
    line: u64,
    /// Its columns.
    row: BTreeMap<String, serde_json::Value>,
}

/// What was asked for.
pub(crate) struct Given {
    pub(crate) from: Source,
    pub(crate) dry_run: bool,
    pub(crate) key: Option<Secret>,
    pub(crate) servers: BTreeMap<String, Option<ServerId>>,
    pub(crate) rows: Vec<(u64, SecretJson)>,
}

/// Reads it; `None` when something is wrong, which `fields` then knows.
pub(crate) fn import(fields: &mut Fields) -> Option<Given> {
    let from = fields.required("from", source);
    let dry_run = fields.optional("dry_run", flag).unwrap_or(false);
    let key = fields.optional("key", text(MAX_KEY)).map(Secret::new);
    let servers = fields.optional("servers", servers).unwrap_or_default();
    let rows = fields.required("rows", rows);
    Some(Given { from: from?, dry_run, key, servers, rows: rows? })
}

fn source(value: Value) -> Result<Source, Wrong> {
    let source = value.as_str().and_then(Source::parse);
    source.ok_or_else(|| (Code::Type, "must be `yuxi`, `weknora` or `nexent`".to_owned()))
}

fn servers(value: Value) -> Result<BTreeMap<String, Option<ServerId>>, Wrong> {
    let wrong = || (Code::Type, "must be an object of servers' ids or nulls".to_owned());
    let Value::Object(members) = value else { return Err(wrong()) };
    if members.len() > MAX_SERVERS {
        return Err((Code::TooMany, format!("at most {MAX_SERVERS}")));
    }
    members
        .into_iter()
        .map(|(key, id)| match id {
            Value::Null => Ok((key, None)),
            Value::String(id) => Ok((key, Some(id.parse().map_err(|_| wrong())?))),
            _ => Err(wrong()),
        })
        .collect()
}

fn rows(value: Value) -> Result<Vec<(u64, SecretJson)>, Wrong> {
    let wrong = || (Code::Type, "must be a list of objects with `line` and `row`".to_owned());
    let Value::Array(items) = value else { return Err(wrong()) };
    if items.len() > MAX_ROWS {
        return Err((Code::TooMany, format!("at most {MAX_ROWS}")));
    }
    let row = |mut item: Value| {
        let line = item.get("line").and_then(Value::as_u64).filter(|line| *line <= MAX_LINE).ok_or_else(wrong)?;
        let row = item.get_mut("row").filter(|row| row.is_object()).ok_or_else(wrong)?;
        Ok((line, SecretJson::new(row.take())))
    };
    items.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<ImportBody, _>(import);
    }
}
