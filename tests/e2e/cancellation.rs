//! Calls that are cancelled, calls that report progress, and clients that go away.

use serde_json::json;
use tests::{Gatehouse, Mcp, eventually};

use crate::ways::mounted;

#[tokio::test]
async fn a_cancelled_call_is_cancelled_at_the_upstream_under_its_own_id() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "desk").await;
    for (turn, (path, tool)) in [("/mcp", "desk__slow"), ("/servers/desk/mcp", "slow")].into_iter().enumerate() {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        let bystander = Mcp::open(&house.at(path), house.client_key()).await;
        let (mine, theirs) = (format!("{path} mine"), format!("{path} theirs"));
        let params = |text: &str| json!({"name": tool, "arguments": {"text": text}});
        upstream.close_gate();
        // Both use the same id: it is each client's own.
        let call = mcp.try_request_as(json!("same"), "tools/call", params(&mine));
        let other = bystander.try_request_as(json!("same"), "tools/call", params(&theirs));
        let cancel = async {
            eventually("both calls arrived", || async {
                (upstream.calls(&mine) + upstream.calls(&theirs) == 2).then_some(())
            })
            .await;
            let told = mcp.notify("notifications/cancelled", json!({"requestId": "same", "reason": "enough"})).await;
            assert_eq!(told.status, 202);
            let cancelled = eventually("the upstream is told", || async {
                let all = upstream.messages("notifications/cancelled");
                (all.len() > turn).then(|| all[turn].clone())
            })
            .await;
            let calls = upstream.messages("tools/call");
            let call = calls.iter().find(|call| call["params"]["arguments"]["text"] == mine.as_str()).unwrap();
            assert_eq!(cancelled["params"]["requestId"], call["id"], "{cancelled}");
            upstream.open_gate();
        };
        // What the cancelled call is answered is nobody's business; it only must not hang.
        let (_mine, theirs_answer, ()) = tests::patient("all end", async { tokio::join!(call, other, cancel) }).await;
        let answer = theirs_answer.unwrap().1;
        assert_eq!(answer["result"]["content"][0]["text"], format!("desk: {theirs}"), "{answer}");
    }
    assert_eq!(upstream.messages("notifications/cancelled").len(), 2);
}

#[tokio::test]
async fn cancelled_calls_cool_nobody() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "desk").await;
    let mcp = house.mcp().await;
    upstream.close_gate();
    for turn in 0..4 {
        let text = format!("cancelled {turn}");
        let params = json!({"name": "desk__slow", "arguments": {"text": text}});
        let call = mcp.try_request_as(json!(text), "tools/call", params);
        let cancel = async {
            eventually("the call arrived", || async { (upstream.calls(&text) == 1).then_some(()) }).await;
            mcp.notify("notifications/cancelled", json!({"requestId": text})).await;
        };
        // It ends at once, with no answer: the upstream never sends one.
        let (answer, ()) = tests::patient("the call ends", async { tokio::join!(call, cancel) }).await;
        assert!(answer.is_err(), "{answer:?}");
    }
    assert_eq!(mcp.text("desk__echo", json!({"text": "well"})).await, "desk: well");
    upstream.open_gate();
}

#[tokio::test]
async fn progress_comes_back_under_the_clients_own_token() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "desk").await;
    for (path, tool) in [("/mcp", "desk__progress"), ("/servers/desk/mcp", "progress")] {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        for token in [json!("mine"), json!(7)] {
            let text = format!("{path} {token}");
            let params =
                json!({"name": tool, "arguments": {"text": text, "steps": 3}, "_meta": {"progressToken": token}});
            let (before, answer) = mcp.try_request("tools/call", params).await.unwrap();
            assert_eq!(answer["result"]["content"][0]["text"], format!("desk: {text}"));
            let steps: Vec<_> = before.iter().filter(|one| one["method"] == "notifications/progress").collect();
            assert_eq!(steps.len(), 3, "{before:?}");
            for (index, step) in steps.iter().enumerate() {
                assert_eq!(step["params"]["progressToken"], token, "{step}");
                assert_eq!(step["params"]["progress"], index + 1);
            }
        }
    }
    assert!(upstream.repeated().is_empty());
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_nothing_and_leaks_nothing() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "desk").await;
    let mcp = house.mcp().await;
    {
        let gone = house.mcp().await;
        let call = gone.call("desk__slow", json!({"text": "abandoned"}));
        let arrived = eventually("the call arrived", || async { (upstream.calls("abandoned") == 1).then_some(()) });
        tokio::select! {
            answer = call => panic!("the gate is closed: {answer}"),
            () = arrived => (),
        }
    }
    assert_eq!(mcp.text("desk__echo", json!({"text": "next"})).await, "desk: next");
    assert!(upstream.messages("notifications/cancelled").is_empty(), "a disconnect is no cancel in the session era");
    upstream.open_gate();
    assert_eq!(mcp.text("desk__slow", json!({"text": "after"})).await, "desk: after");
    assert_eq!(upstream.calls("abandoned"), 1);
}
