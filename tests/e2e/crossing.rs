//! Many clients that number their requests alike: every answer and every notification reaches who asked, in both eras,
//! over every transport; and of clients that go away nothing stays.

use std::sync::Arc;

use serde_json::{Value, json};
use tests::{Gatehouse, Mcp, Upstream, eventually, mcp, patient};
use tokio::task::JoinSet;

/// Clients at once; every eighth has the same key.
const CLIENTS: usize = 64;
const KEYS: usize = 8;
/// Requests that a client has under way at once.
const AT_ONCE: usize = 4;

fn count(short: usize, long: usize) -> usize {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { long } else { short }
}

/// Three upstreams that offer the same: answers in JSON, as events, and on the stream of 2024-11-05.
async fn upstreams(house: &Gatehouse) -> [Upstream; 3] {
    let admin = house.admin();
    let three = [Upstream::named("plain").await, Upstream::named("events").await, Upstream::named("old").await];
    three[1].answer_as_events();
    for (upstream, name, url) in [
        (&three[0], "plain", three[0].url()),
        (&three[1], "events", three[1].url()),
        (&three[2], "old", three[2].sse_url()),
    ] {
        upstream.add_tool("told");
        admin.add(name, &url).await;
    }
    three
}

/// One client: which it is, where it asks, and how the tools are called there.
struct Client {
    number: usize,
    mcp: Mcp,
    prefix: &'static str,
}

impl Client {
    async fn open(house: &Gatehouse, keys: &[String], number: usize) -> Self {
        let server = ["plain", "events", "old"][number % 3];
        let (path, prefix) = match number % 4 {
            0 | 1 => (format!("/servers/{server}/mcp"), ""),
            _ => ("/mcp".to_owned(), ["plain__", "events__", "old__"][number % 3]),
        };
        let (url, key) = (house.at(&path), &keys[number % KEYS]);
        let mcp = if number.is_multiple_of(2) { Mcp::open(&url, key).await } else { Mcp::stateless(&url, key) };
        Self { number, mcp, prefix }
    }

    /// A call that says who asks, and an answer that must say the same. Every fourth reports progress on the way.
    async fn call(&self, id: usize) {
        let says = format!("client {} request {id}", self.number);
        if id.is_multiple_of(4) {
            let params = json!({"name": format!("{}progress", self.prefix), "arguments": {"text": says, "steps": 3},
                "_meta": {"progressToken": id}});
            let asked = self.mcp.try_request_as(json!(id), "tools/call", params);
            let (before, answer) = patient("a call with progress is answered", asked).await.unwrap();
            assert!(mcp::text_of(&answer).ends_with(&says), "{says} got {answer}");
            let steps: Vec<&Value> = before.iter().map(|note| &note["params"]["progress"]).collect();
            assert_eq!(steps, [&json!(1), &json!(2), &json!(3)], "{says}: {before:?}");
            assert!(before.iter().all(|note| note["params"]["progressToken"] == id), "{says}: {before:?}");
            return;
        }
        let arguments = json!({"says": says, "padding": "x".repeat(id % 700)});
        let params = json!({"name": format!("{}told", self.prefix), "arguments": arguments});
        let asked = self.mcp.try_request_as(json!(id), "tools/call", params);
        let (_, answer) = patient("a call is answered", asked).await.unwrap();
        let told: Value = serde_json::from_str(&mcp::text_of(&answer)).unwrap();
        assert_eq!(told["arguments"], arguments, "{says} got another's answer");
    }
}

#[tokio::test]
async fn sixty_four_clients_with_the_same_ids_get_their_own_answers() {
    let calls = count(5_000, 200_000);
    let house = Gatehouse::plan().no_restart().start().await;
    let upstreams = upstreams(&house).await;
    let admin = house.admin();
    let mut keys = Vec::new();
    for _ in 0..KEYS {
        keys.push(admin.key("user").await);
    }
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        clients.push(Arc::new(Client::open(&house, &keys, number).await));
    }
    let mut under_way = JoinSet::new();
    for client in &clients {
        for lane in 0..AT_ONCE {
            let client = client.clone();
            under_way.spawn(async move {
                // The same numbers for everybody, at the same time.
                for id in (lane..calls / CLIENTS).step_by(AT_ONCE) {
                    client.call(id).await;
                }
            });
        }
    }
    while let Some(done) = under_way.join_next().await {
        done.expect("a client got what was another's");
    }
    println!("{} calls of {CLIENTS} clients, none crossed", calls / CLIENTS * CLIENTS);
    drop(upstreams);
}

#[tokio::test]
async fn of_sessions_that_are_abandoned_nothing_stays() {
    let abandoned = count(200, 1_000);
    // Half an hour of rest passes in a quarter of a minute.
    let house = Gatehouse::plan().no_restart().env("GATEHOUSE_TIME_SCALE", "120").start().await;
    let [plain, events, old] = upstreams(&house).await;
    let key = house.client_key();
    let before = eventually("the proxy rests", || async { open_files(&house) }).await;
    for number in 0..abandoned {
        let path = ["/servers/plain/mcp", "/servers/events/mcp", "/servers/old/mcp", "/mcp"][number % 4];
        let mcp = Mcp::open(&house.at(path), key).await;
        let tool = if number % 4 == 3 { "plain__echo" } else { "echo" };
        mcp.text(tool, json!({"text": "I was here"})).await;
        if number % 5 == 0 {
            drop(mcp.listen().await);
        }
    }
    for (name, upstream) in [("plain", &plain), ("events", &events), ("old", &old)] {
        eventually(&format!("every session with {name} ends"), || async { (upstream.sessions() == 0).then_some(()) })
            .await;
        eventually(&format!("no connection to {name} stays open"), || async {
            (upstream.open_connections() == 0).then_some(())
        })
        .await;
    }
    eventually("no socket stays open", || async { open_files(&house).filter(|now| *now <= before + 8) }).await;
}

/// How many files and sockets the proxy has open.
fn open_files(house: &Gatehouse) -> Option<usize> {
    let pid = house.pid(tests::gatehouse::Plane::Proxy);
    std::fs::read_dir(format!("/proc/{pid}/fd")).ok().map(Iterator::count)
}
