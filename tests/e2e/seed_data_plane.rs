//! The seed's four internal calls on the proxy, status by status and body by body.

use serde_json::{Value, json};
use tests::{Answer, Gatehouse, Http, Upstream};

use crate::ways::{message, mounted, nowhere, until_offered};

struct Inside<'a> {
    house: &'a Gatehouse,
    http: Http,
    key: String,
}

impl Inside<'_> {
    async fn send(&self, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {}", self.key);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        self.http.send(method, &self.house.at(path), &headers, body.to_owned()).await.unwrap()
    }

    async fn add(&self, name: &str, url: &str, transport: &str) -> Answer {
        let body = json!({"service_name": name, "mcp_url": url, "transport": transport});
        self.send("POST", "/add-remote-proxies", &body.to_string()).await
    }

    async fn proxies(&self) -> Value {
        let body = self.send("GET", "/list-remote-proxies", "").await.expect(200).json();
        assert_eq!(body["status"], "success");
        body["proxies"].clone()
    }
}

#[tokio::test]
async fn the_four_internal_calls_answer_as_the_seed_did() {
    let house = Gatehouse::start().await;
    let inside = Inside { house: &house, http: Http::default(), key: house.admin_key().to_owned() };
    let upstream = Upstream::named("inner").await;

    let healthy = inside.send("GET", &format!("/healthcheck?mcp_url={}", upstream.url()), "").await.expect(200);
    let wanted =
        json!({"status": "success", "message": "MCP service is reachable", "connected": true, "url": upstream.url()});
    assert_eq!(healthy.json(), wanted);
    let missing = inside.send("GET", "/healthcheck", "").await.expect(400);
    assert_eq!(missing.json(), json!({"error": "query param 'mcp_url' is required"}));
    let url = nowhere();
    let dead = inside.send("GET", &format!("/healthcheck?mcp_url={url}"), "").await.expect(500).json();
    assert_eq!(dead["status"], "error");
    assert_eq!(dead["url"], url.as_str());
    assert!(message(&dead).starts_with("Failed to connect to MCP server: "), "{dead}");

    assert_eq!(inside.proxies().await, json!({}));
    let added = inside.add("inner", &upstream.url(), "streamable-http").await.expect(200).json();
    assert_eq!(added, json!({"status": "success", "message": "Remote proxy 'inner' added successfully"}));
    let older = inside.add("older", &upstream.sse_url(), "sse").await.expect(200).json();
    assert_eq!(message(&older), "Remote proxy 'older' added successfully");
    assert_eq!(
        inside.proxies().await,
        json!({"inner": {"mcp_url": upstream.url(), "transport": "streamable-http"},
            "older": {"mcp_url": upstream.sse_url(), "transport": "sse"}})
    );
    let mcp = house.mcp().await;
    until_offered(&mcp, "inner__echo", true).await;
    assert_eq!(mcp.text("inner__echo", json!({"text": "x"})).await, "inner: x");

    let again = inside.add("inner", &upstream.url(), "streamable-http").await.expect(409).json();
    assert_eq!(again, json!({"status": "error", "message": "Service name already exists"}));
    let dead = inside.add("dead", &url, "sse").await.expect(503).json();
    assert_eq!(dead, json!({"status": "error", "message": "Cannot connect to remote MCP server"}));
    for body in ["{", "[]", "{\"service_name\": \"x\"}", "{\"service_name\": 1, \"mcp_url\": 2}"] {
        let answer = inside.send("POST", "/add-remote-proxies", body).await.expect(400).json();
        assert_eq!(answer["status"], "error");
        assert!(message(&answer).starts_with("Invalid request: "), "{answer}");
    }

    let gone = inside.send("DELETE", "/remote-proxies?service_name=inner", "").await.expect(200).json();
    assert_eq!(gone, json!({"status": "success", "message": "Remote proxy 'inner' removed successfully"}));
    let unknown = inside.send("DELETE", "/remote-proxies?service_name=inner", "").await.expect(404).json();
    assert_eq!(unknown, json!({"status": "error", "message": "Remote proxy 'inner' not found"}));
    let missing = inside.send("DELETE", "/remote-proxies", "").await.expect(400).json();
    assert_eq!(missing, json!({"error": "query param 'service_name' is required"}));
    until_offered(&mcp, "inner__echo", false).await;
}

#[tokio::test]
async fn the_internal_calls_need_an_admins_key_and_show_only_its_tenant() {
    let house = Gatehouse::start().await;
    let _theirs = mounted(&house.admin().tenant("other").await, "theirs").await;
    let _ours = mounted(&house.admin(), "ours").await;
    let calls = [
        ("GET", "/healthcheck?mcp_url=http://127.0.0.1:9/mcp"),
        ("GET", "/list-remote-proxies"),
        ("POST", "/add-remote-proxies"),
        ("DELETE", "/remote-proxies?service_name=ours"),
    ];
    for (method, path) in calls {
        let anonymous = Http::default().send(method, &house.at(path), &[], "").await.unwrap();
        assert_eq!(anonymous.status, 401, "{method} {path}: {}", anonymous.text());
        let client = Inside { house: &house, http: Http::default(), key: house.client_key().to_owned() };
        assert_eq!(client.send(method, path, "").await.status, 403, "{method} {path}");
    }
    let key = house.admin().in_tenant("other").key("tenant_admin").await;
    let theirs = Inside { house: &house, http: Http::default(), key };
    let names: Vec<String> = theirs.proxies().await.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["theirs"]);
    let refused = theirs.send("DELETE", "/remote-proxies?service_name=ours", "").await.expect(404);
    assert_eq!(message(&refused.json()), "Remote proxy 'ours' not found");
}
