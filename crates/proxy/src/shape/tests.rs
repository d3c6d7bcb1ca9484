use super::*;
use crate::client::Capabilities;

fn client(revision: Revision, declared: &str) -> Client {
    Client { revision, capabilities: Capabilities::declared(declared.as_bytes()) }
}

const SESSION: Client = Client { revision: Revision::LATEST, capabilities: Capabilities::NONE };
const STATELESS: Client = Client { revision: Revision::STATELESS, capabilities: Capabilities::NONE };

/// The answer for the client to a message of the upstream.
fn shaped(shape: &Shape, said: &str) -> String {
    let message = Bytes::from(format!(r#"{{"jsonrpc":"2.0","id":5,{said}}}"#));
    let envelope = Envelope::scan(&message).unwrap();
    match shape.whole(&message, &envelope, b"\"c\"") {
        Shaped::Answer(answer) => {
            let answer = String::from_utf8(answer.to_vec()).unwrap();
            let rest = answer.strip_prefix(r#"{"jsonrpc":"2.0","id":"c","#).unwrap();
            rest.strip_suffix('}').unwrap().to_owned()
        }
        Shaped::AsksBack(asked) => format!("asks {}", asked.requests.len()),
    }
}

const INFO: &str = r#""_meta":{"io.modelcontextprotocol/serverInfo":{"name":"gatehouse""#;

#[test]
fn what_both_know_stays_as_it_is() {
    let said = r#""result":{"content":[{"type":"audio"}],"structuredContent":[1],"resultType":"complete","ttlMs":1}"#;
    for shape in [Shape::of(SESSION, Era::Session, "tools/call"), Shape::of(STATELESS, Era::Stateless, "tools/call")] {
        assert_eq!(shaped(&shape, said), said);
        assert!(!shape.holds_back() && shape.additions().is_none());
    }
    let said = r#""result":{"resultType":"input_required","requestState":"s"}"#;
    assert_eq!(shaped(&Shape::of(STATELESS, Era::Stateless, "tools/call"), said), said);
    for error in [-32002, -32042, -32602, -32021] {
        let said = format!(r#""error":{{"code":{error},"message":"m","data":{{"uri":"a"}}}}"#);
        for (client, era) in [(SESSION, Era::Session), (STATELESS, Era::Stateless)] {
            assert_eq!(shaped(&Shape::of(client, era, "resources/read"), &said), said);
        }
    }
}

#[test]
fn a_client_without_a_session_reads_what_a_session_said() {
    for (method, said, expected) in [
        ("tools/call", r#""result":{"content":[]}"#, r#""result":{"content":[],"resultType":"complete","#),
        (
            "resources/read",
            r#""result":{"contents":[]}"#,
            r#""result":{"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private","#,
        ),
    ] {
        let answer = shaped(&Shape::of(STATELESS, Era::Session, method), said);
        assert!(answer.starts_with(&format!("{expected}{INFO}")), "{answer}");
    }
    for (said, expected) in [
        (
            r#""error":{"code":-32002,"message":"Resource not found","data":{"uri":"a:b"}}"#,
            r#""error":{"code":-32602,"message":"Resource not found","data":{"uri":"a:b"}}"#,
        ),
        (r#""error":{"code":-32601,"message":"m"}"#, r#""error":{"code":-32601,"message":"m"}"#),
        (r#""error":{"code":-32000,"message":"m"}"#, r#""error":{"code":-32000,"message":"m"}"#),
    ] {
        assert_eq!(shaped(&Shape::of(STATELESS, Era::Session, "resources/read"), said), expected);
    }
}

#[test]
fn urls_that_a_session_wants_opened_become_a_round_for_who_opens_them() {
    let said = r#""error":{"code":-32042,"message":"m","data":{"elicitations":[{"mode":"url","elicitationId":"e","url":"https://a/","message":"go"}]}}"#;
    let able = client(Revision::STATELESS, r#"{"elicitation":{"url":{}}}"#);
    let answer = shaped(&Shape::of(able, Era::Session, "tools/call"), said);
    let answer: serde_json::Value = serde_json::from_str(&format!("{{{answer}}}")).unwrap();
    assert_eq!(answer["result"]["resultType"], "input_required");
    assert_eq!(
        answer["result"]["inputRequests"]["url-0"],
        json!({ "method": "elicitation/create", "params": { "mode": "url", "url": "https://a/", "message": "go" } })
    );
    let answer = shaped(&Shape::of(STATELESS, Era::Session, "tools/call"), said);
    assert!(
        answer.contains("-32021") && answer.contains(r#""requiredCapabilities":{"elicitation":{"url":{}}}"#),
        "{answer}"
    );
    for (method, said) in [("completion/complete", said), ("tools/call", r#""error":{"code":-32042,"message":"m"}"#)] {
        assert!(shaped(&Shape::of(able, Era::Session, method), said).contains("-32603"), "{method}");
    }
}

#[test]
fn a_session_reads_what_an_upstream_without_one_said() {
    let tool = Shape::of(SESSION, Era::Stateless, "tools/call");
    for (shape, said, expected) in [
        (
            &tool,
            r#""result":{"resultType":"complete","content":[],"ttlMs":3,"cacheScope":"public"}"#,
            r#""result":{"content":[]}"#,
        ),
        (&tool, r#""result":{"content":[1 , 2]}"#, r#""result":{"content":[1 , 2]}"#),
        (
            &tool,
            r#""result":{"resultType":"complete","content":[],"structuredContent":[1]}"#,
            r#""result":{"content":[{"type":"text","text":"[1]"}]}"#,
        ),
        (&tool, r#""result":{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"}}}"#, "asks 1"),
        (&tool, r#""result":{"resultType":"input_required","requestState":"s"}"#, "asks 0"),
    ] {
        assert_eq!(shaped(shape, said), expected);
    }
    let error = format!(r#""error":{{"code":-32603,"message":"{UNREADABLE}"}}"#);
    for (method, result) in [
        ("tools/call", r#"{"resultType":"task","taskId":"t"}"#),
        ("tools/call", r#"{"resultType":7}"#),
        ("tools/call", r#"{"resultType":"input_required"}"#),
        ("completion/complete", r#"{"resultType":"input_required","requestState":"s"}"#),
    ] {
        let shape = Shape::of(SESSION, Era::Stateless, method);
        assert_eq!(shaped(&shape, &format!(r#""result":{result}"#)), error, "{method} {result}");
        assert!(shape.holds_back());
    }
    let old = Shape::of(client(Revision::V2024_11_05, "{}"), Era::Stateless, "tools/call");
    let said = r#""result":{"resultType":"complete","content":[{"type":"audio","mimeType":"a/b"}]}"#;
    assert_eq!(shaped(&old, said), r#""result":{"content":[{"type":"text","text":"[audio: a/b]"}]}"#);
}

#[test]
fn errors_of_the_other_era_are_said_in_words_of_the_session() {
    let unknown = r#""error":{"code":-32602,"message":"m","data":{"uri":"a:b"}}"#;
    let read = Shape::of(SESSION, Era::Stateless, "resources/read");
    assert_eq!(shaped(&read, unknown), unknown.replace("-32602", "-32002"));
    let plain = r#""error":{"code":-32602,"message":"m"}"#;
    assert_eq!(shaped(&read, plain), plain);
    let tool = Shape::of(SESSION, Era::Stateless, "tools/call");
    assert_eq!(shaped(&tool, unknown), unknown);
    for code in [-32020, -32022] {
        let answer = shaped(&tool, &format!(r#""error":{{"code":{code},"message":"m"}}"#));
        assert!(answer.starts_with(r#""error":{"code":-32603,"#) && answer.contains("): m"), "{answer}");
    }
    let needs = r#""error":{"code":-32021,"message":"m","data":{"requiredCapabilities":{"sampling":{}}}}"#;
    let answer: serde_json::Value = serde_json::from_str(&format!("{{{}}}", shaped(&tool, needs))).unwrap();
    assert_eq!(answer["result"]["isError"], true);
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains(r#"{"sampling":{}}"#));
    assert!(shaped(&read, needs).starts_with(r#""error":{"code":-32603,"#));
}

#[test]
fn who_cannot_open_a_url_is_told_as_its_revision_can_be() {
    for (revision, method, expected) in [
        (Revision::V2025_11_25, "tools/call", "-32042"),
        (Revision::V2025_11_25, "prompts/get", "-32042"),
        (Revision::V2025_06_18, "tools/call", "isError"),
        (Revision::V2025_06_18, "prompts/get", "-32603"),
    ] {
        let shape = Shape::of(client(revision, "{}"), Era::Stateless, method);
        let answer = said(b"1", &shape.cannot_open("https://a/", "Sign in."));
        let answer = String::from_utf8(answer.to_vec()).unwrap();
        assert!(answer.contains(expected) && answer.contains("https://a/"), "{answer}");
    }
}

#[test]
fn older_clients_are_looked_after_in_their_own_era_too() {
    let said = r#""result":{"content":[{"type":"resource_link","uri":"a:b","name":"n"}]}"#;
    for (revision, method, repaired) in [
        (Revision::V2025_03_26, "tools/call", true),
        (Revision::V2025_06_18, "tools/call", false),
        (Revision::V2025_03_26, "resources/read", false),
    ] {
        let shape = Shape::of(client(revision, "{}"), Era::Session, method);
        assert_eq!((shape.holds_back(), shaped(&shape, said) != said), (repaired, repaired), "{revision:?} {method}");
    }
}

#[test]
fn log_messages_reach_only_who_asked_for_them() {
    let log = |level: &str| {
        Bytes::from(format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"{level}","data":1}}}}"#
        ))
    };
    let passes = |shape: &Shape, message: &Bytes| shape.passes(message, &Envelope::scan(message).unwrap());
    let bridged = Shape::of(STATELESS, Era::Session, "tools/call");
    for (wanted, level, heard) in [
        (None, "emergency", false),
        (Some("info"), "debug", false),
        (Some("info"), "info", true),
        (Some("info"), "error", true),
        (Some("debug"), "loud", false),
        (Some("loud"), "error", false),
    ] {
        let quoted = wanted.map(|wanted| format!("\"{wanted}\""));
        let shape = bridged.clone().telling(quoted.as_deref().map(str::as_bytes));
        assert_eq!(passes(&shape, &log(level)), heard, "{wanted:?} {level}");
    }
    for shape in [
        Shape::of(SESSION, Era::Session, "tools/call"),
        Shape::of(SESSION, Era::Stateless, "tools/call"),
        Shape::of(STATELESS, Era::Stateless, "tools/call"),
    ] {
        assert!(passes(&shape, &log("debug")));
    }
    let progress =
        Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1}}"#);
    assert!(passes(&bridged, &progress));
    let complete =
        Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/elicitation/complete","params":{}}"#);
    assert!(!passes(&bridged, &complete));
}
