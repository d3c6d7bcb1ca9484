//! What a test upstream sends when it was told to misbehave.

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};

use super::body::{self, Body};
use crate::Behaviour;

const PIECE: usize = 64 * 1024;

/// The (bad) answer to a request.
pub(crate) async fn answer(behaviour: Behaviour, message: &Value) -> Response<Body> {
    let id = &message["id"];
    let content = |text: &str| json!({"content": [{"type": "text", "text": text}]});
    let good = json!({"jsonrpc": "2.0", "id": id, "result": content("after all")});
    match behaviour {
        Behaviour::Hang => std::future::pending().await,
        Behaviour::NeverFinish => start("application/json", format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},"), End::Never),
        Behaviour::Drip => drip(good),
        Behaviour::TruncateJson => {
            let half = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[");
            start("application/json", half, End::Break)
        }
        Behaviour::TruncateSse => {
            let half = format!("data: {{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{");
            start("text/event-stream", half, End::Well)
        }
        Behaviour::EmptySse => start("text/event-stream", ": nothing\n\n".to_owned(), End::Well),
        Behaviour::Garbage => body::whole(200, "application/json", "\u{0}\u{1}not json at all"),
        Behaviour::LoginPage => body::whole(200, "text/html", "<html><form>password-of-the-intranet</form></html>"),
        Behaviour::HugeBody => {
            let head =
                format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"content\":[{{\"type\":\"text\",\"text\":\"");
            pour("application/json", head, b'x', 32 << 20)
        }
        Behaviour::EndlessEvent => pour("text/event-stream", "data: ".to_owned(), b'x', 64 << 20),
        Behaviour::Redirect => {
            let mut response = body::whole(307, "text/plain", "");
            let location = "http://169.254.169.254/latest/meta-data/".parse().unwrap();
            response.headers_mut().insert("location", location);
            response
        }
        Behaviour::JunkFrames => junk(good),
        Behaviour::Unauthorized => {
            let mut response = body::whole(401, "text/plain", "who are you?");
            response.headers_mut().insert("www-authenticate", "Bearer realm=\"secret-realm\"".parse().unwrap());
            response
        }
        Behaviour::ServerError => body::whole(500, "text/plain", "stack-trace-of-the-upstream"),
        Behaviour::Gzip => {
            let mut response = body::json(&good);
            response.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
            response
        }
        Behaviour::WrongId => body::json(&json!({"jsonrpc": "2.0", "id": "nobody-asked", "result": content("wrong")})),
        Behaviour::DuplicateId => {
            let second = json!({"jsonrpc": "2.0", "id": id, "result": content("second")});
            let both = [body::event(&good), body::event(&second)].concat();
            body::whole(200, "text/event-stream", both)
        }
        Behaviour::Heartbeats => heartbeats(good),
        Behaviour::SessionWords => {
            let message = "checkout session of the customer expired";
            let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": message}});
            body::whole(400, "application/json", error.to_string())
        }
        Behaviour::NullId => {
            let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "no id"}});
            body::whole(200, "text/event-stream", body::event(&error))
        }
    }
}

enum End {
    Never,
    Break,
    Well,
}

fn start(kind: &str, text: String, end: End) -> Response<Body> {
    let (feed, response) = body::fed(kind);
    tokio::spawn(async move {
        let _ = feed.send(Ok(Bytes::from(text))).await;
        match end {
            End::Never => feed.closed().await,
            End::Break => {
                let _ = feed.send(Err(std::io::Error::other("cut"))).await;
            }
            End::Well => (),
        }
    });
    response
}

fn pour(kind: &str, head: String, byte: u8, bytes: usize) -> Response<Body> {
    let (feed, response) = body::fed(kind);
    tokio::spawn(async move {
        let piece = Bytes::from(vec![byte; PIECE]);
        let mut next = Bytes::from(head);
        for _ in 0..bytes / PIECE {
            if feed.send(Ok(next)).await.is_err() {
                return;
            }
            next = piece.clone();
        }
    });
    response
}

fn junk(good: Value) -> Response<Body> {
    let (feed, response) = body::fed("text/event-stream");
    tokio::spawn(async move {
        let frames =
            Bytes::from("data: {not json\n\ndata: [1,2\n\n: comment\n\nevent: odd\ndata: \u{fffd}\n\n".repeat(167));
        for _ in 0..100 {
            if feed.send(Ok(frames.clone())).await.is_err() {
                return;
            }
        }
        let _ = feed.send(Ok(body::event(&good))).await;
    });
    response
}

fn heartbeats(good: Value) -> Response<Body> {
    let (feed, response) = body::fed("text/event-stream");
    tokio::spawn(async move {
        for _ in 0..16 {
            if feed.send(Ok(Bytes::from_static(b": still at it\n\n"))).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        }
        let _ = feed.send(Ok(body::event(&good))).await;
    });
    response
}

fn drip(good: Value) -> Response<Body> {
    let (feed, response) = body::fed("application/json");
    tokio::spawn(async move {
        // Spaces in front keep it going for longer than anybody waits.
        let text = format!("{}{good}", " ".repeat(10_000));
        for byte in text.into_bytes() {
            if feed.send(Ok(Bytes::from(vec![byte]))).await.is_err() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    });
    response
}
