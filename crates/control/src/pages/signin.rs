//! `/signin`: by password, or on to an issuer.

use std::net::SocketAddr;

use askama::Template;
use axum::extract::{ConnectInfo, State};
use axum::http::header::LOCATION;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use model::{ResourceName, Secret, UserId};
use serde_json::json;
use store::{Actor, IssuerPage, TenantRecord};
use url::form_urlencoded::Serializer;

use crate::App;
use crate::pages::{Frame, Query, Refusal, SignedIn, Site, Visit, Visiting, show};
use crate::rest::trace_id;
use crate::sign_in::cookies::Cookie;
use crate::sign_in::failures::{Failures, Reason};
use crate::sign_in::password::PasswordError;
use crate::sign_in::return_to::own_path;
use crate::sign_in::session::{self, Proven};
use crate::sign_in::tries::Of;

/// Issuers that a page shows.
const MAX_ISSUERS: usize = 20;
/// The tenant of people who don't know that there are tenants.
const TENANT: &str = "default";
/// What every failed try says: which part was wrong is nobody's business.
const WRONG: &str = "Tenant, login and password don't belong together, or the account is switched off.";

#[derive(Template)]
#[template(path = "signin.html")]
struct SigninPage<'a> {
    frame: Frame,
    csrf: String,
    error: Option<&'a str>,
    signed_in: Option<&'a str>,
    tenant: &'a str,
    login: &'a str,
    back: Option<&'a str>,
    issuers: Vec<Button>,
    passwords: bool,
}

/// A way to sign in elsewhere.
struct Button {
    title: String,
    href: String,
}

/// What a page to sign in is filled with.
struct Filled<'a> {
    status: StatusCode,
    error: Option<&'a str>,
    signed_in: Option<&'a str>,
    tenant: &'a str,
    login: &'a str,
    back: Option<&'a str>,
}

/// The form. Who is signed in already goes on at once, unless they want to be somebody else (`switch=1`).
pub(super) async fn page(
    State(app): State<App>,
    site: Site,
    who: Option<SignedIn>,
    query: Query,
    parts: Parts,
) -> Result<Response, Refusal> {
    let back = query.text("return").and_then(own_path);
    if who.is_some() && query.text("switch").is_none() {
        return Ok(on(&site, back));
    }
    let tenant = query.text("tenant").or_else(|| back.and_then(tenant_in)).unwrap_or(TENANT);
    let signed_in = who.as_ref().map(|who| who.user().login.as_str());
    let visit = Visit::of(&site, &parts)?;
    let filled = Filled { status: StatusCode::OK, error: None, signed_in, tenant, login: "", back };
    form(&app, &site, visit, filled).await
}

/// Tries a password.
pub(super) async fn send(State(app): State<App>, sent: Visiting) -> Result<Response, Refusal> {
    let Visiting { visit, form: given } = sent;
    let tenant = given.text("tenant").unwrap_or_default().trim();
    let login = given.text("login").unwrap_or_default().trim();
    let back = given.text("return").and_then(own_path);
    let password = given.text("password").unwrap_or_default();
    let tries = tries(&app, &given.parts, tenant, login)?;
    match right(&app, &given.parts, tenant, login, Secret::new(password.to_owned())).await? {
        Some(proven) => {
            tries.iter().for_each(|of| app.sign_in.tries.give_back(of));
            signed_in(&app, &given.site, &given.parts, proven, back).await
        }
        None => {
            Failures::note(&app, &given.parts, Reason::Password, tenant, login);
            let status = StatusCode::UNAUTHORIZED;
            let filled = Filled { status, error: Some(WRONG), signed_in: None, tenant, login, back };
            form(&app, &given.site, visit, filled).await
        }
    }
}

async fn form(app: &App, site: &Site, visit: Visit, filled: Filled<'_>) -> Result<Response, Refusal> {
    let tenant = live_tenant(app, filled.tenant).await?;
    let mut issuers = Vec::new();
    if let Some(tenant) = &tenant {
        let page = IssuerPage { limit: 500, ..IssuerPage::default() };
        let found = app.store.tenant(tenant.spec.id).issuers(page).await?;
        let offered = found.into_iter().filter(|issuer| issuer.enabled && issuer.sign_in && issuer.client_id.is_some());
        issuers.extend(offered.take(MAX_ISSUERS).map(|issuer| {
            let path = format!("/signin/issuer/{}/{}", tenant.spec.name, issuer.name);
            let query = filled.back.map(|back| Serializer::new(String::new()).append_pair("return", back).finish());
            let path = query.map_or(path.clone(), |query| format!("{path}?{query}"));
            Button { title: issuer.title, href: site.href(&path) }
        }));
    }
    let page = SigninPage {
        frame: Frame::of(app, None),
        csrf: visit.csrf(),
        error: filled.error,
        signed_in: filled.signed_in,
        tenant: filled.tenant,
        login: filled.login,
        back: filled.back,
        // A tenant that isn't there looks like one of which nothing else is known.
        passwords: tenant.as_ref().is_none_or(|tenant| tenant.local_accounts),
        issuers,
    };
    Ok(visit.kept(site, show(filled.status, &page)?))
}

