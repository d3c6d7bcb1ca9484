//! What upstreams ask clients: on the stream of the call, or on that of the session, and never anybody else.

use model::{KeyRole, ServerSpec, Transport};
use serde_json::{Value, json};
use tests::mcp::{Call, code_of, text_of};
use tests::{Mcp, Upstream, eventually, patient};

use crate::house::{House, server};

fn everything() -> Value {
    json!({"elicitation": {"form": {}, "url": {}}, "sampling": {}, "roots": {"listChanged": true}})
}

fn elicit(message: &str) -> Value {
    json!({"method": "elicitation/create", "params": {"message": message, "requestedSchema": {"type": "object"}}})
}

/// An upstream that asks, mounted under this name.
async fn asking(house: &House, name: &str) -> Upstream {
    let upstream = Upstream::named(name).await;
    upstream.add_tool("ask");
    house.mount(&server(name, &upstream.url()));
    upstream
}

/// The same over HTTP+SSE.
async fn asking_over_sse(house: &House, name: &str) -> Upstream {
    let upstream = Upstream::named(name).await;
    upstream.add_tool("ask");
    house.mount(&ServerSpec { transport: Transport::Sse, ..server(name, &upstream.sse_url()) });
    upstream
}

/// The next question of this method on a stream.
async fn question(call: &mut Call, method: &str) -> Value {
    let (message, _) = call.next().await.unwrap();
    assert_eq!(message["method"], method, "{message}");
    message
}

/// What the upstream was answered, at the end of a call.
async fn answers(call: &mut Call) -> Value {
    let (_, answer) = call.answer().await;
    serde_json::from_str(&text_of(&answer)).unwrap()
}

async fn able(house: &House, path: &str) -> Mcp {
    Mcp::able(&house.at(path), &house.key(KeyRole::User).text, everything()).await
}

