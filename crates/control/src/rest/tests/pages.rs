//! The pages as browsers see them: every page, every form, every way to sign in.

mod account;
mod authority;
mod browser;
mod claims;
mod connect;
mod connections;
mod forged;
mod headers;
mod idp;
mod issuer;
mod limits;
mod password;
mod rest;
mod takeover;
mod toolsets;

use model::{KeyRole, TenantId, UserId};
use store::{Actor, NewUser};

use self::browser::Browser;
use super::house::House;

/// The password of everybody here.
const PASSWORD: &str = "a few unrelated words";

/// A user of a tenant.
async fn user(house: &House, tenant: TenantId, login: &str, role: KeyRole) -> UserId {
    let new = NewUser {
        login: login.to_owned(),
        title: login.to_owned(),
        external_id: None,
        departments: Vec::new(),
        role,
        active: true,
    };
    house.app.store.tenant(tenant).create_user(&Actor::system("test"), new).await.unwrap().value.id
}

/// A one-time link for a user of acme, as a path.
async fn link(house: &House, login: &str) -> String {
    let made = house.ask(&house.platform, "POST", &format!("/api/v1/users/{login}/sign-in-link"), "").await;
    assert_eq!(made.status, 201, "{}", made.text);
    let url = made.json()["url"].as_str().unwrap().to_owned();
    url.split_once("5010").unwrap().1.to_owned()
}

/// A browser of a user of acme who has just set a password and is signed in.
async fn person<'a>(house: &'a House, login: &str, role: KeyRole) -> Browser<'a> {
    user(house, house.acme, login, role).await;
    signed_in(house, login).await
}

/// The same for a user who is there.
async fn signed_in<'a>(house: &'a House, login: &str) -> Browser<'a> {
    let mut browser = Browser::new(house);
    let path = link(house, login).await;
    browser.get(&path).await;
    let sent = browser.submit(&path, &[("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!((sent.status.as_u16(), sent.header("location")), (303, "/account"), "{}", sent.text);
    browser
}
