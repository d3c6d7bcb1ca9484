//! The 2024-11-05 side of a test upstream: a stream that is the session, and a path to post to.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use serde_json::Value;
use tokio::sync::mpsc;

use super::body::{self, Body};
use super::{State, tools};

/// Opens a stream; its first event says where to post.
pub(crate) fn open(state: &State) -> Response<Body> {
    let id = {
        let mut seen = state.seen.lock().unwrap();
        seen.minted += 1;
        format!("legacy-{}", seen.minted)
    };
    let (stream, mut messages) = mpsc::channel::<Value>(1024);
    let mut script = state.script.lock().unwrap();
    script.streams.insert(id.clone(), stream.clone());
    script.legacy.insert(id.clone(), stream);
    drop(script);
    let (feed, response) = body::fed("text/event-stream");
    tokio::spawn(async move {
        let hello = format!("event: endpoint\ndata: /message?sessionId={id}\n\n");
        let mut piece = Bytes::from(hello);
        loop {
            if feed.send(Ok(piece)).await.is_err() {
                return;
            }
            let next = tokio::select! {
                () = feed.closed() => return,
                next = messages.recv() => next,
            };
            let Some(message) = next else { return };
            piece = body::event(&message);
        }
    });
    response
}

/// Takes a message; its answer goes out on the stream.
pub(crate) fn post(state: Arc<State>, query: &str, message: Value) -> Response<Body> {
    let id = query.strip_prefix("sessionId=").unwrap_or("");
    let Some(stream) = state.script.lock().unwrap().legacy.get(id).cloned() else {
        return body::whole(404, "text/plain", "no such session");
    };
    state.seen.lock().unwrap().messages.push(message.clone());
    if message["method"] == "initialize" {
        let answer = tools::initialize(&state, &message);
        tokio::spawn(async move { stream.send(answer).await });
    } else if message.get("id").is_some() && message.get("method").is_some() {
        tokio::spawn(tools::answer(state, id.to_owned(), message, stream));
    } else {
        state.answered(id, &message);
    }
    body::whole(202, "text/plain", "Accepted")
}
