//! `/connect/{tenant}/{server}`: on to the authorization server of an upstream, and back at `/oauth/callback`.
//!
//! Nobody leaves without having seen who is connected to what, on a page of their own session. Only they themselves can
//! have a connection of their own made, and admins those that others share: a link that somebody else made shows this
//! page or none, and who comes back in another session than the one that left has brought nothing.

use askama::Template;
use axum::extract::{FromRequestParts as _, Path, State};
use axum::http::header::{LOCATION, REFRESH};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use model::{Holder, KeyRole, ResourceName, Scope, Secret};
use store::{ConnectionRecord, ServerRecord, TenantStore};
use url::Url;
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use crate::App;
use crate::connections::{Asker, ConnectionError, accepted};
use crate::pages::{Frame, Query, Refusal, Signed, SignedIn, Site, show};
use crate::rest::carried;
use crate::sign_in::return_to::own_path;
use crate::upstream_login::{Answer, AttemptView, Begin, Connected, Judged, LoginError, Outcome, UpstreamLogin};

const NO_STATE: Refusal = Refusal::Trip(
    "It was begun in another browser or session, more than ten minutes ago, or it has been finished already. Nothing was \
     done. Open the link that you were given once more, or begin at your connections.",
);
const NO_ATTEMPT: Refusal =
    Refusal::Trip("The link is more than ten minutes old, or what it was made for has been done. Ask for another.");
const OTHER_ISSUER: Refusal =
    Refusal::Trip("The answer came from another authorization server than the one that was asked. Nothing was done.");

/// What a link, or the form of the page, says.
struct Said<'a> {
    attempt: Option<&'a str>,
    scope: Option<&'a str>,
    holder: Option<&'a str>,
    back: Option<&'a str>,
}

/// What somebody may begin.
struct Ready {
    server: ServerRecord,
    holder: Holder,
    /// The department's name.
    holder_name: String,
    attempt: Option<AttemptView>,
    back: Option<String>,
    before: Option<ConnectionRecord>,
}

#[derive(Template)]
#[template(path = "connect/confirm.html")]
struct ConfirmPage<'a> {
    frame: Frame,
    csrf: String,
    action: String,
    other: String,
    server: &'a str,
    title: &'a str,
    host: String,
    tenant: &'a str,
    login: &'a str,
    scope: &'static str,
    holder: String,
    holder_name: &'a str,
    attempt: String,
    back: &'a str,
    connected: bool,
}

/// The question, always: the link may be somebody else's.
pub(super) async fn page(
    State(app): State<App>,
    site: Site,
    who: Option<SignedIn>,
    query: Query,
    mut parts: Parts,
) -> Result<Response, Refusal> {
    let path = parts.uri.path_and_query().map_or_else(|| "/".to_owned(), |path| path.as_str().to_owned());
    // Authorization servers lead back to the name that they know; the session must be there too.
    let base = app.config.base_url();
    if site.url("") != base {
        return away(&format!("{base}{path}"));
    }
    let (tenant, named) = named(&app, &mut parts).await?;
    let Some(who) = who else { return Err(Refusal::SignIn(path)) };
    if who.tenant().spec.name.as_str() != tenant {
        return Ok(as_another(&site, &tenant, &path));
    }
    let said = Said {
        attempt: query.text("attempt"),
        scope: query.text("scope_type"),
        holder: query.text("scope_id"),
        back: query.text("return"),
    };
    let ready = ready(&app, &who, &named, &said).await?;
    let frame = Frame::of(&app, Some(&who));
    let mut switch = Serializer::new(String::new());
    switch.append_pair("switch", "1").append_pair("tenant", &tenant).append_pair("return", &path);
    let name = ready.server.spec.name.as_str();
    let page = ConfirmPage {
        csrf: who.csrf(),
        action: format!("{}/connect/{tenant}/{name}", frame.prefix),
        other: format!("{}/signin?{}", frame.prefix, switch.finish()),
        frame,
        server: name,
        title: &ready.server.spec.title,
        host: ready.server.spec.url.url().origin().ascii_serialization(),
        tenant: &who.tenant().title,
        login: &who.user().login,
        scope: ready.holder.scope().as_str(),
        holder: match ready.holder {
            Holder::Global => String::new(),
            Holder::Department(id) => id.to_string(),
            Holder::User(id) => id.to_string(),
        },
        holder_name: &ready.holder_name,
        attempt: ready.attempt.as_ref().map(|attempt| attempt.id.to_string()).unwrap_or_default(),
        back: ready.back.as_deref().unwrap_or_default(),
        connected: ready.before.as_ref().is_some_and(ConnectionRecord::has_credentials),
    };
    show(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "connect/lead.html")]
