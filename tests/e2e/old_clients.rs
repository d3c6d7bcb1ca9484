//! Clients of HTTP+SSE over two proxies: the stream is at one, and what is posted may come to either.

use serde_json::{Value, json};
use tests::replicas::{Plan, Replicas};
use tests::{SseSession, Upstream, eventually};

fn call(id: u64, tool: &str, text: &str) -> Value {
    let params = json!({"name": tool, "arguments": {"text": text}});
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
}

#[tokio::test]
async fn what_is_posted_to_another_proxy_is_answered_on_the_stream() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}?mode=rwc", folder.path().join("gatehouse.db").display());
    let replicas = Replicas::start(&Plan { controls: 1, proxies: 2, database, redis: None }).await;
    let upstream = Upstream::start().await;
    replicas.admin(0).add("notes", &upstream.url()).await;
    let (one, other) = (replicas.at(0, ""), replicas.at(1, ""));
    for (path, tool) in [("/sse", "notes__echo"), ("/servers/notes/sse", "echo")] {
        let mut session = SseSession::begin(&one, path, replicas.client_key(), json!({})).await;
        let (here, there) = (session.posts.clone(), session.posts.replace(&one, &other));
        session.posts = there.clone();
        // The proxies hear of each other a moment after they have attached.
        let known = async || {
            (session.post(&json!({"jsonrpc": "2.0", "id": 7, "method": "ping"})).await.status == 202).then_some(())
        };
        eventually("the other proxy knows where the stream is", known).await;
        session.answer(7).await;
        for round in 0..6 {
            session.posts = if round % 2 == 0 { there.clone() } else { here.clone() };
            let text = format!("{path} {round}");
            assert_eq!(session.post(&call(10 + round, tool, &text)).await.expect(202).text(), "Accepted");
            assert_eq!(session.answer(10 + round).await["result"]["content"][0]["text"], format!("upstream: {text}"));
            assert_eq!(upstream.calls(&text), 1);
        }
        let http = session.http.clone();
        drop(session);
        let bearer = format!("Bearer {}", replicas.client_key());
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let gone = async || {
            let answer = http.send("POST", &there, &headers, call(99, tool, "late").to_string()).await.unwrap();
            (answer.status == 404).then_some(())
        };
        eventually("the stream is gone for either", gone).await;
    }
}
