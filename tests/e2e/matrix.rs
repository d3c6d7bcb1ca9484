//! Every real client with every real server through Gatehouse, held against tests/fixtures/matrix.md.
//!
//! `make matrix` tries all of them. Otherwise `everything` and `conforming` meet every client, and the other servers two.
//! MATRIX=direct leaves Gatehouse out: what differs then is due to the client or the server.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Stdio;

use futures::StreamExt as _;
use serde_json::Value;
use tempfile::TempDir;
use tests::conforming::Kind;
use tests::forwarder::Forwarder;
use tests::packages::{Everything, python, repository, script, skipped};
use tests::rust_sdk::{Mode, RustClient, RustServer};
use tests::{Conforming, Gatehouse};
use tokio::process::Command;

/// Clients of one server at a time.
const AT_ONCE: usize = 3;

/// Who meets a server that `make test` does not show to everybody: the usual client of either era.
const USUAL: [&str; 2] = ["typescript-legacy", "typescript-auto"];

/// The operations, in the order of the table's columns.
type Row = Vec<(String, String)>;

/// By server and client, the cells of the table.
fn table() -> BTreeMap<String, Vec<(String, Row)>> {
    let text = std::fs::read_to_string(repository().join("tests/fixtures/matrix.md")).unwrap();
    let mut servers = BTreeMap::new();
    for section in text.split("\n## ").skip(1) {
        let name = section.lines().next().unwrap().to_owned();
        let mut rows = section
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<String>>());
        let ops: Vec<String> = rows.next().unwrap().into_iter().skip(1).collect();
        let clients = rows.skip(1).map(|cells| {
            let client = cells[0].clone();
            (client, ops.iter().cloned().zip(cells.into_iter().skip(1)).collect())
        });
        servers.insert(name, clients.collect());
    }
    servers
}

/// What a cell says without the section that it cites.
fn kind(cell: &str) -> &str {
    cell.split(' ').next().unwrap_or_default()
}

#[test]
fn every_cell_of_the_matrix_that_is_not_green_cites_its_section() {
    let table = table();
    assert_eq!(table.len(), 7);
    for (server, clients) in &table {
        assert_eq!(clients.len(), 11, "{server}");
        for (client, row) in clients {
            assert_eq!(row.len(), 11, "{server} {client}");
            for (op, cell) in row {
                let words: Vec<&str> = cell.split(' ').collect();
                let well = match *words.as_slice() {
                    ["session" | "stateless"] => op == "open",
                    ["ok"] => op != "open",
                    ["no" | "-", section] => section.split('.').all(|part| part.parse::<u8>().is_ok()),
                    _ => false,
                };
                assert!(well, "{server} {client} {op}: {cell}");
            }
        }
    }
}

fn profile(server: &str) -> Value {
    let text = std::fs::read_to_string(repository().join("tests/fixtures/matrix.json")).unwrap();
    let mut profiles: Value = serde_json::from_str(&text).unwrap();
    profiles[if server.starts_with("everything") { "everything" } else { "own" }].take()
}

/// What a client did, by operation: the cell, and what was said.
type Seen = BTreeMap<String, (String, String)>;

async fn scripted(mut command: Command, url: &str, profile: &Value, mode: &str) -> Seen {
    let folder = TempDir::with_prefix("gatehouse-matrix-").unwrap();
    command.args([url, &profile.to_string(), mode]).env("HOME", folder.path()).env("TMPDIR", folder.path());
    command.env("GATEHOUSE_NODE_MODULES", repository().join("build/node/node_modules"));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(tests::patience::PATIENCE * 2, command.output()).await;
    let output = ended.unwrap_or_else(|_| panic!("{mode} does not end at {url}")).expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let seen: Seen = lines
        .filter_map(|line| {
            let said = line["said"].as_str().map_or_else(|| line["said"].to_string(), str::to_owned);
            Some((line["op"].as_str()?.to_owned(), (line["is"].as_str()?.to_owned(), said)))
        })
        .collect();
    assert!(!seen.is_empty(), "{mode} said nothing: {text}{}", String::from_utf8_lossy(&output.stderr));
    seen
}

fn node(name: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(script(name));
    command
}

