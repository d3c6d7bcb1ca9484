//! What clients may send wrongly on the MCP side, and the answer to each.

use serde_json::{Value, json};
use tests::{Answer, Gatehouse, Http, Mcp};

use crate::ways::mounted;

/// Posts to `path` with these headers instead of the usual ones of the same name.
async fn post(house: &Gatehouse, path: &str, instead: &[(&str, &str)], body: &str) -> Answer {
    let bearer = format!("Bearer {}", house.client_key());
    let mut headers = tests::mcp::POST.to_vec();
    headers.push(("authorization", &bearer));
    headers.retain(|(name, _)| instead.iter().all(|(other, _)| other != name));
    headers.extend(instead.iter().filter(|(_, value)| !value.is_empty()));
    Http::default().send("POST", &house.at(path), &headers, body.to_owned()).await.unwrap()
}

fn hello() -> String {
    json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}})
    .to_string()
}

fn is_refused(answer: &Answer, status: u16, code: i64) -> Value {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body["error"]["code"], code, "{body}");
    body
}

#[tokio::test]
async fn who_may_not_come_in_is_told_so() {
    let house = Gatehouse::start().await;
    for path in ["/mcp", "/servers/any/mcp", "/t/default/mcp"] {
        for authorization in ["", "Bearer ", "Bearer nonsense", "Basic Z2hr", "Bearer ghk_live_aaaaaaaaaaaaaaaa_b_c"] {
            let answer = post(&house, path, &[("authorization", authorization)], &hello()).await;
            assert_eq!(answer.status, 401, "{path} {authorization}: {}", answer.text());
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            assert!(!answer.text().contains("nonsense"));
        }
    }
    let mut mistyped = house.client_key().to_owned();
    mistyped.replace_range(12..13, if &mistyped[12..13] == "a" { "b" } else { "a" });
    let bearer = format!("Bearer {mistyped}");
    assert_eq!(post(&house, "/mcp", &[("authorization", &bearer)], &hello()).await.status, 401);

    for name in ["access_token", "token", "key", "api_key"] {
        let path = format!("/mcp?{name}={}", house.client_key());
        let answer = post(&house, &path, &[("authorization", "")], &hello()).await;
        if answer.status != 401 || name == "access_token" {
            let body = is_refused(&answer, 400, -32600);
            assert_eq!(body["error"]["data"]["reason"], "token_in_query");
        }
        assert!(!answer.text().contains(house.client_key()));
    }
    for foreign in [("origin", "https://evil.example"), ("host", "evil.example"), ("origin", "null")] {
        let answer = post(&house, "/mcp", &[foreign], &hello()).await;
        let body = is_refused(&answer, 403, -32600);
        assert_eq!(body["id"], Value::Null);
    }
    let own = house.proxy();
    assert_eq!(post(&house, "/mcp", &[("origin", &own)], &hello()).await.status, 200);
}

