//! Whose credential a request bears, and that nobody bears another's.

use std::sync::Arc;
use std::time::Duration;

use model::{ConnectionSpec, ConnectionStatus, Holder, KeyRole, KeyVerifier, Resource, Scope, ServerSpec, UserId};
use serde_json::{Value, json};
use tests::mcp::code_of;
use tests::{Guard, Http, Mcp, Upstream, eventually};

use crate::house::{House, Key, server, tenant};
use crate::scripted::{bound, connection};

/// A user's key, and a connection of the user's whose credential lets in as `person`.
struct Person {
    key: Key,
    connection: ConnectionSpec,
}

impl Person {
    async fn connect(house: &House, guard: &Guard, server: &ServerSpec, person: &str) -> Self {
        let user = UserId::fresh();
        let plain = house.key(KeyRole::User);
        let verifier = KeyVerifier { user: Some(user), ..plain.verifier };
        house.put([Resource::Key(verifier.clone())]);
        let key = Key { verifier, text: plain.text };
        let text: model::KeyText = key.text.parse().unwrap();
        house.control.knows(text.id(), text.evidence());
        let connection = connection(server.id, Holder::User(user));
        let secret = format!("secret-of-{person}");
        guard.accept_bearer(&secret, person);
        house.connect(&connection, &format!("Bearer {secret}"), &[]);
        Self { key, connection }
    }

    async fn on(&self, house: &House, path: &str) -> Mcp {
        Mcp::open(&house.at(path), &self.key.text).await
    }
}

async fn person_of(mcp: &Mcp, tool: &str) -> String {
    let told: Value = serde_json::from_str(&mcp.text(tool, json!({})).await).unwrap();
    told["person"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn r50_every_kind_of_request_bears_the_callers_own_header_lines() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    for path in ["/servers/notes/mcp", "/mcp"] {
        let mcp = ann.on(&house, path).await;
        let tool = if path == "/mcp" { "notes__whoami" } else { "whoami" };
        assert!(mcp.tools().await.contains(&tool.to_owned()), "{path}");
        assert_eq!(person_of(&mcp, tool).await, "ann", "{path}");
        assert!(mcp.request("resources/read", json!({"uri": "test://upstream/note"})).await["result"].is_object());
        let listening = mcp.listen().await;
        eventually("the upstream's stream is open", async || (upstream.listeners() > 0).then_some(())).await;
        drop(listening);
    }
    let session = ann.on(&house, "/servers/notes/mcp").await;
    session.delete().await.expect(200);
    eventually("the session is ended over there", async || (upstream.deletes() > 0).then_some(())).await;
    let seen = guard.seen();
    assert!(seen.iter().all(|seen| seen.person.as_deref() == Some("ann")), "{seen:?}");
    assert!(seen.iter().all(|seen| seen.target.ends_with("?tenant+key=a%26b")), "{seen:?}");
    for asks in ["initialize", "notifications/initialized", "tools/list", "tools/call", "resources/read"] {
        assert!(seen.iter().any(|seen| seen.asks == asks), "{asks}");
    }
    assert!(["GET", "DELETE"].iter().all(|method| seen.iter().any(|seen| seen.method == *method)));
    // Asked once, with evidence that the key's holder stands behind it.
    let asked = house.control.asked();
    assert_eq!(asked.iter().map(|asked| asked.evidence).collect::<Vec<_>>(), ["key"]);
    assert_eq!(asked[0].connection, Some(ann.connection.id));
}

#[tokio::test]
async fn r50_the_older_transport_bears_them_too() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.sse_url()), &[Scope::Global]);
    let spec = ServerSpec { transport: model::Transport::Sse, ..spec };
    house.mount(&spec);
    // The session is the query of this upstream's endpoint.
    house.control.gives_headers_only();
    let global = connection(spec.id, Holder::Global);
    guard.accept_bearer("all", "everybody");
    house.connect(&global, "Bearer all", &[]);
    let mcp = house.session_on_all().await;
    assert_eq!(mcp.text("notes__echo", json!({"text": "x"})).await, "upstream: x");
    assert!(guard.seen().iter().all(|seen| seen.person.as_deref() == Some("everybody")));
}

