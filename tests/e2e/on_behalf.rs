//! One key of a backend stands for many users, each of whom stays themselves.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tests::forged::{self, forgeries};
use tests::gatehouse::Plane;
use tests::{Admin, Answer, Gatehouse, Mcp, Upstream, eventually, patient, process};
use tokio::sync::Barrier;

use crate::ways::{knock, user};

/// The servers `desk` and `shelf`, and the key of a backend that may speak for users.
struct Office {
    house: Gatehouse,
    desk: Upstream,
    _shelf: Upstream,
    backend: Admin,
    key: Value,
}

impl Office {
    async fn open() -> Self {
        let house = Gatehouse::plan().no_restart().start().await;
        let admin = house.admin();
        let (desk, shelf) = (Upstream::named("desk").await, Upstream::named("shelf").await);
        for (name, upstream) in [("desk", &desk), ("shelf", &shelf)] {
            upstream.add_tool("told");
            admin.add(name, &upstream.url()).await;
        }
        let body = json!({"role": "user", "label": "the backend", "scopes": ["act_as"]});
        let key = admin.post("/api/v1/keys", &body).await.expect(201).json();
        let backend = admin.with_key(key["key"].as_str().unwrap());
        Self { house, desk, _shelf: shelf, backend, key }
    }

    async fn ask(&self, body: &Value) -> Answer {
        self.backend.post("/api/v1/tokens", body).await
    }

    async fn token(&self, login: &str, server: Option<&str>) -> String {
        let body = server.map_or(json!({"user": login}), |server| json!({"user": login, "server": server}));
        self.ask(&body).await.expect(201).json()["token"].as_str().unwrap().to_owned()
    }

    async fn open_session(&self, path: &str, token: &str) -> Mcp {
        Mcp::open(&self.house.at(path), token).await
    }
}

#[tokio::test]
async fn a_hundred_users_behind_one_key_are_never_crossed() {
    const USERS: usize = 100;
    const ROUNDS: usize = 3;
    let office = Office::open().await;
    let admin = office.house.admin();
    let mut sessions = Vec::new();
    for number in 0..USERS {
        let login = format!("user{number:03}");
        user(&admin, &login, &[]).await;
        // One half calls one server, the other half everything.
        let (server, path, tool) = match number % 2 {
            0 => (Some("desk"), "/servers/desk/mcp", "told"),
            _ => (None, "/mcp", "desk__told"),
        };
        let token = office.token(&login, server).await;
        sessions.push((login, tool, office.open_session(path, &token).await));
    }
    let together = &Barrier::new(USERS);
    let calls = sessions.iter().map(|(login, tool, mcp)| async move {
        together.wait().await;
        let mut told = Vec::new();
        for round in 0..ROUNDS {
            let arguments = json!({"text": format!("{login} {round}"), "secret": format!("of {login}")});
            let answer: Value = serde_json::from_str(&mcp.text(tool, arguments.clone()).await).unwrap();
            assert_eq!(answer["arguments"], arguments, "what {login} said came as somebody else's");
            told.push(answer["session"].as_str().unwrap().to_owned());
        }
        (login.clone(), told)
    });
    let mut owners = BTreeMap::<String, String>::new();
    for (login, told) in patient("all calls are answered", futures::future::join_all(calls)).await {
        for session in told {
            let owner = owners.entry(session).or_insert_with(|| login.clone());
            assert_eq!(*owner, login, "two users share a session at the upstream");
        }
    }
    assert_eq!(owners.len(), USERS, "each user has one session at the upstream");
    assert_eq!(office.desk.repeated(), Vec::<String>::new());
}

