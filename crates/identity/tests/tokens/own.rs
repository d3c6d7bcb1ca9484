//! Tokens that control signs.

use identity::{Audience, By, Claims, OWN_ISSUER, Signer, SignerKey, TokenError, peek, signer_of};
use model::{GrantId, Secret, ServerId, SignerId, TenantId};
use ring::signature::Ed25519KeyPair;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::world::{Control, ISSUER, NOW, Provider, claims, header, payload, signed, signer_spec, with};

const KID: &str = "00000000-0000-0000-0000-000000000005";
const TENANT: &str = "00000000-0000-0000-0000-000000000002";

/// A signer whose key we hold too, to write with it what it never would.
struct Forger {
    pair: Ed25519KeyPair,
    key: SignerKey,
}

impl Forger {
    fn new() -> Self {
        use base64::Engine as _;
        let (signer, secret) = Signer::generate(SignerId(Uuid::from_u128(5))).unwrap();
        let document = base64::engine::general_purpose::STANDARD.decode(secret.expose()).unwrap();
        Self { pair: Ed25519KeyPair::from_pkcs8(&document).unwrap(), key: SignerKey::new(&signer_spec(&signer)) }
    }

    fn verified(&self, header: Value, changes: Value) -> Result<Claims, TokenError> {
        let base = json!({
            "iss": OWN_ISSUER, "aud": format!("urn:gatehouse:tenant:{TENANT}"), "tid": TENANT,
            "sub": "00000000-0000-0000-0000-000000000003", "departments": ["sales"], "scope": "mcp",
            "iat": NOW, "exp": NOW + 300, "jti": "00000000-0000-0000-0000-000000000004",
            "act": {"sub": "0123456789abcdef"},
        });
        let header = with(json!({"alg": "EdDSA", "typ": "at+jwt", "kid": KID}), header).to_string();
        let sign = |message: &[u8]| self.pair.sign(message).as_ref().to_vec();
        self.key.verify(&signed(&header, &with(base, changes).to_string(), sign), NOW)
    }
}

#[test]
fn what_was_signed_reads_back() {
    let control = Control::new();
    let grant = By::Grant { id: GrantId(Uuid::from_u128(9)), client: "https://app.example.com/client.json".to_owned() };
    for audience in [
        Audience::Tenant(TenantId(Uuid::from_u128(2))),
        Audience::Server(ServerId(Uuid::from_u128(8))),
        Audience::Url("http://localhost:5011/servers/notes/mcp".to_owned()),
    ] {
        for by in [claims().by, grant.clone()] {
            let claims = Claims { audience: audience.clone(), by, ..claims() };
            let token = control.signer.sign(&claims);
            assert_eq!(control.key.verify(&token, NOW), Ok(claims));
            assert_eq!(signer_of(&token), Ok(control.signer.id()));
            assert_eq!(peek(&token).unwrap().issuer, OWN_ISSUER);
        }
    }
}

#[test]
fn the_key_is_taken_up_again_from_its_secret() {
    let (signer, secret) = Signer::generate(SignerId(Uuid::from_u128(5))).unwrap();
    let again = Signer::from_pkcs8(signer.id(), &secret).unwrap();
    assert_eq!(again.public(), signer.public());
    assert_eq!(again.sign(&claims()), signer.sign(&claims()));
    assert!(!format!("{again:?}").contains(secret.expose()));
    for bad in ["", "x", "AAAA", &secret.expose()[..secret.expose().len() - 4]] {
        assert!(Signer::from_pkcs8(signer.id(), &Secret::new(bad.to_owned())).is_err());
    }
    let (other, _) = Signer::generate(SignerId(Uuid::from_u128(6))).unwrap();
    assert_ne!(other.public(), signer.public());
}

#[test]
fn another_key_or_another_time_verifies_nothing() {
    let (control, other) = (Control::new(), Control::new());
    let token = control.signer.sign(&claims());
    assert_eq!(other.key.verify(&token, NOW), Err(TokenError::Signature));
    for (now, expected) in [
        (NOW - 60, Ok(claims())),
        (NOW - 61, Err(TokenError::NotYet)),
        (NOW + 359, Ok(claims())),
        (NOW + 360, Err(TokenError::Expired)),
        (NOW + 86_400, Err(TokenError::UnknownKey)),
        (i64::MAX, Err(TokenError::UnknownKey)),
        (i64::MIN, Err(TokenError::NotYet)),
    ] {
        assert_eq!(control.key.verify(&token, now), expected, "{now}");
    }
    let renamed =
        SignerKey::new(&model::SignerSpec { id: SignerId(Uuid::from_u128(6)), ..signer_spec(&control.signer) });
    assert_eq!(renamed.verify(&token, NOW), Err(TokenError::UnknownKey));
}

#[test]
fn the_header_is_exactly_ours() {
    let forger = Forger::new();
    assert!(forger.verified(json!({}), json!({})).is_ok());
    for (header, expected) in [
        (json!({"typ": "JWT"}), TokenError::Type),
        (json!({"typ": null}), TokenError::Type),
        (json!({"typ": "application/at+jwt"}), TokenError::Type),
        (json!({"alg": "ES256"}), TokenError::Algorithm),
        (json!({"alg": "none"}), TokenError::Algorithm),
        (json!({"alg": "HS256"}), TokenError::Algorithm),
        (json!({"kid": null}), TokenError::UnknownKey),
        (json!({"kid": "00000000-0000-0000-0000-000000000006"}), TokenError::UnknownKey),
        (json!({"kid": "00000000000000000000000000000005"}), TokenError::UnknownKey),
        (json!({"kid": format!("{{{KID}}}")}), TokenError::UnknownKey),
        (json!({"crit": ["exp"]}), TokenError::Malformed),
        (json!({"jwk": {"kty": "OKP"}}), TokenError::Malformed),
    ] {
        assert_eq!(forger.verified(header.clone(), json!({})), Err(expected), "{header}");
    }
}

