//! Waking other processes on the same database: NOTIFY and LISTEN on PostgreSQL, nothing on SQLite, and any other
//! way that carries [`Store::said`] to their [`Store::wake`]. A hint is never more than that: whoever waits for
//! one polls as well.

use std::time::Duration;

use sea_orm::sqlx::postgres::PgListener;
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};
use tokio::sync::{broadcast, watch};

use crate::Store;

/// The one channel of a database; the payload is the word of the hint.
const CHANNEL: &str = "gatehouse";
/// Pause before listening again after the connection was lost.
const RETRY: Duration = Duration::from_secs(1);

/// What there is to look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hint {
    /// Intended state has changed. Part of every change: nobody has to say it.
    Change,
    /// Proxies have come further.
    Status,
    /// There is a command, or an answer to one.
    Command,
}

impl Hint {
    /// Every hint.
    pub const ALL: [Self; 3] = [Self::Change, Self::Status, Self::Command];

    /// The word of the hint.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Change => "change",
            Self::Status => "status",
            Self::Command => "command",
        }
    }
}

/// Hints that this process gives and a listener may be behind; one that is lost is made up for by polling.
const BEHIND: usize = 64;

/// Counters of the hints that other processes gave, and those that this one gives.
#[derive(Debug)]
pub(crate) struct Heard {
    status: watch::Sender<u64>,
    command: watch::Sender<u64>,
    pub(crate) said: broadcast::Sender<Hint>,
}

impl Default for Heard {
    fn default() -> Self {
        Self {
            status: watch::Sender::default(),
            command: watch::Sender::default(),
            said: broadcast::Sender::new(BEHIND),
        }
    }
}

impl Store {
    /// Whether other processes may use this database at the same time as a matter of course.
    pub fn is_shared(&self) -> bool {
        self.inner.read.get_database_backend() == DbBackend::Postgres
    }

    /// Wakes whenever another process has said that proxies have come further.
    pub fn statuses_hinted(&self) -> watch::Receiver<u64> {
        self.inner.heard.status.subscribe()
    }

    /// Wakes whenever another process has said that there is a command or an answer.
    pub fn commands_hinted(&self) -> watch::Receiver<u64> {
        self.inner.heard.command.subscribe()
    }

    /// The hints that this process gives from now on: what another way than the database's own may carry.
    pub fn said(&self) -> broadcast::Receiver<Hint> {
        self.inner.heard.said.subscribe()
    }

    /// Another process gave a hint.
    pub fn wake(&self, hint: Hint) {
        match hint {
            Hint::Change => self.inner.changes.send_modify(|_| ()),
            Hint::Status => self.inner.heard.status.send_modify(|count| *count += 1),
            Hint::Command => self.inner.heard.command.send_modify(|count| *count += 1),
        }
    }

    /// Wakes the other processes. Not being able to is no failure: they poll.
    pub async fn hint(&self, hint: Hint) {
        // Nobody may be carrying it.
        _ = self.inner.heard.said.send(hint);
        if let Err(error) = notify(&self.inner.write, hint).await {
            tracing::debug!(%error, hint = hint.as_str(), "no hint could be given");
        }
    }

    /// Hears the hints of other processes, for ever; connects again when the connection was lost.
    pub async fn listen(&self) {
        if !self.is_shared() {
            return std::future::pending().await;
        }
        loop {
            if let Err(error) = self.hear().await {
                tracing::debug!(error = &error as &dyn std::error::Error, "hints can't be heard for now");
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn hear(&self) -> Result<(), sea_orm::sqlx::Error> {
        let mut listener = PgListener::connect_with(self.inner.read.untimed().get_postgres_connection_pool()).await?;
        listener.listen(CHANNEL).await?;
        // What was said before anybody listened is not known: look once.
        Hint::ALL.into_iter().for_each(|hint| self.wake(hint));
        while let Some(notification) = listener.try_recv().await? {
            let said = Hint::ALL.into_iter().filter(|hint| hint.as_str() == notification.payload());
            said.for_each(|hint| self.wake(hint));
        }
        Ok(())
    }
}

/// Says it on this connection; within a transaction it is heard when that commits, and never if it doesn't.
pub(crate) async fn notify(db: &impl ConnectionTrait, hint: Hint) -> Result<(), DbErr> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let say = [CHANNEL.into(), hint.as_str().into()];
    db.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, "SELECT pg_notify($1, $2)", say)).await?;
    Ok(())
}
