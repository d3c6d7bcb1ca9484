//! Tenants, departments, users, egress rules, the audit, and who asks.

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::house::{House, NOTES, Reply, bearer};

impl House {
    /// A request of a platform admin that fits any generation.
    async fn any(&self, method: &str, path: &str, body: &str) -> Reply {
        self.send(method, path, body, |headers| {
            bearer(headers, &self.platform);
            headers.insert("if-match", "*".parse().unwrap());
        })
        .await
    }

    /// The key of a new user of this role.
    async fn key_of(&self, login: &str, role: &str, key_role: &str) -> String {
        let user = format!(r#"{{"login":"{login}","role":"{role}"}}"#);
        self.any("POST", "/api/v1/users", &user).await;
        let key = format!(r#"{{"user":"{login}","role":"{key_role}"}}"#);
        let made = self.any("POST", "/api/v1/keys", &key).await;
        made.json()["key"].as_str().unwrap_or_else(|| panic!("{}", made.text)).to_owned()
    }

    async fn status(&self, key: &str, path: &str) -> u16 {
        self.ask(key, "GET", path, "").await.status.as_u16()
    }
}

#[tokio::test]
async fn a_users_departments_are_named_in_and_shown_in_their_order() {
    let house = House::open().await;
    for name in ["board", "research"] {
        house.admin("POST", "/api/v1/departments", &format!(r#"{{"name":"{name}","external_id":"x-{name}"}}"#)).await;
    }
    let board = house.admin("GET", "/api/v1/departments/board", "").await.json()["id"].as_str().unwrap().to_owned();
    let body = format!(r#"{{"login":"ann@example.com","departments":["research","{board}"]}}"#);
    let ann = house.admin("POST", "/api/v1/users", &body).await.json();
    let shown = |user: &Value| -> Vec<String> {
        user["departments"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(shown(&ann), ["research", "board"]);
    let path = "/api/v1/users/ann@example.com";
    let moved = house.any("PATCH", path, r#"{"departments":["board"],"title":"Ann","external_id":"7"}"#).await.json();
    assert_eq!(
        (shown(&moved), moved["title"].as_str(), moved["external_id"].as_str()),
        (vec!["board".to_owned()], Some("Ann"), Some("7"))
    );
    let kept = house.any("PATCH", path, r#"{"external_id":null}"#).await.json();
    assert_eq!((shown(&kept), kept["external_id"].is_null()), (vec!["board".to_owned()], true));
    assert!(shown(&house.any("PATCH", path, r#"{"departments":null}"#).await.json()).is_empty());
    let wrong = house.any("PATCH", path, r#"{"departments":["board","nowhere"]}"#).await;
    assert_eq!(wrong.told(), (422, "department".to_owned()));
    assert_eq!(wrong.json()["errors"][0]["field"], "departments.1");
    assert_eq!(house.admin("POST", "/api/v1/users", &body).await.told(), (409, "name_taken".to_owned()));
    assert_eq!(house.any("PATCH", path, r#"{"tenant_id":"x"}"#).await.told(), (422, "immutable_field".to_owned()));
}

#[tokio::test]
async fn what_is_deleted_comes_back_unless_its_name_was_taken_since() {
    let house = House::open().await;
    for (noun, body, name) in [
        ("departments", r#"{"name":"board"}"#.to_owned(), "board"),
        ("users", r#"{"login":"ann"}"#.to_owned(), "ann"),
        ("servers", format!(r#"{{"name":"notes","url":"{NOTES}"}}"#), "notes"),
    ] {
        let path = format!("/api/v1/{noun}/{name}");
        let id = house.any("POST", &format!("/api/v1/{noun}"), &body).await.json()["id"].clone();
        let restore = async || house.any("POST", &format!("{path}/restore"), "").await;
        assert_eq!(house.any("DELETE", &path, "").await.json()["id"], id, "{noun}");
        assert_eq!(house.any("GET", &path, "").await.told(), (404, "not_found".to_owned()));
        let deleted = house.any("GET", &format!("/api/v1/{noun}?deleted=true"), "").await.json();
        assert_eq!((&deleted["items"][0]["id"], deleted["items"][0]["deleted_at"].is_string()), (&id, true));
        let back = restore().await;
        assert_eq!((back.status, &back.json()["id"], &back.json()["enter_again"]), (StatusCode::OK, &id, &json!([])));
        house.any("DELETE", &path, "").await;
        house.any("POST", &format!("/api/v1/{noun}"), &body).await;
        let id = id.as_str().unwrap();
        let taken = house.any("POST", &format!("/api/v1/{noun}/{id}/restore"), "").await;
        assert_eq!(taken.told(), (409, "name_taken".to_owned()), "{noun}: {}", taken.text);
        assert_eq!(
            restore().await.told(),
            (409, "name_taken".to_owned()),
            "{noun}: by its name the deleted one is meant"
        );
    }
}

#[tokio::test]
async fn only_what_is_deleted_and_named_by_nobody_is_purged() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    let key = house.admin("POST", "/api/v1/keys", r#"{"label":"ci","servers":["notes"]}"#).await.json();
    let purge = async || house.any("DELETE", "/api/v1/servers/notes?purge=true", "").await;
    assert_eq!(purge().await.told(), (409, "server_live".to_owned()));
    house.any("DELETE", "/api/v1/servers/notes", "").await;
    let referenced = purge().await;
    assert_eq!(referenced.told(), (409, "referenced".to_owned()));
    let summary = json!({"has_references": true, "keys": [{"id": key["id"], "label": "ci"}], "key_count": 1});
    assert_eq!(referenced.json()["dependencies"], summary);
    assert_eq!(house.admin("GET", "/api/v1/servers/notes/dependencies", "").await.json(), summary);
    house.any("DELETE", &format!("/api/v1/keys/{}", key["id"].as_str().unwrap()), "").await;
    assert_eq!(purge().await.status, StatusCode::OK);
    assert_eq!(house.any("POST", "/api/v1/servers/notes/restore", "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_key_may_do_what_key_and_user_both_may() {
    let house = House::open().await;
    let ann = house.key_of("ann", "viewer", "tenant_admin").await;
    let bob = house.key_of("bob", "tenant_admin", "user").await;
    let carol = house.key_of("carol", "tenant_admin", "tenant_admin").await;
    for (key, role, audit, add) in
        [(&ann, "viewer", 200, 403), (&bob, "user", 403, 403), (&carol, "tenant_admin", 200, 422)]
    {
        let me = house.ask(key, "GET", "/api/v1/me", "").await.json();
        assert_eq!((me["role"].as_str(), me["tenant"]["name"].as_str()), (Some(role), Some("acme")));
        assert!(me["user"]["login"].is_string() && me["key"]["id"].is_string() && !me.to_string().contains("ghk_"));
        assert_eq!(house.status(key, "/api/v1/audit").await, audit, "{role}");
        assert_eq!(house.ask(key, "POST", "/api/v1/servers", "{}").await.status.as_u16(), add, "{role}");
    }
    // A weaker user is felt by the key at once, an inactive or deleted one opens nothing.
    house.any("PATCH", "/api/v1/users/carol", r#"{"role":"user"}"#).await;
    assert_eq!(house.status(&carol, "/api/v1/audit").await, 403);
    for (close, open) in [("disable", "enable"), ("", "restore")] {
        match close {
            "" => house.any("DELETE", "/api/v1/users/carol", "").await,
            action => house.any("POST", &format!("/api/v1/users/carol/{action}"), "").await,
        };
        assert_eq!(house.ask(&carol, "GET", "/api/v1/me", "").await.told(), (401, "unauthenticated".to_owned()));
        house.any("POST", &format!("/api/v1/users/carol/{open}"), "").await;
        assert_eq!(house.status(&carol, "/api/v1/me").await, 200, "{open}");
    }
}

#[tokio::test]
async fn a_tenant_admin_does_not_bring_a_platform_admin_back() {
    let house = House::open().await;
    let boss = house.key_of("boss", "platform_admin", "platform_admin").await;
    let id = house.ask(&boss, "GET", "/api/v1/me", "").await.json()["user"]["id"].as_str().unwrap().to_owned();
    assert_eq!(house.any("DELETE", "/api/v1/users/boss", "").await.status, StatusCode::OK);
    for named in ["boss", &id] {
        let refused = house.admin("POST", &format!("/api/v1/users/{named}/restore"), "").await;
        assert_eq!(refused.told(), (403, "forbidden".to_owned()), "{named}: {}", refused.text);
        assert_eq!(house.ask(&boss, "GET", "/api/v1/me", "").await.told(), (401, "unauthenticated".to_owned()));
    }
    let restored = house.ask(&house.platform, "POST", "/api/v1/users/boss/restore", "").await;
    assert_eq!(restored.status, StatusCode::OK, "{}", restored.text);
    assert_eq!(house.status(&boss, "/api/v1/tenants").await, 200);
}

#[tokio::test]
async fn no_question_with_a_control_character_reaches_the_database() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    for noun in ["servers", "users", "departments", "tenants"] {
        let reply = house.ask(&house.platform, "GET", &format!("/api/v1/{noun}/a%00"), "").await;
        assert_eq!(reply.told(), (404, "not_found".to_owned()), "{noun}");
    }
    for question in ["servers?search", "servers?tag", "keys?search", "keys?user", "users?department", "audit?actor"] {
        for text in ["%00", "a%0Ab"] {
            let reply = house.ask(&house.platform, "GET", &format!("/api/v1/{question}={text}"), "").await;
            assert_eq!(reply.told(), (422, "control_character".to_owned()), "{question}={text}");
        }
    }
    let seed = format!("/api/mcp?service_name=notes%00&mcp_url={NOTES}");
    let reply = house.admin("DELETE", &seed, "").await;
    assert_eq!(reply.json()["message"], "Failed to delete remote MCP server, server not record");
}

#[tokio::test]
async fn a_user_sees_their_own_keys_only() {
    let house = House::open().await;
    let (ann, bob) = (house.key_of("ann", "user", "user").await, house.key_of("bob", "user", "user").await);
    let id = |key: &str| key.parse::<model::KeyText>().unwrap().id().to_string();
    let listed = house.ask(&ann, "GET", "/api/v1/keys", "").await.json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!((items.len(), items[0]["id"].as_str()), (1, Some(id(&ann).as_str())));
    assert_eq!(house.status(&ann, &format!("/api/v1/keys/{}", id(&ann))).await, 200);
    assert_eq!(house.status(&ann, &format!("/api/v1/keys/{}", id(&bob))).await, 404);
    assert_eq!(house.status(&ann, "/api/v1/keys?user=bob").await, 422);
    // A key of nobody sees itself.
    let own = house.ask(&house.client, "GET", "/api/v1/keys", "").await.json();
    assert_eq!(own["items"].as_array().unwrap().len(), 1);
    // A viewer sees all of the tenant below the platform.
    let all = house.ask(&house.viewer, "GET", "/api/v1/keys", "").await;
    assert!(all.text.contains(&id(&ann)) && all.text.contains(&id(&bob)) && !all.text.contains(&id(&house.platform)));
}

#[tokio::test]
async fn of_a_chain_of_keys_two_live_at_most() {
    let house = House::open().await;
    let first = house.admin("POST", "/api/v1/keys", r#"{"label":"ci","role":"tenant_admin"}"#).await.json();
    let path = |key: &Value| format!("/api/v1/keys/{}", key["id"].as_str().unwrap());
    let rotate = async |key: &Value, body: &str| house.admin("POST", &format!("{}/rotate", path(key)), body).await;
    let second = rotate(&first, r#"{"grace_secs":60}"#).await;
    assert_eq!(second.status, StatusCode::CREATED, "{}", second.text);
    let second = second.json();
    assert_eq!(
        (&second["replaces"], &second["label"], &second["role"]),
        (&first["id"], &first["label"], &first["role"])
    );
    assert_ne!(second["key"], first["key"]);
    for key in [&first, &second] {
        assert_eq!(house.status(key["key"].as_str().unwrap(), "/api/v1/me").await, 200);
        assert_eq!(rotate(key, "{}").await.told(), (409, "chain_full".to_owned()));
    }
    house.clock.advance_micros(60 * 1_000_000);
    assert_eq!(house.status(first["key"].as_str().unwrap(), "/api/v1/me").await, 401);
    assert_eq!(rotate(&second, "{}").await.status, StatusCode::CREATED);
    assert_eq!(rotate(&second, r#"{"grace_secs":2592001}"#).await.told(), (422, "range".to_owned()));
    let changed = house.any("PATCH", &path(&second), r#"{"label":"new","expires_at":"2027-02-01T00:00:00Z"}"#).await;
    assert_eq!((changed.status, changed.json()["label"].as_str()), (StatusCode::OK, Some("new")), "{}", changed.text);
    assert_eq!(house.any("PATCH", &path(&first), r#"{"label":"x"}"#).await.told(), (409, "key_ended".to_owned()));
    assert_eq!(
        house.any("PATCH", &path(&second), r#"{"role":"user"}"#).await.told(),
        (422, "immutable_field".to_owned())
    );
}

#[tokio::test]
async fn a_tenant_is_changed_closed_and_brought_back() {
    let house = House::open().await;
    let path = "/api/v1/tenants/other";
    let patch = r#"{"title":"Other","limits":{"servers":7},"pools":["eu"],"stale_after_secs":null,"max_stale_credential_secs":0}"#;
    let changed = house.any("PATCH", path, patch).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    let changed = changed.json();
    assert_eq!((&changed["pools"], changed["stale_after_secs"].is_null()), (&json!(["eu"]), true));
    assert_eq!(changed["max_stale_credential_secs"], 0);
    assert_eq!((changed["limits"]["servers"].as_i64(), changed["limits"]["key_rate"].as_i64()), (Some(7), Some(50)));
    assert_eq!(house.any("PATCH", path, r#"{"name":"x"}"#).await.told(), (422, "immutable_field".to_owned()));
    let closed = (401, "unauthenticated".to_owned());
    for (method, close, open) in [("POST", "/disable", "/enable"), ("DELETE", "", "/restore")] {
        assert_eq!(house.any(method, &format!("{path}{close}"), "").await.status, StatusCode::OK);
        assert_eq!(house.ask(&house.other_admin, "GET", "/api/v1/me", "").await.told(), closed);
        let opened = house.any("POST", &format!("{path}{open}"), "").await;
        assert_eq!(opened.status, StatusCode::OK, "{open}: {}", opened.text);
        assert_eq!(house.status(&house.other_admin, "/api/v1/me").await, 200);
    }
    // Nobody shuts the last platform admin out.
    let last = (409, "last_platform_admin".to_owned());
    assert_eq!(house.any("POST", "/api/v1/tenants/acme/disable", "").await.told(), last);
    assert_eq!(house.any("DELETE", "/api/v1/tenants/acme", "").await.told(), last);
}

#[tokio::test]
async fn an_egress_rule_counts_for_the_next_add() {
    let house = House::open().await;
    let url = "http://wiki.corp:8080/mcp";
    house.proxies.speaks(url, "[]");
    let add = async || house.admin("POST", "/api/v1/servers", &format!(r#"{{"url":"{url}"}}"#)).await;
    let refused = add().await;
    assert_eq!(refused.told(), (422, "address_blocked".to_owned()), "{}", refused.text);
    assert_eq!(refused.json()["hint"], "gatehouse egress allow wiki.corp:8080 --http --reason '…'");
    let rule = r#"{"host":"wiki.corp","ports":"8080","http":true,"reason":"in-cluster wiki","tenant":"acme"}"#;
    let made = house.any("POST", "/api/v1/egress-rules", rule).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json();
    assert_eq!(
        (made["ports"].as_str(), made["tenant"].as_str()),
        (Some("8080"), Some(house.acme.to_string().as_str()))
    );
    assert_eq!(add().await.status, StatusCode::CREATED);
    assert_eq!(house.any("POST", "/api/v1/egress-rules", rule).await.told(), (409, "name_taken".to_owned()));
    let path = format!("/api/v1/egress-rules/{}", made["id"].as_str().unwrap());
    assert_eq!(house.any("DELETE", &path, "").await.status, StatusCode::OK);
    assert_eq!(add().await.code(), "address_blocked");
    for (body, code) in [
        (r#"{"host":"wiki.corp"}"#, "required"),
        (r#"{"host":"*.corp","reason":"x"}"#, "host"),
        (r#"{"host":"a","ports":"0","reason":"x"}"#, "ports"),
        (r#"{"host":"a","tenant":"nowhere","reason":"x"}"#, "tenant"),
    ] {
        assert_eq!(house.any("POST", "/api/v1/egress-rules", body).await.told(), (422, code.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn the_audit_is_filtered_and_knows_of_no_other_tenant() {
    let house = House::open().await;
    let id = house.add("notes", NOTES).await["id"].as_str().unwrap().to_owned();
    house.clock.advance_micros(60 * 1_000_000);
    house.admin("POST", "/api/v1/servers/notes/disable", "").await;
    house.ask(&house.other_admin, "POST", "/api/v1/departments", r#"{"name":"theirs"}"#).await;
    let actions = async |query: &str| -> Vec<String> {
        let rows = house.ask(&house.viewer, "GET", &format!("/api/v1/audit?{query}"), "").await.json();
        let rows = rows["items"].as_array().unwrap().clone();
        rows.iter().map(|row| row["action"].as_str().unwrap().to_owned()).collect()
    };
    let about = format!("object=server/{id}");
    assert_eq!(actions(&about).await, ["server.change", "server.create"]);
    assert_eq!(actions(&format!("{about}&since=2027-01-15T08:00:30Z")).await, ["server.change"]);
    assert_eq!(actions(&format!("{about}&until=2027-01-15T08:00:30Z")).await, ["server.create"]);
    assert_eq!(actions("action=server.create").await, ["server.create"]);
    assert!(actions("").await.iter().all(|action| action != "department.create"));
    assert_eq!(house.admin("GET", "/api/v1/audit?since=yesterday", "").await.told(), (400, "instant".to_owned()));
}

#[tokio::test]
async fn one_tool_is_switched_without_touching_the_others() {
    let house = House::open().await;
    house.proxies.speaks(NOTES, r#"[{"name":"list","n":1.50},{"name":"write"}]"#);
    house.add("notes", NOTES).await;
    let tools = async || house.ask(&house.client, "GET", "/api/v1/servers/notes/tools", "").await.text;
    assert!(tools().await.contains(r#"{"enabled":true,"name":"list","n":1.50}"#));
    let switch = async |tool: &str, action: &str| {
        house.admin("POST", &format!("/api/v1/servers/notes/tools/{tool}/{action}"), "").await.json()
    };
    assert_eq!(switch("list", "disable").await["disabled_tools"], json!(["list"]));
    assert_eq!(switch("write", "disable").await["disabled_tools"], json!(["list", "write"]));
    assert_eq!(switch("list", "enable").await["disabled_tools"], json!(["write"]));
    let shown = tools().await;
    assert!(shown.contains(r#"{"enabled":true,"name":"list""#) && shown.contains(r#"{"enabled":false,"name":"write""#));
}

#[tokio::test]
async fn a_server_has_every_field_that_it_was_given() {
    let house = House::open().await;
    let given = json!({
        "name": "notes", "title": "Notes", "url": NOTES, "description": "Two\nlines", "tags": ["a", "b"], "icon": "book",
        "retry_count": 3, "retry_delay_ms": 250, "limits": {"concurrent": 4, "response_bytes": null, "call_secs": 9}
    });
    let made = house.admin("POST", "/api/v1/servers", &given.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let read = house.admin("GET", "/api/v1/servers/notes", "").await.json();
    for (field, value) in given.as_object().unwrap() {
        assert_eq!(&read[field], value, "{field}");
    }
    let key: model::KeyText = house.admin.parse().unwrap();
    assert_eq!(read["created_by"].as_str(), Some(key.id().as_str()));
    let patch = r#"{"description":null,"tags":null,"icon":null,"retry_count":null,"limits":{"concurrent":null}}"#;
    let cleared = house.any("PATCH", "/api/v1/servers/notes", patch).await.json();
    assert_eq!(
        (cleared["description"].is_null(), &cleared["tags"], cleared["icon"].is_null()),
        (true, &json!([]), true)
    );
    assert_eq!((cleared["retry_count"].as_i64(), cleared["retry_delay_ms"].as_i64()), (Some(0), Some(250)));
    assert_eq!(cleared["limits"], json!({"concurrent": null, "response_bytes": null, "call_secs": 9}));
    assert_eq!(house.admin("GET", "/api/v1/servers?tag=a", "").await.json()["items"], json!([]));
}
