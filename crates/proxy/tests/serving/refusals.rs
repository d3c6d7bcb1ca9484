//! What follows when an upstream refuses a credential: another one if there is one, once, and otherwise the truth.

use std::sync::Arc;

use model::{ConnectionSpec, Holder, Resource, Scope, ServerSpec};
use serde_json::{Value, json};
use tests::mcp::code_of;
use tests::{Behaviour, Guard, Mcp, Upstream, eventually};

use crate::house::{House, server};
use crate::scripted::{bound, connection};

/// A house with one server behind a guard, and a global connection that holds `first` and may become `next`.
struct Setting {
    house: House,
    guard: Guard,
    upstream: Upstream,
    spec: ServerSpec,
    connection: ConnectionSpec,
}

async fn setting(first: &str, next: &[&str]) -> Setting {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::Global]);
    house.mount(&spec);
    let connection = connection(spec.id, Holder::Global);
    let lines: Vec<String> = next.iter().map(|token| format!("Bearer {token}")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    house.connect(&connection, &format!("Bearer {first}"), &lines);
    Setting { house, guard, upstream, spec, connection }
}

fn why(answer: &Value) -> &str {
    answer["error"]["data"]["error"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn r57_r59_a_401_on_any_request_is_answered_with_another_token_once() {
    for folded in [false, true] {
        for (method, params) in [
            ("initialize", Value::Null),
            ("tools/list", json!({})),
            ("tools/call", json!({"name": "echo", "arguments": {"text": "x"}})),
            ("resources/read", json!({"uri": "test://upstream/note"})),
            ("prompts/get", json!({"name": "greet", "arguments": {"who": "you"}})),
        ] {
            let setting = setting("old", &["new"]).await;
            let Setting { house, guard, .. } = &setting;
            guard.accept_bearer("old", "everybody");
            guard.fold(folded);
            let open = async || house.session("notes").await;
            // The session was begun with the older one, and goes on with the newer.
            let mcp = if params.is_null() { None } else { Some(open().await) };
            // Lists have a session of their own over there, which is begun before.
            if method == "tools/list" {
                mcp.as_ref().unwrap().request("prompts/list", json!({})).await;
            }
            guard.forget_secrets();
            guard.accept_bearer("new", "everybody");
            let before = guard.seen().len();
            match &mcp {
                None => drop(open().await),
                Some(mcp) => {
                    let answer = mcp.request(method, params.clone()).await;
                    assert!(answer["result"].is_object(), "{method} {folded}: {answer}");
                }
            }
            let seen: Vec<_> = guard.seen().split_off(before);
            let tried = seen.iter().filter(|seen| seen.asks == method);
            let tried: Vec<bool> = tried.map(|seen| seen.person.is_some()).collect();
            assert_eq!(tried, [false, true], "{method} {folded}");
            let asked = house.control.asked();
            assert_eq!(asked.iter().map(|asked| asked.newer_than).collect::<Vec<_>>(), [0, 1], "{method} {folded}");
        }
    }
}

#[tokio::test]
async fn r56_a_token_that_is_newer_already_is_used_and_nobody_is_asked() {
    let setting = setting("old", &[]).await;
    let Setting { house, guard, connection, .. } = &setting;
    guard.accept_bearer("old", "everybody");
    let mcp = house.session("notes").await;
    guard.forget_secrets();
    guard.accept_bearer("new", "everybody");
    // A hundred calls at once: one of them asks for all.
    house.connect(connection, "Bearer old", &["Bearer new"]);
    let mcp = Arc::new(mcp);
    let calls = (0..100).map(|number| {
        let mcp = mcp.clone();
        async move { mcp.text("echo", json!({"text": number.to_string()})).await }
    });
    for (number, text) in futures::future::join_all(calls).await.into_iter().enumerate() {
        assert_eq!(text, format!("upstream: {number}"));
    }
    let asked = house.control.asked();
    assert_eq!(asked.iter().map(|asked| asked.newer_than).collect::<Vec<_>>(), [0, 1], "one refresh");
}

#[tokio::test]
async fn r58_a_second_401_is_told_to_control_and_to_the_client_and_the_upstream_is_left_alone() {
    let setting = setting("old", &["as-bad"]).await;
    let Setting { house, guard, connection, .. } = &setting;
    guard.accept_bearer("old", "everybody");
    let mcp = house.session("notes").await;
    guard.forget_secrets();
    let before = guard.seen().len();
    let answer = mcp.call("echo", json!({"text": "x"})).await;
    assert_eq!((code_of(&answer), why(&answer)), (-31006, "reauth_required"));
    assert!(answer["error"]["message"].as_str().unwrap().starts_with("Do not retry"), "{answer}");
    assert_eq!(guard.seen().len() - before, 2, "two tries of one call");
    let told = async || house.control.told().into_iter().find(|verdict| verdict.refused.is_some());
    let verdict = eventually("control is told", told).await;
    assert_eq!((verdict.connection, verdict.token_generation), (connection.id, 2));
    assert_eq!(verdict.refused.map(|challenge| challenge.status), Some(401));
    // The next ones are refused here, without a word to the upstream or to control.
    let asked = house.control.asked().len();
    for _ in 0..3 {
        assert_eq!(why(&mcp.call("echo", json!({"text": "x"})).await), "reauth_required");
    }
    assert_eq!((guard.seen().len() - before, house.control.asked().len()), (2, asked));
    // Somebody signs in again: it is as if nothing had been.
    guard.accept_bearer("good", "everybody");
    let again = ConnectionSpec { credential_version: 2, token_generation: 3, ..connection.clone() };
    house.connect(&again, "Bearer good", &[]);
    assert_eq!(mcp.text("echo", json!({"text": "x"})).await, "upstream: x");
}

#[tokio::test]
async fn r57_a_token_that_is_the_same_is_not_tried_again() {
    let setting = setting("static", &[]).await;
    let Setting { house, guard, upstream, .. } = &setting;
    guard.accept_bearer("static", "everybody");
    let mcp = house.session("notes").await;
    guard.forget_secrets();
    let before = guard.seen().len();
    let answer = mcp.call("echo", json!({"text": "x"})).await;
    assert_eq!((code_of(&answer), why(&answer)), (-31006, "reauth_required"));
    assert_eq!((guard.seen().len() - before, upstream.calls("x")), (1, 0));
}

#[tokio::test]
async fn a_server_that_wants_no_second_try_gets_none() {
    let setting = setting("old", &["new"]).await;
    let Setting { house, guard, spec, .. } = &setting;
    guard.accept_bearer("old", "everybody");
    let binding = model::Binding { retry_unauthorized: false, ..spec.binding.clone().unwrap() };
    house.mount(&ServerSpec { binding: Some(binding), ..spec.clone() });
    let mcp = house.session("notes").await;
    guard.forget_secrets();
    guard.accept_bearer("new", "everybody");
    let before = guard.seen().len();
    assert_eq!(why(&mcp.call("echo", json!({"text": "x"})).await), "reauth_required");
    assert_eq!(guard.seen().len() - before, 1);
}

#[tokio::test]
async fn r58_a_refused_credential_harms_no_other_scope_and_cools_nothing() {
    let setting = setting("bad", &[]).await;
    let Setting { house, guard, spec, .. } = &setting;
    let own = ServerSpec { id: model::ServerId::fresh(), name: "other".parse().unwrap(), ..spec.clone() };
    house.mount(&own);
    let good = connection(own.id, Holder::Global);
    guard.accept_bearer("good", "everybody");
    house.connect(&good, "Bearer good", &[]);
    let mcp = house.session_on_all().await;
    for _ in 0..5 {
        assert_eq!(code_of(&mcp.call("notes__echo", json!({"text": "x"})).await), -31006);
        assert_eq!(mcp.text("other__echo", json!({"text": "x"})).await, "upstream: x");
    }
    assert!(house.commands.observe().iter().all(|mount| mount.cooling.is_none()));
}

#[tokio::test]
async fn r60_insufficient_scope_is_recorded_and_any_other_403_is_passed_on() {
    let setting = setting("good", &["other"]).await;
    let Setting { house, guard, upstream, connection, .. } = &setting;
    guard.accept_bearer("good", "everybody");
    let mcp = house.session("notes").await;
    guard.needs("echo", "notes:write");
    let answer = mcp.call("echo", json!({"text": "x"})).await;
    assert_eq!((code_of(&answer), why(&answer)), (-31006, "insufficient_scope"), "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("notes:write"), "{answer}");
    let told = async || house.control.told().into_iter().find(|verdict| verdict.refused.is_some());
    let verdict = eventually("control is told", told).await;
    let refused = verdict.refused.unwrap();
    assert_eq!((verdict.connection, refused.status), (connection.id, 403));
    assert_eq!(refused.error.as_deref(), Some("insufficient_scope"));
    // What the credential may is done as before.
    assert!(mcp.text("whoami", json!({})).await.contains("everybody"));
    assert_eq!((house.control.asked().len(), upstream.calls("x")), (1, 0));
}

#[tokio::test]
async fn r59_what_an_upstream_says_of_its_authorization_reaches_no_client() {
    for bindings in [false, true] {
        let setting = setting("bad", &[]).await;
        let Setting { house, guard, spec, .. } = &setting;
        guard.accept_bearer("bad", "everybody");
        let mcp = house.session("notes").await;
        guard.forget_secrets();
        if !bindings {
            house.mount(&ServerSpec { binding: None, ..spec.clone() });
        }
        let call =
            json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {}}});
        let answer = mcp.post(&call).await.unwrap();
        assert_eq!((answer.status.as_u16(), code_of(&answer.json())), (200, -31006));
        assert!(answer.headers.get("www-authenticate").is_none());
        assert!(!answer.text().contains("realm"), "{}", answer.text());
        let word = if bindings { "reauth_required" } else { "connection_required" };
        assert_eq!(why(&answer.json()), word);
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_asked_for_again_with_another_token() {
    let setting = setting("good", &["other"]).await;
    let Setting { house, guard, upstream, .. } = &setting;
    guard.accept_bearer("good", "everybody");
    let mcp = house.session("notes").await;
    upstream.misbehave_next("tools/call", 1, Behaviour::TruncateSse);
    let before = guard.calls().len();
    let answer = mcp.call("echo", json!({"text": "x"})).await;
    assert!(answer["error"].is_object(), "{answer}");
    assert_eq!((guard.calls().len() - before, house.control.asked().len()), (1, 1));
}

#[tokio::test]
async fn an_accepted_credential_is_told_in_time_and_a_gone_one_is_asked_for_by_nobody() {
    let setting = setting("good", &[]).await;
    let Setting { house, guard, connection, .. } = &setting;
    guard.accept_bearer("good", "everybody");
    let mcp: Mcp = house.session("notes").await;
    assert_eq!(mcp.text("echo", json!({"text": "x"})).await, "upstream: x");
    house.control.forgets(connection.id);
    house.put([Resource::Connection(ConnectionSpec { token_generation: 2, ..connection.clone() })]);
    let answer = mcp.call("echo", json!({"text": "x"})).await;
    assert_eq!((code_of(&answer), why(&answer)), (-31006, "reauth_required"));
    house.disconnect(connection);
    let asked = house.control.asked().len();
    assert_eq!(why(&mcp.call("echo", json!({"text": "x"})).await), "connection_required");
    assert_eq!(house.control.asked().len(), asked);
}
