//! What proxies are told of each other.

use std::collections::BTreeMap;

use super::plane::Plane;
use super::proxy::{Proxy, State, Wants};
use crate::fleet::housekeeping;

/// Attaches and says that it is reached at its name.
async fn attach(plane: &Plane, node: &str) -> Proxy {
    let address = address(node);
    Proxy::start(plane, Wants { peer_address: Some(&address), ..Wants::new(node) }).await.unwrap()
}

fn address(node: &str) -> String {
    format!("{}.example:5015", node.replace('/', "-"))
}

fn known(nodes: &[&str]) -> BTreeMap<String, String> {
    nodes.iter().map(|node| ((*node).to_owned(), address(node))).collect()
}

async fn hears_of(proxy: &mut Proxy, nodes: &[&str]) -> State {
    let known = known(nodes);
    proxy.wait(|state| state.peers == known).await
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_a_pool_hear_of_each_other_and_of_no_other_pool() {
    let plane = Plane::start().await;
    let mut one = attach(&plane, "default/a").await;
    hears_of(&mut one, &["default/a"]).await;
    let mut two = attach(&plane, "default/b").await;
    let mut edge = attach(&plane, "edge/c").await;
    // One that is reached nowhere is told nothing, and nobody is told of it.
    let silent = Proxy::attach(&plane, "default/d").await;
    hears_of(&mut one, &["default/a", "default/b"]).await;
    hears_of(&mut two, &["default/a", "default/b"]).await;
    hears_of(&mut edge, &["edge/c"]).await;
    assert!(silent.state().peers.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_said_goodbye_is_gone_and_who_broke_off_may_come_back() {
    let plane = Plane::start().await;
    let (mut one, two) = (attach(&plane, "default/a").await, attach(&plane, "default/b").await);
    let three = attach(&plane, "default/c").await;
    hears_of(&mut one, &["default/a", "default/b", "default/c"]).await;
    two.goodbye().await;
    hears_of(&mut one, &["default/a", "default/c"]).await;
    three.hang_up().await;
    let mut four = attach(&plane, "default/d").await;
    hears_of(&mut four, &["default/a", "default/c", "default/d"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_at_several_replicas_hear_of_each_other() {
    let one = Plane::start_shared().await;
    let two = one.replica().await;
    let (mut here, mut there) = (attach(&one, "default/a").await, attach(&two, "default/b").await);
    let both = ["default/a", "default/b"];
    for (proxy, plane) in [(&mut here, &one), (&mut there, &two)] {
        while proxy.state().peers != known(&both) {
            // What the replicas do every two seconds.
            housekeeping::write(&one.fleet).await;
            housekeeping::write(&two.fleet).await;
            housekeeping::look(&plane.fleet).await;
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_that_starts_again_still_knows_who_was_there() {
    let mut plane = Plane::start().await;
    let (mut one, two) = (attach(&plane, "default/a").await, attach(&plane, "default/b").await);
    hears_of(&mut one, &["default/a", "default/b"]).await;
    housekeeping::write(&plane.fleet).await;
    plane.stop().await;
    drop(two);
    plane.serve().await;
    let mut three = attach(&plane, "default/c").await;
    hears_of(&mut three, &["default/a", "default/b", "default/c"]).await;
}
