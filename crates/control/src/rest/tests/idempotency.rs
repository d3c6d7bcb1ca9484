//! `Idempotency-Key`: a create that is sent twice happens once.

use axum::http::{Method, StatusCode};
use model::{ClaimMapping, IssuerId, KeyRole, KeyScopes, KeyText, Listing, UpstreamUrl};
use store::{Actor, NewDepartment, NewEgressRule, NewIssuer, NewServer, NewTenant, NewToolset, NewUser, Place, Seen};

use super::house::{House, NOTES, OTHER, bearer};
use crate::keys::{Mint, mint};
use crate::rest::idempotency::Slot;

const KEY: (&str, &str) = ("idempotency-key", "k-1");

fn body(name: &str, url: &str) -> String {
    format!("{{\"name\":\"{name}\",\"url\":\"{url}\"}}")
}

#[tokio::test]
async fn a_repeated_create_answers_as_the_first_time() {
    let house = House::open().await;
    let first = house.admin_with(KEY, "POST", "/api/v1/servers", &body("notes", NOTES)).await;
    let again = house.admin_with(KEY, "POST", "/api/v1/servers", &body("notes", NOTES)).await;
    assert_eq!((again.status, &again.text), (StatusCode::CREATED, &first.text));
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!((again.header("etag"), again.header("location")), (first.header("etag"), first.header("location")));
    let other = house.admin_with(KEY, "POST", "/api/v1/servers", &body("notes", OTHER)).await;
    assert_eq!(other.told(), (422, "idempotency_key_reused".to_owned()));
    // Another caller's key is another key.
    let theirs = house
        .send("POST", "/api/v1/servers", &body("notes", OTHER), |headers| {
            bearer(headers, &house.other_admin);
            headers.insert(KEY.0, KEY.1.parse().unwrap());
        })
        .await;
    assert_eq!(theirs.status, StatusCode::CREATED);
    house.clock.advance_micros(24 * 3600 * 1_000_000);
    let late = house.admin_with(KEY, "POST", "/api/v1/servers", &body("notes", NOTES)).await;
    assert_eq!(late.told(), (409, "name_taken".to_owned()));
}

