//! Rows of other systems by REST: what they become, twice, and without a trace of what was secret.

use serde_json::{Value, json};

use super::house::House;

const SEALED: &str = "enc:v1:AAECAwQFBgcICQoLSo3LI7xgs8HYsBT6YLcsfMYsxbGWhl2weUi5";
const WEKNORA_KEY: &str = "0123456789abcdef0123456789abcdef";

async fn send(house: &House, body: &Value) -> Value {
    let reply = house.ask(&house.admin, "POST", "/api/v1/import", &body.to_string()).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    for secret in ["tok-123", "ghp_example", "pat-9", WEKNORA_KEY] {
        assert!(!reply.text.contains(secret), "{secret} in {}", reply.text);
    }
    reply.json()
}

fn outcomes(report: &Value) -> Vec<(u64, &str, &str)> {
    let rows = report["rows"].as_array().unwrap();
    let text = |row: &'_ Value, name: &str| -> &'static str {
        match row[name].as_str().unwrap() {
            "server" => "server",
            "connection" => "connection",
            "row" => "row",
            "imported" => "imported",
            "skipped" => "skipped",
            "failed" => "failed",
            other => panic!("{other}"),
        }
    };
    rows.iter().map(|row| (row["line"].as_u64().unwrap(), text(row, "kind"), text(row, "outcome"))).collect()
}

fn yuxi(user: &str) -> Value {
    let config = json!({"version": 1, "provider": "bound_secret", "binding_scope": "user", "inject":
        {"target": "headers", "entries": [{"name": "Authorization", "value_template": "Bearer ${secret.access_token}"}]}});
    let blob = json!({"v": 2, "kid": "local", "salt": "AAECAwQFBgcICQoLDA0ODw==", "nonce": "AAECAwQFBgcICQoL",
        "ciphertext": "Am6_sSu7fUB47-l8wfA_RFeB41gQF7woCjTVXjL4d6D2Grj8j9SMrX36GNAor43A0wkPqaJp"});
    let connection = |scope_id: &str, blob: &Value| {
        json!({"id": 1, "server_name": "Wiki", "scope_type": "user", "scope_id": scope_id, "status": "active",
            "credential_blob": blob.to_string(), "meta_json": {}})
    };
    json!({"from": "yuxi", "key": "gatehouse-vector-master-key", "rows": [
        {"line": 1, "row": {"name": "Wiki", "transport": "streamable_http", "url": "https://wiki.example/mcp",
            "headers": null, "auth_config_json": config, "timeout": 20, "enabled": 1, "disabled_tools": ["rm"]}},
        {"line": 2, "row": {"name": "fs", "transport": "stdio", "command": "npx", "args": "[]"}},
        {"line": 3, "row": {"name": "Odd", "transport": "sse", "url": "ftp://odd.example/"}},
        {"line": 4, "row": connection(user, &blob)},
        {"line": 5, "row": connection("nobody", &blob)},
        {"line": 6, "row": connection(user, &json!({"v": 1, "nonce": "AAECAwQFBgcICQoL", "ciphertext": "AAAA"}))},
        {"line": 7, "row": {"what": "is this"}},
    ]})
}

const FIRST: [(u64, &str, &str); 7] = [
    (1, "server", "imported"),
    (2, "row", "skipped"),
    (3, "server", "failed"),
    (4, "connection", "imported"),
    (5, "connection", "failed"),
    (6, "row", "failed"),
    (7, "row", "failed"),
];

