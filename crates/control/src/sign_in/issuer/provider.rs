//! What an issuer's own document says of it, as far as a sign-in needs it.

use model::{ClaimMapping, Secret};
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType,
};
use oauth2::{
    AuthType, AuthUrl, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet, ExtraTokenFields,
    StandardRevocableToken, StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use store::IssuerRecord;

use crate::issuers::Issuers;

/// The member of a token answer that OpenID Connect adds.
#[derive(Serialize, Deserialize)]
pub(super) struct WithIdToken {
    #[serde(default)]
    pub(super) id_token: Option<String>,
}

impl ExtraTokenFields for WithIdToken {}

/// Never shown: it is a credential.
impl std::fmt::Debug for WithIdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WithIdToken")
    }
}

/// A client of an issuer, with both of its endpoints.
pub(super) type IssuerClient = Client<
    BasicErrorResponse,
    StandardTokenResponse<WithIdToken, BasicTokenType>,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// Of the document at `/.well-known/openid-configuration`: what only a sign-in asks for.
#[derive(Debug, Default, Deserialize)]
struct Offers {
    scopes_supported: Option<Vec<String>>,
    #[serde(default)]
    claims_parameter_supported: bool,
}

/// An issuer that people can be led to.
pub(super) struct Provider {
    client_id: String,
    authorize: AuthUrl,
    token: TokenUrl,
    /// How the client's secret is sent.
    way: AuthType,
    names_itself: bool,
    offers: Offers,
}

impl Provider {
    /// What was fetched of an issuer; `None` if nothing was yet, or if it has no sign-in for us.
    pub(super) fn of(issuers: &Issuers, record: &IssuerRecord) -> Option<Self> {
        let discovery = issuers.discovery(record)?;
        Some(Self {
            client_id: record.client_id.clone()?,
            authorize: AuthUrl::from_url(discovery.authorization_endpoint?),
            token: TokenUrl::from_url(discovery.token_endpoint?),
            way: if discovery.basic { AuthType::BasicAuth } else { AuthType::RequestBody },
            names_itself: discovery.names_itself,
            offers: serde_json::from_str(record.metadata.as_deref()?).ok()?,
        })
    }

    /// Ourselves, as a client of it.
    pub(super) fn client(&self, secret: Option<&Secret>) -> IssuerClient {
        let client = Client::new(ClientId::new(self.client_id.clone()))
            .set_auth_uri(self.authorize.clone())
            .set_token_uri(self.token.clone())
            .set_auth_type(self.way.clone());
        match secret {
            Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose().to_owned())),
            None => client,
        }
    }

    /// Whether its answers name it (RFC 9207): one that doesn't is then somebody else's.
    pub(super) fn names_itself(&self) -> bool {
        self.names_itself
    }

    /// What is asked for: who it is, and what the mapping may need, as far as the issuer has it.
    pub(super) fn scopes(&self) -> Vec<String> {
        let wanted = ["openid", "profile", "email", "groups"];
        let offered = |scope: &&str| match &self.offers.scopes_supported {
            Some(supported) => *scope == "openid" || has(supported, scope),
            None => *scope != "groups",
        };
        wanted.into_iter().filter(offered).map(str::to_owned).collect()
    }

    /// Asks for the mapped claims in the ID token itself: many issuers keep them out of it otherwise.
    pub(super) fn wanted_claims(&self, mapping: &ClaimMapping) -> Option<String> {
        if !self.offers.claims_parameter_supported {
            return None;
        }
        let mapped =
            [Some(&mapping.login), Some(&mapping.external_id), mapping.departments.as_ref(), mapping.role.as_ref()];
        let claims: Map<String, Value> = mapped
            .into_iter()
            .flatten()
            // A name with dots walks into the object of its first part.
            .flat_map(|name| [Some(name.as_str()), name.split_once('.').map(|(first, _)| first)])
            .flatten()
            .map(|name| (name.to_owned(), Value::Null))
            .collect();
        Some(json!({ "id_token": claims }).to_string())
    }
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|other| other == word)
}
