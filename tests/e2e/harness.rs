//! The harness keeps to its own word: our client straight at our upstream, no Gatehouse between.

use serde_json::json;
use tests::load::{Load, Target};
use tests::{Behaviour, Mcp, Upstream};

#[tokio::test]
async fn the_client_and_the_upstream_understand_each_other() {
    let upstream = Upstream::named("up").await;
    let mcp = Mcp::open(&upstream.url(), "any").await;
    assert_eq!(mcp.tools().await, ["echo", "slow", "progress", "bad", "fail"]);
    assert_eq!(mcp.text("echo", json!({"text": "hi"})).await, "up: hi");
    let mut stream = mcp.listen().await;
    upstream.add_tool("more");
    stream.until("notifications/tools/list_changed").await;
    assert!(mcp.tools().await.contains(&"more".to_owned()));
    let params = json!({"name": "progress", "arguments": {"text": "p", "steps": 2}, "_meta": {"progressToken": "t"}});
    let (before, _) = mcp.try_request("tools/call", params).await.unwrap();
    assert_eq!(before.len(), 2);
    let (slow, ()) = tokio::join!(mcp.call("slow", json!({"text": "s"})), async {
        tests::eventually("the call arrived", || async { (upstream.calls("s") == 1).then_some(()) }).await;
        upstream.open_gate();
    });
    assert_eq!(tests::mcp::text_of(&slow), "up: s");
    assert!(upstream.repeated().is_empty());
    upstream.forget_sessions();
    assert!(mcp.request("tools/list", json!({})).await["error"].is_object());
}

#[tokio::test]
async fn the_upstream_misbehaves_as_it_is_told() {
    let upstream = Upstream::named("up").await;
    for (word, behaviour) in tests::behaviour::BEHAVIOURS {
        use Behaviour::{Drip, EndlessEvent, Hang, HugeBody, NeverFinish};
        if matches!(behaviour, Hang | Drip | NeverFinish | HugeBody | EndlessEvent) {
            continue;
        }
        let mcp = Mcp::open(&upstream.url(), "any").await;
        let params = json!({"name": "bad", "arguments": {"how": word, "text": word}});
        let answer = tests::patient(word, mcp.try_request("tools/call", params)).await;
        // Our own client gives up at the first junk; Gatehouse must not.
        let behaved = matches!(
            behaviour,
            Behaviour::DuplicateId
                | Behaviour::Gzip
                | Behaviour::WrongId
                | Behaviour::Heartbeats
                | Behaviour::SessionWords
        );
        assert_eq!(answer.is_ok(), behaved, "{word}: {answer:?}");
        assert_eq!(upstream.calls(word), 1);
    }
}

#[tokio::test]
async fn the_load_counts_what_is_right_and_what_is_wrong() {
    let upstream = Upstream::named("up").await;
    let target = Target { url: upstream.url(), key: "any".to_owned(), tool: "echo".to_owned(), says: "up".to_owned() };
    let load = Load::start(vec![target.clone(), target.clone()], std::time::Duration::from_millis(2)).await;
    load.more(100).await;
    let (verified, failures) = load.finish().await;
    assert!(verified >= 100 && failures.is_empty(), "{failures:?}");
    let load = Load::start(vec![target], std::time::Duration::from_millis(2)).await;
    upstream.end();
    load.more(1_000_000).await;
    assert!(!load.finish().await.1.is_empty());
}
