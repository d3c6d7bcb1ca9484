//! What happens between a name and a connection.

use std::sync::Arc;

use egress::{EgressError, Policy, Refusal, Sent};
use model::{EgressRule, EgressRuleId};

use crate::server::Server;
use crate::world::{World, dev, post, reach, text, upstream};

/// Plain http to public names, so that a world without certificates can be used.
fn http_everywhere() -> Policy {
    let rule = EgressRule {
        id: EgressRuleId::fresh(),
        host: "0.0.0.0/0".parse().unwrap(),
        ports: None,
        http: true,
        tenant: None,
    };
    Policy { rules: vec![rule], ..Policy::default() }
}

#[tokio::test]
async fn one_inner_address_among_public_ones_refuses_the_name() {
    for answers in [
        &["93.184.215.14", "10.0.0.1"][..],
        &["10.0.0.1", "93.184.215.14"],
        &["93.184.215.14", "93.184.215.15", "2606:4700::1111", "127.0.0.1"],
        &["93.184.215.14", "::ffff:10.0.0.1"],
        &["93.184.215.14", "169.254.169.254"],
    ] {
        let world = Arc::new(World::default().answer("mcp.example.com", &[answers]));
        let refusal = reach(&world, Policy::default(), "https://mcp.example.com/").await.unwrap_err();
        assert_eq!(refusal.code(), "address_blocked", "{answers:?}");
        assert!(world.dialled().is_empty(), "{answers:?}");
    }
}

#[tokio::test]
async fn a_name_that_turns_inward_is_refused_at_the_next_connection() {
    let server = Server::echo().await;
    let world = World::routed_to(server.addr).answer("mcp.example.com", &[&["93.184.215.14"], &["127.0.0.1"]]);
    let world = Arc::new(world);
    let egress = world.egress(http_everywhere());
    let upstream = upstream(&egress, "http://mcp.example.com/");
    let first = upstream.send(post("/", "one")).await.unwrap();
    // The first connection is in use, so the second request needs a new one.
    let error = upstream.send(post("/", "two")).await.err().unwrap();
    assert!(matches!(error, EgressError::Blocked(Refusal::Address)), "{error:?}");
    assert_eq!((error.sent(), error.class()), (Sent::No, "address_blocked"));
    assert_eq!(text(first).await.unwrap(), "one");
    // The checked connection is still good: no name is resolved for it again.
    assert_eq!(text(upstream.send(post("/", "three")).await.unwrap()).await.unwrap(), "three");
    assert_eq!(world.dialled(), ["93.184.215.14:80".parse().unwrap()]);
}

#[tokio::test]
async fn ten_thousand_flips_of_a_name_dial_nothing_inside() {
    let flips: Vec<&[&str]> = [&["93.184.215.14"][..], &["127.0.0.1"]].into_iter().cycle().take(10_000).collect();
    let world = Arc::new(World::default().answer("mcp.example.com", &flips));
    let egress = world.egress(Policy::default());
    let upstream = upstream(&egress, "https://mcp.example.com/");
    for flip in 0..10_000 {
        let error = upstream.send(post("/", "")).await.err().unwrap();
        let refused = matches!(error, EgressError::Blocked(Refusal::Address));
        assert_eq!(refused, flip % 2 == 1, "{flip}: {error:?}");
    }
    assert!(world.dialled().iter().all(|addr| addr.ip().to_string() == "93.184.215.14"));
}

