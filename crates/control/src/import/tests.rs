//! What rows of the three systems become.

use super::*;

const MASTER: &str = "gatehouse-vector-master-key";
const WEKNORA_KEY: &str = "0123456789abcdef0123456789abcdef";
const SEALED: &str = "enc:v1:AAECAwQFBgcICQoLSo3LI7xgs8HYsBT6YLcsfMYsxbGWhl2weUi5";

fn of(source: Source, row: Value, key: Option<&str>) -> Result<Planned, RowError> {
    let key = key.map(|key| Secret::new(key.to_owned()));
    plan(source, SecretJson::new(row), key.as_ref())
}

fn server(planned: Result<Planned, RowError>) -> (String, Value) {
    match planned {
        Ok(Planned::Server(ServerPlan { key, mut body, .. })) => (key, body.take()),
        Ok(Planned::Skipped(why)) => panic!("skipped: {why}"),
        Ok(Planned::Connection(_)) => panic!("a connection"),
        Err(why) => panic!("{why}"),
    }
}

fn connection(planned: Result<Planned, RowError>) -> ConnectionPlan {
    match planned {
        Ok(Planned::Connection(plan)) => plan,
        Ok(_) => panic!("no connection"),
        Err(why) => panic!("{why}"),
    }
}

fn skipped(planned: Result<Planned, RowError>) -> String {
    match planned {
        Ok(Planned::Skipped(why)) => why,
        Ok(_) => panic!("not skipped"),
        Err(why) => panic!("{why}"),
    }
}

fn failed(planned: Result<Planned, RowError>) -> RowError {
    planned.err().expect("it fails")
}

/// As Yuxi's row holds it, in its first or second form.
fn blob(version: u64) -> String {
    match version {
        1 => json!({"v": 1, "kid": "local", "nonce": "AAECAwQFBgcICQoL",
            "ciphertext": "T7lOM8TeYtLfMIsY4_VAuuoucCWap5oaEcY9JSvhIXDZrUpapZPp9WgT5_zrrQV1cKJah2F4"}),
        _ => json!({"v": version, "kid": "local", "salt": "AAECAwQFBgcICQoLDA0ODw==", "nonce": "AAECAwQFBgcICQoL",
            "ciphertext": "Am6_sSu7fUB47-l8wfA_RFeB41gQF7woCjTVXjL4d6D2Grj8j9SMrX36GNAor43A0wkPqaJp"}),
    }
    .to_string()
}

fn yuxi_connection(scope: &str, blob: Option<String>) -> Value {
    json!({"id": 3, "server_name": "wiki", "scope_type": scope, "scope_id": "42", "status": "active",
        "display_name": "Ann's", "external_subject": null, "credential_blob": blob, "meta_json": {}})
}

#[test]
fn r30_yuxis_two_forms_are_opened_and_what_is_no_ciphertext_is_what_it_says() {
    let secrets = json!({"secrets": {"access_token": "tok-123"}});
    for version in [1, 2] {
        let plan = connection(of(Source::Yuxi, yuxi_connection("user", Some(blob(version))), Some(MASTER)));
        assert_eq!(plan.credential.unwrap().expose(), &secrets, "{version}");
        assert_eq!((plan.server.as_str(), plan.scope, plan.holder.as_deref()), ("wiki", Scope::User, Some("42")));
    }
    for (plain, expected) in [(secrets.to_string(), secrets), ("ghp_raw".to_owned(), json!("ghp_raw"))] {
        let plan = connection(of(Source::Yuxi, yuxi_connection("system", Some(plain)), None));
        assert_eq!(plan.credential.unwrap().expose(), &expected);
        assert_eq!((plan.scope, plan.holder), (Scope::Global, None), "the system's scope id says nothing");
    }
    let none = connection(of(Source::Yuxi, yuxi_connection("department", None), None));
    assert!(none.credential.is_none() && none.scope == Scope::Department);
}

#[test]
fn a_ciphertext_that_does_not_open_fails_its_row_and_shows_nothing() {
    let row = |version| yuxi_connection("user", Some(blob(version)));
    for (key, version, why) in [
        (None, 2, RowError::NoKey("credential_blob")),
        (Some("another"), 1, RowError::Ciphertext { member: "credential_blob", why: LegacyError::Altered }),
        (Some("another"), 2, RowError::Ciphertext { member: "credential_blob", why: LegacyError::Altered }),
        (Some(MASTER), 3, RowError::Ciphertext { member: "credential_blob", why: LegacyError::Version }),
    ] {
        assert_eq!(failed(of(Source::Yuxi, row(version), key)), why, "{key:?} {version}");
    }
}

