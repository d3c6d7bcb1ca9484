//! Tokens and their ends.

use super::*;

const SECOND: i64 = 1_000_000;
/// 2026-01-01T00:00:00Z.
const NOW: i64 = 1_767_225_600 * SECOND;
const TEN_YEARS: i64 = 10 * 366 * 24 * 3600 * SECOND;

fn end(answer: Value) -> Option<i64> {
    let mut answer = answer;
    answer["access_token"] = json!("t");
    let token = Token::from_response(answer.to_string().as_bytes(), &ResponseMap::default(), NOW, None).unwrap();
    token.expires_at.map(|at| (at - NOW) / SECOND)
}

#[test]
fn an_absolute_end_wins_over_a_relative_one_and_naive_means_utc() {
    for (answer, expected) in [
        (json!({}), None),
        (json!({"expires_in": 60}), Some(60)),
        (json!({"expires_in": "60"}), Some(60)),
        (json!({"expires_in": 60.9}), Some(60)),
        (json!({"expires_in": " 60 "}), Some(60)),
        (json!({"expires_in": "soon"}), None),
        (json!({"expires_in": true}), None),
        (json!({"expires_in": 60, "expires_at": "2026-01-01T01:00:00Z"}), Some(3600)),
        (json!({"expires_at": "2026-01-01T01:00:00"}), Some(3600)),
        (json!({"expires_at": "2026-01-01 01:00"}), Some(3600)),
        (json!({"expires_at": "2026-01-01T01:00:00.750000"}), Some(3600)),
        (json!({"expires_at": "2026-01-01T03:00:00+02:00"}), Some(3600)),
        (json!({"expires_at": "2026-01-01T03:00:00+0200"}), Some(3600)),
        (json!({"expires_at": "2026-01-01T03:00:00+02"}), Some(3600)),
        (json!({"expires_at": "2026-01-02"}), Some(86_400)),
        (json!({"expires_at": 1_767_229_200}), Some(3600)),
        (json!({"expires_at": 1_767_229_200.5}), Some(3600)),
        (json!({"expires_at": "1767229200"}), Some(3600)),
        (json!({"expires_at": "tomorrow", "expires_in": 60}), Some(60)),
        (json!({"expires_at": null, "expires_in": 60}), Some(60)),
    ] {
        assert_eq!(end(answer.clone()), expected, "{answer}");
    }
}

#[test]
fn absurd_and_negative_ends_are_clamped() {
    for (answer, expected) in [
        (json!({"expires_in": -5}), 0),
        (json!({"expires_in": "-5"}), 0),
        (json!({"expires_at": "1999-01-01T00:00:00Z"}), 0),
        (json!({"expires_at": -1}), 0),
        (json!({"expires_in": 1e300}), TEN_YEARS / SECOND),
        (json!({"expires_in": u64::MAX}), TEN_YEARS / SECOND),
        (json!({"expires_at": 1_767_229_200_000_i64}), TEN_YEARS / SECOND),
        (json!({"expires_at": "9999-12-31T23:59:59Z"}), TEN_YEARS / SECOND),
    ] {
        assert_eq!(end(answer.clone()), Some(expected), "{answer}");
    }
}

#[test]
fn a_token_is_replaced_ahead_of_its_end_but_never_before_half_of_its_life() {
    let token = |life: i64| {
        let mut token = fresh();
        token.expires_at = Some(NOW + life * SECOND);
        token
    };
    for (life, after, ahead, renewable, expected) in [
        (3600, 0, 300, true, false),
        (3600, 3299, 300, true, false),
        (3600, 3300, 300, true, true),
        (100, 49, 300, true, false),
        (100, 50, 300, true, true),
        (100, 99, 300, false, false),
        (100, 100, 300, false, true),
        (3600, 3599, 0, true, false),
        (3600, 3600, 0, true, true),
        (0, 0, 300, true, true),
    ] {
        let now = NOW + after * SECOND;
        assert_eq!(token(life).is_expiring(now, ahead, renewable), expected, "{life} {after} {ahead} {renewable}");
    }
    // Nobody said when it ends: it is good until it is refused.
    assert!(!fresh().is_expiring(i64::MAX, 300, true));
}

