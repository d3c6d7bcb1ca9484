//! What every page and every refusal says to browsers.

use axum::http::HeaderMap;
use model::KeyRole;

use super::super::house::Reply;
use super::browser::{ORIGIN, form};
use super::{Browser, House, person};
use crate::pages;

fn filled(path: &str) -> String {
    path.replace("{token}", &"A".repeat(43))
        .replace("{tenant}", "acme")
        .replace("{issuer}", "company")
        .replace("{server}", "notes")
        .replace("{session}", &model::SessionId::fresh().to_string())
        .replace("{connection}", &model::ConnectionId::fresh().to_string())
        .replace("{toolset}", "office")
        .replace("{grant}", &model::GrantId::fresh().to_string())
        .replace("{file}", "gatehouse.css")
}

fn complete(reply: &Reply, case: &str) {
    let policy = reply.header("content-security-policy");
    for rule in
        ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'", "style-src 'self'"]
    {
        assert!(policy.contains(rule), "{case}: {policy}");
    }
    assert!(!policy.contains("unsafe"), "{case}");
    assert_eq!(reply.header("x-frame-options"), "DENY", "{case}");
    assert_eq!(reply.header("x-content-type-options"), "nosniff", "{case}");
    assert_eq!(reply.header("referrer-policy"), "same-origin", "{case}");
    assert_eq!(reply.header("cross-origin-opener-policy"), "same-origin", "{case}");
    let kept = if case.contains("/assets/") && reply.status.is_success() { "no-cache" } else { "no-store" };
    assert_eq!(reply.header("cache-control"), kept, "{case}");
    assert!(!reply.text.contains("<script"), "{case}");
    assert!(!reply.text.contains("style="), "{case}: the policy forbids it");
}

#[tokio::test]
async fn every_page_and_every_refusal_is_held_in_bounds() {
    let house = House::open().await;
    let signed_in = person(&house, "ann", KeyRole::User).await;
    type Change = fn(&mut HeaderMap);
    let changes: [(&str, Change); 5] = [
        ("plain", |_| ()),
        ("own", |headers| {
            headers.insert("origin", ORIGIN.parse().unwrap());
        }),
        ("foreign host", |headers| {
            headers.insert("host", "evil.example".parse().unwrap());
        }),
        ("foreign origin", |headers| {
            headers.insert("origin", "https://evil.example".parse().unwrap());
        }),
        ("null origin", |headers| {
            headers.insert("origin", "null".parse().unwrap());
        }),
    ];
    let mut statuses = std::collections::BTreeSet::new();
    for route in pages::routes() {
        for method in [route.method, "HEAD", "DELETE"] {
            for (name, change) in changes {
                for body in ["", "csrf=x", "a=1&a=2"] {
                    for mut browser in [Browser::new(&house), signed_in.copy()] {
                        let path = filled(route.path);
                        let reply = browser.send(method, &path, body, change).await;
                        let status = reply.status.as_u16();
                        let case = format!("{method} {path} {name} {body:?}: {status}");
                        complete(&reply, &case);
                        assert!(status < 500, "{case}: {}", reply.text);
                        if status >= 400 && method != "HEAD" {
                            assert_eq!(reply.header("content-type"), "text/html; charset=utf-8", "{case}");
                            assert!(reply.text.contains("<html lang=\"en\">"), "{case}");
                        }
                        if name.starts_with("foreign") {
                            assert_eq!(status, 403, "{case}");
                        }
                        statuses.insert(status);
                    }
                }
            }
        }
    }
    for seen in [200, 303, 400, 403, 404, 405] {
        assert!(statuses.contains(&seen), "{seen} in {statuses:?}");
    }
}

#[tokio::test]
async fn what_is_shown_is_shown_as_text() {
    let house = House::open().await;
    let mut browser = Browser::new(&house);
    let markup = "\"><script>alert(1)</script>";
    let page =
        browser.get(&format!("/signin?{}", form([("tenant", markup), ("return", "/account?x=%3Cscript%3E\"")]))).await;
    assert!(page.status == 200 && !page.text.contains("<script"), "{}", page.text);
    let page = browser.submit("/signin", &[("tenant", markup), ("login", markup), ("password", markup)]).await;
    assert!(page.status == 401 && !page.text.contains("<script"), "{}", page.text);
    assert!(page.text.contains("&#60;script&#62;") || page.text.contains("&lt;script&gt;"), "{}", page.text);
    assert_eq!(page.header("set-cookie"), "");
}

#[tokio::test]
async fn files_are_kept_and_asked_after() {
    let house = House::open().await;
    let mut browser = Browser::new(&house);
    let first = browser.get("/assets/gatehouse.css").await;
    assert_eq!((first.status.as_u16(), first.header("content-type")), (200, "text/css; charset=utf-8"));
    let tag = first.header("etag").to_owned();
    let again = browser.send("GET", "/assets/gatehouse.css", "", |headers| {
        headers.insert("if-none-match", tag.parse().unwrap());
    });
    let again = again.await;
    assert_eq!((again.status.as_u16(), again.text.as_str()), (304, ""));
    for gone in ["/assets/none.css", "/assets/..%2Fsrc%2Flib.rs", "/assets/%00"] {
        assert_eq!(browser.get(gone).await.status, 404, "{gone}");
    }
}

#[tokio::test]
async fn behind_https_the_cookie_is_bound_to_the_host() {
    let house = House::with("public_url = \"https://gate.example\"\n").await;
    let reply = house
        .send("GET", "/signin", "", |headers| {
            headers.insert("host", "gate.example".parse().unwrap());
        })
        .await;
    let cookie = reply.header("set-cookie");
    assert!(cookie.starts_with("__Host-gatehouse-visit="), "{cookie}");
    for flag in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure"] {
        assert!(cookie.contains(flag), "{cookie}");
    }
}
