//! Real MCP clients that keep one session for as long as a test wants.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::canary;
use crate::dialogue::Dialogue;
use crate::packages::{python, script, skipped};

/// A client of an SDK with an open session.
#[derive(Debug)]
pub struct Lasting(Dialogue);

/// What a call led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Called {
    /// The text of the answer.
    Text(String),
    /// A JSON-RPC error, as the SDK tells it: `code`, `message`, `data`.
    Error(Value),
}

impl Called {
    /// The text; panics with the error where it is one.
    pub fn text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Error(error) => panic!("{error}"),
        }
    }

    /// The error; panics with the text where it is none.
    pub fn error(self) -> Value {
        match self {
            Self::Error(error) => error,
            Self::Text(text) => panic!("no error but {text}"),
        }
    }
}

impl Lasting {
    /// The TypeScript SDK's, and the names of the tools that it sees; `None`, said aloud, if `SKIP` holds `node`.
    pub async fn typescript(url: &str, key: &str) -> Option<(Self, Vec<String>)> {
        if skipped("node") {
            return None;
        }
        let (dialogue, first) = Dialogue::script("calls.mjs", &[url, key]).await;
        Some(Self::begun(dialogue, &first))
    }

    /// The Python SDK's; `None`, said aloud, if `SKIP` holds `python`.
    pub async fn python(url: &str, key: &str) -> Option<(Self, Vec<String>)> {
        if skipped("python") {
            return None;
        }
        let mut command = Command::new(python());
        command.arg(script("calls.py")).args([url, key]);
        let mut dialogue = Dialogue::start("calls.py", |_| command);
        let first = dialogue.next().await;
        Some(Self::begun(dialogue, &first))
    }

    fn begun(dialogue: Dialogue, first: &Value) -> (Self, Vec<String>) {
        let tools = first["ok"]["tools"].as_array().into_iter().flatten();
        let tools = tools.filter_map(|tool| tool.as_str().map(str::to_owned)).collect();
        (Self(dialogue), tools)
    }

    /// Calls a tool.
    pub async fn call(&mut self, tool: &str, arguments: &Value) -> Called {
        let said = self.0.ask(&json!({"do": "call", "name": tool, "arguments": arguments})).await;
        canary::none_in("what a client was told", said.to_string().as_bytes());
        match said.get("error") {
            Some(error) => Called::Error(error.clone()),
            None => Called::Text(said["text"].as_str().unwrap_or_else(|| panic!("no text: {said}")).to_owned()),
        }
    }
}
