//! Keys: stored once, found by id, revoked for good.

use store::StoreError;

use crate::house::{House, START, actor, key, key_id};

#[tokio::test]
async fn a_created_key_is_found_by_its_tenant_and_by_its_id() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let created = tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap().value;
    assert_eq!(created.verifier, key(tenant.id(), 1).verifier);
    assert_eq!((created.created_at, created.revoked_at, created.last_used_at), (START, None, None));
    assert_eq!(tenant.keys().await.unwrap(), std::slice::from_ref(&created));
    assert_eq!(house.store.platform().key(key_id(1)).await.unwrap(), Some(created));
    assert_eq!(house.store.platform().key(key_id(2)).await.unwrap(), None);
}

#[tokio::test]
async fn a_key_id_is_taken_for_all_tenants() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    assert!(matches!(tenant.create_key(&actor(), key(tenant.id(), 1)).await, Err(StoreError::KeyTaken)));
    assert!(matches!(other.create_key(&actor(), key(other.id(), 1)).await, Err(StoreError::KeyTaken)));
}

#[tokio::test]
async fn a_key_of_an_unknown_user_is_refused() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut new = key(tenant.id(), 1);
    new.verifier.user = Some(model::UserId::fresh());
    assert!(matches!(tenant.create_key(&actor(), new).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn a_revoked_key_keeps_its_mark_and_is_announced_urgently_once() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let created = tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    house.clock.advance_micros(9);
    let revoked = tenant.revoke_key(&actor(), key_id(1)).await.unwrap();
    house.clock.advance_micros(9);
    assert_eq!(tenant.revoke_key(&actor(), key_id(1)).await.unwrap(), revoked, "revoking again changes nothing");

    let found = house.store.platform().key(key_id(1)).await.unwrap().unwrap();
    assert_eq!(found.revoked_at, Some(START + 9));
    let rows = house.store.platform().outbox_since(created.revision.seq, 10).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].seq, rows[0].removed, rows[0].urgent), (revoked.revision.seq, true, true));
    assert!(matches!(tenant.revoke_key(&actor(), key_id(2)).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn the_last_use_of_a_key_never_moves_back_and_is_no_change_of_state() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let created = tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    for (at, last) in [(10, 10), (30, 30), (20, 30)] {
        tenant.key_used(key_id(1), at).await.unwrap();
        assert_eq!(tenant.keys().await.unwrap()[0].last_used_at, Some(last));
    }
    tenant.key_used(key_id(2), 10).await.unwrap();
    assert_eq!(house.store.platform().revision().await.unwrap(), created.revision);
}

#[tokio::test]
async fn neither_audit_nor_debug_shows_what_recognises_a_key_to_a_tenant() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut new = key(tenant.id(), 1);
    new.evidence = [0xe7; 32];
    tenant.create_key(&actor(), new).await.unwrap();
    let rows = format!("{:?}", tenant.audit(10).await.unwrap());
    assert!(rows.contains("key.create") && !rows.contains("231") && !rows.contains("e7e7"), "{rows}");
}