#[tokio::test]
async fn what_is_no_message_is_refused_before_anything_happens() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "desk").await;
    let seen = upstream.headers().len();
    let long_id = format!("{{\"jsonrpc\":\"2.0\",\"id\":\"{}\",\"method\":\"ping\"}}", "x".repeat(257));
    for path in ["/mcp", "/servers/desk/mcp"] {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        for (body, code) in [
            ("", -32700),
            ("{", -32700),
            ("not json", -32700),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"", -32700),
            ("[]", -32600),
            ("[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}]", -32600),
            ("\"text\"", -32600),
            (
                "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"ping\"}",
                -32600,
            ),
            ("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} x", -32600),
            ("{\"jsonrpc\":\"1.0\",\"id\":1,\"method\":\"ping\"}", -32600),
            ("{\"id\":1,\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":null,\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":1.5,\"method\":\"ping\"}", -32600),
            ("{\"jsonrpc\":\"2.0\",\"id\":{},\"method\":\"ping\"}", -32600),
            (&long_id, -32600),
        ] {
            let answer = mcp.post_bytes(body.to_owned()).await.unwrap();
            let said = is_refused(&answer, 400, code);
            assert_eq!(said["id"], Value::Null, "{body}");
        }
        for body in [
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"id\":2,\"method\":\"ping\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"METHOD\":\"tools/list\"}",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\",\"name\":\"b\"}}",
            "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":{\"name\":\"a\",\"Name\":\"b\"}}",
        ] {
            let said = is_refused(&mcp.post_bytes(body).await.unwrap(), 400, -32600);
            assert_eq!(said["error"]["data"]["reason"], "ambiguous_member", "{body}: {said}");
        }
        let first = mcp.request("tools/list", json!({"cursor": null})).await;
        assert!(first["result"]["tools"].is_array(), "{first}");
        let unknown = mcp.request("no/such/method", json!({})).await;
        assert_eq!(unknown["error"]["code"], -32601, "{unknown}");
        for tool in ["nobody__echo", "", "desk", "__", "desk__"] {
            let unknown = mcp.call(tool, json!({})).await;
            assert_eq!(unknown["error"]["code"], -32602, "{path} {tool}: {unknown}");
        }
    }
    assert!(upstream.headers().iter().skip(seen).all(|headers| !headers.contains_key("authorization")));
    assert_eq!(upstream.messages("ping").len(), 0);
}

#[tokio::test]
async fn wrong_headers_and_sizes_have_their_statuses() {
    let house = Gatehouse::start().await;
    let mcp = house.mcp().await;
    for accept in ["application/json", "text/event-stream", "text/html"] {
        assert_eq!(post(&house, "/mcp", &[("accept", accept)], &hello()).await.status, 406, "{accept}");
    }
    for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
        assert_eq!(post(&house, "/mcp", &[("content-type", kind)], &hello()).await.status, 415, "{kind}");
    }
    assert_eq!(post(&house, "/mcp", &[("accept", "*/*")], &hello()).await.status, 200);

    let huge = json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "y".repeat(2 << 20)}});
    is_refused(&mcp.post(&huge).await.unwrap(), 413, -31004);
    let deep = format!(
        "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    assert!(mcp.post_bytes(deep).await.unwrap().status.is_client_error());
    assert!(mcp.request("ping", json!({})).await["result"].is_object());

    for method in ["PUT", "PATCH", "HEAD"] {
        let bearer = format!("Bearer {}", house.client_key());
        let answer = Http::default().send(method, &house.at("/mcp"), &[("authorization", &bearer)], "").await.unwrap();
        assert_eq!(answer.status, 405, "{method}");
    }
    assert_eq!(post(&house, "/nothing", &[], &hello()).await.status, 404);
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/nothing",
        "/.well-known/oauth-protected-resource/t/nobody/mcp",
        "/.well-known/oauth-authorization-server",
        "/nothing",
    ] {
        let answer = Http::default().send("GET", &house.at(path), &[], "").await.unwrap();
        assert_eq!(answer.status, 404, "{path} without a key: {}", answer.text());
    }
    assert_eq!(post(&house, "/servers/nobody/mcp", &[], &hello()).await.status, 404);
    assert_eq!(post(&house, "/servers/..%2fx/mcp", &[], &hello()).await.status, 404);
}

