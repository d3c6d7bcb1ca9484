//! Every guarded route × every way in which an authentication can fail: each ends there, and never as somebody else.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::{KeyRole, KeyScopes, KeyText};
use serde_json::json;
use store::{Actor, NewUser, TenantPatch, UserPatch};

use super::access::{Objects, body_of, lets_in, objects, path, sealed, with_issuer};
use super::house::{ACT_AS, House, bearer, key_for, made, tenant};
use crate::issuers::tests::idp::Idp;
use crate::keys::Mint;
use crate::rest::{Access, Route, routes};

/// Headers with which proxies, clouds and frameworks say who somebody is. None of them is ours.
const IDENTITY_HEADERS: [&str; 33] = [
    "x-forwarded-user",
    "x-forwarded-email",
    "x-forwarded-preferred-username",
    "x-forwarded-groups",
    "x-forwarded-access-token",
    "x-auth-request-user",
    "x-auth-request-email",
    "x-auth-request-access-token",
    "x-authenticated-user",
    "x-authenticated-userid",
    "x-remote-user",
    "remote-user",
    "remote_user",
    "x-user",
    "x-user-id",
    "x-username",
    "x-user-role",
    "x-role",
    "x-admin",
    "x-tenant",
    "x-tenant-id",
    "x-api-key",
    "api-key",
    "x-access-token",
    "x-id-token",
    "x-goog-authenticated-user-email",
    "x-goog-iap-jwt-assertion",
    "x-amzn-oidc-identity",
    "x-amzn-oidc-data",
    "x-ms-client-principal",
    "x-ms-client-principal-name",
    "cf-access-jwt-assertion",
    "proxy-authorization",
];

type Change = Box<dyn Fn(&mut HeaderMap) + Send>;

/// One way to fail: what it is called, what it does to a request, and what comes of it where a key of this role and
/// these scopes would be asked for its rights; `None` for who is nobody.
struct Failure {
    name: &'static str,
    change: Change,
    who: Option<(KeyRole, KeyScopes)>,
    /// In place of what the route would say.
    always: Option<u16>,
}

fn nobody(name: &'static str, change: impl Fn(&mut HeaderMap) + Send + 'static) -> Failure {
    Failure { name, change: Box::new(change), who: None, always: Some(401) }
}

/// Who says this in the header `Authorization`.
fn says(name: &'static str, value: String) -> Failure {
    nobody(name, move |headers| {
        headers.insert("authorization", value.parse().unwrap());
    })
}

fn with_key(name: &'static str, key: String) -> Failure {
    says(name, format!("Bearer {key}"))
}

fn token(header: &serde_json::Value, payload: &serde_json::Value) -> String {
    let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(payload), URL_SAFE_NO_PAD.encode([7; 64]))
}

