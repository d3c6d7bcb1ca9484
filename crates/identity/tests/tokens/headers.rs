//! What stands around the claims: the token's shape, its header, which key it names.

use identity::{MAX_TOKEN, TokenError, peek, signer_of};
use serde_json::{Value, json};

use crate::rsa::{RSA_1024_KEY, RSA_1024_TOKEN, RSA_2040_KEY, RSA_2040_TOKEN};
use crate::rsa::{RSA_2048_KEY, RSA_2048_PEM, RSA_2048_TOKEN, RSA_PSS_TOKEN};
use crate::world::{Provider, access, encoded, header, payload, signed, spec, with};
use identity::Verifier;
use model::SigningAlgorithm;

#[test]
fn each_algorithm_verifies_under_its_key() {
    let provider = Provider::new();
    let verifier = provider.verifier();
    let ec_header = json!({"alg": "ES256", "typ": "JWT", "kid": "ec"});
    assert_eq!(access(&verifier, &provider.token(json!({}))).unwrap().subject, "ann");
    assert_eq!(access(&verifier, &provider.ec(&ec_header, &payload())).unwrap().subject, "ann");
    let rsa = Verifier::new(&spec(&[RSA_2048_KEY.parse().unwrap()])).unwrap();
    assert_eq!(access(&rsa, RSA_2048_TOKEN).unwrap().subject, "ann");
}

#[test]
fn an_algorithm_that_is_not_allowed_is_refused_though_the_signature_is_good() {
    let provider = Provider::new();
    let ec = provider.ec(&json!({"alg": "ES256", "kid": "ec"}), &payload());
    for (left_out, token) in [
        (SigningAlgorithm::EdDsa, provider.token(json!({}))),
        (SigningAlgorithm::Es256, ec),
        (SigningAlgorithm::Rs256, RSA_2048_TOKEN.to_owned()),
    ] {
        let mut spec = spec(&[provider.ed_key(), provider.ec_key(), RSA_2048_KEY.parse().unwrap()]);
        assert!(access(&Verifier::new(&spec).unwrap(), &token).is_ok());
        spec.algorithms.retain(|algorithm| *algorithm != left_out);
        assert_eq!(access(&Verifier::new(&spec).unwrap(), &token), Err(TokenError::Algorithm));
    }
}

#[test]
fn no_other_algorithm_is_ever_tried() {
    let provider = Provider::new();
    let verifier = provider.verifier();
    let names = ["none", "None", "NONE", "nOnE", "", "HS256", "HS384", "HS512", "RS384", "RS512", "PS256", "ES384"];
    for name in names.into_iter().chain(["ES256K", "Ed25519", "eddsa", "rs256", "EdDSA ", "dir", "RSA-OAEP"]) {
        let token = provider.ed(&with(header(), json!({"alg": name})), &payload());
        assert_eq!(access(&verifier, &token), Err(TokenError::Algorithm), "{name}");
        let (unsigned, _) = token.rsplit_once('.').unwrap();
        assert_eq!(access(&verifier, &format!("{unsigned}.")), Err(TokenError::Algorithm), "{name}");
    }
    for alg in [json!(null), json!(1), json!(["EdDSA"]), json!({"EdDSA": 1})] {
        let token = provider.ed(&with(header(), json!({"alg": alg})), &payload());
        assert_eq!(access(&verifier, &token), Err(TokenError::Malformed), "{alg}");
    }
    let unsigned = format!("{}.{}.", encoded(header().to_string()), encoded(payload().to_string()));
    assert_eq!(access(&verifier, &unsigned), Err(TokenError::Signature));
}

#[test]
fn a_public_key_is_no_secret_to_sign_with() {
    let key: Value = RSA_2048_KEY.parse().unwrap();
    let verifier = Verifier::new(&spec(std::slice::from_ref(&key))).unwrap();
    let secrets = [RSA_2048_PEM, RSA_2048_PEM.trim_end(), RSA_2048_KEY, key["n"].as_str().unwrap(), ""];
    for secret in secrets {
        for (algorithm, refused) in
            [("HS256", TokenError::Algorithm), ("RS256", TokenError::Signature), ("ES256", TokenError::UnknownKey)]
        {
            let header = json!({"alg": algorithm, "kid": "rsa"}).to_string();
            let hmac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
            let sign = |message: &[u8]| ring::hmac::sign(&hmac, message).as_ref().to_vec();
            assert_eq!(access(&verifier, &signed(&header, &payload().to_string(), sign)), Err(refused), "{algorithm}");
        }
    }
}

