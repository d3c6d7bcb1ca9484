//! How a connection does: what people are shown of it beside its record.

use model::ConnectionStatus;
use store::{ConnectionHealth, ConnectionRecord, ServerRecord};

/// What there is of a token that was obtained with the credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenState {
    /// One that is good.
    Authorized,
    /// One that has ended, and can be renewed.
    Refreshable,
    /// One that nobody can renew.
    ReauthRequired,
    /// None.
    None,
}

/// What is shown of a connection beside its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) health: ConnectionHealth,
    pub(crate) token_state: TokenState,
}

impl Shown {
    /// Of a connection of this server, at this instant.
    pub(crate) fn of(server: &ServerRecord, record: &ConnectionRecord, now: i64) -> Self {
        Self { health: record.health(server.spec.binding.as_ref()), token_state: token_state(record, now) }
    }
}

fn token_state(record: &ConnectionRecord, now: i64) -> TokenState {
    if record.status == ConnectionStatus::ReauthRequired {
        return TokenState::ReauthRequired;
    }
    let ended = record.token_expires_at.is_some_and(|at| at <= now);
    match (record.token.is_some(), ended, record.refreshable) {
        (false, ..) => TokenState::None,
        (true, false, _) => TokenState::Authorized,
        (true, true, true) => TokenState::Refreshable,
        (true, true, false) => TokenState::ReauthRequired,
    }
}
