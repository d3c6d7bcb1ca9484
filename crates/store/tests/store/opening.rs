//! Opening a database: migrated once, found again, with rules of its own.

use std::sync::Arc;

use migrations::{Migrator, MigratorTrait as _, SchemaManager};
use model::{ManualClock, Revision};
use sea_orm::{ConnectionTrait as _, Database, SqlErr};
use store::{Store, TenantPage};

use crate::DATABASE;
use crate::house::{House, Kind, START, actor, empty_database, server};

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
    let url = empty_database(&folder);
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
async fn the_database_itself_refuses_what_must_not_be() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_server(&actor(), server("notes")).await.unwrap();
    let raw = house.raw().await;
    let fresh = if DATABASE == Kind::Sqlite { "randomblob(16)" } else { "gen_random_uuid()" };
    let copy = async |name: &str, title: &str, tenant: &str| {
        let columns = "generation, transport, url, headers, connect_timeout_ms, read_timeout_ms, disabled_tools, \
                       trust_hints, enabled, created_at, updated_at, deleted_at";
        let sql = format!(
            "INSERT INTO server (id, tenant_id, name, title, {columns}) SELECT {fresh}, {tenant}, {name}, {title}, {columns} FROM server LIMIT 1"
        );
        raw.execute_unprepared(&sql).await.map_err(|refused| refused.sql_err())
    };
    let unique = |refused| matches!(refused, Err(Some(SqlErr::UniqueConstraintViolation(_))));
    assert!(unique(copy("'free'", "title", "tenant_id").await), "title");
    assert!(unique(copy("name", "'free'", "tenant_id").await), "name");
    let stranger = copy("'free'", "'free'", fresh).await;
    assert!(matches!(stranger, Err(Some(SqlErr::ForeignKeyConstraintViolation(_)))), "tenant");
    assert!(copy("'free'", "'free'", "tenant_id").await.is_ok());
}

#[tokio::test]
async fn the_schema_goes_up_and_down_and_up_again() {
    let house = House::new().await;
    house.tenant("acme").await;
    house.store.clone().close().await.unwrap();
    let raw = house.raw().await;
    let tables = async || {
        let schema = SchemaManager::new(&raw);
        let mut found = Vec::new();
        for table in [
            "tenant",
            "user",
            "department",
            "api_key",
            "server",
            "outbox",
            "audit",
            "idempotency",
            "command",
            "issuer",
            "signer",
            "connection",
            "connection_fingerprint",
            "tenant_key",
            "upstream_client",
            "upstream_metadata",
            "login_attempt",
            "vault_job",
        ] {
            found.push((table, schema.has_table(table).await.unwrap()));
        }
        found
    };
    let up = tables().await;
    assert!(up.iter().all(|(_, there)| *there), "{up:?}");
    Migrator::down(&raw, None).await.unwrap();
    assert!(tables().await.iter().all(|(_, there)| !there));
    raw.close().await.unwrap();
    let again = house.second_process().await;
    assert_eq!(again.platform().tenants(TenantPage { limit: 10, ..Default::default() }).await.unwrap(), []);
}

#[tokio::test]
async fn each_step_of_the_schema_can_be_taken_back_and_forth() {
    let folder = tempfile::tempdir().unwrap();
    let raw = Database::connect(empty_database(&folder)).await.unwrap();
    for _ in Migrator::migrations() {
        Migrator::up(&raw, Some(1)).await.unwrap();
        Migrator::down(&raw, Some(1)).await.unwrap();
        Migrator::up(&raw, Some(1)).await.unwrap();
    }
    assert!(Migrator::get_pending_migrations(&raw).await.unwrap().is_empty());
}
