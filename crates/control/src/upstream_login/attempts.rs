//! Attempts: what somebody who began a login asks after. An attempt is not the state of a round trip: whoever knows it can
//! end nothing with it.

use model::{ConnectionId, Holder, ServerId};
use store::{LoginAttempt, LoginOutcome, LoginState, NewLoginAttempt, StoreError, TenantStore};
use uuid::Uuid;

use super::trip::LONGEST;
use super::{LoginError, UpstreamLogin};
use crate::timers::micros;

/// How an attempt stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nobody has come back yet.
    Pending,
    /// The token is stored, in this connection.
    Authorized(ConnectionId),
    /// It will not come to an end: a code, and a sentence for people.
    Failed(String, String),
}

/// An attempt, as who made it sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) id: Uuid,
    pub(crate) server: ServerId,
    pub(crate) holder: Holder,
    /// Who made it.
    pub(crate) actor: String,
    pub(crate) outcome: Outcome,
    /// Microseconds since 1970.
    pub(crate) expires_at: i64,
}

impl UpstreamLogin {
    /// Makes an attempt, for this caller to ask after.
    pub(crate) async fn attempt(
        &self,
        tenant: &TenantStore,
        server: ServerId,
        holder: Holder,
        actor: String,
    ) -> Result<View, StoreError> {
        let expires_at = self.clock.now_micros().saturating_add(micros(LONGEST));
        let new = NewLoginAttempt { id: Uuid::new_v4(), server, holder, actor, expires_at };
        let made = tenant.create_login_attempt(new).await?;
        Ok(self.seen(made))
    }

    /// An attempt at this server, however it stands.
    pub(crate) async fn attempt_at(
        &self,
        tenant: &TenantStore,
        server: ServerId,
        id: Uuid,
    ) -> Result<Option<View>, StoreError> {
        let found = tenant.login_attempt(id).await?.filter(|attempt| attempt.server == server);
        Ok(found.map(|attempt| self.seen(attempt)))
    }

    /// Notes how an attempt has ended. That it can't be noted is no reason to take back what was stored.
    pub(crate) async fn finish(&self, tenant: &TenantStore, id: Uuid, ended: Result<ConnectionId, &LoginError>) {
        let outcome = match ended {
            Ok(connection) => LoginOutcome::Authorized(connection),
            Err(error) => LoginOutcome::Failed { error: format!("{} {error}", error.code()) },
        };
        match tenant.finish_login_attempt(id, outcome).await {
            Ok(_) | Err(StoreError::NotFound) => (),
            Err(error) => tracing::warn!(error = %telemetry::chain(&error), "how a login ended could not be noted"),
        }
    }

    fn seen(&self, attempt: LoginAttempt) -> View {
        let LoginAttempt { id, server, holder, actor, state, expires_at, .. } = attempt;
        let outcome = match state {
            LoginState::Authorized(connection) => Outcome::Authorized(connection),
            LoginState::Failed { error } => {
                let (code, text) = error.split_once(' ').unwrap_or(("oauth_failed", &error));
                Outcome::Failed(code.to_owned(), text.to_owned())
            }
            LoginState::Pending if expires_at <= self.clock.now_micros() => {
                Outcome::Failed("expired".to_owned(), "nobody came back within ten minutes".to_owned())
            }
            LoginState::Pending => Outcome::Pending,
        };
        View { id, server, holder, actor, outcome, expires_at }
    }
}
