//! API keys: the text a person holds, and what the planes need to recognise it.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::digest::Canonical;
use crate::{Digest, KeyId, Secret, TenantId, UserId};

/// What a key's holder may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyRole {
    /// Reads everything of its tenant on control, changes nothing, calls no MCP.
    Viewer,
    /// Calls MCP on the proxy; reads servers, their tools and itself on control.
    User,
    /// Administers one tenant.
    TenantAdmin,
    /// Administers every tenant; picks one with `Gatehouse-Tenant`.
    PlatformAdmin,
}

impl KeyRole {
    /// The word that stands for the role in REST, rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::User => "user",
            Self::TenantAdmin => "tenant_admin",
            Self::PlatformAdmin => "platform_admin",
        }
    }

    /// Every role, the weakest first: of a key and its user the weaker role counts.
    pub const ALL: [Self; 4] = [Self::Viewer, Self::User, Self::TenantAdmin, Self::PlatformAdmin];

    /// Reads the word of [`KeyRole::as_str`]; `client` is an old word for `user`.
    pub fn parse(word: &str) -> Option<Self> {
        let word = if word == "client" { "user" } else { word };
        Self::ALL.into_iter().find(|role| role.as_str() == word)
    }

    /// Whether its holder may call MCP on a proxy.
    pub fn calls_mcp(self) -> bool {
        self != Self::Viewer
    }
}

/// What a key may be used for; of role and scopes the narrower counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyScopes {
    /// Calling MCP on a proxy.
    pub mcp: bool,
    /// Calling REST on control, as far as the role goes.
    pub rest: bool,
    /// Asking control for tokens in the name of users of the tenant.
    pub act_as: bool,
}

impl KeyScopes {
    /// Of which nothing else was said: everything that the role lets do, in the key's own name.
    pub const PLAIN: Self = Self { mcp: true, rest: true, act_as: false };

    /// The words for REST, rows and the wire.
    pub fn words(self) -> impl Iterator<Item = &'static str> {
        let words = [(self.mcp, "mcp"), (self.rest, "rest"), (self.act_as, "act_as")];
        words.into_iter().filter(|(has, _)| *has).map(|(_, word)| word)
    }

    /// Reads the words of [`KeyScopes::words`], in any order; answers the first that is none.
    pub fn parse<'a>(words: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        let mut scopes = Self { mcp: false, rest: false, act_as: false };
        for word in words {
            match word {
                "mcp" => scopes.mcp = true,
                "rest" => scopes.rest = true,
                "act_as" => scopes.act_as = true,
                other => return Err(other),
            }
        }
        Ok(scopes)
    }
}

impl Default for KeyScopes {
    fn default() -> Self {
        Self::PLAIN
    }
}

/// What a process needs to recognise a key: never the key itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyVerifier {
    /// The public part of the key.
    pub id: KeyId,
    /// The tenant that the key belongs to; for a platform admin the tenant used when none is named.
    pub tenant: TenantId,
    /// The user that the key belongs to.
    pub user: Option<UserId>,
    /// What its holder may do.
    pub role: KeyRole,
    /// What the key may be used for.
    pub scopes: KeyScopes,
    /// SHA-256 of the secret part (43 characters of base62, 256 bits: no slow hash needed).
    pub sha256: [u8; 32],
    /// Names of the servers it may use; `None` for all of the tenant's.
    pub servers: Option<Vec<String>>,
    /// When it ends, in microseconds since 1970; `None` for never (only the two keys of `up`).
    pub expires_at: Option<i64>,
}

impl KeyVerifier {
    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("key");
        canonical.text(self.id.as_str());
        canonical.text(&self.tenant.to_string());
        canonical.text(&self.user.map(|user| user.to_string()).unwrap_or_default());
        canonical.text(self.role.as_str());
        canonical.number(self.scopes.words().count() as u64);
        self.scopes.words().for_each(|scope| canonical.text(scope));
        canonical.bytes(&self.sha256);
        canonical.number(self.servers.as_ref().map_or(u64::MAX, |servers| servers.len() as u64));
        for server in self.servers.iter().flatten() {
            canonical.text(server);
        }
        canonical.number(self.expires_at.map_or(u64::MAX, |at| at as u64));
        canonical.finish()
    }
}

/// Why a text is no key. Says nothing of the text itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyTextError {
    /// Not `ghk_<env>_<id>_<secret>_<checksum>`.
    #[error("not a key: expected ghk_<env>_<16>_<43>_<6>")]
    Shape,
    /// The checksum does not fit: mistyped or cut.
    #[error("the key's checksum is wrong: was it cut or mistyped?")]
    Checksum,
}

/// A key as its holder has it: `ghk_<env>_<id 16>_<secret 43>_<crc 6>`, base62, the last part the
/// CRC-32 of everything before its underscore. Parsing refuses typos without any look-up.
pub struct KeyText {
    env: String,
    id: KeyId,
    secret: Secret,
}

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256, so 43 characters carry 256 bits.
const SECRET_LEN: usize = 43;
/// 62^6 > 2^32.
const CRC_LEN: usize = 6;

impl KeyText {
    /// Makes a key from random bytes: 16 for the id (about 95 bits survive), 32 for the secret.
    /// `env` is 1 to 8 lower-case letters or digits, e.g. `live`.
    pub fn mint(env: &str, id: [u8; 16], secret: [u8; 32]) -> Self {
        let id: String = id.iter().map(|byte| char::from(base62(u32::from(*byte) % 62))).collect();
        let secret = Secret::new(to_base62(&secret, SECRET_LEN));
        let id = id.parse().unwrap_or_else(|_| unreachable_id());
        Self { env: env.to_owned(), id, secret }
    }

