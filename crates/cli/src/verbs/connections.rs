//! `gatehouse connection …`.

use std::io::IsTerminal as _;
use std::path::Path;

use model::Secret;
use serde_json::{Map, Value, json};

use super::body::Body;
use super::effects::effects;
use super::records::{items, query};
use super::secret::Source;
use crate::api::Api;
use crate::args::{ConnectionLs, ConnectionOf, ConnectionSet, ConnectionVerb, Field, HolderArgs};
use crate::failure::Failure;
use crate::screen::{self, Screen, cell, table};

/// Does one verb.
pub(super) async fn run(api: &Api, verb: ConnectionVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        ConnectionVerb::Ls(ls) => {
            let list = list(api, &ls).await?;
            let record = match &ls.server {
                // A key that may not read it is told in general.
                Some(server) if items(&list).next().is_none() => api.get(&["servers", server]).await.ok(),
                _ => None,
            };
            screen.show(&list, |list| listed(list, &ls, record.as_ref().map_or(&Value::Null, |found| &found.body)))
        }
        ConnectionVerb::Show(of) => {
            let found = Found::of(api, &of.server, &of.holder).await?;
            screen.show(&api.get(&found.path()).await?.body, screen::members)
        }
        ConnectionVerb::Set(set) => screen.show(&put(api, &set).await?, |put| told(put, "set")),
        ConnectionVerb::Status(status) => {
            let found = Found::of(api, &status.server, &status.holder).await?;
            let body = json!({ "status": status.status.as_str() });
            let changed = api.put(&found.below("status"), Some(&found.etag), &body).await?.body;
            screen.show(&changed, |changed| told(changed, status.status.as_str()))
        }
        ConnectionVerb::Test(of) => test(api, &of, screen).await,
        ConnectionVerb::Revoke(of) => {
            let found = Found::of(api, &of.server, &of.holder).await?;
            let revoked = api.post(&found.below("revoke"), &json!({})).await?.body;
            screen.show(&revoked, |revoked| told(revoked, "revoked"))
        }
        ConnectionVerb::Rm(of) => {
            let found = Found::of(api, &of.server, &of.holder).await?;
            let gone = api.delete(&found.path(), &[], Some(&found.etag)).await?.body;
            screen.show(&gone, |gone| format!("connection of {} removed{}", screen::plain(&of.server), effects(gone)))
        }
        ConnectionVerb::Find { secret_file } => {
            let secret = typed(&secret_file)?;
            let found = api.post(&["connections", "find"], &json!({ "secret": secret.expose() })).await?.body;
            screen.show(&found, uses)
        }
    }
}

/// One connection as it was found by whom it is for.
struct Found {
    server: String,
    id: String,
    /// The version that was read.
    etag: String,
}

impl Found {
    /// The connection that is meant. Without a scope that is the only one that the key may see, or the caller's own.
    async fn of(api: &Api, server: &str, holder: &HolderArgs) -> Result<Self, Failure> {
        let said = holder_query(holder);
        let mut found = api.first(&["servers", server, "connections"], &said, 2).await?;
        let any = items(&found).next().is_some();
        if items(&found).count() > 1 {
            found = api.first(&["servers", server, "connections"], &[("mine", "true")], 1).await?;
        }
        match items(&found).next() {
            Some(item) => Ok(Self {
                server: server.to_owned(),
                id: cell(item, "id"),
                etag: format!("\"{}\"", cell(item, "generation")),
            }),
            None if said.is_empty() && any => Err(Failure::NotFound(format!(
                "{server} has connections, and none of yours: say --scope and --for; `gatehouse connection ls {server}` \
                 lists them"
            ))),
            None if said.is_empty() => Err(Failure::NotFound(format!(
                "{server} has no connection: `gatehouse connection ls {server}` says how it gets one"
            ))),
            None => Err(Failure::NotFound(format!("{server} has no such connection"))),
        }
    }

    fn path(&self) -> [&str; 4] {
        ["servers", &self.server, "connections", &self.id]
    }

    fn below<'a>(&'a self, action: &'a str) -> [&'a str; 5] {
        ["servers", &self.server, "connections", &self.id, action]
    }
}

fn holder_query(holder: &HolderArgs) -> Vec<(&str, &str)> {
    let scope = holder.scope.map(|scope| scope.as_str());
    query(&[("scope_type", scope), ("scope_id", holder.holder.as_deref())], &[])
}

