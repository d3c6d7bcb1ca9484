//! What a test upstream offers, and its answers when it behaves.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::State;
use crate::Behaviour;
use crate::guard::Caller;

/// The answer to `initialize`.
pub(crate) fn initialize(state: &State, message: &Value) -> Value {
    let asked = message["params"]["protocolVersion"].as_str().unwrap_or("");
    let known = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"];
    let version = if known.contains(&asked) { asked } else { "2025-11-25" };
    let mut capabilities = json!({"tools": {"listChanged": true}, "resources": {"listChanged": true},
        "prompts": {"listChanged": true}, "logging": {}, "completions": {}});
    if state.script.lock().unwrap().tasks {
        capabilities["tasks"] = json!({"list": {}, "cancel": {}, "requests": {"tools": {"call": {}}}});
    }
    result(
        message,
        &json!({"protocolVersion": version, "capabilities": capabilities,
        "serverInfo": {"name": state.name, "version": "1"}}),
    )
}

fn result(message: &Value, result: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result})
}

fn error(message: &Value, code: i64, text: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": message["id"], "error": {"code": code, "message": text}})
}

fn argument<'a>(message: &'a Value, name: &str) -> &'a str {
    message["params"]["arguments"][name].as_str().unwrap_or("")
}

/// Whether this request sends something else before its answer, which needs a stream.
pub(crate) fn speaks_before_answering(message: &Value) -> bool {
    let asks = message["params"]["name"] == "ask" && message["params"]["arguments"]["outside"] != true;
    message["method"] == "tools/call" && (asks || message["params"]["name"] == "progress")
}

/// What a call of `bad` asks for; counted like any call.
pub(crate) fn asked_to_misbehave(state: &State, message: &Value) -> Option<Behaviour> {
    if message["method"] != "tools/call" || message["params"]["name"] != "bad" {
        return None;
    }
    count(state, message);
    Behaviour::parse(argument(message, "how"))
}

/// The answer to `whoami`, behind a guard.
pub(crate) fn whoami(message: &Value, caller: &Caller, session: &str) -> Value {
    let told = caller.told(session).to_string();
    result(message, &json!({"content": [{"type": "text", "text": told}]}))
}

fn count(state: &State, message: &Value) {
    let text = argument(message, "text").to_owned();
    *state.seen.lock().unwrap().calls.entry(text).or_default() += 1;
}

