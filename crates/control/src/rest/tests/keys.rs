//! Keys: who sees and revokes which, and what they may be restricted to.

use axum::http::StatusCode;
use model::{KeyRole, KeyText};

use super::house::{House, NOTES, OTHER, key};

fn path(key: &str) -> String {
    format!("/api/v1/keys/{}", key.parse::<KeyText>().unwrap().id())
}

#[tokio::test]
async fn a_tenant_admin_neither_sees_nor_revokes_keys_of_platform_admins() {
    let house = House::open().await;
    let id = house.platform.parse::<KeyText>().unwrap().id();
    assert!(!house.admin("GET", "/api/v1/keys", "").await.text.contains(id.as_str()));
    let refused = house.admin("DELETE", &path(&house.platform), "").await;
    assert_eq!(refused.told(), (404, "not_found".to_owned()));
    assert!(house.ask(&house.platform, "GET", "/api/v1/keys", "").await.text.contains(id.as_str()));
}

#[tokio::test]
async fn the_last_live_key_of_a_platform_admin_stays() {
    let house = House::open().await;
    let last = (409, "last_platform_admin".to_owned());
    assert_eq!(house.ask(&house.platform, "DELETE", &path(&house.platform), "").await.told(), last);
    // One in another tenant is as good; a revoked one is none.
    let second = key(&house.app.store, house.other, KeyRole::PlatformAdmin).await;
    let revoked = house.ask(&house.platform, "DELETE", &path(&house.platform), "").await;
    assert_eq!(revoked.status, StatusCode::OK);
    assert_eq!(house.ask(&second, "DELETE", &path(&second), "").await.told(), last);
    assert_eq!(house.ask(&second, "GET", "/api/v1/keys", "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn servers_restrict_keys_of_clients_only_and_are_slugs() {
    let house = House::open().await;
    for (body, code) in [
        (r#"{"servers":["notes"]}"#, ""),
        (r#"{"role":"user","servers":[]}"#, ""),
        (r#"{"role":"tenant_admin","servers":["notes"]}"#, "role"),
        (r#"{"role":"platform_admin","servers":[]}"#, "role"),
        (r#"{"servers":["My Notes"]}"#, "slug"),
        (r#"{"servers":[""]}"#, "required"),
        (r#"{"servers":["a","a"]}"#, "duplicate"),
    ] {
        let reply = house.ask(&house.platform, "POST", "/api/v1/keys", body).await;
        let expected = if code.is_empty() { 201 } else { 422 };
        assert_eq!(reply.told(), (expected, code.to_owned()), "{body}");
        assert!(code.is_empty() || reply.json()["errors"][0]["field"] == "servers");
    }
}

#[tokio::test]
async fn a_restricted_key_sees_the_servers_that_it_may_use() {
    let house = House::open().await;
    let secret = house.add("secret", OTHER).await["id"].as_str().unwrap().to_owned();
    house.add("notes", NOTES).await;
    let made = house.admin("POST", "/api/v1/keys", r#"{"servers":["notes"]}"#).await.json();
    let key = made["key"].as_str().unwrap();
    let listed = house.ask(key, "GET", "/api/v1/servers", "").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["name"], "notes");
    for path in ["secret".to_owned(), secret, "secret/tools".to_owned()] {
        let reply = house.ask(key, "GET", &format!("/api/v1/servers/{path}"), "").await;
        assert_eq!(reply.told(), (404, "not_found".to_owned()), "{path}");
    }
    for path in ["notes", "notes/tools"] {
        let reply = house.ask(key, "GET", &format!("/api/v1/servers/{path}"), "").await;
        assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text);
    }
    let none = house.admin("POST", "/api/v1/keys", r#"{"servers":[]}"#).await.json();
    let listed = house.ask(none["key"].as_str().unwrap(), "GET", "/api/v1/servers", "").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 0);
}

#[tokio::test]
async fn nobody_makes_a_key_in_the_name_of_who_stands_above_them() {
    let house = House::open().await;
    for (login, role) in [("pam", "platform_admin"), ("tom", "tenant_admin")] {
        let body = format!(r#"{{"login":"{login}","role":"{role}"}}"#);
        let made = house.ask(&house.platform, "POST", "/api/v1/users", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
    }
    for (by, user, status) in [
        (&house.admin, "pam", 403),
        (&house.admin, "tom", 201),
        (&house.platform, "pam", 201),
        (&house.other_admin, "pam", 422),
    ] {
        let body = format!(r#"{{"label":"x","role":"user","user":"{user}"}}"#);
        let made = house.ask(by, "POST", "/api/v1/keys", &body).await;
        assert_eq!(made.status, status, "{user}: {}", made.text);
    }
}
