//! Every way in which a code, a refresh token or a client can be the wrong one.

use model::GrantId;
use store::GrantPage;

use super::world::{RESOURCE, World, authorize_with, exchange, led, of, put};

/// Grants of acme, and how many of them are revoked.
async fn grants(world: &World) -> (usize, usize) {
    let page = GrantPage { limit: 500, ..GrantPage::default() };
    let grants = world.house.app.store.tenant(world.house.acme).grants(page).await.unwrap();
    (grants.len(), grants.iter().filter(|grant| grant.revoked_at.is_some()).count())
}

#[tokio::test]
async fn a_code_that_is_shown_twice_takes_back_what_was_made_of_it() {
    let world = World::open().await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let tokens = world.exchange(&client, &code).await.json();
    assert_eq!(grants(&world).await, (1, 0));
    assert_eq!(world.exchange(&client, &code).await.told_oauth(), (400, "invalid_grant".to_owned()));
    assert_eq!(grants(&world).await, (1, 1));
    let refreshed = world.refresh(&client, tokens["refresh_token"].as_str().unwrap()).await;
    assert_eq!(refreshed.told_oauth(), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn of_many_who_show_a_code_at_once_none_keeps_it() {
    let world = World::open().await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let fields = exchange(&client, &code);
    let replies = futures::future::join_all((0..8).map(|_| world.token(&fields))).await;
    assert!(replies.iter().filter(|reply| reply.status.as_u16() == 200).count() <= 1);
    let (made, revoked) = grants(&world).await;
    assert_eq!(made, revoked, "it was shown more than once");
}

#[tokio::test]
async fn a_code_is_good_for_a_minute() {
    let world = World::open().await;
    let client = world.client().await;
    let code = world.code(&client).await;
    world.house.clock.advance_micros(61_000_000);
    assert_eq!(world.exchange(&client, &code).await.told_oauth(), (400, "invalid_grant".to_owned()));
    assert_eq!(grants(&world).await, (0, 0));
}

#[tokio::test]
async fn a_code_opens_nothing_for_whoever_did_not_ask_for_it() {
    let world = World::open().await;
    let (client, other) = (world.client().await, world.client().await);
    for (name, value, error) in [
        ("client_id", other.as_str(), "invalid_grant"),
        ("redirect_uri", "http://127.0.0.1:4712/callback", "invalid_grant"),
        ("redirect_uri", "http://127.0.0.1/callback", "invalid_grant"),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXX", "invalid_grant"),
        ("code_verifier", "short", "invalid_grant"),
        ("resource", "http://localhost:5011/t/acme/servers/notes/mcp", "invalid_target"),
    ] {
        let code = world.code(&client).await;
        let mut fields = exchange(&client, &code).to_vec();
        fields.iter_mut().filter(|field| field.0 == name).for_each(|field| field.1 = value);
        assert_eq!(world.token(&fields).await.told_oauth(), (400, error.to_owned()), "{name}={value}");
        // It was taken: who guesses has one guess.
        let again = world.exchange(&client, &code).await;
        assert_eq!(again.told_oauth(), (400, "invalid_grant".to_owned()), "{name}={value}");
    }
    assert_eq!(grants(&world).await, (0, 0));
    let code = world.code(&client).await;
    assert_eq!(world.post("/oauth/other/token", &exchange(&client, &code), |_| ()).await.told_oauth().0, 400);
    let nobody = world.exchange("ghapp_nobody", &code).await;
    assert_eq!(nobody.told_oauth(), (401, "invalid_client".to_owned()), "an SDK registers anew then");
    assert!(nobody.header("www-authenticate").starts_with("Basic"));
    assert_eq!(world.exchange(&client, &code).await.status.as_u16(), 200, "none of that was about this code");
}

#[tokio::test]
async fn without_a_resource_the_token_is_for_the_one_that_was_shown() {
    let world = World::open().await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let fields: Vec<_> = exchange(&client, &code).into_iter().filter(|field| field.0 != "resource").collect();
    let tokens = world.token(&fields).await.json();
    let claims = super::flow::claims(&world, tokens["access_token"].as_str().unwrap()).await;
    assert_eq!(claims.audience.to_string(), RESOURCE);
}

#[tokio::test]
async fn a_refresh_token_that_is_shown_twice_takes_its_grant_back() {
    let world = World::open().await;
    let client = world.client().await;
    let first = world.tokens(&client).await["refresh_token"].as_str().unwrap().to_owned();
    let second = world.refresh(&client, &first).await.json()["refresh_token"].as_str().unwrap().to_owned();
    let third = world.refresh(&client, &second).await.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(world.refresh(&client, &first).await.told_oauth(), (400, "invalid_grant".to_owned()));
    assert_eq!(grants(&world).await, (1, 1));
    assert_eq!(world.refresh(&client, &third).await.told_oauth(), (400, "invalid_grant".to_owned()), "the newest too");
}

#[tokio::test]
async fn another_clients_mistake_costs_the_right_one_nothing() {
    let world = World::open().await;
    let (client, other) = (world.client().await, world.client().await);
    let token = world.tokens(&client).await["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(world.refresh(&other, &token).await.told_oauth(), (400, "invalid_grant".to_owned()));
    let elsewhere = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
        ("client_id", client.as_str()),
        ("resource", "http://localhost:5011/t/acme/servers/notes/mcp"),
    ];
    assert_eq!(world.token(&elsewhere).await.told_oauth(), (400, "invalid_target".to_owned()));
    let wider =
        [("grant_type", "refresh_token"), ("refresh_token", &token), ("client_id", &client), ("scope", "admin")];
    assert_eq!(world.token(&wider).await.told_oauth(), (400, "invalid_scope".to_owned()));
    assert_eq!(world.post("/oauth/other/token", &elsewhere[..3], |_| ()).await.told_oauth().0, 400);
    assert_eq!(grants(&world).await, (1, 0));
    assert_eq!(world.refresh(&client, &token).await.status.as_u16(), 200);
}

#[tokio::test]
async fn who_is_no_longer_let_in_gets_no_tokens_and_the_grant_ends() {
    for change in [r#"{"active":false}"#, r#"{"role":"viewer"}"#] {
        let world = World::open().await;
        let client = world.client().await;
        let token = world.tokens(&client).await["refresh_token"].as_str().unwrap().to_owned();
        let code = world.code(&client).await;
        match change {
            r#"{"active":false}"# => {
                let path = format!("/api/v1/users/{}/disable", world.ann.id);
                assert_eq!(world.house.admin("POST", &path, "").await.status.as_u16(), 200);
            }
            role => world.change_ann(role).await,
        }
        assert_eq!(world.exchange(&client, &code).await.told_oauth(), (400, "invalid_grant".to_owned()), "{change}");
        assert_eq!(world.refresh(&client, &token).await.told_oauth(), (400, "invalid_grant".to_owned()), "{change}");
        assert_eq!(grants(&world).await, (1, 1), "{change}");
    }
}

#[tokio::test]
async fn a_grant_ends_by_idleness_and_by_age() {
    const DAY: i64 = 86_400_000_000;
    let world = World::open().await;
    let client = world.client().await;
    let idle = world.tokens(&client).await["refresh_token"].as_str().unwrap().to_owned();
    world.house.clock.advance_micros(31 * DAY);
    assert_eq!(world.refresh(&client, &idle).await.told_oauth(), (400, "invalid_grant".to_owned()));

    let world = World::open().await;
    let client = world.client().await;
    let mut token = world.tokens(&client).await["refresh_token"].as_str().unwrap().to_owned();
    for _ in 0..4 {
        world.house.clock.advance_micros(22 * DAY);
        let reply = world.refresh(&client, &token).await;
        assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
        token = reply.json()["refresh_token"].as_str().unwrap().to_owned();
    }
    // A token of the last minutes ends with the grant.
    world.house.clock.advance_micros(2 * DAY - 60_000_000);
    let last = world.refresh(&client, &token).await.json();
    assert_eq!(last["expires_in"], 60);
    world.house.clock.advance_micros(60_000_000);
    let ended = world.refresh(&client, last["refresh_token"].as_str().unwrap()).await;
    assert_eq!(ended.told_oauth(), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn a_client_gives_back_what_it_has() {
    let world = World::open().await;
    let (client, other) = (world.client().await, world.client().await);
    let tokens = world.tokens(&client).await;
    let (access, token) = (tokens["access_token"].as_str().unwrap(), tokens["refresh_token"].as_str().unwrap());
    let revoke = async |client: &str, token: &str| {
        let reply = world.post("/oauth/acme/revoke", &[("token", token), ("client_id", client)], |_| ()).await;
        (reply.status.as_u16(), reply.json()["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(revoke(&other, token).await, (400, "unauthorized_client".to_owned()));
    assert_eq!(revoke(&client, access).await, (400, "unsupported_token_type".to_owned()));
    assert_eq!(revoke(&client, "").await, (400, "invalid_request".to_owned()));
    assert_eq!(revoke("", token).await, (400, "invalid_request".to_owned()));
    assert_eq!(grants(&world).await, (1, 0));
    for gone in ["ghr_nothing", "nonsense"] {
        assert_eq!(revoke(&client, gone).await, (200, String::new()));
    }
    assert_eq!(revoke(&client, token).await, (200, String::new()));
    assert_eq!(grants(&world).await, (1, 1));
    assert_eq!(revoke(&client, token).await, (200, String::new()), "gone is gone");
    assert_eq!(world.refresh(&client, token).await.told_oauth(), (400, "invalid_grant".to_owned()));
}

#[tokio::test]
async fn a_client_lives_while_it_is_used() {
    const DAY: i64 = 86_400_000_000;
    let world = World::open().await;
    let (used, unused) = (world.client().await, world.client().await);
    let token = world.tokens(&used).await["refresh_token"].as_str().unwrap().to_owned();
    world.house.clock.advance_micros(20 * DAY);
    assert_eq!(world.refresh(&used, &token).await.status.as_u16(), 200);
    world.house.clock.advance_micros(11 * DAY);
    let known = async |client: &str| {
        let path = authorize_with(client, &[]);
        world.get("", &path).await.status.as_u16() == 303
    };
    assert!(known(&used).await && !known(&unused).await);
}

#[tokio::test]
async fn a_client_can_not_show_a_secret() {
    let world = World::open().await;
    let client = world.client().await;
    let code = world.code(&client).await;
    let fields = exchange(&client, &code);
    let basic = world.post("/oauth/acme/token", &fields, |headers| put(headers, "authorization", "Basic eDp5")).await;
    assert_eq!(basic.told_oauth(), (401, "invalid_client".to_owned()));
    let mut with_secret = fields.to_vec();
    with_secret.push(("client_secret", "s"));
    assert_eq!(world.token(&with_secret).await.told_oauth(), (401, "invalid_client".to_owned()));
    assert_eq!(world.token(&fields).await.status.as_u16(), 200, "the code was not touched");
}

#[tokio::test]
async fn the_ids_of_grants_are_those_of_their_codes() {
    let world = World::open().await;
    let client = world.client().await;
    let access = world.tokens(&client).await["access_token"].as_str().unwrap().to_owned();
    let identity::By::Grant { id, .. } = super::flow::claims(&world, &access).await.by else { panic!("{access}") };
    let mine = world.house.app.store.tenant(world.house.acme).grant(id).await.unwrap();
    let theirs = world.house.app.store.tenant(world.house.other).grant(id).await.unwrap();
    assert!(mine.is_some() && theirs.is_none() && id != GrantId::fresh());
    assert!(of(&led(&world.answer(&authorize_with(&client, &[]), "allow").await), "code").is_some());
}
