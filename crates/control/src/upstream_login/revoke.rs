//! Telling an authorization server that a token is not wanted any more (RFC 7009). What is stored here goes whatever it
//! says: who revokes a connection is not to depend on somebody else's server.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use store::{ConnectionRecord, ServerRecord};

use super::{LoginError, UpstreamLogin};
use crate::auth::Token;
use crate::keyring::Place;
use crate::outward::{Bounds, Form};
use crate::rest::carried;

/// What the answer may have, and how long it may take.
const BOUNDS: Bounds = Bounds { bytes: 16 << 10, time: Duration::from_secs(10) };

/// What the authorization server was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// It took the token back.
    Revoked,
    /// It has no way to be told, or there is no token of a login.
    Nothing,
    /// It did not answer, or said no; the log has the reason.
    Failed,
}

impl UpstreamLogin {
    /// The same for a connection that is gone here already, beside the answer: nobody waits for somebody else's server.
    pub(crate) fn revoke_beside(self: &Arc<Self>, server: ServerRecord, connection: ConnectionRecord) {
        let login = self.clone();
        tokio::spawn(carried(async move {
            login.revoke(&server, &connection).await;
        }));
    }

    /// Tells the authorization server of a connection, as well as that goes. Changes nothing here.
    pub(crate) async fn revoke(&self, server: &ServerRecord, connection: &ConnectionRecord) -> Told {
        match self.tell(server, connection).await {
            Ok(told) => told,
            Err(LoginError::NotSupported) => Told::Nothing,
            Err(error) => {
                tracing::info!(connection = %connection.id, error = %telemetry::chain(&error), "an authorization server could not be told that a token is revoked");
                Told::Failed
            }
        }
    }

    async fn tell(&self, server: &ServerRecord, connection: &ConnectionRecord) -> Result<Told, LoginError> {
        let Some(sealed) = &connection.token else { return Ok(Told::Nothing) };
        let place = Place::token(connection.tenant, connection.id);
        let plain = self.keyring.open(place, connection.token_generation, sealed).await?;
        let token = Token::from_json(&plain).ok_or(LoginError::Internal)?;
        // Of whom nobody knows who granted it, nobody is told it.
        let Some(issuer) = token.issuer.as_deref() else { return Ok(Told::Nothing) };
        let endpoint = self.token_endpoint(server, Some(issuer)).await?;
        let Some(url) = &endpoint.revocation_url else { return Ok(Told::Nothing) };
        // With the refresh token goes what was granted, the access token with it; some take only that one.
        let refresh = token.refresh_token.as_ref().map(|refresh| (refresh, "refresh_token"));
        let mut told = Told::Nothing;
        for (secret, kind) in refresh.into_iter().chain([(&token.access_token, "access_token")]) {
            let mut form = Form::of(&[("token", secret.expose()), ("token_type_hint", kind)]);
            let mut headers = HeaderMap::new();
            endpoint.client.sign(&mut headers, &mut form);
            let sent = self.outward.post(server.spec.tenant, url, headers, form.bytes(), BOUNDS).await;
            let (status, _) = sent.map_err(|why| LoginError::Fetch { what: "the revocation", why })?;
            told = match (told, status.is_success()) {
                (Told::Failed, _) | (_, false) => Told::Failed,
                (_, true) => Told::Revoked,
            };
        }
        Ok(told)
    }
}
