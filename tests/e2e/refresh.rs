//! Many callers, several replicas, one token: each rotation is one request, and no grant is lost, whatever breaks.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use tests::authority::{Fault, Shape};
use tests::gatehouse::Plane;
use tests::postgres::Postgres;
use tests::redis::Redis;
use tests::replicas::{Plan, Replicas};
use tests::{Admin, Authority, Gatehouse, Guard, Mcp, Upstream, eventually, process};

use crate::harbour::{add_with, connect, connections, whoami};

/// The whole counts stand in `make long`.
fn counts(short: usize, long: usize) -> usize {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { long } else { short }
}

/// Where a refresh can be cut: before the request, after the answer, after the commit.
pub(crate) const POINTS: [&str; 3] = ["refresh.leased", "refresh.answered", "refresh.committed"];

/// The client that tokens were given to before Gatehouse was told of them.
const CLIENT: &str = "desk";

/// The settings of a server where everybody shares one sign-in.
fn shared_login(authority: &Authority, secret: &str) -> Value {
    json!({"type": "authorization_code", "issuer": authority.issuer(), "client_id": CLIENT, "client_secret": secret,
        "scopes": ["global"]})
}

/// Gives a server the tokens of a sign-in that has happened elsewhere.
async fn share(admin: &Admin, server: &str, authority: &Authority, person: &str) -> Value {
    let credential = authority.signed_in(CLIENT, person);
    connect(admin, server, &json!({"scope_type": "global", "credential": credential})).await
}

/// Two controls, two proxies, PostgreSQL and Redis; servers `s0`, `s1` … at one upstream, each with its own sign-in.
struct Plant {
    replicas: Replicas,
    authority: Authority,
    guard: Guard,
    _upstream: Upstream,
    servers: Vec<String>,
    postgres: Postgres,
    redis: Redis,
}

impl Plant {
    async fn start(servers: usize) -> Option<Self> {
        let (postgres, redis) = (Postgres::start()?, Redis::start()?);
        let plan = Plan { controls: 2, proxies: 2, database: postgres.url(), redis: Some(redis.url()) };
        let replicas = Replicas::start(&plan).await;
        let authority = Authority::shaped(Shape { lifetime: Some(3600), ..Shape::default() }).await;
        let secret = authority.client(CLIENT);
        let guard = Guard::by(&authority);
        let upstream = Upstream::guarded("safe", &guard).await;
        let admin = replicas.admin(0);
        let servers: Vec<String> = (0..servers).map(|at| format!("s{at}")).collect();
        for server in &servers {
            add_with(&admin, server, &upstream.url(), &shared_login(&authority, &secret)).await.expect(201);
            share(&admin, server, &authority, server).await;
        }
        Some(Self { replicas, authority, guard, _upstream: upstream, servers, postgres, redis })
    }

    /// An open session at a server through a proxy.
    async fn mcp(&self, proxy: usize, server: &str) -> Mcp {
        Mcp::open(&self.replicas.at(proxy, &format!("/servers/{server}/mcp")), self.replicas.client_key()).await
    }

    /// One session for each proxy.
    async fn pair(&self, server: &str) -> [Mcp; 2] {
        [self.mcp(0, server).await, self.mcp(1, server).await]
    }

    /// No sign-in was lost, none of its tokens was used twice.
    async fn nothing_is_lost(&self) {
        assert_eq!((self.authority.grants_refused(), self.authority.reused()), (0, 0), "a refresh token was wasted");
        assert_eq!(self.authority.alive(), self.servers.len());
        for server in &self.servers {
            let connection = connections(&self.replicas.admin(1), server).await.remove(0);
            assert_eq!(connection["status"], "active", "{connection}");
        }
    }
}

/// How many of these calls failed, and the first that did.
fn failed(answers: &[Value]) -> Vec<&Value> {
    answers.iter().filter(|answer| answer["result"]["content"].is_null()).collect()
}

