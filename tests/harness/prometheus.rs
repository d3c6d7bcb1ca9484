//! A Prometheus server of one test, with the configuration of `deploy/`, and what a process exposes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::guarded::{Guarded, free_port};
use crate::packages::{repository, skipped};
use crate::{Gatehouse, Http};

/// A running server; ends with the test.
pub struct Prometheus {
    server: Guarded,
    port: u16,
    http: Http,
    _folder: TempDir,
}

/// The metrics listeners of both processes.
#[derive(Debug, Clone)]
pub struct Listeners {
    /// Control's, `host:port`.
    pub control: String,
    /// The proxy's.
    pub proxy: String,
}

impl Listeners {
    /// Those of a house, from the file in which `up` keeps its ports.
    pub fn of(house: &Gatehouse) -> Self {
        let text = std::fs::read_to_string(house.dir().join("ports.json")).expect("`up` keeps its ports");
        let ports: Value = serde_json::from_str(&text).expect("JSON");
        let of = |name: &str| ports[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {ports}")).to_owned();
        Self { control: of("control_metrics"), proxy: of("mcp_metrics") }
    }
}

/// What a process exposes: each metric with its type.
pub async fn exposed(listener: &str) -> BTreeMap<String, String> {
    let types = text(listener).await;
    let types = types.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    types.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect()
}

/// The text of `/metrics`.
pub async fn text(listener: &str) -> String {
    let answer = Http::default().send("GET", &format!("http://{listener}/metrics"), &[], "").await;
    answer.unwrap_or_else(|error| panic!("{error}")).expect(200).text()
}

impl Prometheus {
    /// Starts one with `deploy/prometheus`, whose targets are these; `None`, said aloud, if `SKIP` holds
    /// `prometheus`.
    pub fn start(listeners: &Listeners) -> Option<Self> {
        if skipped("prometheus") {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("gatehouse-prometheus-").tempdir().expect("a folder");
        let deployed = repository().join("deploy/prometheus");
        let mut config = std::fs::read_to_string(deployed.join("prometheus.yaml")).expect("the configuration");
        for (from, to) in [
            (r#"["control-1:5014", "control-2:5014"]"#, format!("[{:?}]", listeners.control)),
            (r#"["proxy-1:5013", "proxy-2:5013"]"#, format!("[{:?}]", listeners.proxy)),
            ("_interval: 15s", "_interval: 250ms".to_owned()),
        ] {
            assert!(config.contains(from), "deploy/prometheus/prometheus.yaml has no {from}");
            config = config.replace(from, &to);
        }
        std::fs::write(folder.path().join("prometheus.yaml"), config).expect("a file");
        std::fs::copy(deployed.join("alerts.yaml"), folder.path().join("alerts.yaml")).expect("the rules");
        let port = free_port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut prometheus = Command::new(program("prometheus"));
        prometheus.arg(format!("--config.file={}", folder.path().join("prometheus.yaml").display()));
        prometheus.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        prometheus.arg(format!("--web.listen-address={address}"));
        let mut server = Guarded::start(std::process::id(), folder.path(), None, &mut prometheus);
        server.accepts(address, folder.path());
        Some(Self { server, port, http: Http::default(), _folder: folder })
    }

    /// What a query finds now.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let query: String = url::form_urlencoded::byte_serialize(expression.as_bytes()).collect();
        let url = format!("http://127.0.0.1:{}/api/v1/query?query={query}", self.port);
        let answer = self.http.send("GET", &url, &[], "").await.unwrap_or_else(|error| panic!("{error}"));
        // Right after its start it answers 503.
        if answer.status == 503 {
            return Vec::new();
        }
        let answer = answer.expect(200).json();
        assert_eq!(answer["status"], "success", "{expression}: {answer}");
        answer["data"]["result"].as_array().cloned().unwrap_or_default()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        if self.server.runs() {
            self.server.end(Signal::SIGKILL);
        }
    }
}

/// What `promtool` says of a file of `deploy/prometheus`; panics if it finds anything wrong.
pub fn checked(what: &str, file: &str) {
    let path = repository().join("deploy/prometheus").join(file);
    let said = Command::new(program("promtool")).args(["check", what]).arg(path).output().expect("promtool starts");
    let text = [said.stdout, said.stderr].concat();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&text));
}

fn program(name: &str) -> PathBuf {
    let found = std::env::var_os("PATH")
        .and_then(|path| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|path| path.exists()));
    found.unwrap_or_else(|| panic!("`{name}` is missing: run tests/setup.sh, or skip it with SKIP=prometheus"))
}
