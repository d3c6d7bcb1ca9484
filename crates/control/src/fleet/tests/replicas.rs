//! Two replicas on one database, with proxies at either.

use std::sync::Arc;
use std::time::Duration;

use model::{ResourceName, Revision, Secret, Transport, UpstreamUrl};
use tonic::Code;
use wire::HeaderLines;

use super::PATIENCE;
use super::plane::Plane;
use super::proxy::Proxy;
use crate::fleet::housekeeping;
use crate::proxies::{CommandError, ProbeRequest, Proxies as _, Reach};

/// Two replicas, the second with a proxy that is up to date.
async fn two() -> (Plane, Plane, Proxy) {
    let one = Plane::start_shared().await;
    let two = one.replica().await;
    let mut proxy = Proxy::attach(&two, "default/b").await;
    let now = one.store.platform().revision().await.unwrap();
    proxy.reach(now).await;
    knows_of(&one, 1).await;
    (one, two, proxy)
}

/// Waits until the replica knows of so many proxies, wherever they are.
async fn knows_of(plane: &Plane, count: usize) {
    let known = async {
        while plane.fleet.attached().len() != count {
            tokio::time::sleep(Duration::from_millis(20)).await;
            housekeeping::look(&plane.fleet).await;
        }
    };
    tokio::time::timeout(PATIENCE, known).await.expect("it never knew of them");
}

