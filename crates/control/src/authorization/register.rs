//! The registration endpoint (RFC 7591): open, limited, and for clients that somebody uses.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use store::StoreError;

use crate::App;
use crate::authorization::client::Kind;
use crate::authorization::refusal::{FAULT, Reason, Refusal};
use crate::authorization::registration::{self, Metadata};
use crate::authorization::server::Server;
use crate::authorization::{address, answer, body, clients};
use crate::rest::{Segment, parse_json};
use crate::sign_in::token::Token;

/// Registers.
pub(crate) async fn register(
    State(app): State<App>,
    Segment(named): Segment,
    request: Request,
) -> Result<Response, Refusal> {
    let server = Server::of(&app, &named).await?;
    let (parts, bytes) = body::json(request).await?;
    let now = app.clock.now_micros();
    if !app.authorization.registrations.take(address(&parts), now) {
        return Err(Refusal::new(Reason::SlowDown, "too many registrations; try again in a minute"));
    }
    let not_json = Refusal::new(Reason::InvalidClientMetadata, "the body must be one JSON object without duplicates");
    let metadata = Metadata::read(&parse_json(&bytes).map_err(|_| not_json)?)?;
    let client = metadata.client(id()?, Kind::Registered);
    let record = clients::record(&client, now, now.saturating_add(clients::UNUSED));
    match server.store(&app).create_client(record).await {
        Ok(()) => (),
        Err(StoreError::QuotaClients { .. }) => {
            return Err(Refusal::new(Reason::TemporarilyUnavailable, "too many clients are registered here"));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(answer::json(StatusCode::CREATED, &registration::answer(&client, app.clock.now_secs())))
}

/// A fresh id. No secret, but nobody can guess another client's.
fn id() -> Result<String, Refusal> {
    let token = Token::fresh().ok_or(FAULT)?;
    Ok(format!("ghapp_{}", token.derived_text("client")))
}
