//! The pages that people see: rendered here, without a script. `/signin` and what follows it, `/account`, and the
//! files that they need.
//!
//! # For whoever adds a page
//!
//! - One line in [`routes`]. [`layer`] gives every answer of a page route its headers (the policy for contents and
//!   framing, no caching, no referrer) and turns every refusal into a page, so handlers return
//!   `Result<Response, Refusal>` and set none of them.
//! - A handler that needs somebody takes [`SignedIn`] as an extractor: who is not signed in goes to `/signin` and
//!   comes back to the very same path and query. `Option<SignedIn>` for a page that is for everybody.
//! - A handler that changes something takes [`Signed`]: the form and who sent it, already held against session,
//!   `Origin`, `Sec-Fetch-Site` and the form's CSRF token. [`Visiting`] is the same for a form before the sign-in.
//!   The form must have `<input type="hidden" name="csrf" value="{{ csrf }}">`; [`SignedIn::csrf`] and
//!   [`Visit::csrf`] have the value.
//! - A template begins with `{% extends "layout.html" %}`, has a field `frame: Frame` and the blocks `title` and
//!   `content`; its links are `{{ frame.prefix }}/path`. [`show`] answers with it. askama escapes everything.
//! - A form whose answer leads elsewhere answers with a page that leads on by itself: browsers hold redirects that
//!   answer a form against `form-action`, each further one too (see `authorization/consent.rs`).
//! - [`Query`] and [`Form`] know each parameter once: one that stands twice is refused.
//! - [`Site`] says under which name the browser knows us: [`Site::url`] for links that leave.

mod account;
mod assets;
mod connect;
mod connections;
mod form;
mod frame;
mod link;
mod refusal;
mod round_trip;
mod signin;
mod toolsets;

use std::sync::LazyLock;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use axum::routing::{MethodRouter, get, post};

pub(crate) use self::connect::allowed_return;
pub(crate) use self::form::{Form, Query, Signed, Visit, Visiting};
pub(crate) use self::frame::{Frame, show};
pub(crate) use self::refusal::Refusal;
use crate::App;
use crate::authorization;
pub(crate) use crate::sign_in::session::SignedIn;
pub(crate) use crate::sign_in::site::Site;

/// A page, or something that pages do.
pub(crate) struct PageRoute {
    #[cfg_attr(not(test), expect(dead_code, reason = "tests visit every page"))]
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) to: MethodRouter<App>,
    /// Asks an issuer or works on a password: not only the database sets how long it takes.
    pub(crate) own_pace: bool,
}

fn route(method: &'static str, path: &'static str, to: MethodRouter<App>) -> PageRoute {
    PageRoute { method, path, to, own_pace: false }
}

fn unhurried(method: &'static str, path: &'static str, to: MethodRouter<App>) -> PageRoute {
    PageRoute { own_pace: true, ..route(method, path, to) }
}

/// Every page of :5010.
#[rustfmt::skip]
pub(crate) fn routes() -> Vec<PageRoute> {
    vec![
        route("GET",      "/signin",                            get(signin::page)),
        unhurried("POST", "/signin",                            post(signin::send)),
        route("GET",      "/signin/link/{token}",               get(link::page)),
        unhurried("POST", "/signin/link/{token}",               post(link::send)),
        route("GET",      "/signin/issuer/{tenant}/{issuer}",   get(round_trip::begin)),
        unhurried("GET",  "/signin/callback",                   get(round_trip::end)),
        route("POST",     "/signout",                           post(account::sign_out)),
        route("GET",      "/account",                           get(account::page)),
        route("POST",     "/account/sessions/{session}/end",    post(account::end_session)),
        route("POST",     "/account/grants/{grant}/revoke",     post(account::revoke_grant)),
        unhurried("GET",  "/oauth/{tenant}/authorize",          get(authorization::page)),
        unhurried("POST", "/oauth/{tenant}/authorize",          post(authorization::decide)),
        route("GET",      "/connect/{tenant}/{server}",         get(connect::page)),
        unhurried("POST", "/connect/{tenant}/{server}",         post(connect::send)),
        unhurried("GET",  "/oauth/callback",                    get(connect::end)),
        route("GET",      "/connections",                       get(connections::page)),
        unhurried("POST", "/connections/{connection}/disconnect", post(connections::disconnect)),
        route("GET",      "/toolsets",                          get(toolsets::page)),
        route("GET",      "/toolsets/{toolset}",                get(toolsets::one)),
        route("GET",      "/assets/{file}",                     get(assets::file)),
    ]
}

/// Whether people see the answers of this route.
fn is_page(path: &str) -> bool {
    static PATHS: LazyLock<Vec<&'static str>> = LazyLock::new(|| routes().iter().map(|route| route.path).collect());
    PATHS.contains(&path)
}

/// What every answer of a page has that says nothing else.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, frame::POLICY),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // `no-referrer` would take the origin from forms, and with it the proof that they are ours.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Makes pages of refusals, and gives every page its headers.
pub(crate) async fn layer(State(app): State<App>, request: Request, next: Next) -> Response {
    let paged = request.extensions().get::<MatchedPath>().is_some_and(|path| is_page(path.as_str()));
    if !paged {
        return next.run(request).await;
    }
    let site = Site::of(&app.config, request.uri(), request.headers());
    let response = next.run(request).await;
    let mut response = refusal::rendered(&app, &site, response);
    complete(response.headers_mut());
    response
}

fn complete(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
}
