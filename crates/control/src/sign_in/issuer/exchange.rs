//! The code for an ID token, once, over the only way out.

use std::time::Duration;

use bytes::Bytes;
use oauth2::{AuthorizationCode, HttpRequest, HttpResponse, PkceCodeVerifier, RedirectUrl};
use store::IssuerRecord;
use url::Url;

use super::provider::Provider;
use super::{NO_ANSWER, RoundTrip};
use crate::App;
use crate::outward::{Bounds, OutwardError};
use crate::pages::Refusal;

/// What an answer of a token endpoint may have.
const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: Duration::from_secs(10) };

/// Exchanges a code.
pub(super) async fn id_token(
    app: &App,
    issuer: &IssuerRecord,
    provider: &Provider,
    code: &str,
    trip: &RoundTrip,
) -> Result<String, Refusal> {
    let secret = app.issuers.secret(issuer).await.map_err(|error| {
        tracing::error!(issuer = %issuer.id, error = %telemetry::chain(&error), "a client secret can't be opened");
        Refusal::Internal
    })?;
    let redirect = RedirectUrl::new(trip.redirect_uri.clone()).map_err(|_| Refusal::Internal)?;
    let client = provider.client(secret.as_ref()).set_redirect_uri(redirect);
    let (outward, tenant) = (app.outward.clone(), issuer.tenant);
    let send = move |request: HttpRequest| {
        let outward = outward.clone();
        async move {
            let (parts, body) = request.into_parts();
            let url = Url::parse(&parts.uri.to_string()).map_err(|_| OutwardError::Https)?;
            let (status, body) = outward.post(tenant, &url, parts.headers, Bytes::from(body), BOUNDS).await?;
            let mut response = HttpResponse::new(body.to_vec());
            *response.status_mut() = status;
            Ok::<_, OutwardError>(response)
        }
    };
    let exchange = client
        .exchange_code(AuthorizationCode::new(code.to_owned()))
        .set_pkce_verifier(PkceCodeVerifier::new(trip.verifier.clone()));
    let answer = exchange.request_async(&send).await.map_err(|error| {
        // The library's own text may quote the answer.
        let reason = match &error {
            oauth2::RequestTokenError::ServerResponse(said) => said.error().to_string(),
            oauth2::RequestTokenError::Request(error) => telemetry::chain(error).to_string(),
            oauth2::RequestTokenError::Parse(..) => "the answer is no token".to_owned(),
            oauth2::RequestTokenError::Other(_) => "the answer is none".to_owned(),
        };
        tracing::warn!(issuer = %issuer.id, reason, "a code was not exchanged");
        NO_ANSWER
    })?;
    answer.extra_fields().id_token.clone().ok_or(NO_ANSWER)
}
