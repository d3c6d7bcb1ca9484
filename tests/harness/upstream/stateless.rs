//! What a test upstream does without sessions (2026-07-28), where the test lets it: headers and `_meta` are checked as the
//! revision says, and refusals have their status.
//!
//! Tools: `echo {text}`; `told {…}`, which answers with the request's headers and params; `ask {rounds: [{key: {method,
//! params}}, …]}`, which asks in as many rounds and answers with all that it was answered; `say {level}`, which logs
//! and tells progress; `slow {text}`, which streams and waits for the gate; `give {result}`, which answers with that;
//! `refuse {error, status}`; `mute {text}`, which never says a byte; and `region {region}`, whose argument a header repeats.

use std::sync::Arc;

use http::{HeaderMap, Response};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::body::{self, Body};
use super::{State, misbehave};

const REVISION: &str = "2026-07-28";
const VERSION: &str = "io.modelcontextprotocol/protocolVersion";
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";

/// What becomes of a message as far as eras are concerned; `None`: it is one of a session and may be.
pub(crate) async fn post(state: &Arc<State>, headers: &HeaderMap, message: &Value) -> Option<Response<Body>> {
    let (sessions, stateless) = {
        let script = state.script.lock().unwrap();
        (!script.no_sessions, script.stateless)
    };
    let said = headers.get("mcp-protocol-version").is_some_and(|version| version == REVISION);
    let modern = said || message["params"]["_meta"].get(VERSION).is_some();
    if modern && stateless {
        state.seen.lock().unwrap().messages.push(message.clone());
        if message["params"]["name"] == "mute" {
            let text = message["params"]["arguments"]["text"].as_str().unwrap_or("");
            *state.seen.lock().unwrap().calls.entry(text.to_owned()).or_default() += 1;
            let _waiting = Waiting(state);
            return std::future::pending().await;
        }
        if let Some(behaviour) = message["method"].as_str().and_then(|method| state.ahead(method)) {
            return Some(misbehave::answer(behaviour, message).await);
        }
        return Some(answered(state, headers, message).await);
    }
    if !modern && !sessions {
        let error = json!({"code": -32022, "message": "Unsupported protocol version",
            "data": {"supported": [REVISION], "requested": message["params"]["protocolVersion"]}});
        return Some(refused(400, message, &error));
    }
    None
}

/// Somebody who waits for the first byte; dropped, they have hung up.
struct Waiting<'a>(&'a State);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.seen.lock().unwrap().hung_up += 1;
    }
}

