//! Native settings and version 1.

use model::Scope;

use super::*;

fn v1(value: Value) -> (AuthConfig, AuthSecret, Vec<String>) {
    parse_v1(value.clone()).unwrap_or_else(|wrong| panic!("{value}: {wrong:?}"))
}

/// Every type, with everything that it may say.
fn every_type() -> Vec<Value> {
    let request = json!({"url": "https://t.example/token", "headers": {"X-App": "a", "Authorization": "Basic Zm9v"},
        "body_template": {"client_secret": "s3cret-value", "user": "${context.user_id}", "n": 5, "list": [true, "${secret.a.b}"]},
        "response_map": {"access_token": "data.token", "expires_in": "data.ttl"},
        "refresh": {"url": "https://t.example/refresh", "body_type": "form",
            "body_template": {"refresh_token": "${token.refresh_token}"}}});
    vec![
        json!({"type": "none"}),
        json!({"type": "bearer", "scopes": ["user", "department", "global"], "retry_once_on_401": false}),
        json!({"type": "api_key", "header": "X-Team-Key"}),
        json!({"type": "basic", "client_certificate": true}),
        json!({"type": "query", "parameter": "key"}),
        json!({"type": "headers", "names": ["X-One", "Cookie"]}),
        json!({"type": "template", "headers": [{"name": "Authorization", "value_template": "Token ${secret.pat}"}],
            "query": [{"name": "u", "value_template": "${context.work_id}"}]}),
        json!({"type": "client_credentials", "token_url": "https://t.example/token", "client_id": "c",
            "client_secret": "s3cret-value", "method": "client_secret_post", "scope": ["a", "b"], "audience": "x",
            "resource": "https://h.example/mcp", "pre_refresh_seconds": 60}),
        json!({"type": "client_credentials", "issuer": "https://t.example", "client_id": "c",
            "private_key": "-----BEGIN…", "key_id": "k1", "method": "private_key_jwt"}),
        json!({"type": "authorization_code"}),
        json!({"type": "authorization_code", "issuer": "https://t.example", "client_id": "c", "client_secret": "s3cret-value"}),
        json!({"type": "custom_token", "token_request": request, "scopes": ["department"]}),
        json!({"type": "token_exchange", "token_url": "https://t.example/token", "client_id": "c", "client_secret": "s3cret-value"}),
        json!({"type": "mtls"}),
    ]
}

#[test]
fn what_is_stored_and_shown_reads_back_as_the_same_and_holds_no_secret() {
    for body in every_type() {
        let (config, secrets) = native_with_secrets(body.clone());
        let view = config.view();
        assert_eq!(AuthConfig::from_stored(&config.to_stored()).as_ref(), Some(&config), "{body}");
        assert!(!view.to_string().contains("s3cret-value") && !view.to_string().contains("Zm9v"), "{view}");
        assert!(!format!("{config:?}{secrets:?}").contains("s3cret-value"), "{body}");
        let (again, sent) = native_with_secrets(view);
        assert_eq!(again, config, "{body}");
        assert!(sent.is_empty(), "{body}");
        // What was shown keeps what is stored, all of it and nothing else.
        let stored = AuthSecret::from_json(&secrets.to_json()).unwrap();
        let kept = again.secrets(sent, Some(stored)).unwrap();
        assert_eq!(kept.names().collect::<Vec<_>>(), secrets.names().collect::<Vec<_>>(), "{body}");
        assert_eq!(*kept.to_json(), *secrets.to_json(), "{body}");
        if let Some(binding) = config.binding() {
            assert_eq!(binding.scopes, config.scopes(), "{body}");
        }
    }
}

#[test]
fn a_secret_that_is_only_said_to_be_configured_must_be_stored() {
    let body = json!({"type": "client_credentials", "token_url": "https://t.example/token", "client_id": "c",
        "client_secret": {"configured": true}});
    let (config, given) = native_with_secrets(body);
    assert_eq!(wrong(config.secrets(given, None)), [("client_secret".to_owned(), "required")]);
}

#[test]
fn literal_secrets_of_a_token_request_are_taken_out_of_the_settings() {
    let (config, secrets) = native_with_secrets(every_type().remove(11));
    assert_eq!(
        secrets.names().collect::<Vec<_>>(),
        ["token_request.body_template.client_secret", "token_request.headers.Authorization"]
    );
    assert_eq!(config.view()["token_request"]["body_template"]["client_secret"], json!({"configured": true}));
    assert_eq!(config.view()["token_request"]["headers"]["X-App"], "a");
}