#[test]
fn the_claims_are_exactly_ours() {
    let forger = Forger::new();
    let claim = TokenError::Claim;
    let upper = "00000000-0000-0000-0000-00000000000A";
    let grant = json!({"act": null, "sid": "00000000-0000-0000-0000-000000000009", "client_id": "app"});
    assert!(forger.verified(json!({}), grant.clone()).is_ok());
    assert!(forger.verified(json!({}), json!({"exp": NOW + 900})).is_ok());
    for (changes, expected) in [
        (json!({"iss": "urn:gatehouse:"}), TokenError::Issuer),
        (json!({"iss": ISSUER}), TokenError::Issuer),
        (json!({"iss": null}), claim("iss")),
        (json!({"aud": [format!("urn:gatehouse:tenant:{TENANT}")]}), claim("aud")),
        (json!({"aud": "urn:gatehouse:tenant:x"}), claim("aud")),
        (json!({"aud": format!("urn:gatehouse:tenant:{upper}")}), claim("aud")),
        (json!({"aud": format!("urn:gatehouse:user:{TENANT}")}), claim("aud")),
        (json!({"aud": "localhost:5011/mcp"}), claim("aud")),
        (json!({"aud": null}), claim("aud")),
        (json!({"sub": upper}), claim("sub")),
        (json!({"sub": "ann"}), claim("sub")),
        (json!({"sub": null}), claim("sub")),
        (json!({"tid": null}), claim("tid")),
        (json!({"tid": 2}), claim("tid")),
        (json!({"departments": null}), claim("departments")),
        (json!({"departments": "sales"}), claim("departments")),
        (json!({"departments": vec!["x"; 65]}), claim("departments")),
        (json!({"departments": ["x".repeat(129)]}), claim("departments")),
        (json!({"scope": "mcp admin"}), TokenError::Scope("mcp".to_owned())),
        (json!({"scope": "rest"}), TokenError::Scope("mcp".to_owned())),
        (json!({"scope": ["mcp"]}), claim("scope")),
        (json!({"scope": null}), claim("scope")),
        (json!({"iat": null}), claim("iat")),
        (json!({"exp": null}), claim("exp")),
        (json!({"exp": NOW + 901}), claim("exp")),
        (json!({"exp": NOW}), claim("exp")),
        (json!({"exp": NOW - 1}), claim("exp")),
        (json!({"exp": (NOW + 300) as f64}), claim("exp")),
        (json!({"exp": NOW - 60, "iat": NOW - 300}), TokenError::Expired),
        (json!({"iat": NOW + 61, "exp": NOW + 300}), TokenError::NotYet),
        (json!({"jti": null}), claim("jti")),
        (json!({"jti": "x"}), claim("jti")),
        (json!({"act": null}), claim("act")),
        (json!({"act": {}}), claim("act")),
        (json!({"act": "0123456789abcdef"}), claim("act")),
        (json!({"act": {"sub": "0123456789abcde"}}), claim("act")),
        (json!({"act": {"sub": "0123456789abcdef", "act": {"sub": "x"}}}), claim("act")),
        (with(grant.clone(), json!({"act": {"sub": "0123456789abcdef"}})), claim("act")),
        (json!({"sid": "00000000-0000-0000-0000-000000000009"}), claim("act")),
        (json!({"client_id": "app"}), claim("act")),
        (json!({"act": null, "client_id": "app"}), claim("sid")),
        (json!({"act": null, "sid": "00000000-0000-0000-0000-000000000009"}), claim("client_id")),
        (json!({"act": null, "sid": "9", "client_id": "app"}), claim("sid")),
        (json!({"act": null, "sid": "00000000-0000-0000-0000-000000000009", "client_id": ""}), claim("client_id")),
        (json!({"role": "platform_admin"}), TokenError::Malformed),
        (json!({"servers": ["notes"]}), TokenError::Malformed),
    ] {
        assert_eq!(forger.verified(json!({}), changes.clone()), Err(expected), "{changes}");
    }
}

#[test]
fn an_issuers_token_is_none_of_ours() {
    let provider = Provider::new();
    let control = Control::new();
    let plain = provider.token(json!({}));
    assert_eq!(control.key.verify(&plain, NOW), Err(TokenError::Issuer));
    assert_eq!(signer_of(&plain), Err(TokenError::Issuer));
    // One that says it is ours, with the name of our key, is signed by somebody else.
    let claimed = provider.ed(&with(header(), json!({"kid": KID})), &with(payload(), json!({"iss": OWN_ISSUER})));
    assert_eq!(signer_of(&claimed), Ok(control.signer.id()));
    assert_eq!(control.key.verify(&claimed, NOW), Err(TokenError::Signature));
    let nameless = provider.ed(&with(header(), json!({"kid": null})), &with(payload(), json!({"iss": OWN_ISSUER})));
    assert_eq!(signer_of(&nameless), Err(TokenError::UnknownKey));
}
