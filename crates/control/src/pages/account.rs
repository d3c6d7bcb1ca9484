//! `/account`: who I am, where I am signed in, and which apps may call in my name.

use std::str::FromStr;

use askama::Template;
use axum::extract::{FromRequestParts as _, Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use model::{GrantId, KeyRole, SessionId};
use store::{GrantPage, GrantRecord, IssuerRecord, SessionPage, SessionRecord, StoreError};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::App;
use crate::pages::{Form, Frame, Refusal, Signed, SignedIn, Site, show, signin};
use crate::sign_in::cookies::Cookie;
use crate::sign_in::session::IDLE;
use crate::timers::micros;

/// Sessions and grants that a page shows; the store keeps no more sessions of one user.
const MOST: u32 = 100;

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    frame: Frame,
    csrf: String,
    tenant: &'a str,
    tenant_title: &'a str,
    login: &'a str,
    role: &'static str,
    departments: String,
    sessions: Vec<Session>,
    grants: Vec<Grant>,
}

struct Session {
    id: String,
    agent: String,
    way: String,
    ip: String,
    since: String,
    seen: String,
    this: bool,
}

struct Grant {
    id: String,
    name: String,
    resource: String,
    since: String,
    used: String,
}

/// Shows it.
pub(super) async fn page(State(app): State<App>, who: SignedIn) -> Result<Response, Refusal> {
    let store = who.store(&app);
    let user = who.user();
    let asleep = app.clock.now_micros().saturating_sub(micros(IDLE));
    let sessions = store.sessions(SessionPage { user: Some(user.id), after: None, limit: MOST }).await?;
    let mut shown = Vec::new();
    for session in sessions.into_iter().filter(|session| session.seen_at > asleep).rev() {
        let issuer = match session.issuer {
            None => None,
            Some(id) => store.issuer(id).await?,
        };
        shown.push(Session::of(&session, issuer.as_ref(), who.live().session.id));
    }
    let grants = GrantPage { user: Some(user.id), live: Some(true), after: None, limit: MOST };
    let grants = store.grants(grants).await?;
    let departments: Vec<&str> = user.departments.iter().map(|department| department.name.as_str()).collect();
    let page = AccountPage {
        frame: Frame::of(&app, Some(&who)),
        csrf: who.csrf(),
        tenant: who.tenant().spec.name.as_str(),
        tenant_title: &who.tenant().title,
        login: &user.login,
        role: role(who.role()),
        departments: departments.join(", "),
        sessions: shown,
        grants: grants.iter().map(Grant::of).collect(),
    };
    show(StatusCode::OK, &page)
}

/// Signs out: the session ends in the database, and the browser forgets the cookie.
pub(super) async fn sign_out(State(app): State<App>, Signed { who, form }: Signed) -> Result<Response, Refusal> {
    who.end(&app).await?;
    Ok(out(&form.site))
}

/// Ends one session of the person.
pub(super) async fn end_session(State(app): State<App>, sent: Signed) -> Result<Response, Refusal> {
    let Signed { who, mut form } = sent;
    let id: SessionId = named(&app, &mut form).await?;
    let store = who.store(&app);
    let own = store.session(id).await?.filter(|session| session.user == who.user().id);
    let own = own.ok_or(Refusal::NotFound)?;
    gone(store.end_session_by_id(&who.actor(), own.id).await)?;
    Ok(if own.id == who.live().session.id { out(&form.site) } else { signin::on(&form.site, None) })
}

/// Takes back what the person let an app do.
pub(super) async fn revoke_grant(State(app): State<App>, sent: Signed) -> Result<Response, Refusal> {
    let Signed { who, mut form } = sent;
    let id: GrantId = named(&app, &mut form).await?;
    let store = who.store(&app);
    let own = store.grant(id).await?.filter(|grant| grant.user == who.user().id).ok_or(Refusal::NotFound)?;
    gone(store.revoke_grant(&who.actor(), own.id).await)?;
    Ok(signin::on(&form.site, None))
}

async fn named<T: FromStr>(app: &App, form: &mut Form) -> Result<T, Refusal> {
    let path = Path::<String>::from_request_parts(&mut form.parts, app).await;
    path.ok().and_then(|Path(text)| text.parse().ok()).ok_or(Refusal::NotFound)
}

/// What somebody else ended in the same moment is ended.
fn gone<T>(ended: Result<T, StoreError>) -> Result<(), Refusal> {
    match ended {
        Ok(_) | Err(StoreError::NotFound) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn out(site: &Site) -> Response {
    let mut response = signin::on(site, Some("/signin"));
    Cookie::Session.take(site, &mut response);
    response
}

impl Session {
    fn of(session: &SessionRecord, issuer: Option<&IssuerRecord>, this: SessionId) -> Self {
        Self {
            id: session.id.to_string(),
            agent: session.agent.as_deref().map_or_else(|| "Unknown browser".to_owned(), browser),
            way: match (session.issuer, issuer) {
                (None, _) => "by password".to_owned(),
                (Some(_), issuer) => format!("by {}", issuer.map_or("an issuer that is gone", |one| &one.title)),
            },
            ip: session.ip.clone().unwrap_or_else(|| "unknown".to_owned()),
            since: at(session.created_at),
            seen: at(session.seen_at),
            this: session.id == this,
        }
    }
}

impl Grant {
    fn of(grant: &GrantRecord) -> Self {
        Self {
            id: grant.id.to_string(),
            name: grant.client_name.clone(),
            resource: grant.resource.clone(),
            since: at(grant.created_at),
            used: at(grant.used_at),
        }
    }
}

fn role(role: KeyRole) -> &'static str {
    match role {
        KeyRole::Viewer => "viewer",
        KeyRole::User => "user",
        KeyRole::TenantAdmin => "tenant admin",
        KeyRole::PlatformAdmin => "platform admin",
    }
}

/// What people call a browser that calls itself by everybody's names.
fn browser(agent: &str) -> String {
    let known =
        |list: &[(&str, &'static str)]| list.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    let name = known(&[
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ]);
    let system = known(&[
        ("Windows", "Windows"),
        ("Android", "Android"),
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Mac OS X", "macOS"),
        ("Linux", "Linux"),
    ]);
    match (name, system) {
        (Some(name), Some(system)) => format!("{name} on {system}"),
        (Some(name), None) => name.to_owned(),
        _ => agent.chars().take(60).collect(),
    }
}

/// An instant, to the minute.
pub(super) fn at(micros: i64) -> String {
    let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1000).ok();
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    at.and_then(|at| at.format(&format).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_named_as_people_know_them() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/130.0 Safari/537.36 Edg/130.0",
                "Edge on Windows",
            ),
            ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14) AppleWebKit/605 Version/17 Safari/605", "Safari on macOS"),
            ("curl/8.5.0", "curl/8.5.0"),
        ] {
            assert_eq!(browser(agent), name);
        }
    }

    #[test]
    fn instants_are_shown_to_the_minute() {
        assert_eq!(at(1_800_000_000_000_000), "2027-01-15 08:00 UTC");
    }
}
