//! Who gets header lines: a node's certificate alone empties nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use identity::{Audience, By, Claims, Signer};
use model::{SignerId, SignerSpec};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use store::{FetchedKeys, NewDepartment, NewIssuer, UserPatch};
use uuid::Uuid;

use super::*;

async fn api_key(house: &House, scopes: &[&str]) -> ServerRecord {
    house.server(json!({"type": "api_key", "scopes": scopes})).await
}

#[tokio::test]
async fn t27_a_node_gets_a_users_credential_only_with_evidence_of_that_user_calling() {
    let house = House::open().await;
    let server = api_key(&house, &["user"]).await;
    let (ann, bob) = (house.user("ann", &[]).await, house.user("bob", &[]).await);
    let record = house.connection(&server, Holder::User(ann), json!("hush")).await;
    let (of_ann, of_bob) = (house.key(Some(ann), KeyScopes::PLAIN).await, house.key(Some(bob), KeyScopes::PLAIN).await);
    let question = || house.question(&server, Some(&record));

    let good = house.with_key(question(), &of_ann, Some(ann));
    let lines = leased(house.resolve(&good).await);
    assert_eq!(line(&lines), "X-API-Key: hush");
    assert_eq!((lines.credential_version, lines.token_generation), (1, 1));
    assert!(denied(&house.resolve(&good).await), "the same evidence once more");

    let named = |user| ResolveQuestion {
        principal: Principal { tenant: house.tenant, user: Some(user), key: Some(of_ann.id()) },
        ..question()
    };
    let elsewhere = |node: &str| {
        let made = house.with_key(question(), &of_ann, Some(ann));
        ResolveQuestion { node: node.to_owned(), ..made }
    };
    let other = api_key(&house, &["user"]).await;
    let other_record = house.connection(&other, Holder::User(ann), json!("other")).await;
    let moved = ResolveQuestion {
        server: other.spec.id,
        connection: Some(other_record.id),
        ..house.with_key(question(), &of_ann, Some(ann))
    };
    for (why, question) in [
        ("no evidence", named(ann)),
        ("another's key", house.with_key(question(), &of_bob, Some(bob))),
        ("a key that says it is another's", house.with_key(question(), &of_bob, Some(ann))),
        ("evidence for another node", elsewhere("default/b2")),
        ("evidence for another connection", moved),
    ] {
        assert!(denied(&house.resolve(&question).await), "{why}");
    }
    let old = house.with_key(question(), &of_ann, Some(ann));
    house.pass(61);
    assert!(denied(&house.resolve(&old).await), "evidence of a minute ago");
    house.store.tenant(house.tenant).revoke_key(&Actor::system("test"), of_ann.id()).await.unwrap();
    let revoked = house.with_key(question(), &of_ann, Some(ann));
    assert!(denied(&house.resolve(&revoked).await), "a key that was revoked");
    assert!(!house.audit("credential.refused").await.is_empty());
    assert_eq!(house.one.inner.counts.denied.load(Ordering::Relaxed), 8);
}

#[tokio::test]
async fn t27_what_is_nobodys_of_the_tenant_is_denied_audited_and_known_from_what_was_deleted() {
    let house = House::open().await;
    let server = api_key(&house, &["global"]).await;
    let record = house.connection(&server, Holder::Global, json!("hush")).await;
    let other = api_key(&house, &["global"]).await;
    let mut question = house.question(&server, Some(&record));
    question.connection = Some(ConnectionId::fresh());
    assert!(denied(&house.resolve(&question).await));
    let gone = house.one.resolve(Asked { question: &question, ticket: false, lately: true }).await.unwrap();
    assert!(matches!(gone, Resolved::Unresolved(why) if why.reason == "connection_required"));
    let crossed = house.question(&other, Some(&record));
    assert!(denied(&house.resolve(&crossed).await), "a connection of another server");
    let elsewhere = TenantId::fresh();
    let mut foreign = house.question(&server, Some(&record));
    foreign.principal.tenant = elsewhere;
    assert!(matches!(house.resolve(&foreign).await, Ok(Resolved::Unresolved(_)) | Err(_)));
    assert_eq!(house.audit("credential.refused").await.len(), 2);
    assert!(house.audit("credential.leased").await.is_empty());
}