#[test]
fn a_yuxi_servers_settings_are_taken_verbatim_and_its_headers_are_secrets() {
    let config = json!({"version": 1, "provider": "bound_secret", "binding_scope": "user",
        "inject": {"target": "headers", "entries": [{"name": "X-User", "value_template": "${secret.pat}"}]}});
    let row = json!({"name": "Wiki", "description": "d", "transport": "streamable_http", "url": "https://wiki.example/mcp",
        "headers": null, "auth_config_json": config.to_string(), "timeout": 20, "sse_read_timeout": null,
        "tags": "[\"a\"]", "enabled": 0, "disabled_tools": ["rm"]});
    let (key, body) = server(of(Source::Yuxi, row.clone(), None));
    assert_eq!(key, "Wiki");
    assert_eq!(
        body,
        json!({"title": "Wiki", "description": "d", "url": "https://wiki.example/mcp", "transport": "streamable_http",
            "connect_timeout_ms": 20_000, "read_timeout_ms": 20_000, "tags": ["a"], "disabled_tools": ["rm"],
            "enabled": false, "skip_validation": true, "auth_config": config})
    );

    let mut with = row.clone();
    with["headers"] = json!({"X-Api-Key": "k"});
    let (_, body) = server(of(Source::Yuxi, with.clone(), None));
    let entries = body["auth_config"]["inject"]["entries"].as_array().unwrap();
    assert_eq!(entries[0], json!({"name": "X-Api-Key", "value_template": "k"}));
    assert_eq!(entries.len(), 2);

    with["auth_config_json"] = Value::Null;
    with["headers"] = json!({"X-Team": "a", "X-Api-Key": "k"}).to_string().into();
    let (_, body) = server(of(Source::Yuxi, with, None));
    assert_eq!(body["auth"], json!({"type": "headers", "names": ["X-Api-Key", "X-Team"], "scopes": ["global"]}));
    assert_eq!(body["credential"], json!({"secrets": {"x-api-key": "k", "x-team": "a"}}));
    assert!(body.get("headers").is_none(), "none is public");

    let mut bearer = row;
    bearer["auth_config_json"] = Value::Null;
    bearer["headers"] = json!({"authorization": "Bearer tok"});
    let (_, body) = server(of(Source::Yuxi, bearer, None));
    assert_eq!((&body["auth"]["type"], &body["credential"]), (&json!("bearer"), &json!("tok")));
}

#[test]
fn programs_of_the_old_machine_are_refused_and_reported() {
    let stdio = json!({"name": "fs", "transport": "stdio", "command": "npx", "args": "[]", "env": "{\"K\":\"v\"}"});
    assert!(skipped(of(Source::Yuxi, stdio, None)).starts_with("stdio_disabled: `fs`"));
    let env = json!({"name": "fs", "transport": "sse", "url": "https://h/sse", "auth_config_json": {"provider": "stdio_env"}});
    assert!(skipped(of(Source::Yuxi, env, None)).starts_with("stdio_disabled"));
    let weknora = json!({"id": "1", "name": "fs", "transport_type": "stdio", "stdio_config": {"command": "npx"}});
    assert!(skipped(of(Source::Weknora, weknora, None)).starts_with("stdio_disabled"));
    let container = json!({"mcp_name": "c", "mcp_server": "http://127.0.0.1:5020/mcp", "container_id": "abc"});
    assert!(skipped(of(Source::Nexent, container, None)).starts_with("stdio_disabled"));
}

fn weknora(auth: Value) -> Value {
    json!({"id": "0f0f", "tenant_id": 1, "name": "Git", "description": "", "enabled": true, "deleted_at": null,
        "transport_type": "http-streamable", "url": "https://git.example/mcp", "headers": {}, "auth_config": auth,
        "advanced_config": {"timeout": 30, "retry_count": 3, "retry_delay": 1}, "stdio_config": null})
}

#[test]
fn r37_untyped_settings_are_inferred_as_weknora_did() {
    let read = |auth| {
        let (key, body) = server(of(Source::Weknora, weknora(auth), Some(WEKNORA_KEY)));
        assert_eq!(key, "0f0f");
        (body["auth"].clone(), body.get("credential").cloned())
    };
    let headers = |names: Value| json!({"type": "headers", "names": names, "scopes": ["global"]});
    // Each that is there is sent, the key under its header, the token as a bearer's.
    assert_eq!(
        read(json!({"api_key": SEALED, "token": "t"})),
        (
            headers(json!(["X-API-Key", "Authorization"])),
            Some(json!({"secrets": {"x-api-key": "ghp_example", "authorization": "Bearer t"}}))
        )
    );
    assert_eq!(
        read(json!({"auth_type": "", "api_key": "k", "api_key_header": "X-Key"})),
        (headers(json!(["X-Key"])), Some(json!({"secrets": {"x-key": "k"}})))
    );
    assert_eq!(read(json!({"token": "t"})), (json!({"type": "bearer", "scopes": ["global"]}), Some(json!("t"))));
    assert_eq!(read(json!({})), (json!({"type": "none"}), None));
    assert_eq!(read(Value::Null), (json!({"type": "none"}), None));
}

