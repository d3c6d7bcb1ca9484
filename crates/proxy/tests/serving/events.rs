//! Streams that clients lose and come back for.

use std::time::Duration;

use model::{KeyRole, Limits, Resource, ServerSpec, TenantSpec, Transport};
use serde_json::{Value, json};
use tests::mcp::text_of;
use tests::{Mcp, Upstream, eventually};

use crate::house::{House, server, tenant};

async fn pacing(house: &House, name: &str) -> Upstream {
    let upstream = Upstream::named(name).await;
    upstream.answer_as_events();
    upstream.add_tool("paced");
    upstream.add_tool("ask");
    house.mount(&server(name, &upstream.url()));
    upstream
}

fn said(message: &Value) -> &str {
    message["params"]["data"].as_str().unwrap_or_else(|| panic!("nothing said: {message}"))
}

#[tokio::test]
async fn each_revision_has_the_ids_and_the_primer_that_it_knows() {
    let (house, upstream) = (House::start().await, Upstream::named("notes").await);
    upstream.answer_as_events();
    house.mount(&server("notes", &upstream.url()));
    for (revision, ids, primer) in [
        ("2024-11-05", false, false),
        ("2025-03-26", true, false),
        ("2025-06-18", true, false),
        ("2025-11-25", true, true),
    ] {
        for path in ["/servers/notes/mcp", "/mcp"] {
            let mcp = Mcp::open_as(&house.at(path), &house.key(KeyRole::User).text, revision).await;
            let tool = if path == "/mcp" { "notes__echo" } else { "echo" };
            let mut call = mcp.begin_call(tool, json!({"text": "x"})).await;
            let first = call.event().await.unwrap();
            assert_eq!(first.data.is_empty(), primer, "{revision}");
            let answer = if primer { call.event().await.unwrap() } else { first.clone() };
            assert!(answer.data.contains("notes: x"));
            assert_eq!((!first.id.is_empty(), !answer.id.is_empty()), (ids, ids), "{revision}");
            assert!(!ids || !primer || first.id != answer.id);
            assert!(call.event().await.is_none());
        }
    }
}

#[tokio::test]
async fn who_loses_the_connection_comes_back_for_what_was_said_and_what_is_said() {
    let house = House::start().await;
    let (upstream, older) = (pacing(&house, "notes").await, Upstream::named("older").await);
    older.add_tool("paced");
    house.mount(&ServerSpec { transport: Transport::Sse, ..server("older", &older.sse_url()) });
    for (path, tool, text) in [("/servers/notes/mcp", "paced", "one"), ("/mcp", "notes__paced", "all")] {
        upstream.close_gate();
        let mcp = Mcp::open(&house.at(path), &house.key(KeyRole::User).text).await;
        let mut call = mcp.begin_call(tool, json!({"text": text})).await;
        let primer = call.event().await.unwrap().id;
        let (before, last) = call.next().await.unwrap();
        assert_eq!(said(&before), format!("before {text}"));
        let id = call.id.clone();
        drop(call);
        // While the call goes on: from where it was lost, and from its beginning.
        let mut again = mcp.resume(&last, id.clone()).await.unwrap();
        let mut from_begin = mcp.resume(&primer, id.clone()).await.unwrap();
        assert!(again.event().await.is_none(), "a message goes on one stream");
        assert_eq!(said(&from_begin.next().await.unwrap().0), format!("before {text}"));
        upstream.open_gate();
        let (after, answer) = from_begin.answer().await;
        assert_eq!(after.iter().map(said).collect::<Vec<_>>(), [format!("after {text}")]);
        assert_eq!(text_of(&answer), format!("notes: {text}"));
        assert!(from_begin.event().await.is_none());
        // And after its end.
        let (after, answer) = mcp.resume(&last, id).await.unwrap().answer().await;
        assert_eq!((after.len(), text_of(&answer)), (1, format!("notes: {text}")));
        assert_eq!(upstream.calls(text), 1);
    }
    assert_eq!(upstream.messages("notifications/cancelled"), [Value::Null; 0], "a disconnect is no cancel");
}

#[tokio::test]
async fn who_lost_nothing_gets_the_rest_where_it_came_back() {
    let house = House::start().await;
    let upstream = pacing(&house, "notes").await;
    let mcp = house.session("notes").await;
    let mut call = mcp.begin_call("paced", json!({"text": "x"})).await;
    let (_, last) = call.next().await.unwrap();
    let mut again = mcp.resume(&last, call.id.clone()).await.unwrap();
    assert!(call.event().await.is_none(), "a message goes on one stream");
    upstream.open_gate();
    let (after, answer) = again.answer().await;
    assert_eq!((after.len(), text_of(&answer)), (1, "notes: x".to_owned()));
}

