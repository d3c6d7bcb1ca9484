//! Many editors of one record.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use serde_json::{Value, json};

use super::house::{House, NOTES, bearer};

/// Each edit adds its own number to the disabled tools, from what it read, under `If-Match`.
#[tokio::test]
async fn concurrent_edits_of_one_server_lose_no_update() {
    let edits = if std::env::var_os("GATEHOUSE_LONG").is_some() { 10_000 } else { 200 };
    let editors = 4;
    let house = Arc::new(House::open().await);
    house.add("notes", NOTES).await;
    let (next, retries) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let work = (0..editors).map(|_| {
        let (house, next, retries) = (house.clone(), next.clone(), retries.clone());
        tokio::spawn(async move {
            loop {
                let edit = next.fetch_add(1, Ordering::Relaxed);
                if edit >= edits {
                    return;
                }
                while !applied(&house, edit).await {
                    retries.fetch_add(1, Ordering::Relaxed);
                }
            }
        })
    });
    for editor in futures::future::join_all(work).await {
        editor.unwrap();
    }
    let record = house.admin("GET", "/api/v1/servers/notes", "").await.json();
    // A text of decimal numbers keeps every edit within the bounds of one field.
    let sum: u64 = record["description"].as_str().unwrap().parse().unwrap();
    assert_eq!(sum, (0..edits as u64).sum::<u64>() + edits as u64);
    assert_eq!(record["generation"].as_u64(), Some(1 + edits as u64), "{} retries", retries.load(Ordering::Relaxed));
}

/// One try; false when somebody else was faster.
async fn applied(house: &House, edit: usize) -> bool {
    let read = house.admin("GET", "/api/v1/servers/notes", "").await;
    let sum: u64 = read.json()["description"].as_str().map_or(0, |text| text.parse().unwrap());
    let patch = json!({"description": (sum + edit as u64 + 1).to_string()}).to_string();
    let reply = house
        .send("PATCH", "/api/v1/servers/notes", &patch, |headers| {
            bearer(headers, &house.admin);
            headers.insert("if-match", read.header("etag").parse().unwrap());
        })
        .await;
    match reply.status {
        StatusCode::OK => true,
        StatusCode::PRECONDITION_FAILED => false,
        _ => panic!("{}", reply.text),
    }
}

#[tokio::test]
async fn of_two_creates_with_one_name_exactly_one_succeeds() {
    let house = House::open().await;
    let body = format!(r#"{{"name":"notes","url":"{NOTES}"}}"#);
    let add = async || house.admin("POST", "/api/v1/servers", &body).await;
    let (one, other) = tokio::join!(add(), add());
    let mut statuses = [one.status.as_u16(), other.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409]);
    let listed: Value = house.admin("GET", "/api/v1/servers", "").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}
