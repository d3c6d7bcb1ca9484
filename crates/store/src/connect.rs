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
            if let Some(path) = file_to_make(url)? {
                make_private(&path).map_err(|cause| StoreError::File { path, cause })?;
            }
            // Writing first: it switches the file to WAL, which the readers rely on.
            let write = sqlite(url, false).await?;
            (write, sqlite(url, true).await?)
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

async fn sqlite(url: &str, only_read: bool) -> Result<DatabaseConnection, StoreError> {
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(if only_read { READ_CONNECTIONS } else { 1 })
        .acquire_timeout(TURN_WAIT)
        .sqlx_logging(false)
        .map_sqlx_sqlite_opts(move |sqlite| {
            let sqlite = sqlite.foreign_keys(true).busy_timeout(BUSY_WAIT);
            if only_read {
                sqlite.pragma("query_only", "ON")
            } else {
                // FULL: a commit that was answered survives a power cut.
                sqlite.pragma("journal_mode", "WAL").pragma("synchronous", "FULL")
            }
        });
    Ok(Database::connect(options).await?)
}

/// The file of a SQLite address, if the address allows to make it. An address without a file is
/// refused: in memory, readers and the writer would each have a database of their own.
fn file_to_make(url: &str) -> Result<Option<PathBuf>, StoreError> {
    let rest = url.strip_prefix("sqlite://").ok_or(StoreError::Address)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    if path.is_empty() || path.starts_with(':') || query.contains("mode=memory") {
        return Err(StoreError::Address);
    }
    Ok(query.split('&').any(|part| part == "mode=rwc").then(|| PathBuf::from(path)))
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
    use super::*;

    #[test]
    fn sqlite_addresses_name_a_file() {
        for (url, path) in [
            ("sqlite:///a/b.db?mode=rwc", Some("/a/b.db")),
            ("sqlite://b.db?cache=private&mode=rwc", Some("b.db")),
            ("sqlite:///a/b.db", None),
            ("sqlite:///a/b.db?mode=rw", None),
        ] {
            assert_eq!(file_to_make(url).unwrap(), path.map(PathBuf::from), "{url}");
        }
        for url in ["sqlite::memory:", "sqlite://:memory:", "sqlite://", "sqlite:///x?mode=memory"] {
            assert!(matches!(file_to_make(url), Err(StoreError::Address)), "{url}");
        }
    }
}
