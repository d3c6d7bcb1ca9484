//! What a key may do here, and how fast it may no longer.

use model::{KeyRole, KeyVerifier, Principal, Resource, ResourceName};
use serde_json::json;
use tests::mcp::{POST, REVISION};
use tests::{Http, Mcp, Upstream, patient};

use crate::house::{House, server, tenant};

#[tokio::test]
async fn a_viewer_calls_no_mcp_and_everybody_else_does() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    for role in KeyRole::ALL {
        let key = house.key(role);
        for path in ["/mcp", "/servers/notes/mcp", "/servers/gatehouse/mcp", "/t/acme/mcp"] {
            let opened = Mcp::try_open(&house.at(path), &key.text, REVISION).await;
            assert_eq!(opened.is_ok(), role != KeyRole::Viewer, "{role:?} {path}");
        }
    }
    let viewer = house.key(KeyRole::Viewer);
    let bearer = format!("Bearer {}", viewer.text);
    for method in ["POST", "GET", "DELETE"] {
        let mut headers = POST.to_vec();
        headers.push(("authorization", &bearer));
        let answer = Http::default().send(method, &house.at("/mcp"), &headers, "").await.unwrap();
        assert_eq!(answer.status, 403, "{method}");
        let said = answer.json();
        assert_eq!(said["error"]["data"]["error"], "viewer", "{method}: {said}");
        assert!(said["error"]["message"].as_str().unwrap().contains("role user"), "{method}: {said}");
    }
    let principal = Principal { tenant: tenant().id, user: None, key: Some(viewer.verifier.id) };
    let spec = server("desk", &upstream.url());
    house.mount(&spec);
    let failure = house.commands.call(principal, "", spec.id, "echo", r#"{"text":"x"}"#).await.unwrap_err();
    assert_eq!((failure.class, upstream.calls("x")), ("auth", 0));
}

#[tokio::test]
async fn a_revoked_key_is_a_stranger_and_its_streams_end() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let (key, other) = (house.key(KeyRole::User), house.key(KeyRole::User));
    let open = async |key: &str| Mcp::open(&house.at("/servers/notes/mcp"), key).await;
    let (mcp, spared) = (open(&key.text).await, open(&other.text).await);
    let (mut stream, mut spared_stream) = (mcp.listen().await, spared.listen().await);
    house.remove([ResourceName::Key(key.verifier.id)]);
    assert!(patient("the stream ends", stream.next()).await.is_none());
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    assert_eq!(mcp.post(&ping).await.unwrap().status, 401);
    assert_eq!(spared.post(&ping).await.unwrap().status, 200);
    upstream.add_tool("new");
    spared_stream.until("notifications/tools/list_changed").await;
}

#[tokio::test]
async fn a_key_that_may_less_than_before_has_to_open_its_streams_again() {
    let (house, upstream) = (House::start().await, Upstream::start().await);
    house.mount(&server("notes", &upstream.url()));
    let key = house.key(KeyRole::User);
    for (less, status) in [
        (KeyVerifier { servers: Some(vec!["else".to_owned()]), ..key.verifier.clone() }, 404),
        (KeyVerifier { role: KeyRole::Viewer, ..key.verifier.clone() }, 403),
        (KeyVerifier { expires_at: Some(0), ..key.verifier.clone() }, 401),
    ] {
        house.put([Resource::Key(key.verifier.clone())]);
        let mcp = Mcp::open(&house.at("/servers/notes/mcp"), &key.text).await;
        let mut stream = mcp.listen().await;
        // The same again changes nothing.
        house.put([Resource::Key(key.verifier.clone())]);
        upstream.add_tool("new");
        stream.until("notifications/tools/list_changed").await;
        house.put([Resource::Key(less.clone())]);
        patient("the stream ends", async { while stream.next().await.is_some() {} }).await;
        assert_eq!(mcp.try_listen().await.err(), Some(status), "{less:?}");
    }
}

#[tokio::test]
async fn a_tenant_that_is_gone_takes_its_keys_and_streams_along() {
    let house = House::start().await;
    let key = house.key(KeyRole::User);
    let mcp = Mcp::open(&house.at("/mcp"), &key.text).await;
    let mut stream = mcp.listen().await;
    house.remove([ResourceName::Tenant(tenant().id)]);
    patient("the stream ends", async { while stream.next().await.is_some() {} }).await;
    assert_eq!(mcp.try_listen().await.err(), Some(401));
}
