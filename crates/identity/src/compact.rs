//! A token in its compact form, read once and strictly: header, payload, and what the signature is over.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, crypto};
use model::SigningAlgorithm;

use crate::json::{self, Json, Members};
use crate::{MAX_TOKEN, TokenError, ring_provider};

/// The longest name of a key that is looked for.
const MAX_KID: usize = 256;

/// Header parameters that change what is verified, or that would let a token bring its own key. A token that has one is
/// refused rather than read without it.
const REFUSED: [&str; 8] = ["crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "zip"];

/// What a token says of itself, before anybody has verified it: good for choosing who does, and for nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peek {
    /// The claim `iss`.
    pub issuer: String,
    /// The key that it names.
    pub kid: Option<String>,
}

/// Reads who should verify a token.
pub fn peek(token: &str) -> Result<Peek, TokenError> {
    let token = Compact::read(token)?;
    let issuer = token.issuer()?.to_owned();
    Ok(Peek { issuer, kid: token.kid })
}

/// A token that is well-formed, and not verified.
pub(crate) struct Compact<'a> {
    pub(crate) algorithm: SigningAlgorithm,
    pub(crate) kid: Option<String>,
    /// The header's `typ`, in lower case.
    pub(crate) kind: Option<String>,
    pub(crate) payload: Members,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Compact<'a> {
    pub(crate) fn read(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let mut header = part(header)?;
        if REFUSED.iter().any(|name| header.contains_key(*name)) {
            return Err(TokenError::Malformed);
        }
        let algorithm = header.get("alg").and_then(Json::text).ok_or(TokenError::Malformed)?;
        let algorithm = SigningAlgorithm::parse(algorithm).ok_or(TokenError::Algorithm)?;
        let kid = optional_text(&mut header, "kid")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(TokenError::Malformed);
        }
        let kind = optional_text(&mut header, "typ")?.map(|kind| kind.to_ascii_lowercase());
        Ok(Self { algorithm, kid, kind, payload: part(payload)?, signed, signature })
    }

    pub(crate) fn issuer(&self) -> Result<&str, TokenError> {
        self.payload.get("iss").and_then(Json::text).ok_or(TokenError::Claim("iss"))
    }

    /// Whether the key made the signature, over exactly the bytes that were read.
    pub(crate) fn verify(&self, key: &DecodingKey) -> Result<(), TokenError> {
        ring_provider::install();
        let algorithm = ring_provider::name(self.algorithm);
        match crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm) {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(TokenError::Signature),
        }
    }
}

/// An object in base64url, canonical: no padding, no stray bits, nothing else in between.
fn part(text: &str) -> Result<Members, TokenError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)?;
    json::object(&bytes).ok_or(TokenError::Malformed)
}

fn optional_text(members: &mut Members, name: &str) -> Result<Option<String>, TokenError> {
    match members.remove(name) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::Malformed),
    }
}
