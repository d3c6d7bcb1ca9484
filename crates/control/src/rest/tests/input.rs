//! Bad input: a clear error that names the field and loses nothing.

use axum::http::StatusCode;
use store::AuditPage;

use super::house::{House, NOTES, bearer};

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
    let reply = house.admin("POST", "/api/v1/servers", "{\"url\":").await;
    assert_eq!(reply.json()["offset"], 7);
    let reply = house.admin_with(("content-type", "text/plain"), "POST", "/api/v1/servers", "{}").await;
    assert_eq!(reply.told(), (415, "content_type".to_owned()));
    assert_eq!(house.admin("GET", "/api/v1/servers", "").await.json()["items"].as_array().unwrap().len(), 0);
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
