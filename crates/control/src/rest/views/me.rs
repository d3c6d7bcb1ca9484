//! Who asks.

use serde::Serialize;
use utoipa::ToSchema;

use super::{KeyView, RoleView, TenantView, UserView};

/// Who asks.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(crate) struct MeView {
    /// The key that was presented; null for a user who signed in.
    #[schema(required)]
    pub(crate) key: Option<KeyView>,
    /// The user, or whose key it is; null for a program's key.
    #[schema(required)]
    pub(crate) user: Option<UserView>,
    /// The tenant that requests are about.
    pub(crate) tenant: TenantView,
    /// The weaker of the key's role and the user's.
    pub(crate) role: RoleView,
}
