//! `/toolsets/{name}/mcp`: tools of several servers, chosen, renamed and described anew.

use model::{
    Generation, KeyRole, KeyVerifier, Listing, Resource, ResourceName, ServerSpec, ToolsetId, ToolsetSpec, ToolsetTool,
};
use serde_json::json;
use tests::mcp::code_of;
use tests::{Mcp, Upstream, patient};

use crate::house::{House, server, tenant};

/// A toolset of this name.
pub(crate) fn toolset(name: &str, tools: Vec<ToolsetTool>) -> ToolsetSpec {
    ToolsetSpec {
        id: ToolsetId::fresh(),
        tenant: tenant().id,
        name: name.parse().unwrap(),
        title: format!("{name} for people"),
        description: Some("What the office needs".to_owned()),
        generation: Generation(1),
        listing: Listing::Tools,
        tools,
    }
}

pub(crate) fn entry(server: &ServerSpec, tool: &str, name: Option<&str>) -> ToolsetTool {
    ToolsetTool { server: server.id, tool: tool.to_owned(), name: name.map(str::to_owned), description: None }
}

fn at(house: &House) -> String {
    house.at("/toolsets/office/mcp")
}

/// Two servers, and a toolset of an echo with another name and description, and of all else of the second server.
async fn office() -> (House, [Upstream; 2], [ServerSpec; 2], ToolsetSpec) {
    let house = House::start().await;
    let upstreams = [Upstream::named("notes").await, Upstream::named("wiki").await];
    let servers = [server("notes", &upstreams[0].url()), server("wiki", &upstreams[1].url())];
    servers.iter().for_each(|spec| house.mount(spec));
    let said =
        ToolsetTool { description: Some("Says it \"again\"".to_owned()), ..entry(&servers[0], "echo", Some("say")) };
    let tools = vec![entry(&servers[1], "echo", None), said, entry(&servers[1], "*", None)];
    let spec = toolset("office", tools);
    house.put([Resource::Toolset(spec.clone())]);
    (house, upstreams, servers, spec)
}

const OFFICE: [&str; 6] = ["wiki__echo", "say", "wiki__slow", "wiki__progress", "wiki__bad", "wiki__fail"];

#[tokio::test]
async fn a_toolset_lists_and_calls_what_it_chooses_in_both_eras() {
    let (house, upstreams, ..) = office().await;
    let key = house.key(KeyRole::User).text;
    for mcp in [Mcp::open(&at(&house), &key).await, Mcp::stateless(&at(&house), &key)] {
        assert_eq!(mcp.tools().await, OFFICE);
        let listed = mcp.request("tools/list", json!({})).await;
        let say = &listed["result"]["tools"][1];
        assert_eq!((&say["description"], &say["x-unknown"]), (&json!("Says it \"again\""), &json!({"kept": true})));
        assert_eq!(listed["result"]["tools"][0]["description"], "echo of wiki");
        let era = mcp.revision().to_owned();
        for (tool, said) in [("say", "notes"), ("wiki__echo", "wiki")] {
            assert_eq!(mcp.text(tool, json!({"text": era})).await, format!("{said}: {era}"), "{tool}");
        }
        for unknown in ["notes__echo", "notes__slow", "echo", "wiki__nothing", "gatehouse__echo", "other__echo"] {
            assert_eq!(code_of(&mcp.call(unknown, json!({"text": "no"})).await), -32602, "{unknown}");
        }
    }
    let called: Vec<_> =
        upstreams[0].messages("tools/call").iter().map(|call| call["params"]["name"].clone()).collect();
    assert_eq!(called, ["echo", "echo"], "under the server's own name");
}

#[tokio::test]
async fn a_toolset_says_what_it_is_for_and_has_nothing_but_tools() {
    let (house, _upstreams, ..) = office().await;
    let key = house.key(KeyRole::User).text;
    let mcp = Mcp::open(&at(&house), &key).await;
    assert_eq!(mcp.server["capabilities"], json!({"tools": {"listChanged": true}}));
    assert_eq!(
        (&mcp.server["instructions"], &mcp.server["serverInfo"]["name"]),
        (&json!("What the office needs"), &json!("office"))
    );
    for method in ["prompts/list", "resources/list", "completion/complete", "logging/setLevel"] {
        assert_eq!(code_of(&mcp.request(method, json!({})).await), -32601, "{method}");
    }
    let discovered = Mcp::stateless(&at(&house), &key).request("server/discover", json!({})).await;
    assert_eq!(discovered["result"]["instructions"], "What the office needs", "{discovered}");
    let foreign = mcp.request("tools/list", json!({"cursor": "x"})).await;
    assert_eq!(code_of(&foreign), -32602);
    for nowhere in ["/toolsets/nowhere/mcp", "/t/acme/toolsets/nowhere/mcp", "/toolsets/office"] {
        let refused = Mcp::try_open(&house.at(nowhere), &key, "2025-11-25").await.err().unwrap();
        assert!(refused.contains("404"), "{nowhere}: {refused}");
    }
    assert_eq!(Mcp::open(&house.at("/t/acme/toolsets/office/mcp"), &key).await.tools().await, OFFICE);
}

