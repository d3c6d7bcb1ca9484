//! What ends a session, and what slows down who guesses.

use model::KeyRole;

use super::browser::{Browser, code};
use super::{House, PASSWORD, person};

const MINUTE: i64 = 60 * 1_000_000;

#[tokio::test]
async fn a_session_ends_after_half_an_hour_of_rest_and_after_twelve_hours() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    house.clock.advance_micros(29 * MINUTE);
    assert!(ann.is_signed_in().await);
    house.clock.advance_micros(29 * MINUTE);
    assert!(ann.is_signed_in().await, "use counts");
    house.clock.advance_micros(30 * MINUTE);
    assert!(!ann.is_signed_in().await, "rest ends it");
    ann.get("/signin").await;
    ann.submit("/signin", &[("tenant", "acme"), ("login", "ann"), ("password", PASSWORD)]).await;
    for _ in 0..(12 * 60 / 20 - 1) {
        house.clock.advance_micros(20 * MINUTE);
        assert!(ann.is_signed_in().await);
    }
    house.clock.advance_micros(20 * MINUTE);
    assert!(!ann.is_signed_in().await, "nothing keeps it for longer");
}

#[tokio::test]
async fn a_session_ends_with_the_user_the_tenant_and_its_local_accounts() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    assert!(ann.is_signed_in().await);
    assert_eq!(house.admin("POST", "/api/v1/users/ann/disable", "").await.status, 200);
    assert!(!ann.is_signed_in().await);
    assert_eq!(house.admin("POST", "/api/v1/users/ann/enable", "").await.status, 200);
    ann.get("/signin").await;
    ann.submit("/signin", &[("tenant", "acme"), ("login", "ann"), ("password", PASSWORD)]).await;
    assert!(ann.is_signed_in().await);
    let change = async |body: &str| {
        let reply = house
            .send("PATCH", "/api/v1/tenants/acme", body, |headers| {
                super::super::house::bearer(headers, &house.platform);
                headers.insert("if-match", "*".parse().unwrap());
            })
            .await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    };
    change(r#"{"local_accounts":false}"#).await;
    assert!(!ann.is_signed_in().await);
    ann.get("/signin?tenant=other").await;
    let sent = ann.submit("/signin", &[("tenant", "acme"), ("login", "ann"), ("password", PASSWORD)]).await;
    assert_eq!(sent.status, 401);
    let made = house.admin("POST", "/api/v1/users/ann/sign-in-link", "").await;
    assert_eq!(made.told(), (409, "local_accounts_off".to_owned()));
    change(r#"{"local_accounts":true}"#).await;
    ann.get("/signin").await;
    ann.submit("/signin", &[("tenant", "acme"), ("login", "ann"), ("password", PASSWORD)]).await;
    assert!(ann.is_signed_in().await);
    let other = super::super::house::key(&house.app.store, house.other, KeyRole::PlatformAdmin).await;
    assert_eq!(house.ask(&other, "POST", "/api/v1/tenants/acme/disable", "").await.status, 200);
    assert!(!ann.is_signed_in().await);
    assert_eq!(house.ask(&other, "POST", "/api/v1/tenants/acme/enable", "").await.status, 200);
}

#[tokio::test]
async fn who_guesses_waits() {
    let house = House::open().await;
    person(&house, "ann", KeyRole::User).await;
    let mut thief = Browser::new(&house);
    thief.get("/signin").await;
    let guess = [("tenant", "acme"), ("login", "ann"), ("password", "guessed wrong again")];
    for _ in 0..10 {
        assert_eq!(thief.submit("/signin", &guess).await.status, 401);
    }
    let told = thief.submit("/signin", &guess).await;
    assert_eq!((told.status.as_u16(), code(&told), told.header("retry-after")), (429, "too_many_tries", "60"));
    // Even the right one; and another spelling of the same account.
    let right = [("tenant", "acme"), ("login", "ann"), ("password", PASSWORD)];
    assert_eq!(thief.submit("/signin", &right).await.status, 429);
    let spelled = [("tenant", "ACME"), ("login", "Ann"), ("password", "guessed wrong again")];
    assert_eq!(thief.submit("/signin", &spelled).await.status, 429);
    let other = [("tenant", "acme"), ("login", "nobody"), ("password", "guessed wrong again")];
    assert_eq!(thief.submit("/signin", &other).await.status, 401, "others are counted for themselves");
    house.clock.advance_micros(MINUTE);
    assert_eq!(thief.submit("/signin", &right).await.status, 303);
}

#[tokio::test]
async fn what_fails_is_counted_by_what_it_failed_by_and_by_nobodys_name() {
    let house = House::open().await;
    let counted = || {
        let shown = house.app.metrics.render();
        let lines = shown.lines().filter_map(|line| line.strip_prefix("gatehouse_sign_in_failures_total{"));
        lines.map(|line| line.replace("reason=", "").replace(['"', '}'], "")).collect::<Vec<_>>()
    };
    assert_eq!(counted(), ["issuer 0", "limit 0", "link 0", "password 0"], "shown from the beginning");
    person(&house, "ann", KeyRole::User).await;
    let mut thief = Browser::new(&house);
    thief.get("/signin").await;
    for _ in 0..11 {
        thief.submit("/signin", &[("tenant", "acme"), ("login", "ann"), ("password", "guessed wrong again")]).await;
    }
    thief.get(&format!("/signin/link/{}", "A".repeat(43))).await;
    for _ in 0..2 {
        thief.get("/signin/callback?state=x&code=y").await;
    }
    assert_eq!(counted(), ["issuer 2", "limit 1", "link 1", "password 10"]);
}