#[tokio::test]
async fn t12_nothing_that_a_client_shows_reaches_an_upstream() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25",
        "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let bearer = format!("Bearer {}", ann.key.text);
    let mut headers = tests::mcp::POST.to_vec();
    headers.extend([
        ("authorization", bearer.as_str()),
        ("cookie", "sid=client"),
        ("proxy-authorization", "Basic client"),
        ("x-api-key", "client"),
    ]);
    let at = house.at("/servers/notes/mcp");
    let answer = Http::default().send("POST", &at, &headers, hello.to_string()).await.unwrap();
    assert!(answer.json()["result"].is_object(), "{}", answer.text());
    for seen in guard.seen() {
        assert_eq!(seen.header("authorization"), "Bearer secret-of-ann");
        for name in ["cookie", "proxy-authorization", "x-api-key"] {
            assert_eq!(seen.header(name), "", "{name}");
        }
        assert!(!format!("{:?}", seen.headers).contains(&ann.key.text));
    }
}

#[tokio::test]
async fn t10_calls_of_many_users_at_once_are_never_crossed() {
    let (house, guard) = (Arc::new(House::start().await), Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..24 {
        let name = format!("person-{number}");
        let person = Person::connect(&house, &guard, &spec, &name).await;
        let house = house.clone();
        callers.spawn(async move {
            for path in ["/mcp", "/servers/notes/mcp"] {
                let mcp = person.on(&house, path).await;
                let tool = if path == "/mcp" { "notes__whoami" } else { "whoami" };
                for _ in 0..10 {
                    assert_eq!(person_of(&mcp, tool).await, name);
                }
            }
        });
    }
    while let Some(done) = callers.join_next().await {
        done.unwrap();
    }
    // A session over there is of one person.
    let mut owners = std::collections::HashMap::new();
    for seen in guard.calls() {
        let session = seen.header("mcp-session-id").to_owned();
        let owner = owners.entry(session).or_insert_with(|| seen.person.clone());
        assert_eq!(*owner, seen.person);
    }
    assert_eq!(house.control.asked().len(), 24, "one question for each connection");
}

#[tokio::test]
async fn r7_two_tenants_with_a_service_of_the_same_name_share_nothing() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let ours = bound(server("notes", &upstream.url()), &[Scope::Global]);
    let other = model::TenantSpec { id: model::TenantId::fresh(), name: "other".parse().unwrap(), ..tenant() };
    let theirs = ServerSpec { tenant: other.id, id: model::ServerId::fresh(), ..ours.clone() };
    house.put([Resource::Tenant(other.clone()), Resource::Server(ours.clone()), Resource::Server(theirs.clone())]);
    let mut sessions = Vec::new();
    for (spec, who) in [(&ours, "ours"), (&theirs, "theirs")] {
        let key = house.key(KeyRole::User);
        house.put([Resource::Key(KeyVerifier { tenant: spec.tenant, ..key.verifier })]);
        let global = ConnectionSpec { tenant: spec.tenant, ..connection(spec.id, Holder::Global) };
        guard.accept_bearer(who, who);
        house.connect(&global, &format!("Bearer {who}"), &[]);
        sessions.push((Mcp::open(&house.at("/mcp"), &key.text).await, who));
    }
    for (mcp, who) in &sessions {
        assert_eq!(person_of(mcp, "notes__whoami").await, *who);
    }
    // One of them loses its credential: the other one notices nothing, not even a cooldown.
    house.remove([model::ResourceName::Server(ours.id)]);
    assert!(sessions[0].0.call("notes__whoami", json!({})).await["error"].is_object());
    assert_eq!(person_of(&sessions[1].0, "notes__whoami").await, "theirs");
}

#[tokio::test]
async fn the_narrowest_accepted_scope_with_a_connection_serves() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User, Scope::Global]);
    house.mount(&spec);
    let global = connection(spec.id, Holder::Global);
    guard.accept_bearer("all", "everybody");
    house.connect(&global, "Bearer all", &[]);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let (own, others) = (ann.on(&house, "/mcp").await, house.session_on_all().await);
    assert_eq!(person_of(&own, "notes__whoami").await, "ann");
    assert_eq!(person_of(&others, "notes__whoami").await, "everybody");
    // What is gone is not used again, whoever has it in a cache: the next scope serves, in a session of its own.
    house.disconnect(&ann.connection);
    assert_eq!(person_of(&own, "notes__whoami").await, "everybody");
    house.disconnect(&global);
    let answer = own.call("notes__whoami", json!({})).await;
    assert_eq!((code_of(&answer), answer["error"]["data"]["error"].as_str()), (-31006, Some("connection_required")));
    assert!(!guard.seen().iter().any(|seen| seen.person.is_none()), "nothing was tried without a credential");
}

