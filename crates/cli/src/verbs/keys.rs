//! `gatehouse key …`.

use std::collections::HashSet;

use model::KeyText;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::body::Body;
use super::effects::effects;
use super::records::{each, items};
use crate::api::Api;
use crate::args::{KeyCreate, KeyRotate, KeySet, KeyVerb, Span};
use crate::declared::{Kind, Names};
use crate::failure::Failure;
use crate::screen::{self, Screen, cell, table};

/// Does one verb.
pub(super) async fn run(api: &Api, verb: KeyVerb, screen: Screen) -> Result<(), Failure> {
    let now = OffsetDateTime::now_utc();
    match verb {
        KeyVerb::Create(create) => {
            let created = api.post(&["keys"], &create_body(&create, now)?).await?.body;
            let absent = if screen == Screen::Text { absent(api, &create.servers).await } else { Vec::new() };
            shown_once(screen, &created, &not_here(&absent))
        }
        KeyVerb::Ls => {
            let keys = api.list(&["keys"], &[]).await?;
            let holders = if screen == Screen::Text { Holders::of(api).await? } else { Holders::default() };
            screen.show(&keys, |document| listed(document, &holders, now))
        }
        KeyVerb::Show { id } => screen.show(&api.get(&["keys", &id_of(&id)?]).await?.body, screen::members),
        KeyVerb::Set(set) => {
            let id = id_of(&set.id)?;
            let changed = api.change(&["keys", &id], &set_body(&set, now)?).await?;
            screen.show(&changed, |changed| format!("{id} changed{}", effects(changed)))
        }
        KeyVerb::Rotate(rotate) => {
            let id = id_of(&rotate.id)?;
            let made = api.post(&["keys", &id, "rotate"], &rotate_body(&rotate)).await?.body;
            let until = if rotate.no_grace { "has ended" } else { "serves on for the grace: `key ls` says until when" };
            shown_once(screen, &made, &format!(" The old key {id} {until}."))
        }
        KeyVerb::Revoke { ids } => {
            let ids = ids.iter().map(|id| id_of(id)).collect::<Result<Vec<_>, _>>()?;
            each(&ids, "revoked", screen, async |id| Ok(api.delete(&["keys", id], &[], None).await?.body)).await
        }
    }
}

/// The users who hold keys, as far as this key may see them.
#[derive(Debug, Default)]
struct Holders {
    logins: Names,
    /// Ids of those whose keys are refused.
    disabled: HashSet<String>,
}

impl Holders {
    async fn of(api: &Api) -> Result<Self, Failure> {
        match api.list(&["users"], &[]).await {
            Ok(users) => Ok(Self::among(&users)),
            // A user sees nobody's keys but their own.
            Err(Failure::Refused(problem)) if problem.status == 403 => {
                let me = api.get(&["me"]).await?.body;
                Ok(Self::among(&json!({ "items": [me.get("user")] })))
            }
            Err(failure) => Err(failure),
        }
    }

    fn among(users: &Value) -> Self {
        let mut logins = Names::default();
        logins.learn(Kind::User, items(users));
        let disabled = |user: &&Value| user.get("active").and_then(Value::as_bool) == Some(false);
        Self { logins, disabled: items(users).filter(disabled).map(|user| cell(user, "id")).collect() }
    }
}

/// Those of the servers that are not here: a key may name one before it is, but most often it is a slip.
async fn absent(api: &Api, servers: &[String]) -> Vec<String> {
    let mut absent = Vec::new();
    for server in servers {
        if matches!(api.get(&["servers", server]).await, Err(Failure::Refused(problem)) if problem.status == 404) {
            absent.push(server.clone());
        }
    }
    absent
}

fn not_here(absent: &[String]) -> String {
    match absent {
        [] => String::new(),
        absent => screen::plain(&format!(
            " It is for {}, which is not here: look at `gatehouse server ls`.",
            absent.join(", ")
        )),
    }
}

/// The key alone is the answer: a file that it is written to can be given to `--key-file`.
fn shown_once(screen: Screen, made: &Value, more: &str) -> Result<(), Failure> {
    screen.show(made, |made| cell(made, "key"))?;
    match screen {
        Screen::Text => screen::beside(&kept(made, more)),
        Screen::Json => Ok(()),
    }
}

