//! The servers of tests/clients that a test starts and asks; one of them passes the conformance suite, in both eras on one URL.

use serde_json::{Value, json};

use tokio::process::Command;

use crate::dialogue::Dialogue;
use crate::packages::{python, script};

/// The running server.
#[derive(Debug)]
pub struct Conforming {
    dialogue: Dialogue,
    url: String,
}

/// Which revisions it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All, with sessions where there are any.
    Whole,
    /// All, without ever opening a session.
    Plain,
    /// The one without sessions alone.
    Stateless,
}

impl Conforming {
    /// Starts it on a free port of loopback.
    pub async fn start() -> Self {
        Self::of(Kind::Whole).await
    }

    /// The same with fewer revisions.
    pub async fn of(kind: Kind) -> Self {
        let arguments: &[&str] = match kind {
            Kind::Whole => &[],
            Kind::Plain => &["plain"],
            Kind::Stateless => &["stateless"],
        };
        let (dialogue, first) = Dialogue::script("conforming_server.mjs", arguments).await;
        Self::begun(dialogue, &first)
    }

    /// The Python SDK's server, which does what the matrix asks of a server.
    pub async fn python() -> Self {
        let mut command = Command::new(python());
        command.arg(script("matrix_server.py"));
        let mut dialogue = Dialogue::start("matrix_server.py", |_| command);
        let first = dialogue.next().await;
        Self::begun(dialogue, &first)
    }

    fn begun(dialogue: Dialogue, first: &Value) -> Self {
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
