//! The seed's calls on control, status by status and body by body, as its clients know them.

use serde_json::{Value, json};
use tests::{Admin, Answer, Gatehouse, Upstream, process};

use crate::ways::{message, nowhere};

/// Both keys that every error has, and no secret or address.
fn is_error(answer: &Answer, status: u16, text: &str) {
    assert_eq!(answer.status.as_u16(), status, "{}", answer.text());
    let body = answer.json();
    assert_eq!(message(&body), text);
    assert_eq!(body["status"], "error", "{body}");
}

fn is_success(answer: &Answer, text: &str) -> Value {
    assert_eq!(answer.status.as_u16(), 200, "{}", answer.text());
    let body = answer.json();
    assert_eq!(message(&body), text);
    assert_eq!(body["status"], "success", "{body}");
    body
}

fn query(service: &str, url: &str) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("mcp_url", url).append_pair("service_name", service).finish()
}

async fn add(admin: &Admin, service: &str, url: &str) -> Answer {
    admin.post(&format!("/api/mcp/add?{}", query(service, url)), &Value::Null).await
}

async fn delete(admin: &Admin, service: &str, url: &str) -> Answer {
    admin.send("DELETE", &format!("/api/mcp/?{}", query(service, url)), &Value::Null).await
}

async fn listed(admin: &Admin) -> Value {
    let answer = admin.get("/api/mcp/list").await.expect(200).json();
    assert_eq!(answer["status"], "success");
    answer["remote_mcp_server_list"].clone()
}

#[tokio::test]
async fn a_service_is_added_listed_used_and_deleted_in_the_seeds_words() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let upstream = Upstream::named("notes").await;
    assert_eq!(listed(&admin).await, json!([]));

    let added = add(&admin, "My Notes", &upstream.url()).await;
    is_success(&added, "Successfully added remote MCP proxy");
    let frozen = r#"{"message":"Successfully added remote MCP proxy","status":"success"}"#;
    assert_eq!(added.text(), frozen, "in effect everywhere: not a byte more than the seed said");
    assert_eq!(
        listed(&admin).await,
        json!([{"remote_mcp_server_name": "My Notes", "remote_mcp_server": upstream.url(), "status": true}])
    );
    is_error(&add(&admin, "My Notes", &upstream.url()).await, 409, "Service name already exists");

    let url = format!("/api/mcp/tools/?{}", query("My Notes", &upstream.url()));
    let tools = admin.get(&url).await.expect(200).json();
    assert_eq!(tools["status"], "success");
    let echo = tools["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == "my-notes__echo").unwrap();
    assert_eq!(echo["description"], "echo of notes");
    assert_eq!(echo["params"], json!([]));
    assert_eq!(echo["source"], "mcp");
    assert_eq!(echo["output_type"], "string");
    assert_eq!(echo["class_name"], "my-notes__echo");
    let inputs: Value = serde_json::from_str(echo["inputs"].as_str().unwrap()).unwrap();
    assert_eq!(inputs["type"], "object");

    // The slug comes from the title; a clash gets -2.
    assert_eq!(admin.server("my-notes").await.expect(200).json()["title"], "My Notes");
    is_success(&add(&admin, "my notes!", &upstream.url()).await, "Successfully added remote MCP proxy");
    assert_eq!(admin.server("my-notes-2").await.expect(200).json()["title"], "my notes!");

    let gone = "Successfully deleted remote MCP proxy";
    is_success(&delete(&admin, "My Notes", &upstream.url()).await, gone);
    let unknown = "Failed to delete remote MCP server, server not record";
    is_error(&delete(&admin, "My Notes", &upstream.url()).await, 400, unknown);
    is_error(&delete(&admin, "my notes!", "http://127.0.0.1:1/mcp").await, 400, unknown);
    is_success(&delete(&admin, "my notes!", &upstream.url()).await, gone);
    assert_eq!(listed(&admin).await, json!([]));
}

#[tokio::test]
async fn services_that_are_added_at_once_are_all_there_and_of_one_name_there_is_one() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let upstream = Upstream::named("notes").await;
    let url = upstream.url();
    let added = futures::future::join_all(["one", "two", "three"].map(|name| add(&admin, name, &url))).await;
    for added in &added {
        is_success(added, "Successfully added remote MCP proxy");
    }
    let same = futures::future::join_all((0..3).map(|_| add(&admin, "four", &url))).await;
    let of = |status: u16| same.iter().filter(|answer| answer.status == status).count();
    assert_eq!((of(200), of(409)), (1, 2), "{:?}", same.iter().map(tests::Answer::text).collect::<Vec<_>>());
    let listed = listed(&admin).await;
    let mut names: Vec<&str> =
        listed.as_array().unwrap().iter().filter_map(|one| one["remote_mcp_server_name"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["four", "one", "three", "two"]);
}