#[tokio::test]
async fn the_holder_of_a_key_is_served_as_the_departments_of_its_user_are() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::Department]);
    house.mount(&spec);
    let sales = connection(spec.id, Holder::Department(model::DepartmentId::fresh()));
    guard.accept_bearer("of-sales", "sales");
    house.connect(&sales, "Bearer of-sales", &[]);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let user = |departments: &[&str]| {
        Resource::User(model::UserSpec {
            id: ann.key.verifier.user.unwrap(),
            tenant: tenant().id,
            login: "ann".to_owned(),
            external_id: None,
            role: KeyRole::User,
            active: true,
            departments: departments.iter().map(|name| (*name).to_owned()).collect(),
        })
    };
    let mcp = ann.on(&house, "/mcp").await;
    for (departments, serves) in [(&[][..], false), (&["law", "sales"], true), (&["law"], false)] {
        house.put([user(departments)]);
        let answer = mcp.call("notes__whoami", json!({})).await;
        assert_eq!(answer["result"].is_object(), serves, "{departments:?}: {answer}");
    }
    assert_eq!(house.control.asked()[0].departments, ["law", "sales"]);
    assert!(guard.calls().iter().all(|seen| seen.person.as_deref() == Some("sales")));
}

#[tokio::test]
async fn lists_are_those_of_ones_own_connection() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let bob = Person::connect(&house, &guard, &spec, "bob").await;
    let (on_ann, on_bob) = (ann.on(&house, "/mcp").await, bob.on(&house, "/mcp").await);
    let before = on_ann.tools().await;
    // What Bob sees is asked for as Bob, and what Ann was shown stays.
    upstream.add_tool("secret");
    assert!(on_bob.tools().await.contains(&"notes__secret".to_owned()));
    assert_eq!(on_ann.tools().await, before);
    let listed = guard.seen().into_iter().filter(|seen| seen.asks == "tools/list").map(|seen| seen.person.unwrap());
    assert_eq!(listed.collect::<Vec<_>>(), ["ann", "bob"]);
    // Somebody without a connection sees that the server is missing, and nothing of it.
    let nobody = house.session_on_all().await;
    let listed = nobody.request("tools/list", json!({})).await;
    assert_eq!(listed["result"]["_meta"]["gatehouse/missing"], json!(["notes"]));
    assert!(!listed.to_string().contains("notes__"));
}

#[tokio::test]
async fn a_change_of_lists_is_told_to_those_who_see_them() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let bob = Person::connect(&house, &guard, &spec, "bob").await;
    let (on_ann, on_bob) = (ann.on(&house, "/mcp").await, bob.on(&house, "/mcp").await);
    on_ann.tools().await;
    // Bob has no session over there: what is told on Ann's is no news of his.
    let (mut hears_ann, mut hears_bob) = (on_ann.listen().await, on_bob.listen().await);
    eventually("the upstream's stream is open", async || (upstream.listeners() == 1).then_some(())).await;
    upstream.add_tool("more");
    hears_ann.until("notifications/tools/list_changed").await;
    // His own connection is: it is what his stream hears first.
    house.put([Resource::Connection(ConnectionSpec {
        credential_version: 2,
        token_generation: 2,
        ..bob.connection.clone()
    })]);
    hears_bob.until("notifications/tools/list_changed").await;
}

#[tokio::test]
async fn r50_another_token_ends_no_session_and_another_credential_only_its_own() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let bob = Person::connect(&house, &guard, &spec, "bob").await;
    let (on_ann, on_bob) = (ann.on(&house, "/mcp").await, bob.on(&house, "/mcp").await);
    let session_of = async |mcp: &Mcp| {
        let told: Value = serde_json::from_str(&mcp.text("notes__whoami", json!({})).await).unwrap();
        told["session"].clone()
    };
    let (first, bobs) = (session_of(&on_ann).await, session_of(&on_bob).await);
    // A token is refreshed.
    let refreshed = ConnectionSpec { token_generation: 2, ..ann.connection.clone() };
    guard.accept_bearer("second", "ann");
    house.connect(&refreshed, "Bearer second", &[]);
    assert_eq!(session_of(&on_ann).await, first);
    assert_eq!(guard.calls().last().unwrap().header("authorization"), "Bearer second");
    // Ann signs in again.
    let again = ConnectionSpec { credential_version: 2, token_generation: 3, ..ann.connection.clone() };
    guard.accept_bearer("third", "ann");
    house.connect(&again, "Bearer third", &[]);
    assert_ne!(session_of(&on_ann).await, first);
    assert_eq!(guard.calls().last().unwrap().header("authorization"), "Bearer third");
    assert_eq!(session_of(&on_bob).await, bobs);
    // Not even a goodbye bears what was replaced.
    let last = guard.seen().into_iter().rposition(|seen| seen.header("authorization") == "Bearer second").unwrap();
    assert_eq!(guard.seen()[last].asks, "tools/call");
}