#[tokio::test]
async fn a_hundred_concurrent_calls_on_an_expired_token_are_one_token_request_and_no_failed_call() {
    let Some(plant) = Plant::start(1).await else { return };
    let sessions = plant.pair("s0").await;
    for mcp in &sessions {
        assert_eq!(whoami(mcp).await["person"], "s0");
    }
    let connection = connections(&plant.replicas.admin(0), "s0").await.remove(0);
    let test = format!("/api/v1/servers/s0/connections/{}/test", connection["id"].as_str().unwrap());
    for round in 0..counts(3, 20) {
        let before = plant.authority.refreshes();
        plant.authority.expire_access();
        // The token endpoint takes its time, so that all of them meet.
        plant.authority.next([Fault::Slow(Duration::from_millis(300))]);
        let calls = (0..100).map(|at| {
            let mcp = &sessions[at % 2];
            async move { mcp.call("whoami", json!({})).await }
        });
        let admin = plant.replicas.admin(round % 2);
        let (answers, tested) = tokio::join!(join_all(calls), admin.post(&test, &Value::Null));
        assert!(failed(&answers).is_empty(), "{:?}", failed(&answers)[0]);
        assert_eq!(tested.status, 200, "the test beside them: {}", tested.text());
        assert_eq!(plant.authority.refreshes() - before, 1, "round {round}: one token request");
        plant.authority.calm();
    }
    plant.nothing_is_lost().await;
}

#[tokio::test]
async fn no_rotation_is_refused_where_each_refresh_token_is_good_for_one_use() {
    let Some(mut plant) = Plant::start(1).await else { return };
    let sessions = plant.pair("s0").await;
    let rotations = counts(500, 10_000);
    let before = plant.authority.refreshes();
    for round in 0..rotations {
        // Redis goes in the middle, and comes back.
        if round == rotations / 3 {
            plant.redis.kill();
        } else if round == rotations * 2 / 3 {
            plant.redis.restart();
        }
        plant.authority.expire_access();
        let calls = (0..4).map(|at| {
            let mcp = &sessions[at % 2];
            async move { mcp.call("whoami", json!({})).await }
        });
        let answers = join_all(calls).await;
        assert!(failed(&answers).is_empty(), "round {round}: {:?}", failed(&answers)[0]);
    }
    assert_eq!(plant.authority.refreshes() - before, rotations, "one token request for each rotation");
    plant.nothing_is_lost().await;
}

