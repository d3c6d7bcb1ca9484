//! Against a transit engine that keeps what it was sent, and can be slow to trust.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::post;
use model::TenantId;
use uuid::Uuid;
use vault::{DataKey, Keks, Wrapped};

use super::*;

#[derive(Default)]
struct Transit {
    kept: Mutex<HashMap<String, (Value, Value)>>,
    status: Mutex<Option<StatusCode>>,
}

async fn answer(
    State(transit): State<Arc<Transit>>,
    Path((verb, key)): Path<(String, String)>,
    headers: HeaderMap,
    body: String,
) -> (StatusCode, String) {
    if let Some(status) = *transit.status.lock().unwrap() {
        return (status, "{}".to_owned());
    }
    if headers["x-vault-token"] != "s.token" {
        return (StatusCode::FORBIDDEN, "{}".to_owned());
    }
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut kept = transit.kept.lock().unwrap();
    match verb.as_str() {
        "encrypt" => {
            let ciphertext = format!("vault:v1:{key}:{}", kept.len());
            kept.insert(ciphertext.clone(), (body["plaintext"].clone(), body["context"].clone()));
            (StatusCode::OK, json!({"data": {"ciphertext": ciphertext}}).to_string())
        }
        _ => match kept.get(body["ciphertext"].as_str().unwrap()) {
            // As a key that is not derived: the context is not looked at.
            Some((plaintext, _)) => (StatusCode::OK, json!({"data": {"plaintext": plaintext}}).to_string()),
            None => (StatusCode::BAD_REQUEST, json!({"errors": ["cipher: message authentication failed"]}).to_string()),
        },
    }
}

struct House {
    transit: Arc<Transit>,
    settings: HttpSettings,
    _dir: tempfile::TempDir,
}

async fn house() -> House {
    let transit = Arc::new(Transit::default());
    let router = Router::new().route("/v1/transit/{verb}/{key}", post(answer)).with_state(transit.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/transit", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    let dir = tempfile::tempdir().unwrap();
    let token_file = dir.path().join("token");
    std::fs::write(&token_file, "s.token\n").unwrap();
    std::fs::set_permissions(&token_file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let settings = HttpSettings { url, key: "gatehouse".into(), token_file, ca: None };
    House { transit, settings, _dir: dir }
}

fn of(number: u128) -> KeyOf {
    KeyOf { tenant: TenantId(Uuid::from_u128(number)), id: 1 }
}

#[tokio::test]
async fn a_transit_service_wraps_and_opens_for_one_tenant_alone() {
    let house = house().await;
    let kek = Arc::new(HttpKek::open(&house.settings).unwrap());
    assert!(kek.id().starts_with("transit:127.0.0.1:") && kek.id().ends_with("/v1/transit/gatehouse"));
    kek.health().await.unwrap();
    let keks = Keks::new(kek, vec![]);
    let key = DataKey::generate(of(7)).unwrap();
    let wrapped = keks.wrap(&key).await.unwrap();
    assert!(wrapped.bytes.starts_with(b"vault:v1:"));
    let opened = keks.unwrap(of(7), &wrapped).await.unwrap();
    let at = vault::Coordinates { tenant: of(7).tenant, kind: "a", record: Uuid::nil(), field: "b", secret_version: 1 };
    let sealed = key.seal(&at, b"hush").unwrap();
    assert_eq!(opened.open(&at, &sealed).unwrap().as_slice(), b"hush");
    for other in [of(8), KeyOf { id: 2, ..of(7) }] {
        let refused = keks.unwrap(other, &wrapped).await;
        assert!(matches!(refused, Err(KekError::Vault(VaultError::Altered))), "even where contexts are not looked at");
    }
    let forged = Wrapped { bytes: b"vault:v1:none".to_vec(), ..wrapped };
    assert!(matches!(keks.unwrap(of(7), &forged).await, Err(KekError::Vault(VaultError::Altered))));
}

#[tokio::test]
async fn a_transit_service_that_is_away_or_refuses_its_client_is_no_verdict_on_a_key() {
    let house = house().await;
    let keks = Keks::new(Arc::new(HttpKek::open(&house.settings).unwrap()), vec![]);
    let wrapped = keks.wrap(&DataKey::generate(of(7)).unwrap()).await.unwrap();
    for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::FORBIDDEN, StatusCode::TOO_MANY_REQUESTS] {
        *house.transit.status.lock().unwrap() = Some(status);
        let error = keks.unwrap(of(7), &wrapped).await.unwrap_err();
        assert!(matches!(error, KekError::Unavailable { .. }), "{status}: {error:?}");
    }
    *house.transit.status.lock().unwrap() = None;
    std::fs::write(&house.settings.token_file, "s.expired").unwrap();
    assert!(matches!(keks.unwrap(of(7), &wrapped).await, Err(KekError::Unavailable { .. })));
    std::fs::write(&house.settings.token_file, "s.token").unwrap();
    assert!(keks.unwrap(of(7), &wrapped).await.is_ok(), "a token that was renewed is read");
}

#[tokio::test]
async fn a_token_that_others_can_read_is_refused() {
    let house = house().await;
    std::fs::set_permissions(&house.settings.token_file, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(HttpKek::open(&house.settings), Err(HttpKekError::Open { .. })));
    std::fs::remove_file(&house.settings.token_file).unwrap();
    assert!(matches!(HttpKek::open(&house.settings), Err(HttpKekError::File { .. })));
}
