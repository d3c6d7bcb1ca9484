//! Tokens that control signs, for a user: in whose name a key's holder calls, or who let a client in.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jsonwebtoken::DecodingKey;
use model::{GrantId, KeyId, ServerId, SignerId, SignerSpec, SigningAlgorithm, TenantId, UserId};
use uuid::Uuid;

use crate::compact::{self, Compact};
use crate::json::{Json, Members};
use crate::mapping::{departments, fits};
use crate::times::Times;
use crate::{OWN_ISSUER, TokenError};

/// The one `typ` of these tokens.
pub(crate) const TYPE: &str = "at+jwt";
/// The one scope of these tokens: calling MCP.
pub const SCOPE: &str = "mcp";
/// No such token lives longer, in seconds.
pub(crate) const MAX_LIFE: i64 = 900;
/// The longest name of a client: it may be a URL.
const MAX_CLIENT: usize = 2048;
/// All claims that there are. A further one might narrow what the token allows, so a proxy that does not know it refuses
/// the token.
const KNOWN: [&str; 12] =
    ["iss", "aud", "sub", "tid", "departments", "scope", "iat", "exp", "jti", "act", "sid", "client_id"];

/// What a token of ours is good for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Audience {
    /// Everything of a tenant.
    Tenant(TenantId),
    /// One server.
    Server(ServerId),
    /// The MCP endpoint at this URL.
    Url(String),
}

impl fmt::Display for Audience {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "urn:gatehouse:tenant:{id}"),
            Self::Server(id) => write!(f, "urn:gatehouse:server:{id}"),
            Self::Url(url) => f.write_str(url),
        }
    }
}

impl FromStr for Audience {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let audience = if let Some(id) = text.strip_prefix("urn:gatehouse:tenant:") {
            uuid(id).map(TenantId).map(Self::Tenant)
        } else if let Some(id) = text.strip_prefix("urn:gatehouse:server:") {
            uuid(id).map(ServerId).map(Self::Server)
        } else {
            let is_url = text.starts_with("https://") || text.starts_with("http://");
            is_url.then(|| Self::Url(text.to_owned()))
        };
        audience.ok_or(TokenError::Claim("aud"))
    }
}

/// Through what a token of ours came to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum By {
    /// The holder of a key with the scope `act_as` asked for it.
    Key(KeyId),
    /// A user let a client in.
    Grant {
        /// What the user allowed.
        id: GrantId,
        /// The client that may use it.
        client: String,
    },
}

/// What a token of ours says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// What it is good for.
    pub audience: Audience,
    /// The tenant in which it is.
    pub tenant: TenantId,
    /// The user in whose name it is.
    pub user: UserId,
    /// The user's departments, in order; at most [`crate::MAX_DEPARTMENTS`].
    pub departments: Vec<String>,
    /// Through what it came to be.
    pub by: By,
    /// When it was made, in seconds since 1970.
    pub issued_at: i64,
    /// When it ends, in seconds since 1970: at most 15 minutes later.
    pub expires_at: i64,
    /// The token's own id.
    pub id: Uuid,
}

impl Claims {
    /// Reads what [`crate::Signer::sign`] wrote and nothing else.
    fn read(payload: &Members, now: i64) -> Result<Self, TokenError> {
        let known: BTreeSet<&str> = KNOWN.into_iter().collect();
        if payload.keys().any(|name| !known.contains(name.as_str())) {
            return Err(TokenError::Malformed);
        }
        let times = Times::judged(payload, now)?;
        let issued_at = times.issued_at.ok_or(TokenError::Claim("iat"))?;
        if !(1..=MAX_LIFE).contains(&(times.expires_at - issued_at)) {
            return Err(TokenError::Claim("exp"));
        }
        if text(payload, "scope")? != SCOPE {
            return Err(TokenError::Scope(SCOPE.to_owned()));
        }
        let departments = match payload.get("departments") {
            Some(list @ Json::List(_)) => departments(list),
            _ => None,
        };
        Ok(Self {
            audience: text(payload, "aud")?.parse()?,
            tenant: TenantId(id(payload, "tid")?),
            user: UserId(id(payload, "sub")?),
            departments: departments.ok_or(TokenError::Claim("departments"))?,
            by: By::read(payload)?,
            issued_at,
            expires_at: times.expires_at,
            id: id(payload, "jti")?,
        })
    }
}

impl By {
    fn read(payload: &Members) -> Result<Self, TokenError> {
        match (payload.get("act"), payload.contains_key("sid") || payload.contains_key("client_id")) {
            (Some(Json::Object(actor)), false) if actor.len() == 1 => {
                let key = actor.get("sub").and_then(Json::text).and_then(|key| key.parse().ok());
                key.map(Self::Key).ok_or(TokenError::Claim("act"))
            }
            (None, true) => {
                let client = text(payload, "client_id")?;
                if !fits(client, MAX_CLIENT) {
                    return Err(TokenError::Claim("client_id"));
                }
                Ok(Self::Grant { id: GrantId(id(payload, "sid")?), client: client.to_owned() })
            }
            _ => Err(TokenError::Claim("act")),
        }
    }
}

/// A key of control's that verifies.
#[derive(Debug, Clone)]
pub struct SignerKey {
    kid: String,
    key: DecodingKey,
    until: i64,
}

impl SignerKey {
    /// Takes what was pushed.
    pub fn new(spec: &SignerSpec) -> Self {
        Self { kid: spec.id.to_string(), key: DecodingKey::from_ed_der(&spec.public), until: spec.until }
    }

    /// What a token says that this key signed and whose time it is; `now` is in seconds since 1970. Whether tenant,
    /// user, key and grant are still there is for whoever has the tables.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        let token = Compact::read(token)?;
        if token.issuer()? != OWN_ISSUER {
            return Err(TokenError::Issuer);
        }
        if token.kind.as_deref() != Some(TYPE) {
            return Err(TokenError::Type);
        }
        if token.algorithm != SigningAlgorithm::EdDsa {
            return Err(TokenError::Algorithm);
        }
        if token.kid.as_deref() != Some(&self.kid) || now.saturating_mul(1_000_000) >= self.until {
            return Err(TokenError::UnknownKey);
        }
        token.verify(&self.key)?;
        Claims::read(&token.payload, now)
    }
}

/// Which key of control's a token says to be signed with; [`TokenError::Issuer`] if it is not one of ours at all.
pub fn signer_of(token: &str) -> Result<SignerId, TokenError> {
    let peek = compact::peek(token)?;
    if peek.issuer != OWN_ISSUER {
        return Err(TokenError::Issuer);
    }
    peek.kid.as_deref().and_then(uuid).map(SignerId).ok_or(TokenError::UnknownKey)
}

fn text<'a>(payload: &'a Members, name: &'static str) -> Result<&'a str, TokenError> {
    payload.get(name).and_then(Json::text).ok_or(TokenError::Claim(name))
}

fn id(payload: &Members, name: &'static str) -> Result<Uuid, TokenError> {
    text(payload, name).and_then(|text| uuid(text).ok_or(TokenError::Claim(name)))
}

/// An id in the one spelling that we write.
fn uuid(text: &str) -> Option<Uuid> {
    Uuid::parse_str(text).ok().filter(|id| id.hyphenated().to_string() == text)
}
