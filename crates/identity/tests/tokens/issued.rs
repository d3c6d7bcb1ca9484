//! Access tokens of an issuer.

use identity::{OWN_ISSUER, TokenError, Verifier};
use serde_json::{Value, json};

use crate::world::{Control, ISSUER, NOW, Provider, URL, access, claims, header, payload, spec, with};

fn refusals(cases: impl IntoIterator<Item = (Value, Result<(), TokenError>)>) {
    let provider = Provider::new();
    let verifier = provider.verifier();
    for (changes, expected) in cases {
        let found = access(&verifier, &provider.token(changes.clone())).map(|_| ());
        assert_eq!(found, expected, "{changes}");
    }
}

#[test]
fn the_issuer_is_compared_byte_by_byte() {
    let cases =
        ["https://id.example.com/", "https://ID.example.com", "http://id.example.com", "", " https://id.example.com"];
    refusals(cases.map(|iss| (json!({"iss": iss}), Err(TokenError::Issuer))));
    refusals([json!(null), json!([ISSUER]), json!(1)].map(|iss| (json!({"iss": iss}), Err(TokenError::Claim("iss")))));
}

#[test]
fn the_audience_is_the_url_or_one_of_those_agreed() {
    let (wrong, odd) = (Err(TokenError::Audience), Err(TokenError::Claim("aud")));
    refusals([
        (json!({"aud": URL}), Ok(())),
        (json!({"aud": [URL]}), Ok(())),
        (json!({"aud": ["https://other.example.com", URL]}), Ok(())),
        (json!({"aud": "gatehouse"}), Ok(())),
        (json!({"aud": ["x", "gatehouse"]}), Ok(())),
        (json!({"aud": "https://other.example.com/mcp"}), wrong.clone()),
        (json!({"aud": "Gatehouse"}), wrong.clone()),
        (json!({"aud": format!("{URL}/")}), wrong.clone()),
        (json!({"aud": format!("{URL} gatehouse")}), wrong.clone()),
        (json!({"aud": ""}), wrong.clone()),
        (json!({"aud": []}), wrong),
        (json!({"aud": null}), odd.clone()),
        (json!({"aud": [URL, 1]}), odd.clone()),
        (json!({"aud": [[URL]]}), odd.clone()),
        (json!({"aud": {"0": URL}}), odd.clone()),
        (json!({"aud": true}), odd),
    ]);
}

