//! A change whose audit or outbox row can't be written never happened.

use model::Revision;
use store::{AuditPage, KeyPage, NewTenant, ServerPage, ServerPatch};

use crate::house::{House, actor, key, key_id, server};

async fn refused_when_no_row_goes_into(table: &str) {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    let platform = house.store.platform();
    let before = (
        platform.intended().await.unwrap(),
        tenant.audit(AuditPage { limit: 100, ..Default::default() }).await.unwrap(),
        platform.outbox_since(0, 100).await.unwrap(),
    );
    let mut changes = house.store.changes();
    changes.borrow_and_update();

    house.refuse_rows_of(table).await;
    let disable = ServerPatch { enabled: Some(false), ..Default::default() };
    let new = NewTenant::new("other".parse().unwrap());
    assert!(tenant.create_server(&actor(), server("wiki")).await.is_err());
    assert!(tenant.patch_server(&actor(), id, None, disable).await.is_err());
    assert!(tenant.delete_server(&actor(), id, None).await.is_err());
    assert!(tenant.create_key(&actor(), key(tenant.id(), 2)).await.is_err());
    assert!(tenant.revoke_key(&actor(), key_id(1)).await.is_err());
    assert!(platform.create_tenant(&actor(), new).await.is_err());

    let after = (
        platform.intended().await.unwrap(),
        tenant.audit(AuditPage { limit: 100, ..Default::default() }).await.unwrap(),
        platform.outbox_since(0, 100).await.unwrap(),
    );
    assert_eq!(after, before);
    assert!(!changes.has_changed().unwrap());
    assert_eq!(tenant.servers(ServerPage { limit: 10, ..Default::default() }).await.unwrap().len(), 1);
    assert_eq!(tenant.keys(KeyPage { limit: 10, ..Default::default() }).await.unwrap().len(), 1);

    house.accept_rows_of(table).await;
    let committed = tenant.create_server(&actor(), server("wiki")).await.unwrap();
    let Revision { seq, .. } = before.0.revision;
    assert_eq!(committed.revision.seq, seq + 1, "no seq was lost");
}

#[tokio::test]
async fn a_change_without_its_audit_row_never_happened() {
    refused_when_no_row_goes_into("audit").await;
}

#[tokio::test]
async fn a_change_without_its_outbox_row_never_happened() {
    refused_when_no_row_goes_into("outbox").await;
}

#[tokio::test]
async fn an_epoch_is_not_raised_without_its_audit_row() {
    let house = House::new().await;
    let before = house.store.platform().revision().await.unwrap();
    house.refuse_rows_of("audit").await;
    assert!(house.store.platform().raise_epoch(Revision { seq: before.seq + 1, ..before }).await.is_err());
    assert_eq!(house.store.platform().revision().await.unwrap(), before);
}
