//! One-time links.

use serde::Serialize;
use utoipa::ToSchema;

/// A link that was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = SignInLink)]
pub(crate) struct SignInLinkView {
    /// Where the user sets a password: shown once, null when the answer is replayed.
    #[schema(required)]
    pub(crate) url: Option<String>,
    /// When it ends, used or not.
    #[schema(format = "date-time")]
    pub(crate) expires_at: String,
}
