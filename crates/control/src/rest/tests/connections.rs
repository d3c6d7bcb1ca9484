//! Connections: for whom, by whom, in which state; and that no answer shows a secret.

use axum::http::StatusCode;
use model::{ConnectionId, ConnectionStatus};
use serde_json::{Value, json};
use store::{Actor, ConnectionPatch, CredentialChange, NewCredential, Reference, Verdict};
use wire::Challenge;

use super::house::{House, NOTES, Reply, bearer};

/// A secret that must stand in no answer.
const SECRET: &str = "tok-7f3a9c-canary";
/// One that replaces it.
const NEWER: &str = "tok-81bb02-canary";

impl House {
    /// A server that takes bearer tokens of connections of these scopes.
    async fn safe(&self, name: &str, scopes: &Value) -> Value {
        self.with_auth(name, &json!({"type": "bearer", "scopes": scopes})).await
    }

    async fn with_auth(&self, name: &str, auth: &Value) -> Value {
        let body = json!({"name": name, "url": NOTES, "title": name, "auth": auth, "skip_validation": true});
        let made = self.admin("POST", "/api/v1/servers", &body.to_string()).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()
    }

    /// The key of a new user.
    async fn person(&self, login: &str) -> String {
        let user = json!({"login": login}).to_string();
        assert_eq!(self.admin("POST", "/api/v1/users", &user).await.status, StatusCode::CREATED);
        let key = json!({"user": login, "role": "user"}).to_string();
        self.admin("POST", "/api/v1/keys", &key).await.json()["key"].as_str().unwrap().to_owned()
    }

    async fn connect(&self, key: &str, server: &str, body: Value) -> Reply {
        self.ask(key, "POST", &format!("/api/v1/servers/{server}/connections"), &body.to_string()).await
    }

