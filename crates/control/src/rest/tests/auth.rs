//! How servers are authenticated to: what is sent where, what an upstream wants, and that no answer shows a secret.

use axum::http::StatusCode;
use serde_json::{Value, json};
use wire::Challenge;

use super::house::{House, NOTES, OTHER, Reply};

/// Secrets that must stand in no answer.
const SECRET: &str = "tok-c4n4ry-one";
const NEWER: &str = "tok-c4n4ry-two";

impl House {
    async fn new_server(&self, body: Value) -> Reply {
        let made = self.admin("POST", "/api/v1/servers", &body.to_string()).await;
        assert!(!made.text.contains("c4n4ry"), "{}", made.text);
        made
    }

    async fn made_server(&self, body: Value) -> Value {
        let made = self.new_server(body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()
    }

    pub(super) async fn patched(&self, server: &str, body: &Value) -> Reply {
        let path = format!("/api/v1/servers/{server}");
        let changed = self.admin_with(("if-match", "*"), "PATCH", &path, &body.to_string()).await;
        assert!(!changed.text.contains("c4n4ry"), "{}", changed.text);
        changed
    }

    /// The header lines that upstreams have been shown, probe by probe.
    fn shown_lines(&self) -> Vec<Vec<String>> {
        self.proxies.with(|state| {
            let lines = |lines: &Option<std::sync::Arc<wire::HeaderLines>>| {
                let headers = lines.iter().flat_map(|lines| lines.headers.iter());
                headers.map(|(name, value)| format!("{name}: {}", value.expose())).collect()
            };
            state.probed.iter().map(lines).collect()
        })
    }

    fn challenges(&self, challenge: Challenge) {
        self.proxies.with(|state| state.challenges.push(challenge));
    }
}

fn unauthorized(metadata: Option<&str>) -> Challenge {
    Challenge { status: 401, resource_metadata: metadata.map(str::to_owned), ..Challenge::default() }
}

/// Fields and codes of what is wrong.
fn wrong(reply: &Reply) -> Vec<(String, String)> {
    let json = reply.json();
    let errors = json["errors"].as_array().cloned().unwrap_or_default();
    let text = |error: &Value, name: &str| error[name].as_str().unwrap_or_default().to_owned();
    errors.iter().map(|error| (text(error, "field"), text(error, "code"))).collect()
}

#[tokio::test]
async fn a_credential_in_the_create_body_becomes_the_global_connection_is_shown_to_the_upstream_and_to_nobody_else() {
    let house = House::open().await;
    let made = house
        .made_server(json!({"name": "safe", "url": NOTES, "auth": {"type": "bearer"}, "credential": SECRET}))
        .await;
    assert_eq!(made["auth"]["type"], "bearer");
    assert_eq!((&made["needs"], &made["required_secrets"]), (&json!(null), &json!(["access_token"])));
    assert_eq!(house.shown_lines(), [[format!("Authorization: Bearer {SECRET}")]]);
    let list = house.admin("GET", "/api/v1/servers/safe/connections", "").await;
    assert!(!list.text.contains("c4n4ry"));
    let one = &list.json()["items"][0];
    assert_eq!(one["id"], made["connection"]);
    assert_eq!((&one["scope_type"], &one["has_credentials"]), (&json!("global"), &json!(true)));
    for path in ["/api/v1/servers/safe", "/api/v1/servers", "/api/v1/audit"] {
        assert!(!house.admin("GET", path, "").await.text.contains("c4n4ry"), "{path}");
    }
}

#[tokio::test]
async fn a_server_that_wants_oauth_is_added_with_one_command_and_says_where_to_log_in() {
    let house = House::open().await;
    house.challenges(unauthorized(Some("https://h.example/.well-known/oauth-protected-resource")));
    let made = house.made_server(json!({"name": "tracker", "url": NOTES})).await;
    assert_eq!(made["auth"]["type"], "authorization_code");
    assert_eq!(made["auth"]["scopes"], json!(["user"]));
    let needs = &made["needs"];
    assert_eq!(
        (&needs["error"], &needs["status"], &needs["scopes"]),
        (&json!("oauth_required"), &json!(401), &json!(["user"]))
    );
    let login = needs["login_url"].as_str().unwrap();
    assert!(login.ends_with("/connect/acme/tracker"), "{login}");
    assert_eq!(made["probe"]["needs_auth"], true);
}

#[tokio::test]
async fn a_bare_401_is_no_oauth_and_the_server_is_saved_and_says_what_it_needs() {
    let house = House::open().await;
    house.challenges(unauthorized(None));
    let made = house.made_server(json!({"name": "bare", "url": NOTES})).await;
    assert_eq!((&made["auth"], &made["needs"]["error"]), (&json!({"type": "none"}), &json!("credential_required")));
    house.challenges(unauthorized(None));
    let body = json!({"name": "wrong", "url": NOTES, "auth": {"type": "bearer"}, "credential": SECRET});
    let made = house.made_server(body).await;
    assert_eq!((&made["needs"]["error"], &made["needs"]["login_url"]), (&json!("auth_failed"), &json!(null)));
    house.challenges(Challenge { status: 403, error: Some("insufficient_scope".to_owned()), ..Challenge::default() });
    let body = json!({"name": "less", "url": NOTES, "auth": {"type": "bearer"}, "credential": SECRET});
    assert_eq!(house.made_server(body).await["needs"]["error"], "insufficient_scope");
}

#[tokio::test]
async fn settings_of_version_1_are_taken_verbatim_and_unknown_members_come_back_as_warnings() {
    let house = House::open().await;
    let config = json!({"version": 1, "provider": "bound_secret", "binding_scope": "user", "manifest_scope": "binding",
        "inject": {"target": "headers", "entries": [{"name": "Authorization", "value_template": "Bearer ${secret.access_token}"}]},
        "refresh_policy": {"pre_refresh_seconds": 0, "retry_once_on_401": false}, "colour": "red"});
    let made =
        house.made_server(json!({"name": "old", "url": NOTES, "auth_config": config, "skip_validation": true})).await;
    assert_eq!((&made["auth"]["type"], &made["auth"]["scopes"]), (&json!("template"), &json!(["user"])));
    assert_eq!(made["warnings"], json!(["`colour` is unknown and was ignored"]));
    let env = json!({"version": 1, "provider": "stdio_env", "inject": {"target": "env", "entries": []}});
    let refused = house.new_server(json!({"url": NOTES, "auth_config": env})).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        wrong(&refused).contains(&("auth_config.provider".to_owned(), "stdio_disabled".to_owned())),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn mistakes_of_settings_and_credential_come_all_at_once_with_their_paths_and_nothing_is_sent_or_saved() {
    let house = House::open().await;
    let auth =
        json!({"type": "custom_token", "token_request": {"url": "ftp://t", "body_template": {"a": "${nothing}"}}});
    let refused = house.new_server(json!({"name": "x", "url": NOTES, "auth": auth, "credential": "abcd****"})).await;
    let pair = |field: &str, code: &str| (field.to_owned(), code.to_owned());
    let mut told = wrong(&refused);
    told.sort();
    assert_eq!(
        told,
        [
            pair("auth.token_request.body_template.a", "template"),
            pair("auth.token_request.url", "url_scheme"),
            pair("credential", "masked_value_rejected"),
        ]
    );
    for (body, field, code) in [
        (json!({"url": NOTES, "credential": SECRET}), "credential", "required"),
        (
            json!({"url": NOTES, "auth": {"type": "bearer", "scopes": ["user"]}, "credential": SECRET}),
            "credential",
            "scope_not_accepted",
        ),
        (
            json!({"url": NOTES, "auth": {"type": "basic"}, "credential": {"secrets": {"username": "c4n4ry"}}}),
            "credential.secrets.password",
            "required",
        ),
        (
            json!({"url": NOTES, "auth": {"type": "bearer"}, "credential": "c4n4ry\r\nX-Evil: 1"}),
            "credential",
            "header_value",
        ),
        (
            json!({"url": NOTES, "auth": {"type": "bearer"}, "auth_config": {"provider": "bound_secret"}}),
            "auth_config",
            "duplicate",
        ),
        (
            json!({"url": NOTES, "auth": {"type": "client_credentials", "token_url": "https://t.example", "client_secret": {"configured": true}}}),
            "auth.client_secret",
            "required",
        ),
    ] {
        let refused = house.new_server(body.clone()).await;
        assert_eq!(
            (refused.status, wrong(&refused)),
            (StatusCode::UNPROCESSABLE_ENTITY, vec![pair(field, code)]),
            "{body}"
        );
    }
    assert_eq!(house.proxies.with(|state| state.probes), 0);
    assert_eq!(house.admin("GET", "/api/v1/servers", "").await.json()["items"], json!([]));
}

#[tokio::test]
async fn a_changed_origin_or_header_with_a_kept_secret_is_refused_and_nothing_is_sent_anywhere() {
    let house = House::open().await;
    house.made_server(json!({"name": "safe", "url": NOTES, "auth": {"type": "api_key"}, "credential": SECRET})).await;
    let probes = house.proxies.with(|state| state.probes);
    let reentry = vec![("credential".to_owned(), "credential_reentry_required".to_owned())];
    for body in [
        json!({"url": OTHER}),
        json!({"url": NOTES.replace("http:", "https:")}),
        json!({"url": NOTES.replace("127.0.0.1", "127.0.0.2")}),
        json!({"auth": {"type": "api_key", "header": "X-Elsewhere"}}),
        json!({"auth": {"type": "bearer"}}),
        json!({"auth": {"type": "query", "parameter": "k"}}),
        json!({"url": OTHER, "auth": null}),
    ] {
        let refused = house.patched("safe", &body).await;
        assert_eq!((refused.status, wrong(&refused)), (StatusCode::UNPROCESSABLE_ENTITY, reentry.clone()), "{body}");
    }
    assert_eq!(house.proxies.with(|state| state.probes), probes);
    // The same origin, another path; a retry; and the secret once more: all of these are no reason to refuse.
    for body in [
        json!({"url": format!("{NOTES}/v2")}),
        json!({"auth": {"type": "api_key", "retry_once_on_401": false, "scopes": ["user", "global"]}}),
        json!({"url": OTHER, "auth": {"type": "api_key", "header": "X-Elsewhere"}, "credential": NEWER}),
    ] {
        assert_eq!(house.patched("safe", &body).await.status, StatusCode::OK, "{body}");
    }
    let tested = house.admin("POST", "/api/v1/servers/safe/test", "").await.json();
    assert_eq!(tested["ok"], true, "{tested}");
    assert_eq!(house.shown_lines().last().unwrap(), &[format!("X-Elsewhere: {NEWER}")]);
    // Without a secret nothing holds a server where it is.
    assert_eq!(house.patched("safe", &json!({"credential": null})).await.status, StatusCode::OK);
    assert_eq!(house.patched("safe", &json!({"url": NOTES})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn credentials_of_people_hold_a_server_where_it_is_even_when_the_global_one_is_given_again() {
    let house = House::open().await;
    let auth = json!({"type": "bearer", "scopes": ["user", "global"]});
    house.made_server(json!({"name": "safe", "url": NOTES, "auth": auth, "credential": SECRET})).await;
    house.admin("POST", "/api/v1/users", r#"{"login":"ann"}"#).await;
    let body = json!({"scope_type": "user", "scope_id": "ann", "credential": NEWER}).to_string();
    let made = house.admin("POST", "/api/v1/servers/safe/connections", &body).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let refused = house.patched("safe", &json!({"url": OTHER, "credential": SECRET})).await;
    assert_eq!(refused.code(), "credential_reentry_required");
    // The way around over no authentication at all leads nowhere either.
    assert_eq!(house.patched("safe", &json!({"auth": null})).await.status, StatusCode::OK);
    assert_eq!(house.patched("safe", &json!({"url": OTHER})).await.code(), "credential_reentry_required");
    let elsewhere = json!({"auth": {"type": "api_key", "scopes": ["user"]}});
    assert_eq!(house.patched("safe", &elsewhere).await.code(), "credential_reentry_required");
}

#[tokio::test]
async fn a_clients_secret_stays_where_it_was_given_for_and_is_asked_for_again_elsewhere() {
    let house = House::open().await;
    let auth = |token_url: &str, secret: Value| json!({"auth": {"type": "client_credentials", "token_url": token_url, "client_id": "c", "client_secret": secret}});
    let (here, there) = ("https://t.example/token", "https://u.example/token");
    let kept = || json!({"configured": true});
    let mut body = auth(here, json!(SECRET));
    body["name"] = json!("app");
    body["url"] = json!(NOTES);
    body["skip_validation"] = json!(true);
    let made = house.made_server(body).await;
    assert_eq!(made["auth"]["client_secret"], kept());
    for body in [auth(there, kept()), json!({"url": OTHER}), json!({"url": OTHER, "auth": made["auth"]})] {
        let refused = house.patched("app", &body).await;
        let expected = [("auth.client_secret".to_owned(), "credential_reentry_required".to_owned())];
        assert_eq!(wrong(&refused), expected, "{body}");
    }
    let masked = house.patched("app", &auth(here, json!("c4n4***"))).await;
    assert_eq!(wrong(&masked), [("auth.client_secret".to_owned(), "masked_value_rejected".to_owned())]);
    assert_eq!(house.patched("app", &auth(here, kept())).await.status, StatusCode::OK);
    assert_eq!(house.patched("app", &auth(there, json!(NEWER))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_was_read_and_sent_back_changes_no_secret_and_raises_no_version() {
    let house = House::open().await;
    let request = json!({"url": "https://t.example/token", "headers": {"Authorization": format!("Basic {SECRET}")},
        "body_template": {"client_secret": SECRET, "user": "${context.user_id}"}});
    for (name, auth, credential) in [
        ("a", json!({"type": "none"}), json!(null)),
        ("b", json!({"type": "bearer", "scopes": ["global", "user"]}), json!(SECRET)),
        (
            "c",
            json!({"type": "client_credentials", "token_url": "https://t.example/t", "client_id": "c", "client_secret": SECRET}),
            json!(null),
        ),
        ("d", json!({"type": "custom_token", "token_request": request}), json!(null)),
        (
            "e",
            json!({"type": "authorization_code", "issuer": "https://t.example", "client_id": "c", "client_secret": SECRET}),
            json!(null),
        ),
        ("f", json!({"type": "template", "headers": [{"name": "X-Api-Key", "value_template": SECRET}]}), json!(null)),
    ] {
        let mut body = json!({"name": name, "url": NOTES, "auth": auth, "skip_validation": true});
        if !credential.is_null() {
            body["credential"] = credential;
        }
        let made = house.made_server(body).await;
        let before = house.app.store.tenant(house.acme).server_by_name(name).await.unwrap().unwrap();
        let mut read = house.admin("GET", &format!("/api/v1/servers/{name}"), "").await.json();
        for given in [
            "id",
            "generation",
            "created_by",
            "updated_by",
            "created_at",
            "updated_at",
            "deleted_at",
            "required_secrets",
            "eras",
        ] {
            read.as_object_mut().unwrap().remove(given);
        }
        let changed = house.patched(name, &read).await;
        assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
        assert_eq!(changed.json()["generation"], made["generation"], "{name}");
        let after = house.app.store.tenant(house.acme).server_by_name(name).await.unwrap().unwrap();
        assert_eq!(after, before, "{name}");
    }
}

#[tokio::test]
async fn a_test_uses_the_callers_own_connection_and_without_one_names_what_is_accepted() {
    let house = House::open().await;
    let body = json!({"name": "safe", "url": NOTES, "auth": {"type": "bearer", "scopes": ["user", "global"]}, "skip_validation": true});
    house.made_server(body).await;
    let refused = house.admin("POST", "/api/v1/servers/safe/test", "").await;
    assert_eq!(refused.told(), (400, "connection_required".to_owned()));
    assert_eq!((&refused.json()["scopes"], &refused.json()["login_url"]), (&json!(["user", "global"]), &json!(null)));
    let body = json!({"name": "login", "url": NOTES, "auth": {"type": "authorization_code"}, "skip_validation": true});
    house.made_server(body).await;
    let refused = house.admin("POST", "/api/v1/servers/login/test", "").await.json();
    assert!(refused["login_url"].as_str().unwrap().ends_with("/connect/acme/login"), "{refused}");
    assert_eq!(house.proxies.with(|state| state.probes), 0);
    assert_eq!(house.patched("safe", &json!({"credential": SECRET})).await.status, StatusCode::OK);
    house.challenges(unauthorized(None));
    let tested = house.admin("POST", "/api/v1/servers/safe/test", "").await;
    assert_eq!(tested.status, StatusCode::OK, "{}", tested.text);
    let told = tested.json();
    assert_eq!(
        (&told["ok"], &told["class"], &told["needs"]["error"]),
        (&json!(false), &json!("auth"), &json!("auth_failed"))
    );
    assert_eq!(house.shown_lines(), [[format!("Authorization: Bearer {SECRET}")]]);
    assert_eq!(house.admin("POST", "/api/v1/servers/safe/test", "").await.json()["ok"], true);
}

#[tokio::test]
async fn a_test_or_probe_never_takes_a_stored_secret_with_a_url_of_the_body() {
    let house = House::open().await;
    house.made_server(json!({"name": "safe", "url": NOTES, "auth": {"type": "bearer"}, "credential": SECRET})).await;
    let other = json!({"name": "other", "url": OTHER, "auth": {"type": "bearer"}});
    house.made_server(other).await;
    assert_eq!(house.shown_lines().last().unwrap(), &Vec::<String>::new());
    // A test takes a record and no body of its own.
    let tested = house.admin("POST", "/api/v1/servers/safe/test", &json!({"url": OTHER}).to_string()).await;
    assert!(tested.status == StatusCode::OK || tested.status.is_client_error());
    assert!(house.proxies.with(|state| state.probed.iter().flatten().count()) <= 2);
    for key in [&house.client, &house.viewer] {
        assert_eq!(house.ask(key, "POST", "/api/v1/servers/safe/test", "").await.status, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn single_secrets_are_put_and_taken_away_and_only_said_to_be_configured() {
    let house = House::open().await;
    let auth = json!({"type": "template", "headers": [{"name": "X-Key", "value_template": "${secret.api_key}"}]});
    house.made_server(json!({"name": "safe", "url": NOTES, "auth": auth, "skip_validation": true})).await;
    let put = async |body: Value| {
        let answer = house.admin("PUT", "/api/v1/servers/safe/credentials", &body.to_string()).await;
        assert!(!answer.text.contains("c4n4ry"));
        answer
    };
    let fields = |api_key: bool, token: bool| json!({"fields": {"api_key": {"configured": api_key}, "token": {"configured": token}}});
    assert_eq!(put(json!({})).await.json(), fields(false, false));
    assert_eq!(put(json!({"api_key": SECRET})).await.json(), fields(true, false));
    let version = async || {
        house.admin("GET", "/api/v1/servers/safe/connections", "").await.json()["items"][0]["credential_version"]
            .clone()
    };
    let before = version().await;
    assert_eq!(put(json!({"api_key": ""})).await.json(), fields(true, false));
    assert_eq!(put(json!({"api_key": SECRET})).await.json(), fields(true, false));
    assert_eq!(version().await, before, "what is absent, empty or the same changes nothing");
    assert_eq!(put(json!({"token": NEWER})).await.json(), fields(true, true));
    assert_eq!(put(json!({"token": "***"})).await.code(), "masked_value_rejected");
    let delete =
        async |field: &str| house.admin("DELETE", &format!("/api/v1/servers/safe/credentials/{field}"), "").await;
    for _ in 0..2 {
        assert_eq!(delete("api_key").await.status, StatusCode::NO_CONTENT);
    }
    assert_eq!(delete("password").await.told(), (400, "credential_field".to_owned()));
    assert_eq!(put(json!({})).await.json(), fields(false, true));
}
