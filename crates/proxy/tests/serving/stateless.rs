//! Clients without sessions (2026-07-28), in front of a server that has them.

use model::{Binding, KeyRole, Limits, Resource, Scope, ServerSpec, SignerId, SignerSpec, TenantSpec};
use serde_json::{Value, json};
use tests::mcp::POST;
use tests::sse::Events;
use tests::{Answer, Http, Mcp, Upstream, eventually, patient};

use crate::house::{House, server, tenant};
use crate::scripted::bound;

const REVISION: &str = "2026-07-28";

/// A client that says everything with each request.
struct Client {
    http: Http,
    url: String,
    bearer: String,
}

/// What a request says of its client.
fn meta(capabilities: Value) -> Value {
    json!({"io.modelcontextprotocol/protocolVersion": REVISION, "io.modelcontextprotocol/clientInfo":
        {"name": "tests", "version": "1"}, "io.modelcontextprotocol/clientCapabilities": capabilities})
}

fn message(method: &str, mut params: Value) -> Value {
    if params.get("_meta").is_none() {
        params["_meta"] = meta(json!({}));
    }
    json!({"jsonrpc": "2.0", "id": "the-id", "method": method, "params": params})
}

impl Client {
    fn of(url: &str, key: &str) -> Self {
        Self { http: Http::default(), url: url.to_owned(), bearer: format!("Bearer {key}") }
    }

    /// A client of a fresh key.
    fn at(house: &House, path: &str) -> Self {
        Self::of(&house.at(path), &house.key(KeyRole::User).text)
    }

    /// Sends a body with these headers beside those of every request.
    async fn post(&self, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = POST.to_vec();
        all.push(("authorization", &self.bearer));
        all.extend_from_slice(headers);
        self.http.send("POST", &self.url, &all, body.to_owned()).await.unwrap()
    }

    fn headers<'a>(&'a self, message: &'a Value) -> Vec<(&'a str, &'a str)> {
        let mut headers = POST.to_vec();
        headers.extend([("authorization", &*self.bearer), ("mcp-protocol-version", REVISION)]);
        headers.push(("mcp-method", message["method"].as_str().unwrap()));
        let params = &message["params"];
        let name = params["name"].as_str().or(params["uri"].as_str()).or(params["taskId"].as_str());
        headers.extend(name.map(|name| ("mcp-name", name)));
        headers
    }

    /// Sends a request as it should be.
    async fn ask(&self, method: &str, params: Value) -> Answer {
        let message = message(method, params);
        self.http.send("POST", &self.url, &self.headers(&message), message.to_string()).await.unwrap()
    }

    /// The result of a request, whether it comes as JSON or as the last event; panics on an error.
    async fn result(&self, method: &str, params: Value) -> Value {
        let answer = self.ask(method, params).await.expect(200);
        let answer = match answer.header("content-type") {
            "application/json" => answer.json(),
            _ => {
                let text = answer.text();
                let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
                serde_json::from_str(last.unwrap_or_else(|| panic!("no event: {text}"))).unwrap()
            }
        };
        assert_eq!(answer["id"], "the-id", "{answer}");
        assert_eq!(answer["result"]["resultType"], "complete", "{answer}");
        answer["result"].clone()
    }

    /// Opens a stream for these notifications.
    async fn listen(&self, notifications: Value) -> Listening {
        let message = message("subscriptions/listen", json!({"notifications": notifications}));
        let response = self.http.open("POST", &self.url, &self.headers(&message), message.to_string()).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        Listening(Events::of(response.into_body()))
    }
}

/// Headers, body; the status, the code and whether the id comes back.
type Row<'a> = (&'a [(&'a str, &'a str)], &'a str, u16, i64, bool);

/// An open stream.
struct Listening(Events);

impl Listening {
    /// The next message, which bears the id of the stream's request; `None` at the end.
    async fn next(&mut self) -> Option<Value> {
        let event = patient("an event arrives", self.0.next()).await?;
        let message: Value = serde_json::from_str(&event.data).unwrap();
        let meta = message.get("params").or(message.get("result")).map(|there| &there["_meta"]);
        assert_eq!(meta.unwrap()["io.modelcontextprotocol/subscriptionId"], "the-id", "{message}");
        Some(message)
    }