/// Emits whatever this request leads to, the answer last.
pub(crate) async fn answer(state: Arc<State>, session: String, message: Value, emit: mpsc::Sender<Value>) {
    let answer = match message["method"].as_str().unwrap_or("") {
        "ping" | "logging/setLevel" => result(&message, &json!({})),
        "tools/list" => result(&message, &json!({"tools": tools(&state)})),
        "tools/call" => call(&state, &session, &message, &emit).await,
        "resources/list" => result(&message, &json!({"resources": resources(&state)})),
        "tasks/list" => result(&message, &json!({"tasks": [task("working")]})),
        "tasks/get" | "tasks/cancel" if message["params"]["taskId"] == "task" => result(&message, &task("working")),
        "tasks/result" if message["params"]["taskId"] == "task" => {
            let related = json!({"io.modelcontextprotocol/related-task": {"taskId": "task"}});
            let text = format!("the task of {}", state.name);
            result(&message, &json!({"content": [{"type": "text", "text": text}], "_meta": related}))
        }
        "resources/templates/list" => result(
            &message,
            &json!({"resourceTemplates": [
            {"uriTemplate": format!("test://{}/item/{{id}}", state.name), "name": "item"}]}),
        ),
        "resources/read" => result(
            &message,
            &json!({"contents": [
            {"uri": message["params"]["uri"], "mimeType": "text/plain", "text": format!("{}'s note", state.name)}]}),
        ),
        "prompts/list" => result(
            &message,
            &json!({"prompts": [
            {"name": "greet", "arguments": [{"name": "who", "required": true}]}]}),
        ),
        "prompts/get" => {
            let text =
                format!("Hello {} from {}", message["params"]["arguments"]["who"].as_str().unwrap_or(""), state.name);
            result(&message, &json!({"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}))
        }
        "completion/complete" => result(&message, &json!({"completion": {"values": ["alice", "bob"], "total": 2}})),
        "resources/subscribe" | "resources/unsubscribe" if state.script.lock().unwrap().subscribable => {
            result(&message, &json!({}))
        }
        method => error(&message, -32601, &format!("no method {method}")),
    };
    let _ = emit.send(answer).await;
}

fn task(status: &str) -> Value {
    json!({"taskId": "task", "status": status, "ttl": 60_000, "createdAt": "2026-01-01T00:00:00Z",
        "lastUpdatedAt": "2026-01-01T00:00:00Z"})
}

fn resources(state: &State) -> Vec<Value> {
    let mut uris = vec![format!("test://{}/note", state.name)];
    uris.extend(state.script.lock().unwrap().extra_resources.iter().cloned());
    uris.iter().map(|uri| json!({"uri": uri, "name": "note", "mimeType": "text/plain"})).collect()
}

fn tools(state: &State) -> Vec<Value> {
    let text = json!({"type": "object", "properties": {"text": {"type": "string"}}});
    let mut names: Vec<String> = ["echo", "slow", "progress", "bad", "fail"].map(str::to_owned).to_vec();
    names.extend(state.guard.as_ref().map(|_| "whoami".to_owned()));
    names.extend(state.script.lock().unwrap().extra_tools.iter().cloned());
    let hints = state.script.lock().unwrap().hints.clone();
    let headers = state.script.lock().unwrap().headers.clone();
    let described = |name: &String| {
        let mut tool = json!({"name": name, "description": format!("{name} of {}", state.name), "inputSchema": text,
            "x-unknown": {"kept": true}});
        if let Some(hint) = hints.get(name) {
            tool["annotations"] = json!({*hint: true});
        }
        if let Some(header) = headers.get(name) {
            tool["inputSchema"]["properties"]["text"]["x-mcp-header"] = json!(header);
        }
        tool
    };
    names.iter().map(described).collect()
}

async fn call(state: &State, session: &str, message: &Value, emit: &mpsc::Sender<Value>) -> Value {
    let said = |text: String| result(message, &json!({"content": [{"type": "text", "text": text}]}));
    let text = argument(message, "text").to_owned();
    let name = message["params"]["name"].as_str().unwrap_or("").to_owned();
    let known = tools(state).iter().any(|tool| tool["name"] == name.as_str());
    if !known {
        return error(message, -32602, &format!("Unknown tool: {name}"));
    }
    count(state, message);
    if state.script.lock().unwrap().tasks && !message["params"]["task"].is_null() {
        return result(message, &json!({"task": task("working")}));
    }
    match name.as_str() {
        "link" => {
            let content = json!([{"type": "resource_link", "uri": text, "name": "link"},
                {"type": "resource", "resource": {"uri": text, "text": format!("of {}", state.name)}}]);
            return result(message, &json!({"content": content}));
        }
        "slow" => {
            let mut gate = state.gate.subscribe();
            let _ = gate.wait_for(|open| *open).await;
        }
        "progress" => {
            let token = message["params"]["_meta"]["progressToken"].clone();
            let steps = message["params"]["arguments"]["steps"].as_u64().unwrap_or(3);
            for step in 1..=steps {
                let params = json!({"progressToken": token, "progress": step, "total": steps});
                let note = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params": params});
                if !token.is_null() {
                    let _ = emit.send(note).await;
                }
            }
        }
        "ask" => {
            let arguments = &message["params"]["arguments"];
            let answered = super::asking::ask(state, session, arguments, emit).await;
            if let Some(error) = arguments.get("error") {
                return json!({"jsonrpc": "2.0", "id": message["id"], "error": error});
            }
            return said(answered.to_string());
        }
        "paced" => {
            let say = |what: &str| {
                let params = json!({"level": "info", "data": format!("{what} {text}")});
                json!({"jsonrpc": "2.0", "method": "notifications/message", "params": params})
            };
            let _ = emit.send(say("before")).await;
            let mut gate = state.gate.subscribe();
            let _ = gate.wait_for(|open| *open).await;
            let _ = emit.send(say("after")).await;
        }
        "told" => {
            let arguments = &message["params"]["arguments"];
            return said(json!({"session": session, "arguments": arguments}).to_string());
        }
        "fail" => {
            let content = json!({"content": [{"type": "text", "text": "it failed"}], "isError": true});
            return result(message, &content);
        }
        _ => (),
    }
    said(format!("{}: {text}", state.name))
}
