//! `deploy/compose.yaml`, understood far enough to start Gatehouse's own services as plain processes, with
//! the environment, arguments, volumes and order that stand there.
//!
//! What differs: each listener has a free port of 127.0.0.1, other services' names lead to where they are,
//! volumes are folders, and `GATEHOUSE_DEV` is set, since no upstream of a test is off loopback.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::deploy::{Dockerfile, document, pairs, texts};
use crate::gatehouse::executable;
use crate::guarded::free_port;
use crate::postgres::Postgres;
use crate::redis::Redis;
use crate::{eventually, patient, process};

/// One service of the file that runs a program of ours.
struct Service {
    program: String,
    command: Vec<String>,
    environment: BTreeMap<String, String>,
    /// Where in the container, and which volume.
    volumes: Vec<(String, String)>,
    needs: Vec<String>,
    is_job: bool,
}

impl Service {
    /// `None` for one that runs somebody else's program.
    fn of(value: &Value) -> Option<Self> {
        let dockerfile = value["build"]["dockerfile"].as_str()?.strip_prefix("deploy/")?;
        let volumes = texts(&value["volumes"]);
        let volumes = volumes.iter().filter_map(|volume| {
            let (name, target) = volume.split_once(':')?;
            Some((target.trim_end_matches(":ro").to_owned(), name.to_owned()))
        });
        Some(Self {
            program: Dockerfile::read(dockerfile).program(),
            command: texts(&value["command"]),
            environment: pairs(&value["environment"]),
            volumes: volumes.collect(),
            needs: value["depends_on"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect(),
            is_job: value["restart"] == "no",
        })
    }
}

/// Everything that runs. Ends with it.
pub struct Topology {
    folder: TempDir,
    services: BTreeMap<String, Service>,
    others: Vec<String>,
    ports: BTreeMap<(String, u16), u16>,
    running: BTreeMap<String, Child>,
    keys: Value,
    // After what uses them.
    _postgres: Postgres,
    _redis: Redis,
}

impl Topology {
    /// Starts all services in the order of their needs; `None` where PostgreSQL or Redis are skipped.
    pub async fn start() -> Option<Self> {
        let (postgres, redis) = (Postgres::start()?, Redis::start()?);
        postgres.sql("CREATE ROLE gatehouse LOGIN; ALTER DATABASE gatehouse OWNER TO gatehouse");
        let file = document("compose.yaml");
        let all = file["services"].as_object().expect("services");
        let ports = [
            (("postgres".to_owned(), 5432), postgres.address().port()),
            (("redis".to_owned(), 6379), redis.address().port()),
        ];
        let mut topology = Self {
            folder: TempDir::with_prefix("gatehouse-compose-").expect("a folder"),
            services: all.iter().filter_map(|(name, value)| Some((name.clone(), Service::of(value)?))).collect(),
            others: all.keys().cloned().collect(),
            ports: ports.into(),
            running: BTreeMap::new(),
            keys: Value::Null,
            _postgres: postgres,
            _redis: redis,
        };
        let secrets = topology.folder.path().join("secrets");
        std::fs::create_dir(&secrets).expect("a folder");
        for name in file["secrets"].as_object().expect("secrets").keys() {
            std::fs::write(secrets.join(name), "not asked for\n").expect("a secret");
        }
        topology.start_in_order().await;
        Some(topology)
    }

    async fn start_in_order(&mut self) {
        let mut waiting: Vec<String> = self.services.keys().cloned().collect();
        while !waiting.is_empty() {
            let ours_first = |name: &String| self.services[name].needs.iter().all(|need| !waiting.contains(need));
            let at = waiting.iter().position(ours_first).expect("needs in no circle");
            let name = waiting.remove(at);
            if self.services[&name].is_job {
                self.run_job(&name).await;
            } else {
                let child = self.command(&name, None).spawn().expect("the program starts");
                self.running.insert(name, child);
            }
        }
        let names: Vec<String> = self.running.keys().cloned().collect();
        for name in names {
            self.wait_healthy(&name).await;
        }
    }

    async fn run_job(&mut self, name: &str) {
        let mut command = self.command(name, None);
        let json = name == "init";
        if json {
            // The same for a program as for people.
            command.arg("--json");
        }
        let output = patient(name, command.stdout(Stdio::piped()).output()).await.expect("the program starts");
        assert!(output.status.success(), "{name}: {}\n{}", output.status, self.log(name));
        if json {
            self.keys = serde_json::from_slice(&output.stdout).expect("a line of JSON");
        }
    }

    /// Waits until the service's own health check is content.
    pub async fn wait_healthy(&mut self, name: &str) {
        let (program, check) = {
            let mut check = self.command(name, Some(&["health"]));
            check.stdout(Stdio::null()).stderr(Stdio::null());
            (self.services[name].program.clone(), tokio::sync::Mutex::new(check))
        };
        let log = self.log_file(name);
        eventually(&format!("{name} ({program}) is healthy: see {}", log.display()), || async {
            check.lock().await.status().await.expect("the program starts").success().then_some(())
        })
        .await;
    }