#[test]
fn weknoras_types_exclude_each_other_and_further_headers_win() {
    let read = |auth| {
        let (_, body) = server(of(Source::Weknora, weknora(auth), Some(WEKNORA_KEY)));
        (body["auth"].clone(), body.get("credential").cloned())
    };
    assert_eq!(
        read(json!({"auth_type": "api_key", "api_key": SEALED, "token": "t"})),
        (
            json!({"type": "api_key", "header": "X-API-Key", "scopes": ["global"]}),
            Some(json!({"secrets": {"api_key": "ghp_example"}}))
        )
    );
    assert_eq!(read(json!({"auth_type": "bearer", "api_key": "k", "token": "t"})).1, Some(json!("t")));
    let (auth, credential) = read(json!({"auth_type": "bearer", "token": "t",
        "custom_headers": {"authorization": "Basic x", "X-Team": "a"}}));
    assert_eq!(auth["names"], json!(["X-Team", "authorization"]));
    assert_eq!(credential, Some(json!({"secrets": {"authorization": "Basic x", "x-team": "a"}})));
    let oauth = json!({"auth_type": "oauth", "scopes": ["read", "write"], "custom_headers": {"X-Team": "a"},
        "auth_server_metadata_url": "https://id.example/.well-known/oauth-authorization-server/realm"});
    assert_eq!(
        read(oauth),
        (
            json!({"type": "authorization_code", "scopes": ["user"], "scope": "read write",
                "issuer": "https://id.example/realm",
                "headers": [{"name": "Authorization", "value_template": "Bearer ${access_token}"},
                    {"name": "X-Team", "value_template": "a"}]}),
            None
        )
    );
    assert_eq!(
        failed(of(Source::Weknora, weknora(json!({"auth_type": "magic"})), None)),
        RowError::Word { member: "auth_config.auth_type", value: "magic".into() }
    );
    let no_key = of(Source::Weknora, weknora(json!({"auth_type": "bearer", "token": SEALED})), None);
    assert_eq!(failed(no_key), RowError::NoKey("auth_config.token"));
}

#[test]
fn weknoras_tokens_of_users_become_their_connections_and_the_rest_is_told() {
    let row = json!({"tenant_id": 1, "principal_type": "user", "principal_id": "u1", "service_id": "0f0f",
        "access_token": SEALED, "refresh_token": null, "token_type": "Bearer", "expires_at": "2030-01-01T00:00:00Z"});
    let plan = connection(of(Source::Weknora, row.clone(), Some(WEKNORA_KEY)));
    assert_eq!((plan.server.as_str(), plan.scope, plan.holder.as_deref()), ("0f0f", Scope::User, Some("u1")));
    assert_eq!(
        plan.credential.unwrap().expose(),
        &json!({"secrets": {}, "access_token": "ghp_example", "token_type": "Bearer", "expires_at": "2030-01-01T00:00:00Z"})
    );
    let mut other = row;
    other["principal_type"] = "embed".into();
    skipped(of(Source::Weknora, other, None));
    skipped(of(Source::Weknora, json!({"client_id": "c", "redirect_uri": "https://old/cb"}), None));
    skipped(of(Source::Weknora, json!({"tool_name": "rm", "require_approval": true}), None));
    let mut gone = weknora(json!({}));
    gone["deleted_at"] = "2024-01-01".into();
    skipped(of(Source::Weknora, gone, None));
}

#[test]
fn nexents_records_become_servers() {
    let row = json!({"mcp_id": 7, "tenant_id": "t", "user_id": "u", "mcp_name": "search", "mcp_server": "https://s.example/sse",
        "delete_flag": "N", "status": null, "authorization_token": "Bearer tok", "custom_headers": {"X-A": "b"}});
    let (key, body) = server(of(Source::Nexent, row.clone(), None));
    assert_eq!(
        (key.as_str(), &body["title"], &body["url"]),
        ("search", &json!("search"), &json!("https://s.example/sse"))
    );
    assert_eq!(body["credential"], json!({"secrets": {"x-a": "b", "authorization": "Bearer tok"}}));
    let mut gone = row.clone();
    gone["delete_flag"] = "Y".into();
    skipped(of(Source::Nexent, gone, None));
    let mut seed = row;
    seed.as_object_mut().unwrap().retain(|name, _| !name.starts_with("auth") && !name.starts_with("custom"));
    assert_eq!(server(of(Source::Nexent, seed, None)).1["auth"], json!({"type": "none"}));
}

#[test]
fn a_row_of_another_table_is_no_row() {
    for (source, row) in [
        (Source::Yuxi, json!({"mcp_name": "x", "mcp_server": "y"})),
        (Source::Weknora, json!({"name": "x"})),
        (Source::Nexent, json!({"name": "x", "transport": "sse"})),
    ] {
        assert_eq!(failed(of(source, row, None)), RowError::Table);
    }
    assert_eq!(failed(of(Source::Yuxi, json!({"name": 7, "transport": "sse"}), None)), RowError::Member("name"));
    let odd = json!({"name": "x", "transport": "carrier pigeon"});
    assert!(matches!(failed(of(Source::Yuxi, odd, None)), RowError::Word { member: "transport", .. }));
}
