//! Upstreams that misbehave: the promised answer, nobody else harmed, memory bounded.

use serde_json::{Value, json};
use tests::gatehouse::Plane;
use tests::mcp::code_of;
use tests::{Behaviour, Gatehouse, Mcp, Upstream, process};

use crate::ways::mounted;

/// The word of a behaviour and the codes of which one is promised; none for a proper answer.
pub(crate) const PROMISES: &[(&str, &[i64])] = &[
    ("hang", &[-31002]),
    ("never_finish", &[-31002]),
    ("drip", &[-31002, -31003, -31013]),
    ("truncate_json", &[-31003, -31013]),
    ("truncate_sse", &[-31003, -31013]),
    ("empty_sse", &[-31003, -31013]),
    ("garbage", &[-31003]),
    ("login_page", &[-31003]),
    ("huge_body", &[-31004]),
    ("endless_event", &[-31003, -31004]),
    ("redirect", &[-31007]),
    ("junk_frames", &[]),
    ("unauthorized", &[-31006]),
    ("server_error", &[-31001, -31003]),
    ("gzip", &[-31003]),
    ("wrong_id", &[-31002, -31003, -31013]),
    ("duplicate_id", &[]),
    ("heartbeats", &[]),
    ("session_words", &[-32602]),
    ("null_id", &[-32600]),
];

/// Tried in tests of their own: what only drips has its own clock, and the errors of a tool's own are not ours.
const ELSEWHERE: [&str; 3] = ["drip", "session_words", "null_id"];

/// What no client may ever read.
const SECRETS: &[&str] =
    &["password-of-the-intranet", "stack-trace-of-the-upstream", "secret-realm", "169.254.169.254"];

#[test]
fn every_behaviour_has_a_promise() {
    let promised: Vec<&str> = PROMISES.iter().map(|(word, _)| *word).collect();
    let known: Vec<&str> = tests::behaviour::BEHAVIOURS.iter().map(|(word, _)| *word).collect();
    assert_eq!(promised, known);
}

#[tokio::test]
async fn each_misbehaviour_has_its_answer_on_the_aggregate() {
    each_has_its_answer("/mcp", "bad__").await;
}

#[tokio::test]
async fn each_misbehaviour_has_its_answer_on_the_servers_own_url() {
    each_has_its_answer("/servers/{}/mcp", "").await;
}

async fn each_has_its_answer(path: &str, prefix: &str) {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let _good = mounted(&admin, "good").await;
    let good = house.mcp().await;
    assert_eq!(good.text("good__echo", json!({"text": "before"})).await, "good: before");
    let proxy = house.pid(Plane::Proxy);
    let before = process::resident_kib(proxy);
    for (word, codes) in PROMISES.iter().filter(|(word, _)| !ELSEWHERE.contains(word)) {
        // A server of its own for each, so that a cooldown of one says nothing of the next.
        let upstream = Upstream::named("bad").await;
        let name = format!("bad-{}", word.replace('_', "-"));
        let body = json!({"name": name, "url": upstream.url(), "read_timeout_ms": 1000});
        admin.post("/api/v1/servers", &body).await.expect(201);
        let url = house.at(&path.replace("{}", &name));
        let tool = if prefix.is_empty() { "bad".to_owned() } else { format!("{name}__bad") };
        let mcp = Mcp::open(&url, house.client_key()).await;
        assert!(mcp.tools().await.contains(&tool), "{word}");
        let params = json!({"name": tool, "arguments": {"how": word, "text": word}});
        let answer = tests::patient(word, mcp.try_request("tools/call", params)).await;
        match answer {
            Ok((_, answer)) => is_promised(word, codes, &answer, &name),
            // Passed on while it came: all that is left to do is to cut it.
            Err(_) if *word == "huge_body" => (),
            Err(error) => panic!("{word}: {error}"),
        }
        assert_eq!(upstream.calls(word), 1, "{word} was sent once");
        assert_eq!(good.text("good__echo", json!({"text": word})).await, format!("good: {word}"));
    }
    // Row 30: a base and twice the caps of what is active; nothing is active any more.
    let peak = process::peak_kib(proxy);
    assert!(peak < before + 64 * 1024, "from {before} KiB to {peak} KiB");
    assert!(process::runs(proxy));
}

pub(crate) fn is_promised(word: &str, codes: &[i64], answer: &Value, server: &str) {
    let said = answer.to_string();
    for secret in SECRETS {
        assert!(!said.contains(secret), "{word}: {said}");
    }
    if codes.is_empty() {
        assert_eq!(answer["result"]["content"][0]["text"], "after all", "{word}: {said}");
        return;
    }
    assert!(codes.contains(&code_of(answer)), "{word}: {said}");
    assert_eq!(answer["error"]["data"]["origin"], "gateway", "{word}: {said}");
    assert_eq!(answer["error"]["data"]["server"], server, "{word}: {said}");
}

#[tokio::test]
async fn heartbeats_keep_a_silent_call_alive() {
    // The product's ticks come every 0.75 s; the heartbeats go on for more than five of them.
    let house = Gatehouse::plan().env("GATEHOUSE_TIME_SCALE", "20").start().await;
    let _desk = mounted(&house.admin(), "desk").await;
    let mcp = house.mcp().await;
    let params = json!({"name": "desk__bad", "arguments": {"how": "heartbeats", "text": "slow"}});
    let (_, answer) = mcp.try_request("tools/call", params).await.unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "after all", "{answer}");
}