/// The connections of one server, or of all that there are.
async fn list(api: &Api, ls: &ConnectionLs) -> Result<Value, Failure> {
    let health = ls.health.map(|health| health.as_str());
    let said = query(&[("health", health), ("search", ls.search.as_deref())], &[("mine", ls.mine)]);
    let servers = match &ls.server {
        Some(server) => vec![server.clone()],
        None => items(&api.list(&["servers"], &[]).await?).map(|server| cell(server, "name")).collect(),
    };
    let mut all = Vec::new();
    for server in servers {
        let mut of_server = api.list(&["servers", &server, "connections"], &said).await?;
        if let Some(Value::Array(of_server)) = of_server.get_mut("items").map(Value::take) {
            all.extend(of_server);
        }
    }
    Ok(json!({ "items": all, "next": null }))
}

/// Makes the connection; one that is there for the same holder gets what was said.
async fn put(api: &Api, set: &ConnectionSet) -> Result<Value, Failure> {
    let said = said(set)?;
    let holder = &set.of.holder;
    let new = said
        .clone()
        .with("scope_type", holder.scope.map(|scope| scope.as_str()))
        .with("scope_id", holder.holder.as_deref());
    match api.post(&["servers", &set.of.server, "connections"], &new.value()).await {
        Ok(made) => Ok(made.body),
        Err(Failure::Refused(problem)) if problem.code == "connection_exists" => {
            let id = problem.connection.clone();
            api.change(&["servers", &set.of.server, "connections", &id], &said.change()?).await
        }
        Err(failure) => Err(failure),
    }
}

/// What a `set` says besides whom it is for.
fn said(set: &ConnectionSet) -> Result<Body, Failure> {
    let body = Body::default()
        .with("display_name", set.display_name.as_deref())
        .with("external_subject", set.external_subject.as_deref())
        .with("reference", set.reference.as_ref().map(|one| json!({ "source": one.source, "name": one.name })));
    Ok(match &set.credential_file {
        Some(file) => body.with("credential", Some(credential(&typed(file)?))),
        None => body.with("credential", secrets(&set.fields)?),
    })
}

/// A credential as it lies in a file: a JSON object, or else one secret.
pub(super) fn credential(text: &Secret) -> Value {
    match serde_json::from_str(text.expose()) {
        Ok(Value::Object(object)) => Value::Object(object),
        _ => Value::String(text.expose().to_owned()),
    }
}

pub(super) fn secrets(fields: &[Field]) -> Result<Option<Value>, Failure> {
    if fields.iter().filter(|field| field.file == Path::new("-")).count() > 1 {
        return Err(Failure::Usage("standard input holds one secret: only one field can be read from it".to_owned()));
    }
    let mut secrets = Map::new();
    for field in fields {
        let secret = typed(&field.file)?;
        secrets.insert(field.name.clone(), Value::String(secret.expose().to_owned()));
    }
    Ok((!secrets.is_empty()).then(|| json!({ "secrets": secrets })))
}

/// A secret from a file, or from standard input, where somebody who types it is told so.
pub(super) fn typed(file: &Path) -> Result<Secret, Failure> {
    if file != Path::new("-") {
        return Source::File(file).read();
    }
    if std::io::stdin().is_terminal() {
        screen::beside("enter the secret, then end with Ctrl-D; better give it through a pipe or a file")?;
    }
    Source::Input.read()
}

/// Control answers 200 either way: that the upstream fails is the answer. For a script it is a failure.
async fn test(api: &Api, of: &ConnectionOf, screen: Screen) -> Result<(), Failure> {
    let found = Found::of(api, &of.server, &of.holder).await?;
    let tested = api.post(&found.below("test"), &json!({})).await?.body;
    let why = failed(&tested);
    if why.is_none() || screen == Screen::Json {
        screen.show(&tested, |tested| {
            let tools = tested.get("tools").and_then(Value::as_array).map_or(0, Vec::len);
            format!("{} answers: {tools} {}", screen::plain(&of.server), if tools == 1 { "tool" } else { "tools" })
        })?;
    }
    match why {
        Some(why) => Err(Failure::Failed(format!("{}: {why}", of.server))),
        None => Ok(()),
    }
}

