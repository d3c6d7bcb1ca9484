//! What strangers may ask of an authorization server: how much, how often, in which form, and from where.

use axum::http::HeaderMap;

use super::world::{World, authorize, exchange, put};
use crate::authorization;
use crate::pages;

/// What each of the four takes.
fn asked(path: &str) -> (&'static str, &'static str) {
    match path {
        path if path.ends_with("/register") => ("application/json", r#"{"redirect_uris":["http://127.0.0.1/cb"]}"#),
        path if path.ends_with("/token") => {
            ("application/x-www-form-urlencoded", "grant_type=refresh_token&refresh_token=x&client_id=y")
        }
        path if path.ends_with("/revoke") => ("application/x-www-form-urlencoded", "token=x&client_id=y"),
        _ => ("", ""),
    }
}

async fn send(world: &World, method: &str, path: &str, more: impl FnOnce(&mut HeaderMap)) -> (u16, HeaderMap, String) {
    let path = path.replace("{tenant}", "acme");
    let (kind, body) = if method == "OPTIONS" { ("", "") } else { asked(&path) };
    let reply = world
        .house
        .send(method, &path, body, |headers| {
            put(headers, "content-type", kind);
            more(headers);
        })
        .await;
    (reply.status.as_u16(), reply.headers, reply.text)
}

#[tokio::test]
async fn what_runs_in_a_browser_may_call_these_four_and_no_other() {
    let world = World::open().await;
    let evil = |headers: &mut HeaderMap| put(headers, "origin", "https://inspector.example");
    for (method, path, _) in authorization::routes() {
        let (status, headers, text) = send(&world, method, path, evil).await;
        assert!(status != 403 && status < 500, "{method} {path}: {status} {text}");
        assert_eq!(headers["access-control-allow-origin"], "*", "{path}: refusals too");
        assert!(!headers.contains_key("access-control-allow-credentials"));
        let (status, headers, _) = send(&world, "OPTIONS", path, |headers| {
            evil(headers);
            put(headers, "access-control-request-method", method);
            put(headers, "access-control-request-headers", "mcp-protocol-version, content-type");
        })
        .await;
        assert_eq!((status, &headers["access-control-allow-headers"]), (204, &"*".parse().unwrap()), "{path}");
        let (status, headers, _) = send(&world, method, path, |headers| put(headers, "host", "evil.example")).await;
        assert_eq!(
            (status, headers.contains_key("access-control-allow-origin")),
            (403, false),
            "{path}: a rebound name"
        );
    }
    for route in pages::routes() {
        let path = route.path.replace("{tenant}", "acme");
        for method in [route.method, "OPTIONS"] {
            let reply = world.house.send(method, &path, "", evil).await;
            assert_eq!(reply.status.as_u16(), 403, "{method} {path}");
            assert!(reply.header("access-control-allow-origin").is_empty(), "{method} {path}");
        }
    }
    for path in ["/api/v1/servers", "/oauth/acme/nothing", "/"] {
        let reply = world.house.send("GET", path, "", evil).await;
        assert_eq!((reply.status.as_u16(), reply.header("access-control-allow-origin")), (403, ""), "{path}");
    }
}

#[tokio::test]
async fn a_session_means_nothing_to_them() {
    let world = World::open().await;
    for (method, path, _) in authorization::routes() {
        let (without, _, first) = send(&world, method, path, |_| ()).await;
        let (with, headers, second) =
            send(&world, method, path, |headers| put(headers, "cookie", &world.ann.cookie)).await;
        assert_eq!(without, with, "{path}");
        assert!(!headers.contains_key("set-cookie"));
        assert!(path.ends_with("/register") || first == second, "{path}");
    }
}

#[tokio::test]
async fn a_tenant_without_one_looks_like_none() {
    let world = World::open().await;
    let client = world.client().await;
    let token = world.tokens(&client).await["refresh_token"].as_str().unwrap().to_owned();
    let off = world
        .house
        .send("PATCH", "/api/v1/tenants/acme", r#"{"authorization_server":false}"#, |headers| {
            put(headers, "authorization", &format!("Bearer {}", world.house.platform));
            put(headers, "if-match", "*");
        })
        .await;
    assert_eq!(off.status.as_u16(), 200);
    for named in ["acme", "nowhere", "NOWHERE", "%2e%2e"] {
        for (method, path, _) in authorization::routes() {
            let path = path.replace("{tenant}", named);
            let (status, _, text) = send(&world, method, &path, |_| ()).await;
            assert_eq!(status, 404, "{method} {path}: {text}");
        }
        let path = authorize(&client).replace("/acme/", &format!("/{named}/"));
        for cookie in ["", world.ann.cookie.as_str()] {
            assert_eq!(world.get(cookie, &path).await.status.as_u16(), 404, "{path}");
        }
    }
    assert_eq!(world.refresh(&client, &token).await.status.as_u16(), 404);
}