#[test]
fn times_are_whole_numbers_with_a_minute_of_leeway() {
    let odd = |name| Err(TokenError::Claim(name));
    let (over, early) = (Err(TokenError::Expired), Err(TokenError::NotYet));
    refusals([
        (json!({"exp": NOW - 59}), Ok(())),
        (json!({"exp": NOW - 60}), over.clone()),
        (json!({"exp": 0}), over),
        (json!({"exp": 253_402_300_799_i64}), Ok(())),
        (json!({"exp": 253_402_300_800_i64}), odd("exp")),
        (json!({"exp": i64::MAX}), odd("exp")),
        (json!({"exp": u64::MAX}), odd("exp")),
        (json!({"exp": -1}), odd("exp")),
        (json!({"exp": (NOW + 300) as f64}), odd("exp")),
        (json!({"exp": 1e300}), odd("exp")),
        (json!({"exp": (NOW + 300).to_string()}), odd("exp")),
        (json!({"exp": [NOW + 300]}), odd("exp")),
        (json!({"exp": true}), odd("exp")),
        (json!({"exp": null}), odd("exp")),
        (json!({"nbf": NOW + 60}), Ok(())),
        (json!({"nbf": NOW + 61}), early.clone()),
        (json!({"nbf": "0"}), odd("nbf")),
        (json!({"nbf": 0.5}), odd("nbf")),
        (json!({"nbf": i64::MAX}), odd("nbf")),
        (json!({"iat": null}), Ok(())),
        (json!({"iat": NOW + 60}), Ok(())),
        (json!({"iat": NOW + 61}), early),
        (json!({"iat": "now"}), odd("iat")),
        (json!({"iat": {}}), odd("iat")),
    ]);
    // A claim that is there and null is no time either.
    let provider = Provider::new();
    let text = payload().to_string().replacen('{', r#"{"nbf":null,"#, 1);
    let token = provider.ed_text(&header().to_string(), &text);
    assert_eq!(access(&provider.verifier(), &token), Err(TokenError::Claim("nbf")));
}

#[test]
fn no_clock_makes_a_time_wrap_around() {
    let provider = Provider::new();
    let token = provider.token(json!({"nbf": NOW, "exp": NOW + 300}));
    for (now, expected) in [
        (i64::MAX, TokenError::UnknownKey),
        (i64::MIN, TokenError::NotYet),
        (0, TokenError::NotYet),
        (NOW + 3600, TokenError::UnknownKey),
        (NOW + 3599, TokenError::Expired),
    ] {
        assert_eq!(provider.verifier().access_token(&token, |_| true, now), Err(expected), "{now}");
    }
}

#[test]
fn keys_that_were_not_fetched_for_too_long_are_not_believed() {
    let provider = Provider::new();
    let mut spec = provider.spec();
    spec.keys_until = NOW * 1_000_000;
    assert_eq!(access(&Verifier::new(&spec).unwrap(), &provider.token(json!({}))), Err(TokenError::UnknownKey));
    spec.keys_until += 1;
    assert!(access(&Verifier::new(&spec).unwrap(), &provider.token(json!({}))).is_ok());
}

#[test]
fn a_token_for_another_use_is_no_access_token() {
    let provider = Provider::new();
    let verifier = provider.verifier();
    for (typ, expected) in [
        (json!("at+jwt"), Ok(())),
        (json!("AT+JWT"), Ok(())),
        (json!("application/at+jwt"), Ok(())),
        (json!("JWT"), Ok(())),
        (json!(null), Ok(())),
        (json!("id+jwt"), Err(TokenError::Type)),
        (json!("logout+jwt"), Err(TokenError::Type)),
        (json!("dpop+jwt"), Err(TokenError::Type)),
        (json!("secevent+jwt"), Err(TokenError::Type)),
        (json!(""), Err(TokenError::Type)),
        (json!("at+jwt "), Err(TokenError::Type)),
        (json!(1), Err(TokenError::Malformed)),
    ] {
        let token = provider.ed(&with(header(), json!({"typ": typ})), &payload());
        assert_eq!(access(&verifier, &token).map(|_| ()), expected, "{typ}");
    }
    let plain = with(header(), json!({"typ": "JWT"}));
    for changes in [
        json!({"nonce": "n"}),
        json!({"at_hash": "h"}),
        json!({"c_hash": "h"}),
        json!({"aud": "gatehouse", "nonce": "n"}),
        json!({"token_use": "id"}),
        json!({"token_use": 1}),
        json!({"typ": "ID"}),
        json!({"typ": "Refresh"}),
    ] {
        let token = provider.ed(&plain, &with(payload(), changes.clone()));
        assert_eq!(access(&verifier, &token), Err(TokenError::Type), "{changes}");
    }
    let token = provider.ed(&plain, &with(payload(), json!({"token_use": "access", "typ": "Bearer"})));
    assert!(access(&verifier, &token).is_ok());
    assert!(access(&verifier, &provider.token(json!({"nonce": "n"}))).is_ok());
}

#[test]
fn an_issuer_that_is_not_for_mcp_clients_lets_none_in() {
    let provider = Provider::new();
    let mut spec = provider.spec();
    spec.mcp = false;
    assert_eq!(access(&Verifier::new(&spec).unwrap(), &provider.token(json!({}))), Err(TokenError::Issuer));
}

#[test]
fn a_scope_that_is_asked_for_must_be_there() {
    let provider = Provider::new();
    let mut spec = provider.spec();
    spec.scope = Some("mcp:use".to_owned());
    let verifier = Verifier::new(&spec).unwrap();
    let lacks = Err(TokenError::Scope("mcp:use".to_owned()));
    for (changes, expected) in [
        (json!({"scope": "mcp:use"}), Ok(())),
        (json!({"scope": "openid mcp:use"}), Ok(())),
        (json!({"scp": "a mcp:use"}), Ok(())),
        (json!({"scp": ["a", "mcp:use"]}), Ok(())),
        (json!({"scope": "a", "scp": ["mcp:use"]}), Ok(())),
        (json!({"scope": "mcp:user"}), lacks.clone()),
        (json!({"scope": "mcp"}), lacks.clone()),
        (json!({"scope": "MCP:USE"}), lacks.clone()),
        (json!({"scope": "mcp:use\tx"}), lacks.clone()),
        (json!({"scope": ""}), lacks.clone()),
        (json!({"scp": []}), lacks.clone()),
        (json!({}), lacks),
        (json!({"scope": 1}), Err(TokenError::Claim("scope"))),
        (json!({"scp": {"mcp:use": true}}), Err(TokenError::Claim("scp"))),
        // Nobody is told of a scope whose token is bad anyway.
        (json!({"exp": 1}), Err(TokenError::Expired)),
        (json!({"aud": "x"}), Err(TokenError::Audience)),
        (json!({"sub": null}), Err(TokenError::Claim("sub"))),
    ] {
        assert_eq!(access(&verifier, &provider.token(changes.clone())).map(|_| ()), expected, "{changes}");
    }
}

#[test]
fn controls_own_tokens_are_no_issuers_tokens() {
    let control = Control::new();
    let token = control.signer.sign(&claims());
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": control.signer.id().to_string(),
                     "x": crate::world::encoded(control.signer.public())});
    // Not even for an issuer that has taken control's public key and name for its own.
    let mut spec = spec(&[key]);
    for issuer in [ISSUER, OWN_ISSUER] {
        spec.issuer = issuer.to_owned();
        let verifier = Verifier::new(&spec).unwrap();
        assert_eq!(verifier.access_token(&token, |_| true, NOW), Err(TokenError::Issuer), "{issuer}");
    }
}