#[tokio::test]
async fn nobody_gets_what_another_session_was_told() {
    let house = House::start().await;
    let upstream = pacing(&house, "notes").await;
    let (url, key) = (house.at("/mcp"), house.key(KeyRole::User));
    let mcp = Mcp::open(&url, &key.text).await;
    let mut call = mcp.begin_call("notes__paced", json!({"text": "mine"})).await;
    let (_, last) = call.next().await.unwrap();
    let (same_key, other_key) = (Mcp::open(&url, &key.text).await, house.session_on_all().await);
    for stranger in [&same_key, &other_key] {
        assert_eq!(stranger.resume(&last, call.id.clone()).await.err(), Some(400));
    }
    assert_eq!(mcp.stolen_by(&house.key(KeyRole::User).text).resume(&last, call.id.clone()).await.err(), Some(404));
    let to_come = format!("{}9", &last[..last.len() - 1]);
    assert_eq!(mcp.resume(&to_come, call.id.clone()).await.err(), Some(400), "it has not been told that");
    upstream.open_gate();
    assert_eq!(text_of(&call.answer().await.1), "notes: mine", "nothing of it is disturbed");
    // What is no id of ours begins a stream anew.
    assert!(mcp.resume("42", json!(0)).await.is_ok());
}

#[tokio::test]
async fn a_question_waits_for_who_comes_back() {
    let house = House::start().await;
    let _upstream = pacing(&house, "notes").await;
    let mcp = Mcp::able(&house.at("/mcp"), &house.key(KeyRole::User).text, json!({"elicitation": {}})).await;
    let asked = json!([{"method": "elicitation/create", "params": {"message": "still there?"}}]);
    let mut call = mcp.begin_call("notes__ask", json!({"questions": asked})).await;
    let primer = call.event().await.unwrap().id;
    let id = call.id.clone();
    drop(call);
    let mut again = mcp.resume(&primer, id).await.unwrap();
    let (question, _) = again.next().await.unwrap();
    mcp.respond(&question["id"], json!({"action": "accept"})).await.expect(202);
    let told: Value = serde_json::from_str(&text_of(&again.answer().await.1)).unwrap();
    assert_eq!(told["answers"][0]["result"], json!({"action": "accept"}));
}

#[tokio::test]
async fn an_abandoned_call_keeps_its_place_until_it_is_answered() {
    let house = House::start().await;
    let upstream = pacing(&house, "notes").await;
    house.put([Resource::Tenant(TenantSpec { limits: Limits { concurrent: 1, ..Limits::default() }, ..tenant() })]);
    let mcp = house.session("notes").await;
    let before = house.ended("notes", "ok");
    let mut call = mcp.begin_call("paced", json!({"text": "x"})).await;
    call.next().await.unwrap();
    drop(call);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(mcp.post(&ping).await.unwrap().status, 429, "it is still under way");
    upstream.open_gate();
    eventually("its place is free", async || (mcp.post(&ping).await.unwrap().status == 200).then_some(())).await;
    assert_eq!(house.ended("notes", "ok"), before + 1);
}

#[tokio::test]
async fn a_session_that_ends_takes_its_streams_with_it() {
    let house = House::start().await;
    let upstream = pacing(&house, "notes").await;
    let (url, key) = (house.at("/mcp"), house.key(KeyRole::User));
    let mcp = Mcp::open(&url, &key.text).await;
    let mut call = mcp.begin_call("notes__paced", json!({"text": "x"})).await;
    let (_, last) = call.next().await.unwrap();
    let id = call.id.clone();
    drop(call);
    let mut again = mcp.resume(&last, id.clone()).await.unwrap();
    mcp.delete().await.expect(200);
    assert!(again.event().await.is_none());
    assert_eq!(mcp.resume(&last, id).await.err(), Some(404));
    upstream.open_gate();
}

