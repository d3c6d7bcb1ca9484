//! Tokens of connections: who may refresh one, what was obtained, what upstreams said of it, and the fingerprints of
//! secrets.
//!
//! A lease is by the database's clock: replicas whose own clocks differ agree on who has it. It only keeps the others
//! waiting: what keeps an old token from replacing a newer one is that each is put over the generation it was made of.

use std::time::Duration;

use model::{ConnectionId, ConnectionStatus};
use sea_orm::sea_query::{Expr, ExprTrait as _, SelectStatement};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, DbBackend, DeleteMany, EntityTrait, QueryFilter, QuerySelect, QueryTrait,
    Select,
};
use uuid::Uuid;

use super::TenantStore;
use super::connections::Part;
use crate::bounds::{self, FINGERPRINTS};
use crate::change::Change;
use crate::entity::connection::Column;
use crate::entity::connection_fingerprint as fingerprint;
use crate::{Actor, Committed, ConnectionRecord, LastError, LeaseOutcome, PutLogin, PutToken, StoreError, Verdict};

/// How much later a connection must have worked again for that to be noted, microseconds: a minute.
const NOTED_MICROS: i64 = 60 * 1_000_000;
/// No lease is longer.
const MAX_LEASE: Duration = Duration::from_secs(600);

impl TenantStore {
    fn scoped_fingerprints(&self) -> Select<fingerprint::Entity> {
        fingerprint::Entity::find().filter(self.own_fingerprints())
    }

    fn scoped_fingerprint_deletion(&self) -> DeleteMany<fingerprint::Entity> {
        fingerprint::Entity::delete_many().filter(self.own_fingerprints())
    }

    fn own_fingerprints(&self) -> Condition {
        Condition::all().add(fingerprint::Column::TenantId.eq(self.tenant.0))
    }

    /// The connections with this secret, as a subquery.
    pub(super) fn marked_with(&self, found: [u8; 16]) -> SelectStatement {
        let those = self.scoped_fingerprints().filter(fingerprint::Column::Fingerprint.eq(found.to_vec()));
        those.select_only().column(fingerprint::Column::ConnectionId).into_query()
    }

    /// Puts the fingerprints of one of a connection's secrets in place of those before.
    pub(super) async fn put_fingerprints(
        &self,
        change: &Change,
        id: ConnectionId,
        part: Part,
        mut of: Vec<[u8; 16]>,
    ) -> Result<(), StoreError> {
        use fingerprint::Column;
        of.sort_unstable();
        of.dedup();
        bounds::fits(of.len(), "secrets of one connection", FINGERPRINTS)?;
        let before = self.scoped_fingerprint_deletion().filter(Column::ConnectionId.eq(id.0));
        before.filter(Column::Part.eq(part.as_str())).exec(&change.tx).await?;
        let rows: Vec<_> = of
            .into_iter()
            .map(|one| fingerprint::ActiveModel {
                tenant_id: Set(self.tenant.0),
                connection_id: Set(id.0),
                part: Set(part.as_str().to_owned()),
                fingerprint: Set(one.to_vec()),
            })
            .collect();
        if !rows.is_empty() {
            fingerprint::Entity::insert_many(rows).exec_without_returning(&change.tx).await?;
        }
        Ok(())
    }

