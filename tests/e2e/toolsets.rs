//! Toolsets through a whole house: made by an admin, served by the proxy, whatever happens to either.

use serde_json::{Value, json};
use tests::gatehouse::Plane;
use tests::{Gatehouse, Mcp, eventually};

use crate::shell::Shell;
use crate::ways::mounted;

#[tokio::test]
async fn a_toolset_is_served_as_soon_as_it_is_made_and_gone_when_it_is_removed() {
    let house = Gatehouse::start().await;
    let shell = Shell::of(&house);
    let admin = house.admin();
    let (_notes, _wiki) = (mounted(&admin, "notes").await, mounted(&admin, "wiki").await);
    let made = shell.done(&["toolset", "add", "office", "--tool", "notes/echo=say", "--tool", "wiki/*"]).await;
    assert_eq!((&made["effective"]["live"], &made["path"]), (&json!(1), &json!("/toolsets/office/mcp")));
    let url = house.at(made["path"].as_str().unwrap());
    let mcp = Mcp::open(&url, house.client_key()).await;
    let names = mcp.tools().await;
    assert_eq!(names[0], "say");
    assert!(names[1..].iter().all(|name| name.starts_with("wiki__")) && names.len() > 2, "{names:?}");
    assert_eq!(mcp.text("say", json!({"text": "hi"})).await, "notes: hi");

    shell.done(&["toolset", "set", "office", "--listing", "search", "--description", "For the office"]).await;
    let searching = Mcp::open(&url, house.client_key()).await;
    assert_eq!(searching.tools().await.len(), 3);
    let through = searching.call("gatehouse__call_tool", json!({"name": "say", "arguments": {"text": "ho"}})).await;
    assert_eq!(tests::mcp::text_of(&through), "notes: ho");
    assert!(shell.told(&["toolset", "show", "office"]).await.contains("say"));

    // A server that is deleted keeps its place.
    admin.remove("notes").await.expect(200);
    let shown = shell.done(&["toolset", "show", "office"]).await;
    assert_eq!(shown["tools"][0]["server"], Value::Null);
    shell.done(&["server", "restore", shown["tools"][0]["server_id"].as_str().unwrap()]).await;
    assert_eq!(tests::mcp::text_of(&searching.call("say", json!({"text": "back"})).await), "notes: back");

    shell.done(&["toolset", "rm", "office"]).await;
    assert!(Mcp::try_open(&url, house.client_key(), "2025-11-25").await.err().unwrap().contains("404"));
    shell.fails(3, &["toolset", "show", "office"]).await;
}

#[tokio::test]
async fn a_proxy_that_starts_without_control_still_serves_toolsets() {
    let mut house = Gatehouse::plan().no_restart().start().await;
    let _notes = mounted(&house.admin(), "notes").await;
    let tools = json!([{"server": "notes", "tool": "echo", "name": "say", "description": "Says it"}]);
    house.admin().post("/api/v1/toolsets", &json!({"name": "office", "tools": tools})).await.expect(201);
    // What is revoked is on disk before it counts, and the table that goes with it.
    let key = house.admin().post("/api/v1/keys", &json!({})).await.expect(201).json();
    let path = format!("/api/v1/keys/{}", key["id"].as_str().unwrap());
    let revoked = house.admin().send("DELETE", &path, &Value::Null).await.expect(200);
    assert_eq!(revoked.json()["effective"]["live"], 1, "{}", revoked.text());
    house.kill(Plane::Control).await;
    house.kill(Plane::Proxy).await;
    house.start_alone(Plane::Proxy, &[]);
    house.wait_ready(Plane::Proxy).await;
    let (url, key) = (house.at("/toolsets/office/mcp"), house.client_key().to_owned());
    let mcp = eventually("a session at the toolset", async || Mcp::try_open(&url, &key, "2025-11-25").await.ok()).await;
    let listed = mcp.request("tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"][0]["description"], "Says it");
    assert_eq!(mcp.text("say", json!({"text": "x"})).await, "notes: x");
}
