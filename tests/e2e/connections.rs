//! Whose credential a call goes out with, seen at an upstream that wants to know who calls.

use std::time::Instant;

use serde_json::{Value, json};
use tests::gatehouse::Plane;
use tests::replicas::Plan;
use tests::{Admin, Gatehouse, Guard, Mcp, Postgres, Upstream, eventually, process};

use crate::harbour::{add_with, change, connect, connections, tagged, whoami};
use crate::ways::user;

const ANN: &str = "tok-ann-51c7";
const BOB: &str = "tok-bob-9e02";
const BOARD: &str = "tok-board-77d1";
const ALL: &str = "tok-all-30aa";

/// An upstream that knows four callers by their tokens.
async fn upstream(name: &str) -> (Upstream, Guard) {
    let guard = Guard::shut().bearer(ANN, "ann").bearer(BOB, "bob").bearer(BOARD, "board").bearer(ALL, "all");
    (Upstream::guarded(name, &guard).await, guard)
}

/// Settings of a server that takes bearer tokens of these scopes.
fn bearer(scopes: &Value) -> Value {
    json!({"type": "bearer", "scopes": scopes})
}

fn of_user(login: &str, token: &str) -> Value {
    json!({"scope_type": "user", "scope_id": login, "credential": token})
}

/// Somebody's client at a server. It opens a session for each call: where there is no credential, none opens.
struct Client {
    url: String,
    key: String,
}

impl Client {
    /// As whom the upstream knows who calls.
    async fn person(&self) -> String {
        let mcp = Mcp::open(&self.url, &self.key).await;
        whoami(&mcp).await["person"].as_str().unwrap().to_owned()
    }

    /// What a call gives for which there is no credential.
    async fn refused(&self) -> Value {
        let answer = self.tried().await;
        assert_eq!(answer["error"]["code"], -31006, "{answer}");
        answer["error"]["data"].clone()
    }

    /// What comes back, whatever it is.
    async fn tried(&self) -> Value {
        match Mcp::try_open(&self.url, &self.key, tests::mcp::REVISION).await {
            Ok(mcp) => mcp.call("whoami", json!({})).await,
            Err(text) => serde_json::from_str(&text[text.find('{').unwrap_or_default()..]).unwrap_or(Value::Null),
        }
    }
}

/// The client of a user.
async fn client(house: &Gatehouse, admin: &Admin, login: &str, server: &str) -> Client {
    Client { url: house.at(&format!("/servers/{server}/mcp")), key: admin.key_of(login).await }
}

/// The client with the key that the house began with.
fn first_client(house: &Gatehouse, server: &str) -> Client {
    Client { url: house.at(&format!("/servers/{server}/mcp")), key: house.client_key().to_owned() }
}

#[tokio::test]
async fn a_users_connection_is_never_used_for_another_user() {
    let (upstream, guard) = upstream("safe").await;
    let house = Gatehouse::start().await;
    let admin = house.admin();
    add_with(&admin, "safe", &upstream.url(), &bearer(&json!(["user"]))).await.expect(201);
    for login in ["ann", "bob", "carol"] {
        user(&admin, login, &[]).await;
    }
    connect(&admin, "safe", &of_user("ann", ANN)).await;
    connect(&admin, "safe", &of_user("bob", BOB)).await;
    let (ann, bob) = (client(&house, &admin, "ann", "safe").await, client(&house, &admin, "bob", "safe").await);
    let carol = client(&house, &admin, "carol", "safe").await;
    for _ in 0..25 {
        let (of_ann, of_bob) = tokio::join!(ann.person(), bob.person());
        assert_eq!((of_ann.as_str(), of_bob.as_str()), ("ann", "bob"));
        let data = carol.refused().await;
        assert_eq!((&data["error"], &data["server"]), (&json!("connection_required"), &json!("safe")), "{data}");
    }
    // No key of a client ever came to the upstream.
    assert!(!guard.saw("ghk_"));
}

