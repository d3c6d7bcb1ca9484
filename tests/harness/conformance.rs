//! MCP's official conformance suite: the part that looks at authorization servers, and scenarios for clients.

use std::collections::BTreeMap;
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
        let mut command = suite("@modelcontextprotocol/conformance");
        command.args(["authorization", "--url", issuer, "--client-id", id, "--resource", resource]);
        command.args(["--port", &port.to_string(), "--output-dir"]).arg(folder.path());
        command.stdout(Stdio::piped()).stderr(Stdio::inherit());
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

/// What a version of the suite found in one scenario for clients.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// How many checks were passed.
    pub passed: usize,
    /// The checks that failed, or warned.
    pub failed: Vec<String>,
    /// Whether the suite itself says that all is well.
    pub well: bool,
    /// What it said.
    pub said: String,
}

/// The versions that are installed, with their folders.
pub const VERSIONS: [(&str, &str); 2] =
    [("0.1.16", "conformance-0.1.16"), ("0.2.0-alpha.12", "@modelcontextprotocol/conformance")];

/// The scenarios of a version for clients whose name begins like this.
pub async fn client_scenarios(package: &str, prefix: &str) -> Vec<String> {
    let output = patient("the suite lists its scenarios", suite(package).arg("list").output()).await.expect("node");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split_once(' '));
    let scenarios: Vec<String> =
        lines.filter(|(name, _)| name.starts_with(prefix)).map(|(name, _)| name.to_owned()).collect();
    assert!(!scenarios.is_empty(), "{text}");
    scenarios
}

/// Lets a version of the suite test a client: a script of tests/clients with these variables.
pub async fn client(package: &str, scenario: &str, client: &str, environment: &[(&str, String)]) -> Found {
    let folder = TempDir::with_prefix("gatehouse-conformance-").expect("a folder");
    let mut command = suite(package);
    command.args(["client", "--scenario", scenario, "--timeout", "45000"]);
    command.arg("--command").arg(format!("node {}", script(client).display()));
    command.arg("--output-dir").arg(folder.path());
    command.envs(environment.iter().map(|(name, value)| (name, value)));
    let output = tokio::time::timeout(crate::patience::PATIENCE * 2, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("{scenario} does not end")).expect("node");
    let mut checks = Vec::new();
    collect(folder.path(), &mut checks);
    let of = |status: &str| {
        let of = checks.iter().filter(|check| check["status"] == status);
        of.filter_map(|check| check["id"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let failed = [of("FAILURE"), of("WARNING")].concat();
    Found { passed: of("SUCCESS").len(), failed, well: output.status.success(), said }
}

/// What a version of the suite found in one scenario for servers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// How many checks were passed.
    pub passed: usize,
    /// The checks that failed, with what was wrong.
    pub failed: Vec<(String, String)>,
    /// The checks that warn.
    pub warned: Vec<String>,
}

impl Served {
    /// Whether the suite itself would say that the scenario is passed.
    pub fn well(&self) -> bool {
        self.failed.is_empty()
    }
}

/// Lets a version of the suite test the server at this URL; by scenario, what it found.
pub async fn server(package: &str, url: &str, arguments: &[&str]) -> BTreeMap<String, Served> {
    let folder = TempDir::with_prefix("gatehouse-conformance-").expect("a folder");
    let mut command = suite(package);
    command.args(["server", "--url", url]).args(arguments).arg("--output-dir").arg(folder.path());
    let output = tokio::time::timeout(crate::patience::PATIENCE * 3, command.output()).await;
    let output = output.unwrap_or_else(|_| panic!("the suite does not end at {url}")).expect("node");
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder.path()).expect("a folder").filter_map(Result::ok) {
        let mut checks = Vec::new();
        collect(&entry.path(), &mut checks);
        found.insert(scenario_of(&entry.file_name().to_string_lossy()).to_owned(), served(&checks));
    }
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!found.is_empty(), "it tried nothing:\n{said}");
    found
}

/// A folder of results is called after its scenario, between what was tested and when.
fn scenario_of(folder: &str) -> &str {
    const WHEN: usize = "-2026-01-31T00-00-00-000Z".len();
    let end = folder.len().saturating_sub(WHEN);
    let name = folder.get(..end).unwrap_or_default();
    name.strip_prefix("server-").unwrap_or(name)
}

fn served(checks: &[Value]) -> Served {
    let mut served = Served::default();
    for check in checks {
        let id = check["id"].as_str().unwrap_or_default().to_owned();
        match check["status"].as_str() {
            Some("SUCCESS") => served.passed += 1,
            Some("FAILURE") => {
                served.failed.push((id, check["errorMessage"].as_str().unwrap_or_default().to_owned()));
            }
            Some("WARNING") => served.warned.push(id),
            _ => {}
        }
    }
    served
}

fn suite(package: &str) -> Command {
    let mut command = Command::new("node");
    command.arg("--import").arg(script("glob_sync.mjs"));
    command.arg(node_file(&format!("{package}/dist/index.js")));
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
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
