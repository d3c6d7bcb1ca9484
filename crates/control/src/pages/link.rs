//! `/signin/link/{token}`: sets a password, once. Looking at the page uses nothing up: those who check links in
//! messages look too.

use askama::Template;
use axum::extract::{FromRequestParts as _, Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use model::{Secret, TenantId, UserId};
use store::{Actor, TenantRecord, UserRecord};

use crate::App;
use crate::pages::{Frame, Query, Refusal, Site, Visit, Visiting, show, signin};
use crate::rest::trace_id;
use crate::sign_in::failures::{Failures, Reason};
use crate::sign_in::password;
use crate::sign_in::return_to::own_path;
use crate::sign_in::session::{self, Proven};
use crate::sign_in::token::Token;

#[derive(Template)]
#[template(path = "link.html")]
struct LinkPage<'a> {
    frame: Frame,
    csrf: String,
    error: Option<&'a str>,
    token: &'a str,
    tenant: &'a str,
    title: &'a str,
    login: &'a str,
    back: Option<&'a str>,
}

/// A link that is good, and whose it is.
struct Good {
    token: Token,
    tenant: TenantRecord,
    user: UserRecord,
}

/// The form.
pub(super) async fn page(
    State(app): State<App>,
    site: Site,
    query: Query,
    mut parts: Parts,
) -> Result<Response, Refusal> {
    let back = query.text("return").and_then(own_path);
    let token = token(&mut parts, &app).await?;
    let good = good(&app, &parts, token).await?;
    let visit = Visit::of(&site, &parts)?;
    form(&app, &site, visit, &good, back, Ok(()))
}

/// Sets the password, uses the link up and signs in.
pub(super) async fn send(State(app): State<App>, sent: Visiting) -> Result<Response, Refusal> {
    let Visiting { visit, form: mut given } = sent;
    let token = token(&mut given.parts, &app).await?;
    let good = good(&app, &given.parts, token).await?;
    let back = given.text("return").and_then(own_path);
    let chosen = given.text("password").unwrap_or_default();
    let same = given.text("again").unwrap_or_default() == chosen;
    let wrong = match password::fits(chosen) {
        Err(unfit) => Some(format!("The password {unfit}.")),
        Ok(()) if !same => Some("The two passwords are not the same.".to_owned()),
        Ok(()) => None,
    };
    if let Some(wrong) = wrong {
        return form(&app, &given.site, visit, &good, back, Err(&wrong));
    }
    let phc = app.sign_in.passwords.hash(Secret::new(chosen.to_owned())).await?;
    let taken = app.store.platform().take_link(good.token.hash(), app.clock.now_micros()).await?;
    let (tenant, user) = taken.ok_or(Refusal::Link)?;
    let actor = Actor {
        tenant: Some(tenant),
        user: Some(user),
        name: good.user.login.clone(),
        ip: session::ip(&given.parts),
        trace_id: Some(trace_id()),
        ..Actor::default()
    };
    app.store.tenant(tenant).set_password(&actor, user, phc).await?;
    signin::signed_in(&app, &given.site, &given.parts, Proven { tenant, user, issuer: None }, back).await
}

async fn token(parts: &mut Parts, app: &App) -> Result<Token, Refusal> {
    let path = Path::<String>::from_request_parts(parts, app).await;
    path.ok().and_then(|Path(text)| Token::parse(&text)).ok_or(Refusal::Link)
}

/// Unknown, used and old links are the same, and all count as tries.
async fn good(app: &App, parts: &Parts, token: Token) -> Result<Good, Refusal> {
    let tries = signin::tries(app, parts, "", "")?;
    let opens_nothing = || {
        Failures::note(app, parts, Reason::Link, "", "");
        Refusal::Link
    };
    let found: Option<(TenantId, UserId)> = app.store.platform().link(token.hash()).await?;
    let (tenant, user) = found.ok_or_else(opens_nothing)?;
    let store = app.store.tenant(tenant);
    let tenant = store.tenant().await?.filter(|tenant| tenant.active && tenant.local_accounts);
    let user = store.user(user).await?.filter(|user| user.active);
    let (tenant, user) = tenant.zip(user).ok_or_else(opens_nothing)?;
    tries.iter().for_each(|of| app.sign_in.tries.give_back(of));
    Ok(Good { token, tenant, user })
}

fn form(
    app: &App,
    site: &Site,
    visit: Visit,
    good: &Good,
    back: Option<&str>,
    outcome: Result<(), &str>,
) -> Result<Response, Refusal> {
    let (status, error) = match outcome {
        Ok(()) => (StatusCode::OK, None),
        Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, Some(error)),
    };
    let token = good.token.text();
    let page = LinkPage {
        frame: Frame::of(app, None),
        csrf: visit.csrf(),
        error,
        token: token.expose(),
        tenant: good.tenant.spec.name.as_str(),
        title: &good.tenant.title,
        login: &good.user.login,
        back,
    };
    Ok(visit.kept(site, show(status, &page)?))
}
