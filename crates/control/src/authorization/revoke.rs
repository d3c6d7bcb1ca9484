//! The revocation endpoint (RFC 7009): a client gives back what it was let do.

use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::App;
use crate::authorization::exchange::public_client;
use crate::authorization::refusal::{Reason, Refusal};
use crate::authorization::secrets::Kind;
use crate::authorization::server::Server;
use crate::authorization::token::{TOO_MANY, actor};
use crate::authorization::{address, body};
use crate::rest::Segment;

/// Revokes the grant of a refresh token, and with it every access token of the grant. What is no token of ours, or
/// none any more, is gone already, which is what was asked for.
pub(crate) async fn revoke(
    State(app): State<App>,
    Segment(named): Segment,
    request: Request,
) -> Result<Response, Refusal> {
    let server = Server::of(&app, &named).await?;
    let (parts, parameters) = body::form(request).await?;
    let client = public_client(&parameters, &parts.headers)?;
    let token = parameters.need("token")?;
    if !app.authorization.exchanges.take((address(&parts), client.clone()), app.clock.now_micros()) {
        return Err(TOO_MANY);
    }
    // An access token lives for minutes and is in no table: it ends with its grant.
    if token.matches('.').count() == 2 {
        return Err(Refusal::new(Reason::UnsupportedTokenType, "show the refresh token: access tokens end with it"));
    }
    let store = server.store(&app);
    let grant = match Kind::Refresh.hash(token) {
        Some(hash) => store.grant_of_refresh(hash).await?,
        None => None,
    };
    if let Some(grant) = grant {
        if grant.client != client {
            return Err(Refusal::new(Reason::UnauthorizedClient, "the token was made for another client"));
        }
        store.revoke_grant(&actor(&server, &parts, grant.user, &client), grant.id).await?;
    }
    let mut response = StatusCode::OK.into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}
