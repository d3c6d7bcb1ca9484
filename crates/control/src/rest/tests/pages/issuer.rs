//! At the tenant's issuer: whom it lets in, and every way in which a round trip can be somebody else's.

use axum::http::StatusCode;
use model::KeyRole;
use serde_json::{Value, json};
use store::IssuerPatch;

use super::super::house::Reply;
use super::browser::{Browser, code};
use super::idp::Idp;
use super::{House, person, user};

const BEGIN: &str = "/signin/issuer/acme/company";

/// To the issuer: where it leads.
async fn asked(browser: &mut Browser<'_>) -> String {
    let sent = browser.get(BEGIN).await;
    assert_eq!(sent.status, StatusCode::SEE_OTHER, "{}", sent.text);
    sent.header("location").to_owned()
}

/// All the way, as somebody with these claims.
async fn through(browser: &mut Browser<'_>, idp: &Idp, claims: Value) -> Reply {
    let asked = asked(browser).await;
    let back = idp.answers(&asked, claims);
    browser.get(&back).await
}

fn refused(reply: &Reply, status: u16, told: &str) {
    assert_eq!((reply.status.as_u16(), code(reply)), (status, told), "{}", reply.text);
    assert_eq!(reply.header("set-cookie"), "", "{told}");
}

#[tokio::test]
async fn a_person_of_the_tenant_is_signed_in_at_its_issuer() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.trusted(&house, |_| ()).await;
    let ann = user(&house, house.acme, "ann", KeyRole::User).await;
    let mut browser = Browser::new(&house);
    let page = browser.get("/signin?tenant=acme&return=/oauth/acme/authorize").await;
    assert!(page.text.contains("Sign in with The company"), "{}", page.text);
    let href = page.text.split_once("/signin/issuer/acme/company?").unwrap().1.split('"').next().unwrap();
    let begun = browser.get(&format!("{BEGIN}?{href}")).await;
    let back = idp.answers(begun.header("location"), json!({}));
    let done = browser.get(&back).await;
    assert_eq!((done.status.as_u16(), done.header("location")), (303, "/oauth/acme/authorize"), "{}", done.text);
    assert!(browser.is_signed_in().await);
    assert!(browser.get("/account").await.text.contains("by The company"));
    // The code went with what proves that we asked for it, and with our own secret, in no URL.
    let exchange = idp.last_exchange();
    assert!(exchange.contains("grant_type=authorization_code") && exchange.contains("code_verifier="), "{exchange}");
    assert!(exchange.to_lowercase().contains("authorization: basic z2f0zwhvdxnlomh1c2g="), "{exchange}");
    // From now on the external id counts, whatever the login becomes.
    let store = house.app.store.tenant(house.acme);
    assert_eq!(store.user(ann).await.unwrap().unwrap().external_id.as_deref(), Some("id-ann"));
    let mut later = Browser::new(&house);
    assert_eq!(through(&mut later, &idp, json!({"preferred_username": "ann-married"})).await.status, 303);
    assert!(later.get("/account").await.text.contains(">ann<"));
}

#[tokio::test]
async fn a_round_trip_is_good_once_in_one_browser_for_ten_minutes() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.trusted(&house, |_| ()).await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let mut browser = Browser::new(&house);
    browser.get("/signin").await;
    let mut tried = 0;
    // No state, one that is none, and one that nobody gave.
    for query in ["", "?code=x", "?state=&code=x", "?state=short&code=x", &format!("?state={}&code=x", "A".repeat(43))]
    {
        refused(&browser.get(&format!("/signin/callback{query}")).await, 400, "oauth_state");
        tried += 1;
    }
    // Another browser, with a visit of its own and without.
    for mut thief in [Browser::new(&house), Browser::new(&house)] {
        if tried == 5 {
            thief.get("/signin").await;
        }
        let asked = asked(&mut browser).await;
        let back = idp.answers(&asked, json!({}));
        refused(&thief.get(&back).await, 400, "oauth_state");
        refused(&browser.get(&back).await, 400, "oauth_state");
        tried += 1;
    }
    // Too late.
    let asked_late = asked(&mut browser).await;
    let back = idp.answers(&asked_late, json!({}));
    house.clock.advance_micros(600 * 1_000_000);
    refused(&browser.get(&back).await, 400, "oauth_state");
    // An answer that names another issuer.
    let asked_other = asked(&mut browser).await;
    let back = idp.answers(&asked_other, json!({}));
    refused(&browser.get(&format!("{back}&iss=https%3A%2F%2Fevil.example")).await, 400, "oauth_state");
    refused(&browser.get(&back).await, 400, "oauth_state");
    // A parameter that stands twice.
    let asked_twice = asked(&mut browser).await;
    let back = idp.answers(&asked_twice, json!({}));
    refused(&browser.get(&format!("{back}&code=other")).await, 400, "malformed_form");
    assert_eq!(idp.exchanges(), 0, "nothing was exchanged");
    assert!(browser.session().is_none());
    // The last one is still good: nobody has looked at it. Then it is used.
    assert_eq!(browser.get(&back).await.status, 303);
    refused(&browser.get(&back).await, 400, "oauth_state");
    assert_eq!(idp.exchanges(), 1);
    // One that names the right issuer is as good.
    let asked_again = asked(&mut browser).await;
    let back = idp.answers(&asked_again, json!({}));
    let iss = super::browser::form([("iss", idp.base.as_str())]);
    assert_eq!(browser.get(&format!("{back}&{iss}")).await.status, 303);
}

