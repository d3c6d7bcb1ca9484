//! Identity providers: found before they are saved, never with a secret in an answer, changed by who may.

use serde_json::{Value, json};

use super::house::{House, key};
use crate::issuers::tests::idp::Idp;
use model::KeyRole;

fn body(idp: &Idp, more: &Value) -> String {
    let mut body = json!({"name": "corp", "issuer": format!("{}/corp", idp.base)});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body.to_string()
}

#[tokio::test]
async fn an_issuer_is_found_saved_changed_and_deleted() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let more = json!({"client_id": "gatehouse", "client_secret": "hush-hush", "sign_in": true,
        "claims": {"departments": "groups", "role": "roles", "roles": {"boss": "tenant_admin"}}});
    let made = house.admin("POST", "/api/v1/issuers", &body(&idp, &more)).await;
    assert_eq!((made.status.as_u16(), made.header("etag")), (201, "\"1\""), "{}", made.text);
    let record = made.json();
    assert_eq!((&record["has_client_secret"], &record["failure"]), (&json!(true), &Value::Null));
    assert!(record["keys_at"].is_string() && record["keys_until"].is_string());
    assert_eq!(record["algorithms"], json!(["RS256", "ES256", "EdDSA"]));
    assert_eq!(record["redirect_uri"], "http://127.0.0.1:5010/signin/callback");
    assert_eq!(record["claims"]["roles"], json!({"boss": "tenant_admin"}));
    let path = format!("/api/v1/issuers/{}", record["id"].as_str().unwrap());
    let change = json!({"title": "Corp", "client_secret": "another-one", "claims": {"login": "email"}}).to_string();
    let changed = house.admin_with(("if-match", "\"1\""), "PATCH", &path, &change).await;
    assert_eq!((changed.status.as_u16(), changed.header("etag")), (200, "\"2\""), "{}", changed.text);
    assert_eq!(changed.json()["claims"]["departments"], "groups", "what is not named stays");
    let no_client = house.admin_with(("if-match", "*"), "PATCH", &path, r#"{"client_id":null}"#).await;
    assert_eq!(no_client.told(), (422, "required".to_owned()));
    let other = house.admin_with(("if-match", "*"), "PATCH", &path, r#"{"issuer":"https://a.example"}"#).await;
    assert_eq!(other.told(), (422, "immutable_field".to_owned()));
    for (verb, enabled) in [("disable", false), ("enable", true)] {
        assert_eq!(house.admin("POST", &format!("{path}/{verb}"), "").await.json()["enabled"], enabled);
    }
    let listed = house.ask(&house.viewer, "GET", "/api/v1/issuers?search=corp", "").await;
    assert_eq!(listed.json()["items"].as_array().unwrap().len(), 1);
    let audit = house.admin("GET", "/api/v1/audit", "").await;
    for shown in [&made.text, &changed.text, &listed.text, &audit.text] {
        assert!(!shown.contains("hush-hush") && !shown.contains("another-one"), "{shown}");
    }
    let gone = house.admin_with(("if-match", "*"), "DELETE", &path, "").await;
    assert_eq!(gone.json()["name"], "corp");
    assert_eq!(house.admin("GET", &path, "").await.status, 404);
}

#[tokio::test]
async fn what_cannot_be_found_is_not_saved_unless_it_shall_be() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.down(true);
    let refused = house.admin("POST", "/api/v1/issuers", &body(&idp, &json!({}))).await;
    assert_eq!(refused.told(), (422, "issuer_unreachable".to_owned()));
    assert!(refused.json()["class"].is_string(), "{}", refused.text);
    assert_eq!(house.admin("GET", "/api/v1/issuers", "").await.json()["items"], json!([]));
    let saved = house.admin("POST", "/api/v1/issuers", &body(&idp, &json!({"unchecked": true}))).await.json();
    assert_eq!((&saved["keys_at"], &saved["keys_until"]), (&Value::Null, &Value::Null), "{saved}");
    let failed = house.admin("POST", "/api/v1/issuers/corp/refresh", "").await;
    assert_eq!(failed.told(), (422, "issuer_unreachable".to_owned()));
    let shown = house.admin("GET", "/api/v1/issuers/corp", "").await.json();
    assert!(shown["failure"].as_str().unwrap().contains("discovery document"), "{shown}");
    idp.down(false);
    let refreshed = house.admin("POST", "/api/v1/issuers/corp/refresh", "").await;
    assert_eq!((refreshed.status.as_u16(), &refreshed.json()["failure"]), (200, &Value::Null), "{}", refreshed.text);
    let twice = body(&idp, &json!({"name": "again", "unchecked": true}));
    let twice = house.admin("POST", "/api/v1/issuers", &twice).await;
    assert_eq!((twice.told(), &twice.json()["field"]), ((409, "name_taken".to_owned()), &json!("issuer")));
}

#[tokio::test]
async fn without_dev_mode_an_issuer_inside_is_not_asked() {
    let house = House::without_dev().await;
    let idp = Idp::open().await;
    let plain = house.admin("POST", "/api/v1/issuers", &body(&idp, &json!({}))).await;
    assert_eq!(plain.told(), (422, "url_invalid".to_owned()));
    for issuer in ["https://10.0.0.1", "https://169.254.169.254", "https://localhost"] {
        let body = json!({"name": "corp", "issuer": issuer}).to_string();
        let inside = house.admin("POST", "/api/v1/issuers", &body).await;
        assert_eq!(
            (inside.told(), &inside.json()["class"]),
            ((422, "issuer_unreachable".into()), &json!("address_blocked"))
        );
    }
    assert!(idp.requests().is_empty());
}

#[tokio::test]
async fn who_says_who_is_a_platform_admin_is_told_by_platform_admins() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let more = json!({"claims": {"role": "roles", "roles": {"root": "platform_admin"}}});
    let refused = house.admin("POST", "/api/v1/issuers", &body(&idp, &more)).await;
    assert_eq!(refused.told(), (403, "forbidden".to_owned()));
    assert_eq!(house.ask(&house.platform, "POST", "/api/v1/issuers", &body(&idp, &more)).await.status, 201);
    for (method, path, change) in [
        ("PATCH", "/api/v1/issuers/corp", r#"{"title":"x"}"#),
        ("DELETE", "/api/v1/issuers/corp", ""),
        ("POST", "/api/v1/issuers/corp/disable", ""),
    ] {
        let told = house.admin_with(("if-match", "*"), method, path, change).await.told();
        assert_eq!(told, (403, "forbidden".to_owned()), "{method} {path}");
    }
    let other = key(&house.app.store, house.acme, KeyRole::TenantAdmin).await;
    assert_eq!(house.ask(&other, "GET", "/api/v1/issuers/corp", "").await.status, 200);
}
