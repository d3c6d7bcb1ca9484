//! Bad input: a clear error that names the field and loses nothing.

use axum::http::StatusCode;
use serde_json::{Value, json};
use store::AuditPage;

use super::access::{body_of, objects, path, with_issuer};
use super::house::{House, NOTES, bearer};
use crate::issuers::tests::idp::Idp;
use crate::rest::{Access, Route, routes};

#[tokio::test]
async fn a_bad_body_is_refused_for_what_it_is() {
    let house = House::open().await;
    let deep = format!("{{\"url\":{}1{}}}", "[".repeat(65), "]".repeat(65));
    let large = format!("{{\"title\":\"{}\"}}", "x".repeat(256 * 1024));
    for (body, status, code) in [
        ("{\"url\":", 400, "invalid_json"),
        ("{} x", 400, "invalid_json"),
        ("{\"url\":\"a\",\"url\":\"b\"}", 400, "duplicate_key"),
        (deep.as_str(), 400, "too_deep"),
        (large.as_str(), 413, "body_too_large"),
        ("[]", 422, "type"),
        ("{\"url\":\"http://127.0.0.1:9001/mcp\",\"color\":1}", 422, "unknown_field"),
        ("{}", 422, "required"),
    ] {
        let reply = house.admin("POST", "/api/v1/servers", body).await;
        assert_eq!(reply.told(), (status, code.to_owned()), "{}", &body[..body.len().min(60)]);
        assert_eq!(reply.header("content-type"), "application/problem+json");
        let problem = reply.json();
        for member in ["type", "title", "status", "code", "detail", "trace_id", "errors"] {
            assert!(!problem[member].is_null(), "{member} in {problem}");
        }
    }
    assert_eq!(house.admin("GET", "/api/v1/servers", "").await.json()["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn every_route_that_takes_a_body_reads_it_strictly() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let objects = with_issuer(&house, &house.admin, &idp, objects(&house, &house.admin).await).await;
    let bodied: Vec<Route> = routes().into_iter().filter(|route| !body_of(route).is_empty()).collect();
    assert_eq!(bodied.len(), 26);
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(64), "]".repeat(64));
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(256 * 1024));
    let json = "application/json";
    for route in bodied {
        let path = path(&route, &objects);
        let key = if route.access == Access::ActAs { &house.backend } else { &house.platform };
        let send = async |kind: &str, body: &str| {
            house
                .send(route.method, &path, body, |headers| {
                    bearer(headers, key);
                    headers.insert("if-match", "*".parse().unwrap());
                    headers.insert("content-type", kind.parse().unwrap());
                })
                .await
        };
        for (kind, body, status, code, offset) in [
            (json, "{\"a\":", 400, "invalid_json", json!(5)),
            (json, "{} {}", 400, "invalid_json", json!(3)),
            (json, "{\"a\":1,\"a\":1}", 400, "duplicate_key", Value::Null),
            (json, deep.as_str(), 400, "too_deep", Value::Null),
            (json, large.as_str(), 413, "body_too_large", Value::Null),
            (json, "[]", 422, "type", Value::Null),
            ("text/plain", "{}", 415, "content_type", Value::Null),
        ] {
            let reply = send(kind, body).await;
            let case = format!("{} {path} {}", route.method, &body[..body.len().min(20)]);
            assert_eq!(reply.told(), (status, code.to_owned()), "{case}: {}", reply.text);
            assert_eq!(reply.json()["offset"], offset, "{case}");
        }
        let unknown = send(json, "{\"colour\":1}").await;
        assert_eq!(unknown.status, StatusCode::UNPROCESSABLE_ENTITY, "{} {path}", route.method);
        let unknown =
            unknown.json()["errors"].as_array().unwrap().iter().any(|error| {
                (error["field"].as_str(), error["code"].as_str()) == (Some("colour"), Some("unknown_field"))
            });
        assert!(unknown, "{} {path}", route.method);
    }
}