#[tokio::test]
async fn who_acts_for_users_gets_each_ones_own_and_a_ticket_is_as_good_as_a_key() {
    let house = House::open().await;
    let server = api_key(&house, &["user"]).await;
    let ann = house.user("ann", &[]).await;
    let record = house.connection(&server, Holder::User(ann), json!("hush")).await;
    let backend = house.key(None, KeyScopes { mcp: false, rest: false, act_as: true }).await;
    let plain = house.key(None, KeyScopes::PLAIN).await;
    let question = || house.question(&server, Some(&record));
    leased(house.resolve(&house.with_key(question(), &backend, Some(ann))).await);
    assert!(denied(&house.resolve(&house.with_key(question(), &backend, None)).await), "in its own name");
    assert!(denied(&house.resolve(&house.with_key(question(), &plain, Some(ann))).await), "without the scope");

    let mut question = question();
    question.principal.user = Some(ann);
    question.evidence = Evidence::Ticket("t".into());
    let ask = async |ticket| house.one.resolve(Asked { question: &question, ticket, lately: false }).await;
    leased(ask(true).await);
    assert!(denied(&ask(false).await));
    let patch = UserPatch { active: Some(false), ..UserPatch::default() };
    house.store.tenant(house.tenant).patch_user(&Actor::system("test"), ann, None, patch).await.unwrap();
    assert!(denied(&ask(true).await), "a user who is kept out");
}

#[tokio::test]
async fn r42_a_departments_credential_is_for_its_members() {
    let house = House::open().await;
    let tenant = house.store.tenant(house.tenant);
    let mut ids = vec![];
    for name in ["sales", "legal"] {
        let new = NewDepartment { name: name.parse().unwrap(), title: name.to_owned(), external_id: None };
        ids.push(tenant.create_department(&Actor::system("test"), new).await.unwrap().value.id);
    }
    let auth = json!({"type": "template", "scopes": ["department"], "headers": [
        {"name": "X-Key", "value_template": "${secret.key}:${context.department_id}:${context.work_id}"}]});
    let server = house.server(auth).await;
    let record = house.connection(&server, Holder::Department(ids[0]), json!({"secrets": {"key": "k"}})).await;
    let (ann, bob) = (house.user("ann", &[ids[1], ids[0]]).await, house.user("bob", &[ids[1]]).await);
    let (of_ann, of_bob) = (house.key(Some(ann), KeyScopes::PLAIN).await, house.key(Some(bob), KeyScopes::PLAIN).await);
    let question = || ResolveQuestion {
        // What a node says of departments proves nothing.
        departments: vec!["sales".into()],
        ..house.question(&server, Some(&record))
    };
    let lines = leased(house.resolve(&house.with_key(question(), &of_ann, Some(ann))).await);
    assert_eq!(line(&lines), format!("X-Key: k:{}:ann", ids[0]), "the department whose connection it is");
    assert!(denied(&house.resolve(&house.with_key(question(), &of_bob, Some(bob))).await));
    assert!(denied(&house.resolve(&question()).await));
}

#[tokio::test]
async fn a_token_of_ours_is_verified_again() {
    let house = House::open().await;
    let server = api_key(&house, &["user"]).await;
    let (ann, bob) = (house.user("ann", &[]).await, house.user("bob", &[]).await);
    let record = house.connection(&server, Holder::User(ann), json!("hush")).await;
    let backend = house.key(None, KeyScopes { mcp: false, rest: false, act_as: true }).await;
    let id = SignerId::fresh();
    let (signer, _) = Signer::generate(id).unwrap();
    let (stranger, _) = Signer::generate(id).unwrap();
    let spec = SignerSpec { id, url: "https://gate.example".into(), public: signer.public(), until: i64::MAX };
    house.store.platform().put_signer(spec).await.unwrap();
    let now = house.clock.now_secs();
    let claims = |user, audience| Claims {
        audience,
        tenant: house.tenant,
        user,
        departments: vec![],
        by: By::Key(backend.id()),
        issued_at: now,
        expires_at: now + 300,
        id: Uuid::new_v4(),
    };
    let shown = |token: String| ResolveQuestion {
        principal: Principal { tenant: house.tenant, user: Some(ann), key: Some(backend.id()) },
        evidence: Evidence::Token(Secret::new(token)),
        ..house.question(&server, Some(&record))
    };
    let tenant = || Audience::Tenant(house.tenant);
    let own = || Audience::Server(server.spec.id);
    for audience in [tenant(), own()] {
        leased(house.resolve(&shown(signer.sign(&claims(ann, audience)))).await);
    }
    for (why, token) in [
        ("another user's", signer.sign(&claims(bob, tenant()))),
        ("signed by a stranger", stranger.sign(&claims(ann, tenant()))),
        ("for another server", signer.sign(&claims(ann, Audience::Server(ServerId::fresh())))),
        ("for another tenant's endpoint", signer.sign(&claims(ann, Audience::Url("https://g.example/mcp".into())))),
        ("none", "a.b.c".to_owned()),
    ] {
        assert!(denied(&house.resolve(&shown(token)).await), "{why}");
    }
    let old = shown(signer.sign(&claims(ann, tenant())));
    house.pass(400);
    assert!(denied(&house.resolve(&old).await), "one that has ended");
    house.pass(-400);
    house.store.tenant(house.tenant).revoke_key(&Actor::system("test"), backend.id()).await.unwrap();
    assert!(denied(&house.resolve(&shown(signer.sign(&claims(ann, tenant())))).await), "through a revoked key");
}

