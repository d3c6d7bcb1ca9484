//! What browsers send: queries and forms, each parameter once, and the proof that a form is ours.

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequestParts, Request};
use axum::http::request::Parts;
use axum::response::Response;
use model::Secret;
use subtle::ConstantTimeEq as _;

use crate::App;
use crate::pages::Refusal;
use crate::rest::{Cut, is_declared, whole};
use crate::sign_in::cookies::Cookie;
use crate::sign_in::return_to::own_path;
use crate::sign_in::session::SignedIn;
use crate::sign_in::site::Site;
use crate::sign_in::token::Token;

/// Bytes that a form may have.
const MAX_FORM: usize = 32 << 10;
/// Parameters of a form or a query.
const MAX_PARAMETERS: usize = 64;

const TWICE: Refusal = Refusal::Malformed("A parameter stands twice, or there are too many of them.");

/// Parameters, each of which stands once.
#[derive(Default)]
struct Parameters(Vec<(String, Secret)>);

impl Parameters {
    fn read(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut read: Vec<(String, Secret)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(bytes) {
            if read.len() == MAX_PARAMETERS || read.iter().any(|(other, _)| *other == *name) {
                return Err(TWICE);
            }
            read.push((name.into_owned(), Secret::new(value.into_owned())));
        }
        Ok(Self(read))
    }

    fn text(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(other, _)| other == name)?;
        Some(found.1.expose()).filter(|text| !text.is_empty())
    }
}

/// The query of a page.
pub(crate) struct Query(Parameters);

impl Query {
    /// A parameter that is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.text(name)
    }
}

impl FromRequestParts<App> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Refusal> {
        Parameters::read(parts.uri.query().unwrap_or_default().as_bytes()).map(Self)
    }
}

impl FromRequestParts<App> for Site {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&app.config, &parts.uri, &parts.headers))
    }
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let site = Site::of(&app.config, &parts.uri, &parts.headers);
        let to = parts.uri.path_and_query().map_or("/", |to| to.as_str());
        Self::of(app, &site, parts).await?.ok_or_else(|| Refusal::SignIn(to.to_owned()))
    }
}

impl OptionalFromRequestParts<App> for SignedIn {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Option<Self>, Refusal> {
        let site = Site::of(&app.config, &parts.uri, &parts.headers);
        Ok(Self::of(app, &site, parts).await?)
    }
}

/// A form that a page of this site sent. Whose page it was, [`Signed`] and [`Visiting`] know.
pub(crate) struct Form {
    fields: Parameters,
    /// Where the browser is.
    pub(crate) site: Site,
    /// The head of its request.
    pub(crate) parts: Parts,
}

impl Form {
    /// A field that is there and not empty.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.fields.text(name)
    }

    fn is_of(&self, csrf: &str) -> bool {
        let given = self.text("csrf").unwrap_or_default();
        given.len() == csrf.len() && bool::from(given.as_bytes().ct_eq(csrf.as_bytes()))
    }
}

impl FromRequest<App> for Form {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let (parts, body) = request.into_parts();
        let site = Site::of(&app.config, &parts.uri, &parts.headers);
        if !site.sent(&parts.headers, true) {
            return Err(Refusal::Forged);
        }
        if !is_declared("application/x-www-form-urlencoded", &parts.headers) {
            return Err(Refusal::Malformed("Forms are sent as application/x-www-form-urlencoded."));
        }
        let bytes = whole(&parts, body, MAX_FORM).await.map_err(|cut| match cut {
            Cut::TooLarge => Refusal::Malformed("The form is too large."),
            Cut::Broken | Cut::Slow => Refusal::Malformed("The form did not arrive whole."),
        })?;
        Ok(Self { fields: Parameters::read(&bytes)?, site, parts })
    }
}

/// A form of somebody who is signed in, sent from a page of their session.
pub(crate) struct Signed {
    /// Who sent it.
    pub(crate) who: SignedIn,
    /// What they sent.
    pub(crate) form: Form,
}

impl FromRequest<App> for Signed {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let form = Form::from_request(request, app).await?;
        let who = SignedIn::of(app, &form.site, &form.parts).await?;
        // A session that has ended meanwhile. The form's own path may be none to come back to.
        let back = form.text("return").and_then(own_path).unwrap_or("/account").to_owned();
        let who = who.ok_or(Refusal::SignIn(back))?;
        if form.is_of(&who.csrf()) { Ok(Self { who, form }) } else { Err(Refusal::Forged) }
    }
}

/// A browser that has not signed in: what it began here is bound to its cookie.
pub(crate) struct Visit {
    token: Token,
    /// The browser does not have the cookie yet.
    new: bool,
}

impl Visit {
    /// The visit of this request, or a new one.
    pub(crate) fn of(site: &Site, parts: &Parts) -> Result<Self, Refusal> {
        match Cookie::Visit.read(site, &parts.headers) {
            Some(token) => Ok(Self { token, new: false }),
            None => Ok(Self { token: Token::fresh().ok_or(Refusal::Internal)?, new: true }),
        }
    }

    /// What the forms of this visit carry.
    pub(crate) fn csrf(&self) -> String {
        self.token.derived_text("csrf before sign-in")
    }

    /// What round trips to issuers are bound to.
    pub(crate) fn binding(&self) -> [u8; 32] {
        self.token.derived("round trip")
    }

    /// Sees that the browser has the cookie.
    pub(crate) fn kept(self, site: &Site, mut response: Response) -> Response {
        if self.new {
            Cookie::Visit.give(site, &self.token, &mut response);
        }
        response
    }
}

/// A form of a browser that has not signed in, sent from a page that this very browser was shown.
pub(crate) struct Visiting {
    /// The browser.
    pub(crate) visit: Visit,
    /// What was sent.
    pub(crate) form: Form,
}

impl FromRequest<App> for Visiting {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let form = Form::from_request(request, app).await?;
        let visit = Visit::of(&form.site, &form.parts)?;
        if !visit.new && form.is_of(&visit.csrf()) { Ok(Self { visit, form }) } else { Err(Refusal::Forged) }
    }
}