fn kept(made: &Value, more: &str) -> String {
    format!("\nKeep it now: it is not shown again. Its id is {}.{more}", cell(made, "id"))
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

fn create_body(create: &KeyCreate, now: OffsetDateTime) -> Result<Value, Failure> {
    let body = Body::default()
        .with("role", Some(create.role.as_str()))
        .with("label", Some(create.label.as_str()))
        .with("user", create.user.as_deref())
        .with_all("servers", &create.servers)
        .with_all("scopes", &create.scopes)
        .with("expires_at", end(create.expires_in, now)?);
    Ok(body.value())
}

fn set_body(set: &KeySet, now: OffsetDateTime) -> Result<Value, Failure> {
    Body::default()
        .with("label", set.label.as_deref())
        .with_all("servers", &set.servers)
        .cleared("servers", set.no_servers)
        .with_all("scopes", &set.scopes)
        .with("expires_at", end(set.expires_in, now)?)
        .change()
}

fn rotate_body(rotate: &KeyRotate) -> Value {
    let grace = rotate.grace.map(Span::seconds).or(rotate.no_grace.then_some(0));
    Body::default().with("grace_secs", grace).value()
}

fn end(span: Option<Span>, now: OffsetDateTime) -> Result<Option<String>, Failure> {
    let too_far = || Failure::Usage("that end is too far away".to_owned());
    span.map(|span| span.after(now).ok_or_else(too_far)).transpose()
}

fn listed(document: &Value, holders: &Holders, now: OffsetDateTime) -> String {
    let row = |key: &Value| {
        let restricted = key.get("servers").is_some_and(Value::is_array);
        let ends = Some(cell(key, "expires_at")).filter(|ends| !ends.is_empty());
        [
            cell(key, "id"),
            holders.logins.of(key, "user"),
            cell(key, "role"),
            screen::names(key, "scopes"),
            state(key, holders, now).to_owned(),
            if restricted { screen::names(key, "servers") } else { "all".to_owned() },
            ends.unwrap_or_else(|| "never".to_owned()),
            cell(key, "label"),
        ]
    };
    let rows: Vec<_> = items(document).map(row).collect();
    table(["ID", "USER", "ROLE", "SCOPES", "STATE", "SERVERS", "ENDS", "LABEL"], &rows)
}

fn state(key: &Value, holders: &Holders, now: OffsetDateTime) -> &'static str {
    let at = |member| OffsetDateTime::parse(&cell(key, member), &Rfc3339).ok();
    match (at("revoked_at"), at("expires_at")) {
        (Some(_), _) => "revoked",
        (None, Some(end)) if end <= now => "expired",
        _ if holders.disabled.contains(&cell(key, "user")) => "user disabled",
        _ => "live",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Verb};

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
    fn a_key_for_a_server_that_is_not_here_says_so() {
        let made = json!({"key": "ghk_…", "id": "k"});
        let told = kept(&made, &not_here(&["nots".to_owned()]));
        assert!(
            told.ends_with("Its id is k. It is for nots, which is not here: look at `gatehouse server ls`."),
            "{told}"
        );
        assert!(kept(&made, &not_here(&[])).ends_with("Its id is k."));
    }

    #[test]
    fn an_end_is_sent_as_an_instant() {
        let now = OffsetDateTime::parse("2026-06-01T00:00:00Z", &Rfc3339).unwrap();
        for (line, expected) in [
            ("g key create", json!({"role": "user", "label": ""})),
            (
                "g key create --user ann --label l --role viewer --server notes --expires-in 1d",
                json!({"role": "viewer", "label": "l", "user": "ann", "servers": ["notes"], "expires_at": "2026-06-02T00:00:00Z"}),
            ),
            (
                "g key set k --no-servers --expires-in 12h",
                json!({"servers": null, "expires_at": "2026-06-01T12:00:00Z"}),
            ),
            ("g key rotate k", json!({})),
            ("g key rotate k --grace 2h", json!({"grace_secs": 7_200})),
            ("g key rotate k --no-grace", json!({"grace_secs": 0})),
        ] {
            let sent = match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
                Verb::Key(KeyVerb::Create(create)) => create_body(&create, now).unwrap(),
                Verb::Key(KeyVerb::Set(set)) => set_body(&set, now).unwrap(),
                Verb::Key(KeyVerb::Rotate(rotate)) => rotate_body(&rotate),
                other => panic!("{other:?}"),
            };
            assert_eq!(sent, expected, "{line}");
        }
    }

    #[test]
    fn a_list_tells_which_keys_still_open_what() {
        let now = OffsetDateTime::parse("2026-06-01T00:00:00Z", &Rfc3339).unwrap();
        let document = json!({"items": [
            {"id": "a", "user": "ann", "role": "user", "servers": ["notes", "web"], "expires_at": "2026-06-02T00:00:00Z"},
            {"id": "b", "user": "u2", "role": "user", "servers": null, "expires_at": "2026-05-31T00:00:00.5Z"},
            {"id": "c", "user": "u", "role": "user", "servers": [], "expires_at": null, "revoked_at": "2026-05-01T00:00:00Z"},
            {"id": "d", "user": "u3", "role": "user", "servers": null, "expires_at": null},
        ]});
        let users = json!({"items": [{"id": "u2", "login": "bob"}, {"id": "u3", "login": "eve", "active": false}]});
        let told = listed(&document, &Holders::among(&users), now);
        let words = |line: usize| told.lines().nth(line).unwrap().split_whitespace().collect::<Vec<_>>();
        assert_eq!(words(1)[3..5], ["live", "notes,web"]);
        assert_eq!(words(2)[1], "bob");
        assert_eq!(words(2)[3..5], ["expired", "all"]);
        assert_eq!(words(3)[3], "revoked");
        assert_eq!(words(4)[1..5], ["eve", "user", "user", "disabled"]);
    }
}
