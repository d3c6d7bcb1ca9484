//! Who grants tokens, as far as refreshing must know: the part that signs people in, or a double in tests.

use async_trait::async_trait;
use model::TenantId;
use store::ServerRecord;
use url::Url;
use wire::Challenge;

use super::request::Failure;
use super::unresolved;
use crate::upstream_login::{LoginError, TokenEndpoint, UpstreamLogin};

/// Where and as whom refresh tokens are used.
pub(crate) type Grantor = TokenEndpoint;

/// What refreshing asks of the part that signs people in.
#[async_trait]
pub(crate) trait Issuing: Send + Sync + 'static {
    /// Where the refresh tokens of a server go that `issuer` granted.
    async fn grantor(&self, server: &ServerRecord, issuer: Option<&str>) -> Result<Grantor, Failure>;
    /// The token endpoint that an issuer's document names; else a sentence why there is none.
    async fn token_url(&self, tenant: TenantId, issuer: &str) -> Result<Url, String>;
    /// The client is nobody any more: the next login registers another. One that an admin gave stays.
    async fn forget_client(&self, server: &ServerRecord, grantor: &Grantor) -> Result<(), LoginError>;
    /// The server wants more scopes than the last login asked for.
    async fn challenged(&self, server: &ServerRecord, challenge: &Challenge) -> Result<(), LoginError>;
}

/// The real one.
pub(super) struct Issuers {
    pub(super) logins: std::sync::Arc<UpstreamLogin>,
}

#[async_trait]
impl Issuing for Issuers {
    async fn grantor(&self, server: &ServerRecord, issuer: Option<&str>) -> Result<Grantor, Failure> {
        self.logins.token_endpoint(server, issuer).await.map_err(|error| match error {
            LoginError::NoClient | LoginError::NotSupported | LoginError::OtherServer => {
                let message = format!("somebody has to sign in again: {error}");
                Failure::Unresolved(unresolved("reauth_required", &message))
            }
            error => Failure::Temporary(telemetry::chain(&error).to_string()),
        })
    }

    async fn token_url(&self, tenant: TenantId, issuer: &str) -> Result<Url, String> {
        self.logins.token_url(tenant, issuer).await.map_err(|error| match error {
            LoginError::NoMetadata => "the issuer publishes no metadata".to_owned(),
            error => format!("the issuer's token endpoint can't be found: {}", telemetry::chain(&error)),
        })
    }

    async fn forget_client(&self, server: &ServerRecord, grantor: &Grantor) -> Result<(), LoginError> {
        self.logins.forget_client(server, &grantor.issuer, &grantor.client).await
    }

    async fn challenged(&self, server: &ServerRecord, challenge: &Challenge) -> Result<(), LoginError> {
        self.logins.challenged(server, challenge).await
    }
}
