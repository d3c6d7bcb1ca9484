//! The end of a server: what is deleted can come back, what is referred to can't be erased.

use model::{Digest, Generation, ServerId};
use store::{Manifest, ServerPage, ServerPatch, StoreError};

use crate::house::{House, START, actor, key, key_id, server};

fn deleted() -> ServerPage {
    ServerPage { deleted: true, limit: 100, ..ServerPage::default() }
}

#[tokio::test]
async fn a_deleted_server_is_listed_as_such_and_comes_back_as_it_was() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let made = tenant.create_server(&actor(), server("notes")).await.unwrap().value;
    let id = made.spec.id;
    house.clock.advance_micros(5);
    let gone = tenant.delete_server(&actor(), id, None).await.unwrap();
    let tombstone = tenant.deleted_server(id).await.unwrap().unwrap();
    assert_eq!((tombstone.deleted_at, tombstone.spec.generation), (Some(START + 5), Generation(2)));
    assert_eq!(tenant.servers(deleted()).await.unwrap(), [tombstone]);

    house.clock.advance_micros(5);
    let back = tenant.restore_server(&actor(), id).await.unwrap();
    assert!(back.value.enter_again.is_empty() && back.revision > gone.revision);
    let mut expected = made;
    expected.spec.generation = Generation(3);
    expected.updated_at = START + 10;
    assert_eq!(back.value.record, expected);
    assert_eq!(tenant.server(id).await.unwrap(), Some(expected));
    assert_eq!(tenant.servers(deleted()).await.unwrap(), []);
    let told = house.store.platform().outbox_since(gone.revision.seq, 10).await.unwrap();
    assert_eq!(told.iter().map(|row| row.removed).collect::<Vec<_>>(), [false]);
    assert_eq!(tenant.restore_server(&actor(), id).await.unwrap(), back, "it is back already");
}

