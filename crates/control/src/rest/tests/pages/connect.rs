//! Connecting a server by signing in at its authorization server: whom it lets, and every way in which a round trip, a
//! document or a link can be somebody else's.

use model::{ConnectionId, ConnectionStatus, Holder, KeyRole, Scope};
use serde_json::{Value, json};
use store::{ConnectionRecord, NewConnection, ServerRecord};
use url::Url;
use wire::Challenge;

use super::super::house::{Reply, bearer};
use super::authority::{Authority, challenge, leads_to, made, parameter};
use super::browser::{Browser, code, form};
use super::forged::matrix;
use super::{House, person, signed_in, user};
use crate::auth::{AuthConfig, Token};
use crate::keyring::Place;
use crate::upstream_login::{LoginError, Told};

const CONNECT: &str = "/connect/acme/notes";

fn oauth() -> Value {
    json!({"type": "authorization_code"})
}

/// From the page to the authorization server: where it leads.
async fn asked(browser: &mut Browser<'_>, path: &str) -> Url {
    let sent = sent(browser, path).await;
    leads_to(&sent)
}

/// The same, however it ends.
async fn sent(browser: &mut Browser<'_>, path: &str) -> Reply {
    let page = browser.get(path).await;
    assert_eq!(page.status, 200, "{path}: {}", page.text);
    let fields = ["attempt", "scope_type", "scope_id", "return"].map(|name| (name, hidden(&page.text, name)));
    let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    browser.submit(path.split('?').next().unwrap(), &fields).await
}

fn hidden(text: &str, name: &str) -> String {
    let field = format!("name=\"{name}\" value=\"");
    let value = text.split_once(&field).map(|(_, rest)| rest.split('"').next().unwrap()).unwrap_or_default();
    value.replace("&#38;", "&").replace("&amp;", "&")
}

/// What the authorization server leads back with.
fn back(asked: &Url, more: &[(&str, &str)]) -> String {
    let state = parameter(asked, "state");
    let fields = [("state", state.as_str())].into_iter().chain(more.iter().copied());
    format!("/oauth/callback?{}", form(fields))
}

/// All the way.
async fn connected(browser: &mut Browser<'_>) -> Reply {
    let asked = asked(browser, CONNECT).await;
    browser.get(&back(&asked, &[("code", "c-1")])).await
}

fn refused(reply: &Reply, status: u16, told: &str) {
    assert_eq!((reply.status.as_u16(), code(reply)), (status, told), "{}", reply.text);
}

/// Ann's own connection.
async fn hers(house: &House, server: &ServerRecord) -> Option<ConnectionRecord> {
    let store = house.app.store.tenant(house.acme);
    let ann = store.user_by_login("ann").await.unwrap().unwrap();
    store.connection_of(server.spec.id, Holder::User(ann.id)).await.unwrap()
}

async fn token(house: &House, record: &ConnectionRecord) -> Token {
    let place = Place { tenant: house.acme, kind: "connection", record: record.id.0, field: "token" };
    let sealed = record.token.as_ref().unwrap();
    Token::from_json(&house.app.keyring.open(place, record.token_generation, sealed).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_person_connects_a_server_by_signing_in_at_its_authorization_server() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let page = ann.get(CONNECT).await;
    for word in ["<strong>ann</strong>", "<strong>notes</strong>", "acme", "you alone"] {
        assert!(page.text.contains(word), "the page names {word}: {}", page.text);
    }
    let asked = asked(&mut ann, CONNECT).await;
    assert!(asked.as_str().starts_with(&format!("{}/authorize?", authority.base)), "{asked}");
    assert_eq!(parameter(&asked, "redirect_uri"), "http://127.0.0.1:5010/oauth/callback");
    assert_eq!(parameter(&asked, "resource"), authority.url());
    assert_eq!(
        (parameter(&asked, "code_challenge_method"), parameter(&asked, "client_id")),
        ("S256".into(), "client-1".into())
    );
    assert!(parameter(&asked, "state").len() >= 22, "at least 128 bits");
    assert_eq!(parameter(&asked, "scope"), "", "nobody said what there is");
    assert!(hers(&house, &server).await.is_none(), "nothing is stored before she is back");

    let done = ann.get(&back(&asked, &[("code", "c-1")])).await;
    assert_eq!((done.status.as_u16(), code(&done)), (200, "connected"), "{}", done.text);
    let sent = &authority.asked("/token")[0];
    assert_eq!((sent.field("grant_type"), sent.field("code")), ("authorization_code".into(), "c-1".into()));
    assert_eq!(sent.field("resource"), authority.url());
    assert_eq!(sent.field("redirect_uri"), parameter(&asked, "redirect_uri"));
    let verifier = sent.field("code_verifier");
    assert_eq!(challenge(&verifier), parameter(&asked, "code_challenge"));
    assert!(!asked.as_str().contains(&verifier), "the verifier is in no URL");
    let record = hers(&house, &server).await.unwrap();
    assert_eq!((record.status, record.refreshable), (ConnectionStatus::Active, true));
    let token = token(&house, &record).await;
    assert_eq!((token.access_token.expose(), token.issuer.as_deref()), ("at-1", Some(authority.base.as_str())));
    assert_eq!(token.client_id.as_deref(), Some("client-1"));
    assert!(house.app.store.platform().attempt([0; 32]).await.unwrap().is_none());
}

/// R63.
#[tokio::test]
async fn an_authorization_server_is_found_wherever_it_may_stand_in_the_order_of_the_rfcs() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let prm = "/.well-known/oauth-protected-resource";
    let (inserted, root) = (format!("{prm}/mcp"), prm.to_owned());
    let oauth_root = "/.well-known/oauth-authorization-server";
    // Where the server's metadata stands, the issuer's path, and where its metadata stands.
    let cases: [(&str, Option<&str>, &str, &str); 9] = [
        ("beside", Some(&inserted), "", oauth_root),
        ("root", Some(&root), "", oauth_root),
        ("said", Some("/anywhere"), "", oauth_root),
        ("oidc", Some(&inserted), "", "/.well-known/openid-configuration"),
        ("path", Some(&inserted), "/t/x", "/.well-known/oauth-authorization-server/t/x"),
        ("oidc-path", Some(&inserted), "/t/x", "/.well-known/openid-configuration/t/x"),
        ("appended", Some(&inserted), "/t/x", "/t/x/.well-known/openid-configuration"),
        // Of a server of 2025-03-26, which has no metadata of its own.
        ("old", None, "", oauth_root),
        ("old-with-a-path", None, "/oauth", oauth_root),
    ];
    for (name, of_server, path, of_issuer) in cases {
        let authority = Authority::open().await;
        authority.says_nothing();
        if let Some(place) = of_server {
            let mut resource = authority.resource();
            resource["authorization_servers"] = json!([format!("{}{path}", authority.base)]);
            authority.stands(place, resource);
        }
        authority.stands(of_issuer, authority.metadata(path));
        house.proxies.speaks(&authority.url(), "[]");
        if name == "said" {
            let said = Some(format!("{}/anywhere", authority.base));
            let challenge = Challenge { status: 401, resource_metadata: said, scope: None, error: None };
            house.proxies.with(|state| state.challenges.push(challenge));
        }
        authority.named(&house, name, oauth()).await;
        let asked = asked(&mut ann, &format!("/connect/acme/{name}")).await;
        assert_eq!(parameter(&asked, "resource"), authority.url(), "{name}");
        let done = ann.get(&back(&asked, &[("code", "c")])).await;
        assert_eq!(code(&done), "connected", "{name}: {}", done.text);
    }
}

