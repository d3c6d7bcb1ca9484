//! The authorization server of a tenant, for MCP clients of people whose company has none that such clients can use.
//!
//! A client reads the [`metadata`], registers ([`register`]) or is described by its own [`document`], sends the person's
//! browser to [`consent`], and exchanges what comes back at [`token`]. All of it is about one tenant, which the path
//! names, and answers 404 unless that tenant has it switched on.
//!
//! What holds it together:
//! - Clients are public. What tells one from another is where its answers go and who began the request: redirect URIs
//!   are compared as they were registered, and PKCE with SHA-256 is no option.
//! - Nothing is kept before the person has said yes, and they are asked every time: a URL that somebody else captured
//!   or made shows the page like any other. The form is bound to the session, and to what the page showed.
//! - A code is good for one minute, once; a second use revokes what came of the first. The same with refresh tokens.
//! - A token says of its user what the record says when it is made: whoever is no longer active gets none, and their
//!   grant ends.

mod answer;
mod body;
mod client;
mod clients;
mod consent;
mod cors;
mod document;
mod documents;
mod exchange;
mod issue;
mod metadata;
mod parameters;
mod pkce;
mod redirect;
mod refusal;
mod register;
mod registration;
mod request;
mod resource;
mod revoke;
mod scheme;
mod secrets;
mod server;
mod shown;
mod token;

use std::net::{IpAddr, Ipv4Addr};

use axum::http::request::Parts;
use axum::routing::{MethodRouter, get, post};
pub(crate) use identity::SCOPE;
use model::UserId;
use telemetry::Metrics;

pub(crate) use self::consent::{decide, page};
pub(crate) use self::cors::{is_open, open};
use self::documents::Documents;
pub(crate) use self::resource::Resource;
use crate::App;
use crate::rates::{self, Rate};
use crate::sign_in::session;
use crate::sign_in::tries::Of;

/// What all authorization servers of this process share.
pub(crate) struct Authorization {
    documents: Documents,
    registrations: Rate<Of>,
    /// Of an address and a client: what failed. Behind a reverse proxy, and with a client that many have, what
    /// succeeds may be much.
    exchanges: Rate<(Of, String)>,
    consents: Rate<UserId>,
}

impl Authorization {
    /// Nobody has asked for anything yet.
    pub(crate) fn new() -> Self {
        Self {
            documents: Documents::default(),
            registrations: Rate::new(10),
            exchanges: Rate::new(60).sharing(6_000),
            consents: Rate::new(10),
        }
    }

    /// Shows how much of its bounds is in use.
    pub(crate) fn show(app: &App, metrics: &Metrics) {
        let shown = app.clone();
        metrics.bound("client_documents", documents::MOST as u64, move || shown.authorization.documents.used());
        let most = 4 * (rates::MOST as u64 + 1);
        let shown = app.clone();
        metrics.bound("authorization_rates", most, move || {
            let Self { registrations, exchanges, consents, .. } = &shown.authorization;
            registrations.used() + exchanges.used() + consents.used() + shown.upstream_login.begins.used()
        });
    }
}

/// Where a request comes from, as far as it is counted.
fn address(parts: &Parts) -> Of {
    Of::address(session::address(parts).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)))
}

/// What clients call by themselves, beside the page at `/oauth/{tenant}/authorize`. No route of REST: who calls has
/// no key, and what may be sent is said by RFCs.
#[rustfmt::skip]
pub(crate) fn routes() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    vec![
        ("GET",  cors::METADATA,  get(metadata::show).options(cors::preflight)),
        ("POST", cors::TOKEN,     post(token::exchange).options(cors::preflight)),
        ("POST", cors::REGISTER,  post(register::register).options(cors::preflight)),
        ("POST", cors::REVOKE,    post(revoke::revoke).options(cors::preflight)),
    ]
}
