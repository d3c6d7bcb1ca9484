//! What is taken away is gone on every proxy, under load, and stays gone when control is away.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::load::{Load, Target};
use tests::mcp_sign_in::Typescript;
use tests::replicas::{Plan, Replicas};
use tests::{Admin, Browser, Issuer, Mcp, Postgres, Upstream, eventually, patient};

use crate::oidc::trust;
use crate::people::{Person, let_in, serve_clients};
use crate::ways::{knock_with, user};

const PROXIES: usize = 3;

/// Something that opens all proxies, and what takes it away.
struct Opener {
    what: &'static str,
    /// For each proxy.
    bearers: Vec<String>,
    /// Of the proxy that the bearer is for, where it is for one URL.
    host: Option<String>,
    method: &'static str,
    path: String,
}

impl Opener {
    fn of(what: &'static str, bearer: &str, method: &'static str, path: String) -> Self {
        Self { what, bearers: vec![bearer.to_owned(); PROXIES], host: None, method, path }
    }

    /// What a proxy answers to it.
    async fn status(&self, plant: &Plant, proxy: usize) -> u16 {
        let bearer = format!("Bearer {}", self.bearers[proxy]);
        let mut headers = vec![("authorization", bearer.as_str())];
        headers.extend(self.host.as_deref().map(|host| ("host", host)));
        knock_with(&plant.replicas.at(proxy, "/mcp"), &headers).await.status.as_u16()
    }

    async fn until(&self, plant: &Plant, status: u16) {
        for proxy in 0..PROXIES {
            eventually(&format!("{} meets {status} at proxy {proxy}", self.what), || async {
                (self.status(plant, proxy).await == status).then_some(())
            })
            .await;
        }
    }
}

/// Three proxies under load.
struct Plant {
    replicas: Replicas,
    admin: Admin,
    _notes: Upstream,
    load: Option<Load>,
}

impl Plant {
    async fn start(database: &str) -> Self {
        let plan = Plan { controls: 1, proxies: PROXIES, database: database.to_owned(), redis: None };
        let replicas = Replicas::start(&plan).await;
        let admin = replicas.admin(0);
        let notes = Upstream::named("notes").await;
        admin.add("notes", &notes.url()).await;
        let targets = (0..PROXIES * 4).map(|at| Target {
            url: replicas.at(at % PROXIES, "/mcp"),
            key: replicas.client_key().to_owned(),
            tool: "notes__echo".to_owned(),
            says: "notes".to_owned(),
        });
        let load = Load::start(targets.collect(), Duration::from_millis(50)).await;
        load.more(100).await;
        Self { replicas, admin, _notes: notes, load: Some(load) }
    }

    async fn key(&self, body: &Value) -> (String, String) {
        let made = self.admin.post("/api/v1/keys", body).await.expect(201).json();
        (made["key"].as_str().unwrap().to_owned(), format!("/api/v1/keys/{}", made["id"].as_str().unwrap()))
    }

    async fn token(&self, by: &str, login: &str) -> String {
        let made = self.admin.with_key(by).post("/api/v1/tokens", &json!({"user": login, "ttl": 900})).await;
        made.expect(201).json()["token"].as_str().unwrap().to_owned()
    }
}