    /// What is done of that which was asked for.
    async fn acknowledged(&mut self) -> Value {
        let first = self.next().await.unwrap();
        assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
        first["params"]["notifications"].clone()
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_has_its_status_its_code_and_its_data() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let list = message("tools/list", json!({})).to_string();
    let call = message("tools/call", json!({"name": "echo", "arguments": {}})).to_string();
    let bare = json!({"jsonrpc": "2.0", "id": "the-id", "method": "tools/list", "params": {}}).to_string();
    let mut half = meta(json!({}));
    half.as_object_mut().unwrap().remove("io.modelcontextprotocol/clientCapabilities");
    let half = message("tools/list", json!({"_meta": half})).to_string();
    let later = list.replace(REVISION, "2031-01-01");
    let response = json!({"jsonrpc": "2.0", "id": "the-id", "result": {}}).to_string();
    let version = ("mcp-protocol-version", REVISION);
    let listing = ("mcp-method", "tools/list");
    let table: &[Row<'_>] = &[
        (&[version, ("origin", "http://evil.example")], &list, 403, -32600, false),
        (&[version, listing], "{", 400, -32700, false),
        (&[version, listing], &format!("[{list}]"), 400, -32600, false),
        (&[version], &response, 400, -32600, false),
        (&[listing], &list, 400, -32020, true),
        (&[version], &list, 400, -32020, true),
        (&[version, ("mcp-method", "Tools/List")], &list, 400, -32020, true),
        (&[("mcp-protocol-version", "2025-11-25"), listing], &list, 400, -32020, true),
        (&[version, ("mcp-method", "tools/call")], &call, 400, -32020, true),
        (&[version, ("mcp-method", "tools/call"), ("mcp-name", "slow")], &call, 400, -32020, true),
        (&[version, ("mcp-method", "tools/call"), ("mcp-name", "=?base64?ZWNobw?=")], &call, 400, -32020, true),
        (&[("mcp-protocol-version", "2031-01-01"), listing], &later, 400, -32022, true),
        (&[("mcp-protocol-version", "2031-01-01"), listing], &bare, 400, -32022, true),
        (&[version, listing], &bare, 400, -32602, true),
        (&[version, listing], &half, 400, -32602, true),
    ];
    for path in ["/mcp", "/servers/notes/mcp", "/servers/gatehouse/mcp"] {
        let client = Client::at(&house, path);
        for (headers, body, status, code, with_id) in table {
            let answer = client.post(headers, body).await;
            assert_eq!(answer.status.as_u16(), *status, "{path} {headers:?} {body}: {}", answer.text());
            let answer = answer.json();
            assert_eq!(answer["error"]["code"], *code, "{path} {headers:?} {body}: {answer}");
            assert_eq!(answer["id"], if *with_id { json!("the-id") } else { Value::Null }, "{path} {headers:?} {body}");
            if *code == -32022 {
                assert_eq!(answer["error"]["data"]["requested"], "2031-01-01");
                assert_eq!(answer["error"]["data"]["supported"][0], REVISION);
            }
        }
    }
    assert_eq!(upstream.connections(), 0, "nobody was asked");
}

#[tokio::test]
async fn methods_that_there_are_not_are_not_found() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let removed =
        ["initialize", "ping", "logging/setLevel", "resources/subscribe", "resources/unsubscribe", "tasks/list"];
    for path in ["/mcp", "/servers/notes/mcp", "/servers/gatehouse/mcp"] {
        let client = Client::at(&house, path);
        for method in removed.iter().chain(&["unknown/method", "tasks/result"]) {
            let answer = client.ask(method, json!({"uri": "x", "level": "info"})).await;
            let answer = answer.expect(404).json();
            assert_eq!(
                (&answer["error"]["code"], &answer["id"]),
                (&json!(-32601), &json!("the-id")),
                "{path} {method}"
            );
        }
    }
    for method in removed.iter().filter(|method| **method != "initialize") {
        assert_eq!(upstream.messages(method), Vec::<Value>::new(), "no server is asked what it does in sessions");
    }
    // Tasks are there for who declares them, where a server can have them.
    for (path, capabilities, status, code) in [
        ("/mcp", json!({}), 400, -32021),
        ("/mcp", json!({"extensions": {}}), 400, -32021),
        ("/mcp", json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}), 200, -32602),
    ] {
        let answer =
            Client::at(&house, path).ask("tasks/get", json!({"taskId": "7", "_meta": meta(capabilities)})).await;
        let error = answer.expect(status).json()["error"].clone();
        assert_eq!(error["code"], code, "{path} {error}");
        if status == 400 {
            let required = &error["data"]["requiredCapabilities"];
            assert_eq!(*required, json!({"extensions": {"io.modelcontextprotocol/tasks": {}}}));
        }
    }
    let client = Client::at(&house, "/servers/gatehouse/mcp");
    assert_eq!(client.ask("prompts/list", json!({})).await.expect(404).json()["error"]["code"], -32601);
    // In a session the methods of the other era are none.
    let mcp = house.session("notes").await;
    for method in ["server/discover", "subscriptions/listen"] {
        assert_eq!(tests::mcp::code_of(&mcp.request(method, json!({})).await), -32601, "{method}");
        assert_eq!(upstream.messages(method), Vec::<Value>::new());
    }
}