/// Keys that were good once, or would be if something else were.
async fn dead_keys(house: &House) -> Vec<Failure> {
    let (store, actor) = (&house.app.store, Actor::system("test"));
    let what = |user, expires_at| Mint {
        tenant: house.acme,
        user,
        role: KeyRole::PlatformAdmin,
        scopes: KeyScopes { mcp: true, rest: true, act_as: true },
        servers: None,
        expires_at,
        label: "dead".to_owned(),
    };
    let acme = store.tenant(house.acme);
    let revoked = made(store, what(None, None)).await;
    acme.revoke_key(&actor, revoked.parse::<KeyText>().unwrap().id()).await.unwrap();
    let expired = made(store, what(None, Some(1_800_000_000_000_000))).await;
    let user = async |login: &str| {
        let new = NewUser {
            login: login.to_owned(),
            title: String::new(),
            external_id: None,
            departments: vec![],
            role: KeyRole::PlatformAdmin,
            active: true,
        };
        acme.create_user(&actor, new).await.unwrap().value.id
    };
    let (idle, gone) = (user("idle").await, user("gone").await);
    let (of_idle, of_gone) = (made(store, what(Some(idle), None)).await, made(store, what(Some(gone), None)).await);
    let off = UserPatch { active: Some(false), ..UserPatch::default() };
    acme.patch_user(&actor, idle, None, off).await.unwrap();
    acme.delete_user(&actor, gone, None).await.unwrap();
    let closed = tenant(store, "closed").await;
    let of_closed = made(store, Mint { tenant: closed, ..what(None, None) }).await;
    let off = TenantPatch { active: Some(false), ..TenantPatch::default() };
    store.platform().patch_tenant(&actor, closed, None, off).await.unwrap();
    let live: KeyText = house.platform.parse().unwrap();
    let unknown = KeyText::mint("live", [1; 16], [2; 32]).expose().expose().to_owned();
    let other = KeyText::mint("live", [0; 16], [3; 32]).expose().expose().to_owned();
    let mut mistyped = house.platform.clone();
    mistyped.replace_range(30..31, if &mistyped[30..31] == "x" { "y" } else { "x" });
    vec![
        with_key("revoked", revoked),
        with_key("expired", expired),
        with_key("of an inactive user", of_idle),
        with_key("of a deleted user", of_gone),
        with_key("of a closed tenant", of_closed),
        with_key("unknown", unknown),
        with_key("wrong secret", sealed(&format!("ghk_live_{}_{}", live.id(), &other[26..69]))),
        with_key("mistyped", mistyped),
        with_key("cut", house.platform[..40].to_owned()),
        with_key("followed by more", format!("{}x", house.platform)),
        with_key("two in one", format!("{} {}", house.platform, house.platform)),
        with_key("empty", String::new()),
        with_key("long", "g".repeat(16 << 10)),
    ]
}

/// Texts that are credentials elsewhere, and places where none is looked for.
async fn strange(house: &House) -> Vec<Failure> {
    let platform = house.platform.clone();
    let (none, hs256) = (json!({"alg": "none", "typ": "JWT"}), json!({"alg": "HS256", "typ": "at+jwt"}));
    let payload = json!({"iss": "urn:gatehouse", "sub": "admin", "role": "platform_admin", "exp": 9_999_999_999u64});
    let user = house.admin("POST", "/api/v1/users", r#"{"login":"ann","role":"tenant_admin"}"#).await;
    assert_eq!(user.status, 201, "{}", user.text);
    let acting = house.ask(&house.backend, "POST", "/api/v1/tokens", r#"{"user":"ann"}"#).await;
    assert_eq!(acting.status, 201, "{}", acting.text);
    let acting = acting.json()["token"].as_str().unwrap().to_owned();
    let twice = [platform.clone(), platform.clone()];
    let second = [platform.clone(), "nonsense".to_owned()];
    let both = |values: [String; 2]| {
        move |headers: &mut HeaderMap| {
            for value in &values {
                headers.append("authorization", format!("Bearer {value}").parse().unwrap());
            }
        }
    };
    let cookie = |name: &'static str| {
        let value = format!("{name}={}", URL_SAFE_NO_PAD.encode([9; 32]));
        nobody("a forged cookie", move |headers| {
            headers.insert("cookie", value.parse().unwrap());
        })
    };
    let claims = platform.clone();
    vec![
        nobody("no credential", |_| ()),
        says("basic", format!("Basic {}", STANDARD.encode(format!("admin:{platform}")))),
        says("digest", format!("Digest {platform}")),
        says("no scheme", platform.clone()),
        says("bearer without a space", format!("Bearer{platform}")),
        says("another separator", format!("Bearer\t{platform}")),
        nobody("the same header twice", both(twice)),
        nobody("two headers", both(second)),
        with_key("a token of ours in the name of an admin", acting),
        with_key("a token without a signature", format!("{}.", token(&none, &payload).rsplit_once('.').unwrap().0)),
        with_key("a symmetric token", token(&hs256, &payload)),
        cookie("gatehouse"),
        cookie("__Host-gatehouse"),
        nobody("a key in a cookie", {
            let value = format!("gatehouse={platform}; __Host-gatehouse={platform}");
            move |headers| _ = headers.insert("cookie", value.parse().unwrap())
        }),
        nobody("headers of other systems", move |headers| {
            for name in IDENTITY_HEADERS {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_str(&claims).unwrap());
            }
        }),
    ]
}

