//! The code for a token, once, at the very endpoint that was meant when the person set out; then into the connection.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, StatusCode};
use model::{ConnectionId, ConnectionStatus, Holder, Secret, ServerId, TenantId};
use serde_json::Value;
use store::{Actor, Committed, ConnectionRecord, NewConnection, PutLogin, ServerRecord, StoreError};

use super::client::ClientAuth;
use super::trip::{Connected, Trip};
use super::{BOUNDS, LoginError, UpstreamLogin};
use crate::auth::{ResponseMap, Token, oauth_error};
use crate::keyring::Place;
use crate::outward::Form;
use crate::rest::parse_json;
use crate::timers::scaled;

/// How long it may take to end a login, however long the browser waits.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);
/// How often a token is sealed anew because a refresh came in between.
const TRIES: usize = 4;
/// Characters of what an upstream calls somebody.
const MAX_SUBJECT: usize = 255;

/// Whether an answer of a token endpoint says that it does not know the client: RFC 6749, 5.2.
fn is_dead_client(status: StatusCode, error: Option<&str>) -> bool {
    matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED) && error == Some("invalid_client")
}

impl UpstreamLogin {
    /// Ends a round trip: the connection has the token of the person, or what it had before. In the name of `actor`.
    pub(crate) async fn end(
        &self,
        trip: Trip,
        code: Secret,
        verifier: Secret,
        actor: Actor,
    ) -> Result<Connected, LoginError> {
        let work = self.end_in_time(&trip, &code, &verifier, &actor);
        tokio::time::timeout(scaled(LONGEST), work).await.unwrap_or(Err(LoginError::Slow))
    }

    async fn end_in_time(
        &self,
        trip: &Trip,
        code: &Secret,
        verifier: &Secret,
        actor: &Actor,
    ) -> Result<Connected, LoginError> {
        let tenant = self.store.tenant(TenantId(trip.tenant));
        let server = self.server_of(trip).await?;
        let holder = trip.holder().ok_or(LoginError::Internal)?;
        let client = self.client_of(&server, trip).await?;
        // What is stored from now on is newer than this login, and stays.
        let before = tenant.connection_of(server.spec.id, holder).await?;
        if before.as_ref().is_some_and(|before| before.status == ConnectionStatus::Disabled) {
            return Err(LoginError::Disabled);
        }
        let (token, subject) = self.exchanged(&server, trip, &client, code, verifier).await?;
        // It may have moved while the authorization server took its time.
        let server = self.server_of(trip).await?;
        let Committed { value, revision } = match before {
            Some(before) => self.put(actor, before, &token, subject).await?,
            None => self.create(actor, &server, holder, &token, subject).await?,
        };
        Ok(Connected { connection: value.id, revision, back: trip.back.clone() })
    }

    /// The server, if it is where it was when the person set out: a token for one place is sent to no other.
    async fn server_of(&self, trip: &Trip) -> Result<ServerRecord, LoginError> {
        let server = self.store.tenant(TenantId(trip.tenant)).server(ServerId(trip.server)).await?;
        let server = server.filter(|server| server.enabled).ok_or(LoginError::NotSupported)?;
        if server.spec.url.as_str() == trip.url { Ok(server) } else { Err(LoginError::Superseded) }
    }

    /// The client for which the code was given.
    async fn client_of(&self, server: &ServerRecord, trip: &Trip) -> Result<ClientAuth, LoginError> {
        let settings = super::Settings::of(&self.keyring, server).await?;
        let client = self.client(server, &settings, &trip.issuer, None).await?;
        // Registered anew, or given anew, since: the code is not ours any more.
        if client.id == trip.client_id { Ok(client) } else { Err(LoginError::Superseded) }
    }

    async fn exchanged(
        &self,
        server: &ServerRecord,
        trip: &Trip,
        client: &ClientAuth,
        code: &Secret,
        verifier: &Secret,
    ) -> Result<(Token, Option<String>), LoginError> {
        let mut form = Form::of(&[
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", &trip.redirect_uri),
            ("code_verifier", verifier.expose()),
        ]);
        if let Some(resource) = &trip.resource {
            form.put("resource", resource);
        }
        let mut headers = HeaderMap::new();
        client.sign(&mut headers, &mut form);
        let url = &trip.issuer.token_endpoint;
        let sent = self.outward.post(server.spec.tenant, url, headers, form.bytes(), BOUNDS).await;
        let (status, answer) = sent.map_err(|why| LoginError::Fetch { what: "the token", why })?;
        if !status.is_success() {
            let error = oauth_error(&answer);
            if is_dead_client(status, error.as_deref()) {
                self.forget_client(server, &trip.issuer.issuer, client).await?;
            }
            let code = error.unwrap_or_else(|| format!("status {}", status.as_u16()));
            return Err(LoginError::refused(&code, None));
        }
        let now = self.clock.now_micros();
        let mut token = Token::from_response(&answer, &ResponseMap::default(), now, None).map_err(|error| {
            tracing::info!(server = %server.spec.id, %error, "a token endpoint answered without a token");
            LoginError::NoToken
        })?;
        token.issuer = Some(trip.issuer.issuer.clone());
        token.client_id = Some(client.id.clone());
        token.scope = token.scope.or_else(|| trip.scope.clone());
        Ok((token, subject(&answer)))
    }