/// R63, T15, and whatever else a document must not say.
#[tokio::test]
async fn metadata_that_is_about_somebody_else_or_not_safe_is_refused_before_anything_is_sent() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    type Change = fn(&Authority);
    let cases: [(&str, Change); 12] = [
        ("another resource", |at| {
            let mut resource = at.resource();
            resource["resource"] = json!("https://evil.example/mcp");
            at.stands("/.well-known/oauth-protected-resource/mcp", resource);
        }),
        ("no authorization server", |at| {
            let mut resource = at.resource();
            resource["authorization_servers"] = json!([]);
            at.stands("/.well-known/oauth-protected-resource/mcp", resource);
        }),
        ("an issuer with a slash more", |at| at.says("issuer", json!(format!("{}/", at.base)))),
        ("another issuer", |at| at.says("issuer", json!("https://evil.example"))),
        ("no PKCE", |at| at.says("code_challenge_methods_supported", Value::Null)),
        ("plain PKCE only", |at| at.says("code_challenge_methods_supported", json!(["plain"]))),
        ("a script", |at| at.says("authorization_endpoint", json!("javascript:alert(1)"))),
        ("plain http elsewhere", |at| at.says("authorization_endpoint", json!("http://as.example/authorize"))),
        ("a token endpoint of plain http", |at| at.says("token_endpoint", json!("http://as.example/token"))),
        ("no registration", |at| at.says("registration_endpoint", Value::Null)),
        ("a way to say who one is that nobody has", |at| {
            at.says("token_endpoint_auth_methods_supported", json!(["tls_client_auth"]));
        }),
        ("nothing at all", Authority::says_nothing),
    ];
    for (at, (name, change)) in cases.into_iter().enumerate() {
        let authority = Authority::open().await;
        change(&authority);
        let server = format!("server-{at}");
        authority.named(&house, &server, oauth()).await;
        let reply = sent(&mut ann, &format!("/connect/acme/{server}")).await;
        refused(&reply, 502, "oauth_failed");
        assert_eq!(reply.header("refresh"), "", "{name}");
        assert!(authority.asked("/register").is_empty() && authority.asked("/token").is_empty(), "{name}");
    }
}

/// R63, T08: every address of a discovery is somebody else's word.
#[tokio::test]
async fn the_address_policy_judges_every_hop() {
    let house = House::open().await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    for (at, inside) in
        ["https://169.254.169.254", "https://10.0.0.1", "https://metadata.google.internal"].iter().enumerate()
    {
        let says = |authority: &Authority, member: &str| authority.says(member, json!(format!("{inside}/x")));
        for hop in ["said", "issuer", "registration_endpoint", "token_endpoint"] {
            let authority = Authority::open().await;
            house.proxies.speaks(&authority.url(), "[]");
            match hop {
                "said" => {
                    let said = Some(format!("{inside}/x"));
                    let challenge = Challenge { status: 401, resource_metadata: said, scope: None, error: None };
                    house.proxies.with(|state| state.challenges.push(challenge));
                }
                "issuer" => {
                    let mut resource = authority.resource();
                    resource["authorization_servers"] = json!([inside]);
                    authority.stands("/.well-known/oauth-protected-resource/mcp", resource);
                }
                member => says(&authority, member),
            }
            let name = format!("{}-{at}", hop.replace('_', "-"));
            let server = authority.named(&house, &name, oauth()).await;
            let path = format!("/connect/acme/{name}");
            if hop == "token_endpoint" {
                let asked = asked(&mut ann, &path).await;
                refused(&ann.get(&back(&asked, &[("code", "c")])).await, 502, "oauth_failed");
            } else {
                refused(&sent(&mut ann, &path).await, 502, "oauth_failed");
            }
            assert!(hers(&house, &server).await.is_none(), "{name}");
        }
    }
}

