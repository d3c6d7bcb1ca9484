//! The tools by which others are found, described and called: everywhere the same, in both eras.

use model::{KeyRole, KeyVerifier, Listing, Resource, ToolsetSpec};
use serde_json::{Value, json};
use tests::mcp::code_of;
use tests::{Mcp, Upstream};

use crate::house::{House, server};
use crate::toolsets::{entry, toolset};

const META: [&str; 3] = ["gatehouse__search_tools", "gatehouse__describe_tool", "gatehouse__call_tool"];

/// Two servers, and a toolset with a tool of each that shows none of them.
async fn searched() -> (House, [Upstream; 2]) {
    let house = House::start().await;
    let upstreams = [Upstream::named("notes").await, Upstream::named("wiki").await];
    upstreams[0].add_tool("create_invoice");
    upstreams[1].add_tool("translate_text");
    let servers = [server("notes", &upstreams[0].url()), server("wiki", &upstreams[1].url())];
    servers.iter().for_each(|spec| house.mount(spec));
    let tools = vec![
        entry(&servers[0], "create_invoice", Some("bill")),
        entry(&servers[1], "echo", None),
        entry(&servers[1], "progress", Some("work")),
    ];
    house.put([Resource::Toolset(ToolsetSpec { listing: Listing::Search, ..toolset("office", tools) })]);
    (house, upstreams)
}

