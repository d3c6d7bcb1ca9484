//! The keys above all secrets change while calls that need a secret go on, and whatever dies meanwhile.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tests::gatehouse::Plane;
use tests::load::{Load, Target};
use tests::postgres::Postgres;
use tests::replicas::{Plan, Replicas};
use tests::{Admin, Gatehouse, Guard, Upstream, eventually};

use crate::harbour::{add_with, connect};

/// Where a rotation can be cut; tried here.
pub(crate) const POINTS: [&str; 2] = ["rotation.keys_made", "rotation.page"];
/// Control's timers are hurried, so that a rotation needs no minute to settle; the database's time is not.
const SCALE: &str = "5";
/// Secrets beside the one that is called with: more than one page of them.
const OTHERS: usize = 210;

/// A server whose callers need the secret, and more connections than one page has.
async fn prepare(admin: &Admin, upstream: &Upstream, secret: &str) {
    add_with(admin, "safe", &upstream.url(), &json!({"type": "bearer", "scopes": ["global"]})).await.expect(201);
    connect(admin, "safe", &json!({"scope_type": "global", "credential": secret})).await;
    let many = json!({"name": "many", "url": "http://127.0.0.1:9/mcp", "skip_validation": true,
        "auth": {"type": "bearer", "scopes": ["department"]}});
    admin.post("/api/v1/servers", &many).await.expect(201);
    for at in 0..OTHERS {
        let name = format!("d{at}");
        admin.post("/api/v1/departments", &json!({"name": name})).await.expect(201);
        connect(admin, "many", &json!({"scope_type": "department", "scope_id": name, "credential": format!("t{at}")}))
            .await;
    }
}