#[tokio::test]
async fn errors_of_what_a_request_is_about_stand_in_an_answer_like_any_other() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    house.mount(&server("gone", "http://127.0.0.1:9/mcp"));
    for (path, method, params, code) in [
        ("/mcp", "tools/call", json!({"name": "notes__nothing"}), -32602),
        ("/mcp", "tools/call", json!({}), -32602),
        ("/mcp", "resources/read", json!({"uri": "nobody://x"}), -32602),
        ("/mcp", "tools/list", json!({"cursor": "x"}), -32602),
        ("/mcp", "subscriptions/listen", json!({}), -32602),
        ("/mcp", "subscriptions/listen", json!({"notifications": 7}), -32602),
        ("/servers/notes/mcp", "tools/call", json!({"name": "nothing"}), -32602),
        ("/servers/notes/mcp", "tools/list", json!({"cursor": "x"}), -32602),
        ("/servers/gatehouse/mcp", "tools/call", json!({"name": "nothing"}), -32602),
        ("/servers/gone/mcp", "tools/call", json!({"name": "x"}), -31001),
        ("/servers/gone/mcp", "server/discover", json!({}), -31001),
    ] {
        let answer = Client::at(&house, path).ask(method, params.clone()).await;
        let answer = answer.expect(200).json();
        assert_eq!(answer["error"]["code"], code, "{path} {method} {params}: {answer}");
        assert_eq!(answer["id"], "the-id");
    }
}

