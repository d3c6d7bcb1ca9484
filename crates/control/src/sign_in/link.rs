//! One-time links, by which people set a password: made by an admin, used once.

use std::time::Duration;

use model::{Secret, UserId};
use store::{Actor, StoreError, TenantStore};

use super::token::Token;
use crate::timers::micros;

/// How long a link lives at least, where nobody says, and at most.
pub(crate) const SHORTEST: Duration = Duration::from_secs(15 * 60);
pub(crate) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A link that nobody has seen yet.
pub(crate) struct Link {
    /// Its path on this service, secret.
    pub(crate) path: Secret,
    /// Microseconds since 1970.
    pub(crate) expires_at: i64,
}

/// Makes a link for a user; `None` if the system has no random bytes.
pub(crate) async fn make(
    tenant: &TenantStore,
    actor: &Actor,
    user: UserId,
    now: i64,
    life: Duration,
) -> Result<Option<Link>, StoreError> {
    let Some(token) = Token::fresh() else { return Ok(None) };
    let expires_at = now.saturating_add(micros(life.clamp(SHORTEST, LONGEST)));
    tenant.create_link(actor, user, token.hash(), expires_at).await?;
    let path = Secret::new(format!("/signin/link/{}", token.text().expose()));
    Ok(Some(Link { path, expires_at }))
}
