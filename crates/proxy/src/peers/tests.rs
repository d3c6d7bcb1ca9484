//! Who keeps what, as the known proxies come and go.

use std::collections::HashMap;

use super::*;

/// The peers of a node that has none yet and trusts nobody.
pub(crate) fn alone(node: &str, address: Option<&str>) -> Arc<Peers> {
    let tls = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let (_, tls) = watch::channel(Arc::new(tls));
    Arc::new(Peers::new(node, address.map(str::to_owned), tls))
}

/// All nodes, each of which knows all.
fn pool(nodes: &[&str]) -> HashMap<String, Arc<Peers>> {
    let list: Vec<_> = nodes.iter().map(|node| listed(node)).collect();
    let all = nodes.iter().map(|node| {
        let peers = alone(node, Some(&address(node)));
        peers.told(list.clone());
        ((*node).to_owned(), peers)
    });
    all.collect()
}

fn address(node: &str) -> String {
    format!("{}.example:5015", node.replace('/', "-"))
}

fn listed(node: &str) -> wire::Peer {
    wire::Peer { node: node.to_owned(), address: address(node) }
}

/// Where a node sees a session.
fn place(peers: &Peers, named: &str, uid: u64) -> String {
    match peers.owner(NodeTag::of(named), Uid(uid.to_be_bytes())) {
        Place::Here => peers.node().to_owned(),
        Place::At(peer) => peer.node.clone(),
    }
}

const NODES: [&str; 3] = ["default/a", "default/b", "default/c"];

#[test]
fn a_session_is_kept_by_the_node_that_it_names_as_long_as_that_is_there() {
    let pool = pool(&NODES);
    for (at, uid) in NODES.iter().flat_map(|at| (0..20).map(move |uid| (at, uid))) {
        for named in NODES {
            assert_eq!(place(&pool[*at], named, uid), named);
        }
    }
}

#[test]
fn all_who_are_there_agree_who_takes_over() {
    let pool = pool(&NODES);
    let mut took = HashMap::new();
    for uid in 0..300 {
        let places: Vec<_> = NODES.iter().map(|at| place(&pool[*at], "default/gone", uid)).collect();
        assert!(places.iter().all(|place| *place == places[0]), "{uid}: {places:?}");
        *took.entry(places[0].clone()).or_insert(0) += 1;
    }
    assert!(took.len() == 3 && took.values().all(|count| *count > 50), "about the same for each: {took:?}");
}

#[test]
fn who_goes_moves_no_session_of_another() {
    let pool = pool(&NODES);
    let here = &pool["default/a"];
    let before: Vec<_> = (0..100).map(|uid| place(here, "default/gone", uid)).collect();
    here.named(NodeTag::of("default/b")).unwrap().lost();
    assert!(here.named(NodeTag::of("default/b")).is_none() && here.all().len() == 1);
    for (uid, before) in before.iter().enumerate() {
        let now = place(here, "default/gone", uid as u64);
        assert!(now == *before || before == "default/b", "{uid}: {before} and now {now}");
        assert_ne!(place(here, "default/b", uid as u64), "default/b");
        assert_eq!(place(here, "default/c", uid as u64), "default/c");
    }
}

#[test]
fn nobody_is_there_but_ourselves_until_somebody_is_told_of() {
    let peers = alone("default/a", Some("10.0.0.1:5015"));
    assert_eq!(place(&peers, "default/b", 1), "default/a");
    let peer = |node: &str, address: &str| wire::Peer { node: node.to_owned(), address: address.to_owned() };
    // Ourselves, who we were before a restart, and an address that is none.
    peers.told(vec![peer("default/a", "10.0.0.1:5015"), peer("default/old", "10.0.0.1:5015"), peer("default/x", "?")]);
    assert_eq!((peers.len(), place(&peers, "default/old", 1)), (0, "default/a".to_owned()));
    peers.told(vec![peer("default/b", "10.0.0.2:5015")]);
    assert_eq!(place(&peers, "default/b", 1), "default/b");
    peers.told(vec![]);
    assert_eq!(place(&peers, "default/b", 1), "default/a");
}

#[test]
fn who_stays_keeps_its_connections_and_who_follows_at_an_address_is_found() {
    let pool = pool(&NODES);
    let here = &pool["default/a"];
    let found = |node: &str| here.named(NodeTag::of(node));
    let before = found("default/b").unwrap();
    here.told(vec![listed("default/b")]);
    assert!(Arc::ptr_eq(&before, &found("default/b").unwrap()) && found("default/c").is_none());
    here.succeeded(&before, "default/b2");
    let after = found("default/b2").unwrap();
    assert_eq!((after.address.as_str(), found("default/b").is_none()), (before.address.as_str(), true));
    assert_eq!(place(here, "default/b2", 7), "default/b2");
    // Who says that it is us is believed nothing.
    here.succeeded(&after, "default/a");
    assert_eq!((here.len(), here.all().len()), (1, 0));
    here.certificates_changed();
    assert!(!Arc::ptr_eq(&after, &found("default/b2").unwrap()), "no connection of before is used");
}
