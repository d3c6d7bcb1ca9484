//! `gatehouse recover`.

use serde_json::{Value, json};

use crate::api::Api;
use crate::args::Recover;
use crate::failure::Failure;
use crate::screen::{Screen, cell, plain};

/// Has control compare and heal, and tells what it found.
pub(super) async fn run(api: &Api, recover: &Recover, screen: Screen) -> Result<(), Failure> {
    let body = json!({ "dry_run": recover.dry_run, "prune": recover.prune });
    let report = api.post(&["recover"], &body).await?.body;
    screen.show(&report, told)
}

/// The report's members, indented by depth: whatever control reports is shown.
fn told(report: &Value) -> String {
    let mut text = String::new();
    lines(report, 0, &mut text);
    text
}

fn lines(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(members) => {
            for (member, value) in members {
                let nested = matches!(value, Value::Object(inner) if !inner.is_empty())
                    || matches!(value, Value::Array(inner) if !inner.is_empty());
                if nested {
                    text.push_str(&format!("{indent}{member}\n"));
                    lines(value, depth + 1, text);
                } else {
                    text.push_str(&format!("{indent}{member}: {}\n", plain(&shown(value))));
                }
            }
        }
        Value::Array(items) => {
            for item in items {
                match item {
                    Value::Object(members) => {
                        let cells: Vec<_> =
                            members.keys().map(|member| format!("{member} {}", plain(&cell(item, member)))).collect();
                        text.push_str(&format!("{indent}- {}\n", cells.join(", ")));
                    }
                    other => text.push_str(&format!("{indent}- {}\n", plain(&shown(other)))),
                }
            }
        }
        other => text.push_str(&format!("{indent}{}\n", plain(&shown(other)))),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        Value::Null => "none".to_owned(),
        other => other.to_string(),
    }
}
