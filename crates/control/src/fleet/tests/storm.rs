//! A thousand proxies that come back at once.

use std::time::Duration;

use super::PATIENCE;
use super::plane::Plane;
use super::proxy::{Proxy, Wants};
use crate::proxies::Proxies as _;

const PROXIES: usize = 1_000;
/// Streams of one connection.
const STREAMS: usize = 50;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_proxies_that_attach_cost_the_database_what_one_does() {
    let mut plane = Plane::start().await;
    for number in 0..20 {
        plane.add_server(&format!("server-{number}")).await;
    }
    plane.stop().await;
    let statements = |plane: &Plane| plane.store.tally().statements().0.iter().sum::<u64>();
    let before = statements(&plane);
    plane.serve().await;
    let mut proxies = vec![];
    for connection in 0..PROXIES / STREAMS {
        let channel = plane.channel("default").await;
        let nodes: Vec<_> = (0..STREAMS).map(|stream| format!("default/{connection}-{stream}")).collect();
        let attached = nodes.iter().map(|node| {
            let wants = Wants { channel: Some(channel.clone()), ..Wants::new(node) };
            Proxy::start(&plane, wants)
        });
        proxies.extend(futures::future::join_all(attached).await.into_iter().map(Result::unwrap));
    }
    let now = plane.fleet.known().revision;
    for proxy in &mut proxies {
        let state = proxy.reach(now).await;
        assert_eq!((state.snapshots, state.resources.len()), (1, 21));
    }
    let counters = &plane.fleet.counters;
    assert_eq!((counters.whole_reads.get(), counters.snapshots.get()), (1, PROXIES as u64));
    // Beside that only what happens by the clock, more of it on a busy machine: nothing comes with each proxy but the
    // test's own look at the revision.
    let asked = statements(&plane) - before - PROXIES as u64;
    assert!(asked < PROXIES as u64 / 5, "{asked} statements");

    // One change is read once, and reaches all of them.
    let server = plane.add_server("one-more").await;
    let effective = plane.fleet.effective(server.revision, server.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending), (PROXIES as u32, 0));
    assert_eq!(counters.whole_reads.get(), 1);
    drop(proxies);
    plane.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_are_sent_in_turns_and_nobody_is_forgotten() {
    let plane = Plane::start().await;
    let server = plane.add_server("notes").await;
    // More than may be served at once, all of them slow.
    let mut proxies = vec![];
    let channels = [plane.channel("default").await, plane.channel("default").await];
    for number in 0..80 {
        let node = format!("default/{number}");
        let wants = Wants { channel: Some(channels[number % 2].clone()), ..Wants::new(&node) };
        proxies.push(Proxy::start(&plane, wants).await.unwrap());
    }
    for proxy in &mut proxies {
        assert_eq!(proxy.reach(server.revision).await.snapshots, 1);
    }
    let all_free = async {
        while plane.fleet.sends.available_permits() != super::super::SENDS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_free).await.expect("a turn is never given back");
}