#[tokio::test]
async fn a_restore_meets_a_taken_name_a_taken_title_and_a_full_tenant() {
    let house = House::new().await;
    let limits = model::Limits { servers: 2, ..Default::default() };
    let tenant = house.store.tenant(house.tenant_with("acme", limits).await.spec.id);
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    tenant.delete_server(&actor(), id, None).await.unwrap();

    let mut same_name = server("notes");
    same_name.title = "free".to_owned();
    let heir = tenant.create_server(&actor(), same_name).await.unwrap().value.spec.id;
    assert!(matches!(tenant.restore_server(&actor(), id).await, Err(StoreError::NameTaken)));
    let patch = ServerPatch {
        name: Some("free".parse().unwrap()),
        title: Some("notes for people".to_owned()),
        ..Default::default()
    };
    tenant.patch_server(&actor(), heir, None, patch).await.unwrap();
    assert!(matches!(tenant.restore_server(&actor(), id).await, Err(StoreError::TitleTaken)));
    let patch = ServerPatch { title: Some("free".to_owned()), ..Default::default() };
    tenant.patch_server(&actor(), heir, None, patch).await.unwrap();
    let last = tenant.create_server(&actor(), server("last")).await.unwrap().value.spec.id;
    assert!(matches!(tenant.restore_server(&actor(), id).await, Err(StoreError::Quota { limit: 2 })));
    tenant.delete_server(&actor(), last, None).await.unwrap();
    assert_eq!(tenant.restore_server(&actor(), id).await.unwrap().value.record.spec.name.as_str(), "notes");
    assert!(matches!(tenant.restore_server(&actor(), ServerId::fresh()).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn of_many_restores_and_creates_of_one_name_exactly_one_wins() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut tombs = Vec::new();
    for _ in 0..5 {
        let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
        tenant.delete_server(&actor(), id, None).await.unwrap();
        tombs.push(id);
    }
    let restores = tombs.into_iter().map(|id| {
        let tenant = tenant.clone();
        tokio::spawn(async move { tenant.restore_server(&actor(), id).await.map(drop) })
    });
    let creates = (0..5).map(|_| {
        let tenant = tenant.clone();
        tokio::spawn(async move { tenant.create_server(&actor(), server("notes")).await.map(drop) })
    });
    let tasks: Vec<_> = restores.chain(creates).collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => won += 1,
            Err(refused) => assert!(matches!(refused, StoreError::NameTaken), "{refused:?}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn only_a_tombstone_that_no_live_key_names_is_erased() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    assert!(matches!(tenant.purge_server(&actor(), id, None).await, Err(StoreError::StillLive)));
    for (number, names) in
        [(1, vec!["notes"]), (2, vec!["wiki", "notes"]), (3, vec!["notes-2", "my-notes"]), (4, vec!["notes"])]
    {
        let mut new = key(tenant.id(), number);
        new.verifier.servers = Some(names.into_iter().map(str::to_owned).collect());
        house.clock.advance_micros(1);
        tenant.create_key(&actor(), new).await.unwrap();
    }
    let mut all = key(tenant.id(), 5);
    all.verifier.servers = None;
    tenant.create_key(&actor(), all).await.unwrap();
    tenant.revoke_key(&actor(), key_id(4)).await.unwrap();
    tenant.delete_server(&actor(), id, None).await.unwrap();

    let dependencies = tenant.server_dependencies(id).await.unwrap().unwrap();
    let named: Vec<_> = dependencies.keys.iter().map(|key| (key.id, key.label.as_str())).collect();
    assert_eq!(named, [(key_id(1), "key 1"), (key_id(2), "key 2")], "by the exact name, live ones only");
    assert_eq!(dependencies.key_count, 2);
    match tenant.purge_server(&actor(), id, None).await {
        Err(StoreError::Referenced(found)) => assert_eq!(*found, dependencies),
        other => panic!("{other:?}"),
    }
    assert!(matches!(tenant.purge_server(&actor(), id, Some(Generation(1))).await, Err(StoreError::Stale { .. })));

    for number in [1, 2] {
        tenant.revoke_key(&actor(), key_id(number)).await.unwrap();
    }
    tenant.purge_server(&actor(), id, Some(Generation(2))).await.unwrap();
    assert_eq!(tenant.deleted_server(id).await.unwrap(), None);
    assert_eq!(tenant.server_dependencies(id).await.unwrap(), None);
    assert!(matches!(tenant.purge_server(&actor(), id, None).await, Err(StoreError::NotFound)));
    assert!(matches!(tenant.restore_server(&actor(), id).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn keys_that_name_the_heir_of_a_name_do_not_hold_the_tombstone() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let old = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    tenant.delete_server(&actor(), old, None).await.unwrap();
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    assert_eq!(tenant.server_dependencies(old).await.unwrap().unwrap().key_count, 1);
    let heir = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    assert_eq!(tenant.server_dependencies(heir).await.unwrap().unwrap().key_count, 1);
    assert!(tenant.server_dependencies(old).await.unwrap().unwrap().is_empty());
    tenant.purge_server(&actor(), old, None).await.unwrap();
    assert!(tenant.server(heir).await.unwrap().is_some());
}

#[tokio::test]
async fn a_manifest_is_replaced_by_a_later_one_and_goes_with_its_server() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let created = tenant.create_server(&actor(), server("notes")).await.unwrap();
    let id = created.value.spec.id;
    let manifest = |tools: &str, fetched_at| Manifest {
        server: id,
        digest: Digest([fetched_at as u8; 32]),
        tools: tools.to_owned(),
        fetched_at,
    };
    assert_eq!(tenant.manifest(id).await.unwrap(), None);
    for (put, kept) in [(5, 5), (9, 9), (7, 9)] {
        tenant.put_manifest(manifest(&format!("[{put}]"), put)).await.unwrap();
        assert_eq!(tenant.manifest(id).await.unwrap(), Some(manifest(&format!("[{kept}]"), kept)));
    }
    let long = manifest(&" ".repeat((8 << 20) + 1), 10);
    assert!(matches!(tenant.put_manifest(long).await, Err(StoreError::Bound { limit: 8_388_608, .. })));
    assert_eq!(house.store.platform().revision().await.unwrap(), created.revision, "observed, not intended");

    tenant.delete_server(&actor(), id, None).await.unwrap();
    assert_eq!(tenant.manifest(id).await.unwrap(), None);
    assert!(matches!(tenant.put_manifest(manifest("[]", 11)).await, Err(StoreError::NotFound)));
    tenant.purge_server(&actor(), id, None).await.unwrap();
}
