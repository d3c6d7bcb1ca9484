//! `Idempotency-Key`: a create that is sent twice happens once.

use axum::http::StatusCode;

use super::house::{House, NOTES, OTHER, bearer};

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
async fn a_secret_is_replayed_for_ten_minutes_only() {
    let house = House::open().await;
    let create = async || house.admin_with(KEY, "POST", "/api/v1/keys", "{\"label\":\"ci\"}").await.json();
    let first = create().await;
    assert!(first["key"].is_string());
    assert_eq!(create().await["key"], first["key"]);
    house.clock.advance_micros(600 * 1_000_000);
    let late = create().await;
    assert_eq!((late["id"].clone(), late["key"].is_null()), (first["id"].clone(), true));
}

#[tokio::test]
async fn a_key_must_be_printable_and_short() {
    let house = House::open().await;
    for key in ["", &"x".repeat(256)] {
        let reply = house.admin_with(("idempotency-key", key), "POST", "/api/v1/keys", "{}").await;
        assert_eq!(reply.told(), (400, "idempotency_key".to_owned()));
    }
}
