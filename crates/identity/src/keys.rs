//! A JSON Web Key Set (RFC 7517), of which only public keys count that can verify what we accept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use model::SigningAlgorithm;

use crate::json::{self, Json, Members};
use crate::{KeySetError, TokenError};

/// The longest set that is read, in bytes.
pub const MAX_KEY_SET: usize = 64 << 10;
/// The most keys of a set that can verify something.
pub const MAX_KEYS: usize = 32;

/// RSA keys of fewer bits are not believed; ring reads none of more than 8192.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The keys of an issuer that can verify something.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<PublicKey>,
}

#[derive(Debug, Clone)]
struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that it is good for.
    algorithm: SigningAlgorithm,
    key: DecodingKey,
}

impl KeySet {
    /// Reads a set. Keys that are of no use here (for encryption, symmetric, private, too short, on other curves, for
    /// other algorithms) are left out, as RFC 7517 asks of sets that have more than one understands.
    pub fn parse(text: &str) -> Result<Self, KeySetError> {
        if text.len() > MAX_KEY_SET {
            return Err(KeySetError::TooLong);
        }
        let set = json::object(text.as_bytes()).ok_or(KeySetError::Malformed)?;
        let Some(Json::List(list)) = set.get("keys") else { return Err(KeySetError::Malformed) };
        let mut keys = Vec::new();
        for entry in list {
            let Json::Object(entry) = entry else { return Err(KeySetError::Malformed) };
            keys.extend(PublicKey::read(entry));
        }
        if keys.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        Ok(Self { keys })
    }

    /// Whether there is a key of this name.
    pub fn has(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.kid.as_deref() == Some(kid))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The one key for this algorithm that has this name or, for a token that names none, the only one there is. Where
    /// two fit there is none: nothing is tried out.
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: SigningAlgorithm) -> Result<&DecodingKey, TokenError> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(&key.key),
            _ => Err(TokenError::UnknownKey),
        }
    }
}

impl PublicKey {
    fn read(entry: &Members) -> Option<Self> {
        let text = |name: &str| entry.get(name).and_then(Json::text);
        let is_for_signatures = entry.get("use").is_none_or(|used| used.text() == Some("sig"));
        let verifies = entry
            .get("key_ops")
            .is_none_or(|operations| operations.texts().is_some_and(|operations| operations.contains(&"verify")));
        // With a private half in the open anybody can sign.
        let is_public = !entry.contains_key("d") && !entry.contains_key("k");
        if !is_for_signatures || !verifies || !is_public {
            return None;
        }
        let (algorithm, key) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (SigningAlgorithm::Rs256, rsa(&bytes(text("n")?)?, &bytes(text("e")?)?)?),
            ("EC", Some("P-256")) => (SigningAlgorithm::Es256, p256(&bytes(text("x")?)?, &bytes(text("y")?)?)?),
            ("OKP", Some("Ed25519")) => (SigningAlgorithm::EdDsa, ed25519(&bytes(text("x")?)?)?),
            _ => return None,
        };
        if entry.get("alg").is_some_and(|named| named.text() != Some(algorithm.as_str())) {
            return None;
        }
        let kid = match entry.get("kid") {
            None => None,
            Some(kid) => Some(kid.text()?.to_owned()),
        };
        Some(Self { kid, algorithm, key })
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Option<DecodingKey> {
    let bits = (modulus.len() * 8).checked_sub(modulus.first()?.leading_zeros() as usize)?;
    let starts_well = modulus.first() != Some(&0) && exponent.first().is_some_and(|first| *first != 0);
    (starts_well && RSA_BITS.contains(&bits)).then(|| DecodingKey::from_rsa_raw_components(modulus, exponent))
}

fn p256(x: &[u8], y: &[u8]) -> Option<DecodingKey> {
    // That the point is on the curve is seen when it verifies.
    (x.len() == 32 && y.len() == 32).then(|| DecodingKey::from_ec_der(&[&[4], x, y].concat()))
}

fn ed25519(x: &[u8]) -> Option<DecodingKey> {
    (x.len() == 32).then(|| DecodingKey::from_ed_der(x))
}