fn refused(status: u16, message: &Value, error: &Value) -> Response<Body> {
    let body = json!({"jsonrpc": "2.0", "id": message["id"], "error": error});
    body::whole(status, "application/json", body.to_string())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// What headers and `_meta` lack.
fn wrong(state: &State, headers: &HeaderMap, message: &Value) -> Option<Response<Body>> {
    let (method, params) = (message["method"].as_str().unwrap_or(""), &message["params"]);
    let mismatch = |what: &str| Some(refused(400, message, &json!({"code": -32020, "message": what})));
    if header(headers, "mcp-protocol-version") != params["_meta"][VERSION] || header(headers, "mcp-method") != method {
        return mismatch("MCP-Protocol-Version or Mcp-Method");
    }
    let name = match method {
        "tools/call" | "prompts/get" => params["name"].as_str(),
        "resources/read" => params["uri"].as_str(),
        _ => None,
    };
    if name.is_some_and(|name| header(headers, "mcp-name") != name) {
        return mismatch("Mcp-Name");
    }
    let region = state.script.lock().unwrap().region.clone();
    if params["name"] == "region" && header(headers, &format!("mcp-param-{region}")) != params["arguments"]["region"] {
        return mismatch("Mcp-Param");
    }
    if !params["_meta"][CAPABILITIES].is_object() {
        return Some(refused(400, message, &json!({"code": -32602, "message": "_meta"})));
    }
    None
}

async fn answered(state: &Arc<State>, headers: &HeaderMap, message: &Value) -> Response<Body> {
    if let Some(refusal) = wrong(state, headers, message) {
        return refusal;
    }
    if message.get("id").is_none() {
        return body::whole(202, "text/plain", "");
    }
    let params = &message["params"];
    let result = match message["method"].as_str().unwrap_or("") {
        "server/discover" => json!({"supportedVersions": [REVISION], "ttlMs": 1000, "cacheScope": "public",
            "capabilities": {"tools": {"listChanged": true}, "prompts": {}, "resources": {"subscribe": true},
                "logging": {}, "completions": {}, "extensions": {"io.modelcontextprotocol/tasks": {}}},
            "instructions": "Mind the gap."}),
        "tools/list" => json!({"tools": tools(state), "ttlMs": 60000, "cacheScope": "public"}),
        "prompts/list" => json!({"prompts": [{"name": "greet"}], "ttlMs": 0, "cacheScope": "private"}),
        "resources/list" => {
            json!({"resources": [{"uri": "note://1", "name": "one"}], "ttlMs": 0, "cacheScope": "private"})
        }
        "resources/templates/list" => json!({"resourceTemplates": [], "ttlMs": 0, "cacheScope": "private"}),
        "prompts/get" => json!({"messages": [{"role": "user", "content": {"type": "text", "text": params["name"]}}]}),
        "resources/read" if params["uri"] == "note://1" => json!({"ttlMs": 5, "cacheScope": "public",
            "contents": [{"uri": "note://1", "text": "one"}]}),
        "resources/read" => {
            let error = json!({"code": -32602, "message": "Resource not found", "data": {"uri": params["uri"]}});
            return body::json(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
        }
        "completion/complete" => json!({"completion": {"values": [params["argument"]["value"]]}}),
        "subscriptions/listen" => return listen(state, message),
        "tools/call" => return called(state, headers, message),
        method => return refused(404, message, &json!({"code": -32601, "message": format!("no {method}")})),
    };
    done(state, message, result)
}

/// A complete result, or what it says it is.
fn result(state: &State, message: &Value, mut result: Value) -> Value {
    if result.get("resultType").is_none() {
        result["resultType"] = json!("complete");
    }
    result["_meta"] = json!({"io.modelcontextprotocol/serverInfo": {"name": state.name, "version": "9"}});
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result})
}

fn done(state: &State, message: &Value, answer: Value) -> Response<Body> {
    let answer = result(state, message, answer);
    if !state.script.lock().unwrap().as_events {
        return body::json(&answer);
    }
    let (emit, emitted) = mpsc::channel(1);
    emit.try_send(answer).expect("there is room");
    body::events(emitted)
}

fn tools(state: &State) -> Vec<Value> {
    let names = ["echo", "told", "ask", "say", "slow", "mute", "give", "refuse"];
    let script = state.script.lock().unwrap();
    let all = names.into_iter().map(str::to_owned).chain(script.extra_tools.iter().cloned());
    let mut tools: Vec<Value> = all.map(|name| json!({"name": name, "inputSchema": {"type": "object"}})).collect();
    tools.push(json!({"name": "numbers", "inputSchema": {"type": "object"}, "outputSchema": {"type": "array"}}));
    tools.push(json!({"name": "region", "inputSchema": {"type": "object",
        "properties": {"region": {"type": "string", "x-mcp-header": script.region}}}}));
    tools.push(json!({"name": "wrong", "inputSchema": {"type": "object",
        "properties": {"x": {"type": "number", "x-mcp-header": "X"}}}}));
    tools
}

fn called(state: &Arc<State>, headers: &HeaderMap, message: &Value) -> Response<Body> {
    let (params, arguments) = (&message["params"], &message["params"]["arguments"]);
    let text = arguments["text"].as_str().unwrap_or("");
    if !text.is_empty() {
        *state.seen.lock().unwrap().calls.entry(text.to_owned()).or_default() += 1;
    }
    let saying = |text: String| json!({"content": [{"type": "text", "text": text}]});
    match params["name"].as_str().unwrap_or("") {
        "told" => {
            let headers: serde_json::Map<String, Value> =
                headers.iter().map(|(name, value)| (name.to_string(), json!(value.to_str().unwrap_or("")))).collect();
            done(state, message, saying(json!({"headers": headers, "params": params}).to_string()))
        }
        "ask" => ask(state, message),
        "give" => done(state, message, arguments["result"].clone()),
        "refuse" => {
            let status = arguments["status"].as_u64().unwrap_or(400);
            refused(u16::try_from(status).unwrap(), message, &arguments["error"])
        }
        "say" => {
            let (emit, emitted) = mpsc::channel(8);
            let level = params["_meta"]["io.modelcontextprotocol/logLevel"].clone();
            let log = json!({"jsonrpc": "2.0", "method": "notifications/message",
                "params": {"level": arguments["level"], "data": format!("for {level}")}});
            let progress = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                "params": {"progressToken": params["_meta"]["progressToken"], "progress": 1}});
            for message in [log, progress, result(state, message, saying("said".to_owned()))] {
                emit.try_send(message).expect("there is room");
            }
            body::events(emitted)
        }
        "slow" => {
            let (emit, emitted) = mpsc::channel(1);
            let answer = result(state, message, saying(format!("{}: {text}", state.name)));
            let (mut gate, state) = (state.gate.subscribe(), state.clone());
            tokio::spawn(async move {
                let left = tokio::select! {
                    () = emit.closed() => true,
                    open = gate.wait_for(|open| *open) => open.is_err(),
                };
                if left {
                    state.seen.lock().unwrap().hung_up += 1;
                } else {
                    drop(emit.send(answer).await);
                }
            });
            body::events(emitted)
        }
        _ => done(state, message, saying(format!("{}: {text}", state.name))),
    }
}

