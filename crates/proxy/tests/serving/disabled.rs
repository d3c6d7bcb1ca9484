//! A disabled tool is in no list and can't be called by any name.

use model::{KeyRole, Principal, ServerSpec};
use serde_json::{Value, json};
use tests::mcp::code_of;
use tests::{Mcp, Upstream};

use crate::house::{House, server, tenant};

#[tokio::test]
async fn a_disabled_tool_is_absent_from_lists_and_refused_by_name() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let disabled_tools = vec!["echo".to_owned(), "not/there yet".to_owned()];
    house.mount(&ServerSpec { disabled_tools, ..server("notes", &upstream.url()) });
    let key = house.key(KeyRole::User);
    let odd = mcp_name("notes", "not/there yet");
    for (path, names) in
        [("/servers/notes/mcp", vec!["echo", "not/there yet"]), ("/mcp", vec!["notes__echo", odd.as_str()])]
    {
        let mcp = Mcp::open(&house.at(path), &key.text).await;
        // Before and after the list is known.
        for listed in [false, true] {
            if listed {
                let tools = mcp.tools().await;
                assert!(names.iter().all(|name| !tools.iter().any(|tool| tool == name)), "{path}: {tools:?}");
                assert!(tools.iter().any(|tool| tool.ends_with("slow")), "{path}: {tools:?}");
            }
            for name in &names {
                let answer = mcp.call(name, json!({"text": "x"})).await;
                assert_eq!(code_of(&answer), -31007, "{path} {name}: {answer}");
                assert_eq!(answer["error"]["data"]["error"], "tool_disabled", "{path} {name}");
            }
        }
    }
    assert_eq!(upstream.calls("x"), 0);
}

#[tokio::test]
async fn a_tool_is_disabled_and_enabled_while_clients_are_there() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let spec = server("notes", &upstream.url());
    house.mount(&spec);
    let all = house.session_on_all().await;
    assert!(all.tools().await.contains(&"notes__echo".to_owned()));
    house.mount(&ServerSpec { disabled_tools: vec!["echo".to_owned()], ..spec.clone() });
    assert!(!all.tools().await.contains(&"notes__echo".to_owned()));
    assert_eq!(code_of(&all.call("notes__echo", json!({"text": "x"})).await), -31007);
    house.mount(&spec);
    assert_eq!(all.text("notes__echo", json!({"text": "x"})).await, "upstream: x");
}

#[tokio::test]
async fn whoever_disables_tools_sees_all_of_them_and_calls_none() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let spec = ServerSpec { disabled_tools: vec!["echo".to_owned()], ..server("notes", &upstream.url()) };
    house.mount(&spec);
    let key = house.key(KeyRole::TenantAdmin);
    let principal = Principal { tenant: tenant().id, user: None, key: Some(key.verifier.id) };
    let tools = house.commands.list_tools(tenant().id, spec.id, principal.clone(), "").await.unwrap();
    let tools: Vec<Value> = serde_json::from_slice(&tools).unwrap();
    assert!(tools.iter().any(|tool| tool["name"] == "echo"));
    let failure = house.commands.call(principal, "", spec.id, "echo", r#"{"text":"x"}"#).await.unwrap_err();
    assert_eq!((failure.class, upstream.calls("x")), ("other", 0));
}

fn mcp_name(server: &str, tool: &str) -> String {
    mcp::names::exposed(server, tool)
}
