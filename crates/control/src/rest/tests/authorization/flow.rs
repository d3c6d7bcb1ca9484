//! The whole way of a client, and what its token says.

use identity::{Audience, By, Claims, SignerKey, signer_of};
use model::Clock as _;

use super::world::{CALLBACK, ORIGIN, RESOURCE, World, authorize, led, of};

/// What a proxy reads in a token.
pub(super) async fn claims(world: &World, token: &str) -> Claims {
    let (app, id) = (&world.house.app, signer_of(token).unwrap());
    let signers = app.store.platform().signers().await.unwrap();
    let signer = signers.iter().find(|signer| signer.spec.id == id).unwrap();
    SignerKey::new(&signer.spec).verify(token, world.house.clock.now_secs()).unwrap()
}

#[tokio::test]
async fn a_client_signs_a_person_in() {
    let world = World::open().await;
    let found = world.get("", "/.well-known/oauth-authorization-server/oauth/acme").await;
    let found = found.json();
    let issuer = format!("{ORIGIN}/oauth/acme");
    assert_eq!(found["issuer"], issuer);
    assert_eq!(found["authorization_endpoint"], format!("{issuer}/authorize"));
    let client = world.client().await;

    // A stranger signs in first, and comes back to the very same request.
    let path = authorize(&client);
    let sent = world.get("", &path).await;
    assert_eq!(sent.status.as_u16(), 303);
    assert_eq!(of(sent.header("location"), "return").as_deref(), Some(path.as_str()));
    assert!(sent.header("location").starts_with("/signin?"));

    let page = world.get(&world.ann.cookie, &path).await;
    for shown in ["Notes App", "127.0.0.1:4711", "http://localhost:5011", "ann", "every server"] {
        assert!(page.text.contains(shown), "{shown} in {}", page.text);
    }
    let answered = led(&world.answer(&path, "allow").await);
    assert!(answered.starts_with(&format!("{CALLBACK}?")), "{answered}");
    assert_eq!(of(&answered, "state").as_deref(), Some("st&te"));
    assert_eq!(of(&answered, "iss").as_deref(), Some(issuer.as_str()));
    let code = of(&answered, "code").unwrap();

    let reply = world.exchange(&client, &code).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
    assert_eq!((reply.header("cache-control"), reply.header("content-type")), ("no-store", "application/json"));
    let tokens = reply.json();
    assert_eq!(
        (&tokens["token_type"], &tokens["expires_in"], &tokens["scope"]),
        (&"Bearer".into(), &600.into(), &"mcp".into())
    );
    let access = tokens["access_token"].as_str().unwrap();
    let first = claims(&world, access).await;
    assert_eq!(first.audience, Audience::Url(RESOURCE.to_owned()));
    assert_eq!((first.tenant, first.user), (world.house.acme, world.ann.id));
    assert_eq!(first.departments, ["legal", "sales"], "in the user's order");
    assert_eq!(first.expires_at - first.issued_at, 600);
    let By::Grant { id: grant, client: named } = &first.by else { panic!("{first:?}") };
    assert_eq!(*named, client);
    let record = world.house.app.store.tenant(world.house.acme).grant(*grant).await.unwrap().unwrap();
    assert_eq!((record.client_name.as_str(), record.resource.as_str()), ("Notes App", RESOURCE));

    // The next token says what the user's record says then.
    world.change_ann(r#"{"departments":["sales"]}"#).await;
    world.house.clock.advance_micros(500_000_000);
    let reply = world.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
    let next = reply.json();
    assert_ne!(next["refresh_token"], tokens["refresh_token"]);
    let second = claims(&world, next["access_token"].as_str().unwrap()).await;
    assert_eq!((second.departments.as_slice(), &second.by), (["sales".to_owned()].as_slice(), &first.by));
    assert_ne!(second.id, first.id);
}

#[tokio::test]
async fn a_person_who_says_no_is_asked_again_and_the_client_is_told() {
    let world = World::open().await;
    let client = world.client().await;
    let answered = led(&world.answer(&authorize(&client), "deny").await);
    assert_eq!(of(&answered, "error").as_deref(), Some("access_denied"));
    assert_eq!(of(&answered, "state").as_deref(), Some("st&te"));
    assert!(of(&answered, "iss").is_some() && of(&answered, "code").is_none());
    // Nothing is remembered, of a yes neither: a URL that somebody else has made must not pass by itself.
    for decision in ["allow", "allow"] {
        let page = world.get(&world.ann.cookie, &authorize(&client)).await;
        assert!(page.text.contains("Allow “Notes App”") && page.header("refresh").is_empty());
        assert!(of(&led(&world.answer(&authorize(&client), decision).await), "code").is_some());
    }
}

#[tokio::test]
async fn every_grant_stands_in_the_audit() {
    let world = World::open().await;
    let client = world.client().await;
    let tokens = world.tokens(&client).await;
    let fields = [("token", tokens["refresh_token"].as_str().unwrap()), ("client_id", client.as_str())];
    assert_eq!(world.post("/oauth/acme/revoke", &fields, |_| ()).await.status.as_u16(), 200);
    let audit = world.house.admin("GET", "/api/v1/audit?page_size=200", "").await;
    for action in ["grant.create", "grant.revoke"] {
        assert!(audit.text.contains(action), "{action} in {}", audit.text);
    }
    for secret in [tokens["refresh_token"].as_str().unwrap(), tokens["access_token"].as_str().unwrap()] {
        assert!(!audit.text.contains(secret));
    }
}
