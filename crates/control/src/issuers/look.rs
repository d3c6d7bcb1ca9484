//! A look at an issuer: its document, and the keys that the document leads to.

use std::time::Duration;

use identity::{KeySet, MAX_KEY_SET};
use model::TenantId;
use store::FetchedKeys;
use url::Url;

use super::discovery::{Discovery, DiscoveryError, place};
use crate::outward::{Bounds, Outward, OutwardError};

/// What each of the two documents may have.
const BOUNDS: Bounds = Bounds { bytes: MAX_KEY_SET, time: Duration::from_secs(10) };

/// Why an issuer's keys can't be had: a sentence for people, who find it in the issuer's record.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LookError {
    /// The issuer's name is not a URL that could have a document.
    #[error("the issuer is not an https URL without query and fragment")]
    Issuer,
    /// The document can't be fetched.
    #[error("its discovery document can't be fetched: {0}")]
    Document(#[source] OutwardError),
    /// The document is of no use.
    #[error("{0}")]
    Discovery(#[from] DiscoveryError),
    /// The keys can't be fetched.
    #[error("its keys can't be fetched: {0}")]
    Keys(#[source] OutwardError),
    /// The keys are of no use.
    #[error("its key set can't be used: {0}")]
    KeySet(#[from] identity::KeySetError),
    /// No key is of a kind that we verify with.
    #[error("its key set has no key for RS256, ES256 or EdDSA")]
    NoKey,
}

impl LookError {
    /// The kind of failure, in the words that upstreams' failures have.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Document(error) | Self::Keys(error) => match error {
                OutwardError::Egress(error) => error.class(),
                OutwardError::Https => "https_required",
                OutwardError::Status(_) => "not_found",
                OutwardError::Slow => "timeout",
                OutwardError::Redirect | OutwardError::TooLong(_) => "protocol",
                OutwardError::Store(_) => "other",
            },
            Self::Issuer | Self::Discovery(_) | Self::KeySet(_) | Self::NoKey => "protocol",
        }
    }
}

/// Looks at the issuer; `now` is what the fetched keys are dated.
pub(super) async fn look(
    outward: &Outward,
    dev: bool,
    tenant: TenantId,
    issuer: &str,
    now: i64,
) -> Result<FetchedKeys, LookError> {
    let url = place(issuer, dev).ok_or(LookError::Issuer)?;
    let metadata = text(outward, tenant, &url).await.map_err(LookError::Document)?;
    let discovery = Discovery::parse(&metadata, issuer, dev)?;
    let document = text(outward, tenant, &discovery.jwks_uri).await.map_err(LookError::Keys)?;
    if KeySet::parse(&document)?.is_empty() {
        return Err(LookError::NoKey);
    }
    Ok(FetchedKeys { document, metadata, at: now })
}

async fn text(outward: &Outward, tenant: TenantId, url: &Url) -> Result<String, OutwardError> {
    let bytes = outward.get(tenant, url, BOUNDS).await?;
    // What is no text is no JSON either.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
