//! Tokens of the test's making: of issuers that it plays, and of control's signing keys.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Audience, By, Claims, Signer};
use model::{
    ClaimMapping, GrantId, IssuerId, IssuerSpec, KeyId, KeyRole, Resource, SignerId, SignerSpec, SigningAlgorithm,
    TenantId, UserId, UserSpec,
};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::house::{MORNING, tenant};

/// When the clock of every house begins, seconds since 1970.
pub(crate) const NOW: i64 = MORNING / 1_000_000;

/// Somebody in the tenant of every house; the same for the same login.
pub(crate) fn user(login: &str) -> UserSpec {
    UserSpec {
        id: UserId(Uuid::from_u128(login.bytes().fold(1, |id, byte| (id << 8) | u128::from(byte)))),
        tenant: tenant().id,
        login: login.to_owned(),
        external_id: Some(format!("idp|{login}")),
        role: KeyRole::User,
        active: true,
        departments: vec!["sales".to_owned(), "board".to_owned()],
    }
}

/// One of control's signing keys.
pub(crate) struct Signing {
    pub(crate) spec: SignerSpec,
    signer: Signer,
}

impl Signing {
    pub(crate) fn new() -> Self {
        let (signer, _) = Signer::generate(SignerId::fresh()).unwrap();
        let spec = SignerSpec {
            id: signer.id(),
            url: "http://127.0.0.1:5010".to_owned(),
            public: signer.public(),
            until: i64::MAX,
        };
        Self { spec, signer }
    }

    pub(crate) fn resource(&self) -> Resource {
        Resource::Signer(self.spec.clone())
    }

    /// For everything of the tenant, on behalf of a user.
    pub(crate) fn on_behalf(&self, key: KeyId, user: &UserSpec) -> Claims {
        Claims {
            audience: Audience::Tenant(user.tenant),
            tenant: user.tenant,
            user: user.id,
            departments: vec!["board".to_owned(), "ops".to_owned()],
            by: By::Key(key),
            issued_at: NOW,
            expires_at: NOW + 300,
            id: Uuid::new_v4(),
        }
    }

    /// Of a grant that a user made.
    pub(crate) fn granted(&self, grant: GrantId, user: &UserSpec) -> Claims {
        let by = By::Grant { id: grant, client: "https://client.example/client.json".to_owned() };
        Claims { by, expires_at: NOW + 600, ..self.on_behalf("0000000000000000".parse().unwrap(), user) }
    }

    pub(crate) fn sign(&self, claims: &Claims) -> String {
        self.signer.sign(claims)
    }
}

/// An identity provider.
pub(crate) struct Issuing {
    pub(crate) spec: IssuerSpec,
    key: EcdsaKeyPair,
}

impl Issuing {
    /// One of the tenant of every house.
    pub(crate) fn new(issuer: &str) -> Self {
        Self::of(tenant().id, issuer)
    }

    pub(crate) fn of(tenant: TenantId, issuer: &str) -> Self {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let point = key.public_key().as_ref();
        let (x, y) = (encoded(&point[1..33]), encoded(&point[33..]));
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": "one",
            "x": x, "y": y}]});
        let spec = IssuerSpec {
            id: IssuerId::fresh(),
            tenant,
            issuer: issuer.to_owned(),
            audiences: Vec::new(),
            algorithms: SigningAlgorithm::ALL.to_vec(),
            claims: ClaimMapping {
                departments: Some("groups".to_owned()),
                role: Some("role".to_owned()),
                roles: vec![("reader".to_owned(), KeyRole::Viewer), ("boss".to_owned(), KeyRole::PlatformAdmin)],
                ..ClaimMapping::default()
            },
            scope: None,
            unknown_users: false,
            mcp: true,
            keys: keys.to_string(),
            keys_until: i64::MAX,
        };
        Self { spec, key }
    }

    pub(crate) fn resource(&self) -> Resource {
        Resource::Issuer(self.spec.clone())
    }

    /// What an access token of a user says.
    pub(crate) fn claims(&self, login: &str, audience: &str) -> Value {
        json!({
            "iss": self.spec.issuer, "sub": format!("idp|{login}"), "aud": audience, "preferred_username": login,
            "groups": ["support", "night shift"], "iat": NOW, "exp": NOW + 3600, "scope": "openid mcp",
        })
    }

    /// A good token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({"alg": "ES256", "typ": "at+jwt", "kid": "one"}), claims)
    }

    /// The same under another head.
    pub(crate) fn sign_as(&self, head: &Value, claims: &Value) -> String {
        let body = body(head, claims);
        let signature = self.key.sign(&SystemRandom::new(), body.as_bytes()).unwrap();
        format!("{body}.{}", encoded(signature.as_ref()))
    }

    /// The public key as bytes, which a confused verifier would take for a secret.
    pub(crate) fn public(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }
}

/// Head and claims, not signed.
pub(crate) fn body(head: &Value, claims: &Value) -> String {
    format!("{}.{}", encoded(head.to_string().as_bytes()), encoded(claims.to_string().as_bytes()))
}

/// A token with the MAC of a secret.
pub(crate) fn hs256(head: &Value, claims: &Value, secret: &[u8]) -> String {
    let body = body(head, claims);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    format!("{body}.{}", encoded(ring::hmac::sign(&key, body.as_bytes()).as_ref()))
}

/// What the parts of a token say; its signature is left out.
pub(crate) fn read(token: &str) -> (Value, Value) {
    let mut parts = token.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

/// The signature that a token has, under another body.
pub(crate) fn altered(token: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let (mut head, mut claims) = read(token);
    change(&mut head, &mut claims);
    format!("{}.{}", body(&head, &claims), token.rsplit('.').next().unwrap())
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