#[tokio::test]
async fn a_stream_ends_with_the_connection_that_it_listens_with() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    for how in ["gone", "disabled"] {
        let ann = Person::connect(&house, &guard, &spec, how).await;
        let mcp = ann.on(&house, "/servers/notes/mcp").await;
        let mut listening = mcp.listen().await;
        eventually("the upstream's stream is open", async || (upstream.listeners() == 1).then_some(())).await;
        match how {
            "gone" => house.disconnect(&ann.connection),
            _ => house.put([Resource::Connection(ConnectionSpec {
                status: ConnectionStatus::ReauthRequired,
                ..ann.connection.clone()
            })]),
        }
        tests::patient("the client's stream ends", async { while listening.next().await.is_some() {} }).await;
        eventually("the upstream's stream ends", async || {
            // It notices when it speaks.
            upstream.add_tool("x");
            (upstream.listeners() == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn while_control_is_away_what_is_there_goes_on_for_as_long_as_it_may() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::Global]);
    house.mount(&spec);
    let global = connection(spec.id, Holder::Global);
    guard.accept_bearer("all", "everybody");
    house.connect(&global, "Bearer all", &[]);
    // Not good for a moment, but for an hour without control.
    house.control.lasts(Duration::ZERO, Duration::from_secs(3600));
    let mcp = house.session_on_all().await;
    assert_eq!(person_of(&mcp, "notes__whoami").await, "everybody");
    house.control.away(true);
    for _ in 0..3 {
        assert_eq!(person_of(&mcp, "notes__whoami").await, "everybody");
    }
    // A newer one that only control has: what is there is not used instead.
    house.put([Resource::Connection(ConnectionSpec { token_generation: 2, ..global.clone() })]);
    let answer = mcp.call("notes__whoami", json!({})).await;
    assert_eq!((code_of(&answer), answer["error"]["data"]["error"].as_str()), (-31005, Some("credential_unavailable")));
    assert!(answer["error"]["data"]["retry_after_ms"].as_u64().is_some(), "{answer}");
}

#[tokio::test]
async fn r24_an_answer_without_a_credential_names_the_way_to_one_and_no_secret() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    let binding = model::Binding { login: true, ..spec.binding.clone().unwrap() };
    let spec = ServerSpec { binding: Some(binding), ..spec };
    house.mount(&spec);
    house.put([Resource::Signer(model::SignerSpec {
        id: model::SignerId::fresh(),
        url: "https://gate.example".to_owned(),
        public: [1; 32],
        until: i64::MAX,
    })]);
    let link = "https://gate.example/connect/acme/notes";
    let mcp = house.session_on_all().await;
    let answer = mcp.call("notes__whoami", json!({})).await;
    let error = &answer["error"];
    assert_eq!(code_of(&answer), -31006);
    assert_eq!((&error["data"]["error"], &error["data"]["login_url"]), (&json!("connection_required"), &json!(link)));
    assert_eq!((&error["data"]["needs_reauth"], &error["data"]["origin"]), (&json!(true), &json!("gateway")));
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("Do not retry") && message.contains(link), "{message}");
    let servers: Value = serde_json::from_str(&mcp.text("gatehouse__servers", json!({})).await).unwrap();
    assert_eq!(
        (&servers["servers"][0]["connected"], &servers["servers"][0]["login_url"]),
        (&json!(false), &json!(link))
    );
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let mcp = ann.on(&house, "/mcp").await;
    let servers: Value = serde_json::from_str(&mcp.text("gatehouse__servers", json!({})).await).unwrap();
    assert_eq!(servers["servers"][0]["connected"], true);
}

