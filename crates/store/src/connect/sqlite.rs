//! SQLite: one file, one connection that writes, a few that can't.

use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sea_orm::sea_query::{Alias, Query};
use sea_orm::{ConnectOptions, ConnectionTrait as _, Database, DatabaseConnection};

use crate::StoreError;
use crate::timed::DEADLINE;

const READ_CONNECTIONS: u32 = 4;

/// Whether an address is one of SQLite's.
pub(super) fn accepts(url: &str) -> bool {
    url.starts_with("sqlite:")
}

/// The connection that writes and the pool for reading.
pub(super) async fn open(url: &str) -> Result<(DatabaseConnection, DatabaseConnection), StoreError> {
    let file = File::parse(url)?;
    if file.may_be_made {
        make_private(&file.path).map_err(|cause| StoreError::File { path: file.path.clone(), cause })?;
    }
    // Writing first: it switches the file to WAL, which the readers rely on.
    let write = file.open(Access::Write).await?;
    look_through(&write).await?;
    Ok((write, file.open(Access::Read).await?))
}

/// A broken page is found at the start, not in the middle of somebody's change.
async fn look_through(db: &DatabaseConnection) -> Result<(), StoreError> {
    let check = Query::select().column(Alias::new("quick_check")).from(Alias::new("pragma_quick_check")).to_owned();
    let said = db.query_one(&check).await?.map(|row| row.try_get_by_index::<String>(0)).transpose()?;
    match said.as_deref() {
        Some("ok") => Ok(()),
        other => Err(StoreError::Damaged { detail: other.unwrap_or("its check says nothing").to_owned() }),
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
            .acquire_timeout(DEADLINE)
            .sqlx_logging(false)
            .map_sqlx_sqlite_opts(move |sqlite| {
                let sqlite = sqlite.filename(&path).foreign_keys(true).busy_timeout(DEADLINE);
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
}
