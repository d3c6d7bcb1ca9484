//! What the page at the authorization endpoint shows, refuses, and can't be made to do.

use super::world::{CALLBACK, World, authorize, authorize_with, field, led, of, put};

#[tokio::test]
async fn what_can_not_be_brought_to_its_client_is_shown_to_the_person_only() {
    let world = World::open().await;
    let client = world.client().await;
    let twice = format!("{}&state=x", authorize(&client));
    let long = authorize_with(&client, &[("state", &"s".repeat(4096))]);
    for (path, code) in [
        (authorize_with(&client, &[("client_id", "")]), "invalid_request"),
        (authorize_with(&client, &[("client_id", "ghapp_unknown")]), "invalid_client"),
        (authorize_with(&client, &[("redirect_uri", "")]), "invalid_request"),
        (authorize_with(&client, &[("redirect_uri", "https://evil.example/")]), "invalid_request"),
        (authorize_with(&client, &[("redirect_uri", "http://127.0.0.1:4711/other")]), "invalid_request"),
        (authorize_with(&client, &[("redirect_uri", "javascript:alert(1)")]), "invalid_request"),
        (twice, "invalid_request"),
        (long, "invalid_request"),
    ] {
        for cookie in ["", world.ann.cookie.as_str()] {
            let reply = world.get(cookie, &path).await;
            assert_eq!(reply.status.as_u16(), 400, "{path}: {}", reply.text);
            assert!(reply.text.contains(&format!("data-code=\"{code}\"")), "{path}: {}", reply.text);
            assert!(reply.header("location").is_empty() && reply.header("refresh").is_empty());
            assert!(!reply.text.contains("evil.example") && !reply.text.contains("javascript:"));
        }
    }
}

#[tokio::test]
async fn what_is_wrong_beyond_that_the_client_is_told() {
    let world = World::open().await;
    let client = world.client().await;
    for (name, value, error) in [
        ("response_type", "token", "unsupported_response_type"),
        ("response_type", "", "invalid_request"),
        ("code_challenge", "", "invalid_request"),
        ("code_challenge", "short", "invalid_request"),
        ("code_challenge_method", "plain", "invalid_request"),
        ("code_challenge_method", "", "invalid_request"),
        ("resource", "", "invalid_target"),
        ("resource", "http://localhost:5011/mcp", "invalid_target"),
        ("resource", "http://localhost:5011/t/other/mcp", "invalid_target"),
        ("scope", "admin", "invalid_scope"),
    ] {
        let reply = world.get(&world.ann.cookie, &authorize_with(&client, &[(name, value)])).await;
        let told = led(&reply);
        assert!(told.starts_with(CALLBACK), "{told}");
        assert_eq!(of(&told, "error").as_deref(), Some(error), "{name}={value}");
        assert_eq!(of(&told, "state").as_deref(), Some("st&te"));
        assert!(of(&told, "iss").is_some() && of(&told, "code").is_none());
    }
}

#[tokio::test]
async fn a_site_that_registered_itself_gets_nobody_sent_by_a_mistake() {
    let world = World::open().await;
    let body = r#"{"client_name":"Site","redirect_uris":["https://site.example/cb"]}"#;
    let made = world.house.send("POST", "/oauth/acme/register", body, |_| ()).await.json();
    let client = made["client_id"].as_str().unwrap();
    let path = authorize_with(client, &[("redirect_uri", "https://site.example/cb"), ("scope", "admin")]);
    let reply = world.get(&world.ann.cookie, &path).await;
    assert!(reply.header("refresh").is_empty() && reply.header("location").is_empty());
    assert!(reply.text.contains("https://site.example/cb?error=invalid_scope"), "a link, which names the place");
    assert!(reply.text.contains("It leads to site.example"));
}

