//! `gatehouse server …`.

use serde_json::{Map, Value, json};

use super::tools;
use crate::api::Api;
use crate::args::{Add, Change, Header, ServerVerb};
use crate::failure::Failure;
use crate::screen::{self, Screen, cell, table};

/// Does one verb.
pub(super) async fn run(api: &Api, verb: ServerVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        ServerVerb::Add(add) => {
            let added = api.post(&["servers"], &create_body(&add)?).await?.body;
            screen.show(&added, |added| format!("{} added{}", cell(added, "name"), effects(added)))
        }
        ServerVerb::Ls { search } => {
            let query: Vec<_> = search.as_deref().map(|text| ("search", text)).into_iter().collect();
            screen.show(&api.list(&["servers"], &query).await?, |document| listed(document, search.as_deref()))
        }
        ServerVerb::Show { server } => screen.show(&api.get(&["servers", &server]).await?.body, shown),
        ServerVerb::Set(change) => {
            let body = change_body(&change)?;
            let etag = api.get(&["servers", &change.server]).await?.etag;
            let changed = api.patch(&["servers", &change.server], etag.as_deref(), &body).await?.body;
            screen.show(&changed, |changed| changed_text(changed, change.upstream.is_some()))
        }
        ServerVerb::Rm { servers } => remove(api, &servers, screen).await,
        ServerVerb::Enable { server } => act(api, &server, "enable", "enabled", screen).await,
        ServerVerb::Disable { server } => act(api, &server, "disable", "disabled", screen).await,
        ServerVerb::Test { server } => test(api, &server, screen).await,
        ServerVerb::Tools { server } => tools::list(api, &server, screen).await,
        ServerVerb::Call(call) => tools::call(api, &call, screen).await,
    }
}

