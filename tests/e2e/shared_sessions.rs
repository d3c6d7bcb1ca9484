//! Sessions over several proxies: each request may come to another one, and any of them may go.

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::mcp::{STATELESS, code_of};
use tests::replicas::{Plan, Replicas};
use tests::{Admin, Mcp, Upstream, eventually};

/// Two proxies at one control, with three servers.
struct Plant {
    replicas: Replicas,
    upstreams: Vec<Upstream>,
    // After what uses it.
    _database: TempDir,
}

const NAMES: [&str; 3] = ["ash", "birch", "cedar"];

impl Plant {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(more: &[(&'static str, String)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = format!("sqlite://{}?mode=rwc", folder.path().join("gatehouse.db").display());
        let plan = Plan { controls: 1, proxies: 2, database, redis: None };
        let replicas = Replicas::start_everywhere(&plan, more).await;
        let mut upstreams = Vec::new();
        for name in NAMES {
            let upstream = Upstream::named(name).await;
            upstream.answer_as_events();
            let body = json!({"name": name, "url": upstream.url()});
            let added = replicas.admin(0).post("/api/v1/servers", &body).await.expect(201).json();
            assert_eq!(added["effective"], json!({"live": 2, "pending": 0, "rejected": []}), "{added}");
            upstreams.push(upstream);
        }
        let plant = Self { replicas, upstreams, _database: folder };
        plant.proxies_know_each_other(&[0, 1]).await;
        plant
    }

    async fn proxies_know_each_other(&self, proxies: &[usize]) {
        for proxy in proxies {
            let listener = &self.replicas.metrics()[1 + proxy];
            eventually(&format!("proxy {proxy} knows the other one"), || async {
                let shown = tests::Http::default().send("GET", &format!("http://{listener}/metrics"), &[], "").await;
                let shown = shown.ok()?.text();
                let line = r#"gatehouse_bound_used{bound="known_proxies",server="",tenant=""} 1"#;
                shown.contains(line).then_some(())
            })
            .await;
        }
    }

    /// One session, as it is seen through either proxy. It begins at the first.
    async fn session(&self, path: &str) -> [Mcp; 2] {
        let one = Mcp::open(&self.replicas.at(0, path), self.replicas.client_key()).await;
        let other = one.at(&self.replicas.at(1, path));
        [one, other]
    }

    fn admin(&self) -> Admin {
        self.replicas.admin(0)
    }
}

/// What calls the echo tool of the first server at this path.
fn echo(path: &str) -> &'static str {
    if path == "/mcp" { "ash__echo" } else { "echo" }
}

const PATHS: [&str; 2] = ["/mcp", "/servers/ash/mcp"];

#[tokio::test]
async fn a_session_goes_on_at_whichever_proxy_its_next_request_comes_to() {
    let plant = Plant::start().await;
    for path in PATHS {
        let sides = plant.session(path).await;
        for round in 0..10 {
            let mcp = &sides[round % 2];
            let text = format!("{path} {round}");
            assert_eq!(mcp.text(echo(path), json!({"text": text})).await, format!("ash: {text}"));
            let listed = mcp.tools().await;
            assert!(listed.contains(&echo(path).to_owned()), "{listed:?}");
            assert!(mcp.request("ping", json!({})).await["result"].is_object());
        }
        let steps = json!({"name": echo(path).replace("echo", "progress"), "arguments": {"text": path, "steps": 3},
            "_meta": {"progressToken": "mine"}});
        for mcp in &sides {
            let (before, answer) = mcp.try_request("tools/call", steps.clone()).await.unwrap();
            assert!(answer["result"].is_object(), "{answer}");
            let told: Vec<&Value> = before.iter().map(|message| &message["params"]["progressToken"]).collect();
            assert_eq!(told, vec![&json!("mine"); 3], "{before:?}");
        }
    }
    // A client without sessions has nothing that could be elsewhere.
    for proxy in [0, 1] {
        let mcp = Mcp::stateless(&plant.replicas.at(proxy, "/mcp"), plant.replicas.client_key());
        assert_eq!(mcp.revision(), STATELESS);
        assert_eq!(mcp.text("ash__echo", json!({"text": "alone"})).await, "ash: alone");
    }
}

#[tokio::test]
async fn what_a_session_hears_of_comes_to_the_proxy_where_it_listens() {
    let plant = Plant::start().await;
    for (path, upstream) in [("/mcp", &plant.upstreams[1]), ("/servers/ash/mcp", &plant.upstreams[0])] {
        let [one, other] = plant.session(path).await;
        // What is heard of comes by the upstream's session that a call has begun.
        let tool = if path == "/mcp" { "birch__echo" } else { "echo" };
        other.text(tool, json!({"text": "begin"})).await;
        let mut listening = other.listen().await;
        assert_eq!(one.try_listen().await.err(), Some(409), "it is one stream, wherever it was opened");
        eventually("the upstream is listened to", || async { (upstream.listeners() > 0).then_some(()) }).await;
        upstream.add_tool(&format!("added{}", path.len()));
        listening.until("notifications/tools/list_changed").await;
        drop(listening);
        let again = eventually("the place is free again", || async { one.try_listen().await.ok() }).await;
        drop(again);
    }
}

#[tokio::test]
async fn a_session_that_is_ended_at_one_proxy_is_over_at_all() {
    let plant = Plant::start().await;
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    eventually("what was opened to look at the server is ended", || async {
        (plant.upstreams[0].sessions() == 0).then_some(())
    })
    .await;
    let looked = plant.upstreams[0].deletes();
    for path in PATHS {
        for ended_at in [0, 1] {
            let sides = plant.session(path).await;
            for mcp in &sides {
                assert_eq!(mcp.post(&list).await.unwrap().status, 200);
            }
            let open = plant.upstreams[0].sessions();
            let stream = sides[0].listen().await;
            assert_eq!(sides[ended_at].delete().await.status, 200, "{path}");
            for mcp in &sides {
                assert_eq!(mcp.post(&list).await.unwrap().status, 404, "{path}, ended at {ended_at}");
                assert_eq!(mcp.delete().await.status, 404);
            }
            let mut stream = stream;
            while stream.next().await.is_some() {}
            if path != "/mcp" {
                eventually("its own session is ended over there, once", || async {
                    (plant.upstreams[0].sessions() < open).then_some(())
                })
                .await;
            }
        }
    }
    assert_eq!(plant.upstreams[0].deletes() - looked, 2, "those of the two sessions at its own URL");
}

#[tokio::test]
async fn a_cancellation_finds_its_request_wherever_that_is() {
    let plant = Plant::start().await;
    for path in PATHS {
        let [one, other] = plant.session(path).await;
        let one = std::sync::Arc::new(one);
        let text = format!("cancelled at {path}");
        let params = json!({"name": echo(path).replace("echo", "slow"), "arguments": {"text": text}});
        let calling = {
            let one = one.clone();
            tokio::spawn(async move { one.try_request_as(json!("mine"), "tools/call", params).await })
        };
        let upstream = &plant.upstreams[0];
        eventually("the call is under way", || async { (upstream.calls(&text) == 1).then_some(()) }).await;
        let before = upstream.messages("notifications/cancelled").len();
        other.notify("notifications/cancelled", json!({"requestId": "mine", "reason": "test"})).await;
        eventually("the upstream hears of it", || async {
            (upstream.messages("notifications/cancelled").len() == before + 1).then_some(())
        })
        .await;
        assert!(calling.await.unwrap().is_err(), "its stream ends without an answer");
    }
}

#[tokio::test]
async fn the_owner_may_be_killed_and_its_sessions_go_on() {
    let mut plant = Plant::start().await;
    let mut sessions = Vec::new();
    for path in PATHS {
        sessions.push((path, plant.session(path).await));
    }
    let mut under_way = Vec::new();
    for (path, sides) in &sessions {
        let text = format!("under way at {path}");
        let params = json!({"name": echo(path).replace("echo", "slow"), "arguments": {"text": text}});
        let mcp = sides[1].at(&plant.replicas.at(1, path));
        under_way.push((*path, tokio::spawn(async move { mcp.try_request("tools/call", params).await })));
        eventually("the call is under way", || async { (plant.upstreams[0].calls(&text) == 1).then_some(()) }).await;
    }
    plant.replicas.kill_proxy(0).await;
    plant.upstreams[0].open_gate();
    for (path, call) in under_way {
        let answered = call.await.unwrap();
        if path == "/mcp" {
            // It may have run, and nobody can say what it answered.
            let (_, answer) = answered.unwrap();
            assert_eq!(code_of(&answer), -31013, "{answer}");
            assert_eq!(answer["error"]["data"]["error"], "outcome_uncertain", "{answer}");
        } else {
            assert!(answered.unwrap().1["result"].is_object(), "it was never at the one that died");
        }
    }
    for (path, [_, other]) in &sessions {
        for round in 0..5 {
            let text = format!("after {path} {round}");
            assert_eq!(other.text(echo(path), json!({"text": text})).await, format!("ash: {text}"));
        }
        let stream = other.listen().await;
        drop(stream);
    }
    // It comes back as another node: whose sessions they were is nobody any more.
    plant.replicas.start_proxy(0).await;
    plant.proxies_know_each_other(&[0, 1]).await;
    for (path, sides) in &sessions {
        for round in 0..6 {
            let text = format!("back {path} {round}");
            assert_eq!(sides[round % 2].text(echo(path), json!({"text": text})).await, format!("ash: {text}"));
        }
        assert_eq!(sides[0].delete().await.status, 200);
        let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
        assert_eq!(sides[1].post(&list).await.unwrap().status, 404, "{path}");
    }
    let repeated = plant.upstreams[0].repeated();
    assert!(repeated.is_empty(), "sent twice: {repeated:?}");
}

#[tokio::test]
async fn a_proxy_that_starts_again_while_control_is_away_finds_the_others() {
    let mut plant = Plant::start().await;
    let sides = plant.session("/mcp").await;
    plant.replicas.kill_control(0).await;
    // What was pushed is written down a moment later; a proxy that is asked to end writes at once.
    plant.replicas.end_proxy(0).await;
    plant.replicas.start_proxy(0).await;
    // The one that stayed learns of the new process by asking for the old one.
    for round in 0..10 {
        let text = format!("alone {round}");
        assert_eq!(sides[round % 2].text("ash__echo", json!({"text": text})).await, format!("ash: {text}"));
    }
    let fresh = plant.session("/mcp").await;
    let mut stream = fresh[1].listen().await;
    assert_eq!(fresh[0].try_listen().await.err(), Some(409), "both agree who keeps it");
    assert_eq!(fresh[1].delete().await.status, 200);
    while stream.next().await.is_some() {}
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    for mcp in &fresh {
        assert_eq!(mcp.post(&list).await.unwrap().status, 404);
    }
}

#[tokio::test]
async fn sessions_outlive_a_rotation_of_the_fleets_keys() {
    let mut plant = Plant::start_with(&[("GATEHOUSE_TIME_SCALE", "20".to_owned())]).await;
    let sides = plant.session("/mcp").await;
    let own = plant.session("/servers/ash/mcp").await;
    let keys = |proxy: usize| {
        let folder = plant.replicas.folder().join(format!("proxy-{proxy}"));
        std::fs::read(folder.join("sealing-keys")).unwrap()
    };
    let before = [keys(0), keys(1)];
    // As if a day had passed for control.
    plant.replicas.kill_control(0).await;
    plant.replicas.set_control(0, "GATEHOUSE_CLOCK_OFFSET", "90000");
    plant.replicas.start_control(0).await;
    let keys = |proxy: usize| {
        let folder = plant.replicas.folder().join(format!("proxy-{proxy}"));
        std::fs::read(folder.join("sealing-keys")).unwrap()
    };
    let mut round = 0;
    while [keys(0), keys(1)].iter().zip(&before).any(|(now, before)| now == before) {
        let text = format!("meanwhile {round}");
        assert_eq!(sides[round % 2].text("ash__echo", json!({"text": text})).await, format!("ash: {text}"));
        round += 1;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        assert!(round < 1_000, "the keys never changed");
    }
    for round in 0..4 {
        assert_eq!(sides[round % 2].text("ash__echo", json!({"text": "old id"})).await, "ash: old id");
        assert_eq!(own[round % 2].text("echo", json!({"text": "old id"})).await, "ash: old id");
    }
    let fresh = plant.session("/mcp").await;
    assert_eq!(fresh[1].text("ash__echo", json!({"text": "new id"})).await, "ash: new id");
}

#[tokio::test]
async fn an_upstream_that_starts_again_is_begun_anew_alone() {
    let plant = Plant::start().await;
    let [one, other] = plant.session("/mcp").await;
    let mut listening = one.listen().await;
    for name in NAMES {
        other.text(&format!("{name}__echo"), json!({"text": "begin"})).await;
    }
    one.tools().await;
    let begun = |plant: &Plant| -> Vec<usize> {
        plant.upstreams.iter().map(|upstream| upstream.messages("initialize").len()).collect()
    };
    for changes in [false, true] {
        let before = begun(&plant);
        let birch = &plant.upstreams[1];
        birch.forget_sessions();
        birch.hang_up();
        if changes {
            birch.add_tool("sapling");
        }
        for name in NAMES {
            assert_eq!(other.text(&format!("{name}__echo"), json!({"text": "on"})).await, format!("{name}: on"));
        }
        let after = begun(&plant);
        assert_eq!((after[0], after[2]), (before[0], before[2]), "the others go on as they were");
        assert!(after[1] > before[1], "it alone has a new session");
        let listed = eventually("the list is as it is over there", || async {
            let listed = other.tools().await;
            (listed.contains(&"birch__sapling".to_owned()) == changes).then_some(listed)
        })
        .await;
        assert!(NAMES.iter().all(|name| listed.contains(&format!("{name}__echo"))), "{listed:?}");
    }
    // One notification, of the second time.
    listening.until("notifications/tools/list_changed").await;
    let more = tokio::time::timeout(
        std::time::Duration::from_millis(500),
        listening.until("notifications/tools/list_changed"),
    );
    assert!(more.await.is_err(), "exactly one");
    assert!(plant.admin().get("/api/v1/servers/birch").await.status == 200);
}

#[tokio::test]
async fn a_question_is_answered_at_whichever_proxy_the_answer_comes_to() {
    let plant = Plant::start().await;
    plant.upstreams[0].add_tool("ask");
    let question =
        json!({"method": "elicitation/create", "params": {"message": "who", "requestedSchema": {"type": "object"}}});
    for path in PATHS {
        let able = json!({"elicitation": {"form": {}}});
        let one = Mcp::able(&plant.replicas.at(0, path), plant.replicas.client_key(), able).await;
        let sides = [one.at(&plant.replicas.at(0, path)), one.at(&plant.replicas.at(1, path))];
        for (asked_at, answered_at) in [(0, 1), (1, 0), (1, 1)] {
            let arguments = json!({"text": path, "questions": [question]});
            let mut call = sides[asked_at].begin_call(&echo(path).replace("echo", "ask"), arguments).await;
            let (asked, _) = call.next().await.unwrap();
            assert_eq!(asked["method"], "elicitation/create", "{asked}");
            let result = json!({"action": "accept", "content": {"at": answered_at}});
            assert_eq!(sides[answered_at].respond(&asked["id"], result.clone()).await.status, 202);
            let (_, answer) = call.answer().await;
            let told: Value = serde_json::from_str(&tests::mcp::text_of(&answer)).unwrap();
            assert_eq!(told["answers"][0]["result"], result, "{path}: asked at {asked_at}");
        }
    }
}

#[tokio::test]
async fn a_lost_stream_is_resumed_at_whichever_proxy_its_client_comes_back_to() {
    let plant = Plant::start().await;
    plant.upstreams[0].add_tool("paced");
    for path in PATHS {
        let sides = plant.session(path).await;
        for (lost_at, back_at) in [(0, 1), (1, 0)] {
            plant.upstreams[0].close_gate();
            let text = format!("{path} {lost_at}");
            let mut call = sides[lost_at].begin_call(&echo(path).replace("echo", "paced"), json!({"text": text})).await;
            let (before, last) = call.next().await.unwrap();
            assert_eq!(before["params"]["data"], format!("before {text}"), "{before}");
            let id = call.id.clone();
            drop(call);
            let mut again = sides[back_at].resume(&last, id).await.unwrap();
            plant.upstreams[0].open_gate();
            let (_, answer) = again.answer().await;
            assert_eq!(tests::mcp::text_of(&answer), format!("ash: {text}"));
            assert_eq!(plant.upstreams[0].calls(&text), 1);
        }
    }
}

#[tokio::test]
async fn what_was_subscribed_to_at_one_proxy_is_heard_at_the_other_and_outlives_the_upstreams_session() {
    let plant = Plant::start().await;
    let upstream = &plant.upstreams[0];
    upstream.allow_subscriptions();
    upstream.add_resource("note://1");
    for path in PATHS {
        let sides = plant.session(path).await;
        sides[1].text(echo(path), json!({"text": "begin"})).await;
        let mut stream = sides[1].listen().await;
        let answer = sides[1].request("resources/subscribe", json!({"uri": "note://1"})).await;
        assert_eq!(answer["result"], json!({}), "{answer}");
        for lost in [false, true] {
            if lost {
                let before = upstream.messages("resources/subscribe").len();
                upstream.forget_sessions();
                upstream.hang_up();
                sides[0].text(echo(path), json!({"text": "on"})).await;
                eventually("it is subscribed to again", || async {
                    (upstream.messages("resources/subscribe").len() > before).then_some(())
                })
                .await;
            }
            eventually("the upstream is listened to", || async { (upstream.listeners() > 0).then_some(()) }).await;
            upstream.tell("notifications/resources/updated", json!({"uri": "note://1"}));
            let updated = stream.until("notifications/resources/updated").await;
            assert_eq!(updated["params"]["uri"], "note://1");
        }
        assert_eq!(sides[0].delete().await.status, 200);
        while stream.next().await.is_some() {}
    }
}

#[tokio::test]
async fn a_session_rests_only_when_it_rests_at_all_proxies() {
    // Half an hour is a quarter of a minute.
    let plant = Plant::start_with(&[("GATEHOUSE_TIME_SCALE", "120".to_owned())]).await;
    let sides = plant.session("/servers/ash/mcp").await;
    let open = plant.upstreams[0].sessions();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while std::time::Instant::now() < until {
        assert_eq!(sides[1].text("echo", json!({"text": "elsewhere"})).await, "ash: elsewhere");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(sides[0].text("echo", json!({"text": "at its owner"})).await, "ash: at its owner");
    assert_eq!(plant.upstreams[0].sessions(), open, "its own session is the one that it began with");
    eventually("it has rested", || async { (plant.upstreams[0].sessions() < open).then_some(()) }).await;
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    for mcp in &sides {
        assert_eq!(mcp.post(&list).await.unwrap().status, 404);
    }
}