async fn met(client: &str, mcp: &str, sse: &str, profile: &Value) -> Seen {
    let rust = async |mode| {
        let done = RustClient::everything(mcp, profile, mode).await;
        done.into_iter().map(|(op, is, said)| (op, (is.to_owned(), said))).collect()
    };
    let by_python = || {
        let mut command = Command::new(python());
        command.arg(script("matrix_python.py"));
        command
    };
    match client {
        "rmcp" => rust(Mode::Initialize).await,
        "rmcp-auto" => rust(Mode::Auto).await,
        "typescript-sse" => scripted(node("matrix_typescript.mjs"), sse, profile, "sse").await,
        "inspector" => scripted(node("matrix_inspector.mjs"), mcp, profile, client).await,
        "fastmcp" => scripted(by_python(), mcp, profile, client).await,
        "mcp-remote" => scripted(node("matrix_typescript.mjs"), mcp, profile, client).await,
        other => match other.split_once('-') {
            Some(("python", mode)) => scripted(by_python(), mcp, profile, mode).await,
            Some(("typescript", mode)) => scripted(node("matrix_typescript.mjs"), mcp, profile, mode).await,
            _ => panic!("nobody is called {other}"),
        },
    }
}

/// What the operation's cell would have to say.
fn cell(op: &str, seen: &Seen) -> (String, String) {
    match seen.get(op) {
        None => ("nothing".to_owned(), String::new()),
        Some((is, said)) if op == "open" && is == "ok" => (said.clone(), String::new()),
        Some(seen) => seen.clone(),
    }
}

/// A house with this one server, if it is not left out.
async fn house(url: &str) -> Gatehouse {
    let house = Gatehouse::start().await;
    house.admin().add("server", url).await;
    drop(house.mcp_of("server").await);
    house
}

async fn every_client_meets(server: &str, url: &str, all: bool) {
    let wanted = std::env::var("MATRIX").unwrap_or_default();
    let all = all || !wanted.is_empty();
    let house = if wanted == "direct" { None } else { Some(house(url).await) };
    let profile = profile(server);
    let rows = table().remove(server).unwrap();
    let rows = rows.into_iter().filter(|(client, _)| all || USUAL.contains(&client.as_str()));
    let met: Vec<(String, Row, Seen)> = futures::stream::iter(rows)
        .map(|(client, row)| {
            let (house, profile) = (&house, &profile);
            async move {
                let Some(house) = house else {
                    let seen = met(&client, url, url, profile).await;
                    return (client, row, seen);
                };
                // Each is somebody else: whoever shares a subject shares sessions of the upstream.
                let forwarder = Forwarder::start(&house.proxy(), &house.admin().key("client").await).await;
                let (mcp, sse) = (forwarder.at("/servers/server/mcp"), forwarder.at("/servers/server/sse"));
                let seen = met(&client, &mcp, &sse, profile).await;
                (client, row, seen)
            }
        })
        .buffered(AT_ONCE)
        .collect()
        .await;

    let (mut printed, mut differ) = (format!("{server}\n"), Vec::new());
    for (client, row, seen) in &met {
        let _ = write!(printed, "  {client:<22}");
        for (op, wanted) in row {
            let (is, said) = cell(op, seen);
            if is == kind(wanted) {
                let _ = write!(printed, " {wanted:<10}");
            } else {
                let _ = write!(printed, " {:<10}", format!("!{is}"));
                differ.push(format!("{server} {client} {op}: expected {wanted}, is {is}: {said}"));
            }
        }
        printed.push('\n');
    }
    for differs in &differ {
        let _ = writeln!(printed, "  {differs}");
    }
    println!("{printed}");
    let folder = repository().join("build/matrix");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(server), &printed).unwrap();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn left_out() -> bool {
    skipped("node") || skipped("python")
}

#[tokio::test]
async fn matrix_of_server_everything() {
    if !left_out() {
        every_client_meets("everything", Everything::streamable().await.url(), true).await;
    }
}

#[tokio::test]
async fn matrix_of_server_everything_over_sse() {
    if !left_out() {
        every_client_meets("everything-sse", Everything::sse().await.url(), false).await;
    }
}

#[tokio::test]
async fn matrix_of_the_python_sdk() {
    if !left_out() {
        every_client_meets("python", Conforming::python().await.url(), false).await;
    }
}

#[tokio::test]
async fn matrix_of_the_typescript_handler() {
    if !left_out() {
        every_client_meets("typescript", Conforming::of(Kind::Plain).await.url(), false).await;
    }
}

#[tokio::test]
async fn matrix_of_the_typescript_handler_without_sessions() {
    if !left_out() {
        every_client_meets("typescript-stateless", Conforming::of(Kind::Stateless).await.url(), false).await;
    }
}

#[tokio::test]
async fn matrix_of_the_rust_sdk() {
    if !left_out() {
        every_client_meets("rmcp", RustServer::start().await.url(), false).await;
    }
}

#[tokio::test]
async fn matrix_of_the_conforming_server() {
    if !left_out() {
        every_client_meets("conforming", Conforming::start().await.url(), true).await;
    }
}