#[test]
fn a_key_verifies_under_its_own_algorithm_only() {
    let provider = Provider::new();
    // Each is signed well, and the header names the other's key or the other's algorithm.
    for header in [json!({"alg": "EdDSA", "kid": "ec"}), json!({"alg": "ES256", "kid": "ed"})] {
        for token in [provider.ed(&header, &payload()), provider.ec(&header, &payload())] {
            assert_eq!(access(&provider.verifier(), &token), Err(TokenError::UnknownKey), "{header}");
        }
    }
    let crossed = provider.ec(&header(), &payload());
    assert_eq!(access(&provider.verifier(), &crossed), Err(TokenError::Signature));
    let rsa = Verifier::new(&spec(&[RSA_2048_KEY.parse().unwrap()])).unwrap();
    assert_eq!(access(&rsa, RSA_PSS_TOKEN), Err(TokenError::Signature));
}

#[test]
fn short_rsa_keys_verify_nothing() {
    for (key, token) in [(RSA_2040_KEY, RSA_2040_TOKEN), (RSA_1024_KEY, RSA_1024_TOKEN)] {
        let verifier = Verifier::new(&spec(&[key.parse().unwrap()])).unwrap();
        assert_eq!(access(&verifier, token), Err(TokenError::UnknownKey));
    }
}

#[test]
fn the_key_is_the_one_that_the_token_names_and_no_other_is_tried() {
    let (provider, other) = (Provider::new(), Provider::new());
    let named = |kid: Value| provider.ed(&with(header(), json!({"kid": kid})), &payload());
    let many = [provider.ed_key(), with(other.ed_key(), json!({"kid": "other"}))];
    let nameless = with(provider.ed_key(), json!({"kid": null}));
    let twins = [provider.ed_key(), other.ed_key()];
    let odd = with(provider.ed_key(), json!({"kid": "../../etc/passwd"}));
    for (case, keys, kid, expected) in [
        ("named", many.to_vec(), json!("ed"), Ok(())),
        ("none named, one fits", vec![provider.ed_key(), provider.ec_key()], json!(null), Ok(())),
        ("none named, two fit", many.to_vec(), json!(null), Err(TokenError::UnknownKey)),
        ("unknown", many.to_vec(), json!("nobody"), Err(TokenError::UnknownKey)),
        ("unknown, though only one fits", vec![provider.ed_key()], json!("nobody"), Err(TokenError::UnknownKey)),
        ("another's", many.to_vec(), json!("other"), Err(TokenError::Signature)),
        ("empty", vec![provider.ed_key()], json!(""), Err(TokenError::UnknownKey)),
        ("other letters", vec![provider.ed_key()], json!("ED"), Err(TokenError::UnknownKey)),
        ("a path", vec![provider.ed_key()], json!("../../../../dev/null"), Err(TokenError::UnknownKey)),
        ("a path that is the key's name", vec![odd], json!("../../etc/passwd"), Ok(())),
        ("a query", vec![provider.ed_key()], json!("ed' OR '1'='1"), Err(TokenError::UnknownKey)),
        ("two of one name", twins.to_vec(), json!("ed"), Err(TokenError::UnknownKey)),
        ("for a key without name", vec![nameless.clone()], json!("ed"), Err(TokenError::UnknownKey)),
        ("none named, key without name", vec![nameless], json!(null), Ok(())),
        ("no keys", vec![], json!("ed"), Err(TokenError::UnknownKey)),
        ("no text", vec![provider.ed_key()], json!(["ed"]), Err(TokenError::Malformed)),
        ("too long", vec![provider.ed_key()], json!("e".repeat(257)), Err(TokenError::Malformed)),
    ] {
        let verifier = Verifier::new(&spec(&keys)).unwrap();
        assert_eq!(access(&verifier, &named(kid)).map(|_| ()), expected, "{case}");
    }
}

#[test]
fn a_token_brings_neither_its_key_nor_rules_of_its_own() {
    let provider = Provider::new();
    let own_key = provider.ed_key();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("jwk", own_key),
        ("jku", json!("https://id.example.com/jwks")),
        ("x5u", json!("https://id.example.com/cert")),
        ("x5c", json!(["MIIB"])),
        ("enc", json!("A256GCM")),
        ("zip", json!("DEF")),
    ] {
        let token = provider.ed(&with(header(), json!({name: value})), &payload());
        assert_eq!(access(&provider.verifier(), &token), Err(TokenError::Malformed), "{name}");
        let nulled = format!("{{\"alg\":\"EdDSA\",\"kid\":\"ed\",\"{name}\":null}}");
        let token = provider.ed_text(&nulled, &payload().to_string());
        assert_eq!(access(&provider.verifier(), &token), Err(TokenError::Malformed), "{name}");
    }
    // A thumbprint of the certificate says nothing that we would read.
    let token = provider.ed(&with(header(), json!({"x5t": "abc", "nonsense": {"a": 1}})), &payload());
    assert!(access(&provider.verifier(), &token).is_ok());
}

