//! The part of MCP's official conformance suite that looks at authorization servers.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};

use crate::guarded::free_port;
use crate::packages::{node_file, script};
use crate::{Http, patient};

/// The running suite, which waits for a person to let it in.
pub struct Conformance {
    child: Child,
    output: BufReader<ChildStdout>,
    folder: TempDir,
}

impl Conformance {
    /// Registers a client, starts the suite as that client, and returns the page that it wants to be opened.
    pub async fn start(issuer: &str, registration: &str, resource: &str) -> (Self, String) {
        let port = free_port();
        let client = json!({"client_name": "The conformance suite", "token_endpoint_auth_method": "none",
            "redirect_uris": [format!("http://127.0.0.1:{port}/callback")]});
        let headers = [("content-type", "application/json")];
        let made = Http::default().send("POST", registration, &headers, client.to_string()).await.unwrap().expect(201);
        let made = made.json();
        let id = made["client_id"].as_str().unwrap_or_else(|| panic!("no id: {made}"));

        let folder = TempDir::with_prefix("gatehouse-conformance-").expect("a folder");
        let mut command = Command::new("node");
        command.arg("--import").arg(script("glob_sync.mjs"));
        command.arg(node_file("@modelcontextprotocol/conformance/dist/index.js"));
        command.args(["authorization", "--url", issuer, "--client-id", id, "--resource", resource]);
        command.args(["--port", &port.to_string(), "--output-dir"]).arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
        let mut child = command.spawn().expect("node starts");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let visit = patient("the suite wants a browser", async {
            let mut said = String::new();
            loop {
                let mut line = String::new();
                let read = output.read_line(&mut line).await.expect("text");
                assert!(read > 0, "the suite ended:\n{said}");
                if line.starts_with("http") {
                    return line.trim().to_owned();
                }
                said.push_str(&line);
            }
        })
        .await;
        (Self { child, output, folder }, visit)
    }

    /// Waits for its end; returns each check with what it found, `id` and `status`.
    pub async fn checks(mut self) -> Vec<Value> {
        let mut said = String::new();
        patient("the suite says what it found", self.output.read_to_string(&mut said)).await.expect("text");
        patient("the suite ends", self.child.wait()).await.expect("our child");
        let mut checks = Vec::new();
        collect(self.folder.path(), &mut checks);
        assert!(!checks.is_empty(), "it checked nothing:\n{said}");
        checks
    }
}

fn collect(folder: &Path, checks: &mut Vec<Value>) {
    for entry in std::fs::read_dir(folder).expect("a folder").filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, checks);
        } else if path.file_name().is_some_and(|name| name == "checks.json") {
            let text = std::fs::read_to_string(&path).expect("text");
            checks.extend(serde_json::from_str::<Vec<Value>>(&text).expect("a list of checks"));
        }
    }
}
