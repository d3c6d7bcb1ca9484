//! People sign in to the console with a real browser, by a one-time link, a password, or at their company's issuer.

use serde_json::{Value, json};
use tests::browser::Page;
use tests::gatehouse::Plane;
use tests::{Browser, Gatehouse, Issuer};

use crate::listener_tls::write_certificate;
use crate::oidc::Company;
use crate::people::{PASSWORD, choose_password, link, sign_in};
use crate::ways::user;

/// The cookie of a session, if the browser has one.
async fn session(page: &Page) -> Option<Value> {
    page.cookies().await.into_iter().find(|cookie| cookie["name"] == "gatehouse")
}

/// Everything that control sent to this browser forbids framing, guessing, keeping and telling, and runs nothing foreign.
async fn well_behaved(page: &Page, control: &str) {
    let heads = page.heads().await;
    let ours = heads.iter().filter(|head| head["url"].as_str().is_some_and(|url| url.starts_with(control)));
    let mut seen = 0;
    for head in ours {
        let headers = &head["headers"];
        let policy = headers["content-security-policy"].as_str().unwrap_or_default();
        for rule in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"] {
            assert!(policy.contains(rule), "{rule} is missing: {head}");
        }
        assert!(!policy.contains("unsafe"), "{head}");
        assert_eq!(headers["x-frame-options"], "DENY", "{head}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{head}");
        assert!(headers["cache-control"].as_str().is_some_and(|kept| kept.contains("no-store")), "{head}");
        assert!(["no-referrer", "same-origin"].iter().any(|policy| headers["referrer-policy"] == *policy), "{head}");
        assert!(!head.to_string().contains("x-powered-by") && headers.get("server").is_none(), "{head}");
        seen += 1;
    }
    assert!(seen > 0, "nothing came from {control}: {heads:?}");
    assert_eq!(page.complaints(control).await, Vec::<Value>::new(), "the browser has something against our pages");
}

#[tokio::test]
async fn a_person_signs_in_by_a_one_time_link_and_then_by_password() {
    let Some(browser) = Browser::start().await else { return };
    let mut house = Gatehouse::start().await;
    let (admin, control) = (house.admin(), house.control().to_owned());
    user(&admin, "ann", &["sales", "ops"]).await;
    let page = browser.page("ann");
    let once = link(&admin, "ann").await;
    page.goto(&once).await;
    page.shoot("link").await;
    choose_password(&page).await;
    page.at(&format!("{control}/account")).await;
    page.shoot("account").await;
    let text = page.text().await;
    for word in ["ann", "sales", "ops"] {
        assert!(text.contains(word), "{text}");
    }
    let cookie = session(&page).await.expect("a session");
    assert_eq!((&cookie["httpOnly"], &cookie["sameSite"], &cookie["path"]), (&json!(true), &json!("Lax"), &json!("/")));

    // Once is once.
    let thief = browser.page("thief");
    let gone = thief.goto(&once).await;
    assert!(gone["status"].as_u64().is_some_and(|status| (400..500).contains(&status)), "{gone}");
    thief.shoot("link-used").await;
    assert!(session(&thief).await.is_none());

    page.click("Sign out").await;
    assert!(session(&page).await.is_none());
    page.goto(&format!("{control}/account")).await;
    page.at(&format!("{control}/signin")).await;
    page.shoot("signin").await;
    sign_in(&page, "ann", "not her password").await;
    page.shoot("signin-wrong").await;
    assert!(session(&page).await.is_none());
    let wrong = page.text().await;
    sign_in(&page, "nobody", PASSWORD).await;
    assert_eq!(page.text().await, wrong, "a login that does not exist looks like a wrong password");
    sign_in(&page, "ann", PASSWORD).await;
    page.at(&format!("{control}/account")).await;

    // The console's REST: readable with the cookie, changed with the proof that the page is ours.
    let status = async |path: &str, options: &str| {
        page.run(&format!("fetch('{path}', {options}).then((answer) => answer.status)")).await
    };
    assert_eq!(status("/api/v1/me", "{}").await, 200);
    let me = page.run("fetch('/api/v1/me').then((answer) => answer.json())").await;
    assert!(me.to_string().contains("ann"), "{me}");
    let sessions = page.run("fetch('/api/v1/sessions').then((answer) => answer.json())").await;
    let id = sessions["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{sessions}")).to_owned();
    let path = format!("/api/v1/sessions/{id}");
    assert_eq!(status(&path, "{method: 'DELETE'}").await, 403, "a change without the proof");
    assert_eq!(status(&path, "{method: 'DELETE', headers: {'Gatehouse-CSRF': 'made up'}}").await, 403);
    assert_eq!(status("/api/v1/users", "{}").await, 403, "her role counts");
    assert_eq!(status("/api/mcp/list", "{}").await, 401, "the seed's surface knows no cookies");
    assert_eq!(
        status("/api/v1/me", "{headers: {Authorization: 'Bearer nonsense'}}").await,
        401,
        "a bearer decides alone"
    );
    page.complaints(&control).await;
    well_behaved(&page, &control).await;
    assert!(session(&page).await.is_some());

    // Idle for longer than half an hour.
    house.end().await;
    house = house.again().env("GATEHOUSE_CLOCK_OFFSET", "1900").start().await;
    page.goto(&format!("{}/account", house.control())).await;
    page.at(&format!("{}/signin", house.control())).await;
}

