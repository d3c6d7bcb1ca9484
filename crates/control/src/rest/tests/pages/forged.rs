//! Forms that our own pages did not send change nothing.

use axum::http::HeaderMap;
use model::{GrantId, KeyRole};
use store::{Actor, NewGrant};

use super::browser::{Browser, ORIGIN, code, form, own};
use super::{House, PASSWORD, link, person, signed_in, user};

pub(super) type Change = Box<dyn Fn(&mut HeaderMap)>;

/// Every way in which a form can be somebody else's: its token, and what the browser says of it.
pub(super) fn matrix(own_token: &str, others: &str) -> Vec<(&'static str, Option<String>, Change)> {
    fn with(origin: Option<&'static str>, site: Option<&'static str>) -> Change {
        Box::new(move |headers| {
            origin.map(|origin| headers.insert("origin", origin.parse().unwrap()));
            site.map(|site| headers.insert("sec-fetch-site", site.parse().unwrap()));
        })
    }
    let token = || Some(own_token.to_owned());
    let same = Some("same-origin");
    vec![
        ("no token", None, Box::new(own)),
        ("an empty token", Some(String::new()), Box::new(own)),
        ("a wrong token", Some("A".repeat(43)), Box::new(own)),
        ("another session's token", Some(others.to_owned()), Box::new(own)),
        ("no Origin", token(), with(None, None)),
        ("no Origin, same-origin", token(), with(None, same)),
        ("a foreign Origin", token(), with(Some("https://evil.example"), None)),
        ("a foreign Origin, same-origin", token(), with(Some("https://evil.example"), same)),
        ("another port", token(), with(Some("http://127.0.0.1:5011"), None)),
        ("another name of this machine", token(), with(Some("http://localhost:5010"), None)),
        ("another scheme", token(), with(Some("https://127.0.0.1:5010"), None)),
        ("a null Origin", token(), with(Some("null"), None)),
        ("cross-site", token(), with(Some(ORIGIN), Some("cross-site"))),
        ("same-site", token(), with(Some(ORIGIN), Some("same-site"))),
        ("a script of none", token(), with(Some(ORIGIN), Some("none"))),
    ]
}

pub(super) async fn grant(house: &House, login: &str) -> GrantId {
    let store = house.app.store.tenant(house.acme);
    let user = store.user_by_login(login).await.unwrap().unwrap().id;
    let new = NewGrant {
        id: GrantId::fresh(),
        user,
        issuer: None,
        client: "https://client.example/id".to_owned(),
        client_name: "A <b>client</b>".to_owned(),
        resource: "http://localhost:5011/mcp".to_owned(),
        scope: "mcp".to_owned(),
        refresh_hash: super::idp::random(),
        expires_at: i64::MAX,
    };
    store.create_grant(&Actor::system("test"), new).await.unwrap().value.id
}

#[tokio::test]
async fn no_form_of_a_session_is_believed_that_a_page_of_it_did_not_send() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut second = signed_in(&house, "ann").await;
    // Setting a password has ended the first session.
    assert!(!ann.is_signed_in().await);
    let mut ann = ann.copy();
    ann.get("/signin").await;
    ann.submit("/signin", &[("tenant", "acme"), ("login", "ann"), ("password", PASSWORD)]).await;
    assert!(ann.is_signed_in().await && second.is_signed_in().await);
    let grant = grant(&house, "ann").await;
    let store = house.app.store.tenant(house.acme);
    let sessions = store.sessions(store::SessionPage { limit: 10, ..Default::default() }).await.unwrap();
    let cases = matrix(&ann.csrf.clone(), &second.csrf.clone());
    let other = sessions[0].id;
    let paths =
        [format!("/account/sessions/{other}/end"), format!("/account/grants/{grant}/revoke"), "/signout".to_owned()];
    for path in &paths {
        for (name, token, change) in &cases {
            let body = token.as_ref().map(|token| form([("csrf", token.as_str())])).unwrap_or("x=y".to_owned());
            let reply = ann.send("POST", path, &body, change).await;
            assert_eq!((reply.status.as_u16(), name), (403, name), "{path}: {}", reply.text);
            assert_eq!(reply.header("set-cookie"), "", "{path} {name}");
        }
        for (what, body, kind) in [("JSON", "{}", "application/json"), ("text", "csrf=x", "text/plain")] {
            let reply = ann.send("POST", path, body, |headers| {
                own(headers);
                headers.insert("content-type", kind.parse().unwrap());
            });
            assert_eq!(reply.await.status, 400, "{path} as {what}");
        }
    }
    assert!(ann.is_signed_in().await && second.is_signed_in().await);
    assert_eq!(store.grant(grant).await.unwrap().unwrap().revoked_at, None);
    // And the right ones are.
    for path in &paths {
        ann.get("/account").await;
        assert_eq!(ann.submit(path, &[]).await.status, 303, "{path}");
    }
    assert!(!ann.is_signed_in().await && ann.session().is_none());
    assert!(store.grant(grant).await.unwrap().unwrap().revoked_at.is_some());
}

#[tokio::test]
async fn nobody_is_signed_in_by_a_form_that_our_own_page_did_not_send() {
    let house = House::open().await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let path = link(&house, "ann").await;
    let mut browser = Browser::new(&house);
    browser.get(&path).await;
    let mut other = Browser::new(&house);
    other.get("/signin").await;
    for at in [path.as_str(), "/signin"] {
        for (name, token, change) in matrix(&browser.csrf.clone(), &other.csrf.clone()) {
            let fields = [("password", PASSWORD), ("again", PASSWORD), ("login", "ann"), ("tenant", "acme")];
            let token = token.as_deref().map(|token| ("csrf", token));
            let reply = browser.send("POST", at, &form(fields.into_iter().chain(token)), change).await;
            assert_eq!((reply.status.as_u16(), name), (403, name), "{at}: {}", reply.text);
            assert!(browser.session().is_none(), "{at} {name}");
        }
        // A page that another browser was shown, and none at all.
        let fields = [("password", PASSWORD), ("again", PASSWORD), ("login", "ann"), ("tenant", "acme")];
        let mut stranger = Browser::new(&house);
        stranger.csrf = browser.csrf.clone();
        let reply = stranger.submit(at, &fields).await;
        assert_eq!((reply.status.as_u16(), code(&reply)), (403, "forged_form"), "{at}");
    }
    let sent = browser.submit(&path, &[("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!(sent.status, 303, "the link was not used up");
}
