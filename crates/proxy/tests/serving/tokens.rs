//! Whom a token lets in, as whom, and for how long.

use identity::{Audience, Claims};
use model::{
    GrantId, KeyRole, KeyScopes, KeyVerifier, Limits, Principal, Resource, ResourceName, RevokedGrant, TenantId,
    TenantSpec, UserId, UserSpec,
};
use serde_json::{Value, json};
use tests::mcp::{REVISION, code_of};
use tests::{Mcp, Upstream, eventually, patient};

use crate::house::{House, Key, server, tenant};
use crate::papers::{Issuing, NOW, Signing, user};

/// A key whose holder may act for users.
pub(crate) fn agent(house: &House) -> Key {
    let Key { text, mut verifier } = house.key(KeyRole::User);
    verifier.scopes = KeyScopes { act_as: true, ..KeyScopes::PLAIN };
    house.put([Resource::Key(verifier.clone())]);
    Key { text, verifier }
}

/// Whom the gateway takes the caller for.
pub(crate) async fn you(mcp: &Mcp) -> Value {
    let said = mcp.text("servers", json!({})).await;
    serde_json::from_str::<Value>(&said).unwrap()["you"].clone()
}

async fn status(mcp: &Mcp) -> u16 {
    mcp.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.unwrap().status.as_u16()
}

#[tokio::test]
async fn a_token_of_control_lets_a_user_in_as_that_user() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let (signing, ann) = (Signing::new(), user("ann"));
    house.mount(&server("notes", &upstream.url()));
    house.put([signing.resource(), Resource::User(ann.clone())]);
    let key = agent(&house);
    let claims = signing.on_behalf(key.verifier.id, &ann);
    for claims in [claims, signing.granted(GrantId::fresh(), &ann)] {
        let token = signing.sign(&claims);
        for path in ["/mcp", "/t/acme/mcp", "/servers/notes/mcp", "/t/acme/servers/notes/mcp"] {
            let mcp = Mcp::open(&house.at(path), &token).await;
            assert!(mcp.tools().await.iter().any(|tool| tool.ends_with("echo")), "{path}");
        }
        let mcp = Mcp::open(&house.at("/servers/gatehouse/mcp"), &token).await;
        // Of the departments that the token names the record has one.
        let expected = json!({"tenant": "acme", "user": ann.id.to_string(), "login": "ann",
            "departments": ["board"], "role": "user"});
        assert_eq!(you(&mcp).await, expected);
    }
}

#[tokio::test]
async fn a_token_is_good_where_its_audience_says() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let (signing, ann) = (Signing::new(), user("ann"));
    let (notes, desk) = (server("notes", &upstream.url()), server("desk", &upstream.url()));
    house.mount(&notes);
    house.mount(&desk);
    house.put([signing.resource(), Resource::User(ann.clone())]);
    let key = agent(&house);
    let paths = [
        "/mcp",
        "/t/acme/mcp",
        "/servers/notes/mcp",
        "/t/acme/servers/notes/mcp",
        "/servers/desk/mcp",
        "/servers/gatehouse/mcp",
    ];
    let url = |path| Audience::Url(house.at(path));
    for (audience, good) in [
        (Audience::Tenant(tenant().id), paths.to_vec()),
        (Audience::Tenant(TenantId::fresh()), vec![]),
        (Audience::Server(notes.id), vec!["/servers/notes/mcp", "/t/acme/servers/notes/mcp"]),
        (url("/mcp"), vec!["/mcp"]),
        (url("/t/acme/mcp"), vec!["/t/acme/mcp"]),
        (url("/servers/notes/mcp"), vec!["/servers/notes/mcp"]),
        (url("/servers/gatehouse/mcp"), vec!["/servers/gatehouse/mcp"]),
        (url("/mcp/"), vec![]),
        (url("/MCP"), vec![]),
        (url(""), vec![]),
        (Audience::Url(house.at("/mcp").replace("http:", "https:")), vec![]),
        (Audience::Url("http://localhost/mcp".to_owned()), vec![]),
        (Audience::Url("https://other.example/mcp".to_owned()), vec![]),
    ] {
        let token = signing.sign(&Claims { audience: audience.clone(), ..signing.on_behalf(key.verifier.id, &ann) });
        // The second time it has been seen.
        for _ in 0..2 {
            for path in paths {
                let opened = Mcp::try_open(&house.at(path), &token, REVISION).await;
                assert_eq!(opened.is_ok(), good.contains(&path), "{audience} {path}");
            }
        }
    }
    // With a slash at the end it is the same endpoint.
    let claims = Claims { audience: url("/mcp"), ..signing.on_behalf(key.verifier.id, &ann) };
    Mcp::open(&house.at("/mcp/"), &signing.sign(&claims)).await;
    // Another server under the name of the first one is another server.
    let claims = Claims { audience: Audience::Server(notes.id), ..signing.on_behalf(key.verifier.id, &ann) };
    let token = signing.sign(&claims);
    house.remove([ResourceName::Server(notes.id)]);
    house.mount(&server("notes", &upstream.url()));
    assert!(Mcp::try_open(&house.at("/servers/notes/mcp"), &token, REVISION).await.is_err());
}

