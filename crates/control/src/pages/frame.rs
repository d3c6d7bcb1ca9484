//! What all pages have in common: the frame around their content, and their policy.

use askama::Template;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse as _, Response};

use crate::App;
use crate::pages::Refusal;
use crate::sign_in::session::SignedIn;
use crate::sign_in::site;

/// Nothing but our own styles and forms, in no frame. Scripts are named for the console to come.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; \
    connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What stands around the content of a page.
pub(crate) struct Frame {
    /// What stands in front of our paths.
    pub(crate) prefix: String,
    /// Who is signed in.
    pub(crate) who: Option<Who>,
}

/// Somebody who is signed in, as the head of a page shows them.
pub(crate) struct Who {
    /// Their login.
    pub(crate) login: String,
    /// Their tenant's title.
    pub(crate) tenant: String,
    /// For the form that signs them out.
    pub(crate) csrf: String,
}

impl Frame {
    /// Of a page that this person sees, or anybody.
    pub(crate) fn of(app: &App, who: Option<&SignedIn>) -> Self {
        Self {
            prefix: site::prefix(&app.config).to_owned(),
            who: who.map(|who| Who {
                login: who.user().login.clone(),
                tenant: who.tenant().title.clone(),
                csrf: who.csrf(),
            }),
        }
    }
}

/// Answers with a page.
pub(crate) fn show(status: StatusCode, page: &impl Template) -> Result<Response, Refusal> {
    let text = page.render().map_err(|error| {
        tracing::error!(%error, "a page can't be rendered");
        Refusal::Internal
    })?;
    Ok((status, Html(text)).into_response())
}
