//! Connections that don't wait for ever, and that notice when a caller goes away in the middle.
//!
//! A statement, or a whole transaction up to its commit, has [`DEADLINE`]. The database has a deadline of
//! its own too, but one that is frozen or cut off keeps none. A statement that is given up, by the
//! deadline or because its caller went away, would run on at the server and hold its connection; so each
//! is noted in [`Unfinished`], and `connect/postgres.rs` closes connections that come back from one.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement, TransactionOptions, TransactionTrait,
};
use tokio::time::{Instant, timeout_at};

use crate::tally::Tally;

/// How long a statement may take, with waiting for a connection; and a transaction, with all in it but
/// its commit, which has as long again.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// A connection, pool or transaction with deadlines.
pub(crate) struct Timed<C> {
    inner: C,
    unfinished: Unfinished,
    /// When a transaction's time is over; a pool gives each statement its own.
    until: Option<Instant>,
}

/// When a statement was given up last.
#[derive(Clone, Default)]
pub(crate) struct Unfinished {
    last: Arc<Mutex<Option<Instant>>>,
    /// What became of all statements.
    tally: Arc<Tally>,
}

impl Unfinished {
    /// Whether a statement was given up within the last second: long enough for its connection to be
    /// on its way back.
    pub(crate) fn lately(&self) -> bool {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.is_some_and(|at| at.elapsed() < Duration::from_secs(1))
    }

    fn note(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

/// Work that is noted when it is dropped before its end, and before the connection in it is.
struct Watched<'a, F> {
    work: Pin<Box<F>>,
    unfinished: &'a Unfinished,
    ended: bool,
}

impl<F: Future> Future for Watched<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let polled = self.work.as_mut().poll(context);
        self.ended = polled.is_ready();
        polled
    }
}

impl<F> Drop for Watched<'_, F> {
    fn drop(&mut self) {
        if !self.ended {
            self.unfinished.note();
        }
    }
}

impl<C> Timed<C> {
    async fn within<T>(&self, until: Instant, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
        let watched = Watched { work: Box::pin(work), unfinished: &self.unfinished, ended: false };
        let late = |_| Err(DbErr::Conn(RuntimeErr::Internal("no answer from the database in time".to_owned())));
        let begun = Instant::now();
        let answer = timeout_at(until, watched).await.unwrap_or_else(late);
        self.unfinished.tally.asked(begun.elapsed(), answer.is_ok());
        answer
    }

    pub(crate) fn tally(&self) -> &Tally {
        &self.unfinished.tally
    }

    fn until(&self) -> Instant {
        self.until.unwrap_or_else(|| Instant::now() + DEADLINE)
    }
}

impl Timed<DatabaseConnection> {
    pub(crate) fn new(inner: DatabaseConnection, unfinished: Unfinished) -> Self {
        Self { inner, unfinished, until: None }
    }

    /// The pool without deadlines: for migrations, which take as long as they take.
    pub(crate) fn untimed(&self) -> &DatabaseConnection {
        &self.inner
    }

    pub(crate) fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    /// A transaction that has to be ready to commit within the deadline.
    pub(crate) async fn begin_with_options(
        &self,
        options: TransactionOptions,
    ) -> Result<Timed<DatabaseTransaction>, DbErr> {
        let until = self.until();
        let inner = self.within(until, self.inner.begin_with_options(options)).await?;
        Ok(Timed { inner, unfinished: self.unfinished.clone(), until: Some(until) })
    }

    pub(crate) async fn close(&self) -> Result<(), DbErr> {
        self.inner.close_by_ref().await
    }
}

impl Timed<DatabaseTransaction> {
    pub(crate) async fn commit(self) -> Result<(), DbErr> {
        let Self { inner, unfinished, .. } = self;
        let rest = Timed { inner: (), unfinished, until: None };
        rest.within(rest.until(), inner.commit()).await
    }

    pub(crate) async fn rollback(self) -> Result<(), DbErr> {
        let Self { inner, unfinished, until } = self;
        let rest = Timed { inner: (), unfinished, until };
        rest.within(rest.until(), inner.rollback()).await
    }
}

#[sea_orm::entity::prelude::async_trait::async_trait]
impl<C: ConnectionTrait + Send> ConnectionTrait for Timed<C> {
    fn get_database_backend(&self) -> DbBackend {
        self.inner.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.within(self.until(), self.inner.execute_raw(statement)).await
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.within(self.until(), self.inner.execute_unprepared(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        self.within(self.until(), self.inner.query_one_raw(statement)).await
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        self.within(self.until(), self.inner.query_all_raw(statement)).await
    }
}