struct LeadPage<'a> {
    frame: Frame,
    title: &'a str,
    text: String,
    place: String,
    button: &'a str,
    to: &'a str,
}

/// Leads on to the authorization server, by a page that leads by itself (see `authorization/consent.rs`).
pub(super) async fn send(State(app): State<App>, sent: Signed) -> Result<Response, Refusal> {
    let Signed { who, mut form } = sent;
    let (tenant, named) = named(&app, &mut form.parts).await?;
    if who.tenant().spec.name.as_str() != tenant {
        return Err(Refusal::Forged);
    }
    if !app.upstream_login.begins.take(who.user().id, app.clock.now_micros()) {
        return Err(Refusal::TooMany(60));
    }
    let said = Said {
        attempt: form.text("attempt"),
        scope: form.text("scope_type"),
        holder: form.text("scope_id"),
        back: form.text("return"),
    };
    let Ready { server, holder, attempt, back, .. } = ready(&app, &who, &named, &said).await?;
    let store = who.store(&app);
    let attempt = match attempt {
        Some(attempt) => attempt.id,
        None => {
            let actor = format!("user:{}", who.user().id);
            app.upstream_login.attempt(&store, server.spec.id, holder, actor).await?.id
        }
    };
    let begin = Begin { server: &server, holder, who: &who, attempt, back };
    let to = match app.upstream_login.begin(begin).await {
        Ok(to) => to,
        Err(error) => {
            tracing::warn!(server = %server.spec.id, error = %telemetry::chain(&error), "a login at an upstream can't be begun");
            app.upstream_login.finish(&store, attempt, Err(&error)).await;
            return Err(refusal(error));
        }
    };
    let page = LeadPage {
        frame: Frame::of(&app, Some(&who)),
        title: "On to the sign-in",
        text: format!("The next page is not Gatehouse's: there you sign in for {}.", server.spec.title),
        place: place(&to),
        button: "Go on",
        to: to.as_str(),
    };
    lead(&page)
}

/// Comes back from an authorization server: whichever it was, the row of the round trip says. What is to be done is done
/// even if the browser does not wait for it.
pub(super) async fn end(State(app): State<App>, who: Option<SignedIn>, query: Query) -> Result<Response, Refusal> {
    let who = who.ok_or(NO_STATE)?;
    let answer = Answer {
        state: query.text("state"),
        issuer: query.text("iss"),
        error: query.text("error"),
        description: query.text("error_description"),
    };
    let (trip, verifier) = app.upstream_login.take(&who, &answer).await.map_err(refusal)?.ok_or(NO_STATE)?;
    let (store, attempt) = (who.store(&app), trip.attempt());
    // What somebody was allowed to begin they may not be allowed to end any more.
    let holder = trip.holder().ok_or(Refusal::Internal)?;
    if !may(&who, holder) {
        return Err(Refusal::NotYours);
    }
    let judged = UpstreamLogin::judge(&trip, &answer);
    let code = query.text("code").map(|code| Secret::new(code.to_owned()));
    let code = match (judged, code) {
        (Ok(()), Some(code)) => code,
        (Ok(()), None) => {
            app.upstream_login.finish(&store, attempt, Err(&LoginError::NoToken)).await;
            return Err(Refusal::Malformed("The answer has no code."));
        }
        (Err(Judged::OtherIssuer), _) => {
            tracing::warn!(tenant = %who.tenant().spec.id, "an answer to a login names another authorization server than the one that was asked");
            app.upstream_login.finish(&store, attempt, Err(&LoginError::OtherServer)).await;
            return Err(OTHER_ISSUER);
        }
        (Err(Judged::Error(error)), _) => {
            app.upstream_login.finish(&store, attempt, Err(&error)).await;
            return Err(Refusal::Denied(error.to_string()));
        }
    };
    let (work, actor) = (app.clone(), who.actor());
    let ended = tokio::spawn(carried(async move {
        let ended = work.upstream_login.end(trip, code, verifier, actor).await;
        // Who sees that it is done, on the page or by the attempt, makes calls with it.
        if let Ok(connected) = &ended {
            work.servers.settled(connected.revision, ResourceName::Connection(connected.connection)).await;
        }
        let told = ended.as_ref().map(|connected| connected.connection);
        work.upstream_login.finish(&store, attempt, told).await;
        ended
    }));
    let ended = ended.await.map_err(|error| {
        tracing::error!(%error, "the end of a login ended early");
        Refusal::Internal
    })?;
    let connected = ended.map_err(|error| {
        tracing::warn!(error = %telemetry::chain(&error), "a login at an upstream failed");
        refusal(error)
    })?;
    connected_page(&app, &who, connected).await
}