#[tokio::test]
async fn the_first_accepted_scope_that_has_a_connection_serves() {
    let (upstream, _guard) = upstream("safe").await;
    let house = Gatehouse::start().await;
    let admin = house.admin();
    add_with(&admin, "safe", &upstream.url(), &bearer(&json!(["user", "department", "global"]))).await.expect(201);
    user(&admin, "ann", &["board"]).await;
    user(&admin, "bob", &[]).await;
    let (ann, bob) = (client(&house, &admin, "ann", "safe").await, client(&house, &admin, "bob", "safe").await);
    ann.refused().await;
    let global = connect(&admin, "safe", &json!({"scope_type": "global", "credential": ALL})).await;
    assert_eq!((ann.person().await, bob.person().await), ("all".to_owned(), "all".to_owned()));
    let board = json!({"scope_type": "department", "scope_id": "board", "credential": BOARD});
    let board = connect(&admin, "safe", &board).await;
    assert_eq!((ann.person().await, bob.person().await), ("board".to_owned(), "all".to_owned()));
    let own = connect(&admin, "safe", &of_user("ann", ANN)).await;
    assert_eq!((ann.person().await, bob.person().await), ("ann".to_owned(), "all".to_owned()));
    // Each that goes, or is put aside, leaves the next.
    let path = |one: &Value| format!("/api/v1/servers/safe/connections/{}", one["id"].as_str().unwrap());
    let aside = change(&admin, "safe", own["id"].as_str().unwrap(), &json!({"status": "disabled"})).await;
    assert_eq!((aside.status.as_u16(), aside.json()["effective"]["pending"].clone()), (200, json!(0)));
    assert_eq!(ann.person().await, "board");
    tagged(&admin, "DELETE", &path(&board), &path(&board), &Value::Null).await.expect(200);
    assert_eq!(ann.person().await, "all");
    tagged(&admin, "DELETE", &path(&global), &path(&global), &Value::Null).await.expect(200);
    ann.refused().await;
    // One that the upstream refused stays in the way of a wider one: nobody becomes somebody else unseen.
    change(&admin, "safe", own["id"].as_str().unwrap(), &json!({"status": "active"})).await.expect(200);
    assert_eq!(ann.person().await, "ann");
}

#[tokio::test]
async fn a_single_scope_is_exact() {
    let (upstream, _guard) = upstream("safe").await;
    let house = Gatehouse::start().await;
    let admin = house.admin();
    add_with(&admin, "safe", &upstream.url(), &bearer(&json!(["department"]))).await.expect(201);
    user(&admin, "ann", &["board"]).await;
    user(&admin, "bob", &[]).await;
    let body = json!({"scope_type": "department", "scope_id": "board", "credential": BOARD});
    connect(&admin, "safe", &body).await;
    let (ann, bob) = (client(&house, &admin, "ann", "safe").await, client(&house, &admin, "bob", "safe").await);
    assert_eq!(ann.person().await, "board");
    bob.refused().await;
    // The key of the first admin is somebody's or nobody's, of no department.
    first_client(&house, "safe").refused().await;
}

#[tokio::test]
async fn a_connection_that_is_put_aside_or_removed_is_used_by_no_proxy_any_more() {
    let Some(postgres) = Postgres::start() else { return };
    let (upstream, guard) = upstream("safe").await;
    let plan = Plan { controls: 2, proxies: 3, database: postgres.url(), redis: None };
    let replicas = tests::replicas::Replicas::start(&plan).await;
    let (admin, second) = (replicas.admin(0), replicas.admin(1));
    add_with(&admin, "safe", &upstream.url(), &bearer(&json!(["user"]))).await.expect(201);
    user(&admin, "ann", &[]).await;
    let key = admin.key_of("ann").await;
    let made = connect(&admin, "safe", &of_user("ann", ANN)).await;
    assert_eq!(made["effective"], json!({"live": 3, "pending": 0, "rejected": []}));
    let mut sessions = Vec::new();
    for proxy in 0..3 {
        sessions.push(Client { url: replicas.at(proxy, "/servers/safe/mcp"), key: key.clone() });
    }
    for client in &sessions {
        assert_eq!(client.person().await, "ann");
    }
    let id = made["id"].as_str().unwrap();
    let path = format!("/api/v1/servers/safe/connections/{id}");
    let status = |word: &str| json!({ "status": word });
    for (admin, to) in [(&admin, "disabled"), (&second, "active"), (&second, "disabled"), (&admin, "active")] {
        let put = tagged(admin, "PUT", &format!("{path}/status"), &path, &status(to)).await;
        assert_eq!(put.expect(200).json()["effective"], json!({"live": 3, "pending": 0, "rejected": []}), "{to}");
        let since = Instant::now();
        for client in &sessions {
            match to {
                "active" => assert_eq!(client.person().await, "ann"),
                _ => drop(client.refused().await),
            }
        }
        assert_eq!(guard.bringing(ANN, since).is_empty(), to == "disabled", "{to}");
    }
    tagged(&second, "DELETE", &path, &path, &Value::Null).await.expect(200);
    let since = Instant::now();
    for client in &sessions {
        client.refused().await;
    }
    assert!(guard.bringing(ANN, since).is_empty());
}

