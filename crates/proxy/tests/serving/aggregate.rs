//! `/mcp`: many servers as one, and the way back from its names, URIs, ids and cursors.

use serde_json::{Value, json};
use tests::{Mcp, Upstream, eventually, mcp};

use crate::house::{House, server};

/// Two servers with a resource of the same URI, and one that each has alone.
async fn two() -> (House, Upstream, Upstream, Mcp) {
    let (house, first, second) =
        (House::start().await, Upstream::named("first").await, Upstream::named("second").await);
    for (name, upstream) in [("first", &first), ("second", &second)] {
        upstream.add_tool("link");
        upstream.add_resource("test://both/note");
        house.mount(&server(name, &upstream.url()));
    }
    let mcp = house.session_on_all().await;
    (house, first, second, mcp)
}

#[tokio::test]
async fn a_uri_that_two_servers_use_leads_to_each_of_them_in_lists_and_reads() {
    let (_house, _first, _second, mcp) = two().await;
    let uris = mcp.list("resources/list", "resources", "uri").await;
    assert_eq!(uris, ["test://first/note", "test://both/note", "test://second/note", "gw+second:test://both/note"]);
    for (uri, of) in [
        ("test://both/note", "first"),
        ("gw+second:test://both/note", "second"),
        ("gw+first:test://both/note", "first"),
        ("test://second/note", "second"),
        ("test://second/item/7", "second"),
    ] {
        let answer = mcp.request("resources/read", json!({"uri": uri})).await;
        let contents = &answer["result"]["contents"][0];
        assert_eq!(contents["text"], format!("{of}'s note"), "{uri}");
        assert_eq!(contents["uri"], uri, "what is read is called as it was asked for");
    }
}

#[tokio::test]
async fn a_uri_inside_content_leads_back_to_the_server_that_said_it() {
    let (_house, _first, _second, mcp) = two().await;
    mcp.list("resources/list", "resources", "uri").await;
    mcp.list("resources/templates/list", "resourceTemplates", "uriTemplate").await;
    for (server, uri, link, along) in [
        // Its own, and nobody else's.
        ("second", "test://second/note", "test://second/note", "test://second/note"),
        // The same URI is another server's here.
        ("second", "test://both/note", "gw+second:test://both/note", "gw+second:test://both/note"),
        ("first", "test://both/note", "test://both/note", "test://both/note"),
        ("second", "test://first/item/1", "gw+second:test://first/item/1", "gw+second:test://first/item/1"),
        // Nobody lists it: what is pointed to must be found, what comes along is there.
        ("first", "other://place", "gw+first:other://place", "other://place"),
    ] {
        let answer = mcp.call(&format!("{server}__link"), json!({"text": uri})).await;
        let content = &answer["result"]["content"];
        assert_eq!(
            (&content[0]["uri"], &content[1]["resource"]["uri"]),
            (&json!(link), &json!(along)),
            "{server} {uri}"
        );
        let read = mcp.request("resources/read", json!({"uri": link})).await;
        assert_eq!(read["result"]["contents"][0]["text"], format!("{server}'s note"), "{link}");
    }
}

#[tokio::test]
async fn content_at_a_servers_own_url_is_the_upstreams_own() {
    let (house, _first, _second, _mcp) = two().await;
    let mcp = house.session("second").await;
    let answer = mcp.call("link", json!({"text": "test://both/note"})).await;
    assert_eq!(answer["result"]["content"][0]["uri"], "test://both/note");
}

#[tokio::test]
async fn content_that_comes_as_events_is_mapped_alike() {
    let (_house, _first, second, mcp) = two().await;
    second.answer_as_events();
    mcp.list("resources/list", "resources", "uri").await;
    let answer = mcp.call("second__link", json!({"text": "test://both/note"})).await;
    assert_eq!(answer["result"]["content"][0]["uri"], "gw+second:test://both/note");
}

#[tokio::test]
async fn tasks_of_several_servers_with_the_same_id_are_told_apart() {
    let (_house, first, second, mcp) = two().await;
    let mut ids = Vec::new();
    for (name, upstream) in [("first", &first), ("second", &second)] {
        upstream.keep_tasks();
        let params = json!({"name": format!("{name}__echo"), "arguments": {"text": "x"}, "task": {"ttl": 1000}});
        let answer = mcp.request("tools/call", params).await;
        ids.push((name, answer["result"]["task"]["taskId"].as_str().unwrap().to_owned()));
    }
    assert_ne!(ids[0].1, ids[1].1);
    for (name, id) in &ids {
        assert_ne!(id, "task");
        let got = mcp.request("tasks/get", json!({"taskId": id})).await;
        assert_eq!(got["result"]["status"], "working", "{got}");
        let answer = mcp.request("tasks/result", json!({"taskId": id})).await;
        assert_eq!(mcp::text_of(&answer), format!("the task of {name}"));
        let related = &answer["result"]["_meta"]["io.modelcontextprotocol/related-task"]["taskId"];
        let again = mcp.request("tasks/get", json!({"taskId": related})).await;
        assert_eq!(again["result"]["status"], "working", "{again}");
    }
    for id in ["task", "", "x.y"] {
        let refused = mcp.request("tasks/get", json!({"taskId": id})).await;
        assert_eq!(mcp::code_of(&refused), -32602, "{id}");
    }
}

