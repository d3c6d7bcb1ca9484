//! What a page says instead of what was asked for: one enum, one template.

use askama::Template;
use axum::http::header::{LOCATION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{Html, IntoResponse, Response};
use store::StoreError;

use crate::App;
use crate::pages::Frame;
use crate::rest::{Title, trace_id};
use crate::sign_in::site::Site;

/// Why there is another page than the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Nobody is signed in: sign in, then come back to this path of ours.
    SignIn(String),
    /// The form did not come from a page of ours, or from another session's.
    Forged,
    /// The form, or a parameter, is not what our pages send.
    Malformed(&'static str),
    /// No such page, or not for this person.
    NotFound,
    /// The one-time link was used, has ended, or never was.
    Link,
    /// The round trip to an issuer can't be told from one that somebody else began (`oauth_state`).
    State(&'static str),
    /// The same of a login at an upstream.
    Trip(&'static str),
    /// The issuer says no; what it says is shown as text.
    Issuer {
        /// Its code.
        error: String,
        /// Its sentence, if any.
        description: Option<String>,
    },
    /// The issuer can't be used now.
    IssuerDown(&'static str),
    /// The connection that a link is about is not this person's to make.
    NotYours,
    /// An upstream's authorization server said no; what it says is shown as text.
    Denied(String),
    /// A login at an upstream can't go on.
    Login {
        /// Its code.
        code: &'static str,
        /// One sentence.
        text: String,
    },
    /// The issuer vouches for somebody who is nobody here.
    NoAccount {
        /// What the issuer calls them.
        login: Option<String>,
    },
    /// The issuer calls somebody as somebody is called whom a login alone must not open.
    Unbound {
        /// The login.
        login: String,
    },
    /// Somebody who is known and not let in.
    Inactive,
    /// Too many tries; after so many seconds again.
    TooMany(u64),
    /// Too much of it at once.
    Busy,
    /// The database can't be used now.
    Unavailable,
    /// A fault of ours; the log has the reason.
    Internal,
}

impl Refusal {
    /// Its stable code, in the page for programs and tests.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::SignIn(_) => "unauthenticated",
            Self::Forged => "forged_form",
            Self::Malformed(_) => "malformed_form",
            Self::NotFound => "not_found",
            Self::Link => "link_ended",
            Self::State(_) | Self::Trip(_) => "oauth_state",
            Self::Issuer { .. } => "issuer_refused",
            Self::IssuerDown(_) => "issuer_unavailable",
            Self::NotYours => "not_yours",
            Self::Denied(_) => "upstream_refused",
            Self::Login { code, .. } => code,
            Self::NoAccount { .. } => "no_account",
            Self::Unbound { .. } => "not_bound",
            Self::Inactive => "inactive",
            Self::TooMany(_) => "too_many_tries",
            Self::Busy => "busy",
            Self::Unavailable => "database_unavailable",
            Self::Internal => "internal",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::SignIn(_) => StatusCode::SEE_OTHER,
            Self::Malformed(_) | Self::State(_) | Self::Trip(_) | Self::Issuer { .. } | Self::Denied(_) => {
                StatusCode::BAD_REQUEST
            }
            Self::Login { code: "oauth_failed", .. } => StatusCode::BAD_GATEWAY,
            Self::Login { code: "login_not_supported", .. } => StatusCode::BAD_REQUEST,
            Self::Login { .. } => StatusCode::CONFLICT,
            Self::NotYours | Self::Forged | Self::NoAccount { .. } | Self::Unbound { .. } | Self::Inactive => {
                StatusCode::FORBIDDEN
            }
            Self::NotFound | Self::Link => StatusCode::NOT_FOUND,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::IssuerDown(_) | Self::Busy | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::SignIn(_) => "Sign in",
            Self::Forged => "This form can't be trusted",
            Self::Malformed(_) => "This can't be read",
            Self::NotFound => "Not found",
            Self::Link => "This link has ended",
            Self::State(_) | Self::Trip(_) => "This sign-in can't be finished",
            Self::Issuer { .. } => "Your identity provider said no",
            Self::IssuerDown(_) => "Your identity provider can't be used now",
            Self::NotYours => "This is not yours to connect",
            Self::Denied(_) => "The sign-in was refused",
            Self::Login { .. } => "This server can't be connected now",
            Self::NoAccount { .. } => "No account",
            Self::Unbound { .. } => "This account is not bound to your identity provider",
            Self::Inactive => "Not let in",
            Self::TooMany(_) => "Too many tries",
            Self::Busy | Self::Unavailable => "Try again in a moment",
            Self::Internal => "Something went wrong",
        }
    }

    fn text(&self) -> String {
        let fixed = match self {
            Self::SignIn(_) => "Sign in to go on.",
            Self::Forged => {
                "It was not sent from a page of this site, or you have signed in or out since it was opened. Nothing \
                 was changed. Go back, reload the page and send it again."
            }
            Self::Malformed(why) | Self::State(why) | Self::Trip(why) | Self::IssuerDown(why) => why,
            Self::NotFound => "There is no such page, or it is not for you.",
            Self::Link => {
                "It was used already, it is too old, or it is not complete. Ask your administrator for another."
            }
            Self::NotYours => {
                "The link was made for somebody else, or for a connection that only an administrator makes. Nothing was \
                 done. Sign in as whom it was made for, or ask for a link of your own."
            }
            Self::Denied(text) | Self::Login { text, .. } => {
                let mut letters = text.trim_end_matches('.').chars();
                let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
                return format!("{first}{}. Nothing was changed.", letters.as_str());
            }
            Self::Issuer { error, description: None } => return format!("It answered: {error}"),
            Self::Issuer { error, description: Some(text) } => return format!("It answered: {error}: {text}"),
            Self::NoAccount { login: None } => {
                "Your identity provider knows you, and this tenant has no account for you. Ask your administrator."
            }
            Self::NoAccount { login: Some(login) } => {
                return format!(
                    "Your identity provider knows you as {login}, and this tenant has no account for you. Ask your \
                     administrator."
                );
            }
            Self::Unbound { login } => {
                return format!(
                    "Your identity provider knows you as {login}. Here that is the login of an administrator, or of \
                     somebody who has a password, and the login alone is not enough to be them. Ask an administrator \
                     to set your external id (what your identity provider calls you) on that account."
                );
            }
            Self::Inactive => "Your account is switched off. Ask your administrator.",
            Self::TooMany(secs) => return format!("Wait {secs} seconds, then try again."),
            Self::Busy => "Many people sign in at this moment.",
            Self::Unavailable => "The database does not answer.",
            Self::Internal => "The log of the service has the reason.",
        };
        fixed.to_owned()
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound,
            other => {
                tracing::error!(error = %telemetry::chain(&other), "the database failed or refused");
                match other {
                    StoreError::Unavailable(_) | StoreError::Interrupted | StoreError::Uncertain(_) => {
                        Self::Unavailable
                    }
                    _ => Self::Internal,
                }
            }
        }
    }
}

/// The page is made by the layer, which knows where the browser believes to be.
impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage<'a> {
    frame: Frame,
    code: &'a str,
    title: &'a str,
    text: &'a str,
    trace_id: &'a str,
    again: bool,
    connections: bool,
}