#[tokio::test]
async fn what_holds_a_connection_takes_it_along_when_it_goes() {
    let (upstream, guard) = upstream("safe").await;
    let house = Gatehouse::start().await;
    let admin = house.admin();
    add_with(&admin, "safe", &upstream.url(), &bearer(&json!(["user", "department"]))).await.expect(201);
    user(&admin, "ann", &["board"]).await;
    user(&admin, "bob", &["board"]).await;
    connect(&admin, "safe", &of_user("ann", ANN)).await;
    connect(&admin, "safe", &json!({"scope_type": "department", "scope_id": "board", "credential": BOARD})).await;
    let bob = client(&house, &admin, "bob", "safe").await;
    assert_eq!(bob.person().await, "board");
    let department = "/api/v1/departments/board";
    tagged(&admin, "DELETE", department, department, &Value::Null).await.expect(200);
    // The answer does not wait for proxies.
    eventually("the department's connection is used no more", || async {
        (bob.tried().await["error"]["code"] == -31006).then_some(())
    })
    .await;
    let since = Instant::now();
    bob.refused().await;
    assert!(guard.bringing(BOARD, since).is_empty());
    // Back again, they must be given again.
    admin.post("/api/v1/departments/board/restore", &json!({})).await.expect(200);
    let list = admin.get("/api/v1/servers/safe/connections").await.expect(200).json();
    assert_eq!(list["summary"], json!({"total": 1, "active": 1, "attention": 0, "disabled": 0}), "{list}");
    let ann = "/api/v1/users/ann";
    tagged(&admin, "DELETE", ann, ann, &Value::Null).await.expect(200);
    let list = admin.get("/api/v1/servers/safe/connections").await.expect(200).json();
    assert_eq!(list["summary"]["total"], 0, "{list}");
}

#[tokio::test]
async fn a_test_asks_the_upstream_with_this_very_credential() {
    let (upstream, guard) = upstream("safe").await;
    let house = Gatehouse::start().await;
    let admin = house.admin();
    add_with(&admin, "safe", &upstream.url(), &bearer(&json!(["user"]))).await.expect(201);
    user(&admin, "ann", &[]).await;
    let made = connect(&admin, "safe", &of_user("ann", ANN)).await;
    let path = format!("/api/v1/servers/safe/connections/{}", made["id"].as_str().unwrap());
    let test = async || admin.post(&format!("{path}/test"), &json!({})).await.expect(200).json();
    let since = Instant::now();
    let tried = test().await;
    assert!(tried["tools"].as_array().unwrap().iter().any(|tool| tool["name"] == "whoami"), "{tried}");
    assert!(!guard.bringing(ANN, since).is_empty());
    assert!(tried["connection"]["last_success_at"].is_string(), "{tried}");
    guard.forget_secrets();
    let tried = test().await;
    assert_eq!((&tried["ok"], &tried["error"]["code"]), (&json!(false), &json!("unauthorized")), "{tried}");
    let shown = admin.get(&path).await.expect(200).json();
    assert_eq!((&shown["status"], &shown["last_error"]["code"]), (&json!("active"), &json!("unauthorized")));
    // A new one is used by the next call, and clears the error.
    guard.accept_bearer(BOB, "ann");
    change(&admin, "safe", made["id"].as_str().unwrap(), &json!({"credential": BOB})).await.expect(200);
    assert_eq!(client(&house, &admin, "ann", "safe").await.person().await, "ann");
    let tried = test().await;
    assert_eq!((&tried["ok"], &tried["connection"]["last_error"]), (&json!(true), &json!(null)), "{tried}");
}

#[tokio::test]
async fn the_credentials_of_a_server_are_the_fields_of_its_global_connection() {
    let (upstream, _guard) = upstream("safe").await;
    let house = Gatehouse::start().await;
    let admin = house.admin();
    add_with(&admin, "safe", &upstream.url(), &bearer(&json!(["global"]))).await.expect(201);
    let mcp = first_client(&house, "safe");
    mcp.refused().await;
    let path = "/api/v1/servers/safe/credentials";
    let put = admin.try_send("PUT", path, &[], &json!({"token": ALL})).await.unwrap().expect(200);
    assert_eq!(put.json()["fields"]["token"], json!({"configured": true}), "{}", put.text());
    assert!(!put.text().contains(ALL));
    eventually("the token is used", || async { (mcp.tried().await["error"].is_null()).then_some(()) }).await;
    assert_eq!(mcp.person().await, "all");
    let list = admin.get("/api/v1/servers/safe/connections").await.expect(200).json();
    assert_eq!((&list["items"][0]["scope_type"], &list["summary"]["total"]), (&json!("global"), &json!(1)));
    let again = admin.try_send("PUT", path, &[], &json!({})).await.unwrap().expect(200);
    assert_eq!(again.json()["fields"]["token"], json!({"configured": true}));
    for _ in 0..2 {
        admin.try_send("DELETE", &format!("{path}/token"), &[], &Value::Null).await.unwrap().expect(204);
    }
    mcp.refused().await;
    let unknown = admin.try_send("DELETE", &format!("{path}/password"), &[], &Value::Null).await.unwrap();
    assert_eq!(unknown.status, 400, "{}", unknown.text());
}

