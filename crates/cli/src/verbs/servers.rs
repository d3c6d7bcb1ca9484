//! `gatehouse server …`.

mod auth;
mod bodies;

use serde_json::{Value, json};

use self::bodies::{change_body, create_body};
use super::connections::giving;
use super::effects::{effects, probed};
use super::records::{Records, each, items, query};
use super::tools;
use crate::access::Target;
use crate::api::Api;
use crate::args::{ServerLs, ServerVerb, ToolVerb};
use crate::failure::Failure;
use crate::screen::{self, Screen, cell, state, table};

const SERVERS: Records = Records { path: "servers", name: "name" };

/// Does one verb.
pub(super) async fn run(target: &Target, verb: ServerVerb, screen: Screen) -> Result<(), Failure> {
    let api = &Api::open(target)?;
    match verb {
        ServerVerb::Add(add) => {
            let added = api.post(&["servers"], &create_body(&add)?).await?.body;
            screen.show(&added, |added| format!("{} added{}{}", cell(added, "name"), effects(added), next(added)))
        }
        ServerVerb::Ls(ls) => screen.show(&api.list(&["servers"], &asked(&ls)).await?, |list| listed(list, &ls)),
        ServerVerb::Show { server } => SERVERS.show(api, &server, screen).await,
        ServerVerb::Set(change) => {
            let changed = api.change(&["servers", &change.server], &change_body(&change)?).await?;
            screen.show(&changed, |changed| changed_text(changed, change.upstream.is_some()))
        }
        ServerVerb::Rm { servers, purge: false } => SERVERS.remove(api, &servers, screen).await,
        ServerVerb::Rm { servers, purge: true } => purge(api, &servers, screen).await,
        ServerVerb::Restore { server } => SERVERS.act(api, &server, "restore", "restored", screen).await,
        ServerVerb::Deps { server } => dependencies(api, &server, screen).await,
        ServerVerb::Enable { server } => SERVERS.act(api, &server, "enable", "enabled", screen).await,
        ServerVerb::Disable { server } => SERVERS.act(api, &server, "disable", "disabled", screen).await,
        ServerVerb::Test { server } => test(api, &server, screen).await,
        ServerVerb::Tools { server, refresh: false } => tools::list(api, &server, screen).await,
        ServerVerb::Tools { server, refresh: true } => tools::refresh(api, &server, screen).await,
        ServerVerb::Tool(ToolVerb::Enable { server, tool }) => tools::switch(api, &server, &tool, true, screen).await,
        ServerVerb::Tool(ToolVerb::Disable { server, tool }) => tools::switch(api, &server, &tool, false, screen).await,
        ServerVerb::Call(call) => tools::call(target, &call, screen).await,
    }
}

fn asked(ls: &ServerLs) -> Vec<(&str, &str)> {
    let enabled = match (ls.enabled, ls.disabled) {
        (true, _) => Some("true"),
        (_, true) => Some("false"),
        _ => None,
    };
    let said = [("search", ls.search.as_deref()), ("tag", ls.tag.as_deref()), ("enabled", enabled)];
    query(&said, &[("deleted", ls.deleted)])
}

/// Control answers 200 either way: that the upstream fails is the answer. For a script it is a failure.
async fn test(api: &Api, server: &str, screen: Screen) -> Result<(), Failure> {
    let tested = api.post(&["servers", server, "test"], &json!({})).await?.body;
    let why = failed_test(&tested);
    if why.is_none() || screen == Screen::Json {
        screen.show(&tested, |tested| format!("{server} answers{}", probed(tested)))?;
    }
    match why {
        Some(why) => Err(Failure::Failed(format!("{server}: {why}"))),
        None => Ok(()),
    }
}

fn failed_test(tested: &Value) -> Option<String> {
    let failed = tested.get("ok").and_then(Value::as_bool) == Some(false);
    failed.then(|| screen::plain(&format!("{} ({})", cell(tested, "message"), cell(tested, "class"))))
}