#[tokio::test]
async fn what_cannot_be_added_is_refused_in_the_seeds_words() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let dead = add(&admin, "dead", &nowhere()).await;
    is_error(&dead, 503, "Cannot connect to remote MCP server");
    for url in ["http://169.254.169.254/mcp", "ftp://x/", "not a url", "http://user:pw@127.0.0.1/mcp"] {
        is_error(&add(&admin, "bad", url).await, 400, "Failed to add remote MCP proxy");
    }
    for path in ["/api/mcp/add", "/api/mcp/add?service_name=x", "/api/mcp/add?mcp_url=http://127.0.0.1:9/mcp"] {
        let answer = admin.post(path, &Value::Null).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text());
        assert_eq!(answer.json()["status"], "error");
        assert!(!message(&answer.json()).is_empty());
    }
    assert_eq!(listed(&admin).await, json!([]));

    let tools = admin.get(&format!("/api/mcp/tools/?{}", query("nobody", &nowhere()))).await;
    is_error(&tools, 400, "Failed to get tools from remote MCP server");
}

#[tokio::test]
async fn the_seeds_calls_need_a_key_of_an_admin() {
    let house = Gatehouse::start().await;
    let anonymous = tests::Http::default();
    let client = house.admin().with_key(house.client_key());
    for (method, path) in [
        ("GET", "/api/mcp/tools/?service_name=a&mcp_url=b"),
        ("GET", "/api/mcp/tools?service_name=a&mcp_url=b"),
        ("POST", "/api/mcp/add?service_name=a&mcp_url=b"),
        ("POST", "/api/mcp/add/?service_name=a&mcp_url=b"),
        ("DELETE", "/api/mcp/?service_name=a&mcp_url=b"),
        ("DELETE", "/api/mcp?service_name=a&mcp_url=b"),
        ("GET", "/api/mcp/list"),
        ("GET", "/api/mcp/list/"),
        ("GET", "/api/mcp/recover"),
        ("POST", "/api/mcp/recover"),
        ("POST", "/api/mcp/recover/"),
    ] {
        let url = format!("{}{path}", house.control());
        let answer = anonymous.send(method, &url, &[], "").await.unwrap();
        is_error(&answer, 401, "Unauthorized");
        assert_eq!(answer.json(), json!({"message": "Unauthorized", "status": "error"}), "{method} {path}");
        let answer = client.send(method, path, &Value::Null).await;
        is_error(&answer, 403, "Forbidden");
        assert_eq!(answer.json(), json!({"message": "Forbidden", "status": "error"}), "{method} {path}");
    }
}

#[tokio::test]
async fn recover_answers_in_the_seeds_words_with_and_without_a_proxy() {
    let house = Gatehouse::plan().no_restart().start().await;
    let admin = house.admin();
    let upstream = Upstream::named("kept").await;
    is_success(&add(&admin, "kept", &upstream.url()).await, "Successfully added remote MCP proxy");
    for method in ["GET", "POST"] {
        let answer = admin.send(method, "/api/mcp/recover", &Value::Null).await;
        let body = is_success(&answer, "Successfully recovered remote MCP proxy");
        assert!(body["report"].is_object(), "{body}");
    }

    house.kill(tests::gatehouse::Plane::Proxy).await;
    assert!(!process::runs(house.pid(tests::gatehouse::Plane::Proxy)));
    let failed = tests::eventually("control sees that no proxy is left", || async {
        let answer = admin.post("/api/mcp/recover", &Value::Null).await;
        (answer.status == 400).then_some(answer)
    })
    .await;
    is_error(&failed, 400, "Failed to recover remote MCP proxy");
    is_error(&add(&admin, "alone", &upstream.url()).await, 400, "Failed to add remote MCP proxy");
    let native = json!({"name": "alone", "url": upstream.url()});
    let answer = admin.post("/api/v1/servers", &native).await.expect(503);
    assert_eq!(answer.json()["code"], "no_proxy_attached");
    let status = &listed(&admin).await[0]["status"];
    assert_eq!(*status, false);
}
