//! Keys: never the key itself, but once.

use serde::Serialize;
use store::KeyRecord;
use utoipa::ToSchema;

use super::{EffectiveView, RoleView, ScopeView, instant};

/// A key's record.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyView {
    /// The public part of the key: the 16 characters after `ghk_…_`.
    id: String,
    /// What it is for.
    label: String,
    role: RoleView,
    /// What it may be used for; of role and scopes the narrower counts.
    scopes: Vec<ScopeView>,
    /// Id of the user whose key it is.
    #[schema(required, format = "uuid")]
    user: Option<String>,
    /// Names of the servers it may use; null for all of the tenant's.
    #[schema(required)]
    servers: Option<Vec<String>>,
    /// Id of the key that it takes the place of.
    #[schema(required)]
    replaces: Option<String>,
    /// Raised by every change; the ETag.
    generation: i64,
    /// When it ends; null for never.
    #[schema(required, format = "date-time")]
    expires_at: Option<String>,
    #[schema(format = "date-time")]
    created_at: String,
    /// When it was revoked.
    #[schema(required, format = "date-time")]
    revoked_at: Option<String>,
    /// When it was used last, to the minute.
    #[schema(required, format = "date-time")]
    last_used_at: Option<String>,
}

impl From<&KeyRecord> for KeyView {
    fn from(record: &KeyRecord) -> Self {
        let verifier = &record.verifier;
        Self {
            id: verifier.id.to_string(),
            label: record.label.clone(),
            role: verifier.role.into(),
            scopes: ScopeView::all_of(verifier.scopes),
            user: verifier.user.map(|user| user.to_string()),
            servers: verifier.servers.clone(),
            replaces: record.replaces.map(|id| id.to_string()),
            generation: record.generation.0,
            expires_at: verifier.expires_at.map(instant),
            created_at: instant(record.created_at),
            revoked_at: record.revoked_at.map(instant),
            last_used_at: record.last_used_at.map(instant),
        }
    }
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = NewKey)]
pub(crate) struct NewKeyView {
    #[serde(flatten)]
    pub(crate) record: KeyView,
    /// The key: shown once, null when the answer is replayed.
    #[schema(required)]
    pub(crate) key: Option<String>,
    pub(crate) effective: EffectiveView,
}
