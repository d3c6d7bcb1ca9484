//! Opening the database: one of two kinds, its schema brought up to date, its revision known.

mod postgres;
mod sqlite;

use std::sync::Arc;

use model::{Clock, Revision};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, EntityTrait, TransactionTrait as _};
use tokio::sync::watch;

use crate::change::{STATE_ID, writing};
use crate::entity::state;
use crate::hints::Heard;
use crate::timed::{Timed, Unfinished};
use crate::{Inner, Store, StoreError};

impl Store {
    /// Opens `sqlite:///path/gatehouse.db?mode=rwc` (the file is made with mode 0600) or
    /// `postgres://user:password@host/database?sslmode=…`, and brings the schema up to date under a lock.
    pub async fn connect(url: &str, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let unfinished = Unfinished::default();
        let (write, read) = if sqlite::accepts(url) {
            sqlite::open(url).await?
        } else if postgres::accepts(url) {
            postgres::open(url, &unfinished).await?
        } else {
            return Err(StoreError::Address);
        };
        let (write, read) = (Timed::new(write, unfinished.clone()), Timed::new(read, unfinished));
        let (changes, _) = watch::channel(Revision::default());
        let store = Self { inner: Arc::new(Inner { write, read, clock, changes, heard: Heard::default() }) };
        store.migrate().await?;
        let revision = store.platform().revision().await?;
        store.inner.changes.send_replace(revision);
        Ok(store)
    }

    /// Schema and first revision in one transaction: two processes that start together can't both see
    /// an empty database.
    async fn migrate(&self) -> Result<(), StoreError> {
        let tx = self.inner.write.untimed().begin_with_options(writing()).await?;
        migrations::migrate(&tx).await?;
        let first = state::ActiveModel { id: Set(STATE_ID), epoch: Set(self.now()), seq: Set(0) };
        state::Entity::insert(first)
            .on_conflict(OnConflict::column(state::Column::Id).do_nothing().to_owned())
            .try_insert()
            .exec_without_returning(&tx)
            .await?;
        tx.commit().await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::ManualClock;
    use sea_orm::{ConnectionTrait, DbBackend, Statement};

    use super::*;

    async fn pragma(db: &impl ConnectionTrait, name: &str) -> String {
        let row = db
            .query_one_raw(Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {name}")))
            .await
            .unwrap()
            .unwrap();
        row.try_get_by_index::<String>(0)
            .or_else(|_| row.try_get_by_index::<i64>(0).map(|number| number.to_string()))
            .unwrap()
    }

    #[tokio::test]
    async fn connections_are_durable_checked_and_patient_and_readers_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd name 100%.db");
        let url = format!("sqlite://{}?mode=rwc", path.display());
        let store = Store::connect(&url, Arc::new(ManualClock::at(1))).await.unwrap();
        assert!(path.exists());
        let (write, read) = (&store.inner.write, &store.inner.read);
        for (name, value) in
            [("journal_mode", "wal"), ("synchronous", "2"), ("foreign_keys", "1"), ("busy_timeout", "5000")]
        {
            assert_eq!(pragma(write, name).await, value, "{name}");
        }
        for (name, value) in [("journal_mode", "wal"), ("query_only", "1"), ("busy_timeout", "5000")] {
            assert_eq!(pragma(read, name).await, value, "{name}");
        }
        assert!(read.execute_unprepared("UPDATE state SET seq = 9").await.is_err());
    }
}
