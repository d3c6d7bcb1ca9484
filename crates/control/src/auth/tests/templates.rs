//! Templates, credentials, and the header lines that come of them.

use proptest::prelude::*;

use super::*;

fn template(text: &str) -> AuthConfig {
    native(json!({"type": "template", "scopes": ["global"], "headers": [{"name": "X-Value", "value_template": text}]}))
}

#[test]
fn every_type_becomes_its_header_lines() {
    let pair = json!({"secrets": {"username": "ada", "password": "p:w"}});
    let named = json!({"secrets": {"x-one": "1", "cookie": "a=b"}});
    for (auth, given, expected) in [
        (json!({"type": "none"}), json!("unused"), vec![]),
        (json!({"type": "bearer"}), json!("tok"), vec!["Authorization: Bearer tok"]),
        (json!({"type": "bearer"}), json!({"secrets": {"access_token": "tok"}}), vec!["Authorization: Bearer tok"]),
        (json!({"type": "bearer"}), json!({"access_token": "tok"}), vec!["Authorization: Bearer tok"]),
        (json!({"type": "api_key"}), json!("k"), vec!["X-API-Key: k"]),
        (
            json!({"type": "api_key", "header": "Authorization"}),
            json!({"secrets": {"api_key": "k"}}),
            vec!["Authorization: k"],
        ),
        (json!({"type": "basic"}), pair, vec!["Authorization: Basic YWRhOnA6dw=="]),
        (json!({"type": "basic"}), json!("ada:pw"), vec!["Authorization: Basic YWRhOnB3"]),
        (json!({"type": "query", "parameter": "key"}), json!("k&k"), vec!["?key=k&k"]),
        (json!({"type": "headers", "names": ["X-One", "Cookie"]}), named, vec!["X-One: 1", "Cookie: a=b"]),
        (json!({"type": "headers", "names": ["X-One"]}), json!("1"), vec!["X-One: 1"]),
    ] {
        let (config, given) = (native(auth.clone()), credential(given));
        assert_eq!(lines(&config, &given, None, &somebody()).unwrap(), expected, "{auth}");
        assert!(config.is_complete(&given) || config.is_none(), "{auth}");
    }
}

#[test]
fn a_bound_secret_of_a_raw_token_fills_its_template() {
    let lines = lines(&template("Bearer ${secret.access_token}"), &credential(json!("raw")), None, &somebody());
    assert_eq!(lines.unwrap(), ["X-Value: Bearer raw"]);
}

#[test]
fn all_placeholders_are_filled_and_what_is_no_text_is_written_as_one() {
    let given = credential(json!({"secrets": {"n": 7, "flag": true, "deep": {"er": "d"}, "dotted.name": "e"}}));
    let token = token(json!({"access_token": "at", "token_type": "Bearer", "scope": "a b", "refresh_token": "rt"}));
    for (text, expected) in [
        ("${context.user_id}/${context.department_id}/${context.work_id}", "u-1/d-1/ada"),
        ("${secret.n}", "7"),
        ("${secret.n}-${secret.flag}", "7-true"),
        ("<${secret.deep.er}${secret.dotted.name}>", "<de>"),
        ("${secret.deep}", "{\"er\":\"d\"}"),
        ("${access_token} ${token.access_token}", "at at"),
        ("${token.token_type} ${token.scope} ${token.refresh_token}", "Bearer a b rt"),
        ("no { } $ holes", "no { } $ holes"),
    ] {
        let made = lines(&template(text), &given, Some(&token), &somebody()).unwrap();
        assert_eq!(made, [format!("X-Value: {expected}")], "{text}");
    }
}

