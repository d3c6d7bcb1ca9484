//! The Streamable HTTP side of a test upstream, and the way to the other side.

use std::convert::Infallible;
use std::sync::Arc;

use http::{HeaderMap, Request, Response};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::body::{self, Body};
use super::{State, legacy, misbehave, stateless, tools};
use crate::guard::Caller;

/// Answers one HTTP request.
pub(crate) async fn route(state: Arc<State>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, incoming) = request.into_parts();
    state.seen.lock().unwrap().headers.push(head.headers.clone());
    let bytes = incoming.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let always = state.script.lock().unwrap().always;
    let message: Value = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if let Some(behaviour) = always {
        return Ok(misbehave::answer(behaviour, &message).await);
    }
    let caller = match state.guard.as_ref().map(|guard| guard.admits(&head, &message)) {
        Some(Ok(caller)) => caller,
        Some(Err(answer)) => return Ok(*answer),
        None => Caller::default(),
    };
    let path = head.uri.path();
    Ok(match (head.method.as_str(), path.rsplit('/').next().unwrap_or("")) {
        ("GET", "sse") => legacy::open(&state),
        ("POST", "message") => legacy::post(state, head.uri.query().unwrap_or(""), message),
        ("POST", "mcp") => post(state, &head.headers, message, caller).await,
        ("GET", "mcp") => listen(&state, &head.headers),
        ("DELETE", "mcp") => {
            let gone = {
                let mut seen = state.seen.lock().unwrap();
                seen.deletes += 1;
                seen.sessions.remove(session(&head.headers))
            };
            body::whole(if gone { 200 } else { 404 }, "text/plain", "")
        }
        _ => body::whole(404, "text/plain", "not found"),
    })
}

fn session(headers: &HeaderMap) -> &str {
    headers.get("mcp-session-id").and_then(|id| id.to_str().ok()).unwrap_or("")
}

/// What keeps a request out: a session that is missing or unknown.
fn refused(state: &State, headers: &HeaderMap) -> Option<Response<Body>> {
    let id = session(headers);
    if id.is_empty() {
        let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "session required"}});
        return Some(body::whole(400, "application/json", error.to_string()));
    }
    if !state.seen.lock().unwrap().sessions.contains(id) {
        let error = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "session not found"}});
        return Some(body::whole(404, "application/json", error.to_string()));
    }
    None
}

async fn post(state: Arc<State>, headers: &HeaderMap, message: Value, caller: Caller) -> Response<Body> {
    if let Some(answer) = stateless::post(&state, headers, &message).await {
        return answer;
    }
    if headers.get("mcp-protocol-version").is_some_and(|version| version == "2026-07-28") {
        let error = json!({"code": -32000, "message": "Bad Request: Server not initialized"});
        return body::whole(400, "application/json", json!({"jsonrpc": "2.0", "id": null, "error": error}).to_string());
    }
    state.seen.lock().unwrap().messages.push(message.clone());
    if let Some(behaviour) = message["method"].as_str().and_then(|method| state.ahead(method)) {
        return misbehave::answer(behaviour, &message).await;
    }
    if message["method"] == "initialize" {
        let id = {
            let mut seen = state.seen.lock().unwrap();
            seen.minted += 1;
            let id = format!("{}-session-{}", state.name, seen.minted);
            seen.sessions.insert(id.clone());
            id
        };
        let mut response = body::json(&tools::initialize(&state, &message));
        response.headers_mut().insert("mcp-session-id", id.parse().unwrap());
        return response;
    }
    if let Some(refusal) = refused(&state, headers) {
        return refusal;
    }
    if message.get("id").is_none() || message.get("method").is_none() {
        state.answered(session(headers), &message);
        return body::whole(202, "text/plain", "");
    }
    if let Some(behaviour) = tools::asked_to_misbehave(&state, &message) {
        return misbehave::answer(behaviour, &message).await;
    }
    if state.guard.is_some() && message["method"] == "tools/call" && message["params"]["name"] == "whoami" {
        return body::json(&tools::whoami(&message, &caller, session(headers)));
    }
    let as_events = state.script.lock().unwrap().as_events || tools::speaks_before_answering(&message);
    let (emit, mut emitted) = mpsc::channel(64);
    let answering = tools::answer(state, session(headers).to_owned(), message, emit);
    if as_events {
        tokio::spawn(answering);
        return body::events(emitted);
    }
    answering.await;
    match emitted.recv().await {
        Some(answer) => body::json(&answer),
        None => body::whole(500, "text/plain", "no answer"),
    }
}

fn listen(state: &State, headers: &HeaderMap) -> Response<Body> {
    if let Some(refusal) = refused(state, headers) {
        return refusal;
    }
    let (listener, messages) = mpsc::channel(1024);
    let mut script = state.script.lock().unwrap();
    script.streams.insert(session(headers).to_owned(), listener.clone());
    script.listeners.push(listener);
    drop(script);
    body::events(messages)
}
