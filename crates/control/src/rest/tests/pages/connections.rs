//! `/connections`: what one is connected to, and disconnects.

use model::KeyRole;
use serde_json::json;

use super::{House, person};
use crate::rest::tests::house::NOTES;

async fn server(house: &House, name: &str, auth: &serde_json::Value) {
    let body = json!({"name": name, "title": name, "url": NOTES, "auth": auth, "skip_validation": true});
    let made = house.admin("POST", "/api/v1/servers", &body.to_string()).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

async fn connect(house: &House, server: &str, login: &str) {
    let body = json!({"scope_type": "user", "scope_id": login, "credential": "tok-5519-canary"}).to_string();
    let made = house.admin("POST", &format!("/api/v1/servers/{server}/connections"), &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
}

#[tokio::test]
async fn a_person_sees_their_own_connections_and_the_servers_that_want_a_login() {
    let house = House::open().await;
    let bearer = |scope: &str| json!({"type": "bearer", "scopes": [scope]});
    server(&house, "mine", &bearer("user")).await;
    server(&house, "shared", &bearer("global")).await;
    server(&house, "wiki", &json!({"type": "authorization_code", "issuer": "http://127.0.0.1:9009"})).await;
    house.add("open", "http://127.0.0.1:9002/mcp").await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    connect(&house, "mine", "ann").await;
    let page = ann.get("/connections").await;
    for shown in ["mine", "connected", "wiki", "not connected", "href=\"/connect/acme/wiki?return=/connections\""] {
        assert!(page.text.contains(shown), "{shown}: {}", page.text);
    }
    for hidden in ["shared", "5519", ">open<"] {
        assert!(!page.text.contains(hidden), "{hidden}: {}", page.text);
    }
    assert_eq!(page.text.matches("/disconnect").count(), 1);
    let others = bob.get("/connections").await;
    assert!(!others.text.contains("/disconnect"), "{}", others.text);
}

#[tokio::test]
async fn a_person_disconnects_their_own_and_nobody_elses() {
    let house = House::open().await;
    server(&house, "mine", &json!({"type": "bearer", "scopes": ["user", "global"]})).await;
    let mut bob = person(&house, "bob", KeyRole::User).await;
    let mut ann = person(&house, "ann", KeyRole::User).await;
    connect(&house, "mine", "ann").await;
    connect(&house, "mine", "bob").await;
    let page = ann.get("/connections").await;
    let path = page.text.split("action=\"").find(|rest| rest.contains("/disconnect\"")).unwrap();
    let path = path.split('"').next().unwrap().to_owned();
    bob.get("/connections").await;
    assert_eq!(bob.submit(&path, &[]).await.status, 404, "another's looks like none");
    let forged = ann.send("POST", &path, "csrf=x", super::browser::own).await;
    assert_eq!(forged.status, 403, "{}", forged.text);
    ann.get("/connections").await;
    let gone = ann.submit(&path, &[]).await;
    assert_eq!((gone.status.as_u16(), gone.header("location")), (303, "/connections"), "{}", gone.text);
    assert!(!ann.get("/connections").await.text.contains("/disconnect"));
    assert!(bob.get("/connections").await.text.contains("/disconnect"));
    assert_eq!(ann.submit(&path, &[]).await.status, 404);
}