#[tokio::test]
async fn an_issuers_token_is_verified_again_and_its_departments_count() {
    let house = House::open().await;
    let tenant = house.store.tenant(house.tenant);
    let new = NewDepartment { name: "sales".parse().unwrap(), title: "Sales".into(), external_id: None };
    let sales = tenant.create_department(&Actor::system("test"), new).await.unwrap().value.id;
    let server = api_key(&house, &["user", "department"]).await;
    let ann = house.user("ann", &[]).await;
    let hers = house.connection(&server, Holder::User(ann), json!("hush")).await;
    let theirs = house.connection(&server, Holder::Department(sales), json!("shared")).await;
    let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    let keys = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": "one", "x": x}]});
    let new = NewIssuer {
        id: model::IssuerId::fresh(),
        name: "company".parse().unwrap(),
        title: "The company".into(),
        issuer: "https://id.example".into(),
        client_id: None,
        client_secret: None,
        audiences: vec![],
        algorithms: vec![model::SigningAlgorithm::EdDsa],
        claims: model::ClaimMapping { departments: Some("groups".into()), ..model::ClaimMapping::default() },
        scope: None,
        unknown_users: true,
        sign_in: false,
        mcp: true,
        enabled: true,
        fetched: Some(FetchedKeys { document: keys.to_string(), metadata: "{}".into(), at: START }),
    };
    tenant.create_issuer(&Actor::system("test"), new).await.unwrap();
    let token = |over: Value| {
        let now = house.clock.now_secs();
        let mut claims = json!({"iss": "https://id.example", "aud": "https://gate.example/t/acme/mcp", "sub": "x-1",
            "preferred_username": "ann", "iat": now, "exp": now + 300});
        claims.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
        let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let message = format!("{}.{}", part(&json!({"alg": "EdDSA", "typ": "at+jwt", "kid": "one"})), part(&claims));
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(key.sign(message.as_bytes())))
    };
    let shown = |record: &ConnectionRecord, user, over| ResolveQuestion {
        principal: Principal { tenant: house.tenant, user, key: None },
        evidence: Evidence::Token(Secret::new(token(over))),
        ..house.question(&server, Some(record))
    };
    assert_eq!(line(&leased(house.resolve(&shown(&hers, Some(ann), json!({}))).await)), "X-API-Key: hush");
    let member = json!({"groups": ["sales"]});
    assert_eq!(line(&leased(house.resolve(&shown(&theirs, Some(ann), member.clone())).await)), "X-API-Key: shared");
    // Somebody whom nobody here knows has the departments of the token, and nothing of a user's.
    let stranger = json!({"preferred_username": "zoe", "groups": ["sales"]});
    leased(house.resolve(&shown(&theirs, None, stranger.clone())).await);
    for (why, question) in [
        ("of no department", shown(&theirs, Some(ann), json!({}))),
        ("a stranger's", shown(&hers, Some(ann), stranger.clone())),
        ("nobody's", shown(&hers, None, stranger)),
        ("for another resource", shown(&hers, Some(ann), json!({"aud": "https://other.example/api"}))),
        ("for another tenant", shown(&hers, Some(ann), json!({"aud": "https://gate.example/t/other/mcp"}))),
        ("of another issuer", shown(&hers, Some(ann), json!({"iss": "https://evil.example"}))),
        ("that has ended", shown(&hers, Some(ann), json!({"exp": START / SECOND - 3_600}))),
    ] {
        assert!(denied(&house.resolve(&question).await), "a token {why}");
    }
}

