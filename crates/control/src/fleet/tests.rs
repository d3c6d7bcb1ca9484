//! The fleet over real mutual TLS and a real database, against proxies that a test can hold in its hand.

mod peers;
mod plane;
mod pools;
mod proxy;
mod replicas;
mod storm;
mod strangers;

use std::collections::BTreeSet;
use std::time::Duration;

use model::{ResourceName, Revision, Transport, UpstreamUrl};
use tonic::Code;
use wire::{Outcome, Work};

use self::plane::Plane;
use self::proxy::Proxy;
use super::housekeeping;
use crate::proxies::{CommandError, ProbeRequest, Proxies as _, Reach};

/// Longer than anything here takes; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn an_attached_proxy_gets_a_snapshot_and_then_what_changes() {
    let plane = Plane::start().await;
    let first = plane.add_server("first").await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    let state = proxy.reach(first.revision).await;
    assert_eq!((state.snapshots, state.resources.len()), (1, 2));

    let second = plane.add_server("second").await;
    let effective = plane.fleet.effective(second.revision, second.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending, effective.rejected.len()), (1, 0, 0));
    let state = proxy.reach(second.revision).await;
    assert_eq!((state.snapshots, state.pushes, state.last_push), (1, 2, vec![second.name()]));

    let gone = plane.remove_server(first.id).await;
    let state = proxy.reach(gone).await;
    assert!(!state.resources.contains_key(&first.name()) && state.resources.contains_key(&second.name()));
    plane.fleet.effective(gone, first.name(), PATIENCE).await;
    let attached = plane.fleet.attached();
    assert_eq!((attached.len(), attached[0].mounts, attached[0].applied), (1, 1, gone));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lag_of_a_change_counts_once_when_the_last_proxy_has_it() {
    let plane = Plane::start().await;
    let (mut first, mut second) = (Proxy::attach(&plane, "default/a").await, Proxy::attach(&plane, "default/b").await);
    let (key, made) = plane.add_key().await;
    first.reach(made).await;
    second.reach(made).await;
    let counters = plane.fleet.counters();
    let (config, revoke) = (|| seen(&counters.config_lag), || seen(&counters.revoke_lag));
    let before = counted("the key's lag counts", || (config() > 0).then(config)).await;
    assert_eq!(revoke(), 0);
    plane.revoke_key(key).await;
    counted("the revocation's lag counts", || (revoke() == 1).then_some(())).await;
    assert_eq!((config(), plane.fleet.lag.len()), (before, 0));

    let metrics = telemetry::Metrics::new();
    plane.fleet.show(&metrics);
    let text = metrics.render();
    assert!(text.contains("gatehouse_revoke_lag_seconds_count 1"), "{text}");
    for bound in ["proxy_requests", "proxy_commands", "proxy_messages", "relayed_commands", "changes_under_way"] {
        assert!(text.contains(&format!("gatehouse_bound_used{{bound=\"{bound}\"")), "{bound}\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_wait_for_their_answers_are_shown() {
    let plane = Plane::start().await;
    let added = plane.add_server("notes").await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    proxy.reach(added.revision).await;
    proxy.mute();
    let (fleet, principal) = (plane.fleet.clone(), plane.principal());
    let waiting = tokio::spawn(async move { fleet.call(principal.tenant, added.id, principal, "echo", "{}").await });
    counted("a command waits", || (plane.fleet.roster.fullest().commands == 1).then_some(())).await;
    waiting.abort();
}

fn seen(latency: &super::Latency) -> u64 {
    latency.read().0.iter().sum()
}

async fn counted<T>(what: &str, mut until: impl FnMut() -> Option<T>) -> T {
    let look = async {
        loop {
            if let Some(found) = until() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| panic!("it never came: {what}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_resource_spoils_no_other_and_is_reported() {
    let plane = Plane::start().await;
    let bad = plane.add_server("bad").await;
    let mut proxy = Proxy::attach_rejecting(&plane, "default/a", bad.name()).await;
    proxy.reach(bad.revision).await;
    let good = plane.add_server("good").await;
    let effective = plane.fleet.effective(good.revision, good.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.rejected.len()), (1, 0));
    let effective = plane.fleet.effective(bad.revision, bad.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending), (0, 0));
    assert_eq!(effective.rejected[0].reason, "not today");
    let state = proxy.reach(good.revision).await;
    assert!(state.resources.contains_key(&good.name()) && !state.resources.contains_key(&bad.name()));
    assert_eq!(state.last_push, vec![good.name()], "what was rejected is not pushed again");
    assert_eq!(plane.fleet.attached()[0].rejected, vec![(bad.name(), "not today".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_of_control_only_differences_are_pushed() {
    let mut plane = Plane::start().await;
    plane.add_server("one").await;
    let two = plane.add_server("two").await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    proxy.reach(two.revision).await;
    plane.stop().await;
    proxy.wait(|state| !state.attached).await;
    let three = plane.add_server("three").await;
    plane.serve().await;
    proxy.reattach(&plane).await;
    let state = proxy.reach(three.revision).await;
    assert_eq!((state.snapshots, state.last_push), (1, vec![three.name()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_ahead_of_a_restored_database_raises_the_epoch() {
    let plane = Plane::start().await;
    let server = plane.add_server("one").await;
    let ahead = Revision { seq: server.revision.seq + 1_000, ..server.revision };
    let lost = ResourceName::Server(model::ServerId::fresh());
    let mut proxy = Proxy::attach_holding(&plane, "default/a", ahead, lost).await;
    let state = proxy.wait(|state| state.at.epoch > ahead.epoch).await;
    assert_eq!(state.snapshots, 1);
    assert!(state.resources.contains_key(&server.name()) && !state.resources.contains_key(&lost));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_are_answered_by_id_and_carry_a_ticket_for_few_questions() {
    let plane = Plane::start().await;
    let server = plane.add_server("one").await;
    let principal = plane.principal();
    let list = || plane.fleet.list_tools(plane.tenant, server.id, principal.clone());
    assert!(matches!(list().await, Err(CommandError::NoProxyAttached)));
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    proxy.reach(server.revision).await;
    let (first, second) =
        tokio::join!(list(), plane.fleet.call(plane.tenant, server.id, principal.clone(), "echo", "{}"));
    assert_eq!(first.unwrap(), "[\"tools\"]");
    assert_eq!(second.unwrap(), "{\"result\":\"echo\"}");
    let probe = ProbeRequest {
        tenant: plane.tenant,
        url: UpstreamUrl::parse("http://127.0.0.1:9/").unwrap(),
        transport: Transport::Auto,
        headers: vec![],
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        lines: None,
    };
    let failed = plane.fleet.probe(probe).await;
    assert!(matches!(failed, Err(CommandError::Upstream { class, .. }) if class == "refused"));

    let ticket = proxy.state().tickets[0].clone();
    for _ in 0..4 {
        assert!(proxy.resolve(&ticket, &principal, server.id).await.is_ok());
    }
    assert_eq!(proxy.resolve(&ticket, &principal, server.id).await.unwrap_err().code(), Code::PermissionDenied);
    assert!(proxy.resolve("", &principal, server.id).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_brings_back_what_a_proxy_has_lost() {
    let plane = Plane::start().await;
    let lost = plane.add_server("lost").await;
    let kept = plane.add_server("kept").await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    proxy.reach(kept.revision).await;
    plane.fleet.resync("default/a", None).await;
    assert_eq!(proxy.state().pushes, 1, "nothing was wrong");
    proxy.lose(lost.name());
    plane.fleet.resync("default/a", Some(None)).await;
    let state = proxy.state();
    assert!(state.resources.contains_key(&lost.name()));
    assert_eq!((state.last_push, state.prunes), (vec![lost.name()], 1));
    let observed = plane.fleet.observe(Reach::Own).await;
    assert!(observed[0].answered && observed[0].mounts.len() == 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_is_pushed_as_urgent() {
    let plane = Plane::start().await;
    let (key, created) = plane.add_key().await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    assert!(!proxy.reach(created).await.urgent);
    let revoked = plane.revoke_key(key).await;
    let state = proxy.reach(revoked).await;
    assert!(state.urgent && !state.resources.contains_key(&ResourceName::Key(key)));
}

#[tokio::test(flavor = "multi_thread")]
async fn all_proxies_seal_with_the_same_keys() {
    let plane = Plane::start().await;
    let (a, b) = (Proxy::attach(&plane, "default/a").await, Proxy::attach(&plane, "default/b").await);
    let keys = a.sealing_keys().await.unwrap();
    assert_eq!(b.sealing_keys().await.unwrap(), keys);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_ends_its_stream_without_a_goodbye_is_waited_for() {
    let plane = Plane::start().await;
    Proxy::attach(&plane, "default/a").await.hang_up().await;
    Proxy::attach(&plane, "default/b").await.goodbye().await;
    let server = plane.add_server("one").await;
    let effective = plane.fleet.effective(server.revision, server.name(), Duration::ZERO).await;
    assert_eq!((effective.live, effective.pending), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_control_waits_for_the_proxies_that_were_attached() {
    let mut plane = Plane::start().await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    let gone = Proxy::attach(&plane, "default/b").await;
    housekeeping::write(&plane.fleet).await;
    gone.goodbye().await;
    plane.stop().await;
    proxy.wait(|state| !state.attached).await;
    plane.serve().await;
    let server = plane.add_server("one").await;
    let effective = plane.fleet.effective(server.revision, server.name(), Duration::ZERO).await;
    assert_eq!((effective.live, effective.pending), (0, 1));
    proxy.reattach(&plane).await;
    let effective = plane.fleet.effective(server.revision, server.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_proxies_all_become_effective() {
    let plane = std::sync::Arc::new(Plane::start().await);
    let mut proxies = Vec::new();
    // One of them lives in a runtime of its own, which can die as a process does.
    let process = tokio::runtime::Runtime::new().unwrap();
    let doomed = process.spawn({
        let plane = plane.clone();
        async move { Proxy::attach(&plane, "default/doomed").await }
    });
    let doomed = doomed.await.unwrap();
    for number in 1..50 {
        proxies.push(Proxy::attach(&plane, &format!("default/{number}")).await);
    }
    let nodes: BTreeSet<_> = plane.fleet.attached().into_iter().map(|proxy| proxy.node).collect();
    assert_eq!(nodes.len(), 50);
    for name in ["one", "two", "three"] {
        let server = plane.add_server(name).await;
        let effective = plane.fleet.effective(server.revision, server.name(), PATIENCE).await;
        assert_eq!((effective.live, effective.pending), (50, 0));
    }
    // A proxy that says goodbye is not waited for; one that is cut off is.
    proxies.pop().unwrap().goodbye().await;
    process.shutdown_background();
    drop(doomed);
    let server = plane.add_server("four").await;
    let effective = plane.fleet.effective(server.revision, server.name(), Duration::from_millis(500)).await;
    assert_eq!((effective.live, effective.pending), (48, 1));
}

/// What a proxy of these tests answers to a command.
fn answer_to(work: &Work) -> Outcome {
    match work {
        Work::List { .. } => Outcome::Listed(b"[\"tools\"]".to_vec()),
        Work::Call { tool, .. } => Outcome::Called(format!("{{\"result\":\"{tool}\"}}").into_bytes()),
        Work::Probe(_) => Outcome::Failed { class: "refused".into(), message: "nobody listens".into() },
        _ => Outcome::Pruned(0),
    }
}