/// Forgets servers that were removed before. One that was not is left to control, which refuses.
async fn purge(api: &Api, servers: &[String], screen: Screen) -> Result<(), Failure> {
    let removed = api.list(&["servers"], &[("deleted", "true")]).await?;
    let purged = async |server: &str| {
        let (id, version) = match tombstone(&removed, server) {
            Some(found) => found,
            None => (server.to_owned(), api.get(&["servers", server]).await?.etag.unwrap_or_default()),
        };
        let answer = api.delete(&["servers", &id], &[("purge", "true")], Some(&version)).await;
        Ok(answer?.body)
    };
    each(servers, "forgotten", screen, purged).await
}

/// Id and version of a removed server; of several with one name the last that was made.
fn tombstone(removed: &Value, server: &str) -> Option<(String, String)> {
    let is_meant = |item: &&Value| cell(item, "id") == server || cell(item, "name") == server;
    let found = items(removed).filter(is_meant).last()?;
    Some((cell(found, "id"), format!("\"{}\"", cell(found, "generation"))))
}

async fn dependencies(api: &Api, server: &str, screen: Screen) -> Result<(), Failure> {
    screen.show(&api.get(&["servers", server, "dependencies"]).await?.body, screen::members)
}

/// An add probes; a change takes what it is given.
fn changed_text(changed: &Value, elsewhere: bool) -> String {
    let name = cell(changed, "name");
    let advice = if elsewhere { format!("\n  not probed: `gatehouse server test {name}`") } else { String::new() };
    format!("{name} changed{}{}{advice}", effects(changed), warnings(changed))
}

/// What an upstream wants before it can be used, as the command that gives it.
fn next(added: &Value) -> String {
    let name = cell(added, "name");
    let Some(needs) = added.get("needs").filter(|needs| needs.is_object()) else { return warnings(added) };
    let auth = cell(added.get("auth").unwrap_or(&Value::Null), "type");
    let link = cell(needs, "login_url");
    let advice = match (cell(needs, "error").as_str(), auth.as_str()) {
        ("oauth_required", _) if link.is_empty() => format!(
            "it has a sign-in of its own; next: gatehouse server set {name} --auth oauth, then gatehouse login {name}"
        ),
        ("oauth_required", _) if screen::names(needs, "scopes") == "user" => {
            format!("it wants a login; next, for each person: gatehouse login {name}, or the link {link}")
        }
        ("oauth_required", _) => format!("it wants a login; next: gatehouse login {name}"),
        ("insufficient_scope", _) => "the credential may too little: it wants more scope".to_owned(),
        (_, "none") => format!("next: gatehouse server set {name} --auth TYPE --credential-file FILE"),
        (_, "client_credentials") => {
            format!(
                "next: gatehouse server test {name} says why; the client is set with gatehouse server set {name} --auth client-credentials …"
            )
        }
        (_, "token_exchange") => "it is called with what the token of each caller is exchanged for".to_owned(),
        ("credential_required", _) => format!("next: {}", giving(&name, added)),
        _ => format!("it refuses the credential; next: {}", giving(&name, added)),
    };
    format!("\n  {}{}", screen::plain(&advice), warnings(added))
}

/// What of the settings control passed over.
fn warnings(answer: &Value) -> String {
    let told = answer.get("warnings").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    told.map(|warning| format!("\n  {}", screen::plain(warning))).collect()
}