#[tokio::test]
async fn a_server_that_has_sessions_serves_those_who_have_none() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    for (path, echo, progress) in
        [("/servers/notes/mcp", "echo", "progress"), ("/mcp", "notes__echo", "notes__progress")]
    {
        let client = Client::at(&house, path);
        let there = client.result("server/discover", json!({})).await;
        assert_eq!(there["supportedVersions"][0], REVISION, "{there}");
        assert!(there["capabilities"]["tools"].is_object() && there["ttlMs"].is_u64(), "{there}");
        assert!(there["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string(), "{there}");
        for (method, list) in [
            ("tools/list", "tools"),
            ("prompts/list", "prompts"),
            ("resources/list", "resources"),
            ("resources/templates/list", "resourceTemplates"),
        ] {
            let result = client.result(method, json!({})).await;
            assert!(result[list].as_array().is_some_and(|items| !items.is_empty()), "{path} {result}");
            assert_eq!((&result["cacheScope"], &result["ttlMs"]), (&json!("private"), &json!(0)), "{path} {result}");
        }
        let called = client.result("tools/call", json!({"name": echo, "arguments": {"text": "x"}})).await;
        assert_eq!(called["content"][0]["text"], "upstream: x");
        let read = client.result("resources/read", json!({"uri": "test://upstream/note"})).await;
        assert_eq!(read["contents"][0]["text"], "upstream's note");
        assert_eq!((&read["cacheScope"], &read["ttlMs"]), (&json!("private"), &json!(0)));
        let mut with_token = meta(json!({}));
        with_token["progressToken"] = json!("t");
        let params = json!({"name": progress, "arguments": {"text": "y", "steps": 2}, "_meta": with_token});
        let answer = client.ask("tools/call", params).await.expect(200);
        assert_eq!(answer.text().matches("\"progressToken\":\"t\"").count(), 2, "{}", answer.text());
    }
    // Nothing of a client's own says who it is to its server.
    for call in upstream.messages("tools/call") {
        let meta = call["params"]["_meta"].to_string();
        assert!(!meta.contains("io.modelcontextprotocol"), "{call}");
    }
}

#[tokio::test]
async fn the_built_in_service_serves_those_who_have_no_session() {
    let house = House::start().await;
    for (path, echo) in [("/servers/gatehouse/mcp", "echo"), ("/mcp", "gatehouse__echo")] {
        let client = Client::at(&house, path);
        client.result("server/discover", json!({})).await;
        let tools = client.result("tools/list", json!({})).await;
        assert!(tools["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == echo), "{tools}");
        let called = client.result("tools/call", json!({"name": echo, "arguments": {"message": "hi"}})).await;
        assert_eq!(called["content"][0]["text"], "hi");
        assert!(called["_meta"]["io.modelcontextprotocol/serverInfo"]["name"].is_string(), "{called}");
    }
}

#[tokio::test]
async fn there_are_no_sessions_and_no_streams_but_those_of_requests() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let key = house.key(KeyRole::User);
    let session = Mcp::open(&house.at("/mcp"), &key.text).await;
    let client = Client::of(&house.at("/mcp"), &key.text);
    let headers =
        [("authorization", &*client.bearer), ("mcp-protocol-version", REVISION), ("accept", "text/event-stream")];
    for method in ["GET", "DELETE"] {
        let answer = client.http.send(method, &client.url, &headers, "").await.unwrap().expect(405);
        assert_eq!(answer.header("allow"), "POST");
    }
    let message = message("tools/list", json!({}));
    for id in ["nonsense", session.session()] {
        let mut headers = client.headers(&message);
        headers.extend([("mcp-session-id", id), ("last-event-id", "7")]);
        let answer = client.http.send("POST", &client.url, &headers, message.to_string()).await.unwrap().expect(200);
        assert_eq!(answer.header("mcp-session-id"), "");
    }
    let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"}).to_string();
    let answer = client.post(&[("mcp-protocol-version", REVISION)], &initialized).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (202, 0));
}

#[tokio::test]
async fn a_client_that_goes_away_wants_no_answer_any_more() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    for (at, as_events) in [false, true].into_iter().enumerate() {
        if as_events {
            upstream.answer_as_events();
        }
        let client = Client::at(&house, "/servers/notes/mcp");
        let text = format!("call {at}");
        let call = message("tools/call", json!({"name": "slow", "arguments": {"text": text}}));
        let request = tokio::spawn(async move {
            let headers = client.headers(&call);
            client.http.open("POST", &client.url, &headers, call.to_string()).await.unwrap()
        });
        eventually("the call is under way", async || (upstream.calls(&text) == 1).then_some(())).await;
        match as_events {
            // Its answer has begun.
            true => drop(request.await.unwrap()),
            false => request.abort(),
        }
        let cancelled = async || {
            let sent = upstream.messages("tools/call").pop()?;
            let told = upstream.messages("notifications/cancelled").get(at)?.clone();
            (told["params"]["requestId"] == sent["id"]).then_some(())
        };
        eventually("the upstream hears of it", cancelled).await;
    }
}

