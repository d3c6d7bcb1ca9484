//! ID tokens: who signed in at control.

use identity::TokenError;
use serde_json::{Value, json};

use crate::world::{NOW, Provider, payload, with};

fn id_token(provider: &Provider, header: Value, changes: Value) -> Result<(), TokenError> {
    let base = with(payload(), json!({"aud": "console", "nonce": "n-1", "at_hash": "h"}));
    let token = provider.ed(&with(json!({"alg": "EdDSA", "kid": "ed"}), header), &with(base, changes));
    provider.verifier().id_token(&token, "console", "n-1", NOW).map(|issued| assert_eq!(issued.subject, "ann"))
}

#[test]
fn an_id_token_is_for_this_client_and_this_request() {
    let provider = Provider::new();
    let (audience, nonce) = (Err(TokenError::Audience), Err(TokenError::Claim("nonce")));
    for (changes, expected) in [
        (json!({}), Ok(())),
        (json!({"aud": ["console"]}), Ok(())),
        (json!({"azp": "console"}), Ok(())),
        (json!({"aud": ["console", "other"], "azp": "console"}), Ok(())),
        (json!({"aud": ["console", "other"]}), audience.clone()),
        (json!({"aud": ["console", "other"], "azp": "other"}), audience.clone()),
        (json!({"azp": "other"}), audience.clone()),
        (json!({"azp": 1}), audience.clone()),
        (json!({"aud": "other"}), audience.clone()),
        (json!({"aud": "other", "azp": "console"}), audience.clone()),
        // What is good for MCP clients is not good for signing in.
        (json!({"aud": "gatehouse"}), audience),
        (json!({"aud": 7}), Err(TokenError::Claim("aud"))),
        (json!({"nonce": "n-2"}), nonce.clone()),
        (json!({"nonce": "n-1 "}), nonce.clone()),
        (json!({"nonce": ""}), nonce.clone()),
        (json!({"nonce": null}), nonce.clone()),
        (json!({"nonce": ["n-1"]}), nonce),
        (json!({"iss": "https://evil.example.com"}), Err(TokenError::Issuer)),
        (json!({"exp": NOW - 60}), Err(TokenError::Expired)),
        (json!({"iat": NOW + 61}), Err(TokenError::NotYet)),
        (json!({"iat": null}), Err(TokenError::Claim("iat"))),
        (json!({"sub": null}), Err(TokenError::Claim("sub"))),
        (json!({"sub": ""}), Err(TokenError::Claim("sub"))),
    ] {
        assert_eq!(id_token(&provider, json!({}), changes.clone()), expected, "{changes}");
    }
}

#[test]
fn an_access_token_is_no_id_token() {
    let provider = Provider::new();
    assert_eq!(id_token(&provider, json!({"typ": "JWT"}), json!({})), Ok(()));
    for typ in ["at+jwt", "application/at+jwt", "logout+jwt"] {
        assert_eq!(id_token(&provider, json!({"typ": typ}), json!({})), Err(TokenError::Type), "{typ}");
    }
}

#[test]
fn without_a_nonce_nobody_is_signed_in() {
    let provider = Provider::new();
    let payload = with(payload(), json!({"aud": "console", "nonce": ""}));
    let token = provider.ed(&json!({"alg": "EdDSA", "kid": "ed"}), &payload);
    assert_eq!(provider.verifier().id_token(&token, "console", "", NOW), Err(TokenError::Claim("nonce")));
}

#[test]
fn an_issuer_that_is_not_for_mcp_clients_still_signs_people_in() {
    let provider = Provider::new();
    let mut spec = provider.spec();
    spec.mcp = false;
    let payload = with(payload(), json!({"aud": "console", "nonce": "n-1"}));
    let token = provider.ed(&json!({"alg": "EdDSA", "kid": "ed"}), &payload);
    assert!(identity::Verifier::new(&spec).unwrap().id_token(&token, "console", "n-1", NOW).is_ok());
}
