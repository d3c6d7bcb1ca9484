//! Every way to fail to say who one is, on every route of both listeners, ends in a refusal.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tests::forged::{self, forgeries};
use tests::gatehouse::{Plane, executable};
use tests::{Answer, Gatehouse, Http, Mcp, eventually};

use crate::oidc::Company;
use crate::ways::{knock, mounted, user};

/// What control answers to anybody; the pages and the authorization server are looked at by themselves.
const OPEN: [&str; 7] = ["/", "/livez", "/readyz", "/docs", "/docs/{file}", "/openapi.json", "/api/v1/openapi.json"];
/// Pages and the authorization server, which say themselves who is signed in, and are looked at by themselves.
const PAGES: [&str; 6] = ["/signin", "/signout", "/account", "/assets/", "/oauth/", "/.well-known/"];
/// What the proxy answers to anybody.
const HEALTH: [&str; 2] = ["/livez", "/readyz"];
/// Where the proxy must know who calls.
const PROXY: [(&str, &str); 16] = [
    ("POST", "/mcp"),
    ("GET", "/mcp"),
    ("DELETE", "/mcp"),
    ("POST", "/mcp/"),
    ("POST", "/servers/notes/mcp"),
    ("GET", "/servers/notes/mcp"),
    ("DELETE", "/servers/notes/mcp"),
    ("POST", "/servers/nobodys/mcp"),
    ("POST", "/servers/gatehouse/mcp"),
    ("POST", "/t/default/mcp"),
    ("POST", "/t/default/servers/notes/mcp"),
    ("POST", "/t/nobodys/mcp"),
    ("GET", "/healthcheck?mcp_url=http://127.0.0.1:9/mcp"),
    ("GET", "/list-remote-proxies"),
    ("POST", "/add-remote-proxies"),
    ("DELETE", "/remote-proxies"),
];

/// How a request fails to say who sends it: headers, and what stands behind the path.
struct Failure {
    how: String,
    headers: Vec<(String, String)>,
    query: String,
}

