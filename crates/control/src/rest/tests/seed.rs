//! The seed's surface, status by status and body by body.

use serde_json::{Value, json};

use super::house::{DEAD, House, NOTES, OTHER, Reply, TOOLS};

const ADDED: &str = r#"{"message":"Successfully added remote MCP proxy","status":"success"}"#;

fn of(call: &str, name: &str, url: &str) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("mcp_url", url)
        .append_pair("service_name", name)
        .finish();
    format!("/api/mcp{call}?{query}")
}

impl House {
    async fn seed(&self, method: &str, path: &str) -> (u16, String) {
        let Reply { status, text, headers } = self.admin(method, path, "").await;
        assert_eq!(headers["content-type"], "application/json", "{text}");
        (status.as_u16(), text)
    }
}

fn error(status: u16, message: &str) -> (u16, String) {
    (status, format!(r#"{{"message":"{message}","status":"error"}}"#))
}

#[tokio::test]
async fn add_answers_as_the_seed_did() {
    let house = House::open().await;
    assert_eq!(house.seed("POST", &of("/add", "My Notes", NOTES)).await, (200, ADDED.to_owned()));
    assert_eq!(house.seed("POST", &of("/add/", "my notes", OTHER)).await, (200, ADDED.to_owned()));
    assert_eq!(house.seed("POST", &of("/add", "My Notes", OTHER)).await, error(409, "Service name already exists"));
    assert_eq!(house.seed("POST", &of("/add", "x", DEAD)).await, error(503, "Cannot connect to remote MCP server"));
    for (name, url) in [("x", "nonsense"), ("x", "http://10.0.0.1/mcp"), ("x", "file:///etc/passwd"), ("a\nb", NOTES)] {
        assert_eq!(
            house.seed("POST", &of("/add", name, url)).await,
            error(400, "Failed to add remote MCP proxy"),
            "{url}"
        );
    }
    // The name is kept as title; the slugs are made from it and step aside.
    let listed = house.admin("GET", "/api/v1/servers", "").await.json();
    let shown: Vec<_> = listed["items"].as_array().unwrap().iter().map(|one| (&one["title"], &one["name"])).collect();
    assert_eq!(shown, [(&json!("My Notes"), &json!("my-notes")), (&json!("my notes"), &json!("my-notes-2"))]);
    house.proxies.with(|state| state.attached = false);
    assert_eq!(house.seed("POST", &of("/add", "y", OTHER)).await, error(400, "Failed to add remote MCP proxy"));
}

#[tokio::test]
async fn an_add_that_is_not_acknowledged_yet_says_so_beside_its_success() {
    let house = House::open().await;
    house.proxies.with(|state| state.pending = 1);
    let (status, text) = house.seed("POST", &of("/add", "notes", NOTES)).await;
    assert_eq!(status, 200);
    assert_eq!(
        serde_json::from_str::<Value>(&text).unwrap(),
        json!({
            "message": "Successfully added remote MCP proxy",
            "status": "success",
            "effective": {"live": 0, "pending": 1, "rejected": []}
        })
    );
}

#[tokio::test]
async fn delete_answers_as_the_seed_did() {
    let house = House::open().await;
    house.seed("POST", &of("/add", "notes", NOTES)).await;
    let not_recorded = error(400, "Failed to delete remote MCP server, server not record");
    assert_eq!(house.seed("DELETE", &of("", "notes", OTHER)).await, not_recorded);
    assert_eq!(house.seed("DELETE", &of("/", "other", NOTES)).await, not_recorded);
    assert_eq!(house.seed("DELETE", &of("", "notes", "nonsense")).await, not_recorded);
    let deleted = r#"{"message":"Successfully deleted remote MCP proxy","status":"success"}"#;
    assert_eq!(house.seed("DELETE", &of("/", "notes", NOTES)).await, (200, deleted.to_owned()));
    // A tombstone is no record, and no 404 either.
    assert_eq!(house.seed("DELETE", &of("/", "notes", NOTES)).await, not_recorded);
    assert_eq!(house.seed("POST", &of("/add", "notes", NOTES)).await, (200, ADDED.to_owned()));
}

#[tokio::test]
async fn list_tells_names_urls_and_whether_they_are_mounted() {
    let house = House::open().await;
    let empty = r#"{"remote_mcp_server_list":[],"status":"success"}"#;
    assert_eq!(house.seed("GET", "/api/mcp/list").await, (200, empty.to_owned()));
    house.seed("POST", &of("/add", "My Notes", NOTES)).await;
    let listed = |mounted: bool| {
        let names = format!(r#""remote_mcp_server_name":"My Notes","remote_mcp_server":"{NOTES}""#);
        format!(r#"{{"remote_mcp_server_list":[{{{names},"status":{mounted}}}],"status":"success"}}"#)
    };
    let read = async || house.seed("GET", "/api/mcp/list/").await.1;
    assert_eq!(read().await, listed(false));
    house.seed("GET", "/api/mcp/recover").await;
    assert_eq!(read().await, listed(true));
    let theirs = house.ask(&house.other_admin, "GET", "/api/mcp/list", "").await;
    assert_eq!(theirs.text, empty);
}

#[tokio::test]
async fn tools_have_the_seeds_seven_members() {
    let house = House::open().await;
    house.seed("POST", &of("/add", "My Notes", NOTES)).await;
    let expected = concat!(
        r#"{"tools":[{"name":"my-notes__list","description":"Lists.","params":[],"source":"mcp","#,
        r#""inputs":"{\"type\":\"object\"}","output_type":"string","class_name":"my-notes__list"}],"#,
        r#""status":"success"}"#
    );
    for path in [of("/tools", "My Notes", NOTES), of("/tools/", "My Notes", NOTES)] {
        assert_eq!(house.seed("GET", &path).await, (200, expected.to_owned()));
    }
    // One that is not recorded is looked at too.
    let (status, text) = house.seed("GET", &of("/tools", "New One", OTHER)).await;
    assert_eq!(status, 200);
    assert!(text.contains("\"new-one__list\""), "{text}");
    let failed = error(400, "Failed to get tools from remote MCP server");
    assert_eq!(house.seed("GET", &of("/tools", "x", DEAD)).await, failed);
    assert_eq!(house.seed("GET", &of("/tools", "x", "nonsense")).await, failed);
    house.proxies.with(|state| state.attached = false);
    assert_eq!(house.seed("GET", &of("/tools", "My Notes", NOTES)).await, failed);
}

#[tokio::test]
async fn a_disabled_tool_is_absent() {
    let house = House::open().await;
    house.seed("POST", &of("/add", "notes", NOTES)).await;
    let patch = r#"{"disabled_tools":["list"]}"#;
    house.admin_with(("if-match", "*"), "PATCH", "/api/v1/servers/notes", patch).await;
    let (_, text) = house.seed("GET", &of("/tools", "notes", NOTES)).await;
    assert_eq!(text, r#"{"tools":[],"status":"success"}"#);
    assert!(TOOLS.contains("list"));
}

#[tokio::test]
async fn recover_answers_as_the_seed_did_with_a_report() {
    let house = House::open().await;
    house.seed("POST", &of("/add", "notes", NOTES)).await;
    for (method, path) in [("GET", "/api/mcp/recover"), ("POST", "/api/mcp/recover/")] {
        let (status, text) = house.seed(method, path).await;
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((status, &body["message"]), (200, &json!("Successfully recovered remote MCP proxy")), "{text}");
        assert_eq!(body["status"], "success");
        assert_eq!(body["report"]["after"], json!({"missing": 0, "orphaned": 0, "drifted": 0}));
    }
    house.proxies.with(|state| (state.mounts.clear(), state.heals = false));
    let (status, text) = house.seed("GET", "/api/mcp/recover").await;
    let body: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &body["message"]), (400, &json!("Failed to recover remote MCP proxy")));
    assert_eq!((&body["status"], &body["report"]["after"]["missing"]), (&json!("error"), &json!(1)));
    house.proxies.with(|state| state.answers = false);
    assert_eq!(house.seed("POST", "/api/mcp/recover").await.0, 400);
    house.proxies.with(|state| state.attached = false);
    let (status, text) = house.seed("POST", "/api/mcp/recover").await;
    assert_eq!(status, 400);
    assert!(text.starts_with(r#"{"message":"Failed to recover remote MCP proxy","status":"error""#), "{text}");
}

#[tokio::test]
async fn a_cooling_upstream_is_no_failure_of_recover() {
    let house = House::open().await;
    house.seed("POST", &of("/add", "notes", NOTES)).await;
    house.seed("GET", "/api/mcp/recover").await;
    house.proxies.with(|state| state.mounts[0].cooling_ms = Some(30_000));
    let (status, text) = house.seed("GET", "/api/mcp/recover").await;
    let report = &serde_json::from_str::<Value>(&text).unwrap()["report"];
    assert_eq!((status, report["upstreams"].as_array().unwrap().len()), (200, 1));
}

#[tokio::test]
async fn a_missing_parameter_is_a_400_with_the_two_keys() {
    let house = House::open().await;
    for (method, path) in [
        ("GET", "/api/mcp/tools"),
        ("GET", "/api/mcp/tools?service_name=a"),
        ("POST", "/api/mcp/add?mcp_url=http://127.0.0.1:9001/mcp"),
        ("POST", "/api/mcp/add?service_name=&mcp_url=http://127.0.0.1:9001/mcp"),
        ("DELETE", "/api/mcp/"),
        ("DELETE", "/api/mcp?service_name=a"),
    ] {
        let (status, text) = house.seed(method, path).await;
        let body: Value = serde_json::from_str(&text).unwrap();
        let keys: Vec<_> = body.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!((status, keys), (400, vec!["message", "status"]), "{method} {path}: {text}");
        assert_eq!(body["status"], "error");
    }
}

#[tokio::test]
async fn a_mistyped_key_is_unauthorized_in_the_seeds_words() {
    let house = House::open().await;
    let reply = house.ask("nonsense", "GET", "/api/mcp/list", "").await;
    assert_eq!(reply.text, r#"{"message":"Unauthorized","status":"error"}"#);
    assert_eq!(reply.status.as_u16(), 401);
}

#[tokio::test]
async fn what_is_no_call_is_told_with_the_two_keys_too() {
    let house = House::open().await;
    for (method, path, message) in [
        ("PUT", "/api/mcp/add", (405, "Method not allowed")),
        ("GET", "/api/mcp", (405, "Method not allowed")),
        ("GET", "/api/mcp/nothing", (404, "Not found")),
        (
            "GET",
            "/api/mcp/list?tenant_id=x",
            (400, "The tenant comes from the key or from the header Gatehouse-Tenant"),
        ),
    ] {
        assert_eq!(house.seed(method, path).await, error(message.0, message.1), "{method} {path}");
    }
    assert!(house.admin("PUT", "/api/mcp/add", "").await.header("allow").contains("POST"));
    let foreign = house.admin_with(("host", "evil.example"), "GET", "/api/mcp/list", "").await;
    assert_eq!((foreign.status.as_u16(), foreign.text), error(403, "Foreign host"));
    assert_eq!(house.admin("GET", "/api/mcpx", "").await.told(), (404, "no_route".to_owned()));
}

#[tokio::test]
async fn a_database_that_fails_is_no_wrong_key() {
    let house = House::open().await;
    house.app.store.clone().close().await.unwrap();
    for (method, path, message) in [
        ("GET", of("/tools", "a", NOTES), "Failed to get tools from remote MCP server"),
        ("POST", of("/add", "a", NOTES), "Failed to add remote MCP proxy"),
        ("GET", "/api/mcp/list/".to_owned(), "Failed to get remote MCP proxy"),
        ("POST", "/api/mcp/recover".to_owned(), "Failed to recover remote MCP proxy"),
        ("DELETE", of("", "a", NOTES), "Failed to delete remote MCP proxy"),
    ] {
        assert_eq!(house.seed(method, &path).await, error(503, message), "{path}");
    }
}

#[tokio::test]
async fn a_look_at_the_head_of_recover_runs_no_pass() {
    let house = House::open().await;
    let reply = house.admin("HEAD", "/api/mcp/recover", "").await;
    assert_eq!((reply.status.as_u16(), reply.header("allow")), (405, "GET,POST"));
    assert!(house.proxies.with(|state| state.looks) == 0);
}
