//! What an upstream sees of the two timeouts of a server's record.

use std::time::Duration;

use model::ServerSpec;
use serde_json::json;
use tests::mcp::code_of;
use tests::{Upstream, eventually, patient};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::house::{House, server};

#[tokio::test]
async fn an_upstream_that_is_too_slow_for_the_read_timeout_hears_of_it() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let read_timeout = Duration::from_secs(1);
    house.mount(&ServerSpec { read_timeout, ..server("hasty", &upstream.url()) });
    house.mount(&server("patient", &upstream.url()));
    let (hasty, calm) = (house.session("hasty").await, house.session("patient").await);
    let waits = tokio::spawn(async move { calm.text("slow", json!({"text": "calm"})).await });
    eventually("the patient call is there", async || (upstream.calls("calm") == 1).then_some(())).await;
    let answer = hasty.call("slow", json!({"text": "hasty"})).await;
    assert_eq!(code_of(&answer), -31002, "{answer}");
    let given_up = async || upstream.messages("notifications/cancelled").pop();
    let given_up = eventually("the upstream hears that nobody waits", given_up).await;
    let slow = upstream.messages("tools/call");
    let hasty = slow.iter().find(|call| call["params"]["arguments"]["text"] == "hasty").unwrap();
    assert_eq!(given_up["params"]["requestId"], hasty["id"]);
    upstream.open_gate();
    assert_eq!(waits.await.unwrap(), "upstream: calm");
    assert_eq!(upstream.messages("notifications/cancelled").len(), 1);
}

/// Accepts and never says a word, so that TLS can't be agreed on.
#[tokio::test]
async fn a_connection_is_given_up_after_the_connect_timeout() {
    let house = House::start().await;
    let (soon, late) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = |listener: &TcpListener| format!("https://localhost:{}/mcp", listener.local_addr().unwrap().port());
    let (connect_timeout, retry_count) = (Duration::from_millis(200), 2);
    house.mount(&ServerSpec { connect_timeout, retry_count, ..server("soon", &url(&soon)) });
    house.mount(&ServerSpec { connect_timeout: Duration::from_secs(60), ..server("late", &url(&late)) });
    let open = async |name: &str| {
        let key = house.key(model::KeyRole::User).text;
        tests::Mcp::try_open(&house.at(&format!("/servers/{name}/mcp")), &key, tests::mcp::REVISION).await
    };
    let soon_given_up = async {
        // Each try is a connection of its own, closed before the next.
        for _ in 0..=retry_count {
            let (mut connection, _) = soon.accept().await.unwrap();
            connection.read_to_end(&mut Vec::new()).await.unwrap();
        }
    };
    let still_open = async {
        let (mut connection, _) = late.accept().await.unwrap();
        let mut hello = [0; 1];
        connection.read_exact(&mut hello).await.unwrap();
        let refused = patient("the short timeout is over", async { tokio::join!(open("soon"), soon_given_up) }).await.0;
        assert!(refused.err().unwrap().contains("-31002"));
        let closed = tokio::time::timeout(Duration::from_millis(10), connection.read_to_end(&mut Vec::new())).await;
        assert!(closed.is_err(), "the other is still waited for");
    };
    tokio::select! {
        _ = open("late") => panic!("it has a minute"),
        () = still_open => (),
    }
}
