//! What becomes of a connection by what its upstream said.

use wire::{Challenge, Verdict};

use super::*;

fn challenge(status: u16, error: Option<&str>) -> Challenge {
    Challenge { status, error: error.map(str::to_owned), ..Challenge::default() }
}

impl House {
    async fn said(
        &self,
        server: &ServerRecord,
        record: &ConnectionRecord,
        generation: i64,
        refused: Option<Challenge>,
    ) -> ConnectionRecord {
        let verdict = Verdict {
            tenant: self.tenant,
            server: server.spec.id,
            connection: record.id,
            token_generation: generation,
            refused,
        };
        self.one.report(&Report { node: NODE.into(), verdicts: vec![verdict] }).await.unwrap();
        self.now(record).await
    }
}

#[tokio::test]
async fn r58_a_login_that_is_refused_after_the_retry_needs_another_one_and_no_other_scope_is_touched() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    let ann = house.user("ann", &[]).await;
    let hers = house.connection(&server, Holder::User(ann), json!("mine")).await;
    let stale = house.said(&server, &record, 0, Some(challenge(401, None))).await;
    assert_eq!(stale.status, ConnectionStatus::Active, "a verdict about an older token");
    let refused = house.said(&server, &record, 1, Some(challenge(401, Some("invalid_token")))).await;
    assert_eq!(refused.status, ConnectionStatus::ReauthRequired);
    assert_eq!(refused.last_error.unwrap().code, "reauth_required");
    assert_eq!((refused.token_generation, refused.credential.is_some()), (1, true));
    assert_eq!(house.now(&hers).await.status, ConnectionStatus::Active);
}

#[tokio::test]
async fn r59_a_static_credential_that_is_refused_says_whether_people_are_to_sign_in() {
    let house = House::open().await;
    let server = house.server(json!({"type": "api_key", "scopes": ["global"]})).await;
    let record = house.connection(&server, Holder::Global, json!("hush")).await;
    let refused = house.said(&server, &record, 1, Some(challenge(401, None))).await;
    assert_eq!(refused.last_error.unwrap().code, "auth_failed");
    let oauth =
        Challenge { resource_metadata: Some("https://crm.example/.well-known/x".into()), ..challenge(401, None) };
    let refused = house.said(&server, &record, 1, Some(oauth)).await;
    assert_eq!(
        (refused.last_error.unwrap().code.as_str(), refused.status),
        ("oauth_required", ConnectionStatus::Active)
    );
    let works = house.said(&server, &record, 1, None).await;
    assert_eq!((works.last_error, works.last_success_at), (None, Some(house.clock.now_micros())));
}

#[tokio::test]
async fn r60_insufficient_scope_is_kept_for_the_next_login_and_other_403s_say_nothing() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    let other = house.said(&server, &record, 1, Some(challenge(403, None))).await;
    assert_eq!((other.status, other.last_error), (ConnectionStatus::Active, None));
    let wanted = Challenge { scope: Some("files:write".into()), ..challenge(403, Some("insufficient_scope")) };
    let refused = house.said(&server, &record, 1, Some(wanted.clone())).await;
    let error = refused.last_error.unwrap();
    assert_eq!((refused.status, error.code.as_str()), (ConnectionStatus::Active, "insufficient_scope"));
    assert!(error.message.contains("files:write"));
    assert_eq!(house.endpoint.challenged(), [wanted]);
}

#[tokio::test]
async fn success_is_written_down_once_a_minute() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    let first = house.said(&server, &record, 1, None).await.last_success_at;
    house.pass(20);
    assert_eq!(house.said(&server, &record, 1, None).await.last_success_at, first);
    house.pass(120);
    assert!(house.said(&server, &record, 1, None).await.last_success_at > first);
}
