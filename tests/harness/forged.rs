//! Signed tokens as somebody without the key can alter them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// What a token says, unverified.
pub fn payload(token: &str) -> Value {
    part(token, 1)
}

/// The head of a token.
pub fn head(token: &str) -> Value {
    part(token, 0)
}

/// The same token with another head and payload under the old signature.
pub fn altered(token: &str, change: impl FnOnce(&mut Value, &mut Value)) -> String {
    let (mut head, mut payload) = (head(token), payload(token));
    change(&mut head, &mut payload);
    format!("{}.{}.{}", encoded(&head), encoded(&payload), signature(token))
}

/// Every way in which a good token is spoiled that needs no key.
pub fn forgeries(token: &str) -> Vec<(&'static str, String)> {
    let with_head = |change: fn(&mut Value)| altered(token, |head, _| change(head));
    let unsigned = |algorithm: &str| {
        let bare = altered(token, |head, _| head["alg"] = json!(algorithm));
        bare.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).expect("three parts")
    };
    let signed = token.rsplit_once('.').map(|(signed, _)| signed).expect("three parts");
    vec![
        ("no signature", format!("{signed}.")),
        ("two parts", signed.to_owned()),
        ("four parts", format!("{token}.{}", signature(token))),
        ("a signature cut short", token[..token.len() - 8].to_owned()),
        ("another signature", format!("{signed}.{}", URL_SAFE_NO_PAD.encode([7; 64]))),
        ("padding", format!("{token}==")),
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("none with a signature", with_head(|head| head["alg"] = json!("none"))),
        ("a symmetric algorithm", with_head(|head| head["alg"] = json!("HS256"))),
        ("another asymmetric algorithm", with_head(|head| head["alg"] = json!("ES256"))),
        ("no algorithm", with_head(|head| _ = head.as_object_mut().expect("an object").remove("alg"))),
        ("a key of its own", with_head(|head| head["jwk"] = json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"}))),
        ("a key elsewhere", with_head(|head| head["jku"] = json!("https://evil.example/jwks"))),
        ("an unknown key", with_head(|head| head["kid"] = json!("01890000-0000-7000-8000-000000000000"))),
        ("a path for a key", with_head(|head| head["kid"] = json!("../../dev/null"))),
        ("something critical", with_head(|head| head["crit"] = json!(["exp"]))),
        ("another type", with_head(|head| head["typ"] = json!("JWE"))),
        ("a later end", altered(token, |_, payload| payload["exp"] = json!(9_999_999_999_i64))),
        (
            "another subject",
            altered(token, |_, payload| payload["sub"] = json!("01890000-0000-7000-8000-000000000000")),
        ),
        ("no issuer", altered(token, |_, payload| _ = payload.as_object_mut().expect("an object").remove("iss"))),
        ("an unknown issuer", altered(token, |_, payload| payload["iss"] = json!("https://evil.example"))),
        ("a list of issuers", altered(token, |_, payload| payload["iss"] = json!([payload["iss"]]))),
        ("a huge payload", altered(token, |_, payload| payload["more"] = json!("x".repeat(9 << 10)))),
    ]
}

fn part(token: &str, at: usize) -> Value {
    let part = token.split('.').nth(at).expect("a token has three parts");
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON")
}

fn signature(token: &str) -> &str {
    token.rsplit('.').next().unwrap_or_default()
}

fn encoded(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}
