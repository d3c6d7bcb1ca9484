//! Asking the person: the page at the authorization endpoint, and what becomes of their answer.
//!
//! The answer of the form is a page that leads on by itself (`Refresh`), not a redirect. Browsers hold redirects that
//! answer a form against `form-action` of the page with the form, each further one included: a client whose callback
//! redirects once more could never be reached, whatever that page allows, and the page for IPv6 loopback could not even
//! be written. A page that leads on is judged by nothing but its own link. The form itself stays within `'self'`.

use askama::Template;
use axum::extract::State;
use axum::http::header::{LOCATION, REFRESH};
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use store::{NewCode, StoreError};

use crate::App;
use crate::authorization::client::Client;
use crate::authorization::document::is_document;
use crate::authorization::redirect::{self, RedirectUri};
use crate::authorization::refusal::{Reason, Refusal};
use crate::authorization::request::{Asked, Wanted};
use crate::authorization::server::Server;
use crate::authorization::{SCOPE, clients, secrets, shown};
use crate::pages::{self, Frame, Signed, SignedIn, Site, show};
use crate::rest::Segment;
use crate::sign_in::return_to::own_path;

/// How long a code is good for; microseconds.
const CODE_LIFE: i64 = 60_000_000;

/// A request that only its person still has to answer.
struct Ready {
    client: Client,
    redirect: RedirectUri,
    wanted: Wanted,
}

/// What a request leads to instead of the question.
enum Other {
    /// Told to the person alone.
    Shown(Refusal),
    /// Told to the client.
    Answered(Client, RedirectUri, Refusal),
}

impl From<Refusal> for Other {
    fn from(refusal: Refusal) -> Self {
        Self::Shown(refusal)
    }
}

/// `GET /oauth/{tenant}/authorize`: the question, always. Whoever is signed in already is asked as well: the URL may be
/// somebody else's.
pub(crate) async fn page(
    State(app): State<App>,
    Segment(named): Segment,
    site: Site,
    who: Option<SignedIn>,
    uri: Uri,
) -> Result<Response, pages::Refusal> {
    let server = match Server::of(&app, &named).await {
        Ok(server) => server,
        Err(refusal) => return refused(&app, who.as_ref(), &refusal),
    };
    let asked = match asked(&uri) {
        Ok(asked) => asked,
        Err(refusal) => return refused(&app, who.as_ref(), &refusal),
    };
    let Some(who) = who else {
        // Nobody signs in for what can't succeed. A document is looked at for people that we know only.
        if !is_document(asked.client_id()) {
            let redirect = clients::registered(&app, &server, asked.client_id()).await;
            if let Err(refusal) = redirect.and_then(|client| asked.redirect(&client)) {
                return refused(&app, None, &refusal);
            }
        }
        return Err(pages::Refusal::SignIn(path(&uri).to_owned()));
    };
    if who.tenant().spec.id != server.tenant.spec.id {
        return Ok(as_another(&site, &server, path(&uri)));
    }
    match ready(&app, &server, &who, &asked).await {
        Ok(ready) => question(&app, &server, &who, &uri, &ready),
        Err(Other::Shown(refusal)) => refused(&app, Some(&who), &refusal),
        Err(Other::Answered(client, redirect, refusal)) => {
            // Anybody can register a site: nobody is sent there for a mistake that the site made on purpose.
            let by_itself = redirect.kind() != redirect::Kind::Web;
            let answer = failed(&server, &asked, &redirect, &refusal);
            let (title, text) = (CANT, refusal.description());
            lead(&app, &who, Lead { title, text: &text, client: &client, redirect: &redirect, answer, by_itself })
        }
    }
}