#[test]
fn a_value_that_is_null_empty_or_absent_is_an_error_and_never_the_text_null() {
    let given = credential(json!({"secrets": {"there": "x"}}));
    let sealed = Credential::from_json(br#"{"secrets":{"null":null,"empty":""}}"#).unwrap();
    let nobody = Context::default();
    let blank = Context { user_id: Some(String::new()), ..Context::default() };
    let token = token(json!({"access_token": "at"}));
    for (text, given, context, expected) in [
        ("${context.user_id}", &given, &nobody, ComposeError::ContextMissing("user_id")),
        ("a${context.user_id}", &given, &blank, ComposeError::ContextMissing("user_id")),
        ("${context.department_id}", &given, &blank, ComposeError::ContextMissing("department_id")),
        ("${secret.gone}", &given, &nobody, ComposeError::Missing("secret.gone".into())),
        ("x${secret.null}", &sealed, &nobody, ComposeError::Empty("secret.null".into())),
        ("${secret.empty}", &sealed, &nobody, ComposeError::Empty("secret.empty".into())),
        ("${token.refresh_token}", &given, &nobody, ComposeError::Missing("token.refresh_token".into())),
    ] {
        assert_eq!(lines(&template(text), given, Some(&token), context), Err(expected), "{text}");
    }
}

#[test]
fn a_line_break_in_a_header_value_is_an_error_that_names_the_header_and_not_the_value() {
    for bad in ["a\r\nX-Evil: 1", "a\nb", "a\0b", "ä", " outer", "outer\t"] {
        let given = credential(json!({"secrets": {"v": bad}}));
        let error = lines(&template("${secret.v}"), &given, None, &somebody()).unwrap_err();
        assert_eq!(error, ComposeError::Header("X-Value".into()), "{bad:?}");
        assert!(!error.to_string().contains(bad) && error.reason() == "template");
        // It is told before it is stored, too.
        assert_eq!(wrong(template("${secret.v}").check_credential(&given)), [(String::new(), "header_value")]);
    }
    let certain = native(json!({"type": "query", "parameter": "k"}));
    let error = lines(&certain, &credential(json!("a\nb")), None, &somebody()).unwrap_err();
    assert_eq!(error, ComposeError::Query("k".into()));
}

#[test]
fn a_token_request_keeps_the_types_of_single_placeholders_and_recurses() {
    let config =
        native(json!({"type": "custom_token", "scopes": ["global"], "token_request": {"url": "https://t.example/t",
        "method": "put", "headers": {"X-User": "${context.work_id}"},
        "body_template": {"n": "${secret.n}", "text": "n=${secret.n}", "deep": [{"flag": "${secret.flag}"}, 5, null],
            "client_secret": "literal-secret"}}}));
    let (_, auth) = native_with_secrets(json!({"type": "custom_token", "scopes": ["global"], "token_request": {
        "url": "https://t.example/t", "body_template": {"client_secret": "literal-secret"}}}));
    let given = credential(json!({"secrets": {"n": 7, "flag": true}}));
    let TokenSource::Custom(request) = config.source() else { panic!("not a custom token") };
    let call = request.fill(&Material { auth: &auth, credential: &given, token: None }, &somebody()).unwrap();
    let body: Value = serde_json::from_str(call.body.expose()).unwrap();
    assert_eq!(
        body,
        json!({"n": 7, "text": "n=7", "deep": [{"flag": true}, 5, null], "client_secret": "literal-secret"})
    );
    assert_eq!((call.url.as_str(), call.method.as_str()), ("https://t.example/t", "PUT"));
    let headers: Vec<_> = call.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(headers, [("X-User", "ada"), ("Content-Type", "application/json")]);
}

#[test]
fn a_token_request_as_a_form_is_one() {
    let config =
        native(json!({"type": "custom_token", "token_request": {"url": "https://t.example/t", "body_type": "form",
        "body_template": {"a": "x&y z", "b": "${secret.n}"}}}));
    let TokenSource::Custom(request) = config.source() else { panic!("not a custom token") };
    let (auth, given) = (AuthSecret::default(), credential(json!({"secrets": {"n": 7}})));
    let call = request.fill(&Material { auth: &auth, credential: &given, token: None }, &somebody()).unwrap();
    assert_eq!(call.body.expose(), "a=x%26y+z&b=7");
}

#[test]
fn a_client_is_of_the_settings_or_of_the_credential() {
    let (config, auth) = native_with_secrets(json!({"type": "client_credentials", "token_url": "https://t.example/t",
        "client_id": "app-${context.work_id}", "client_secret": "of-the-server"}));
    let TokenSource::ClientCredentials(settings) = config.source() else { panic!("not client credentials") };
    let none = Credential::empty();
    let client = settings.client.fill(&Material { auth: &auth, credential: &none, token: None }, &somebody()).unwrap();
    assert_eq!((client.id.expose(), client.proof.expose()), ("app-ada", "of-the-server"));
    assert_eq!(client.method, ClientMethod::Basic);
    let config = native(json!({"type": "client_credentials", "token_url": "https://t.example/t"}));
    let TokenSource::ClientCredentials(settings) = config.source() else { panic!("not client credentials") };
    let given = credential(json!({"secrets": {"client_id": "c", "client_secret": "of-the-person"}}));
    let material = Material { auth: &AuthSecret::default(), credential: &given, token: None };
    let client = settings.client.fill(&material, &somebody()).unwrap();
    assert_eq!((client.id.expose(), client.proof.expose()), ("c", "of-the-person"));
}

#[test]
fn a_credential_is_read_strictly_and_never_printed() {
    for (body, path, code) in [
        (json!(5), "", "type"),
        (json!(""), "", "required"),
        (json!("ghp_1***"), "", "masked_value_rejected"),
        (json!("••••9f3a"), "", "masked_value_rejected"),
        (json!({"secrets": {"a": "xxxxxxxx"}}), "secrets.a", "masked_value_rejected"),
        (json!({"secrets": {"a": {"configured": true}}}), "secrets.a", "masked_value_rejected"),
        (json!({"secrets": {"a": {"b": null}}}), "secrets.a.b", "required"),
        (json!({"secrets": 1}), "secrets", "type"),
        (json!({"access_token": "<redacted>"}), "access_token", "masked_value_rejected"),
        (json!({"access_token": 1}), "access_token", "type"),
        (json!({"password": "x"}), "password", "unknown_field"),
        (json!("y".repeat(17 << 10)), "", "too_long"),
    ] {
        assert_eq!(wrong(Credential::parse(body.clone())), [(path.to_owned(), code)], "{body}");
    }
    let given = credential(json!({"secrets": {"a": "s3cret"}, "refresh_token": "r3fresh", "expires_in": "60"}));
    assert!(!format!("{given:?}").contains("s3cret"));
    assert_eq!(given.secret_values(), ["s3cret", "r3fresh"]);
    let back = Credential::from_json(&given.to_json()).unwrap();
    assert_eq!(*back.to_json(), *given.to_json());
}

#[test]
fn a_file_holds_json_of_a_credential_or_the_token_itself() {
    assert_eq!(Credential::parse_str("tok\n").unwrap().access_token(), Some("tok"));
    assert_eq!(Credential::parse_str("{\"access_token\":\"a\"}").unwrap().access_token(), Some("a"));
    // JSON that is no object is a token that looks like it.
    assert_eq!(Credential::parse_str("12345678").unwrap().access_token(), Some("12345678"));
    // A text of a body is the token, whatever it looks like: nothing is guessed there.
    assert_eq!(credential(json!("{\"access_token\":\"a\"}")).access_token(), Some("{\"access_token\":\"a\"}"));
}

#[test]
fn single_fields_of_a_credential_are_replaced_and_taken_away() {
    let mut given = credential(json!({"secrets": {"api_key": "old", "other": "stays"}}));
    given.set("api_key", Some("new"));
    given.set("access_token", Some("tok"));
    assert_eq!(
        (given.text("api_key"), given.access_token(), given.text("other")),
        (Some("new"), Some("tok"), Some("stays"))
    );
    given.set("api_key", None);
    given.set("access_token", None);
    given.set("never", None);
    assert_eq!((given.text("api_key"), given.access_token(), given.names()), (None, None, vec!["other"]));
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i16>().prop_map(|n| Value::from(f64::from(n) / 4.0)),
        "[ -~\u{0}-\u{1f}ä•]{0,12}".prop_map(Value::from),
        r"(\$\{(secret|token|context)?\.?[a-z_.]{0,8}\}?|[a-z]){0,4}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                prop_oneof![
                    "[a-z_]{1,8}",
                    Just("type".to_owned()),
                    Just("scopes".to_owned()),
                    Just("token_request".to_owned()),
                    Just("url".to_owned()),
                    Just("body_template".to_owned()),
                    Just("headers".to_owned()),
                    Just("client_secret".to_owned()),
                    Just("configured".to_owned()),
                ],
                inner,
                0..5
            )
            .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_body_makes_a_parser_stumble(body in any_json()) {
        let _ = parse_native(body.clone());
        let _ = parse_v1(body.clone());
        let _ = Credential::parse(body.clone());
        let _ = Token::from_response(body.to_string().as_bytes(), &ResponseMap::default(), 0, None);
        let mut wrapped = json!({"type": "custom_token", "token_request": {"url": "https://t.example/t"}});
        wrapped["token_request"]["body_template"] = body;
        if let Ok((config, secrets)) = parse_native(wrapped) {
            let stored = AuthConfig::from_stored(&config.to_stored());
            prop_assert_eq!(stored.as_ref(), Some(&config));
            for name in secrets.names() {
                prop_assert!(config.sealed().contains(&name));
            }
        }
    }

    #[test]
    fn a_text_without_holes_is_itself(text in "[ -#%-~]{1,40}") {
        let text = format!("x{text}x");
        let made = lines(&template(&text), &credential(json!("t")), None, &Context::default()).unwrap();
        prop_assert_eq!(made, vec![format!("X-Value: {text}")]);
    }

    #[test]
    fn what_is_filled_in_is_never_read_as_a_template(value in r"[a-z{}$.]{0,20}\$\{secret\.other\}[a-z{}$.]{0,20}") {
        let given = credential(json!({"secrets": {"v": value.clone(), "other": "SPILLED"}}));
        let made = lines(&template("<${secret.v}>"), &given, None, &Context::default()).unwrap();
        prop_assert_eq!(made, vec![format!("X-Value: <{value}>")]);
    }

    #[test]
    fn no_value_makes_a_second_header(value in ".{0,40}") {
        let Ok(given) = Credential::parse(json!({"secrets": {"v": value}})) else { return Ok(()) };
        if let Ok(made) = lines(&template("${secret.v}"), &given, None, &Context::default()) {
            prop_assert!(made.len() == 1 && !made[0].contains(['\r', '\n', '\0']));
        }
    }
}
