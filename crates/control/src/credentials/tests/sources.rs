//! Where tokens come from, and credentials that lie elsewhere.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

const CONTEXT: Context = Context { user_id: None, department_id: None, work_id: None };

impl House {
    fn client_credentials(&self, more: &Value) -> Value {
        let mut auth = json!({"type": "client_credentials", "token_url": self.endpoint.token_url(),
            "client_id": "our id", "client_secret": "s:1"});
        for (name, value) in more.as_object().unwrap() {
            auth[name] = value.clone();
        }
        auth
    }

    /// As proxies ask where no connection is needed.
    async fn inline(&self, server: &ServerRecord, newer_than: i64) -> Result<HeaderLines, Unresolved> {
        self.one.lines(server, None, &CONTEXT, newer_than).await
    }

    fn referred(&self, name: &str, text: &str) {
        let path = self.dir.path().join("references").join(self.tenant.to_string()).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new = path.with_extension("new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
        fs::rename(new, path).unwrap();
    }
}

#[tokio::test]
async fn r49_client_credentials_are_shown_as_the_settings_say_and_any_success_counts() {
    let house = House::open().await;
    let server = house
        .server(house.client_credentials(&json!({"scope": "a b", "audience": "aud",
        "resource": "https://crm.example", "method": "client_secret_basic"})))
        .await;
    house.endpoint.answers(201, r#"{"access_token":"created"}"#);
    assert_eq!(bearer(&house.inline(&server, 0).await.unwrap()), "created");
    let asked = &house.endpoint.asked()[0];
    // RFC 6749, 2.3.1: `our id` and `s:1`, written as forms have them.
    assert_eq!(asked.headers["authorization"], "Basic b3VyK2lkOnMlM0Ex");
    for (name, value) in [
        ("grant_type", Some("client_credentials")),
        ("scope", Some("a b")),
        ("audience", Some("aud")),
        ("resource", Some("https://crm.example")),
        ("client_secret", None),
    ] {
        assert_eq!(asked.field(name).as_deref(), value, "{name}");
    }
    let server = house.server(house.client_credentials(&json!({"method": "client_secret_post"}))).await;
    house.inline(&server, 0).await.unwrap();
    let asked = &house.endpoint.asked()[1];
    assert_eq!(asked.field("client_id").as_deref(), Some("our id"));
    assert_eq!(asked.field("client_secret").as_deref(), Some("s:1"));
    assert!(!asked.headers.contains_key("authorization"));
    let server = house.server(house.client_credentials(&json!({"scope": "other"}))).await;
    house.endpoint.answers(200, "canary, and no JSON");
    let why = house.inline(&server, 0).await.unwrap_err();
    assert!(why.reason == "busy" && !why.message.contains("canary"), "{why:?}");
}

#[tokio::test]
async fn r49_a_private_key_signs_for_the_token_endpoint() {
    let house = House::open().await;
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let auth = json!({"type": "client_credentials", "token_url": house.endpoint.token_url(), "client_id": "ours",
        "private_key": pair.serialize_pem(), "method": "private_key_jwt"});
    let server = house.server(auth).await;
    assert_eq!(bearer(&house.inline(&server, 0).await.unwrap()), "at-1");
    let asked = &house.endpoint.asked()[0];
    assert_eq!(asked.field("client_assertion_type").as_deref(), Some(crate::credentials::assertion::KIND));
    assert_eq!(asked.field("client_assertion").unwrap().split('.').count(), 3);
    assert_eq!(asked.field("client_secret"), None);
}

#[tokio::test]
async fn r41_a_source_without_a_connection_keeps_its_token_until_it_ends_or_is_refused() {
    let house = House::open().await;
    let server = house.server(house.client_credentials(&json!({}))).await;
    let first = house.inline(&server, 0).await.unwrap();
    assert_eq!(bearer(&first), "at-1");
    assert_eq!(bearer(&house.inline(&server, 0).await.unwrap()), "at-1");
    assert_eq!(house.endpoint.asked().len(), 1);
    let second = house.inline(&server, first.token_generation).await.unwrap();
    assert_eq!(bearer(&second), "at-2");
    assert!(second.token_generation > first.token_generation);
    assert_eq!(bearer(&house.inline(&server, first.token_generation).await.unwrap()), "at-2", "there is one already");
    let why = house.inline(&server, second.token_generation).await.unwrap_err();
    assert_eq!((why.reason.as_str(), why.retry_after.is_some()), ("upstream_auth", true), "one trial a minute");
    house.pass(60);
    assert_eq!(bearer(&house.inline(&server, second.token_generation).await.unwrap()), "at-3");
    house.pass(3_600);
    assert_eq!(bearer(&house.inline(&server, 0).await.unwrap()), "at-4");
}

#[tokio::test]
async fn r58_client_credentials_that_are_refused_stay_active_and_are_tried_once_a_minute() {
    let house = House::open().await;
    let auth = json!({"type": "client_credentials", "token_url": house.endpoint.token_url(), "scopes": ["global"]});
    let server = house.server(auth).await;
    let secrets = json!({"secrets": {"client_id": "ours", "client_secret": "s"}});
    let record = house.connection(&server, Holder::Global, secrets).await;
    let lines = async |than| house.one.lines(&server, Some(&house.now(&record).await), &CONTEXT, than).await;
    assert_eq!((bearer(&lines(0).await.unwrap()), house.now(&record).await.token_generation), ("at-1".into(), 2));
    assert_eq!(bearer(&lines(2).await.unwrap()), "at-2");
    let verdict = wire::Verdict {
        tenant: house.tenant,
        server: server.spec.id,
        connection: record.id,
        token_generation: 3,
        refused: Some(wire::Challenge { status: 401, ..wire::Challenge::default() }),
    };
    house.one.report(&Report { node: NODE.into(), verdicts: vec![verdict] }).await.unwrap();
    let stored = house.now(&record).await;
    assert_eq!((stored.status, stored.last_error.unwrap().code), (ConnectionStatus::Active, "auth_failed".to_owned()));
    let why = lines(3).await.unwrap_err();
    assert_eq!((why.reason.as_str(), house.endpoint.asked().len()), ("upstream_auth", 2));
    assert_eq!(bearer(&lines(0).await.unwrap()), "at-2", "one bad answer locks nobody out");
    house.pass(61);
    assert_eq!(bearer(&lines(3).await.unwrap()), "at-3");
    // What the endpoint refuses is an admin's to repair: nobody can sign in for it.
    house.pass(3_600);
    house.endpoint.answers(401, r#"{"error":"invalid_client"}"#);
    let why = lines(0).await.unwrap_err();
    assert_eq!((why.reason.as_str(), why.retry_after.is_some()), ("upstream_auth", true));
    assert_eq!(house.now(&record).await.status, ConnectionStatus::Active);
}

#[tokio::test]
async fn a_custom_token_has_its_own_refresh_and_falls_back_to_a_new_one() {
    let house = House::open().await;
    let auth = json!({"type": "custom_token", "scopes": ["global"], "token_request": {
        "url": format!("{}/login", house.endpoint.base), "body_type": "json",
        "body_template": {"user": "${secret.user}", "nested": {"count": 3}},
        "response_map": {"access_token": "data.token", "refresh_token": "data.next", "expires_in": "data.life"},
        "refresh": {"url": format!("{}/again", house.endpoint.base), "body_type": "form",
            "body_template": {"next": "${token.refresh_token}"},
            "response_map": {"access_token": "data.token", "expires_in": "data.life"}}}});
    let server = house.server(auth).await;
    let record = house.connection(&server, Holder::Global, json!({"secrets": {"user": "ann"}})).await;
    let lines = async || house.one.lines(&server, Some(&house.now(&record).await), &CONTEXT, 0).await.unwrap();
    house.endpoint.answers(200, r#"{"data":{"token":"t1","next":"n1","life":"600"}}"#);
    assert_eq!(bearer(&lines().await), "t1");
    house.pass(600);
    house.endpoint.answers(200, r#"{"data":{"token":"t2","life":600}}"#);
    assert_eq!(bearer(&lines().await), "t2");
    house.pass(600);
    house.endpoint.answers(400, r#"{"error":"invalid_grant"}"#);
    house.endpoint.answers(200, r#"{"data":{"token":"t3"}}"#);
    assert_eq!(bearer(&lines().await), "t3");
    let asked = house.endpoint.asked();
    let paths: Vec<&str> = asked.iter().map(|asked| asked.path.as_str()).collect();
    assert_eq!(paths, ["/login", "/again", "/again", "/login"]);
    assert_eq!(serde_json::from_str::<Value>(&asked[0].body).unwrap(), json!({"user": "ann", "nested": {"count": 3}}));
    assert_eq!(asked[0].headers["content-type"], "application/json");
    assert_eq!((asked[1].body.as_str(), asked[2].body.as_str()), ("next=n1", "next=n1"), "the old one stays good");
}

#[tokio::test]
async fn a_callers_token_is_exchanged_once_and_what_comes_of_it_ends_with_it() {
    let house = House::open().await;
    let auth = json!({"type": "token_exchange", "token_url": house.endpoint.token_url(), "client_id": "ours",
        "client_secret": "s", "audience": "crm"});
    let server = house.server(auth).await;
    let caller = |token: &str, life: i64| Caller {
        token: Some((Secret::new(token.into()), START / SECOND + life)),
        ..Caller::nobody("token")
    };
    let lines = async |caller: &Caller| house.one.lines_for(&server, None, &CONTEXT, 0, Some(caller)).await;
    let first = lines(&caller("ann's", 300)).await.unwrap();
    assert_eq!(bearer(&first), "at-1");
    assert!(first.stale <= Duration::from_secs(300), "{:?}", first.stale);
    assert_eq!(bearer(&lines(&caller("ann's", 300)).await.unwrap()), "at-1");
    assert_eq!(bearer(&lines(&caller("bob's", 300)).await.unwrap()), "at-2", "another caller's is another");
    let asked = house.endpoint.asked();
    assert_eq!(asked.len(), 2);
    for (name, value) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "ann's"),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"),
        ("audience", "crm"),
    ] {
        assert_eq!(asked[0].field(name).as_deref(), Some(value), "{name}");
    }
    let why = lines(&Caller::nobody("key")).await.unwrap_err();
    assert_eq!(why.reason, "context_missing");
}

#[tokio::test]
async fn a_credential_that_came_with_a_request_is_tried_and_not_stored() {
    let house = House::open().await;
    let (config, secret) = parse_native(house.client_credentials(&json!({}))).unwrap();
    let lines = house.one.lines_of(house.tenant, &config, &secret, &Credential::empty(), &CONTEXT).await.unwrap();
    assert_eq!((bearer(&lines).as_str(), house.one.inner.held.len()), ("at-1", 0));
    let (config, secret) = parse_native(json!({"type": "bearer"})).unwrap();
    let credential = Credential::parse(json!("given")).unwrap();
    let lines = house.one.lines_of(house.tenant, &config, &secret, &credential, &CONTEXT).await.unwrap();
    assert_eq!((bearer(&lines).as_str(), lines.token_generation), ("given", 0));
}

#[tokio::test]
async fn r61_a_reference_whose_content_changes_becomes_a_newer_generation() {
    let house = House::open().await;
    let server = house.server(json!({"type": "bearer", "scopes": ["global"]})).await;
    house.referred("crm", "one");
    let new = NewConnection {
        reference: Some(Reference { source: References::FILES.into(), name: "crm".into() }),
        ..NewConnection::new(ConnectionId::fresh(), server.spec.id, Holder::Global)
    };
    let tenant = house.store.tenant(house.tenant);
    let record = tenant.create_connection(&Actor::system("test"), new).await.unwrap().value;
    let lines = async |than| house.one.lines(&server, Some(&house.now(&record).await), &CONTEXT, than).await;
    let first = lines(0).await.unwrap();
    assert_eq!((bearer(&first).as_str(), first.token_generation), ("one", 1));
    // Refused, and nothing else is there: no retry with the same.
    let why = lines(1).await.unwrap_err();
    assert_eq!((why.reason.as_str(), why.retry_after.is_some()), ("upstream_auth", true));
    let stored = house.now(&record).await;
    assert_eq!((stored.status, stored.last_error.unwrap().code.as_str()), (ConnectionStatus::Active, "auth_failed"));
    house.referred("crm", "two");
    let second = lines(0).await.unwrap();
    assert_eq!((bearer(&second).as_str(), second.token_generation, second.credential_version), ("two", 2, 1));
    house.referred("crm", "three");
    let third = lines(2).await.unwrap();
    assert_eq!((bearer(&third).as_str(), third.token_generation), ("three", 3));
    assert_eq!(bearer(&lines(0).await.unwrap()), "three");
    assert_eq!(house.now(&record).await.token_generation, 3, "what stays the same is no news");
    // Nothing of it is stored.
    let file = fs::read(house.dir.path().join("db")).unwrap();
    assert!(!file.windows(5).any(|window| window == b"three"));
    fs::remove_file(house.dir.path().join("references").join(house.tenant.to_string()).join("crm")).unwrap();
    assert_eq!(lines(0).await.unwrap_err().reason, "credential_unreadable");
}

#[tokio::test]
async fn r33_a_secret_that_can_not_be_opened_is_said_so_and_left_as_it_is() {
    let house = House::open().await;
    let server = house.server(json!({"type": "bearer", "scopes": ["global"]})).await;
    let record = house.connection(&server, Holder::Global, json!("hush")).await;
    let change = CredentialChange { to: NewCredential::Sealed(vec![7; 200]), version: 2, fingerprints: vec![] };
    let patch = store::ConnectionPatch { credential: Some(change), ..store::ConnectionPatch::default() };
    let tenant = house.store.tenant(house.tenant);
    tenant.patch_connection(&Actor::system("test"), record.id, None, patch).await.unwrap();
    let broken = house.now(&record).await;
    let why = house.one.lines(&server, Some(&broken), &CONTEXT, 0).await.unwrap_err();
    assert_eq!((why.reason.as_str(), why.retry_after), ("credential_unreadable", None));
    assert_eq!(house.now(&record).await, broken);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_says_how_long_header_lines_are_used_while_control_is_away() {
    let house = House::open().await;
    let server = house.server(json!({"type": "bearer"})).await;
    let record = house.connection(&server, Holder::Global, json!({"access_token": "a"})).await;
    for (said, spans) in [(None, (60, 900, 14_400)), (Some(1_000), (60, 900, 1_000)), (Some(0), (60, 60, 0))] {
        let patch = store::TenantPatch { max_stale_credential: said.map(Duration::from_secs), ..Default::default() };
        house.store.platform().patch_tenant(&Actor::system("test"), house.tenant, None, patch).await.unwrap();
        let lines = leased(house.resolve(&house.question(&server, Some(&record))).await);
        assert_eq!([lines.fresh, lines.good, lines.stale].map(|span| span.as_secs()), <[u64; 3]>::from(spans));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_of_a_killed_owner_lets_the_token_serve_to_its_end_and_tells_callers_when_to_ask() {
    let house = House::open().await;
    let (server, record) = house.signed_in().await;
    house.endpoint.rotates("rt-0");
    let lease = Duration::from_secs(600);
    let tenant = house.store.tenant(house.tenant);
    let killed = uuid::Uuid::new_v4();
    let taken = tenant.lease_refresh(record.id, killed, record.token_generation, lease).await.unwrap();
    assert!(matches!(taken, store::LeaseOutcome::Leased(_)));
    let (server, record) = (&server, &house.now(&record).await);
    let lines = || house.one.lines(server, Some(record), &CONTEXT, 0);
    house.pass(3_500);
    assert_eq!(bearer(&lines().await.unwrap()), "at-0", "it has not ended");
    house.pass(100);
    let why = lines().await.unwrap_err();
    let retry_after = why.retry_after.unwrap();
    assert!(why.reason == "busy" && retry_after <= Duration::from_secs(45) && !retry_after.is_zero(), "{why:?}");
    assert_eq!(house.endpoint.asked().len(), 0, "the refresh token was not shown a second time");
    tenant.release_refresh(record.id, killed).await.unwrap();
    house.one.inner.pauses.clear();
    assert_eq!(bearer(&lines().await.unwrap()), "at-1");
}
