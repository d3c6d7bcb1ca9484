//! Schema history: one file per step, each for SQLite and PostgreSQL alike.
//!
//! The previous program runs against the next schema for a while, so a step adds; what it made
//! superfluous goes with a later release. A step that was released is never edited.

mod m0001_foundation;
mod m0002_proxy_instance;
mod m0003_management;
mod m0004_identity;
mod m0005_sign_in;
mod m0006_connections;
mod m0007_toolsets;
mod m0008_peers;
mod m0009_eras;

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend};
pub use sea_orm_migration::{MigratorTrait, SchemaManager};

/// All steps, oldest first.
pub struct Migrator;

impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_foundation::Migration),
            Box::new(m0002_proxy_instance::Migration),
            Box::new(m0003_management::Migration),
            Box::new(m0004_identity::Migration),
            Box::new(m0005_sign_in::Migration),
            Box::new(m0006_connections::Migration),
            Box::new(m0007_toolsets::Migration),
            Box::new(m0008_peers::Migration),
            Box::new(m0009_eras::Migration),
        ]
    }
}

/// Any number that no other program on the same database would use: the first bytes of "gatehous".
const ADVISORY_LOCK: i64 = 0x6761_7465_686f_7573;

/// Brings the schema up to date inside `transaction`, while no other process can do the same.
///
/// On SQLite the caller began the transaction as an immediate one: that is the lock. On PostgreSQL an
/// advisory lock is taken here and lives as long as the transaction.
pub async fn migrate(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
    if transaction.get_database_backend() == DbBackend::Postgres {
        // However long this or another process migrates, the deadlines of queries don't apply.
        transaction.execute_unprepared("SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0").await?;
        transaction.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")).await?;
    }
    Migrator::up(transaction, None).await
}
