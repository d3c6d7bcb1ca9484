//! Sessions with upstreams end over there when nobody will use them again.

use model::{KeyRole, Resource, ResourceName, ServerSpec};
use serde_json::json;
use tests::{Mcp, Upstream, eventually};

use crate::house::{House, server};

#[tokio::test]
async fn the_session_with_an_unmounted_server_is_ended() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let spec = server("notes", &upstream.url());
    house.mount(&spec);
    let mcp = house.session_on_all().await;
    assert_eq!(mcp.text("notes__echo", json!({"text": "x"})).await, "upstream: x");
    assert_eq!(upstream.sessions(), 1);
    house.remove([ResourceName::Server(spec.id)]);
    eventually("the upstream's session is ended", async || (upstream.sessions() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_call_under_way_keeps_the_session_of_a_server_that_was_replaced() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let spec = server("notes", &upstream.url());
    house.mount(&spec);
    let mcp = house.session_on_all().await;
    mcp.tools().await;
    let call = tokio::spawn(async move { mcp.text("notes__slow", json!({"text": "x"})).await });
    eventually("the call is under way", async || (upstream.calls("x") == 1).then_some(())).await;
    house.mount(&ServerSpec { title: "other".to_owned(), ..spec });
    let other = house.session_on_all().await;
    assert_eq!(other.text("notes__echo", json!({"text": "y"})).await, "upstream: y");
    assert_eq!(upstream.sessions(), 2);
    upstream.open_gate();
    assert_eq!(call.await.unwrap(), "upstream: x");
    eventually("the older session is ended", async || (upstream.sessions() == 1).then_some(())).await;
}

#[tokio::test]
async fn the_sessions_of_a_revoked_key_are_ended() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let key = house.key(KeyRole::User);
    let (mcp, other) = (Mcp::open(&house.at("/mcp"), &key.text).await, house.session_on_all().await);
    for mcp in [&mcp, &other] {
        mcp.text("notes__echo", json!({"text": "x"})).await;
    }
    assert_eq!(upstream.sessions(), 2);
    house.remove([Resource::Key(key.verifier).name()]);
    eventually("one session is ended", async || (upstream.sessions() == 1).then_some(())).await;
}

#[tokio::test]
async fn a_session_that_the_upstream_forgot_is_not_ended_again() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let mcp = house.session_on_all().await;
    mcp.text("notes__echo", json!({"text": "x"})).await;
    upstream.forget_sessions();
    assert_eq!(mcp.text("notes__echo", json!({"text": "y"})).await, "upstream: y");
    assert_eq!((upstream.sessions(), upstream.deletes()), (1, 0));
}