    /// The same, which must go well.
    async fn connected(&self, key: &str, server: &str, body: Value) -> Value {
        let made = self.connect(key, server, body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        made.json()
    }

    /// A change of any generation.
    async fn set(&self, key: &str, method: &str, path: &str, body: &Value) -> Reply {
        self.send(method, path, &body.to_string(), |headers| {
            bearer(headers, key);
            headers.insert("if-match", "*".parse().unwrap());
        })
        .await
    }

    /// What the upstream of a connection said to it, as a proxy reports.
    async fn refuse(&self, connection: &Value, status: Option<ConnectionStatus>) {
        let (id, generation) = (id(connection), connection["token_generation"].as_i64().unwrap());
        let verdict =
            Verdict::Refused { status, code: "unauthorized".to_owned(), message: "the upstream said 401".to_owned() };
        assert!(self.app.store.tenant(self.acme).verdict(id, generation, verdict).await.unwrap());
    }
}

fn id(connection: &Value) -> ConnectionId {
    connection["id"].as_str().unwrap_or_else(|| panic!("{connection}")).parse().unwrap()
}

fn path(server: &str, connection: &Value) -> String {
    format!("/api/v1/servers/{server}/connections/{}", id(connection))
}

/// Field and code of the first mistake.
fn wrong(reply: &Reply) -> (u16, String, String) {
    let first = &reply.json()["errors"][0];
    let text = |member: &str| first[member].as_str().unwrap_or_default().to_owned();
    (reply.status.as_u16(), text("field"), text("code"))
}

#[tokio::test]
async fn system_is_global_and_a_global_connection_names_nobody() {
    let house = House::open().await;
    house.safe("safe", &json!(["global", "user"])).await;
    let body = json!({"scope_type": "system", "scope_id": "whatever", "credential": SECRET});
    let made = house.connected(&house.admin, "safe", body).await;
    assert_eq!(
        (&made["scope_type"], &made["scope_id"], &made["scope_name"]),
        (&json!("global"), &json!(null), &json!(null))
    );
    assert_eq!(
        (&made["status"], &made["health"], &made["has_credentials"]),
        (&json!("active"), &json!("active"), &json!(true))
    );
    assert_eq!(made["effective"], json!({"live": 1, "pending": 0, "rejected": []}));
}

#[tokio::test]
async fn health_filters_partition_the_connections_and_searches_and_pages_keep_their_bounds() {
    let house = House::open().await;
    let server = house.safe("safe", &json!(["user", "global"])).await;
    let mut made = Vec::new();
    for number in 0..14 {
        let login = format!("u{number:02}");
        house.person(&login).await;
        let body = json!({"scope_type": "user", "scope_id": login, "credential": SECRET, "display_name": format!("a_{number}%")});
        made.push(house.connected(&house.admin, "safe", body).await);
    }
    // Without a credential, refused, put aside, and refused and of a scope that is not accepted any more.
    let bare = house.connected(&house.admin, "safe", json!({"scope_type": "global"})).await;
    house.refuse(&made[0], Some(ConnectionStatus::ReauthRequired)).await;
    let of = format!("{}/status", path("safe", &made[1]));
    let aside = house.set(&house.admin, "PUT", &of, &json!({"status": "disabled"})).await;
    assert_eq!(aside.status, StatusCode::OK);
    let list =
        async |query: &str| house.admin("GET", &format!("/api/v1/servers/safe/connections?{query}"), "").await.json();
    let count = |page: &Value| page["items"].as_array().unwrap_or_else(|| panic!("{page}")).len();
    let all = list("").await;
    assert_eq!(
        (count(&all), all["summary"].clone()),
        (12, json!({"total": 15, "active": 12, "attention": 2, "disabled": 1}))
    );
    let mut seen = 0;
    for health in ["active", "attention", "disabled"] {
        let page = list(&format!("health={health}&limit=100")).await;
        assert_eq!(count(&page), page["summary"][health].as_u64().unwrap() as usize, "{health}");
        assert!(page["items"].as_array().unwrap().iter().all(|one| one["health"] == health), "{page}");
        seen += count(&page);
    }
    assert_eq!(seen, 15);
    let attention = list("health=attention").await;
    assert!(
        attention["items"].as_array().unwrap().iter().any(|one| one["id"] == bare["id"]),
        "no credential is no health"
    );
    // Wildcards of the database are letters here.
    for (search, found) in [("a_1%25", 1), ("a_", 14), ("%25", 14), ("_", 14), ("u0", 10), ("A_3", 1), ("nobody", 0)] {
        assert_eq!(count(&list(&format!("search={search}&limit=100")).await), found, "{search}");
    }
    let cursor = all["next"].as_str().unwrap();
    assert_eq!(count(&list(&format!("cursor={cursor}")).await), 3);
    assert_eq!(count(&list("limit=1000").await), 15);
    for (query, code) in [
        ("limit=0", "range"),
        ("health=ill", "health"),
        ("cursor=x", "cursor"),
        ("scope_id=ann", "connection_scope"),
        ("scope_type=team", "connection_scope"),
        ("page=1", "unknown_parameter"),
    ] {
        let reply = house.admin("GET", &format!("/api/v1/servers/safe/connections?{query}"), "").await;
        assert_eq!((reply.code().as_str(), reply.status.is_client_error()), (code, true), "{query}");
    }
    let one = list("scope_type=user&scope_id=u05").await;
    assert_eq!((count(&one), &one["items"][0]["scope_name"]), (1, &json!("u05")));
    // A scope that its server does not accept any more needs attention.
    let patch = json!({"auth": {"type": "bearer", "scopes": ["global"]}});
    let patched =
        house.set(&house.admin, "PATCH", &format!("/api/v1/servers/{}", server["id"].as_str().unwrap()), &patch).await;
    assert_eq!(patched.status, StatusCode::OK, "{}", patched.text);
    assert_eq!(list("").await["summary"], json!({"total": 15, "active": 0, "attention": 14, "disabled": 1}));
}

#[tokio::test]
async fn a_second_connection_for_a_holder_is_a_409_that_names_the_first() {
    let house = House::open().await;
    house.safe("safe", &json!(["user", "department", "global"])).await;
    house.person("ann").await;
    house.admin("POST", "/api/v1/departments", r#"{"name":"board"}"#).await;
    for body in [
        json!({"scope_type": "user", "scope_id": "ann", "credential": SECRET}),
        json!({"scope_type": "department", "scope_id": "board", "credential": SECRET}),
        json!({"scope_type": "global", "credential": SECRET}),
    ] {
        let first = house.connected(&house.admin, "safe", body.clone()).await;
        let second = house.connect(&house.admin, "safe", body).await;
        assert_eq!(second.told(), (409, "connection_exists".to_owned()), "{}", second.text);
        assert_eq!(second.json()["connection"], first["id"]);
    }
}

#[tokio::test]
async fn a_scope_that_the_server_does_not_accept_is_refused_on_create_reactivation_new_credential_and_test() {
    let house = House::open().await;
    house.safe("safe", &json!(["user"])).await;
    house.add("open", "http://127.0.0.1:9002/mcp").await;
    house.person("ann").await;
    let global = json!({"scope_type": "global", "credential": SECRET});
    for (server, body) in [("safe", global.clone()), ("open", global)] {
        let refused = house.connect(&house.admin, server, body).await;
        assert_eq!(wrong(&refused), (422, "scope_type".to_owned(), "scope_not_accepted".to_owned()), "{server}");
    }
    let body = json!({"scope_type": "user", "scope_id": "ann", "credential": SECRET, "status": "disabled"});
    let made = house.connected(&house.admin, "safe", body).await;
    let patch = json!({"auth": {"type": "bearer", "scopes": ["global"]}});
    assert_eq!(house.set(&house.admin, "PATCH", "/api/v1/servers/safe", &patch).await.status, StatusCode::OK);
    let of = path("safe", &made);
    for (method, path, body) in [
        ("PUT", format!("{of}/status"), json!({"status": "active"})),
        ("PATCH", of.clone(), json!({"status": "active"})),
        ("PATCH", of.clone(), json!({"credential": NEWER})),
        ("POST", format!("{of}/test"), json!({})),
    ] {
        let refused = house.set(&house.admin, method, &path, &body).await;
        assert_eq!(
            wrong(&refused),
            (422, "scope_type".to_owned(), "scope_not_accepted".to_owned()),
            "{method} {path} {body}"
        );
    }
    assert_eq!(house.set(&house.admin, "PATCH", &of, &json!({"display_name": "Old"})).await.status, StatusCode::OK);
}

#[tokio::test]
async fn whatever_is_wrong_with_a_new_connection_is_told_with_its_field() {
    let house = House::open().await;
    house.safe("safe", &json!(["user", "department", "global"])).await;
    house.with_auth("two", &json!({"type": "basic", "scopes": ["global"]})).await;
    for (server, body, field, code) in [
        ("safe", json!({"scope_type": "team"}), "scope_type", "connection_scope"),
        ("safe", json!({"scope_type": "user"}), "scope_id", "required"),
        ("safe", json!({"scope_type": "department"}), "scope_id", "required"),
        ("safe", json!({"scope_type": "user", "scope_id": "nobody"}), "scope_id", "user"),
        ("safe", json!({"scope_type": "department", "scope_id": "nowhere"}), "scope_id", "department"),
        ("safe", json!({"scope_type": "global", "status": "invalid"}), "status", "connection_status"),
        ("safe", json!({"scope_type": "global", "status": "gone"}), "status", "connection_status"),
        ("safe", json!({"scope_type": "global", "credential": 7}), "credential", "type"),
        ("safe", json!({"scope_type": "global", "credential": "********"}), "credential", "masked_value_rejected"),
        (
            "safe",
            json!({"scope_type": "global", "credential": {"secrets": {"access_token": "tok_***9"}}}),
            "credential.secrets.access_token",
            "masked_value_rejected",
        ),
        (
            "safe",
            json!({"scope_type": "global", "credential": {"secrets": {"other": "x"}}}),
            "credential.secrets.access_token",
            "required",
        ),
        (
            "safe",
            json!({"scope_type": "global", "credential": {"password": "x"}}),
            "credential.password",
            "unknown_field",
        ),
        ("two", json!({"credential": {"secrets": {"username": "ann"}}}), "credential.secrets.password", "required"),
        (
            "safe",
            json!({"scope_type": "global", "reference": {"source": "files", "name": "../other"}}),
            "reference",
            "reference_outside",
        ),
        (
            "safe",
            json!({"scope_type": "global", "reference": {"source": "files", "name": "/etc/passwd"}}),
            "reference",
            "reference_outside",
        ),
        (
            "safe",
            json!({"scope_type": "global", "reference": {"source": "none", "name": "a"}}),
            "reference",
            "reference_outside",
        ),
    ] {
        let refused = house.connect(&house.admin, server, body.clone()).await;
        assert_eq!(wrong(&refused), (422, field.to_owned(), code.to_owned()), "{body} {}", refused.text);
    }
    let none = house.admin("GET", "/api/v1/servers/safe/connections", "").await.json();
    assert_eq!(none["summary"]["total"], 0, "nothing was saved");
}

#[tokio::test]
async fn a_credential_is_stored_sealed_and_a_new_one_is_sealed_anew() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let tenant = house.app.store.tenant(house.acme);
    let made = house.connected(&house.admin, "safe", json!({"credential": SECRET})).await;
    let first = tenant.connection(id(&made)).await.unwrap().unwrap();
    let sealed = first.credential.clone().unwrap();
    assert!(!sealed.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()));
    assert_eq!((made["credential_version"].as_i64(), made["token_generation"].as_i64()), (Some(1), Some(1)));
    // The same again is another ciphertext, of another version.
    let patched = house.set(&house.admin, "PATCH", &path("safe", &made), &json!({"credential": SECRET})).await.json();
    assert_eq!((patched["credential_version"].as_i64(), patched["token_generation"].as_i64()), (Some(2), Some(2)));
    let second = tenant.connection(id(&made)).await.unwrap().unwrap();
    assert_ne!(second.credential.unwrap(), sealed);
    // What stays is not sealed again.
    let renamed = house.set(&house.admin, "PATCH", &path("safe", &made), &json!({"display_name": "N"})).await.json();
    assert_eq!((renamed["credential_version"].as_i64(), &renamed["display_name"]), (Some(2), &json!("N")));
    let cleared = house.set(&house.admin, "PATCH", &path("safe", &made), &json!({"credential": null})).await.json();
    assert_eq!((&cleared["has_credentials"], &cleared["health"]), (&json!(false), &json!("attention")));
}

