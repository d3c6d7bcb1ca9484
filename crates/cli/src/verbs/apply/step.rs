//! One step of a plan as one request.

use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::declared::{Action, FieldChange, Kind, Record, Step};
use crate::failure::Failure;

/// Sends the step. `api` works on the tenant in which the record stands.
pub(super) async fn carry_out(api: &Api, step: &Step) -> Result<Value, Failure> {
    let path = step.kind.path();
    let answer = match &step.action {
        Action::Create(record) => api.post(&[path], &create_body(step.kind, record)).await?,
        Action::Change { held, to, changes } => {
            api.patch(&[path, &held.id], Some(&held.version), &change_body(step.kind, to, changes)).await?
        }
        Action::Switch { active } => {
            api.post(&[path, &step.name, if *active { "enable" } else { "disable" }], &json!({})).await?
        }
        Action::Delete(held) => api.delete(&[path, &held.id], &[], Some(&held.version)).await?,
    };
    Ok(answer.body)
}

/// What was done, in a word.
pub(super) fn past(step: &Step) -> &'static str {
    match step.action {
        Action::Create(_) => "created",
        Action::Change { .. } | Action::Switch { .. } => "changed",
        Action::Delete(_) => "removed",
    }
}

/// Everything that the record says, so that control's defaults don't decide.
fn create_body(kind: Kind, record: &Record) -> Value {
    let mut body = Map::new();
    if let Some(name) = kind.named_by() {
        body.insert(name.to_owned(), record.name.clone().into());
    }
    for (field, value) in record.fields(kind) {
        // A tenant is switched by an action of its own.
        if !value.is_null() && (kind, field.name) != (Kind::Tenant, "active") || field.name == "stale_after_secs" {
            put(&mut body, field.name, value.clone());
        }
    }
    if kind == Kind::Server {
        body.insert("skip_validation".to_owned(), true.into());
    }
    body.into()
}

/// What changes; of a group everything, so that the answer doesn't depend on how control merges groups.
fn change_body(kind: Kind, to: &Record, changes: &[FieldChange]) -> Value {
    let mut body = Map::new();
    for change in changes {
        match change.field.split_once('.') {
            None => put(&mut body, change.field, change.to.clone()),
            Some((group, _)) => {
                let of_group = to
                    .fields(kind)
                    .filter(|(field, _)| field.name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.')));
                of_group.for_each(|(field, value)| put(&mut body, field.name, value.clone()));
            }
        }
    }
    body.into()
}

fn put(body: &mut Map<String, Value>, name: &str, value: Value) {
    match name.split_once('.') {
        None => {
            body.insert(name.to_owned(), value);
        }
        Some((group, name)) => {
            if let Value::Object(inner) = body.entry(group).or_insert_with(|| json!({})) {
                inner.insert(name.to_owned(), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(call_secs: Value) -> Record {
        Record::new(Kind::Server, "notes", |field| match field.name {
            "url" => Some("https://h/mcp".into()),
            "limits.call_secs" => Some(call_secs.clone()),
            _ => None,
        })
    }

    #[test]
    fn a_create_leaves_nothing_to_defaults_and_does_not_probe() {
        let body = create_body(Kind::Server, &server(json!(9)));
        assert_eq!(body["name"], "notes");
        assert_eq!(body["read_timeout_ms"], 30_000);
        assert_eq!(body["limits"], json!({"call_secs": 9}));
        assert_eq!(body["skip_validation"], true);
        assert!(body.get("icon").is_none());
    }

    #[test]
    fn a_tenant_that_is_never_stale_says_so_and_is_switched_apart() {
        let tenant = Record::new(Kind::Tenant, "acme", |field| match field.name {
            "stale_after_secs" => Some(Value::Null),
            "active" => Some(false.into()),
            _ => None,
        });
        let body = create_body(Kind::Tenant, &tenant);
        assert_eq!(body.get("stale_after_secs"), Some(&Value::Null));
        assert!(body.get("active").is_none());
    }

    #[test]
    fn of_a_group_everything_is_sent() {
        let changes = [FieldChange { field: "limits.call_secs", from: json!(9), to: Value::Null }];
        let body = change_body(Kind::Server, &server(Value::Null), &changes);
        assert_eq!(body, json!({"limits": {"concurrent": null, "response_bytes": null, "call_secs": null}}));
    }
}