#[test]
fn scopes_default_to_global_for_what_is_static_and_to_user_for_a_login_and_to_none_where_no_secret_is_asked_for() {
    for (body, scopes) in [
        (json!({"type": "bearer"}), vec![Scope::Global]),
        (json!({"type": "authorization_code"}), vec![Scope::User]),
        (json!({"type": "bearer", "scopes": ["user", "system"]}), vec![Scope::User, Scope::Global]),
        (json!({"type": "template", "headers": [{"name": "X-User", "value_template": "${context.user_id}"}]}), vec![]),
        (
            json!({"type": "token_exchange", "token_url": "https://t.example/t", "client_id": "c", "client_secret": "s"}),
            vec![],
        ),
        (json!({"type": "token_exchange", "token_url": "https://t.example/t"}), vec![Scope::Global]),
    ] {
        assert_eq!(native(body.clone()).scopes(), scopes, "{body}");
    }
}

#[test]
fn required_secrets_are_derived_in_order_and_once_and_without_any_no_connection_is_needed() {
    let request = json!({"url": "https://t.example/t", "headers": {"X-A": "${secret.app}"},
        "body_template": {"a": "${secret.one}", "b": ["${secret.app}", "x${secret.two.three}y"]},
        "refresh": {"url": "https://t.example/r", "body_template": {"r": "${secret.four}"}}});
    let config = native(json!({"type": "custom_token", "token_request": request,
        "headers": [{"name": "X-First", "value_template": "${secret.zero}"}]}));
    assert_eq!(config.required_secrets(), ["zero", "app", "one", "two.three", "four"]);
    assert!(config.needs_connection());
    for (body, names) in [
        (json!({"type": "basic"}), vec!["username", "password"]),
        (json!({"type": "headers", "names": ["X-Key"]}), vec!["x-key"]),
        (json!({"type": "bearer", "client_certificate": true}), vec!["access_token", "certificate", "private_key"]),
        (json!({"type": "client_credentials", "token_url": "https://t.example/t"}), vec!["client_id", "client_secret"]),
        (
            json!({"type": "client_credentials", "token_url": "https://t.example/t", "client_id": "c", "method": "private_key_jwt"}),
            vec!["private_key"],
        ),
    ] {
        assert_eq!(native(body.clone()).required_secrets(), names, "{body}");
    }
    let without = native(
        json!({"type": "client_credentials", "token_url": "https://t.example/t", "client_id": "c", "client_secret": "s"}),
    );
    assert!(!without.needs_connection() && without.required_secrets().is_empty());
}

#[test]
fn an_inline_server_with_a_dynamic_provider_is_bound_without_a_connection() {
    let (config, _, warnings) = v1(json!({"version": 1, "provider": "custom_http_token", "binding_scope": "inline",
        "inject": {"target": "headers", "entries": [{"name": "Authorization", "value_template": "Bearer ${access_token}"}]},
        "token_request": {"url": "https://t.example/t", "body_template": {"user": "${context.user_id}"}}}));
    assert!(warnings.is_empty());
    let binding = config.binding().unwrap();
    assert!(binding.scopes.is_empty() && binding.context.user && !binding.login && binding.retry_unauthorized);
    assert!(config.token_context().user && !config.token_context().login);
    assert!(matches!(config.source(), TokenSource::Custom(_)) && !config.needs_connection());
}