/// Whose password it is; everything else takes as long.
async fn right(
    app: &App,
    parts: &Parts,
    tenant: &str,
    login: &str,
    password: Secret,
) -> Result<Option<Proven>, Refusal> {
    let tenant = live_tenant(app, tenant).await?.filter(|tenant| tenant.local_accounts);
    let mut user: Option<UserId> = None;
    let mut kept = None;
    if let Some(tenant) = &tenant {
        let store = app.store.tenant(tenant.spec.id);
        let found = if plain(login) { store.user_by_login(login).await? } else { None };
        if let Some(found) = found.filter(|user| user.active) {
            kept = store.password(found.id).await?;
            user = Some(found.id);
        }
    }
    let same = app.sign_in.passwords.is(password, kept).await?;
    let meant = tenant.zip(user).map(|(tenant, user)| Proven { tenant: tenant.spec.id, user, issuer: None });
    if let Some(meant) = meant.as_ref().filter(|_| !same) {
        write_down(app, parts, meant);
    }
    Ok(meant.filter(|_| same))
}

/// Writes down that somebody failed to be this user, once a minute: a flood must not fill the audit. Beside the answer,
/// whose time would tell that there is such a user.
fn write_down(app: &App, parts: &Parts, meant: &Proven) {
    if app.sign_in.tries.take(Of::Rows(meant.user), app.clock.now_micros()).is_err() {
        return;
    }
    let actor = Actor {
        tenant: Some(meant.tenant),
        name: "sign-in".to_owned(),
        ip: session::ip(parts),
        trace_id: Some(trace_id()),
        ..Actor::default()
    };
    let (store, object) = (app.store.tenant(meant.tenant), ResourceName::User(meant.user).to_string());
    tokio::spawn(async move {
        let why = json!({ "reason": "password" });
        if let Err(error) = store.note(&actor, "session.refuse", object, why).await {
            tracing::warn!(error = %telemetry::chain(&error), "a failed sign-in can't be written down");
        }
    });
}

/// A session, its cookie, and on.
pub(super) async fn signed_in(
    app: &App,
    site: &Site,
    parts: &Parts,
    proven: Proven,
    back: Option<&str>,
) -> Result<Response, Refusal> {
    let token = session::begin(app, site, parts, proven).await.map_err(|error| match error {
        // Switched off between the proof and now.
        store::StoreError::NoUser | store::StoreError::NotFound => Refusal::Inactive,
        other => other.into(),
    })?;
    let token = token.ok_or(Refusal::Internal)?;
    let mut response = on(site, back);
    Cookie::Session.give(site, &token, &mut response);
    Ok(response)
}

/// Counts a try of an account from an address.
pub(super) fn tries(app: &App, parts: &Parts, tenant: &str, login: &str) -> Result<Vec<Of>, Refusal> {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    let address = peer.map(|info| Of::address(info.0.ip()));
    let account = (!login.is_empty()).then(|| Of::account(tenant, login));
    let counted: Vec<Of> = address.into_iter().chain(account).collect();
    for of in &counted {
        app.sign_in.tries.take(of.clone(), app.clock.now_micros()).map_err(|secs| {
            Failures::note(app, parts, Reason::Limit, tenant, login);
            Refusal::TooMany(secs)
        })?;
    }
    Ok(counted)
}

/// Counts a round trip to an issuer from an address.
pub(super) fn may_leave(app: &App, parts: &Parts) -> Result<(), Refusal> {
    match parts.extensions.get::<ConnectInfo<SocketAddr>>() {
        None => Ok(()),
        Some(peer) => {
            let trips = Of::trips(peer.0.ip());
            app.sign_in.tries.take(trips, app.clock.now_micros()).map_err(|secs| {
                Failures::note(app, parts, Reason::Limit, "", "");
                Refusal::TooMany(secs)
            })
        }
    }
}

/// The live tenant of this name.
pub(super) async fn live_tenant(app: &App, name: &str) -> Result<Option<TenantRecord>, Refusal> {
    let found = if plain(name) { app.store.platform().tenant_by_name(name).await? } else { None };
    Ok(found.filter(|tenant| tenant.active))
}

/// Whether the database may be asked for it: nothing has a control character in its name.
fn plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 512 && !text.chars().any(char::is_control)
}

/// On to where they wanted to go.
pub(super) fn on(site: &Site, back: Option<&str>) -> Response {
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(to) = HeaderValue::from_str(&site.href(back.unwrap_or("/account"))) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

/// The tenant that a path names.
fn tenant_in(path: &str) -> Option<&str> {
    let path = path.split('?').next()?;
    let mut parts = path.split('/').skip(1);
    matches!(parts.next()?, "oauth" | "t" | "connect").then(|| parts.next())?.filter(|name| !name.is_empty())
}

impl From<PasswordError> for Refusal {
    fn from(error: PasswordError) -> Self {
        match error {
            PasswordError::Busy => Self::Busy,
            PasswordError::Broken => Self::Internal,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tenant_is_taken_from_where_one_wants_to_go() {
        for (path, tenant) in [
            ("/oauth/acme/authorize?client_id=x", Some("acme")),
            ("/t/acme/mcp", Some("acme")),
            ("/connect/acme/notes?attempt=x", Some("acme")),
            ("/account", None),
            ("/oauth//authorize", None),
            ("/", None),
        ] {
            assert_eq!(tenant_in(path), tenant, "{path}");
        }
    }
}
