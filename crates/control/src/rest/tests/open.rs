//! What answers somebody who shows nothing at all: the whole list, and why each stands on it. Everything else that is
//! served here, by every method, answers 401, or that there is no such thing.

use std::collections::BTreeMap;

use axum::http::Method;

use super::access::{Objects, body_of, objects, path, with_issuer};
use super::house::{House, Reply};
use crate::issuers::tests::idp::Idp;
use crate::rest::{Access, routes};
use crate::{authorization, pages};

/// Method, path, what is answered here, and why anybody may have it. The tenant has an authorization server and an
/// issuer; forms and bodies are empty.
#[rustfmt::skip]
const OPEN: [(&str, &str, u16, &str); 32] = [
    ("GET",  "/livez",                              200, "whoever restarts the process must know whether it hangs"),
    ("GET",  "/readyz",                             200, "balancers must know whether to send requests here"),
    ("GET",  "/",                                   200, "tells people where they are, and names nothing"),
    ("GET",  "/docs",                               200, "the same for everybody who has this version"),
    ("GET",  "/docs/{file}",                        200, "the same for everybody who has this version"),
    ("GET",  "/openapi.json",                       200, "the same for everybody who has this version"),
    ("GET",  "/api/v1/openapi.json",                200, "the same for everybody who has this version"),
    ("GET",  "/assets/{file}",                      200, "the same for everybody who has this version"),
    ("GET",  "/signin",                             200, "where somebody begins to be somebody"),
    ("POST", "/signin",                             403, "shows a password; not without the token of our page"),
    ("GET",  "/signin/link/{token}",                404, "shows a link; one that nobody made is none"),
    ("POST", "/signin/link/{token}",                403, "shows a link; not without the token of our page"),
    ("GET",  "/signin/issuer/{tenant}/{issuer}",    404, "leads to an issuer; one that is not offered is none"),
    ("GET",  "/signin/callback",                    400, "comes back from an issuer with what we gave it; here with nothing"),
    ("POST", "/signout",                            303, "leads to the sign-in"),
    ("GET",  "/account",                            303, "leads to the sign-in"),
    ("POST", "/account/sessions/{session}/end",     303, "leads to the sign-in"),
    ("POST", "/account/grants/{grant}/revoke",      303, "leads to the sign-in"),
    ("GET",  "/connections",                        303, "leads to the sign-in"),
    ("POST", "/connections/{connection}/disconnect", 303, "leads to the sign-in"),
    ("GET",  "/toolsets",                           303, "leads to the sign-in"),
    ("GET",  "/toolsets/{toolset}",                 303, "leads to the sign-in"),
    ("GET",  "/oauth/{tenant}/authorize",           400, "leads to the sign-in what a client asks for rightly; here nothing is asked"),
    ("POST", "/oauth/{tenant}/authorize",           303, "leads to the sign-in"),
    ("GET",  "/connect/{tenant}/{server}",          303, "leads to the sign-in"),
    ("POST", "/connect/{tenant}/{server}",          303, "leads to the sign-in"),
    ("GET",  "/oauth/callback",                     400, "comes back from an upstream's authorization server with what we gave it; here with nothing"),
    ("GET",  "/oauth/client-metadata.json",         200, "authorization servers of upstreams read who we are; names nobody"),
    ("GET",  "/.well-known/oauth-authorization-server/oauth/{tenant}", 200, "clients must learn where to sign in; names no user"),
    ("POST", "/oauth/{tenant}/token",               400, "shows a code or a refresh token; here none"),
    ("POST", "/oauth/{tenant}/register",            400, "clients make themselves known; limited, and opens nothing by itself"),
    ("POST", "/oauth/{tenant}/revoke",              400, "shows a token; here none"),
];

const METHODS: [&str; 9] = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "PURGE"];

/// Every route that this listener has, from the three tables that it is made of, by path.
fn served() -> BTreeMap<&'static str, Vec<&'static str>> {
    let mut served = BTreeMap::<_, Vec<_>>::new();
    let rest = routes().into_iter().map(|route| (route.method, route.path));
    let pages = pages::routes().into_iter().map(|page| (page.method, page.path));
    let authorization = authorization::routes().into_iter().map(|(method, path, _)| (method, path));
    for (method, path) in rest.chain(pages).chain(authorization) {
        served.entry(path).or_default().push(method);
    }
    served
}

fn filled(template: &str, objects: &Objects) -> String {
    let token = "A".repeat(43);
    match routes().iter().find(|route| route.path == template) {
        Some(route) => path(route, objects).replace(['{', '}'], ""),
        None => template
            .replace("{tenant}", "acme")
            .replace("{issuer}", "company")
            .replace("{server}", "notes")
            .replace("{token}", &token)
            .replace("{session}", objects.of("{session}"))
            .replace("{grant}", objects.of("{grant}"))
            .replace("{connection}", objects.of("{connection}"))
            .replace("{toolset}", objects.of("{toolset}"))
            .replace("{file}", "gatehouse.css"),
    }
}