/// R65, T13.
#[tokio::test]
async fn a_state_is_good_once_for_ten_minutes_in_the_browser_that_set_out() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    for query in ["", "?code=x", "?state=&code=x", "?state=short&code=x", &format!("?state={}&code=x", "A".repeat(43))]
    {
        refused(&ann.get(&format!("/oauth/callback{query}")).await, 400, "oauth_state");
    }
    // Another browser, another person, and the same person in another session.
    let mut other = Browser::new(&house);
    let mut again = ann.copy();
    again.cookies.clear();
    again.get("/signin").await;
    again.submit("/signin", &[("tenant", "acme"), ("login", "ann"), ("password", super::PASSWORD)]).await;
    assert!(again.is_signed_in().await);
    for thief in [&mut other, &mut bob, &mut again] {
        let asked = asked(&mut ann, CONNECT).await;
        let back = back(&asked, &[("code", "c")]);
        refused(&thief.get(&back).await, 400, "oauth_state");
        if thief.cookies.contains_key("gatehouse") {
            refused(&ann.get(&back).await, 400, "oauth_state");
        }
    }
    // Too late.
    let late = asked(&mut ann, CONNECT).await;
    house.clock.advance_micros(600 * 1_000_000);
    refused(&ann.get(&back(&late, &[("code", "c")])).await, 400, "oauth_state");
    // A parameter that stands twice.
    let twice = asked(&mut ann, CONNECT).await;
    refused(&ann.get(&format!("{}&code=d", back(&twice, &[("code", "c")]))).await, 400, "malformed_form");
    assert!(authority.asked("/token").is_empty(), "nothing was exchanged");
    // Used.
    let good = asked(&mut ann, CONNECT).await;
    assert_eq!(code(&ann.get(&back(&good, &[("code", "c")])).await), "connected");
    refused(&ann.get(&back(&good, &[("code", "c")])).await, 400, "oauth_state");
    assert_eq!(authority.asked("/token").len(), 1);
    assert!(hers(&house, &server).await.is_some());
}

/// R65: the verifier is nowhere but with the browser, so any replica can end what another began.
#[tokio::test]
async fn a_round_trip_survives_a_change_of_the_replica() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let asked = asked(&mut ann, CONNECT).await;
    let second = house.replica().await;
    let mut there = Browser::new(&second);
    there.cookies = ann.cookies.clone();
    let done = there.get(&back(&asked, &[("code", "c")])).await;
    assert_eq!(code(&done), "connected", "{}", done.text);
    assert!(hers(&house, &server).await.is_some());
}

/// R67, T14: mix-up.
#[tokio::test]
async fn an_answer_counts_only_of_the_issuer_that_was_asked() {
    let house = House::open().await;
    let authority = Authority::open().await;
    authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let own = authority.base.clone();
    let (slash, large) = (format!("{own}/"), own.to_uppercase());
    for (advertised, named, good) in [
        (false, None, true),
        (false, Some(own.as_str()), true),
        (false, Some("https://evil.example"), false),
        (false, Some(slash.as_str()), false),
        (true, Some(own.as_str()), true),
        (true, None, false),
        (true, Some(large.as_str()), false),
    ] {
        authority.says("authorization_response_iss_parameter_supported", json!(advertised));
        let before = authority.asked("/token").len();
        let asked = asked(&mut ann, CONNECT).await;
        let more: Vec<_> = [("code", "c")].into_iter().chain(named.map(|named| ("iss", named))).collect();
        let reply = ann.get(&back(&asked, &more)).await;
        if good {
            assert_eq!(code(&reply), "connected", "{advertised} {named:?}: {}", reply.text);
        } else {
            refused(&reply, 400, "oauth_state");
            // Neither an error of somebody else counts, nor is the state good for another try.
            refused(&ann.get(&back(&asked, &more)).await, 400, "oauth_state");
        }
        assert_eq!(authority.asked("/token").len() - before, usize::from(good), "{advertised} {named:?}");
    }
}

/// R67.
#[tokio::test]
async fn an_error_of_the_authorization_server_uses_the_state_up_and_is_shown_as_text() {
    let house = House::open().await;
    let authority = Authority::open().await;
    authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let markup = "<script>alert(1)</script>";
    let asked = asked(&mut ann, CONNECT).await;
    let back = back(&asked, &[("error", markup), ("error_description", "\"><img src=x>"), ("code", "c")]);
    let reply = ann.get(&back).await;
    refused(&reply, 400, "upstream_refused");
    assert!(!reply.text.contains("<script") && !reply.text.contains("<img src=x"), "{}", reply.text);
    assert!(reply.text.contains("&#60;script&#62;") || reply.text.contains("&lt;script&gt;"), "{}", reply.text);
    refused(&ann.get(&back).await, 400, "oauth_state");
    assert!(authority.asked("/token").is_empty());
}

/// R64.
#[tokio::test]
async fn a_registration_is_kept_until_its_redirect_uri_changes_or_its_client_is_dead() {
    let house = House::open().await;
    let authority = Authority::open().await;
    authority.registers(json!({"client_secret": "cs-1", "token_endpoint_auth_method": "client_secret_post"}));
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    for _ in 0..2 {
        assert_eq!(code(&connected(&mut ann).await), "connected");
    }
    let registered = authority.asked("/register");
    assert_eq!(registered.len(), 1, "it is registered once");
    let body: Value = serde_json::from_str(&registered[0].body).unwrap();
    assert_eq!(body["redirect_uris"], json!(["http://127.0.0.1:5010/oauth/callback"]));
    assert_eq!(
        (&body["application_type"], &body["token_endpoint_auth_method"]),
        (&json!("native"), &json!("client_secret_basic"))
    );
    let token = authority.asked("/token").pop().unwrap();
    assert_eq!((token.field("client_secret"), token.authorization.as_str()), ("cs-1".into(), ""));
    let store = house.app.store.tenant(house.acme);
    let kept = store.upstream_client(server.spec.id, &authority.base).await.unwrap().unwrap();
    assert!(!String::from_utf8_lossy(kept.secret.as_ref().unwrap()).contains("cs-1"), "it is sealed");

    // Our own URL was another one when it was registered.
    let moved = store::NewUpstreamClient {
        server: server.spec.id,
        issuer: kept.issuer.clone(),
        client_id: "old".to_owned(),
        secret: None,
        auth_method: "none".to_owned(),
        redirect_uri: "https://old.example/oauth/callback".to_owned(),
        secret_expires_at: None,
        replaces: Some(kept.client_id),
    };
    store.put_upstream_client(moved).await.unwrap();
    assert_eq!(parameter(&asked(&mut ann, CONNECT).await, "client_id"), "client-2");

    // The server does not know it any more: the token of before stays, the next login registers anew.
    authority.refuses(Some((401, json!({"error": "invalid_client"}))));
    refused(&connected(&mut ann).await, 502, "oauth_failed");
    assert!(store.upstream_client(server.spec.id, &authority.base).await.unwrap().is_none());
    assert!(hers(&house, &server).await.unwrap().token.is_some());
    authority.refuses(None);
    assert_eq!(code(&connected(&mut ann).await), "connected");
    assert_eq!(authority.asked("/register").len(), 3);
    // What only looks like it does not count.
    authority.refuses(Some((400, json!({"error": "invalid_client_metadata"}))));
    refused(&connected(&mut ann).await, 502, "oauth_failed");
    assert!(store.upstream_client(server.spec.id, &authority.base).await.unwrap().is_some());
}

