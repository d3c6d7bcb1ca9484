//! Real MCP clients that sign a person in by browser. They know one URL and nothing else.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use crate::dialogue::Dialogue;
use crate::packages::node_file;
use crate::{eventually, process};

/// The TypeScript SDK's client with its OAuth provider.
#[derive(Debug)]
pub struct Typescript(Dialogue);

impl Typescript {
    /// Starts one, and returns the page that it wants to be opened.
    pub async fn start(url: &str) -> (Self, String) {
        let (dialogue, first) = Dialogue::script("sign_in.mjs", &[url]).await;
        (Self(dialogue), first["visit"].as_str().unwrap_or_else(|| panic!("it wants no browser: {first}")).to_owned())
    }

    /// Waits until it is in; returns the names of the tools that it sees.
    pub async fn signed_in(&mut self) -> Vec<String> {
        let said = self.0.next().await;
        let tools =
            said["ok"]["tools"].as_array().unwrap_or_else(|| panic!("it did not get in: {said}\n{}", self.0.log()));
        tools.iter().filter_map(|tool| tool.as_str().map(str::to_owned)).collect()
    }

    /// Waits until it has been told that it may not; returns the parameters of its redirect.
    pub async fn refused(&mut self) -> Value {
        self.0.next().await["refused"].take()
    }

    /// The text of a tool's answer; `Err` where the client fails, `visit` where it wants a browser again.
    pub async fn call(&mut self, tool: &str, arguments: &Value) -> Result<String, String> {
        let answer = self.0.try_ask(&json!({"do": "call", "name": tool, "arguments": arguments})).await?;
        Ok(answer["text"].as_str().unwrap_or_else(|| panic!("no text: {answer}")).to_owned())
    }

    /// Makes it take a new access token with its refresh token before its next call.
    pub async fn spend(&mut self) {
        self.0.ask(&json!({"do": "refresh"})).await;
    }

    /// What it holds: `access_token`, `refresh_token`.
    pub async fn tokens(&mut self) -> Value {
        self.0.ask(&json!({"do": "tokens"})).await
    }

    /// What it found out on its way.
    pub async fn metadata(&mut self) -> Value {
        self.0.ask(&json!({"do": "metadata"})).await
    }
}

/// `mcp-remote`, between a client that knows standard input alone and a URL.
#[derive(Debug)]
pub struct McpRemote(Dialogue);

impl McpRemote {
    /// Starts one, and returns the page that it opened in what it takes for the browser.
    pub async fn start(url: &str) -> (Self, String) {
        let dialogue = Dialogue::start("mcp-remote", |folder| {
            let browser = folder.join("browser");
            let opened = folder.join("opened");
            let text = format!("#!/bin/sh\nprintf '%s' \"$1\" > {0}.new && mv {0}.new {0}\n", opened.display());
            std::fs::write(&browser, text).expect("a script");
            process::may_run(&browser);
            let mut command = Command::new("node");
            command.arg(node_file("mcp-remote/dist/proxy.js")).args([url, "--transport", "http-only"]);
            command.env("MCP_REMOTE_CONFIG_DIR", folder).env("BROWSER", browser).env_remove("DISPLAY");
            command
        });
        let opened = dialogue.folder().join("opened");
        let visit = eventually("mcp-remote opens a browser", || async { std::fs::read_to_string(&opened).ok() }).await;
        (Self(dialogue), visit)
    }

    /// Opens the session that the client behind it would open.
    pub async fn signed_in(&mut self) {
        let hello = json!({"protocolVersion": crate::mcp::REVISION, "capabilities": {},
            "clientInfo": {"name": "gatehouse-tests", "version": "1"}});
        let answer = self.request("initialize", hello).await;
        assert!(answer["result"]["serverInfo"].is_object(), "{answer}\n{}", self.0.log());
        self.0.send(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})).await;
    }

    /// The access token that it keeps on disk.
    pub fn access_token(&self) -> String {
        let found = files(self.0.folder()).into_iter().find(|path| path.to_string_lossy().ends_with("tokens.json"));
        let text = std::fs::read_to_string(found.expect("it keeps its tokens")).expect("text");
        let tokens: Value = serde_json::from_str(&text).expect("JSON");
        tokens["access_token"].as_str().expect("a token").to_owned()
    }

    /// Sends a request and returns its answer, a whole message.
    pub async fn request(&mut self, method: &str, params: Value) -> Value {
        self.0.send(&json!({"jsonrpc": "2.0", "id": method, "method": method, "params": params})).await;
        loop {
            let message = self.0.next().await;
            if message["id"] == method && message.get("method").is_none() {
                return message;
            }
        }
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok).map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