#[tokio::test]
async fn what_is_said_without_a_session_is_whole_or_refused() {
    let house = Gatehouse::start().await;
    let _desk = mounted(&house.admin(), "desk").await;
    let said = |method: &str, version: Option<&str>| {
        let meta = version.map(|version| {
            json!({"io.modelcontextprotocol/protocolVersion": version,
                "io.modelcontextprotocol/clientCapabilities": {}})
        });
        let params = meta.map_or(json!({}), |meta| json!({ "_meta": meta }));
        json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
    };
    let (now, never) = (Some("2026-07-28"), Some("1999-01-01"));
    let (version, unknown) = (("mcp-protocol-version", "2026-07-28"), ("mcp-protocol-version", "1999-01-01"));
    let (discover, list) = (("mcp-method", "server/discover"), ("mcp-method", "tools/list"));
    for path in ["/mcp", "/servers/desk/mcp"] {
        for (headers, body, code) in [
            (vec![version, discover], said("server/discover", now), None),
            (vec![version, list], said("tools/list", now), None),
            (vec![], said("server/discover", now), Some(-32020)),
            (vec![version], said("tools/list", now), Some(-32020)),
            (vec![version, discover], said("tools/list", now), Some(-32020)),
            (vec![version], said("tools/list", None), Some(-32020)),
            (vec![version, list], said("tools/list", None), Some(-32602)),
            (vec![unknown, list], said("tools/list", never), Some(-32022)),
            (vec![unknown], said("tools/list", None), Some(-32022)),
        ] {
            let answer = post(&house, path, &headers, &body).await;
            assert_eq!(answer.header("mcp-session-id"), "", "{path} {body}");
            let said = match code {
                Some(code) => is_refused(&answer, 400, code),
                None => answer.expect(200).json(),
            };
            assert_eq!((said["result"].is_object(), &said["id"]), (code.is_none(), &json!(7)), "{path} {body}: {said}");
            if code == Some(-32022) {
                let supported = said["error"]["data"]["supported"].as_array().unwrap_or_else(|| panic!("{said}"));
                assert!(["2026-07-28", "2025-11-25"].iter().all(|one| supported.contains(&json!(one))), "{said}");
            }
        }
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        let bearer = format!("Bearer {}", house.client_key());
        for method in ["GET", "DELETE"] {
            for (version, status) in [("2026-07-28", 405), ("1999-01-01", 400)] {
                let headers = [
                    ("authorization", bearer.as_str()),
                    ("accept", "text/event-stream"),
                    ("mcp-session-id", mcp.session()),
                    ("mcp-protocol-version", version),
                ];
                let answer = Http::default().send(method, &house.at(path), &headers, "").await.unwrap();
                assert_eq!(answer.status, status, "{method} {version}: {}", answer.text());
                assert_eq!(answer.json()["error"]["code"], if status == 400 { -32022 } else { -32600 });
            }
        }
        assert!(mcp.request("ping", json!({})).await["result"].is_object(), "the session goes on");
    }
}

#[tokio::test]
async fn no_session_is_made_by_anything_but_initialize() {
    let house = Gatehouse::start().await;
    for body in [
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}),
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "gatehouse__echo"}}),
        json!({"jsonrpc": "2.0", "method": "notifications/initialized"}),
    ] {
        let answer = post(&house, "/mcp", &[], &body.to_string()).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert_eq!(answer.header("mcp-session-id"), "");
    }
    for session in ["x", "../../etc", "ghs_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &"z".repeat(4000)] {
        let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}).to_string();
        let answer = post(&house, "/mcp", &[("mcp-session-id", session)], &list).await;
        assert_eq!(answer.status, 404, "{}", answer.text());
        assert_eq!(answer.json()["id"], 1);
    }
    // A response to nothing is taken and forgotten.
    let mcp = house.mcp().await;
    let answer = mcp.post(&json!({"jsonrpc": "2.0", "id": 99, "result": {}})).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text());
}

#[tokio::test]
async fn too_many_requests_are_refused_with_a_time_to_wait() {
    let house = Gatehouse::start().await;
    let key = house.admin().tenant("busy").await.key("client").await;
    let mcp = Mcp::open(&house.at("/mcp"), &key).await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    let (mut good, mut refused) = (0, None);
    for _ in 0..2_000 {
        let answer = mcp.post(&ping).await.unwrap();
        if answer.status == 200 {
            good += 1;
        } else {
            refused = Some(answer);
            break;
        }
    }
    let answer = refused.expect("nobody may send 2,000 requests in one breath");
    is_refused(&answer, 429, -31009);
    assert!(answer.header("retry-after").parse::<u64>().is_ok_and(|seconds| seconds >= 1));
    assert!(good >= 97, "the burst is 100, less what opened the session: {good} were let through");
    // Another tenant's key is not concerned.
    assert!(house.mcp().await.request("ping", json!({})).await["result"].is_object());
}
