//! `gatehouse toolset …`.

use serde_json::Value;

use super::body::Body;
use super::records::{Records, items, query};
use crate::api::Api;
use crate::args::{Pick, ToolsetAdd, ToolsetArgs, ToolsetSet, ToolsetVerb};
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

const TOOLSETS: Records = Records { path: "toolsets", name: "name" };

/// Does one verb.
pub(super) async fn run(api: &Api, verb: ToolsetVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        ToolsetVerb::Add(add) => TOOLSETS.create(api, &add_body(&add).value(), screen).await,
        ToolsetVerb::Ls { search } => {
            let list = api.list(&["toolsets"], &query(&[("search", search.as_deref())], &[])).await?;
            screen.show(&list, listed)
        }
        ToolsetVerb::Show { toolset } => screen.show(&api.get(&["toolsets", &toolset]).await?.body, shown),
        ToolsetVerb::Set(set) => TOOLSETS.set(api, &set.toolset, &set_body(&set).change()?, screen).await,
        ToolsetVerb::Rm { toolsets } => TOOLSETS.remove(api, &toolsets, screen).await,
    }
}

fn add_body(add: &ToolsetAdd) -> Body {
    record(Body::default().with("name", Some(add.name.as_str())), &add.record)
}

fn set_body(set: &ToolsetSet) -> Body {
    record(Body::default().with("name", set.name.as_deref()), &set.record)
        .cleared("description", set.no_description)
        .anew("tools", &[], set.no_tools)
}

fn record(body: Body, record: &ToolsetArgs) -> Body {
    let tools: Vec<Value> = record.tools.iter().map(entry).collect();
    body.with("title", record.title.as_deref())
        .with("description", record.description.as_deref())
        .with("listing", record.listing.as_deref())
        .with("tools", (!tools.is_empty()).then_some(tools))
}

fn entry(pick: &Pick) -> Value {
    Body::default()
        .with("server", Some(pick.server.as_str()))
        .with("tool", Some(pick.tool.as_str()))
        .with("name", pick.name.as_deref())
        .value()
}

fn listed(document: &Value) -> String {
    let row = |one: &Value| {
        let tools = one.get("tools").and_then(Value::as_array).map_or(0, Vec::len);
        [cell(one, "name"), cell(one, "listing"), tools.to_string(), cell(one, "path"), cell(one, "title")]
    };
    let rows: Vec<_> = items(document).map(row).collect();
    if rows.is_empty() {
        return "no toolsets yet: gatehouse toolset add NAME --tool SERVER/TOOL".to_owned();
    }
    table(["NAME", "LISTS", "ENTRIES", "PATH", "TITLE"], &rows)
}

fn shown(toolset: &Value) -> String {
    let mut text = String::new();
    for member in ["name", "title", "description", "listing", "path", "generation", "id"] {
        let value = cell(toolset, member);
        if !value.is_empty() {
            text.push_str(&format!("{member}: {value}\n"));
        }
    }
    let row = |entry: &Value| {
        let server = Some(cell(entry, "server")).filter(|name| !name.is_empty());
        let server = server.unwrap_or_else(|| format!("{} (deleted)", cell(entry, "server_id")));
        [server, cell(entry, "tool"), cell(entry, "name"), cell(entry, "description")]
    };
    let rows: Vec<_> = toolset.get("tools").and_then(Value::as_array).into_iter().flatten().map(row).collect();
    if rows.is_empty() {
        text.push_str("nothing is in it");
    } else {
        text.push_str(&table(["SERVER", "TOOL", "CALLED", "DESCRIBED AS"], &rows));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    #[test]
    fn only_what_was_said_is_sent() {
        for (line, expected) in [
            ("g toolset add office", json!({"name": "office"})),
            (
                "g toolset add office --title O --listing search --tool notes/search=find --tool wiki/*",
                json!({"name": "office", "title": "O", "listing": "search", "tools": [
                    {"server": "notes", "tool": "search", "name": "find"}, {"server": "wiki", "tool": "*"}]}),
            ),
            ("g toolset set office --no-description --no-tools", json!({"description": null, "tools": []})),
            ("g toolset update office --name o2", json!({"name": "o2"})),
        ] {
            let sent = match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
                Verb::Toolset(ToolsetVerb::Add(add)) => add_body(&add).value(),
                Verb::Toolset(ToolsetVerb::Set(set)) => set_body(&set).change().unwrap(),
                other => panic!("{other:?}"),
            };
            assert_eq!(sent, expected, "{line}");
        }
    }

    #[test]
    fn a_toolset_tells_what_is_in_it() {
        let toolset = json!({"name": "office", "listing": "tools", "description": null, "tools": [
            {"server": "notes", "server_id": "1", "tool": "search", "name": "find", "description": "Finds"},
            {"server": null, "server_id": "2", "tool": "*", "name": null, "description": null}]});
        let told = shown(&toolset);
        assert!(told.contains("find") && told.contains("2 (deleted)") && !told.contains("description:"), "{told}");
        assert!(shown(&json!({"tools": []})).contains("nothing is in it"));
        assert!(listed(&json!({"items": [toolset]})).lines().nth(1).unwrap().starts_with("office"));
        assert!(listed(&json!({"items": []})).contains("toolset add"));
    }
}