    /// The program with the service's environment and arguments, or others.
    fn command(&mut self, name: &str, arguments: Option<&[&str]>) -> Command {
        let Service { program, command, environment, .. } = &self.services[name];
        let (program, environment) = (executable(program), environment.clone());
        let arguments = match arguments {
            Some(arguments) => arguments.iter().map(|&word| word.to_owned()).collect(),
            None => command.clone(),
        };
        let mut started = Command::new(program);
        started.env_clear().env("GATEHOUSE_DEV", "1");
        for (variable, value) in environment {
            started.env(variable, self.translate(name, &value));
        }
        started.args(arguments.iter().map(|word| self.translate(name, word)).collect::<Vec<_>>());
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file(name)).expect("a log");
        started.current_dir(self.folder.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        started.kill_on_drop(true);
        started
    }

    /// A text of the file as it must be here: paths, listeners and other services' addresses.
    fn translate(&mut self, service: &str, text: &str) -> String {
        if text.starts_with('/') {
            return self.path(service, text).display().to_string();
        }
        if let Some(port) = text.strip_prefix("0.0.0.0:").and_then(|port| port.parse().ok()) {
            return format!("127.0.0.1:{}", self.port(service, port));
        }
        let mut translated = text.to_owned();
        for other in self.others.clone() {
            translated = self.translate_address(&translated, &other);
        }
        translated
    }

    /// Every `name:port` of this service, in its new place.
    fn translate_address(&mut self, text: &str, other: &str) -> String {
        let (mut done, mut rest) = (String::new(), text);
        while let Some(at) = rest.find(other) {
            let (before, found) = rest.split_at(at);
            let after = &found[other.len()..];
            let digits: String =
                after.strip_prefix(':').unwrap_or("").chars().take_while(char::is_ascii_digit).collect();
            let is_whole = !before.ends_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
            done.push_str(before);
            match digits.parse() {
                Ok(port) if is_whole => {
                    done.push_str(&format!("127.0.0.1:{}", self.port(other, port)));
                    rest = &after[1 + digits.len()..];
                }
                _ => {
                    done.push_str(other);
                    rest = after;
                }
            }
        }
        done + rest
    }

    fn path(&self, service: &str, path: &str) -> PathBuf {
        if let Some(secret) = path.strip_prefix("/run/secrets/") {
            return self.folder.path().join("secrets").join(secret);
        }
        let volumes = &self.services[service].volumes;
        let mut mounted = volumes.iter().filter_map(|(target, volume)| {
            let below = Path::new(path).strip_prefix(target).ok()?;
            Some(self.folder.path().join("volumes").join(volume).join(below))
        });
        let place = mounted.next_back().unwrap_or_else(|| panic!("{service}: {path} is on no volume"));
        std::fs::create_dir_all(place.parent().expect("a folder")).expect("a folder");
        place
    }

    fn port(&mut self, service: &str, port: u16) -> u16 {
        *self.ports.entry((service.to_owned(), port)).or_insert_with(free_port)
    }

    /// Where a port of a service is.
    pub fn url(&mut self, service: &str, port: u16) -> String {
        format!("http://127.0.0.1:{}", self.port(service, port))
    }

    /// The platform admin's key.
    pub fn admin_key(&self) -> &str {
        self.keys["admin_key"].as_str().expect("init printed it")
    }

    /// The first client's key.
    pub fn client_key(&self) -> &str {
        self.keys["client_key"].as_str().expect("init printed it")
    }

    /// Runs a job once more; what it prints.
    pub async fn again(&mut self, job: &str) -> String {
        let output = self.command(job, None).stdout(Stdio::piped()).output().await.expect("the program starts");
        assert!(output.status.success(), "{job}: {}\n{}", output.status, self.log(job));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Asks a service to end, as `docker compose stop` does, and waits for it.
    pub async fn stop(&mut self, name: &str) -> ExitStatus {
        let mut child = self.running.remove(name).expect("it runs");
        process::ask_to_end(child.id().expect("it runs"));
        patient(&format!("{name} ends"), child.wait()).await.expect("our child")
    }

    /// Starts a service that was stopped, and waits until it is healthy.
    pub async fn start_again(&mut self, name: &str) {
        let child = self.command(name, None).spawn().expect("the program starts");
        self.running.insert(name.to_owned(), child);
        self.wait_healthy(name).await;
    }

    fn log_file(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.log_file(name)).unwrap_or_default()
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for name in self.services.keys() {
                let log = self.log(name);
                let lines: Vec<&str> = log.lines().collect();
                eprintln!("--- {name}\n{}", lines[lines.len().saturating_sub(20)..].join("\n"));
            }
        }
    }
}