#[tokio::test]
async fn a_client_that_opens_urls_is_asked_to() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    let binding = model::Binding { login: true, ..spec.binding.clone().unwrap() };
    house.mount(&ServerSpec { binding: Some(binding), ..spec });
    house.put([Resource::Signer(model::SignerSpec {
        id: model::SignerId::fresh(),
        url: "https://gate.example".to_owned(),
        public: [1; 32],
        until: i64::MAX,
    })]);
    let key = house.key(KeyRole::User);
    let bearer = format!("Bearer {}", key.text);
    let mut headers = tests::mcp::POST.to_vec();
    headers.push(("authorization", &bearer));
    for (capabilities, code) in [
        (json!({"elicitation": {"url": {}}}), -32042),
        (json!({"elicitation": {"form": {}}}), -31006),
        (json!({}), -31006),
    ] {
        let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"}}});
        let opened = Http::default().send("POST", &house.at("/mcp"), &headers, hello.to_string()).await.unwrap();
        let session = opened.headers["mcp-session-id"].to_str().unwrap().to_owned();
        let mut headers = headers.clone();
        headers.push(("mcp-session-id", &session));
        let call = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "notes__echo", "arguments": {}}});
        let answer = Http::default().send("POST", &house.at("/mcp"), &headers, call.to_string()).await.unwrap().json();
        assert_eq!(code_of(&answer), code, "{capabilities}");
        let elicited = &answer["error"]["data"]["elicitations"][0];
        if code == -32042 {
            assert_eq!(
                (&elicited["mode"], &elicited["url"]),
                (&json!("url"), &json!("https://gate.example/connect/acme/notes"))
            );
            assert!(elicited["elicitationId"].is_string() && elicited["message"].is_string());
        } else {
            assert!(elicited.is_null());
        }
    }
}

#[tokio::test]
async fn a_command_bears_the_credential_of_whoever_asked_control() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let key = &ann.key.verifier;
    let principal = model::Principal { tenant: tenant().id, user: key.user, key: Some(key.id) };
    let called = house.commands.call(principal.clone(), "ticket", spec.id, "whoami", "{}").await.unwrap();
    assert!(String::from_utf8_lossy(&called).contains("ann"));
    let listed = house.commands.list_tools(tenant().id, spec.id, principal, "another").await.unwrap();
    assert!(String::from_utf8_lossy(&listed).contains("whoami"));
    let evidence: Vec<_> = house.control.asked().iter().map(|asked| asked.evidence).collect();
    assert_eq!(evidence, ["ticket"]);
    // Nobody's question brings somebody's connection.
    let nobody = model::Principal { tenant: tenant().id, user: None, key: Some(house.key(KeyRole::User).verifier.id) };
    let failure = house.commands.list_tools(tenant().id, spec.id, nobody, "third").await.unwrap_err();
    assert_eq!(failure.class, "auth");
}

#[tokio::test]
async fn a_probe_bears_what_it_was_given_and_says_what_the_upstream_wants() {
    let (house, guard) = (House::start().await, Guard::shut().scope("notes:read"));
    let upstream = Upstream::guarded("upstream", &guard).await;
    guard.accept_bearer("given", "somebody");
    let probe = async |token: Option<&str>| {
        let lines = token.map(|token| {
            Arc::new(wire::HeaderLines {
                credential_version: 0,
                token_generation: 0,
                headers: vec![("Authorization".to_owned(), model::Secret::new(format!("Bearer {token}")))],
                query: vec![],
                certificate: None,
                fresh: Duration::ZERO,
                good: Duration::ZERO,
                stale: Duration::ZERO,
            })
        });
        let spec = proxy::ProbeSpec {
            tenant: tenant().id,
            url: model::UpstreamUrl::parse(&upstream.url()).unwrap(),
            transport: model::Transport::Auto,
            headers: vec![],
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(10),
            lines,
        };
        house.commands.probe(spec).await.unwrap()
    };
    let good = probe(Some("given")).await;
    assert!(good.challenge.is_none() && good.tools.len() > 2);
    for token in [None, Some("wrong")] {
        let challenge = probe(token).await.challenge.unwrap();
        assert_eq!((challenge.status, challenge.scope.as_deref()), (401, Some("notes:read")));
    }
}