#[tokio::test]
async fn a_server_that_may_not_be_is_refused_by_its_field() {
    let house = House::open().await;
    let header = |name: &str, value: &str| ("headers", json!({name: value}));
    let names =
        ["Host", "Content-Length", "Transfer-Encoding", "Connection", "Mcp-Session-Id", "mcp-name", ":authority"];
    let mut rows = vec![
        ("transport", json!("stdio"), "stdio_disabled"),
        ("url", json!("file:///etc/passwd"), "url_scheme"),
        ("url", json!("gopher://h.example/"), "url_scheme"),
        ("url", json!("ftp://h.example/"), "url_scheme"),
        ("url", json!("ws://h.example/"), "url_scheme"),
        ("url", json!(""), "url_scheme"),
        ("url", json!("https://user:hunter2@h.example/"), "url_userinfo"),
        ("url", json!("https://h.example/#part"), "url_fragment"),
        ("tenant_id", json!("x"), "immutable_field"),
        ("id", json!("x"), "immutable_field"),
    ];
    rows.extend(names.map(|name| (header(name, "1").0, header(name, "1").1, "header_not_allowed")));
    rows.extend(["1\r\nX-B: 2", "1\n", "\0"].map(|value| ("headers", header("X-A", value).1, "header_value")));
    let slugs = ["Upper", "..", "../x", "a/b", "a\u{202e}b", "\u{200b}", "-a", "a b", &"x".repeat(33), "gatehouse"];
    rows.extend(slugs.map(|slug| ("name", json!(slug), "slug")));
    for (field, value, code) in rows {
        let mut body = json!({"url": NOTES});
        body[field] = value;
        let reply = house.admin("POST", "/api/v1/servers", &body.to_string()).await;
        let case = format!("{body}: {}", reply.text);
        assert_eq!(reply.told(), (422, code.to_owned()), "{case}");
        let errors = reply.json()["errors"].clone();
        assert!(errors[0]["field"].as_str().unwrap().starts_with(field) && errors[0]["code"] == code, "{case}");
        assert!(!reply.text.contains("hunter2"), "{case}");
    }
    assert_eq!(house.proxies.with(|state| state.probes), 0);
    assert_eq!(house.admin("GET", "/api/v1/servers", "").await.json()["items"], json!([]));
}