#[tokio::test]
async fn a_ciphertext_of_another_connection_does_not_open_and_input_that_looks_like_one_is_a_secret_like_any() {
    let house = House::open().await;
    house.safe("one", &json!(["global"])).await;
    house.safe("two", &json!(["global"])).await;
    let tenant = house.app.store.tenant(house.acme);
    let one = house.connected(&house.admin, "one", json!({"credential": SECRET})).await;
    let two =
        house.connected(&house.admin, "two", json!({"credential": r#"{"v":2,"kid":"local","ciphertext":"x"}"#})).await;
    let stolen = tenant.connection(id(&one)).await.unwrap().unwrap().credential.unwrap();
    let change = CredentialChange { to: NewCredential::Sealed(stolen), version: 2, fingerprints: Vec::new() };
    let patch = ConnectionPatch { credential: Some(change), ..ConnectionPatch::default() };
    tenant.patch_connection(&Actor::system("test"), id(&two), None, patch).await.unwrap();
    let tried = house.admin("POST", &format!("{}/test", path("two", &two)), "").await;
    assert_eq!(tried.told(), (409, "credential_unreadable".to_owned()), "{}", tried.text);
}

#[tokio::test]
async fn a_test_of_a_reference_says_what_is_wrong_with_it_and_blames_no_key() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let tenant = house.app.store.tenant(house.acme);
    let made = house.connected(&house.admin, "safe", json!({"credential": SECRET})).await;
    let reference = Reference { source: "files".to_owned(), name: "nothing".to_owned() };
    let change = CredentialChange { to: NewCredential::Reference(reference), version: 2, fingerprints: Vec::new() };
    let patch = ConnectionPatch { credential: Some(change), ..ConnectionPatch::default() };
    tenant.patch_connection(&Actor::system("test"), id(&made), None, patch).await.unwrap();
    let tried = house.admin("POST", &format!("{}/test", path("safe", &made)), "").await;
    assert_eq!(tried.status, StatusCode::OK, "{}", tried.text);
    let error = &tried.json()["error"];
    assert_eq!(error["code"], "credential_unreadable");
    assert!(error["message"].as_str().unwrap().contains("reference_files"), "{error}");
}

#[tokio::test]
async fn what_cant_be_opened_stays_as_it_is_while_other_fields_change() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let tenant = house.app.store.tenant(house.acme);
    let made = house.connected(&house.admin, "safe", json!({"credential": SECRET})).await;
    let broken = vec![7; 96];
    let change = CredentialChange { to: NewCredential::Sealed(broken.clone()), version: 2, fingerprints: Vec::new() };
    let patch = ConnectionPatch { credential: Some(change), ..ConnectionPatch::default() };
    tenant.patch_connection(&Actor::system("test"), id(&made), None, patch).await.unwrap();
    let of = path("safe", &made);
    let tried = house.admin("POST", &format!("{of}/test"), "").await;
    assert_eq!(tried.told(), (409, "credential_unreadable".to_owned()), "{}", tried.text);
    for body in [
        json!({"display_name": "N"}),
        json!({"meta_json": {"team": "a"}}),
        json!({"status": "disabled"}),
        json!({"status": "active"}),
    ] {
        let changed = house.set(&house.admin, "PATCH", &of, &body).await;
        assert_eq!(changed.status, StatusCode::OK, "{body} {}", changed.text);
        assert_eq!(tenant.connection(id(&made)).await.unwrap().unwrap().credential.as_ref(), Some(&broken), "{body}");
    }
    // Given again it works.
    assert_eq!(house.set(&house.admin, "PATCH", &of, &json!({"credential": NEWER})).await.status, StatusCode::OK);
    assert_eq!(house.admin("POST", &format!("{of}/test"), "").await.json()["ok"], true);
}

#[tokio::test]
async fn people_put_aside_and_take_up_and_nothing_else() {
    let house = House::open().await;
    house.safe("safe", &json!(["user"])).await;
    let ann = house.person("ann").await;
    let made = house.connected(&ann, "safe", json!({"credential": SECRET})).await;
    let of = path("safe", &made);
    let status = async |key: &str, word: &str| {
        let put = house.set(key, "PUT", &format!("{of}/status"), &json!({"status": word})).await;
        if put.status == StatusCode::OK { (200, put.json()["status"].as_str().unwrap().to_owned()) } else { put.told() }
    };
    for key in [&ann, &house.admin] {
        assert_eq!(status(key, "disabled").await, (200, "disabled".to_owned()));
        assert_eq!(status(key, "disabled").await, (200, "disabled".to_owned()));
        assert_eq!(status(key, "active").await, (200, "active".to_owned()));
        assert_eq!(status(key, "reauth_required").await, (409, "status_transition".to_owned()));
        assert_eq!(status(key, "invalid").await, (409, "status_transition".to_owned()));
        assert_eq!(status(key, "gone").await, (422, "connection_status".to_owned()));
    }
    // Nobody talks themselves out of what the upstream refused, not by a detour either.
    house.refuse(&made, Some(ConnectionStatus::ReauthRequired)).await;
    for key in [&ann, &house.admin] {
        for word in ["active", "disabled", "invalid"] {
            assert_eq!(status(key, word).await, (409, "status_transition".to_owned()), "{word}");
            let patched = house.set(key, "PATCH", &of, &json!({"status": word})).await;
            assert_eq!(patched.told(), (409, "status_transition".to_owned()), "{word}");
        }
    }
    let shown = house.ask(&ann, "GET", &of, "").await.json();
    assert_eq!(
        (&shown["status"], &shown["health"], &shown["last_error"]["code"]),
        (&json!("reauth_required"), &json!("attention"), &json!("unauthorized"))
    );
    // A new credential leads out, and clears the error.
    let renewed = house.set(&ann, "PATCH", &of, &json!({"credential": NEWER})).await.json();
    assert_eq!((&renewed["status"], &renewed["last_error"]), (&json!("active"), &json!(null)));
    // One that was put aside stays so, whatever credential it gets.
    status(&ann, "disabled").await;
    let renewed = house.set(&ann, "PATCH", &of, &json!({"credential": SECRET})).await.json();
    assert_eq!(renewed["status"], "disabled");
}

#[tokio::test]
async fn a_user_has_one_connection_of_their_own_and_sees_no_other() {
    let house = House::open().await;
    house.safe("safe", &json!(["user", "global"])).await;
    house.safe("shared", &json!(["global"])).await;
    let (ann, bob) = (house.person("ann").await, house.person("bob").await);
    let global = house.connected(&house.admin, "safe", json!({"scope_type": "global", "credential": SECRET})).await;
    let of_ann = house.connected(&ann, "safe", json!({"credential": SECRET})).await;
    let of_bob =
        house.connected(&bob, "safe", json!({"scope_type": "user", "scope_id": "bob", "credential": SECRET})).await;
    assert_eq!((&of_ann["scope_name"], &of_bob["scope_name"]), (&json!("ann"), &json!("bob")));
    let listed = async |key: &str, query: &str| {
        let list = house.ask(key, "GET", &format!("/api/v1/servers/safe/connections{query}"), "").await.json();
        let items = list["items"].as_array().unwrap_or_else(|| panic!("{list}")).clone();
        assert_eq!(list["summary"]["total"].as_u64().unwrap() as usize, items.len());
        items.iter().map(|one| one["id"].clone()).collect::<Vec<_>>()
    };
    for query in ["", "?mine=true", "?scope_type=user", "?scope_type=user&scope_id=ann"] {
        assert_eq!(listed(&ann, query).await, [of_ann["id"].clone()], "{query}");
    }
    for query in ["?scope_type=global", "?scope_type=user&scope_id=bob", "?scope_type=user&scope_id=nobody"] {
        assert!(listed(&ann, query).await.is_empty(), "{query}");
    }
    assert_eq!(listed(&house.admin, "").await.len(), 3);
    assert!(listed(&house.admin, "?mine=true").await.is_empty());
    // Foreign ones are not there, with the same words as none; for others none is made.
    let nothing =
        house.ask(&ann, "GET", &format!("/api/v1/servers/safe/connections/{}", ConnectionId::fresh()), "").await;
    for foreign in [&of_bob, &global] {
        for (method, tail, body) in [
            ("GET", "", ""),
            ("PATCH", "", "{}"),
            ("DELETE", "", ""),
            ("PUT", "/status", r#"{"status":"disabled"}"#),
            ("POST", "/test", ""),
            ("POST", "/revoke", ""),
        ] {
            let reply = house
                .send(method, &format!("{}{tail}", path("safe", foreign)), body, |headers| {
                    bearer(headers, &ann);
                    headers.insert("if-match", "*".parse().unwrap());
                })
                .await;
            assert_eq!(
                (reply.told(), &reply.json()["detail"]),
                ((404, "not_found".to_owned()), &nothing.json()["detail"]),
                "{method} {tail}"
            );
        }
    }
    for (server, body) in [
        ("safe", json!({"scope_type": "global", "credential": SECRET})),
        ("safe", json!({"scope_type": "department", "scope_id": "board"})),
        ("safe", json!({"scope_type": "user", "scope_id": "bob"})),
        ("safe", json!({"scope_type": "user", "scope_id": "nobody"})),
        ("shared", json!({"credential": SECRET})),
    ] {
        let refused = house.connect(&ann, server, body.clone()).await;
        assert_eq!(refused.told(), (403, "forbidden".to_owned()), "{server} {body}");
    }
    assert_eq!(
        house.ask(&house.viewer, "GET", "/api/v1/servers/safe/connections", "").await.told(),
        (403, "forbidden".to_owned())
    );
    // Under another server it is none either.
    let moved = path("shared", &of_ann);
    assert_eq!(house.admin("GET", &moved, "").await.told(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn what_lies_with_the_operator_is_an_admins_to_refer_to() {
    let house = House::open().await;
    house.safe("safe", &json!(["user"])).await;
    let ann = house.person("ann").await;
    let reference = json!({"source": "files", "name": "bobs"});
    let refused = house.connect(&ann, "safe", json!({"reference": reference})).await;
    assert_eq!(refused.told(), (403, "forbidden".to_owned()));
    let own = house.connected(&ann, "safe", json!({"credential": SECRET})).await;
    let refused = house.set(&ann, "PATCH", &path("safe", &own), &json!({"reference": reference})).await;
    assert_eq!(refused.told(), (403, "forbidden".to_owned()));
    // An admin learns what is wrong with it: here no source is configured.
    let told = house.set(&house.admin, "PATCH", &path("safe", &own), &json!({"reference": reference})).await;
    assert_eq!(wrong(&told), (422, "reference".to_owned(), "reference_outside".to_owned()));
}

#[tokio::test]
async fn a_restricted_key_knows_no_connections_of_other_servers() {
    let house = House::open().await;
    house.safe("safe", &json!(["user"])).await;
    house.safe("more", &json!(["user"])).await;
    house.person("ann").await;
    let key = json!({"user": "ann", "role": "user", "servers": ["safe"]}).to_string();
    let key = house.admin("POST", "/api/v1/keys", &key).await.json()["key"].as_str().unwrap().to_owned();
    house.connected(&key, "safe", json!({"credential": SECRET})).await;
    assert_eq!(house.connect(&key, "more", json!({"credential": SECRET})).await.told(), (404, "not_found".to_owned()));
}

#[tokio::test]
async fn a_good_test_is_noted_and_leads_out_of_what_was_refused() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let made = house.connected(&house.admin, "safe", json!({"credential": SECRET})).await;
    let of = path("safe", &made);
    for status in [None, Some(ConnectionStatus::ReauthRequired), Some(ConnectionStatus::Invalid)] {
        house.refuse(&made, status).await;
        assert!(house.admin("GET", &of, "").await.json()["last_error"].is_object());
        let tried = house.admin("POST", &format!("{of}/test"), "").await.json();
        assert_eq!((&tried["ok"], &tried["tools"][0]["name"]), (&json!(true), &json!("list")), "{tried}");
        let now = &tried["connection"];
        assert_eq!((&now["status"], &now["last_error"]), (&json!("active"), &json!(null)), "{status:?}");
        assert!(now["last_success_at"].is_string(), "{now}");
    }
    // It was this very credential that was tried.
    let lines = house.proxies.with(|state| state.probed.last().cloned()).flatten().unwrap();
    let sent: Vec<_> = lines.headers.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
    assert_eq!(sent, [("Authorization", format!("Bearer {SECRET}").as_str())]);
}

#[tokio::test]
async fn a_test_of_what_was_put_aside_does_not_take_it_up() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let made = house.connected(&house.admin, "safe", json!({"credential": SECRET, "status": "disabled"})).await;
    let tried = house.admin("POST", &format!("{}/test", path("safe", &made)), "").await.json();
    assert_eq!((&tried["ok"], &tried["connection"]["status"]), (&json!(true), &json!("disabled")), "{tried}");
}

#[tokio::test]
async fn a_failed_test_says_why_and_a_static_connection_stays_active() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let made = house.connected(&house.admin, "safe", json!({"credential": SECRET})).await;
    let of = path("safe", &made);
    let said = |status: u16, error: Option<&str>| Challenge {
        status,
        resource_metadata: None,
        scope: None,
        error: error.map(str::to_owned),
    };
    for (challenge, code) in [
        (said(401, Some("invalid_token")), "unauthorized"),
        (said(403, None), "forbidden"),
        (said(403, Some("insufficient_scope")), "insufficient_scope"),
    ] {
        house.proxies.with(|state| state.challenges = vec![challenge.clone(), challenge.clone()]);
        let tried = house.admin("POST", &format!("{of}/test"), "").await;
        house.proxies.with(|state| state.challenges.clear());
        let tried = tried.json();
        assert_eq!((&tried["ok"], &tried["error"]["code"]), (&json!(false), &json!(code)), "{tried}");
        let now = &tried["connection"];
        assert_eq!((&now["status"], &now["last_error"]["code"]), (&json!("active"), &json!(code)), "{tried}");
    }
    house.proxies.fails(NOTES, "timeout");
    let tried = house.admin("POST", &format!("{of}/test"), "").await.json();
    assert_eq!(
        (&tried["ok"], &tried["error"]["code"], &tried["connection"]["last_error"]["code"]),
        (&json!(false), &json!("timeout"), &json!("timeout"))
    );
    house.proxies.with(|state| state.attached = false);
    let nobody = house.admin("POST", &format!("{of}/test"), "").await;
    assert_eq!(nobody.told(), (503, "no_proxy_attached".to_owned()));
}

#[tokio::test]
async fn a_test_without_a_credential_says_for_whom_one_is_accepted_and_where_to_log_in() {
    let house = House::open().await;
    house.safe("safe", &json!(["global", "user"])).await;
    house.with_auth("wiki", &json!({"type": "authorization_code", "issuer": "http://127.0.0.1:9009"})).await;
    house.person("ann").await;
    let bare = house.connected(&house.admin, "safe", json!({"scope_type": "global"})).await;
    let tried = house.admin("POST", &format!("{}/test", path("safe", &bare)), "").await;
    assert_eq!(tried.told(), (400, "connection_required".to_owned()), "{}", tried.text);
    assert_eq!((&tried.json()["scopes"], &tried.json()["login_url"]), (&json!(["global", "user"]), &json!(null)));
    let bare = house.connected(&house.admin, "wiki", json!({"scope_id": "ann"})).await;
    let tried = house.admin("POST", &format!("{}/test", path("wiki", &bare)), "").await.json();
    assert_eq!((&tried["code"], &tried["scopes"]), (&json!("connection_required"), &json!(["user"])));
    assert!(tried["login_url"].as_str().unwrap().ends_with("/connect/acme/wiki"), "{tried}");
}

#[tokio::test]
async fn a_users_test_is_made_as_that_user() {
    let house = House::open().await;
    let auth = json!({"type": "template", "scopes": ["user", "global"], "headers": [
        {"name": "X-Who", "value_template": "${context.work_id} ${secret.pin}"}]});
    house.with_auth("safe", &auth).await;
    let ann = house.person("ann").await;
    let credential = json!({"secrets": {"pin": SECRET}});
    let own = house.connected(&ann, "safe", json!({"credential": credential})).await;
    let shared = house.connected(&house.admin, "safe", json!({"scope_type": "global", "credential": credential})).await;
    let sent = || house.proxies.with(|state| state.probed.last().cloned()).flatten().unwrap();
    for key in [&ann, &house.admin] {
        let tried = house.ask(key, "POST", &format!("{}/test", path("safe", &own)), "").await;
        assert_eq!(tried.json()["ok"], true, "{}", tried.text);
        assert_eq!(sent().headers[0].1.expose(), format!("ann {SECRET}"));
    }
    // A key of nobody can't stand for a caller: that is told, and never sent as null.
    let tried = house.admin("POST", &format!("{}/test", path("safe", &shared)), "").await.json();
    assert_eq!((&tried["ok"], &tried["error"]["code"]), (&json!(false), &json!("context_missing")), "{tried}");
}

#[tokio::test]
async fn a_leaked_secret_is_found_in_every_connection_that_uses_it() {
    let house = House::open().await;
    house.safe("one", &json!(["user", "global"])).await;
    let auth = json!({"type": "template", "scopes": ["global"], "headers": [{"name": "X-Key", "value_template": "${secret.key}"}]});
    house.with_auth("two", &auth).await;
    house.person("ann").await;
    house.connected(&house.admin, "one", json!({"scope_type": "user", "scope_id": "ann", "credential": SECRET})).await;
    let global = house.connected(&house.admin, "one", json!({"scope_type": "global", "credential": NEWER})).await;
    let deep = json!({"scope_type": "global", "credential": {"secrets": {"key": SECRET}}});
    house.connected(&house.admin, "two", deep).await;
    let find = async |key: &str, secret: &str| {
        house.ask(key, "POST", "/api/v1/connections/find", &json!({"secret": secret}).to_string()).await
    };
    let found = find(&house.admin, SECRET).await;
    assert!(!found.text.contains(SECRET));
    let names: Vec<_> = found.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["server_name"].clone(), one["scope_type"].clone()))
        .collect();
    assert_eq!(names, [(json!("one"), json!("user")), (json!("two"), json!("global"))]);
    assert_eq!(find(&house.admin, &SECRET[1..]).await.json(), json!({"items": []}));
    assert_eq!(find(&house.other_admin, SECRET).await.json(), json!({"items": []}), "another tenant's");
    assert_eq!(find(&house.client, SECRET).await.told(), (403, "forbidden".to_owned()));
    // Replaced and removed ones are not found any more.
    house.set(&house.admin, "PATCH", &path("one", &global), &json!({"credential": "another-one"})).await;
    assert_eq!(find(&house.admin, NEWER).await.json(), json!({"items": []}));
}

