//! Upstreams and clients that want to harm: floods, answers cut where it hurts, calls that nobody waits for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use model::{KeyRole, Limits, Resource, ServerLimits, ServerSpec, TenantSpec};
use serde_json::{Value, json};
use tests::mcp::{code_of, text_of};
use tests::{Mcp, Upstream, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::house::{House, server, tenant};

/// An upstream that says to calls what the test wants, byte by byte.
struct Raw {
    url: String,
    /// Answers of the gateway's that came and are never taken.
    untaken: Arc<AtomicUsize>,
}

/// Pieces of an answer as they are written, with a moment in between.
type Pieces = Vec<Vec<u8>>;

impl Raw {
    /// `call` is what it says to `tools/call` with this id and this message.
    async fn start(call: impl Fn(&Value, &Value) -> Pieces + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let untaken = Arc::<AtomicUsize>::default();
        let (counter, call) = (untaken.clone(), Arc::new(call));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served(stream, call.clone(), counter.clone()));
            }
        });
        Self { url, untaken }
    }
}

async fn served(
    mut stream: TcpStream,
    call: Arc<impl Fn(&Value, &Value) -> Pieces>,
    untaken: Arc<AtomicUsize>,
) -> Option<()> {
    let mut read = Vec::new();
    let head = loop {
        if let Some(at) = read.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut read).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&read[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    while read.len() < head + length.unwrap_or(0) {
        stream.read_buf(&mut read).await.ok()?;
    }
    if !text.starts_with("post") {
        return stream.write_all(b"HTTP/1.1 405 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.ok();
    }
    let message: Value = serde_json::from_slice(&read[head..]).ok()?;
    let (id, result) =
        (&message["id"], |result: Value| json!({"jsonrpc": "2.0", "id": message["id"], "result": result}));
    let pieces = match message["method"].as_str() {
        Some("initialize") => vec![as_json(
            &result(json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                "serverInfo": {"name": "raw", "version": "1"}}))
            .to_string(),
        )],
        Some("tools/list") => {
            vec![as_json(&result(json!({"tools": [{"name": "do", "inputSchema": {"type": "object"}}]})).to_string())]
        }
        Some("tools/call") => call(id, &message),
        Some(_) => vec![b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".to_vec()],
        None => {
            untaken.fetch_add(1, Ordering::SeqCst);
            std::future::pending().await
        }
    };
    for piece in pieces {
        stream.write_all(&piece).await.ok()?;
        stream.flush().await.ok()?;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Some(())
}

fn as_json(message: &str) -> Vec<u8> {
    let length = message.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{message}")
        .into_bytes()
}

/// The head of an event stream, and these messages.
fn as_events(messages: impl Iterator<Item = Value>) -> Vec<u8> {
    let mut out = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_vec();
    messages.for_each(|message| out.extend_from_slice(format!("data: {message}\n\n").as_bytes()));
    out
}

fn limited(limits: Limits) -> Resource {
    Resource::Tenant(TenantSpec { limits, ..tenant() })
}

#[tokio::test]
async fn an_upstream_that_asks_without_end_is_not_answered_without_end() {
    let house = House::start().await;
    let raw = Raw::start(|id, _| {
        let questions =
            (0..5_000).map(|number| json!({"jsonrpc": "2.0", "id": number, "method": "sampling/createMessage"}));
        let answer = json!({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "done"}]}});
        vec![as_events(questions.chain([answer]))]
    })
    .await;
    house.mount(&server("notes", &raw.url));
    let mcp = house.session("notes").await;
    assert_eq!(text_of(&mcp.call("do", json!({})).await), "done");
    eventually("some were refused", async || (raw.untaken.load(Ordering::SeqCst) > 0).then_some(())).await;
    // Whatever was on its way would have come by now.
    assert_eq!(text_of(&mcp.call("do", json!({})).await), "done");
    let dials = house.street.dials();
    assert!(dials < 100, "{dials} connections for what one upstream asked");
}

#[tokio::test]
async fn what_an_answer_names_is_found_wherever_it_was_cut() {
    let house = House::start().await;
    let raw = Raw::start(|id, _| {
        let link = json!({"type": "resource_link", "uri": "note://1", "name": "one"});
        let whole = as_json(&json!({"jsonrpc": "2.0", "id": id, "result": {"content": [link]}}).to_string());
        let at = whole.windows(5).position(|five| five == b"\"uri\"").unwrap() + 3;
        vec![whole[..at].to_vec(), whole[at..].to_vec()]
    })
    .await;
    house.mount(&server("notes", &raw.url));
    let mcp = house.session_on_all().await;
    let answer = mcp.call("notes__do", json!({})).await;
    assert_eq!(answer["result"]["content"][0]["uri"], "gw+notes:note://1", "{answer}");
}

#[tokio::test]
async fn a_call_that_goes_on_alone_counts_like_any_other() {
    let house = House::start().await;
    house.put([limited(Limits { concurrent: 1, ..Limits::default() })]);
    let notes = Upstream::named("notes").await;
    notes.speak(false, true);
    house.mount(&server("notes", &notes.url()));
    let key = house.key(KeyRole::User);
    let mcp = Mcp::open(&house.at("/servers/notes/mcp"), &key.text).await;
    let left = mcp.stolen_by(&key.text);
    let params = json!({"name": "mute", "arguments": {"text": "left"}});
    let call = tokio::spawn(async move { left.try_request_as(json!("left"), "tools/call", params).await.map(drop) });
    eventually("the call is under way", async || (notes.calls("left") == 1).then_some(())).await;
    call.abort();
    eventually("nobody waits for it", async || (house.ended("notes", "abandoned") == 1).then_some(())).await;
    eventually("it has its place", async || (house.placed("notes") == 1).then_some(())).await;
    let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "x"}}});
    assert_eq!(mcp.post(&call).await.unwrap().status, 429);
    notes.open_gate();
    notes.end();
    eventually("nothing is left of it", async || (house.placed("notes") == 0 && house.under_way() == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn who_reads_slowly_is_not_waited_for_beyond_the_time_of_a_call() {
    let house = House::start().await;
    let raw = Raw::start(|_, _| {
        let text = "x".repeat(1000);
        let said = move |_| json!({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": text}});
        vec![as_events((0..30_000).map(said))]
    })
    .await;
    let limits = ServerLimits { call_secs: Some(1), ..ServerLimits::default() };
    house.mount(&ServerSpec { limits, ..server("notes", &raw.url) });
    let mcp = house.session("notes").await;
    let mut call = mcp.begin_call("do", json!({})).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (said, answer) = call.answer().await;
    assert_eq!(code_of(&answer), -31002, "{answer}");
    assert!(said.len() < 29_000, "{} messages were passed on after the time was up", said.len());
}

#[tokio::test]
async fn a_request_without_a_session_leaves_none_behind() {
    let house = House::start().await;
    let notes = Upstream::named("notes").await;
    notes.speak(true, false);
    house.mount(&server("notes", &notes.url()));
    let key = house.key(KeyRole::User);
    let before = house.bound("client_sessions");
    for path in ["/servers/notes/mcp", "/mcp"] {
        let mcp = Mcp::stateless(&house.at(path), &key.text);
        let tool = if path == "/mcp" { "notes__echo" } else { "echo" };
        assert_eq!(mcp.text(tool, json!({"text": "x"})).await, "notes: x");
    }
    assert_eq!(house.bound("client_sessions"), before);
}