/// A request of a page of ours, from a browser that has nothing else.
async fn nobody(house: &House, method: &str, path: &str, body: &str) -> Reply {
    house
        .send(method, path, body, |headers| {
            headers.insert("if-match", "*".parse().unwrap());
            headers.insert("origin", "http://127.0.0.1:5010".parse().unwrap());
            headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
            if body.is_empty() {
                headers.insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
            }
        })
        .await
}

#[tokio::test]
async fn what_answers_without_an_identity_is_listed() {
    let house = House::open().await;
    let idp = Idp::open().await;
    let objects = with_issuer(&house, &house.admin, &idp, objects(&house, &house.admin).await).await;
    let on = house
        .send("PATCH", "/api/v1/tenants/acme", r#"{"authorization_server":true}"#, |headers| {
            super::house::bearer(headers, &house.platform);
            headers.insert("if-match", "*".parse().unwrap());
        })
        .await;
    assert_eq!(on.status, 200, "{}", on.text);
    let before = house.ask(&house.platform, "GET", "/api/v1/audit?page_size=1", "").await.json();
    let (mut listed, mut guarded) = (0, 0);
    for (template, methods) in served() {
        for method in METHODS {
            let asked = filled(template, &objects);
            let body = match routes().iter().find(|route| (route.method, route.path) == (method, template)) {
                Some(route) => objects.filled(body_of(route)),
                None if template.ends_with("/register") => "{}".to_owned(),
                None => String::new(),
            };
            let reply = nobody(&house, method, &asked, &body).await;
            let case = format!("{method} {asked}: {} {}", reply.status, reply.text);
            // What answers GET answers HEAD: the same without a body.
            let as_get = method == "HEAD" && methods.contains(&"GET");
            let served = if as_get { "GET" } else { method };
            let status = reply.status.as_u16();
            let entry = OPEN.iter().find(|(method, path, ..)| (*method, *path) == (served, template));
            // Clients that run in browsers ask first.
            let preflight =
                method == Method::OPTIONS && authorization::routes().iter().any(|(_, path, _)| *path == template);
            match entry {
                Some((.., expected, why)) => {
                    assert_eq!(status, *expected, "{case}");
                    assert!(!why.is_empty());
                    listed += 1;
                }
                None if preflight => assert_eq!((status, reply.text.as_str()), (204, ""), "{case}"),
                None if template == "/api/mcp/recover" && as_get => assert_eq!(status, 405, "{case}"),
                None if methods.contains(&served) => {
                    assert_eq!(status, 401, "{case}");
                    assert!(!reply.header("www-authenticate").is_empty(), "{case}");
                    guarded += 1;
                }
                None => assert_eq!(status, 405, "{case}"),
            }
            for told in [house.admin.as_str(), &house.platform, objects.of("{fresh}")] {
                assert!(!reply.text.contains(told) || asked.contains(told), "{told} in {case}");
            }
        }
    }
    let gets = OPEN.iter().filter(|(method, ..)| *method == "GET").count();
    assert_eq!(listed, OPEN.len() + gets, "each of the list is served, and by HEAD too");
    let needed = routes().iter().filter(|route| route.access != Access::Anyone).count();
    assert!(guarded >= needed, "{guarded} of {needed}");
    let after = house.ask(&house.platform, "GET", "/api/v1/audit?page_size=1", "").await.json();
    assert_eq!(before["items"], after["items"], "nobody changed anything");
}

#[tokio::test]
async fn what_is_not_served_says_the_same_to_everybody() {
    let house = House::open().await;
    for path in ["/metrics", "/debug", "/.env", "/admin", "/api", "/api/v1", "/api/v2/me", "/api/v1/me/x", "/API/v1/me"]
    {
        for method in METHODS {
            let (stranger, admin) =
                (nobody(&house, method, path, "").await, house.ask(&house.platform, method, path, "").await);
            assert_eq!((stranger.status.as_u16(), admin.status.as_u16()), (404, 404), "{method} {path}");
        }
    }
    // Another spelling of a path is that path, and as closed.
    for path in ["//api/v1/me", "/api/v1/me/", "/api/v1/me//", "/api/v1/me?"] {
        assert_eq!(nobody(&house, "GET", path, "").await.status, 401, "{path}");
    }
}

#[tokio::test]
async fn everything_that_a_browser_would_show_is_in_no_frame() {
    let house = House::open().await;
    let objects = objects(&house, &house.admin).await;
    let mut seen = Vec::new();
    for (template, _) in served().into_iter().filter(|(_, methods)| methods.contains(&"GET")) {
        let reply = nobody(&house, "GET", &filled(template, &objects), "").await;
        if !reply.header("content-type").starts_with("text/html") {
            continue;
        }
        let policy = reply.header("content-security-policy");
        for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action '"] {
            assert!(policy.contains(rule), "{template}: {rule} in {policy}");
        }
        let scripts = policy.split("script-src").nth(1).unwrap_or_default();
        assert!(!scripts.split(';').next().unwrap().contains("unsafe"), "{template}: {policy}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{template}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{template}");
        seen.push(template);
    }
    for page in ["/", "/docs", "/signin", "/signin/link/{token}", "/signin/callback", "/oauth/{tenant}/authorize"] {
        assert!(seen.contains(&page), "{page} in {seen:?}");
    }
}
