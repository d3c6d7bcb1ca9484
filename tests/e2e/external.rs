//! What is changed somewhere is used everywhere by the calls that start once the answer says so, and what is taken away is
//! gone then. How long that takes is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::postgres::Postgres;
use tests::replicas::{Plan, Replicas};
use tests::{Admin, Guard, Mcp, Upstream, canary, eventually};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::harbour::{add_with, change, connect, tagged, whoami};
use crate::ways::user;

const PROXIES: usize = 3;
/// Between two calls of who calls all the time.
const PAUSE: Duration = Duration::from_millis(20);

/// Two controls on PostgreSQL and three proxies, each proxy at a control of its own as far as there are enough.
async fn plant(more: &[(&'static str, String)]) -> Option<(Replicas, Postgres)> {
    let postgres = Postgres::start()?;
    let plan = Plan { controls: 2, proxies: PROXIES, database: postgres.url(), redis: None };
    Some((Replicas::start_with(&plan, more).await, postgres))
}

/// One open session for each proxy.
async fn sessions(replicas: &Replicas, server: &str, key: &str) -> Vec<Mcp> {
    let mut sessions = Vec::new();
    for proxy in 0..PROXIES {
        sessions.push(Mcp::open(&replicas.at(proxy, &format!("/servers/{server}/mcp")), key).await);
    }
    sessions
}

/// A call, and who it was for the upstream; `None` where it was answered otherwise.
struct Call {
    began: Instant,
    person: Option<String>,
}

/// Sessions that call all the time, whatever is answered.
struct Callers {
    stop: CancellationToken,
    tasks: JoinSet<Vec<Call>>,
    rounds: Vec<Arc<AtomicU64>>,
}

impl Callers {
    fn start(sessions: Vec<Mcp>) -> Self {
        let (stop, mut tasks, mut rounds) = (CancellationToken::new(), JoinSet::new(), Vec::new());
        for mcp in sessions {
            let (stop, round) = (stop.clone(), Arc::<AtomicU64>::default());
            rounds.push(round.clone());
            tasks.spawn(async move {
                let mut calls = Vec::new();
                while !stop.is_cancelled() {
                    let began = Instant::now();
                    let answer = mcp.try_request("tools/call", json!({"name": "whoami", "arguments": {}})).await;
                    let text = answer.ok().and_then(|(_, answer)| {
                        let who = answer["result"]["content"][0]["text"].as_str()?.to_owned();
                        serde_json::from_str::<Value>(&who).ok()
                    });
                    let person = text.and_then(|who| who["person"].as_str().map(str::to_owned));
                    calls.push(Call { began, person });
                    round.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(PAUSE).await;
                }
                calls
            });
        }
        Self { stop, tasks, rounds }
    }

    /// Waits until each has ended so many more calls; after one of them, no call is left that began before.
    async fn go_on(&self, times: u64) {
        let now = || self.rounds.iter().map(|round| round.load(Ordering::Relaxed));
        let wanted: Vec<u64> = now().map(|round| round + times).collect();
        eventually("everybody goes on calling", || async {
            now().zip(&wanted).all(|(round, wanted)| round >= *wanted).then_some(())
        })
        .await;
    }

    /// All calls.
    async fn finish(mut self) -> Vec<Call> {
        self.stop.cancel();
        let mut all = Vec::new();
        while let Some(calls) = self.tasks.join_next().await {
            all.extend(calls.unwrap());
        }
        all
    }
}

#[tokio::test]
async fn a_credential_changed_by_rest_is_used_by_every_call_after_the_answer() {
    let Some((replicas, _postgres)) = plant(&[]).await else { return };
    let old = canary::secret("first");
    let guard = Guard::shut().bearer(&old, "0");
    let upstream = Upstream::guarded("safe", &guard).await;
    let admin = replicas.admin(0);
    add_with(&admin, "safe", &upstream.url(), &json!({"type": "bearer"})).await.expect(201);
    let made = connect(&admin, "safe", &json!({"scope_type": "global", "credential": old})).await;
    let id = made["id"].as_str().unwrap();
    let sessions = sessions(&replicas, "safe", replicas.client_key()).await;
    for mcp in &sessions {
        assert_eq!(whoami(mcp).await["person"], "0");
    }
    let callers = Callers::start(self::sessions(&replicas, "safe", replicas.client_key()).await);
    let mut answered = Vec::new();
    for round in 1..=10 {
        let (token, person) = (canary::secret("next"), round.to_string());
        // The old one stays good: only what is really sent counts.
        guard.accept_bearer(&token, &person);
        let admin = replicas.admin(round % 2);
        let changed = change(&admin, "safe", id, &json!({"credential": token})).await.expect(200).json();
        answered.push(Instant::now());
        assert_eq!(changed["effective"]["pending"], 0, "{changed}");
        for mcp in &sessions {
            assert_eq!(whoami(mcp).await["person"], person.as_str(), "round {round}");
        }
        callers.go_on(2).await;
    }
    let calls = callers.finish().await;
    assert!(calls.len() >= 60, "{}", calls.len());
    for Call { began, person } in &calls {
        let least = answered.iter().filter(|answered| *answered <= began).count();
        let used: usize = person.as_deref().expect("no call fails").parse().unwrap();
        assert!(used >= least, "credential {used} was used by a call after the answer of {least}");
    }
    println!("changed by REST: {} calls beside 10 changes, none after an answer with an older credential", calls.len());
}

#[tokio::test]
async fn a_credential_changed_at_the_other_replica_heals_a_401_at_once_and_is_used_from_then_on() {
    let Some((replicas, _postgres)) = plant(&[]).await else { return };
    let old = canary::secret("first");
    let guard = Guard::shut().bearer(&old, "old");
    let upstream = Upstream::guarded("safe", &guard).await;
    let admin = replicas.admin(0);
    add_with(&admin, "safe", &upstream.url(), &json!({"type": "bearer"})).await.expect(201);
    let made = connect(&admin, "safe", &json!({"scope_type": "global", "credential": old})).await;
    let id = made["id"].as_str().unwrap();
    let sessions = sessions(&replicas, "safe", replicas.client_key()).await;
    for mcp in &sessions {
        whoami(mcp).await;
    }
    let token = canary::secret("second");
    guard.forget_secrets();
    guard.accept_bearer(&token, "new");
    let (other, body, begun) = (replicas.admin(1), json!({"credential": token}), Instant::now());
    let (changed, ()) = tokio::join!(change(&other, "safe", id, &body), async {
        // Calls that meet the old one are refused until the new one is committed, and then healed.
        for mcp in &sessions {
            eventually("a call is healed", || async {
                let answer = mcp.call("whoami", json!({})).await;
                answer["result"]["content"][0]["text"].is_string().then_some(())
            })
            .await;
        }
    });
    let changed = changed.expect(200).json();
    assert_eq!(changed["effective"]["pending"], 0, "{changed}");
    let since = Instant::now();
    let last = guard.bringing(&old, begun).last().map(|seen| seen.at.duration_since(begun));
    println!("changed at the other replica: the old credential was last sent {last:?} after the change began");
    for mcp in &sessions {
        assert_eq!(whoami(mcp).await["person"], "new");
    }
    assert!(guard.bringing(&old, since).is_empty(), "the old one is sent no more");
}

#[tokio::test]
async fn a_token_file_that_another_program_writes_is_used_by_every_proxy_from_its_first_use_on() {
    let folder = tempfile::TempDir::new().unwrap();
    let import = folder.path().display().to_string();
    let Some((replicas, _postgres)) = plant(&[("GATEHOUSE_IMPORT_DIR", import)]).await else { return };
    let admin = replicas.admin(0);
    let tenants = admin.get("/api/v1/tenants").await.expect(200).json();
    let tenant = tenants["items"][0]["id"].as_str().unwrap().to_owned();
    let old = canary::secret("first");
    let guard = Guard::shut().bearer(&old, "first");
    let upstream = Upstream::guarded("safe", &guard).await;
    add_with(&admin, "safe", &upstream.url(), &json!({"type": "bearer"})).await.expect(201);
    connect(&admin, "safe", &json!({"scope_type": "global", "credential": old})).await;
    let sessions = sessions(&replicas, "safe", replicas.client_key()).await;
    for mcp in &sessions {
        assert_eq!(whoami(mcp).await["person"], "first");
    }
    for round in 0..5 {
        let (token, person) = (canary::secret("file"), format!("file {round}"));
        guard.accept_bearer(&token, &person);
        write_import(folder.path(), &tenant, &json!({"access_token": token}));
        let renamed = Instant::now();
        for mcp in &sessions {
            eventually("the file is used by the proxy", || async {
                (whoami(mcp).await["person"] == person.as_str()).then_some(())
            })
            .await;
        }
        println!("a token file: used by every proxy {:?} after its rename", renamed.elapsed());
        for mcp in &sessions {
            assert_eq!(whoami(mcp).await["person"], person.as_str());
        }
    }
}

/// Puts a token file for the global connection of the server `safe` in its place by one rename.
fn write_import(folder: &std::path::Path, tenant: &str, credential: &Value) {
    use std::os::unix::fs::PermissionsExt as _;
    let place = folder.join(tenant).join("safe");
    std::fs::create_dir_all(&place).unwrap();
    let (fresh, file) = (place.join(".global.new"), place.join("global.json"));
    std::fs::write(&fresh, credential.to_string()).unwrap();
    std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

/// What is taken away, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    DeleteServer,
    DisableServer,
    DeleteConnection,
    DisableConnection,
    DeleteUser,
    DisableUser,
    LeaveDepartment,
    DeleteDepartment,
    RevokeKey,
    DeleteTenant,
    DisableTenant,
}

const ALL: [Taken; 11] = [
    Taken::DeleteServer,
    Taken::DisableServer,
    Taken::DeleteConnection,
    Taken::DisableConnection,
    Taken::DeleteUser,
    Taken::DisableUser,
    Taken::LeaveDepartment,
    Taken::DeleteDepartment,
    Taken::RevokeKey,
    Taken::DeleteTenant,
    Taken::DisableTenant,
];

/// A tenant of its own with one user, who calls one server with one secret.
struct Case {
    taken: Taken,
    tenant: String,
    admin: Admin,
    guard: Guard,
    _upstream: Upstream,
    secret: String,
    key: String,
    key_id: String,
    connection: String,
}

impl Case {
    async fn set_up(replicas: &Replicas, taken: Taken) -> Self {
        let tenant = format!("{taken:?}").to_lowercase();
        let admin = replicas.admin(0).tenant(&tenant).await;
        user(&admin, "ann", &["sales"]).await;
        let key = admin.post("/api/v1/keys", &json!({"role": "user", "user": "ann", "label": "ann"})).await;
        let key = key.expect(201).json();
        let secret = canary::secret("taken");
        let guard = Guard::shut().bearer(&secret, "ann");
        let upstream = Upstream::guarded("safe", &guard).await;
        let scope = match taken {
            Taken::LeaveDepartment | Taken::DeleteDepartment => "department",
            Taken::DeleteUser | Taken::DisableUser | Taken::RevokeKey => "user",
            _ => "global",
        };
        let auth = json!({"type": "bearer", "scopes": [scope]});
        add_with(&admin, "safe", &upstream.url(), &auth).await.expect(201);
        let mut body = json!({"scope_type": scope, "credential": secret});
        match scope {
            "department" => body["scope_id"] = json!("sales"),
            "user" => body["scope_id"] = json!("ann"),
            _ => (),
        }
        let connection = connect(&admin, "safe", &body).await["id"].as_str().unwrap().to_owned();
        let text = |member: &Value| member.as_str().unwrap_or_else(|| panic!("{key}")).to_owned();
        let (key, key_id) = (text(&key["key"]), text(&key["id"]));
        Self { taken, tenant, admin, guard, _upstream: upstream, secret, key, key_id, connection }
    }

    /// Takes it away; whether the answer says that every proxy has heard of it. Those of users and departments say nothing.
    async fn take(&self, replicas: &Replicas) -> bool {
        let (admin, null) = (&self.admin, Value::Null);
        let connection = format!("/api/v1/servers/safe/connections/{}", self.connection);
        let (platform, tenant) = (replicas.admin(0), format!("/api/v1/tenants/{}", self.tenant));
        let key = format!("/api/v1/keys/{}", self.key_id);
        let (server, ann, sales) = ("/api/v1/servers/safe", "/api/v1/users/ann", "/api/v1/departments/sales");
        let answer = match self.taken {
            Taken::DeleteServer => tagged(admin, "DELETE", server, server, &null).await,
            Taken::DisableServer => admin.post(&format!("{server}/disable"), &null).await,
            Taken::DeleteConnection => tagged(admin, "DELETE", &connection, &connection, &null).await,
            Taken::DisableConnection => {
                tagged(admin, "PUT", &format!("{connection}/status"), &connection, &json!({"status": "disabled"})).await
            }
            Taken::DeleteUser => tagged(admin, "DELETE", ann, ann, &null).await,
            Taken::DisableUser => admin.post(&format!("{ann}/disable"), &null).await,
            Taken::LeaveDepartment => tagged(admin, "PATCH", ann, ann, &json!({"departments": []})).await,
            Taken::DeleteDepartment => tagged(admin, "DELETE", sales, sales, &null).await,
            Taken::RevokeKey => tagged(admin, "DELETE", &key, &key, &null).await,
            Taken::DeleteTenant => tagged(&platform, "DELETE", &tenant, &tenant, &null).await,
            Taken::DisableTenant => platform.post(&format!("{tenant}/disable"), &null).await,
        };
        assert!(answer.status.is_success(), "{:?}: {} {}", self.taken, answer.status, answer.text());
        let pending = answer.json()["effective"]["pending"].as_u64();
        assert!(pending.is_none_or(|pending| pending == 0), "{:?}: {}", self.taken, answer.text());
        pending.is_some()
    }
}

#[tokio::test]
async fn whatever_is_deleted_or_disabled_no_upstream_sees_its_header_lines_after_the_answer() {
    let Some((replicas, _postgres)) = plant(&[]).await else { return };
    let mut cases = Vec::new();
    for taken in ALL {
        let case = Case::set_up(&replicas, taken).await;
        let mut sessions = Vec::new();
        for proxy in 0..PROXIES {
            let url = replicas.at(proxy, &format!("/t/{}/servers/safe/mcp", case.tenant));
            let mcp = eventually(&format!("{taken:?}: its connection serves"), || async {
                Mcp::try_open(&url, &case.key, tests::mcp::REVISION).await.ok()
            })
            .await;
            assert_eq!(whoami(&mcp).await["person"], "ann", "{taken:?}");
            sessions.push(mcp);
        }
        cases.push((case, Callers::start(sessions)));
    }
    // Everybody calls through every proxy all the time, whatever is answered.
    for (case, callers) in cases {
        let taken = case.taken;
        let before = Instant::now();
        eventually("its lines are seen", || async {
            (!case.guard.bringing(&case.secret, before).is_empty()).then_some(())
        })
        .await;
        let asked = Instant::now();
        let heard = case.take(&replicas).await;
        let answered = asked.elapsed();
        callers.go_on(1).await;
        if !heard {
            eventually("every proxy has heard of it", || async {
                let now = Instant::now();
                callers.go_on(3).await;
                case.guard.bringing(&case.secret, now).is_empty().then_some(())
            })
            .await;
        }
        let since = Instant::now();
        callers.go_on(10).await;
        let late = case.guard.bringing(&case.secret, since);
        assert!(late.is_empty(), "{taken:?}: {} requests too late, the first {:?}", late.len(), late[0].asks);
        let last = case.guard.bringing(&case.secret, asked).last().map(|seen| seen.at.duration_since(asked));
        println!("{taken:?}: answered after {answered:?}, its lines were last seen after {last:?}");
        callers.finish().await;
    }
}
