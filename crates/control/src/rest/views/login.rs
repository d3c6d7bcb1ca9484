//! Logins at upstreams.

use serde::Serialize;
use utoipa::ToSchema;

/// A login that waits for somebody with a browser.
#[derive(Serialize, ToSchema)]
#[schema(as = Login)]
pub(crate) struct LoginView {
    /// What to ask after; it opens nothing.
    pub(crate) attempt: String,
    /// Where the person goes, who must sign in to Gatehouse as whom it is for.
    pub(crate) login_url: String,
    /// When the link ends.
    #[schema(format = "date-time")]
    pub(crate) expires_at: String,
}

/// How a login stands.
#[derive(Serialize, ToSchema)]
#[schema(as = LoginState)]
pub(crate) struct LoginStateView {
    /// `pending`, `authorized` or `failed`.
    pub(crate) state: &'static str,
    /// Of one that failed: why.
    #[schema(required)]
    pub(crate) error: Option<LoginErrorView>,
    /// Of one that succeeded: the connection that has the token now.
    #[schema(required)]
    pub(crate) connection: Option<String>,
    /// `authorized`, `refreshable`, `reauth_required` or `none`.
    pub(crate) token_state: &'static str,
    /// Whether a new token can be had without anybody.
    pub(crate) refresh_available: bool,
    /// When the token ends; null for never, or for no token.
    #[schema(required, format = "date-time")]
    pub(crate) expires_at: Option<String>,
}

/// Why a login failed.
#[derive(Serialize, ToSchema)]
#[schema(as = LoginError)]
pub(crate) struct LoginErrorView {
    /// For programs.
    pub(crate) code: String,
    /// One sentence.
    pub(crate) message: String,
}