#[tokio::test]
async fn long_lists_come_in_pages_whose_cursors_are_good_for_that_list_alone() {
    let (house, first, second, _) = two().await;
    for upstream in [&first, &second] {
        (0..1_200).for_each(|number| upstream.add_tool(&format!("tool-{number:04}")));
    }
    let mcp = house.session_on_all().await;
    let names = mcp.tools().await;
    let of = |server: &str| names.iter().filter(|name| name.starts_with(server)).count();
    assert_eq!((of("first__"), of("second__")), (1_206, 1_206));
    assert!(names.iter().any(|name| name == "gatehouse__echo"), "the built-in service is on the last page");
    let mut unique = names.clone();
    unique.sort();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "no tool stands on two pages");

    let page = mcp.request("tools/list", json!({})).await;
    assert_eq!(page["result"]["tools"].as_array().unwrap().len(), 1_000);
    let cursor = page["result"]["nextCursor"].as_str().unwrap().to_owned();
    let other = house.session_on_all().await;
    let next = other.request("tools/list", json!({"cursor": cursor})).await;
    assert_eq!(next["result"]["tools"][0]["name"], names[1_000], "any session goes on where another stopped");
    for (method, cursor) in [
        ("prompts/list", json!(cursor)),
        ("tools/list", json!("1000")),
        ("tools/list", json!("")),
        ("tools/list", json!(7)),
        ("tools/list", json!(cursor.to_uppercase())),
    ] {
        let refused = mcp.request(method, json!({"cursor": cursor})).await;
        assert_eq!(mcp::code_of(&refused), -32602, "{method} {cursor}: {refused}");
    }
}

#[tokio::test]
async fn the_aggregate_offers_what_its_servers_said_and_everything_while_one_has_said_nothing() {
    let (house, first, _second, mcp) = two().await;
    assert!(mcp.server["capabilities"]["resources"]["subscribe"] == true, "nobody has been asked");
    assert!(mcp.server["capabilities"].get("tasks").is_none());
    first.keep_tasks();
    for server in ["first", "second"] {
        mcp.text(&format!("{server}__echo"), json!({"text": "x"})).await;
    }
    let known = house.session_on_all().await;
    let capabilities = known.server["capabilities"].as_object().unwrap();
    let names: Vec<&str> = capabilities.keys().map(String::as_str).collect();
    assert_eq!(names, ["completions", "logging", "prompts", "resources", "tasks", "tools"]);
    assert!(capabilities["resources"].get("subscribe").is_none(), "no server lets clients subscribe");
}

#[tokio::test]
async fn a_server_that_is_down_is_named_in_the_list_and_costs_the_others_nothing() {
    let (house, first, second, mcp) = two().await;
    second.end();
    let answer = mcp.request("tools/list", json!({})).await;
    assert_eq!(answer["result"]["_meta"]["gatehouse/missing"], json!(["second"]));
    let names = answer["result"]["tools"].as_array().unwrap();
    assert!(names.iter().any(|tool| tool["name"] == "first__echo"));
    assert_eq!(mcp.text("first__echo", json!({"text": "x"})).await, "first: x");
    drop((house, first));
}

#[tokio::test]
async fn of_three_servers_the_one_that_restarts_is_initialized_again_alone() {
    let house = House::start().await;
    let three = [Upstream::named("one").await, Upstream::named("two").await, Upstream::named("three").await];
    for (name, upstream) in ["one", "two", "three"].into_iter().zip(&three) {
        house.mount(&server(name, &upstream.url()));
    }
    let mcp = house.session_on_all().await;
    let mut listening = mcp.listen().await;
    mcp.tools().await;
    let initialized = || three.each_ref().map(|upstream| upstream.messages("initialize").len());
    let before = initialized();
    // The same tools as before: nobody has to hear of it.
    three[1].forget_sessions();
    three[1].hang_up();
    for name in ["one", "two", "three"] {
        assert_eq!(mcp.text(&format!("{name}__echo"), json!({"text": "x"})).await, format!("{name}: x"));
    }
    assert_eq!(initialized(), [before[0], before[1] + 1, before[2]]);
    // Another tool: one notification, whatever happened before.
    three[1].forget_sessions();
    three[1].hang_up();
    three[1].add_tool("new");
    assert_eq!(mcp.text("two__echo", json!({"text": "y"})).await, "two: y");
    eventually("the new tool is there", async || mcp.tools().await.iter().any(|name| name == "two__new").then_some(()))
        .await;
    let first = listening.until("notifications/tools/list_changed").await;
    assert!(first.get("id").is_none());
    mcp.text("one__echo", json!({"text": "z"})).await;
    let rest = tokio::time::timeout(std::time::Duration::from_millis(500), listening.next()).await;
    assert!(!matches!(&rest, Ok(Some(message)) if message["method"] == "notifications/tools/list_changed"), "{rest:?}");
    let _: Value = mcp.request("ping", json!({})).await;
}