/// Writes and reads secrets all the time: each new credential is opened by a test of its connection.
struct Writer {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Writer {
    fn start(admin: Admin, secret: &str) -> Self {
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, counted, body) = (stop.clone(), rounds.clone(), json!({"token": secret}));
        let task = tokio::spawn(async move {
            while !stopped.load(Ordering::SeqCst) {
                let put = admin.try_send("PUT", "/api/v1/servers/safe/credentials", &[("if-match", "*")], &body).await;
                let put = put.expect("control is there");
                assert_eq!(put.status, 200, "{}", put.text());
                let tested = admin.post("/api/v1/servers/safe/test", &Value::Null).await;
                assert_eq!(tested.status, 200, "{}", tested.text());
                counted.fetch_add(1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Self { stop, rounds, task }
    }

    async fn finish(self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("every write and read went well");
        self.rounds.load(Ordering::SeqCst)
    }
}

fn target(url: String, key: &str) -> Target {
    Target { url, key: key.to_owned(), tool: "safe__echo".to_owned(), says: "safe".to_owned() }
}

/// Begins a rotation and waits for its end.
async fn rotated(admin: &Admin, body: &Value) -> Value {
    admin.post("/api/v1/vault/rotate", body).await.expect(200);
    ended(admin, body["what"].as_str().unwrap()).await
}

async fn ended(admin: &Admin, what: &str) -> Value {
    eventually(&format!("the rotation of {what} ends"), || async {
        let state = admin.try_send("GET", "/api/v1/vault", &[], &Value::Null).await.ok()?;
        let jobs = state.json()["jobs"].as_array()?.clone();
        jobs.into_iter().find(|job| job["what"] == what && job["state"] != "running")
    })
    .await
}

async fn keks(admin: &Admin) -> Vec<(bool, u64)> {
    let state = admin.get("/api/v1/vault").await.json();
    let keks = state["keks"].as_array().unwrap();
    assert!(keks.iter().all(|kek| kek["configured"] == true && kek["healthy"] == true), "{state}");
    keks.iter().map(|kek| (kek["writes"] == true, kek["data_keys"].as_u64().unwrap())).collect()
}

fn write_key(path: &Path, key: &[u8]) {
    std::fs::write(path, key).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn new_key(seed: u8) -> Vec<u8> {
    (0..32u8).map(|at| at.wrapping_mul(37) ^ seed).collect()
}

#[tokio::test]
async fn r31_keys_of_tenants_rotate_under_load_on_sqlite_and_a_killed_rotation_goes_on() {
    let guard = Guard::shut().bearer("tok-safe", "ann");
    let upstream = Upstream::guarded("safe", &guard).await;
    let mut house = Gatehouse::plan().no_restart().env("GATEHOUSE_TIME_SCALE", SCALE).start().await;
    let admin = house.admin();
    prepare(&admin, &upstream, "tok-safe").await;
    let load = Load::start(vec![target(house.at("/mcp"), house.client_key())], Duration::from_millis(20)).await;
    let writer = Writer::start(house.admin(), "tok-safe");
    load.more(20).await;
    let done = rotated(&admin, &json!({"what": "tenant"})).await;
    assert_eq!((&done["state"], &done["failure"]), (&json!("done"), &Value::Null), "{done}");
    assert!(done["done"].as_u64().unwrap() > OTHERS as u64, "{done}");
    let rounds = writer.finish().await;
    println!("{rounds} credentials were written and read meanwhile");

    // Killed at each point, it goes on with the next control.
    house.kill(Plane::Control).await;
    for point in POINTS {
        let scale = ("GATEHOUSE_TIME_SCALE".to_owned(), SCALE.to_owned());
        let cut = [scale.clone(), ("GATEHOUSE_CRASH_AT".to_owned(), point.to_owned())];
        let armed = house.start_alone(Plane::Control, &cut);
        house.wait_ready(Plane::Control).await;
        let _ = admin.try_send("POST", "/api/v1/vault/rotate", &[], &json!({"what": "tenant"})).await;
        tests::process::gone(armed).await;
        let calm = house.start_alone(Plane::Control, &[scale]);
        house.wait_ready(Plane::Control).await;
        let done = ended(&admin, "tenant").await;
        assert_eq!(done["state"], "done", "{point}: {done}");
        admin.post("/api/v1/servers/safe/test", &Value::Null).await.expect(200);
        tests::process::kill_now(calm);
        tests::process::gone(calm).await;
    }
    load.more(20).await;
    let (verified, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {verified} failed, the first: {:?}", failures.len(), failures.first());
}

#[tokio::test]
async fn r31_another_kek_takes_over_under_load_with_two_controls_on_postgres() {
    let Some(postgres) = Postgres::start() else { return };
    let guard = Guard::shut().bearer("tok-safe", "ann");
    let upstream = Upstream::guarded("safe", &guard).await;
    let folder = tempfile::tempdir().unwrap();
    let other = folder.path().join("other");
    write_key(&other, &new_key(0x80));
    let plan = Plan { controls: 2, proxies: 2, database: postgres.url(), redis: None };
    let more = [("GATEHOUSE_KEK_FILES_OLD", other.display().to_string()), ("GATEHOUSE_TIME_SCALE", SCALE.to_owned())];
    let mut replicas = Replicas::start_with(&plan, &more).await;
    let admins = [replicas.admin(0), replicas.admin(1)];
    prepare(&admins[0], &upstream, "tok-safe").await;
    let targets = (0..2).map(|proxy| target(replicas.at(proxy, "/mcp"), replicas.client_key())).collect();
    let load = Load::start(targets, Duration::from_millis(20)).await;
    load.more(20).await;
    assert_eq!(keks(&admins[0]).await.len(), 2, "both can be read, before either is more than that");
    let before = keks(&admins[0]).await;
    assert!(before[0].0 && before[0].1 > 0 && before[1] == (false, 0), "{before:?}");

    // The other one writes from now on; control by control, while calls go on.
    let kek = replicas.folder().join("kek");
    let old = std::fs::read(&kek).unwrap();
    write_key(&kek, &new_key(0x80));
    write_key(&other, &old);
    for at in 0..2 {
        replicas.kill_control(at).await;
        replicas.start_control(at).await;
    }
    let writer = Writer::start(replicas.admin(1), "tok-safe");
    let done = rotated(&admins[0], &json!({"what": "kek"})).await;
    assert_eq!((&done["state"], &done["failure"]), (&json!("done"), &Value::Null), "{done}");
    let after = keks(&admins[1]).await;
    assert!(after[0].0 && after[0].1 > 0 && after[1] == (false, 0), "{after:?}");

    // Data keys too, and the control that does it is killed in the middle: the other one goes on.
    writer.finish().await;
    replicas.kill_control(0).await;
    replicas.start_control_cut(0, "rotation.page");
    replicas.wait_control(0).await;
    let _ = admins[0].try_send("POST", "/api/v1/vault/rotate", &[], &json!({"what": "tenant"})).await;
    eventually("the control dies on its way", || async { (!replicas.control_runs(0)).then_some(()) }).await;
    let done = ended(&admins[1], "tenant").await;
    assert_eq!(done["state"], "done", "{done}");
    replicas.start_control(0).await;
    for admin in &admins {
        admin.post("/api/v1/servers/safe/test", &Value::Null).await.expect(200);
    }
    load.more(20).await;
    let (verified, failures) = load.finish().await;
    assert!(failures.is_empty(), "{} of {verified} failed, the first: {:?}", failures.len(), failures.first());
}

#[tokio::test]
async fn r32_a_key_out_of_a_variable_opens_the_house_and_is_gone_from_the_process() {
    use base64::Engine as _;
    let mut house = Gatehouse::plan().no_restart().start().await;
    let admin = house.admin();
    house.kill(Plane::Control).await;
    // The same key, out of a variable: what was sealed opens.
    let key = std::fs::read(house.dir().join("kek")).unwrap();
    let text = base64::engine::general_purpose::STANDARD.encode(&key);
    let config = house.dir().join("control.toml");
    let lines = std::fs::read_to_string(&config).unwrap();
    let without: String =
        lines.lines().filter(|line| !line.starts_with("kek_file")).map(|line| format!("{line}\n")).collect();
    std::fs::write(&config, format!("kek_env = \"HOUSE_KEK\"\n{without}")).unwrap();
    let pid = house.start_alone(Plane::Control, &[("HOUSE_KEK".to_owned(), text.clone())]);
    house.wait_ready(Plane::Control).await;
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    assert!(
        !environment.windows(text.len()).any(|window| window == text.as_bytes()),
        "the key stands in its environment"
    );
    assert_eq!(keks(&admin).await.len(), 1);
    let tested = admin.get("/api/v1/servers").await;
    assert_eq!(tested.status, 200);
}

#[test]
fn r30_only_the_import_knows_ciphertexts_of_other_systems() {
    let sources = tests::packages::repository().join("crates/control/src");
    let (mut folders, mut knows) = (vec![sources.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if std::fs::read_to_string(&path).is_ok_and(|text| text.contains("legacy::")) {
                knows.push(path.strip_prefix(&sources).unwrap().display().to_string());
            }
        }
    }
    knows.sort();
    assert_eq!(knows, ["import.rs", "import/weknora.rs", "import/yuxi.rs"]);
}