/// Which round it is stands in the state, with what was answered before.
fn ask(state: &State, message: &Value) -> Response<Body> {
    let params = &message["params"];
    let rounds = params["arguments"]["rounds"].as_array().cloned().unwrap_or_default();
    let mut answered = match params["requestState"].as_str() {
        None => Vec::new(),
        Some(given) => {
            if !state.seen.lock().unwrap().states.remove(given) {
                let error = json!({"code": -32602, "message": "this state was not given"});
                return body::json(&json!({"jsonrpc": "2.0", "id": message["id"], "error": error}));
            }
            let state: Value = serde_json::from_str(given).unwrap();
            let mut answered = state["answered"].as_array().cloned().unwrap();
            answered.push(params.get("inputResponses").cloned().unwrap_or(Value::Null));
            answered
        }
    };
    let Some(round) = rounds.get(answered.len()) else {
        let text = Value::from(std::mem::take(&mut answered)).to_string();
        return done(state, message, json!({"content": [{"type": "text", "text": text}]}));
    };
    let needs = round.as_object().into_iter().flatten().find_map(|(_, asked)| {
        let capability = match asked["method"].as_str()? {
            "elicitation/create" => "elicitation",
            "sampling/createMessage" => "sampling",
            "roots/list" => "roots",
            _ => return None,
        };
        params["_meta"][CAPABILITIES].get(capability).is_none().then_some(capability)
    });
    if let Some(capability) = needs.filter(|_| params["arguments"]["unchecked"] != true) {
        let error = json!({"code": -32021, "message": "missing", "data": {"requiredCapabilities": {capability: {}}}});
        return refused(400, message, &error);
    }
    let held = json!({"answered": answered, "odd": "é/\u{2028}\"\\"}).to_string();
    state.seen.lock().unwrap().states.insert(held.clone());
    let mut asks = json!({"resultType": "input_required", "requestState": held});
    if !round.is_null() {
        asks["inputRequests"] = round.clone();
    }
    done(state, message, asks)
}

fn listen(state: &State, message: &Value) -> Response<Body> {
    let (listener, mut messages) = mpsc::channel::<Value>(1024);
    let (emit, emitted) = mpsc::channel(64);
    let (id, wanted) = (message["id"].clone(), message["params"]["notifications"].clone());
    let tagged = move |mut message: Value| {
        message["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] = id.clone();
        message
    };
    let acknowledged = tagged(json!({"jsonrpc": "2.0", "method": "notifications/subscriptions/acknowledged",
        "params": {"notifications": wanted}}));
    emit.try_send(acknowledged).expect("there is room");
    tokio::spawn(async move {
        loop {
            let message = tokio::select! {
                () = emit.closed() => return,
                message = messages.recv() => message,
            };
            let Some(message) = message else { return };
            let uris = wanted["resourceSubscriptions"].as_array().cloned().unwrap_or_default();
            let updated = message["method"] == "notifications/resources/updated";
            if updated && !uris.contains(&message["params"]["uri"]) {
                continue;
            }
            if emit.send(tagged(message)).await.is_err() {
                return;
            }
        }
    });
    state.script.lock().unwrap().listeners.push(listener);
    body::events(emitted)
}
