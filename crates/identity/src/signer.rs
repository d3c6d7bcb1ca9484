//! The key under which control signs, and how a token is written.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use model::{Secret, SignerId, SigningAlgorithm};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use crate::own::{SCOPE, TYPE};
use crate::{By, Claims, OWN_ISSUER, SignerError};

/// An Ed25519 key that signs.
pub struct Signer {
    id: SignerId,
    pair: Ed25519KeyPair,
    public: [u8; 32],
}

impl Signer {
    /// Makes a key; the secret is its PKCS #8 form in base64, to be kept sealed.
    pub fn generate(id: SignerId) -> Result<(Self, Secret), SignerError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| SignerError::Random)?;
        let secret = Secret::new(STANDARD.encode(document.as_ref()));
        Ok((Self::from_pkcs8(id, &secret)?, secret))
    }

    /// Takes up a key that [`Signer::generate`] made.
    pub fn from_pkcs8(id: SignerId, secret: &Secret) -> Result<Self, SignerError> {
        let document = zeroize::Zeroizing::new(STANDARD.decode(secret.expose()).map_err(|_| SignerError::Key)?);
        let pair = Ed25519KeyPair::from_pkcs8(&document).map_err(|_| SignerError::Key)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| SignerError::Key)?;
        Ok(Self { id, pair, public })
    }

    /// The `kid` of its tokens.
    pub fn id(&self) -> SignerId {
        self.id
    }

    /// What proxies verify its tokens with.
    pub fn public(&self) -> [u8; 32] {
        self.public
    }

    /// Writes and signs a token. Many long departments can make it longer than [`crate::MAX_TOKEN`], and no proxy takes
    /// such a token: whoever hands it out looks.
    pub fn sign(&self, claims: &Claims) -> String {
        let header = json!({"alg": SigningAlgorithm::EdDsa.as_str(), "typ": TYPE, "kid": self.id.to_string()});
        let signed = format!("{}.{}", encoded(&header), encoded(&payload(claims)));
        let signature = URL_SAFE_NO_PAD.encode(self.pair.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.id)
    }
}

fn payload(claims: &Claims) -> Value {
    let mut payload = json!({
        "iss": OWN_ISSUER,
        "aud": claims.audience.to_string(),
        "sub": claims.user.to_string(),
        "tid": claims.tenant.to_string(),
        "departments": claims.departments,
        "scope": SCOPE,
        "iat": claims.issued_at,
        "exp": claims.expires_at,
        "jti": claims.id.to_string(),
    });
    let by = match &claims.by {
        By::Key(key) => vec![("act", json!({"sub": key.as_str()}))],
        By::Grant { id, client } => vec![("sid", json!(id.to_string())), ("client_id", json!(client))],
    };
    for (name, value) in by {
        if let Value::Object(members) = &mut payload {
            members.insert(name.to_owned(), value);
        }
    }
    payload
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
