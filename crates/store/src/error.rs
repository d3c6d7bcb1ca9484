//! What the store answers when it can't do what was asked.

use std::path::PathBuf;

use model::Generation;
use sea_orm::DbErr;

/// Why nothing was read or changed. A change that ended with any of these left no trace.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such live record in this tenant; another tenant's record looks the same.
    #[error("no such record")]
    NotFound,
    /// A live server of the tenant (or a tenant) has this name.
    #[error("the name is taken")]
    NameTaken,
    /// A live server of the tenant has this title.
    #[error("the title is taken")]
    TitleTaken,
    /// A key with this id exists.
    #[error("the key id is taken")]
    KeyTaken,
    /// The record changed since the caller read it.
    #[error("the record has changed, it is at generation {}", current.0)]
    Stale {
        /// Where the record is now.
        current: Generation,
    },
    /// The tenant has as many servers as it may have.
    #[error("at most {limit} servers are allowed")]
    Quota {
        /// How many it may have.
        limit: u32,
    },
    /// The tenant has as many live keys as it may have.
    #[error("at most {limit} live keys are allowed")]
    QuotaKeys {
        /// How many it may have.
        limit: u32,
    },
    /// A row or an argument of another tenant reached this tenant's handle: a fault of ours, always.
    #[error("a record of another tenant was refused")]
    CrossTenant,
    /// A stored value that this program can't read.
    #[error("the stored {what} can't be read")]
    Corrupt {
        /// Which column of which table.
        what: &'static str,
    },
    /// Not `sqlite:///path` nor `postgres://…`.
    #[error("the database address must be sqlite:///path or postgres://…")]
    Address,
    /// The database file can't be made.
    #[error("cannot make the database file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The task that commits was ended with the process.
    #[error("the change was interrupted")]
    Interrupted,
    /// The database refused or is away.
    #[error("the database failed")]
    Database(#[from] DbErr),
}