#[tokio::test]
async fn what_a_key_may_not_use_and_what_is_disabled_is_in_no_toolset() {
    let (house, _upstreams, [notes, wiki], _) = office().await;
    let disabled_tools = vec!["echo".to_owned(), "slow".to_owned()];
    house.mount(&ServerSpec { disabled_tools, ..wiki });
    let key = house.key(KeyRole::User);
    let mcp = Mcp::open(&at(&house), &key.text).await;
    assert_eq!(mcp.tools().await, ["say", "wiki__progress", "wiki__bad", "wiki__fail"]);
    for tool in ["wiki__echo", "wiki__slow"] {
        assert_eq!(code_of(&mcp.call(tool, json!({"text": "x"})).await), -31007, "{tool}");
    }
    let less = KeyVerifier { servers: Some(vec!["wiki".to_owned()]), ..key.verifier };
    house.put([Resource::Key(less)]);
    assert_eq!(mcp.tools().await, ["wiki__progress", "wiki__bad", "wiki__fail"]);
    assert_eq!(code_of(&mcp.call("say", json!({"text": "x"})).await), -32602, "of a server that is none to this key");
    house.remove([ResourceName::Server(notes.id)]);
}

#[tokio::test]
async fn a_server_that_goes_serves_nothing_until_it_is_back() {
    let (house, upstreams, [notes, wiki], _) = office().await;
    let mcp = Mcp::open(&at(&house), &house.key(KeyRole::User).text).await;
    house.remove([ResourceName::Server(notes.id)]);
    assert!(!mcp.tools().await.contains(&"say".to_owned()));
    assert_eq!(code_of(&mcp.call("say", json!({"text": "x"})).await), -32602);
    house.mount(&notes);
    assert_eq!(mcp.tools().await, OFFICE);
    // One that is down is named, and the others are served.
    upstreams[0].end();
    house.mount(&ServerSpec { generation: Generation(2), ..notes });
    let listed = mcp.request("tools/list", json!({})).await;
    assert_eq!(listed["result"]["_meta"]["gatehouse/missing"], json!(["notes"]), "{listed}");
    assert_eq!(mcp.text("wiki__echo", json!({"text": "x"})).await, "wiki: x");
    drop(wiki);
}

#[tokio::test]
async fn those_who_listen_hear_of_its_servers_and_of_itself() {
    let (house, upstreams, [_, wiki], spec) = office().await;
    let mcp = Mcp::open(&at(&house), &house.key(KeyRole::User).text).await;
    let mut listening = mcp.listen().await;
    mcp.tools().await;
    let changed = "notifications/tools/list_changed";
    upstreams[1].add_tool("new");
    house.mount(&ServerSpec { generation: Generation(2), ..wiki.clone() });
    listening.until(changed).await;
    assert!(mcp.tools().await.contains(&"wiki__new".to_owned()));
    let other = Upstream::named("other").await;
    house.mount(&server("other", &other.url()));
    let less =
        ToolsetSpec { generation: Generation(2), tools: vec![entry(&wiki, "echo", Some("say"))], ..spec.clone() };
    house.put([Resource::Toolset(less)]);
    listening.until(changed).await;
    assert_eq!(mcp.tools().await, ["say"]);
    assert_eq!(mcp.text("say", json!({"text": "x"})).await, "wiki: x");
    let quiet = tokio::time::timeout(std::time::Duration::from_millis(500), listening.next()).await;
    assert!(quiet.is_err(), "a server that it has nothing of came: {quiet:?}");

    house.remove([ResourceName::Toolset(spec.id)]);
    patient("the stream ends", async { while listening.next().await.is_some() {} }).await;
    assert_eq!(mcp.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.unwrap().status, 404);
}

#[tokio::test]
async fn toolsets_that_trade_names_and_one_of_another_tenant_lead_where_they_should() {
    let (house, _upstreams, [notes, wiki], spec) = office().await;
    let other = toolset("field", vec![entry(&notes, "echo", Some("here"))]);
    house.put([Resource::Toolset(other.clone())]);
    let renamed = |spec: &ToolsetSpec, name: &str| {
        Resource::Toolset(ToolsetSpec { name: name.parse().unwrap(), generation: Generation(2), ..spec.clone() })
    };
    let key = house.key(KeyRole::User).text;
    let old = Mcp::open(&at(&house), &key).await;
    house.put([renamed(&spec, "field"), renamed(&other, "office")]);
    assert_eq!(Mcp::open(&at(&house), &key).await.tools().await, ["here"]);
    let status = old.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.unwrap().status;
    assert_eq!(status, 404, "a session stays with its toolset, which is elsewhere now");
    let wrong = ToolsetSpec { tools: vec![entry(&wiki, "echo", Some("a.b"))], ..other };
    let change = proxy::Change { upserts: vec![Resource::Toolset(wrong)], ..proxy::Change::default() };
    let rejected = house.tables.apply(change);
    assert_eq!(rejected.len(), 1, "{rejected:?}");
    assert_eq!(Mcp::open(&at(&house), &key).await.tools().await, ["here"], "its last good version");
}
