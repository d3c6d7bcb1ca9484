//! Who is refused on the link, and how.

use model::{ConnectionId, Principal};
use tonic::Code;
use wire::{Answer, CommandAnswer, FromProxy, Outcome, Report, Verdict};

use super::PATIENCE;
use super::plane::Plane;
use super::proxy::{Proxy, Wants};
use crate::proxies::{Proxies as _, Reach};

async fn refusal(plane: &Plane, wants: Wants<'_>) -> tonic::Status {
    Proxy::start(plane, wants).await.err().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_get_nothing() {
    let plane = Plane::start().await;
    let other = Plane::start().await;
    plane.add_server("secret").await;
    // A certificate of another CA, and none at all, end in the handshake.
    assert!(plane.try_channel(other.client_tls_trusting(&plane)).await.is_err());
    assert!(plane.try_channel(plane.client_tls_without_certificate()).await.is_err());
    // A control of another CA is not spoken to.
    assert!(plane.try_channel(other.client_tls("default")).await.is_err());
    assert_eq!(plane.fleet.counters.sessions.get(), 0);
    // The same request of one that belongs here is answered.
    plane.try_channel(plane.client_tls("default")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_named_after_the_pool_of_its_certificate() {
    let plane = Plane::start().await;
    let status = refusal(&plane, Wants { pool: "edge", ..Wants::new("default/a") }).await;
    assert_eq!(status.code(), Code::PermissionDenied);
    assert_eq!((plane.fleet.counters.refused.get(), plane.fleet.counters.foreign.get()), (1, 1));
    assert!(plane.fleet.attached().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_for_credentials_of_others_or_too_often_is_refused_and_counted() {
    let plane = Plane::start().await;
    let elsewhere = plane.add_tenant("edge-only", &["edge"]).await;
    let server = plane.add_server("notes").await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    proxy.reach(server.revision).await;
    let (ours, foreign) = (plane.principal(), Principal { tenant: elsewhere, ..plane.principal() });
    assert!(proxy.resolve("", &ours, server.id).await.is_ok());
    for (why, refused) in [
        ("another pool's tenant", proxy.resolve("", &foreign, server.id).await),
        ("a node of another pool", proxy.resolve_as("edge/a", "", &ours, server.id).await),
        ("a ticket that nobody made", proxy.resolve("made-up", &ours, server.id).await),
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied, "{why}");
    }
    assert_eq!(plane.fleet.counters.foreign.get(), 3);
    let verdict = |tenant| Verdict {
        tenant,
        server: server.id,
        connection: ConnectionId::fresh(),
        token_generation: 1,
        refused: None,
    };
    let report = |tenant| Report { node: "default/a".into(), verdicts: vec![verdict(tenant)] };
    proxy.report(&report(plane.tenant)).await.unwrap();
    assert_eq!(proxy.report(&report(elsewhere)).await.unwrap_err().code(), Code::PermissionDenied);
    // A second's questions are soon asked.
    let mut codes = Vec::new();
    for _ in 0..1_000 {
        codes.extend(proxy.resolve("", &ours, server.id).await.err().map(|status| status.code()));
        if codes.len() > 3 {
            break;
        }
        let burst = (0..50).map(|_| proxy.resolve("", &ours, server.id));
        let burst = futures::future::join_all(burst).await;
        codes.extend(burst.into_iter().filter_map(|asked| asked.err().map(|status| status.code())));
    }
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == Code::ResourceExhausted), "{codes:?}");
    let other = Proxy::attach(&plane, "default/b").await;
    assert!(other.resolve("", &ours, server.id).await.is_ok(), "another node has a share of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn disjoint_protocols_are_refused_with_both_ranges() {
    let plane = Plane::start().await;
    let ours = format!("{} to {}", wire::PROTOCOL_LOWEST, wire::PROTOCOL_HIGHEST);
    let status = refusal(&plane, Wants { protocol: (7, 9), ..Wants::new("default/a") }).await;
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("7 to 9") && status.message().contains(&ours), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_of_a_node_ends_the_first() {
    let plane = Plane::start().await;
    let mut older = Proxy::attach(&plane, "default/a").await;
    older.wait(|state| state.pushes == 1).await;
    let mut newer = Proxy::attach(&plane, "default/a").await;
    assert_eq!(older.ended().await, Code::Aborted);
    let server = plane.add_server("one").await;
    newer.reach(server.revision).await;
    let attached = plane.fleet.attached();
    assert_eq!((attached.len(), attached[0].duplicate_node), (1, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_with_one_node_id_are_flagged() {
    let plane = Plane::start().await;
    let mut streams = vec![];
    for taken in 0..5 {
        assert_eq!(plane.fleet.attached().iter().filter(|proxy| proxy.duplicate_node).count(), 0, "after {taken}");
        streams.push(Proxy::attach(&plane, "default/a").await);
    }
    assert!(plane.fleet.attached()[0].duplicate_node, "the fourth within a minute");
    for older in &mut streams[..4] {
        assert_eq!(older.ended().await, Code::Aborted);
    }
    assert_eq!(plane.fleet.counters.replaced.get(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_to_other_pushes_are_ignored_and_counted() {
    let plane = Plane::start().await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    let first = plane.add_server("first").await;
    plane.fleet.effective(first.revision, first.name(), PATIENCE).await;
    let state = proxy.reach(first.revision).await;
    let stray = |nonce| {
        let revision = model::Revision { seq: state.at.seq + 100, ..state.at };
        FromProxy::Answer(Answer { nonce, revision, rejected: vec![], refusal: None, held: vec![] })
    };
    proxy.say(stray(1)).await;
    proxy.say(stray(4_711)).await;
    let server = plane.add_server("one").await;
    proxy.reach(server.revision).await;
    let effective = plane.fleet.effective(server.revision, server.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending), (1, 0));
    assert_eq!(plane.fleet.counters.nonce_mismatches.get(), 2);
    assert_eq!(plane.fleet.attached()[0].applied, server.revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_more_than_four_mebibytes_ends_the_stream() {
    let plane = Plane::start().await;
    let mut proxy = Proxy::attach(&plane, "default/a").await;
    proxy.wait(|state| state.pushes == 1).await;
    let outcome = Outcome::Listed(vec![b' '; wire::MESSAGE_LIMIT + 1]);
    proxy.say(FromProxy::Command(CommandAnswer { id: 1, outcome })).await;
    assert_eq!(proxy.ended().await, Code::ResourceExhausted);
    // And the next one is served as ever.
    proxy.reattach(&plane).await;
    assert_eq!(plane.fleet.observe(Reach::Own).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_certificate_and_an_overlapping_ca_need_no_restart() {
    let (old, new) = (Plane::start().await, Plane::start().await);
    let first = Proxy::attach(&old, "default/a").await;
    // Both CAs are trusted, and control's certificate is of the new one.
    let both = format!("{}{}", new.pki.ca(), old.pki.ca());
    let cert = new.dir_file("control.pem");
    old.serve_with(wire::server_tls(&both, &cert, &new.dir_file("control.key")).unwrap());
    assert!(old.try_channel(old.client_tls("default")).await.is_err(), "it does not know the new CA");
    for of in [&old, &new] {
        let node = of.pki.issue_node("default").unwrap();
        old.try_channel(wire::client_tls(&both, &node.cert, &node.key).unwrap()).await.unwrap();
    }
    assert!(first.state().attached, "streams that are open stay");
}
