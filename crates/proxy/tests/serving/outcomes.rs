//! A call counts as what it turned out to be, and not before that is known.

use model::KeyRole;
use serde_json::json;
use tests::{Mcp, Upstream, eventually};

use crate::house::{House, server};

/// A house with `notes`, which answers as events, and a session that has been opened and counted.
async fn house(upstream: &Upstream) -> (House, Mcp) {
    upstream.answer_as_events();
    let house = House::start().await;
    house.mount(&server("notes", &upstream.url()));
    let mcp = house.session("notes").await;
    assert_eq!(house.ended("notes", "ok"), 1, "initialize");
    (house, mcp)
}

#[tokio::test]
async fn an_answer_by_events_is_counted_when_it_is_there() {
    let upstream = Upstream::start().await;
    let (house, mcp) = house(&upstream).await;
    let call = tokio::spawn(async move { mcp.text("slow", json!({"text": "x"})).await });
    eventually("the call is under way", async || (upstream.calls("x") == 1).then_some(())).await;
    // The head of the answer has been here since the call was.
    assert_eq!(house.ended("notes", "ok"), 1);
    upstream.open_gate();
    assert_eq!(call.await.unwrap(), "upstream: x");
    assert_eq!(house.ended("notes", "ok"), 2);
}

#[tokio::test]
async fn each_layer_that_can_end_an_answer_by_events_has_its_outcome() {
    let upstream = Upstream::start().await;
    let (house, mcp) = house(&upstream).await;
    for (tool, how, outcome) in [
        ("bad", "truncate_sse", "transport_error"),
        ("bad", "empty_sse", "transport_error"),
        ("nonsense", "", "rpc_error"),
        ("fail", "", "tool_error"),
    ] {
        let before = house.ended("notes", outcome);
        mcp.call(tool, json!({"how": how, "text": "x"})).await;
        assert_eq!(house.ended("notes", outcome), before + 1, "{tool} {how}");
    }
    assert_eq!(house.ended("notes", "ok"), 1);
}

#[tokio::test]
async fn a_large_answer_that_breaks_off_is_no_success() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let spec = server("notes", &upstream.url());
    house.mount(&spec);
    let mcp = house.session("notes").await;
    // 32 MiB where 8 are allowed: the first part is on its way before that shows.
    let answer = mcp.try_request("tools/call", json!({"name": "bad", "arguments": {"how": "huge_body"}})).await;
    assert!(answer.is_err(), "{answer:?}");
    assert_eq!((house.ended("notes", "ok"), house.ended("notes", "transport_error")), (1, 1));
}

#[tokio::test]
async fn a_client_that_goes_away_and_one_that_cancels_are_told_apart() {
    let upstream = Upstream::start().await;
    let (house, _) = house(&upstream).await;
    let key = house.key(KeyRole::User);
    let mcp = Mcp::open(&house.at("/servers/notes/mcp"), &key.text).await;
    // Who may come back for the answer has left nothing yet: this one's revision knows no such thing.
    let gone = Mcp::open_as(&house.at("/servers/notes/mcp"), &key.text, "2024-11-05").await;
    let call = tokio::spawn(async move { gone.text("slow", json!({"text": "gone"})).await });
    eventually("the call is under way", async || (upstream.calls("gone") == 1).then_some(())).await;
    call.abort();
    let abandoned = async || (house.ended("notes", "abandoned") == 1).then_some(());
    eventually("the call is known to be abandoned", abandoned).await;
    let cancel = async {
        eventually("the call is under way", async || (upstream.calls("mine") == 1).then_some(())).await;
        mcp.notify("notifications/cancelled", json!({"requestId": "mine"})).await;
    };
    let call = mcp.try_request_as(json!("mine"), "tools/call", json!({"name": "slow", "arguments": {"text": "mine"}}));
    assert!(tokio::join!(call, cancel).0.is_err());
    let cancelled = async || (house.ended("notes", "cancelled") == 1).then_some(());
    eventually("the call is known to be cancelled", cancelled).await;
    assert_eq!(house.ended("notes", "ok"), 3, "initialize, three times");
}