/// R64.
#[tokio::test]
async fn a_client_that_an_admin_gave_is_never_touched_and_taken_to_no_other_issuer() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, json!({"type": "authorization_code", "client_id": "own"})).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    assert_eq!(parameter(&asked(&mut ann, CONNECT).await, "client_id"), "own");
    authority.refuses(Some((401, json!({"error": "invalid_client"}))));
    refused(&connected(&mut ann).await, 502, "oauth_failed");
    authority.refuses(None);
    assert_eq!(code(&connected(&mut ann).await), "connected");
    assert_eq!(authority.asked("/token").pop().unwrap().field("client_id"), "own");
    // The server names another authorization server now.
    let other = Authority::open().await;
    let mut resource = authority.resource();
    resource["authorization_servers"] = json!([other.base]);
    authority.stands("/.well-known/oauth-protected-resource/mcp", resource);
    let reply = sent(&mut ann, CONNECT).await;
    refused(&reply, 502, "oauth_failed");
    assert!(reply.text.contains("client_id"), "{}", reply.text);
    for at in [&authority, &other] {
        assert!(at.asked("/register").is_empty());
    }
    assert!(hers(&house, &server).await.unwrap().token.is_some(), "what there is stays");
}

/// R71, and credentials keyed by the issuer.
#[tokio::test]
async fn when_a_server_moves_to_another_authorization_server_nothing_of_the_old_one_goes_there() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    assert_eq!(code(&connected(&mut ann).await), "connected");
    let other = Authority::open().await;
    let mut resource = authority.resource();
    resource["authorization_servers"] = json!([other.base]);
    authority.stands("/.well-known/oauth-protected-resource/mcp", resource);
    let asked = asked(&mut ann, CONNECT).await;
    assert!(asked.as_str().starts_with(&other.base), "{asked}");
    assert_eq!(other.asked("/register").len(), 1, "a client of its own");

    // The token of before is refreshed and revoked where it was granted, and nowhere else.
    let login = &house.app.upstream_login;
    let endpoint = login.token_endpoint(&server, Some(&authority.base)).await.unwrap();
    assert_eq!(endpoint.token_url.as_str(), format!("{}/token", authority.base));
    assert_eq!(endpoint.resource.as_deref(), Some(authority.url().as_str()));
    let record = hers(&house, &server).await.unwrap();
    assert_eq!(login.revoke(&server, &record).await, Told::Revoked);
    let told: Vec<_> = authority.asked("/revoke").iter().map(|asked| asked.field("token")).collect();
    assert_eq!(told, ["rt-1", "at-1"]);
    assert!(other.asked("/revoke").is_empty());
    assert!(hers(&house, &server).await.unwrap().token.is_some(), "who asks for it takes it away here");
    // Who was never asked has no client there.
    let none = login.token_endpoint(&server, Some("http://127.0.0.1:1")).await;
    assert!(matches!(none, Err(LoginError::Fetch { .. })), "{none:?}");

    let done = ann.get(&back(&asked, &[("code", "c")])).await;
    assert_eq!(code(&done), "connected", "{}", done.text);
    assert_eq!(other.asked("/token")[0].field("client_id"), "client-1");
    let token = token(&house, &hers(&house, &server).await.unwrap()).await;
    assert_eq!(token.issuer.as_deref(), Some(other.base.as_str()));
}

/// R71: a refresh finds its way while the authorization server's metadata can't be had.
#[tokio::test]
async fn what_is_known_of_an_authorization_server_outlives_its_documents() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    assert_eq!(code(&connected(&mut ann).await), "connected");
    authority.says_nothing();
    house.clock.advance_micros(30 * 24 * 3600 * 1_000_000);
    let second = house.replica().await;
    let endpoint = second.app.upstream_login.token_endpoint(&server, None).await.unwrap();
    assert_eq!((endpoint.issuer.as_str(), endpoint.client.id.as_str()), (authority.base.as_str(), "client-1"));
}

