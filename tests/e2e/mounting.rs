//! Mounting, changing and unmounting while clients are connected.

use serde_json::json;
use tests::mcp::{code_of, text_of};
use tests::{Gatehouse, Upstream, eventually};

use crate::ways::{mounted, nowhere, until_offered};

#[tokio::test]
async fn a_server_added_while_a_client_is_connected_is_offered_and_vanishes_when_removed() {
    let house = Gatehouse::start().await;
    let mcp = house.mcp().await;
    let mut stream = mcp.listen().await;
    assert!(!mcp.tools().await.contains(&"notes__echo".to_owned()));

    let notes = Upstream::named("notes").await;
    let record = house.admin().add("notes", &notes.url()).await;
    assert_eq!(record["name"], "notes");
    assert_eq!(record["effective"]["live"], 1, "{record}");
    assert_eq!(record["effective"]["rejected"], json!([]));
    stream.until("notifications/tools/list_changed").await;
    until_offered(&mcp, "notes__echo", true).await;
    assert_eq!(mcp.text("notes__echo", json!({"text": "hi"})).await, "notes: hi");
    assert_eq!(house.mcp_of("notes").await.text("echo", json!({"text": "ho"})).await, "notes: ho");

    house.admin().remove("notes").await.expect(200);
    stream.until("notifications/tools/list_changed").await;
    until_offered(&mcp, "notes__echo", false).await;
    let refused = mcp.call("notes__echo", json!({"text": "gone"})).await;
    assert_eq!(code_of(&refused), -32602, "{refused}");
    assert_eq!(notes.calls("gone"), 0);
}

#[tokio::test]
async fn a_dead_second_upstream_changes_nothing_for_the_first() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let _live = mounted(&admin, "live").await;

    let refused = admin.post("/api/v1/servers", &json!({"name": "dead", "url": nowhere()})).await;
    assert!(refused.status.is_client_error() || refused.status.as_u16() == 503, "{}", refused.text());
    admin.server("dead").await.expect(404);

    let unseen = json!({"name": "dead", "url": nowhere(), "skip_validation": true});
    admin.post("/api/v1/servers", &unseen).await.expect(201);
    let mcp = house.mcp().await;
    for turn in 0..5 {
        assert!(mcp.tools().await.contains(&"live__echo".to_owned()));
        let text = format!("turn {turn}");
        assert_eq!(mcp.text("live__echo", json!({"text": text})).await, format!("live: {text}"));
        let dead = mcp.call("dead__echo", json!({"text": text})).await;
        assert!([-31001, -32602].contains(&code_of(&dead)), "{dead}");
    }
}

#[tokio::test]
async fn a_changed_url_moves_new_calls_while_old_ones_finish() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let old = Upstream::named("old").await;
    let new = Upstream::named("new").await;
    admin.add("moving", &old.url()).await;
    for url in ["/mcp", "/servers/moving/mcp"] {
        let mcp = tests::Mcp::open(&house.at(url), house.client_key()).await;
        let prefix = if url == "/mcp" { "moving__" } else { "" };
        admin.patch("moving", &json!({"url": old.url()})).await.expect(200);
        old.close_gate();
        let text = format!("through {url}");
        let slow_tool = format!("{prefix}slow");
        let slow = mcp.call(&slow_tool, json!({"text": text}));
        let change = async {
            eventually("the old upstream works", || async { (old.calls(&text) == 1).then_some(()) }).await;
            admin.patch("moving", &json!({"url": new.url()})).await.expect(200);
            let other = tests::Mcp::open(&house.at(url), house.client_key()).await;
            assert_eq!(other.text(&format!("{prefix}echo"), json!({"text": text})).await, format!("new: {text}"));
            old.open_gate();
        };
        let (answer, ()) = tokio::join!(slow, change);
        assert_eq!(text_of(&answer), format!("old: {text}"));
        // The session that was open all along moves as well.
        assert_eq!(mcp.text(&format!("{prefix}echo"), json!({"text": "later"})).await, "new: later");
    }
}

#[tokio::test]
async fn a_disabled_server_and_a_disabled_tool_are_neither_offered_nor_called() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let upstream = mounted(&admin, "desk").await;
    let mcp = house.mcp().await;
    until_offered(&mcp, "desk__echo", true).await;

    admin.patch("desk", &json!({"disabled_tools": ["echo"]})).await.expect(200);
    until_offered(&mcp, "desk__echo", false).await;
    until_offered(&mcp, "desk__slow", true).await;
    assert!(mcp.call("desk__echo", json!({"text": "no"})).await["error"].is_object());
    let single = house.mcp_of("desk").await;
    assert!(!single.tools().await.contains(&"echo".to_owned()));
    assert!(single.call("echo", json!({"text": "no"})).await["error"].is_object());

    admin.post("/api/v1/servers/desk/disable", &json!(null)).await.expect(200);
    until_offered(&mcp, "desk__slow", false).await;
    admin.post("/api/v1/servers/desk/enable", &json!(null)).await.expect(200);
    until_offered(&mcp, "desk__slow", true).await;
    assert_eq!(upstream.calls("no"), 0);
}

#[tokio::test]
async fn what_an_upstream_changes_reaches_clients_that_listen() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "growing").await;
    let mcp = house.mcp().await;
    until_offered(&mcp, "growing__echo", true).await;
    let mut stream = mcp.listen().await;
    // A call opens the upstream session; somebody listens, so its stream is watched.
    assert_eq!(mcp.text("growing__echo", json!({"text": "a"})).await, "growing: a");
    eventually("the upstream is watched", || async { (upstream.listeners() > 0).then_some(()) }).await;
    upstream.add_tool("fresh");
    stream.until("notifications/tools/list_changed").await;
    until_offered(&mcp, "growing__fresh", true).await;
    assert_eq!(mcp.text("growing__fresh", json!({"text": "b"})).await, "growing: b");
}

#[tokio::test]
async fn an_upstream_of_2024_11_05_is_found_out_and_served() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let old = Upstream::named("old").await;
    let found = admin.add("old", &old.sse_url()).await;
    assert_eq!(found["probe"]["transport"], "sse", "{found}");
    let named = json!({"name": "named", "url": old.sse_url(), "transport": "sse"});
    admin.post("/api/v1/servers", &named).await.expect(201);
    let mcp = house.mcp().await;
    for server in ["old", "named"] {
        until_offered(&mcp, &format!("{server}__echo"), true).await;
        assert_eq!(mcp.text(&format!("{server}__echo"), json!({"text": server})).await, format!("old: {server}"));
        let single = house.mcp_of(server).await;
        assert!(single.tools().await.contains(&"echo".to_owned()));
        let text = format!("{server} alone");
        assert_eq!(single.text("echo", json!({"text": text})).await, format!("old: {text}"));
    }
    assert!(old.repeated().is_empty());
}