#[tokio::test]
async fn a_create_that_failed_may_be_tried_again() {
    let house = House::open().await;
    let failed = house.admin_with(KEY, "POST", "/api/v1/servers", &body("late", "http://127.0.0.1:9003/mcp")).await;
    assert_eq!(failed.code(), "upstream_unreachable");
    house.proxies.speaks("http://127.0.0.1:9003/mcp", "[]");
    let made = house.admin_with(KEY, "POST", "/api/v1/servers", &body("late", "http://127.0.0.1:9003/mcp")).await;
    assert_eq!(made.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_create_that_still_runs_says_so() {
    let house = House::open().await;
    let held = house.proxies.gate.acquire().await.unwrap();
    let notes = body("notes", NOTES);
    let first = house.admin_with(KEY, "POST", "/api/v1/servers", &notes);
    let meanwhile = async {
        // Only once the first has reached its probe is there something that still runs.
        while house.proxies.with(|state| state.probes) == 0 {
            tokio::task::yield_now().await;
        }
        let second = house.admin_with(KEY, "POST", "/api/v1/servers", &notes).await;
        drop(held);
        second
    };
    let (first, second) = tokio::join!(first, meanwhile);
    assert_eq!(first.status, StatusCode::CREATED);
    assert_eq!(second.told(), (409, "idempotency_running".to_owned()));
    assert_eq!(second.header("retry-after"), "1");
}

#[tokio::test]
async fn a_replayed_answer_carries_null_in_the_place_of_a_new_key() {
    let house = House::open().await;
    let create = async || house.admin_with(KEY, "POST", "/api/v1/keys", "{\"label\":\"ci\"}").await;
    let first = create().await;
    assert!(first.json()["key"].is_string());
    let again = create().await;
    assert_eq!((again.status, again.header("idempotent-replayed")), (StatusCode::CREATED, "true"));
    assert_eq!((&again.json()["id"], again.json()["key"].is_null()), (&first.json()["id"], true));
    let path = format!("{}/rotate", first.header("location"));
    let rotate = async || house.admin_with(("idempotency-key", "k-2"), "POST", &path, "{}").await.json();
    let (first, again) = (rotate().await, rotate().await);
    assert!(first["key"].is_string() && again["key"].is_null());
    assert_eq!(again["id"], first["id"]);
}

#[tokio::test]
async fn a_restarted_process_and_another_replica_know_the_answer() {
    let house = House::open().await;
    let first = house.admin_with(KEY, "POST", "/api/v1/servers", &body("notes", NOTES)).await;
    let replica = house.replica().await;
    let again = replica.admin_with(KEY, "POST", "/api/v1/servers", &body("notes", NOTES)).await;
    assert_eq!((again.status, &again.text), (StatusCode::CREATED, &first.text));
    assert_eq!(again.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn a_create_whose_process_died_before_it_answered_is_told_from_its_record() {
    let house = House::open().await;
    let key: KeyText = house.platform.parse().unwrap();
    for (noun, body) in [
        ("servers", r#"{"name":"notes","url":"http://127.0.0.1:9001/mcp"}"#),
        ("keys", "{}"),
        ("departments", r#"{"name":"board"}"#),
        ("users", r#"{"login":"ann"}"#),
        ("issuers", r#"{"name":"corp","issuer":"https://id.example"}"#),
        ("tenants", r#"{"name":"third"}"#),
        ("toolsets", r#"{"name":"office"}"#),
        ("egress-rules", r#"{"host":"wiki.corp","reason":"test"}"#),
    ] {
        let path = format!("/api/v1/{noun}");
        // What a process leaves behind that dies between the commit and the answer.
        let slot = Slot::new(noun, &Method::POST, &path, body.as_bytes());
        let place = Place { tenant: house.acme, key: key.id(), word: noun.to_owned() };
        let claimed = house.app.store.platform().claim(place, slot.fingerprint).await.unwrap();
        let Seen::Fresh(claim) = claimed else { panic!("{claimed:?}") };
        let id = make(&house, noun, Actor { claim: Some(claim), ..Actor::system("test") }).await;

        let again = house
            .send("POST", &path, body, |headers| {
                bearer(headers, &house.platform);
                headers.insert(KEY.0, noun.parse().unwrap());
            })
            .await;
        assert_eq!((again.status, again.header("idempotent-replayed")), (StatusCode::CREATED, "true"), "{noun}");
        assert_eq!((again.json()["id"].as_str(), again.header("etag")), (Some(id.as_str()), "\"1\""), "{noun}");
        assert_eq!(again.header("location"), format!("{path}/{id}"));
        assert!(again.json()["key"].is_null() && again.json()["probe"].is_null());
    }
}

/// Makes a record of the noun as a handler does, and gives its id.
async fn make(house: &House, noun: &str, actor: Actor) -> String {
    let (tenant, platform) = (house.app.store.tenant(house.acme), house.app.store.platform());
    match noun {
        "servers" => {
            let new = NewServer::new("notes".parse().unwrap(), "Notes".to_owned(), UpstreamUrl::parse(NOTES).unwrap());
            tenant.create_server(&actor, new).await.unwrap().value.spec.id.to_string()
        }
        "keys" => {
            let (role, label) = (KeyRole::User, String::new());
            let scopes = KeyScopes::PLAIN;
            let what = Mint { tenant: house.acme, user: None, role, scopes, servers: None, expires_at: None, label };
            tenant.create_key(&actor, mint(what).unwrap().new).await.unwrap().value.verifier.id.to_string()
        }
        "departments" => {
            let new = NewDepartment { name: "board".parse().unwrap(), title: String::new(), external_id: None };
            tenant.create_department(&actor, new).await.unwrap().value.id.to_string()
        }
        "users" => {
            let new = NewUser {
                login: "ann".to_owned(),
                title: String::new(),
                external_id: None,
                departments: Vec::new(),
                role: KeyRole::User,
                active: true,
            };
            tenant.create_user(&actor, new).await.unwrap().value.id.to_string()
        }
        "issuers" => {
            let new = NewIssuer {
                id: IssuerId::fresh(),
                name: "corp".parse().unwrap(),
                title: String::new(),
                issuer: "https://id.example".to_owned(),
                client_id: None,
                client_secret: None,
                audiences: vec![],
                algorithms: vec![],
                claims: ClaimMapping::default(),
                scope: None,
                unknown_users: false,
                sign_in: false,
                mcp: true,
                enabled: true,
                fetched: None,
            };
            tenant.create_issuer(&actor, new).await.unwrap().value.id.to_string()
        }
        "toolsets" => {
            let new = NewToolset {
                name: "office".parse().unwrap(),
                title: String::new(),
                description: None,
                listing: Listing::Tools,
                tools: vec![],
            };
            tenant.create_toolset(&actor, new).await.unwrap().value.spec.id.to_string()
        }
        "tenants" => {
            let new = NewTenant::new("third".parse().unwrap());
            platform.create_tenant(&actor, new).await.unwrap().value.spec.id.to_string()
        }
        "egress-rules" => {
            let host = "wiki.corp".parse().unwrap();
            let new = NewEgressRule { tenant: None, host, ports: None, http: false, reason: "test".to_owned() };
            platform.create_egress_rule(&actor, new).await.unwrap().value.rule.id.to_string()
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_key_must_be_printable_and_short() {
    let house = House::open().await;
    for key in ["", &"x".repeat(256)] {
        let reply = house.admin_with(("idempotency-key", key), "POST", "/api/v1/keys", "{}").await;
        assert_eq!(reply.told(), (400, "idempotency_key".to_owned()));
    }
}
