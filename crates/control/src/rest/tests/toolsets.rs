//! Toolsets: servers are named as people know them, what was read may be sent back, and restricted keys see less.

use serde_json::{Value, json};

use super::house::{House, NOTES};

async fn with_servers() -> House {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    house.add("wiki", "http://127.0.0.1:9002/mcp").await;
    house
}

fn entry(server: &str, tool: &str) -> Value {
    json!({"server": server, "tool": tool})
}

#[tokio::test]
async fn a_toolset_is_made_read_changed_and_deleted() {
    let house = with_servers().await;
    let id = house.admin("GET", "/api/v1/servers/wiki", "").await.json()["id"].as_str().unwrap().to_owned();
    let renamed = json!({"server": "notes", "tool": "search.all", "name": "find", "description": "Finds.\nFast."});
    let body = json!({"name": "office", "description": "For the office", "listing": "search",
        "tools": [renamed, entry(&id, "*")]});
    let made = house.admin("POST", "/api/v1/toolsets", &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let record = made.json();
    assert_eq!((&record["title"], &record["listing"]), (&json!("office"), &json!("search")));
    assert_eq!(record["path"], "/t/acme/toolsets/office/mcp");
    assert_eq!(record["effective"]["rejected"], json!([]));
    let tools = record["tools"].as_array().unwrap();
    let names: Vec<_> = tools.iter().map(|tool| (&tool["server"], &tool["tool"], &tool["name"])).collect();
    assert_eq!(
        names,
        [(&json!("notes"), &json!("search.all"), &json!("find")), (&json!("wiki"), &json!("*"), &Value::Null)]
    );
    assert_eq!((&tools[0]["description"], &tools[1]["server_id"]), (&json!("Finds.\nFast."), &json!(id)));

    let shown = house.ask(&house.viewer, "GET", "/api/v1/toolsets/office", "").await;
    assert_eq!((shown.status.as_u16(), shown.header("etag")), (200, "\"1\""));
    let sent_back = json!({"tools": shown.json()["tools"], "listing": null, "title": "Office"});
    let path = format!("/api/v1/toolsets/{}", record["id"].as_str().unwrap());
    let changed = house.admin_with(("if-match", "\"1\""), "PATCH", &path, &sent_back.to_string()).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let changed = changed.json();
    assert_eq!((&changed["tools"], &changed["listing"]), (&record["tools"], &json!("tools")));
    assert_eq!((&changed["title"], &changed["generation"]), (&json!("Office"), &json!(2)));

    let gone = house.admin_with(("if-match", "*"), "DELETE", &path, "").await;
    assert_eq!((gone.status.as_u16(), &gone.json()["name"]), (200, &json!("office")));
    assert_eq!(house.admin("GET", &path, "").await.status, 404);
}

#[tokio::test]
async fn an_entry_that_cannot_be_served_is_refused_by_its_place() {
    let house = with_servers().await;
    house
        .ask(
            &house.other_admin,
            "POST",
            "/api/v1/servers",
            r#"{"name":"theirs","url":"http://127.0.0.1:9003/mcp","skip_validation":true}"#,
        )
        .await;
    let theirs = house.ask(&house.other_admin, "GET", "/api/v1/servers/theirs", "").await.json();
    let theirs = theirs["id"].as_str().unwrap();
    let good = entry("notes", "list");
    let named = |name: &str| json!({"server": "notes", "tool": "a", "name": name});
    for (wrong, field, code) in [
        (entry("nowhere", "a"), "tools[1].server", "server"),
        (entry(theirs, "a"), "tools[1].server", "server"),
        (json!({"server_id": theirs, "tool": "a"}), "tools[1].server", "server"),
        (named("a.b"), "tools[1].name", "tool_name"),
        (named("gatehouse__a"), "tools[1].name", "tool_name"),
        (json!({"server": "notes", "tool": "*", "name": "all"}), "tools[1].name", "tool_name"),
        (good.clone(), "tools[1].name", "duplicate"),
        (entry("notes", "a\u{7}"), "tools[1].tool", "control_character"),
    ] {
        let body = json!({"name": "office", "tools": [good, wrong]});
        let reply = house.admin("POST", "/api/v1/toolsets", &body.to_string()).await;
        assert_eq!(reply.told(), (422, code.to_owned()), "{body}: {}", reply.text);
        assert_eq!(reply.json()["errors"][0]["field"], field, "{body}");
    }
    assert_eq!(house.admin("GET", "/api/v1/toolsets", "").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_deleted_server_keeps_its_place_until_it_is_restored() {
    let house = with_servers().await;
    let body = json!({"name": "office", "tools": [entry("notes", "list")]});
    let made = house.admin("POST", "/api/v1/toolsets", &body.to_string()).await.json();
    let server = made["tools"][0]["server_id"].as_str().unwrap().to_owned();
    house.admin_with(("if-match", "*"), "DELETE", "/api/v1/servers/notes", "").await;
    let shown = house.admin("GET", "/api/v1/toolsets/office", "").await.json();
    assert_eq!((&shown["tools"][0]["server"], &shown["tools"][0]["server_id"]), (&Value::Null, &json!(server)));
    let same = json!({"title": "Still", "tools": shown["tools"]}).to_string();
    let kept = house.admin_with(("if-match", "*"), "PATCH", "/api/v1/toolsets/office", &same).await;
    assert_eq!(kept.status, 200, "{}", kept.text);
    let new = json!({"name": "late", "tools": shown["tools"]}).to_string();
    assert_eq!(house.admin("POST", "/api/v1/toolsets", &new).await.told(), (422, "server".to_owned()));
    house.admin("POST", &format!("/api/v1/servers/{server}/restore"), "").await;
    let back = house.admin("GET", "/api/v1/toolsets/office", "").await.json();
    assert_eq!(back["tools"][0]["server"], "notes");
}

#[tokio::test]
async fn a_restricted_key_sees_the_entries_of_its_servers_alone() {
    let house = with_servers().await;
    let body = json!({"name": "office", "tools": [entry("notes", "list"), entry("wiki", "read")]});
    let made = house.admin("POST", "/api/v1/toolsets", &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let key = house.admin("POST", "/api/v1/keys", r#"{"role":"user","servers":["wiki"]}"#).await.json();
    let key = key["key"].as_str().unwrap_or_else(|| panic!("{key}"));
    let one = house.ask(key, "GET", "/api/v1/toolsets/office", "").await.json();
    let listed = house.ask(key, "GET", "/api/v1/toolsets", "").await.json();
    for shown in [&one, &listed["items"][0]] {
        let servers: Vec<_> = shown["tools"].as_array().unwrap().iter().map(|tool| &tool["server"]).collect();
        assert_eq!(servers, ["wiki"], "{shown}");
    }
}

#[tokio::test]
async fn a_taken_name_and_a_stale_change_are_told() {
    let house = House::open().await;
    for (name, status) in [("office", 201), ("office", 409), ("field", 201), ("gatehouse", 422)] {
        let reply = house.admin("POST", "/api/v1/toolsets", &json!({"name": name}).to_string()).await;
        assert_eq!(reply.status, status, "{name}: {}", reply.text);
    }
    let taken = house.admin_with(("if-match", "*"), "PATCH", "/api/v1/toolsets/field", r#"{"name":"office"}"#).await;
    assert_eq!((taken.told(), &taken.json()["field"]), ((409, "name_taken".to_owned()), &json!("name")));
    let stale = house.admin_with(("if-match", "\"9\""), "PATCH", "/api/v1/toolsets/field", r#"{"title":"x"}"#).await;
    assert_eq!(stale.told(), (412, "stale".to_owned()));
    let found = house.admin("GET", "/api/v1/toolsets?search=fie", "").await.json();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
}
