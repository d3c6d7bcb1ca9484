//! Real MCP packages: where they are, how they are run, and what to say when they are missing.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::patient;

/// Whether `SKIP` (a list with commas) holds this part; says so.
pub fn skipped(part: &str) -> bool {
    let skip = std::env::var("SKIP").unwrap_or_default();
    let skipped = skip.split(',').any(|word| word.trim() == part);
    if skipped {
        eprintln!("skipped: SKIP holds {part}");
    }
    skipped
}

/// The repository's top folder.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ has a parent").to_owned()
}

fn present(path: PathBuf, what: &str) -> PathBuf {
    assert!(path.exists(), "{what} is missing ({}): run tests/setup.sh, or skip it with SKIP", path.display());
    path
}

/// A script of tests/clients.
pub fn script(name: &str) -> PathBuf {
    present(repository().join("tests/clients").join(name), name)
}

/// A file of an npm package.
pub fn node_file(path: &str) -> PathBuf {
    present(repository().join("build/node/node_modules").join(path), "an npm package")
}

/// The interpreter that has the `mcp` package.
pub fn python() -> PathBuf {
    present(repository().join("build/venv/bin/python"), "the Python environment")
}

/// Runs a command of `node` to its end and returns the JSON that it printed.
pub async fn run_node(script: &Path, args: &[&str]) -> Value {
    let mut command = Command::new("node");
    command.arg(script).args(args).env("GATEHOUSE_NODE_MODULES", repository().join("build/node/node_modules"));
    run(command).await
}

/// Runs a script of tests/clients with the Python that has `mcp` and returns the JSON that it printed.
pub async fn run_python(name: &str, args: &[&str]) -> Value {
    let mut command = Command::new(python());
    command.arg(script(name)).args(args);
    run(command).await
}

async fn run(mut command: Command) -> Value {
    let running = command.stdin(Stdio::null()).kill_on_drop(true).output();
    let output = patient("a client script ends", running).await.expect("the interpreter starts");
    let text = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed\n{text}\n{said}");
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON:\n{text}\n{said}"))
}

/// `@modelcontextprotocol/server-everything`, kept to loopback.
pub struct Everything {
    url: String,
    _child: Child,
}

impl Everything {
    /// Over Streamable HTTP.
    pub async fn streamable() -> Self {
        Self::start("streamableHttp", "mcp").await
    }

    /// Over HTTP+SSE.
    pub async fn sse() -> Self {
        Self::start("sse", "sse").await
    }

    async fn start(mode: &str, path: &str) -> Self {
        let main = node_file("@modelcontextprotocol/server-everything/dist/index.js");
        let mut command = Command::new("node");
        command.arg("--require").arg(script("loopback.cjs")).arg(main).arg(mode).env("PORT", "0");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("node starts");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let port = patient("server-everything listens", async {
            loop {
                let line = lines.next_line().await.ok().flatten().expect("server-everything ended");
                if let Some(port) = line.strip_prefix("LISTENING ") {
                    return port.to_owned();
                }
            }
        })
        .await;
        // Its pipe must not fill up.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { url: format!("http://127.0.0.1:{port}/{path}"), _child: child }
    }

    /// Where it listens.
    pub fn url(&self) -> &str {
        &self.url
    }
}
