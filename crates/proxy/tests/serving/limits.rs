//! What one server may use of its tenant's limits, and limits that change while calls are under way.

use model::{KeyRole, Limits, Resource, ServerLimits, ServerSpec, TenantSpec};
use serde_json::json;
use tests::mcp::{code_of, text_of};
use tests::{Mcp, Upstream, eventually};

use crate::house::{House, server, tenant};

fn limited(limits: Limits) -> Resource {
    Resource::Tenant(TenantSpec { limits, ..tenant() })
}

/// Starts a call that waits at the upstream's gate.
async fn slow(house: &House, upstream: &Upstream, text: &'static str) -> tokio::task::JoinHandle<String> {
    let mcp = house.session("notes").await;
    let call = tokio::spawn(async move { mcp.text("slow", json!({"text": text})).await });
    eventually("the call is under way", async || (upstream.calls(text) == 1).then_some(())).await;
    call
}

/// Whether a call is refused because the places at the upstream are taken.
async fn is_full(mcp: &Mcp) -> bool {
    let answer = mcp.call("echo", json!({"text": "x"})).await;
    answer["error"]["data"]["error"] == "quota"
}

#[tokio::test]
async fn a_server_has_no_more_places_than_its_record_says() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let limits = ServerLimits { concurrent: Some(1), ..ServerLimits::default() };
    house.mount(&ServerSpec { limits, ..server("notes", &upstream.url()) });
    house.mount(&server("desk", &upstream.url()));
    let (notes, desk) = (house.session("notes").await, house.session("desk").await);
    let under_way = slow(&house, &upstream, "first").await;
    assert!(is_full(&notes).await);
    assert_eq!(desk.text("echo", json!({"text": "x"})).await, "upstream: x", "another server has its own places");
    upstream.open_gate();
    assert_eq!(under_way.await.unwrap(), "upstream: first");
    assert!(!is_full(&notes).await);
}

#[tokio::test]
async fn a_server_never_has_more_than_its_tenant() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.put([limited(Limits { upstream_concurrent: 1, response_bytes: 4096, ..Limits::default() })]);
    let limits = ServerLimits { concurrent: Some(50), response_bytes: Some(1 << 20), call_secs: Some(9999) };
    house.mount(&ServerSpec { limits, ..server("notes", &upstream.url()) });
    let notes = house.session("notes").await;
    let answer = notes.call("echo", json!({"text": "x".repeat(5000)})).await;
    assert_eq!(code_of(&answer), -31004, "{answer}");
    let under_way = slow(&house, &upstream, "first").await;
    assert!(is_full(&notes).await);
    upstream.open_gate();
    under_way.await.unwrap();
}

#[tokio::test]
async fn an_answer_is_no_larger_than_the_record_of_its_server_says() {
    for as_events in [false, true] {
        let (house, upstream) = (House::start().await, Upstream::start().await);
        if as_events {
            upstream.answer_as_events();
        }
        let limits = ServerLimits { response_bytes: Some(2000), ..ServerLimits::default() };
        house.mount(&ServerSpec { limits, ..server("notes", &upstream.url()) });
        let notes = house.session("notes").await;
        let fits = notes.call("echo", json!({"text": "x".repeat(1000)})).await;
        assert_eq!(text_of(&fits).len(), "upstream: ".len() + 1000);
        let answer = notes.call("echo", json!({"text": "x".repeat(2000)})).await;
        assert_eq!(code_of(&answer), -31004, "{answer}");
    }
}

#[tokio::test]
async fn a_call_takes_no_longer_than_the_record_of_its_server_says() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let limits = ServerLimits { call_secs: Some(1), ..ServerLimits::default() };
    house.mount(&ServerSpec { limits, ..server("notes", &upstream.url()) });
    let notes = house.session("notes").await;
    // Its read timeout is 30 s.
    let answer = notes.call("slow", json!({"text": "x"})).await;
    assert_eq!(code_of(&answer), -31002, "{answer}");
    assert_eq!(answer["error"]["data"]["outcome_uncertain"], true);
}

#[tokio::test]
async fn a_limit_of_the_tenant_that_changes_reaches_mounts_and_drops_no_call() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let notes = house.session("notes").await;
    let under_way = [slow(&house, &upstream, "first").await, slow(&house, &upstream, "second").await];
    assert!(!is_full(&notes).await);
    house.put([limited(Limits { upstream_concurrent: 2, ..Limits::default() })]);
    assert!(is_full(&notes).await);
    house.put([limited(Limits { upstream_concurrent: 3, ..Limits::default() })]);
    assert!(!is_full(&notes).await);
    upstream.open_gate();
    for call in under_way {
        call.await.unwrap();
    }
    assert_eq!(upstream.repeated(), ["x"]);
}

#[tokio::test]
async fn another_version_of_a_server_has_the_places_of_the_one_before() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let limits = ServerLimits { concurrent: Some(1), ..ServerLimits::default() };
    let spec = ServerSpec { limits, ..server("notes", &upstream.url()) };
    house.mount(&spec);
    let notes = house.session("notes").await;
    let under_way = slow(&house, &upstream, "first").await;
    house.mount(&ServerSpec { title: "other".to_owned(), ..spec });
    assert!(is_full(&notes).await);
    upstream.open_gate();
    under_way.await.unwrap();
    assert!(!is_full(&notes).await);
}

#[tokio::test]
async fn calls_under_way_count_against_limits_that_came_later() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let notes = house.session("notes").await;
    let under_way = slow(&house, &upstream, "first").await;
    house.put([limited(Limits { concurrent: 1, ..Limits::default() })]);
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(notes.post(&ping).await.unwrap().status, 429);
    upstream.open_gate();
    under_way.await.unwrap();
    let answered = async || (notes.post(&ping).await.unwrap().status == 200).then_some(());
    eventually("the place is free again", answered).await;
}

#[tokio::test]
async fn a_rate_that_changes_reaches_the_keys_that_are_known() {
    let house = House::start().await;
    let key = house.key(KeyRole::User);
    let builtin = Mcp::open(&house.at("/servers/gatehouse/mcp"), &key.text).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    house.put([limited(Limits { key_rate: 1, ..Limits::default() })]);
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(builtin.post(&ping).await.unwrap().status.as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    house.put([limited(Limits { key_rate: 1000, ..Limits::default() })]);
    for _ in 0..20 {
        assert_eq!(builtin.post(&ping).await.unwrap().status, 200);
    }
}
