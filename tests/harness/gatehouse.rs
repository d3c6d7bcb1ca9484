//! `gatehouse up` in a folder of its own, ended with everything it started.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::{Admin, Mcp, canary, patient, process};

/// Both processes, as `up` started them.
pub struct Gatehouse {
    dir: Arc<TempDir>,
    up: Child,
    ready: Value,
    alone: Vec<Child>,
    more_lines: Arc<Mutex<Vec<String>>>,
}

/// How `up` is to be started.
pub struct Plan {
    dir: Arc<TempDir>,
    restart: bool,
    env: Vec<(String, String)>,
}

/// Which of the two processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plane {
    /// `gatehouse-control`
    Control,
    /// `gatehouse-proxy`
    Proxy,
}

impl Plane {
    /// The word in `pids`, in file names, and behind `gatehouse-`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Proxy => "proxy",
        }
    }
}

/// The executable of that name, as built beside this test.
pub fn executable(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a test knows where it is");
    let folder = here.parent().and_then(Path::parent).expect("tests run from target/*/deps");
    let path = folder.join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

impl Plan {
    /// A dead child stays dead.
    pub fn no_restart(mut self) -> Self {
        self.restart = false;
        self
    }

    /// Sets a variable for `up` and its children.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts `up` and waits for its line.
    pub async fn start(self) -> Gatehouse {
        let mut command = Command::new(executable("gatehouse"));
        command.arg("up").arg("--data-dir").arg(self.dir.path());
        command.args(["--control", "127.0.0.1:0", "--mcp", "127.0.0.1:0", "--ready-json"]);
        if !self.restart {
            command.arg("--no-restart");
        }
        let mut up = spawn(command, &self.env, &self.dir, "up.log", Stdio::piped());
        let mut lines = BufReader::new(up.stdout.take().expect("piped")).lines();
        let line = patient("`up` prints its line", lines.next_line()).await.ok().flatten();
        let Some(line) = line else {
            panic!("`up` ended before it was ready:\n{}", tail(self.dir.path(), "up.log"));
        };
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no line of JSON: {line}"));
        let more_lines = Arc::<Mutex<Vec<String>>>::default();
        let heard = more_lines.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                heard.lock().unwrap().push(line);
            }
        });
        Gatehouse { dir: self.dir, up, ready, alone: Vec::new(), more_lines }
    }
}

fn spawn(mut command: Command, env: &[(String, String)], dir: &TempDir, log: &str, stdout: Stdio) -> Child {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join(log)).unwrap();
    command.envs(env.iter().map(|(name, value)| (name, value))).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(stdout).stderr(log).spawn().expect("the executable starts")
}

fn tail(dir: &Path, log: &str) -> String {
    let text = std::fs::read_to_string(dir.join(log)).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(60)..].join("\n")
}

impl Gatehouse {
    /// A plan for a fresh folder.
    pub fn plan() -> Plan {
        let dir = Arc::new(TempDir::with_prefix("gatehouse-").expect("a temporary folder"));
        Plan { dir, restart: true, env: Vec::new() }
    }

    /// Starts in a fresh folder with the defaults.
    pub async fn start() -> Self {
        Self::plan().start().await
    }

    /// A plan for the same folder: `up` comes back.
    pub fn again(&self) -> Plan {
        Plan { dir: self.dir.clone(), restart: true, env: Vec::new() }
    }

    /// What `up` printed on standard output after its line: nothing, if it keeps its promise.
    pub fn more_lines(&self) -> Vec<String> {
        self.more_lines.lock().unwrap().clone()
    }

