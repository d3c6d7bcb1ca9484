//! Grants.

use serde::Serialize;
use store::GrantRecord;
use utoipa::ToSchema;

use super::instant;

/// What a user let a client do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Grant)]
pub(crate) struct GrantView {
    /// UUID; the claim `sid` of its tokens.
    #[schema(format = "uuid")]
    id: String,
    /// Id of the user.
    #[schema(format = "uuid")]
    user: String,
    /// Id of the client: a URL, or one that was given at its registration.
    client: String,
    /// What the client called itself.
    client_name: String,
    /// The URL that it may call.
    resource: String,
    /// What it may do there.
    scope: String,
    #[schema(format = "date-time")]
    created_at: String,
    /// When the client last got a token.
    #[schema(format = "date-time")]
    used_at: String,
    /// When it ends, used or not.
    #[schema(format = "date-time")]
    expires_at: String,
    /// When it was revoked.
    #[schema(required, format = "date-time")]
    revoked_at: Option<String>,
}

impl From<&GrantRecord> for GrantView {
    fn from(record: &GrantRecord) -> Self {
        Self {
            id: record.id.to_string(),
            user: record.user.to_string(),
            client: record.client.clone(),
            client_name: record.client_name.clone(),
            resource: record.resource.clone(),
            scope: record.scope.clone(),
            created_at: instant(record.created_at),
            used_at: instant(record.used_at),
            expires_at: instant(record.expires_at),
            revoked_at: record.revoked_at.map(instant),
        }
    }
}
