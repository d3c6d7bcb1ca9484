//! Which differences a plan names.

use std::time::Duration;

use model::{Generation, Limits, Resource, ServerId, ServerSpec, TenantId, TenantSpec, Transport, UpstreamUrl};

use super::*;

fn spec(tenant: TenantId, name: &str) -> ServerSpec {
    ServerSpec {
        id: ServerId::fresh(),
        tenant,
        name: name.parse().unwrap(),
        title: name.to_owned(),
        generation: Generation(1),
        transport: Transport::StreamableHttp,
        url: UpstreamUrl::parse("http://127.0.0.1:1/mcp").unwrap(),
        headers: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        disabled_tools: Vec::new(),
        trust_hints: false,
        retry_count: 0,
        retry_delay: Duration::from_secs(1),
        limits: model::ServerLimits::default(),
        binding: None,
        eras: model::Eras::default(),
    }
}

fn mount(spec: &ServerSpec, internal: bool) -> ObservedMount {
    ObservedMount {
        tenant: spec.tenant,
        server: spec.id,
        name: spec.name.to_string(),
        title: spec.title.clone(),
        url: spec.url.as_str().to_owned(),
        digest: spec.digest(),
        internal,
        cooling_ms: None,
        spec: None,
    }
}

fn proxy(mounts: Vec<ObservedMount>) -> ObservedProxy {
    ObservedProxy { node: "default/1".to_owned(), pool: "default".to_owned(), answered: true, mounts }
}

/// Intended, all in the pool `default`.
fn state(resources: &[Resource]) -> IntendedState {
    let pools = resources.iter().filter_map(Resource::tenant).map(|tenant| (tenant, vec!["default".to_owned()]));
    let pools = pools.collect();
    IntendedState { revision: Default::default(), resources: resources.to_vec(), pools, unreadable: vec![] }
}

fn scope(prune: bool, adopt: bool) -> Scope {
    Scope { prune, adopt, ..Scope::default() }
}

fn names(differences: &[Difference]) -> Vec<&str> {
    differences.iter().map(|one| one.name.as_str()).collect()
}

#[test]
fn each_kind_of_difference_is_named() {
    let tenant = TenantId::fresh();
    let [same, gone, moved, stray, orphan] =
        ["same", "gone", "moved", "stray", "orphan"].map(|name| spec(tenant, name));
    let mut new = moved.clone();
    new.url = UpstreamUrl::parse("http://127.0.0.1:2/mcp").unwrap();
    let settings = TenantSpec {
        id: tenant,
        name: "t".parse().unwrap(),
        limits: Limits::default(),
        stale_after: Some(model::TenantSpec::STALE_AFTER),
        authorization_server: false,
    };
    let intended =
        [Resource::Tenant(settings), Resource::Server(same.clone()), Resource::Server(gone), Resource::Server(new)];
    let observed = proxy(vec![mount(&same, false), mount(&moved, false), mount(&stray, false), mount(&orphan, true)]);

    let plan = plan(&state(&intended), &observed, None);

    assert_eq!(names(&plan.missing), ["gone"]);
    assert_eq!(names(&plan.drifted), ["moved", "stray"]);
    assert_eq!(names(&plan.orphaned), ["orphan"]);
    assert!(!plan.is_clean(scope(false, false)));
}

#[test]
fn an_orphan_is_work_only_for_a_prune() {
    let orphan = spec(TenantId::fresh(), "orphan");
    let plan = plan(&state(&[]), &proxy(vec![mount(&orphan, true)]), None);
    assert_eq!(names(&plan.orphaned), ["orphan"]);
    assert!(plan.is_clean(scope(false, false)));
    assert!(!plan.is_clean(scope(true, false)) && !plan.is_clean(scope(false, true)));
}

#[test]
fn an_internal_mount_does_not_stand_in_for_a_missing_one() {
    let record = spec(TenantId::fresh(), "notes");
    let plan = plan(&state(&[Resource::Server(record.clone())]), &proxy(vec![mount(&record, true)]), None);
    assert_eq!((names(&plan.missing), names(&plan.orphaned)), (vec!["notes"], vec!["notes"]));
}

#[test]
fn another_tenants_differences_are_out_of_scope() {
    let (ours, theirs) = (TenantId::fresh(), TenantId::fresh());
    let intended = [Resource::Server(spec(ours, "ours")), Resource::Server(spec(theirs, "theirs"))];
    let observed = proxy(vec![mount(&spec(theirs, "stray"), false), mount(&spec(theirs, "orphan"), true)]);
    let plan = plan(&state(&intended), &observed, Some(ours));
    assert_eq!(plan.counts(), crate::reconcile::Counts { missing: 1, orphaned: 0, drifted: 0 });
    assert_eq!(names(&plan.missing), ["ours"]);
}

#[test]
fn a_proxy_that_did_not_answer_is_neither_clean_nor_blamed() {
    let silent = ObservedProxy { answered: false, ..proxy(Vec::new()) };
    let plan = plan(&state(&[Resource::Server(spec(TenantId::fresh(), "a"))]), &silent, None);
    assert_eq!(plan.counts(), crate::reconcile::Counts::default());
    assert!(!plan.is_clean(scope(false, false)));
}

#[test]
fn a_proxy_misses_nothing_that_its_pool_does_not_serve() {
    let tenant = TenantId::fresh();
    let (record, stray) = (spec(tenant, "a"), spec(tenant, "b"));
    let edge = ObservedProxy { pool: "edge".to_owned(), ..proxy(vec![mount(&stray, false)]) };
    let plan = plan(&state(&[Resource::Server(record), Resource::Server(stray.clone())]), &edge, None);
    assert_eq!((names(&plan.missing), names(&plan.drifted)), (vec![], vec!["b"]), "it must let go of it");
}