/// Good keys that may not do this, whatever else a request says of them.
async fn too_weak(house: &House) -> Vec<Failure> {
    let store = &house.app.store;
    let key = async |name, role, scopes| {
        let key = key_for(store, house.acme, role, scopes).await;
        let change = move |headers: &mut HeaderMap| {
            bearer(headers, &key);
            for name in IDENTITY_HEADERS {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static("platform_admin"));
            }
        };
        Failure { name, change: Box::new(change), who: Some((role, scopes)), always: None }
    };
    let mcp = KeyScopes { mcp: true, rest: false, act_as: false };
    let foreign = {
        let key = house.admin.clone();
        move |headers: &mut HeaderMap| {
            bearer(headers, &key);
            headers.insert("gatehouse-tenant", HeaderValue::from_static("other"));
        }
    };
    vec![
        key("an admin's key for MCP only", KeyRole::PlatformAdmin, mcp).await,
        key("a backend's key", KeyRole::PlatformAdmin, ACT_AS).await,
        key("a viewer's key", KeyRole::Viewer, KeyScopes::PLAIN).await,
        key("a user's key", KeyRole::User, KeyScopes::PLAIN).await,
        key("a tenant admin's key", KeyRole::TenantAdmin, KeyScopes::PLAIN).await,
        Failure {
            name: "another tenant's admin",
            change: Box::new(foreign),
            who: Some((KeyRole::TenantAdmin, KeyScopes::PLAIN)),
            always: Some(404),
        },
    ]
}

/// The status of a failure at a route; `None` where it is none.
fn expected(failure: &Failure, route: &Route) -> Option<u16> {
    match (lets_in(route.access, failure.who), failure.always) {
        // Who may not do it at all is told so before anything is looked for.
        (Err((status, ..)), _) if failure.who.is_some() => Some(status),
        (_, Some(always)) => Some(always),
        (Ok(()), None) => None,
        (Err((status, ..)), None) => Some(status),
    }
}

async fn try_all(house: &House, objects: &Objects, failures: &[Failure]) -> usize {
    let mut cells = 0;
    for route in routes().iter().filter(|route| route.access != Access::Anyone) {
        let (path, body) = (path(route, objects), objects.filled(body_of(route)));
        for failure in failures {
            let Some(status) = expected(failure, route) else { continue };
            let reply = house
                .send(route.method, &path, &body, |headers| {
                    headers.insert("if-match", "*".parse().unwrap());
                    (failure.change)(headers);
                })
                .await;
            let case = format!("{} {path} with {}: {}", route.method, failure.name, reply.text);
            assert_eq!(reply.status.as_u16(), status, "{case}");
            assert_eq!(status == 401, !reply.header("www-authenticate").is_empty() && status != 403, "{case}");
            assert!(!reply.text.contains("ghk_live_"), "{case}");
            cells += 1;
        }
    }
    cells
}

#[tokio::test]
async fn every_way_to_fail_ends_at_every_route() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let objects = with_issuer(&house, &house.admin, &idp, objects(&house, &house.admin).await).await;
    let mut failures = dead_keys(&house).await;
    failures.extend(strange(&house).await);
    failures.extend(too_weak(&house).await);
    let before = house.ask(&house.platform, "GET", "/api/v1/audit?page_size=1", "").await.json();
    let cells = try_all(&house, &objects, &failures).await;
    let guarded = routes().iter().filter(|route| route.access != Access::Anyone).count();
    // Each route has all of the first two kinds; what a weak key may do is no failure.
    assert!(cells > guarded * 28, "{cells} cells of {guarded} routes");
    let after = house.ask(&house.platform, "GET", "/api/v1/audit?page_size=1", "").await.json();
    assert_eq!(before["items"], after["items"], "somebody changed something");
}

#[tokio::test]
async fn a_credential_in_the_query_is_none() {
    let house = House::open().await;
    for name in ["access_token", "api_key", "key", "token", "authorization"] {
        let path = format!("/api/v1/me?{name}={}", house.platform);
        assert_eq!(house.ask("", "GET", &path, "").await.told(), (401, "unauthenticated".to_owned()), "{name}");
    }
}