#[derive(Template)]
#[template(path = "connect/done.html")]
struct DonePage<'a> {
    frame: Frame,
    server: &'a str,
    subject: Option<&'a str>,
    shared: bool,
}

async fn connected_page(app: &App, who: &SignedIn, connected: Connected) -> Result<Response, Refusal> {
    if let Some(back) = &connected.back {
        let frame = Frame::of(app, Some(who));
        let (to, place) = match Url::parse(back) {
            Ok(url) => (back.clone(), place(&url)),
            Err(_) => (format!("{}{back}", frame.prefix), "this site".to_owned()),
        };
        let text = "The connection is stored.".to_owned();
        return lead(&LeadPage { frame, title: "Connected", text, place, button: "Go back", to: &to });
    }
    let store = who.store(app);
    let connection = store.connection(connected.connection).await?.ok_or(Refusal::NotFound)?;
    let server = store.server(connection.server).await?.ok_or(Refusal::NotFound)?;
    let page = DonePage {
        frame: Frame::of(app, Some(who)),
        server: &server.spec.title,
        subject: connection.external_subject.as_deref(),
        shared: connection.holder.scope() != Scope::User,
    };
    show(StatusCode::OK, &page)
}

/// Judges what a link or a form says: whether this person may have such a connection made.
async fn ready(app: &App, who: &SignedIn, named: &str, said: &Said<'_>) -> Result<Ready, Refusal> {
    let store = who.store(app);
    let server = found(&store, named).await?.ok_or(Refusal::NotFound)?;
    if !server.spec.binding.as_ref().is_some_and(|binding| binding.login) {
        return Err(refusal(LoginError::NotSupported));
    }
    if !who.role().calls_mcp() {
        return Err(Refusal::NotYours);
    }
    let attempt = match said.attempt {
        None => None,
        Some(id) => {
            let id: Uuid = id.parse().map_err(|_| NO_ATTEMPT)?;
            let attempt = app.upstream_login.attempt_at(&store, server.spec.id, id).await?;
            Some(attempt.filter(|attempt| attempt.outcome == Outcome::Pending).ok_or(NO_ATTEMPT)?)
        }
    };
    let holder = match &attempt {
        // What it was made for counts, whatever else the link says.
        Some(attempt) => attempt.holder,
        None => {
            let scope = match said.scope {
                None => None,
                Some(word) => Some(Scope::parse(word).ok_or(Refusal::Malformed("There is no such scope."))?),
            };
            let asker = Asker::new(who.role(), Some(who.user().id));
            asker.holder(&store, accepted(&server), scope, said.holder).await.map_err(|error| match error {
                ConnectionError::Store(error) => error.into(),
                ConnectionError::Forbidden => Refusal::NotYours,
                _ => Refusal::Malformed("The link names nobody for whom the connection could be."),
            })?
        }
    };
    if !may(who, holder) {
        return Err(Refusal::NotYours);
    }
    if !accepted(&server).contains(&holder.scope()) {
        return Err(Refusal::Malformed("The server accepts no connection of this scope."));
    }
    let holder_name = match holder {
        Holder::Department(id) => store.department(id).await?.ok_or(Refusal::NotFound)?.name.to_string(),
        Holder::Global | Holder::User(_) => String::new(),
    };
    let back = match said.back {
        None => None,
        Some(back) => Some(
            allowed_return(app, back)
                .ok_or(Refusal::Malformed("The link leads back to a place that is not allowed."))?,
        ),
    };
    let before = store.connection_of(server.spec.id, holder).await?;
    Ok(Ready { server, holder, holder_name, attempt, back, before })
}

/// Whether somebody may sign in for such a connection: for their own, and as an admin for those of several. Nobody signs
/// in for somebody else: it would be their own account that the other one uses.
fn may(who: &SignedIn, holder: Holder) -> bool {
    match holder {
        Holder::User(user) => user == who.user().id,
        Holder::Global | Holder::Department(_) => who.role() >= KeyRole::TenantAdmin,
    }
}

