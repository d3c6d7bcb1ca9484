//! Every way to fail to say who one is, on every route of both listeners, ends in a refusal.

use serde_json::{Value, json};
use tests::forged::{self, forgeries};
use tests::{Answer, Gatehouse, Http};

use crate::ways::{mounted, user};

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
