//! What nobody needs any more goes, and nothing else.

use std::time::Duration;

use model::{KeyRole, Resource, ResourceName};
use store::{
    AuditPage, KeyPage, NewDepartment, NewUser, Place, Purged, Retention, Seen, ServerPage, StoreError, TenantPage,
    TenantStore, UserPage,
};

use crate::house::{House, START, actor, key, key_id, server};

const DAY: i64 = 24 * 3600 * 1_000_000;

async fn user(tenant: &TenantStore, login: &str) -> model::UserId {
    let new = NewUser {
        login: login.to_owned(),
        title: String::new(),
        external_id: None,
        departments: vec![],
        role: KeyRole::User,
        active: true,
    };
    tenant.create_user(&actor(), new).await.unwrap().value.id
}

async fn key_of(tenant: &TenantStore, number: u32, user: Option<model::UserId>, expires_at: Option<i64>) {
    let mut new = key(tenant.id(), number);
    new.verifier.user = user;
    new.verifier.expires_at = expires_at;
    tenant.create_key(&actor(), new).await.unwrap();
}

async fn purge(house: &House) -> Purged {
    let now = model::Clock::now_micros(&*house.clock);
    house.store.platform().purge_expired(now, Retention::default()).await.unwrap()
}

/// A tenant with one of everything that is dead and one that lives.
async fn inhabited(house: &House) -> TenantStore {
    let tenant = house.tenant("acme").await;
    for name in ["gone", "kept"] {
        let id = tenant.create_server(&actor(), server(name)).await.unwrap().value.spec.id;
        let new = NewDepartment { name: name.parse().unwrap(), title: name.to_owned(), external_id: None };
        let department = tenant.create_department(&actor(), new).await.unwrap().value.id;
        let user = user(&tenant, name).await;
        key_of(&tenant, if name == "gone" { 1 } else { 2 }, Some(user), None).await;
        if name == "gone" {
            tenant.delete_server(&actor(), id, None).await.unwrap();
            tenant.delete_department(&actor(), department, None).await.unwrap();
            tenant.delete_user(&actor(), user, None).await.unwrap();
        }
    }
    key_of(&tenant, 3, None, Some(START + 1_000)).await;
    key_of(&tenant, 4, None, None).await;
    tenant.revoke_key(&actor(), key_id(4)).await.unwrap();
    tenant
}

#[tokio::test]
async fn the_dead_are_kept_for_ninety_days_and_then_go_alone() {
    let house = House::new().await;
    let tenant = inhabited(&house).await;
    house.clock.advance_micros(90 * DAY - 1_000);
    let early = purge(&house).await;
    assert_eq!((early.servers, early.users, early.departments, early.keys), (0, 0, 0, 0));
    let counted = house.store.tally().changes();

    house.clock.advance_micros(10_000);
    let revision = house.store.platform().revision().await.unwrap();
    let gone = tenant.users(UserPage { deleted: true, limit: 10, ..Default::default() }).await.unwrap();
    let purged = purge(&house).await;
    assert_eq!((purged.servers, purged.users, purged.departments, purged.keys), (1, 1, 1, 3));
    assert_eq!(house.store.tally().changes(), counted + 1, "the pass has its audit row");
    let told = house.store.platform().outbox_since(revision.seq, 10).await.unwrap();
    let told: Vec<_> = told.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect();
    assert_eq!(told, [(ResourceName::User(gone[0].id), true, false)], "of all that went proxies knew only the user");
    let known = house.store.platform().intended().await.unwrap().resources;
    assert_eq!(known.iter().filter(|resource| matches!(resource, Resource::User(_))).count(), 1);
    for deleted in [true, false] {
        let page = ServerPage { deleted, limit: 10, ..Default::default() };
        assert_eq!(tenant.servers(page).await.unwrap().len(), usize::from(!deleted));
    }
    let keys = tenant.keys(KeyPage { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(keys.iter().map(|key| key.verifier.id).collect::<Vec<_>>(), [key_id(2)]);
    assert!(tenant.user_by_login("kept").await.unwrap().is_some());
    let again = purge(&house).await;
    assert_eq!(again, Purged::default(), "a second pass finds nothing");
}

#[tokio::test]
async fn a_tenant_goes_with_all_that_was_its_own() {
    let house = House::new().await;
    let tenant = inhabited(&house).await;
    let other = house.tenant("other").await;
    other.create_server(&actor(), server("kept")).await.unwrap();
    let platform = house.store.platform();
    platform.delete_tenant(&actor(), tenant.id(), None).await.unwrap();
    house.clock.advance_micros(91 * DAY);
    assert_eq!(purge(&house).await.tenants, 1);
    let gone = platform.tenants(TenantPage { deleted: true, limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(gone, []);
    assert!(other.server_by_name("kept").await.unwrap().is_some());
    let again = platform.restore_tenant(&actor(), tenant.id()).await;
    assert!(matches!(again, Err(StoreError::NotFound)), "{again:?}");
}

#[tokio::test]
async fn what_was_restored_stays() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    tenant.delete_server(&actor(), id, None).await.unwrap();
    house.clock.advance_micros(91 * DAY);
    tenant.restore_server(&actor(), id).await.unwrap();
    assert_eq!(purge(&house).await.servers, 0);
    assert!(tenant.server(id).await.unwrap().is_some());
}

#[tokio::test]
async fn answers_hints_commands_and_audit_rows_have_their_own_times() {
    let house = House::new().await;
    let tenant = inhabited(&house).await;
    let platform = house.store.platform();
    let place = Place { tenant: tenant.id(), key: key_id(2), word: "w".to_owned() };
    assert!(matches!(platform.claim(place, [1; 32]).await.unwrap(), Seen::Fresh(_)));
    platform.put_command("replica", "default/a", vec![1], START).await.unwrap();
    let hints = platform.outbox_since(0, 1_000).await.unwrap().len() as u64;
    let rows = tenant.audit(AuditPage { limit: 500, ..Default::default() }).await.unwrap().len() as u64;
    assert_eq!(purge(&house).await, Purged::default());

    house.clock.advance_micros(DAY + 1);
    let purged = purge(&house).await;
    assert_eq!(purged, Purged { answers: 1, commands: 1, hints, ..Purged::default() });
    house.clock.advance_micros(400 * DAY);
    assert_eq!(purge(&house).await.audit, rows);
    let left = tenant.audit(AuditPage { limit: 500, ..Default::default() }).await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn replicas_that_purge_at_once_remove_each_row_once() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for number in 0..40 {
        key_of(&tenant, number, None, Some(START + 1)).await;
    }
    house.clock.advance_micros(91 * DAY);
    let second = house.second_process().await;
    let now = model::Clock::now_micros(&*house.clock);
    let (one, two) = (house.store.platform(), second.platform());
    let passes =
        tokio::join!(one.purge_expired(now, Retention::default()), two.purge_expired(now, Retention::default()));
    let keys: u64 = [passes.0.unwrap(), passes.1.unwrap()].iter().map(|purged| purged.keys).sum();
    assert_eq!(keys, 40);
    tokio::time::timeout(Duration::from_secs(30), purge(&house)).await.unwrap();
}
