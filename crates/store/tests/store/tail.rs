//! Following the intended state: what changed is told by name, and what can't be told is said to be lost.

use std::time::Duration;

use model::{Resource, ResourceName, Revision};
use store::{Commit, Hint, IntendedState, ServerPatch, Tail, TenantPatch};

use crate::DATABASE;
use crate::house::{House, Kind, START, actor, key, key_id, server};

async fn tail(house: &House, after: Revision) -> (Vec<ResourceName>, IntendedState) {
    match house.store.platform().tail(after).await.unwrap() {
        Tail::Changed { named, state, .. } => (named.into_iter().map(|(name, _)| name).collect(), state),
        other => panic!("{other:?}"),
    }
}

fn names(state: &IntendedState) -> Vec<ResourceName> {
    state.resources.iter().map(Resource::name).collect()
}

#[tokio::test]
async fn a_change_is_told_with_its_time_and_whether_it_takes_something_away() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let since = house.store.platform().revision().await.unwrap();
    house.clock.advance_micros(1_000);
    let made = tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap().revision;
    house.clock.advance_micros(1_000);
    let revoked = tenant.revoke_key(&actor(), key_id(1)).await.unwrap().revision;
    let Tail::Changed { commits, .. } = house.store.platform().tail(since).await.unwrap() else { panic!("unchanged") };
    let told = |revision, at, urgent| Commit { revision, at: START + at, urgent };
    assert_eq!(commits, [told(made, 1_000, false), told(revoked, 2_000, true)]);
}

#[tokio::test]
async fn a_change_is_told_by_name_with_the_pools_of_its_tenant() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    house.tenant("other").await.create_server(&actor(), server("theirs")).await.unwrap();
    let kept = tenant.create_server(&actor(), server("kept")).await.unwrap().value.spec.id;
    let since = house.store.platform().revision().await.unwrap();
    assert_eq!(house.store.platform().tail(since).await.unwrap(), Tail::Unchanged);

    let new = tenant.create_server(&actor(), server("new")).await.unwrap().value.spec.id;
    let off = ServerPatch { enabled: Some(false), ..Default::default() };
    tenant.patch_server(&actor(), kept, None, off).await.unwrap();
    let last = tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();

    let (named, state) = tail(&house, since).await;
    let key = ResourceName::Key(last.value.verifier.id);
    assert_eq!(named, [ResourceName::Server(new), ResourceName::Server(kept), key]);
    assert_eq!(names(&state), [ResourceName::Server(new), key]);
    assert_eq!(state.revision, last.revision);
    assert_eq!(state.pools.into_iter().collect::<Vec<_>>(), [(tenant.id(), vec!["default".to_owned()])]);
}

#[tokio::test]
async fn a_tenant_that_comes_back_is_told_with_all_that_is_its() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let notes = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    let active = |active| TenantPatch { active: Some(active), ..Default::default() };
    let platform = house.store.platform();
    let before = platform.revision().await.unwrap();
    let off = platform.patch_tenant(&actor(), tenant.id(), None, active(false)).await.unwrap();
    let (named, state) = tail(&house, before).await;
    assert!(named.contains(&ResourceName::Tenant(tenant.id())));
    assert!(state.resources.is_empty() && state.pools.is_empty());
    platform.patch_tenant(&actor(), tenant.id(), None, active(true)).await.unwrap();
    let (_, state) = tail(&house, off.revision).await;
    assert_eq!(names(&state), [ResourceName::Tenant(tenant.id()), ResourceName::Server(notes)]);
}

#[tokio::test]
async fn what_cannot_be_told_is_lost() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let since = house.store.platform().revision().await.unwrap();
    for number in 0..3 {
        house.clock.advance_micros(10);
        tenant.create_server(&actor(), server(&format!("s{number}"))).await.unwrap();
    }
    let platform = house.store.platform();
    let now = platform.revision().await.unwrap();
    assert_eq!(platform.tail(Revision { seq: now.seq + 1, ..now }).await.unwrap(), Tail::Lost, "it is ahead of us");
    assert!(matches!(platform.tail(since).await.unwrap(), Tail::Changed { .. }));
    platform.prune_outbox(START + 20).await.unwrap();
    assert_eq!(platform.tail(since).await.unwrap(), Tail::Lost, "rows are gone");
    assert!(matches!(platform.tail(Revision { seq: now.seq - 1, ..now }).await.unwrap(), Tail::Changed { .. }));
    platform.raise_epoch(Revision { seq: now.seq + 5, ..now }).await.unwrap();
    assert_eq!(platform.tail(now).await.unwrap(), Tail::Lost, "another history");
}

#[tokio::test]
async fn a_change_of_another_process_wakes_who_listens_where_the_database_can() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let other = house.second_process().await;
    assert_eq!(other.is_shared(), DATABASE == Kind::Postgres);
    if DATABASE == Kind::Sqlite {
        return;
    }
    let listening = tokio::spawn({
        let other = other.clone();
        async move { other.listen().await }
    });
    let (mut changes, mut statuses, mut commands) = (other.changes(), other.statuses_hinted(), other.commands_hinted());
    let patience = Duration::from_secs(30);
    let hear = async |hints: &mut tokio::sync::watch::Receiver<u64>| {
        tokio::time::timeout(patience, hints.changed()).await.expect("nobody heard").unwrap();
        hints.mark_unchanged();
    };
    // The first one is what everybody hears who begins to listen.
    hear(&mut statuses).await;
    hear(&mut commands).await;
    changes.mark_unchanged();
    tenant.create_server(&actor(), server("notes")).await.unwrap();
    tokio::time::timeout(patience, changes.changed()).await.expect("nobody heard").unwrap();
    house.store.hint(Hint::Status).await;
    hear(&mut statuses).await;
    assert!(!commands.has_changed().unwrap());
    house.store.hint(Hint::Command).await;
    hear(&mut commands).await;
    listening.abort();
}
