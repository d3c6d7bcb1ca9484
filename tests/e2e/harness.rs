//! The harness keeps to its own word: our client straight at our upstream, no Gatehouse between.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tests::authority::{Fault, Iss, Refresh, Registration};
use tests::load::{Load, Target};
use tests::{Answer, Authority, Behaviour, Guard, Http, Mcp, Upstream, canary};

#[tokio::test]
async fn the_client_and_the_upstream_understand_each_other() {
    let upstream = Upstream::named("up").await;
    let mcp = Mcp::open(&upstream.url(), "any").await;
    assert_eq!(mcp.tools().await, ["echo", "slow", "progress", "bad", "fail"]);
    assert_eq!(mcp.text("echo", json!({"text": "hi"})).await, "up: hi");
    let mut stream = mcp.listen().await;
    upstream.add_tool("more");
    stream.until("notifications/tools/list_changed").await;
    assert!(mcp.tools().await.contains(&"more".to_owned()));
    let params = json!({"name": "progress", "arguments": {"text": "p", "steps": 2}, "_meta": {"progressToken": "t"}});
    let (before, _) = mcp.try_request("tools/call", params).await.unwrap();
    assert_eq!(before.len(), 2);
    let (slow, ()) = tokio::join!(mcp.call("slow", json!({"text": "s"})), async {
        tests::eventually("the call arrived", || async { (upstream.calls("s") == 1).then_some(()) }).await;
        upstream.open_gate();
    });
    assert_eq!(tests::mcp::text_of(&slow), "up: s");
    assert!(upstream.repeated().is_empty());
    upstream.forget_sessions();
    assert!(mcp.request("tools/list", json!({})).await["error"].is_object());
}

#[tokio::test]
async fn the_upstream_misbehaves_as_it_is_told() {
    let upstream = Upstream::named("up").await;
    for (word, behaviour) in tests::behaviour::BEHAVIOURS {
        use Behaviour::{Drip, EndlessEvent, Hang, HugeBody, NeverFinish};
        if matches!(behaviour, Hang | Drip | NeverFinish | HugeBody | EndlessEvent) {
            continue;
        }
        let mcp = Mcp::open(&upstream.url(), "any").await;
        let params = json!({"name": "bad", "arguments": {"how": word, "text": word}});
        let answer = tests::patient(word, mcp.try_request("tools/call", params)).await;
        // Our own client gives up at the first junk; Gatehouse must not.
        let behaved = matches!(
            behaviour,
            Behaviour::DuplicateId
                | Behaviour::Gzip
                | Behaviour::WrongId
                | Behaviour::Heartbeats
                | Behaviour::SessionWords
        );
        assert_eq!(answer.is_ok(), behaved, "{word}: {answer:?}");
        assert_eq!(upstream.calls(word), 1);
    }
}

#[tokio::test]
async fn the_load_counts_what_is_right_and_what_is_wrong() {
    let upstream = Upstream::named("up").await;
    let target = Target { url: upstream.url(), key: "any".to_owned(), tool: "echo".to_owned(), says: "up".to_owned() };
    let load = Load::start(vec![target.clone(), target.clone()], std::time::Duration::from_millis(2)).await;
    load.more(100).await;
    let (verified, failures) = load.finish().await;
    assert!(verified >= 100 && failures.is_empty(), "{failures:?}");
    let load = Load::start(vec![target], std::time::Duration::from_millis(2)).await;
    upstream.end();
    load.more(1_000_000).await;
    assert!(!load.finish().await.1.is_empty());
}

const VERIFIER: &str = "a-verifier-that-is-long-enough-for-anybody-who-counts";
const REDIRECT: &str = "http://127.0.0.1:1/callback";

async fn form(url: &str, fields: &[(&str, &str)]) -> Answer {
    let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    Http::default().send("POST", url, &headers, body).await.unwrap()
}

async fn json_at(url: &str) -> Value {
    Http::default().send("GET", url, &[], "").await.unwrap().expect(200).json()
}

