//! Clients and upstreams of both eras, in all four cells of protocol.md 3, and upstreams that change their era.

use model::{KeyRole, ServerSpec, Transport};
use serde_json::{Value, json};
use tests::mcp::{Call, code_of, text_of};
use tests::{Mcp, Upstream, eventually, patient};

use crate::house::{House, server};

const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// An upstream that speaks these eras, mounted as `notes`.
async fn upstream(house: &House, sessions: bool, stateless: bool) -> Upstream {
    let upstream = Upstream::named("notes").await;
    upstream.speak(sessions, stateless);
    house.mount(&server("notes", &upstream.url()));
    upstream
}

fn everything() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {}})
}

async fn able(house: &House, path: &str, capabilities: Value) -> Mcp {
    Mcp::able(&house.at(path), &house.key(KeyRole::User).text, capabilities).await
}

fn stateless(house: &House, path: &str) -> Mcp {
    Mcp::stateless(&house.at(path), &house.key(KeyRole::User).text)
}

/// What `told` says of the request that reached the upstream.
async fn told(mcp: &Mcp, tool: &str) -> Value {
    serde_json::from_str(&mcp.text(tool, json!({"x": 12345678901234567890u64})).await).unwrap()
}

#[tokio::test]
async fn a_session_at_an_upstream_without_one_begins_with_what_was_discovered() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    for revision in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let url = house.at("/servers/notes/mcp");
        let mcp = Mcp::open_as(&url, &house.key(KeyRole::User).text, revision).await;
        assert_eq!((mcp.revision(), mcp.text("echo", json!({"text": "x"})).await.as_str()), (revision, "notes: x"));
    }
    assert_eq!(notes.messages("notifications/initialized").len(), 0);
    assert_eq!(notes.deletes(), 0);
    // The first one asked in the era of its client and found the other; nobody asks so again.
    let initialized = notes.messages("initialize").len();
    assert_eq!(initialized, 0, "what is refused for its era is not counted as served");
}

#[tokio::test]
async fn a_clients_request_says_to_an_upstream_without_sessions_what_its_session_said() {
    let house = House::start().await;
    let _notes = upstream(&house, false, true).await;
    for (path, tool) in [("/servers/notes/mcp", "told"), ("/mcp", "notes__told")] {
        let mcp = able(&house, path, json!({"elicitation": {}, "roots": {"listChanged": true}})).await;
        let told = told(&mcp, tool).await;
        let meta = &told["params"]["_meta"];
        assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28", "{told}");
        assert_eq!(
            meta["io.modelcontextprotocol/clientCapabilities"],
            json!({"elicitation": {"form": {}}, "roots": {"listChanged": true}})
        );
        assert_eq!(meta["io.modelcontextprotocol/clientInfo"]["name"], "gatehouse");
        assert!(meta.get("io.modelcontextprotocol/logLevel").is_none());
        let headers = &told["headers"];
        assert_eq!(
            [&headers["mcp-protocol-version"], &headers["mcp-method"], &headers["mcp-name"]],
            ["2026-07-28", "tools/call", "told"]
        );
        assert!(headers.get("mcp-session-id").is_none());
        assert_eq!(told["params"]["arguments"], json!({"x": 12345678901234567890u64}));
        // The level goes along from here on.
        assert_eq!(mcp.request("logging/setLevel", json!({"level": "warning"})).await["result"], json!({}));
        let told = self::told(&mcp, tool).await;
        assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/logLevel"], "warning", "{path}");
    }
}