#[tokio::test]
async fn no_answer_about_a_connection_shows_a_secret_or_a_part_of_one() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let made = house.connect(&house.admin, "safe", json!({"credential": SECRET})).await;
    let of = path("safe", &made.json());
    let mut told = vec![made.text];
    for (method, path, body) in [
        ("GET", of.clone(), ""),
        ("GET", "/api/v1/servers/safe/connections".to_owned(), ""),
        ("GET", "/api/v1/servers/safe".to_owned(), ""),
        ("PATCH", of.clone(), r#"{"credential":"tok-7f3a9c-canary2"}"#),
        ("PATCH", of.clone(), r#"{"credential":{"tok-7f3a9c-canary":"tok-7f3a9c-canary"}}"#),
        ("PATCH", of.clone(), r#"{"credential":{"secrets":{"access_token":["tok-7f3a9c-canary"]}}}"#),
        ("POST", format!("{of}/test"), ""),
        ("POST", "/api/v1/connections/find".to_owned(), r#"{"secret":"tok-7f3a9c-canary"}"#),
        ("GET", "/api/v1/audit".to_owned(), ""),
        ("POST", format!("{of}/revoke"), ""),
        ("DELETE", of.clone(), ""),
    ] {
        let reply = house
            .send(method, &path, body, |headers| {
                bearer(headers, &house.admin);
                headers.insert("if-match", "*".parse().unwrap());
            })
            .await;
        told.push(reply.text);
    }
    for text in told {
        // A name that somebody chose comes back in the path of a mistake.
        let text = text.replace("credential.tok-7f3a9c-canary", "");
        assert!(!text.contains("7f3a9c"), "{text}");
    }
}

#[tokio::test]
async fn a_create_that_is_sent_twice_happens_once() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let body = json!({"credential": SECRET}).to_string();
    let send =
        async || house.admin_with(("idempotency-key", "once"), "POST", "/api/v1/servers/safe/connections", &body).await;
    let (first, second) = (send().await, send().await);
    assert_eq!((first.status, second.status), (StatusCode::CREATED, StatusCode::CREATED), "{}", second.text);
    assert_eq!((&first.json()["id"], second.header("idempotent-replayed")), (&second.json()["id"], "true"));
    assert_eq!(
        first.header("location"),
        format!(
            "/api/v1/servers/{}/connections/{}",
            first.json()["server"].as_str().unwrap(),
            first.json()["id"].as_str().unwrap()
        )
    );
}

#[tokio::test]
async fn concurrent_creates_for_one_holder_are_one_201_and_conflicts() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let body = json!({"credential": SECRET});
    let tries = (0..8).map(|_| house.connect(&house.admin, "safe", body.clone()));
    let mut told: Vec<u16> = futures::future::join_all(tries).await.iter().map(|reply| reply.status.as_u16()).collect();
    told.sort_unstable();
    assert_eq!(told, [201, 409, 409, 409, 409, 409, 409, 409]);
}

#[tokio::test]
async fn a_revoked_connection_has_no_secret_left() {
    let house = House::open().await;
    house.safe("safe", &json!(["global"])).await;
    let made = house.connected(&house.admin, "safe", json!({"credential": SECRET})).await;
    let revoked = house.admin("POST", &format!("{}/revoke", path("safe", &made)), "").await.json();
    assert_eq!((&revoked["has_credentials"], &revoked["upstream"]), (&json!(false), &json!("nothing")), "{revoked}");
    let record = house.app.store.tenant(house.acme).connection(id(&made)).await.unwrap().unwrap();
    assert_eq!((record.credential, record.token, record.reference), (None, None, None));
    assert_eq!(house.set(&house.admin, "DELETE", &path("safe", &made), &json!({})).await.status, StatusCode::OK);
    assert_eq!(house.admin("GET", &path("safe", &made), "").await.status, StatusCode::NOT_FOUND);
}