    /// The public part.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// SHA-256 of the secret part: what is stored and pushed.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.secret.expose().as_bytes()).into()
    }

    /// `SHA-256("gatehouse/evidence" || secret)`: lets control check that a live caller stands behind
    /// a request for a credential (kept by control only, never pushed).
    pub fn evidence(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(b"gatehouse/evidence");
        hash.update(self.secret.expose().as_bytes());
        hash.finalize().into()
    }

    /// The whole key, to be shown once.
    pub fn expose(&self) -> Secret {
        let body = format!("ghk_{}_{}_{}", self.env, self.id, self.secret.expose());
        let crc = checksum(body.as_bytes());
        Secret::new(format!("{body}_{}", crc.map(char::from).iter().collect::<String>()))
    }
}

/// A key as it was presented: what a look-up and a comparison need, the secret already hashed.
/// Reading one allocates nothing; the data plane does it for every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PresentedKey {
    /// The public part.
    pub id: KeyId,
    /// SHA-256 of the secret part.
    pub sha256: [u8; 32],
}

impl FromStr for PresentedKey {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        let parts = Parts::of(text)?;
        Ok(Self { id: parts.id, sha256: Sha256::digest(parts.secret.as_bytes()).into() })
    }
}

impl FromStr for KeyText {
    type Err = KeyTextError;

    fn from_str(text: &str) -> Result<Self, KeyTextError> {
        let parts = Parts::of(text)?;
        Ok(Self { env: parts.env.to_owned(), id: parts.id, secret: Secret::new(parts.secret.to_owned()) })
    }
}

/// The parts of a key whose shape and checksum are right.
struct Parts<'a> {
    env: &'a str,
    id: KeyId,
    secret: &'a str,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Result<Self, KeyTextError> {
        let (body, crc) = text.rsplit_once('_').ok_or(KeyTextError::Shape)?;
        let mut parts = body.split('_');
        let (Some("ghk"), Some(env), Some(id), Some(secret), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(KeyTextError::Shape);
        };
        let env_fits =
            (1..=8).contains(&env.len()) && env.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        let secret_fits = secret.len() == SECRET_LEN && secret.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !env_fits || !secret_fits || crc.len() != CRC_LEN {
            return Err(KeyTextError::Shape);
        }
        let id = id.parse().map_err(|_| KeyTextError::Shape)?;
        if checksum(body.as_bytes()) != crc.as_bytes() {
            return Err(KeyTextError::Checksum);
        }
        Ok(Self { env, id, secret })
    }
}

impl fmt::Debug for KeyText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyText({})", self.id)
    }
}

fn base62(digit: u32) -> u8 {
    BASE62.get(digit as usize).copied().unwrap_or(b'0')
}

/// Sixteen alphanumerics always parse; this keeps `mint` total without a panic.
fn unreachable_id() -> KeyId {
    #[allow(clippy::expect_used, reason = "the literal is 16 alphanumerics")]
    "0000000000000000".parse().expect("a literal id")
}

/// Big-endian bytes as `len` digits of base62, most significant first.
fn to_base62(bytes: &[u8], len: usize) -> String {
    let mut number = bytes.to_vec();
    let mut digits = Vec::with_capacity(len);
    for _ in 0..len {
        let mut rest = 0u32;
        for byte in &mut number {
            let value = (rest << 8) | u32::from(*byte);
            *byte = (value / 62) as u8;
            rest = value % 62;
        }
        digits.push(base62(rest));
    }
    digits.reverse();
    digits.into_iter().map(char::from).collect()
}

/// CRC-32 as six digits of base62.
fn checksum(body: &[u8]) -> [u8; CRC_LEN] {
    let mut crc = crc32fast::hash(body);
    let mut digits = [b'0'; CRC_LEN];
    for digit in digits.iter_mut().rev() {
        *digit = base62(crc % 62);
        crc /= 62;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minted_key_reads_back() {
        let key = KeyText::mint("live", [7; 16], [9; 32]);
        let text = key.expose();
        let read: KeyText = text.expose().parse().unwrap();
        assert_eq!(read.id(), key.id());
        assert_eq!(read.sha256(), key.sha256());
        assert_eq!(text.expose().len(), "ghk_live_".len() + 16 + 1 + 43 + 1 + 6);
    }

    #[test]
    fn one_wrong_character_is_caught_by_the_checksum() {
        let text = KeyText::mint("live", [1; 16], [2; 32]).expose();
        for at in 9..text.expose().len() {
            let mut broken = text.expose().as_bytes().to_vec();
            if broken[at] == b'_' {
                continue;
            }
            broken[at] = if broken[at] == b'x' { b'y' } else { b'x' };
            let broken = String::from_utf8(broken).unwrap();
            assert_eq!(broken.parse::<KeyText>().err(), Some(KeyTextError::Checksum), "at {at}");
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        for text in [
            "",
            "ghk",
            "sk-123",
            "ghk_live_x_y_z",
            "ghk_LIVE_0000000000000000_a_b",
            "ghk_live_0000000000000000__000000",
        ] {
            assert_eq!(text.parse::<KeyText>().err(), Some(KeyTextError::Shape), "{text}");
        }
    }

    #[test]
    fn all_32_bytes_of_a_secret_count() {
        let ones = KeyText::mint("t", [0; 16], [255; 32]).sha256();
        let mut near = [255; 32];
        near[31] = 254;
        assert_ne!(ones, KeyText::mint("t", [0; 16], near).sha256());
    }
}