#[tokio::test]
async fn who_may_no_longer_use_a_server_comes_back_for_nothing() {
    let house = House::start().await;
    let upstream = pacing(&house, "notes").await;
    let key = house.key(KeyRole::User);
    let mcp = Mcp::open(&house.at("/mcp"), &key.text).await;
    let mut call = mcp.begin_call("notes__paced", json!({"text": "x"})).await;
    let (_, last) = call.next().await.unwrap();
    let id = call.id.clone();
    drop(call);
    let mut again = mcp.resume(&last, id.clone()).await.unwrap();
    let less = model::KeyVerifier { servers: Some(vec!["other".to_owned()]), ..key.verifier.clone() };
    house.put([Resource::Key(less)]);
    assert!(again.event().await.is_none());
    assert_eq!(mcp.resume(&last, id.clone()).await.err(), Some(400));
    upstream.open_gate();
    house.put([Resource::Key(key.verifier)]);
    let again = mcp.resume(&last, id).await.unwrap().event().await;
    assert!(again.is_none(), "what it was told meanwhile is not kept: {again:?}");
}

#[tokio::test]
async fn a_listener_comes_back_for_what_it_missed() {
    let house = House::start().await;
    let upstream = pacing(&house, "notes").await;
    let mcp = house.session_on_all().await;
    mcp.tools().await;
    let mut stream = mcp.resume("fresh", json!(0)).await.unwrap();
    let primer = stream.event().await.unwrap();
    assert!(primer.data.is_empty());
    eventually("the upstream is listened to", async || (upstream.listeners() == 1).then_some(())).await;
    upstream.add_tool("first");
    let (first, last) = stream.next().await.unwrap();
    assert_eq!(first["method"], "notifications/tools/list_changed");
    // From before it: the same event once more, under the same id. The connection before it ends.
    let mut again = mcp.resume(&primer.id, json!(0)).await.unwrap();
    let (repeated, id) = again.next().await.unwrap();
    assert_eq!((repeated, &id), (first, &last));
    assert!(stream.event().await.is_none());
    // Changes that came while nobody listened are told afterwards.
    drop(again);
    eventually("nobody listens", async || {
        upstream.add_tool("meanwhile");
        mcp.tools().await;
        let mut again = mcp.resume(&last, json!(0)).await.unwrap();
        let (changed, id) = again.next().await.unwrap();
        assert_ne!(id, last);
        (changed["method"] == "notifications/tools/list_changed").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_comes_back_again_and_again_is_listened_for_once() {
    let house = House::start().await;
    let upstream = pacing(&house, "notes").await;
    let mcp = house.session("notes").await;
    let mut stream = mcp.resume("fresh", json!(0)).await.unwrap();
    let primer = stream.event().await.unwrap().id;
    eventually("the upstream is listened to", async || (upstream.listeners() == 1).then_some(())).await;
    let before = alive();
    for _ in 0..50 {
        stream = mcp.resume(&primer, json!(0)).await.unwrap();
    }
    upstream.add_tool("new");
    assert_eq!(stream.next().await.unwrap().0["method"], "notifications/tools/list_changed");
    assert_eq!(upstream.listeners(), 1);
    eventually("no task is left", async || (alive() <= before + 4).then_some(())).await;
}

#[tokio::test]
async fn a_thousand_abandoned_streams_leave_nothing_behind() {
    const STREAMS: usize = 1000;
    let house = House::start().await;
    let upstream = pacing(&house, "notes").await;
    let limits = Limits {
        concurrent: 2000,
        upstream_concurrent: 2000,
        key_rate: 100_000,
        tenant_rate: 100_000,
        ..Limits::default()
    };
    house.put([Resource::Tenant(TenantSpec { limits, ..tenant() })]);
    let mcp = house.session("notes").await;
    assert_eq!(mcp.text("echo", json!({"text": "warm"})).await, "notes: warm");
    let (before, answered) = (alive(), house.ended("notes", "ok") as usize);
    for batch in 0..STREAMS / 100 {
        let calls = (0..100).map(async |at| {
            let mut call = mcp.begin_call("paced", json!({"text": format!("{batch}-{at}")})).await;
            call.next().await.unwrap();
        });
        futures::future::join_all(calls).await;
    }
    eventually("all calls go on alone", async || (house.under_way() == STREAMS).then_some(())).await;
    assert!(alive() >= before + STREAMS, "a task each");
    upstream.open_gate();
    eventually("all are answered", async || (house.ended("notes", "ok") as usize == answered + STREAMS).then_some(()))
        .await;
    eventually("no call is left", async || (house.under_way() == 0).then_some(())).await;
    eventually("no task is left", async || (alive() <= before + 20).then_some(())).await;
    mcp.delete().await.expect(200);
    eventually("no event is left", async || (house.bound("kept_events_bytes") == 0).then_some(())).await;
}

/// How many tasks there are.
fn alive() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}
