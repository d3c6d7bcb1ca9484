//! Who asks.

use serde::Serialize;
use utoipa::ToSchema;

use super::{KeyView, RoleView, TenantView, UserView};

/// Whom the presented key stands for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(crate) struct MeView {
    pub(crate) key: KeyView,
    /// The user of the key; null for a program's key.
    #[schema(required)]
    pub(crate) user: Option<UserView>,
    /// The tenant that requests are about.
    pub(crate) tenant: TenantView,
    /// The weaker of the key's role and the user's.
    pub(crate) role: RoleView,
}