#[tokio::test]
async fn each_kind_of_question_is_put_on_the_stream_of_its_call_and_answered() {
    let house = House::start().await;
    let _upstreams = (asking(&house, "notes").await, asking_over_sse(&house, "older").await);
    let url = json!({"mode": "url", "elicitationId": "e-1", "url": "https://example.com", "message": "open"});
    let asked = [
        elicit("form"),
        json!({"method": "elicitation/create", "params": url}),
        json!({"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 10, "big": 12345678901234567890u64}}),
        json!({"method": "roots/list"}),
    ];
    for (path, tool, elicitation) in [
        ("/mcp", "notes__ask", "notes__e-1"),
        ("/servers/notes/mcp", "ask", "e-1"),
        ("/mcp", "older__ask", "older__e-1"),
        ("/servers/older/mcp", "ask", "e-1"),
    ] {
        let mcp = able(&house, path).await;
        let mut call = mcp.begin_call(tool, json!({"text": path, "questions": asked, "complete": "e-1"})).await;
        let mut ids = Vec::new();
        for asked in &asked {
            let question = question(&mut call, asked["method"].as_str().unwrap()).await;
            assert!(question["id"].is_string(), "{question}");
            let mut expected = asked["params"].clone();
            if expected.get("elicitationId").is_some() {
                expected["elicitationId"] = json!(elicitation);
            }
            assert_eq!(question["params"], expected, "{path}");
            ids.push(question["id"].clone());
        }
        // Answered in another order than asked.
        for (at, id) in ids.iter().enumerate().rev() {
            let answered = if at == 3 {
                mcp.post(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": -1, "message": "no", "data": {"x": 1}}}))
                    .await
                    .unwrap()
            } else {
                mcp.respond(id, json!({"answer": at, "kept": 12345678901234567890u64})).await
            };
            assert_eq!((answered.status.as_u16(), answered.body.len()), (202, 0));
        }
        let (before, answer) = call.answer().await;
        let told: Value = serde_json::from_str(&text_of(&answer)).unwrap();
        for at in 0..3 {
            assert_eq!(told["answers"][at]["result"], json!({"answer": at, "kept": 12345678901234567890u64}), "{told}");
        }
        assert_eq!(told["answers"][3]["error"], json!({"code": -1, "message": "no", "data": {"x": 1}}), "{told}");
        // The session's own stream carries what belongs to no request over HTTP+SSE.
        let complete: Vec<_> = before.iter().map(|message| &message["params"]["elicitationId"]).collect();
        if tool.starts_with("notes") || path.contains("notes") {
            assert_eq!(complete, [&json!(elicitation)], "{before:?}");
        }
    }
}

#[tokio::test]
async fn what_a_client_did_not_declare_it_is_not_asked() {
    let house = House::start().await;
    let _upstreams = (asking(&house, "notes").await, asking_over_sse(&house, "older").await);
    let form_only = json!({"elicitation": {}});
    for (path, tool) in [("/servers/notes/mcp", "ask"), ("/mcp", "notes__ask"), ("/mcp", "older__ask")] {
        let key = house.key(KeyRole::User);
        let mcp = Mcp::able(&house.at(path), &key.text, form_only.clone()).await;
        let url = json!({"method": "elicitation/create", "params": {"mode": "url", "elicitationId": "e", "url": "https://x", "message": "m"}});
        let unknown = json!({"method": "tools/list"});
        let asked =
            [url, json!({"method": "sampling/createMessage", "params": {}}), json!({"method": "roots/list"}), unknown];
        let answer = mcp.call(tool, json!({"questions": asked})).await;
        let told: Value = serde_json::from_str(&text_of(&answer)).unwrap();
        let codes: Vec<_> =
            told["answers"].as_array().unwrap().iter().map(|answer| answer["error"]["code"].clone()).collect();
        assert_eq!(codes, [-32601; 4], "{path} {tool}: {told}");
        // A ping is answered for it.
        let told = mcp.call(tool, json!({"questions": [{"method": "ping"}]})).await;
        let told: Value = serde_json::from_str(&text_of(&told)).unwrap();
        assert_eq!(told["answers"][0]["result"], json!({}), "{told}");
    }
}

#[tokio::test]
async fn nobody_else_answers_a_question() {
    let house = House::start().await;
    let upstream = asking(&house, "notes").await;
    let key = house.key(KeyRole::User);
    let url = house.at("/mcp");
    let mcp = Mcp::able(&url, &key.text, everything()).await;
    let (same_key, other_key) = (Mcp::able(&url, &key.text, everything()).await, able(&house, "/mcp").await);
    let mut call = mcp.begin_call("notes__ask", json!({"questions": [elicit("mine")]})).await;
    let asked = question(&mut call, "elicitation/create").await;
    for stranger in [&same_key, &other_key] {
        stranger.respond(&asked["id"], json!({"action": "stolen"})).await.expect(202);
    }
    for unknown in [json!("ask-AAAAAAAAAAAAAAAAAAAAAA"), json!(1), json!("x")] {
        mcp.respond(&unknown, json!({"action": "unknown"})).await.expect(202);
    }
    assert_eq!(upstream.asked(), 1, "nothing has reached the upstream");
    mcp.respond(&asked["id"], json!({"action": "accept"})).await.expect(202);
    // The second answer is to nothing.
    mcp.respond(&asked["id"], json!({"action": "decline"})).await.expect(202);
    assert_eq!(answers(&mut call).await["answers"][0]["result"], json!({"action": "accept"}));
}

#[tokio::test]
async fn many_principals_over_two_upstreams_are_never_crossed() {
    const PRINCIPALS: usize = 64;
    let house = House::start().await;
    let _upstreams = (asking(&house, "one").await, asking_over_sse(&house, "two").await);
    let principals = (0..PRINCIPALS).map(|who| {
        let (url, key) = (house.at("/mcp"), house.key(KeyRole::User));
        async move {
            let mcp = Mcp::able(&url, &key.text, everything()).await;
            let ask = async |server: &str| {
                let mine = format!("{server} of {who}");
                let asked = [elicit(&mine), elicit(&format!("{mine} again"))];
                let mut call =
                    mcp.begin_call(&format!("{server}__ask"), json!({"text": mine, "questions": asked})).await;
                for suffix in ["", " again"] {
                    let asked = question(&mut call, "elicitation/create").await;
                    assert_eq!(asked["params"]["message"], format!("{mine}{suffix}"));
                    mcp.respond(&asked["id"], json!({"from": format!("{mine}{suffix}")})).await.expect(202);
                }
                let told = answers(&mut call).await;
                assert_eq!(told["text"], mine);
                assert_eq!(told["answers"][0]["result"]["from"], mine);
                assert_eq!(told["answers"][1]["result"]["from"], format!("{mine} again"));
            };
            tokio::join!(ask("one"), ask("two"));
        }
    });
    patient("all are answered", futures::future::join_all(principals)).await;
}

#[tokio::test]
async fn a_question_that_is_withdrawn_is_withdrawn_under_the_clients_id() {
    let house = House::start().await;
    let _upstreams = (asking(&house, "notes").await, asking_over_sse(&house, "older").await);
    for tool in ["notes__ask", "older__ask"] {
        let mcp = able(&house, "/mcp").await;
        let mut call = mcp.begin_call(tool, json!({"questions": [elicit("never mind")], "withdraw": true})).await;
        let asked = question(&mut call, "elicitation/create").await;
        let (cancelled, _) = call.next().await.unwrap();
        assert_eq!(cancelled["method"], "notifications/cancelled");
        assert_eq!(cancelled["params"], json!({"requestId": asked["id"], "reason": "never mind"}));
        assert_eq!(answers(&mut call).await["answers"], json!([]));
    }
}

#[tokio::test]
async fn a_clients_progress_with_a_question_reaches_the_upstream_under_its_own_token() {
    let house = House::start().await;
    let upstream = asking(&house, "notes").await;
    let mcp = able(&house, "/mcp").await;
    let mut asked = elicit("slowly");
    asked["params"]["_meta"] = json!({"progressToken": "theirs"});
    let mut call = mcp.begin_call("notes__ask", json!({"questions": [asked]})).await;
    let asked = question(&mut call, "elicitation/create").await;
    let token = &asked["params"]["_meta"]["progressToken"];
    assert_eq!(*token, asked["id"]);
    mcp.notify("notifications/progress", json!({"progressToken": token, "progress": 1})).await.expect(202);
    let told = upstream.messages("notifications/progress");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["params"], json!({"progressToken": "theirs", "progress": 1}));
    mcp.notify("notifications/progress", json!({"progressToken": "unknown", "progress": 1})).await.expect(202);
    let other = able(&house, "/mcp").await;
    other.notify("notifications/progress", json!({"progressToken": token, "progress": 2})).await.expect(202);
    assert_eq!(upstream.messages("notifications/progress").len(), 1);
    mcp.respond(&asked["id"], json!({})).await.expect(202);
    call.answer().await;
}

#[tokio::test]
async fn a_question_outside_of_a_call_goes_to_one_stream_of_who_can_take_it() {
    let house = House::start().await;
    let _upstream = asking(&house, "notes").await;
    for path in ["/servers/notes/mcp", "/mcp"] {
        let tool = if path == "/mcp" { "notes__ask" } else { "ask" };
        let (url, key) = (house.at(path), house.key(KeyRole::User));
        let asking = Mcp::able(&url, &key.text, everything()).await;
        let mut stream = asking.listen().await;
        // Others that listen: of the same key without the capability, and of another key with it.
        let unable = Mcp::open(&url, &key.text).await;
        let stranger = able(&house, path).await;
        let (mut unable, mut stranger) = (unable.listen().await, stranger.listen().await);
        let asked = json!({"text": "outside", "outside": true, "questions": [elicit("unasked")]});
        let answering = async {
            let question = stream.until("elicitation/create").await;
            assert_eq!(question["params"]["message"], "unasked");
            asking.respond(&question["id"], json!({"action": "accept"})).await.expect(202);
        };
        let calling = async {
            let answer = asking.call(tool, asked).await;
            let told: Value = serde_json::from_str(&text_of(&answer)).unwrap();
            assert_eq!(told["answers"][0]["result"], json!({"action": "accept"}), "{path}");
        };
        let bystanders = async {
            tokio::select! {
                heard = unable.next() => panic!("it can't be asked: {heard:?}"),
                heard = stranger.next() => panic!("it is somebody else: {heard:?}"),
                ((), ()) = async { tokio::join!(calling, answering) } => (),
            }
        };
        patient("the question is answered", bystanders).await;
    }
}

#[tokio::test]
async fn a_question_outside_of_a_call_that_nobody_takes_is_refused() {
    let house = House::start().await;
    let _upstream = asking(&house, "notes").await;
    let mcp = Mcp::able(&house.at("/mcp"), &house.key(KeyRole::User).text, json!({"roots": {}})).await;
    let _stream = mcp.listen().await;
    let asked = json!({"outside": true, "questions": [elicit("unasked"), {"method": "ping"}]});
    let answer = patient("the upstream is answered", mcp.call("notes__ask", asked)).await;
    let told: Value = serde_json::from_str(&text_of(&answer)).unwrap();
    assert_eq!(told["answers"][0]["error"]["code"], -32601, "{told}");
    assert_eq!(told["answers"][1]["result"], json!({}), "{told}");
}

#[tokio::test]
async fn over_http_and_sse_a_question_that_may_be_anybodys_is_nobodys() {
    let house = House::start().await;
    let upstream = asking_over_sse(&house, "older").await;
    let (url, key) = (house.at("/mcp"), house.key(KeyRole::User));
    let (one, other) = (Mcp::able(&url, &key.text, everything()).await, Mcp::able(&url, &key.text, everything()).await);
    // Both have a call under way in the one session that the upstream has with their key.
    let waiting = tokio::spawn(async move { other.text("older__slow", json!({"text": "waiting"})).await });
    eventually("the other's call is under way", async || (upstream.calls("waiting") == 1).then_some(())).await;
    let ask = json!({"questions": [elicit("whose")]});
    let told: Value = serde_json::from_str(&text_of(&one.call("older__ask", ask.clone()).await)).unwrap();
    assert_eq!(told["answers"][0]["error"]["code"], -32601, "{told}");
    // With a stream it is asked there.
    let mut stream = one.listen().await;
    let answering = async {
        let question = stream.until("elicitation/create").await;
        one.respond(&question["id"], json!({"action": "accept"})).await.expect(202);
    };
    let (answer, ()) =
        patient("it is answered", async { tokio::join!(one.call("older__ask", ask.clone()), answering) }).await;
    let told: Value = serde_json::from_str(&text_of(&answer)).unwrap();
    assert_eq!(told["answers"][0]["result"], json!({"action": "accept"}));
    upstream.open_gate();
    assert_eq!(waiting.await.unwrap(), "older: waiting");
    // Alone again it is asked on the stream of its call.
    let mut call = one.begin_call("older__ask", ask).await;
    let asked = question(&mut call, "elicitation/create").await;
    one.respond(&asked["id"], json!({})).await.expect(202);
    call.answer().await;
}

#[tokio::test]
async fn over_http_and_sse_a_question_outlives_the_call_on_whose_stream_it_went_out() {
    let house = House::start().await;
    let upstream = asking_over_sse(&house, "older").await;
    let key = house.key(KeyRole::User);
    let mcp = Mcp::able(&house.at("/mcp"), &key.text, everything()).await;
    let mut first = mcp.begin_call("older__ask", json!({"questions": [elicit("first")]})).await;
    let own = question(&mut first, "elicitation/create").await;
    let second = tokio::spawn({
        let (mcp, ask) = (mcp.stolen_by(&key.text), json!({"questions": [elicit("second")]}));
        async move { mcp.text("older__ask", ask).await }
    });
    // Both are the same client's: it is asked on the stream that it has.
    let other = question(&mut first, "elicitation/create").await;
    assert_eq!(other["params"]["message"], "second");
    mcp.respond(&own["id"], json!({"action": "first"})).await.expect(202);
    assert_eq!(answers(&mut first).await["answers"][0]["result"], json!({"action": "first"}));
    mcp.respond(&other["id"], json!({"action": "second"})).await.expect(202);
    let told: Value = serde_json::from_str(&patient("the second call ends", second).await.unwrap()).unwrap();
    assert_eq!(told["answers"][0]["result"], json!({"action": "second"}));
    assert_eq!(upstream.asked(), 0);
}

#[tokio::test]
async fn a_question_ends_with_its_call() {
    let house = House::start().await;
    let upstream = asking(&house, "notes").await;
    let mcp = able(&house, "/mcp").await;
    let mut call = mcp.begin_call("notes__ask", json!({"questions": [elicit("never answered")]})).await;
    let asked = question(&mut call, "elicitation/create").await;
    mcp.notify("notifications/cancelled", json!({"requestId": call.id})).await.expect(202);
    assert!(call.next().await.is_none(), "it ends without an answer");
    mcp.respond(&asked["id"], json!({"action": "late"})).await.expect(202);
    assert_eq!(upstream.asked(), 1, "nothing has reached the upstream");
}

#[tokio::test]
async fn too_many_questions_at_once_are_refused() {
    let house = House::start().await;
    let _upstream = asking(&house, "notes").await;
    let mcp = able(&house, "/mcp").await;
    let asked: Vec<Value> = (0..70).map(|at| elicit(&at.to_string())).collect();
    let mut call = mcp.begin_call("notes__ask", json!({"questions": asked})).await;
    let mut ids = Vec::new();
    for _ in 0..64 {
        ids.push(question(&mut call, "elicitation/create").await["id"].clone());
    }
    for id in &ids {
        mcp.respond(id, json!({})).await.expect(202);
    }
    let told = answers(&mut call).await;
    let refused = told["answers"].as_array().unwrap().iter().filter(|answer| answer["error"]["code"] == -32603).count();
    assert_eq!(refused, 6, "{told}");
}

#[tokio::test]
async fn changed_roots_are_told_to_the_upstreams_of_the_session() {
    let house = House::start().await;
    let (notes, older) = (asking(&house, "notes").await, asking_over_sse(&house, "older").await);
    for path in ["/servers/notes/mcp", "/mcp"] {
        let mcp = able(&house, path).await;
        if path == "/mcp" {
            mcp.tools().await;
        }
        let before = notes.messages("notifications/roots/list_changed").len();
        mcp.notify("notifications/roots/list_changed", json!({})).await.expect(202);
        assert_eq!(notes.messages("notifications/roots/list_changed").len(), before + 1, "{path}");
    }
    assert_eq!(older.messages("notifications/roots/list_changed").len(), 1);
    let unable = house.session("notes").await;
    unable.notify("notifications/roots/list_changed", json!({})).await.expect(202);
    assert_eq!(notes.messages("notifications/roots/list_changed").len(), 2);
}

#[tokio::test]
async fn an_elicitation_that_an_error_wants_has_the_id_that_its_completion_has() {
    let house = House::start().await;
    let _upstreams = (asking(&house, "notes").await, asking_over_sse(&house, "older").await);
    let error = json!({"code": -32042, "message": "open it", "data": {"elicitations": [
        {"mode": "url", "elicitationId": "e", "url": "https://example.com", "message": "m"}]}});
    for (path, tool, id) in [
        ("/mcp", "notes__ask", "notes__e"),
        ("/servers/notes/mcp", "ask", "e"),
        ("/mcp", "older__ask", "older__e"),
        ("/servers/older/mcp", "ask", "e"),
    ] {
        let mcp = able(&house, path).await;
        for outside in [true, false] {
            let answer =
                mcp.call(tool, json!({"error": error, "outside": outside && !tool.starts_with("older")})).await;
            assert_eq!(code_of(&answer), -32042);
            assert_eq!(answer["error"]["data"]["elicitations"][0]["elicitationId"], id, "{path} {tool} {outside}");
        }
    }
}
