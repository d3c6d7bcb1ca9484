//! Pages: their sizes, and cursors that fit one list of one tenant only.

use axum::http::StatusCode;
use serde_json::Value;
use store::{Actor, NewDepartment};

use super::house::{House, NOTES};

async fn three(house: &House, key: &str) {
    for name in ["a", "b", "c"] {
        let made = house.ask(key, "POST", "/api/v1/departments", &format!(r#"{{"name":"{name}"}}"#)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    }
}

fn names(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn pages_follow_each_other_without_gap_or_repeat() {
    let house = House::open().await;
    three(&house, &house.admin).await;
    let first = house.admin("GET", "/api/v1/departments?page_size=2", "").await.json();
    assert_eq!(names(&first), ["a", "b"]);
    let cursor = first["next"].as_str().unwrap();
    let path = format!("/api/v1/departments?page_size=2&cursor={cursor}");
    // A replica reads the other's cursor.
    for house in [&house, &house.replica().await] {
        let second = house.admin("GET", &path, "").await.json();
        assert_eq!((names(&second), second["next"].is_null()), (vec!["c"], true));
    }
    for (page_size, status) in [("0", 422), ("10000", 200), ("-1", 422), ("x", 422), ("3", 200)] {
        let reply = house.admin("GET", &format!("/api/v1/departments?page_size={page_size}"), "").await;
        let code = if status == 422 { "range" } else { "" };
        assert_eq!(reply.told(), (status, code.to_owned()), "{page_size}");
        assert!(status == 422 || reply.json()["next"].is_null());
    }
}

#[tokio::test]
async fn a_page_has_two_hundred_items_at_most() {
    let house = House::open().await;
    let tenant = house.app.store.tenant(house.acme);
    for number in 0..201 {
        let name = format!("d-{number:03}").parse().unwrap();
        let new = NewDepartment { name, title: String::new(), external_id: None };
        tenant.create_department(&Actor::system("test"), new).await.unwrap();
    }
    let page = house.admin("GET", "/api/v1/departments?page_size=10000", "").await.json();
    assert_eq!((names(&page).len(), page["next"].is_string()), (200, true));
}

#[tokio::test]
async fn a_foreign_or_changed_cursor_is_refused() {
    let house = House::open().await;
    three(&house, &house.admin).await;
    three(&house, &house.other_admin).await;
    let first = house.ask(&house.other_admin, "GET", "/api/v1/departments?page_size=1", "").await.json();
    let theirs = first["next"].as_str().unwrap().to_owned();
    let first = house.admin("GET", "/api/v1/departments?page_size=1", "").await.json();
    let mine = first["next"].as_str().unwrap().to_owned();
    let mut changed = mine.clone();
    changed.replace_range(30..31, if &mine[30..31] == "A" { "B" } else { "A" });
    for (list, cursor, expected) in [
        ("departments", mine.as_str(), 200),
        ("departments", theirs.as_str(), 400),
        ("departments", changed.as_str(), 400),
        ("departments", "x", 400),
        ("users", mine.as_str(), 400),
        ("servers", mine.as_str(), 400),
    ] {
        let reply = house.admin("GET", &format!("/api/v1/{list}?cursor={cursor}"), "").await;
        assert_eq!(reply.status.as_u16(), expected, "{list} {cursor}");
        assert!(expected == 200 || reply.code() == "cursor");
    }
}

#[tokio::test]
async fn every_list_has_pages() {
    let house = House::open().await;
    house.add("one", NOTES).await;
    house.add("two", NOTES).await;
    three(&house, &house.admin).await;
    for login in ["ann", "bob"] {
        house.admin("POST", "/api/v1/users", &format!(r#"{{"login":"{login}"}}"#)).await;
        house.admin("POST", "/api/v1/toolsets", &format!(r#"{{"name":"{login}"}}"#)).await;
        let rule = format!(r#"{{"host":"{login}.corp","reason":"test"}}"#);
        assert_eq!(house.ask(&house.platform, "POST", "/api/v1/egress-rules", &rule).await.status, StatusCode::CREATED);
    }
    for list in ["tenants", "departments", "users", "keys", "servers", "toolsets", "egress-rules", "audit"] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/v1/{list}?page_size=1{cursor}");
            let page = house.ask(&house.platform, "GET", &path, "").await;
            assert_eq!(page.status, StatusCode::OK, "{path}: {}", page.text);
            let page = page.json();
            seen.extend(page["items"].as_array().unwrap().iter().map(Value::to_string));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        let whole = house.ask(&house.platform, "GET", &format!("/api/v1/{list}"), "").await.json();
        let whole: Vec<String> = whole["items"].as_array().unwrap().iter().map(Value::to_string).collect();
        assert_eq!(seen, whole, "{list}");
        assert!(seen.len() >= 2, "{list}");
    }
}
