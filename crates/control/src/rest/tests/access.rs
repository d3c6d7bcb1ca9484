//! Every route × every role × own and foreign tenant. A route without a row here fails.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::Value;

use super::house::{House, NOTES, bearer};
use crate::rest::{Access, routes};

/// A request that fits each route, for a server (or key) that `{}` stands for.
const ROWS: &[(&str, &str, &str, &str)] = &[
    ("GET", "/", "/", ""),
    ("GET", "/livez", "/livez", ""),
    ("GET", "/readyz", "/readyz", ""),
    ("POST", "/api/v1/tenants", "/api/v1/tenants", r#"{"name":"third"}"#),
    ("GET", "/api/v1/tenants", "/api/v1/tenants", ""),
    ("POST", "/api/v1/servers", "/api/v1/servers", r#"{"url":"http://127.0.0.1:9001/mcp"}"#),
    ("GET", "/api/v1/servers", "/api/v1/servers", ""),
    ("GET", "/api/v1/servers/{server}", "/api/v1/servers/{}", ""),
    ("PATCH", "/api/v1/servers/{server}", "/api/v1/servers/{}", r#"{"trust_hints":true}"#),
    ("DELETE", "/api/v1/servers/{server}", "/api/v1/servers/{}", ""),
    ("POST", "/api/v1/servers/{server}/enable", "/api/v1/servers/{}/enable", ""),
    ("POST", "/api/v1/servers/{server}/disable", "/api/v1/servers/{}/disable", ""),
    ("POST", "/api/v1/servers/{server}/test", "/api/v1/servers/{}/test", ""),
    ("GET", "/api/v1/servers/{server}/tools", "/api/v1/servers/{}/tools", ""),
    ("POST", "/api/v1/servers/{server}/call", "/api/v1/servers/{}/call", r#"{"tool":"list"}"#),
    ("POST", "/api/v1/keys", "/api/v1/keys", "{}"),
    ("GET", "/api/v1/keys", "/api/v1/keys", ""),
    ("DELETE", "/api/v1/keys/{key}", "/api/v1/keys/{key}", ""),
    ("GET", "/api/v1/proxies", "/api/v1/proxies", ""),
    ("POST", "/api/v1/recover", "/api/v1/recover", ""),
    ("GET", "/api/mcp/tools", "/api/mcp/tools?service_name=a&mcp_url=http://127.0.0.1:9001/mcp", ""),
    ("POST", "/api/mcp/add", "/api/mcp/add?service_name=a&mcp_url=http://127.0.0.1:9001/mcp", ""),
    ("GET", "/api/mcp/list", "/api/mcp/list", ""),
    ("GET", "/api/mcp/recover", "/api/mcp/recover", ""),
    ("POST", "/api/mcp/recover", "/api/mcp/recover", ""),
    ("DELETE", "/api/mcp", "/api/mcp?service_name=a&mcp_url=http://127.0.0.1:9001/mcp", ""),
];

/// Where the tenant's own objects are, for `{}` and `{key}` of a row.
struct Objects {
    server: String,
    key: String,
}

impl Objects {
    fn path(&self, row: &str) -> String {
        row.replace("{}", &self.server).replace("{key}", &self.key)
    }
}

/// A fresh server and a fresh key of the tenant whose admin asks.
async fn objects(house: &House, admin: &str) -> Objects {
    let server = house.ask(admin, "POST", "/api/v1/servers", &format!(r#"{{"url":"{NOTES}"}}"#)).await.json();
    let key = house.ask(admin, "POST", "/api/v1/keys", "{}").await.json();
    let text = |object: &Value| object["id"].as_str().unwrap().to_owned();
    Objects { server: text(&server), key: text(&key) }
}

#[test]
fn every_route_has_a_row() {
    let routes: BTreeSet<_> = routes().iter().map(|route| (route.method, route.path)).collect();
    let rows: BTreeSet<_> = ROWS.iter().map(|(method, path, ..)| (*method, *path)).collect();
    assert_eq!(routes, rows);
}

#[tokio::test]
async fn every_route_asks_for_the_role_that_it_names() {
    let house = House::open().await;
    for route in routes() {
        let (.., sample, body) = ROWS.iter().find(|row| (row.0, row.1) == (route.method, route.path)).unwrap();
        for (who, key) in [
            ("nobody", ""),
            ("client", &house.client),
            ("tenant admin", &house.admin),
            ("platform admin", &house.platform),
        ] {
            let path = objects(&house, &house.admin).await.path(sample);
            let reply = house
                .send(route.method, &path, body, |headers| {
                    bearer(headers, key);
                    headers.insert("if-match", "*".parse().unwrap());
                })
                .await;
            let case = format!("{} {path} as {who}: {} {}", route.method, reply.status, reply.text);
            match (route.access, who) {
                (Access::Anyone, _) => assert_eq!(reply.status, StatusCode::OK, "{case}"),
                (Access::Admin | Access::Platform, "nobody") => {
                    assert_eq!(reply.told(), (401, "unauthenticated".to_owned()), "{case}");
                    assert!(reply.header("www-authenticate").starts_with("Bearer"), "{case}");
                }
                (Access::Admin | Access::Platform, "client") | (Access::Platform, "tenant admin") => {
                    assert_eq!(reply.told(), (403, "forbidden".to_owned()), "{case}");
                }
                (Access::Seed, "nobody") => {
                    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{case}");
                    assert_eq!(reply.text, r#"{"message":"Unauthorized","status":"error"}"#);
                    assert!(reply.header("www-authenticate").starts_with("Bearer"), "{case}");
                }
                (Access::Seed, "client") => {
                    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{case}");
                    assert_eq!(reply.text, r#"{"message":"Forbidden","status":"error"}"#);
                }
                (Access::Admin | Access::Platform, _) => assert!(reply.status.is_success(), "{case}"),
                // Whether the seed's call succeeds depends on what was added before; it is let in.
                (Access::Seed, _) => assert!(!matches!(reply.status.as_u16(), 401 | 403 | 404), "{case}"),
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_objects_look_like_none() {
    let house = House::open().await;
    let theirs = objects(&house, &house.other_admin).await;
    let none = Objects { server: model::ServerId::fresh().to_string(), key: "0000000000000000".to_owned() };
    for route in routes().iter().filter(|route| route.path.contains('{')) {
        let (.., sample, body) = ROWS.iter().find(|row| (row.0, row.1) == (route.method, route.path)).unwrap();
        let mut replies = Vec::new();
        for objects in [&theirs, &none] {
            let path = objects.path(sample);
            let reply = house.admin_with(("if-match", "*"), route.method, &path, body).await;
            assert_eq!(reply.told(), (404, "not_found".to_owned()), "{} {path}", route.method);
            let mut shown = reply.json();
            shown["trace_id"] = Value::Null;
            replies.push(shown);
        }
        assert_eq!(replies[0], replies[1], "{} {}", route.method, route.path);
    }
    let still = house.ask(&house.other_admin, "GET", &format!("/api/v1/servers/{}", theirs.server), "").await;
    assert_eq!((still.status, still.json()["generation"].as_i64()), (StatusCode::OK, Some(1)));
}

#[tokio::test]
async fn only_a_platform_admin_picks_a_tenant() {
    let house = House::open().await;
    let theirs = objects(&house, &house.other_admin).await;
    let (by_name, by_id) = ("other".to_owned(), house.other.to_string());
    for (key, tenant, expected) in [
        (&house.platform, &by_name, 200),
        (&house.platform, &by_id, 200),
        (&house.platform, &"nowhere".to_owned(), 404),
        (&house.admin, &by_name, 404),
        (&house.admin, &by_id, 404),
        (&house.other_admin, &by_name, 200),
        (&house.client, &by_name, 403),
    ] {
        for (row, seed) in [("/api/v1/servers/{}", false), ("/api/mcp/list", true)] {
            let reply = house
                .send("GET", &theirs.path(row), "", |headers| {
                    bearer(headers, key);
                    headers.insert("gatehouse-tenant", tenant.parse().unwrap());
                })
                .await;
            assert_eq!(reply.status.as_u16(), expected, "{row} {tenant}: {}", reply.text);
            assert!(!seed || reply.json()["status"].is_string());
        }
    }
}

#[tokio::test]
async fn a_key_that_is_not_live_opens_nothing() {
    let house = House::open().await;
    let list = |key: String| {
        let house = &house;
        async move { house.ask(&key, "GET", "/api/v1/servers", "").await.told() }
    };
    let unauthenticated = (401, "unauthenticated".to_owned());
    let mut mistyped = house.admin.clone();
    mistyped.replace_range(30..31, if &mistyped[30..31] == "x" { "y" } else { "x" });
    assert_eq!(list(mistyped).await, (401, "malformed_key".to_owned()));
    assert_eq!(list("secret".to_owned()).await, (401, "malformed_key".to_owned()));
    let unknown = model::KeyText::mint("live", [1; 16], [2; 32]).expose();
    assert_eq!(list(unknown.expose().to_owned()).await, unauthenticated);
    // The same id with another secret: the text is well made and still not the key.
    let id: model::KeyText = house.admin.parse().unwrap();
    let mut forged = model::KeyText::mint("live", [0; 16], [3; 32]).expose().expose().to_owned();
    let body = format!("ghk_live_{}_{}", id.id(), &forged[26..69]);
    forged = sealed(&body);
    assert_eq!(list(forged).await, unauthenticated);

    let made = house.admin("POST", "/api/v1/keys", r#"{"role":"tenant_admin","expires_in_days":1}"#).await.json();
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!(list(key.clone()).await.0, 200);
    house.clock.advance_micros(86_400 * 1_000_000);
    assert_eq!(list(key.clone()).await, unauthenticated);
    house.clock.advance_micros(-86_400 * 1_000_000);
    let id = made["id"].as_str().unwrap();
    assert_eq!(house.admin("DELETE", &format!("/api/v1/keys/{id}"), "").await.status, StatusCode::OK);
    assert_eq!(list(key).await, unauthenticated);
}

/// Finds the checksum of a key's body by trying the parser's own way back: a key text of that body.
fn sealed(body: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut table = [0u32; 256];
    for (at, entry) in table.iter_mut().enumerate() {
        *entry = (0..8).fold(at as u32, |crc, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 });
    }
    let mut crc = !body.bytes().fold(u32::MAX, |crc, byte| (crc >> 8) ^ table[usize::from(crc as u8 ^ byte)]);
    let mut text = Vec::new();
    for _ in 0..6 {
        text.push(char::from(DIGITS[(crc % 62) as usize]));
        crc /= 62;
    }
    format!("{body}_{}", text.iter().rev().collect::<String>())
}

#[tokio::test]
async fn a_tenant_admin_makes_no_platform_admin() {
    let house = House::open().await;
    let body = r#"{"role":"platform_admin"}"#;
    assert_eq!(house.admin("POST", "/api/v1/keys", body).await.status, StatusCode::FORBIDDEN);
    assert_eq!(house.ask(&house.platform, "POST", "/api/v1/keys", body).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_foreign_host_or_origin_reaches_nothing_but_health() {
    let house = House::open().await;
    for (path, header, expected) in [
        ("/api/v1/servers", "host", 403),
        ("/api/mcp/list", "origin", 403),
        ("/nowhere", "host", 403),
        ("/livez", "host", 200),
        ("/readyz", "host", 200),
    ] {
        let reply = house
            .send("GET", path, "", |headers| {
                bearer(headers, &house.admin);
                headers.insert(header, "http://evil.example".parse().unwrap());
            })
            .await;
        assert_eq!(reply.status.as_u16(), expected, "{path} {header}");
    }
}

#[tokio::test]
async fn a_tenant_is_found_by_a_name_that_looks_like_an_id() {
    let house = House::open().await;
    let name = "0af7651916cd43dd8448eb211c80319c";
    super::house::tenant(&house.app.store, name).await;
    let reply = house
        .send("GET", "/api/v1/servers", "", |headers| {
            bearer(headers, &house.platform);
            headers.insert("gatehouse-tenant", name.parse().unwrap());
        })
        .await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text);
}
