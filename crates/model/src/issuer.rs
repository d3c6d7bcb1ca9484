//! Whose tokens are believed: a tenant's own identity provider, and control itself.

use crate::digest::Canonical;
use crate::{Digest, GrantId, IssuerId, KeyRole, SignerId, TenantId};

/// How a token may be signed. Nothing else is verified: no `none`, nothing symmetric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SigningAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl SigningAlgorithm {
    /// Every one of them.
    pub const ALL: [Self; 3] = [Self::Rs256, Self::Es256, Self::EdDsa];

    /// The name that RFC 7518 and RFC 8037 give it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// Reads the name of [`SigningAlgorithm::as_str`].
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// Which claims of an issuer's tokens say what. A name with dots walks into objects (`realm_access.roles`),
/// unless a claim of exactly that name exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimMapping {
    /// Of the login: text.
    pub login: String,
    /// Of the external id: text, unique at the issuer for ever.
    pub external_id: String,
    /// Of the departments: an array of texts, or one text; their order is kept.
    pub departments: Option<String>,
    /// Of the role: a text, or an array of texts of which the strongest role counts.
    pub role: Option<String>,
    /// What the values of the role's claim stand for; other values stand for nothing.
    pub roles: Vec<(String, KeyRole)>,
}

impl Default for ClaimMapping {
    fn default() -> Self {
        Self {
            login: "preferred_username".to_owned(),
            external_id: "sub".to_owned(),
            departments: None,
            role: None,
            roles: Vec::new(),
        }
    }
}

/// An identity provider of one tenant, as proxies need it to verify its access tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerSpec {
    /// The record's id.
    pub id: IssuerId,
    /// The tenant whose issuer it is: no claim can name another one.
    pub tenant: TenantId,
    /// The claim `iss`, byte by byte.
    pub issuer: String,
    /// Values of `aud` that are accepted beside the URL that the token is presented at.
    pub audiences: Vec<String>,
    /// How its tokens may be signed.
    pub algorithms: Vec<SigningAlgorithm>,
    /// Which claims say what.
    pub claims: ClaimMapping,
    /// A scope that an access token must have, if any.
    pub scope: Option<String>,
    /// Whether users without a record come in.
    pub unknown_users: bool,
    /// Whether MCP clients may present its access tokens.
    pub mcp: bool,
    /// Its public keys: a JSON Web Key Set (RFC 7517) of at most 64 KiB.
    pub keys: String,
    /// Until when `keys` may be trusted, microseconds since 1970: a day after they were last fetched.
    pub keys_until: i64,
}

impl IssuerSpec {
    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("issuer");
        canonical.text(&self.id.to_string());
        canonical.text(&self.tenant.to_string());
        canonical.text(&self.issuer);
        canonical.number(self.audiences.len() as u64);
        self.audiences.iter().for_each(|audience| canonical.text(audience));
        canonical.number(self.algorithms.len() as u64);
        self.algorithms.iter().for_each(|algorithm| canonical.text(algorithm.as_str()));
        canonical.text(&self.claims.login);
        canonical.text(&self.claims.external_id);
        for optional in [&self.claims.departments, &self.claims.role, &self.scope] {
            canonical.number(u64::from(optional.is_some()));
            canonical.text(optional.as_deref().unwrap_or_default());
        }
        canonical.number(self.claims.roles.len() as u64);
        for (value, role) in &self.claims.roles {
            canonical.text(value);
            canonical.text(role.as_str());
        }
        canonical.number(u64::from(self.unknown_users));
        canonical.number(u64::from(self.mcp));
        canonical.text(&self.keys);
        canonical.number(self.keys_until as u64);
        canonical.finish()
    }
}

/// A key under which control signs tokens of its own, for all tenants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignerSpec {
    /// The `kid` of its tokens.
    pub id: SignerId,
    /// Where people reach control, without a slash at its end. The authorization server of a tenant is
    /// `{url}/oauth/{tenant}`.
    pub url: String,
    /// The Ed25519 public key.
    pub public: [u8; 32],
    /// When its last token ends, microseconds since 1970.
    pub until: i64,
}

impl SignerSpec {
    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("signer");
        canonical.text(&self.id.to_string());
        canonical.text(&self.url);
        canonical.bytes(&self.public);
        canonical.number(self.until as u64);
        canonical.finish()
    }
}

/// A grant that was taken back while tokens of it may live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RevokedGrant {
    /// The grant: the claim `sid` of its tokens.
    pub id: GrantId,
    /// The tenant it was made in.
    pub tenant: TenantId,
}

impl RevokedGrant {
    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("revoked");
        canonical.text(&self.id.to_string());
        canonical.text(&self.tenant.to_string());
        canonical.finish()
    }
}
