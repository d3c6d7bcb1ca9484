//! The built-in service is there whatever else is or isn't.

use serde_json::json;
use tests::{Gatehouse, Mcp, Upstream};

use crate::ways::{mounted, nowhere};

const BUILT_IN: [&str; 5] = [
    "gatehouse__echo",
    "gatehouse__servers",
    "gatehouse__search_tools",
    "gatehouse__describe_tool",
    "gatehouse__call_tool",
];

#[tokio::test]
async fn the_built_in_tools_are_always_offered_and_answer() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let mcp = house.mcp().await;
    let offered = async |when: &str| {
        let tools = mcp.tools().await;
        for tool in BUILT_IN {
            assert!(tools.contains(&tool.to_owned()), "{when}: {tools:?}");
        }
        let echo = mcp.text("gatehouse__echo", json!({"message": when, "unknown": {"ignored": true}})).await;
        assert!(echo.contains(when), "{echo}");
    };
    offered("with nothing mounted").await;

    let _notes = mounted(&admin, "notes").await;
    let body = json!({"name": "dead", "url": nowhere(), "skip_validation": true});
    admin.post("/api/v1/servers", &body).await.expect(201);
    offered("with a live and a dead server").await;
    let servers = mcp.text("gatehouse__servers", json!({})).await;
    assert!(servers.contains("notes") && servers.contains("dead"), "{servers}");
    assert!(!servers.contains("127.0.0.1"), "a client need not know where upstreams are: {servers}");

    let recovered = admin.recover(true).await;
    assert_eq!(recovered.status, 200, "{}", recovered.text());
    offered("after a recover that prunes").await;
    admin.remove("notes").await.expect(200);
    admin.remove("dead").await.expect(200);
    offered("after everything was removed").await;
}

#[tokio::test]
async fn every_id_comes_back_as_it_was_sent() {
    let house = Gatehouse::start().await;
    for (path, tool) in [("/mcp", "gatehouse__echo"), ("/servers/gatehouse/mcp", "echo")] {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        for id in ["7", "-3", "\"7\"", "\"a\\\"b\"", "9223372036854775808", "123456789012345678901234567890"] {
            let body = format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"tools/call\",\
                 \"params\":{{\"name\":\"{tool}\",\"arguments\":{{\"message\":\"hi\"}}}}}}"
            );
            let answer = mcp.post_bytes(body).await.unwrap();
            let text = answer.text();
            assert!(text.contains(&format!("\"id\":{id}")) && text.contains("hi"), "{path} {id}: {text}");
            assert_eq!(answer.header("content-type"), "application/json");
        }
    }
}

#[tokio::test]
async fn nobody_can_take_the_built_in_name() {
    let house = Gatehouse::start().await;
    let upstream = Upstream::named("usurper").await;
    let answer = house.admin().post("/api/v1/servers", &json!({"name": "gatehouse", "url": upstream.url()})).await;
    assert_eq!(answer.status, 422, "{}", answer.text());
    let path = format!("/api/mcp/add?service_name=Gatehouse&mcp_url={}", upstream.url());
    house.admin().post(&path, &json!(null)).await.expect(200);
    house.admin().server("server").await.expect(200);
    let bearer = format!("Bearer {}", house.admin_key());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({"service_name": "gatehouse", "mcp_url": upstream.url(), "transport": "streamable-http"});
    let url = house.at("/add-remote-proxies");
    let _ = tests::Http::default().send("POST", &url, &headers, body.to_string()).await.unwrap();
    let echo = house.mcp().await.text("gatehouse__echo", json!({"message": "mine"})).await;
    assert!(!echo.contains("usurper") && echo.contains("mine"), "{echo}");
}