/// `POST /oauth/{tenant}/authorize?…`: the answer. The request is judged once more, as nothing was kept of it.
pub(crate) async fn decide(
    State(app): State<App>,
    Segment(named): Segment,
    sent: Signed,
) -> Result<Response, pages::Refusal> {
    let Signed { who, form } = sent;
    let server = match Server::of(&app, &named).await {
        Ok(server) => server,
        Err(refusal) => return refused(&app, Some(&who), &refusal),
    };
    if who.tenant().spec.id != server.tenant.spec.id {
        return Err(pages::Refusal::Forged);
    }
    if !app.authorization.consents.take(who.user().id, app.clock.now_micros()) {
        return Err(pages::Refusal::TooMany(60));
    }
    let uri = &form.parts.uri;
    let asked = match asked(uri) {
        Ok(asked) => asked,
        Err(refusal) => return refused(&app, Some(&who), &refusal),
    };
    let ready = match ready(&app, &server, &who, &asked).await {
        Ok(ready) => ready,
        Err(Other::Shown(refusal) | Other::Answered(_, _, refusal)) => return refused(&app, Some(&who), &refusal),
    };
    let seal = shown::seal(&who.csrf(), uri.query().unwrap_or_default(), &ready.client);
    if !shown::is(&seal, form.text("shown").unwrap_or_default()) {
        return Err(pages::Refusal::Forged);
    }
    let (title, answer) = match form.text("decision") {
        Some("allow") => ("You are signed in", allowed(&app, &server, &who, &asked, &ready).await?),
        Some("deny") => {
            let denied = Refusal::new(Reason::AccessDenied, "the user said no");
            ("Not allowed", failed(&server, &asked, &ready.redirect, &denied))
        }
        _ => return Err(pages::Refusal::Malformed("The form says neither yes nor no.")),
    };
    let Ready { client, redirect, .. } = &ready;
    let text = "This page goes on by itself. If it does not, use the button; then you can close it.";
    lead(&app, &who, Lead { title, text, client, redirect, answer, by_itself: true })
}

/// The parameters, if the browser can be brought back to them after a sign-in.
fn asked(uri: &Uri) -> Result<Asked, Refusal> {
    if own_path(path(uri)).is_none() {
        return Err(Refusal::new(Reason::InvalidRequest, "the request is too long"));
    }
    Asked::parse(uri.query().unwrap_or_default())
}

fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}

/// Judges a request of somebody who is signed in: first who asks and where the answer goes, then the rest.
async fn ready(app: &App, server: &Server, who: &SignedIn, asked: &Asked) -> Result<Ready, Other> {
    let client = clients::find(app, server, asked.client_id(), who.user().id).await?;
    let redirect = asked.redirect(&client)?;
    let wanted = asked.wanted(server.name()).and_then(|wanted| {
        let no_role = Refusal::new(Reason::AccessDenied, "your role may not use MCP servers; ask your administrator");
        if who.role().calls_mcp() { Ok(wanted) } else { Err(no_role) }
    });
    match wanted {
        Ok(wanted) => Ok(Ready { client, redirect, wanted }),
        Err(refusal) => Err(Other::Answered(client, redirect, refusal)),
    }
}

/// Writes down what was allowed, and gives the code for it.
async fn allowed(
    app: &App,
    server: &Server,
    who: &SignedIn,
    asked: &Asked,
    ready: &Ready,
) -> Result<String, pages::Refusal> {
    let (code, hash) = secrets::Kind::Code.fresh().ok_or(pages::Refusal::Internal)?;
    let Ready { client, redirect, wanted } = ready;
    clients::keep(app, server, client).await?;
    let new = NewCode {
        hash,
        user: who.user().id,
        issuer: who.live().session.issuer,
        client: client.id.clone(),
        redirect_uri: redirect.as_str().to_owned(),
        resource: wanted.resource.as_str().to_owned(),
        scope: SCOPE.to_owned(),
        challenge: wanted.challenge.clone(),
        expires_at: app.clock.now_micros().saturating_add(CODE_LIFE),
    };
    match server.store(app).create_code(new).await {
        Ok(()) => Ok(answer(server, asked, redirect, &[("code", code.expose())])),
        Err(StoreError::NoUser) => Err(pages::Refusal::Inactive),
        Err(error) => Err(error.into()),
    }
}

/// The redirect URI with an answer, with the client's state, and with our name, so that no other server's answer can be
/// taken for ours (RFC 9207).
fn answer(server: &Server, asked: &Asked, redirect: &RedirectUri, says: &[(&str, &str)]) -> String {
    let mut all = says.to_vec();
    all.extend(asked.state().map(|state| ("state", state)));
    all.push(("iss", &server.issuer));
    redirect.with(&all)
}

