//! Clients of HTTP+SSE, the transport of 2024-11-05.

use model::{KeyRole, Limits, Resource, ResourceName, TenantSpec};
use serde_json::{Value, json};
use tests::sse_session::hello;
use tests::{Http, SseSession, Upstream, eventually, patient};

use crate::house::{House, Key, server, tenant};

async fn open(house: &House, path: &str, key: &Key) -> SseSession {
    SseSession::open(&house.at(""), path, &key.text).await
}

/// The same with a session.
async fn begin(house: &House, path: &str, key: &Key) -> SseSession {
    SseSession::begin(&house.at(""), path, &key.text, json!({})).await
}

fn call(id: u64, tool: &str, text: &str) -> Value {
    let params = json!({"name": tool, "arguments": {"text": text, "steps": 3}, "_meta": {"progressToken": "t"}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

async fn house() -> (House, Upstream) {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    (house, upstream)
}

#[tokio::test]
async fn what_is_posted_is_answered_on_the_stream() {
    let (house, upstream) = house().await;
    let key = house.key(KeyRole::User);
    for (path, prefix) in [
        ("/sse", "notes__"),
        ("/servers/notes/sse", ""),
        ("/t/acme/sse/", "notes__"),
        ("/t/acme/servers/notes/sse", ""),
    ] {
        let mut old = begin(&house, path, &key).await;
        let accepted = old.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await.expect(202);
        assert_eq!(accepted.text(), "Accepted");
        let tools = old.answer(1).await;
        let names: Vec<&str> =
            tools["result"]["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap()).collect();
        assert!(names.contains(&format!("{prefix}echo").as_str()), "{path}: {names:?}");
        old.post(&call(2, &format!("{prefix}echo"), path)).await.expect(202);
        assert_eq!(old.answer(2).await["result"]["content"][0]["text"], format!("upstream: {path}"));
        old.post(&call(3, &format!("{prefix}progress"), "x")).await.expect(202);
        for _ in 0..3 {
            assert_eq!(old.until("notifications/progress").await["params"]["progressToken"], "t", "{path}");
        }
        assert!(old.answer(3).await["result"].is_object());
        old.post(&call(4, "nobody__knows", "x")).await.expect(202);
        assert!(old.answer(4).await["error"].is_object() || path.contains("servers"));
        assert_eq!(upstream.calls(path), 1);
    }
}

#[tokio::test]
async fn what_servers_say_unasked_comes_on_the_same_stream() {
    let (house, upstream) = house().await;
    let key = house.key(KeyRole::User);
    let mut all = begin(&house, "/sse", &key).await;
    let mut one = begin(&house, "/servers/notes/sse", &key).await;
    for old in [&mut all, &mut one] {
        old.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await.expect(202);
        old.answer(1).await;
    }
    let mut added = 0;
    for old in [&mut all, &mut one] {
        // The upstream is heard a moment after the session has begun.
        let hears = async {
            loop {
                upstream.add_tool(&format!("new-{added}"));
                added += 1;
                if let Ok(told) = tokio::time::timeout(std::time::Duration::from_millis(300), old.next()).await {
                    return told.unwrap();
                }
            }
        };
        assert_eq!(patient("a change is told", hears).await["method"], "notifications/tools/list_changed");
    }
}

#[tokio::test]
async fn the_end_of_the_stream_cancels_what_was_under_way_and_ends_the_session() {
    let (house, upstream) = house().await;
    let key = house.key(KeyRole::User);
    let old = begin(&house, "/servers/notes/sse", &key).await;
    assert_eq!(upstream.sessions(), 1);
    old.post(&call(1, "slow", "x")).await.expect(202);
    eventually("the call is under way", async || (upstream.calls("x") == 1).then_some(())).await;
    let (posts, http) = (old.posts.clone(), old.http.clone());
    drop(old);
    let cancelled = async || upstream.messages("notifications/cancelled").first().cloned();
    eventually("the call is cancelled", cancelled).await;
    eventually("the session is ended", async || (upstream.sessions() == 0).then_some(())).await;
    let bearer = format!("Bearer {}", key.text);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    http.send("POST", &posts, &headers, call(2, "echo", "y").to_string()).await.unwrap().expect(404);
    assert_eq!(upstream.calls("y"), 0);
}

#[tokio::test]
async fn only_who_opened_a_stream_posts_to_it() {
    let (house, upstream) = house().await;
    let (key, other) = (house.key(KeyRole::User), house.key(KeyRole::User));
    let mut old = begin(&house, "/sse", &key).await;
    let refused = old.post_as(&other.text, &call(1, "notes__echo", "x")).await.expect(404);
    assert_eq!(refused.json()["error"]["data"]["error"], "session_unknown");
    let posts = std::mem::take(&mut old.posts);
    let elsewhere = posts.replace("/message", "/servers/notes/message");
    for wrong in
        [elsewhere.as_str(), &posts[..posts.len() - 2], &house.at("/message"), &house.at("/message?sessionId=x")]
    {
        old.posts = wrong.to_owned();
        old.post(&call(1, "notes__echo", "x")).await.expect(404);
    }
    let bearer = format!("Bearer {}", key.text);
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    for (method, url, allow) in [("POST", house.at("/sse"), "GET"), ("GET", posts.clone(), "POST")] {
        let answer = old.http.send(method, &url, &headers, "").await.unwrap().expect(405);
        assert_eq!(answer.header("allow"), allow);
    }
    old.http.send("POST", &posts, &[("content-type", "application/json")], "{}").await.unwrap().expect(401);
    old.http.send("GET", &house.at("/sse"), &[("accept", "text/event-stream")], "").await.unwrap().expect(401);
    assert_eq!(upstream.calls("x"), 0);
    old.posts = posts;
    old.post(&call(2, "notes__echo", "y")).await.expect(202);
    assert_eq!(old.answer(2).await["result"]["content"][0]["text"], "upstream: y");
}

#[tokio::test]
async fn a_session_begins_once_and_before_all_else() {
    let (house, upstream) = house().await;
    let key = house.key(KeyRole::User);
    let mut old = open(&house, "/sse", &key).await;
    let refused = old.post(&call(1, "notes__echo", "x")).await.expect(400);
    assert_eq!(refused.json()["error"]["data"]["error"], "session_missing");
    old.post(&hello(json!({}))).await.expect(202);
    old.answer(0).await;
    old.post(&hello(json!({}))).await.expect(400);
    let modern = json!({"jsonrpc": "2.0", "id": 5, "method": "tools/list", "params": {"_meta": {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": {}}}});
    assert_eq!(old.post(&modern).await.expect(400).json()["error"]["code"], -32022);
    let batch = old.post(&json!([call(1, "notes__echo", "x")])).await.expect(400);
    assert_eq!(batch.json()["error"]["data"]["error"], "batch");
    assert_eq!(upstream.calls("x"), 0);
    old.post(&call(6, "notes__echo", "y")).await.expect(202);
    assert_eq!(old.answer(6).await["result"]["content"][0]["text"], "upstream: y");
}

#[tokio::test]
async fn a_stream_ends_with_the_right_of_whoever_opened_it() {
    let (house, _upstream) = house().await;
    let key = house.key(KeyRole::User);
    let mut fresh = open(&house, "/sse", &key).await;
    let mut begun = begin(&house, "/servers/notes/sse", &key).await;
    house.remove([ResourceName::Key(key.verifier.id)]);
    assert_eq!(fresh.next().await, None);
    assert_eq!(begun.next().await, None);
}

#[tokio::test]
async fn a_stream_takes_one_place_of_its_tenants() {
    let (house, _upstream) = house().await;
    house.put([Resource::Tenant(TenantSpec { limits: Limits { streams: 1, ..Limits::default() }, ..tenant() })]);
    let key = house.key(KeyRole::User);
    let mut old = begin(&house, "/sse", &key).await;
    old.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.expect(202);
    assert_eq!(old.answer(1).await["result"], json!({}));
    let bearer = format!("Bearer {}", key.text);
    let headers = [("authorization", bearer.as_str()), ("accept", "text/event-stream")];
    let (http, url) = (Http::default(), house.at("/sse"));
    http.send("GET", &url, &headers, "").await.unwrap().expect(429);
    drop(old);
    let again = async || http.open("GET", &url, &headers, "").await.ok().filter(|response| response.status() == 200);
    eventually("the place is free again", again).await;
}

#[tokio::test]
async fn the_requests_of_one_stream_are_bounded() {
    let (house, upstream) = house().await;
    house.put([Resource::Tenant(TenantSpec {
        limits: Limits { concurrent: 500, tenant_rate: 1000, key_rate: 1000, ..Limits::default() },
        ..tenant()
    })]);
    let mut old = begin(&house, "/sse", &house.key(KeyRole::User)).await;
    for id in 1..=64 {
        old.post(&call(id, "notes__slow", "x")).await.expect(202);
    }
    let refused = old.post(&call(65, "notes__slow", "x")).await.expect(429);
    assert_eq!(refused.json()["error"]["data"]["error"], "quota");
    upstream.open_gate();
    let mut answered = std::collections::BTreeSet::new();
    while answered.len() < 64 {
        let message = old.next().await.expect("the stream goes on");
        answered.extend(message["id"].as_u64());
    }
    old.post(&call(66, "notes__echo", "y")).await.expect(202);
    assert_eq!(old.answer(66).await["result"]["content"][0]["text"], "upstream: y");
}

#[tokio::test]
async fn a_client_is_asked_on_its_stream_and_answers_by_posting() {
    let (house, upstream) = house().await;
    upstream.add_tool("ask");
    let key = house.key(KeyRole::User);
    for (path, tool) in [("/sse", "notes__ask"), ("/servers/notes/sse", "ask")] {
        let mut old = SseSession::begin(&house.at(""), path, &key.text, json!({"roots": {}, "sampling": {}})).await;
        let questions = json!([
            {"method": "roots/list"},
            {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}},
        ]);
        let params = json!({"name": tool, "arguments": {"text": path, "questions": questions}});
        let asked = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params});
        old.post(&asked).await.expect(202);
        for (method, answer) in [("roots/list", json!({"roots": []})), ("sampling/createMessage", json!({"role": "x"}))]
        {
            let question = old.until(method).await;
            assert!(question["id"].is_string(), "{question}");
            let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": answer});
            old.post(&answer).await.expect(202);
        }
        let answer = old.answer(1).await;
        let told: Value = serde_json::from_str(answer["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
        let told: Vec<_> = told["answers"].as_array().unwrap().iter().map(|answer| &answer["result"]).collect();
        assert_eq!(told, [&json!({"roots": []}), &json!({"role": "x"})], "{path}");
    }
}

#[tokio::test]
async fn abandoned_streams_leave_nothing_behind() {
    const STREAMS: u32 = 20;
    let (house, upstream) = house().await;
    let limits = Limits { streams: STREAMS, ..Limits::default() };
    house.put([Resource::Tenant(TenantSpec { limits, ..tenant() })]);
    for round in 0..3 {
        let mut streams = Vec::new();
        for at in 0..STREAMS {
            let key = house.key(KeyRole::User);
            // A place comes back a moment after its reader has gone.
            let opened = async || {
                let (base, text) = (house.at(""), key.text.clone());
                let opening = tokio::spawn(async move { SseSession::open(&base, "/servers/notes/sse", &text).await });
                opening.await.ok()
            };
            let mut old = eventually("there is a place", opened).await;
            old.post(&hello(json!({}))).await.expect(202);
            old.answer(0).await;
            old.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await.expect(202);
            old.post(&call(1, "slow", &format!("{round}-{at}"))).await.expect(202);
            streams.push(old);
        }
        let waiting = || (0..STREAMS).all(|at| upstream.calls(&format!("{round}-{at}")) == 1);
        eventually("all calls are under way", async || waiting().then_some(())).await;
        assert_eq!(upstream.sessions(), STREAMS as usize);
        drop(streams);
        eventually("all sessions are ended", async || (upstream.sessions() == 0).then_some(())).await;
        let cancelled = upstream.messages("notifications/cancelled").len();
        assert_eq!(cancelled, (round + 1) * STREAMS as usize, "each call is cancelled");
    }
}
