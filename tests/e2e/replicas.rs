//! Two controls on one PostgreSQL, three proxies, Redis: any of them may go, and no call fails.

use std::time::Duration;

use serde_json::{Value, json};
use tests::load::{Load, Target};
use tests::postgres::Postgres;
use tests::redis::Redis;
use tests::relay::Relay;
use tests::replicas::{Plan, Replicas};
use tests::{Admin, Behaviour, Http, Mcp, Upstream, eventually};

/// The whole counts stand in `make long`.
fn counts(short: u64, long: u64) -> u64 {
    if std::env::var_os("GATEHOUSE_LONG").is_some() { long } else { short }
}

/// Everything that stands around a test: what is used, and clients that call all the time.
struct Plant {
    replicas: Replicas,
    upstreams: Vec<Upstream>,
    load: Load,
}

impl Plant {
    /// Four servers, each called through every proxy, more than 200 times a second in all.
    async fn start(database: &str, redis: Option<&Redis>) -> Self {
        let plan =
            Plan { controls: 2, proxies: 3, database: database.to_owned(), redis: redis.map(|redis| redis.url()) };
        let replicas = Replicas::start(&plan).await;
        let (mut upstreams, mut targets) = (Vec::new(), Vec::new());
        for name in ["ash", "birch", "cedar", "durian"] {
            let upstream = Upstream::named(name).await;
            let added = add(&replicas.admin(upstreams.len() % 2), name, &upstream.url()).await;
            assert_eq!(added["effective"], json!({"live": 3, "pending": 0, "rejected": []}), "{name}: {added}");
            upstreams.push(upstream);
            for proxy in 0..3 {
                targets.push(Target {
                    url: replicas.at(proxy, "/mcp"),
                    key: replicas.client_key().to_owned(),
                    tool: format!("{name}__echo"),
                    says: name.to_owned(),
                });
            }
        }
        let load = Load::start(targets, Duration::from_millis(50)).await;
        load.more(100).await;
        Self { replicas, upstreams, load }
    }

    /// No call failed, and none reached an upstream twice.
    async fn all_was_well(self) -> Replicas {
        self.load.more(200).await;
        let rate = self.load.rate();
        let (verified, failures) = self.load.finish().await;
        println!("{verified} calls verified at {rate:.0}/s, {} failed", failures.len());
        assert!(failures.is_empty(), "{} failed, the first: {:?}", failures.len(), &failures[..failures.len().min(3)]);
        let repeated: Vec<String> = self.upstreams.iter().flat_map(Upstream::repeated).collect();
        assert!(repeated.is_empty(), "sent twice: {repeated:?}");
        self.replicas
    }
}

async fn add(admin: &Admin, name: &str, url: &str) -> Value {
    admin.post("/api/v1/servers", &json!({"name": name, "url": url})).await.expect(201).json()
}

/// Adds without a probe; `Err` where control was not there, or said that it can't now or that somebody is at it.
async fn try_add(admin: &Admin, name: &str) -> Result<(), String> {
    let body = json!({"name": name, "url": "http://127.0.0.1:9/mcp", "skip_validation": true});
    let answer = admin.try_send("POST", "/api/v1/servers", &[("idempotency-key", name)], &body).await?;
    match answer.status.as_u16() {
        201 => Ok(()),
        502..=504 => Err(answer.text()),
        409 if answer.json()["code"] == "idempotency_running" => Err(answer.text()),
        status => panic!("{name}: {status} {}", answer.text()),
    }
}

/// The servers that a proxy offers as its own table says, by asking each proxy through any control.
async fn settled(admin: &Admin, mounts: u64) {
    eventually(&format!("every proxy has {mounts} mounts"), || async {
        let proxies = admin.get("/api/v1/proxies").await;
        let proxies = proxies.json();
        let all: Vec<u64> = proxies["items"].as_array()?.iter().filter_map(|proxy| proxy["mounts"].as_u64()).collect();
        (all == [mounts; 3]).then_some(())
    })
    .await;
}

/// The epoch that all three proxies are in, if it is one.
async fn epoch(admin: &Admin) -> Option<i64> {
    let proxies = admin.get("/api/v1/proxies").await.json();
    let applied =
        proxies["items"].as_array()?.iter().map(|proxy| proxy["applied"].as_str()?.split('.').next()?.parse().ok());
    let epochs: Vec<i64> = applied.collect::<Option<_>>()?;
    (epochs.len() == 3 && epochs.iter().all(|epoch| *epoch == epochs[0])).then(|| epochs[0])
}