fn failed(server: &Server, asked: &Asked, redirect: &RedirectUri, refusal: &Refusal) -> String {
    let description = refusal.description();
    answer(server, asked, redirect, &[("error", refusal.reason.as_str()), ("error_description", &description)])
}

/// Somebody of another tenant must become somebody of this one first.
fn as_another(site: &Site, server: &Server, back: &str) -> Response {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("switch", "1").append_pair("tenant", server.name().as_str()).append_pair("return", back);
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(to) = HeaderValue::from_str(&site.href(&format!("/signin?{}", query.finish()))) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}

const CANT: &str = "This can't be allowed";

#[derive(Template)]
#[template(path = "authorization/consent.html")]
struct ConsentPage<'a> {
    frame: Frame,
    csrf: String,
    shown: String,
    action: String,
    other: String,
    name: &'a str,
    host: Option<String>,
    place: String,
    local: bool,
    origin: String,
    server: Option<&'a str>,
    login: &'a str,
    tenant: &'a str,
}

fn question(app: &App, server: &Server, who: &SignedIn, uri: &Uri, ready: &Ready) -> Result<Response, pages::Refusal> {
    let Ready { client, redirect, wanted } = ready;
    let frame = Frame::of(app, Some(who));
    let mut switch = url::form_urlencoded::Serializer::new(String::new());
    switch.append_pair("switch", "1").append_pair("tenant", server.name().as_str()).append_pair("return", path(uri));
    let page = ConsentPage {
        csrf: who.csrf(),
        shown: shown::seal(&who.csrf(), uri.query().unwrap_or_default(), client),
        action: format!("{}{}", frame.prefix, path(uri)),
        other: format!("{}/signin?{}", frame.prefix, switch.finish()),
        frame,
        name: if client.name.is_empty() { "An app without a name" } else { &client.name },
        host: client.host(),
        place: redirect.place(),
        local: redirect.kind() == redirect::Kind::Loopback,
        origin: wanted.resource.origin(),
        server: wanted.resource.server(),
        login: &who.user().login,
        tenant: &who.tenant().title,
    };
    show(StatusCode::OK, &page)
}

#[derive(Template)]
#[template(path = "authorization/lead.html")]
struct LeadPage<'a> {
    frame: Frame,
    title: &'a str,
    text: &'a str,
    name: &'a str,
    place: String,
    answer: &'a str,
}

/// A page that leads back to a client.
struct Lead<'a> {
    title: &'a str,
    text: &'a str,
    client: &'a Client,
    redirect: &'a RedirectUri,
    answer: String,
    by_itself: bool,
}

fn lead(app: &App, who: &SignedIn, lead: Lead<'_>) -> Result<Response, pages::Refusal> {
    let Lead { title, text, client, redirect, answer, by_itself } = lead;
    let name = if client.name.is_empty() { "the app" } else { &client.name };
    let (frame, place) = (Frame::of(app, Some(who)), redirect.place());
    let page = LeadPage { frame, title, text, name, place, answer: &answer };
    let mut response = show(StatusCode::OK, &page)?;
    if by_itself && let Ok(mut refresh) = HeaderValue::from_str(&format!("0;url={answer}")) {
        refresh.set_sensitive(true);
        response.headers_mut().insert(REFRESH, refresh);
    }
    Ok(response)
}

#[derive(Template)]
#[template(path = "authorization/refused.html")]
struct RefusedPage<'a> {
    frame: Frame,
    code: &'a str,
    text: &'a str,
}

/// What is told to the person alone: who asks is not known, so nobody else may be told.
fn refused(app: &App, who: Option<&SignedIn>, refusal: &Refusal) -> Result<Response, pages::Refusal> {
    match refusal.status() {
        StatusCode::NOT_FOUND => return Err(pages::Refusal::NotFound),
        StatusCode::TOO_MANY_REQUESTS => return Err(pages::Refusal::TooMany(60)),
        StatusCode::SERVICE_UNAVAILABLE => return Err(pages::Refusal::Unavailable),
        StatusCode::INTERNAL_SERVER_ERROR => return Err(pages::Refusal::Internal),
        _ => (),
    }
    let text = refusal.description();
    show(
        StatusCode::BAD_REQUEST,
        &RefusedPage { frame: Frame::of(app, who), code: refusal.reason.as_str(), text: &text },
    )
}