#[tokio::test]
async fn a_session_reads_every_answer_of_an_upstream_without_one() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    for as_events in [false, true] {
        if as_events {
            notes.answer_as_events();
        }
        let mcp = house.session("notes").await;
        for (method, params, expected) in [
            (
                "prompts/get",
                json!({"name": "greet"}),
                json!({"messages": [{"role": "user", "content": {"type": "text", "text": "greet"}}]}),
            ),
            ("resources/read", json!({"uri": "note://1"}), json!({"contents": [{"uri": "note://1", "text": "one"}]})),
            (
                "completion/complete",
                json!({"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "a", "value": "v"}}),
                json!({"completion": {"values": ["v"]}}),
            ),
            (
                "tools/call",
                json!({"name": "give", "arguments": {"result": {"content": [], "structuredContent": [1]}}}),
                json!({"content": [{"type": "text", "text": "[1]"}]}),
            ),
        ] {
            let mut answer = mcp.request(method, params).await;
            assert!(answer["result"].is_object(), "{method}: {answer}");
            answer["result"].as_object_mut().unwrap().remove("_meta");
            assert_eq!(answer["result"], expected, "{method}");
        }
        let unknown = mcp.request("resources/read", json!({"uri": "note://none"})).await;
        assert_eq!((code_of(&unknown), &unknown["error"]["data"]["uri"]), (-32002, &json!("note://none")));
        assert_eq!(code_of(&mcp.request("no/such/method", json!({})).await), -32601);
        assert_eq!(code_of(&mcp.request("tasks/list", json!({})).await), -32601);
        assert_eq!(mcp.request("ping", json!({})).await["result"], json!({}));
    }
    let mcp = house.session("notes").await;
    let refuse = async |error: Value| mcp.call("refuse", json!({"error": error})).await;
    let refused = refuse(json!({"code": -32022, "message": "no", "data": {"supported": ["2026-07-28"]}})).await;
    assert_eq!(code_of(&refused), -32603, "{refused}");
    let needs = json!({"code": -32021, "message": "no", "data": {"requiredCapabilities": {"extensions": {"x": {}}}}});
    let refused = refuse(needs).await;
    assert_eq!(refused["result"]["isError"], true, "{refused}");
    assert_eq!(code_of(&refuse(json!({"code": -7, "message": "own"})).await), -7);
    for unreadable in [json!({"resultType": "task", "taskId": "t"}), json!({"resultType": "input_required"})] {
        let answer = mcp.call("give", json!({"result": unreadable})).await;
        assert_eq!(code_of(&answer), -32603, "{answer}");
    }
}

#[tokio::test]
async fn lists_of_an_upstream_without_sessions_are_readable_in_a_session_and_whole_without() {
    let house = House::start().await;
    let _notes = upstream(&house, false, true).await;
    let mcp = house.session("notes").await;
    let listed = mcp.request("tools/list", json!({})).await["result"].clone();
    assert_eq!((listed.get("resultType"), listed.get("ttlMs"), listed.get("cacheScope")), (None, None, None));
    let tool = |listed: &Value, name: &str| {
        listed["tools"].as_array().unwrap().iter().find(|tool| tool["name"] == name).cloned()
    };
    assert_eq!(tool(&listed, "numbers").unwrap().get("outputSchema"), None, "no session knows such a schema");
    assert_eq!(tool(&listed, "wrong"), None, "its annotation is not good");
    let listed = stateless(&house, "/servers/notes/mcp").request("tools/list", json!({})).await["result"].clone();
    assert_eq!(tool(&listed, "numbers").unwrap()["outputSchema"], json!({"type": "array"}));
    assert_eq!((tool(&listed, "wrong"), &listed["resultType"]), (None, &json!("complete")));
}

#[tokio::test]
async fn headers_that_repeat_arguments_are_made_of_the_list_and_made_again_when_it_changed() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    let mcp = house.session("notes").await;
    // Nobody has listed anything yet, then another list: the upstream refuses, and is asked again what it wants.
    for header in ["region", "zone"] {
        notes.rename_region(header);
        assert_eq!(mcp.text("region", json!({"region": "green"})).await, "notes: ", "{header}");
        let before = notes.messages("tools/list").len();
        mcp.text("region", json!({"region": "blue"})).await;
        assert_eq!(notes.messages("tools/list").len(), before, "the list is right");
    }
}

/// Answers the next question of a call.
async fn answer(mcp: &Mcp, call: &mut Call, method: &str, result: Value) -> Value {
    let (question, _) = call.next().await.unwrap();
    assert_eq!(question["method"], method, "{question}");
    assert_eq!(mcp.respond(&question["id"], result).await.status, 202);
    question["params"].clone()
}

