//! Sessions: never the secret in the cookie.

use model::SessionId;
use serde::Serialize;
use store::SessionRecord;
use utoipa::ToSchema;

use super::instant;

/// Somebody who is signed in with a browser.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(crate) struct SessionView {
    /// UUID; opens nothing.
    #[schema(format = "uuid")]
    id: String,
    /// Id of the user.
    #[schema(format = "uuid")]
    user: String,
    /// Id of the issuer where the user signed in; null for a password.
    #[schema(required, format = "uuid")]
    issuer: Option<String>,
    /// From where, at the sign-in.
    #[schema(required)]
    ip: Option<String>,
    /// The browser, as it called itself at the sign-in.
    #[schema(required)]
    agent: Option<String>,
    /// Whether this request came with it.
    current: bool,
    #[schema(format = "date-time")]
    created_at: String,
    /// When it was used last, to the minute. After half an hour without use it opens nothing.
    #[schema(format = "date-time")]
    seen_at: String,
    /// When it ends, used or not.
    #[schema(format = "date-time")]
    expires_at: String,
}

impl SessionView {
    /// `this` is the session that asks.
    pub(crate) fn of(record: &SessionRecord, this: Option<SessionId>) -> Self {
        Self {
            id: record.id.to_string(),
            user: record.user.to_string(),
            issuer: record.issuer.map(|issuer| issuer.to_string()),
            ip: record.ip.clone(),
            agent: record.agent.clone(),
            current: this == Some(record.id),
            created_at: instant(record.created_at),
            seen_at: instant(record.seen_at),
            expires_at: instant(record.expires_at),
        }
    }
}