#[tokio::test]
async fn r30_an_import_makes_what_the_rows_say_once_and_a_second_run_imports_nothing() {
    let house = House::open().await;
    let made = house.ask(&house.admin, "POST", "/api/v1/users", r#"{"login":"ann","external_id":"42"}"#).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let mut dry = yuxi("42");
    dry["dry_run"] = true.into();
    let report = send(&house, &dry).await;
    // Whose a connection would be is looked at once its server is there.
    assert_eq!(outcomes(&report)[..4], FIRST[..4], "{report}");
    let listed = house.ask(&house.admin, "GET", "/api/v1/servers?search=wiki", "").await.json();
    assert_eq!(listed["items"], json!([]), "a dry run makes nothing");

    let report = send(&house, &yuxi("42")).await;
    assert_eq!(outcomes(&report), FIRST, "{report}");
    assert_eq!((&report["imported"], &report["skipped"], &report["failed"]), (&json!(2), &json!(1), &json!(4)));
    let reason = |line: usize| report["rows"][line - 1]["reason"].as_str().unwrap().to_owned();
    assert!(reason(2).starts_with("stdio_disabled") && reason(3).contains("url"), "{report}");
    assert!(reason(5).contains("scope_id") && reason(6).contains("another key"), "{report}");
    let server = house.ask(&house.admin, "GET", "/api/v1/servers/wiki", "").await.json();
    assert_eq!((&server["title"], &server["disabled_tools"]), (&json!("Wiki"), &json!(["rm"])), "{server}");
    let connections = house.ask(&house.admin, "GET", "/api/v1/servers/wiki/connections", "").await.json();
    let connection = &connections["items"][0];
    assert_eq!(
        (&connection["scope_name"], &connection["has_credentials"]),
        (&json!("ann"), &json!(true)),
        "{connection}"
    );
    // It opens as what it was.
    let found = house.ask(&house.admin, "POST", "/api/v1/connections/find", r#"{"secret":"tok-123"}"#).await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");

    let again = send(&house, &yuxi("42")).await;
    assert_eq!((&again["imported"], &again["failed"]), (&json!(0), &json!(4)), "{again}");
    assert_eq!(outcomes(&again)[3], (4, "connection", "skipped"));
}

#[tokio::test]
async fn t04_what_was_given_for_one_url_is_imported_for_no_other() {
    let house = House::open().await;
    house.ask(&house.admin, "POST", "/api/v1/users", r#"{"login":"ann","external_id":"42"}"#).await;
    let there = json!({"title": "Wiki", "name": "wiki", "url": "https://elsewhere.example/mcp", "skip_validation": true,
        "auth": {"type": "bearer", "scopes": ["user"]}});
    assert_eq!(house.ask(&house.admin, "POST", "/api/v1/servers", &there.to_string()).await.status, 201);
    let report = send(&house, &yuxi("42")).await;
    assert_eq!((outcomes(&report)[0], outcomes(&report)[3]), ((1, "server", "failed"), (4, "connection", "failed")));
    assert_eq!((&report["imported"], &report["rows"][0]["server"]), (&json!(0), &json!(null)));
    // Nor in a later request, which is told that it was not made.
    let mut later = yuxi("42");
    later["rows"] = json!([later["rows"][3]]);
    later["servers"] = json!({"Wiki": null});
    assert_eq!(outcomes(&send(&house, &later).await), [(4, "connection", "failed")]);
    let listed = house.ask(&house.admin, "GET", "/api/v1/servers/wiki/connections", "").await.json();
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn weknoras_keys_become_the_global_connection_and_its_tokens_peoples_own() {
    let house = House::open().await;
    house.ask(&house.admin, "POST", "/api/v1/users", r#"{"login":"u1"}"#).await;
    let service = |id: &str, name: &str, auth: Value| {
        json!({"id": id, "tenant_id": 1, "name": name, "enabled": false, "transport_type": "sse",
            "url": format!("https://{name}.example/sse"), "auth_config": auth, "deleted_at": null})
    };
    let rows = json!({"from": "weknora", "key": WEKNORA_KEY, "rows": [
        {"line": 1, "row": service("a1", "git", json!({"auth_type": "api_key", "api_key": SEALED}))},
        {"line": 2, "row": service("b2", "notes", json!({"auth_type": "oauth"}))},
        {"line": 3, "row": {"tenant_id": 1, "principal_type": "user", "principal_id": "u1", "service_id": "b2",
            "access_token": SEALED, "refresh_token": SEALED, "token_type": "Bearer", "expires_at": "2040-01-01T00:00:00Z"}},
    ]});
    let report = send(&house, &rows).await;
    assert_eq!(report["imported"], 3, "{report}");
    let server = house.ask(&house.admin, "GET", "/api/v1/servers/git", "").await.json();
    assert_eq!(server["enabled"], false, "{server}");
    for (name, scope) in [("git", "global"), ("notes", "user")] {
        let path = format!("/api/v1/servers/{name}/connections");
        let listed = house.ask(&house.admin, "GET", &path, "").await.json();
        assert_eq!(listed["items"][0]["scope_type"], scope, "{listed}");
        assert_eq!(listed["items"][0]["has_credentials"], true, "{listed}");
    }
    let found = house.ask(&house.admin, "POST", "/api/v1/connections/find", r#"{"secret":"ghp_example"}"#).await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 2, "{found}");
    assert_eq!(send(&house, &rows).await["imported"], 0);
}

#[tokio::test]
async fn r30_input_of_the_api_that_looks_like_a_ciphertext_is_a_secret_like_any_other() {
    let house = House::open().await;
    let body = json!({"url": "https://plain.example/mcp", "name": "plain", "skip_validation": true,
        "auth": {"type": "bearer", "scopes": ["global"]}, "credential": SEALED});
    let made = house.ask(&house.admin, "POST", "/api/v1/servers", &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let find = async |secret: &str| {
        let body = json!({"secret": secret}).to_string();
        let found = house.ask(&house.admin, "POST", "/api/v1/connections/find", &body).await.json();
        found["items"].as_array().unwrap().len()
    };
    assert_eq!((find(SEALED).await, find("ghp_example").await), (1, 0));
}