#[tokio::test]
async fn two_tenants_with_servers_of_one_name_share_no_credential_session_or_list() {
    let (first, guard) = upstream("safe").await;
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let other = admin.tenant("other").await;
    first.add_tool("only-here");
    for (admin, token) in [(&admin, ALL), (&other, BOARD)] {
        add_with(admin, "safe", &first.url(), &bearer(&json!(["global"]))).await.expect(201);
        connect(admin, "safe", &json!({"scope_type": "global", "credential": token})).await;
    }
    user(&other, "ann", &[]).await;
    let key = other.key_of("ann").await;
    let theirs = Mcp::open(&house.at("/t/other/servers/safe/mcp"), &key).await;
    let ours = first_client(&house, "safe");
    let of_ours = whoami(&Mcp::open(&ours.url, &ours.key).await).await;
    let of_theirs = whoami(&theirs).await;
    assert_eq!((&of_ours["person"], &of_theirs["person"]), (&json!("all"), &json!("board")));
    assert_ne!(of_ours["session"], of_theirs["session"], "sessions with the upstream are a tenant's own");
    // A secret that leaked from one is not found in the other.
    let found = async |admin: &Admin, secret: &str| {
        admin.post("/api/v1/connections/find", &json!({ "secret": secret })).await.expect(200).json()["items"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((found(&admin, ALL).await, found(&other, ALL).await), (1, 0));
    guard.refuse_all(true);
    assert!(theirs.call("whoami", json!({})).await["error"].is_object());
    guard.refuse_all(false);
    assert_eq!(ours.person().await, "all");
}

/// Where a change of a connection can be cut: the point, the request that leads there, and whether it is committed then.
pub(crate) const POINTS: [(&str, &str, &str, bool); 4] = [
    ("connection.sealed", "POST", "", false),
    ("connection.committed", "POST", "", true),
    ("connection.revoked", "POST", "/revoke", false),
    ("connection.removed", "DELETE", "", true),
];

#[tokio::test]
async fn a_control_that_dies_while_a_connection_changes_leaves_all_of_the_change_or_nothing() {
    let (upstream, _guard) = upstream("safe").await;
    let mut house = Gatehouse::plan().no_restart().start().await;
    let admin = house.admin();
    house.kill(Plane::Control).await;
    for (point, method, tail, committed) in POINTS {
        let server = point.replace('.', "-");
        let calm = house.start_alone(Plane::Control, &[]);
        house.wait_ready(Plane::Control).await;
        let body =
            json!({"name": server, "url": upstream.url(), "auth": bearer(&json!(["global"])), "skip_validation": true});
        admin.post("/api/v1/servers", &body).await.expect(201);
        let mut path = format!("/api/v1/servers/{server}/connections");
        let mut body = json!({"scope_type": "global", "credential": ALL});
        if method == "DELETE" || !tail.is_empty() {
            let made = connect(&admin, &server, &body).await;
            (path, body) = (format!("{path}/{}{tail}", made["id"].as_str().unwrap()), Value::Null);
        }
        process::kill_now(calm);
        process::gone(calm).await;
        let armed = house.start_alone(Plane::Control, &[("GATEHOUSE_CRASH_AT".to_owned(), point.to_owned())]);
        eventually(&format!("{point} is reached"), || async {
            let _ = admin.try_send(method, &path, &[("if-match", "*")], &body).await;
            (!process::runs(armed)).then_some(())
        })
        .await;
        let calm = house.start_alone(Plane::Control, &[]);
        house.wait_ready(Plane::Control).await;
        house.wait_ready(Plane::Proxy).await;
        let there = connections(&admin, &server).await;
        let usable = there.iter().any(|one| one["has_credentials"] == true);
        let wanted = match method {
            "DELETE" => !committed,
            // A revocation that was cut leaves the secrets for the next try.
            _ => committed || !tail.is_empty(),
        };
        assert_eq!(usable, wanted, "{point}: {there:?}");
        // What the record says is what proxies do, without another word.
        let mcp = first_client(&house, &server);
        eventually(&format!("{point}: the proxy does what the record says"), || async {
            let called = mcp.tried().await;
            (called["error"].is_null() == usable).then_some(())
        })
        .await;
        process::kill_now(calm);
        process::gone(calm).await;
    }
}
