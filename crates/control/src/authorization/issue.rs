//! Making tokens of a grant: what the user's record says now, and nothing that it said before.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use identity::{Audience, By, Claims};
use model::{ResourceName, Secret, UserId};
use serde_json::json;
use store::{GrantRecord, UserRecord};
use uuid::Uuid;

use crate::App;
use crate::authorization::refusal::{Reason, Refusal};
use crate::authorization::server::Server;
use crate::authorization::{SCOPE, answer};

/// Seconds that an access token lives.
pub(crate) const LIFE: i64 = 600;

/// How long a token under a new key waits for proxies to have heard of the key.
const HEARD: Duration = Duration::from_secs(2);

/// What a client is told whose code or refresh token opens nothing, for whichever reason.
pub(crate) const ENDED: Refusal =
    Refusal::new(Reason::InvalidGrant, "unknown, used, expired or revoked, or it belongs to another request");

/// A user whom tokens may be made for.
pub(crate) async fn user(app: &App, server: &Server, id: UserId) -> Result<UserRecord, Refusal> {
    let user = server.store(app).user(id).await?;
    user.filter(|user| user.active && user.deleted_at.is_none() && user.role.calls_mcp()).ok_or(ENDED)
}

/// The answer of the token endpoint.
pub(crate) async fn tokens(
    app: &App,
    grant: &GrantRecord,
    user: &UserRecord,
    refresh: &Secret,
) -> Result<Response, Refusal> {
    let now = app.clock.now_secs();
    // No token outlives what it was made of.
    let expires_at = (now + LIFE).min(grant.expires_at.div_euclid(1_000_000));
    let claims = Claims {
        audience: Audience::Url(grant.resource.clone()),
        tenant: grant.tenant,
        user: user.id,
        departments: user.departments.iter().map(|department| department.name.to_string()).collect(),
        by: By::Grant { id: grant.id, client: grant.client.clone() },
        issued_at: now,
        expires_at,
        id: Uuid::new_v4(),
    };
    let signed = app.signing.sign(&claims).await.map_err(|error| {
        tracing::error!(error = %telemetry::chain(&error), "a token can't be signed");
        Refusal::new(Reason::TemporarilyUnavailable, "tokens can't be signed now")
    })?;
    if signed.young {
        // A client uses its token at once: proxies should know the key by then.
        let revision = app.store.platform().revision().await?;
        app.proxies.effective(revision, ResourceName::Signer(signed.signer), HEARD).await;
    }
    let tokens = json!({
        "access_token": signed.token.expose(),
        "token_type": "Bearer",
        "expires_in": expires_at - now,
        "refresh_token": refresh.expose(),
        "scope": SCOPE,
    });
    Ok(answer::json(StatusCode::OK, &tokens))
}