fn fresh() -> Token {
    Token::from_response(br#"{"access_token":"t"}"#, &ResponseMap::default(), NOW, None).unwrap()
}

#[test]
fn who_can_always_get_a_new_token_counts_as_renewable() {
    let with = token(json!({"access_token": "t", "refresh_token": "r"}));
    let without = token(json!({"access_token": "t"}));
    let none = Credential::empty();
    let custom = json!({"type": "custom_token", "token_request": {"url": "https://t.example/t"}});
    for (auth, with_refresh, without_refresh) in [
        (json!({"type": "authorization_code"}), true, false),
        (json!({"type": "client_credentials", "token_url": "https://t.example/t"}), true, true),
        (custom, true, true),
        (json!({"type": "bearer"}), false, false),
    ] {
        let config = native(auth.clone());
        assert_eq!(config.is_renewable(&with, &none), with_refresh, "{auth}");
        assert_eq!(config.is_renewable(&without, &none), without_refresh, "{auth}");
    }
    // The person may have given a refresh token.
    assert!(
        native(json!({"type": "authorization_code"}))
            .is_renewable(&without, &credential(json!({"refresh_token": "r"})))
    );
}

#[test]
fn parts_of_an_answer_are_found_by_dotted_paths_and_missing_ones_are_skipped() {
    let map = ResponseMap(vec![
        ("access_token".into(), "data.token.value".into()),
        ("expires_in".into(), "data.ttl".into()),
        ("refresh_token".into(), "data.gone".into()),
        ("tenant".into(), "data.tenant.id".into()),
    ]);
    let answer = json!({"data": {"token": {"value": "t"}, "ttl": "60", "tenant": {"id": 7}}});
    let token = Token::from_response(answer.to_string().as_bytes(), &map, NOW, None).unwrap();
    assert_eq!((token.access_token.expose(), token.expires_at), ("t", Some(NOW + 60 * SECOND)));
    assert!(token.refresh_token.is_none());
    assert_eq!(token.member("tenant"), Some(json!(7)));
    let back = Token::from_json(&token.to_json()).unwrap();
    assert_eq!((back.member("tenant"), back.expires_at, back.obtained_at), (Some(json!(7)), token.expires_at, NOW));
}

#[test]
fn an_answer_without_a_token_is_an_error_that_does_not_quote_it() {
    let read = |body: &str| Token::from_response(body.as_bytes(), &ResponseMap::default(), NOW, None).unwrap_err();
    for (body, expected) in [
        ("<html>s3cret</html>", TokenError::NotJson),
        ("[\"s3cret\"]", TokenError::NotJson),
        ("", TokenError::NotJson),
        ("{\"other\":\"s3cret\"}", TokenError::NoAccessToken("access_token".into())),
        ("{\"access_token\":\"\"}", TokenError::NoAccessToken("access_token".into())),
        ("{\"access_token\":{\"a\":\"s3cret\"}}", TokenError::NoAccessToken("access_token".into())),
        ("{\"access_token\":\"s3cret\\r\\nX: y\"}", TokenError::Unusable),
        (
            "{\"error\":\"bad_refresh_token\",\"error_description\":\"s3cret\"}",
            TokenError::Refused("bad_refresh_token".into()),
        ),
        ("{\"error\":\"S3CRET with spaces\"}", TokenError::NoAccessToken("access_token".into())),
    ] {
        let error = read(body);
        assert_eq!(error, expected, "{body}");
        assert!(!error.to_string().to_lowercase().contains("s3cret"), "{body}");
    }
}

#[test]
fn a_new_token_inherits_what_its_answer_leaves_out() {
    let mut old = token(json!({"access_token": "a", "refresh_token": "r", "scope": "x y"}));
    old.issuer = Some("https://t.example".to_owned());
    let read = |body: &[u8]| Token::from_response(body, &ResponseMap::default(), NOW, Some(&old)).unwrap();
    let kept = read(br#"{"access_token":"b"}"#);
    assert_eq!(kept.refresh_token.as_ref().map(model::Secret::expose), Some("r"));
    assert_eq!((kept.scope.as_deref(), kept.issuer.as_deref()), (Some("x y"), Some("https://t.example")));
    let rotated = read(br#"{"access_token":"b","refresh_token":"s"}"#);
    assert_eq!(rotated.refresh_token.as_ref().map(model::Secret::expose), Some("s"));
}

#[test]
fn a_token_that_a_person_gave_is_read_from_the_credential_and_printed_nowhere() {
    let given = credential(json!({"access_token": "s3cret", "refresh_token": "r", "expires_at": "2026-01-01T01:00:00",
        "issuer_url": "https://t.example"}));
    let token = Token::from_credential(&given, NOW).unwrap();
    assert_eq!((token.expires_at, token.issuer.as_deref()), (Some(NOW + 3600 * SECOND), Some("https://t.example")));
    assert_eq!(token.secret_values(), ["s3cret", "r"]);
    assert!(!format!("{token:?}").contains("s3cret"));
    assert!(Token::from_credential(&credential(json!({"secrets": {"client_id": "c"}})), NOW).is_none());
    assert_eq!(Token::from_credential(&credential(json!("raw")), NOW).unwrap().access_token.expose(), "raw");
}