#[tokio::test]
async fn only_the_page_itself_can_say_yes() {
    let world = World::open().await;
    let client = world.client().await;
    let path = authorize(&client);
    let page = world.get(&world.ann.cookie, &path).await;
    let (csrf, shown) = (field(&page, "csrf"), field(&page, "shown"));
    let second = world.session(world.ann.id).await;
    let others = world.get(&second.cookie, &path).await;
    let (other_csrf, other_shown) = (field(&others, "csrf"), field(&others, "shown"));
    let stranger = world.stranger().await;
    let altered = authorize_with(&client, &[("state", "attacker")]);
    let cookie = world.ann.cookie.as_str();
    let own = super::world::ORIGIN;
    for (case, cookie, origin, path, csrf, shown) in [
        ("another origin", cookie, "https://evil.example", &path, csrf.as_str(), shown.as_str()),
        ("no origin", cookie, "", &path, &csrf, &shown),
        ("an opaque origin", cookie, "null", &path, &csrf, &shown),
        ("no proof", cookie, own, &path, "", &shown),
        ("the proof of another session", cookie, own, &path, &other_csrf, &shown),
        ("the seal of another session", cookie, own, &path, &csrf, &other_shown),
        ("another session", second.cookie.as_str(), own, &path, &csrf, &shown),
        ("another request than the one shown", cookie, own, &altered, &csrf, &shown),
        ("no seal", cookie, own, &path, &csrf, ""),
        ("somebody of another tenant", stranger.cookie.as_str(), own, &path, &csrf, &shown),
    ] {
        let fields = [("csrf", csrf), ("shown", shown), ("decision", "allow")];
        let sent = world.post(path, &fields, |headers| {
            put(headers, "cookie", cookie);
            put(headers, "origin", origin);
        });
        let reply = sent.await;
        assert_eq!(reply.status.as_u16(), 403, "{case}: {}", reply.text);
        assert!(reply.header("refresh").is_empty(), "{case}");
    }
    // Nobody at all.
    let fields = [("csrf", csrf.as_str()), ("shown", &shown), ("decision", "allow")];
    assert_eq!(world.form("", &path, &fields).await.status.as_u16(), 303);
    // Neither yes nor no.
    let fields = [("csrf", csrf.as_str()), ("shown", &shown), ("decision", "maybe")];
    assert_eq!(world.form(cookie, &path, &fields).await.status.as_u16(), 400);
    let fields = [("csrf", csrf.as_str()), ("shown", &shown), ("decision", "allow")];
    assert!(of(&led(&world.form(cookie, &path, &fields).await), "code").is_some(), "the page itself can");
}

#[tokio::test]
async fn somebody_of_another_tenant_signs_in_anew() {
    let world = World::open().await;
    let (client, stranger) = (world.client().await, world.stranger().await);
    let path = authorize(&client);
    let reply = world.get(&stranger.cookie, &path).await;
    let to = reply.header("location");
    assert_eq!(reply.status.as_u16(), 303, "{}", reply.text);
    assert_eq!((of(to, "switch").as_deref(), of(to, "tenant").as_deref()), (Some("1"), Some("acme")));
    assert_eq!(of(to, "return"), Some(path));
}

#[tokio::test]
async fn pages_are_in_no_frame_and_run_nothing() {
    let world = World::open().await;
    let client = world.client().await;
    let path = authorize(&client);
    for reply in [
        world.get(&world.ann.cookie, &path).await,
        world.get(&world.ann.cookie, &authorize_with(&client, &[("client_id", "x")])).await,
        world.answer(&path, "allow").await,
        world.get("", "/oauth/nowhere/authorize").await,
    ] {
        let policy = reply.header("content-security-policy");
        for part in ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self';", "base-uri 'none'"] {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert_eq!(reply.header("x-frame-options"), "DENY");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("referrer-policy"), "same-origin");
        assert!(!reply.text.contains("<script") && reply.header("access-control-allow-origin").is_empty());
    }
}

#[tokio::test]
async fn what_a_client_calls_itself_is_text() {
    let world = World::open().await;
    let body =
        r#"{"client_name":"<img src=x onerror=alert(1)>\u202e\"'","redirect_uris":["http://127.0.0.1/callback"]}"#;
    let made = world.house.send("POST", "/oauth/acme/register", body, |_| ()).await.json();
    let page = world.get(&world.ann.cookie, &authorize(made["client_id"].as_str().unwrap())).await;
    assert!(!page.text.contains("<img src=x") && !page.text.contains('\u{202e}'), "{}", page.text);
    assert!(page.text.contains("nobody has checked it"));
}

#[tokio::test]
async fn a_role_that_may_not_call_gets_no_code() {
    let world = World::open().await;
    let client = world.client().await;
    world.change_ann(r#"{"role":"viewer"}"#).await;
    let told = led(&world.get(&world.ann.cookie, &authorize(&client)).await);
    assert_eq!(of(&told, "error").as_deref(), Some("access_denied"));
}

#[tokio::test]
async fn nobody_says_yes_by_the_dozen() {
    let world = World::open().await;
    let client = world.client().await;
    let path = authorize(&client);
    for _ in 0..10 {
        led(&world.answer(&path, "allow").await);
    }
    assert_eq!(world.answer(&path, "allow").await.status.as_u16(), 429);
    world.house.clock.advance_micros(60_000_000);
    led(&world.answer(&path, "allow").await);
}