fn listed(document: &Value, asked: &ServerLs) -> String {
    let Some(items) = document.get("items").and_then(Value::as_array) else { return String::new() };
    match (items.is_empty(), &asked.search) {
        (true, Some(text)) => return format!("no server matches `{text}`"),
        (true, None) if asked.deleted => return "no server was removed".to_owned(),
        (true, None) if asked.tag.is_some() || asked.enabled || asked.disabled => return "no such server".to_owned(),
        (true, None) => return "no servers yet: gatehouse server add NAME URL".to_owned(),
        (false, _) if asked.deleted => {
            let row = |server: &Value| ["name", "id", "deleted_at", "url", "title"].map(|member| cell(server, member));
            return table(["NAME", "ID", "REMOVED", "URL", "TITLE"], &items.iter().map(row).collect::<Vec<_>>());
        }
        (false, _) => {}
    }
    let row = |server: &Value| {
        let (name, state) = (cell(server, "name"), state(server, "enabled"));
        [
            name,
            state,
            cell(server, "transport"),
            cell(server, "url"),
            screen::names(server, "tags"),
            cell(server, "title"),
        ]
    };
    table(["NAME", "STATE", "TRANSPORT", "URL", "TAGS", "TITLE"], &items.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_asked_for_as_it_was_typed() {
        assert_eq!(asked(&ls(Some("n"))), [("search", "n")]);
        let more = ServerLs { tag: Some("t".to_owned()), disabled: true, deleted: true, ..ls(None) };
        assert_eq!(asked(&more), [("tag", "t"), ("enabled", "false"), ("deleted", "true")]);
    }

    #[test]
    fn a_removed_server_is_meant_by_its_id_or_as_the_last_of_its_name() {
        let removed = json!({"items": [
            {"id": "1", "name": "notes", "generation": 3}, {"id": "2", "name": "notes", "generation": 5},
        ]});
        for (server, meant) in [("1", Some(("1", "\"3\""))), ("notes", Some(("2", "\"5\""))), ("web", None)] {
            let found = tombstone(&removed, server);
            assert_eq!(found.as_ref().map(|(id, version)| (id.as_str(), version.as_str())), meant, "{server}");
        }
    }

    #[test]
    fn a_new_url_that_nobody_tried_is_said_to_be_so() {
        let answer = json!({"name": "n"});
        assert_eq!(changed_text(&answer, true), "n changed\n  not probed: `gatehouse server test n`");
        assert_eq!(changed_text(&answer, false), "n changed");
    }

    #[test]
    fn what_a_server_wants_is_told_as_the_command_that_gives_it() {
        let added = |error: &str, auth: &str| json!({"name": "n", "needs": {"error": error}, "auth": {"type": auth}});
        let login = json!({"name": "n", "auth": {"type": "authorization_code"}, "needs": {
            "error": "oauth_required", "scopes": ["user"], "login_url": "http://c/connect/t/n",
        }});
        let told = "\n  it wants a login; next, for each person: gatehouse login n, or the link http://c/connect/t/n";
        assert_eq!(next(&login), told);
        assert!(next(&added("oauth_required", "bearer")).contains("server set n --auth oauth"));
        assert!(next(&added("credential_required", "client_credentials")).contains("server test n"));
        assert!(next(&added("credential_required", "none")).contains("server set n --auth TYPE"));
        assert!(next(&added("credential_required", "bearer")).contains("connection set n --credential-file"));
        assert!(next(&added("auth_failed", "bearer")).contains("refuses"));
        assert_eq!(next(&json!({"name": "n", "needs": null, "warnings": ["`a` is unknown"]})), "\n  `a` is unknown");
    }

    #[test]
    fn a_test_that_failed_says_why() {
        let failed = json!({"ok": false, "class": "refused", "message": "connection refused"});
        assert_eq!(failed_test(&failed).as_deref(), Some("connection refused (refused)"));
        let good =
            json!({"ok": true, "transport": "sse", "revision": "2024-11-05", "tools": [{}], "needs_auth": false});
        assert_eq!(failed_test(&good), None);
        assert_eq!(probed(&good), ": sse 2024-11-05, 1 tool");
    }

    fn ls(search: Option<&str>) -> ServerLs {
        ServerLs { search: search.map(str::to_owned), tag: None, enabled: false, disabled: false, deleted: false }
    }

    #[test]
    fn an_empty_list_says_what_to_do() {
        assert!(listed(&json!({"items": []}), &ls(None)).contains("server add"));
        assert_eq!(listed(&json!({"items": []}), &ls(Some("zzz"))), "no server matches `zzz`");
        let list = listed(
            &json!({"items": [{"name": "n", "enabled": false, "transport": "auto", "url": "http://h", "title": "T"}]}),
            &ls(None),
        );
        assert!(list.contains("n     disabled  auto"), "{list}");
    }
}
