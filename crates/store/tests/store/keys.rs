//! Keys: stored once, found by id, changed, replaced, revoked for good.

use std::time::Duration;

use model::{Generation, KeyId, KeyRole, KeyScopes, ResourceName};
use sea_orm::ConnectionTrait as _;
use store::{AuditPage, KeyPage, KeyPatch, KeyRotation, StoreError, TenantStore};

use crate::house::{House, START, actor, key, key_id};

fn all() -> KeyPage {
    KeyPage { limit: 100, ..KeyPage::default() }
}

fn rotation(number: u32, grace: Duration) -> KeyRotation {
    KeyRotation { id: key_id(number), sha256: [number as u8; 32], evidence: [8; 32], expires_at: None, grace }
}

async fn ids(tenant: &TenantStore, page: KeyPage) -> Vec<KeyId> {
    tenant.keys(page).await.unwrap().into_iter().map(|key| key.verifier.id).collect()
}

#[tokio::test]
async fn a_created_key_is_found_by_its_tenant_and_by_its_id() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let created = tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap().value;
    assert_eq!(created.verifier, key(tenant.id(), 1).verifier);
    assert_eq!((created.created_at, created.revoked_at, created.last_used_at), (START, None, None));
    assert_eq!((created.generation, created.replaces), (Generation(1), None));
    assert_eq!(tenant.keys(all()).await.unwrap(), std::slice::from_ref(&created));
    assert_eq!(tenant.key(key_id(1)).await.unwrap(), Some(created.clone()));
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
    assert_eq!(house.store.platform().live_key(key_id(1)).await.unwrap(), None);
    let rows = house.store.platform().outbox_since(created.revision.seq, 10).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].seq, rows[0].removed, rows[0].urgent), (revoked.revision.seq, true, true));
    assert!(matches!(tenant.revoke_key(&actor(), key_id(2)).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn the_last_uses_of_keys_never_move_back_and_are_no_change_of_state() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    let created = tenant.create_key(&actor(), key(tenant.id(), 2)).await.unwrap();
    for (at, last) in [(10, 10), (30, 30), (20, 30)] {
        tenant.keys_used(&[(key_id(1), at), (key_id(2), at + 1), (key_id(3), at)]).await.unwrap();
        let used: Vec<_> = tenant.keys(all()).await.unwrap().into_iter().map(|key| key.last_used_at).collect();
        assert_eq!(used, [Some(last), Some(last + 1)]);
    }
    tenant.keys_used(&[]).await.unwrap();
    assert_eq!(house.store.platform().revision().await.unwrap(), created.revision);
    assert_eq!(tenant.key(key_id(1)).await.unwrap().unwrap().generation, Generation(1));
}

#[tokio::test]
async fn neither_audit_nor_debug_shows_what_recognises_a_key_to_a_tenant() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut new = key(tenant.id(), 1);
    new.evidence = [0xe7; 32];
    tenant.create_key(&actor(), new).await.unwrap();
    let replaced = KeyRotation { evidence: [0xe7; 32], ..rotation(2, Duration::ZERO) };
    tenant.rotate_key(&actor(), key_id(1), replaced).await.unwrap();
    let rows = format!("{:?}", tenant.audit(AuditPage { limit: 10, ..AuditPage::default() }).await.unwrap());
    assert!(rows.contains("key.create") && rows.contains("key.rotate"), "{rows}");
    assert!(!rows.contains("231") && !rows.contains("e7e7"), "{rows}");
}

#[tokio::test]
async fn keys_are_listed_in_the_order_of_their_making_by_page_and_narrowed() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    // The ids run against the order of the making; two are made at one instant.
    for (number, pause) in [(9, 1), (7, 1), (8, 0), (3, 1), (1, 1)] {
        house.clock.advance_micros(pause);
        let mut new = key(tenant.id(), number);
        new.label = format!("100% {number}");
        if number == 3 {
            new.verifier.role = KeyRole::PlatformAdmin;
        }
        new.verifier.expires_at = (number == 1).then_some(START + 1_000);
        tenant.create_key(&actor(), new).await.unwrap();
    }
    tenant.revoke_key(&actor(), key_id(7)).await.unwrap();
    let order = [9, 7, 8, 3, 1].map(key_id);
    assert_eq!(ids(&tenant, all()).await, order);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = tenant.keys(KeyPage { after, limit: 2, ..KeyPage::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.created_at, last.verifier.id));
        seen.extend(page.iter().map(|key| key.verifier.id));
    }
    assert_eq!(seen, order);

    house.clock.advance_micros(1_000);
    assert_eq!(ids(&tenant, KeyPage { live: Some(true), ..all() }).await, [9, 8, 3].map(key_id));
    assert_eq!(ids(&tenant, KeyPage { live: Some(false), ..all() }).await, [7, 1].map(key_id));
    assert_eq!(ids(&tenant, KeyPage { below_platform: true, ..all() }).await, [9, 7, 8, 1].map(key_id));
    assert_eq!(ids(&tenant, KeyPage { search: Some("0% 8".to_owned()), ..all() }).await, [key_id(8)]);
    assert_eq!(ids(&tenant, KeyPage { search: Some("_".to_owned()), ..all() }).await, [0; 0].map(key_id));
}

