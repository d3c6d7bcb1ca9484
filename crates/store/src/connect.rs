//! Opening the database: addresses, connection options, the file's mode, migrations.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::{Clock, Revision};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ConnectOptions, Database, DatabaseConnection, EntityTrait};
use tokio::sync::watch;

use crate::change::{STATE_ID, begin_write};
use crate::entity::state;
use crate::{Inner, Store, StoreError};

/// How long one process waits for another one's write on SQLite.
const BUSY_WAIT: Duration = Duration::from_secs(5);
/// How long a caller waits for its turn to write; later ones are refused rather than piled up.
const TURN_WAIT: Duration = Duration::from_secs(10);
const READ_CONNECTIONS: u32 = 4;
const POSTGRES_CONNECTIONS: u32 = 16;

impl Store {
    /// Opens `sqlite:///path/gatehouse.db?mode=rwc` (the file is made with mode 0600) or
    /// `postgres://…`, and brings the schema up to date under a lock.
    pub async fn connect(url: &str, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        let (write, read) = if url.starts_with("sqlite:") {
            let file = File::parse(url)?;
            if file.may_be_made {
                make_private(&file.path).map_err(|cause| StoreError::File { path: file.path.clone(), cause })?;
            }
            // Writing first: it switches the file to WAL, which the readers rely on.
            let write = file.open(Access::Write).await?;
            (write, file.open(Access::Read).await?)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let mut options = ConnectOptions::new(url);
            options.max_connections(POSTGRES_CONNECTIONS).acquire_timeout(TURN_WAIT).sqlx_logging(false);
            let pool = Database::connect(options).await?;
            (pool.clone(), pool)
        } else {
            return Err(StoreError::Address);
        };
        let (changes, _) = watch::channel(Revision::default());
        let store = Self { inner: Arc::new(Inner { write, read, clock, changes }) };
        store.migrate().await?;
        let revision = store.platform().revision().await?;
        store.inner.changes.send_replace(revision);
        Ok(store)
    }

    /// Schema and first revision in one transaction: two processes that start together can't both see
    /// an empty database.
    async fn migrate(&self) -> Result<(), StoreError> {
        let tx = begin_write(self).await?;
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

/// A SQLite address, taken apart.
#[derive(Debug, PartialEq, Eq)]
struct File {
    path: PathBuf,
    may_be_made: bool,
}

/// What a SQLite connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Read,
    Write,
}

impl File {
    /// An address without a file is refused: in memory, readers and the writer would each have a
    /// database of their own. The path is taken as it stands, nothing in it is decoded.
    fn parse(url: &str) -> Result<Self, StoreError> {
        let rest = url.strip_prefix("sqlite://").ok_or(StoreError::Address)?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        if path.is_empty() || path.starts_with(':') {
            return Err(StoreError::Address);
        }
        let may_be_made = match query {
            "mode=rwc" => true,
            "" | "mode=rw" => false,
            _ => return Err(StoreError::Address),
        };
        Ok(Self { path: path.into(), may_be_made })
    }

    async fn open(&self, access: Access) -> Result<DatabaseConnection, StoreError> {
        let path = self.path.clone();
        let mut options = ConnectOptions::new("sqlite://gatehouse.db");
        options
            .max_connections(if access == Access::Write { 1 } else { READ_CONNECTIONS })
            .acquire_timeout(TURN_WAIT)
            .sqlx_logging(false)
            .map_sqlx_sqlite_opts(move |sqlite| {
                let sqlite = sqlite.filename(&path).foreign_keys(true).busy_timeout(BUSY_WAIT);
                match access {
                    Access::Read => sqlite.pragma("query_only", "ON"),
                    // FULL: a commit that was answered survives a power cut.
                    Access::Write => sqlite.pragma("journal_mode", "WAL").pragma("synchronous", "FULL"),
                }
            });
        Ok(Database::connect(options).await?)
    }
}

/// Makes the file before SQLite does, closed to others; its WAL inherits the mode.
fn make_private(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(cause) if cause.kind() != std::io::ErrorKind::AlreadyExists => Err(cause),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use model::ManualClock;
    use sea_orm::{ConnectionTrait, DbBackend, Statement};

    use super::*;

    #[test]
    fn sqlite_addresses_name_a_file() {
        for (url, path, may_be_made) in [
            ("sqlite:///a/b.db?mode=rwc", "/a/b.db", true),
            ("sqlite://b c%20.db?mode=rwc", "b c%20.db", true),
            ("sqlite:///a/b.db", "/a/b.db", false),
            ("sqlite:///a/b.db?mode=rw", "/a/b.db", false),
        ] {
            assert_eq!(File::parse(url).unwrap(), File { path: path.into(), may_be_made }, "{url}");
        }
        for url in
            ["sqlite::memory:", "sqlite://:memory:", "sqlite://", "sqlite:///x?mode=memory", "sqlite:///x?cache=shared"]
        {
            assert!(matches!(File::parse(url), Err(StoreError::Address)), "{url}");
        }
    }

    async fn pragma(db: &DatabaseConnection, name: &str) -> String {
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