#[tokio::test]
async fn a_token_endpoint_that_breaks_costs_no_grant() {
    // Each waits longer after each failure, so the failures are spread over many.
    let Some(plant) = Plant::start(counts(34, 250)).await else { return };
    let faults = [
        Fault::Status(503),
        Fault::Status(500),
        Fault::Garbage,
        Fault::Cut,
        Fault::Status(502),
        Fault::Error("temporarily_unavailable"),
        Fault::Status(429),
    ];
    let mut sessions = Vec::new();
    for (at, server) in plant.servers.iter().enumerate() {
        sessions.push(plant.mcp(at % 2, server).await);
    }
    plant.authority.next(faults.iter().copied().cycle().take(counts(100, 1_000)));
    plant.authority.expire_access();
    // Whoever calls is told that it is for a moment, never that a login is needed.
    loop {
        let answers = join_all(sessions.iter().map(|mcp| mcp.call("whoami", json!({})))).await;
        for answer in failed(&answers) {
            let data = &answer["error"]["data"];
            assert_eq!((&answer["error"]["code"], &data["error"]), (&json!(-31005), &json!("credential_unavailable")));
            assert!(data["needs_reauth"] != true && data["retry_after_ms"].is_u64(), "{answer}");
        }
        if plant.authority.left() == 0 {
            break;
        }
        plant.authority.expire_access();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for (server, mcp) in plant.servers.iter().zip(&sessions) {
        eventually("it works again by itself", || async {
            let answer = mcp.call("whoami", json!({})).await;
            answer["result"]["content"][0]["text"].as_str().is_some_and(|text| text.contains(server)).then_some(())
        })
        .await;
    }
    plant.nothing_is_lost().await;
}

#[tokio::test]
async fn a_control_that_dies_in_a_refresh_loses_at_most_the_one_grant_whose_new_token_it_held_in_its_hand() {
    let mut lost = BTreeMap::new();
    for point in POINTS {
        let mut house = Gatehouse::plan().no_restart().start().await;
        let authority = Authority::start().await;
        let secret = authority.client(CLIENT);
        let guard = Guard::by(&authority);
        let upstream = Upstream::guarded("safe", &guard).await;
        let admin = house.admin();
        add_with(&admin, "safe", &upstream.url(), &shared_login(&authority, &secret)).await.expect(201);
        share(&admin, "safe", &authority, "somebody").await;
        let mcp = house.mcp_of("safe").await;
        assert_eq!(whoami(&mcp).await["person"], "somebody");

        house.kill(Plane::Control).await;
        let armed = house.start_alone(Plane::Control, &[("GATEHOUSE_CRASH_AT".to_owned(), point.to_owned())]);
        house.wait_ready(Plane::Control).await;
        authority.expire_access();
        eventually(&format!("{point} is reached"), || async {
            let _ = mcp.call("whoami", json!({})).await;
            (!process::runs(armed)).then_some(())
        })
        .await;
        house.start_alone(Plane::Control, &[]);
        house.wait_ready(Plane::Control).await;
        let needs_login = eventually(&format!("{point}: it is decided"), || async {
            let answer = mcp.call("whoami", json!({})).await;
            if answer["result"]["content"][0]["text"].is_string() {
                return Some(false);
            }
            (answer["error"]["data"]["error"] == "reauth_required").then_some(true)
        })
        .await;
        assert!(authority.reused() <= 1, "{point}: the old token is tried once");
        if needs_login {
            let connection = connections(&house.admin(), "safe").await.remove(0);
            assert_eq!(connection["status"], "reauth_required", "{connection}");
            assert!(connection["last_error"]["message"].is_string(), "it says why: {connection}");
        }
        lost.insert(point, needs_login);
    }
    println!("{lost:?}");
    let windows: Vec<&&str> = lost.iter().filter(|(_, lost)| **lost).map(|(point, _)| point).collect();
    assert!(windows.len() <= 1, "more than the one window: {lost:?}");
    assert_eq!(windows, [&"refresh.answered"], "after the answer, before the commit");
}

#[tokio::test]
async fn the_database_stopping_in_the_middle_costs_no_grant() {
    let Some(mut plant) = Plant::start(1).await else { return };
    let sessions = plant.pair("s0").await;
    for _ in 0..counts(3, 20) {
        plant.postgres.stop();
        plant.authority.expire_access();
        let answers = join_all(sessions.iter().map(|mcp| mcp.call("whoami", json!({})))).await;
        for answer in failed(&answers) {
            assert!(answer["error"]["data"]["needs_reauth"] != true, "{answer}");
        }
        plant.postgres.restart();
        for mcp in &sessions {
            eventually("it works again by itself", || async {
                let answer = mcp.call("whoami", json!({})).await;
                answer["result"]["content"][0]["text"].is_string().then_some(())
            })
            .await;
        }
    }
    plant.nothing_is_lost().await;
    assert!(plant.guard.refused() > 0);
}

#[tokio::test]
async fn calls_go_on_for_hours_while_control_is_away() {
    // A minute in each second: the soft and the hard end of what a proxy keeps both pass.
    let house = Gatehouse::plan().no_restart().env("GATEHOUSE_TIME_SCALE", "60").start().await;
    let token = tests::canary::secret("static");
    let guard = Guard::shut().bearer(&token, "everybody");
    let upstream = Upstream::guarded("safe", &guard).await;
    let admin = house.admin();
    add_with(&admin, "safe", &upstream.url(), &json!({"type": "bearer"})).await.expect(201);
    connect(&admin, "safe", &json!({"scope_type": "global", "credential": token})).await;
    let mcp = house.mcp_of("safe").await;
    assert_eq!(whoami(&mcp).await["person"], "everybody");
    house.kill(Plane::Control).await;
    let beats = 20;
    for _ in 0..beats {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(whoami(&mcp).await["person"], "everybody");
    }
}