fn failed(tested: &Value) -> Option<String> {
    let failed = tested.get("ok").and_then(Value::as_bool) == Some(false);
    let error = tested.get("error").unwrap_or(&Value::Null);
    failed.then(|| screen::plain(&format!("{} ({})", cell(error, "message"), cell(error, "code"))))
}

fn told(connection: &Value, done: &str) -> String {
    let name = cell(connection, "server_name");
    format!("connection of {name} for {} {done}{}", holder(connection), effects(connection))
}

/// Whom a connection is for, in words.
fn holder(connection: &Value) -> String {
    match cell(connection, "scope_type").as_str() {
        "global" => "everybody".to_owned(),
        scope => format!("{scope} {}", cell(connection, "scope_name")),
    }
}

/// The command that gives a server a credential, as far as its record says what and whose it takes.
pub(super) fn giving(name: &str, server: &Value) -> String {
    let auth = server.get("auth").unwrap_or(&Value::Null);
    let accepts = |word: &str| items_of(auth, "scopes").any(|scope| scope == word);
    let whose = match (items_of(auth, "scopes").count(), accepts("global"), accepts("user")) {
        (0, ..) | (1, true, _) => "",
        (_, true, _) => " --scope global",
        (_, false, true) => " --scope user --for LOGIN",
        (_, false, false) => " --scope department --for DEPARTMENT",
    };
    let fields: Vec<_> = items_of(server, "required_secrets").collect();
    let what = match fields.as_slice() {
        [] | [_] => " --credential-file FILE".to_owned(),
        several => several.iter().map(|name| format!(" --field {name}=FILE")).collect(),
    };
    screen::plain(&format!("gatehouse connection set {name}{whose}{what}"))
}

fn items_of<'a>(object: &'a Value, member: &str) -> impl Iterator<Item = &'a str> {
    object.get(member).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

/// How a server without connections gets one.
fn none_yet(name: &str, server: &Value) -> String {
    let auth = server.get("auth").unwrap_or(&Value::Null);
    match (cell(auth, "type").as_str(), auth.get("scopes").and_then(Value::as_array).is_some_and(Vec::is_empty)) {
        ("", _) => format!("no connections yet: {}, or gatehouse login {name}", giving(name, server)),
        ("none", _) => format!("{name} takes none, nothing is sent to it: gatehouse server set {name} --auth TYPE"),
        (_, true) => {
            format!("{name} takes none: its settings hold what it needs, `gatehouse server test {name}` tries it")
        }
        ("authorization_code", _) => format!("no connections yet: gatehouse login {name}"),
        _ => format!("no connections yet: {}", giving(name, server)),
    }
}

fn listed(document: &Value, asked: &ConnectionLs, server: &Value) -> String {
    let rows: Vec<_> = items(document).map(row).collect();
    match (rows.is_empty(), asked.search.is_some() || asked.health.is_some(), &asked.server) {
        (true, true, _) => "no such connection".to_owned(),
        (true, false, Some(name)) => none_yet(&screen::plain(name), server),
        (true, false, None) => "no connections yet: gatehouse connection set SERVER --credential-file FILE".to_owned(),
        (false, ..) => table(["SERVER", "FOR", "STATUS", "HEALTH", "TOKEN", "LAST GOOD", "LAST ERROR", "NAME"], &rows),
    }
}

fn row(connection: &Value) -> [String; 8] {
    let error = connection.get("last_error").unwrap_or(&Value::Null);
    let status = cell(connection, "status");
    let status = if connection.get("has_credentials").and_then(Value::as_bool) == Some(false) {
        format!("{status}, no credential")
    } else {
        status
    };
    [
        cell(connection, "server_name"),
        holder(connection),
        status,
        cell(connection, "health"),
        cell(connection, "token_state"),
        cell(connection, "last_success_at"),
        cell(error, "code"),
        cell(connection, "display_name"),
    ]
}

