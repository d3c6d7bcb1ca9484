//! What a key may do: no more than its role, its scopes, its user and its tenant let it, each by itself.

use model::{KeyRole, KeyScopes};
use store::{Actor, NewUser, TenantPatch, UserPatch};

use super::house::{House, made, tenant};
use crate::keys::Mint;

type LetsIn = fn(KeyRole) -> bool;

/// A route of each kind, and whom it lets in.
const ASKED: [(&str, LetsIn); 4] = [
    ("/api/v1/me", |_| true),
    ("/api/v1/audit", |role| role != KeyRole::User),
    ("/api/mcp/list", |role| role >= KeyRole::TenantAdmin),
    ("/api/v1/tenants", |role| role == KeyRole::PlatformAdmin),
];

async fn check(house: &House, key: &str, effective: Option<KeyRole>, scopes: KeyScopes, case: &str) {
    for (path, lets_in) in ASKED {
        let expected = match effective {
            None => 401,
            Some(_) if !scopes.rest => 403,
            Some(role) if lets_in(role) => 200,
            Some(_) => 403,
        };
        let reply = house.ask(key, "GET", path, "").await;
        assert_eq!(reply.status.as_u16(), expected, "{path} with {case}: {}", reply.text);
    }
    let acts = house.ask(key, "POST", "/api/v1/tokens", r#"{"user":"nobody"}"#).await;
    // Let in, it finds no such user.
    let expected = if effective.is_none() {
        401
    } else if scopes.act_as {
        422
    } else {
        403
    };
    assert_eq!(acts.status.as_u16(), expected, "tokens with {case}: {}", acts.text);
}

#[tokio::test]
async fn the_narrowest_of_role_scopes_user_and_tenant_counts() {
    let house = House::open().await;
    let (store, actor) = (&house.app.store, Actor::system("test"));
    let open = tenant(store, "open").await;
    let mut users = vec![(None, None)];
    for role in KeyRole::ALL {
        let new = NewUser {
            login: format!("a-{}", role.as_str().replace('_', "-")),
            title: String::new(),
            external_id: None,
            departments: vec![],
            role,
            active: true,
        };
        users.push((Some(role), Some(store.tenant(open).create_user(&actor, new).await.unwrap().value.id)));
    }
    let mut keys = Vec::new();
    for bits in 0..4 {
        let scopes = KeyScopes { mcp: true, rest: bits & 1 != 0, act_as: bits & 2 != 0 };
        for role in KeyRole::ALL {
            for (bound, user) in &users {
                let label = String::new();
                let what = Mint { tenant: open, user: *user, role, scopes, servers: None, expires_at: None, label };
                let key = made(store, what).await;
                let effective = bound.map_or(role, |bound| role.min(bound));
                let case = format!("{role:?} {scopes:?} of {bound:?}");
                check(&house, &key, Some(effective), scopes, &case).await;
                keys.push((key, *user, scopes, case));
            }
        }
    }
    for (_, user) in &users {
        let Some(user) = user else { continue };
        let off = UserPatch { active: Some(false), ..UserPatch::default() };
        store.tenant(open).patch_user(&actor, *user, None, off).await.unwrap();
    }
    for (key, _, scopes, case) in keys.iter().filter(|(_, user, ..)| user.is_some()) {
        check(&house, key, None, *scopes, &format!("{case}, who is inactive")).await;
    }
    let off = TenantPatch { active: Some(false), ..TenantPatch::default() };
    store.platform().patch_tenant(&actor, open, None, off).await.unwrap();
    for (key, _, scopes, case) in keys.iter().filter(|(_, user, ..)| user.is_none()) {
        check(&house, key, None, *scopes, &format!("{case} of a closed tenant")).await;
    }
}

#[tokio::test]
async fn scopes_are_given_shown_changed_and_handed_on() {
    let house = House::open().await;
    let plain = house.admin("POST", "/api/v1/keys", "{}").await.json();
    assert_eq!(plain["scopes"], serde_json::json!(["mcp", "rest"]));
    let made = house.admin("POST", "/api/v1/keys", r#"{"role":"viewer","scopes":["act_as"]}"#).await.json();
    assert_eq!(made["scopes"], serde_json::json!(["act_as"]));
    let (id, key) = (made["id"].as_str().unwrap(), made["key"].as_str().unwrap());
    let path = format!("/api/v1/keys/{id}");
    assert_eq!(house.ask(key, "GET", "/api/v1/me", "").await.told(), (403, "insufficient_scope".to_owned()));
    let wider = r#"{"scopes":["rest","act_as"]}"#;
    let changed = house.admin_with(("if-match", "*"), "PATCH", &path, wider).await;
    assert_eq!(changed.json()["scopes"], serde_json::json!(["rest", "act_as"]), "{}", changed.text);
    assert_eq!(house.ask(key, "GET", "/api/v1/me", "").await.status, 200);
    let rotated = house.admin("POST", &format!("{path}/rotate"), "{}").await.json();
    assert_eq!(rotated["scopes"], serde_json::json!(["rest", "act_as"]));
    let usual = house.admin_with(("if-match", "*"), "PATCH", &path, r#"{"scopes":null}"#).await;
    assert_eq!(usual.json()["scopes"], serde_json::json!(["mcp", "rest"]));
    for (body, code) in [
        (r#"{"scopes":["all"]}"#, "scope"),
        (r#"{"scopes":["mcp","mcp"]}"#, "duplicate"),
        (r#"{"scopes":"mcp"}"#, "type"),
    ] {
        assert_eq!(house.admin("POST", "/api/v1/keys", body).await.told(), (422, code.to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_platform_admins_key_that_is_not_for_rest_is_not_the_last_one() {
    let house = House::open().await;
    let body = r#"{"role":"platform_admin","scopes":["mcp"]}"#;
    assert_eq!(house.ask(&house.platform, "POST", "/api/v1/keys", body).await.status, 201);
    let id = house.platform.parse::<model::KeyText>().unwrap().id();
    let path = format!("/api/v1/keys/{id}");
    let last = (409, "last_platform_admin".to_owned());
    assert_eq!(house.ask(&house.platform, "DELETE", &path, "").await.told(), last);
    let narrowed = house
        .send("PATCH", &path, r#"{"scopes":["mcp","act_as"]}"#, |headers| {
            super::house::bearer(headers, &house.platform);
            headers.insert("if-match", "*".parse().unwrap());
        })
        .await;
    assert_eq!(narrowed.told(), last, "nobody could take it back");
}