#[tokio::test]
async fn an_upstreams_rounds_become_questions_on_the_stream_of_the_call() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    let form =
        json!({"method": "elicitation/create", "params": {"message": "who", "requestedSchema": {"type": "object"}}});
    let sample = json!({"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 9}});
    let rounds = json!([
        {"name": form, "model": sample},
        null,
        {"roots": {"method": "roots/list"}},
    ]);
    for (path, tool) in [("/servers/notes/mcp", "ask"), ("/mcp", "notes__ask")] {
        for as_events in [false, true] {
            if as_events {
                notes.answer_as_events();
            }
            let mcp = able(&house, path, everything()).await;
            let mut call = mcp.begin_call(tool, json!({"rounds": rounds})).await;
            let mut asked = Vec::new();
            for _ in 0..2 {
                let (question, _) = call.next().await.unwrap();
                asked.push(question);
            }
            // Both at once, answered in the other order.
            for question in asked.iter().rev() {
                let kind = question["method"].as_str().unwrap();
                mcp.respond(&question["id"], json!({"of": kind, "n": 12345678901234567890u64})).await;
            }
            let params = asked.iter().find(|question| question["method"] == "elicitation/create").unwrap();
            assert_eq!(params["params"], form["params"]);
            answer(&mcp, &mut call, "roots/list", json!({"roots": []})).await;
            let (before, last) = call.answer().await;
            let told: Value = serde_json::from_str(&text_of(&last)).unwrap();
            assert_eq!(before, Vec::<Value>::new());
            assert_eq!(told[0]["name"], json!({"of": "elicitation/create", "n": 12345678901234567890u64}), "{told}");
            assert_eq!(told[0]["model"]["of"], "sampling/createMessage");
            assert_eq!((&told[1], &told[2]["roots"]), (&Value::Null, &json!({"roots": []})));
            assert_eq!(last["result"].get("resultType"), None);
        }
    }
    let ids: Vec<Value> = notes.messages("tools/call").iter().map(|message| message["id"].clone()).collect();
    let mut distinct = ids.iter().map(Value::to_string).collect::<Vec<_>>();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), ids.len(), "each try has its own id");
    eventually("nothing waits", async || (house.under_way() == 0).then_some(())).await;
}

#[tokio::test]
async fn what_a_session_cannot_be_asked_it_is_told() {
    let house = House::start().await;
    let _notes = upstream(&house, false, true).await;
    let mcp = able(&house, "/servers/notes/mcp", json!({"elicitation": {}})).await;
    // The upstream knows what was declared.
    let answer = mcp.call("ask", json!({"rounds": [{"a": {"method": "roots/list"}}]})).await;
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("roots"), "{answer}");
    assert_eq!(answer["result"]["isError"], true);
    // One that asks all the same.
    let unchecked =
        async |mcp: &Mcp, asked: Value| mcp.call("ask", json!({"rounds": [{"a": asked}], "unchecked": true})).await;
    let answer = unchecked(&mcp, json!({"method": "sampling/createMessage", "params": {}})).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let answer = unchecked(&mcp, json!({"method": "tools/list"})).await;
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    let url = json!({"method": "elicitation/create", "params": {"mode": "url", "url": "https://a.example/", "message": "Sign in."}});
    let answer = unchecked(&mcp, url.clone()).await;
    assert_eq!(code_of(&answer), -32042, "{answer}");
    assert_eq!(answer["error"]["data"]["elicitations"][0]["url"], "https://a.example/");
    let older = Mcp::open_as(&house.at("/servers/notes/mcp"), &house.key(KeyRole::User).text, "2025-06-18").await;
    let answer = unchecked(&older, url).await;
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("https://a.example/"), "{answer}");
    // A client that will not answer.
    let form = json!({"method": "elicitation/create", "params": {"message": "who"}});
    let mut call = mcp.begin_call("ask", json!({"rounds": [{"a": form}]})).await;
    let (question, _) = call.next().await.unwrap();
    mcp.post(&json!({"jsonrpc": "2.0", "id": question["id"], "error": {"code": -1, "message": "not now"}}))
        .await
        .unwrap();
    let (_, answer) = call.answer().await;
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("not now"), "{answer}");
}

#[tokio::test]
async fn an_upstream_that_never_stops_asking_is_stopped() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    let mcp = able(&house, "/servers/notes/mcp", everything()).await;
    let rounds: Vec<Value> = (0..12).map(|_| json!({"r": {"method": "roots/list"}})).collect();
    let mut call = mcp.begin_call("ask", json!({"rounds": rounds})).await;
    for _ in 0..10 {
        answer(&mcp, &mut call, "roots/list", json!({"roots": []})).await;
    }
    let (_, last) = call.answer().await;
    assert_eq!(last["result"]["isError"], true, "{last}");
    assert_eq!(notes.messages("tools/call").len(), 11);
}

