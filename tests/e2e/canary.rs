//! Marked secrets of every kind go their ways through a whole house: each is seen at its upstream, and none anywhere else.

use std::path::Path;

use serde_json::{Value, json};
use tests::authority::Shape;
use tests::collector::Collector;
use tests::postgres::Postgres;
use tests::prometheus::text;
use tests::redis::Redis;
use tests::replicas::{Plan, Replicas};
use tests::{Admin, Authority, Guard, Mcp, Upstream, canary};

use crate::harbour::{Person, add_with, connect, link_at};

/// Everything that a REST client can read.
const READABLE: [&str; 13] = [
    "/api/v1/servers",
    "/api/v1/users",
    "/api/v1/departments",
    "/api/v1/keys",
    "/api/v1/issuers",
    "/api/v1/toolsets",
    "/api/v1/proxies",
    "/api/v1/tenants",
    "/api/v1/egress-rules",
    "/api/v1/sessions",
    "/api/v1/grants",
    "/api/v1/audit",
    "/api/openapi.json",
];

/// A server, what it is given, and where the secrets are to be seen.
struct Way {
    name: &'static str,
    auth: Value,
    credential: Value,
    secrets: Vec<String>,
    guard: Guard,
    upstream: Upstream,
}

impl Way {
    async fn new(name: &'static str, auth: Value, credential: Value, secrets: &[&String], guard: Guard) -> Self {
        let secrets = secrets.iter().map(|secret| (*secret).clone()).collect();
        let upstream = Upstream::guarded(name, &guard).await;
        Self { name, auth, credential, secrets, guard, upstream }
    }
}

async fn ways(authority: &Authority) -> Vec<Way> {
    let secret = canary::secret;
    let (bearer, key, password, query) = (secret("bearer"), secret("key"), secret("password"), secret("query"));
    let (first, second, bound) = (secret("first"), secret("second"), secret("bound"));
    let pair = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(format!("ann:{password}"))
    };
    let client = authority.client("canary");
    let secrets = |members: Value| json!({"secrets": members});
    vec![
        Way::new("bearer", json!({"type": "bearer"}), json!(bearer), &[&bearer], Guard::shut().bearer(&bearer, "ann"))
            .await,
        Way::new(
            "key",
            json!({"type": "api_key", "header": "X-Desk-Key"}),
            secrets(json!({"api_key": key})),
            &[&key],
            Guard::shut().header("x-desk-key", &key, "ann"),
        )
        .await,
        Way::new(
            "basic",
            json!({"type": "basic"}),
            secrets(json!({"username": "ann", "password": password})),
            &[&password],
            Guard::shut().header("authorization", &format!("Basic {pair}"), "ann"),
        )
        .await,
        Way::new(
            "query",
            json!({"type": "query", "parameter": "token"}),
            json!(query),
            &[&query],
            Guard::shut().query("token", &query, "ann"),
        )
        .await,
        Way::new(
            "headers",
            json!({"type": "headers", "names": ["X-First", "X-Second"]}),
            secrets(json!({"x-first": first, "x-second": second})),
            &[&first, &second],
            Guard::shut().header("x-first", &first, "ann"),
        )
        .await,
        Way::new(
            "template",
            json!({"type": "template", "headers": [{"name": "X-Bound", "value_template": "v1 ${secret.bound}"}]}),
            secrets(json!({"bound": bound})),
            &[&bound],
            Guard::shut().header("x-bound", &format!("v1 {bound}"), "ann"),
        )
        .await,
        Way::new(
            "by-itself",
            json!({"type": "client_credentials", "token_url": authority.token_url(), "client_id": "canary",
                "client_secret": client, "method": "client_secret_post"}),
            Value::Null,
            &[],
            Guard::by(authority),
        )
        .await,
    ]
}

/// Everything that a house leaves behind or lets be read, by name.
async fn outputs(
    replicas: &Replicas,
    admin: &Admin,
    postgres: &Postgres,
    redis: &Redis,
    collector: &Collector,
    servers: &[&str],
) -> Vec<(String, Vec<u8>)> {
    let mut all = vec![("a dump of the database".to_owned(), postgres.backup().into_bytes())];
    all.push(("Redis".to_owned(), redis.dump()));
    all.push(("the collector's spans".to_owned(), format!("{:?}", collector.spans()).into_bytes()));
    for listener in replicas.metrics() {
        all.push((format!("metrics of {listener}"), text(&listener).await.into_bytes()));
    }
    let paths = servers
        .iter()
        .flat_map(|name| [format!("/api/v1/servers/{name}"), format!("/api/v1/servers/{name}/connections?limit=100")]);
    for path in READABLE.iter().map(|path| (*path).to_owned()).chain(paths) {
        let answer = admin.get(&path).await;
        all.push((format!("{path} ({})", answer.status), answer.body.to_vec()));
    }
    files(replicas.folder(), &mut all);
    all
}

