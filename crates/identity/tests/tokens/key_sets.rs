//! Which keys of a set count.

use identity::{KeySet, KeySetError, MAX_KEY_SET, MAX_KEYS};
use serde_json::{Value, json};

use crate::rsa::{RSA_1024_KEY, RSA_2040_KEY, RSA_2048_KEY};
use crate::world::{Provider, encoded, with};

fn count(keys: &[Value]) -> usize {
    KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap().len()
}

#[test]
fn only_public_keys_for_signatures_of_our_algorithms_count() {
    let provider = Provider::new();
    let (ed, ec) = (provider.ed_key(), provider.ec_key());
    let rsa: Value = RSA_2048_KEY.parse().unwrap();
    let leading_zero = |key: &Value| {
        let modulus = [&[0][..], &[0xff; 256]].concat();
        with(key.clone(), json!({"n": encoded(modulus)}))
    };
    for (case, key, usable) in [
        ("ed", ed.clone(), true),
        ("ec", ec.clone(), true),
        ("rsa", rsa.clone(), true),
        ("no use", with(ed.clone(), json!({"use": null})), true),
        ("for encryption", with(ed.clone(), json!({"use": "enc"})), false),
        ("for something odd", with(ed.clone(), json!({"use": ["sig"]})), false),
        ("verifies", with(ed.clone(), json!({"key_ops": ["verify"]})), true),
        ("signs", with(ed.clone(), json!({"key_ops": ["sign"]})), false),
        ("odd operations", with(ed.clone(), json!({"key_ops": 1})), false),
        ("its algorithm", with(ed.clone(), json!({"alg": "EdDSA"})), true),
        ("for another algorithm", with(rsa.clone(), json!({"alg": "PS256"})), false),
        ("for a key exchange", with(ec.clone(), json!({"alg": "ECDH-ES"})), false),
        ("an odd algorithm", with(ed.clone(), json!({"alg": 1})), false),
        ("symmetric", json!({"kty": "oct", "kid": "k", "alg": "HS256", "k": encoded("secret")}), false),
        ("symmetric in disguise", with(ed.clone(), json!({"k": encoded("secret")})), false),
        ("with its private half", with(ed.clone(), json!({"d": encoded([1; 32])})), false),
        ("rsa with its private half", with(rsa.clone(), json!({"d": encoded([1; 256])})), false),
        ("rsa of 2040 bits", RSA_2040_KEY.parse().unwrap(), false),
        ("rsa of 1024 bits", RSA_1024_KEY.parse().unwrap(), false),
        ("rsa of 8200 bits", with(rsa.clone(), json!({"n": encoded([0xff; 1025])})), false),
        ("rsa with a zero in front", leading_zero(&rsa), false),
        ("rsa without modulus", with(rsa.clone(), json!({"n": ""})), false),
        ("rsa without exponent", with(rsa.clone(), json!({"e": ""})), false),
        ("rsa with padding", with(rsa.clone(), json!({"e": "AQAB="})), false),
        ("rsa in numbers", with(rsa.clone(), json!({"n": 17})), false),
        ("on P-384", with(ec.clone(), json!({"crv": "P-384", "alg": "ES384"})), false),
        ("on secp256k1", with(ec.clone(), json!({"crv": "secp256k1", "alg": "ES256K"})), false),
        ("on no curve", with(ec.clone(), json!({"crv": null})), false),
        ("half a point", with(ec.clone(), json!({"y": null})), false),
        ("a short point", with(ec.clone(), json!({"y": encoded([1; 31])})), false),
        ("a long point", with(ec.clone(), json!({"x": encoded([1; 33])})), false),
        ("for X25519", with(ed.clone(), json!({"crv": "X25519"})), false),
        ("for Ed448", with(ed.clone(), json!({"crv": "Ed448", "x": encoded([1; 57])})), false),
        ("a short ed", with(ed.clone(), json!({"x": encoded([1; 31])})), false),
        ("P-256 as OKP", with(ec.clone(), json!({"kty": "OKP"})), false),
        ("an odd kid", with(ed.clone(), json!({"kid": 7})), false),
        ("no kty", with(ed.clone(), json!({"kty": null})), false),
        ("nothing", json!({}), false),
    ] {
        assert_eq!(count(std::slice::from_ref(&key)), usize::from(usable), "{case}");
        assert_eq!(count(&[key, ed.clone()]), usize::from(usable) + 1, "{case}, beside a good one");
    }
}

#[test]
fn a_set_is_read_strictly() {
    for bad in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[1]}"#,
        r#"{"keys":[]} x"#,
        r#"{"keys":[],"keys":[]}"#,
        r#"{"keys":[{"kty":"RSA","kty":"EC"}]}"#,
        "<html></html>",
    ] {
        assert_eq!(KeySet::parse(bad).err(), Some(KeySetError::Malformed), "{bad}");
    }
    assert!(KeySet::parse(r#"{"keys":[]}"#).unwrap().is_empty());
    assert_eq!(KeySet::parse(r#"{"keys":[],"issuer":"x"}"#).unwrap().len(), 0);
}

#[test]
fn a_set_is_bounded() {
    let key = Provider::new().ed_key();
    let many = |count: usize| json!({"keys": vec![key.clone(); count]}).to_string();
    assert_eq!(KeySet::parse(&many(MAX_KEYS)).unwrap().len(), MAX_KEYS);
    assert_eq!(KeySet::parse(&many(MAX_KEYS + 1)).err(), Some(KeySetError::TooMany));
    let padded = |bytes: usize| format!("{{\"keys\":[],\"pad\":\"{}\"}}", "x".repeat(bytes - 20));
    assert!(KeySet::parse(&padded(MAX_KEY_SET)).is_ok());
    assert_eq!(KeySet::parse(&padded(MAX_KEY_SET + 1)).err(), Some(KeySetError::TooLong));
}

#[test]
fn a_set_tells_whose_names_it_has() {
    let provider = Provider::new();
    let keys = json!({"keys": [provider.ed_key(), with(provider.ec_key(), json!({"use": "enc"}))]}).to_string();
    let set = KeySet::parse(&keys).unwrap();
    assert!(set.has("ed") && !set.has("ec") && !set.has("") && !set.is_empty());
}