#[tokio::test]
async fn bodies_are_small_and_what_they_say_they_are() {
    let world = World::open().await;
    for (path, right, wrong) in [
        ("/oauth/acme/token", "application/x-www-form-urlencoded", "application/json"),
        ("/oauth/acme/revoke", "application/x-www-form-urlencoded", "text/plain"),
        ("/oauth/acme/register", "application/json", "application/x-www-form-urlencoded"),
    ] {
        let large = "x".repeat((64 << 10) + 1);
        for (kind, body, status) in
            [(wrong, "a=b", 415), ("", "a=b", 415), (right, large.as_str(), 413), (right, "=", 400)]
        {
            let sent = world.house.send("POST", path, body, |headers| {
                headers.remove("content-type");
                put(headers, "content-type", kind);
            });
            let reply = sent.await;
            assert_eq!(reply.status.as_u16(), status, "{path} {kind}: {}", reply.text);
            assert!(reply.json()["error"].is_string() && reply.header("cache-control") == "no-store", "{}", reply.text);
        }
        assert_eq!(world.house.send("GET", path, "", |_| ()).await.status.as_u16(), 405);
    }
    let twice = "grant_type=refresh_token&refresh_token=a&refresh_token=b&client_id=c";
    let reply = world.house.send("POST", "/oauth/acme/token", twice, |headers| {
        put(headers, "content-type", "application/x-www-form-urlencoded");
    });
    assert_eq!(reply.await.told_oauth(), (400, "invalid_request".to_owned()));
    let twice = r#"{"redirect_uris":["https://a.example/"],"redirect_uris":["https://b.example/"]}"#;
    let reply = world.house.send("POST", "/oauth/acme/register", twice, |_| ()).await;
    assert_eq!(reply.told_oauth(), (400, "invalid_client_metadata".to_owned()));
}

#[tokio::test]
async fn there_are_limits() {
    let world = World::open().await;
    let body = r#"{"redirect_uris":["http://127.0.0.1/callback"]}"#;
    let register = async || world.house.send("POST", "/oauth/acme/register", body, |_| ()).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(register().await.json()["client_id"].as_str().unwrap().to_owned());
    }
    let late = register().await;
    assert_eq!((late.status.as_u16(), late.header("retry-after")), (429, "60"));
    for _ in 0..60 {
        assert_eq!(world.token(&exchange(&clients[0], "ghc_x")).await.status.as_u16(), 400);
    }
    assert_eq!(world.token(&exchange(&clients[0], "ghc_x")).await.status.as_u16(), 429);
    assert_eq!(world.token(&exchange(&clients[1], "ghc_x")).await.status.as_u16(), 400, "each client has its own");
    world.house.clock.advance_micros(60_000_000);
    assert_eq!(world.token(&exchange(&clients[0], "ghc_x")).await.status.as_u16(), 400);
    assert_eq!(register().await.status.as_u16(), 201);
}

#[tokio::test]
async fn what_succeeds_is_not_counted() {
    let world = World::open().await;
    let client = world.client().await;
    let mut token = world.tokens(&client).await["refresh_token"].as_str().unwrap().to_owned();
    for _ in 0..70 {
        let reply = world.refresh(&client, &token).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        token = reply.json()["refresh_token"].as_str().unwrap().to_owned();
    }
}