/// What a search finds, by names.
async fn found(mcp: &Mcp, tool: &str, arguments: Value) -> Vec<String> {
    let answer = mcp.call(tool, arguments).await;
    let structured = &answer["result"]["structuredContent"];
    let text: Value = serde_json::from_str(&tests::mcp::text_of(&answer)).unwrap();
    assert_eq!(&text, structured, "the same twice");
    structured["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn everything_is_found_described_and_called_through_three_tools_in_both_eras() {
    let (house, _upstreams) = searched().await;
    let key = house.key(KeyRole::User).text;
    for mcp in [Mcp::open(&house.at("/mcp"), &key).await, Mcp::stateless(&house.at("/mcp"), &key)] {
        let listed = mcp.tools().await;
        assert!(META.iter().all(|tool| listed.contains(&(*tool).to_owned())), "{listed:?}");
        let query = json!({"query": "make an invoice"});
        assert_eq!(found(&mcp, META[0], query).await[0], "notes__create_invoice");
        let of_wiki = found(&mcp, META[0], json!({"query": "echo", "server": "wiki", "limit": 2})).await;
        assert_eq!(of_wiki[0], "wiki__echo");
        assert!(of_wiki.iter().all(|name| name.starts_with("wiki__")) && of_wiki.len() <= 2, "{of_wiki:?}");
        let described = mcp.call(META[1], json!({"name": "wiki__translate_text"})).await;
        let described = &described["result"]["structuredContent"];
        assert_eq!(
            (&described["server"], &described["tool"]["name"]),
            (&json!("wiki"), &json!("wiki__translate_text"))
        );
        assert_eq!(described["tool"]["x-unknown"], json!({"kept": true}), "whatever the server says of it");
        let called = mcp.call(META[2], json!({"name": "wiki__echo", "arguments": {"text": "hi"}})).await;
        assert_eq!(tests::mcp::text_of(&called), "wiki: hi");
        let stateless = mcp.revision() == "2026-07-28";
        let search = mcp.call(META[0], json!({"query": "echo"})).await;
        assert_eq!(search["result"]["resultType"] == "complete", stateless, "{search}");
    }
}

#[tokio::test]
async fn a_toolset_may_show_only_them_and_they_reach_its_tools_alone() {
    let (house, upstreams) = searched().await;
    let key = house.key(KeyRole::User).text;
    let url = house.at("/toolsets/office/mcp");
    for mcp in [Mcp::open(&url, &key).await, Mcp::stateless(&url, &key)] {
        assert_eq!(mcp.tools().await, META);
        assert_eq!(found(&mcp, META[0], json!({"query": "create an invoice"})).await, ["bill"]);
        assert_eq!(
            found(&mcp, META[0], json!({"query": "translate text"}))
                .await
                .iter()
                .filter(|name| name.contains("translate"))
                .count(),
            0
        );
        let described = mcp.call(META[1], json!({"name": "bill"})).await;
        assert_eq!(described["result"]["structuredContent"]["tool"]["name"], "bill");
        let called = mcp.call(META[2], json!({"name": "wiki__echo", "arguments": {"text": "hi"}})).await;
        assert_eq!(tests::mcp::text_of(&called), "wiki: hi");
        for absent in ["wiki__translate_text", "notes__create_invoice", "gatehouse__echo"] {
            let refused = mcp.call(META[2], json!({"name": absent, "arguments": {}})).await;
            assert_eq!(code_of(&refused), -32602, "{absent}: {refused}");
            let undescribed = mcp.call(META[1], json!({"name": absent})).await;
            assert_eq!(undescribed["result"]["isError"], true, "{absent}: {undescribed}");
        }
    }
    assert_eq!(upstreams[1].calls("hi"), 2);
    let instructions = Mcp::open(&url, &key).await.server["instructions"].as_str().unwrap().to_owned();
    assert!(instructions.starts_with("What the office needs") && instructions.contains(META[0]), "{instructions}");
}

#[tokio::test]
async fn a_call_through_them_streams_and_fails_as_the_tool_itself_does() {
    let (house, upstreams) = searched().await;
    let mcp = Mcp::open(&house.at("/toolsets/office/mcp"), &house.key(KeyRole::User).text).await;
    let params = json!({"name": META[2], "arguments": {"name": "work", "arguments": {"text": "x"}}, "_meta": {"progressToken": "mine"}});
    let (events, answer) = mcp.try_request("tools/call", params).await.unwrap();
    let progress: Vec<_> = events.iter().filter(|event| event["method"] == "notifications/progress").collect();
    assert!(
        !progress.is_empty() && progress.iter().all(|event| event["params"]["progressToken"] == "mine"),
        "{events:?}"
    );
    assert!(answer["error"].is_null(), "{answer}");
    let all = house.session_on_all().await;
    let plain = all.call("wiki__fail", json!({"text": "x"})).await;
    let through = all.call(META[2], json!({"name": "wiki__fail", "arguments": {"text": "x"}})).await;
    assert_eq!((&plain["result"], &plain["error"]), (&through["result"], &through["error"]));
    upstreams[1].end();
    let down = all.call(META[2], json!({"name": "wiki__echo", "arguments": {"text": "x"}})).await;
    assert_eq!(down["error"]["data"]["server"], "wiki", "{down}");
}

#[tokio::test]
async fn what_they_are_not_asked_rightly_is_told_to_the_model() {
    let (house, upstreams) = searched().await;
    let mcp = house.session_on_all().await;
    for (tool, arguments, said) in [
        (META[0], json!({}), "`query` is missing"),
        (META[0], json!({"query": 7}), "`query` must be a text"),
        (META[0], json!({"query": "x", "limit": "many"}), "`limit`"),
        (META[1], json!({"name": "nowhere__tool"}), "no tool nowhere__tool"),
        (META[2], json!({"arguments": {}}), "`name` is missing"),
        (META[2], json!({"name": "notes__echo", "arguments": "{}"}), "`arguments` must be an object"),
        (META[2], json!({"name": META[2], "arguments": {"name": "notes__echo"}}), "call it itself"),
        (META[2], json!({"name": META[0], "arguments": {"query": "x"}}), "call it itself"),
    ] {
        let answer = mcp.call(tool, arguments.clone()).await;
        let text = answer["result"]["content"][0]["text"].as_str().unwrap_or_else(|| panic!("{arguments}: {answer}"));
        assert!(answer["result"]["isError"] == true && text.contains(said), "{arguments}: {text}");
    }
    assert_eq!(code_of(&mcp.call(META[2], json!({"name": "nowhere__tool"})).await), -32602);
    assert_eq!(upstreams[0].messages("tools/call").len(), 0);
    let echo = mcp.call(META[2], json!({"name": "gatehouse__echo", "arguments": {"message": "me"}})).await;
    assert_eq!(tests::mcp::text_of(&echo), "me");
}

#[tokio::test]
async fn the_built_in_service_has_them_at_its_own_url() {
    let (house, _upstreams) = searched().await;
    let key = house.key(KeyRole::User).text;
    let url = house.at("/servers/gatehouse/mcp");
    for mcp in [Mcp::open(&url, &key).await, Mcp::stateless(&url, &key)] {
        assert_eq!(mcp.tools().await, ["echo", "servers", "search_tools", "describe_tool", "call_tool"]);
        assert_eq!(found(&mcp, "search_tools", json!({"query": "invoice"})).await[0], "notes__create_invoice");
        let called = mcp.call("call_tool", json!({"name": "wiki__echo", "arguments": {"text": "hi"}})).await;
        assert_eq!(tests::mcp::text_of(&called), "wiki: hi");
    }
}

#[tokio::test]
async fn a_search_shows_what_the_caller_may_use_as_it_is_now() {
    let (house, upstreams) = searched().await;
    let key = house.key(KeyRole::User);
    let mcp = Mcp::open(&house.at("/mcp"), &key.text).await;
    let search = async || found(&mcp, META[0], json!({"query": "invoice"})).await;
    assert_eq!(search().await[0], "notes__create_invoice");
    let less = KeyVerifier { servers: Some(vec!["wiki".to_owned()]), ..key.verifier.clone() };
    house.put([Resource::Key(less)]);
    assert!(search().await.iter().all(|name| !name.starts_with("notes__")));
    house.put([Resource::Key(key.verifier)]);
    let third = Upstream::named("third").await;
    third.add_tool("send_invoice");
    house.mount(&server("third", &third.url()));
    assert!(search().await.contains(&"third__send_invoice".to_owned()));
    drop(upstreams);
}
