//! Server records: adding, reading, changing, removing.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::house::{DEAD, House, NOTES, OTHER};
use crate::proxies::CommandError;

#[tokio::test]
async fn an_add_answers_with_the_record_the_probe_and_what_became_effective() {
    let house = House::open().await;
    let reply = house.admin("POST", "/api/v1/servers", &format!(r#"{{"title":"My Notes","url":"{NOTES}"}}"#)).await;
    assert_eq!(reply.status, StatusCode::CREATED);
    let record = reply.json();
    assert_eq!(record["name"], "my-notes");
    assert_eq!(record["title"], "My Notes");
    assert_eq!(record["transport"], "streamable_http");
    assert_eq!(record["enabled"], true);
    assert_eq!(record["effective"], json!({"live": 1, "pending": 0, "rejected": []}));
    assert_eq!(record["probe"]["revision"], "2025-11-25");
    assert_eq!(record["probe"]["tools"][0]["name"], "list");
    assert_eq!(record["created_at"], "2027-01-15T08:00:00Z");
    assert_eq!(reply.header("etag"), "\"1\"");
    let path = reply.header("location").to_owned();
    let read = house.admin("GET", &path, "").await;
    assert_eq!(read.header("etag"), "\"1\"");
    assert_eq!(read.json()["id"], record["id"]);
    assert_eq!(house.admin("GET", "/api/v1/servers/my-notes/", "").await.json()["id"], record["id"]);
}

#[tokio::test]
async fn nothing_is_saved_unless_the_upstream_answers() {
    let house = House::open().await;
    house.proxies.fails("http://127.0.0.1:9009/mcp", "address_blocked");
    let blocked = r#"{"url":"http://127.0.0.1:9009/mcp"}"#;
    let dead = format!(r#"{{"url":"{DEAD}"}}"#);
    let reply = house.admin("POST", "/api/v1/servers", &dead).await;
    assert_eq!(reply.told(), (422, "upstream_unreachable".to_owned()));
    assert_eq!(reply.json()["class"], "refused");
    assert_eq!(house.admin("POST", "/api/v1/servers", blocked).await.told(), (422, "address_blocked".to_owned()));
    house.proxies.with(|state| state.attached = false);
    let reply = house.admin("POST", "/api/v1/servers", &dead).await;
    assert_eq!(reply.told(), (503, "no_proxy_attached".to_owned()));
    assert_eq!(reply.header("retry-after"), "1");
    assert_eq!(house.admin("GET", "/api/v1/servers", "").await.json()["items"], json!([]));
    // Unless the admin knows better.
    let unseen = format!(r#"{{"url":"{DEAD}","skip_validation":true}}"#);
    let reply = house.admin("POST", "/api/v1/servers", &unseen).await;
    assert_eq!((reply.status, reply.json()["probe"].clone()), (StatusCode::CREATED, Value::Null));
    assert_eq!(reply.json()["transport"], "auto");
}

#[tokio::test]
async fn an_upstream_that_wants_a_credential_is_reachable() {
    let house = House::open().await;
    let wants = || wire::Challenge { status: 401, ..wire::Challenge::default() };
    house.proxies.speaks(DEAD, "[]");
    house.proxies.with(|state| state.challenges.extend([wants(), wants()]));
    let record = house.add("locked", DEAD).await;
    assert_eq!(record["probe"]["needs_auth"], true);
    let tested = house.admin("POST", "/api/v1/servers/locked/test", "").await;
    assert_eq!(
        tested.json(),
        json!({
            "ok": false, "class": "auth", "message": "the upstream wants a credential (401)", "latency_ms": null,
            "transport": null, "revision": null, "eras": [], "server_info": null, "tools": [], "needs_auth": true,
            "needs": {"error": "credential_required", "status": 401, "scopes": [], "login_url": null, "resource_metadata": null}
        })
    );
}

#[tokio::test]
async fn which_eras_an_upstream_speaks_is_known_until_it_is_another_one() {
    let house = House::open().await;
    let record = house.add("notes", NOTES).await;
    assert_eq!((&record["eras"], &record["probe"]["eras"]), (&json!(["session"]), &json!(["session"])));
    let stored = house.app.store.tenant(house.acme).server_by_name("notes").await.unwrap().unwrap();
    assert_eq!(stored.spec.eras, model::Eras { session: Some(true), stateless: Some(false) });
    let changed = house.patched("notes", &json!({"title": "Other"})).await;
    assert_eq!(changed.json()["eras"], json!(["session"]));
    let refused = house.patched("notes", &json!({"eras": ["stateless"]})).await;
    assert_eq!(refused.code(), "immutable_field", "{}", refused.text);
    let moved = house.patched("notes", &json!({"url": "https://elsewhere.example/mcp"})).await;
    assert_eq!(moved.json()["eras"], json!([]), "{}", moved.text);
}

#[tokio::test]
async fn an_add_that_is_disabled_is_probed_too() {
    let house = House::open().await;
    let body = format!(r#"{{"url":"{DEAD}","enabled":false}}"#);
    assert_eq!(house.admin("POST", "/api/v1/servers", &body).await.code(), "upstream_unreachable");
    let body = format!(r#"{{"url":"{NOTES}","enabled":false}}"#);
    assert_eq!(house.admin("POST", "/api/v1/servers", &body).await.json()["enabled"], false);
    assert_eq!(house.proxies.with(|state| state.probes), 2);
}

#[tokio::test]
async fn a_made_name_steps_aside_and_a_given_one_is_refused() {
    let house = House::open().await;
    let add = async |body: &str| house.admin("POST", "/api/v1/servers", body).await;
    for (title, name) in [("Notes", "notes"), ("notes!", "notes-2"), ("NOTES", "notes-3")] {
        assert_eq!(add(&format!(r#"{{"title":"{title}","url":"{NOTES}"}}"#)).await.json()["name"], name);
    }
    for name in ["127-0-0-1", "127-0-0-1-2"] {
        assert_eq!(add(&format!(r#"{{"url":"{NOTES}"}}"#)).await.json()["name"], name);
    }
    let named = format!(r#"{{"name":"notes","url":"{NOTES}"}}"#);
    assert_eq!(add(&named).await.told(), (409, "name_taken".to_owned()));
    let titled = format!(r#"{{"title":"Notes","url":"{NOTES}"}}"#);
    assert_eq!(add(&titled).await.told(), (409, "title_taken".to_owned()));
    // Neither was worth a probe, and another tenant learns nothing of it.
    assert_eq!(house.proxies.with(|state| state.probes), 5);
    assert_eq!(house.ask(&house.other_admin, "POST", "/api/v1/servers", &named).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_patch_keeps_clears_and_sets() {
    let house = House::open().await;
    let body = format!(
        r#"{{"name":"notes","url":"{NOTES}","headers":{{"X-Team":"a"}},"read_timeout_ms":5000,"disabled_tools":["x"]}}"#
    );
    assert_eq!(house.admin("POST", "/api/v1/servers", &body).await.status, StatusCode::CREATED);
    for (patch, field, expected) in [
        (r#"{"title":"Nice"}"#, "headers", json!({"X-Team": "a"})),
        (r#"{"headers":null}"#, "headers", json!({})),
        (r#"{"headers":{"X-Other":""}}"#, "headers", json!({"X-Other": ""})),
        (r#"{"read_timeout_ms":null}"#, "read_timeout_ms", json!(30_000)),
        (r#"{"disabled_tools":[]}"#, "disabled_tools", json!([])),
        (r#"{"trust_hints":true}"#, "trust_hints", json!(true)),
        (r#"{"trust_hints":null}"#, "trust_hints", json!(false)),
        (r#"{"enabled":false}"#, "enabled", json!(false)),
        (r#"{}"#, "title", json!("Nice")),
    ] {
        let reply = house.admin_with(("if-match", "*"), "PATCH", "/api/v1/servers/notes", patch).await;
        assert_eq!(reply.status, StatusCode::OK, "{patch}: {}", reply.text);
        assert_eq!(reply.json()[field], expected, "{patch}");
    }
    for (patch, code) in [
        (r#"{"title":null}"#, "not_clearable"),
        (r#"{"url":null}"#, "not_clearable"),
        (r#"{"enabled":null}"#, "not_clearable"),
        (r#"{"id":"x"}"#, "immutable_field"),
        (r#"{"tenant_id":"x"}"#, "immutable_field"),
        (r#"{"colour":"red"}"#, "unknown_field"),
        (r#"{"url":"http://127.0.0.1:5010/"}"#, "address_blocked"),
    ] {
        let reply = house.admin_with(("if-match", "*"), "PATCH", "/api/v1/servers/notes", patch).await;
        assert_eq!(reply.told(), (422, code.to_owned()), "{patch}");
    }
}

#[tokio::test]
async fn a_new_url_is_found_out_about_again() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    let patch = format!(r#"{{"url":"{OTHER}"}}"#);
    let reply = house.admin_with(("if-match", "\"1\""), "PATCH", "/api/v1/servers/notes", &patch).await;
    assert_eq!((reply.json()["url"].as_str(), reply.json()["transport"].as_str()), (Some(OTHER), Some("auto")));
    assert_eq!(reply.header("etag"), "\"2\"");
}

#[tokio::test]
async fn the_same_url_keeps_what_was_found_out() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    let patch = format!(r#"{{"url":"{NOTES}","trust_hints":true}}"#);
    let reply = house.admin_with(("if-match", "\"1\""), "PATCH", "/api/v1/servers/notes", &patch).await.json();
    assert_eq!((reply["transport"].as_str(), reply["trust_hints"].as_bool()), (Some("streamable_http"), Some(true)));
}

#[tokio::test]
async fn a_change_names_the_generation_that_it_was_made_from() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    let path = "/api/v1/servers/notes";
    for method in ["PATCH", "DELETE"] {
        let reply = house.admin(method, path, r#"{"trust_hints":true}"#).await;
        assert_eq!(reply.told(), (428, "if_match_required".to_owned()), "{method}");
        for stale in ["\"7\"", "1", "W/\"1\""] {
            let reply = house.admin_with(("if-match", stale), method, path, r#"{"trust_hints":true}"#).await;
            assert_eq!(reply.told(), (412, "stale".to_owned()), "{method} {stale}");
            assert_eq!(reply.json()["current_generation"], 1);
        }
    }
    let patched = house.admin_with(("if-match", "\"1\""), "PATCH", path, r#"{"trust_hints":true}"#).await;
    assert_eq!((patched.status, patched.header("etag")), (StatusCode::OK, "\"2\""));
    assert_eq!(house.admin_with(("if-match", "\"1\""), "DELETE", path, "").await.code(), "stale");
    let deleted = house.admin_with(("if-match", "\"2\""), "DELETE", path, "").await;
    assert_eq!((deleted.status, deleted.json()["effective"]["live"].as_i64()), (StatusCode::OK, Some(1)));
    assert_eq!(house.admin("GET", path, "").await.status, StatusCode::NOT_FOUND);
    // The name is free again.
    house.add("notes", NOTES).await;
}

#[tokio::test]
async fn enable_and_disable_are_actions() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    for (action, enabled) in [("disable", false), ("enable", true)] {
        let reply = house.admin("POST", &format!("/api/v1/servers/notes/{action}"), "{}").await;
        assert_eq!((reply.status, reply.json()["enabled"].as_bool()), (StatusCode::OK, Some(enabled)));
    }
}

#[tokio::test]
async fn lists_are_paged_searched_and_filtered() {
    let house = House::open().await;
    for name in ["alpha", "beta", "gamma"] {
        house.add(name, NOTES).await;
    }
    house.admin("POST", "/api/v1/servers/beta/disable", "").await;
    let names = |reply: Value| -> Vec<String> {
        reply["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    let first = house.admin("GET", "/api/v1/servers?limit=2", "").await.json();
    assert_eq!(names(first.clone()), ["alpha", "beta"]);
    let next = first["next"].as_str().unwrap();
    let second = house.admin("GET", &format!("/api/v1/servers?limit=2&cursor={next}"), "").await.json();
    assert_eq!((names(second.clone()), second["next"].clone()), (vec!["gamma".to_owned()], Value::Null));
    assert_eq!(names(house.admin("GET", "/api/v1/servers?search=AMM", "").await.json()), ["gamma"]);
    assert_eq!(names(house.admin("GET", "/api/v1/servers?enabled=false", "").await.json()), ["beta"]);
    assert_eq!(house.admin("GET", "/api/v1/servers?limit=0", "").await.told(), (422, "range".to_owned()));
    assert_eq!(house.admin("GET", "/api/v1/servers?cursor=%20", "").await.told(), (400, "cursor".to_owned()));
}

#[tokio::test]
async fn tools_are_listed_and_called_as_the_caller() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    let tools = house.admin("GET", "/api/v1/servers/notes/tools", "").await;
    assert_eq!(tools.json()["items"][0]["inputSchema"], json!({"type": "object"}));
    let body = r#"{"tool":"list","arguments":{"a":[1,2.50]}}"#;
    let called = house.admin("POST", "/api/v1/servers/notes/call", body).await;
    assert_eq!(called.text, r#"{"result":{"tool":"list","arguments":{"a":[1,2.50]}}}"#);
    // Numbers and the order of members are the tool's, so they arrive as they were written.
    let odd = r#"{"z":123456789012345678901234567890,"a":1.10,"e":1E2, "u":"\u00fc"}"#;
    let body = format!(r#"{{ "\u0061rguments" : {odd} , "tool":"list"}}"#);
    let called_oddly = house.admin("POST", "/api/v1/servers/notes/call", &body).await;
    assert_eq!(called_oddly.text, format!(r#"{{"result":{{"tool":"list","arguments":{odd}}}}}"#));
    let key: model::KeyText = house.admin.parse().unwrap();
    let principals = house.proxies.with(|state| state.principals.clone());
    assert!(
        principals.len() == 3 && principals.iter().all(|one| one.tenant == house.acme && one.key == Some(key.id()))
    );
    assert_eq!(house.admin("POST", "/api/v1/servers/notes/call", r#"{"arguments":1}"#).await.code(), "required");
    // What was told once is kept: only a refresh needs the upstream.
    house.proxies.fails(NOTES, "timeout");
    let refreshed = house.admin("POST", "/api/v1/servers/notes/tools/refresh", "").await;
    assert_eq!(refreshed.told(), (502, "upstream_failed".to_owned()));
    assert_eq!(house.admin("GET", "/api/v1/servers/notes/tools", "").await.json()["items"], tools.json()["items"]);
}

#[tokio::test]
async fn a_test_always_answers_and_says_what_it_found() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    let path = "/api/v1/servers/notes/test";
    let found = house.admin("POST", path, "").await.json();
    assert_eq!((found["ok"].as_bool(), found["transport"].as_str()), (Some(true), Some("streamable_http")));
    house.proxies.with(|state| state.upstreams.insert(NOTES.to_owned(), Err(CommandError::TimedOut)));
    let found = house.admin("POST", path, "").await;
    assert_eq!((found.status, found.json()["class"].as_str()), (StatusCode::OK, Some("timeout")));
}

#[tokio::test]
async fn a_key_is_shown_once() {
    let house = House::open().await;
    let made = house.admin("POST", "/api/v1/keys", r#"{"label":"ci","servers":["notes"]}"#).await;
    assert_eq!(made.status, StatusCode::CREATED);
    let made = made.json();
    assert!(made["key"].as_str().unwrap().starts_with("ghk_live_"));
    assert_eq!((made["role"].as_str(), made["label"].as_str()), (Some("user"), Some("ci")));
    assert_eq!(made["expires_at"], "2027-04-15T08:00:00Z");
    let listed = house.admin("GET", "/api/v1/keys", "").await;
    assert!(listed.text.contains("\"ci\"") && !listed.text.contains("ghk_"));
    assert!(!listed.text.contains("sha256") && !listed.text.contains("evidence"));
}

#[tokio::test]
async fn a_tenant_has_the_limits_that_it_was_given() {
    let house = House::open().await;
    let body = r#"{"name":"small","limits":{"servers":1}}"#;
    let made = house.ask(&house.platform, "POST", "/api/v1/tenants", body).await.json();
    assert_eq!((made["limits"]["servers"].as_i64(), made["limits"]["key_rate"].as_i64()), (Some(1), Some(50)));
    let add = async |port: u16| {
        let url = format!("http://127.0.0.1:{port}/mcp");
        house
            .send("POST", "/api/v1/servers", &format!(r#"{{"url":"{url}","skip_validation":true}}"#), |headers| {
                super::house::bearer(headers, &house.platform);
                headers.insert("gatehouse-tenant", "small".parse().unwrap());
            })
            .await
    };
    assert_eq!(add(9001).await.status, StatusCode::CREATED);
    let refused = add(9002).await;
    assert_eq!(refused.told(), (403, "quota_servers".to_owned()));
    assert_eq!(refused.json()["limit"], 1);
    let bad = r#"{"name":"x","limits":{"servers":0,"colour":1}}"#;
    let reply = house.ask(&house.platform, "POST", "/api/v1/tenants", bad).await.json();
    let fields: Vec<_> = reply["errors"].as_array().unwrap().iter().map(|one| one["field"].as_str().unwrap()).collect();
    assert_eq!(fields, ["limits.servers", "limits.colour"]);
    let again = house.ask(&house.platform, "POST", "/api/v1/tenants", body).await;
    assert_eq!(again.told(), (409, "name_taken".to_owned()));
}
