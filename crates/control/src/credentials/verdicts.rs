//! What upstreams said to header lines, as proxies report it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use model::{Clock, ConnectionId, ConnectionStatus};
use store::{ServerRecord, StoreError};
use wire::{Challenge, Verdict};

use super::{Credentials, MINUTES};
use crate::auth::{AuthConfig, TokenSource};

const MINUTE: i64 = 60_000_000;
/// Most of a challenge's scopes that are shown.
const MAX_SCOPES: usize = 500;

/// When each connection was last seen to work, to the minute.
pub(super) struct Minutes {
    clock: Arc<dyn Clock>,
    seen: Mutex<HashMap<(ConnectionId, i64), i64>>,
}

impl Minutes {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seen: Mutex::default() }
    }

    /// Whether this token was not seen to work in this minute.
    fn is_news(&self, connection: ConnectionId, generation: i64) -> bool {
        let minute = self.clock.now_micros().div_euclid(MINUTE);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MINUTES {
            seen.retain(|_, of| *of == minute);
            if seen.len() >= MINUTES {
                seen.clear();
            }
        }
        seen.insert((connection, generation), minute) != Some(minute)
    }

    /// It no longer works.
    fn forget(&self, connection: ConnectionId, generation: i64) {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).remove(&(connection, generation));
    }

    pub(super) fn len(&self) -> usize {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Credentials {
    /// Takes one verdict. One about an older generation changes nothing: a newer token is there.
    pub(super) async fn take(&self, verdict: &Verdict) -> Result<(), StoreError> {
        let Verdict { tenant, server, connection, token_generation, refused } = verdict;
        let tenant = self.inner.store.tenant(*tenant);
        let Some(challenge) = refused else {
            if self.inner.seen.is_news(*connection, *token_generation) {
                let noted = tenant.verdict(*connection, *token_generation, store::Verdict::Accepted).await?;
                if noted {
                    self.inner.refused.over(&(*connection, *token_generation));
                }
            }
            return Ok(());
        };
        self.inner.seen.forget(*connection, *token_generation);
        let Some(record) = tenant.connection(*connection).await? else { return Ok(()) };
        if record.server != *server {
            return Ok(());
        }
        let Some(server) = tenant.server(*server).await? else { return Ok(()) };
        let Some(said) = said(&server, challenge) else { return Ok(()) };
        if said.code == STEP_UP
            && let Err(error) = self.inner.issuing.challenged(&server, challenge).await
        {
            tracing::warn!(server = %server.spec.id, error = %telemetry::chain(&error), "wanted scopes can't be kept");
        }
        if said.status.is_none() && said.code != STEP_UP && record.token_generation == *token_generation {
            self.refused_again(&record);
        }
        let Said { status, code, message } = said;
        let verdict = store::Verdict::Refused { status, code: code.to_owned(), message };
        tenant.verdict(record.id, *token_generation, verdict).await.map(drop)
    }
}

/// What becomes of a connection that was refused.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    status: Option<ConnectionStatus>,
    code: &'static str,
    message: String,
}

/// The code of a refusal that a login for more scopes may heal.
const STEP_UP: &str = "insufficient_scope";

/// `None`: it says nothing of the credential.
fn said(server: &ServerRecord, challenge: &Challenge) -> Option<Said> {
    let config = AuthConfig::from_stored(&server.auth)?;
    let signed_in = matches!(config.source(), TokenSource::AuthorizationCode(_));
    match (challenge.status, challenge.error.as_deref()) {
        (403, Some(STEP_UP)) => {
            let scopes: String = challenge.scope.as_deref().unwrap_or("more").chars().take(MAX_SCOPES).collect();
            let message = format!("the server wants other scopes: {scopes}");
            Some(Said { status: None, code: STEP_UP, message })
        }
        (401, _) if signed_in => {
            let message = "the server refused the token, and the one that was fetched in its place".to_owned();
            Some(Said { status: Some(ConnectionStatus::ReauthRequired), code: "reauth_required", message })
        }
        // A server that says where its metadata is wants people to sign in.
        (401, _) if challenge.resource_metadata.is_some() => {
            let message = "the server refused the credential and wants people to sign in (OAuth)".to_owned();
            Some(Said { status: None, code: "oauth_required", message })
        }
        (401, _) => {
            let message = "the server refused the credential".to_owned();
            Some(Said { status: None, code: "auth_failed", message })
        }
        _ => None,
    }
}