#[tokio::test]
async fn the_first_admin_comes_in_by_the_link_that_up_prints_and_ends_other_sessions() {
    let Some(browser) = Browser::start().await else { return };
    let house = Gatehouse::start().await;
    let control = house.control().to_owned();
    let (here, there) = (browser.page("here"), browser.page("there"));
    here.goto(house.ready()["sign_in"].as_str().expect("up prints a link")).await;
    choose_password(&here).await;
    here.at(&format!("{control}/account")).await;
    let servers = "fetch('/api/v1/servers').then((answer) => answer.status)";
    assert_eq!(here.run(servers).await, 200, "an admin of the tenant");
    there.goto(&format!("{control}/signin")).await;
    sign_in(&there, "admin", PASSWORD).await;
    there.at(&format!("{control}/account")).await;
    assert_eq!(there.run(servers).await, 200);
    let list = "fetch('/api/v1/sessions').then((answer) => answer.json())";
    let sessions = there.run(list).await;
    let ids: Vec<&str> =
        sessions["items"].as_array().unwrap().iter().filter_map(|session| session["id"].as_str()).collect();
    assert_eq!(ids.len(), 2, "{sessions}");
    // The proof that a change comes from our own page, as the console's script will send it.
    for id in ids {
        let change = format!(
            "fetch('/api/v1/sessions/{id}', {{method: 'DELETE', headers: {{'Gatehouse-CSRF': \
             document.querySelector('input[name=csrf]').value}}}}).then((answer) => answer.status)"
        );
        let status = there.run(&change).await;
        assert_eq!(status, 200, "she may end both");
    }
    for page in [&here, &there] {
        assert_eq!(page.run(servers).await, 401);
        page.goto(&format!("{control}/account")).await;
        page.at(&format!("{control}/signin")).await;
    }
}

#[tokio::test]
async fn over_tls_the_cookie_is_the_hosts_alone() {
    let Some(browser) = Browser::start().await else { return };
    let mut house = Gatehouse::plan().no_restart().start().await;
    let once = house.ready()["sign_in"].as_str().expect("up prints a link").to_owned();
    house.kill(Plane::Control).await;
    let folder = tempfile::tempdir().unwrap();
    write_certificate(folder.path());
    let path = |file: &str| folder.path().join(file).display().to_string();
    let env = [("GATEHOUSE_TLS_CERT".to_owned(), path("tls.crt")), ("GATEHOUSE_TLS_KEY".to_owned(), path("tls.key"))];
    house.start_alone(Plane::Control, &env);
    let safe = |url: &str| url.replace("http://127.0.0.1", "https://localhost");
    let page = browser.page("admin");
    page.goto_when_there(&safe(&once)).await;
    choose_password(&page).await;
    page.at(&format!("{}/account", safe(house.control()))).await;
    assert!(session(&page).await.is_none(), "not the name for plain http");
    let cookies = page.cookies().await;
    let cookie = cookies.iter().find(|cookie| cookie["name"] == "__Host-gatehouse");
    let cookie = cookie.unwrap_or_else(|| panic!("the browser did not take it: {cookies:?}"));
    assert_eq!((&cookie["secure"], &cookie["httpOnly"]), (&json!(true), &json!(true)));
    well_behaved(&page, &safe(house.control())).await;
}

