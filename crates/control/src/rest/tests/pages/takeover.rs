//! Becoming somebody else at an issuer where people choose their own login, trying passwords unseen, and staying after
//! the password was changed.

use model::{GrantId, KeyRole};
use serde_json::{Value, json};
use store::{Actor, AuditPage, CodeTaken, IssuerPatch, NewCode, NewGrant, Rotation, UserPatch};

use super::browser::{Browser, code};
use super::idp::Idp;
use super::{House, PASSWORD, person, user};

/// Signs in at the issuer as whoever these claims say; answers the status and the code of a refusal.
async fn comes(house: &House, idp: &Idp, claims: Value) -> (u16, String) {
    let mut browser = Browser::new(house);
    let begun = browser.get("/signin/issuer/acme/company").await;
    let back = idp.answers(begun.header("location"), claims);
    let told = browser.get(&back).await;
    assert_eq!(told.status == 303, browser.is_signed_in().await);
    (told.status.as_u16(), code(&told).to_owned())
}

#[tokio::test]
async fn by_a_login_alone_nobody_becomes_who_has_a_password_or_administers_anything() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let issuer = idp.trusted(&house, |_| ()).await;
    let store = house.app.store.tenant(house.acme);
    let mut ann = person(&house, "ann", KeyRole::User).await;
    user(&house, house.acme, "tom", KeyRole::TenantAdmin).await;
    let pam = user(&house, house.acme, "pam", KeyRole::PlatformAdmin).await;
    let bob = user(&house, house.acme, "bob", KeyRole::User).await;
    let as_login = |login: &str| json!({"sub": format!("mallory-as-{login}"), "preferred_username": login});
    let refused = (403, "not_bound".to_owned());
    for unknown_users in [false, true] {
        let patch = IssuerPatch { unknown_users: Some(unknown_users), ..IssuerPatch::default() };
        store.change_issuer(&Actor::system("test"), issuer.id, None, patch).await.unwrap();
        for login in ["ann", "tom", "pam"] {
            assert_eq!(comes(&house, &idp, as_login(login)).await, refused, "{login} {unknown_users}");
            let record = store.user_by_login(login).await.unwrap().unwrap();
            assert_eq!(record.external_id, None, "{login} is nobody's");
        }
    }
    assert!(ann.is_signed_in().await);
    // Who was made for the issuer is the issuer's, and whom an admin has named to it.
    assert_eq!(comes(&house, &idp, as_login("bob")).await.0, 303);
    assert_eq!(store.user(bob).await.unwrap().unwrap().external_id.as_deref(), Some("mallory-as-bob"));
    let named = UserPatch { external_id: Some(Some("id-pam".to_owned())), ..UserPatch::default() };
    store.patch_user(&Actor::system("test"), pam, None, named).await.unwrap();
    assert_eq!(comes(&house, &idp, json!({"sub": "id-pam", "preferred_username": "x"})).await.0, 303);
}

#[tokio::test]
async fn a_password_that_was_wrong_is_written_down_once_a_minute_and_only_of_who_is_there() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let store = house.app.store.tenant(house.acme);
    let written = async || {
        let page = AuditPage { action: Some("session.refuse".to_owned()), limit: 100, ..AuditPage::default() };
        store.audit(page).await.unwrap()
    };
    let tried = async |login: &str, password: &str| {
        let mut browser = Browser::new(&house);
        browser.get("/signin").await;
        browser.submit("/signin", &[("tenant", "acme"), ("login", login), ("password", password)]).await.status
    };
    let eventually = async |rows: usize| {
        for _ in 0..500 {
            if written().await.len() == rows {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("{} rows and not {rows}", written().await.len());
    };
    for (login, password) in [("nobody", PASSWORD), ("ann", "s3cret typed wrong"), ("ann", "wrong again"), ("ann", "")]
    {
        assert_eq!(tried(login, password).await, 401);
    }
    eventually(1).await;
    house.clock.advance_micros(60 * 1_000_000);
    assert_eq!(tried("ann", "still wrong").await, 401);
    eventually(2).await;
    assert_eq!(tried("ann", PASSWORD).await, 303);
    let rows = written().await;
    let ann_id = store.user_by_login("ann").await.unwrap().unwrap().id;
    for row in &rows {
        assert_eq!((row.object.as_str(), row.actor.as_str()), (format!("user/{ann_id}").as_str(), "sign-in"));
        assert!(row.trace_id.is_some(), "{row:?}");
        assert!(!format!("{row:?}").contains("wrong"), "nothing of what was typed: {row:?}");
    }
    assert_eq!(rows.len(), 2);
    assert!(ann.is_signed_in().await);
}

#[tokio::test]
async fn whoever_let_a_client_in_with_the_old_password_is_out_with_the_new_one() {
    let house = House::open().await;
    let mut thief = person(&house, "ann", KeyRole::User).await;
    let store = house.app.store.tenant(house.acme);
    let ann = store.user_by_login("ann").await.unwrap().unwrap().id;
    let text = |text: &str| text.to_owned();
    let end = house.app.clock.now_micros() + 60_000_000;
    let grant = NewGrant {
        id: GrantId::fresh(),
        user: ann,
        issuer: None,
        client: text("app"),
        client_name: text("App"),
        resource: text("http://localhost:5011/mcp"),
        scope: text("mcp"),
        refresh_hash: [1; 32],
        expires_at: end,
    };
    let grant = store.create_grant(&Actor::system("test"), grant).await.unwrap().value;
    let code = NewCode {
        hash: [2; 32],
        user: ann,
        issuer: None,
        client: text("app"),
        redirect_uri: text("http://localhost:1/cb"),
        resource: text("http://localhost:5011/mcp"),
        scope: text("mcp"),
        challenge: text("c"),
        expires_at: end,
    };
    store.create_code(code).await.unwrap();
    let mut ann = super::signed_in(&house, "ann").await;
    assert!(!thief.is_signed_in().await && ann.is_signed_in().await);
    assert!(store.grant(grant.id).await.unwrap().unwrap().revoked_at.is_some());
    let now = house.app.clock.now_micros();
    assert!(matches!(store.rotate_refresh([1; 32], [3; 32], now).await.unwrap(), Rotation::Unknown));
    assert!(matches!(store.take_code([2; 32]).await.unwrap(), CodeTaken::Unknown));
}