/// R70.
#[tokio::test]
async fn a_login_that_fails_leaves_the_token_that_was_there() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    assert_eq!(code(&connected(&mut ann).await), "connected");
    let before = hers(&house, &server).await.unwrap();
    authority.gives(json!({"access_token": "at-2", "token_type": "Bearer"}));
    for (status, answer) in [
        (400, json!({"error": "invalid_grant"})),
        (500, json!({})),
        (200, json!({"token_type": "Bearer"})),
        (200, json!("at-2")),
        (302, json!({})),
    ] {
        authority.refuses(Some((status, answer.clone())));
        let reply = connected(&mut ann).await;
        refused(&reply, 502, "oauth_failed");
        assert!(!reply.text.contains("at-2"), "{}", reply.text);
        assert_eq!(hers(&house, &server).await.unwrap(), before, "{status} {answer}");
    }
    // Setting out is no end either.
    asked(&mut ann, CONNECT).await;
    assert_eq!(hers(&house, &server).await.unwrap(), before);
    authority.refuses(None);
    assert_eq!(code(&connected(&mut ann).await), "connected");
    let after = hers(&house, &server).await.unwrap();
    assert_eq!(after.id, before.id);
    assert!(after.credential_version > before.credential_version && after.token_generation > before.token_generation);
    assert_eq!(token(&house, &after).await.access_token.expose(), "at-2");
}

/// R70: the newer state wins.
#[tokio::test]
async fn what_was_stored_while_a_login_ended_stays() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    assert_eq!(code(&connected(&mut ann).await), "connected");
    let before = hers(&house, &server).await.unwrap();
    let store = house.app.store.tenant(house.acme);
    let actor = store::Actor::system("test");
    // A refresh of the old token comes in between: the person's new one goes over it.
    authority.gives(json!({"access_token": "at-2"}));
    let held = authority.held().await;
    let there = asked(&mut ann, CONNECT).await;
    let mut browser = ann.copy();
    let url = back(&there, &[("code", "c")]);
    let (done, ()) = tokio::join!(browser.get(&url), async {
        while store.upstream_metadata(server.spec.id).await.unwrap().is_none() {}
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let put = store::PutToken {
            lease: None,
            expected_generation: before.token_generation,
            token: vec![1, 2, 3],
            expires_at: None,
            refreshable: true,
            fingerprints: Vec::new(),
        };
        store.put_token(before.id, put).await.unwrap();
        drop(held);
    });
    assert_eq!(code(&done), "connected", "{}", done.text);
    let second = hers(&house, &server).await.unwrap();
    assert_eq!(token(&house, &second).await.access_token.expose(), "at-2");

    // Another login comes in between: it was later, and stays.
    authority.gives(json!({"access_token": "at-3"}));
    let held = authority.held().await;
    let there = asked(&mut ann, CONNECT).await;
    let url = back(&there, &[("code", "c")]);
    let (done, ()) = tokio::join!(browser.get(&url), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        let put = store::PutLogin {
            expected_version: second.credential_version,
            expected_generation: second.token_generation,
            token: vec![4, 5, 6],
            expires_at: None,
            refreshable: true,
            fingerprints: Vec::new(),
            credential: None,
            external_subject: None,
        };
        store.put_login(&actor, second.id, put).await.unwrap();
        drop(held);
    });
    refused(&done, 409, "superseded");
    assert_eq!(hers(&house, &server).await.unwrap().token.as_deref(), Some(&[4_u8, 5, 6][..]));
}

/// R67.
#[tokio::test]
async fn a_login_ends_even_if_the_browser_goes_away() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let there = asked(&mut ann, CONNECT).await;
    let held = authority.held().await;
    let url = back(&there, &[("code", "c")]);
    let gone = tokio::time::timeout(std::time::Duration::from_millis(300), ann.get(&url)).await;
    assert!(gone.is_err(), "it waits for the token");
    drop(held);
    for _ in 0..500 {
        if hers(&house, &server).await.is_some() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nothing was stored");
}

/// T13: whoever made the link.
#[tokio::test]
async fn nobody_connects_for_somebody_else_and_only_admins_for_all() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let both = json!({"type": "authorization_code", "scopes": ["user", "global"]});
    let server = authority.server(&house, both).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    let mut boss = person(&house, "boss", KeyRole::TenantAdmin).await;
    let store = house.app.store.tenant(house.acme);
    let ids = ["ann", "bob"].map(|login| store.user_by_login(login));
    let [id_ann, id_bob] = ids;
    let (id_ann, id_bob) = (id_ann.await.unwrap().unwrap().id, id_bob.await.unwrap().unwrap().id);
    // Bob's link, and a link for all, before ann; and ann's before an admin, who may not sign in in her place.
    let link = |body: Value| {
        let house = &house;
        async move {
            let made = house.admin("POST", "/api/v1/servers/notes/connections/login", &body.to_string()).await;
            assert_eq!(made.status, 201, "{}", made.text);
            let url = made.json()["login_url"].as_str().unwrap().to_owned();
            url.split_once("5010").unwrap().1.to_owned()
        }
    };
    let of_bob = link(json!({"scope_type": "user", "scope_id": "bob"})).await;
    let of_ann = link(json!({"scope_type": "user", "scope_id": "ann"})).await;
    let of_all = link(json!({})).await;
    for (who, path) in [
        ("ann", of_bob.clone()),
        ("ann", of_all.clone()),
        ("boss", of_ann.clone()),
        ("ann", "/connect/acme/notes?scope_type=global".to_owned()),
        ("ann", format!("/connect/acme/notes?scope_type=user&scope_id={id_bob}")),
        ("boss", format!("/connect/acme/notes?scope_type=user&scope_id={id_ann}")),
    ] {
        let browser = if who == "ann" { &mut ann } else { &mut boss };
        let path = path.as_str();
        let page = browser.get(path).await;
        refused(&page, 403, "not_yours");
        browser.get("/account").await;
        let query = path.split_once('?').unwrap().1;
        let fields: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        refused(&browser.submit(CONNECT, &fields).await, 403, "not_yours");
    }
    // Whom it was made for may.
    for (browser, path, holder) in
        [(&mut bob, of_bob.as_str(), Holder::User(id_bob)), (&mut boss, of_all.as_str(), Holder::Global)]
    {
        let there = asked(browser, path).await;
        assert_eq!(code(&browser.get(&back(&there, &[("code", "c")])).await), "connected");
        assert!(store.connection_of(server.spec.id, holder).await.unwrap().is_some());
        // And once.
        refused(&browser.get(path).await, 400, "oauth_state");
    }
    assert!(hers(&house, &server).await.is_none());
}

