//! Several controls on one PostgreSQL and several proxies, each a process of its own that a test may kill.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::gatehouse::executable;
use crate::guarded::free_port;
use crate::{Admin, Gatehouse, canary, eventually, patient, process};

/// How many of each there are, and what they use.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Replicas of control.
    pub controls: usize,
    /// Proxies; each knows all controls and begins with one of them.
    pub proxies: usize,
    /// The database's address.
    pub database: String,
    /// Redis' address.
    pub redis: Option<String>,
}

/// Everything that runs. Ends with it.
pub struct Replicas {
    folder: TempDir,
    keys: Value,
    controls: Vec<Node>,
    proxies: Vec<Node>,
}

/// One process, running or not.
struct Node {
    name: String,
    program: &'static str,
    environment: BTreeMap<&'static str, String>,
    listens: SocketAddr,
    child: Option<Child>,
}

impl Replicas {
    /// Makes keys, certificates and schema, and starts everything.
    pub async fn start(plan: &Plan) -> Self {
        Self::start_with(plan, &[]).await
    }

    /// The same with more variables for every control.
    pub async fn start_with(plan: &Plan, more: &[(&'static str, String)]) -> Self {
        Self::start_all(plan, more, &[]).await
    }

    /// The same with more variables for every process.
    pub async fn start_everywhere(plan: &Plan, more: &[(&'static str, String)]) -> Self {
        Self::start_all(plan, more, more).await
    }

    async fn start_all(
        plan: &Plan,
        of_controls: &[(&'static str, String)],
        of_proxies: &[(&'static str, String)],
    ) -> Self {
        let folder = TempDir::with_prefix("gatehouse-replicas-").expect("a folder");
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut controls: Vec<Node> = (0..plan.controls).map(|at| Node::control(at, plan, &path)).collect();
        // One name for all of them, as behind a balancer: else each start would tell proxies of another.
        let public = controls.first().expect("at least one control").url();
        for control in &mut controls {
            control.environment.insert("GATEHOUSE_PUBLIC_URL", public.clone());
            control.environment.extend(of_controls.iter().cloned());
        }
        let links: Vec<String> =
            controls.iter().map(|control| control.environment["GATEHOUSE_LINK_LISTEN"].clone()).collect();
        // Each proxy is left to one control until that is gone: a change at another has to find its way.
        let proxies = (0..plan.proxies).map(|at| {
            let mut links = links.clone();
            links.rotate_left(at % plan.controls);
            Node::proxy(at, &links.join(","), &path)
        });
        let mut proxies: Vec<Node> = proxies.collect();
        for proxy in &mut proxies {
            proxy.environment.extend(of_proxies.iter().cloned());
        }
        let init = controls.first_mut().expect("at least one control").job(&["init", "--json"], folder.path()).await;
        let keys = serde_json::from_slice(&init).expect("init prints one line of JSON");
        let issue = ["certificate", "issue", "--pool", "default", "--out", &path("node")];
        controls[0].job(&issue, folder.path()).await;
        let mut replicas = Self { folder, keys, controls, proxies };
        for at in 0..plan.controls {
            replicas.start_control(at).await;
        }
        for at in 0..plan.proxies {
            replicas.start_proxy(at).await;
        }
        // A proxy is ready a moment before the other replicas have heard of it.
        for at in 0..plan.controls {
            let admin = replicas.admin(at);
            eventually("every control knows every proxy", || async {
                let proxies = admin.get("/api/v1/proxies").await.json();
                (proxies["items"].as_array()?.len() == plan.proxies).then_some(())
            })
            .await;
        }
        replicas
    }

    /// A platform admin at one control.
    pub fn admin(&self, control: usize) -> Admin {
        Admin::new(&self.controls[control].url(), self.key("admin_key"))
    }

    /// The first tenant's client key.
    pub fn client_key(&self) -> &str {
        self.key("client_key")
    }

    fn key(&self, name: &str) -> &str {
        self.keys[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {}", self.keys))
    }

    /// Where everything that the processes leave behind is: logs, tables, keys.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Where a process shows its metrics, with the controls first.
    pub fn metrics(&self) -> Vec<String> {
        let all = self.controls.iter().chain(&self.proxies);
        all.map(|node| node.environment["GATEHOUSE_METRICS_LISTEN"].clone()).collect()
    }

    /// Starts a control that dies at a crash point; it is not waited for.
    pub fn start_control_cut(&mut self, at: usize, point: &str) {
        let control = &mut self.controls[at];
        control.environment.insert("GATEHOUSE_CRASH_AT", point.to_owned());
        control.start(self.folder.path());
        control.environment.remove("GATEHOUSE_CRASH_AT");
    }

    /// Whether a control still runs.
    pub fn control_runs(&self, at: usize) -> bool {
        self.controls[at].child.as_ref().and_then(Child::id).is_some_and(process::runs)
    }

    /// Where a proxy listens, with a path.
    pub fn at(&self, proxy: usize, path: &str) -> String {
        format!("{}{path}", self.proxies[proxy].url())
    }

    /// Where a control listens, with a path.
    pub fn control_at(&self, control: usize, path: &str) -> String {
        format!("{}{path}", self.controls[control].url())
    }

    /// Where a proxy listens for others.
    pub fn peer_address(&self, proxy: usize) -> SocketAddr {
        self.proxies[proxy].environment["GATEHOUSE_PEER_LISTEN"].parse().expect("an address")
    }

    /// From its next start on a control has another variable.
    pub fn set_control(&mut self, at: usize, variable: &'static str, value: &str) {
        self.controls[at].environment.insert(variable, value.to_owned());
    }

    /// Runs `gatehouse-control` with these arguments, in the folder of everything.
    pub async fn control_job(&mut self, arguments: &[&str]) -> Vec<u8> {
        self.controls[0].job(arguments, self.folder.path()).await
    }

    /// `kill -9`.
    pub async fn kill_control(&mut self, at: usize) {
        self.controls[at].kill().await;
    }

    /// `kill -9`.
    pub async fn kill_proxy(&mut self, at: usize) {
        self.proxies[at].kill().await;
    }

    /// Asks a proxy to end, and waits until it has.
    pub async fn end_proxy(&mut self, at: usize) {
        let proxy = &mut self.proxies[at];
        process::ask_to_end(proxy.pid());
        let mut child = proxy.child.take().expect("it runs");
        patient("a proxy that was asked to ends", child.wait()).await.expect("our child");
    }

    /// Lets a proxy do nothing until it is thawed: what comes for it waits.
    pub fn freeze_proxy(&self, at: usize) {
        process::freeze(self.proxies[at].pid());
    }

    /// Goes on after [`freeze_proxy`](Self::freeze_proxy).
    pub fn thaw_proxy(&self, at: usize) {
        process::thaw(self.proxies[at].pid());
    }

    /// Starts a control and waits until it is ready.
    pub async fn start_control(&mut self, at: usize) {
        self.controls[at].start(self.folder.path());
        self.wait_control(at).await;
    }

    /// Starts a control; it may be long until it is ready.
    pub fn start_control_unready(&mut self, at: usize) {
        self.controls[at].start(self.folder.path());
    }

    /// Waits until a control says that it is ready.
    pub async fn wait_control(&self, at: usize) {
        self.controls[at].ready().await;
    }

    /// Starts a proxy and waits until it is ready.
    pub async fn start_proxy(&mut self, at: usize) {
        self.proxies[at].start(self.folder.path());
        self.proxies[at].ready().await;
    }

    /// What a proxy logged.
    pub fn log_of_proxy(&self, at: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("proxy-{at}.log"))).unwrap_or_default()
    }

    /// What a process logged.
    pub fn log_of_control(&self, at: usize) -> String {
        std::fs::read_to_string(self.folder.path().join(format!("control-{at}.log"))).unwrap_or_default()
    }
}

impl Node {
    fn control(at: usize, plan: &Plan, path: &impl Fn(&str) -> String) -> Self {
        let (rest, link, metrics) = (free(), free(), free());
        let mut environment = BTreeMap::from([
            ("GATEHOUSE_LISTEN", rest.to_string()),
            ("GATEHOUSE_LINK_LISTEN", link.to_string()),
            ("GATEHOUSE_METRICS_LISTEN", metrics.to_string()),
            ("GATEHOUSE_DATABASE", plan.database.clone()),
            ("GATEHOUSE_KEK_FILE", path("kek")),
            ("GATEHOUSE_PKI_DIR", path("pki")),
            ("GATEHOUSE_DEV", "true".to_owned()),
        ]);
        if let Some(redis) = &plan.redis {
            environment.insert("GATEHOUSE_REDIS", redis.clone());
        }
        Self { name: format!("control-{at}"), program: "gatehouse-control", environment, listens: rest, child: None }
    }

    fn proxy(at: usize, controls: &str, path: &impl Fn(&str) -> String) -> Self {
        let (mcp, metrics, peers) = (free(), free(), free());
        let environment = BTreeMap::from([
            ("GATEHOUSE_LISTEN", mcp.to_string()),
            ("GATEHOUSE_METRICS_LISTEN", metrics.to_string()),
            ("GATEHOUSE_PEER_LISTEN", peers.to_string()),
            ("GATEHOUSE_CONTROL", controls.to_owned()),
            ("GATEHOUSE_LINK_CA", path("node/ca.pem")),
            ("GATEHOUSE_LINK_CERT", path("node/proxy.pem")),
            ("GATEHOUSE_LINK_KEY", path("node/proxy.key")),
            ("GATEHOUSE_DATA_DIR", path(&format!("proxy-{at}"))),
            ("GATEHOUSE_DEV", "true".to_owned()),
        ]);
        Self { name: format!("proxy-{at}"), program: "gatehouse-proxy", environment, listens: mcp, child: None }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listens)
    }

    fn command(&self, folder: &Path) -> Command {
        let log = folder.join(format!("{}.log", self.name));
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).expect("a log");
        let mut command = Command::new(executable(self.program));
        command.envs(&self.environment).current_dir(folder).stdin(Stdio::null()).stderr(log).kill_on_drop(true);
        command
    }

    async fn job(&mut self, arguments: &[&str], folder: &Path) -> Vec<u8> {
        let mut command = self.command(folder);
        let output = patient("the job ends", command.args(arguments).stdout(Stdio::piped()).output()).await;
        let output = output.expect("the program starts");
        let log = std::fs::read_to_string(folder.join(format!("{}.log", self.name))).unwrap_or_default();
        assert!(output.status.success(), "{arguments:?}: {}\n{log}", output.status);
        output.stdout
    }

    fn start(&mut self, folder: &Path) {
        let child = self.command(folder).stdout(Stdio::null()).spawn().expect("the program starts");
        self.child = Some(child);
    }

    async fn ready(&self) {
        let url = self.url();
        eventually(&format!("{} is ready", self.name), || async {
            Gatehouse::answers(&url, "/readyz").await.then_some(())
        })
        .await;
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().and_then(Child::id).expect("it runs")
    }

    async fn kill(&mut self) {
        process::kill_now(self.pid());
        let mut child = self.child.take().expect("it runs");
        patient("a killed process ends", child.wait()).await.expect("our child");
    }
}

fn free() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], free_port()))
}

impl Drop for Replicas {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let found = canary::found_below(self.folder.path());
            assert!(found.is_empty(), "secrets stand in {found:?}");
        }
        if std::thread::panicking() {
            for node in self.controls.iter().chain(&self.proxies) {
                let log = std::fs::read_to_string(self.folder.path().join(format!("{}.log", node.name)));
                let log = log.unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {}\n{}", node.name, lines[lines.len().saturating_sub(40)..].join("\n"));
            }
        }
    }
}
