//! By password and by one-time link.

use model::KeyRole;

use super::browser::{Browser, code};
use super::{House, PASSWORD, link, person, signed_in, user};

const SIGN_IN: [(&str, &str); 3] = [("tenant", "acme"), ("login", "ann"), ("password", PASSWORD)];

#[tokio::test]
async fn a_link_sets_a_password_once_and_looking_uses_nothing_up() {
    let house = House::open().await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let path = link(&house, "ann").await;
    let mut browser = Browser::new(&house);
    for _ in 0..3 {
        let page = browser.get(&path).await;
        assert!(page.status == 200 && page.text.contains("ann") && page.text.contains("acme"), "{}", page.text);
    }
    for (password, again, told) in [
        ("elevenchars", "elevenchars", "at least 12 characters"),
        ("", "", "at least 12 characters"),
        (PASSWORD, "another few words", "not the same"),
        (&*"x".repeat(257), &*"x".repeat(257), "at most 256 bytes"),
    ] {
        let page = browser.submit(&path, &[("password", password), ("again", again)]).await;
        assert!(page.status == 422 && page.text.contains(told), "{password}: {}", page.text);
        assert!(browser.session().is_none());
    }
    let set = browser.submit(&path, &[("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!((set.status.as_u16(), set.header("location")), (303, "/account"));
    let page = browser.get("/account").await;
    assert!(page.text.contains("ann") && page.text.contains("this browser"), "{}", page.text);
    for reply in [browser.get(&path).await, browser.submit(&path, &[("password", PASSWORD)]).await] {
        assert!(matches!(reply.status.as_u16(), 403 | 404), "{}", reply.text);
    }
    assert_eq!(code(&browser.get(&path).await), "link_ended");
    assert_eq!(browser.get("/signin/link/nonsense").await.status, 404);
}

#[tokio::test]
async fn a_link_ends_with_its_time_with_the_next_password_and_with_the_user() {
    let house = House::open().await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let mut browser = Browser::new(&house);
    let (first, second) = (link(&house, "ann").await, link(&house, "ann").await);
    house.clock.advance_micros(86_400 * 1_000_000);
    assert_eq!(browser.get(&first).await.status, 404, "a day");
    assert_eq!(browser.get(&second).await.status, 404);
    let (first, second) = (link(&house, "ann").await, link(&house, "ann").await);
    browser.get(&first).await;
    assert_eq!(browser.submit(&first, &[("password", PASSWORD), ("again", PASSWORD)]).await.status, 303);
    assert_eq!(browser.get(&second).await.status, 404, "whoever had another link is out");
    let third = link(&house, "ann").await;
    house.admin("POST", "/api/v1/users/ann/disable", "").await;
    assert_eq!(browser.get(&third).await.status, 404);
    assert!(!browser.is_signed_in().await);
}

#[tokio::test]
async fn whoever_knows_the_password_is_signed_in_and_nobody_else() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    user(&house, house.other, "ann", KeyRole::User).await;
    user(&house, house.acme, "bob", KeyRole::User).await;
    ann.submit("/account", &[]).await;
    let mut texts = Vec::new();
    for (tenant, login, password) in [
        ("acme", "ann", "not the password"),
        ("acme", "ann", ""),
        ("acme", "bob", PASSWORD),
        ("acme", "nobody", PASSWORD),
        ("acme", "", PASSWORD),
        ("other", "ann", PASSWORD),
        ("nowhere", "ann", PASSWORD),
        ("", "", ""),
        ("acme", "a\u{0}nn", PASSWORD),
    ] {
        let mut browser = Browser::new(&house);
        browser.get("/signin").await;
        let sent = browser.submit("/signin", &[("tenant", tenant), ("login", login), ("password", password)]).await;
        assert_eq!(sent.status, 401, "{tenant} {login}");
        assert!(browser.session().is_none());
        let alert = sent.text.split_once("role=\"alert\">").unwrap().1.split('<').next().unwrap().to_owned();
        texts.push(alert);
    }
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    let mut browser = Browser::new(&house);
    browser.get("/signin").await;
    let sent = browser.submit("/signin", &SIGN_IN).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (303, "/account"));
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn a_sign_in_has_a_new_session_and_ends_the_one_before() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let before = ann.copy();
    // A cookie that somebody else chose.
    let mut browser = Browser::new(&house);
    browser.cookies.insert("gatehouse".to_owned(), "A".repeat(43));
    browser.get("/signin").await;
    browser.submit("/signin", &SIGN_IN).await;
    assert_ne!(browser.session(), Some(&"A".repeat(43)));
    assert!(browser.is_signed_in().await);
    // Signing in again in the same browser.
    ann.get("/signin?switch=1").await;
    ann.submit("/signin", &SIGN_IN).await;
    assert_ne!(ann.session(), before.session());
    assert!(ann.is_signed_in().await);
    assert!(!before.copy().is_signed_in().await, "the old cookie is dead");
    let rows = house.app.store.tenant(house.acme);
    let rows = rows.sessions(store::SessionPage { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(rows.len(), 2);
}

#[tokio::test]
async fn one_goes_back_to_a_page_of_ours_and_nowhere_else() {
    let house = House::open().await;
    person(&house, "ann", KeyRole::User).await;
    for (back, to) in [
        ("/oauth/acme/authorize?client_id=x&state=%2F", "/oauth/acme/authorize?client_id=x&state=%2F"),
        ("/account", "/account"),
        ("//evil.example", "/account"),
        ("/\\evil.example", "/account"),
        ("https://evil.example/", "/account"),
        ("javascript:alert(1)", "/account"),
        ("", "/account"),
    ] {
        let mut browser = Browser::new(&house);
        browser.get("/signin").await;
        let fields = SIGN_IN.into_iter().chain([("return", back)]).collect::<Vec<_>>();
        let sent = browser.submit("/signin", &fields).await;
        assert_eq!((sent.status.as_u16(), sent.header("location")), (303, to), "{back}");
        // Who is signed in already goes on at once.
        let query = super::browser::form([("return", back)]);
        let on = browser.get(&format!("/signin?{query}")).await;
        assert_eq!((on.status.as_u16(), on.header("location")), (303, to), "{back}");
    }
    let mut stranger = Browser::new(&house);
    let sent = stranger.get("/account").await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (303, "/signin?return=%2Faccount"));
    let page = stranger.get("/signin?return=%2Foauth%2Facme%2Fauthorize%3Fa%3Db").await;
    assert!(page.text.contains("value=\"acme\"") && page.text.contains("/oauth/acme/authorize?a=b"), "{}", page.text);
}

#[tokio::test]
async fn another_password_ends_every_session_of_the_account() {
    let house = House::open().await;
    let mut thief = person(&house, "ann", KeyRole::User).await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    assert!(thief.is_signed_in().await);
    let mut ann = signed_in(&house, "ann").await;
    assert!(!thief.is_signed_in().await);
    assert!(ann.is_signed_in().await && bob.is_signed_in().await);
}