#[tokio::test]
async fn a_link_leads_through_the_sign_in_and_back_and_shows_nothing_of_other_tenants() {
    let house = House::open().await;
    let authority = Authority::open().await;
    authority.server(&house, oauth()).await;
    let mut nobody = Browser::new(&house);
    let reply = nobody.get("/connect/acme/notes?attempt=x").await;
    assert_eq!(reply.header("location"), "/signin?return=%2Fconnect%2Facme%2Fnotes%3Fattempt%3Dx");
    assert!(nobody.get(reply.header("location")).await.text.contains("value=\"acme\""), "it knows the tenant");
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let there = ann.get("/connect/other/notes").await;
    assert!(
        there.status == 303 && there.header("location").starts_with("/signin?switch=1&tenant=other"),
        "{}",
        there.text
    );
    for none in ["/connect/acme/nothing", "/connect/acme/%00", "/connect/acme/.."] {
        refused(&ann.get(none).await, 404, "not_found");
    }
    made(&house, "plain", "http://127.0.0.1:9001/mcp", &AuthConfig::default()).await;
    refused(&ann.get("/connect/acme/plain").await, 400, "login_not_supported");
    refused(&ann.get("/connect/acme/notes?attempt=x").await, 400, "oauth_state");
    // Under another name of this machine the way back would have no session.
    let elsewhere = ann.send("GET", CONNECT, "", |headers| {
        headers.insert("host", "localhost:5010".parse().unwrap());
    });
    assert_eq!(elsewhere.await.header("location"), "http://127.0.0.1:5010/connect/acme/notes");
}

/// R66.
#[tokio::test]
async fn people_are_led_back_to_this_site_or_where_the_settings_allow_and_nowhere_else() {
    let house = House::with("dev = true\nlogin_return_urls = [\"https://app.example/done\"]\n").await;
    let authority = Authority::open().await;
    authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let bad = [
        "https://evil.example/",
        "https://app.example.evil.example/done",
        "https://app.example/other",
        "http://app.example/done",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "https://app.example@evil.example/done",
    ];
    for to in bad {
        let path = format!("{CONNECT}?{}", form([("return", to)]));
        refused(&ann.get(&path).await, 400, "malformed_form");
        ann.get("/account").await;
        refused(&ann.submit(CONNECT, &[("return", to)]).await, 400, "malformed_form");
        let body = json!({"return_url": to, "scope_type": "user", "scope_id": "ann"}).to_string();
        let made = house.admin("POST", "/api/v1/servers/notes/connections/login", &body).await;
        assert_eq!(made.told(), (422, "return_url".to_owned()), "{to}");
    }
    for (to, expected) in
        [("/account?x=1", "/account?x=1"), ("https://app.example/done?x=1", "https://app.example/done?x=1")]
    {
        let there = asked(&mut ann, &format!("{CONNECT}?{}", form([("return", to)]))).await;
        let done = ann.get(&back(&there, &[("code", "c")])).await;
        assert_eq!(done.header("refresh"), format!("0;url={expected}"), "{}", done.text);
    }
}

/// R68, R69.
#[tokio::test]
async fn an_attempt_is_told_to_whoever_made_it_and_no_older_token_satisfies_it() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, json!({"type": "authorization_code", "scopes": ["global"]})).await;
    authority.named(&house, "other", oauth()).await;
    let mut boss = person(&house, "boss", KeyRole::TenantAdmin).await;
    let login = "/api/v1/servers/notes/connections/login";
    let begun = async || {
        let made = house.admin("POST", login, "").await;
        assert_eq!(made.status, 201, "{}", made.text);
        let (id, url) = (made.json()["attempt"].clone(), made.json()["login_url"].clone());
        let url = url.as_str().unwrap().split_once("5010").unwrap().1.to_owned();
        (format!("{login}/{}", id.as_str().unwrap()), url)
    };
    let state = async |path: &str| house.admin("GET", path, "").await.json();
    let (first, link) = begun().await;
    assert_eq!(state(&first).await["state"], "pending");
    let there = asked(&mut boss, &link).await;
    assert!(!there.as_str().contains(first.rsplit('/').next().unwrap()), "the attempt is not the state");
    assert_eq!(state(&first).await["state"], "pending");
    assert_eq!(code(&boss.get(&back(&there, &[("code", "c")])).await), "connected");
    let done = state(&first).await;
    assert_eq!((&done["state"], &done["token_state"]), (&json!("authorized"), &json!("authorized")));
    assert_eq!((&done["refresh_available"], &done["error"]), (&json!(true), &Value::Null));
    let id: ConnectionId = done["connection"].as_str().unwrap().parse().unwrap();
    let store = house.app.store.tenant(house.acme);
    assert_eq!(store.connection(id).await.unwrap().unwrap().server, server.spec.id);

    // The token is there; a new attempt is pending all the same, and fails by itself.
    let (second, link) = begun().await;
    assert_eq!(state(&second).await["state"], "pending");
    authority.refuses(Some((400, json!({"error": "invalid_grant"}))));
    let there = asked(&mut boss, &link).await;
    boss.get(&back(&there, &[("code", "c")])).await;
    let failed = state(&second).await;
    assert_eq!((&failed["state"], &failed["error"]["code"]), (&json!("failed"), &json!("oauth_failed")));
    assert!(failed["error"]["message"].as_str().unwrap().contains("invalid_grant"), "{failed}");
    assert_eq!(state(&first).await["state"], "authorized");
    // Nobody comes back.
    let (third, _) = begun().await;
    house.clock.advance_micros(600 * 1_000_000);
    assert_eq!(state(&third).await["error"]["code"], "expired");
    // It is nobody else's: another key, another tenant, another server, and who may not at all.
    for key in [&house.platform, &house.other_admin] {
        assert_eq!(house.ask(key, "GET", &first, "").await.status, 404);
    }
    assert_eq!(house.admin("GET", &first.replace("notes", "other"), "").await.status, 404);
    assert_eq!(house.ask(&house.viewer, "GET", &first, "").await.status, 403);
    assert_eq!(house.ask(&house.viewer, "POST", login, "").await.status, 403);
    assert_eq!(house.ask(&house.client, "POST", login, "").await.status, 403, "a key of nobody, and no admin");
    assert_eq!(house.admin("POST", login, r#"{"scope_type":"user"}"#).await.told(), (422, "required".to_owned()));
    let body = r#"{"scope_type":"user","scope_id":"boss"}"#;
    assert_eq!(house.admin("POST", login, body).await.told(), (422, "scope_not_accepted".to_owned()));
    made(&house, "plain", "http://127.0.0.1:9001/mcp", &AuthConfig::default()).await;
    let plain = house.admin("POST", "/api/v1/servers/plain/connections/login", "").await;
    assert_eq!(plain.told(), (400, "login_not_supported".to_owned()));
}

/// What a person may, their session may too: the same attempt, by key or by cookie.
#[tokio::test]
async fn a_connection_that_an_admin_disabled_is_not_opened_by_a_login() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let ann_id = user(&house, house.acme, "ann", KeyRole::User).await;
    let store = house.app.store.tenant(house.acme);
    let new = NewConnection {
        status: ConnectionStatus::Disabled,
        ..NewConnection::new(ConnectionId::fresh(), server.spec.id, Holder::User(ann_id))
    };
    store.create_connection(&store::Actor::system("test"), new).await.unwrap();
    let mut ann = signed_in(&house, "ann").await;
    refused(&connected(&mut ann).await, 409, "disabled");
    assert!(authority.asked("/token").is_empty());
    assert_eq!(hers(&house, &server).await.unwrap().status, ConnectionStatus::Disabled);
}