    /// Stores the token in a connection that is there; one that was stored in the meantime wins.
    async fn put(
        &self,
        actor: &Actor,
        before: ConnectionRecord,
        token: &Token,
        subject: Option<String>,
    ) -> Result<Committed<ConnectionRecord>, LoginError> {
        let tenant = self.store.tenant(before.tenant);
        let (version, mut generation) = (before.credential_version, before.token_generation);
        for _ in 0..TRIES {
            let put = PutLogin {
                expected_version: version,
                expected_generation: generation,
                token: self.sealed(before.tenant, before.id, generation.saturating_add(1), token).await?,
                expires_at: token.expires_at,
                refreshable: token.refresh_token.is_some(),
                fingerprints: self.keyring.fingerprints(before.tenant, &token.secret_values()).await?,
                credential: None,
                external_subject: subject.clone(),
            };
            match tenant.put_login(actor, before.id, put).await {
                Ok(committed) => return Ok(committed),
                // The old token was refreshed: the person's new one replaces it all the same.
                Err(StoreError::TokenStale { current }) if current != generation => generation = current,
                Err(StoreError::Stale { .. } | StoreError::TokenStale { .. } | StoreError::NotFound) => {
                    return Err(LoginError::Superseded);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(LoginError::Superseded)
    }

    async fn create(
        &self,
        actor: &Actor,
        server: &ServerRecord,
        holder: Holder,
        token: &Token,
        subject: Option<String>,
    ) -> Result<Committed<ConnectionRecord>, LoginError> {
        let (tenant, id) = (server.spec.tenant, ConnectionId::fresh());
        let new = NewConnection {
            external_subject: subject,
            token: Some(self.sealed(tenant, id, 1, token).await?),
            token_expires_at: token.expires_at,
            refreshable: token.refresh_token.is_some(),
            token_fingerprints: self.keyring.fingerprints(tenant, &token.secret_values()).await?,
            ..NewConnection::new(id, server.spec.id, holder)
        };
        match self.store.tenant(tenant).create_connection(actor, new).await {
            Ok(committed) => Ok(committed),
            Err(StoreError::ConnectionExists) => Err(LoginError::Superseded),
            Err(error) => Err(error.into()),
        }
    }

    async fn sealed(
        &self,
        tenant: TenantId,
        id: ConnectionId,
        generation: i64,
        token: &Token,
    ) -> Result<Vec<u8>, LoginError> {
        Ok(self.keyring.seal(Place::token(tenant, id), generation, &token.to_json()).await?)
    }
}

/// What the upstream calls the person, for people: of an ID token that came straight from its issuer. Nothing is
/// allowed by it.
fn subject(answer: &[u8]) -> Option<String> {
    let answer = parse_json(answer).ok()?;
    let payload = answer.get("id_token")?.as_str()?.split('.').nth(1)?.to_owned();
    let claims: Value = parse_json(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    let text = |name: &str| claims.get(name)?.as_str().filter(|text| !text.trim().is_empty()).map(str::to_owned);
    let named = text("email").or_else(|| text("preferred_username")).or_else(|| text("sub"))?;
    (named.chars().count() <= MAX_SUBJECT && !named.chars().any(char::is_control)).then_some(named)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_client_that_is_not_known_is_dead() {
        for (status, error, dead) in [
            (400, Some("invalid_client"), true),
            (401, Some("invalid_client"), true),
            (403, Some("invalid_client"), false),
            (500, Some("invalid_client"), false),
            (400, Some("invalid_client_metadata"), false),
            (400, Some("invalid_grant"), false),
            (400, Some("unauthorized_client"), false),
            (401, None, false),
        ] {
            assert_eq!(is_dead_client(StatusCode::from_u16(status).unwrap(), error), dead, "{status} {error:?}");
        }
    }

    #[test]
    fn people_are_called_as_their_id_token_calls_them() {
        let told = |claims: Value| {
            let token = format!("x.{}.y", URL_SAFE_NO_PAD.encode(claims.to_string()));
            subject(json!({"id_token": token}).to_string().as_bytes())
        };
        assert_eq!(told(json!({"sub": "7", "email": "ann@a.example"})).as_deref(), Some("ann@a.example"));
        assert_eq!(told(json!({"sub": "7", "email": " "})).as_deref(), Some("7"));
        for nothing in [json!({}), json!({"sub": 7}), json!({"sub": "a\nb"}), json!({"sub": "x".repeat(256)})] {
            assert_eq!(told(nothing), None);
        }
        for answer in ["", "{}", r#"{"id_token": "x"}"#, r#"{"id_token": "x.!.y"}"#] {
            assert_eq!(subject(answer.as_bytes()), None);
        }
    }
}
