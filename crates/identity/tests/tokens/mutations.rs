//! What nobody thought of: changed tokens never verify, and no bytes make anything panic.

use std::sync::LazyLock;

use identity::{Audience, KeySet, Verifier, peek, signer_of};
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::json;

use crate::world::{Control, NOW, Provider, access, claims, header, payload};

struct World {
    provider: Provider,
    verifier: Verifier,
    control: Control,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let provider = Provider::new();
    World { verifier: provider.verifier(), provider, control: Control::new() }
});

fn believed(token: &str) -> bool {
    access(&WORLD.verifier, token).is_ok()
        || WORLD.verifier.id_token(token, "gatehouse", "n", NOW).is_ok()
        || WORLD.control.key.verify(token, NOW).is_ok()
}

fn good_tokens() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(WORLD.provider.token(json!({}))),
        Just(WORLD.provider.ec(&json!({"alg": "ES256", "kid": "ec"}), &payload())),
        Just(WORLD.control.signer.sign(&claims())),
    ]
}

#[derive(Debug, Clone)]
enum Change {
    Replace(Index, char),
    Insert(Index, String),
    Remove(Index),
    Swap(Index, Index),
    Cut(Index),
    Flip(Index, u8),
}

fn changes() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<char>()).prop_map(|(at, ch)| Change::Replace(at, ch)),
        (any::<Index>(), "[A-Za-z0-9_.=-]").prop_map(|(at, text)| Change::Insert(at, text)),
        (any::<Index>(), ".{1,4}").prop_map(|(at, text)| Change::Insert(at, text)),
        any::<Index>().prop_map(Change::Remove),
        (any::<Index>(), any::<Index>()).prop_map(|(one, two)| Change::Swap(one, two)),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), 0..7u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
    ]
}

fn changed(token: &str, change: &Change) -> String {
    let mut chars: Vec<char> = token.chars().collect();
    let count = chars.len();
    match change {
        Change::Replace(at, ch) => chars[at.index(count)] = *ch,
        Change::Insert(at, text) => {
            let at = at.index(count + 1);
            chars.splice(at..at, text.chars());
        }
        Change::Remove(at) => drop(chars.remove(at.index(count))),
        Change::Swap(one, two) => chars.swap(one.index(count), two.index(count)),
        Change::Cut(at) => chars.truncate(at.index(count)),
        Change::Flip(at, bit) => {
            let ch = &mut chars[at.index(count)];
            *ch = char::from(*ch as u8 ^ (1 << bit));
        }
    }
    chars.into_iter().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_changed_token_is_never_believed(token in good_tokens(), list in prop::collection::vec(changes(), 1..4)) {
        prop_assert!(believed(&token));
        let other = list.iter().fold(token.clone(), |token, change| if token.is_empty() { token } else { changed(&token, change) });
        prop_assert!(other == token || !believed(&other), "{}", other);
    }

    #[test]
    fn parts_of_two_tokens_make_no_third(one in good_tokens(), two in good_tokens(), take in 1..7u8) {
        let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
        let mixed: Vec<String> = parts(&one).into_iter().zip(parts(&two)).enumerate()
            .map(|(at, (one, two))| if take & (1 << at) == 0 { one } else { two })
            .collect();
        let mixed = mixed.join(".");
        prop_assert!(mixed == one || mixed == two || !believed(&mixed), "{}", mixed);
    }

    #[test]
    fn no_text_makes_anything_panic(text in "\\PC{0,200}|[A-Za-z0-9_.-]{0,400}") {
        prop_assert!(!believed(&text));
        prop_assert!(peek(&text).is_err() || signer_of(&text).is_err());
        let _ = KeySet::parse(&text);
        let _ = text.parse::<Audience>().map(|audience| assert_eq!(audience.to_string(), text));
    }

    #[test]
    fn no_json_in_a_signed_token_makes_anything_panic(head in json(), body in json()) {
        let token = WORLD.provider.ed_text(&head, &body);
        prop_assert!(!believed(&token));
        // Under a good header the payload alone is odd.
        prop_assert!(!believed(&WORLD.provider.ed_text(&header().to_string(), &body)));
        let _ = KeySet::parse(&format!("{{\"keys\":[{head},{body}]}}"));
    }
}

/// Objects whose members have the names that we look for, and any values.
fn json() -> impl Strategy<Value = String> {
    let names = prop_oneof![
        Just("alg"),
        Just("typ"),
        Just("kid"),
        Just("iss"),
        Just("aud"),
        Just("sub"),
        Just("exp"),
        Just("iat"),
        Just("nonce"),
        Just("act"),
        Just("kty"),
        Just("crv"),
        Just("n"),
        Just("e"),
        Just("x"),
        Just("y"),
        Just("use"),
    ];
    let values = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>()
            .prop_filter("JSON has no others", |number| number.is_finite())
            .prop_map(|number| number.to_string()),
        "[a-zA-Z0-9:/._-]{0,12}".prop_map(|text| format!("\"{text}\"")),
        Just("[\"EdDSA\",1]".to_owned()),
        Just("{\"sub\":{}}".to_owned()),
        Just("\"RSA\"".to_owned()),
        Just("\"EdDSA\"".to_owned()),
        Just("\"AQAB\"".to_owned()),
    ];
    prop::collection::vec((names, values), 0..8).prop_map(|members| {
        let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        format!("{{{}}}", members.join(","))
    })
}