#[tokio::test]
async fn every_misuse_of_a_token_is_refused() {
    let office = Office::open().await;
    let (house, admin) = (&office.house, office.house.admin());
    for login in ["ann", "ben"] {
        user(&admin, login, &[]).await;
    }
    let (ann, ben) = (office.token("ann", Some("desk")).await, office.token("ben", Some("desk")).await);
    let all = office.token("ann", None).await;
    let desk = house.at("/servers/desk/mcp");
    assert_eq!(knock(&desk, &ann).await.status, 200);
    assert_eq!(knock(&house.at("/mcp"), &all).await.status, 200);
    assert_eq!(knock(&desk, &all).await.status, 200, "a tenant's token opens each of its servers");

    // Elsewhere than it is for.
    let acme = admin.tenant("acme").await;
    for (token, path) in [
        (&ann, "/mcp"),
        (&ann, "/servers/shelf/mcp"),
        (&ann, "/servers/nobodys/mcp"),
        (&ann, "/t/acme/mcp"),
        (&all, "/t/acme/mcp"),
        (&all, "/t/acme/servers/desk/mcp"),
    ] {
        let refused = knock(&house.at(path), token).await;
        let wanted: &[u16] = if path.starts_with("/t/") { &[401, 404] } else { &[401] };
        assert!(wanted.contains(&refused.status.as_u16()), "{path}: {} {}", refused.status, refused.text());
    }
    for path in ["/api/v1/me", "/api/v1/servers", "/api/v1/tokens"] {
        let refused = admin.with_key(&all).get(path).await;
        assert!([401, 405].contains(&refused.status.as_u16()), "control {path}: {}", refused.status);
    }

    // Altered.
    for (how, forged) in forgeries(&ann) {
        let refused = knock(&desk, &forged).await;
        assert!([401, 431].contains(&refused.status.as_u16()), "{how}: {} {}", refused.status, refused.text());
    }
    let as_ben = forged::altered(&ann, |_, payload| payload["sub"] = forged::payload(&ben)["sub"].clone());
    let refused = knock(&desk, &as_ben).await.expect(401);
    assert!(refused.header("www-authenticate").starts_with("Bearer"), "{:?}", refused.headers);

    // In the hands of another user of the same key.
    let mcp = Mcp::open(&desk, &ann).await;
    let list = json!({"jsonrpc": "2.0", "id": 7, "method": "tools/list"});
    assert_eq!(mcp.post(&list).await.unwrap().status, 200);
    assert_eq!(mcp.stolen_by(&ben).post(&list).await.unwrap().status, 404);
    assert_eq!(mcp.stolen_by(house.client_key()).post(&list).await.unwrap().status, 404);

    // What is asked for wrongly is not given.
    user(&acme, "cleo", &[]).await;
    let no_scope = admin.with_key(&admin.key("tenant_admin").await);
    for (by, body, status) in [
        (&office.backend, json!({"user": "nobody"}), 422),
        (&office.backend, json!({"user": "cleo"}), 422),
        (&office.backend, json!({"user": "ann", "server": "nobodys"}), 422),
        (&office.backend, json!({"user": "ann", "ttl": 901}), 422),
        (&office.backend, json!({"user": "ann", "ttl": 0}), 422),
        (&office.backend, json!({"user": "ann", "tenant": "acme"}), 422),
        (&no_scope, json!({"user": "ann"}), 403),
        (&admin, json!({"user": "ann"}), 403),
    ] {
        let refused = by.post("/api/v1/tokens", &body).await;
        assert_eq!(refused.status.as_u16(), status, "{body}: {}", refused.text());
    }
    for path in ["/api/v1/servers", "/api/v1/me"] {
        assert_eq!(office.backend.get(path).await.status, 403, "the backend's key is for tokens alone: {path}");
    }
    assert_eq!(knock(&desk, office.key["key"].as_str().unwrap()).await.status, 403, "and not for MCP");
}

#[tokio::test]
async fn a_token_ends_with_its_time_its_user_its_key_and_the_keys_scope() {
    let mut office = Office::open().await;
    let admin = office.house.admin();
    for login in ["ann", "ben", "cleo"] {
        user(&admin, login, &[]).await;
    }
    let refused = async |house: &Gatehouse, what: &str, token: &str| {
        let url = house.at("/mcp");
        eventually(what, || async { (knock(&url, token).await.status == 401).then_some(()) }).await;
    };
    let key = format!("/api/v1/keys/{}", office.key["id"].as_str().unwrap());
    let (ann, ben, cleo) =
        (office.token("ann", None).await, office.token("ben", None).await, office.token("cleo", None).await);
    let mcp = office.open_session("/mcp", &ann).await;
    let mut stream = mcp.listen().await;
    admin.post("/api/v1/users/ann/disable", &Value::Null).await.expect(200);
    patient("the stream of somebody who is gone ends", async { while stream.next().await.is_some() {} }).await;
    refused(&office.house, "a disabled user's token is refused", &ann).await;
    office.ask(&json!({"user": "ann"})).await.expect(422);
    assert_eq!(knock(&office.house.at("/mcp"), &ben).await.status, 200);

    let tag = admin.get(&key).await.expect(200).header("etag").to_owned();
    let body = json!({"scopes": ["mcp"]});
    admin.try_send("PATCH", &key, &[("if-match", &tag)], &body).await.unwrap().expect(200);
    refused(&office.house, "tokens end with the key's scope", &ben).await;
    let tag = admin.get(&key).await.expect(200).header("etag").to_owned();
    let body = json!({"scopes": ["act_as"]});
    admin.try_send("PATCH", &key, &[("if-match", &tag)], &body).await.unwrap().expect(200);
    let url = office.house.at("/mcp");
    eventually("tokens are back with the scope", || async { (knock(&url, &ben).await.status == 200).then_some(()) })
        .await;

    // A quarter of an hour and the leeway later, by the proxy's clock.
    office.house.kill(Plane::Proxy).await;
    let later = [("GATEHOUSE_CLOCK_OFFSET".to_owned(), "1000".to_owned())];
    let alone = office.house.start_alone(Plane::Proxy, &later);
    office.house.wait_ready(Plane::Proxy).await;
    refused(&office.house, "a token ends with its time", &cleo).await;
    assert_eq!(knock(&url, office.house.client_key()).await.status, 200);
    process::kill_now(alone);
    process::gone(alone).await;
    office.house.start_alone(Plane::Proxy, &[]);
    office.house.wait_ready(Plane::Proxy).await;
    eventually("and not before", || async { (knock(&url, &cleo).await.status == 200).then_some(()) }).await;

    admin.try_send("DELETE", &key, &[("if-match", "*")], &Value::Null).await.unwrap();
    refused(&office.house, "tokens end with the key", &cleo).await;
}
