//! Both real processes in a temporary folder, and the fleet of played proxies that attaches to the first.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child as Process, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::BenchError;
use crate::child::{ChildError, LOADING, TESTED, hold_to};
use crate::client::{ClientError, Connection};
use crate::session::Target;

const CONTROL: &str = "gatehouse-control";
const PROXY: &str = "gatehouse-proxy";
/// How long a process may take until it is ready.
const STARTING: Duration = Duration::from_secs(60);

/// A control, and a proxy if one was started; killed when dropped.
pub(crate) struct House {
    dir: TempDir,
    rest: SocketAddr,
    link: SocketAddr,
    mcp: SocketAddr,
    admin_key: String,
    client_key: String,
    control: Option<Killed>,
    proxy: Option<Killed>,
}

/// A process that ends with its handle.
struct Killed(Process);

impl Drop for Killed {
    fn drop(&mut self) {
        // Nobody is left to be told.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl House {
    /// A fresh folder with a running control.
    pub(crate) async fn start() -> Result<Self, BenchError> {
        let dir = TempDir::new()?;
        let (rest, link, mcp) = (free()?, free()?, free()?);
        let mut init = Command::new(beside(CONTROL)?);
        init.args(["init", "--json", "--data-dir"]).arg(dir.path());
        for (flag, address) in [
            ("--listen", rest),
            ("--link-listen", link),
            ("--metrics-listen", free()?),
            ("--mcp-listen", mcp),
            ("--mcp-metrics-listen", free()?),
            ("--mcp-peer-listen", free()?),
        ] {
            init.arg(flag).arg(address.to_string());
        }
        let made: Value = serde_json::from_slice(&init.output()?.stdout)?;
        let key = |name: &'static str| made.get(name).and_then(Value::as_str).map(str::to_owned);
        let mut house = Self {
            rest,
            link,
            mcp,
            admin_key: key("admin_key").ok_or(ChildError::NoFigure("admin_key"))?,
            client_key: key("client_key").ok_or(ChildError::NoFigure("client_key"))?,
            dir,
            control: None,
            proxy: None,
        };
        house.start_control().await?;
        Ok(house)
    }

    /// Starts control on the core under test and waits until it is ready.
    pub(crate) async fn start_control(&mut self) -> Result<(), BenchError> {
        self.control = Some(self.spawn(CONTROL, "control.toml")?);
        ready(self.rest).await
    }

    /// Starts the proxy on the core under test and waits until it is ready; answers how long that took.
    pub(crate) async fn start_proxy(&mut self) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        self.proxy = Some(self.spawn(PROXY, "proxy.toml")?);
        ready(self.mcp).await?;
        Ok(begun.elapsed())
    }

    /// `kill -9`.
    pub(crate) fn kill_control(&mut self) {
        self.control = None;
    }

    /// `kill -9`.
    pub(crate) fn kill_proxy(&mut self) {
        self.proxy = None;
    }

    /// A REST client with the admin's key.
    pub(crate) async fn rest(&self) -> Result<Rest, BenchError> {
        let connection = Connection::open(self.rest).await?;
        Ok(Rest { connection, address: self.rest, key: self.admin_key.clone(), body: Vec::new() })
    }

    /// The way to everything the proxy has.
    pub(crate) fn target(&self) -> Target {
        Target { name: "house", address: self.mcp, path: "/mcp".into(), key: self.client_key.clone(), prefix: "" }
    }

    /// Played proxies, attached and up to date.
    pub(crate) fn fleet(&self, proxies: usize) -> Result<Fleet, BenchError> {
        let pki = self.dir.path().join("pki");
        let mut command = Command::new(beside("bench-fleet")?);
        command.args(["--control", &self.link.to_string(), "--proxies", &proxies.to_string()]);
        for (flag, file) in [("--ca", "ca.pem"), ("--cert", "proxy.pem"), ("--key", "proxy.key")] {
            command.arg(flag).arg(pki.join(file));
        }
        hold_to(LOADING)?;
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let said = process.stdout.take().ok_or(ChildError::NoFigure("stdout"))?;
        let mut fleet = Fleet { process: Killed(process), said: BufReader::new(said) };
        fleet.hear()?;
        Ok(fleet)
    }

    fn spawn(&self, program: &'static str, config: &str) -> Result<Killed, BenchError> {
        hold_to(TESTED)?;
        let log = std::fs::File::create(self.dir.path().join(format!("{program}.log")))?;
        let started = Command::new(beside(program)?)
            .arg("--config")
            .arg(self.dir.path().join(config))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        hold_to(LOADING)?;
        Ok(Killed(started?))
    }
}

/// Played proxies in a process of their own.
pub(crate) struct Fleet {
    process: Killed,
    said: BufReader<ChildStdout>,
}

impl Fleet {
    /// Tells the played proxies something and waits until it is done.
    pub(crate) fn tell(&mut self, command: &str) -> Result<(), BenchError> {
        let input = self.process.0.stdin.as_mut().ok_or(ChildError::NoFigure("stdin"))?;
        writeln!(input, "{command}")?;
        self.hear()
    }

    fn hear(&mut self) -> Result<(), BenchError> {
        let mut said = String::new();
        self.said.read_line(&mut said)?;
        if said.starts_with('{') { Ok(()) } else { Err(ChildError::NotReady { program: "bench-fleet", said }.into()) }
    }
}

/// One connection to control's REST.
pub(crate) struct Rest {
    connection: Connection,
    address: SocketAddr,
    key: String,
    body: Vec<u8>,
}

impl Rest {
    /// Asks, and takes nothing but this status for an answer.
    pub(crate) async fn ask(
        &mut self,
        what: &'static str,
        line: &str,
        if_match: Option<i64>,
        body: &str,
        status: u16,
    ) -> Result<Value, BenchError> {
        let condition = if_match.map(|generation| format!("if-match: \"{generation}\"\r\n")).unwrap_or_default();
        let request = format!(
            "{line} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n{condition}content-type: application/json\r\n\
             content-length: {}\r\n\r\n{body}",
            self.address,
            self.key,
            body.len()
        );
        let head = self.connection.exchange(request.as_bytes(), &mut self.body).await?;
        if head.status != status {
            let body = String::from_utf8_lossy(&self.body).chars().take(300).collect();
            return Err(ClientError::Status { what, status: head.status, body }.into());
        }
        Ok(if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body)? })
    }

    /// Adds a server without asking its upstream.
    pub(crate) async fn add_unasked(&mut self, name: &str) -> Result<Value, BenchError> {
        let body = format!(r#"{{"name":"{name}","url":"http://127.0.0.1:9/mcp","skip_validation":true}}"#);
        self.ask("add", "POST /api/v1/servers", None, &body, 201).await
    }
}

/// Asks `/readyz` until it says yes.
async fn ready(address: SocketAddr) -> Result<(), BenchError> {
    let begun = Instant::now();
    let request = format!("GET /readyz HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    let mut body = Vec::new();
    loop {
        let asked = async { Connection::open(address).await?.exchange(request.as_bytes(), &mut body).await };
        match asked.await {
            Ok(head) if head.status == 200 => return Ok(()),
            _ if begun.elapsed() > STARTING => return Err(ChildError::NoFigure("readiness").into()),
            _ => tokio::time::sleep(Duration::from_millis(1)).await,
        }
    }
}

fn free() -> std::io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

fn beside(program: &str) -> std::io::Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(program))
}
