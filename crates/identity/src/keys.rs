//! A JSON Web Key Set (RFC 7517), of which only public keys count that can verify what we accept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use model::SigningAlgorithm;
use ring::digest::{Context, SHA256};

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
pub(crate) struct PublicKey {
    kid: Option<String>,
    /// The one algorithm that it is good for.
    algorithm: SigningAlgorithm,
    pub(crate) key: DecodingKey,
    pub(crate) print: KeyPrint,
}

/// What tells one public key from all others, whatever it is called: SHA-256 of its kind and its parts.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyPrint([u8; 32]);

impl KeyPrint {
    fn of(algorithm: SigningAlgorithm, parts: &[&[u8]]) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in std::iter::once(algorithm.as_str().as_bytes()).chain(parts.iter().copied()) {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut print = [0; 32];
        print.iter_mut().zip(hash.finish().as_ref()).for_each(|(byte, hashed)| *byte = *hashed);
        Self(print)
    }
}

impl fmt::Debug for KeyPrint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, second, third, fourth, ..] = self.0;
        write!(f, "KeyPrint({:08x})", u32::from_be_bytes([first, second, third, fourth]))
    }
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

    /// Whether this very key is one of them.
    pub(crate) fn holds(&self, print: &KeyPrint) -> bool {
        self.keys.iter().any(|key| key.print == *print)
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
    pub(crate) fn find(&self, kid: Option<&str>, algorithm: SigningAlgorithm) -> Result<&PublicKey, TokenError> {
        let mut fitting = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid)));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Ok(key),
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
        let part = |name: &str| text(name).and_then(bytes);
        let (algorithm, key, parts) = match (text("kty")?, text("crv")) {
            ("RSA", _) => {
                let (n, e) = (part("n")?, part("e")?);
                (SigningAlgorithm::Rs256, rsa(&n, &e)?, [n, e])
            }
            ("EC", Some("P-256")) => {
                let (x, y) = (part("x")?, part("y")?);
                (SigningAlgorithm::Es256, p256(&x, &y)?, [x, y])
            }
            ("OKP", Some("Ed25519")) => {
                let x = part("x")?;
                (SigningAlgorithm::EdDsa, ed25519(&x)?, [x, Vec::new()])
            }
            _ => return None,
        };
        if entry.get("alg").is_some_and(|named| named.text() != Some(algorithm.as_str())) {
            return None;
        }
        let kid = match entry.get("kid") {
            None => None,
            Some(kid) => Some(kid.text()?.to_owned()),
        };
        let print = KeyPrint::of(algorithm, &parts.each_ref().map(Vec::as_slice));
        Some(Self { kid, algorithm, key, print })
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
