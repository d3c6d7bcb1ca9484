//! `oidc-provider`, a real OpenID provider that we did not write, on a port of 127.0.0.1 under the name `localhost`.

use serde_json::{Value, json};

use crate::browser::Page;
use crate::dialogue::Dialogue;
use crate::packages::skipped;

/// A running provider. Ends with the test.
#[derive(Debug)]
pub struct Issuer {
    dialogue: Dialogue,
    url: String,
}

impl Issuer {
    /// Starts one that knows these accounts, each with its claims; `None`, said aloud, if `SKIP` holds `node`.
    pub async fn start(accounts: &Value) -> Option<Self> {
        Self::start_as(&json!({"accounts": accounts})).await
    }

    /// The same, whose access tokens end after so many seconds and whose refresh tokens are good for one use.
    pub async fn short(accounts: &Value, seconds: u32) -> Option<Self> {
        Self::start_as(&json!({"accounts": accounts, "lifetime": seconds})).await
    }

    async fn start_as(settings: &Value) -> Option<Self> {
        if skipped("node") {
            return None;
        }
        let (dialogue, first) = Dialogue::script("issuer.mjs", &[&settings.to_string()]).await;
        let url = first["ok"]["issuer"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
        Some(Self { dialogue, url })
    }

    /// Its name, under which it is found.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Makes a confidential client known.
    pub async fn client(&mut self, id: &str, secret: &str, redirect: &str) {
        self.dialogue.ask(&json!({"do": "client", "id": id, "secret": secret, "redirect": redirect})).await;
    }

    /// Signs with a new key from now on; with `keep` the old ones stay published.
    pub async fn rotate(&mut self, keep: bool) {
        self.dialogue.ask(&json!({"do": "rotate", "keep": keep})).await;
    }

    /// Nobody listens on its port any more.
    pub async fn away(&mut self) {
        self.dialogue.ask(&json!({"do": "away"})).await;
    }

    /// Listens there again.
    pub async fn back(&mut self) {
        self.dialogue.ask(&json!({"do": "back"})).await;
    }

    /// Hangs up on whoever asks for this path.
    pub async fn silence(&mut self, path: &str) {
        self.dialogue.ask(&json!({"do": "silence", "path": path})).await;
    }

    /// An access token of two days, as a sign-in of an MCP client would end with.
    pub async fn token(&mut self, account: &str, resource: &str) -> String {
        self.token_with(account, resource, "mcp").await
    }

    /// The same with a scope of the test's choice.
    pub async fn token_with(&mut self, account: &str, resource: &str, scope: &str) -> String {
        let line = json!({"do": "token", "user": account, "resource": resource, "scope": scope});
        self.dialogue.ask(&line).await["token"].as_str().expect("a token").to_owned()
    }

    /// How often a path was asked for.
    pub async fn asked(&mut self, path: &str) -> u64 {
        self.dialogue.ask(&json!({"do": "asked", "path": path})).await["times"].as_u64().expect("a number")
    }

    /// Signs a person in on its own pages, where a redirect has led to; `account` is the subject.
    pub async fn sign_in(&self, page: &Page, account: &str) {
        page.at(&format!("{}/interaction/", self.url)).await;
        page.fill("Enter any login", account).await.fill("and password", "any").await.click("Sign-in").await;
        page.click("Continue").await;
    }
}
