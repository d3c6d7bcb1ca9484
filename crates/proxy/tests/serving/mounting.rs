//! What a server costs before somebody uses it, and what it costs when everybody comes at once.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use model::{Generation, KeyRole, ServerSpec, Transport, UpstreamUrl};
use proxy::ProbeSpec;
use serde_json::json;
use tests::{Behaviour, Mcp, Upstream, eventually};

use crate::house::{House, server, tenant};

/// Callers that come together.
const TOGETHER: usize = 16;

#[tokio::test]
async fn servers_that_nobody_uses_are_not_dialled_and_delay_nobody() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    for at in 0..100 {
        house.mount(&server(&format!("dead-{at}"), "http://127.0.0.1:9/mcp"));
    }
    house.mount(&server("notes", &upstream.url()));
    let mcp = house.session("notes").await;
    assert_eq!(mcp.text("echo", json!({"text": "x"})).await, "upstream: x");
    let all = house.session_on_all().await;
    assert_eq!(all.text("notes__echo", json!({"text": "y"})).await, "upstream: y");
    assert_eq!(house.street.dials(), upstream.connections());
}

#[tokio::test]
async fn a_record_that_changes_ends_the_pause_of_its_server() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let live = server("notes", &upstream.url());
    let dead = ServerSpec { url: UpstreamUrl::parse("http://127.0.0.1:9/mcp").unwrap(), ..live.clone() };
    house.mount(&dead);
    let mcp = house.session_on_all().await;
    for _ in 0..3 {
        let answer = mcp.call("notes__echo", json!({"text": "x"})).await;
        assert_eq!(answer["error"]["data"]["origin"], "gateway", "{answer}");
    }
    assert_eq!(house.street.dials(), 1, "it is left alone");
    house.mount(&ServerSpec { generation: Generation(2), ..live });
    assert_eq!(mcp.text("notes__echo", json!({"text": "x"})).await, "upstream: x");
}

/// A server that somebody has used, so that its tools are known. The next session that is opened over there hangs.
async fn used(house: &House, upstream: &Upstream) {
    house.mount(&server("notes", &upstream.url()));
    assert_eq!(house.session_on_all().await.text("notes__echo", json!({"text": "x"})).await, "upstream: x");
    assert_eq!(upstream.messages("initialize").len(), 1);
    upstream.misbehave_next("initialize", 1, Behaviour::Hang);
}

/// A session on everything, and so many calls of it that wait for the one that opens a session over there.
async fn waiting(house: &House, upstream: &Upstream) -> (Arc<Mcp>, Vec<tokio::task::JoinHandle<Option<String>>>) {
    used(house, upstream).await;
    let mcp = Arc::new(house.session_on_all().await);
    let calls = (0..TOGETHER).map(|at| {
        let mcp = mcp.clone();
        tokio::spawn(async move {
            let arguments = json!({"name": "notes__echo", "arguments": {"text": at.to_string()}});
            let (_, answer) = mcp.try_request("tools/call", arguments).await.ok()?;
            Some(answer["result"]["content"][0]["text"].as_str()?.to_owned())
        })
    });
    let calls = calls.collect();
    eventually("all of them wait", async || (house.placed("notes") == TOGETHER).then_some(())).await;
    eventually("one of them asks", async || (upstream.messages("initialize").len() == 2).then_some(())).await;
    (mcp, calls)
}

#[tokio::test]
async fn who_comes_first_opens_the_session_for_all_and_its_failure_is_everybodys() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let (mcp, calls) = waiting(&house, &upstream).await;
    upstream.hang_up();
    for call in join_all(calls).await {
        assert_eq!(call.unwrap(), None);
    }
    assert_eq!((upstream.messages("initialize").len(), upstream.messages("tools/call").len()), (2, 1));

    let texts = join_all((0..TOGETHER).map(|_| mcp.text("notes__echo", json!({"text": "x"})))).await;
    assert!(texts.iter().all(|text| text == "upstream: x"), "{texts:?}");
    assert_eq!((upstream.messages("initialize").len(), upstream.sessions()), (3, 2));
}

#[tokio::test]
async fn who_opens_a_session_and_goes_away_fails_nobody_who_waits_for_it() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    used(&house, &upstream).await;
    let key = house.key(KeyRole::User);
    let all = house.at("/mcp");
    let (first, second) = (Mcp::open(&all, &key.text).await, Mcp::open(&all, &key.text).await);
    let leader = tokio::spawn(async move { first.text("notes__echo", json!({"text": "first"})).await });
    eventually("the first one asks", async || (upstream.messages("initialize").len() == 2).then_some(())).await;
    let follower = tokio::spawn(async move { second.text("notes__echo", json!({"text": "second"})).await });
    eventually("both of them wait", async || (house.placed("notes") == 2).then_some(())).await;
    leader.abort();
    assert_eq!(follower.await.unwrap(), "upstream: second");
    assert_eq!(upstream.calls("second"), 1);
}

#[tokio::test]
async fn an_empty_list_is_known_as_well_as_any() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.speak(false, true);
    house.mount(&server("notes", &upstream.url()));
    let mcp = house.session_on_all().await;
    for _ in 0..3 {
        assert_eq!(mcp.list("resources/templates/list", "resourceTemplates", "name").await, [""; 0]);
    }
    assert_eq!(upstream.messages("resources/templates/list").len(), 1);
}

#[tokio::test]
async fn who_knows_no_sessions_may_want_to_know_first_who_asks() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.speak(false, true);
    let probe = async |transport| {
        let spec = ProbeSpec {
            tenant: tenant().id,
            url: UpstreamUrl::parse(&upstream.url()).unwrap(),
            transport,
            headers: vec![],
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            lines: None,
        };
        house.commands.probe(spec).await.unwrap()
    };
    for transport in [Transport::Auto, Transport::StreamableHttp] {
        upstream.misbehave_next("server/discover", 1, Behaviour::Unauthorized);
        let refused = probe(transport).await;
        assert_eq!(refused.challenge.unwrap().status, 401);
        assert_eq!(refused.eras, model::Eras::default(), "nothing is learned of who refuses");
        let good = probe(transport).await;
        assert!(good.challenge.is_none());
        assert_eq!(good.eras.stateless, Some(true));
    }
}
