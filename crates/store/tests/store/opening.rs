//! Opening a database: made closed to others, migrated once, found again.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use model::{ManualClock, Revision};
use sea_orm::{ConnectionTrait, Database, DbBackend, Statement};
use store::{Store, StoreError};

use crate::house::{House, START, actor, server};

#[tokio::test]
async fn the_database_file_and_its_log_are_closed_to_others() {
    let house = House::new().await;
    house.tenant("acme").await;
    for entry in std::fs::read_dir(house.path().parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn a_known_database_comes_back_with_its_epoch_and_records() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let committed = tenant.create_server(&actor(), server("notes")).await.unwrap();
    house.store.clone().close().await.unwrap();

    house.clock.advance_micros(1_000);
    let again = house.second_process().await;
    assert_eq!(*again.changes().borrow(), committed.revision);
    assert_eq!(again.platform().revision().await.unwrap(), Revision { epoch: START, seq: 2 });
    assert_eq!(again.tenant(tenant.id()).server_by_name("notes").await.unwrap(), Some(committed.value));
}

#[tokio::test]
async fn processes_that_start_together_migrate_once() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/gatehouse.db?mode=rwc", folder.path().display());
    let starts: Vec<_> = (0..6)
        .map(|number| {
            let (url, clock) = (url.clone(), Arc::new(ManualClock::at(START + number)));
            tokio::spawn(async move { Store::connect(&url, clock).await })
        })
        .collect();
    let mut revisions = Vec::new();
    for start in starts {
        revisions.push(start.await.unwrap().unwrap().platform().revision().await.unwrap());
    }
    revisions.dedup();
    assert_eq!(revisions.len(), 1, "one epoch for all: {revisions:?}");
}

#[tokio::test]
async fn other_addresses_and_unusable_folders_are_refused_clearly() {
    let clock = || Arc::new(ManualClock::at(START));
    for url in ["", "gatehouse.db", "mysql://x/y", "sqlite::memory:", "sqlite://:memory:"] {
        assert!(matches!(Store::connect(url, clock()).await, Err(StoreError::Address)), "{url}");
    }
    let refused = Store::connect("sqlite:///nonexistent/folder/x.db?mode=rwc", clock()).await.unwrap_err();
    assert!(refused.to_string().contains("/nonexistent/folder/x.db"), "{refused}");
}

#[tokio::test]
async fn the_database_itself_refuses_what_must_not_be() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_server(&actor(), server("notes")).await.unwrap();
    let raw = Database::connect(format!("sqlite://{}", house.path().display())).await.unwrap();
    let copy = |name: &str, title: &str, tenant: &str| {
        let columns = "generation, transport, url, headers, connect_timeout_ms, read_timeout_ms, disabled_tools, \
                       trust_hints, enabled, created_at, updated_at, deleted_at";
        let sql = format!(
            "INSERT INTO server (id, tenant_id, name, title, {columns}) SELECT randomblob(16), {tenant}, {name}, {title}, {columns} FROM server LIMIT 1"
        );
        raw.execute_raw(Statement::from_string(DbBackend::Sqlite, sql))
    };
    assert!(copy("'free'", "title", "tenant_id").await.unwrap_err().to_string().contains("UNIQUE"), "title");
    assert!(copy("name", "'free'", "tenant_id").await.unwrap_err().to_string().contains("UNIQUE"), "name");
    assert!(copy("'free'", "'free'", "randomblob(16)").await.unwrap_err().to_string().contains("FOREIGN"), "tenant");
    assert!(copy("'free'", "'free'", "tenant_id").await.is_ok());
}
