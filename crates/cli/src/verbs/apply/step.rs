//! One step of a plan as one request.

use std::path::Path;

use model::Secret;
use serde_json::{Map, Value, json};

use super::super::connections::credential;
use super::super::secret::Source;
use crate::api::Api;
use crate::declared::{
    AUTH, AUTH_SECRETS, Action, CLIENT_SECRET, CREDENTIAL, FieldChange, Kind, Record, Reference, Step, reference,
};
use crate::failure::Failure;

/// Sends the step. `api` works on the tenant in which the record stands; files of secrets are named from `folder` on.
pub(super) async fn carry_out(api: &Api, step: &Step, folder: &Path) -> Result<Value, Failure> {
    let path = step.kind.path();
    let answer = match &step.action {
        Action::Create(record) => {
            let body = with_secrets(step, folder, create_body(step.kind, record))?;
            api.post(&[path], &body).await?
        }
        Action::Change { held, to, changes } => {
            let body = with_secrets(step, folder, change_body(step.kind, to, changes))?;
            api.patch(&[path, &held.id], Some(&held.version), &body).await?
        }
        Action::Switch { active } => {
            api.post(&[path, &step.name, if *active { "enable" } else { "disable" }], &json!({})).await?
        }
        Action::Delete(held) => api.delete(&[path, &held.id], &[], Some(&held.version)).await?,
    };
    Ok(answer.body)
}

/// Whether the secrets that the step refers to are there, so that no run ends in the middle for want of one.
pub(super) fn check(step: &Step, folder: &Path) -> Result<(), Failure> {
    secrets(step, folder).map(drop)
}

/// The secrets in the place of the references to them.
fn with_secrets(step: &Step, folder: &Path, mut body: Value) -> Result<Value, Failure> {
    for (name, secret) in secrets(step, folder)? {
        let members = match AUTH_SECRETS.contains(&name) && step.kind == Kind::Server {
            true => body.get_mut(AUTH),
            false => Some(&mut body),
        };
        if let Some(Value::Object(members)) = members {
            let value = if name == CREDENTIAL { credential(&secret) } else { secret.expose().into() };
            members.insert(name.to_owned(), value);
        }
    }
    Ok(body)
}

/// What the step sends as secrets, of those that it refers to. Settings of authentication go with all of theirs: what
/// changes may send them elsewhere.
fn secrets(step: &Step, folder: &Path) -> Result<Vec<(&'static str, Secret)>, Failure> {
    let decides = if step.kind == Kind::Server { AUTH } else { CLIENT_SECRET };
    let record = match &step.action {
        Action::Create(record) => record,
        Action::Change { to, changes, .. } if changes.iter().any(|change| change.field == decides) => to,
        Action::Change { .. } | Action::Switch { .. } | Action::Delete(_) => return Ok(Vec::new()),
    };
    let of_auth = |name: &'static str| record.get(step.kind, AUTH).get(name).map(|value| (name, value));
    let named: Vec<(&'static str, &Value)> = match step.kind {
        Kind::Issuer => vec![(CLIENT_SECRET, record.get(step.kind, CLIENT_SECRET))],
        Kind::Server => {
            let credential = (CREDENTIAL, record.get(step.kind, CREDENTIAL));
            AUTH_SECRETS.into_iter().filter_map(of_auth).chain([credential]).collect()
        }
        _ => Vec::new(),
    };
    let places = named.into_iter().filter_map(|(name, value)| Some((name, reference(value.as_str()?)?)));
    places
        .map(|(name, place)| {
            let read = match place {
                Reference::Variable(variable) => Source::Variable(variable).read(),
                Reference::File(path) => Source::File(&folder.join(path)).read(),
            };
            read.map(|secret| (name, secret))
        })
        .collect()
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
        let is_secret = matches!((kind, field.name), (Kind::Issuer, CLIENT_SECRET) | (Kind::Server, CREDENTIAL));
        let goes_apart = kind.switch() == Some(field.name) || is_secret;
        if !value.is_null() && !goes_apart || field.name == "stale_after_secs" {
            put(&mut body, field.name, value.clone());
        }
    }
    match kind {
        Kind::Server => _ = body.insert("skip_validation".to_owned(), true.into()),
        Kind::Issuer => _ = body.insert("unchecked".to_owned(), true.into()),
        Kind::Tenant | Kind::Egress | Kind::Department | Kind::User | Kind::Toolset | Kind::Key => (),
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
    use crate::declared::{Names, Whose, held};

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
            Action::Create(record) => with_secrets(step, folder.path(), create_body(Kind::Issuer, record)),
            _ => unreachable!(),
        };
        let sent = body(&step(&format!("file:{}", path.display()))).unwrap();
        assert_eq!((&sent["client_secret"], &sent["unchecked"]), (&json!("s3cret"), &json!(true)));
        assert!(sent.get("enabled").is_none());
        assert!(body(&step("held")).unwrap().get("client_secret").is_none());
        assert!(check(&step("env:GATEHOUSE_TEST_NOT_SET"), folder.path()).is_err());
        assert!(check(&step("held"), folder.path()).is_ok());
    }

    #[test]
    fn a_servers_secrets_are_read_beside_the_document_and_sent_with_its_settings() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, mode, text: &str| {
            crate::home::replace(&folder.path().join(name), mode, text).unwrap();
        };
        write("client", 0o600, "s3cret\n");
        write("credential", 0o600, r#"{"secrets":{"x-one":"t0ken"}}"#);
        let to = Record::new(Kind::Server, "notes", |field| match field.name {
            "url" => Some("https://h/mcp".into()),
            AUTH => Some(json!({"type": "client_credentials", "client_secret": "file:client"})),
            CREDENTIAL => Some("file:credential".into()),
            _ => None,
        });
        let step = |action| Step { whose: Whose::Own, kind: Kind::Server, name: "notes".to_owned(), action };
        let sent = |step: &Step, body| with_secrets(step, folder.path(), body).unwrap();
        let made = sent(&step(Action::Create(to.clone())), create_body(Kind::Server, &to));
        let change = |field, to: &Value| vec![FieldChange { field, from: Value::Null, to: to.clone() }];
        let changed = |changes: Vec<FieldChange>| {
            let body = change_body(Kind::Server, &to, &changes);
            let held = held(Kind::Server, &json!({"id": "s", "name": "notes"}), &Names::default());
            let step = step(Action::Change { held, to: to.clone(), changes });
            (check(&step, folder.path()).is_ok(), sent(&step, body))
        };
        for body in [made, changed(change(AUTH, to.get(Kind::Server, AUTH))).1] {
            assert_eq!(body["auth"]["client_secret"], "s3cret");
            assert_eq!(body["credential"], json!({"secrets": {"x-one": "t0ken"}}));
        }
        assert_eq!(changed(change("title", &json!("N"))), (true, json!({"title": "N"})));
        write("client", 0o644, "s3cret");
        let refused = check(&step(Action::Create(to.clone())), folder.path()).unwrap_err();
        assert!(!refused.to_string().contains("s3cret"), "{refused}");
    }

    #[test]
    fn of_a_group_everything_is_sent() {
        let changes = [FieldChange { field: "limits.call_secs", from: json!(9), to: Value::Null }];
        let body = change_body(Kind::Server, &server(Value::Null), &changes);
        assert_eq!(body, json!({"limits": {"concurrent": null, "response_bytes": null, "call_secs": null}}));
    }
}
