//! Tenants, revision, outbox, sealed envelopes and proxies.

use model::{Limits, Revision, TenantId};
use store::{NewTenant, ProxyStatus, StoreError};

use crate::house::{House, START, actor, server};

#[tokio::test]
async fn a_created_tenant_is_read_back_the_same() {
    let house = House::new().await;
    let acme = house.tenant_with("acme", Limits::generous()).await;
    let other = house.tenant_with("other", Limits::default()).await;
    let platform = house.store.platform();
    assert_eq!(acme.created_at, START);
    assert_eq!(platform.tenant_by_name("acme").await.unwrap(), Some(acme.clone()));
    assert_eq!(platform.tenant(acme.spec.id).await.unwrap(), Some(acme.clone()));
    assert_eq!(platform.tenants().await.unwrap(), [acme, other]);
    assert_eq!(platform.tenant_by_name("none").await.unwrap(), None);
    assert_eq!(platform.tenant(TenantId::fresh()).await.unwrap(), None);
}

#[tokio::test]
async fn a_tenants_name_is_unique() {
    let house = House::new().await;
    house.tenant("acme").await;
    let again = NewTenant { name: "acme".parse().unwrap(), title: "x".to_owned(), limits: Limits::default() };
    assert!(matches!(house.store.platform().create_tenant(&actor(), again).await, Err(StoreError::NameTaken)));
}

#[tokio::test]
async fn every_change_raises_the_seq_by_one_and_wakes_who_waits() {
    let house = House::new().await;
    let mut changes = house.store.changes();
    assert_eq!(*changes.borrow_and_update(), Revision { epoch: START, seq: 0 });
    let tenant = house.tenant("acme").await;
    let committed = tenant.create_server(&actor(), server("notes")).await.unwrap();
    assert_eq!(committed.revision, Revision { epoch: START, seq: 2 });
    assert!(changes.has_changed().unwrap());
    assert_eq!(*changes.borrow_and_update(), committed.revision);
    assert_eq!(house.store.platform().revision().await.unwrap(), committed.revision);

    assert!(tenant.create_server(&actor(), server("notes")).await.is_err());
    assert!(!changes.has_changed().unwrap(), "a refused change wakes nobody");
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_half_change_and_no_lock() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for number in 0..20u32 {
        let task = tokio::spawn({
            let tenant = tenant.clone();
            async move { tenant.create_server(&actor(), server(&format!("s{number}"))).await }
        });
        for _ in 0..number {
            tokio::task::yield_now().await;
        }
        task.abort();
        let _ = task.await;
    }
    let last = tenant.create_server(&actor(), server("last")).await.unwrap();
    let servers = tenant.servers(store::Page { limit: 100, ..Default::default() }).await.unwrap();
    assert_eq!(last.revision.seq, 1 + servers.len() as i64, "as many seqs as records");
    assert_eq!(*house.store.changes().borrow(), last.revision);
    assert_eq!(tenant.audit(100).await.unwrap().len(), 1 + servers.len());
}

#[tokio::test]
async fn a_raised_epoch_is_newer_than_every_revision_before() {
    let house = House::new().await;
    house.tenant("acme").await;
    let old = house.store.platform().revision().await.unwrap();
    let changes = house.store.changes();
    let above = Revision { seq: old.seq + 1, ..old };
    let new = house.store.platform().raise_epoch(above).await.unwrap();
    assert!(new > old && new.seq == old.seq);
    house.clock.advance_micros(-1_000_000);
    assert_eq!(house.store.platform().raise_epoch(above).await.unwrap(), new, "it is above already");
    assert_eq!(house.store.platform().raise_epoch(new).await.unwrap(), new);
    let newest = house.store.platform().raise_epoch(Revision { seq: new.seq + 1, ..new }).await.unwrap();
    assert!(newest > new, "even with the clock set back");
    assert_eq!(house.store.platform().revision().await.unwrap(), newest);
    assert_eq!(*changes.borrow(), newest);
}

#[tokio::test]
async fn outbox_rows_come_in_order_bounded_and_can_be_pruned() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for number in 0..5 {
        tenant.create_server(&actor(), server(&format!("s{number}"))).await.unwrap();
    }
    let platform = house.store.platform();
    let seqs = async |since, limit| -> Vec<i64> {
        platform.outbox_since(since, limit).await.unwrap().iter().map(|row| row.seq).collect()
    };
    assert_eq!(seqs(0, 100).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(seqs(2, 2).await, [3, 4]);
    assert_eq!(platform.prune_outbox(4).await.unwrap(), 3);
    assert_eq!(seqs(0, 100).await, [4, 5, 6]);
    assert_eq!(seqs(6, 100).await, [0; 0]);
}

#[tokio::test]
async fn sealed_envelopes_are_kept_byte_for_byte_and_replaced() {
    let house = House::new().await;
    let platform = house.store.platform();
    assert_eq!(platform.sealed("fleet").await.unwrap(), None);
    for bytes in [vec![0, 255, 1, 128], vec![]] {
        platform.put_sealed("fleet", bytes.clone()).await.unwrap();
        assert_eq!(platform.sealed("fleet").await.unwrap(), Some(bytes));
    }
    assert_eq!(platform.sealed("other").await.unwrap(), None);
}

#[tokio::test]
async fn proxies_are_kept_by_node_and_forgotten_when_unseen() {
    let house = House::new().await;
    let platform = house.store.platform();
    let status = |node: &str, last_seen| ProxyStatus {
        node: node.to_owned(),
        pool: "default".to_owned(),
        instance: "folder".to_owned(),
        applied: Revision { epoch: 1, seq: last_seen },
        last_seen,
        rejected: "[]".to_owned(),
    };
    platform.put_proxy_statuses(vec![status("default/a", 1), status("default/b", 5)]).await.unwrap();
    platform.put_proxy_statuses(vec![status("default/a", 9), status("default/c", 7)]).await.unwrap();
    platform.remove_proxy_status("default/c").await.unwrap();
    assert_eq!(platform.proxy_statuses().await.unwrap(), [status("default/a", 9), status("default/b", 5)]);
    assert_eq!(platform.forget_proxies(9).await.unwrap(), 1);
    assert_eq!(platform.proxy_statuses().await.unwrap(), [status("default/a", 9)]);
}
