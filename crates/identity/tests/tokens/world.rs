//! An issuer whose keys we hold, and a signer of control's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Audience, By, Claims, Issued, Signer, SignerKey, TokenError, Verifier};
use model::{ClaimMapping, IssuerId, IssuerSpec, SignerId, SignerSpec, SigningAlgorithm, TenantId, UserId};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};
use uuid::Uuid;

pub(crate) const NOW: i64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://id.example.com";
pub(crate) const URL: &str = "https://gw.example.com/mcp";

pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Sets members of an object; `null` takes one away.
pub(crate) fn with(mut object: Value, changes: Value) -> Value {
    let members = object.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            members.remove(name)
        } else {
            members.insert(name.clone(), value.clone())
        };
    }
    object
}

/// An identity provider with an Ed25519 key `ed` and a P-256 key `ec`.
pub(crate) struct Provider {
    ed: Ed25519KeyPair,
    ec: EcdsaKeyPair,
}

impl Provider {
    pub(crate) fn new() -> Self {
        let random = SystemRandom::new();
        let ed = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        let ec = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self {
            ed: Ed25519KeyPair::from_pkcs8(ed.as_ref()).unwrap(),
            ec: EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, ec.as_ref(), &random).unwrap(),
        }
    }

    pub(crate) fn ed_key(&self) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "ed", "use": "sig", "x": encoded(self.ed.public_key())})
    }

    pub(crate) fn ec_key(&self) -> Value {
        let point = self.ec.public_key().as_ref();
        json!({"kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256",
               "x": encoded(&point[1..33]), "y": encoded(&point[33..])})
    }

    pub(crate) fn spec(&self) -> IssuerSpec {
        spec(&[self.ed_key(), self.ec_key()])
    }

    pub(crate) fn verifier(&self) -> Verifier {
        Verifier::new(&self.spec()).unwrap()
    }

    pub(crate) fn ed(&self, header: &Value, payload: &Value) -> String {
        self.ed_text(&header.to_string(), &payload.to_string())
    }

    pub(crate) fn ed_text(&self, header: &str, payload: &str) -> String {
        signed(header, payload, |message| self.ed.sign(message).as_ref().to_vec())
    }

    pub(crate) fn ec(&self, header: &Value, payload: &Value) -> String {
        let random = SystemRandom::new();
        let sign = |message: &[u8]| self.ec.sign(&random, message).unwrap().as_ref().to_vec();
        signed(&header.to_string(), &payload.to_string(), sign)
    }

    /// A good access token with these changes to its payload.
    pub(crate) fn token(&self, changes: Value) -> String {
        self.ed(&header(), &with(payload(), changes))
    }
}

pub(crate) fn signed(header: &str, payload: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encoded(header), encoded(payload));
    let signature = encoded(sign(message.as_bytes()));
    format!("{message}.{signature}")
}

pub(crate) fn spec(keys: &[Value]) -> IssuerSpec {
    IssuerSpec {
        id: IssuerId(Uuid::from_u128(1)),
        tenant: TenantId(Uuid::from_u128(2)),
        issuer: ISSUER.to_owned(),
        audiences: vec!["gatehouse".to_owned()],
        algorithms: SigningAlgorithm::ALL.to_vec(),
        claims: ClaimMapping::default(),
        scope: None,
        unknown_users: false,
        mcp: true,
        keys: json!({ "keys": keys }).to_string(),
        keys_until: (NOW + 3600) * 1_000_000,
    }
}

pub(crate) fn header() -> Value {
    json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "ed"})
}

pub(crate) fn payload() -> Value {
    json!({"iss": ISSUER, "aud": URL, "sub": "ann", "iat": NOW, "exp": NOW + 300})
}

/// As a proxy asks that serves [`URL`].
pub(crate) fn access(verifier: &Verifier, token: &str) -> Result<Issued, TokenError> {
    verifier.access_token(token, |audience| audience == URL, NOW)
}

/// Control, as far as it signs.
pub(crate) struct Control {
    pub(crate) signer: Signer,
    pub(crate) key: SignerKey,
}

impl Control {
    pub(crate) fn new() -> Self {
        let (signer, _) = Signer::generate(SignerId(Uuid::from_u128(5))).unwrap();
        let key = SignerKey::new(&signer_spec(&signer));
        Self { signer, key }
    }
}

pub(crate) fn signer_spec(signer: &Signer) -> SignerSpec {
    SignerSpec {
        id: signer.id(),
        url: "https://control.example.com".to_owned(),
        public: signer.public(),
        until: (NOW + 86_400) * 1_000_000,
    }
}

pub(crate) fn claims() -> Claims {
    Claims {
        audience: Audience::Tenant(TenantId(Uuid::from_u128(2))),
        tenant: TenantId(Uuid::from_u128(2)),
        user: UserId(Uuid::from_u128(3)),
        departments: vec!["sales".to_owned(), "küche".to_owned()],
        by: By::Key("0123456789abcdef".parse().unwrap()),
        issued_at: NOW,
        expires_at: NOW + 300,
        id: Uuid::from_u128(4),
    }
}