/// Everything that opens nothing here, from what would open something elsewhere or was good once.
async fn failures(house: &Gatehouse) -> Vec<Failure> {
    let admin = house.admin();
    let good = house.admin_key();
    let mut all = Vec::new();
    let mut add = |how: &str, headers: &[(&str, &str)], query: &str| {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        all.push(Failure { how: how.to_owned(), headers, query: query.to_owned() });
    };
    add("nothing", &[], "");
    let flipped = format!("{}{}", &good[..good.len() - 1], if good.ends_with('0') { "1" } else { "0" });
    let changed = good.replacen("ghk_", "ghp_", 1);
    for (how, value) in [
        ("an empty header", String::new()),
        ("a scheme alone", "Bearer".to_owned()),
        ("a scheme and a space", "Bearer ".to_owned()),
        ("no scheme", good.to_owned()),
        ("another scheme", format!("Token {good}")),
        ("basic", "Basic YWRtaW46YWRtaW4=".to_owned()),
        ("a null", "Bearer null".to_owned()),
        ("a star", "Bearer *".to_owned()),
        ("an injection", "Bearer ' or 1=1 --".to_owned()),
        ("a wrong checksum", format!("Bearer {flipped}")),
        ("another prefix", format!("Bearer {changed}")),
        ("capitals", format!("Bearer {}", good.to_uppercase())),
        ("a key cut short", format!("Bearer {}", &good[..good.len() - 6])),
        ("a key and more", format!("Bearer {good}x")),
        ("a key twice", format!("Bearer {good}{good}")),
        ("two in one header", format!("Bearer {good}, Bearer {good}")),
        ("two parts", format!("Bearer {good} {good}")),
        ("a quoted key", format!("Bearer \"{good}\"")),
        ("an encoded key", format!("Bearer {}", good.replacen('_', "%5f", 1))),
        ("a long word", format!("Bearer {}", "x".repeat(12 << 10))),
    ] {
        add(how, &[("authorization", &value)], "");
    }
    let bearer = format!("Bearer {good}");
    add("two headers", &[("authorization", &bearer), ("authorization", &bearer)], "");
    add("a bad and a good header", &[("authorization", "Bearer x"), ("authorization", &bearer)], "");
    add("a good and a bad header", &[("authorization", &bearer), ("authorization", "Bearer x")], "");
    for name in ["proxy-authorization", "x-authorization", "x-forwarded-authorization"] {
        add(name, &[(name, &bearer)], "");
    }
    for name in ["x-api-key", "api-key", "gatehouse-key", "x-auth-token", "mcp-session-id"] {
        add(name, &[(name, good)], "");
    }
    for name in
        ["x-forwarded-user", "x-remote-user", "remote-user", "x-auth-request-user", "gatehouse-user", "x-user-id"]
    {
        add(name, &[(name, "ann"), ("gatehouse-tenant", "default"), ("x-forwarded-for", "127.0.0.1")], "");
    }
    for cookie in ["gatehouse", "__Host-gatehouse", "key", "session"] {
        add("a cookie that is a key", &[("cookie", &format!("{cookie}={good}"))], "");
        add("a cookie of nobody", &[("cookie", &format!("{cookie}={}", "a".repeat(43)))], "");
    }
    for name in ["key", "api_key", "access_token", "token", "authorization"] {
        add(&format!("in the query, as {name}"), &[], &format!("{name}={good}"));
    }
    add("another method's name", &[("x-http-method-override", "GET"), ("x-original-url", "/livez")], "");

    // What was good once.
    let made = admin.post("/api/v1/keys", &json!({"role": "tenant_admin", "label": "gone"})).await.expect(201).json();
    let (revoked, id) = (made["key"].as_str().unwrap(), made["id"].as_str().unwrap());
    let path = format!("/api/v1/keys/{id}");
    admin.try_send("DELETE", &path, &[("if-match", "*")], &Value::Null).await.unwrap();
    add("a revoked key", &[("authorization", &format!("Bearer {revoked}"))], "");
    let made = admin.post("/api/v1/keys", &json!({"role": "user", "user": "ben"})).await.expect(201).json();
    admin.post("/api/v1/users/ben/disable", &Value::Null).await.expect(200);
    add(
        "a key of somebody who is gone",
        &[("authorization", &format!("Bearer {}", made["key"].as_str().unwrap()))],
        "",
    );
    let acme = admin.tenant("acme").await;
    let theirs = acme.key("tenant_admin").await;
    admin.post("/api/v1/tenants/acme/disable", &Value::Null).await.expect(200);
    add("a key of a tenant that is closed", &[("authorization", &format!("Bearer {theirs}"))], "");

    // What is good elsewhere: a token for another server, and everything that can be made of it.
    let body = json!({"role": "user", "scopes": ["act_as"], "label": "a backend"});
    let made = admin.post("/api/v1/keys", &body).await.expect(201).json();
    let backend = admin.with_key(made["key"].as_str().unwrap());
    let token = backend.post("/api/v1/tokens", &json!({"user": "ann", "server": "other"})).await.expect(201).json();
    let token = token["token"].as_str().unwrap();
    add("a token for another server", &[("authorization", &format!("Bearer {token}"))], "");
    add("a token as a cookie", &[("cookie", &format!("gatehouse={token}"))], "");
    add("a token in the query", &[], &format!("access_token={token}"));
    let everywhere = forged::altered(token, |_, payload| {
        let tenant = payload["tid"].as_str().unwrap().to_owned();
        payload["aud"] = json!(format!("urn:gatehouse:tenant:{tenant}"));
    });
    add("a token for everything", &[("authorization", &format!("Bearer {everywhere}"))], "");
    for (how, forged) in forgeries(token) {
        add(&format!("a token: {how}"), &[("authorization", &format!("Bearer {forged}"))], "");
    }
    all
}

