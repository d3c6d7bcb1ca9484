//! People with accounts and browsers, as several modules need them: how they get a password, sign in, and let a client in.

use serde_json::{Value, json};
use tests::browser::Page;
use tests::{Admin, Browser};

/// A password that somebody might choose.
pub(crate) const PASSWORD: &str = "a horse, a staple & a battery";

/// Somebody with an account and a browser.
pub(crate) struct Person {
    pub(crate) login: String,
    pub(crate) page: Page,
}

impl Person {
    /// Sets a password by a one-time link, and has not signed in since.
    pub(crate) async fn new(admin: &Admin, browser: &Browser, login: &str) -> Self {
        let page = browser.page(login);
        page.goto(&link(admin, login).await).await;
        choose_password(&page).await;
        page.forget().await;
        Self { login: login.to_owned(), page }
    }
}

/// A one-time link for a user.
pub(crate) async fn link(admin: &Admin, login: &str) -> String {
    let made = admin.post(&format!("/api/v1/users/{login}/sign-in-link"), &Value::Null).await.expect(201).json();
    made["url"].as_str().unwrap_or_else(|| panic!("no url in {made}")).to_owned()
}

/// On the page of a one-time link.
pub(crate) async fn choose_password(page: &Page) {
    page.fill("New password", PASSWORD).await.fill("Once more", PASSWORD).await;
    page.click("Set the password and sign in").await;
}

/// On the sign-in page.
pub(crate) async fn sign_in(page: &Page, login: &str, password: &str) {
    page.fill("Login", login).await.fill("Password", password).await.click("Sign in").await;
}

/// Lets a client in that opens the browser: signs in on the way, and agrees.
pub(crate) async fn let_in<C>(person: &Person, start: impl AsyncFnOnce() -> (C, String), resource: &str) -> C {
    let (client, visit) = start().await;
    let page = &person.page;
    page.goto(&visit).await;
    sign_in(page, &person.login, PASSWORD).await;
    let host = resource.strip_prefix("http://").and_then(|rest| rest.split('/').next()).unwrap();
    page.shows(host).await;
    page.click("Allow").await;
    client
}

/// Turns the authorization server of the tenant `default` on.
pub(crate) async fn serve_clients(admin: &Admin) {
    serve_clients_of(admin, "default").await;
}

/// The same of a tenant.
pub(crate) async fn serve_clients_of(admin: &Admin, tenant: &str) {
    let path = format!("/api/v1/tenants/{tenant}");
    let tag = admin.get(&path).await.expect(200).header("etag").to_owned();
    let body = json!({"authorization_server": true});
    admin.try_send("PATCH", &path, &[("if-match", &tag)], &body).await.unwrap().expect(200);
}