#[tokio::test]
async fn either_control_may_be_killed_at_any_moment_and_no_change_is_lost() {
    let (Some(postgres), Some(redis)) = (Postgres::start(), Redis::start()) else { return };
    let mut plant = Plant::start(&postgres.url(), Some(&redis)).await;
    let (mut acknowledged, mut asked) = (4, Vec::new());
    for round in 0..counts(4, 20) as usize {
        let victim = round % 2;
        let (dying, living) = (plant.replicas.admin(victim), plant.replicas.admin(1 - victim));
        // One change is under way at the one that dies; a retry elsewhere with the same key makes it once.
        let name = format!("dying-{round}");
        let under_way = tokio::spawn(async move { (try_add(&dying, &name).await, name) });
        tokio::time::sleep(Duration::from_millis(7 * round as u64 % 40)).await;
        plant.replicas.kill_control(victim).await;
        let (first, name) = under_way.await.unwrap();
        asked.push(name.clone());
        if first.is_err() {
            eventually("the other control takes the change", || async {
                let taken = try_add(&living, &name).await;
                if taken.is_err() {
                    // As if a minute had passed: who has not finished by then counts as dead.
                    postgres.sql("UPDATE idempotency SET created_at = created_at - 60000000 WHERE state = 'running'");
                }
                taken.ok()
            })
            .await;
        }
        let other = format!("living-{round}");
        try_add(&living, &other).await.unwrap();
        asked.push(other);
        acknowledged += 2;
        plant.replicas.start_control(victim).await;
    }
    for control in [0, 1] {
        settled(&plant.replicas.admin(control), acknowledged).await;
        for name in &asked {
            plant.replicas.admin(control).server(name).await.expect(200);
        }
    }
    plant.all_was_well().await;
}

#[tokio::test]
async fn a_control_may_be_killed_while_its_pushes_are_under_way() {
    let (Some(postgres), Some(redis)) = (Postgres::start(), Redis::start()) else { return };
    let mut plant = Plant::start(&postgres.url(), Some(&redis)).await;
    let mut mounts = 4;
    for round in 0..counts(4, 20) as usize {
        let victim = round % 2;
        let (dying, living) = (plant.replicas.admin(victim), plant.replicas.admin(1 - victim));
        // No proxy takes what is pushed to it: neither change is acknowledged when the control dies.
        (0..3).for_each(|proxy| plant.replicas.freeze_proxy(proxy));
        let names = [format!("dying-{round}"), format!("living-{round}")];
        let asked = [(dying, names[0].clone()), (living.clone(), names[1].clone())];
        let [at_dying, at_living] =
            asked.map(|(admin, name)| tokio::spawn(async move { try_add(&admin, &name).await }));
        for name in &names {
            eventually(&format!("{name} is committed"), || async {
                (living.server(name).await.status == 200).then_some(())
            })
            .await;
        }
        tokio::time::sleep(Duration::from_millis(7 * round as u64 % 40)).await;
        plant.replicas.kill_control(victim).await;
        (0..3).for_each(|proxy| plant.replicas.thaw_proxy(proxy));
        // Its client may have been told or not; the change is there.
        let _told = at_dying.await.unwrap();
        at_living.await.unwrap().unwrap();
        mounts += 2;
        settled(&living, mounts).await;
        plant.replicas.start_control(victim).await;
    }
    settled(&plant.replicas.admin(0), mounts).await;
    plant.all_was_well().await;
}

#[tokio::test]
async fn a_control_may_be_killed_while_it_works_for_the_other() {
    let (Some(postgres), Some(redis)) = (Postgres::start(), Redis::start()) else { return };
    let mut plant = Plant::start(&postgres.url(), Some(&redis)).await;
    let elm = Upstream::named("elm").await;
    add(&plant.replicas.admin(0), "elm", &elm.url()).await;
    for round in 0..counts(2, 6) as usize {
        let (dying, left) = (round % 2, 1 - round % 2);
        // A control that has just come has no proxies: what it wants done, those of the other do.
        plant.replicas.kill_control(left).await;
        settled(&plant.replicas.admin(dying), 5).await;
        plant.replicas.start_control(left).await;
        let admin = plant.replicas.admin(left);
        let (seen, text) = (elm.messages("initialize").len(), format!("once-{round}"));
        elm.misbehave_next("initialize", 1, Behaviour::Hang);
        elm.close_gate();
        let ask = |what: &str, body: Value| {
            let (admin, path) = (admin.clone(), format!("/api/v1/servers/elm/{what}"));
            tokio::spawn(async move { admin.post(&path, &body).await })
        };
        let tested = ask("test", Value::Null);
        eventually("the upstream is looked at", || async { (elm.messages("initialize").len() > seen).then_some(()) })
            .await;
        let called = ask("call", json!({"tool": "slow", "arguments": {"text": text}}));
        eventually("the upstream is called", || async { (elm.calls(&text) == 1).then_some(()) }).await;
        plant.replicas.kill_control(dying).await;
        let (tested, called) = (tested.await.unwrap(), called.await.unwrap());
        // A look may be repeated by another way; a call may not, and says so.
        assert_eq!((tested.status.as_u16(), &tested.json()["ok"]), (200, &json!(true)), "{}", tested.text());
        assert_eq!(
            (called.status.as_u16(), &called.json()["code"]),
            (502, &json!("proxy_refused")),
            "{}",
            called.text()
        );
        assert!(called.text().contains("whether the tool ran is not known"), "{}", called.text());
        elm.open_gate();
        settled(&admin, 5).await;
        plant.replicas.start_control(dying).await;
    }
    plant.all_was_well().await;
    assert!(elm.repeated().is_empty(), "{:?}", elm.repeated());
}