#[tokio::test]
async fn no_spelling_of_an_inner_address_is_taken() {
    let house = House::without_dev().await;
    house.proxies.fails("https://mixed.example/mcp", "address_blocked");
    for host in [
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0.0.0.0",
        "10.1.2.3",
        "169.254.169.254",
        "[::1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::a9fe:a9fe]",
        "[fe80::1]",
        "localhost",
        "localhost.",
        "metadata.google.internal",
        // What a name leads to is the proxy's to find out, and this one leads inside among others.
        "mixed.example",
    ] {
        let body = format!("{{\"url\":\"https://{host}/mcp\"}}");
        let reply = house.admin("POST", "/api/v1/servers", &body).await;
        assert_eq!(reply.told(), (422, "address_blocked".to_owned()), "{host}: {}", reply.text);
        let detail = reply.json()["title"].to_string() + &reply.json()["errors"].to_string();
        assert!(!detail.contains(|ch: char| ch.is_ascii_digit()), "{host}: {}", reply.text);
        let opens = ["10.1.2.3", "[fe80::1]", "[64:ff9b::a9fe:a9fe]", "mixed.example", "0.0.0.0"].contains(&host);
        assert!(opens || reply.json()["hint"].is_null(), "nothing opens {host}: {}", reply.text);
    }
    for url in ["http://h.example/mcp", "http://h.example:8080/mcp"] {
        let reply = house.admin("POST", "/api/v1/servers", &format!("{{\"url\":\"{url}\"}}")).await;
        assert_eq!(reply.told(), (422, "https_required".to_owned()), "{url}: {}", reply.text);
    }
    assert_eq!(house.proxies.with(|state| state.probes), 1);
    assert_eq!(house.admin("GET", "/api/v1/servers", "").await.json()["items"], json!([]));
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_without_detail() {
    let house = House::open().await;
    for (url, code) in [
        ("http://10.1.2.3/mcp", "address_blocked"),
        ("https://10.1.2.3/mcp", "address_blocked"),
        ("https://[64:ff9b::a9fe:a9fe]/mcp", "address_blocked"),
        ("https://metadata.google.internal/mcp", "address_blocked"),
        ("http://169.254.169.254/latest", "address_blocked"),
        ("http://127.0.0.1:5010/api", "address_blocked"),
        ("http://example.com/mcp", "https_required"),
        ("file:///etc/passwd", "url_scheme"),
        ("", "url_scheme"),
    ] {
        let reply = house.admin("POST", "/api/v1/servers", &format!("{{\"url\":\"{url}\"}}")).await;
        assert_eq!(reply.told(), (422, code.to_owned()), "{url}: {}", reply.text);
    }
    let reply = house.admin("POST", "/api/v1/servers", "{\"url\":\"https://10.1.2.3:8443/mcp\"}").await.json();
    assert_eq!(reply["hint"], "gatehouse egress allow 10.1.2.3:8443 --reason '…'");
    let reply = house.admin("POST", "/api/v1/servers", "{\"url\":\"https://metadata.google.internal/\"}").await.json();
    assert!(reply["hint"].is_null());
    assert_eq!(house.proxies.with(|state| state.probes), 0);
}

#[tokio::test]
async fn a_tenant_in_the_query_is_refused() {
    let house = House::open().await;
    let reply = house.admin("GET", "/api/v1/servers?tenant_id=x", "").await;
    assert_eq!(reply.told(), (400, "tenant_in_query".to_owned()));
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let house = House::open().await;
    assert_eq!(house.admin("GET", "/nowhere", "").await.told(), (404, "no_route".to_owned()));
    let reply = house.admin("PUT", "/api/v1/servers", "{}").await;
    assert_eq!(reply.told(), (405, "method_not_allowed".to_owned()));
    assert!(reply.header("allow").contains("GET") && reply.header("allow").contains("POST"));
    // GET recover exists as the seed's alias only.
    assert_eq!(house.admin("GET", "/api/v1/recover", "").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_trailing_slash_is_the_same_route() {
    let house = House::open().await;
    let made = house.admin("POST", "/api/v1/servers/", &format!("{{\"name\":\"notes\",\"url\":\"{NOTES}\"}}")).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(house.admin("GET", "/api/v1/servers/notes/", "").await.status, StatusCode::OK);
    assert_eq!(house.admin("GET", "/livez/", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_trace_of_the_caller_comes_back_in_errors_and_in_the_audit() {
    let house = House::open().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let send = async |body: &str| {
        house
            .send("POST", "/api/v1/servers", body, |headers| {
                bearer(headers, &house.admin);
                headers.insert("traceparent", format!("00-{trace}-b7ad6b7169203331-01").parse().unwrap());
            })
            .await
    };
    assert_eq!(send("{}").await.json()["trace_id"], trace);
    assert_eq!(send(&format!("{{\"url\":\"{NOTES}\"}}")).await.status, StatusCode::CREATED);
    let audit = house.app.store.tenant(house.acme).audit(AuditPage { limit: 1, ..AuditPage::default() }).await.unwrap();
    assert_eq!(audit[0].trace_id.as_deref(), Some(trace));
    assert_eq!(audit[0].actor_kind, "key");
}

#[tokio::test]
async fn the_status_page_runs_no_script_and_names_nothing() {
    let house = House::open().await;
    house.add("secret-project", NOTES).await;
    let page = house.ask("", "GET", "/", "").await;
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(page.text.contains("Gatehouse") && !page.text.contains("<script") && !page.text.contains("secret-project"));
}

#[tokio::test]
async fn a_path_that_is_no_text_names_nothing() {
    let house = House::open().await;
    for (method, path) in
        [("GET", "/api/v1/servers/%ff"), ("POST", "/api/v1/servers/%ff/call"), ("DELETE", "/api/v1/keys/%ff")]
    {
        let reply = house.admin(method, path, if method == "POST" { "{\"tool\":\"x\"}" } else { "" }).await;
        assert_eq!(reply.told(), (404, "not_found".to_owned()), "{path}: {}", reply.text);
    }
}

#[tokio::test]
async fn native_routes_take_known_parameters_once() {
    let house = House::open().await;
    for (method, path, code) in [
        ("GET", "/api/v1/servers?limit=1&enabled=true&search=a", ""),
        ("GET", "/api/v1/servers?limits=1", "unknown_parameter"),
        ("GET", "/api/v1/servers?limit=1&limit=2", "duplicate_parameter"),
        ("GET", "/api/v1/keys?colour=a", "unknown_parameter"),
        ("POST", "/api/v1/recover?dryrun=true", "unknown_parameter"),
        ("POST", "/api/v1/recover?dry_run=true&dry_run=false", "duplicate_parameter"),
    ] {
        let status = if code.is_empty() { 200 } else { 400 };
        assert_eq!(house.admin(method, path, "").await.told(), (status, code.to_owned()), "{path}");
    }
}
