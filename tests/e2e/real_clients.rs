//! Real clients and a real server, as people install them.

use serde_json::{Value, json};
use tests::Gatehouse;
use tests::forwarder::Forwarder;
use tests::packages::{Everything, node_file, run_node, run_python, script, skipped};

/// server-everything in both its modes, each a server of its own, added while a client listens.
async fn everything(house: &Gatehouse) -> (Everything, Everything) {
    let listener = house.mcp().await;
    let mut stream = listener.listen().await;
    let (streamable, sse) = (Everything::streamable().await, Everything::sse().await);
    house.admin().add("everything", streamable.url()).await;
    stream.until("notifications/tools/list_changed").await;
    house.admin().add("older", sse.url()).await;
    (streamable, sse)
}

/// The URLs that every client is sent to, with the prefix of names there.
fn places(house: &Gatehouse) -> Vec<(String, &'static str)> {
    vec![
        (house.at("/mcp"), "everything__"),
        (house.at("/mcp"), "older__"),
        (house.at("/servers/everything/mcp"), ""),
        (house.at("/servers/older/mcp"), ""),
    ]
}

fn has(list: &Value, name: &str) -> bool {
    list.as_array().is_some_and(|list| list.iter().any(|one| one == name))
}

fn saw_everything(seen: &Value, prefix: &str, from: &str) {
    assert!(has(&seen["tools"], &format!("{prefix}get-sum")), "{seen}");
    assert_eq!(seen["echo"], format!("Echo: hello from {from}"), "{seen}");
    assert!(seen["resources"].as_array().is_some_and(|all| !all.is_empty()), "{seen}");
    assert!(seen["read"].as_str().is_some_and(|text| !text.is_empty()), "{seen}");
    assert!(seen["templates"].as_u64().is_some_and(|count| count > 0), "{seen}");
    assert!(has(&seen["prompts"], &format!("{prefix}simple-prompt")), "{seen}");
    assert!(seen["prompt"].as_str().is_some_and(|text| !text.is_empty()), "{seen}");
}

#[tokio::test]
async fn the_typescript_client_uses_everything_in_both_modes() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let _everything = everything(&house).await;
    for (url, prefix) in places(&house) {
        for mode in ["legacy", "auto"] {
            let seen = run_node(&script("typescript.mjs"), &[&url, house.client_key(), mode, prefix]).await;
            saw_everything(&seen, prefix, "typescript");
        }
    }
}

#[tokio::test]
async fn the_typescript_client_of_the_older_transport_uses_everything() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let _everything = everything(&house).await;
    for (path, prefix) in
        [("/sse", "everything__"), ("/sse", "older__"), ("/servers/everything/sse", ""), ("/servers/older/sse", "")]
    {
        let seen = run_node(&script("typescript.mjs"), &[&house.at(path), house.client_key(), "legacy", prefix]).await;
        saw_everything(&seen, prefix, "typescript");
    }
}

#[tokio::test]
async fn the_python_client_uses_everything_in_both_modes() {
    if skipped("node") || skipped("python") {
        return;
    }
    let house = Gatehouse::start().await;
    let _everything = everything(&house).await;
    for (url, prefix) in places(&house) {
        for mode in ["auto", "legacy"] {
            let seen = run_python("python.py", &[&url, house.client_key(), mode, prefix]).await;
            saw_everything(&seen, prefix, "python");
        }
    }
}

#[tokio::test]
async fn the_inspector_uses_everything_through_a_forwarder_that_adds_the_key() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let _everything = everything(&house).await;
    let forwarder = Forwarder::start(&house.proxy(), house.client_key()).await;
    let inspector = node_file("@modelcontextprotocol/inspector-cli/build/cli.js");
    for (path, prefix) in [("/mcp", "everything__"), ("/servers/everything/mcp", ""), ("/servers/older/mcp", "")] {
        let url = forwarder.at(path);
        let run = async |args: &[&str]| run_node(&inspector, &[&["--cli", &url], args].concat()).await;
        let tools = run(&["--method", "tools/list"]).await;
        let tool = format!("{prefix}echo");
        assert!(tools["tools"].as_array().unwrap().iter().any(|one| one["name"] == tool.as_str()), "{tools}");
        let called = run(&["--method", "tools/call", "--tool-name", &tool, "--tool-arg", "message=hi"]).await;
        assert_eq!(called["content"][0]["text"], "Echo: hi");
        let resources = run(&["--method", "resources/list"]).await;
        let uri = resources["resources"][0]["uri"].as_str().unwrap().to_owned();
        let read = run(&["--method", "resources/read", "--uri", &uri]).await;
        assert!(read["contents"][0]["text"].is_string(), "{read}");
        let prompt = format!("{prefix}simple-prompt");
        let got = run(&["--method", "prompts/get", "--prompt-name", &prompt]).await;
        assert!(got["messages"][0]["content"]["text"].is_string(), "{got}");
    }
}

#[tokio::test]
async fn removing_a_real_server_makes_its_tools_vanish_with_a_notice() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let _everything = everything(&house).await;
    let mcp = house.mcp().await;
    crate::ways::until_offered(&mcp, "everything__echo", true).await;
    crate::ways::until_offered(&mcp, "older__echo", true).await;
    let mut stream = mcp.listen().await;
    house.admin().remove("everything").await.expect(200);
    stream.until("notifications/tools/list_changed").await;
    crate::ways::until_offered(&mcp, "everything__echo", false).await;
    let still = mcp.text("older__echo", json!({"message": "still here"})).await;
    assert_eq!(still, "Echo: still here");
}
