//! A token that was just made.

use serde::Serialize;
use utoipa::ToSchema;

/// A token in the name of a user: shown once, kept nowhere.
#[derive(Serialize, ToSchema)]
#[schema(as = NewToken)]
pub(crate) struct NewTokenView {
    /// What MCP clients send as `Authorization: Bearer`.
    pub(crate) token: String,
    /// When it ends.
    #[schema(format = "date-time")]
    pub(crate) expires_at: String,
    /// What it is good for: the tenant, or one server.
    pub(crate) audience: String,
    /// Id of the user in whose name it is.
    #[schema(format = "uuid")]
    pub(crate) user: String,
}