#[tokio::test]
async fn a_socket_with_another_peer_than_the_one_judged_is_not_used() {
    let server = Server::echo().await;
    let mut world = World::routed_to(server.addr);
    world.claimed_peer = Some("127.0.0.1:80".parse().unwrap());
    let egress = Arc::new(world).egress(http_everywhere());
    let error = upstream(&egress, "http://mcp.example.com/").send(post("/", "x")).await.err().unwrap();
    assert!(matches!(error, EgressError::Blocked(Refusal::Address)), "{error:?}");
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn a_literal_address_is_not_resolved() {
    let world = Arc::new(World::default());
    reach(&world, Policy::default(), "https://8.8.8.8/").await.unwrap();
    assert!(world.resolved().is_empty());
    assert_eq!(world.dialled(), ["8.8.8.8:443".parse().unwrap()]);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let world = Arc::new(World::default().answer("mcp.example.com", &[&["93.184.215.14", "93.184.215.15"]]));
    let egress = world.egress(Policy::default());
    let error = upstream(&egress, "https://mcp.example.com/").send(post("/", "")).await.err().unwrap();
    assert!(matches!(error, EgressError::Refused));
    assert_eq!((error.sent(), error.class()), (Sent::No, "refused"));
    assert_eq!(world.dialled().len(), 2);
}

#[tokio::test]
async fn a_name_without_addresses_is_a_dns_failure() {
    let world = Arc::new(World::default().answer("mcp.example.com", &[&[]]));
    let egress = world.egress(Policy::default());
    let error = upstream(&egress, "https://mcp.example.com/").send(post("/", "")).await.err().unwrap();
    assert_eq!((error.sent(), error.class()), (Sent::No, "dns"));
}

#[tokio::test]
async fn a_tightened_policy_retires_pooled_connections() {
    let server = Server::echo().await;
    let world = Arc::new(World::routed_to(server.addr));
    let egress = world.egress(http_everywhere());
    let upstream = upstream(&egress, "http://mcp.example.com/");
    text(upstream.send(post("/", "one")).await.unwrap()).await.unwrap();
    assert_eq!(upstream.idle(), 1);
    egress.set_policy(Policy { revision: 1, ..Policy::default() });
    let error = upstream.send(post("/", "two")).await.err().unwrap();
    assert!(matches!(error, EgressError::Blocked(Refusal::HttpsRequired)), "{error:?}");
    assert_eq!((upstream.idle(), server.requests()), (0, 1));
    egress.set_policy(Policy { revision: 2, ..http_everywhere() });
    text(upstream.send(post("/", "three")).await.unwrap()).await.unwrap();
    assert_eq!((server.connections(), server.requests()), (2, 2));
}

#[tokio::test]
async fn connections_that_rest_are_closed_with_the_policy_that_allowed_them() {
    let server = Server::echo().await;
    let world = Arc::new(World::routed_to(server.addr));
    let egress = world.egress(http_everywhere());
    let upstream = upstream(&egress, "http://mcp.example.com/");
    text(upstream.send(post("/", "one")).await.unwrap()).await.unwrap();
    egress.set_policy(Policy { revision: 1, ..Policy::default() });
    let closed = async {
        while upstream.idle() > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    // Left alone it would rest for four seconds.
    tokio::time::timeout(std::time::Duration::from_secs(3), closed).await.expect("it is closed by the sweep");
}

#[tokio::test]
async fn a_connection_checked_under_an_older_policy_is_not_kept() {
    let server = Server::echo().await;
    let egress = Arc::new(World::default()).egress(dev());
    let real = egress::Egress::new(dev()).unwrap();
    drop(egress);
    let upstream = upstream(&real, &server.url("/"));
    let response = upstream.send(post("/", "one")).await.unwrap();
    real.set_policy(Policy { revision: 1, ..dev() });
    assert_eq!(text(response).await.unwrap(), "one", "what is in flight finishes");
    text(upstream.send(post("/", "two")).await.unwrap()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_request_target_that_names_another_host_is_not_sent() {
    let server = Server::echo().await;
    let egress = egress::Egress::new(dev()).unwrap();
    let upstream = upstream(&egress, &server.url("/"));
    for target in ["http://169.254.169.254/latest", "169.254.169.254:80", "*"] {
        let error = upstream.send(post(target, "")).await.err().unwrap();
        assert!(matches!(error, EgressError::Target), "{target}: {error:?}");
        assert_eq!(error.sent(), Sent::No);
    }
    assert_eq!(server.connections(), 0);
}