#[tokio::test]
async fn a_tools_own_error_is_passed_on_and_nothing_is_sent_again() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "desk").await;
    for (path, tool) in [("/mcp", "desk__bad"), ("/servers/desk/mcp", "bad")] {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        for (word, code) in [("session_words", -32602), ("null_id", -32600)] {
            let text = format!("{path} {word}");
            let params = json!({"name": tool, "arguments": {"how": word, "text": text}});
            let (_, answer) = tests::patient(word, mcp.try_request("tools/call", params)).await.unwrap();
            assert_eq!(code_of(&answer), code, "{answer}");
            assert_eq!(upstream.calls(&text), 1, "{text} was sent once");
        }
    }
}

#[tokio::test]
async fn an_upstream_that_never_behaves_is_refused_at_the_add() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    for (word, behaviour) in tests::behaviour::BEHAVIOURS {
        if matches!(behaviour, Behaviour::JunkFrames | Behaviour::DuplicateId | Behaviour::Drip) {
            continue;
        }
        let upstream = Upstream::named("bad").await;
        upstream.always(Some(*behaviour));
        let body =
            json!({"name": "bad", "url": upstream.url(), "read_timeout_ms": 1000, "transport": "streamable_http"});
        let answer = tests::patient(word, admin.post("/api/v1/servers", &body)).await;
        if *behaviour == Behaviour::Unauthorized {
            // It speaks and wants a credential: that is for the admin to bind, and no reason to lose the record.
            assert_eq!(answer.expect(201).json()["probe"]["needs_auth"], true);
            admin.remove("bad").await.expect(200);
            continue;
        }
        assert!(answer.status.is_client_error() || answer.status.is_server_error(), "{word}: {}", answer.text());
        assert_ne!(answer.status, 500, "{word}: {}", answer.text());
        let problem = answer.json();
        assert!(problem["code"].is_string(), "{word}: {problem}");
        for secret in SECRETS {
            assert!(!answer.text().contains(secret), "{word}: {problem}");
        }
        admin.server("bad").await.expect(404);
    }
    assert!(process::peak_kib(house.pid(Plane::Proxy)) < 160 * 1024);
}

#[tokio::test]
async fn an_upstream_that_hangs_on_its_list_delays_nobody() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let _good = mounted(&admin, "good").await;
    let upstream = Upstream::named("stuck").await;
    let body = json!({"name": "stuck", "url": upstream.url(), "read_timeout_ms": 1000, "skip_validation": true});
    upstream.always(Some(Behaviour::Hang));
    admin.post("/api/v1/servers", &body).await.expect(201);
    let mcp = house.mcp().await;
    for _ in 0..3 {
        assert!(mcp.tools().await.contains(&"good__echo".to_owned()));
        assert_eq!(mcp.text("good__echo", json!({"text": "x"})).await, "good: x");
    }
    // When it comes back, it is offered without anybody's help.
    upstream.always(None);
    crate::ways::until_offered(&mcp, "stuck__echo", true).await;
}

#[tokio::test]
async fn a_lost_upstream_session_is_opened_again_and_the_call_is_made_once() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "forgetful").await;
    for (path, tool) in [("/mcp", "forgetful__echo"), ("/servers/forgetful/mcp", "echo")] {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        assert_eq!(mcp.text(tool, json!({"text": format!("{path} 1")})).await, format!("forgetful: {path} 1"));
        upstream.forget_sessions();
        let again = mcp.call(tool, json!({"text": format!("{path} 2")})).await;
        assert_eq!(again["result"]["content"][0]["text"], format!("forgetful: {path} 2"), "{path}: {again}");
    }
    assert!(upstream.repeated().is_empty());
}

#[tokio::test]
async fn an_address_that_is_never_allowed_is_refused_and_nothing_is_dialled() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    for url in [
        "http://169.254.169.254/mcp",
        "http://[::ffff:169.254.169.254]/mcp",
        "http://[fd00:ec2::254]/mcp",
        "http://metadata.google.internal/mcp",
        "http://10.0.0.1/mcp",
        "http://192.168.0.1/mcp",
        "http://0.0.0.0/mcp",
    ] {
        let answer = admin.post("/api/v1/servers", &json!({"name": "inside", "url": url})).await.expect(422);
        assert_eq!(answer.json()["code"], "address_blocked", "{url}: {}", answer.text());
    }
    // Dev mode allows loopback, but never a listener of our own.
    for own in [house.control(), &house.proxy()] {
        let body = json!({"name": "self", "url": format!("{own}/mcp")});
        let answer = admin.post("/api/v1/servers", &body).await.expect(422);
        assert_eq!(answer.json()["code"], "address_blocked", "{}", answer.text());
    }
    for (url, code) in [("ftp://127.0.0.1/", "url_scheme"), ("http://u:p@127.0.0.1/", "url_userinfo")] {
        let answer = admin.post("/api/v1/servers", &json!({"name": "odd", "url": url})).await.expect(422);
        let said = answer.json();
        assert!(said["code"] == code || said["errors"].to_string().contains(code), "{said}");
    }
}
