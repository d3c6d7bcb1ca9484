//! Tokens in the name of users: who gets one, what it says, and what is written down.

use identity::{Audience, By, Claims, SignerKey, signer_of};
use model::{KeyRole, KeyScopes, KeyText, UserId};
use serde_json::{Value, json};

use super::house::{ACT_AS, House, NOTES, key_for, made};
use crate::keys::Mint;

async fn user(house: &House, body: &str) -> UserId {
    let made = house.admin("POST", "/api/v1/users", body).await;
    made.json()["id"].as_str().unwrap_or_else(|| panic!("{}", made.text)).parse().unwrap()
}

/// What the published signers make of a token.
async fn read(house: &House, answer: &Value) -> Claims {
    let token = answer["token"].as_str().unwrap();
    let signer = signer_of(token).unwrap();
    let rows = house.app.store.platform().signers().await.unwrap();
    let spec = rows.into_iter().map(|row| row.spec).find(|spec| spec.id == signer).unwrap();
    SignerKey::new(&spec).verify(token, house.app.clock.now_micros() / 1_000_000).unwrap()
}

#[tokio::test]
async fn a_token_names_tenant_user_departments_and_key_and_is_for_one_audience() {
    let house = House::open().await;
    for name in ["board", "sales"] {
        house.admin("POST", "/api/v1/departments", &format!(r#"{{"name":"{name}"}}"#)).await;
    }
    let ann = user(&house, r#"{"login":"ann","departments":["sales","board"]}"#).await;
    let server = house.add("notes", NOTES).await;
    let server: model::ServerId = server["id"].as_str().unwrap().parse().unwrap();
    let now = house.app.clock.now_micros() / 1_000_000;
    let key = house.backend.parse::<KeyText>().unwrap().id();
    for (body, audience, ttl) in [
        (r#"{"user":"ann"}"#.to_owned(), Audience::Tenant(house.acme), 300),
        (format!(r#"{{"user":"{ann}","server":"notes","ttl":900}}"#), Audience::Server(server), 900),
        (format!(r#"{{"user":"ann","server":"{server}","ttl":1}}"#), Audience::Server(server), 1),
    ] {
        let answer = house.ask(&house.backend, "POST", "/api/v1/tokens", &body).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (201, "no-store"), "{}", answer.text);
        let answer = answer.json();
        let claims = read(&house, &answer).await;
        assert_eq!((answer["audience"].as_str().unwrap(), claims.audience.clone()), (&*audience.to_string(), audience));
        assert_eq!((claims.tenant, claims.user, claims.by.clone()), (house.acme, ann, By::Key(key)));
        assert_eq!(claims.departments, ["sales", "board"]);
        assert_eq!((claims.issued_at, claims.expires_at), (now, now + ttl));
        assert_eq!(answer["user"], ann.to_string());
        let row =
            house.admin("GET", "/api/v1/audit?action=token.issue&page_size=1", "").await.json()["items"][0].clone();
        assert_eq!((&row["actor"], &row["object"]), (&json!(key.as_str()), &json!(format!("user/{ann}"))), "{row}");
        assert_eq!(row["after"]["ttl"], ttl);
        assert_eq!(row["after"]["jti"], claims.id.to_string());
        assert!(!row.to_string().contains(answer["token"].as_str().unwrap()));
    }
}

#[tokio::test]
async fn what_is_no_user_or_server_of_the_key_gets_no_token() {
    let house = House::open().await;
    user(&house, r#"{"login":"ann"}"#).await;
    user(&house, r#"{"login":"idle","active":false}"#).await;
    house.ask(&house.other_admin, "POST", "/api/v1/users", r#"{"login":"bob"}"#).await;
    house.add("notes", NOTES).await;
    let servers = Some(vec!["tasks".to_owned()]);
    let what = Mint {
        tenant: house.acme,
        user: None,
        role: KeyRole::User,
        scopes: ACT_AS,
        servers,
        expires_at: None,
        label: String::new(),
    };
    let narrow = made(&house.app.store, what).await;
    for (key, body, code) in [
        (&house.backend, r#"{"user":"nobody"}"#, "user"),
        (&house.backend, r#"{"user":"bob"}"#, "user"),
        (&house.backend, r#"{"user":"idle"}"#, "user"),
        (&house.backend, r#"{"user":"ann","server":"none"}"#, "server"),
        (&narrow, r#"{"user":"ann","server":"notes"}"#, "server"),
        (&house.backend, r#"{"user":"ann","ttl":901}"#, "range"),
        (&house.backend, r#"{"user":"ann","ttl":0}"#, "range"),
        (&house.backend, "{}", "required"),
        (&house.backend, r#"{"user":"ann","role":"platform_admin"}"#, "unknown_field"),
    ] {
        let told = house.ask(key, "POST", "/api/v1/tokens", body).await.told();
        assert_eq!(told, (422, code.to_owned()), "{body}");
    }
    house.admin("POST", "/api/v1/servers/notes/disable", "").await;
    let off = house.ask(&house.backend, "POST", "/api/v1/tokens", r#"{"user":"ann","server":"notes"}"#).await;
    assert_eq!(off.code(), "server");
    // Of another tenant a key knows nobody, not even a platform admin's.
    let all = KeyScopes { mcp: true, rest: true, act_as: true };
    let platform = key_for(&house.app.store, house.acme, KeyRole::PlatformAdmin, all).await;
    let elsewhere = house
        .send("POST", "/api/v1/tokens", r#"{"user":"bob"}"#, |headers| {
            super::house::bearer(headers, &platform);
            headers.insert("gatehouse-tenant", "other".parse().unwrap());
        })
        .await;
    assert_eq!(elsewhere.told(), (404, "not_found".to_owned()));
    let rows = house.admin("GET", "/api/v1/audit?action=token.issue", "").await.json();
    assert_eq!(rows["items"], json!([]));
}

#[tokio::test]
async fn a_call_runs_as_a_user_for_who_may_act_and_is_written_down() {
    let house = House::open().await;
    let ann = user(&house, r#"{"login":"ann"}"#).await;
    house.add("notes", NOTES).await;
    let all = KeyScopes { mcp: true, rest: true, act_as: true };
    let acting = key_for(&house.app.store, house.acme, KeyRole::TenantAdmin, all).await;
    let (path, body) = ("/api/v1/servers/notes/call", r#"{"tool":"list","as":"ann","arguments":{"a":1.50}}"#);
    let told = house.admin("POST", path, body).await;
    assert_eq!(told.told(), (403, "insufficient_scope".to_owned()));
    let called = house.ask(&acting, "POST", path, body).await;
    assert_eq!(called.text, r#"{"result":{"tool":"list","arguments":{"a":1.50}}}"#);
    let principal = house.proxies.with(|state| state.principals.last().cloned()).unwrap();
    let key = acting.parse::<KeyText>().unwrap().id();
    assert_eq!((principal.tenant, principal.user, principal.key), (house.acme, Some(ann), Some(key)));
    let row = house.admin("GET", "/api/v1/audit?action=user.call_as", "").await.json()["items"][0].clone();
    assert_eq!((&row["object"], &row["after"]["tool"]), (&json!(format!("user/{ann}")), &json!("list")), "{row}");
    let nobody = house.ask(&acting, "POST", path, r#"{"tool":"list","as":"nobody"}"#).await;
    assert_eq!(nobody.told(), (422, "user".to_owned()));
}
