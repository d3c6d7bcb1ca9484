//! A tenant that has not heard of control for longer than it trusts its table fails closed, by itself.

use std::time::Duration;

use model::{KeyRole, KeyText, KeyVerifier, Resource, TenantId, TenantSpec};
use serde_json::json;
use tests::{Mcp, patient};

use crate::house::{House, MORNING, tenant};

#[tokio::test]
async fn a_tenant_fails_closed_after_its_own_time_and_the_others_go_on() {
    let house = House::start().await;
    let tenants = [("soon", Some(Duration::from_secs(60))), ("late", Some(Duration::from_secs(3600))), ("never", None)];
    let mut sessions = Vec::new();
    for (name, stale_after) in tenants {
        let spec = TenantSpec { id: TenantId::fresh(), name: name.parse().unwrap(), stale_after, ..tenant() };
        let text = KeyText::mint("test", *uuid::Uuid::new_v4().as_bytes(), [9; 32]);
        let verifier = KeyVerifier {
            id: text.id(),
            tenant: spec.id,
            user: None,
            role: KeyRole::User,
            scopes: model::KeyScopes::PLAIN,
            sha256: text.sha256(),
            servers: None,
            expires_at: None,
        };
        house.put([Resource::Tenant(spec), Resource::Key(verifier)]);
        sessions.push((name, Mcp::open(&house.at("/mcp"), text.expose().expose()).await));
    }
    let serves = async |expected: [bool; 3]| {
        for ((name, mcp), expected) in sessions.iter().zip(expected) {
            let answer = mcp.post(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).await.unwrap();
            if expected {
                assert_eq!(answer.status, 200, "{name}");
            } else {
                assert_eq!(
                    (answer.status.as_u16(), answer.json()["error"]["code"].clone()),
                    (503, json!(-31012)),
                    "{name}"
                );
                assert_eq!(answer.json()["error"]["data"]["error"], "config_stale", "{name}");
            }
        }
    };
    serves([true, true, true]).await;
    house.clock.advance_micros(61_000_000);
    serves([false, true, true]).await;
    house.clock.advance_micros(3_600_000_000);
    serves([false, false, true]).await;
    house.readiness.heard(MORNING + 3_661_000_000);
    serves([true, true, true]).await;
}

#[tokio::test]
async fn the_streams_of_a_tenant_that_fails_closed_end() {
    let house = House::start().await;
    let mcp = house.session_on_all().await;
    let mut stream = mcp.listen().await;
    house.clock.advance_micros(86_400_000_001);
    patient("the stream ends", async { while stream.next().await.is_some() {} }).await;
    assert_eq!(mcp.try_listen().await.err(), Some(503));
}