/// The page of a refusal; answers of pages that went well stay as they are. A problem of REST's layers (a foreign
/// host, another method, a panic) becomes a page too.
pub(super) fn rendered(app: &App, site: &Site, mut response: Response) -> Response {
    let refusal = response.extensions_mut().remove::<Refusal>();
    let (status, code, title, text) = match (&refusal, response.extensions().get::<Title>()) {
        (Some(Refusal::SignIn(to)), _) => return sign_in(site, to),
        (Some(refusal), _) => (refusal.status(), refusal.code(), refusal.title(), refusal.text()),
        (None, Some(Title(title))) if response.status().is_server_error() => {
            (response.status(), "failed", *title, "Try again in a moment.".to_owned())
        }
        (None, Some(Title(title))) => (response.status(), "refused", *title, "This can't be done here.".to_owned()),
        (None, None) => return response,
    };
    let again = matches!(
        refusal,
        Some(
            Refusal::State(_)
                | Refusal::Issuer { .. }
                | Refusal::IssuerDown(_)
                | Refusal::NoAccount { .. }
                | Refusal::Unbound { .. }
                | Refusal::Inactive
        )
    );
    let connections = matches!(refusal, Some(Refusal::Trip(_) | Refusal::Denied(_) | Refusal::Login { .. }));
    let frame = Frame::of(app, None);
    let page = RefusalPage { frame, code, title, text: &text, trace_id: &trace_id(), again, connections };
    let mut shown = (status, Html(page.render().unwrap_or_else(|_| title.to_owned()))).into_response();
    // Which methods there are, and when to come again.
    for (name, value) in response.headers() {
        if *name == axum::http::header::ALLOW || *name == RETRY_AFTER {
            shown.headers_mut().insert(name, value.clone());
        }
    }
    match refusal {
        Some(Refusal::TooMany(secs)) => shown.headers_mut().insert(RETRY_AFTER, HeaderValue::from(secs)),
        Some(Refusal::Busy | Refusal::Unavailable | Refusal::IssuerDown(_)) => {
            shown.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"))
        }
        _ => None,
    };
    shown
}

fn sign_in(site: &Site, to: &str) -> Response {
    let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("return", to).finish();
    let mut response = StatusCode::SEE_OTHER.into_response();
    if let Ok(to) = HeaderValue::from_str(&site.href(&format!("/signin?{query}"))) {
        response.headers_mut().insert(LOCATION, to);
    }
    response
}
