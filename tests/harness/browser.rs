//! A real Chromium without a screen, in the hands of as many people as a test needs.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::dialogue::Dialogue;
use crate::packages::skipped;

/// A browser. Ends with the last page.
#[derive(Debug, Clone)]
pub struct Browser(Arc<Mutex<Dialogue>>);

/// One person's page, with cookies of its own.
#[derive(Debug, Clone)]
pub struct Page {
    browser: Browser,
    person: String,
}

impl Browser {
    /// Starts one; `None`, said aloud, if `SKIP` holds `browser` or `node`.
    pub async fn start() -> Option<Self> {
        if skipped("browser") || skipped("node") {
            return None;
        }
        let program = program();
        let (dialogue, first) = Dialogue::script("browser.mjs", &[program.to_str().expect("a path of text")]).await;
        assert!(first["ok"].is_object(), "{first}");
        Some(Self(Arc::new(Mutex::new(dialogue))))
    }

    /// The page of a person, as it was left.
    pub fn page(&self, person: &str) -> Page {
        Page { browser: self.clone(), person: person.to_owned() }
    }
}

fn program() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("chromium")).find(|path| path.exists());
    found.expect("`chromium` is missing: run tests/setup.sh, or skip it with SKIP=browser")
}

impl Page {
    async fn ask(&self, mut line: Value) -> Value {
        line["as"] = json!(self.person);
        self.browser.0.lock().await.ask(&line).await
    }

    /// Opens an address; returns `url`, `status` and `headers` of what came in the end.
    pub async fn goto(&self, url: &str) -> Value {
        self.ask(json!({"do": "goto", "url": url})).await
    }

    /// The same, as soon as somebody answers there.
    pub async fn goto_when_there(&self, url: &str) -> Value {
        let line = json!({"do": "goto", "url": url, "as": self.person});
        crate::eventually(&format!("{url} is there"), || async {
            self.browser.0.lock().await.try_ask(&line).await.ok()
        })
        .await
    }

    /// Types into the field of that label.
    pub async fn fill(&self, label: &str, value: &str) -> &Self {
        self.ask(json!({"do": "fill", "label": label, "value": value})).await;
        self
    }

    /// Presses the button or the link with that text.
    pub async fn click(&self, name: &str) -> &Self {
        self.ask(json!({"do": "click", "name": name})).await;
        self
    }

    /// Waits until the address begins like this.
    pub async fn at(&self, url: &str) -> &Self {
        self.ask(json!({"do": "wait", "url": url})).await;
        self
    }

    /// Waits until the page shows this text.
    pub async fn shows(&self, text: &str) -> &Self {
        self.ask(json!({"do": "wait", "text": text})).await;
        self
    }

    /// What stands there: `url`, `title`, `text`, and the names of `fields`, `buttons` and `links`.
    pub async fn look(&self) -> Value {
        self.ask(json!({"do": "look"})).await
    }

    /// The text that is shown.
    pub async fn text(&self) -> String {
        self.look().await["text"].as_str().unwrap_or_default().to_owned()
    }

    /// The cookies of all sites.
    pub async fn cookies(&self) -> Vec<Value> {
        list(self.ask(json!({"do": "cookies"})).await)
    }

    /// Throws all cookies away.
    pub async fn forget(&self) {
        self.ask(json!({"do": "forget"})).await;
    }

    /// The addresses of the page and of what it frames; what the browser refused stands there as its own error page.
    pub async fn frames(&self) -> Vec<Value> {
        list(self.ask(json!({"do": "frames"})).await)
    }

    /// `url`, `status` and `headers` of every page and redirect since the last time.
    pub async fn heads(&self) -> Vec<Value> {
        list(self.ask(json!({"do": "heads"})).await)
    }

    /// What the consoles of pages at addresses that begin like this said since the last time: errors and warnings.
    pub async fn complaints(&self, url: &str) -> Vec<Value> {
        let mut all = list(self.ask(json!({"do": "complaints"})).await);
        all.retain(|one| one["url"].as_str().is_some_and(|at| at.starts_with(url)));
        all
    }

    /// What an expression of JavaScript is worth in the page.
    pub async fn run(&self, script: &str) -> Value {
        self.ask(json!({"do": "run", "script": script})).await
    }

    /// Makes a page of a site that does not exist.
    pub async fn serve(&self, url: &str, html: &str) {
        self.ask(json!({"do": "serve", "url": url, "html": html})).await;
    }

    /// Takes pictures, wide, narrow and dark, where the variable `PICTURES` names a folder for them.
    pub async fn shoot(&self, name: &str) {
        let Some(folder) = std::env::var_os("PICTURES") else { return };
        for (look, width, dark) in [("wide", 1100, false), ("narrow", 380, false), ("dark", 1100, true)] {
            let path = PathBuf::from(&folder).join(format!("{name}-{look}.png"));
            self.ask(json!({"do": "shoot", "path": path, "width": width, "dark": dark})).await;
        }
    }
}

fn list(value: Value) -> Vec<Value> {
    match value {
        Value::Array(list) => list,
        other => panic!("no list: {other}"),
    }
}