    /// Puts a token in place of the one that it was made of: `TokenStale` if there is a newer one, `LeaseLost` if
    /// another owner refreshes by now. An owner whose lease is over and that nobody relieved may still: what it spent
    /// the old token for must not be lost. Nobody decided it: no audit row, and the generation of the record stays.
    pub async fn put_token(&self, id: ConnectionId, put: PutToken) -> Result<Committed<ConnectionRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.connection_at(&change, id, None).await?;
        let (lease, fingerprints) = (put.lease, put.fingerprints.clone());
        let after = before.with_token(put)?;
        if let Some(owner) = lease {
            self.give_up_lease(&change, id, owner).await?;
        }
        self.put_fingerprints(&change, id, Part::Token, fingerprints).await?;
        self.write_connection(&change, &before, &after).await?;
        let notices = self.connection_notices(&change, tenant.is_live(), &before, &after).await?;
        change.commit_unaudited(notices, after).await
    }

    /// Puts what somebody obtained by signing in at the upstream in place of all secrets before: one version and one
    /// generation on, active, without an error. `Stale` if somebody gave another credential or signed in since this one
    /// set out: the later one stands. `TokenStale` if the token was sealed for another generation: it is to be sealed
    /// again. Whoever refreshes meanwhile has lost the lease.
    pub async fn put_login(
        &self,
        actor: &Actor,
        id: ConnectionId,
        put: PutLogin,
    ) -> Result<Committed<ConnectionRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.connection_at(&change, id, None).await?;
        let fingerprints = put.fingerprints.clone();
        let mut after = before.with_login(put)?;
        self.end_lease(&change, id).await?;
        self.put_fingerprints(&change, id, Part::Credential, Vec::new()).await?;
        self.put_fingerprints(&change, id, Part::Token, fingerprints).await?;
        self.change_connection(&change, actor, &before, &mut after).await?;
        let notices = self.connection_notices(&change, tenant.is_live(), &before, &after).await?;
        let deed = self.connection_deed("connection.login", Some(&before), Some(&after));
        change.commit(actor, deed, notices, after).await
    }

    /// Takes the turn to refresh the token of this generation: of any number who try one has it, for at most 10 minutes.
    /// Who has it already has it for longer. `NotFound` for no connection.
    pub async fn lease_refresh(
        &self,
        id: ConnectionId,
        owner: Uuid,
        expected_generation: i64,
        length: Duration,
    ) -> Result<LeaseOutcome, StoreError> {
        let db = &self.store.inner.write;
        let now = || database_now(self.backend());
        let length = i64::try_from(length.min(MAX_LEASE).as_micros()).unwrap_or_default();
        let free = Condition::any()
            .add(Column::LeaseOwner.is_null())
            .add(Column::LeaseOwner.eq(owner))
            .add(Expr::col(Column::LeaseUntil).lte(now()));
        let taken = self
            .scoped_connection_update()
            .col_expr(Column::LeaseOwner, Expr::value(owner))
            .col_expr(Column::LeaseUntil, now().add(length))
            .filter(Column::Id.eq(id.0))
            .filter(Column::TokenGeneration.eq(expected_generation))
            .filter(free)
            .exec_with_returning(db)
            .await?;
        if let Some(record) = self.connection_records(db, taken).await?.pop() {
            return Ok(LeaseOutcome::Leased(record));
        }
        let query = self.scoped_connections().filter(Column::Id.eq(id.0));
        let row = query.expr_as(now(), "now").into_model::<Looked>().one(db).await?.ok_or(StoreError::NotFound)?;
        if row.token_generation == expected_generation {
            // Free again since the first look: to be tried at once.
            let (until, now) = (row.lease_until.unwrap_or(row.now), row.now);
            let left = Duration::from_micros(u64::try_from(until.saturating_sub(now)).unwrap_or_default());
            return Ok(LeaseOutcome::Busy { until, left });
        }
        let query = self.scoped_connections().filter(Column::Id.eq(id.0));
        Ok(LeaseOutcome::Newer(self.one_connection(db, query).await?.ok_or(StoreError::NotFound)?))
    }

    /// Ends an owner's lease; nothing if another one has it.
    pub async fn release_refresh(&self, id: ConnectionId, owner: Uuid) -> Result<(), StoreError> {
        self.scoped_connection_update()
            .col_expr(Column::LeaseOwner, Expr::value(None::<Uuid>))
            .col_expr(Column::LeaseUntil, Expr::value(None::<i64>))
            .filter(Column::Id.eq(id.0))
            .filter(Column::LeaseOwner.eq(owner))
            .exec(&self.store.inner.write)
            .await?;
        Ok(())
    }

    /// `LeaseLost` if it is not the owner's any more.
    async fn give_up_lease(&self, change: &Change, id: ConnectionId, owner: Uuid) -> Result<(), StoreError> {
        let given = self
            .scoped_connection_update()
            .col_expr(Column::LeaseOwner, Expr::value(None::<Uuid>))
            .col_expr(Column::LeaseUntil, Expr::value(None::<i64>))
            .filter(Column::Id.eq(id.0))
            .filter(Column::LeaseOwner.eq(owner))
            .exec(&change.tx)
            .await?;
        if given.rows_affected == 1 { Ok(()) } else { Err(StoreError::LeaseLost) }
    }

    /// Whoever has the lease has it no more.
    async fn end_lease(&self, change: &Change, id: ConnectionId) -> Result<(), StoreError> {
        self.scoped_connection_update()
            .col_expr(Column::LeaseOwner, Expr::value(None::<Uuid>))
            .col_expr(Column::LeaseUntil, Expr::value(None::<i64>))
            .filter(Column::Id.eq(id.0))
            .exec(&change.tx)
            .await?;
        Ok(())
    }

    /// Notes what an upstream said to the token of this generation; says no if that is not the newest any more. Only
    /// another status is news to proxies; that something still works is noted once a minute.
    pub async fn verdict(&self, id: ConnectionId, token_generation: i64, verdict: Verdict) -> Result<bool, StoreError> {
        // Looked at first, so that what changes nothing takes no turn.
        let Some(seen) = self.connection(id).await? else { return Ok(false) };
        if seen.token_generation != token_generation {
            return Ok(false);
        }
        let now = self.store.now();
        if judged(&seen, verdict.clone(), now) == seen {
            return Ok(true);
        }
        let (change, tenant) = match self.begin().await {
            Err(StoreError::NotFound) => return Ok(false),
            begun => begun?,
        };
        let before = match self.connection_at(&change, id, None).await {
            Ok(record) if record.token_generation == token_generation => record,
            Ok(_) | Err(StoreError::NotFound) => return change.nothing(false).await.map(|nothing| nothing.value),
            Err(error) => return Err(error),
        };
        let after = judged(&before, verdict, change.now);
        if after == before {
            return change.nothing(true).await.map(|nothing| nothing.value);
        }
        self.write_connection(&change, &before, &after).await?;
        let notices = self.connection_notices(&change, tenant.is_live(), &before, &after).await?;
        if notices.is_empty() {
            change.quietly().await?;
        } else {
            change.commit_unaudited(notices, ()).await?;
        }
        Ok(true)
    }

    /// Takes away a token that nothing can renew: `TokenStale` if there is a newer one. The connection has this status
    /// from then on, unless it is disabled. Nobody decided it: no audit row.
    pub async fn drop_token(
        &self,
        id: ConnectionId,
        expected_generation: i64,
        status: ConnectionStatus,
        error: LastError,
    ) -> Result<Committed<ConnectionRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.connection_at(&change, id, None).await?;
        let after = before.without_token(expected_generation, status, error)?;
        if after == before {
            return change.nothing(before).await;
        }
        self.put_fingerprints(&change, id, Part::Token, Vec::new()).await?;
        self.write_connection(&change, &before, &after).await?;
        let notices = self.connection_notices(&change, tenant.is_live(), &before, &after).await?;
        change.commit_unaudited(notices, after).await
    }
}