#[tokio::test]
async fn the_servers_of_the_acting_key_bound_its_tokens() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let (signing, ann) = (Signing::new(), user("ann"));
    for name in ["notes", "desk"] {
        house.mount(&server(name, &upstream.url()));
    }
    house.put([signing.resource(), Resource::User(ann.clone())]);
    let key = agent(&house);
    let token = signing.sign(&signing.on_behalf(key.verifier.id, &ann));
    let all = Mcp::open(&house.at("/mcp"), &token).await;
    assert!(all.tools().await.contains(&"desk__echo".to_owned()));
    house.put([Resource::Key(KeyVerifier { servers: Some(vec!["notes".to_owned()]), ..key.verifier })]);
    let tools = all.tools().await;
    assert!(tools.contains(&"notes__echo".to_owned()) && !tools.contains(&"desk__echo".to_owned()), "{tools:?}");
    assert_eq!(code_of(&all.call("desk__echo", json!({"text": "x"})).await), -32602);
    assert!(Mcp::try_open(&house.at("/servers/desk/mcp"), &token, REVISION).await.err().unwrap().contains("404"));
    assert_eq!(upstream.calls("x"), 0);
}

#[tokio::test]
async fn a_token_of_an_issuer_lets_in_whom_the_record_says() {
    let house = House::start().await;
    let mut issuing = Issuing::new("https://id.example");
    let (ann, mut bob) = (user("ann"), user("bob"));
    bob.external_id = None;
    house.put([issuing.resource(), Resource::User(ann.clone()), Resource::User(bob.clone())]);
    let path = "/t/acme/servers/gatehouse/mcp";
    let url = house.at(path);
    let token = |issuing: &Issuing, login: &str, change: Value| {
        let mut claims = issuing.claims(login, &url);
        claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        issuing.sign(&claims)
    };
    let expected = |user: Option<&UserSpec>, login: &str| {
        json!({"tenant": "acme", "user": user.map(|user| user.id.to_string()), "login": login,
            "departments": ["support", "night shift"], "role": "user"})
    };
    let told = async |token: &str| you(&Mcp::open(&url, token).await).await;
    assert_eq!(told(&token(&issuing, "ann", json!({}))).await, expected(Some(&ann), "ann"));
    // The external id counts, not what else the token says; somebody without one is known by the login.
    let renamed = token(&issuing, "ann", json!({"preferred_username": "bob", "role": "boss"}));
    assert_eq!(told(&renamed).await, expected(Some(&ann), "ann"));
    assert_eq!(told(&token(&issuing, "bob", json!({}))).await, expected(Some(&bob), "bob"));
    // Without a claim of departments the record's count.
    let mut plain = issuing.claims("ann", &url);
    plain.as_object_mut().unwrap().remove("groups");
    assert_eq!(told(&issuing.sign(&plain)).await["departments"], json!(["sales", "board"]));
    let refused = async |token: &str, status: &str| {
        let refused = Mcp::try_open(&url, token, REVISION).await.err().unwrap();
        assert!(refused.contains(status), "{refused}");
    };
    refused(&token(&issuing, "ann", json!({"role": "reader"})), "403").await;
    refused(&token(&issuing, "carl", json!({})), "401").await;
    refused(&token(&issuing, "carl", json!({"preferred_username": "ann"})), "401").await;
    // Strangers come in where the tenant wants them; nobody under somebody else's login.
    issuing.spec.unknown_users = true;
    house.put([issuing.resource()]);
    assert_eq!(told(&token(&issuing, "carl", json!({}))).await, expected(None, "carl"));
    refused(&token(&issuing, "carl", json!({"preferred_username": "ann"})), "401").await;
    house.put([Resource::User(UserSpec { active: false, ..ann })]);
    refused(&token(&issuing, "ann", json!({})), "401").await;
    // Only at the URL that it is for, or one that the record adds.
    let elsewhere = issuing.claims("bob", "api://gatehouse");
    refused(&issuing.sign(&elsewhere), "401").await;
    issuing.spec.audiences = vec!["api://gatehouse".to_owned()];
    house.put([issuing.resource()]);
    assert_eq!(told(&issuing.sign(&elsewhere)).await["login"], "bob");
    // A scope that the record asks for.
    issuing.spec.scope = Some("gateway:use".to_owned());
    house.put([issuing.resource()]);
    refused(&issuing.sign(&elsewhere), "403").await;
    assert_eq!(told(&token(&issuing, "bob", json!({"scope": "gateway:use", "aud": url}))).await["login"], "bob");
}