/// Where somebody may be led afterwards: a path of ours, or a URL below what the platform's settings name.
pub(crate) fn allowed_return(app: &App, back: &str) -> Option<String> {
    if let Some(path) = own_path(back) {
        return Some(path.to_owned());
    }
    let url = Url::parse(back).ok().filter(|url| url.as_str().len() <= MAX_RETURN)?;
    let public = Url::parse(&app.config.base_url()).ok();
    let named = app.config.login_return_urls.iter();
    named.chain(&public).any(|base| is_below(base, &url)).then(|| url.into())
}

/// Bytes of where somebody may be led.
const MAX_RETURN: usize = 2048;

fn is_below(base: &Url, url: &Url) -> bool {
    let path = base.path().trim_end_matches('/');
    let below = url.path().strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let plain = url.username().is_empty() && url.password().is_none();
    base.origin().is_tuple() && base.origin() == url.origin() && plain && below
}

async fn named(app: &App, parts: &mut Parts) -> Result<(String, String), Refusal> {
    let path = Path::<(String, String)>::from_request_parts(parts, app).await;
    let Path((tenant, server)) = path.map_err(|_| Refusal::NotFound)?;
    let plain = |text: &str| {
        !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if plain(&tenant) && plain(&server) { Ok((tenant, server)) } else { Err(Refusal::NotFound) }
}

/// The server of this name, or with this id.
async fn found(store: &TenantStore, named: &str) -> Result<Option<ServerRecord>, Refusal> {
    let by_id = match named.parse() {
        Ok(id) => store.server(id).await?,
        Err(_) => None,
    };
    let found = match by_id {
        None => store.server_by_name(named).await?,
        found => found,
    };
    Ok(found.filter(|server| server.enabled))
}

fn lead(page: &LeadPage<'_>) -> Result<Response, Refusal> {
    let mut response = show(StatusCode::OK, page)?;
    if let Ok(mut refresh) = HeaderValue::from_str(&format!("0;url={}", page.to)) {
        refresh.set_sensitive(true);
        response.headers_mut().insert(REFRESH, refresh);
    }
    Ok(response)
}

/// Somebody of another tenant must become somebody of this one first.
fn as_another(site: &Site, tenant: &str, back: &str) -> Response {
    let mut query = Serializer::new(String::new());
    query.append_pair("switch", "1").append_pair("tenant", tenant).append_pair("return", back);
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(to) = HeaderValue::from_str(&site.href(&format!("/signin?{}", query.finish()))) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

fn away(to: &str) -> Result<Response, Refusal> {
    let mut response = StatusCode::SEE_OTHER.into_response();
    let to = HeaderValue::from_str(to).map_err(|_| Refusal::NotFound)?;
    response.headers_mut().insert(LOCATION, to);
    Ok(response)
}

/// What a person should compare: always ASCII, so that no letter can look like another.
fn place(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => url.scheme().to_owned(),
    }
}

fn refusal(error: LoginError) -> Refusal {
    match error {
        LoginError::Store(error) => error.into(),
        LoginError::Internal => Refusal::Internal,
        LoginError::Keyring(error) => {
            tracing::error!(error = %telemetry::chain(&error), "a secret can't be sealed or opened");
            Refusal::Unavailable
        }
        error => Refusal::Login { code: error.code(), text: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_url_is_below_one_that_is_allowed() {
        let base = |text: &str| Url::parse(text).unwrap();
        for (allowed, url, fits) in [
            ("https://app.example/done", "https://app.example/done", true),
            ("https://app.example/done", "https://app.example/done/x?y=1#z", true),
            ("https://app.example/done/", "https://app.example/done", true),
            ("https://app.example", "https://app.example/anything", true),
            ("https://app.example/done", "https://app.example/donex", false),
            ("https://app.example/done", "https://app.example/done/../other", false),
            ("https://app.example/done", "https://app.example.evil.example/done", false),
            ("https://app.example/done", "https://evil.example/done", false),
            ("https://app.example/done", "http://app.example/done", false),
            ("https://app.example/done", "https://app.example:8443/done", false),
            ("https://app.example/done", "https://ann@app.example/done", false),
            ("https://app.example", "javascript:alert(1)", false),
            ("https://app.example", "data:text/html,x", false),
        ] {
            assert_eq!(is_below(&base(allowed), &base(url)), fits, "{allowed} {url}");
        }
    }

    #[test]
    fn a_place_is_shown_in_letters_that_nobody_can_fake() {
        assert_eq!(place(&Url::parse("https://\u{0430}s.example/x").unwrap()), "xn--s-7sb.example");
        assert_eq!(place(&Url::parse("http://127.0.0.1:9/x").unwrap()), "127.0.0.1:9");
    }
}