/// Walks to `/authorize` and returns what comes back.
async fn authorized(issuer: &str, client: &str) -> BTreeMap<String, String> {
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(VERIFIER.as_bytes()));
    let fields = [
        ("response_type", "code"),
        ("client_id", client),
        ("redirect_uri", REDIRECT),
        ("state", "s"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("scope", "mcp"),
    ];
    let query: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    let answer =
        Http::default().send("GET", &format!("{issuer}/authorize?{query}"), &[], "").await.unwrap().expect(302);
    let back = url::Url::parse(answer.header("location")).unwrap();
    back.query_pairs().into_owned().collect()
}

#[tokio::test]
async fn the_authorization_server_is_as_strict_as_it_says() {
    let authority = Authority::start().await;
    let issuer = authority.issuer();
    let metadata = json_at(&format!("{issuer}/.well-known/oauth-authorization-server")).await;
    assert_eq!(
        (&metadata["issuer"], &metadata["code_challenge_methods_supported"]),
        (&json!(issuer), &json!(["S256"]))
    );
    let registration = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}).to_string();
    let register = metadata["registration_endpoint"].as_str().unwrap().to_owned();
    let made = Http::default().send("POST", &register, &[], registration.clone()).await.unwrap().expect(201).json();
    let client = made["client_id"].as_str().unwrap().to_owned();
    let back = authorized(&issuer, &client).await;
    assert_eq!((back["state"].as_str(), back["iss"].as_str()), ("s", issuer.as_str()));

    // A code is good for one use, with its verifier.
    let token_url = authority.token_url();
    let exchange = |code: String, verifier: &'static str| {
        let (token_url, client) = (token_url.clone(), client.clone());
        async move {
            form(
                &token_url,
                &[
                    ("grant_type", "authorization_code"),
                    ("code", &code),
                    ("client_id", &client),
                    ("redirect_uri", REDIRECT),
                    ("code_verifier", verifier),
                ],
            )
            .await
        }
    };
    assert_eq!(exchange(back["code"].clone(), "another").await.expect(400).json()["error"], "invalid_grant");
    let code = authorized(&issuer, &client).await["code"].clone();
    let first = exchange(code.clone(), VERIFIER).await.expect(200).json();
    exchange(code, VERIFIER).await.expect(400);
    let access = first["access_token"].as_str().unwrap();
    assert_eq!(
        (authority.valid(access).unwrap().person.as_str(), authority.valid(access).unwrap().number),
        ("somebody", 1)
    );

    // A refresh token that is used twice takes everything with it.
    let refresh = |token: String| {
        let (token_url, client) = (token_url.clone(), client.clone());
        async move {
            form(&token_url, &[("grant_type", "refresh_token"), ("refresh_token", &token), ("client_id", &client)])
                .await
        }
    };
    let old = first["refresh_token"].as_str().unwrap().to_owned();
    authority.next([Fault::Status(503), Fault::Garbage, Fault::Error("temporarily_unavailable")]);
    refresh(old.clone()).await.expect(503);
    assert!(refresh(old.clone()).await.expect(200).text().contains("captive portal"));
    refresh(old.clone()).await.expect(400);
    let second = refresh(old.clone()).await.expect(200).json();
    assert!(authority.valid(second["access_token"].as_str().unwrap()).is_some());
    assert_eq!((authority.reused(), authority.alive()), (0, 1));
    refresh(old).await.expect(400);
    assert_eq!((authority.reused(), authority.alive()), (1, 0));
    assert!(authority.valid(second["access_token"].as_str().unwrap()).is_none());
    assert_eq!(authority.refreshes(), 5);

    // Where refresh tokens stay, answers don't repeat them.
    authority.change(|shape| (shape.refresh, shape.iss) = (Refresh::Kept, Iss::Missing));
    let made = authority.signed_in(&client, "ann");
    let kept = made["refresh_token"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        assert!(refresh(kept.clone()).await.expect(200).json().get("refresh_token").is_none());
    }
    assert!(!authorized(&issuer, &client).await.contains_key("iss"));

    // A client with a secret, by header and by body; and one that nobody knows.
    let secret = authority.client("desk");
    let grant = ("grant_type", "client_credentials");
    form(&token_url, &[grant, ("client_id", "desk"), ("client_secret", &secret)]).await.expect(200);
    form(&token_url, &[grant, ("client_id", "desk"), ("client_secret", "wrong")]).await.expect(401);
    let pair = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect::<String>();
    let basic = format!("Basic {}", STANDARD.encode(format!("desk:{pair}")));
    let headers = [("authorization", basic.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let own = Http::default().send("POST", &token_url, &headers, "grant_type=client_credentials").await.unwrap();
    let own = own.expect(200).json();
    assert!(own.get("refresh_token").is_none() && own["access_token"].is_string());
    authority.change(|shape| shape.registration = Registration::Refuses);
    Http::default().send("POST", &register, &[], registration).await.unwrap().expect(400);
    assert!(authority.secrets().iter().all(|secret| canary::found(secret.as_bytes()).is_some()));
}

#[tokio::test]
async fn a_guarded_upstream_lets_in_whoever_has_a_valid_token_and_remembers_what_came() {
    let authority = Authority::start().await;
    let guard = Guard::by(&authority).scope("mcp");
    let upstream = Upstream::guarded("safe", &guard).await;
    let refused = Mcp::try_open(&upstream.url(), "nonsense", "2025-11-25").await;
    assert!(refused.is_err_and(|error| error.contains("401")));
    let headers = [("content-type", "application/json")];
    let refused = Http::default().send("POST", &upstream.url(), &headers, "{}").await.unwrap().expect(401);
    let challenge = refused.header("www-authenticate").to_owned();
    assert!(challenge.contains("scope=\"mcp\""), "{challenge}");
    let place = challenge.split("resource_metadata=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    let metadata = json_at(place).await;
    assert_eq!(metadata["resource"], upstream.url().as_str());
    assert_eq!(metadata["authorization_servers"], json!([authority.issuer()]));

    let made = authority.signed_in("any", "ann");
    let token = made["access_token"].as_str().unwrap();
    let mcp = Mcp::open(&upstream.url(), token).await;
    let who: Value = serde_json::from_str(&mcp.text("whoami", json!({})).await).unwrap();
    assert_eq!((&who["person"], &who["token"]), (&json!("ann"), &json!(1)));
    assert!(guard.saw(token) && !guard.saw("never sent"));
    guard.refuse_next(1);
    assert_eq!(mcp.post(&json!({"jsonrpc": "2.0", "id": 9, "method": "ping"})).await.unwrap().status, 401);
    assert_eq!(mcp.text("echo", json!({"text": "x"})).await, "safe: x");
    guard.needs("echo", "more");
    let call = json!({"jsonrpc": "2.0", "id": 9, "method": "tools/call", "params": {"name": "echo", "arguments": {"text": "y"}}});
    let denied = mcp.post(&call).await.unwrap().expect(403);
    assert!(denied.header("www-authenticate").contains("insufficient_scope"));
    authority.expire_access();
    assert_eq!(mcp.post(&call).await.unwrap().status, 401);
    assert_eq!(guard.refused(), 4);
}

#[test]
fn a_secret_is_found_in_every_form_it_can_be_written_in() {
    let secret = canary::secret("planted");
    assert!(canary::found(b"nothing of the kind").is_none());
    for (name, written) in canary::forms(&secret) {
        let text = format!("before {written} after");
        assert!(canary::found(text.as_bytes()).is_some(), "{name}: {text}");
    }
    for user in ["", "u", "us", "user"] {
        let basic = STANDARD.encode(format!("{user}:{secret}"));
        assert!(canary::found(basic.as_bytes()).is_some(), "{basic}");
    }
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::create_dir(folder.path().join("inner")).unwrap();
    assert!(canary::found_below(folder.path()).is_empty());
    std::fs::write(folder.path().join("inner/log"), format!("token={secret}")).unwrap();
    assert_eq!(canary::found_below(folder.path()).len(), 1);
}