#[tokio::test]
async fn an_issuer_that_names_itself_always_does() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.names_itself();
    idp.trusted(&house, |_| ()).await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let mut browser = Browser::new(&house);
    let asked_first = asked(&mut browser).await;
    let back = idp.answers(&asked_first, json!({}));
    refused(&browser.get(&back).await, 400, "oauth_state");
    let asked_second = asked(&mut browser).await;
    let back = idp.answers(&asked_second, json!({}));
    let iss = super::browser::form([("iss", idp.base.as_str())]);
    assert_eq!(browser.get(&format!("{back}&{iss}")).await.status, 303);
}

#[tokio::test]
async fn what_an_issuer_says_of_a_failure_is_shown_as_text() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.trusted(&house, |_| ()).await;
    let mut browser = Browser::new(&house);
    let asked = asked(&mut browser).await;
    let state = asked.split_once("state=").unwrap().1.split('&').next().unwrap().to_owned();
    let error = super::browser::form([
        ("error", "access_denied<script>alert(1)</script>"),
        ("error_description", "\"><img src=x onerror=alert(1)>"),
    ]);
    let unknown = browser.get(&format!("/signin/callback?state={}&{error}", "A".repeat(43))).await;
    refused(&unknown, 400, "oauth_state");
    assert!(!unknown.text.contains("access_denied"), "nobody's words are shown");
    let told = browser.get(&format!("/signin/callback?state={state}&{error}")).await;
    refused(&told, 400, "issuer_refused");
    assert!(told.text.contains("access_denied") && !told.text.contains("<script") && !told.text.contains("<img src=x"));
    assert_eq!(idp.exchanges(), 0);
}

#[tokio::test]
async fn only_what_the_issuer_signed_for_this_very_request_is_believed() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.trusted(&house, |_| ()).await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let mut browser = Browser::new(&house);
    for claims in [
        json!({"nonce": "another"}),
        json!({"nonce": null}),
        json!({"aud": "another"}),
        json!({"aud": ["gatehouse", "another"]}),
        json!({"iss": "https://evil.example"}),
        json!({"exp": 1_700_000_000}),
        json!({"sub": ""}),
    ] {
        refused(&through(&mut browser, &idp, claims).await, 400, "issuer_refused");
    }
    // A code of somebody else's request: its verifier is another one.
    let (first, second) = (asked(&mut browser).await, asked(&mut browser).await);
    let (first, second) = (idp.answers(&first, json!({})), idp.answers(&second, json!({})));
    let state = first.split_once("state=").unwrap().1.split('&').next().unwrap();
    let code_of = second.split_once("code=").unwrap().1;
    let mixed = browser.get(&format!("/signin/callback?state={state}&code={code_of}")).await;
    refused(&mixed, 503, "issuer_unavailable");
    assert!(browser.session().is_none());
    // A new key of the issuer is fetched when it is met.
    idp.rotate();
    house.clock.advance_micros(60 * 1_000_000);
    assert_eq!(through(&mut browser, &idp, json!({})).await.status, 303);
}

#[tokio::test]
async fn whom_the_tenant_does_not_know_is_told_so_or_brought_along() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let issuer = idp.trusted(&house, |_| ()).await;
    let mut browser = Browser::new(&house);
    let dora = json!({"sub": "id-dora", "preferred_username": "dora <b>", "groups": ["ops", "none", "sales", "ops"],
        "roles": ["boss"]});
    let told = through(&mut browser, &idp, dora.clone()).await;
    refused(&told, 403, "no_account");
    assert!(told.text.contains("dora") && !told.text.contains("<b>"), "{}", told.text);

    let store = house.app.store.tenant(house.acme);
    for name in ["sales", "ops"] {
        house.admin("POST", "/api/v1/departments", &format!(r#"{{"name":"{name}"}}"#)).await;
    }
    user(&house, house.acme, "dora--b-", KeyRole::User).await;
    let taken = store.user_by_login("dora--b-").await.unwrap().unwrap();
    house
        .send("PATCH", "/api/v1/users/dora--b-", r#"{"external_id":"id-other"}"#, |headers| {
            super::super::house::bearer(headers, &house.admin);
            headers.insert("if-match", "*".parse().unwrap());
        })
        .await;
    let patch = IssuerPatch { unknown_users: Some(true), ..IssuerPatch::default() };
    store.change_issuer(&store::Actor::system("test"), issuer.id, None, patch).await.unwrap();
    let done = through(&mut browser, &idp, dora.clone()).await;
    assert_eq!(done.status, 303, "{}", done.text);
    let made = store.user_by_external_id("id-dora").await.unwrap().unwrap();
    assert_ne!(made.id, taken.id);
    assert_eq!(made.login, "dora--b--2");
    let departments: Vec<&str> = made.departments.iter().map(|department| department.name.as_str()).collect();
    assert_eq!(departments, ["ops", "sales"], "in the order of the claim");
    assert_eq!(made.role, KeyRole::TenantAdmin, "an issuer of a tenant makes no admin of the platform");
    let mut again = Browser::new(&house);
    assert_eq!(through(&mut again, &idp, dora).await.status, 303);
    let cleo = json!({"sub": "id-cleo", "preferred_username": "cleo"});
    assert_eq!(through(&mut again, &idp, cleo).await.status, 303);
    let cleo = store.user_by_login("cleo").await.unwrap().unwrap();
    assert!(cleo.departments.is_empty() && cleo.role == KeyRole::User);
    let all = store.users(store::UserPage { limit: 50, ..Default::default() }).await.unwrap();
    assert_eq!(all.len(), 3);
}

