//! A pool's proxies know of the pool's tenants, and of nobody else.

use std::time::Duration;

use model::{Principal, TenantId};
use store::{Actor, TenantPatch};
use tonic::Code;

use super::PATIENCE;
use super::plane::Plane;
use super::proxy::Proxy;
use crate::proxies::{CommandError, Proxies as _, Reach};

fn of(tenant: TenantId) -> Principal {
    Principal { tenant, user: None, key: "0123456789abcdef".parse().ok() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_without_tenants_is_told_that_there_is_nothing() {
    let plane = Plane::start().await;
    plane.add_server("secret").await;
    let mut proxy = Proxy::attach(&plane, "edge/a").await;
    let state = proxy.wait(|state| state.pushes == 1).await;
    assert!(state.resources.is_empty());
    assert_eq!(proxy.sealing_keys().await.unwrap_err().code(), Code::PermissionDenied);
    assert!(plane.fleet.observe(Reach::All).await.is_empty(), "it is asked for nothing either");
    let server = plane.add_server("more").await;
    let effective = plane.fleet.effective(server.revision, server.name(), Duration::ZERO).await;
    assert_eq!((effective.live, effective.pending), (0, 0), "nor waited for");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_pool_holds_resolves_and_does_only_what_is_its_tenants() {
    let plane = Plane::start().await;
    let edge = plane.add_tenant("edge-only", &["edge"]).await;
    let here = plane.add_server("here").await;
    let there = plane.add_server_of(edge, "there").await;
    let mut inner = Proxy::attach(&plane, "default/a").await;
    let mut outer = Proxy::attach(&plane, "edge/a").await;
    let (in_state, out_state) = (inner.reach(there.revision).await, outer.reach(there.revision).await);
    assert!(in_state.resources.contains_key(&here.name()) && !in_state.resources.contains_key(&there.name()));
    assert!(out_state.resources.contains_key(&there.name()) && !out_state.resources.contains_key(&here.name()));

    let effective = plane.fleet.effective(there.revision, there.name(), PATIENCE).await;
    assert_eq!((effective.live, effective.pending), (1, 0), "one proxy is to have it");

    assert!(outer.resolve("", &of(edge), there.id).await.is_ok());
    let refused = outer.resolve("", &of(plane.tenant), here.id).await.unwrap_err();
    assert_eq!((refused.code(), plane.fleet.counters.foreign.get()), (Code::PermissionDenied, 1));
    assert!(outer.sealing_keys().await.is_ok());

    plane.fleet.list_tools(edge, there.id, of(edge)).await.unwrap();
    assert_eq!((inner.state().tickets.len(), outer.state().tickets.len()), (0, 1));
    outer.goodbye().await;
    let nobody = plane.fleet.list_tools(edge, there.id, of(edge)).await;
    assert!(matches!(nobody, Err(CommandError::NoProxyAttached)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_that_moves_leaves_the_proxies_of_its_old_pool() {
    let plane = Plane::start().await;
    let moving = plane.add_tenant("moving", &["default"]).await;
    let server = plane.add_server_of(moving, "notes").await;
    let mut inner = Proxy::attach(&plane, "default/a").await;
    let mut outer = Proxy::attach(&plane, "edge/a").await;
    assert!(inner.reach(server.revision).await.resources.contains_key(&server.name()));
    outer.wait(|state| state.pushes > 0).await;

    let patch = TenantPatch { pools: Some(vec!["edge".to_owned()]), ..TenantPatch::default() };
    let moved = plane.store.platform().patch_tenant(&Actor::system("test"), moving, None, patch).await.unwrap();
    let (inner, outer) = (inner.reach(moved.revision).await, outer.reach(moved.revision).await);
    assert!(!inner.resources.contains_key(&server.name()));
    assert_eq!(outer.resources.len(), 2, "the tenant and its server");
    assert!(inner.urgent, "its keys must not outlive the move");
}