#[tokio::test]
async fn an_issuer_speaks_for_its_own_tenant_only() {
    let house = House::start().await;
    let other = TenantSpec { id: TenantId::fresh(), name: "other".parse().unwrap(), ..tenant() };
    let first = TenantSpec { id: TenantId::fresh(), name: "default".parse().unwrap(), ..tenant() };
    let issuing = Issuing::new("https://id.example");
    // The other tenant has registered the same issuer, with the same keys, and so has a tenant of its own name.
    let captured = model::IssuerSpec { id: model::IssuerId::fresh(), tenant: other.id, ..issuing.spec.clone() };
    let (ann, eve) = (user("ann"), UserSpec { id: UserId::fresh(), tenant: other.id, ..user("ann") });
    house.put([Resource::Tenant(other), Resource::Tenant(first.clone()), issuing.resource()]);
    house.put([Resource::Issuer(captured), Resource::User(ann.clone()), Resource::User(eve.clone())]);
    for (path, expected) in [
        ("/t/acme/servers/gatehouse/mcp", Some(ann.id)),
        ("/t/other/servers/gatehouse/mcp", Some(eve.id)),
        ("/t/default/servers/gatehouse/mcp", None),
        ("/servers/gatehouse/mcp", None),
        ("/t/nobody/servers/gatehouse/mcp", None),
    ] {
        let url = house.at(path);
        let token = issuing.sign(&issuing.claims("ann", &url));
        let told = match Mcp::try_open(&url, &token, REVISION).await {
            Ok(mcp) => you(&mcp).await["user"].clone(),
            Err(error) => {
                assert!(error.contains("401"), "{error}");
                Value::Null
            }
        };
        assert_eq!(told, json!(expected.map(|user| user.to_string())), "{path}");
    }
    // On paths that name no tenant the first one's issuers count.
    let own = Issuing::of(first.id, "https://first.example");
    house.put([own.resource(), Resource::User(UserSpec { id: UserId::fresh(), tenant: first.id, ..user("ann") })]);
    let url = house.at("/servers/gatehouse/mcp");
    let mcp = Mcp::open(&url, &own.sign(&own.claims("ann", &url))).await;
    assert_eq!(you(&mcp).await["tenant"], "default");
}

