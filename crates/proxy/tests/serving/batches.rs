//! Batches: clients of 2025-03-26 may send them, and nobody else.

use std::collections::BTreeMap;

use model::{KeyRole, Limits, Resource, TenantSpec};
use serde_json::{Value, json};
use tests::{Answer, Mcp, Upstream, eventually};

use crate::house::{House, server, tenant};

async fn house() -> (House, Upstream) {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    (house, upstream)
}

async fn session(house: &House, revision: &str) -> Mcp {
    Mcp::open_as(&house.at("/mcp"), &house.key(KeyRole::User).text, revision).await
}

fn call(id: impl Into<Value>, tool: &str, text: &str) -> Value {
    let params = json!({"name": format!("notes__{tool}"), "arguments": {"text": text}});
    json!({"jsonrpc": "2.0", "id": id.into(), "method": "tools/call", "params": params})
}

fn ping(id: u64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "ping"})
}

/// The answers by their ids.
fn by_id(answers: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    answers.into_iter().map(|answer| (answer["id"].to_string(), answer)).collect()
}

/// The messages of an answer that is a stream of events.
fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    text.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn each_request_of_a_batch_has_its_answer_in_one_array() {
    let (house, upstream) = house().await;
    let mcp = session(&house, "2025-03-26").await;
    let told = json!({"jsonrpc": "2.0", "method": "notifications/roots/list_changed"});
    let batch = json!([call(7, "echo", "a"), told, ping(8), call("7", "echo", "b"), {"jsonrpc": "2.0", "id": 9}]);
    let answer = mcp.post(&batch).await.unwrap().expect(200);
    assert_eq!(answer.header("content-type"), "application/json");
    let Value::Array(answers) = answer.json() else { panic!("no array: {}", answer.text()) };
    assert_eq!(answers.len(), 4, "{answers:?}");
    let answers = by_id(answers);
    assert_eq!(answers["7"]["result"]["content"][0]["text"], "upstream: a");
    assert_eq!(answers["\"7\""]["result"]["content"][0]["text"], "upstream: b");
    assert_eq!(answers["8"]["result"], json!({}));
    assert_eq!(answers["null"]["error"]["code"], -32600);
    assert_eq!((upstream.calls("a"), upstream.calls("b")), (1, 1));
}

#[tokio::test]
async fn what_streams_makes_the_whole_answer_a_stream() {
    let (house, upstream) = house().await;
    upstream.answer_as_events();
    let mcp = session(&house, "2025-03-26").await;
    let answer = mcp.post(&json!([ping(1), call(2, "echo", "a"), call(3, "echo", "b")])).await.unwrap().expect(200);
    assert!(answer.header("content-type").starts_with("text/event-stream"));
    let answers = by_id(events(&answer));
    assert_eq!(answers["1"]["result"], json!({}));
    assert_eq!(answers["2"]["result"]["content"][0]["text"], "upstream: a");
    assert_eq!(answers["3"]["result"]["content"][0]["text"], "upstream: b");
}

#[tokio::test]
async fn the_messages_of_a_batch_are_served_at_once() {
    let (house, upstream) = house().await;
    let mcp = session(&house, "2025-03-26").await;
    let batch = json!([call(1, "slow", "a"), call(2, "slow", "b"), call(3, "slow", "c")]);
    let posted = tokio::spawn(async move { mcp.post(&batch).await.unwrap() });
    let all = || ["a", "b", "c"].iter().all(|text| upstream.calls(text) == 1);
    eventually("all three wait", async || all().then_some(())).await;
    upstream.open_gate();
    assert_eq!(posted.await.unwrap().json().as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn a_batch_without_requests_is_accepted() {
    let (house, _upstream) = house().await;
    let mcp = session(&house, "2025-03-26").await;
    let batch = json!([
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}},
        {"jsonrpc": "2.0", "id": 77, "result": {}},
    ]);
    let answer = mcp.post(&batch).await.unwrap().expect(202);
    assert!(answer.body.is_empty());
}

#[tokio::test]
async fn nothing_is_done_of_a_batch_that_is_refused() {
    let (house, upstream) = house().await;
    let old = session(&house, "2025-03-26").await;
    let hello = json!({"jsonrpc": "2.0", "id": 2, "method": "initialize", "params": {"protocolVersion": "2025-03-26"}});
    let modern = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}});
    let many: Vec<Value> = (0..51).map(|id| call(id, "echo", "x")).collect();
    for batch in [json!([call(1, "echo", "x"), hello]), json!([call(1, "echo", "x"), modern]), json!(many), json!([])] {
        let answer = old.post(&batch).await.unwrap().expect(400).json();
        assert_eq!((&answer["error"]["code"], &answer["error"]["data"]["error"]), (&json!(-32600), &json!("batch")));
    }
    let answer = old.post_bytes(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}"#).await.unwrap().expect(400);
    assert_eq!(answer.json()["error"]["code"], -32700);
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let other = session(&house, revision).await;
        let answer = other.post(&json!([call(1, "echo", "x")])).await.unwrap().expect(400).json();
        assert_eq!(answer["error"]["data"]["error"], "batch", "{revision}");
    }
    assert_eq!(upstream.calls("x"), 0);
}

#[tokio::test]
async fn a_batch_takes_as_much_of_the_limits_as_its_messages_would() {
    let (house, upstream) = house().await;
    let mcp = session(&house, "2025-03-26").await;
    house.put([Resource::Tenant(TenantSpec { limits: Limits { concurrent: 2, ..Limits::default() }, ..tenant() })]);
    let batch = |count: u64| Value::Array((0..count).map(|id| call(id, "echo", "x")).collect());
    let answer = mcp.post(&batch(3)).await.unwrap().expect(429).json();
    assert_eq!(answer["error"]["data"]["error"], "quota");
    assert_eq!(upstream.calls("x"), 0);
    mcp.post(&batch(2)).await.unwrap().expect(200);
    assert_eq!(upstream.calls("x"), 2);
}
