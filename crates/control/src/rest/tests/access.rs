//! Every route × every role × own and foreign tenant. A route without a row here fails.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use model::{Clock as _, KeyRole, KeyScopes, KeyText};
use serde_json::Value;
use store::{Actor, NewGrant, NewSession};

use super::house::{ACT_AS, House, NOTES, bearer};
use crate::issuers::tests::idp::Idp;
use crate::rest::{Access, Route, routes};

/// A request that fits each route, for objects that the words in braces stand for.
#[rustfmt::skip]
const ROWS: &[(&str, &str, &str)] = &[
    ("GET", "/", ""),
    ("GET", "/livez", ""),
    ("GET", "/readyz", ""),
    ("GET", "/docs", ""),
    ("GET", "/docs/{file}", ""),
    ("GET", "/openapi.json", ""),
    ("GET", "/api/v1/openapi.json", ""),
    ("GET", "/api/v1/me", ""),
    ("POST", "/api/v1/tenants", r#"{"name":"t-{fresh}"}"#),
    ("GET", "/api/v1/tenants", ""),
    ("GET", "/api/v1/tenants/{tenant}", ""),
    ("PATCH", "/api/v1/tenants/{tenant}", r#"{"title":"New"}"#),
    ("DELETE", "/api/v1/tenants/{tenant}", ""),
    ("POST", "/api/v1/tenants/{tenant}/enable", ""),
    ("POST", "/api/v1/tenants/{tenant}/disable", ""),
    ("POST", "/api/v1/tenants/{tenant}/restore", ""),
    ("POST", "/api/v1/departments", r#"{"name":"d-{fresh}"}"#),
    ("GET", "/api/v1/departments", ""),
    ("GET", "/api/v1/departments/{department}", ""),
    ("PATCH", "/api/v1/departments/{department}", r#"{"title":"New"}"#),
    ("DELETE", "/api/v1/departments/{department}", ""),
    ("POST", "/api/v1/departments/{department}/restore", ""),
    ("POST", "/api/v1/users", r#"{"login":"u-{fresh}"}"#),
    ("GET", "/api/v1/users", ""),
    ("GET", "/api/v1/users/{user}", ""),
    ("PATCH", "/api/v1/users/{user}", r#"{"title":"New"}"#),
    ("DELETE", "/api/v1/users/{user}", ""),
    ("POST", "/api/v1/users/{user}/enable", ""),
    ("POST", "/api/v1/users/{user}/disable", ""),
    ("POST", "/api/v1/users/{user}/restore", ""),
    ("POST", "/api/v1/users/{user}/sign-in-link", "{}"),
    ("GET", "/api/v1/sessions", ""),
    ("DELETE", "/api/v1/sessions/{session}", ""),
    ("GET", "/api/v1/grants", ""),
    ("DELETE", "/api/v1/grants/{grant}", ""),
    ("POST", "/api/v1/keys", "{}"),
    ("GET", "/api/v1/keys", ""),
    ("GET", "/api/v1/keys/{key}", ""),
    ("PATCH", "/api/v1/keys/{key}", r#"{"label":"new"}"#),
    ("DELETE", "/api/v1/keys/{key}", ""),
    ("POST", "/api/v1/keys/{key}/rotate", "{}"),
    ("POST", "/api/v1/tokens", r#"{"user":"{user}","server":"{server}"}"#),
    ("POST", "/api/v1/issuers", r#"{"name":"i-{fresh}","issuer":"https://{fresh}.example","unchecked":true}"#),
    ("GET", "/api/v1/issuers", ""),
    ("GET", "/api/v1/issuers/{issuer}", ""),
    ("PATCH", "/api/v1/issuers/{issuer}", r#"{"title":"New"}"#),
    ("DELETE", "/api/v1/issuers/{issuer}", ""),
    ("POST", "/api/v1/issuers/{issuer}/enable", ""),
    ("POST", "/api/v1/issuers/{issuer}/disable", ""),
    ("POST", "/api/v1/issuers/{issuer}/refresh", ""),
    ("POST", "/api/v1/servers", r#"{"url":"http://127.0.0.1:9001/mcp"}"#),
    ("GET", "/api/v1/servers", ""),
    ("GET", "/api/v1/servers/{server}", ""),
    ("PATCH", "/api/v1/servers/{server}", r#"{"trust_hints":true}"#),
    ("DELETE", "/api/v1/servers/{server}", ""),
    ("POST", "/api/v1/servers/{server}/enable", ""),
    ("POST", "/api/v1/servers/{server}/disable", ""),
    ("POST", "/api/v1/servers/{server}/restore", ""),
    ("GET", "/api/v1/servers/{server}/dependencies", ""),
    ("POST", "/api/v1/servers/{server}/test", ""),
    ("POST", "/api/v1/servers/{server}/call", r#"{"tool":"list"}"#),
    ("GET", "/api/v1/servers/{server}/tools", ""),
    ("POST", "/api/v1/servers/{server}/tools/refresh", ""),
    ("POST", "/api/v1/servers/{server}/tools/{tool}/enable", ""),
    ("POST", "/api/v1/servers/{server}/tools/{tool}/disable", ""),
    ("PUT", "/api/v1/servers/{server}/credentials", "{}"),
    ("DELETE", "/api/v1/servers/{server}/credentials/{field}", ""),
    ("GET", "/api/v1/servers/{server}/connections", ""),
    ("POST", "/api/v1/servers/{server}/connections", r#"{"scope_type":"user","scope_id":"{user}","credential":"a-token"}"#),
    ("GET", "/api/v1/servers/{server}/connections/{connection}", ""),
    ("PATCH", "/api/v1/servers/{server}/connections/{connection}", r#"{"display_name":"New"}"#),
    ("DELETE", "/api/v1/servers/{server}/connections/{connection}", ""),
    ("PUT", "/api/v1/servers/{server}/connections/{connection}/status", r#"{"status":"disabled"}"#),
    ("POST", "/api/v1/servers/{server}/connections/{connection}/test", ""),
    ("POST", "/api/v1/servers/{server}/connections/{connection}/revoke", ""),
    ("POST", "/api/v1/servers/{server}/connections/login", ""),
    ("GET", "/api/v1/servers/{server}/connections/login/{attempt}", ""),
    ("GET", "/oauth/client-metadata.json", ""),
    ("POST", "/api/v1/connections/find", r#"{"secret":"a-token"}"#),
    ("POST", "/api/v1/toolsets", r#"{"name":"t-{fresh}","tools":[{"server":"{server}","tool":"list"}]}"#),
    ("GET", "/api/v1/toolsets", ""),
    ("GET", "/api/v1/toolsets/{toolset}", ""),
    ("PATCH", "/api/v1/toolsets/{toolset}", r#"{"title":"New"}"#),
    ("DELETE", "/api/v1/toolsets/{toolset}", ""),
    ("POST", "/api/v1/egress-rules", r#"{"host":"{fresh}.corp","reason":"test"}"#),
    ("GET", "/api/v1/egress-rules", ""),
    ("GET", "/api/v1/egress-rules/{rule}", ""),
    ("DELETE", "/api/v1/egress-rules/{rule}", ""),
    ("GET", "/api/v1/audit", ""),
    ("GET", "/api/v1/proxies", ""),
    ("POST", "/api/v1/recover", ""),
    ("POST", "/api/v1/import", r#"{"from":"nexent","rows":[]}"#),
    ("GET", "/api/v1/vault", ""),
    ("POST", "/api/v1/vault/rotate", r#"{"what":"kek"}"#),
    ("GET", "/api/mcp/tools", ""),
    ("POST", "/api/mcp/add", ""),
    ("GET", "/api/mcp/list", ""),
    ("GET", "/api/mcp/recover", ""),
    ("POST", "/api/mcp/recover", ""),
    ("DELETE", "/api/mcp", ""),
];

pub(super) fn body_of(route: &Route) -> &'static str {
    let row = ROWS.iter().find(|row| (row.0, row.1) == (route.method, route.path));
    row.unwrap_or_else(|| panic!("{} {} has no row", route.method, route.path)).2
}

/// Objects of one tenant and of the platform, by the words that stand for them in paths and bodies.
pub(super) struct Objects(Vec<(&'static str, String)>);

impl Objects {
    pub(super) fn filled(&self, template: &str) -> String {
        self.0.iter().fold(template.to_owned(), |text, (word, id)| text.replace(word, id))
    }

    pub(super) fn of(&self, word: &str) -> &str {
        &self.0.iter().find(|(other, _)| *other == word).unwrap().1
    }
}

/// The path of a route; the seed's calls take their parameters in the query.
pub(super) fn path(route: &Route, objects: &Objects) -> String {
    let seed = route.path.starts_with("/api/mcp") && !route.path.ends_with("list") && !route.path.ends_with("recover");
    let query = if seed { "?service_name=a&mcp_url=http://127.0.0.1:9001/mcp" } else { "" };
    format!("{}{query}", objects.filled(route.path))
}

/// Fresh objects of the tenant whose admin asks.
pub(super) async fn objects(house: &House, admin: &str) -> Objects {
    let fresh = model::ServerId::fresh().to_string()[24..].to_owned();
    let id = |made: Value| made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    let make = async |key: &str, noun: &str, body: &str| {
        id(house.ask(key, "POST", &format!("/api/v1/{noun}"), &body.replace("{fresh}", &fresh)).await.json())
    };
    let user = make(admin, "users", r#"{"login":"of-{fresh}"}"#).await;
    let (session, grant) = entered(house, admin, &user).await;
    let bound = format!(
        r#"{{"url":"{NOTES}","title":"B {{fresh}}","auth":{{"type":"bearer","scopes":["user","global"]}},"skip_validation":true}}"#
    );
    let bound = make(admin, "servers", &bound).await;
    let credential = r#"{"scope_type":"global","credential":"a-token"}"#;
    let connection = make(admin, &format!("servers/{bound}/connections"), credential).await;
    // One for all: nothing uses it up, and a tenant has so many only.
    let oauth = format!(
        r#"{{"url":"{NOTES}","name":"wants-login","auth":{{"type":"authorization_code","scopes":["global"]}},"skip_validation":true}}"#
    );
    house.ask(admin, "POST", "/api/v1/servers", &oauth).await;
    let begun = house.ask(admin, "POST", "/api/v1/servers/wants-login/connections/login", "").await.json();
    let attempt = begun["attempt"].as_str().unwrap_or_else(|| panic!("{begun}")).to_owned();
    Objects(vec![
        ("{server}/connections/login", "wants-login/connections/login".to_owned()),
        ("{attempt}", attempt),
        ("{connection}", connection),
        ("{session}", session),
        ("{grant}", grant),
        ("{server}", bound),
        ("{key}", make(admin, "keys", "{}").await),
        ("{department}", make(admin, "departments", r#"{"name":"of-{fresh}"}"#).await),
        ("{user}", user),
        ("{tenant}", make(&house.platform, "tenants", r#"{"name":"of-{fresh}"}"#).await),
        ("{rule}", make(&house.platform, "egress-rules", r#"{"host":"of-{fresh}.corp","reason":"test"}"#).await),
        ("{toolset}", make(admin, "toolsets", r#"{"name":"of-{fresh}"}"#).await),
        ("{field}", "token".to_owned()),
        ("{tool}", "list".to_owned()),
        ("{file}", "start.js".to_owned()),
        ("{fresh}", fresh),
    ])
}

/// A session and a grant of a user.
async fn entered(house: &House, admin: &str, user: &str) -> (String, String) {
    let (store, user) = (&house.app.store, user.parse::<model::UserId>().unwrap());
    let tenant = if admin == house.other_admin { house.other } else { house.acme };
    let mut hash = [0; 32];
    hash[..16].copy_from_slice(user.0.as_bytes());
    let expires_at = house.clock.now_micros() + 3_600_000_000;
    let (issuer, ip, agent) = (None, None, None);
    let session = NewSession { hash, tenant, user, issuer, ip, agent, expires_at };
    let grant = NewGrant {
        id: model::GrantId::fresh(),
        user,
        issuer: None,
        client: "client".to_owned(),
        client_name: "Client".to_owned(),
        resource: "http://localhost:5011/mcp".to_owned(),
        scope: "mcp".to_owned(),
        refresh_hash: hash,
        expires_at,
    };
    let session = store.platform().create_session(session).await.unwrap().id;
    let grant = store.tenant(tenant).create_grant(&Actor::system("test"), grant).await.unwrap().value.id;
    (session.to_string(), grant.to_string())
}

/// An identity provider of the tenant whose admin asks. There may be 20 of them, so only who needs one makes one.
pub(super) async fn with_issuer(house: &House, admin: &str, idp: &Idp, mut objects: Objects) -> Objects {
    let fresh = objects.of("{fresh}");
    let body = format!(r#"{{"name":"of-{fresh}","issuer":"{}/{fresh}"}}"#, idp.base);
    let made = house.ask(admin, "POST", "/api/v1/issuers", &body).await.json();
    let id = made["id"].as_str().unwrap_or_else(|| panic!("{made}")).to_owned();
    objects.0.push(("{issuer}", id));
    objects
}

/// Who a route is for, in the words of its access; else status, code and what is needed.
pub(super) fn lets_in(
    access: Access,
    who: Option<(KeyRole, KeyScopes)>,
) -> Result<(), (u16, &'static str, &'static str)> {
    let Some((role, scopes)) = who else {
        return if access == Access::Anyone { Ok(()) } else { Err((401, "unauthenticated", "")) };
    };
    let needs = |needs| Err((403, "forbidden", needs));
    match access {
        Access::Anyone => Ok(()),
        Access::ActAs if scopes.act_as => Ok(()),
        Access::ActAs => Err((403, "insufficient_scope", "act_as")),
        _ if !scopes.rest => Err((403, "insufficient_scope", "rest")),
        Access::Viewer if role == KeyRole::User => needs("viewer"),
        Access::User if role == KeyRole::Viewer => needs("user"),
        Access::Member | Access::User | Access::Viewer => Ok(()),
        Access::Admin | Access::Seed if role < KeyRole::TenantAdmin => needs("tenant_admin"),
        Access::Admin | Access::Seed => Ok(()),
        Access::Platform if role < KeyRole::PlatformAdmin => needs("platform_admin"),
        Access::Platform => Ok(()),
    }
}

fn ends_others(route: &Route) -> bool {
    route.path.contains("{session}") || route.path.contains("{grant}")
}

#[tokio::test]
async fn every_route_lets_in_exactly_whom_it_should() {
    let known: BTreeSet<_> = ROWS.iter().map(|row| (row.0, row.1)).collect();
    let served: BTreeSet<_> = routes().iter().map(|route| (route.method, route.path)).collect();
    assert_eq!(known, served, "a route without a row, or a row without a route");

    let house = House::open().await;
    let idp = Idp::open().await;
    let kept = with_issuer(&house, &house.admin, &idp, objects(&house, &house.admin).await).await;
    let plain = |role| Some((role, KeyScopes::PLAIN));
    for route in routes() {
        for (key, who) in [
            ("", None),
            (house.client.as_str(), plain(KeyRole::User)),
            (house.viewer.as_str(), plain(KeyRole::Viewer)),
            (house.admin.as_str(), plain(KeyRole::TenantAdmin)),
            (house.platform.as_str(), plain(KeyRole::PlatformAdmin)),
            (house.backend.as_str(), Some((KeyRole::Viewer, ACT_AS))),
        ] {
            let (expected, role) = (lets_in(route.access, who), who.map(|(role, _)| role));
            // Who is let in may use the objects up; who isn't leaves them as they are.
            let mut fresh = None;
            let names = |text: &str| kept.filled(text) != text;
            let uses = names(route.path) || names(body_of(&route));
            if expected.is_ok() && route.method != "GET" && uses {
                let objects = objects(&house, &house.admin).await;
                fresh = Some(match route.path.contains("{issuer}") {
                    true => with_issuer(&house, &house.admin, &idp, objects).await,
                    false => objects,
                });
            }
            let objects = fresh.as_ref().unwrap_or(&kept);
            let mut path = path(&route, objects);
            // A user sees no keys but their own.
            if route.path == "/api/v1/keys/{key}" && role == Some(KeyRole::User) && expected.is_ok() {
                path = format!("/api/v1/keys/{}", key.parse::<KeyText>().unwrap().id());
            }
            let reply = house
                .send(route.method, &path, &objects.filled(body_of(&route)), |headers| {
                    bearer(headers, key);
                    headers.insert("if-match", "*".parse().unwrap());
                })
                .await;
            let case = format!("{} {path} as {who:?}: {} {}", route.method, reply.status, reply.text);
            match (expected, route.access) {
                // Whether the seed's call succeeds depends on what was added before; it is let in.
                (Ok(()), Access::Seed) => assert!(!matches!(reply.status.as_u16(), 401 | 403 | 404), "{case}"),
                // An attempt is told to whoever made it.
                (Ok(()), Access::User) if route.path.contains("{attempt}") && key != house.admin => {
                    assert_eq!(reply.told(), (404, "not_found".to_owned()), "{case}");
                }
                // Let in, a key of nobody has no connection of its own, and makes none.
                (Ok(()), Access::User) if role == Some(KeyRole::User) && route.path.contains("{connection}") => {
                    assert_eq!(reply.told(), (404, "not_found".to_owned()), "{case}");
                }
                (Ok(()), Access::User) if role == Some(KeyRole::User) && route.method == "POST" => {
                    assert_eq!(reply.told(), (403, "forbidden".to_owned()), "{case}");
                }
                // Let in, who is no admin finds nobody's but their own.
                (Ok(()), _) if ends_others(&route) && role < Some(KeyRole::TenantAdmin) => {
                    assert_eq!(reply.told(), (404, "not_found".to_owned()), "{case}");
                }
                (Ok(()), _) => assert!(reply.status.is_success(), "{case}"),
                (Err((401, ..)), Access::Seed) => {
                    assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{case}");
                    assert_eq!(reply.text, r#"{"message":"Unauthorized","status":"error"}"#);
                    assert!(reply.header("www-authenticate").starts_with("Bearer"), "{case}");
                }
                (Err(_), Access::Seed) => {
                    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{case}");
                    assert_eq!(reply.text, r#"{"message":"Forbidden","status":"error"}"#);
                }
                (Err((401, code, _)), _) => {
                    assert_eq!(reply.told(), (401, code.to_owned()), "{case}");
                    assert!(reply.header("www-authenticate").starts_with("Bearer"), "{case}");
                }
                (Err((status, code, needs)), _) => {
                    assert_eq!(reply.told(), (status, code.to_owned()), "{case}");
                    assert_eq!(reply.json()["needs"], needs, "{case}");
                }
            }
        }
    }
}

#[tokio::test]
async fn another_tenants_objects_look_like_none() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let theirs = with_issuer(&house, &house.other_admin, &idp, objects(&house, &house.other_admin).await).await;
    let none = Objects(vec![
        ("{issuer}", model::IssuerId::fresh().to_string()),
        ("{server}", model::ServerId::fresh().to_string()),
        ("{key}", "0000000000000000".to_owned()),
        ("{department}", model::DepartmentId::fresh().to_string()),
        ("{user}", model::UserId::fresh().to_string()),
        ("{session}", model::SessionId::fresh().to_string()),
        ("{grant}", model::GrantId::fresh().to_string()),
        ("{toolset}", model::ToolsetId::fresh().to_string()),
        ("{tool}", "list".to_owned()),
    ]);
    let own = |route: &&Route| {
        let segments = ["{server}", "{key}", "{department}", "{user}", "{issuer}", "{session}", "{grant}", "{toolset}"];
        segments.iter().any(|segment| route.path.contains(segment))
    };
    for route in routes().iter().filter(own) {
        for key in [&house.admin, &house.platform] {
            let mut replies = Vec::new();
            for objects in [&theirs, &none] {
                let path = path(route, objects);
                let reply = house
                    .send(route.method, &path, &objects.filled(body_of(route)), |headers| {
                        bearer(headers, key);
                        headers.insert("if-match", "*".parse().unwrap());
                    })
                    .await;
                assert_eq!(reply.told(), (404, "not_found".to_owned()), "{} {path}", route.method);
                let mut shown = reply.json();
                shown["trace_id"] = Value::Null;
                replies.push(shown);
            }
            assert_eq!(replies[0], replies[1], "{} {}", route.method, route.path);
        }
    }
    let still = house.ask(&house.other_admin, "GET", &format!("/api/v1/servers/{}", theirs.of("{server}")), "").await;
    assert_eq!((still.status, still.json()["generation"].as_i64()), (StatusCode::OK, Some(1)));
}

#[tokio::test]
async fn a_change_without_if_match_is_refused_wherever_one_is_needed() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let objects = with_issuer(&house, &house.admin, &idp, objects(&house, &house.admin).await).await;
    let conditional: Vec<Route> = routes().into_iter().filter(Route::is_conditional).collect();
    assert_eq!(conditional.len(), 17);
    for route in conditional {
        let path = path(&route, &objects);
        let body = objects.filled(body_of(&route));
        let reply = house.ask(&house.platform, route.method, &path, &body).await;
        assert_eq!(reply.told(), (428, "if_match_required".to_owned()), "{} {path}", route.method);
        let stale = house
            .send(route.method, &path, &body, |headers| {
                bearer(headers, &house.platform);
                headers.insert("if-match", "\"7\"".parse().unwrap());
            })
            .await;
        assert_eq!(stale.told(), (412, "stale".to_owned()), "{} {path}", route.method);
    }
}

#[tokio::test]
async fn only_a_platform_admin_picks_a_tenant() {
    let house = House::open().await;
    let theirs = objects(&house, &house.other_admin).await;
    let theirs = format!("/api/v1/servers/{}", theirs.of("{server}"));
    let (by_name, by_id) = ("other".to_owned(), house.other.to_string());
    for (key, tenant, expected) in [
        (&house.platform, &by_name, 200),
        (&house.platform, &by_id, 200),
        (&house.platform, &"nowhere".to_owned(), 404),
        (&house.admin, &by_name, 404),
        (&house.admin, &by_id, 404),
        (&house.other_admin, &by_name, 200),
        (&house.client, &by_name, 404),
    ] {
        for (path, seed) in [(theirs.as_str(), false), ("/api/mcp/list", true)] {
            let expected = if seed && *key == house.client { 403 } else { expected };
            let reply = house
                .send("GET", path, "", |headers| {
                    bearer(headers, key);
                    headers.insert("gatehouse-tenant", tenant.parse().unwrap());
                })
                .await;
            assert_eq!(reply.status.as_u16(), expected, "{path} {tenant}: {}", reply.text);
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

#[tokio::test]
async fn a_mistyped_key_is_refused_without_a_look_at_the_database() {
    let house = House::open().await;
    let mut mistyped = house.admin.clone();
    mistyped.replace_range(30..31, if &mistyped[30..31] == "x" { "y" } else { "x" });
    house.app.store.clone().close().await.unwrap();
    for (key, expected) in [(house.admin.as_str(), (503, "database_unavailable")), (&mistyped, (401, "malformed_key"))]
    {
        let reply = house.ask(key, "GET", "/api/v1/servers", "").await;
        assert_eq!(reply.told(), (expected.0, expected.1.to_owned()), "{}", reply.text);
    }
}

/// Finds the checksum of a key's body by trying the parser's own way back: a key text of that body.
pub(super) fn sealed(body: &str) -> String {
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