#[tokio::test]
async fn logs_and_progress_of_a_call_cross_in_every_cell() {
    for (sessions, modern) in [(false, true), (true, false)] {
        let house = House::start().await;
        let notes = upstream(&house, sessions, modern).await;
        let (tool, arguments) =
            if modern { ("say", json!({"level": "error"})) } else { ("progress", json!({"text": "x", "steps": 1})) };
        let level = json!({"io.modelcontextprotocol/logLevel": "info", "progressToken": "mine"});
        for (mcp, meta) in [
            (house.session("notes").await, json!({"progressToken": "mine"})),
            (stateless(&house, "/servers/notes/mcp"), level),
        ] {
            let params = json!({"name": tool, "arguments": arguments, "_meta": meta});
            let (before, answer) = mcp.try_request("tools/call", params).await.unwrap();
            text_of(&answer);
            let progress: Vec<_> =
                before.iter().filter(|message| message["method"] == "notifications/progress").collect();
            assert_eq!(progress[0]["params"]["progressToken"], "mine", "{before:?}");
            if modern {
                let logs: Vec<_> =
                    before.iter().filter(|message| message["method"] == "notifications/message").collect();
                assert_eq!(logs.len(), 1, "{before:?}");
            }
        }
        drop(notes);
    }
}

#[tokio::test]
async fn a_client_without_a_session_reads_what_an_upstream_with_sessions_says() {
    let house = House::start().await;
    let notes = upstream(&house, true, false).await;
    notes.add_resource("note://1");
    let mcp = stateless(&house, "/servers/notes/mcp");
    for as_events in [false, true] {
        if as_events {
            notes.answer_as_events();
        }
        let answer = mcp
            .request("tools/call", json!({"name": "echo", "arguments": {"text": "x"}, "_meta": {"vendor/x": 1}}))
            .await;
        let result = &answer["result"];
        assert_eq!((result["resultType"].as_str(), text_of(&answer).as_str()), (Some("complete"), "notes: x"));
        assert_eq!(result["_meta"][SERVER_INFO]["name"], "gatehouse");
        let read = mcp.request("resources/read", json!({"uri": "note://1"})).await["result"].clone();
        assert_eq!(
            (&read["resultType"], &read["ttlMs"], &read["cacheScope"]),
            (&json!("complete"), &json!(0), &json!("private")),
            "{read}"
        );
    }
    // What a session knows already it is not told.
    let reached = notes.messages("tools/call").pop().unwrap();
    assert_eq!(reached["params"]["_meta"], json!({"vendor/x": 1}), "{reached}");
    let in_sessions = |headers: &&http::HeaderMap| headers.contains_key("mcp-session-id");
    let headers = notes.headers();
    assert!(
        headers
            .iter()
            .filter(in_sessions)
            .all(|headers| !headers.contains_key("mcp-method") && !headers.contains_key("mcp-name"))
    );
    assert!(notes.messages("initialize").iter().all(|message| message["params"]["capabilities"] == json!({})));
}

#[tokio::test]
async fn an_upstream_is_spoken_with_in_the_clients_era_where_it_can_be() {
    let house = House::start().await;
    let notes = Upstream::named("notes").await;
    notes.speak(true, true);
    let both = model::Eras { session: Some(true), stateless: Some(true) };
    house.mount(&ServerSpec { eras: both, ..server("notes", &notes.url()) });
    let session = house.session("notes").await;
    assert_eq!(session.text("echo", json!({"text": "s"})).await, "notes: s");
    assert_eq!((notes.messages("initialize").len(), notes.messages("server/discover").len()), (1, 0));
    let told = told(&stateless(&house, "/servers/notes/mcp"), "told").await;
    assert!(told["headers"].get("mcp-session-id").is_none());
    // Its own words, not the gateway's.
    assert_eq!(told["params"]["_meta"]["io.modelcontextprotocol/clientInfo"], json!({"name": "tests", "version": "1"}));
    assert_eq!(notes.messages("initialize").len(), 1, "the era is known");
}