#[tokio::test]
async fn a_client_that_connects_before_the_login_goes_on_with_the_same_session_after_it() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User]);
    house.mount(&spec);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    house.disconnect(&ann.connection);
    let mcp = ann.on(&house, "/servers/notes/mcp").await;
    for (method, params) in [("tools/list", json!({})), ("tools/call", json!({"name": "whoami", "arguments": {}}))] {
        let answer = mcp.request(method, params).await;
        assert_eq!((code_of(&answer), &answer["error"]["data"]["error"]), (-31006, &json!("connection_required")));
    }
    let mut listening = mcp.listen().await;
    assert!(guard.seen().is_empty(), "nothing was tried without a credential");
    house.connect(&ann.connection, "Bearer secret-of-ann", &[]);
    listening.until("notifications/tools/list_changed").await;
    assert_eq!(person_of(&mcp, "whoami").await, "ann");
    assert!(mcp.tools().await.contains(&"whoami".to_owned()));
    // From here on the stream hears the server itself.
    eventually("the upstream's stream is open", async || (upstream.listeners() == 1).then_some(())).await;
    upstream.add_tool("more");
    listening.until("notifications/tools/list_changed").await;
}

#[tokio::test]
async fn what_is_taken_away_while_a_call_waits_for_its_place_is_not_borne() {
    let (house, guard) = (House::start().await, Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let limits = model::ServerLimits { concurrent: Some(1), ..model::ServerLimits::default() };
    let spec = ServerSpec { limits, ..bound(server("notes", &upstream.url()), &[Scope::User]) };
    house.mount(&spec);
    let ann = Person::connect(&house, &guard, &spec, "ann").await;
    let bob = Person::connect(&house, &guard, &spec, "bob").await;
    let on_ann = ann.on(&house, "/servers/notes/mcp").await;
    let on_bob = bob.on(&house, "/servers/notes/mcp").await;
    let slow = tokio::spawn(async move { on_bob.text("slow", json!({"text": "x"})).await });
    eventually("the place is taken", async || (upstream.calls("x") == 1).then_some(())).await;
    let waiting = tokio::spawn(async move { on_ann.call("echo", json!({"text": "y"})).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    house.disconnect(&ann.connection);
    upstream.open_gate();
    slow.await.unwrap();
    let answer = waiting.await.unwrap();
    assert_eq!((code_of(&answer), &answer["error"]["data"]["error"]), (-31006, &json!("connection_required")));
    assert_eq!(upstream.calls("y"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn t10_nobody_is_crossed_while_connections_come_go_and_change() {
    let (house, guard) = (Arc::new(House::start().await), Guard::shut());
    let upstream = Upstream::guarded("upstream", &guard).await;
    let spec = bound(server("notes", &upstream.url()), &[Scope::User, Scope::Global]);
    house.mount(&spec);
    let global = connection(spec.id, Holder::Global);
    guard.accept_bearer("all", "everybody");
    house.connect(&global, "Bearer all", &[]);
    let (mut callers, mut people) = (tokio::task::JoinSet::new(), Vec::new());
    for number in 0..64 {
        let name = format!("person-{number}");
        let person = Person::connect(&house, &guard, &spec, &name).await;
        people.push(person.connection.clone());
        let house = house.clone();
        callers.spawn(async move {
            let path = if number % 2 == 0 { "/mcp" } else { "/servers/notes/mcp" };
            let mcp = person.on(&house, path).await;
            let tool = if path == "/mcp" { "notes__whoami" } else { "whoami" };
            for _ in 0..16 {
                let answer = mcp.call(tool, json!({})).await;
                let Some(text) = answer["result"]["content"][0]["text"].as_str() else {
                    assert!([-31005, -31006].contains(&code_of(&answer)), "{answer}");
                    continue;
                };
                let told: Value = serde_json::from_str(text).unwrap();
                assert!(told["person"] == name.as_str() || told["person"] == "everybody", "{name}: {told}");
            }
        });
    }
    let mut round = 0;
    while !callers.is_empty() {
        round += 1;
        let at = (round * 7) % people.len();
        let (spec, secret) = (&mut people[at], format!("Bearer secret-of-person-{at}"));
        match round % 3 {
            0 => house.disconnect(spec),
            kind => {
                spec.token_generation += 1;
                spec.credential_version += i64::from(kind == 2);
                house.connect(spec, &secret, &[]);
            }
        }
        if let Ok(Some(done)) = tokio::time::timeout(Duration::from_millis(2), callers.join_next()).await {
            done.unwrap();
        }
    }
    // A session over there is of one person, whatever became of the connections.
    let mut owners = std::collections::HashMap::new();
    for seen in guard.calls().iter().filter(|seen| seen.person.is_some()) {
        let owner = owners.entry(seen.header("mcp-session-id").to_owned()).or_insert_with(|| seen.person.clone());
        assert_eq!(*owner, seen.person);
    }
}