    /// The line that `up` printed.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// The data folder.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("`{name}` is missing in {}", self.ready))
    }

    /// Where control listens, without a slash at the end.
    pub fn control(&self) -> &str {
        self.text("control").trim_end_matches('/')
    }

    /// Where the proxy listens: scheme and authority only.
    pub fn proxy(&self) -> String {
        url::Url::parse(self.text("mcp")).expect("`mcp` is a URL").origin().ascii_serialization()
    }

    /// The client key of the first tenant.
    pub fn client_key(&self) -> &str {
        self.text("client_key")
    }

    /// The platform admin's key.
    pub fn admin_key(&self) -> &str {
        self.text("admin_key")
    }

    /// A platform admin in the first tenant.
    pub fn admin(&self) -> Admin {
        Admin::new(self.control(), self.admin_key())
    }

    /// The URL of a path on the proxy, e.g. `/mcp`.
    pub fn at(&self, path: &str) -> String {
        format!("{}{path}", self.proxy())
    }

    /// An open MCP session on the aggregate of the first tenant.
    pub async fn mcp(&self) -> Mcp {
        Mcp::open(&self.at("/mcp"), self.client_key()).await
    }

    /// An open MCP session on one server of the first tenant.
    pub async fn mcp_of(&self, server: &str) -> Mcp {
        Mcp::open(&self.at(&format!("/servers/{server}/mcp")), self.client_key()).await
    }

    /// The process id that `up` told.
    pub fn pid(&self, plane: Plane) -> u32 {
        let pid = self.ready["pids"][plane.word()].as_u64().expect("`pids` holds both processes");
        u32::try_from(pid).expect("a process id")
    }

    /// The process id of `up` itself.
    pub fn up_pid(&self) -> u32 {
        self.up.id().unwrap_or_default()
    }

    /// `kill -9` of one process, seen gone.
    pub async fn kill(&self, plane: Plane) {
        let pid = self.pid(plane);
        process::kill_now(pid);
        process::gone(pid).await;
    }

    /// Starts one process by itself from the configuration that `up` wrote; returns its id.
    pub fn start_alone(&mut self, plane: Plane, env: &[(String, String)]) -> u32 {
        let mut command = Command::new(executable(&format!("gatehouse-{}", plane.word())));
        command.arg("--config").arg(self.dir.path().join(format!("{}.toml", plane.word())));
        let child = spawn(command, env, &self.dir, &format!("{}-alone.log", plane.word()), Stdio::null());
        let pid = child.id().expect("just started");
        self.alone.push(child);
        pid
    }

    /// Whether `GET path` on a base URL answers 200.
    pub async fn answers(base: &str, path: &str) -> bool {
        let http = crate::Http::default();
        http.send("GET", &format!("{base}{path}"), &[], "").await.is_ok_and(|answer| answer.status == 200)
    }

    /// Waits until a plane says that it is ready.
    pub async fn wait_ready(&self, plane: Plane) {
        let base = match plane {
            Plane::Control => self.control().to_owned(),
            Plane::Proxy => self.proxy(),
        };
        crate::eventually(&format!("{} is ready", plane.word()), || async {
            Self::answers(&base, "/readyz").await.then_some(())
        })
        .await;
    }

    /// Asks `up` to end and waits; returns its exit code.
    pub async fn end(&mut self) -> Option<i32> {
        process::ask_to_end(self.up_pid());
        let status = patient("`up` ends", self.up.wait()).await.expect("`up` is our child");
        status.code()
    }

    /// `kill -9` of everything, seen gone.
    pub async fn kill_all(&mut self) {
        let mut pids = process::descendants(self.up_pid());
        pids.extend(self.alone.iter().filter_map(Child::id));
        pids.push(self.up_pid());
        for pid in pids.iter().rev() {
            process::kill_now(*pid);
        }
        let _ = self.up.wait().await;
        for child in &mut self.alone {
            let _ = child.wait().await;
        }
        for pid in pids {
            process::gone(pid).await;
        }
    }
}

impl Drop for Gatehouse {
    fn drop(&mut self) {
        let mut pids = self.up.id().map(process::descendants).unwrap_or_default();
        pids.extend(self.alone.iter().filter_map(Child::id));
        pids.extend(self.up.id());
        for pid in pids.iter().rev() {
            process::kill_now(*pid);
        }
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            // Reaps what is ours, so that it is not counted as left behind.
            let _ = self.up.try_wait();
            let left: Vec<&u32> = pids.iter().filter(|pid| process::runs(**pid)).collect();
            if left.is_empty() {
                break;
            }
            if Instant::now() > end && !std::thread::panicking() {
                panic!("left behind: {left:?}");
            } else if Instant::now() > end {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        if !std::thread::panicking() {
            let found = canary::found_below(self.dir.path());
            assert!(found.is_empty(), "secrets stand in {found:?}");
        }
        if std::thread::panicking() {
            for log in ["up.log", "control-alone.log", "proxy-alone.log"] {
                eprintln!("--- {log}\n{}", tail(self.dir.path(), log));
            }
        }
    }
}