#[test]
fn a_member_that_stands_twice_is_refused_whichever_a_reader_would_take() {
    let provider = Provider::new();
    let verifier = provider.verifier();
    let (header, payload) = (header().to_string(), payload().to_string());
    assert!(access(&verifier, &provider.ed_text(&header, &payload)).is_ok());
    let first = |json: &str, member: &str| json.replacen('{', &format!("{{{member},"), 1);
    let last = |json: &str, member: &str| format!("{},{member}}}", json.strip_suffix('}').unwrap());
    for member in [r#""alg":"EdDSA""#, r#""alg":"none""#, r#""kid":"ed""#, r#""\u006bid":"ed""#, r#""typ":"at+jwt""#] {
        for header in [first(&header, member), last(&header, member)] {
            assert_eq!(access(&verifier, &provider.ed_text(&header, &payload)), Err(TokenError::Malformed), "{header}");
        }
    }
    for member in
        [r#""sub":"ann""#, r#""sub":"root""#, r#""exp":9999999999"#, r#""\u0061ud":"x""#, r#""x":{"a":1,"a":1}"#]
    {
        for payload in [first(&payload, member), last(&payload, member)] {
            assert_eq!(
                access(&verifier, &provider.ed_text(&header, &payload)),
                Err(TokenError::Malformed),
                "{payload}"
            );
        }
    }
}

#[test]
fn a_token_has_one_spelling() {
    let provider = Provider::new();
    let verifier = provider.verifier();
    let token = provider.token(json!({}));
    let [head, body, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    for bad in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        format!("{head}.{body}"),
        format!("{head}..{signature}"),
        format!(".{body}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{head}.{body}.{body}.{signature}"),
        format!("{head}=.{body}.{signature}"),
        format!("{head}.{body}=.{signature}"),
        format!("{head}.{body}.{signature}="),
        format!("{head}.{body}.{signature}=="),
        format!("{head}.{body}.{signature}A"),
        format!("{head}.{body}.{signature}AAAA"),
        format!("{head}.{body}.{signature}\n"),
        format!("{head}.{body}.{signature} "),
        format!(" {token}"),
        format!("{head}.{body}\n.{signature}"),
        format!("{head}.{body}.+/{}", &signature[2..]),
        format!("Bearer {token}"),
        format!("{token}\0"),
        format!("{head}%2E{body}%2E{signature}"),
        token.to_uppercase(),
    ] {
        assert!(access(&verifier, &bad).is_err(), "{bad:?}");
        assert!(peek(&bad).is_err() || bad.starts_with(&format!("{head}.{body}.")), "{bad:?}");
    }
    // The last character of 64 bytes in base64 carries four bits that mean nothing.
    let (kept, last) = signature.split_at(signature.len() - 1);
    for stray in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".chars() {
        let is_same = last.starts_with(stray);
        assert_eq!(access(&verifier, &format!("{head}.{body}.{kept}{stray}")).is_ok(), is_same, "{stray}");
    }
    // Five parts are an encrypted token.
    assert_eq!(peek("e30.e30.e30.e30.e30"), Err(TokenError::Malformed));
}

#[test]
fn a_long_token_is_refused_before_it_is_read() {
    let provider = Provider::new();
    let verifier = provider.verifier();
    let padded = |bytes: usize| provider.token(json!({"pad": "x".repeat(bytes)}));
    let spare = (MAX_TOKEN - padded(0).len()) / 4 * 3;
    let (fits, long) = (padded(spare - 3), padded(spare + 3));
    assert!(fits.len() <= MAX_TOKEN && long.len() > MAX_TOKEN);
    assert!(access(&verifier, &fits).is_ok());
    for refused in [access(&verifier, &long).err(), peek(&long).err(), signer_of(&long).err()] {
        assert_eq!(refused, Some(TokenError::TooLong));
    }
    let huge = "A".repeat(10 << 20);
    assert_eq!(access(&verifier, &huge), Err(TokenError::TooLong));
}

#[test]
fn peeking_tells_who_verifies() {
    let provider = Provider::new();
    let peeked = peek(&provider.token(json!({}))).unwrap();
    assert_eq!((peeked.issuer.as_str(), peeked.kid.as_deref()), ("https://id.example.com", Some("ed")));
    for iss in [json!(null), json!(7), json!(["https://id.example.com"])] {
        assert_eq!(peek(&provider.token(json!({"iss": iss}))), Err(TokenError::Claim("iss")));
    }
}
