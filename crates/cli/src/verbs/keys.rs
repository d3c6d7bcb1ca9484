//! `gatehouse key …`.

use serde_json::{Map, Value, json};

use crate::api::Api;
use crate::args::{KeyCreate, KeyVerb};
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// Does one verb.
pub(super) async fn run(api: &Api, verb: KeyVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        KeyVerb::Create(create) => {
            let created = api.post(&["keys"], &create_body(&create)).await?.body;
            screen.show(&created, |created| {
                format!(
                    "{}\n\nKeep it now: it is not shown again. Its id is {}.",
                    cell(created, "key"),
                    cell(created, "id")
                )
            })
        }
        KeyVerb::Ls => screen.show(&api.list(&["keys"], &[]).await?, listed),
        KeyVerb::Revoke { id } => {
            let revoked = api.delete(&["keys", &id], None).await?.body;
            let revoked = if revoked.is_null() { json!({ "revoked": id }) } else { revoked };
            screen.show(&revoked, |_| format!("{id} revoked"))
        }
    }
}

fn create_body(create: &KeyCreate) -> Value {
    let mut body = Map::new();
    body.insert("role".to_owned(), create.role.as_str().into());
    body.insert("label".to_owned(), create.label.clone().into());
    if !create.servers.is_empty() {
        body.insert("servers".to_owned(), create.servers.clone().into());
    }
    if let Some(days) = create.days {
        body.insert("expires_in_days".to_owned(), days.into());
    }
    body.into()
}

fn listed(document: &Value) -> String {
    let row = |key: &Value| {
        let state = if key.get("revoked_at").is_some_and(Value::is_string) { "revoked" } else { "live" };
        let ends = Some(cell(key, "expires_at")).filter(|ends| !ends.is_empty()).unwrap_or_else(|| "never".to_owned());
        [cell(key, "id"), cell(key, "role"), state.to_owned(), ends, cell(key, "label")]
    };
    let rows: Vec<_> = document.get("items").and_then(Value::as_array).into_iter().flatten().map(row).collect();
    table(["ID", "ROLE", "STATE", "ENDS", "LABEL"], &rows)
}
