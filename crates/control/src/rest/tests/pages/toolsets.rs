//! `/toolsets`: what the tenant of who is signed in has, and what is in one.

use model::KeyRole;
use serde_json::json;

use super::{House, person};
use crate::rest::tests::house::NOTES;

#[tokio::test]
async fn a_person_sees_the_toolsets_of_their_tenant_and_what_is_in_them() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    house.add("wiki", "http://127.0.0.1:9002/mcp").await;
    let tools = json!([{"server": "notes", "tool": "search.all", "name": "find", "description": "Finds <b>"},
        {"server": "wiki", "tool": "*"}]);
    let body = json!({"name": "office", "title": "The office", "listing": "search", "tools": tools});
    assert_eq!(house.admin("POST", "/api/v1/toolsets", &body.to_string()).await.status, 201);
    house.ask(&house.other_admin, "POST", "/api/v1/toolsets", r#"{"name":"theirs"}"#).await;
    house.admin_with(("if-match", "*"), "DELETE", "/api/v1/servers/wiki", "").await;

    let mut ann = person(&house, "ann", KeyRole::User).await;
    let list = ann.get("/toolsets").await;
    for shown in ["href=\"/toolsets/office\"", "The office", "/t/acme/toolsets/office/mcp", "2 entries"] {
        assert!(list.text.contains(shown), "{shown}: {}", list.text);
    }
    assert!(!list.text.contains("theirs"), "{}", list.text);
    let one = ann.get("/toolsets/office").await;
    for shown in ["find", "is search.all", "of notes", "Finds &#60;b&#62;", "a deleted server", "not served"] {
        assert!(one.text.contains(shown), "{shown}: {}", one.text);
    }
    for nowhere in ["/toolsets/theirs", "/toolsets/none"] {
        assert_eq!(ann.get(nowhere).await.status, 404, "{nowhere}");
    }
}
