//! Logins at upstreams: begun, ended once, and forgotten.

use model::{ConnectionId, Holder, ServerId};
use store::{LoginAttempt, LoginOutcome, LoginState, NewLoginAttempt, Retention, StoreError};
use uuid::Uuid;

use crate::house::{House, START, actor, server, user_in};

const MINUTE: i64 = 60_000_000;

#[tokio::test]
async fn a_login_ends_once() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let ann = user_in(&tenant, "ann").await;
    let new = |id: Uuid, server| NewLoginAttempt {
        id,
        server,
        holder: Holder::User(ann),
        actor: format!("user/{ann}"),
        expires_at: i64::MAX,
    };
    let [one, two] = [Uuid::now_v7(), Uuid::now_v7()];
    let begun = tenant.create_login_attempt(new(one, id)).await.unwrap();
    let expected = LoginAttempt {
        id: one,
        server: id,
        holder: Holder::User(ann),
        actor: format!("user/{ann}"),
        state: LoginState::Pending,
        created_at: START,
        expires_at: START + 10 * MINUTE,
    };
    assert_eq!((&begun, tenant.login_attempt(one).await.unwrap()), (&expected, Some(expected.clone())));
    tenant.create_login_attempt(new(two, id)).await.unwrap();

    let connection = ConnectionId::fresh();
    let authorized = || LoginOutcome::Authorized(connection);
    let failed = || LoginOutcome::Failed { error: "access_denied".to_owned() };
    assert!(tenant.finish_login_attempt(one, authorized()).await.unwrap());
    assert!(!tenant.finish_login_attempt(one, failed()).await.unwrap());
    assert!(tenant.finish_login_attempt(two, failed()).await.unwrap());
    assert!(!tenant.finish_login_attempt(two, authorized()).await.unwrap());
    assert!(!tenant.finish_login_attempt(Uuid::now_v7(), authorized()).await.unwrap());
    let state = async |id| tenant.login_attempt(id).await.unwrap().unwrap().state;
    assert_eq!(state(one).await, LoginState::Authorized(connection));
    assert_eq!(state(two).await, LoginState::Failed { error: "access_denied".to_owned() });
    let none = tenant.create_login_attempt(new(Uuid::now_v7(), ServerId::fresh())).await;
    assert!(matches!(none, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn a_login_is_forgotten_an_hour_after_its_time() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = tenant.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let id = Uuid::now_v7();
    let new = NewLoginAttempt { id, server, holder: Holder::Global, actor: String::new(), expires_at: START + MINUTE };
    tenant.create_login_attempt(new).await.unwrap();
    for (at, there) in [(START + 60 * MINUTE, true), (START + 61 * MINUTE, false)] {
        house.store.platform().purge_expired(at, Retention::default()).await.unwrap();
        assert_eq!(tenant.login_attempt(id).await.unwrap().is_some(), there);
    }
}