fn probe(plane: &Plane) -> ProbeRequest {
    ProbeRequest {
        tenant: plane.tenant,
        url: UpstreamUrl::parse("http://127.0.0.1:9/").unwrap(),
        transport: Transport::Auto,
        headers: vec![],
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        lines: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_at_one_is_acknowledged_by_a_proxy_at_the_other() {
    let (one, two, mut proxy) = two().await;
    let mut own = Proxy::attach(&one, "default/a").await;
    let server = one.add_server("notes").await;
    let effective = one.fleet.effective(server.revision, server.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending), (2, 0));
    assert!(proxy.reach(server.revision).await.resources.contains_key(&server.name()));
    assert_eq!(own.reach(server.revision).await.pushes, 2);
    // And the other way round.
    let gone = two.remove_server(server.id).await;
    let effective = two.fleet.effective(gone, server.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending), (2, 0));
    knows_of(&one, 2).await;
    let attached = one.fleet.attached();
    let replicas: std::collections::HashSet<_> = attached.iter().map(|proxy| &proxy.replica).collect();
    assert_eq!((replicas.len(), attached[1].node.as_str()), (2, "default/b"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_at_one_is_known_at_the_other() {
    let one = Plane::start_shared().await;
    let two = one.replica().await;
    let bad = one.add_server("bad").await;
    let mut proxy = Proxy::attach_rejecting(&two, "default/b", bad.name()).await;
    proxy.reach(bad.revision).await;
    knows_of(&one, 1).await;
    let effective = one.fleet.effective(bad.revision, bad.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending, effective.rejected.len()), (0, 0, 1));
    assert_eq!(effective.rejected[0].proxy, "default/b");
    assert_eq!(effective.rejected[0].reason, "not today");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_left_the_other_is_waited_for_and_one_that_said_goodbye_is_not() {
    let (one, two, proxy) = two().await;
    let other = Proxy::attach(&two, "default/c").await;
    knows_of(&one, 2).await;
    proxy.hang_up().await;
    other.goodbye().await;
    knows_of(&one, 0).await;
    let server = one.add_server("notes").await;
    let effective = one.fleet.effective(server.revision, server.name(), Duration::ZERO).await;
    assert_eq!((effective.live, effective.pending), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_proxies_has_those_of_others_do_things() {
    let (one, _two, proxy) = two().await;
    let server = one.add_server("notes").await;
    one.fleet.effective(server.revision, server.name(), PATIENCE).await;
    let probed = one.fleet.probe(probe(&one)).await;
    assert!(matches!(probed, Err(CommandError::Upstream { class, .. }) if class == "refused"), "it was asked");
    let principal = one.principal();
    let listed = one.fleet.list_tools(one.tenant, server.id, principal.clone()).await.unwrap();
    assert_eq!(listed, "[\"tools\"]");
    let called = one.fleet.call(one.tenant, server.id, principal.clone(), "echo", "{}").await.unwrap();
    assert_eq!(called, "{\"result\":\"echo\"}");
    // The ticket is redeemed where the proxy is attached.
    let ticket = proxy.state().tickets.into_iter().find(|ticket| !ticket.is_empty()).unwrap();
    assert!(proxy.resolve(&ticket, &principal, server.id).await.is_ok());
    let observed = one.fleet.observe(Reach::All).await;
    assert_eq!((observed.len(), observed[0].answered, observed[0].mounts.len()), (1, true, 1));
    assert!(one.fleet.observe(Reach::Own).await.is_empty());
    assert_eq!(one.store.platform().open_commands().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probes_secret_reaches_a_proxy_of_another_replica_and_lies_in_no_row_in_clear() {
    let (one, _two, proxy) = two().await;
    let lines = HeaderLines {
        credential_version: 0,
        token_generation: 0,
        headers: vec![("authorization".into(), Secret::new("Bearer canary-secret".into()))],
        query: vec![],
        certificate: None,
        fresh: Duration::ZERO,
        good: Duration::ZERO,
        stale: Duration::ZERO,
    };
    let request = ProbeRequest { lines: Some(Arc::new(lines)), ..probe(&one) };
    let open = ProbeRequest { headers: vec![("x-public".into(), "open-mark".into())], ..probe(&one) };
    for (request, lines) in [(request, vec!["authorization: Bearer canary-secret".to_owned()]), (open, vec![])] {
        let probed = one.fleet.probe(request).await;
        assert!(matches!(probed, Err(CommandError::Upstream { class, .. }) if class == "refused"), "it was asked");
        assert_eq!(proxy.state().lines, lines);
    }
    assert_eq!(proxy.state().probes, 2);
    let written = one.dir_bytes();
    let holds = |mark: &[u8]| written.windows(mark.len()).any(|window| window == mark);
    assert!(holds(b"open-mark"), "rows are looked at where they are");
    assert!(!holds(b"canary-secret"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_to_a_replica_that_has_just_started_waits_for_its_first_reading() {
    let (one, _two, _proxy) = two().await;
    let known = one.fleet.intended.send_replace(None);
    let reading = async { one.fleet.intended.send_replace(known) };
    let (probed, _) = tokio::join!(one.fleet.probe(probe(&one)), reading);
    assert!(matches!(probed, Err(CommandError::Upstream { class, .. }) if class == "refused"), "it was asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resync_reaches_the_proxies_of_others_and_is_answered_when_it_has_healed() {
    let (one, _two, proxy) = two().await;
    let lost = one.add_server("lost").await;
    one.fleet.effective(lost.revision, lost.name(), PATIENCE).await;
    proxy.lose(lost.name());
    one.fleet.resync("default/b", Some(Some(one.tenant))).await;
    let state = proxy.state();
    assert!(state.resources.contains_key(&lost.name()));
    assert_eq!((state.prunes, state.last_push), (1, vec![lost.name()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_dies_with_a_command_loses_what_may_be_repeated_to_another() {
    let one = Plane::start_shared().await;
    let server = one.add_server("notes").await;
    for call in [false, true] {
        // A replica with a runtime of its own dies as a process does: without a word.
        let process = tokio::runtime::Runtime::new().unwrap();
        let two = {
            let _inside = process.enter();
            tokio::task::block_in_place(|| process.block_on(one.replica()))
        };
        let node = format!("default/{call}");
        let mut proxy = Proxy::attach(&two, &node).await;
        proxy.reach(server.revision).await;
        knows_of(&one, 1).await;
        proxy.mute();
        let asked = tokio::spawn({
            let (fleet, tenant, principal) = (one.fleet.clone(), one.tenant, one.principal());
            let request = probe(&one);
            async move {
                match call {
                    true => fleet.call(tenant, server.id, principal, "echo", "{}").await.map(|_| ()),
                    false => fleet.probe(request).await.map(|_| ()),
                }
            }
        });
        proxy.wait(|state| state.calls + state.probes == 1).await;
        process.shutdown_background();
        drop(two);
        proxy.wait(|state| !state.attached).await;
        // The proxy serves on and comes back to the replica that is left.
        proxy.reattach(&one).await;
        let answer = tokio::time::timeout(PATIENCE, asked).await.expect("nobody noticed").unwrap();
        if call {
            assert!(matches!(answer, Err(CommandError::Rejected(why)) if why.contains("not known")));
            assert_eq!(proxy.state().calls, 1, "a call never runs twice");
        } else {
            // It is mute still.
            assert!(matches!(answer, Err(CommandError::TimedOut)), "{answer:?}");
            assert_eq!(proxy.state().probes, 2, "a probe may be repeated");
        }
        proxy.goodbye().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_moves_on_is_no_longer_held_by_the_first() {
    let (one, two, mut proxy) = two().await;
    let mut moved = Proxy::attach(&one, "default/b").await;
    housekeeping::write(&one.fleet).await;
    assert_eq!(proxy.ended().await, Code::Aborted);
    let server = two.add_server("notes").await;
    moved.reach(server.revision).await;
    let effective = two.fleet.effective(server.revision, server.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending), (1, 0));
    assert_eq!(one.fleet.attached().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_one_raises_reaches_the_proxies_of_all() {
    let (one, _two, mut proxy) = two().await;
    let server = one.add_server("kept").await;
    let before = proxy.reach(server.revision).await;
    let ahead = Revision { seq: server.revision.seq + 1_000, ..server.revision };
    let lost = ResourceName::Server(model::ServerId::fresh());
    let mut restored = Proxy::attach_holding(&one, "default/a", ahead, lost).await;
    let state = restored.wait(|state| state.at.epoch > ahead.epoch).await;
    assert!(state.resources.contains_key(&server.name()) && !state.resources.contains_key(&lost));
    let state = proxy.wait(|state| state.at.epoch > ahead.epoch).await;
    assert_eq!(state.snapshots, before.snapshots + 1, "every proxy gets a snapshot");
    assert_eq!(state.resources, before.resources);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_lost_changes_is_noticed_without_any_proxy() {
    let (one, two, mut proxy) = two().await;
    let server = one.add_server("kept").await;
    proxy.reach(server.revision).await;
    one.published().await;
    // As after a restored backup: more was published than the database knows of.
    let known = one.fleet.known();
    let published = Revision { seq: known.revision.seq + 10, ..known.revision };
    let state = store::IntendedState { revision: published, ..one.store.platform().intended().await.unwrap() };
    one.fleet.intended.send_replace(Some(std::sync::Arc::new(known.replaced(state))));
    for plane in [&one, &two] {
        let mut intended = plane.fleet.intended.subscribe();
        let seen =
            intended.wait_for(|known| known.as_ref().is_some_and(|known| known.revision.epoch > published.epoch));
        tokio::time::timeout(PATIENCE, seen).await.expect("nobody noticed").unwrap();
    }
    let state = proxy.wait(|state| state.at.epoch > published.epoch).await;
    assert!(state.resources.contains_key(&server.name()));
}
