//! PostgreSQL, 14 or later.
//!
//! TLS is asked for in the address as libpq knows it: `?sslmode=verify-full&sslrootcert=/path/ca.pem`,
//! `sslcert` and `sslkey` for a certificate of ours.

use std::time::Duration;

use sea_orm::sqlx::{self, Connection as _, PgConnection};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};

use crate::StoreError;
use crate::timed::{DEADLINE, Unfinished};

/// Writers take turns at one row, so more would only wait there.
const WRITE_CONNECTIONS: u32 = 4;
/// Reads never wait for writers: their pool is their own.
const READ_CONNECTIONS: u32 = 8;
/// How long a connection may take to say that it is idle again after a statement was given up on it.
const SETTLING: Duration = Duration::from_millis(200);

/// What every connection asks of the server. A statement has the deadline there too; waiting for a lock
/// ends a little earlier, so that it is told as such; a transaction whose owner is silent gives its locks
/// back; and a statement whose client is gone is ended within a second.
fn settings() -> [(&'static str, String); 4] {
    let millis = |duration: Duration| duration.as_millis().to_string();
    [
        ("statement_timeout", millis(DEADLINE)),
        ("lock_timeout", millis(DEADLINE - Duration::from_millis(500))),
        ("idle_in_transaction_session_timeout", millis(2 * DEADLINE)),
        ("client_connection_check_interval", "1000".to_owned()),
    ]
}

/// Whether an address is one of PostgreSQL's.
pub(super) fn accepts(url: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

/// The pool for writing and the one for reading.
pub(super) async fn open(
    url: &str,
    unfinished: &Unfinished,
) -> Result<(DatabaseConnection, DatabaseConnection), StoreError> {
    Ok((pool(url, WRITE_CONNECTIONS, unfinished).await?, pool(url, READ_CONNECTIONS, unfinished).await?))
}

async fn pool(url: &str, connections: u32, unfinished: &Unfinished) -> Result<DatabaseConnection, StoreError> {
    // The one spelling that every layer below knows.
    let url = url.replacen("postgresql://", "postgres://", 1);
    let unfinished = unfinished.clone();
    let mut options = ConnectOptions::new(url);
    options
        .max_connections(connections)
        .acquire_timeout(DEADLINE)
        .sqlx_logging(false)
        .map_sqlx_postgres_opts(|postgres| postgres.application_name("gatehouse-control").options(settings()))
        .map_sqlx_postgres_pool_opts(move |pool| {
            let unfinished = unfinished.clone();
            pool.after_release(move |connection, _| {
                let doubtful = unfinished.lately();
                Box::pin(async move { if doubtful { settled(connection).await } else { Ok(true) } })
            })
        });
    Ok(Database::connect(options).await?)
}

/// An error closes the connection at once, without waiting for what runs on it; the server notices and
/// ends that too.
async fn settled(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(SETTLING, connection.ping()).await {
        Ok(answered) => answered.map(|()| true),
        Err(_) => Err(sqlx::Error::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            "a statement that was given up still runs on it",
        ))),
    }
}