#[test]
fn every_provider_of_version_1_is_read_as_it_was_written() {
    let request = json!({"url": "https://t.example/t", "body_type": "form", "body_template": {"grant_type": "client_credentials",
        "client_id": "${secret.client_id}", "client_secret": "${secret.client_secret}"}});
    for (body, kind, scopes, retry, ahead) in [
        (json!({"provider": "legacy_static", "inject": {"target": "headers", "entries": []}}), "none", vec![], true, 0),
        (
            json!({"version": 1, "provider": "bound_secret", "inject": {"target": "headers", "entries": [
            {"name": "X-Key", "value_template": "${secret.key}"}]}}),
            "template",
            vec![Scope::Global],
            true,
            0,
        ),
        (
            json!({"provider": "bound_secret", "binding_scope": "user", "inject": {"target": "headers"},
            "refresh_policy": {"retry_once_on_401": false}}),
            "template",
            vec![Scope::User],
            false,
            0,
        ),
        (
            json!({"provider": "client_credentials", "binding_scope": "department", "token_request": request,
            "refresh_policy": {"pre_refresh_seconds": 300, "retry_once_on_401": true}}),
            "custom_token",
            vec![Scope::Department],
            true,
            300,
        ),
        (
            json!({"provider": "custom_http_token", "binding_scope": "system", "token_request": request}),
            "custom_token",
            vec![Scope::Global],
            true,
            0,
        ),
        (
            json!({"provider": "authorization_code", "binding_scope": "user", "token_request":
            {"issuer_url": "https://t.example", "client_id": "c", "client_secret": "s"}}),
            "authorization_code",
            vec![Scope::User],
            true,
            0,
        ),
    ] {
        let (config, secrets, warnings) = v1(body.clone());
        assert_eq!((config.kind(), config.scopes()), (kind, &scopes[..]), "{body}");
        assert_eq!((config.retry_unauthorized, config.pre_refresh()), (retry, ahead), "{body}");
        assert!(warnings.is_empty(), "{body}: {warnings:?}");
        // As native settings it is the same, and its secrets are found there.
        assert_eq!(AuthConfig::from_stored(&config.to_stored()).as_ref(), Some(&config), "{body}");
        assert_eq!(config.sealed(), secrets.names().collect::<Vec<_>>(), "{body}");
    }
}

#[test]
fn members_of_version_1_that_nobody_knows_are_passed_over_with_a_warning() {
    let (config, _, warnings) =
        v1(json!({"version": 1, "provider": "bound_secret", "colour": "red", "binding_scope": "user",
        "manifest_scope": "server", "inject": {"target": "headers", "when": "always",
            "entries": [{"name": "X-Key", "value_template": "${secret.key}", "note": "mine"}]}}));
    assert_eq!(config.kind(), "template");
    let told = warnings.join("; ");
    for path in ["`colour`", "`inject.when`", "`inject.entries.0.note`", "`manifest_scope`"] {
        assert!(told.contains(path), "{path}: {told}");
    }
    assert!(!config.binding().unwrap().shared_manifest);
}

#[test]
fn processes_are_never_started_and_version_1_is_told_so() {
    let entry = json!([{"name": "MCP_ACCESS_TOKEN", "value_template": "${secret.access_token}"}]);
    for body in [
        json!({"provider": "stdio_env", "inject": {"target": "env", "entries": entry}}),
        json!({"provider": "bound_secret", "inject": {"target": "env", "entries": entry}}),
    ] {
        let codes = wrong(parse_v1(body.clone()));
        assert!(codes.iter().any(|(_, code)| *code == "stdio_disabled"), "{body}: {codes:?}");
    }
}

#[test]
fn every_mistake_is_told_at_once_with_its_path() {
    let body = json!({"provider": "custom_http_token", "binding_scope": "galaxy", "manifest_scope": 1,
        "inject": {"target": "headers", "entries": [
            {"name": "Host", "value_template": "${nope}"}, {"value_template": "x\r\ny", "name": "X-A"}, 7, {"name": "X-B"}]},
        "refresh_policy": {"pre_refresh_seconds": -1, "retry_once_on_401": "yes"},
        "token_request": {"url": "ftp://t", "method": "BREW", "body_type": "xml", "headers": {"Content-Length": "1"},
            "body_template": {"a": {"b": ["${context.name}"]}, "c": "${secret.}"}, "response_map": {"access_token": 1},
            "refresh": {"url": "https://user:pw@t.example"}}});
    let mut found = wrong(parse_v1(body));
    found.sort();
    let expected = [
        ("binding_scope", "connection_scope"),
        ("inject.entries.0.name", "header_not_allowed"),
        ("inject.entries.0.value_template", "template"),
        ("inject.entries.1.value_template", "header_value"),
        ("inject.entries.2", "type"),
        ("inject.entries.3.value_template", "required"),
        ("manifest_scope", "type"),
        ("refresh_policy.pre_refresh_seconds", "range"),
        ("refresh_policy.retry_once_on_401", "type"),
        ("token_request.body_template.a.b.0", "template"),
        ("token_request.body_template.c", "template"),
        ("token_request.body_type", "auth_type"),
        ("token_request.headers.Content-Length", "header_not_allowed"),
        ("token_request.method", "auth_type"),
        ("token_request.refresh.url", "url_userinfo"),
        ("token_request.response_map.access_token", "type"),
        ("token_request.url", "url_scheme"),
    ];
    assert_eq!(found, expected.map(|(path, code)| (path.to_owned(), code)));
}

