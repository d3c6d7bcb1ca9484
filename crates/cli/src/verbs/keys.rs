//! `gatehouse key …`.

use model::KeyText;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

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
        KeyVerb::Ls => {
            let now = OffsetDateTime::now_utc();
            screen.show(&api.list(&["keys"], &[]).await?, |document| listed(document, now))
        }
        KeyVerb::Revoke { id } => {
            let id = id_of(&id)?;
            let revoked = api.delete(&["keys", &id], None).await?.body;
            let revoked = if revoked.is_null() { json!({ "revoked": id }) } else { revoked };
            screen.show(&revoked, |_| format!("{id} revoked"))
        }
    }
}

/// The id of what was typed: an id, or a whole key, whose secret goes no further than here.
fn id_of(typed: &str) -> Result<String, Failure> {
    let typed = typed.trim();
    match typed.parse::<KeyText>() {
        Ok(key) => Ok(key.id().as_str().to_owned()),
        Err(error) if typed.starts_with("ghk_") => Err(Failure::Usage(format!("{error}; its id alone is enough"))),
        Err(_) => Ok(typed.to_owned()),
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

fn listed(document: &Value, now: OffsetDateTime) -> String {
    let row = |key: &Value| {
        let servers = key
            .get("servers")
            .and_then(Value::as_array)
            .map(|servers| servers.iter().map(|name| name.as_str().unwrap_or_default()).collect::<Vec<_>>().join(","));
        let ends = Some(cell(key, "expires_at")).filter(|ends| !ends.is_empty());
        [
            cell(key, "id"),
            cell(key, "role"),
            state(key, now).to_owned(),
            servers.unwrap_or_else(|| "all".to_owned()),
            ends.unwrap_or_else(|| "never".to_owned()),
            cell(key, "label"),
        ]
    };
    let rows: Vec<_> = document.get("items").and_then(Value::as_array).into_iter().flatten().map(row).collect();
    table(["ID", "ROLE", "STATE", "SERVERS", "ENDS", "LABEL"], &rows)
}

fn state(key: &Value, now: OffsetDateTime) -> &'static str {
    let at = |member| OffsetDateTime::parse(&cell(key, member), &Rfc3339).ok();
    match (at("revoked_at"), at("expires_at")) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now => "expired",
        _ => "live",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_key_is_cut_to_its_id() {
        let key = KeyText::mint("live", [1; 16], [2; 32]);
        let whole = key.expose();
        let id = key.id();
        assert_eq!(id_of(whole.expose()).unwrap(), id.as_str());
        assert_eq!(id_of(id.as_str()).unwrap(), id.as_str());
        let mut cut = whole.expose().to_owned();
        cut.pop();
        let failure = id_of(&cut).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(!failure.to_string().contains(&cut[9..40]), "{failure}");
    }

    #[test]
    fn a_list_tells_which_keys_still_open_what() {
        let now = OffsetDateTime::parse("2026-06-01T00:00:00Z", &Rfc3339).unwrap();
        let document = json!({"items": [
            {"id": "a", "role": "client", "servers": ["notes", "web"], "expires_at": "2026-06-02T00:00:00Z"},
            {"id": "b", "role": "client", "servers": null, "expires_at": "2026-05-31T00:00:00.5Z"},
            {"id": "c", "role": "client", "servers": [], "expires_at": null, "revoked_at": "2026-05-01T00:00:00Z"},
        ]});
        let told = listed(&document, now);
        let words = |line: usize| told.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1)[2..4], ["live", "notes,web"]);
        assert_eq!(words(2)[2..4], ["expired", "all"]);
        assert_eq!(words(3)[2], "revoked");
    }
}
