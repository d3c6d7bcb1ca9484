//! Which single secrets of a server's global connection there are.

use serde::Serialize;
use utoipa::ToSchema;

/// Which secrets there are; never what they are.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Credentials)]
pub(crate) struct CredentialsView {
    fields: CredentialFieldsView,
}

/// By the name of the field.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CredentialFields)]
struct CredentialFieldsView {
    api_key: ConfiguredView,
    token: ConfiguredView,
}

/// Whether there is a secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Configured)]
struct ConfiguredView {
    /// Whether it is set.
    configured: bool,
}

impl CredentialsView {
    /// Says it of both fields.
    pub(crate) fn new(api_key: bool, token: bool) -> Self {
        let [api_key, token] = [api_key, token].map(|configured| ConfiguredView { configured });
        Self { fields: CredentialFieldsView { api_key, token } }
    }
}