#[tokio::test]
async fn a_session_is_its_subjects_own() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let (signing, ann, bob) = (Signing::new(), user("ann"), user("bob"));
    let issuing = Issuing::new("https://id.example");
    house.mount(&server("notes", &upstream.url()));
    house.put([signing.resource(), issuing.resource()]);
    house.put([Resource::User(ann.clone()), Resource::User(bob.clone())]);
    let (key, other) = (agent(&house), agent(&house));
    let url = house.at("/t/acme/servers/notes/mcp");
    let (grant, other_grant) = (GrantId::fresh(), GrantId::fresh());
    let sign = |claims: &Claims| signing.sign(claims);
    // Two tokens of each: the second one goes on with the session of the first.
    let subjects: Vec<[String; 2]> = vec![
        std::array::from_fn(|_| sign(&signing.on_behalf(key.verifier.id, &ann))),
        std::array::from_fn(|_| sign(&signing.on_behalf(key.verifier.id, &bob))),
        std::array::from_fn(|_| sign(&signing.on_behalf(other.verifier.id, &ann))),
        std::array::from_fn(|_| sign(&signing.granted(grant, &ann))),
        std::array::from_fn(|_| sign(&signing.granted(other_grant, &ann))),
        std::array::from_fn(|_| issuing.sign(&issuing.claims("ann", &url))),
        std::array::from_fn(|_| issuing.sign(&issuing.claims("bob", &url))),
        [key.text.clone(), key.text.clone()],
        [other.text.clone(), other.text.clone()],
    ];
    for (at, [token, _]) in subjects.iter().enumerate() {
        let mcp = Mcp::open(&url, token).await;
        for (thief, [_, next]) in subjects.iter().enumerate() {
            let (stolen, own) = (mcp.stolen_by(next), thief == at);
            assert_eq!(status(&stolen).await, if own { 200 } else { 404 }, "{at} in the hands of {thief}");
            assert_eq!(stolen.try_listen().await.err(), if own { None } else { Some(404) }, "{at} {thief}");
            if !own {
                assert_eq!(stolen.delete().await.status, 404);
            }
        }
    }
}

