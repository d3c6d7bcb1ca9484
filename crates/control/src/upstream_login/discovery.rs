//! Finding a server's authorization server: what the server says (RFC 9728), then what that one says (RFC 8414, OpenID
//! Connect); for servers of 2025-03-26 their own origin. Each address that is asked is judged by the address policy.

use std::time::Duration;

use bytes::Bytes;
use model::TenantId;
use url::Url;

use super::error::LoginError;
use super::metadata::{AuthorizationServer, MetadataError, Resource, canonical, token_endpoint};
use super::{UpstreamLogin, places};
use crate::outward::{Bounds, Outward, OutwardError};

/// What one document may have.
const BOUNDS: Bounds = Bounds { bytes: 64 << 10, time: Duration::from_secs(10) };
const OF_SERVER: &str = "the server's metadata";
const OF_ISSUER: &str = "the authorization server's metadata";

/// What is looked for.
pub(super) struct Wanted<'a> {
    pub(super) tenant: TenantId,
    /// Where the protected server is.
    pub(super) url: &'a Url,
    /// Where it said that its metadata is.
    pub(super) said: Option<&'a str>,
    /// The issuer that an admin gave.
    pub(super) issuer: Option<&'a str>,
    /// The issuer that was used before.
    pub(super) before: Option<&'a str>,
    pub(super) dev: bool,
}

/// What was found.
pub(super) struct Found {
    /// The name for which tokens are asked; `None` where nobody said one.
    pub(super) resource: Option<String>,
    /// The server's own scopes.
    pub(super) scopes: Option<Vec<String>>,
    pub(super) server: AuthorizationServer,
}

/// Finds it.
pub(super) async fn find(outward: &Outward, wanted: &Wanted<'_>) -> Result<Found, LoginError> {
    let Wanted { tenant, url, dev, .. } = *wanted;
    match resource(outward, wanted).await? {
        Some(resource) => {
            let issuer = chosen(&resource, wanted.issuer, wanted.before).ok_or(LoginError::OtherServer)?;
            let server = authorization_server(outward, tenant, issuer, dev).await?.ok_or(LoginError::NoMetadata)?;
            Ok(Found { resource: Some(resource.resource), scopes: resource.scopes, server })
        }
        None => {
            let named = Some(canonical(url));
            let server = match wanted.issuer {
                Some(issuer) => in_either_spelling(outward, tenant, issuer, dev).await?,
                None => own(outward, tenant, url, dev).await?,
            };
            Ok(Found { resource: named, scopes: None, server: server.ok_or(LoginError::NoMetadata)? })
        }
    }
}

/// Which of the servers that a resource names is used: the admin's, the one of before, or the first.
fn chosen<'a>(resource: &'a Resource, given: Option<&str>, before: Option<&str>) -> Option<&'a str> {
    let servers = &resource.authorization_servers;
    let named = |issuer: &str| servers.iter().find(|named| *named == issuer).map(String::as_str);
    match given {
        // Settings hold URLs, which are written in one way; names of issuers are texts, which count as they are.
        Some(given) => servers.iter().find(|named| places::are_same(named, given)).map(String::as_str),
        None => before.and_then(named).or_else(|| resource.authorization_servers.first().map(String::as_str)),
    }
}

async fn resource(outward: &Outward, wanted: &Wanted<'_>) -> Result<Option<Resource>, LoginError> {
    for place in places::of_resource(wanted.said, wanted.url, wanted.dev) {
        if let Some(body) = document(outward, wanted.tenant, &place, OF_SERVER).await? {
            return Ok(Some(Resource::parse(&body, wanted.url)?));
        }
    }
    Ok(None)
}

/// The metadata of an issuer, wherever it stands; `None` if it has none.
pub(super) async fn authorization_server(
    outward: &Outward,
    tenant: TenantId,
    issuer: &str,
    dev: bool,
) -> Result<Option<AuthorizationServer>, LoginError> {
    let places = places::of_issuer(issuer, dev).ok_or(MetadataError::Url("issuer"))?;
    for place in places {
        if let Some(body) = document(outward, tenant, &place, OF_ISSUER).await? {
            return Ok(Some(AuthorizationServer::parse(&body, issuer, dev)?));
        }
    }
    Ok(None)
}

impl UpstreamLogin {
    /// The token endpoint in the metadata of an issuer where nobody signs in: nothing else of it is asked for. A place
    /// that fails is no reason not to look at the next one.
    pub(crate) async fn token_url(&self, tenant: TenantId, issuer: &str) -> Result<Url, LoginError> {
        let mut last = LoginError::NoMetadata;
        for place in places::of_issuer(issuer, self.dev).ok_or(MetadataError::Url("issuer"))? {
            match document(&self.outward, tenant, &place, OF_ISSUER).await {
                Ok(None) => (),
                Ok(Some(body)) => match token_endpoint(&body, issuer, self.dev) {
                    Err(MetadataError::Malformed) => last = MetadataError::Malformed.into(),
                    named => return Ok(named?),
                },
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The metadata of a server of 2025-03-26, which is its own authorization server.
async fn own(
    outward: &Outward,
    tenant: TenantId,
    server: &Url,
    dev: bool,
) -> Result<Option<AuthorizationServer>, LoginError> {
    let places = places::of_issuer(&places::own_issuer(server), dev).ok_or(MetadataError::Url("issuer"))?;
    for place in places {
        if let Some(body) = document(outward, tenant, &place, OF_ISSUER).await? {
            return Ok(Some(AuthorizationServer::parse_own(&body, server, dev)?));
        }
    }
    Ok(None)
}

/// The metadata of the issuer that settings name, of whose name nobody said whether it ends in a slash: where its metadata
/// stands does not hang on it, so it is the same server.
async fn in_either_spelling(
    outward: &Outward,
    tenant: TenantId,
    issuer: &str,
    dev: bool,
) -> Result<Option<AuthorizationServer>, LoginError> {
    match authorization_server(outward, tenant, issuer, dev).await {
        Err(LoginError::Metadata(MetadataError::OtherIssuer)) => {
            let other = issuer.strip_suffix('/').map_or_else(|| format!("{issuer}/"), str::to_owned);
            authorization_server(outward, tenant, &other, dev).await
        }
        found => found,
    }
}

/// A document, if it stands there. That there is none is an answer; that nobody answers is not.
async fn document(
    outward: &Outward,
    tenant: TenantId,
    place: &Url,
    what: &'static str,
) -> Result<Option<Bytes>, LoginError> {
    match outward.get(tenant, place, BOUNDS).await {
        Ok(body) => Ok(Some(body)),
        Err(OutwardError::Status(status)) if status.is_client_error() => Ok(None),
        Err(why) => Err(LoginError::Fetch { what, why }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_of_an_admin_counts_then_the_one_of_before_then_the_first() {
        let resource = Resource {
            resource: "https://a.example".to_owned(),
            authorization_servers: vec!["https://one.example".to_owned(), "https://two.example".to_owned()],
            scopes: None,
        };
        let (one, two, other) = ("https://one.example", "https://two.example", "https://other.example");
        for (given, before, expected) in [
            (None, None, Some(one)),
            (None, Some(two), Some(two)),
            (None, Some(other), Some(one)),
            (Some(two), None, Some(two)),
            (Some(two), Some(one), Some(two)),
            // What the server does not name gives no tokens for it.
            (Some(other), Some(one), None),
            (Some("https://one.example/"), None, Some(one)),
            (Some("https://one.example/x"), None, None),
        ] {
            assert_eq!(chosen(&resource, given, before), expected, "{given:?} {before:?}");
        }
    }
}