#[tokio::test]
async fn a_patch_keeps_what_is_absent_clears_what_is_null_and_leaves_what_has_ended() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let old = tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    let patch = KeyPatch {
        label: Some("new".to_owned()),
        servers: Some(None),
        expires_at: Some(Some(START + 100)),
        ..Default::default()
    };
    let new = tenant.patch_key(&actor(), key_id(1), Some(Generation(1)), patch.clone()).await.unwrap();
    let (verifier, was) = (&new.value.verifier, &old.value.verifier);
    assert_eq!((&verifier.servers, verifier.expires_at), (&None, Some(START + 100)));
    assert_eq!((verifier.sha256, verifier.role, new.value.generation), (was.sha256, was.role, Generation(2)));
    assert_eq!(tenant.key(key_id(1)).await.unwrap(), Some(new.value.clone()));
    assert_eq!(tenant.patch_key(&actor(), key_id(1), None, patch).await.unwrap(), new, "nothing to change");
    let stale = tenant.patch_key(&actor(), key_id(1), Some(Generation(1)), KeyPatch::default()).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(2) })));

    let narrower = KeyPatch { servers: Some(Some(vec!["wiki".to_owned()])), ..Default::default() };
    tenant.patch_key(&actor(), key_id(1), None, narrower).await.unwrap();
    let longer = KeyPatch { expires_at: Some(None), ..Default::default() };
    tenant.patch_key(&actor(), key_id(1), None, longer.clone()).await.unwrap();
    let told = house.store.platform().outbox_since(new.revision.seq, 10).await.unwrap();
    let told: Vec<_> = told.into_iter().map(|row| (row.removed, row.urgent)).collect();
    assert_eq!(told, [(false, true), (false, false)], "what takes power away is urgent");

    tenant.revoke_key(&actor(), key_id(1)).await.unwrap();
    assert!(matches!(tenant.patch_key(&actor(), key_id(1), None, longer).await, Err(StoreError::KeyEnded)));
    assert!(matches!(
        tenant.patch_key(&actor(), key_id(2), None, KeyPatch::default()).await,
        Err(StoreError::NotFound)
    ));
}