#[tokio::test]
async fn redis_may_be_killed_emptied_and_frozen() {
    let (Some(postgres), Some(mut redis)) = (Postgres::start(), Redis::start()) else { return };
    let plant = Plant::start(&postgres.url(), Some(&redis)).await;
    let mut mounts = 4;
    for (what, name) in
        [("flushed", "flushed"), ("frozen", "frozen"), ("thawed", "thawed"), ("killed", "killed"), ("back", "back")]
    {
        match what {
            "flushed" => redis.flush(),
            "frozen" => redis.freeze(),
            "thawed" => redis.thaw(),
            "killed" => redis.kill(),
            _ => redis.restart(),
        }
        for control in [0, 1] {
            let body =
                json!({"name": format!("{name}-{control}"), "url": "http://127.0.0.1:9/mcp", "skip_validation": true});
            plant.replicas.admin(control).post("/api/v1/servers", &body).await.expect(201);
            mounts += 1;
        }
        settled(&plant.replicas.admin(0), mounts).await;
    }
    plant.all_was_well().await;
}

#[tokio::test]
async fn postgresql_may_be_stopped_for_a_minute() {
    let (Some(mut postgres), Some(redis)) = (Postgres::start(), Redis::start()) else { return };
    let plant = Plant::start(&postgres.url(), Some(&redis)).await;
    postgres.stop();
    for control in [0, 1] {
        for path in ["/api/v1/servers", "/api/v1/servers/ash"] {
            let refused = plant.replicas.admin(control).get(path).await;
            assert_eq!(
                (refused.status.as_u16(), refused.json()["code"].as_str()),
                (503, Some("database_unavailable")),
                "{path}"
            );
            assert!(!refused.header("retry-after").is_empty());
        }
        let http = Http::default();
        let live = |path| plant.replicas.control_at(control, path);
        assert_eq!(http.send("GET", &live("/livez"), &[], "").await.unwrap().status, 200);
        eventually("control says that it is not ready", || async {
            (http.send("GET", &live("/readyz"), &[], "").await.ok()?.status == 503).then_some(())
        })
        .await;
    }
    // What a person would wait for; clients go on calling meanwhile.
    let outage = Duration::from_secs(counts(6, 60));
    tokio::time::sleep(outage).await;
    postgres.restart();
    for control in [0, 1] {
        let begun = std::time::Instant::now();
        plant.replicas.wait_control(control).await;
        println!("control {control} was ready {:?} after PostgreSQL", begun.elapsed());
    }
    add(&plant.replicas.admin(0), "after", &plant.upstreams[0].url()).await;
    settled(&plant.replicas.admin(1), 5).await;
    plant.all_was_well().await;
}

#[tokio::test]
async fn a_slow_postgresql_slows_rest_to_its_deadline_and_nothing_else() {
    let Some(postgres) = Postgres::start() else { return };
    let relay = Relay::to(postgres.address()).await;
    let database = postgres.url().replace(&postgres.address().to_string(), &relay.address().to_string());
    let plant = Plant::start(&database, None).await;
    relay.slow(Duration::from_secs(2));
    let (mut slow, mut refused) = (0, 0);
    for control in [0, 1] {
        let admin = plant.replicas.admin(control);
        let asked = (0..40).map(|_| async {
            let begun = std::time::Instant::now();
            (admin.get("/api/v1/servers").await, begun.elapsed())
        });
        for (answer, took) in futures::future::join_all(asked).await {
            match answer.status.as_u16() {
                200 => slow += 1,
                503 => refused += 1,
                status => panic!("{status} {}", answer.text()),
            }
            println!("{} after {took:?}", answer.status);
        }
    }
    println!("{slow} answered, {refused} refused");
    relay.slow(Duration::ZERO);
    // What was given up is not kept beside what replaced it: 4 to write, 8 to read, and one that listens.
    eventually("each control has no more connections than its pools", || async {
        let open =
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        (postgres.sql(open).trim().parse::<u32>().unwrap() <= 2 * 13).then_some(())
    })
    .await;
    eventually("REST answers again", || async {
        (plant.replicas.admin(0).get("/api/v1/servers").await.status == 200).then_some(())
    })
    .await;
    try_add(&plant.replicas.admin(1), "after").await.unwrap();
    settled(&plant.replicas.admin(0), 5).await;
    plant.all_was_well().await;
}

