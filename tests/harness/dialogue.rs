//! A program that takes lines of JSON on its standard input, answers with lines, and ends when nobody writes to it any more.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::packages::{repository, script};
use crate::patient;

/// The running program, with a folder of its own for whatever it leaves behind.
#[derive(Debug)]
pub(crate) struct Dialogue {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    folder: TempDir,
}

impl Dialogue {
    /// Starts a script of tests/clients with Node and returns what it says first.
    pub(crate) async fn script(name: &str, args: &[&str]) -> (Self, Value) {
        let mut command = Command::new("node");
        command
            .arg(script(name))
            .args(args)
            .env("GATEHOUSE_NODE_MODULES", repository().join("build/node/node_modules"));
        let mut dialogue = Self::start(name, |_| command);
        let first = dialogue.next().await;
        (dialogue, first)
    }

    /// Starts a program, which is told its folder.
    pub(crate) fn start(name: &str, command: impl FnOnce(&Path) -> Command) -> Self {
        let folder = TempDir::with_prefix("gatehouse-client-").expect("a folder");
        let log = std::fs::File::create(folder.path().join("log")).expect("a log");
        let mut command = command(folder.path());
        command.env("TMPDIR", folder.path()).env("HOME", folder.path()).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).spawn().expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { name: name.to_owned(), input: child.stdin.take(), child, output, folder }
    }

    /// Its own folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it wrote to its standard error.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Writes a line.
    pub(crate) async fn send(&mut self, line: &Value) {
        let input = self.input.as_mut().expect("it is open until the end");
        let sent = input.write_all(format!("{line}\n").as_bytes()).await;
        assert!(sent.is_ok(), "{} does not listen: {}", self.name, self.log());
    }

    /// Its next line.
    pub(crate) async fn next(&mut self) -> Value {
        let line = patient(&format!("{} says something", self.name), self.output.next_line()).await;
        let Some(line) = line.ok().flatten() else { panic!("{} ended: {}", self.name, self.log()) };
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON from {}: {line}", self.name))
    }

    /// Writes a line and returns what is `ok` in the next one; `Err` with what is wrong otherwise.
    pub(crate) async fn try_ask(&mut self, line: &Value) -> Result<Value, String> {
        self.send(line).await;
        let mut answer = self.next().await;
        match answer.get_mut("ok") {
            Some(ok) => Ok(ok.take()),
            None => {
                Err(format!("{} at {line}: {}", self.name, answer["error"].as_str().unwrap_or(&answer.to_string())))
            }
        }
    }

    /// The same; panics where something is wrong.
    pub(crate) async fn ask(&mut self, line: &Value) -> Value {
        self.try_ask(line).await.unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Dialogue {
    /// Lets it end by itself, with what it has started.
    fn drop(&mut self) {
        drop(self.input.take());
        let end = Instant::now() + Duration::from_secs(10);
        while self.child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        if std::thread::panicking() {
            eprintln!("--- {}\n{}", self.name, self.log());
        }
    }
}
