//! REST with the cookie of a session.

use axum::http::HeaderMap;
use model::KeyRole;

use super::super::house::{Reply, bearer};
use super::browser::{Browser, ORIGIN};
use super::{House, forged, person, user};

async fn change(browser: &mut Browser<'_>, method: &str, path: &str, edit: impl FnOnce(&mut HeaderMap)) -> Reply {
    let body = if method == "POST" { r#"{"login":"made"}"# } else { "" };
    browser
        .send(method, path, body, |headers| {
            headers.insert("content-type", "application/json".parse().unwrap());
            headers.insert("origin", ORIGIN.parse().unwrap());
            headers.insert("if-match", "*".parse().unwrap());
            edit(headers);
        })
        .await
}

#[tokio::test]
async fn a_session_may_do_what_its_user_may() {
    let house = House::open().await;
    for (login, role, users, tenants) in [
        ("viv", KeyRole::Viewer, 200, 403),
        ("ann", KeyRole::User, 403, 403),
        ("tom", KeyRole::TenantAdmin, 200, 403),
        ("pam", KeyRole::PlatformAdmin, 200, 200),
    ] {
        let mut browser = person(&house, login, role).await;
        let me = browser.get("/api/v1/me").await;
        assert_eq!((me.status.as_u16(), me.json()["user"]["login"].as_str()), (200, Some(login)));
        assert!(me.json()["key"].is_null());
        assert_eq!(browser.get("/api/v1/users").await.status, users, "{login}");
        assert_eq!(browser.get("/api/v1/tenants").await.status, tenants, "{login}");
        browser.get("/account").await;
        let csrf = browser.csrf.clone();
        let made = change(&mut browser, "POST", "/api/v1/users", |headers| {
            headers.insert("gatehouse-csrf", csrf.parse().unwrap());
            headers.insert("idempotency-key", "one".parse().unwrap());
        });
        let made = made.await.status.as_u16();
        let expected = match role {
            KeyRole::Viewer | KeyRole::User => 403,
            KeyRole::TenantAdmin => 201,
            // The book of answers has a page of its own for each: the login is taken, and nothing is replayed.
            KeyRole::PlatformAdmin => 409,
        };
        assert_eq!(made, expected, "{login}");
        // A token in somebody's name is for keys only.
        let token = change(&mut browser, "POST", "/api/v1/tokens", |headers| {
            headers.insert("gatehouse-csrf", csrf.parse().unwrap());
        });
        assert_eq!(token.await.status, 403, "{login}");
    }
    let audit = house.admin("GET", "/api/v1/audit?limit=200", "").await.json();
    let items = audit["items"].as_array().unwrap();
    let made = items.iter().find(|row| row["action"] == "user.create" && row["actor_kind"] == "user");
    assert!(made.is_some(), "{audit}");
}

#[tokio::test]
async fn a_change_needs_the_proof_that_a_page_of_ours_sent_it() {
    let house = House::open().await;
    let mut tom = person(&house, "tom", KeyRole::TenantAdmin).await;
    let mut pam = person(&house, "pam", KeyRole::TenantAdmin).await;
    tom.get("/account").await;
    pam.get("/account").await;
    let (own, others) = (tom.csrf.clone(), pam.csrf.clone());
    type Edit<'e> = (&'e str, Option<&'e str>, Option<&'e str>, Option<&'e str>);
    let cases: [Edit<'_>; 12] = [
        ("no token", None, Some(ORIGIN), None),
        ("a wrong token", Some("wrong"), Some(ORIGIN), None),
        ("another session's token", Some(&others), Some(ORIGIN), None),
        ("no Origin", Some(&own), None, None),
        ("a foreign Origin", Some(&own), Some("https://evil.example"), None),
        ("a foreign Origin, same-origin", Some(&own), Some("https://evil.example"), Some("same-origin")),
        ("another port", Some(&own), Some("http://127.0.0.1:3000"), None),
        ("localhost", Some(&own), Some("http://localhost:5010"), None),
        ("a null Origin", Some(&own), Some("null"), None),
        ("cross-site", Some(&own), Some(ORIGIN), Some("cross-site")),
        ("cross-site, no Origin", Some(&own), None, Some("cross-site")),
        ("same-site", Some(&own), None, Some("same-site")),
    ];
    for (method, path) in [
        ("POST", "/api/v1/users"),
        ("PATCH", "/api/v1/users/pam"),
        ("DELETE", "/api/v1/users/pam"),
        ("POST", "/api/v1/users/pam/disable"),
    ] {
        for (name, token, origin, site) in cases {
            let reply = change(&mut tom, method, path, |headers| {
                headers.remove("origin");
                for (header, value) in [("gatehouse-csrf", token), ("origin", origin), ("sec-fetch-site", site)] {
                    value.map(|value| headers.insert(header, value.parse().unwrap()));
                }
            });
            let reply = reply.await;
            let told = reply.told();
            let fits = told == (403, "forged_request".to_owned()) || told == (403, "host_not_allowed".to_owned());
            assert!(fits, "{method} {path} {name}: {told:?}");
        }
    }
    for by_site in [false, true] {
        let reply = change(&mut tom, "POST", "/api/v1/users/pam/enable", |headers| {
            headers.insert("gatehouse-csrf", own.parse().unwrap());
            if by_site {
                headers.remove("origin");
                headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
            }
        });
        assert_eq!(reply.await.status, 200);
    }
}

#[tokio::test]
async fn a_key_decides_alone_and_the_seeds_surface_knows_no_cookie() {
    let house = House::open().await;
    let mut tom = person(&house, "tom", KeyRole::TenantAdmin).await;
    assert_eq!(tom.get("/api/v1/users").await.status, 200);
    let client = house.client.clone();
    for (name, value, expected) in [
        ("a bad key", "Bearer nonsense".to_owned(), 401),
        ("no bearer", "Basic abc".to_owned(), 401),
        ("nothing", String::new(), 401),
        ("a weaker key", format!("Bearer {client}"), 403),
    ] {
        let reply = tom.send("GET", "/api/v1/users", "", |headers| {
            headers.insert("authorization", value.parse().unwrap());
        });
        assert_eq!(reply.await.status, expected, "{name}");
    }
    for (method, path) in [
        ("GET", "/api/mcp/list"),
        ("GET", "/api/mcp/tools"),
        ("GET", "/api/mcp/recover"),
        ("POST", "/api/mcp/recover"),
        ("POST", "/api/mcp/add"),
        ("DELETE", "/api/mcp"),
    ] {
        tom.get("/account").await;
        let csrf = tom.csrf.clone();
        let reply = change(&mut tom, method, path, |headers| {
            headers.insert("gatehouse-csrf", csrf.parse().unwrap());
        });
        assert_eq!(reply.await.text, r#"{"message":"Unauthorized","status":"error"}"#, "{method} {path}");
    }
    assert_eq!(Browser::new(&house).get("/api/v1/users").await.told(), (401, "unauthenticated".to_owned()));
}

#[tokio::test]
async fn users_see_and_end_their_own_sessions_admins_those_of_the_tenant() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    let mut pam = person(&house, "pam", KeyRole::PlatformAdmin).await;
    let list = ann.get("/api/v1/sessions").await.json();
    let items = list["items"].as_array().unwrap();
    assert_eq!((items.len(), &items[0]["current"]), (1, &true.into()), "{list}");
    let anns = items[0]["id"].as_str().unwrap().to_owned();
    let bobs = bob.get("/api/v1/sessions").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let pams = pam.get("/api/v1/sessions?user=pam").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let (known, unknown) = ("/api/v1/sessions?user=bob", "/api/v1/sessions?user=nobody");
    assert_eq!(
        (ann.get(known).await.told(), ann.get(unknown).await.code().as_str()),
        (ann.get(unknown).await.told(), "user")
    );
    let end = async |key: &str, id: &str| house.ask(key, "DELETE", &format!("/api/v1/sessions/{id}"), "").await.told();
    let not_found = (404, "not_found".to_owned());
    for key in [&house.client, &house.viewer, &house.other_admin] {
        assert_eq!(end(key, &anns).await, not_found);
    }
    assert_eq!(end(&house.admin, &pams).await, (403, "forbidden".to_owned()), "who stands above");
    let all = house.admin("GET", "/api/v1/sessions", "").await.json();
    assert_eq!(all["items"].as_array().unwrap().len(), 3);
    assert!(all["items"].as_array().unwrap().iter().all(|session| session["current"] == false));
    assert_eq!(end(&house.admin, &bobs).await.0, 200);
    assert_eq!(end(&house.admin, &bobs).await, not_found);
    assert!(!bob.is_signed_in().await && ann.is_signed_in().await && pam.is_signed_in().await);
    let csrf = ann.csrf.clone();
    let path = format!("/api/v1/sessions/{anns}");
    let own = change(&mut ann, "DELETE", &path, |headers| {
        headers.insert("gatehouse-csrf", csrf.parse().unwrap());
    });
    assert_eq!(own.await.status, 200);
    assert!(!ann.is_signed_in().await);
    let none = house.ask(&house.client, "GET", "/api/v1/sessions", "").await.json();
    assert_eq!(none["items"].as_array().unwrap().len(), 0, "a program's key has none");
}

#[tokio::test]
async fn a_link_is_shown_once_and_made_by_who_may_be_the_user() {
    let house = House::open().await;
    user(&house, house.acme, "pam", KeyRole::PlatformAdmin).await;
    user(&house, house.acme, "ann", KeyRole::User).await;
    let make = async |key: &str, login: &str, body: &str| {
        house
            .send("POST", &format!("/api/v1/users/{login}/sign-in-link"), body, |headers| {
                bearer(headers, key);
                headers.insert("idempotency-key", "one".parse().unwrap());
            })
            .await
    };
    assert_eq!(make(&house.admin, "pam", "").await.told(), (403, "forbidden".to_owned()));
    assert_eq!(make(&house.client, "ann", "").await.status, 403);
    assert_eq!(make(&house.other_admin, "ann", "").await.status, 404);
    for (body, code) in [(r#"{"ttl":10}"#, "range"), (r#"{"ttl":86401}"#, "range"), (r#"{"life":1}"#, "unknown_field")]
    {
        assert_eq!(make(&house.admin, "ann", body).await.told(), (422, code.to_owned()));
    }
    let made = make(&house.admin, "ann", r#"{"ttl":900}"#).await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert!(made.json()["url"].as_str().unwrap().starts_with("http://127.0.0.1:5010/signin/link/"));
    assert_eq!(made.json()["expires_at"], "2027-01-15T08:15:00Z");
    let again = make(&house.admin, "ann", r#"{"ttl":900}"#).await;
    assert!(again.status == 201 && again.json()["url"].is_null(), "{}", again.text);
    assert_eq!(house.admin("POST", "/api/v1/users/ann/disable", "").await.status, 200);
    assert_eq!(house.admin("POST", "/api/v1/users/ann/sign-in-link", "").await.told(), (422, "user".to_owned()));
}

#[tokio::test]
async fn users_see_and_revoke_their_own_grants_admins_those_of_the_tenant() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    let (first, second) = (forged::grant(&house, "ann").await, forged::grant(&house, "ann").await);
    let list = ann.get("/api/v1/grants").await.json();
    let ids: Vec<&str> = list["items"].as_array().unwrap().iter().map(|grant| grant["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [first.to_string(), second.to_string()]);
    assert_eq!(bob.get("/api/v1/grants").await.json()["items"].as_array().unwrap().len(), 0);
    assert!(ann.get("/account").await.text.contains("A &#60;b&#62;client"));
    ann.get("/account").await;
    bob.get("/account").await;
    let path = format!("/api/v1/grants/{first}");
    for (who, status) in [(&mut bob, 404), (&mut ann, 200)] {
        let csrf = who.csrf.clone();
        let reply = change(who, "DELETE", &path, |headers| {
            headers.insert("gatehouse-csrf", csrf.parse().unwrap());
        });
        assert_eq!(reply.await.status, status);
    }
    let live = ann.get("/api/v1/grants?live=true").await.json();
    assert_eq!(live["items"].as_array().unwrap().len(), 1);
    assert_eq!(live["items"][0]["id"], second.to_string());
    assert_eq!(house.ask(&house.other_admin, "DELETE", &format!("/api/v1/grants/{second}"), "").await.status, 404);
    let gone = house.admin("DELETE", &format!("/api/v1/grants/{second}"), "").await;
    assert!(gone.status == 200 && gone.json()["effective"].is_object(), "{}", gone.text);
}