#[tokio::test]
async fn what_is_revoked_is_refused_by_every_proxy_under_load_and_stays_so_without_control() {
    let Some(postgres) = Postgres::start() else { return };
    let Some(browser) = Browser::start().await else { return };
    let accounts = json!({"id-dora": {"preferred_username": "dora"}});
    let Some(mut issuer) = Issuer::start(&accounts).await else { return };
    let mut plant = Plant::start(&postgres.url()).await;
    for login in ["ann", "ben", "cleo", "dora", "eve"] {
        user(&plant.admin, login, &[]).await;
    }
    let mut openers = Vec::new();

    // Eve let a client in at the first proxy; the others are told that they are that one, as behind a balancer.
    let first = plant.replicas.at(0, "/mcp");
    serve_clients(&plant.admin).await;
    let eve = Person::new(&plant.admin, &browser, "eve").await;
    let mut client = let_in(&eve, async || Typescript::start(&first).await, &first).await;
    client.signed_in().await;
    let token = client.tokens().await["access_token"].as_str().unwrap().to_owned();
    let grants = plant.admin.get("/api/v1/grants").await.expect(200).json();
    let path = format!("/api/v1/grants/{}", grants["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{grants}")));
    let mut opener = Opener::of("a token of a client that was let in", &token, "DELETE", path);
    opener.host = first.strip_prefix("http://").and_then(|rest| rest.split('/').next()).map(str::to_owned);
    openers.push(opener);

    // An issuer that MCP clients are told of would come before our own authorization server.
    trust(&plant.admin, issuer.url(), true).await.expect(201);

    let (key, path) = plant.key(&json!({"role": "user", "label": "lost"})).await;
    openers.push(Opener::of("a key", &key, "DELETE", path));
    let (key, _) = plant.key(&json!({"role": "user", "user": "ann"})).await;
    openers.push(Opener::of("a key of a user who is gone", &key, "POST", "/api/v1/users/ann/disable".to_owned()));
    let (backend, _) = plant.key(&json!({"role": "user", "scopes": ["act_as"]})).await;
    let token = plant.token(&backend, "ben").await;
    openers.push(Opener::of("a token of a user who is gone", &token, "POST", "/api/v1/users/ben/disable".to_owned()));
    let (backend, path) = plant.key(&json!({"role": "user", "scopes": ["act_as"]})).await;
    let token = plant.token(&backend, "cleo").await;
    openers.push(Opener::of("a token of a key that is gone", &token, "DELETE", path));
    let mut bearers = Vec::new();
    for proxy in 0..PROXIES {
        bearers.push(issuer.token("id-dora", &plant.replicas.at(proxy, "/mcp")).await);
    }
    let path = "/api/v1/issuers/company/disable".to_owned();
    openers.push(Opener { what: "a token of an issuer", bearers, host: None, method: "POST", path });

    for opener in &openers {
        opener.until(&plant, 200).await;
    }
    let mcp = Mcp::open(&plant.replicas.at(1, "/mcp"), &openers[1].bearers[1]).await;
    let mut stream = mcp.listen().await;
    for opener in &openers {
        let begun = Instant::now();
        let answer =
            plant.admin.try_send(opener.method, &opener.path, &[("if-match", "*")], &Value::Null).await.unwrap();
        assert!(answer.status.is_success(), "{}: {}", opener.what, answer.text());
        opener.until(&plant, 401).await;
        println!("{} is refused by {PROXIES} proxies after {:?}", opener.what, begun.elapsed());
    }
    patient("the stream of a key that is gone ends", async { while stream.next().await.is_some() {} }).await;
    assert!(
        client.call("notes__echo", &json!({"text": "still?"})).await.is_err(),
        "and a refresh token is no way back"
    );

    let load = plant.load.take().unwrap();
    load.more(100).await;
    let rate = load.rate();
    let (verified, failures) = load.finish().await;
    println!("{verified} calls verified at {rate:.0}/s");
    assert!(failures.is_empty(), "{} failed, the first: {:?}", failures.len(), failures.first());

    plant.replicas.kill_control(0).await;
    for proxy in [0, 1] {
        plant.replicas.kill_proxy(proxy).await;
        plant.replicas.start_proxy(proxy).await;
    }
    for opener in &openers {
        for proxy in 0..PROXIES {
            assert_eq!(opener.status(&plant, proxy).await, 401, "{} without control, proxy {proxy}", opener.what);
        }
    }
    for proxy in 0..PROXIES {
        let mcp = Mcp::open(&plant.replicas.at(proxy, "/mcp"), plant.replicas.client_key()).await;
        assert_eq!(mcp.text("notes__echo", json!({"text": format!("on {proxy}")})).await, format!("notes: on {proxy}"));
    }
}
