//! What clients are told of how to sign in, and that nothing more is told.

use model::{IssuerSpec, KeyRole, KeyScopes, KeyVerifier, Resource, ResourceName, TenantId, TenantSpec};
use serde_json::{Value, json};
use tests::{Answer, Http};

use crate::house::{House, Key, server, tenant};
use crate::papers::{Issuing, Signing, user};

const METADATA: &str = "/.well-known/oauth-protected-resource";

async fn ask(house: &House, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    Http::default().send(method, &house.at(path), headers, "").await.unwrap()
}

/// What a stranger, or the holder of `bearer`, is told at a path.
async fn challenge(house: &House, path: &str, bearer: &str) -> (u16, String) {
    let mut headers = tests::mcp::POST.to_vec();
    let bearer = format!("Bearer {bearer}");
    if bearer != "Bearer " {
        headers.push(("authorization", &bearer));
    }
    let answer = ask(house, "POST", path, &headers).await;
    (answer.status.as_u16(), answer.header("www-authenticate").to_owned())
}

#[tokio::test]
async fn where_nobody_can_sign_in_nothing_is_told() {
    let house = House::start().await;
    // A signer alone, or an issuer that is not for MCP clients, lets nobody sign in.
    let mut issuing = Issuing::new("https://id.example");
    issuing.spec.mcp = false;
    let without = Resource::Tenant(TenantSpec { authorization_server: false, ..tenant() });
    house.put([without, Signing::new().resource(), issuing.resource()]);
    for path in ["/mcp", "/t/acme/mcp", "/t/acme/servers/notes/mcp", "/t/nobody/mcp", "/healthcheck"] {
        assert_eq!(challenge(&house, path, "").await, (401, "Bearer".to_owned()), "{path}");
        assert_eq!(challenge(&house, path, "nonsense").await, (401, "Bearer".to_owned()), "{path}");
        assert_eq!(ask(&house, "GET", &format!("{METADATA}{path}"), &[]).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn each_endpoint_has_a_document_that_the_challenge_leads_to() {
    let house = House::start().await;
    let name = "default".parse().unwrap();
    let first = TenantSpec { id: TenantId::fresh(), name, authorization_server: false, ..tenant() };
    let signing = Signing::new();
    house.put([Resource::Tenant(tenant()), Resource::Tenant(first), signing.resource()]);
    house.mount(&server("notes", "http://127.0.0.1:9/mcp"));
    // One of a server that is there, one of none, and what stands between our paths and a client's mistakes.
    for path in
        ["/t/acme/mcp", "/t/acme/servers/notes/mcp", "/t/acme/servers/none/mcp", "/t/acme/servers/gatehouse/mcp"]
    {
        let metadata = format!("{METADATA}{path}");
        let told = format!("Bearer resource_metadata=\"{}\"", house.at(&metadata));
        assert_eq!(challenge(&house, path, "").await, (401, format!("{told}, scope=\"mcp\"")));
        let shown = format!("{told}, error=\"invalid_token\", scope=\"mcp\"");
        for bearer in ["nonsense", "a.b.c", "ghk_live_x"] {
            assert_eq!(challenge(&house, path, bearer).await, (401, shown.clone()), "{path} {bearer}");
        }
        for headers in [vec![], vec![("authorization", "Bearer nonsense")]] {
            let answer = ask(&house, "GET", &metadata, &headers).await.expect(200);
            assert_eq!(answer.header("content-type"), "application/json");
            let expected = json!({
                "resource": house.at(path),
                "authorization_servers": ["http://127.0.0.1:5010/oauth/acme"],
                "scopes_supported": ["mcp"],
                "bearer_methods_supported": ["header"],
                "resource_name": "Gatehouse",
            });
            assert_eq!(answer.json(), expected, "{path}");
        }
        for method in ["POST", "DELETE", "PUT", "OPTIONS", "HEAD"] {
            assert_eq!(ask(&house, method, &metadata, &[]).await.status, 405, "{method} {path}");
        }
    }
    // As the client wrote the host, in small letters.
    let localhost = house.at("").replace("127.0.0.1", "LOCALHOST");
    let authority = localhost.strip_prefix("http://").unwrap();
    let metadata = format!("{METADATA}/t/acme/mcp");
    let document = ask(&house, "GET", &metadata, &[("host", authority)]).await.json();
    assert_eq!(document["resource"], format!("{}/t/acme/mcp", localhost.to_ascii_lowercase()));
    assert_eq!(ask(&house, "GET", &metadata, &[("host", "evil.example")]).await.status, 403);
    // Nobody signs in to the tenant of paths without one, nor where there is none, nor under odd names.
    for path in ["/mcp", "/servers/notes/mcp", "/t/nobody/mcp", "/t/default/mcp", "/t/acme/servers/a%22b/mcp"] {
        assert_eq!(challenge(&house, path, "").await, (401, "Bearer".to_owned()), "{path}");
        assert_eq!(ask(&house, "GET", &format!("{METADATA}{path}"), &[]).await.status, 404, "{path}");
    }
    assert_eq!(challenge(&house, "/list-remote-proxies", "").await, (401, "Bearer".to_owned()));
    // Without a key that signs there is no authorization server.
    house.remove([ResourceName::Signer(signing.spec.id)]);
    assert_eq!(ask(&house, "GET", &metadata, &[]).await.status, 404);
}

#[tokio::test]
async fn the_tenants_own_issuers_come_first() {
    let house = House::start().await;
    let (older, newer) = (Signing::new(), Signing::new());
    let older = Resource::Signer(model::SignerSpec { until: 1, url: "http://old.example".to_owned(), ..older.spec });
    house.put([older, newer.resource()]);
    let [mut one, two] = ["https://one.example", "https://two.example"].map(Issuing::new);
    let other = IssuerSpec { tenant: TenantId::fresh(), ..Issuing::new("https://other.example").spec };
    house.put([one.resource(), two.resource(), Resource::Issuer(other)]);
    let document = async || ask(&house, "GET", &format!("{METADATA}/t/acme/mcp"), &[]).await.expect(200).json();
    let said = document().await;
    let own = "http://127.0.0.1:5010/oauth/acme";
    assert_eq!(said["authorization_servers"], json!(["https://one.example", "https://two.example", own]));
    // A scope that the issuer does not know would keep everybody out.
    assert_eq!(said["scopes_supported"], Value::Null);
    assert!(!challenge(&house, "/t/acme/mcp", "").await.1.contains("scope"));
    one.spec.scope = Some("gateway:use".to_owned());
    house.put([one.resource()]);
    assert_eq!(document().await["scopes_supported"], json!(["gateway:use"]));
    let (_, told) = challenge(&house, "/t/acme/mcp", "").await;
    assert!(told.ends_with("scope=\"gateway:use\""), "{told}");
    // A token without it is told what is missing.
    house.put([Resource::User(user("ann"))]);
    let token = one.sign(&one.claims("ann", &house.at("/t/acme/mcp")));
    let metadata = house.at(&format!("{METADATA}/t/acme/mcp"));
    let missing =
        format!("Bearer error=\"insufficient_scope\", resource_metadata=\"{metadata}\", scope=\"gateway:use\"");
    assert_eq!(challenge(&house, "/t/acme/mcp", &token).await, (403, missing));
}

#[tokio::test]
async fn a_key_that_is_not_for_mcp_is_told_so() {
    let house = House::start().await;
    let Key { text, verifier } = house.key(KeyRole::TenantAdmin);
    let scopes = KeyScopes { mcp: false, rest: true, act_as: true };
    house.put([Resource::Key(KeyVerifier { scopes, ..verifier })]);
    for path in ["/mcp", "/t/acme/mcp", "/servers/gatehouse/mcp", "/list-remote-proxies"] {
        let told = "Bearer error=\"insufficient_scope\", scope=\"mcp\"".to_owned();
        assert_eq!(challenge(&house, path, &text).await, (403, told), "{path}");
    }
}