#[tokio::test]
async fn an_answer_that_came_is_not_cancelled() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let client = Client::at(&house, "/servers/notes/mcp");
    for (tool, as_events) in [("echo", false), ("fail", false), ("nothing", false), ("echo", true)] {
        if as_events {
            upstream.answer_as_events();
        }
        client.ask("tools/call", json!({"name": tool, "arguments": {"text": "x"}})).await.expect(200);
    }
    drop(client);
    // Whoever comes next comes after it.
    let other = Client::at(&house, "/servers/notes/mcp");
    other.ask("tools/call", json!({"name": "echo", "arguments": {"text": "y"}})).await.expect(200);
    assert_eq!(upstream.messages("notifications/cancelled"), Vec::<Value>::new());
}

#[tokio::test]
async fn headers_repeat_the_arguments_that_a_tool_wants_repeated() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.annotate("echo", "Words");
    house.mount(&server("notes", &upstream.url()));
    for (path, echo) in [("/servers/notes/mcp", "echo"), ("/mcp", "notes__echo")] {
        let client = Client::at(&house, path);
        client.result("tools/list", json!({})).await;
        let call = message("tools/call", json!({"name": echo, "arguments": {"text": "a b"}}));
        let silent = message("tools/call", json!({"name": echo, "arguments": {}}));
        for (header, message, status) in [
            (None, &call, 400),
            (Some("other"), &call, 400),
            (Some("=?base64?YSB?="), &call, 400),
            (Some("a b"), &call, 200),
            (Some("=?base64?YSBi?="), &call, 200),
            (None, &silent, 200),
            (Some("whatever"), &silent, 200),
        ] {
            let mut headers = client.headers(message);
            headers.extend(header.map(|value| ("mcp-param-words", value)));
            let answer = client.http.send("POST", &client.url, &headers, message.to_string()).await.unwrap();
            let answer = answer.expect(status).json();
            if status == 400 {
                assert_eq!((&answer["error"]["code"], &answer["id"]), (&json!(-32020), &json!("the-id")), "{answer}");
            }
        }
    }
    let mcp = house.session("notes").await;
    assert_eq!(mcp.text("echo", json!({"text": "x"})).await, "upstream: x", "in a session nobody asks for headers");
}

#[tokio::test]
async fn a_stream_says_what_it_does_and_hears_of_that_alone() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    for path in ["/servers/notes/mcp", "/mcp"] {
        let client = Client::at(&house, path);
        client.result("tools/list", json!({})).await;
        let mut tools = client.listen(json!({"toolsListChanged": true})).await;
        assert_eq!(tools.acknowledged().await, json!({"toolsListChanged": true}));
        let mut prompts = client.listen(json!({"promptsListChanged": true, "taskIds": ["x"]})).await;
        assert_eq!(prompts.acknowledged().await, json!({"promptsListChanged": true}));
        eventually("the upstream is listened to", async || (upstream.listeners() > 0).then_some(())).await;
        upstream.add_tool("one_more");
        assert_eq!(tools.next().await.unwrap()["method"], "notifications/tools/list_changed");
        upstream.tell("notifications/prompts/list_changed", json!({}));
        assert_eq!(
            prompts.next().await.unwrap()["method"],
            "notifications/prompts/list_changed",
            "and no other before"
        );
    }
}

#[tokio::test]
async fn a_stream_ends_with_a_result_when_nothing_more_will_come() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let spec = server("notes", &upstream.url());
    house.mount(&spec);
    let key = house.key(KeyRole::User);
    let (client, other) = (Client::of(&house.at("/mcp"), &key.text), Client::at(&house, "/servers/notes/mcp"));
    let mut streams = [client.listen(json!({"toolsListChanged": true})).await, other.listen(json!({})).await];
    for stream in &mut streams {
        stream.acknowledged().await;
    }
    house.remove([Resource::Key(key.verifier.clone()).name(), Resource::Server(spec).name()]);
    for stream in &mut streams {
        let last = loop {
            let message = stream.next().await.expect("a result before the end");
            if message.get("result").is_some() {
                break message;
            }
        };
        assert_eq!((&last["id"], &last["result"]["resultType"]), (&json!("the-id"), &json!("complete")));
        assert!(stream.next().await.is_none());
    }
}