async fn send(base: &str, method: &str, path: &str, failure: &Failure) -> Answer {
    let separator = if path.contains('?') { '&' } else { '?' };
    let query = if failure.query.is_empty() { String::new() } else { format!("{separator}{}", failure.query) };
    let mut headers = vec![("accept", "application/json, text/event-stream")];
    let body =
        if ["POST", "PATCH", "PUT"].contains(&method) { r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"# } else { "" };
    if !body.is_empty() {
        headers.push(("content-type", "application/json"));
    }
    headers.extend(failure.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    Http::default().send(method, &format!("{base}{path}{query}"), &headers, body).await.unwrap()
}

/// A refusal says nothing of what is there. 431 comes before anything is looked at, and so does 400 for a key in a URL.
fn refused(answer: &Answer, failure: &Failure, what: &str) {
    let status = answer.status.as_u16();
    let in_url = status == 400 && !failure.query.is_empty();
    assert!(in_url || [401, 403, 431, 503].contains(&status), "{what}: {status} {}", answer.text());
    for known in ["notes", "ann", "acme", "admin_key"] {
        assert!(!answer.text().contains(known), "{what} tells of {known}: {}", answer.text());
    }
    if status == 401 {
        assert!(!answer.header("www-authenticate").is_empty(), "{what}: no challenge");
    }
}

async fn house() -> (Gatehouse, tests::Upstream, tests::Upstream) {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let (notes, other) = (mounted(&admin, "notes").await, mounted(&admin, "other").await);
    for login in ["ann", "ben"] {
        user(&admin, login, &[]).await;
    }
    (house, notes, other)
}

#[tokio::test]
async fn every_route_of_control_refuses_every_failure() {
    let (house, _notes, _other) = house().await;
    let document = house.admin().get("/openapi.json").await.expect(200).json();
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys().filter(|method| *method != "parameters") {
            routes.push((method.to_uppercase(), path.clone()));
        }
    }
    let open = |path: &str| OPEN.contains(&path) || PAGES.iter().any(|page| path.starts_with(page));
    let guarded: Vec<_> = routes.iter().filter(|(_, path)| !open(path)).collect();
    assert!(guarded.len() > 60, "the document knows all routes: {routes:?}");
    let failures = failures(&house).await;
    let before = house.admin().get("/api/v1/audit").await.expect(200).json();
    let mut tried = 0;
    for (method, path) in &guarded {
        let filled = path.split('/').map(|part| if part.starts_with('{') { "notes" } else { part });
        let filled = filled.collect::<Vec<_>>().join("/");
        for failure in &failures {
            let answer = send(house.control(), method, &filled, failure).await;
            refused(&answer, failure, &format!("{method} {path} with {}", failure.how));
            tried += 1;
        }
    }
    println!("{tried} requests to {} routes were refused", guarded.len());
    let after = house.admin().get("/api/v1/audit").await.expect(200).json();
    assert_eq!(before["items"], after["items"], "nothing happened");
}

#[tokio::test]
async fn every_route_of_the_proxy_refuses_every_failure() {
    let (house, notes, _other) = house().await;
    let failures = failures(&house).await;
    let before = notes.headers().len();
    for (method, path) in PROXY {
        for failure in &failures {
            let answer = send(&house.proxy(), method, path, failure).await;
            refused(&answer, failure, &format!("{method} {path} with {}", failure.how));
        }
    }
    assert_eq!(notes.headers().len(), before, "nothing reached the upstream");
    let nothing = &failures[0];
    for path in HEALTH {
        assert_eq!(send(&house.proxy(), "GET", path, nothing).await.status, 200, "{path}");
    }
    for path in ["/", "/metrics", "/api/v1/servers", "/debug", "/.env", "/mcp/../livez/x"] {
        assert_eq!(send(&house.proxy(), "GET", path, nothing).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_key_opens_what_its_scopes_say_and_nothing_else() {
    let (house, _notes, _other) = house().await;
    let admin = house.admin();
    for (scopes, mcp, rest, tokens) in [
        (json!(["mcp"]), 200, 403, 403),
        (json!(["rest"]), 403, 200, 403),
        (json!(["act_as"]), 403, 403, 201),
        (json!(["mcp", "rest"]), 200, 200, 403),
    ] {
        let body = json!({"role": "tenant_admin", "scopes": scopes});
        let made = admin.post("/api/v1/keys", &body).await.expect(201).json();
        let key = made["key"].as_str().unwrap();
        let by = admin.with_key(key);
        assert_eq!(crate::ways::knock(&house.at("/mcp"), key).await.status, mcp, "{scopes} at the proxy");
        assert_eq!(by.get("/api/v1/servers").await.status, rest, "{scopes} at control");
        let asked = by.post("/api/v1/tokens", &json!({"user": "ann"})).await;
        assert_eq!(asked.status, tokens, "{scopes} for tokens: {}", asked.text());
    }
}

/// Who was let in before is let in by a proxy that has never spoken to control, and nobody else is.
#[tokio::test]
async fn tokens_open_what_they_are_for_while_control_is_away() {
    let Some(mut company) = Company::start().await else { return };
    let (url, desk) = (company.house.at("/mcp"), company.house.at("/servers/desk/mcp"));
    let body = json!({"role": "user", "scopes": ["act_as"], "label": "a backend"});
    let key = company.admin.post("/api/v1/keys", &body).await.expect(201).json();
    let backend = company.admin.with_key(key["key"].as_str().unwrap());
    let ask = json!({"user": "cleo", "server": "desk", "ttl": 900});
    let own = backend.post("/api/v1/tokens", &ask).await.expect(201).json()["token"].as_str().unwrap().to_owned();
    let issued = company.issuer.token("id-ann", &url).await;
    let stranger = company.issuer.token("id-dora", &url).await;
    let opens = [(&desk, &own), (&url, &issued)];
    let refused = [(&url, &own), (&desk, &issued), (&url, &stranger)];
    for (url, token) in opens {
        eventually("a token opens what it is for", || async { (knock(url, token).await.status == 200).then_some(()) })
            .await;
    }
    // What is taken away is on disk before anybody hears that it is, and with it what came before.
    let spare = company.admin.key("user").await;
    eventually("a key opens", || async { (knock(&url, &spare).await.status == 200).then_some(()) }).await;
    let id = spare.split('_').nth(2).unwrap();
    let path = format!("/api/v1/keys/{id}");
    company.admin.try_send("DELETE", &path, &[], &Value::Null).await.unwrap().expect(200);
    eventually("and no longer", || async { (knock(&url, &spare).await.status == 401).then_some(()) }).await;

    company.house.kill_all().await;
    company.issuer.away().await;
    company.house.start_alone(Plane::Proxy, &[]);
    company.house.wait_ready(Plane::Proxy).await;
    for (url, token) in opens {
        let opened = knock(url, token).await;
        assert_eq!(opened.status, 200, "{url}: {}", opened.text());
    }
    let mcp = Mcp::open(&desk, &own).await;
    assert_eq!(mcp.text("echo", json!({"text": "alone"})).await, "desk: alone");
    for (url, token) in refused.into_iter().chain([(&url, &spare)]) {
        assert_eq!(knock(url, token).await.status, 401, "{url}");
    }
    for token in [&own, &issued] {
        for (how, forged) in forgeries(token) {
            let url = if token == &own { &desk } else { &url };
            let answer = knock(url, &forged).await;
            assert!([401, 431].contains(&answer.status.as_u16()), "{how}: {}", answer.status);
        }
    }
}

/// No program has a secret of its own to fall back on, and none works with one that others can read or guess.
#[test]
fn no_program_starts_with_a_secret_that_is_weak() {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    let text = |path: &str| at(path).display().to_string();
    let run = |program: &str, arguments: &[&str], environment: &[(&str, String)]| {
        let mut command = Command::new(executable(program));
        let environment = environment.iter().map(|(name, value)| (*name, value.as_str()));
        command.env_clear().envs(environment).args(arguments).current_dir(folder.path()).output().unwrap()
    };
    let (plane, node) = (text("plane"), text("node"));
    for arguments in [
        vec!["certificate", "authority", "--pki-dir", &plane],
        vec!["certificate", "issue", "--pki-dir", &plane, "--pool", "default", "--out", &node],
    ] {
        assert!(run("gatehouse-control", &arguments, &[]).status.success(), "{arguments:?}");
    }
    let good: Vec<u8> = (0..32u8).map(|at| at.wrapping_mul(37) ^ 0x80).collect();
    let control = [
        ("GATEHOUSE_DATABASE", format!("sqlite://{}?mode=rwc", text("gatehouse.db"))),
        ("GATEHOUSE_KEK_FILE", text("kek")),
        ("GATEHOUSE_PKI_DIR", plane.clone()),
    ];
    let proxy = [
        ("GATEHOUSE_LINK_CA", text("node/ca.pem")),
        ("GATEHOUSE_LINK_CERT", text("node/proxy.pem")),
        ("GATEHOUSE_LINK_KEY", text("node/proxy.key")),
        ("GATEHOUSE_DATA_DIR", text("data")),
    ];
    type Case<'a> = (&'a str, &'a str, &'a dyn Fn(), &'a dyn Fn());
    let kek = |bytes: &[u8], mode: u32| {
        _ = std::fs::remove_file(at("kek"));
        std::fs::write(at("kek"), bytes).unwrap();
        set_mode(&at("kek"), mode);
    };
    let well = || kek(&good, 0o600);
    let closed = |path: &'static str| move || set_mode(&at(path), 0o600);
    let opened = |path: &'static str, mode: u32| move || set_mode(&at(path), mode);
    let cases: [Case<'_>; 14] = [
        ("kek_file", "empty", &|| kek(b"", 0o600), &well),
        ("kek_file", "short", &|| kek(&good[..16], 0o600), &well),
        ("kek_file", "too long", &|| kek(&[&good[..], &good[..]].concat(), 0o600), &well),
        ("kek_file", "zeros", &|| kek(&[0; 32], 0o600), &well),
        ("kek_file", "one byte over and over", &|| kek(&[0xa5; 32], 0o600), &well),
        ("kek_file", "a password", &|| kek(b"correct horse battery staple 123", 0o600), &well),
        ("kek_file", "changeme", &|| kek(b"changemechangemechangemechangeme", 0o600), &well),
        ("kek_file", "readable by the group", &|| kek(&good, 0o640), &well),
        ("kek_file", "readable by all", &|| kek(&good, 0o604), &well),
        ("kek_file", "absent", &|| std::fs::remove_file(at("kek")).unwrap(), &well),
        ("pki_dir", "a CA's key that all may read", &opened("plane/ca.key", 0o644), &closed("plane/ca.key")),
        (
            "pki_dir",
            "control's key that the group may read",
            &opened("plane/control.key", 0o660),
            &closed("plane/control.key"),
        ),
        ("link_key", "a node's key that all may read", &opened("node/proxy.key", 0o644), &closed("node/proxy.key")),
        ("link_key", "a node's key that all may write", &opened("node/proxy.key", 0o622), &closed("node/proxy.key")),
    ];
    well();
    let check = |program: &str, environment: &[(&str, String)]| run(program, &["check-config"], environment);
    for (program, environment) in [("gatehouse-control", &control[..]), ("gatehouse-proxy", &proxy[..])] {
        let fine = check(program, environment);
        assert!(fine.status.success(), "{program}: {}", told(&fine));
    }
    for (setting, what, weaken, mend) in cases {
        let (program, environment) =
            if setting == "link_key" { ("gatehouse-proxy", &proxy[..]) } else { ("gatehouse-control", &control[..]) };
        weaken();
        // Not the check alone: the program itself does not start.
        for arguments in [&[][..], &["check-config"]] {
            let output = run(program, arguments, environment);
            let told = told(&output);
            assert_eq!(output.status.code(), Some(78), "{setting} {what}: {told}");
            assert!(told.contains(&format!("`{setting}`: ")), "{what}: {told}");
            assert!(!told.contains("horse") && !told.contains("changeme"), "{what}: {told}");
        }
        assert!(!at("gatehouse.db").exists() && !at("data").exists(), "{what}: something was begun");
        mend();
    }
    // What is not given is not made up.
    for (program, environment) in [("gatehouse-control", &control[..]), ("gatehouse-proxy", &proxy[..])] {
        for left_out in 0..environment.len() {
            let mut given = environment.to_vec();
            let (name, _) = given.remove(left_out);
            let output = run(program, &[], &given);
            let setting = name.strip_prefix("GATEHOUSE_").unwrap().to_ascii_lowercase();
            assert_eq!(output.status.code(), Some(78), "{name}");
            assert!(told(&output).contains(&format!("`{setting}`: required")), "{name}: {}", told(&output));
        }
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// What somebody shows is in no log, good or bad, wherever it stood in the request.
#[tokio::test]
async fn no_log_tells_what_somebody_has_shown() {
    let house = Gatehouse::plan().env("GATEHOUSE_LOG", "debug").start().await;
    let admin = house.admin();
    user(&admin, "ann", &[]).await;
    let body = json!({"role": "user", "scopes": ["act_as"], "label": "a backend"});
    let key = admin.post("/api/v1/keys", &body).await.expect(201).json()["key"].as_str().unwrap().to_owned();
    let token = admin.with_key(&key).post("/api/v1/tokens", &json!({"user": "ann"})).await.expect(201).json();
    let token = token["token"].as_str().unwrap().to_owned();
    let mut shown = 0;
    for secret in [&key, &token] {
        let failures = [
            ("authorization", format!("Bearer {secret}"), String::new()),
            ("authorization", format!("Bearer {secret}x"), String::new()),
            ("authorization", format!("Basic {secret}"), String::new()),
            ("cookie", format!("gatehouse={secret}"), String::new()),
            ("x-api-key", secret.clone(), String::new()),
            ("x-none", String::new(), format!("access_token={secret}")),
            ("x-none", String::new(), format!("x={secret}")),
        ];
        for (name, value, query) in failures {
            let headers = vec![(name.to_owned(), value)];
            let failure = Failure { how: name.to_owned(), headers, query };
            for (base, method, path) in [
                (house.proxy(), "POST", "/mcp"),
                (house.proxy(), "GET", "/t/default/servers/nobodys/mcp"),
                (house.proxy(), "GET", "/list-remote-proxies"),
                (house.proxy(), "GET", "/nowhere"),
                (house.control().to_owned(), "GET", "/api/v1/servers"),
                (house.control().to_owned(), "POST", "/api/v1/tokens"),
                (house.control().to_owned(), "GET", "/signin"),
                (house.control().to_owned(), "GET", "/nowhere"),
            ] {
                send(&base, method, path, &failure).await;
                shown += 1;
            }
        }
    }
    let log = std::fs::read_to_string(house.dir().join("up.log")).unwrap();
    assert!(log.len() > 1_000 && log.contains("DEBUG"), "the log tells something: {log}");
    for part in [&key[26..69], &token, token.rsplit('.').next().unwrap(), house.admin_key(), house.client_key()] {
        assert!(!log.contains(part), "after {shown} requests the log tells {part}");
    }
}