#[tokio::test]
async fn foreign_pages_can_neither_frame_nor_use_the_console() {
    let Some(browser) = Browser::start().await else { return };
    let house = Gatehouse::start().await;
    let (admin, control) = (house.admin(), house.control().to_owned());
    let ann = user(&admin, "ann", &[]).await;
    let page = browser.page("ann");
    page.goto(&link(&admin, "ann").await).await;
    choose_password(&page).await;
    page.at(&format!("{control}/account")).await;
    let csrf = page.run("document.querySelector('input[name=csrf]').value").await;
    let csrf = csrf.as_str().unwrap();

    page.serve("http://evil.example/frame", &format!("<title>evil</title><iframe src='{control}/account'></iframe>"))
        .await;
    page.goto("http://evil.example/frame").await;
    let framed = page.frames().await;
    assert_eq!(framed.len(), 2, "{framed:?}");
    assert!(framed[1].as_str().is_some_and(|url| url.starts_with("chrome-error:")), "{framed:?}");
    // Even a foreign page that got hold of the token, from a sister site to which the browser sends the cookie.
    let site = control.replace("127.0.0.1", "localhost");
    for (at, to, token) in [
        ("http://evil.example/form", control.as_str(), csrf),
        ("http://evil.example/none", control.as_str(), ""),
        ("http://127.0.0.1:4999/form", control.as_str(), csrf),
        ("http://evil.example/localhost", site.as_str(), csrf),
    ] {
        let form = format!(
            "<title>evil</title><form method=post action='{to}/signout'><input type=hidden name=csrf value='{token}'>\
             <button>Win a prize</button></form>"
        );
        page.serve(at, &form).await;
        page.goto(at).await;
        page.heads().await;
        page.click("Win a prize").await;
        page.at(&format!("{to}/signout")).await;
        let heads = page.heads().await;
        assert_eq!(heads.last().map(|head| &head["status"]), Some(&json!(403)), "{at}: {heads:?}");
    }
    page.shoot("forged").await;
    page.goto(&format!("{control}/account")).await;
    page.at(&format!("{control}/account")).await;

    // A person who is gone is signed out.
    let id = ann["id"].as_str().unwrap();
    admin.post(&format!("/api/v1/users/{id}/disable"), &Value::Null).await.expect(200);
    page.goto(&format!("{control}/account")).await;
    page.at(&format!("{control}/signin")).await;
}

/// From the sign-in page to the issuer and through it.
async fn sign_in_there(page: &Page, control: &str, issuer: &Issuer, account: &str) {
    page.goto(&format!("{control}/signin")).await;
    page.click("Sign in with The company").await;
    issuer.sign_in(page, account).await;
}

#[tokio::test]
async fn people_sign_in_at_their_companys_issuer() {
    let Some(browser) = Browser::start().await else { return };
    let Some(mut company) = Company::start().await else { return };
    let control = company.house.control().to_owned();
    let ann = browser.page("ann");
    ann.goto(&format!("{control}/signin")).await;
    ann.shoot("signin-issuer").await;
    sign_in_there(&ann, &control, &company.issuer, "id-ann").await;
    ann.at(&format!("{control}/account")).await;
    let text = ann.text().await;
    assert!(text.contains("ann") && text.contains("sales") && text.contains("ops"), "{text}");
    let heads = ann.heads().await;
    let callback = heads.iter().filter_map(|head| head["url"].as_str()).find(|url| url.contains("/signin/callback?"));
    let callback = callback.unwrap_or_else(|| panic!("no callback in {heads:?}")).to_owned();

    let cleo = browser.page("cleo");
    sign_in_there(&cleo, &control, &company.issuer, "id-cleo").await;
    cleo.at(&format!("{control}/account")).await;
    assert!(cleo.text().await.contains("none"), "she is in no department");
    well_behaved(&cleo, &control).await;

    // What came back once is good for nothing, least of all in another browser.
    let thief = browser.page("thief");
    for page in [&ann, &thief] {
        let again = page.goto(&callback).await;
        assert!(again["status"].as_u64().is_some_and(|status| (400..500).contains(&status)), "{again}");
    }
    assert!(session(&thief).await.is_none());
    thief.shoot("callback-again").await;

    let dora = browser.page("dora");
    sign_in_there(&dora, &control, &company.issuer, "id-dora").await;
    dora.at(&format!("{control}/signin/callback")).await;
    dora.shoot("unknown").await;
    assert!(session(&dora).await.is_none(), "an account is no user");

    // New keys are fetched when they are first met, unless the issuer was asked a moment ago.
    company.later(120).await;
    company.issuer.rotate(false).await;
    cleo.forget().await;
    sign_in_there(&cleo, &control, &company.issuer, "id-cleo").await;
    cleo.at(&format!("{control}/account")).await;

    // And when it can't be asked whether it is true, a page says so.
    company.issuer.silence("/token").await;
    let other = browser.page("other");
    sign_in_there(&other, &control, &company.issuer, "id-cleo").await;
    other.shows("identity provider can't be used now").await;
    other.shoot("issuer-away").await;
    assert!(session(&other).await.is_none());
}
