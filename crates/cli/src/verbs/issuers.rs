//! `gatehouse issuer …`.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::body::Body;
use super::effects::effects;
use super::records::{Records, items};
use super::secret::Source;
use crate::api::Api;
use crate::args::{IssuerAdd, IssuerRecord, IssuerSet, IssuerVerb};
use crate::failure::Failure;
use crate::screen::{Screen, cell, state, table};

const ISSUERS: Records = Records { path: "issuers", name: "name" };

/// Does one verb.
pub(super) async fn run(api: &Api, verb: IssuerVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        IssuerVerb::Add(add) => {
            let added = api.post(&["issuers"], &with_secret(add_body(&add), &add.record)?.value()).await?.body;
            screen.show(&added, |added| format!("{} added{}", cell(added, "name"), effects(added)))
        }
        IssuerVerb::Ls => screen.show(&api.list(&["issuers"], &[]).await?, listed),
        IssuerVerb::Show { issuer } => ISSUERS.show(api, &issuer, screen).await,
        IssuerVerb::Set(set) => {
            let body = with_secret(set_body(&set), &set.record)?.change()?;
            ISSUERS.set(api, &set.issuer, &body, screen).await
        }
        IssuerVerb::Rm { issuers } => ISSUERS.remove(api, &issuers, screen).await,
        IssuerVerb::Enable { issuer } => ISSUERS.act(api, &issuer, "enable", "enabled", screen).await,
        IssuerVerb::Disable { issuer } => ISSUERS.act(api, &issuer, "disable", "disabled", screen).await,
        IssuerVerb::Refresh { issuer } => ISSUERS.act(api, &issuer, "refresh", "refreshed", screen).await,
    }
}

/// The secret, if it is said where it is.
fn with_secret(body: Body, record: &IssuerRecord) -> Result<Body, Failure> {
    let source = match (&record.client_secret_file, &record.client_secret_env) {
        (Some(file), _) if file == Path::new("-") => Some(Source::Input),
        (Some(file), _) => Some(Source::File(file)),
        (None, Some(variable)) => Some(Source::Variable(variable)),
        (None, None) => None,
    };
    let secret = source.map(Source::read).transpose()?;
    Ok(body.with("client_secret", secret.as_ref().map(|secret| secret.expose())))
}

fn add_body(add: &IssuerAdd) -> Body {
    let claims = claims(&add.record);
    record(Body::default().with("name", Some(add.name.as_str())).with("issuer", Some(add.issuer.as_str())), &add.record)
        .inside("claims", claims)
        .with("unchecked", add.unchecked.then_some(true))
}

fn set_body(set: &IssuerSet) -> Body {
    let claims = claims(&set.record)
        .cleared("departments", set.no_departments_claim)
        .cleared("role", set.no_role_claim)
        .with("roles", set.no_role_claim.then(|| json!({})));
    record(Body::default().with("name", set.name.as_deref()), &set.record)
        .cleared("client_id", set.no_client_id)
        .cleared("client_secret", set.no_client_secret)
        .anew("audiences", &[], set.no_audiences)
        .cleared("scope", set.no_scope)
        .inside("claims", claims)
}

fn record(body: Body, record: &IssuerRecord) -> Body {
    body.with("title", record.title.as_deref())
        .with("client_id", record.client_id.as_deref())
        .with_all("audiences", &record.audiences)
        .with_all("algorithms", &record.algorithms)
        .with("scope", record.scope.as_deref())
        .with("unknown_users", record.unknown_users)
        .with("sign_in", record.sign_in)
        .with("mcp", record.mcp)
}

fn claims(record: &IssuerRecord) -> Body {
    let roles: Map<String, Value> = record.roles.iter().map(|role| (role.value.clone(), role.role.into())).collect();
    Body::default()
        .with("login", record.login_claim.as_deref())
        .with("external_id", record.external_id_claim.as_deref())
        .with("departments", record.departments_claim.as_deref())
        .with("role", record.role_claim.as_deref())
        .with("roles", (!roles.is_empty()).then_some(roles))
}

fn listed(document: &Value) -> String {
    let row = |issuer: &Value| {
        let uses = [("sign_in", "sign-in"), ("mcp", "mcp")];
        let is_used = |member: &str| issuer.get(member).and_then(Value::as_bool) == Some(true);
        let used: Vec<&str> = uses.into_iter().filter(|(member, _)| is_used(member)).map(|(_, word)| word).collect();
        [
            cell(issuer, "name"),
            state(issuer, "enabled"),
            used.join(","),
            cell(issuer, "issuer"),
            cell(issuer, "keys_at"),
            cell(issuer, "failure"),
        ]
    };
    let rows: Vec<_> = items(document).map(row).collect();
    if rows.is_empty() {
        "no issuers yet: gatehouse issuer add NAME URL".to_owned()
    } else {
        table(["NAME", "STATE", "FOR", "ISSUER", "KEYS OF", "FAILURE"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Verb};

    #[test]
    fn only_what_was_said_is_sent() {
        for (line, expected) in [
            ("g issuer add corp https://id", json!({"name": "corp", "issuer": "https://id"})),
            (
                "g issuer add corp https://id --title C --client-id c --audience a --audience b --algorithm ES256 --scope s \
                 --login-claim email --role-claim r --role x=y=user --role adm=tenant-admin --sign-in --mcp false --unchecked",
                json!({"name": "corp", "issuer": "https://id", "title": "C", "client_id": "c", "audiences": ["a", "b"],
                    "algorithms": ["ES256"], "scope": "s", "sign_in": true, "mcp": false, "unchecked": true,
                    "claims": {"login": "email", "role": "r", "roles": {"x=y": "user", "adm": "tenant_admin"}}}),
            ),
            (
                "g issuer set corp --no-client-id --no-client-secret --no-audiences --no-scope --no-departments-claim --no-role-claim",
                json!({"client_id": null, "client_secret": null, "audiences": [], "scope": null,
                    "claims": {"departments": null, "role": null, "roles": {}}}),
            ),
            ("g issuer set corp --unknown-users false --name c2", json!({"unknown_users": false, "name": "c2"})),
        ] {
            let sent = match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
                Verb::Issuer(IssuerVerb::Add(add)) => add_body(&add).value(),
                Verb::Issuer(IssuerVerb::Set(set)) => set_body(&set).change().unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(sent, expected, "{line}");
        }
    }

    #[test]
    fn a_list_tells_what_each_is_for_and_what_failed() {
        let list = json!({"items": [{"name": "corp", "enabled": true, "sign_in": true, "mcp": true,
            "issuer": "https://id", "keys_at": null, "failure": "timed\u{7}out"}]});
        let told = listed(&list);
        assert!(told.lines().nth(1).unwrap().starts_with("corp  enabled  sign-in,mcp  https://id"), "{told}");
        assert!(told.contains("timed?out"), "{told}");
        assert!(listed(&json!({"items": []})).contains("issuer add"));
    }
}
