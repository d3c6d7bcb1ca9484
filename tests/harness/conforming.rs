//! The server of tests/clients that passes the conformance suite, in both eras on one URL.

use serde_json::{Value, json};

use crate::dialogue::Dialogue;

/// The running server.
#[derive(Debug)]
pub struct Conforming {
    dialogue: Dialogue,
    url: String,
}

impl Conforming {
    /// Starts it on a free port of loopback.
    pub async fn start() -> Self {
        let (dialogue, first) = Dialogue::script("conforming_server.mjs", &[]).await;
        let url = first["url"].as_str().unwrap_or_else(|| panic!("no URL: {first}")).to_owned();
        Self { dialogue, url }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it holds now: `sessions` that are open, calls that were `cancelled`.
    pub async fn state(&mut self) -> Value {
        self.dialogue.ask(&json!({})).await
    }
}