#[tokio::test]
async fn an_upstream_that_comes_back_with_another_era_serves_on() {
    let house = House::start().await;
    let notes = Upstream::named("notes").await;
    let known = model::Eras { session: Some(true), stateless: Some(false) };
    let record = ServerSpec { eras: known, ..server("notes", &notes.url()) };
    for path in ["/servers/notes/mcp", "/mcp"] {
        let tool = if path == "/mcp" { "notes__echo" } else { "echo" };
        notes.speak(true, false);
        house.mount(&record);
        let (session, stateless) =
            (Mcp::open(&house.at(path), &house.key(KeyRole::User).text).await, stateless(&house, path));
        let mut number = 0;
        for (sessions, modern) in [(true, false), (false, true), (true, false), (true, true), (false, true)] {
            notes.speak(sessions, modern);
            for (who, mcp) in [("session", &session), ("stateless", &stateless)] {
                number += 1;
                let text = format!("{path} {number} {who}");
                let answer = mcp.call(tool, json!({"text": text})).await;
                assert_eq!(text_of(&answer), format!("notes: {text}"), "{sessions} {modern} {who}");
                assert_eq!(notes.calls(&text), 1, "it was executed once");
            }
        }
    }
}

#[tokio::test]
async fn nothing_is_learned_from_an_upstream_that_fails() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    let mcp = stateless(&house, "/servers/notes/mcp");
    mcp.text("echo", json!({"text": "a"})).await;
    for behaviour in [tests::Behaviour::Unauthorized, tests::Behaviour::ServerError] {
        notes.always(Some(behaviour));
        assert!(mcp.call("echo", json!({"text": "b"})).await.get("error").is_some());
        notes.always(None);
        eventually("it is let in again", async || mcp.call("echo", json!({"text": "c"})).await.get("result").map(drop))
            .await;
        assert_eq!(notes.messages("initialize").len(), 0, "{behaviour:?}");
    }
}

#[tokio::test]
async fn a_session_hears_of_changes_of_an_upstream_without_one() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    let mcp = house.session("notes").await;
    mcp.tools().await;
    assert_eq!(mcp.request("resources/subscribe", json!({"uri": "note://1"})).await["result"], json!({}));
    let mut stream = mcp.listen().await;
    eventually("it is listened to", async || (notes.listeners() == 1).then_some(())).await;
    notes.add_tool("later");
    stream.until("notifications/tools/list_changed").await;
    assert!(mcp.tools().await.contains(&"later".to_owned()));
    notes.tell("notifications/resources/updated", json!({"uri": "note://1"}));
    let updated = stream.until("notifications/resources/updated").await;
    assert_eq!(updated["params"], json!({"uri": "note://1"}), "nothing of the other stream is told");
    // Another resource: the stream is opened anew, with both.
    assert_eq!(mcp.request("resources/subscribe", json!({"uri": "note://2"})).await["result"], json!({}));
    let asked = notes.messages("subscriptions/listen").pop().unwrap();
    let wanted = &asked["params"]["notifications"]["resourceSubscriptions"];
    assert_eq!(*wanted, json!(["note://1", "note://2"]), "before whoever subscribed is told so");
    eventually("the one before is closed", async || (notes.listeners() == 1).then_some(())).await;
    notes.tell("notifications/resources/updated", json!({"uri": "note://2"}));
    assert_eq!(stream.until("notifications/resources/updated").await["params"]["uri"], "note://2");
    assert_eq!(mcp.request("resources/unsubscribe", json!({"uri": "note://1"})).await["result"], json!({}));
    eventually("it is not asked for any more", async || {
        let asked = notes.messages("subscriptions/listen").pop().unwrap();
        (asked["params"]["notifications"]["resourceSubscriptions"] == json!(["note://2"])).then_some(())
    })
    .await;
    mcp.delete().await;
    eventually("nobody listens", async || (notes.listeners() == 0).then_some(())).await;
    assert_eq!(house.bound("watched_resources"), 0);
}

#[tokio::test]
async fn going_away_cancels_without_a_session_and_does_not_with_one() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    let mcp = house.session("notes").await;
    let call = mcp.begin_call("slow", json!({"text": "kept"})).await;
    patient("it is under way", async {
        while notes.calls("kept") == 0 {
            tokio::task::yield_now().await
        }
    })
    .await;
    drop(call);
    let call = mcp.begin_call("slow", json!({"text": "cancelled"})).await;
    patient("it is under way", async {
        while notes.calls("cancelled") == 0 {
            tokio::task::yield_now().await
        }
    })
    .await;
    assert_eq!(notes.hung_up(), 0);
    // What the client cancels is closed over there.
    mcp.notify("notifications/cancelled", json!({"requestId": call.id})).await;
    eventually("its stream is closed", async || (notes.hung_up() == 1).then_some(())).await;
    assert_eq!(notes.messages("notifications/cancelled").len(), 0);
    notes.open_gate();
    eventually("nothing is under way", async || (house.under_way() == 0).then_some(())).await;
    assert_eq!(notes.hung_up(), 1, "who went away cancelled nothing");
}