#[tokio::test]
async fn resources_are_subscribed_to_where_they_are_and_for_as_long_as_somebody_listens() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.allow_subscriptions();
    house.mount(&server("notes", &upstream.url()));
    let key = house.key(KeyRole::User);
    let uri = "test://upstream/note";
    for (at, path) in ["/servers/notes/mcp", "/mcp"].into_iter().enumerate() {
        let client = Client::of(&house.at(path), &key.text);
        let wanted = json!({"resourceSubscriptions": [uri, "nobody://x"]});
        let mut one = client.listen(wanted.clone()).await;
        let honoured = one.acknowledged().await;
        assert!(honoured["resourceSubscriptions"].as_array().unwrap().contains(&json!(uri)), "{honoured}");
        let mut two = client.listen(wanted).await;
        two.acknowledged().await;
        let mut none = client.listen(json!({"toolsListChanged": true})).await;
        none.acknowledged().await;
        eventually("the upstream is listened to", async || (upstream.listeners() > 0).then_some(())).await;
        let of_it =
            |method: &str| upstream.messages(method).iter().filter(|message| message["params"]["uri"] == uri).count();
        let before = of_it("resources/unsubscribe");
        upstream.tell("notifications/resources/updated", json!({"uri": uri}));
        upstream.add_tool(&format!("after_{at}"));
        for stream in [&mut one, &mut two] {
            let message = stream.next().await.unwrap();
            assert_eq!(
                (&message["method"], &message["params"]["uri"]),
                (&json!("notifications/resources/updated"), &json!(uri))
            );
        }
        assert_eq!(none.next().await.unwrap()["method"], "notifications/tools/list_changed", "and no update before");
        drop(one);
        upstream.tell("notifications/resources/updated", json!({"uri": uri}));
        assert_eq!(two.next().await.unwrap()["params"]["uri"], uri, "another one still listens");
        assert_eq!(of_it("resources/unsubscribe"), before);
        drop(two);
        eventually("it is unsubscribed", async || (of_it("resources/unsubscribe") == before + 1).then_some(())).await;
    }
}

#[tokio::test]
async fn what_an_upstream_refuses_to_be_asked_for_is_not_promised() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let client = Client::at(&house, "/servers/notes/mcp");
    let wanted = json!({"toolsListChanged": true, "resourceSubscriptions": ["test://upstream/note"]});
    let mut stream = client.listen(wanted).await;
    assert_eq!(stream.acknowledged().await, json!({"toolsListChanged": true}));
}

#[tokio::test]
async fn a_server_without_sessions_tells_of_its_resources_on_a_stream_of_its_own() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.speak(false, true);
    house.mount(&server("notes", &upstream.url()));
    for path in ["/servers/notes/mcp", "/mcp"] {
        let client = Client::at(&house, path);
        client.result("tools/list", json!({})).await;
        client.result("resources/list", json!({})).await;
        let mut one = client.listen(json!({"resourceSubscriptions": ["note://1"]})).await;
        assert_eq!(one.acknowledged().await, json!({"resourceSubscriptions": ["note://1"]}));
        let mut two = client.listen(json!({"toolsListChanged": true})).await;
        two.acknowledged().await;
        upstream.tell("notifications/resources/updated", json!({"uri": "note://2"}));
        upstream.tell("notifications/resources/updated", json!({"uri": "note://1"}));
        assert_eq!(one.next().await.unwrap()["params"]["uri"], "note://1");
        // One of these is of the lists: it is shared by all of the principal's.
        eventually("the upstream is listened to", async || (upstream.listeners() >= 2).then_some(())).await;
        upstream.tell("notifications/tools/list_changed", json!({}));
        assert_eq!(two.next().await.unwrap()["method"], "notifications/tools/list_changed");
    }
}