/// What is taken away, and a token that lived by it.
type Taken = (&'static str, Box<dyn Fn(&House)>, String);

#[tokio::test]
async fn a_stream_ends_with_whatever_let_it_in() {
    let taken = |name: &'static str, act: Box<dyn Fn(&House)>, token: String| -> Taken { (name, act, token) };
    let (signing, other_signing) = (Signing::new(), Signing::new());
    let issuing = Issuing::new("https://id.example");
    let (ann, bob) = (user("ann"), user("bob"));
    for at in 0..13 {
        let house = House::start().await;
        house.put([signing.resource(), other_signing.resource(), issuing.resource()]);
        house.put([Resource::User(ann.clone()), Resource::User(bob.clone())]);
        let (key, spared_key) = (agent(&house), agent(&house));
        let url = house.at("/t/acme/mcp");
        let own = signing.sign(&signing.on_behalf(key.verifier.id, &ann));
        let grant = GrantId::fresh();
        let granted = signing.sign(&signing.granted(grant, &ann));
        let issued = issuing.sign(&issuing.claims("ann", &url));
        let (user_ann, verifier, spec) = (ann.clone(), key.verifier.clone(), issuing.spec.clone());
        let put = |resource: Resource| -> Box<dyn Fn(&House)> { Box::new(move |house| house.put([resource.clone()])) };
        let remove = |name: ResourceName| -> Box<dyn Fn(&House)> { Box::new(move |house| house.remove([name])) };
        let inactive = Resource::User(UserSpec { active: false, ..user_ann.clone() });
        let scopes = KeyScopes::PLAIN;
        let cases = [
            taken("user inactive", put(inactive.clone()), own.clone()),
            taken("user gone", remove(ResourceName::User(ann.id)), own.clone()),
            taken("key gone", remove(ResourceName::Key(verifier.id)), own.clone()),
            taken("key acts no more", put(Resource::Key(KeyVerifier { scopes, ..verifier.clone() })), own.clone()),
            taken("signer gone", remove(signing.resource().name()), own.clone()),
            taken("user of a grant inactive", put(inactive.clone()), granted.clone()),
            taken(
                "grant revoked",
                put(Resource::Revoked(RevokedGrant { id: grant, tenant: tenant().id })),
                granted.clone(),
            ),
            taken(
                "no authorization server any more",
                put(Resource::Tenant(TenantSpec { authorization_server: false, ..tenant() })),
                granted,
            ),
            taken("issuer gone", remove(issuing.resource().name()), issued.clone()),
            taken(
                "issuer for others",
                put(Resource::Issuer(model::IssuerSpec { mcp: false, ..spec.clone() })),
                issued.clone(),
            ),
            taken(
                "keys of the issuer gone",
                put(Resource::Issuer(model::IssuerSpec { keys: r#"{"keys":[]}"#.to_owned(), ..spec })),
                issued.clone(),
            ),
            taken("user of an issuer inactive", put(inactive), issued),
            taken("tenant gone", remove(ResourceName::Tenant(tenant().id)), own),
        ];
        let (name, act, token) = &cases[at];
        let spared_token = other_signing.sign(&other_signing.on_behalf(spared_key.verifier.id, &bob));
        let (mcp, spared) = (Mcp::open(&url, token).await, Mcp::open(&url, &spared_token).await);
        let (mut stream, mut spared_stream) = (mcp.listen().await, spared.listen().await);
        act(&house);
        patient(name, async { while stream.next().await.is_some() {} }).await;
        assert_eq!(status(&mcp).await, 401, "{name}");
        assert_eq!(mcp.try_listen().await.err(), Some(401), "{name}");
        if *name != "tenant gone" {
            house.mount(&server("notes", "http://127.0.0.1:9/mcp"));
            spared_stream.until("notifications/tools/list_changed").await;
            assert_eq!(status(&spared).await, 200, "{name}");
        }
    }
}

#[tokio::test]
async fn keys_that_are_merely_trusted_for_longer_end_nothing() {
    let house = House::start().await;
    let mut issuing = Issuing::new("https://id.example");
    issuing.spec.keys_until = (NOW + 3600) * 1_000_000;
    house.put([issuing.resource(), Resource::User(user("ann"))]);
    let url = house.at("/t/acme/mcp");
    let mut claims = issuing.claims("ann", &url);
    claims["exp"] = json!(NOW + 100_000);
    let mcp = Mcp::open(&url, &issuing.sign(&claims)).await;
    let mut stream = mcp.listen().await;
    issuing.spec.keys_until += 3_600_000_000;
    house.put([issuing.resource()]);
    house.mount(&server("notes", "http://127.0.0.1:9/mcp"));
    stream.until("notifications/tools/list_changed").await;
    // Nobody could fetch them for too long.
    house.clock.advance_micros(7_200_000_000);
    assert_eq!(status(&mcp).await, 401);
    patient("the stream ends", async { while stream.next().await.is_some() {} }).await;
}

#[tokio::test]
async fn a_stream_ends_with_its_token() {
    let house = House::start().await;
    let (signing, ann) = (Signing::new(), user("ann"));
    house.put([signing.resource(), Resource::User(ann.clone())]);
    let key = agent(&house);
    let soon = Claims { expires_at: NOW + 1, ..signing.on_behalf(key.verifier.id, &ann) };
    let mcp = Mcp::open(&house.at("/mcp"), &signing.sign(&soon)).await;
    let mut stream = mcp.listen().await;
    patient("the stream ends", async { while stream.next().await.is_some() {} }).await;
    house.clock.advance_micros(1_000_000);
    assert_eq!(status(&mcp).await, 401);
}

#[tokio::test]
async fn an_answer_that_streams_ends_with_the_right_to_it() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.answer_as_events();
    house.mount(&server("notes", &upstream.url()));
    let (signing, ann, bob) = (Signing::new(), user("ann"), user("bob"));
    house.put([signing.resource(), Resource::User(ann.clone()), Resource::User(bob.clone())]);
    let key = agent(&house);
    let mut calls = Vec::new();
    for (user, text) in [(&ann, "ann's"), (&bob, "bob's")] {
        let token = signing.sign(&signing.on_behalf(key.verifier.id, user));
        let mcp = Mcp::open(&house.at("/servers/notes/mcp"), &token).await;
        let params = json!({"name": "slow", "arguments": {"text": text}});
        calls.push(tokio::spawn(async move { mcp.try_request("tools/call", params).await }));
        eventually("the call is under way", async || (upstream.calls(text) == 1).then_some(())).await;
    }
    let [anns, bobs] = calls.try_into().unwrap();
    // More for somebody is no reason to end what is under way; less is.
    house.put([Resource::User(UserSpec { departments: vec![], ..bob })]);
    house.put([Resource::User(UserSpec { active: false, ..ann })]);
    let ended = patient("the answer ends", anns).await.unwrap();
    assert!(ended.as_ref().is_err_and(|error| error.contains("without an answer")), "{ended:?}");
    let cancelled = async || (!upstream.messages("notifications/cancelled").is_empty()).then_some(());
    eventually("the upstream hears that nobody waits", cancelled).await;
    upstream.open_gate();
    let (_, answer) = patient("the other one is answered", bobs).await.unwrap().unwrap();
    assert_eq!(answer["result"]["content"][0]["text"], "upstream: bob's");
}

/// Takes half a minute: nothing hurries the clock of a process in which connections are real.
#[tokio::test]
async fn an_answer_that_streams_ends_soon_after_its_token() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    upstream.answer_as_events();
    let patiently = std::time::Duration::from_secs(300);
    house.mount(&model::ServerSpec { read_timeout: patiently, ..server("notes", &upstream.url()) });
    let (signing, ann) = (Signing::new(), user("ann"));
    house.put([signing.resource(), Resource::User(ann.clone())]);
    let key = agent(&house);
    let soon = Claims { expires_at: NOW + 1, ..signing.on_behalf(key.verifier.id, &ann) };
    let mcp = Mcp::open(&house.at("/servers/notes/mcp"), &signing.sign(&soon)).await;
    let params = json!({"name": "slow", "arguments": {"text": "x"}});
    let ended = patient("the answer ends", mcp.try_request("tools/call", params)).await;
    assert!(ended.as_ref().is_err_and(|error| error.contains("without an answer")), "{ended:?}");
    assert_eq!(upstream.calls("x"), 1, "the call was under way");
}

#[tokio::test]
async fn the_clients_token_never_reaches_an_upstream() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let (signing, ann) = (Signing::new(), user("ann"));
    let issuing = Issuing::new("https://id.example");
    house.put([signing.resource(), issuing.resource(), Resource::User(ann.clone())]);
    let key = agent(&house);
    for path in ["/t/acme/mcp", "/t/acme/servers/notes/mcp"] {
        let url = house.at(path);
        let claims = Claims { audience: Audience::Url(url.clone()), ..signing.granted(GrantId::fresh(), &ann) };
        for canary in [
            key.text.clone(),
            signing.sign(&signing.on_behalf(key.verifier.id, &ann)),
            signing.sign(&claims),
            issuing.sign(&issuing.claims("ann", &url)),
        ] {
            let mcp = Mcp::open(&url, &canary).await;
            let _stream = mcp.listen().await;
            let tools = mcp.tools().await;
            let echo = tools.iter().find(|tool| tool.ends_with("echo") && !tool.starts_with("gatehouse")).unwrap();
            assert_eq!(mcp.text(echo, json!({"text": "x"})).await, "upstream: x");
            let headers = upstream.headers();
            assert!(!headers.is_empty());
            for headers in headers {
                for (name, value) in &headers {
                    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                    assert_ne!(name.as_str(), "authorization");
                    for part in canary.split('.') {
                        assert!(!value.contains(part), "{name}: {value}");
                    }
                }
            }
            for method in ["initialize", "tools/call", "tools/list"] {
                let messages = upstream.messages(method);
                assert!(messages.iter().all(|message| !message.to_string().contains(&canary)));
            }
            mcp.delete().await;
        }
    }
}

#[tokio::test]
async fn each_user_has_a_rate() {
    let house = House::start().await;
    let (signing, ann, bob) = (Signing::new(), user("ann"), user("bob"));
    house.put([signing.resource(), Resource::User(ann.clone()), Resource::User(bob.clone())]);
    let key = agent(&house);
    let open = async |user: &UserSpec| {
        let token = signing.sign(&signing.on_behalf(key.verifier.id, user));
        Mcp::open(&house.at("/servers/gatehouse/mcp"), &token).await
    };
    let (anns, bobs) = (open(&ann).await, open(&bob).await);
    house.put([Resource::Tenant(TenantSpec { limits: Limits { key_rate: 1, ..Limits::default() }, ..tenant() })]);
    let mut statuses = Vec::new();
    for _ in 0..10 {
        statuses.push(status(&anns).await);
    }
    assert!(statuses.contains(&429) && statuses.contains(&200), "{statuses:?}");
    assert_eq!(status(&bobs).await, 200);
}

#[tokio::test]
async fn control_calls_for_a_user_who_signed_in_there() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let (ann, viewer) = (user("ann"), UserSpec { role: KeyRole::Viewer, ..user("view") });
    let stranger = UserSpec { tenant: TenantId::fresh(), ..user("eve") };
    let notes = server("notes", &upstream.url());
    house.mount(&notes);
    house.put([&ann, &viewer, &stranger].map(|user| Resource::User(user.clone())));
    let call = async |user: Option<UserId>| {
        let principal = Principal { tenant: tenant().id, user, key: None };
        let called = house.commands.call(principal, "", notes.id, "echo", r#"{"text":"x"}"#).await;
        called.map_err(|failure| failure.class)
    };
    assert!(call(Some(ann.id)).await.is_ok());
    for nobody in [None, Some(viewer.id), Some(stranger.id), Some(UserId::fresh())] {
        assert_eq!(call(nobody).await, Err("auth"), "{nobody:?}");
    }
    house.put([Resource::User(UserSpec { active: false, ..ann.clone() })]);
    assert_eq!(call(Some(ann.id)).await, Err("auth"));
    assert_eq!(upstream.calls("x"), 1);
}

#[tokio::test]
async fn the_sessions_with_upstreams_of_somebody_who_is_gone_are_ended() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let (signing, ann, bob) = (Signing::new(), user("ann"), user("bob"));
    house.put([signing.resource(), Resource::User(ann.clone()), Resource::User(bob.clone())]);
    let key = agent(&house);
    for user in [&ann, &bob] {
        let token = signing.sign(&signing.on_behalf(key.verifier.id, user));
        let mcp = Mcp::open(&house.at("/mcp"), &token).await;
        assert_eq!(mcp.text("notes__echo", json!({"text": "x"})).await, "upstream: x");
    }
    assert_eq!(upstream.sessions(), 2, "one person's session never serves another");
    house.remove([ResourceName::User(ann.id)]);
    eventually("one session is ended", async || (upstream.sessions() == 1).then_some(())).await;
}