#[tokio::test]
async fn scopes_are_kept_changed_and_handed_on_and_one_that_is_taken_away_is_told_urgently() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let scopes = |mcp, rest, act_as| KeyScopes { mcp, rest, act_as };
    let mut new = key(tenant.id(), 1);
    new.verifier.scopes = scopes(false, false, true);
    let made = tenant.create_key(&actor(), new).await.unwrap();
    assert_eq!(made.value.verifier.scopes, scopes(false, false, true));
    assert_eq!(house.store.platform().live_key(key_id(1)).await.unwrap().unwrap().record, made.value);
    let to = |scopes| KeyPatch { scopes: Some(scopes), ..Default::default() };
    tenant.patch_key(&actor(), key_id(1), None, to(scopes(true, false, true))).await.unwrap();
    let narrowed = tenant.patch_key(&actor(), key_id(1), None, to(scopes(true, true, false))).await.unwrap();
    let told = house.store.platform().outbox_since(made.revision.seq, 10).await.unwrap();
    assert_eq!(told.into_iter().map(|row| row.urgent).collect::<Vec<_>>(), [false, true]);
    let again = tenant.patch_key(&actor(), key_id(1), None, to(scopes(true, true, false))).await.unwrap();
    assert_eq!(again, narrowed, "nothing to change");
    let rotated = tenant.rotate_key(&actor(), key_id(1), rotation(2, Duration::ZERO)).await.unwrap().value;
    assert_eq!(rotated.new.verifier.scopes, scopes(true, true, false));
    let rows = tenant.audit(AuditPage { action: Some("key.change".to_owned()), limit: 10, ..AuditPage::default() });
    let rows = rows.await.unwrap();
    assert!(rows[0].before.as_ref().unwrap().contains(r#""scopes":["mcp","act_as"]"#), "{rows:?}");
    assert!(rows[0].after.as_ref().unwrap().contains(r#""scopes":["mcp","rest"]"#), "{rows:?}");
}

#[tokio::test]
async fn a_key_that_a_program_before_scopes_made_may_do_what_it_could() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    let columns = "tenant_id, role, label, sha256, evidence, created_at, generation";
    let sql = format!("INSERT INTO api_key (id, {columns}) SELECT '{}', {columns} FROM api_key", key_id(2));
    house.raw().await.execute_unprepared(&sql).await.unwrap();
    let old = tenant.key(key_id(2)).await.unwrap().unwrap();
    assert_eq!(old.verifier.scopes, KeyScopes::PLAIN);
}

#[tokio::test]
async fn a_key_and_the_one_in_its_place_live_together_for_the_grace() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let old = tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    house.clock.advance_micros(5);
    let made = tenant.rotate_key(&actor(), key_id(1), rotation(2, Duration::from_secs(60))).await.unwrap();
    let rotated = made.value;
    assert_eq!(rotated.old.verifier.expires_at, Some(START + 5 + 60_000_000));
    assert_eq!((rotated.new.replaces, rotated.new.created_at), (Some(key_id(1)), START + 5));
    let (mine, theirs) = (&rotated.new.verifier, &old.value.verifier);
    assert_eq!(
        (&mine.servers, mine.role, mine.scopes, mine.user, mine.tenant),
        (&theirs.servers, theirs.role, theirs.scopes, theirs.user, theirs.tenant)
    );
    assert_eq!(tenant.keys(all()).await.unwrap(), [rotated.old.clone(), rotated.new.clone()]);
    let told = house.store.platform().outbox_since(old.revision.seq, 10).await.unwrap();
    let told: Vec<_> = told.into_iter().map(|row| (row.name, row.removed)).collect();
    assert_eq!(told, [1, 2].map(|number| (ResourceName::Key(key_id(number)), false)));

    let live = async |number| house.store.platform().live_key(key_id(number)).await.unwrap().is_some();
    assert_eq!((live(1).await, live(2).await), (true, true));
    house.clock.advance_micros(60_000_000);
    assert_eq!((live(1).await, live(2).await), (false, true));
    let again = tenant.rotate_key(&actor(), key_id(1), rotation(3, Duration::ZERO)).await;
    assert!(matches!(again, Err(StoreError::KeyEnded)));
}

#[tokio::test]
async fn at_most_two_keys_of_a_chain_live() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    let hour = Duration::from_secs(3600);
    let rotate = async |from: u32, to: u32, grace| tenant.rotate_key(&actor(), key_id(from), rotation(to, grace)).await;
    rotate(1, 2, hour).await.unwrap();
    assert!(matches!(rotate(1, 3, hour).await, Err(StoreError::ChainFull)), "it is replaced already");
    assert!(matches!(rotate(2, 3, hour).await, Err(StoreError::ChainFull)), "the one before it lives");
    tenant.revoke_key(&actor(), key_id(2)).await.unwrap();
    rotate(1, 3, hour).await.unwrap();
    house.clock.advance_micros(3_600_000_000);
    rotate(3, 4, Duration::ZERO).await.unwrap();
    assert_eq!(ids(&tenant, KeyPage { live: Some(true), ..all() }).await, [key_id(4)]);
    rotate(4, 5, hour).await.unwrap();
    assert_eq!(ids(&tenant, KeyPage { live: Some(true), ..all() }).await, [4, 5].map(key_id));
}

#[tokio::test]
async fn of_many_rotations_of_one_key_exactly_one_wins() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_key(&actor(), key(tenant.id(), 0)).await.unwrap();
    let tasks: Vec<_> = (1..21)
        .map(|number| {
            let tenant = tenant.clone();
            let rotation = rotation(number, Duration::from_secs(60));
            tokio::spawn(async move { tenant.rotate_key(&actor(), key_id(0), rotation).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(refused) => assert!(matches!(refused, StoreError::ChainFull), "{refused:?}"),
        }
    }
    assert_eq!((won, ids(&tenant, all()).await.len()), (1, 2));
}
