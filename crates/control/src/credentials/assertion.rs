//! A client that says who it is with a token that its private key signs (RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use uuid::Uuid;
use zeroize::Zeroizing;

/// How long an assertion is good, in seconds.
const LIFE: i64 = 120;

/// The kind of assertion, as a token request names it.
pub(super) const KIND: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Why there is no assertion. Says nothing of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum AssertionError {
    /// Not PEM of a private key, or of none that we sign with.
    #[error("the private key is not PEM of an RSA, P-256 or Ed25519 key (PKCS #8, or PKCS #1 for RSA)")]
    Key,
    /// ring would not.
    #[error("the private key can't sign")]
    Sign,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    P256(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    fn read(pem: &str) -> Result<Self, AssertionError> {
        let random = SystemRandom::new();
        match PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| AssertionError::Key)? {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()).map(|key| Self::Rsa(key.into())),
            PrivateKeyDer::Pkcs8(der) => {
                let der = der.secret_pkcs8_der();
                let rsa = || RsaKeyPair::from_pkcs8(der).map(|key| Self::Rsa(key.into()));
                let p256 = || EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random).map(Self::P256);
                let ed25519 = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map(Self::Ed25519);
                ed25519.or_else(|_| p256()).or_else(|_| rsa())
            }
            _ => return Err(AssertionError::Key),
        }
        .map_err(|_| AssertionError::Key)
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::P256(_) => "ES256",
            Self::Ed25519(_) => "EdDSA",
        }
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, AssertionError> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let signed = key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature);
                signed.map(|()| signature).map_err(|_| AssertionError::Sign)
            }
            Self::P256(key) => {
                key.sign(&random, message).map(|it| it.as_ref().to_vec()).map_err(|_| AssertionError::Sign)
            }
            Self::Ed25519(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

/// An assertion of `client` for `audience`; `now` in seconds since 1970.
pub(super) fn sign(
    pem: &str,
    key_id: Option<&str>,
    client: &str,
    audience: &str,
    now: i64,
) -> Result<Zeroizing<String>, AssertionError> {
    let key = Key::read(pem)?;
    let mut head = json!({ "alg": key.algorithm(), "typ": "JWT" });
    if let (Some(head), Some(id)) = (head.as_object_mut(), key_id) {
        head.insert("kid".to_owned(), id.into());
    }
    let claims = json!({
        "iss": client,
        "sub": client,
        "aud": audience,
        "iat": now,
        "exp": now.saturating_add(LIFE),
        "jti": Uuid::new_v4().to_string(),
    });
    let part = |json: &serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let message = format!("{}.{}", part(&head), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())?);
    Ok(Zeroizing::new(format!("{message}.{signature}")))
}

#[cfg(test)]
mod tests {
    use ring::signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, KeyPair as _, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey,
    };

    use super::*;

    /// One key in both forms in which RSA keys lie in files; ring makes none.
    const RSA: [&str; 2] = [include_str!("tests/rsa_pkcs8.pem"), include_str!("tests/rsa_pkcs1.pem")];

    #[test]
    fn r49_an_assertion_is_signed_by_the_key_for_one_audience() {
        let made = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519]
            .map(|algorithm| rcgen::KeyPair::generate_for(algorithm).unwrap().serialize_pem());
        let keys = RSA.map(str::to_owned).into_iter().zip(["RS256"; 2]).chain(made.into_iter().zip(["ES256", "EdDSA"]));
        for (pem, algorithm) in keys {
            let token = sign(&pem, Some("k1"), "our id", "https://id.example/token", 1_000).unwrap();
            let (message, signature) = token.rsplit_once('.').unwrap();
            let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let (head, claims) = message.split_once('.').unwrap();
            let read =
                |part| -> serde_json::Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
            let (head, claims) = (read(head), read(claims));
            let key = Key::read(&pem).unwrap();
            let verified = match &key {
                Key::P256(key) => UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key().as_ref())
                    .verify(message.as_bytes(), &signature),
                Key::Ed25519(key) => {
                    UnparsedPublicKey::new(&ED25519, key.public_key().as_ref()).verify(message.as_bytes(), &signature)
                }
                Key::Rsa(key) => UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref())
                    .verify(message.as_bytes(), &signature),
            };
            verified.unwrap();
            assert_eq!((head["alg"].as_str(), head["kid"].as_str()), (Some(algorithm), Some("k1")));
            assert_eq!((claims["iss"].as_str(), claims["sub"].as_str()), (Some("our id"), Some("our id")));
            assert_eq!(
                (claims["aud"].as_str(), claims["exp"].as_i64()),
                (Some("https://id.example/token"), Some(1_120))
            );
        }
    }

    #[test]
    fn what_is_no_private_key_signs_nothing() {
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "hush", certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
            assert_eq!(sign(pem, None, "a", "b", 0).err(), Some(AssertionError::Key), "{pem}");
        }
    }
}