/// R63: scopes of the challenge, of the metadata, and of a step up.
#[tokio::test]
async fn scopes_come_from_the_challenge_then_the_metadata_and_a_step_up_adds_to_them_a_few_times() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    house.proxies.speaks(&authority.url(), "[]");
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut resource = authority.resource();
    resource["scopes_supported"] = json!(["read", "write"]);
    authority.stands("/.well-known/oauth-protected-resource/mcp", resource);
    assert_eq!(parameter(&asked(&mut ann, CONNECT).await, "scope"), "read write");
    authority.says("scopes_supported", json!(["read", "offline_access"]));
    let said = |scope: &str, status, error: Option<&str>| Challenge {
        status,
        resource_metadata: None,
        scope: Some(scope.to_owned()),
        error: error.map(str::to_owned),
    };
    house.proxies.with(|state| state.challenges.push(said("read", 401, None)));
    let there = asked(&mut ann, CONNECT).await;
    assert_eq!(
        (parameter(&there, "scope"), parameter(&there, "prompt")),
        ("read offline_access".into(), "consent".into())
    );
    // A call is refused with 403: the next login asks for that too.
    let login = &house.app.upstream_login;
    let more = said("admin", 403, Some("insufficient_scope"));
    login.challenged(&server, &said("nothing", 401, Some("invalid_token"))).await.unwrap();
    login.challenged(&server, &more).await.unwrap();
    let ask = || house.proxies.with(|state| state.challenges.push(said("read", 401, None)));
    for _ in 0..3 {
        ask();
        assert_eq!(parameter(&asked(&mut ann, CONNECT).await, "scope"), "read admin offline_access");
        login.challenged(&server, &more).await.unwrap();
    }
    // It was given all of it, and asks again and again.
    ask();
    let reply = sent(&mut ann, CONNECT).await;
    refused(&reply, 502, "oauth_failed");
    assert!(reply.text.contains("would not help"), "{}", reply.text);
}

/// R72.
#[tokio::test]
async fn revoking_tells_the_authorization_server_as_the_client_that_it_knows() {
    let house = House::open().await;
    let authority = Authority::open().await;
    authority.registers(json!({"client_secret": "cs-1", "token_endpoint_auth_method": "client_secret_basic"}));
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    assert_eq!(code(&connected(&mut ann).await), "connected");
    let record = hers(&house, &server).await.unwrap();
    let login = &house.app.upstream_login;
    assert_eq!(login.revoke(&server, &record).await, Told::Revoked);
    let told = authority.asked("/revoke");
    assert_eq!((told.len(), told[0].field("token_type_hint").as_str()), (2, "refresh_token"));
    assert!(told.iter().all(|asked| asked.authorization.starts_with("Basic ")), "{told:?}");
    // One that can't be told, and one that is not there.
    authority.says("revocation_endpoint", Value::Null);
    house.clock.advance_micros(2 * 3600 * 1_000_000);
    assert_eq!(login.revoke(&server, &record).await, Told::Nothing);
    let without = ConnectionRecord { token: None, ..record };
    assert_eq!(login.revoke(&server, &without).await, Told::Nothing);
}

/// R72.
#[tokio::test]
async fn a_connection_that_is_removed_is_revoked_where_it_was_granted() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    assert_eq!(code(&connected(&mut ann).await), "connected");
    let id = hers(&house, &server).await.unwrap().id;
    let path = format!("/api/v1/servers/notes/connections/{id}");
    let gone = house.admin_with(("if-match", "*"), "DELETE", &path, "").await;
    assert_eq!(gone.status, 200, "{}", gone.text);
    assert!(hers(&house, &server).await.is_none());
    for _ in 0..500 {
        if authority.asked("/revoke").len() == 2 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    panic!("nobody told the authorization server");
}

