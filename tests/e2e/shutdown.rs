//! Ending well: what is under way finishes, and nothing is left behind.

use serde_json::json;
use tests::gatehouse::Plane;
use tests::{Gatehouse, eventually, process};

use crate::ways::mounted;

#[tokio::test]
async fn a_slow_call_finishes_when_everything_is_asked_to_end() {
    let mut house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "desk").await;
    let mcp = house.mcp().await;
    let listener = house.mcp().await;
    // A client that only listens must not hold up the end.
    let _stream = listener.listen().await;
    let (control, proxy) = (house.pid(Plane::Control), house.pid(Plane::Proxy));
    let (up, base) = (house.up_pid(), house.proxy());
    let call =
        async { mcp.try_request("tools/call", json!({"name": "desk__slow", "arguments": {"text": "last"}})).await };
    let end = async {
        eventually("the call arrived", || async { (upstream.calls("last") == 1).then_some(()) }).await;
        process::ask_to_end(up);
        eventually("the proxy takes no more", || async { (!Gatehouse::answers(&base, "/readyz").await).then_some(()) })
            .await;
        upstream.open_gate();
    };
    let (answer, ()) = tests::patient("the last call ends", async { tokio::join!(call, end) }).await;
    let answer = answer.unwrap().1;
    assert_eq!(answer["result"]["content"][0]["text"], "desk: last", "{answer}");
    assert_eq!(house.end().await, Some(0));
    process::gone(control).await;
    process::gone(proxy).await;
}

#[tokio::test]
async fn a_call_through_control_finishes_too() {
    let mut house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "desk").await;
    let (admin, up, base) = (house.admin(), house.up_pid(), house.proxy());
    let call = async {
        admin
            .post("/api/v1/servers/desk/call", &json!({"tool": "slow", "arguments": {"text": "last"}}))
            .await
            .expect(200)
    };
    let end = async {
        eventually("the call arrived", || async { (upstream.calls("last") == 1).then_some(()) }).await;
        process::ask_to_end(up);
        eventually("the proxy takes no more", || async { (!Gatehouse::answers(&base, "/readyz").await).then_some(()) })
            .await;
        upstream.open_gate();
    };
    let (answer, ()) = tests::patient("the last call ends", async { tokio::join!(call, end) }).await;
    assert!(answer.text().contains("desk: last"), "{}", answer.text());
    assert_eq!(house.end().await, Some(0));
}

#[tokio::test]
async fn the_children_end_when_up_is_killed_and_the_folder_can_be_used_again() {
    let house = Gatehouse::start().await;
    let _notes = mounted(&house.admin(), "notes").await;
    let (control, proxy) = (house.pid(Plane::Control), house.pid(Plane::Proxy));
    let (url, key) = (house.proxy(), house.client_key().to_owned());
    process::kill_now(house.up_pid());
    process::gone(control).await;
    process::gone(proxy).await;
    let again = house.again().start().await;
    assert_eq!(again.client_key(), key, "the keys are the same");
    assert_eq!(again.proxy(), url, "the ports are the same");
    assert_eq!(again.mcp().await.text("notes__echo", json!({"text": "back"})).await, "notes: back");
}