#[test]
fn native_settings_that_dont_fit_are_refused_with_path_and_code() {
    let entry = |name: &str, value: &str| json!([{"name": name, "value_template": value}]);
    for (body, path, code) in [
        (json!({}), "type", "required"),
        (json!({"type": "magic"}), "type", "auth_type"),
        (json!({"type": "none", "client_certificate": true}), "client_certificate", "auth_type"),
        (json!({"type": "bearer", "colour": 1}), "colour", "unknown_field"),
        (json!({"type": "bearer", "scopes": []}), "scopes", "required"),
        (json!({"type": "bearer", "scopes": ["galaxy"]}), "scopes", "connection_scope"),
        (json!({"type": "bearer", "scopes": ["global", "system"]}), "scopes", "duplicate"),
        (json!({"type": "bearer", "scopes": ["user"], "manifest_scope": "server"}), "manifest_scope", "manifest_scope"),
        (json!({"type": "api_key", "header": "Mcp-Session-Id"}), "header", "header_not_allowed"),
        (json!({"type": "api_key", "header": "Host"}), "header", "header_not_allowed"),
        (json!({"type": "api_key", "header": "Transfer-Encoding"}), "header", "header_not_allowed"),
        (json!({"type": "api_key", "header": ":authority"}), "header", "header_not_allowed"),
        (json!({"type": "headers", "names": ["X-A", "x-a"]}), "names", "duplicate"),
        (json!({"type": "headers", "names": []}), "names", "required"),
        (json!({"type": "query"}), "parameter", "required"),
        (json!({"type": "query", "parameter": "a b"}), "parameter", "type"),
        (json!({"type": "template"}), "headers", "required"),
        (json!({"type": "template", "headers": entry("X-A", "${secret.a")}), "headers.0.value_template", "template"),
        (json!({"type": "template", "headers": entry("X-A", "${nothing}")}), "headers.0.value_template", "template"),
        (
            json!({"type": "template", "headers": entry("X-A-Key", "abcd***")}),
            "headers.0.value_template",
            "masked_value_rejected",
        ),
        (
            json!({"type": "template", "headers": [{"name": "X-A", "value_template": "a", "b": 1}]}),
            "headers.0.b",
            "unknown_field",
        ),
        (json!({"type": "client_credentials", "client_id": "c"}), "token_url", "required"),
        (json!({"type": "client_credentials", "token_url": "https://${secret.host}/t"}), "token_url", "template"),
        (
            json!({"type": "client_credentials", "token_url": "https://t.example/t", "client_secret": "****"}),
            "client_secret",
            "masked_value_rejected",
        ),
        (
            json!({"type": "client_credentials", "token_url": "https://t.example/t", "method": "magic"}),
            "method",
            "auth_type",
        ),
        (json!({"type": "custom_token"}), "token_request", "required"),
        (json!({"type": "token_exchange"}), "token_url", "required"),
    ] {
        assert_eq!(wrong(parse_native(body.clone())), [(path.to_owned(), code)], "{body}");
    }
    // The placeholder is named, as it always was.
    let detail = parse_native(json!({"type": "template", "headers": entry("X-A", "Bearer ${secrets.a}")})).unwrap_err();
    assert_eq!(detail[0].detail, "Unknown template placeholder: secrets.a");
}

#[test]
fn another_place_for_the_secret_is_another_destination() {
    let base = native(json!({"type": "api_key"})).destination();
    for other in [json!({"type": "api_key", "header": "X-Other"}), json!({"type": "bearer"}), json!({"type": "none"})] {
        assert_ne!(native(other.clone()).destination(), base, "{other}");
    }
    assert_eq!(native(json!({"type": "api_key", "header": "x-api-key", "scopes": ["user"]})).destination(), base);
    let request = |url: &str| {
        native(json!({"type": "custom_token", "token_request": {"url": url, "body_template": {"a": "${secret.a}"}}}))
    };
    assert_ne!(request("https://t.example/a").destination(), request("https://u.example/a").destination());
    assert_eq!(request("https://t.example/a").destination(), request("https://t.example/b").destination());
}