#[tokio::test]
async fn tools_with_headers_that_cannot_be_are_left_out_and_others_are_held_to_theirs() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.speak(false, true);
    house.mount(&server("notes", &upstream.url()));
    let client = Client::at(&house, "/servers/notes/mcp");
    // Nobody has asked for the list before.
    let call = message("tools/call", json!({"name": "region", "arguments": {"region": "eu"}}));
    for (header, status) in [(None, 400), (Some("us"), 400), (Some("eu"), 200)] {
        let mut headers = client.headers(&call);
        headers.extend(header.map(|value| ("mcp-param-region", value)));
        client.http.send("POST", &client.url, &headers, call.to_string()).await.unwrap().expect(status);
    }
    assert_eq!(upstream.messages("tools/call").len(), 1, "what is refused here is seen by nobody else");
    let tools = client.result("tools/list", json!({})).await;
    let names: Vec<&str> = tools["tools"].as_array().unwrap().iter().filter_map(|tool| tool["name"].as_str()).collect();
    assert!(names.contains(&"region") && !names.contains(&"wrong"), "{names:?}");
    assert!(tools["ttlMs"].as_u64().is_some_and(|ttl| ttl <= 60_000), "{tools}");
}

#[tokio::test]
async fn a_client_that_goes_away_closes_the_stream_of_a_server_without_sessions() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.speak(false, true);
    house.mount(&server("notes", &upstream.url()));
    let client = Client::at(&house, "/servers/notes/mcp");
    let call = message("tools/call", json!({"name": "slow", "arguments": {"text": "x"}}));
    let headers = client.headers(&call);
    let response = client.http.open("POST", &client.url, &headers, call.to_string()).await.unwrap();
    eventually("the call is under way", async || (upstream.calls("x") == 1).then_some(())).await;
    drop(response);
    eventually("the upstream's stream is closed", async || (upstream.hung_up() == 1).then_some(())).await;
    assert_eq!(upstream.messages("notifications/cancelled"), Vec::<Value>::new());
}

#[tokio::test]
async fn whoever_has_no_connection_is_asked_to_make_one_and_comes_again() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    let binding = Binding { login: true, ..spec.binding.clone().unwrap() };
    house.mount(&ServerSpec { binding: Some(binding), ..spec });
    house.put([Resource::Signer(SignerSpec {
        id: SignerId::fresh(),
        url: "https://gate.example".to_owned(),
        public: [1; 32],
        until: i64::MAX,
    })]);
    for (path, echo) in [("/servers/notes/mcp", "echo"), ("/mcp", "notes__echo")] {
        let client = Client::at(&house, path);
        for (capabilities, asked) in
            [(json!({"elicitation": {"url": {}}}), true), (json!({"elicitation": {}}), false), (json!({}), false)]
        {
            let params = json!({"name": echo, "arguments": {}, "_meta": meta(capabilities.clone())});
            let answer = client.ask("tools/call", params).await.expect(200).json();
            if !asked {
                assert_eq!(answer["error"]["code"], -31006, "{path} {capabilities}: {answer}");
                continue;
            }
            assert_eq!(answer["result"]["resultType"], "input_required", "{path}: {answer}");
            let request = &answer["result"]["inputRequests"]["connect"];
            assert_eq!((&request["method"], &request["params"]["mode"]), (&json!("elicitation/create"), &json!("url")));
            assert!(request["params"]["url"].as_str().is_some_and(|url| url.starts_with("https://gate.example/")));
        }
    }
    // What it has is not known yet, and so it may have anything.
    let there = Client::at(&house, "/servers/notes/mcp").result("server/discover", json!({})).await;
    assert!(there["capabilities"]["prompts"].is_object() && there["ttlMs"] == 0, "{there}");
    assert!(there["instructions"].as_str().unwrap().contains("https://gate.example/"), "{there}");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn streams_of_requests_count_like_those_of_sessions() {
    let house = House::start().await;
    house.put([Resource::Tenant(TenantSpec { limits: Limits { streams: 1, ..Limits::default() }, ..tenant() })]);
    let key = house.key(KeyRole::User);
    let session = Mcp::open(&house.at("/mcp"), &key.text).await;
    let client = Client::of(&house.at("/mcp"), &key.text);
    let mut first = client.listen(json!({"toolsListChanged": true})).await;
    first.acknowledged().await;
    assert_eq!(session.try_listen().await.err(), Some(429));
    let second = client.ask("subscriptions/listen", json!({"notifications": {}})).await.expect(429);
    assert_eq!(second.json()["error"]["code"], -31009);
    drop(first);
    eventually("its place is free", async || session.try_listen().await.ok()).await;
}
