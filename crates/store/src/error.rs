//! What the store answers when it can't do what was asked.

use std::path::PathBuf;

use model::Generation;
use sea_orm::{DbErr, RuntimeErr, SqlxError};

use crate::Dependencies;

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
    /// The tenant has as many OAuth clients as it may have.
    #[error("at most {limit} clients are allowed")]
    QuotaClients {
        /// How many it may have.
        limit: u32,
    },
    /// The code of which it would be made was shown twice.
    #[error("the code was used twice")]
    Replayed,
    /// Another owner does what was claimed: this one took too long.
    #[error("the claim was taken over")]
    ClaimLost,
    /// There are as many of these as there may be.
    #[error("at most {limit} {what} are allowed")]
    Bound {
        /// Of what, in the plural.
        what: &'static str,
        /// How many there may be.
        limit: u32,
    },
    /// A live user of the tenant has this login.
    #[error("the login is taken")]
    LoginTaken,
    /// A live user of the tenant has this external id.
    #[error("the external id is taken")]
    ExternalIdTaken,
    /// An identity provider of the tenant has this issuer.
    #[error("the issuer is taken")]
    IssuerTaken,
    /// The same egress rule stands already.
    #[error("the same rule exists")]
    RuleTaken,
    /// There is a connection for this server and holder.
    #[error("the connection exists")]
    ConnectionExists,
    /// Something newer was put in the meantime: it stands.
    #[error("a newer token is there, of generation {current}")]
    TokenStale {
        /// The generation of the token that is there.
        current: i64,
    },
    /// Another one refreshes by now.
    #[error("the lease was taken over")]
    LeaseLost,
    /// No such user in this tenant.
    #[error("no such user")]
    NoUser,
    /// No such department in this tenant.
    #[error("no such department")]
    NoDepartment,
    /// No such live server in this tenant.
    #[error("no such server")]
    NoServer,
    /// The key is revoked or expired, for good.
    #[error("the key has ended")]
    KeyEnded,
    /// Two keys of one chain live already.
    #[error("two keys of this chain are live: revoke one first")]
    ChainFull,
    /// Nobody could administer the platform any more.
    #[error("no platform admin would be left")]
    LastAdmin,
    /// Only what is deleted can be erased.
    #[error("the record is not deleted")]
    StillLive,
    /// Others refer to it.
    #[error("{} keys refer to the record", .0.key_count)]
    Referenced(Box<Dependencies>),
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
    /// The file is no database, or pages of it are broken.
    #[error("the database is damaged: {detail}")]
    Damaged {
        /// What the database said.
        detail: String,
    },
    /// The database takes no writes: its disk is full, or it is read-only. Reads go on.
    #[error("the database takes no writes")]
    Full(#[source] DbErr),
    /// The database is away, too slow or overloaded: to be tried again.
    #[error("the database can't be used now")]
    Unavailable(#[source] DbErr),
    /// The database went away while it committed: the change was made, or it was not.
    #[error("the database did not say whether the change was made")]
    Uncertain(#[source] DbErr),
    /// The task that commits was ended with the process.
    #[error("the change was interrupted")]
    Interrupted,
    /// Connections of the server have secrets, which would go elsewhere than they were given for.
    #[error("connections of the server have secrets")]
    NotBare,
    /// The database refused what should fit.
    #[error("the database failed")]
    Database(#[source] DbErr),
}

impl From<DbErr> for StoreError {
    fn from(cause: DbErr) -> Self {
        match Trouble::of(&cause) {
            Trouble::Away => Self::Unavailable(cause),
            Trouble::Full => Self::Full(cause),
            Trouble::Damaged => Self::Damaged { detail: cause.to_string() },
            Trouble::Other => Self::Database(cause),
        }
    }
}

impl StoreError {
    /// What a failed COMMIT means: a refusal of the database left no trace, silence may have.
    pub(crate) fn of_commit(cause: DbErr) -> Self {
        match Self::from(cause) {
            Self::Unavailable(cause) if !refused(&cause) => Self::Uncertain(cause),
            other => other,
        }
    }
}

/// What kind of failure a database reports.
enum Trouble {
    /// To be tried again.
    Away,
    /// No writes.
    Full,
    /// Needs an operator.
    Damaged,
    /// A fault of ours.
    Other,
}

impl Trouble {
    fn of(cause: &DbErr) -> Self {
        let cause = match cause {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(RuntimeErr::Internal(_)) => return Self::Away,
            DbErr::Conn(RuntimeErr::SqlxError(cause))
            | DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => cause.as_ref(),
            _ => return Self::Other,
        };
        match cause {
            SqlxError::Database(said) => Self::of_code(said.code().as_deref().unwrap_or_default()),
            SqlxError::Io(_)
            | SqlxError::Tls(_)
            | SqlxError::Protocol(_)
            | SqlxError::PoolTimedOut
            | SqlxError::PoolClosed
            | SqlxError::WorkerCrashed => Self::Away,
            _ => Self::Other,
        }
    }

    /// SQLSTATE of PostgreSQL (five characters), or SQLite's extended code: its low byte is the kind.
    fn of_code(code: &str) -> Self {
        if code.len() != 5 {
            return match code.parse::<u32>().map(|code| code & 0xff) {
                // BUSY, LOCKED, IOERR, CANTOPEN
                Ok(5 | 6 | 10 | 14) => Self::Away,
                // READONLY, FULL
                Ok(8 | 13) => Self::Full,
                // CORRUPT, NOTADB
                Ok(11 | 26) => Self::Damaged,
                _ => Self::Other,
            };
        }
        match code {
            // disk_full, read_only_sql_transaction
            "53100" | "25006" => Self::Full,
            // data_corrupted, index_corrupted
            "XX001" | "XX002" => Self::Damaged,
            // query_canceled (its deadline), lock_not_available, io_error
            "57014" | "55P03" | "58030" => Self::Away,
            // connection exceptions, transaction rollback, insufficient resources, operator intervention
            _ if ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class)) => Self::Away,
            _ => Self::Other,
        }
    }
}

/// Whether the database itself said no.
fn refused(cause: &DbErr) -> bool {
    match cause {
        DbErr::Conn(RuntimeErr::SqlxError(cause))
        | DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause)) => matches!(cause.as_ref(), SqlxError::Database(_)),
        _ => false,
    }
}
