//! One step of a plan as one request.

use std::path::Path;

use model::Secret;
use serde_json::{Map, Value, json};

use super::super::secret::Source;
use crate::api::Api;
use crate::declared::{Action, CLIENT_SECRET, FieldChange, Kind, Record, Reference, Step, reference};
use crate::failure::Failure;

/// Sends the step. `api` works on the tenant in which the record stands.
pub(super) async fn carry_out(api: &Api, step: &Step) -> Result<Value, Failure> {
    let path = step.kind.path();
    let answer = match &step.action {
        Action::Create(record) => api.post(&[path], &with_secret(step, create_body(step.kind, record))?).await?,
        Action::Change { held, to, changes } => {
            let body = with_secret(step, change_body(step.kind, to, changes))?;
            api.patch(&[path, &held.id], Some(&held.version), &body).await?
        }
        Action::Switch { active } => {
            api.post(&[path, &step.name, if *active { "enable" } else { "disable" }], &json!({})).await?
        }
        Action::Delete(held) => api.delete(&[path, &held.id], &[], Some(&held.version)).await?,
    };
    Ok(answer.body)
}

/// Whether the secret that the step refers to is there, so that no run ends in the middle for want of one.
pub(super) fn check(step: &Step) -> Result<(), Failure> {
    secret(step).map(drop)
}

/// The secret in the place of the reference to it.
fn with_secret(step: &Step, mut body: Value) -> Result<Value, Failure> {
    if let (Some(secret), Value::Object(members)) = (secret(step)?, &mut body) {
        members.insert(CLIENT_SECRET.to_owned(), secret.expose().into());
    }
    Ok(body)
}

/// What the step sends as a client's secret, if it refers to one.
fn secret(step: &Step) -> Result<Option<Secret>, Failure> {
    let named = match &step.action {
        Action::Create(record) => record.get(step.kind, CLIENT_SECRET),
        Action::Change { changes, .. } => match changes.iter().find(|change| change.field == CLIENT_SECRET) {
            Some(change) => &change.to,
            None => return Ok(None),
        },
        Action::Switch { .. } | Action::Delete(_) => return Ok(None),
    };
    match named.as_str().and_then(reference) {
        Some(Reference::Variable(name)) => Source::Variable(name).read().map(Some),
        Some(Reference::File(path)) => Source::File(Path::new(path)).read().map(Some),
        None => Ok(None),
    }
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
        // Some are switched by an action of their own, and a secret is not what its field says.
        let goes_apart = kind.switch() == Some(field.name) || (kind, field.name) == (Kind::Issuer, CLIENT_SECRET);
        if !value.is_null() && !goes_apart || field.name == "stale_after_secs" {
            put(&mut body, field.name, value.clone());
        }
    }
    match kind {
        Kind::Server => _ = body.insert("skip_validation".to_owned(), true.into()),
        Kind::Issuer => _ = body.insert("unchecked".to_owned(), true.into()),
        Kind::Tenant | Kind::Egress | Kind::Department | Kind::User | Kind::Key => (),
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
    use crate::declared::Whose;

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
    fn an_issuers_secret_is_read_where_the_document_says_that_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        crate::home::replace(&path, 0o600, "s3cret\n").unwrap();
        let step = |secret: &str| {
            let record = Record::new(Kind::Issuer, "corp", |field| match field.name {
                "issuer" => Some("https://id".into()),
                CLIENT_SECRET => Some(secret.into()),
                _ => None,
            });
            Step { whose: Whose::Own, kind: Kind::Issuer, name: "corp".to_owned(), action: Action::Create(record) }
        };
        let body = |step: &Step| match &step.action {
            Action::Create(record) => with_secret(step, create_body(Kind::Issuer, record)),
            _ => unreachable!(),
        };
        let sent = body(&step(&format!("file:{}", path.display()))).unwrap();
        assert_eq!((&sent["client_secret"], &sent["unchecked"]), (&json!("s3cret"), &json!(true)));
        assert!(sent.get("enabled").is_none());
        assert!(body(&step("held")).unwrap().get("client_secret").is_none());
        assert!(check(&step("env:GATEHOUSE_TEST_NOT_SET")).is_err());
        assert!(check(&step("held")).is_ok());
    }

    #[test]
    fn of_a_group_everything_is_sent() {
        let changes = [FieldChange { field: "limits.call_secs", from: json!(9), to: Value::Null }];
        let body = change_body(Kind::Server, &server(Value::Null), &changes);
        assert_eq!(body, json!({"limits": {"concurrent": null, "response_bytes": null, "call_secs": null}}));
    }
}