#[tokio::test]
async fn a_global_credential_needs_no_evidence_and_a_row_of_the_audit_stands_before_it_leaves() {
    let house = House::open().await;
    let server = api_key(&house, &["global"]).await;
    let record = house.connection(&server, Holder::Global, json!("hush")).await;
    let question = house.question(&server, Some(&record));
    for _ in 0..3 {
        leased(house.resolve(&question).await);
    }
    let rows = house.audit("credential.leased").await;
    assert_eq!(rows.len(), 1, "one for a minute, a node and a connection");
    assert_eq!((rows[0].object.as_str(), rows[0].actor.as_str()), (&*format!("connection/{}", record.id), "link"));
    assert!(rows[0].after.as_ref().unwrap().contains(r#""evidence":"nothing""#));
    let other = ResolveQuestion { node: "default/b".into(), ..house.question(&server, Some(&record)) };
    leased(house.resolve(&other).await);
    house.pass(60);
    leased(house.resolve(&question).await);
    assert_eq!(house.audit("credential.leased").await.len(), 3);
}

#[tokio::test]
async fn only_an_active_connection_of_an_accepted_scope_gives_header_lines() {
    let house = House::open().await;
    let server = api_key(&house, &["global"]).await;
    let record = house.connection(&server, Holder::Global, json!("hush")).await;
    let ann = house.user("ann", &[]).await;
    let narrow = house.connection(&server, Holder::User(ann), json!("mine")).await;
    let key = house.key(Some(ann), KeyScopes::PLAIN).await;
    let reason = async |question: &ResolveQuestion| match house.resolve(question).await.unwrap() {
        Resolved::Unresolved(why) => why.reason,
        other => panic!("{other:?}"),
    };
    let question = house.with_key(house.question(&server, Some(&narrow)), &key, Some(ann));
    assert_eq!(reason(&question).await, "connection_required", "a scope that the server does not accept");
    assert_eq!(reason(&house.question(&server, None)).await, "connection_required");
    let tenant = house.store.tenant(house.tenant);
    for (status, expected) in [
        (ConnectionStatus::Disabled, "connection_required"),
        (ConnectionStatus::ReauthRequired, "reauth_required"),
        (ConnectionStatus::Invalid, "connection_required"),
    ] {
        let patch = store::ConnectionPatch { status: Some(status), ..store::ConnectionPatch::default() };
        tenant.patch_connection(&Actor::system("test"), record.id, None, patch).await.unwrap();
        assert_eq!(reason(&house.question(&server, Some(&record))).await, expected, "{status:?}");
    }
    let open = house.server(json!({"type": "none"})).await;
    assert!(matches!(house.resolve(&house.question(&open, None)).await, Ok(Resolved::NoConnection)));
}

#[tokio::test]
async fn nobody_is_named_to_an_upstream_who_was_not_proved_to_call() {
    let house = House::open().await;
    let auth = json!({"type": "template", "scopes": ["global"], "headers": [
        {"name": "X-Key", "value_template": "${secret.key}:${context.user_id}"}]});
    let server = house.server(auth).await;
    let record = house.connection(&server, Holder::Global, json!({"secrets": {"key": "k"}})).await;
    let ann = house.user("ann", &[]).await;
    let key = house.key(Some(ann), KeyScopes::PLAIN).await;
    let proved = house.with_key(house.question(&server, Some(&record)), &key, Some(ann));
    assert_eq!(line(&leased(house.resolve(&proved).await)), format!("X-Key: k:{ann}"));
    let claimed = ResolveQuestion { evidence: Evidence::None, ..proved };
    let why = house.resolve(&claimed).await.unwrap();
    assert!(matches!(&why, Resolved::Unresolved(why) if why.reason == "context_missing"), "{why:?}");
}

#[tokio::test]
async fn a_disabled_servers_credentials_are_not_given_out() {
    let house = House::open().await;
    let server = api_key(&house, &["global"]).await;
    let record = house.connection(&server, Holder::Global, json!("hush")).await;
    let patch = store::ServerPatch { enabled: Some(false), ..store::ServerPatch::default() };
    let tenant = house.store.tenant(house.tenant);
    tenant.patch_server(&Actor::system("test"), server.spec.id, None, patch).await.unwrap();
    let why = house.resolve(&house.question(&server, Some(&record))).await.unwrap();
    assert!(matches!(&why, Resolved::Unresolved(why) if why.reason == "connection_required"), "{why:?}");
}
