//! Another tenant's server, session and key do not exist, and look exactly like what never did.

use serde_json::{Value, json};
use tests::{Answer, Gatehouse, Http, Mcp};

use crate::ways::{mounted, until_offered};

/// A body without the parts that differ from request to request.
fn bare(answer: &Answer) -> (u16, Value) {
    let mut body = answer.json();
    for differs in ["trace_id", "instance"] {
        body[differs] = Value::Null;
    }
    (answer.status.as_u16(), body)
}

#[tokio::test]
async fn another_tenants_server_looks_absent_in_rest() {
    let house = Gatehouse::start().await;
    let acme = house.admin().tenant("acme").await;
    let _theirs = mounted(&acme, "theirs").await;
    let record = acme.server("theirs").await.expect(200).json();
    let key = house.admin().tenant("globex").await.key("tenant_admin").await;
    let globex = house.admin().with_key(&key);
    let unknown = "01890000-0000-7000-8000-000000000000";
    let id = record["id"].as_str().unwrap();
    let tag = [("if-match", "\"1\"")];
    for (method, tail, body) in [
        ("GET", "", Value::Null),
        ("PATCH", "", json!({"title": "mine now"})),
        ("DELETE", "", Value::Null),
        ("POST", "/disable", Value::Null),
        ("POST", "/test", Value::Null),
        ("GET", "/tools", Value::Null),
        ("POST", "/call", json!({"tool": "echo", "arguments": {}})),
    ] {
        let at = async |id: &str| {
            globex.try_send(method, &format!("/api/v1/servers/{id}{tail}"), &tag, &body).await.unwrap()
        };
        let (theirs, absent) = (at(id).await, at(unknown).await);
        assert_eq!(theirs.status, 404, "{method} {tail}: {}", theirs.text());
        assert_eq!(bare(&theirs), bare(&absent), "{method} {tail}");
        assert_eq!(bare(&at("theirs").await), bare(&at("nobodys").await), "{method} {tail}");
    }
    assert_eq!(globex.get("/api/v1/servers").await.expect(200).json()["items"], json!([]));
    assert_eq!(acme.server("theirs").await.expect(200).json()["generation"], record["generation"]);
    // A tenant's admin can't put on another tenant's coat, whether that tenant exists or not.
    let coat = bare(&globex.in_tenant("acme").get("/api/v1/servers").await);
    assert_eq!(coat, bare(&globex.in_tenant("nowhere").get("/api/v1/servers").await));
    assert!([403, 404].contains(&coat.0), "{coat:?}");
}

#[tokio::test]
async fn another_tenants_mounts_paths_and_sessions_look_absent_in_mcp() {
    let house = Gatehouse::start().await;
    let acme = house.admin().tenant("acme").await;
    let globex = house.admin().tenant("globex").await;
    let theirs = mounted(&acme, "theirs").await;
    let _ours = mounted(&globex, "ours").await;
    let (acme_key, globex_key) = (acme.key("client").await, globex.key("client").await);

    let mcp = Mcp::open(&house.at("/mcp"), &globex_key).await;
    until_offered(&mcp, "ours__echo", true).await;
    assert!(!mcp.tools().await.contains(&"theirs__echo".to_owned()));
    let (foreign, absent) =
        (mcp.call("theirs__echo", json!({"text": "x"})).await, mcp.call("nobodys__echo", json!({"text": "x"})).await);
    assert_eq!(foreign["error"]["code"], -32602, "{foreign}");
    assert_eq!(foreign["error"]["data"]["reason"], "unknown_tool", "{foreign}");
    assert_eq!(foreign["error"]["message"], absent["error"]["message"]);

    let refused = async |path: &str, key: &str| {
        let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
        let bearer = format!("Bearer {key}");
        let mut headers = tests::mcp::POST.to_vec();
        headers.push(("authorization", &bearer));
        Http::default().send("POST", &house.at(path), &headers, hello.to_string()).await.unwrap()
    };
    for (foreign, absent) in [
        ("/servers/theirs/mcp", "/servers/nobodys/mcp"),
        ("/t/acme/mcp", "/t/nowhere/mcp"),
        ("/t/acme/servers/theirs/mcp", "/t/nowhere/servers/theirs/mcp"),
    ] {
        let (foreign, absent) = (refused(foreign, &globex_key).await, refused(absent, &globex_key).await);
        assert_eq!(foreign.status, 404, "{}", foreign.text());
        let (mut one, mut other) = (foreign.json(), absent.json());
        one["error"]["data"]["trace_id"] = Value::Null;
        other["error"]["data"]["trace_id"] = Value::Null;
        assert_eq!(one, other);
    }
    for (path, tool) in [("/t/globex/mcp", "ours__echo"), ("/t/globex/servers/ours/mcp", "echo")] {
        let mcp = Mcp::open(&house.at(path), &globex_key).await;
        assert_eq!(mcp.text(tool, json!({"text": path})).await, format!("ours: {path}"));
    }

    let session = Mcp::open(&house.at("/mcp"), &acme_key).await;
    let stolen = session.stolen_by(&globex_key).post(&json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    assert_eq!(stolen.unwrap().status, 404);
    assert_eq!(theirs.calls("x"), 0);
}

#[tokio::test]
async fn a_revoked_key_is_refused_and_other_keys_are_not() {
    let house = Gatehouse::start().await;
    let acme = house.admin().tenant("acme").await;
    let _notes = mounted(&acme, "notes").await;
    let made = acme.post("/api/v1/keys", &json!({"role": "client", "label": "short lived"})).await.expect(201).json();
    let (key, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let other = acme.key("client").await;
    let mcp = Mcp::open(&house.at("/mcp"), key).await;
    let kept = Mcp::open(&house.at("/mcp"), &other).await;
    assert_eq!(mcp.text("notes__echo", json!({"text": "1"})).await, "notes: 1");
    let list = acme.get("/api/v1/keys").await.expect(200);
    assert!(!list.text().contains(key) && list.text().contains(id), "a list shows ids, never a key");

    let path = format!("/api/v1/keys/{id}");
    let gone = acme.try_send("DELETE", &path, &[("if-match", "*")], &Value::Null).await.unwrap();
    assert!(gone.status.is_success(), "{}", gone.text());
    tests::eventually("the key is refused", || async {
        let answer = mcp.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.unwrap();
        (answer.status == 401).then_some(())
    })
    .await;
    assert_eq!(kept.text("notes__echo", json!({"text": "2"})).await, "notes: 2");
    let admin = acme.with_key(key).get("/api/v1/servers").await;
    assert_eq!(admin.status, 401, "{}", admin.text());
}