/// What a look at a lease shows, and when.
#[derive(Debug, sea_orm::FromQueryResult)]
struct Looked {
    token_generation: i64,
    lease_until: Option<i64>,
    now: i64,
}

/// The record after a verdict; the same if that says nothing new.
fn judged(record: &ConnectionRecord, verdict: Verdict, now: i64) -> ConnectionRecord {
    let mut after = record.clone();
    let lately = |at: i64| now.saturating_sub(at) < NOTED_MICROS;
    match verdict {
        // Of one that was refused since, this was said before.
        Verdict::Accepted if record.status != ConnectionStatus::Active => (),
        Verdict::Accepted => {
            if record.last_error.is_some() || !record.last_success_at.is_some_and(lately) {
                (after.last_error, after.last_success_at) = (None, Some(now));
            }
        }
        Verdict::Refused { status, code, message } => {
            let error = LastError::new(code, message, now);
            let again = |last: &LastError| last.code == error.code && last.message == error.message && lately(last.at);
            if !record.last_error.as_ref().is_some_and(again) {
                after.last_error = Some(error);
            }
            match status {
                Some(status) if record.status != ConnectionStatus::Disabled => after.status = status,
                _ => (),
            }
        }
    }
    after
}

/// The database's clock, microseconds since 1970, at this moment and not when its transaction began.
pub(crate) fn database_now(backend: DbBackend) -> Expr {
    Expr::cust(if backend == DbBackend::Postgres {
        "CAST(extract(epoch from clock_timestamp()) * 1000000 AS bigint)"
    } else {
        "CAST((julianday('now') - 2440587.5) * 86400000 AS integer) * 1000"
    })
}