fn files(folder: &Path, all: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            files(&path, all);
        } else if let Ok(bytes) = std::fs::read(&path) {
            all.push((path.display().to_string(), bytes));
        }
    }
}

#[tokio::test]
async fn no_secret_is_seen_anywhere_but_at_its_upstream_and_a_leak_that_is_planted_is_found() {
    let (Some(postgres), Some(redis)) = (Postgres::start(), Redis::start()) else { return };
    let collector = Collector::start().await;
    let plan = Plan { controls: 2, proxies: 2, database: postgres.url(), redis: Some(redis.url()) };
    let more = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()),
        ("OTEL_BSP_SCHEDULE_DELAY", "200".to_owned()),
        ("GATEHOUSE_LOG", "trace".to_owned()),
    ];
    let replicas = Replicas::start_everywhere(&plan, &more).await;
    let admin = replicas.admin(0);
    let authority = Authority::shaped(Shape::default()).await;
    let ways = ways(&authority).await;
    let mut ann = Person::new(&admin, "ann").await;

    // What fails goes through other lines of code: wrong input, refused credentials, a broken token endpoint.
    for way in &ways {
        add_with(&admin, way.name, &way.upstream.url(), &way.auth).await.expect(201);
        if !way.credential.is_null() {
            let body = json!({"scope_type": "global", "credential": way.credential});
            connect(&admin, way.name, &body).await;
            admin.post(&format!("/api/v1/servers/{}/connections", way.name), &body).await.expect(409);
            let wrong = json!({"scope_type": "nobody", "credential": way.credential, "surprise": way.secrets});
            admin.post(&format!("/api/v1/servers/{}/connections", way.name), &wrong).await.expect(422);
        }
        let mut sessions = Vec::new();
        for proxy in 0..2 {
            let mcp = Mcp::open(&replicas.at(proxy, &format!("/servers/{}/mcp", way.name)), &ann.key).await;
            mcp.text("echo", json!({"text": way.name})).await;
            sessions.push(mcp);
        }
        way.guard.refuse_next(4);
        for mcp in &sessions {
            let _ = mcp.call("echo", json!({"text": "refused"})).await;
        }
        for secret in &way.secrets {
            assert!(way.guard.saw(secret), "{}: {secret} was not seen at its upstream", way.name);
            admin.post("/api/v1/connections/find", &json!({"secret": secret})).await.expect(200);
        }
    }

    // A person signs in, is refreshed, meets a broken token endpoint, and is revoked.
    let guard = Guard::by(&authority);
    let upstream = Upstream::guarded("login", &guard).await;
    add_with(&admin, "login", &upstream.url(), &json!({"type": "authorization_code"})).await.expect(201);
    let url = replicas.at(0, "/servers/login/mcp");
    ann.log_in(&link_at(&url, &ann.key).await).await;
    let mcp = Mcp::open(&url, &ann.key).await;
    mcp.text("whoami", json!({})).await;
    authority.expire_access();
    mcp.text("whoami", json!({})).await;
    let tokens: Vec<String> = authority.secrets().into_iter().filter(|secret| guard.saw(secret)).collect();
    assert!(tokens.len() >= 2, "the tokens of a sign-in and of a refresh were seen at the upstream");
    authority.next([tests::authority::Fault::Garbage]);
    authority.expire_access();
    let _ = mcp.call("whoami", json!({})).await;

    let mut names: Vec<&str> = ways.iter().map(|way| way.name).collect();
    names.push("login");
    let all = outputs(&replicas, &admin, &postgres, &redis, &collector, &names).await;
    assert!(all.len() > 30, "{}", all.len());
    for (what, bytes) in &all {
        canary::none_in(what, bytes);
    }
    let shown = |part: &str| all.iter().any(|(what, bytes)| what.contains(part) && !bytes.is_empty());
    for part in ["a dump", "Redis", "spans", "metrics", "/audit", "control-0.log", "proxy-1.log", "proxy-0/"] {
        assert!(shown(part), "{part} was not looked at: {:?}", all.iter().map(|(what, _)| what).collect::<Vec<_>>());
    }

    // The same search finds what is planted, in each place that is not ours to spoil.
    let leak = canary::secret("leak");
    postgres.sql(&format!("CREATE TABLE leak (text text); INSERT INTO leak VALUES ('{leak}')"));
    redis.set("leak", &canary::forms(&leak)[3].1);
    let all = outputs(&replicas, &admin, &postgres, &redis, &collector, &[]).await;
    let found: Vec<&str> =
        all.iter().filter(|(_, bytes)| canary::found(bytes).is_some()).map(|(what, _)| what.as_str()).collect();
    assert_eq!(found, ["a dump of the database", "Redis"]);
    // Both are searched once more when they end.
    postgres.sql("DROP TABLE leak");
    redis.flush();
}
