//! Tokens of a tenant's identity provider: access tokens that MCP clients present, ID tokens of a sign-in.

use model::IssuerSpec;
use subtle::ConstantTimeEq as _;

use crate::compact::Compact;
use crate::json::{Json, Members};
use crate::times::Times;
use crate::{Issued, KeyPrint, KeySet, KeySetError, OWN_ISSUER, TokenError};

/// What RFC 9068 and custom let an access token call itself; many issuers say nothing.
const ACCESS: [Option<&str>; 4] = [Some("at+jwt"), Some("application/at+jwt"), Some("jwt"), None];
const ID: [Option<&str>; 2] = [Some("jwt"), None];
/// Claims that an ID token has and an access token does not. One that says `at+jwt` may have them.
const OF_ID_TOKENS: [&str; 3] = ["nonce", "at_hash", "c_hash"];

/// What Keycloak writes into a claim `typ` of tokens that are not for resource servers.
const OTHER_KINDS: [&str; 4] = ["ID", "Refresh", "Offline", "Logout"];

/// Verifies the tokens of one issuer; made once for each version of its record.
#[derive(Debug, Clone)]
pub struct Verifier {
    spec: IssuerSpec,
    keys: KeySet,
}

impl Verifier {
    /// Reads the issuer's keys.
    pub fn new(spec: &IssuerSpec) -> Result<Self, KeySetError> {
        let keys = KeySet::parse(&spec.keys)?;
        Ok(Self { spec: IssuerSpec { keys: String::new(), ..spec.clone() }, keys })
    }

    /// Whom an access token is about. `accepts` says of an audience whether it is the URL that the token was presented
    /// at; `now` is in seconds since 1970. [`TokenError::Scope`] comes last: the token is good but for that.
    pub fn access_token(&self, token: &str, accepts: impl Fn(&str) -> bool, now: i64) -> Result<Issued, TokenError> {
        let token = Compact::read(token)?;
        if !self.spec.mcp {
            return Err(TokenError::Issuer);
        }
        if !ACCESS.contains(&token.kind.as_deref()) || is_another_use(&token) {
            return Err(TokenError::Type);
        }
        let key = self.verify(&token, now)?;
        let audiences = audiences(&token.payload)?;
        let is_ours = |audience: &&str| accepts(audience) || self.spec.audiences.iter().any(|own| own == audience);
        if !audiences.iter().any(is_ours) {
            return Err(TokenError::Audience);
        }
        let times = Times::judged(&token.payload, now)?;
        let issued = Issued::of(&token.payload, &self.spec.claims, times.expires_at, key)?;
        match &self.spec.scope {
            Some(scope) if !scopes(&token.payload)?.contains(&scope.as_str()) => Err(TokenError::Scope(scope.clone())),
            _ => Ok(issued),
        }
    }

    /// Who signed in: an ID token that answers the request in which `nonce` was sent (OpenID Connect Core, 3.1.3.7).
    pub fn id_token(&self, token: &str, client_id: &str, nonce: &str, now: i64) -> Result<Issued, TokenError> {
        let token = Compact::read(token)?;
        if !ID.contains(&token.kind.as_deref()) {
            return Err(TokenError::Type);
        }
        let key = self.verify(&token, now)?;
        let audiences = audiences(&token.payload)?;
        let party = token.payload.get("azp");
        let is_our_party = party.map_or(audiences.len() == 1, |party| party.text() == Some(client_id));
        if !audiences.contains(&client_id) || !is_our_party {
            return Err(TokenError::Audience);
        }
        let times = Times::judged(&token.payload, now)?;
        if times.issued_at.is_none() {
            return Err(TokenError::Claim("iat"));
        }
        let said = token.payload.get("nonce").and_then(Json::text).ok_or(TokenError::Claim("nonce"))?;
        if nonce.is_empty() || !bool::from(said.as_bytes().ct_eq(nonce.as_bytes())) {
            return Err(TokenError::Claim("nonce"));
        }
        Issued::of(&token.payload, &self.spec.claims, times.expires_at, key)
    }

    /// Whether the issuer still has this key; for how long its keys may be trusted is another question.
    pub fn holds(&self, key: &KeyPrint) -> bool {
        self.keys.holds(key)
    }

    /// The key that signed it, if it is of this issuer, signed in an allowed way by a key that may be trusted now.
    fn verify(&self, token: &Compact<'_>, now: i64) -> Result<KeyPrint, TokenError> {
        if token.issuer()? != self.spec.issuer || self.spec.issuer == OWN_ISSUER {
            return Err(TokenError::Issuer);
        }
        let algorithm = token.algorithm;
        if !self.spec.algorithms.contains(&algorithm) {
            return Err(TokenError::Algorithm);
        }
        if now.saturating_mul(1_000_000) >= self.spec.keys_until {
            return Err(TokenError::UnknownKey);
        }
        let key = self.keys.find(token.kid.as_deref(), algorithm)?;
        token.verify(&key.key)?;
        Ok(key.print)
    }
}

/// Whether a token says that it is no access token, in one of the ways that issuers have.
fn is_another_use(token: &Compact<'_>) -> bool {
    let is_declared = token.kind.as_deref().is_some_and(|kind| kind.ends_with("at+jwt"));
    let is_id_token = OF_ID_TOKENS.iter().any(|name| token.payload.contains_key(*name)) && !is_declared;
    let is_used_otherwise = token.payload.get("token_use").is_some_and(|used| used.text() != Some("access"));
    let claims_a_kind = token.payload.get("typ").and_then(Json::text);
    is_id_token || is_used_otherwise || claims_a_kind.is_some_and(|kind| OTHER_KINDS.contains(&kind))
}

/// One text or a list of texts.
fn audiences(payload: &Members) -> Result<Vec<&str>, TokenError> {
    payload.get("aud").and_then(Json::texts).ok_or(TokenError::Claim("aud"))
}

/// What `scope` (RFC 9068: texts between spaces) and `scp` (of some issuers: such a text, or a list) name.
fn scopes(payload: &Members) -> Result<Vec<&str>, TokenError> {
    let mut scopes = Vec::new();
    for name in ["scope", "scp"] {
        if let Some(value) = payload.get(name) {
            let texts = value.texts().ok_or(TokenError::Claim(name))?;
            scopes.extend(texts.into_iter().flat_map(|text| text.split(' ')));
        }
    }
    Ok(scopes)
}
