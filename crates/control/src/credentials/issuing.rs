//! Who grants tokens, as far as refreshing must know: the part that signs people in, or a double in tests.

use async_trait::async_trait;
use model::TenantId;
use serde::Deserialize;
use store::ServerRecord;
use url::Url;
use wire::Challenge;

use super::request::Failure;
use super::unresolved;
use crate::outward::{Bounds, Outward};
use crate::upstream_login::{LoginError, TokenEndpoint, UpstreamLogin, usable};

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
    pub(super) outward: Outward,
    pub(super) dev: bool,
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
        find(&self.outward, tenant, issuer, self.dev).await
    }

    async fn forget_client(&self, server: &ServerRecord, grantor: &Grantor) -> Result<(), LoginError> {
        self.logins.forget_client(server, &grantor.issuer, &grantor.client).await
    }

    async fn challenged(&self, server: &ServerRecord, challenge: &Challenge) -> Result<(), LoginError> {
        self.logins.challenged(server, challenge).await
    }
}

const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: std::time::Duration::from_secs(10) };

#[derive(Deserialize)]
struct Document {
    issuer: String,
    token_endpoint: String,
}

/// The token endpoint of an issuer (RFC 8414, then OpenID Connect). One that signs nobody in has nothing else.
async fn find(outward: &Outward, tenant: TenantId, issuer: &str, dev: bool) -> Result<Url, String> {
    let base = usable(issuer, dev).filter(|url| url.query().is_none());
    let base = base.ok_or_else(|| "the issuer is no https URL without a query".to_owned())?;
    let path = base.path().trim_end_matches('/').to_owned();
    let mut last = "the issuer publishes no metadata".to_owned();
    for place in
        [format!("/.well-known/oauth-authorization-server{path}"), format!("{path}/.well-known/openid-configuration")]
    {
        let mut url = base.clone();
        url.set_path(&place);
        let body = match outward.get(tenant, &url, BOUNDS).await {
            Ok(body) => body,
            Err(error) => {
                last = format!("the issuer's metadata can't be had: {error}");
                continue;
            }
        };
        let Ok(document) = serde_json::from_slice::<Document>(&body) else {
            last = "the issuer's metadata is none".to_owned();
            continue;
        };
        if document.issuer.trim_end_matches('/') != issuer.trim_end_matches('/') {
            return Err("the issuer's metadata names another issuer".to_owned());
        }
        return usable(&document.token_endpoint, dev)
            .ok_or_else(|| "the issuer's token endpoint is no https URL".to_owned());
    }
    Err(last)
}