#[tokio::test]
async fn a_login_that_an_issuer_has_claimed_is_nobody_elses() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.trusted(&house, |_| ()).await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let mut browser = Browser::new(&house);
    assert_eq!(through(&mut browser, &idp, json!({})).await.status, 303);
    let mut other = Browser::new(&house);
    refused(&through(&mut other, &idp, json!({"sub": "id-another-ann"})).await, 403, "no_account");
}

#[tokio::test]
async fn who_is_switched_off_or_deleted_is_not_let_in() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.trusted(&house, |new| new.unknown_users = true).await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let mut browser = Browser::new(&house);
    assert_eq!(through(&mut browser, &idp, json!({})).await.status, 303);
    assert_eq!(house.admin("POST", "/api/v1/users/ann/disable", "").await.status, 200);
    assert!(!browser.is_signed_in().await);
    let mut later = Browser::new(&house);
    refused(&through(&mut later, &idp, json!({})).await, 403, "inactive");
    house.admin("POST", "/api/v1/users/ann/enable", "").await;
    house.admin_with(("if-match", "*"), "DELETE", "/api/v1/users/ann", "").await;
    refused(&through(&mut later, &idp, json!({})).await, 403, "inactive");
}

#[tokio::test]
async fn an_issuer_that_is_switched_off_lets_nobody_in_and_nobody_stay() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let issuer = idp.trusted(&house, |_| ()).await;
    let ann = user(&house, house.acme, "ann", KeyRole::PlatformAdmin).await;
    let store = house.app.store.tenant(house.acme);
    let named = store::UserPatch { external_id: Some(Some("id-ann".to_owned())), ..Default::default() };
    store.patch_user(&store::Actor::system("test"), ann, None, named).await.unwrap();
    let mut browser = Browser::new(&house);
    assert_eq!(through(&mut browser, &idp, json!({})).await.status, 303);
    // Whoever administers the tenant chooses its issuer: it makes nobody more than that.
    let me = browser.get("/api/v1/me").await;
    assert_eq!((me.status.as_u16(), me.json()["role"].as_str()), (200, Some("tenant_admin")));
    let begun = asked(&mut browser).await;
    let back = idp.answers(&begun, json!({}));
    let patch = IssuerPatch { enabled: Some(false), ..IssuerPatch::default() };
    store.change_issuer(&store::Actor::system("test"), issuer.id, None, patch).await.unwrap();
    assert!(!browser.is_signed_in().await);
    refused(&browser.get(&back).await, 400, "oauth_state");
    refused(&browser.get(BEGIN).await, 404, "not_found");
    assert!(!browser.get("/signin?tenant=acme").await.text.contains("The company"));
    assert_eq!(idp.exchanges(), 1);
}

#[tokio::test]
async fn another_site_can_begin_no_round_trip() {
    let house = House::open().await;
    let idp = Idp::open().await;
    idp.trusted(&house, |_| ()).await;
    let mut browser = Browser::new(&house);
    for site in ["cross-site", "same-site"] {
        let path = format!("{BEGIN}?return=/account");
        let sent = browser.send("GET", &path, "", |headers| {
            headers.insert("sec-fetch-site", site.parse().unwrap());
        });
        let sent = sent.await;
        assert_eq!((sent.status.as_u16(), sent.header("location")), (303, "/signin?tenant=acme&return=%2Faccount"));
    }
    for gone in ["/signin/issuer/acme/none", "/signin/issuer/other/company", "/signin/issuer/none/company"] {
        refused(&browser.get(gone).await, 404, "not_found");
    }
    // Somebody who is signed in as somebody comes to no harm either.
    let mut bob = person(&house, "bob", KeyRole::User).await;
    let before = bob.session().cloned();
    bob.get("/signin/callback?state=x&code=y").await;
    assert_eq!(bob.session(), before.as_ref());
}