fn uses(document: &Value) -> String {
    let rows: Vec<_> = items(document).map(row).collect();
    if rows.is_empty() {
        "no connection uses it".to_owned()
    } else {
        table(["SERVER", "FOR", "STATUS", "HEALTH", "TOKEN", "LAST GOOD", "LAST ERROR", "NAME"], &rows)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};
    use crate::home;

    fn set(line: &str) -> ConnectionSet {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
            Verb::Connection(ConnectionVerb::Set(set)) => set,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_credential_is_read_from_files_and_only_what_was_said_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            home::replace(&path, 0o600, text).unwrap();
            path.display().to_string()
        };
        let (text, object) = (file("text", "s3cret\n"), file("object", r#"{"secrets": {"a": "b"}}"#));
        let (one, two) = (file("one", "1"), file("two", "2\n"));
        for (line, expected) in [
            (format!("g connection set notes --credential-file {text}"), json!({"credential": "s3cret"})),
            (
                format!("g connection set notes --credential-file {object}"),
                json!({"credential": {"secrets": {"a": "b"}}}),
            ),
            (
                format!("g connection set notes --field api_key={one} --field team={two} --display-name N"),
                json!({"credential": {"secrets": {"api_key": "1", "team": "2"}}, "display_name": "N"}),
            ),
            (
                "g connection set notes --reference vault:mcp/notes --external-subject ann@up".to_owned(),
                json!({"reference": {"source": "vault", "name": "mcp/notes"}, "external_subject": "ann@up"}),
            ),
            ("g connection set notes".to_owned(), json!({})),
        ] {
            assert_eq!(said(&set(&line)).unwrap().value(), expected, "{line}");
        }
        let twice = set("g connection set notes --field a=- --field b=-");
        assert_eq!(said(&twice).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn whom_a_connection_is_for_is_asked_as_it_was_typed() {
        let asked = |line: &str| {
            let set = set(line);
            let holder = &set.of.holder;
            holder_query(holder).into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect::<Vec<_>>()
        };
        assert!(asked("g connection set notes").is_empty());
        assert_eq!(asked("g connection set notes --scope system"), [("scope_type".to_owned(), "global".to_owned())]);
        let both = [("scope_type".to_owned(), "user".to_owned()), ("scope_id".to_owned(), "ann".to_owned())];
        assert_eq!(asked("g connection set notes --scope user --for ann"), both);
    }

    #[test]
    fn a_list_tells_whose_each_is_and_what_is_wrong_with_it() {
        let list = json!({"items": [
            {"server_name": "notes", "scope_type": "user", "scope_name": "ann", "status": "reauth_required",
             "health": "attention", "has_credentials": true, "token_state": "reauth_required",
             "last_error": {"code": "unauthorized\u{7}"}, "display_name": null},
            {"server_name": "notes", "scope_type": "global", "scope_name": null, "status": "active",
             "health": "attention", "has_credentials": false, "token_state": "none"},
        ]});
        let ls = ConnectionLs { server: Some("notes".to_owned()), all: false, mine: false, health: None, search: None };
        let told = listed(&list, &ls, &Value::Null);
        assert!(told.contains("notes   user ann   reauth_required"), "{told}");
        assert!(told.contains("unauthorized?") && told.contains("everybody  active, no credential"), "{told}");
        let empty = |server: Value| listed(&json!({"items": []}), &ls, &server);
        for (auth, secrets, advice) in [
            (json!(null), json!([]), "or gatehouse login notes"),
            (json!({"type": "none"}), json!([]), "gatehouse server set notes --auth TYPE"),
            (json!({"type": "client_credentials", "scopes": []}), json!([]), "gatehouse server test notes"),
            (json!({"type": "authorization_code", "scopes": ["user"]}), json!([]), "yet: gatehouse login notes"),
            (json!({"type": "bearer", "scopes": ["global"]}), json!([]), "connection set notes --credential-file FILE"),
            (
                json!({"type": "bearer", "scopes": ["user", "global"]}),
                json!([]),
                "notes --scope global --credential-file",
            ),
            (
                json!({"type": "headers", "scopes": ["user"]}),
                json!(["x", "y"]),
                "--for LOGIN --field x=FILE --field y=FILE",
            ),
        ] {
            let told = empty(json!({"auth": auth, "required_secrets": secrets}));
            assert!(told.contains(advice), "{told}");
        }
        assert_eq!(uses(&json!({"items": []})), "no connection uses it");
    }

    #[test]
    fn a_test_that_failed_says_why() {
        assert_eq!(failed(&json!({"ok": true, "tools": []})), None);
        let tested = json!({"ok": false, "error": {"code": "auth_failed", "message": "the upstream says no"}});
        assert_eq!(failed(&tested).as_deref(), Some("the upstream says no (auth_failed)"));
    }
}
