//! Many editors of one record, in two processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::{Generation, ServerId};
use store::{ServerPatch, StoreError, TenantStore};

use crate::house::{House, actor, server};

/// Each edit adds its own number to what it read, and is made only if nobody edited since.
#[tokio::test(flavor = "multi_thread")]
async fn concurrent_edits_of_one_server_by_two_processes_lose_no_update() {
    let edits = if std::env::var_os("GATEHOUSE_LONG").is_some() { 10_000 } else { 200 };
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let second = house.second_process().await.tenant(tenant.id());
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    // From 1: an edit that adds nothing changes nothing, and has no generation of its own.
    let next = Arc::new(AtomicU64::new(1));
    let editors = [&tenant, &second, &tenant, &second].map(|editor| {
        let (editor, next) = (editor.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let edit = next.fetch_add(1, Ordering::Relaxed);
                if edit > edits {
                    return;
                }
                while !applied(&editor, id, edit).await {}
            }
        })
    });
    for editor in editors {
        editor.await.unwrap();
    }
    let record = tenant.server(id).await.unwrap().unwrap();
    assert_eq!(record.description, Some((1..=edits).sum::<u64>().to_string()));
    assert_eq!(record.spec.generation, Generation(1 + i64::try_from(edits).unwrap()));
}

/// One try; false when somebody else was faster.
async fn applied(tenant: &TenantStore, id: ServerId, edit: u64) -> bool {
    let read = tenant.server(id).await.unwrap().unwrap();
    let sum: u64 = read.description.map_or(0, |text| text.parse().unwrap());
    let patch = ServerPatch { description: Some(Some((sum + edit).to_string())), ..ServerPatch::default() };
    match tenant.patch_server(&actor(), id, Some(read.spec.generation), patch).await {
        Ok(_) => true,
        Err(StoreError::Stale { .. }) => false,
        Err(error) => panic!("{error:?}"),
    }
}