#[tokio::test]
async fn a_full_postgresql_reads_on_and_loses_nothing() {
    let Some(postgres) = Postgres::on_small_disk(64) else { return };
    let plant = Plant::start(&postgres.url(), None).await;
    let admin = plant.replicas.admin(0);
    postgres.fill();
    let mut full = None;
    for number in 0..1_000 {
        // Texts that can't be pressed together need pages of their own soon.
        let noise: String = (0..60).map(|_| uuid::Uuid::new_v4().simple().to_string()).collect();
        let body = json!({
            "name": format!("filling-{number}"), "url": "http://127.0.0.1:9/mcp", "skip_validation": true, "description": noise,
        });
        let answer = admin.post("/api/v1/servers", &body).await;
        if answer.status != 201 {
            full = Some(answer);
            break;
        }
    }
    let full = full.expect("a disk that is full");
    assert_eq!((full.status.as_u16(), full.json()["code"].as_str()), (507, Some("storage_full")), "{}", full.text());
    let listed = admin.get("/api/v1/servers?page_size=200").await.expect(200).json();
    assert!(listed["next"].is_null(), "more than a page before the disk was full");
    let made = listed["items"].as_array().unwrap().len() as u64;
    postgres.free();
    try_add(&admin, "after").await.unwrap();
    settled(&admin, made + 1).await;
    plant.all_was_well().await;
}

#[tokio::test]
async fn a_database_from_an_older_backup_is_what_counts_and_proxies_follow() {
    let (Some(postgres), Some(redis)) = (Postgres::start(), Redis::start()) else { return };
    let mut plant = Plant::start(&postgres.url(), Some(&redis)).await;
    let backup = postgres.backup();
    for name in ["lost-1", "lost-2"] {
        try_add(&plant.replicas.admin(0), name).await.unwrap();
    }
    settled(&plant.replicas.admin(1), 6).await;
    let before = epoch(&plant.replicas.admin(0)).await.expect("three proxies of one epoch");
    for control in [0, 1] {
        plant.replicas.kill_control(control).await;
    }
    postgres.restore(&backup);
    for control in [0, 1] {
        plant.replicas.start_control(control).await;
    }
    settled(&plant.replicas.admin(0), 4).await;
    try_add(&plant.replicas.admin(1), "after").await.unwrap();
    settled(&plant.replicas.admin(0), 5).await;
    // No proxy takes the old revisions for new ones, and somebody is told.
    eventually("every proxy is in one later epoch", || async {
        (epoch(&plant.replicas.admin(0)).await? > before).then_some(())
    })
    .await;
    let replicas = plant.all_was_well().await;
    let logs = [0, 1].map(|control| replicas.log_of_control(control)).concat();
    assert!(logs.contains("restored from a backup") && logs.contains("alarm=true"), "{logs}");
    for control in [0, 1] {
        assert_eq!(replicas.admin(control).server("lost-1").await.status, 404);
    }
}

#[tokio::test]
async fn a_command_reaches_a_proxy_that_is_attached_elsewhere() {
    let Some(postgres) = Postgres::start() else { return };
    let upstream = Upstream::named("notes").await;
    let plan = Plan { controls: 2, proxies: 1, database: postgres.url(), redis: None };
    let replicas = Replicas::start(&plan).await;
    // The only proxy is attached to one of the two; both can probe, list, call, and recover through it.
    for control in [0, 1] {
        let admin = replicas.admin(control);
        let name = format!("notes-{control}");
        let added = add(&admin, &name, &upstream.url()).await;
        assert_eq!(added["effective"]["live"], 1, "{added}");
        assert_eq!(added["probe"]["needs_auth"], false);
        let tools = admin.get(&format!("/api/v1/servers/{name}/tools")).await.expect(200);
        assert!(tools.text().contains("echo"), "{}", tools.text());
        let body = json!({"tool": "echo", "arguments": {"text": format!("from {control}")}});
        let called = admin.post(&format!("/api/v1/servers/{name}/call"), &body).await.expect(200);
        assert!(called.text().contains(&format!("notes: from {control}")), "{}", called.text());
        assert_eq!(admin.recover(false).await.expect(200).json()["complete"], true);
    }
    let mcp = Mcp::open(&replicas.at(0, "/mcp"), replicas.client_key()).await;
    assert_eq!(mcp.text("notes-1__echo", json!({"text": "hi"})).await, "notes: hi");
    assert!(upstream.repeated().is_empty());
}