#[tokio::test]
async fn no_form_connects_anything_that_a_page_of_the_session_did_not_send() {
    let house = House::open().await;
    let authority = Authority::open().await;
    authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    ann.get(CONNECT).await;
    bob.get(CONNECT).await;
    for (name, token, change) in matrix(&ann.csrf.clone(), &bob.csrf.clone()) {
        let body = token.as_ref().map(|token| form([("csrf", token.as_str())])).unwrap_or("x=y".to_owned());
        let reply = ann.send("POST", CONNECT, &body, change).await;
        assert_eq!((reply.status.as_u16(), name), (403, name), "{}", reply.text);
    }
    assert!(authority.asked("/.well-known/oauth-protected-resource/mcp").is_empty(), "nobody was asked anything");
    assert_eq!(ann.submit(CONNECT, &[]).await.status, 200);
}

#[tokio::test]
async fn the_document_that_describes_us_is_there_for_everybody() {
    let house = House::with("public_url = \"https://gate.example/base\"\n").await;
    let reply = house
        .send("GET", "/oauth/client-metadata.json", "", |headers| {
            headers.insert("host", "gate.example".parse().unwrap());
        })
        .await;
    let document = reply.json();
    assert_eq!(document["client_id"], "https://gate.example/base/oauth/client-metadata.json", "{}", reply.text);
    assert_eq!(document["redirect_uris"], json!(["https://gate.example/base/oauth/callback"]));
    assert_eq!(
        (&document["token_endpoint_auth_method"], &document["application_type"]),
        (&json!("none"), &json!("web"))
    );
}

/// A person's own key and own session are one caller.
#[tokio::test]
async fn a_users_key_begins_what_the_same_user_ends_in_a_browser() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let id = house.app.store.tenant(house.acme).user_by_login("ann").await.unwrap().unwrap().id;
    let key = super::super::house::made(
        &house.app.store,
        crate::keys::Mint {
            tenant: house.acme,
            user: Some(id),
            role: KeyRole::User,
            scopes: model::KeyScopes::PLAIN,
            servers: None,
            expires_at: None,
            label: "ann".to_owned(),
        },
    )
    .await;
    let made = house.send("POST", "/api/v1/servers/notes/connections/login", "", |headers| bearer(headers, &key)).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let url = made.json()["login_url"].as_str().unwrap().split_once("5010").unwrap().1.to_owned();
    let there = asked(&mut ann, &url).await;
    assert_eq!(code(&ann.get(&back(&there, &[("code", "c")])).await), "connected");
    assert_eq!(hers(&house, &server).await.unwrap().holder.scope(), Scope::User);
    let attempt = made.json()["attempt"].as_str().unwrap().to_owned();
    let state = house.ask(&key, "GET", &format!("/api/v1/servers/notes/connections/login/{attempt}"), "").await;
    assert_eq!(state.json()["state"], "authorized", "{}", state.text);
}

/// R71: what somebody says of their own token is nobody else's, and takes no client of an admin along.
#[tokio::test]
async fn a_token_from_elsewhere_decides_for_nobody_else_whom_secrets_are_sent_to() {
    let house = House::open().await;
    let (authority, evil) = (Authority::open().await, Authority::open().await);
    let store = house.app.store.tenant(house.acme);
    let logins = &house.app.upstream_login;
    let given = json!({"type": "authorization_code", "client_id": "own"});
    let mut named = given.clone();
    named["issuer"] = json!(authority.base);
    for (name, auth) in [("given", given), ("named", named)] {
        let server = authority.named(&house, name, auth).await;
        let refused = logins.token_endpoint(&server, Some(&evil.base)).await;
        assert!(matches!(refused, Err(LoginError::OtherServer)), "{name}: {refused:?}");
        for issuer in [None, Some(authority.base.as_str())] {
            let endpoint = logins.token_endpoint(&server, issuer).await.unwrap();
            assert_eq!((endpoint.issuer.as_str(), endpoint.client.id.as_str()), (authority.base.as_str(), "own"));
        }
        let refused = logins.token_endpoint(&server, Some(&evil.base)).await;
        assert!(matches!(refused, Err(LoginError::OtherServer)), "{name}: {refused:?}");
    }
    // Where nobody gave a client none is known there, and what others have without a name of an issuer goes elsewhere.
    let server = authority.named(&house, "open", oauth()).await;
    let refused = logins.token_endpoint(&server, Some(&evil.base)).await;
    assert!(matches!(refused, Err(LoginError::NoClient)), "{refused:?}");
    assert!(store.upstream_metadata(server.spec.id).await.unwrap().is_none(), "nothing of it is kept for others");
    assert!(evil.asked("/token").is_empty() && evil.asked("/register").is_empty());
}

/// T04: a token that was granted for one place is sent to no other.
#[tokio::test]
async fn a_login_that_was_begun_before_its_server_moved_brings_nothing() {
    let house = House::open().await;
    let authority = Authority::open().await;
    let server = authority.server(&house, oauth()).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    let store = house.app.store.tenant(house.acme);
    let moves = async |to: &str| {
        let url = Some(model::UpstreamUrl::parse(to).unwrap());
        let patch = store::ServerPatch { url, bare: true, ..store::ServerPatch::default() };
        store.patch_server(&store::Actor::system("test"), server.spec.id, None, patch).await.unwrap();
    };
    let begun = asked(&mut ann, CONNECT).await;
    moves("https://evil.example/mcp").await;
    let reply = ann.get(&back(&begun, &[("code", "c-1")])).await;
    refused(&reply, 409, "superseded");
    assert!(authority.asked("/token").is_empty(), "the code is sent nowhere");
    // Nor where it moves while the code is exchanged.
    moves(&authority.url()).await;
    let begun = asked(&mut ann, CONNECT).await;
    let held = authority.held().await;
    let path = back(&begun, &[("code", "c-2")]);
    let (reply, ()) = tokio::join!(ann.get(&path), async {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        moves("https://evil.example/mcp").await;
        drop(held);
    });
    refused(&reply, 409, "superseded");
    assert!(hers(&house, &server).await.is_none());
}