#[tokio::test]
async fn a_call_can_be_cancelled_by_who_went_away_before_its_first_byte() {
    let house = House::start().await;
    let notes = upstream(&house, false, true).await;
    let key = house.key(KeyRole::User);
    let gone = Mcp::open(&house.at("/servers/notes/mcp"), &key.text).await;
    let left = gone.stolen_by(&key.text);
    let params = json!({"name": "mute", "arguments": {"text": "left"}});
    let call = tokio::spawn(async move { left.try_request_as(json!("left"), "tools/call", params).await.map(drop) });
    eventually("the call is under way", async || (notes.calls("left") == 1).then_some(())).await;
    call.abort();
    eventually("nobody waits for it", async || (house.ended("notes", "abandoned") == 1).then_some(())).await;
    assert_eq!(notes.hung_up(), 0, "going away is no cancellation");
    gone.notify("notifications/cancelled", json!({"requestId": "left"})).await;
    eventually("its stream is closed", async || (notes.hung_up() == 1).then_some(())).await;
    eventually("nothing is under way", async || (house.under_way() == 0).then_some(())).await;
}

#[tokio::test]
async fn control_is_told_which_eras_an_upstream_speaks() {
    use model::{TenantId, UpstreamUrl};
    use proxy::ProbeSpec;
    use std::time::Duration;
    let house = House::start().await;
    let notes = Upstream::named("notes").await;
    for (transport, sessions, modern, revision, eras) in [
        (Transport::Auto, true, false, "2025-11-25", (Some(true), Some(false))),
        (Transport::Auto, false, true, "2026-07-28", (Some(false), Some(true))),
        (Transport::StreamableHttp, false, true, "2026-07-28", (Some(false), Some(true))),
        (Transport::Auto, true, true, "2025-11-25", (Some(true), Some(true))),
    ] {
        notes.speak(sessions, modern);
        let probed = house
            .commands
            .probe(ProbeSpec {
                tenant: TenantId(uuid::Uuid::from_u128(1)),
                url: UpstreamUrl::parse(&notes.url()).unwrap(),
                transport,
                headers: Vec::new(),
                connect_timeout: Duration::from_secs(5),
                read_timeout: Duration::from_secs(5),
                lines: None,
            })
            .await
            .unwrap();
        assert_eq!((probed.transport, &*probed.revision), (Transport::StreamableHttp, revision));
        assert_eq!((probed.eras.session, probed.eras.stateless), eras, "{sessions} {modern}");
        let info: Value = serde_json::from_slice(&probed.server_info).unwrap();
        assert_eq!(info["name"], "notes");
        let tools: Value = serde_json::from_slice(&probed.tools).unwrap();
        assert!(tools.as_array().unwrap().iter().any(|tool| tool["name"] == "echo"));
    }
}

#[tokio::test]
async fn older_clients_get_content_that_they_can_read() {
    let house = House::start().await;
    let _notes = upstream(&house, false, true).await;
    let content = json!([{"type": "audio", "data": "AA==", "mimeType": "audio/wav"},
        {"type": "resource_link", "uri": "note://1", "name": "one"}, {"type": "text", "text": "t"}]);
    for (revision, kinds) in [
        ("2024-11-05", ["text", "text", "text"]),
        ("2025-03-26", ["audio", "text", "text"]),
        ("2025-06-18", ["audio", "resource_link", "text"]),
    ] {
        let mcp = Mcp::open_as(&house.at("/servers/notes/mcp"), &house.key(KeyRole::User).text, revision).await;
        let answer = mcp.call("give", json!({"result": {"content": content}})).await;
        let got: Vec<_> =
            answer["result"]["content"].as_array().unwrap().iter().map(|block| block["type"].clone()).collect();
        assert_eq!(got, kinds, "{revision}");
    }
}
