//! How often an upstream is asked: as the server's record says, and never twice where that could do harm.

use std::time::{Duration, Instant};

use model::{ServerLimits, ServerSpec};
use serde_json::json;
use tests::mcp::{code_of, text_of};
use tests::{Behaviour, Upstream};

use crate::house::{House, server};

#[tokio::test]
async fn a_list_is_asked_for_as_often_as_the_record_says() {
    for retry_count in [0, 1, 3] {
        let (house, upstream) = (House::start().await, Upstream::start().await);
        house.mount(&ServerSpec { retry_count, ..server("notes", &upstream.url()) });
        let mcp = house.session("notes").await;
        upstream.misbehave_next("tools/list", 100, Behaviour::ServerError);
        assert_eq!(code_of(&mcp.request("tools/list", json!({})).await), -31001);
        assert_eq!(upstream.messages("tools/list").len() as u32, retry_count + 1);
    }
}

#[tokio::test]
async fn what_fails_once_is_answered_after_all() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&ServerSpec { retry_count: 2, ..server("notes", &upstream.url()) });
    upstream.misbehave_next("initialize", 2, Behaviour::ServerError);
    let mcp = house.session("notes").await;
    assert_eq!(upstream.messages("initialize").len(), 3);
    for (method, params) in [
        ("resources/read", json!({"uri": "test://upstream/note"})),
        ("prompts/get", json!({"name": "greet", "arguments": {"who": "you"}})),
        ("completion/complete", json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {}})),
    ] {
        for behaviour in [Behaviour::ServerError, Behaviour::TruncateJson] {
            let before = upstream.messages(method).len();
            upstream.misbehave_next(method, 1, behaviour);
            let answer = mcp.request(method, params.clone()).await;
            assert!(answer["result"].is_object(), "{method}: {answer}");
            let asked = upstream.messages(method).split_off(before);
            assert_eq!(asked.len(), 2, "{method}");
            assert_ne!(asked[0]["id"], asked[1]["id"], "{method}: each try has an id of its own");
        }
    }
}

#[tokio::test]
async fn a_call_that_may_have_been_executed_is_sent_once() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.hint("bad", "readOnlyHint");
    house.mount(&ServerSpec { retry_count: 3, ..server("notes", &upstream.url()) });
    for (path, tool) in [("/servers/notes/mcp", "bad"), ("/mcp", "notes__bad")] {
        let mcp = tests::Mcp::open(&house.at(path), &house.key(model::KeyRole::User).text).await;
        mcp.tools().await;
        let text = format!("once on {path}");
        let answer = mcp.call(tool, json!({"how": "server_error", "text": text})).await;
        assert_eq!(answer["error"]["data"]["outcome_uncertain"], true, "{answer}");
        assert_eq!(upstream.calls(&text), 1);
    }
}

#[tokio::test]
async fn a_call_is_repeated_where_the_hint_is_there_and_believed() {
    for (trust_hints, hint, tries) in
        [(true, Some("readOnlyHint"), 3), (true, Some("idempotentHint"), 3), (true, None, 1), (false, None, 1)]
    {
        let (house, upstream) = (House::start().await, Upstream::start().await);
        if let Some(hint) = hint {
            upstream.hint("bad", hint);
        }
        house.mount(&ServerSpec { retry_count: 2, trust_hints, ..server("notes", &upstream.url()) });
        let mcp = house.session("notes").await;
        mcp.tools().await;
        mcp.call("bad", json!({"how": "server_error", "text": "x"})).await;
        assert_eq!(upstream.calls("x"), tries, "{trust_hints} {hint:?}");
    }
}

#[tokio::test]
async fn a_call_that_never_left_is_tried_again_and_executed_once() {
    for (refusals, answered) in [(2, true), (3, false)] {
        let (house, upstream) = (House::start().await, Upstream::start().await);
        house.mount(&ServerSpec { retry_count: 2, ..server("notes", &upstream.url()) });
        let mcp = house.session("notes").await;
        // Closed over there: the next request needs a connection of its own.
        upstream.hang_up();
        let before = house.street.dials();
        house.street.refuse_next(refusals);
        let answer = mcp.call("echo", json!({"text": "x"})).await;
        assert_eq!(house.street.dials() - before, 3);
        assert_eq!(upstream.calls("x"), u32::from(answered));
        if answered {
            assert_eq!(text_of(&answer), "upstream: x");
        } else {
            assert_eq!(code_of(&answer), -31001);
            assert_eq!(answer["error"]["data"]["outcome_uncertain"], json!(null), "{answer}");
        }
    }
}

#[tokio::test]
async fn the_delay_lies_between_the_tries() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let retry_delay = Duration::from_millis(300);
    house.mount(&ServerSpec { retry_count: 2, retry_delay, ..server("notes", &upstream.url()) });
    let mcp = house.session("notes").await;
    upstream.misbehave_next("tools/list", 2, Behaviour::ServerError);
    let begun = Instant::now();
    assert!(mcp.tools().await.contains(&"echo".to_owned()));
    // A pause can't be shorter than it is; how much longer says nothing.
    assert!(begun.elapsed() >= retry_delay * 2);
    assert_eq!(upstream.messages("tools/list").len(), 3);
}

#[tokio::test]
async fn a_delay_that_does_not_fit_into_the_time_of_the_call_ends_the_series() {
    for (retry_delay, tries) in [(Duration::from_millis(1), 3), (Duration::from_secs(60), 1)] {
        let (house, upstream) = (House::start().await, Upstream::start().await);
        let limits = ServerLimits { call_secs: Some(20), ..ServerLimits::default() };
        house.mount(&ServerSpec { retry_count: 2, retry_delay, limits, ..server("notes", &upstream.url()) });
        let mcp = house.session("notes").await;
        upstream.misbehave_next("prompts/get", 100, Behaviour::ServerError);
        assert_eq!(code_of(&mcp.request("prompts/get", json!({"name": "greet"})).await), -31001);
        assert_eq!(upstream.messages("prompts/get").len(), tries, "{retry_delay:?}");
    }
}

#[tokio::test]
async fn a_series_of_tries_counts_as_one_failure() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&ServerSpec { retry_count: 3, ..server("notes", &upstream.url()) });
    let mcp = house.session("notes").await;
    upstream.misbehave_next("prompts/get", 100, Behaviour::ServerError);
    // Three failures in a row open the cooldown: so many series, of four tries each.
    for series in 1..=3 {
        mcp.request("prompts/get", json!({"name": "greet"})).await;
        assert_eq!(upstream.messages("prompts/get").len(), series * 4);
    }
    let answer = mcp.request("prompts/get", json!({"name": "greet"})).await;
    assert!(answer["error"]["data"]["retry_after_ms"].is_u64(), "{answer}");
    assert_eq!(upstream.messages("prompts/get").len(), 12, "it is left alone");
}

#[tokio::test]
async fn streams_that_break_off_cool_their_upstream() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let mcp = house.session("notes").await;
    for broken in 1..=3 {
        let answer = mcp.call("bad", json!({"how": "truncate_sse", "text": "x"})).await;
        assert_eq!(code_of(&answer), -31013, "{answer}");
        assert_eq!(upstream.calls("x"), broken);
    }
    let answer = mcp.call("bad", json!({"how": "truncate_sse", "text": "x"})).await;
    assert!(answer["error"]["data"]["retry_after_ms"].is_u64(), "{answer}");
    assert_eq!(upstream.calls("x"), 3, "it is left alone");
}