async fn act(api: &Api, server: &str, action: &str, done: &str, screen: Screen) -> Result<(), Failure> {
    let answer = api.post(&["servers", server, action], &json!({})).await?.body;
    screen.show(&answer, |answer| format!("{server} {done}{}", effects(answer)))
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

/// Removes each; the first that fails ends it, after what was done has been told.
async fn remove(api: &Api, servers: &[String], screen: Screen) -> Result<(), Failure> {
    let mut items = Vec::new();
    let mut outcome = Ok(());
    for server in servers {
        match remove_one(api, server).await {
            Ok(removed) if screen == Screen::Text => screen::line(&format!("{server} removed{}", effects(&removed)))?,
            Ok(removed) => items.push(removed),
            Err(failure) => {
                outcome = Err(failure);
                break;
            }
        }
    }
    if screen == Screen::Json {
        screen::line(&json!({ "items": items }).to_string())?;
    }
    outcome
}

async fn remove_one(api: &Api, server: &str) -> Result<Value, Failure> {
    let etag = api.get(&["servers", server]).await?.etag;
    let removed = api.delete(&["servers", server], etag.as_deref()).await?.body;
    Ok(if removed.is_null() { json!({ "removed": server }) } else { removed })
}

/// An add probes; a change takes what it is given.
fn changed_text(changed: &Value, elsewhere: bool) -> String {
    let name = cell(changed, "name");
    let advice = if elsewhere { format!("\n  not probed: `gatehouse server test {name}`") } else { String::new() };
    format!("{name} changed{}{advice}", effects(changed))
}

/// Only what was said goes into the body: defaults are control's.
fn create_body(add: &Add) -> Result<Value, Failure> {
    let mut body = Map::new();
    body.insert("name".to_owned(), add.name.clone().into());
    body.insert("url".to_owned(), add.upstream.clone().into());
    body.insert("transport".to_owned(), add.transport.as_str().into());
    settings(
        &mut body,
        add.title.as_deref(),
        &add.headers,
        add.connect_timeout,
        add.read_timeout,
        &add.disabled_tools,
    )?;
    for (said, member, value) in [
        (add.trust_hints, "trust_hints", true),
        (add.disabled, "enabled", false),
        (add.skip_validation, "skip_validation", true),
    ] {
        if said {
            body.insert(member.to_owned(), value.into());
        }
    }
    Ok(body.into())
}

fn change_body(change: &Change) -> Result<Value, Failure> {
    let mut body = Map::new();
    for (member, value) in [
        ("name", change.name.as_deref()),
        ("url", change.upstream.as_deref()),
        ("transport", change.transport.map(|transport| transport.as_str())),
    ] {
        if let Some(value) = value {
            body.insert(member.to_owned(), value.into());
        }
    }
    settings(
        &mut body,
        change.title.as_deref(),
        &change.headers,
        change.connect_timeout,
        change.read_timeout,
        &change.disabled_tools,
    )?;
    if change.no_headers {
        body.insert("headers".to_owned(), json!({}));
    }
    if change.no_disabled_tools {
        body.insert("disabled_tools".to_owned(), json!([]));
    }
    if let Some(trust) = change.trust_hints {
        body.insert("trust_hints".to_owned(), trust.into());
    }
    Ok(body.into())
}

/// What a new server and a change have in common.
fn settings(
    body: &mut Map<String, Value>,
    title: Option<&str>,
    headers: &[Header],
    connect_timeout: Option<u64>,
    read_timeout: Option<u64>,
    disabled_tools: &[String],
) -> Result<(), Failure> {
    if let Some(title) = title {
        body.insert("title".to_owned(), title.into());
    }
    if !headers.is_empty() {
        let mut members = Map::new();
        for (at, Header { name, value }) in headers.iter().enumerate() {
            if headers.iter().take(at).any(|before| before.name.eq_ignore_ascii_case(name)) {
                return Err(Failure::Usage(format!("the header `{name}` is there twice")));
            }
            members.insert(name.clone(), value.clone().into());
        }
        body.insert("headers".to_owned(), members.into());
    }
    for (member, millis) in [("connect_timeout_ms", connect_timeout), ("read_timeout_ms", read_timeout)] {
        if let Some(millis) = millis {
            body.insert(member.to_owned(), millis.into());
        }
    }
    if !disabled_tools.is_empty() {
        body.insert("disabled_tools".to_owned(), disabled_tools.into());
    }
    Ok(())
}

fn listed(document: &Value, search: Option<&str>) -> String {
    let Some(items) = document.get("items").and_then(Value::as_array) else { return String::new() };
    if items.is_empty() {
        return match search {
            Some(text) => format!("no server matches `{text}`"),
            None => "no servers yet: gatehouse server add NAME URL".to_owned(),
        };
    }
    let row = |server: &Value| {
        let enabled = server.get("enabled").and_then(Value::as_bool).unwrap_or(true);
        let state = if enabled { "enabled" } else { "disabled" };
        [cell(server, "name"), state.to_owned(), cell(server, "transport"), cell(server, "url"), cell(server, "title")]
    };
    table(["NAME", "STATE", "TRANSPORT", "URL", "TITLE"], &items.iter().map(row).collect::<Vec<_>>())
}

fn shown(server: &Value) -> String {
    let Some(members) = server.as_object() else { return String::new() };
    let rows: Vec<_> = members.keys().map(|member| [member.clone(), cell(server, member)]).collect();
    table(["FIELD", "VALUE"], &rows)
}

/// What a look at the upstream found.
fn probed(probe: &Value) -> String {
    if probe.get("needs_auth").and_then(Value::as_bool) == Some(true) {
        return ": it wants a login".to_owned();
    }
    let tools = probe.get("tools").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    format!(": {} {}, {}", cell(probe, "transport"), cell(probe, "revision"), plural(tools, "tool", "tools"))
}

/// What a change did on the proxies, and what a probe found, each if the answer tells.
fn effects(answer: &Value) -> String {
    let mut told = answer.get("probe").filter(|probe| probe.is_object()).map(probed).unwrap_or_default();
    let Some(effective) = answer.get("effective").filter(|effective| effective.is_object()) else { return told };
    let count = |member| effective.get(member).and_then(Value::as_u64).unwrap_or(0);
    let rejected = effective.get("rejected").and_then(Value::as_array);
    match (count("live"), count("pending"), rejected.map_or(0, Vec::len)) {
        (0, 0, 0) => told.push_str("; no proxy is attached"),
        (live, ..) => told.push_str(&format!("; in effect on {}", plural(live, "proxy", "proxies"))),
    }
    if count("pending") > 0 {
        told.push_str(&format!(", pending on {}", count("pending")));
    }
    for rejected in rejected.into_iter().flatten() {
        told.push_str(&format!("\n  rejected by {}: {}", cell(rejected, "proxy"), cell(rejected, "reason")));
    }
    told.lines().map(screen::plain).collect::<Vec<_>>().join("\n")
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Verb};

    fn typed(line: &str) -> ServerVerb {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
            Verb::Server(verb) => verb,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn only_what_was_said_is_sent() {
        for (line, expected) in [
            ("g server add n http://h/mcp", json!({"name": "n", "url": "http://h/mcp", "transport": "auto"})),
            (
                "g server add n http://h --transport http --title T --header A:b --connect-timeout 100 --read-timeout 2000 \
                 --disable-tool x --disable-tool y --trust-hints --disabled --skip-validation",
                json!({"name": "n", "url": "http://h", "transport": "streamable_http", "title": "T", "headers": {"A": "b"},
                    "connect_timeout_ms": 100, "read_timeout_ms": 2000, "disabled_tools": ["x", "y"],
                    "trust_hints": true, "enabled": false, "skip_validation": true}),
            ),
        ] {
            let ServerVerb::Add(add) = typed(line) else { panic!("{line}") };
            assert_eq!(create_body(&add).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_change_names_only_what_changes() {
        for (line, expected) in [
            ("g server set n --to http://h/2", json!({"url": "http://h/2"})),
            ("g server set n --name m --trust-hints false", json!({"name": "m", "trust_hints": false})),
            ("g server set n --no-headers --no-disabled-tools", json!({"headers": {}, "disabled_tools": []})),
        ] {
            let ServerVerb::Set(change) = typed(line) else { panic!("{line}") };
            assert_eq!(change_body(&change).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn a_header_that_is_there_twice_is_wrong_usage() {
        let ServerVerb::Add(add) = typed("g server add n http://h --header X-A:b --header x-a:c") else { panic!() };
        assert_eq!(create_body(&add).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn a_new_url_that_nobody_tried_is_said_to_be_so() {
        let answer = json!({"name": "n"});
        assert_eq!(changed_text(&answer, true), "n changed\n  not probed: `gatehouse server test n`");
        assert_eq!(changed_text(&answer, false), "n changed");
    }

    #[test]
    fn what_a_change_did_is_told() {
        let answer = json!({
            "probe": {"transport": "sse", "revision": "2024-11-05", "tools": [{}, {}]},
            "effective": {"live": 1, "pending": 2, "rejected": [{"proxy": "default/a", "reason": "bad\u{7}url"}]}
        });
        assert_eq!(
            effects(&answer),
            ": sse 2024-11-05, 2 tools; in effect on 1 proxy, pending on 2\n  rejected by default/a: bad?url"
        );
        assert_eq!(effects(&json!({"name": "n"})), "");
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

    #[test]
    fn an_empty_list_says_what_to_do() {
        assert!(listed(&json!({"items": []}), None).contains("server add"));
        assert_eq!(listed(&json!({"items": []}), Some("zzz")), "no server matches `zzz`");
        let list = listed(
            &json!({"items": [{"name": "n", "enabled": false, "transport": "auto", "url": "http://h", "title": "T"}]}),
            None,
        );
        assert!(list.contains("n     disabled  auto"), "{list}");
    }
}
