//! Standard output: tables for people, or one JSON document.

use std::io::{self, Write};

use serde_json::Value;

use crate::failure::Failure;

/// How answers are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Screen {
    /// For people.
    Text,
    /// One JSON document on one line.
    Json,
}

impl Screen {
    /// As `--json` says.
    pub(crate) fn new(json: bool) -> Self {
        if json { Self::Json } else { Self::Text }
    }

    /// Prints the document for programs, or what `text` makes of it for people.
    pub(crate) fn show(self, document: &Value, text: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        match self {
            Self::Json => line(&document.to_string()),
            Self::Text => line(text(document).trim_end()),
        }
    }
}

/// Writes one line to standard output at once. A reader that went away ends the command quietly.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::NobodyReads,
        _ => Failure::caused("can't write to standard output", error),
    })
}

/// Writes a line beside the answer to standard error, so that what takes the answer gets nothing else.
pub(crate) fn beside(text: &str) -> Result<(), Failure> {
    writeln!(io::stderr().lock(), "{text}").map_err(|error| Failure::caused("can't write to standard error", error))
}

/// A table with a head; columns are as wide as their widest cell. Control characters in cells are
/// shown as `?`, because titles and descriptions come from elsewhere and terminals obey them.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> = rows.iter().map(|row| row.each_ref().map(|cell| plain(cell))).collect();
    let mut widths = head.map(|title| title.chars().count());
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let heads = [head.map(str::to_owned)];
    for row in heads.iter().chain(&rows) {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The text without control characters.
pub(crate) fn plain(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// The member as text: strings bare, absent and null as nothing, the rest as JSON.
pub(crate) fn cell(object: &Value, member: &str) -> String {
    match object.get(member) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// `enabled` or `disabled`, as this flag of the record says.
pub(crate) fn state(record: &Value, flag: &str) -> String {
    let on = record.get(flag).and_then(Value::as_bool).unwrap_or(true);
    if on { "enabled" } else { "disabled" }.to_owned()
}

/// A list of names in one cell: texts, or objects that have a name.
pub(crate) fn names(record: &Value, member: &str) -> String {
    let items = record.get(member).and_then(Value::as_array).into_iter().flatten();
    let name = |item: &Value| match item {
        Value::String(text) => text.clone(),
        object => cell(object, "name"),
    };
    items.map(name).collect::<Vec<_>>().join(",")
}

/// A record, member by member.
pub(crate) fn members(record: &Value) -> String {
    let Some(members) = record.as_object() else { return String::new() };
    let value = |member: &String| match record.get(member) {
        Some(Value::Array(items)) if items.iter().all(|item| item.is_string() || item.get("name").is_some()) => {
            names(record, member)
        }
        _ => cell(record, member),
    };
    table(["FIELD", "VALUE"], &members.keys().map(|member| [member.clone(), value(member)]).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = [["notes".to_owned(), "on".to_owned()], ["x".to_owned(), "off".to_owned()]];
        assert_eq!(table(["NAME", "STATE"], &rows), "NAME   STATE\nnotes  on\nx      off\n");
    }

    #[test]
    fn a_title_cannot_command_the_terminal() {
        let rows = [["\u{1b}[2Jboo\n".to_owned()]];
        assert_eq!(table(["TITLE"], &rows), "TITLE\n?[2Jboo?\n");
    }

    #[test]
    fn cells_of_any_kind_have_a_text() {
        let object = serde_json::json!({"a": "x", "b": 3, "c": null, "d": ["y"]});
        let cells = ["a", "b", "c", "d", "e"].map(|member| cell(&object, member));
        assert_eq!(cells, ["x", "3", "", "[\"y\"]", ""]);
    }

    #[test]
    fn a_record_is_told_member_by_member() {
        let record = serde_json::json!({"name": "n", "tags": ["a", "b"], "departments": [{"id": "1", "name": "labs"}],
            "limits": {"call_secs": 9}, "icon": null});
        let expected = "\
FIELD        VALUE
departments  labs
icon
limits       {\"call_secs\":9}
name         n
tags         a,b
";
        assert_eq!(members(&record), expected);
    }
}
