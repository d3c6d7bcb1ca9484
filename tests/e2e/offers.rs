//! Everything a server offers besides tools, on the aggregate and on its own URL.

use serde_json::{Value, json};
use tests::{Gatehouse, Mcp, Upstream};

use crate::ways::mounted;

fn at<'a>(answer: &'a Value, pointer: &str) -> &'a Value {
    answer.pointer(pointer).unwrap_or_else(|| panic!("no {pointer} in {answer}"))
}

#[tokio::test]
async fn prompts_resources_templates_completion_and_logging_work_on_both_urls() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let (_a, _b) = (mounted(&admin, "alpha").await, mounted(&admin, "beta").await);
    let aggregate = house.mcp().await;
    for server in ["alpha", "beta"] {
        let single = house.mcp_of(server).await;
        for (mcp, prompt) in [(&single, "greet".to_owned()), (&aggregate, format!("{server}__greet"))] {
            assert!(mcp.list("prompts/list", "prompts", "name").await.contains(&prompt));
            let got = mcp.request("prompts/get", json!({"name": prompt, "arguments": {"who": "Ada"}})).await;
            assert_eq!(*at(&got, "/result/messages/0/content/text"), format!("Hello Ada from {server}"));

            let wanted = format!("test://{server}/note");
            let uris = mcp.list("resources/list", "resources", "uri").await;
            let uri = uris.iter().find(|uri| uri.ends_with(&wanted)).unwrap_or_else(|| panic!("{uris:?}"));
            let read = mcp.request("resources/read", json!({"uri": uri})).await;
            assert_eq!(*at(&read, "/result/contents/0/text"), format!("{server}'s note"));
            assert_eq!(*at(&read, "/result/contents/0/uri"), *uri);

            let templates = mcp.list("resources/templates/list", "resourceTemplates", "uriTemplate").await;
            let template = templates.iter().find(|one| one.ends_with(&format!("test://{server}/item/{{id}}")));
            let template = template.unwrap_or_else(|| panic!("{templates:?}"));
            let read = mcp.request("resources/read", json!({"uri": template.replace("{id}", "7")})).await;
            assert_eq!(*at(&read, "/result/contents/0/text"), format!("{server}'s note"));

            let reference = json!({"type": "ref/prompt", "name": prompt});
            let argument = json!({"name": "who", "value": "a"});
            let completed = mcp.request("completion/complete", json!({"ref": reference, "argument": argument})).await;
            assert_eq!(*at(&completed, "/result/completion/values/0"), "alice");

            assert!(mcp.request("logging/setLevel", json!({"level": "info"})).await["result"].is_object());
            assert!(mcp.request("ping", json!({})).await["result"].is_object());
        }
    }
    let unknown = aggregate.request("resources/read", json!({"uri": "test://nobody/x"})).await;
    assert!([-32002, -32602].contains(&at(&unknown, "/error/code").as_i64().unwrap()), "{unknown}");
}

#[tokio::test]
async fn what_the_gateway_does_not_know_survives() {
    let house = Gatehouse::start().await;
    let upstream = mounted(&house.admin(), "odd").await;
    let single = house.mcp_of("odd").await;
    for (mcp, tool) in [(&single, "echo"), (&house.mcp().await, "odd__echo")] {
        let answer = mcp.request("tools/list", json!({})).await;
        let tools = at(&answer, "/result/tools").as_array().unwrap();
        let echo = tools.iter().find(|one| one["name"] == tool).unwrap();
        assert_eq!(echo["x-unknown"], json!({"kept": true}));
        // Numbers that no double holds, and spelling, reach the upstream as they were written.
        let raw = r#"{"jsonrpc":"2.0","id":"ä-1","method":"tools/call","params":{"arguments":{"text":"raw \u00e9","big":123456789012345678901234567890,"f":1.10},"name":"TOOL","x-unknown":[1]}}"#;
        let answer = mcp.post_bytes(raw.replace("TOOL", tool)).await.unwrap();
        assert!(answer.text().contains("odd: raw é"), "{}", answer.text());
        assert!(answer.text().contains("ä-1"), "{}", answer.text());
    }
    let calls = upstream.messages("tools/call");
    assert_eq!(calls.len(), 2);
    for call in calls {
        assert_eq!(call["params"]["name"], "echo");
        assert_eq!(call["params"]["x-unknown"], json!([1]));
    }
    for headers in upstream.headers() {
        for name in ["authorization", "cookie", "gatehouse-tenant", "x-forwarded-for"] {
            assert!(!headers.contains_key(name), "the client's {name} reached the upstream");
        }
        assert_eq!(headers.get("accept-encoding").map(|value| value.as_bytes()), Some(b"identity".as_slice()));
    }
}

#[tokio::test]
async fn answers_that_come_as_events_are_passed_on() {
    let house = Gatehouse::start().await;
    let upstream = Upstream::named("chatty").await;
    upstream.answer_as_events();
    house.admin().add("chatty", &upstream.url()).await;
    for (path, tool) in [("/mcp", "chatty__echo"), ("/servers/chatty/mcp", "echo")] {
        let mcp = Mcp::open(&house.at(path), house.client_key()).await;
        for turn in 0..20 {
            let text = format!("{path} {turn}");
            assert_eq!(mcp.text(tool, json!({"text": text})).await, format!("chatty: {text}"));
        }
    }
    assert!(upstream.repeated().is_empty());
}

#[tokio::test]
async fn a_tools_own_failure_is_passed_on_and_cools_nothing() {
    let house = Gatehouse::start().await;
    let _upstream = mounted(&house.admin(), "weak").await;
    let mcp = house.mcp().await;
    for turn in 0..6 {
        let failed = mcp.call("weak__fail", json!({"text": format!("fail {turn}")})).await;
        assert_eq!(failed["result"]["isError"], true, "{failed}");
    }
    assert_eq!(mcp.text("weak__echo", json!({"text": "fine"})).await, "weak: fine");
}
