//! One change of intended state: record, revision, audit row and outbox rows, or nothing at all.
//!
//! Taking the next seq is the first statement, and its row stays locked until the commit. So writers
//! take turns on both databases, checks inside a change (quota, names) can't be raced, and seqs become
//! visible in their order: who has read up to a seq never finds an older one later.

use model::{ResourceName, Revision, TenantId};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, QueryFilter,
    SqliteTransactionMode, TransactionOptions,
};
use serde_json::Value;

use crate::entity::{audit, outbox, state};
use crate::hints::{self, Hint};
use crate::timed::Timed;
use crate::{Actor, Store, StoreError};

/// What a change made, and the revision that holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed<T> {
    /// The record as it is now.
    pub value: T,
    /// The revision at which proxies have it; the current one if nothing had to change.
    pub revision: Revision,
}

/// The only row of `state`.
pub(crate) const STATE_ID: i32 = 1;

/// Rows of one insert: both databases bound the values of a statement.
const ROWS_AT_ONCE: usize = 1_000;

/// What the audit row says was done to what.
pub(crate) struct Deed {
    /// `None` for what belongs to no tenant.
    pub(crate) tenant: Option<TenantId>,
    /// Dotted: noun and verb.
    pub(crate) action: &'static str,
    /// The resource's name, or what else was changed.
    pub(crate) object: String,
    /// Without secrets.
    pub(crate) before: Option<Value>,
    /// Without secrets.
    pub(crate) after: Option<Value>,
}

/// What an outbox row says to proxies.
pub(crate) struct Notice {
    /// Whose resource it is; `None` for what belongs to no tenant.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) name: ResourceName,
    /// It is no longer intended.
    pub(crate) removed: bool,
    /// It must not wait for anything else: a revocation.
    pub(crate) urgent: bool,
}

/// A change under way. Dropped without [`Change::commit`], it never was.
pub(crate) struct Change {
    store: Store,
    pub(crate) tx: Timed<DatabaseTransaction>,
    revision: Revision,
    /// The time of the change, microseconds since 1970.
    pub(crate) now: i64,
}

/// Begins a writing transaction.
pub(crate) async fn begin_write(store: &Store) -> Result<Timed<DatabaseTransaction>, StoreError> {
    Ok(store.inner.write.begin_with_options(writing()).await?)
}

/// Immediate: a transaction that reads first and then writes would fail on SQLite if another process wrote
/// in between.
pub(crate) fn writing() -> TransactionOptions {
    TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..Default::default() }
}

impl Change {
    pub(crate) async fn begin(store: &Store) -> Result<Self, StoreError> {
        let tx = begin_write(store).await?;
        let rows = state::Entity::update_many()
            .col_expr(state::Column::Seq, Expr::col(state::Column::Seq).add(1))
            .filter(state::Column::Id.eq(STATE_ID))
            .exec_with_returning(&tx)
            .await?;
        let revision = rows.into_iter().next().map(Revision::from).ok_or(StoreError::Corrupt { what: "state" })?;
        Ok(Self { store: store.clone(), tx, revision, now: store.now() })
    }

    /// Writes the audit row, an outbox row for each notice, and the line in the book of answers if the
    /// actor has a claim there; commits, and wakes who waits for changes. A change that says nothing to
    /// proxies gives its seq back, so that every seq has its rows.
    pub(crate) async fn commit<T>(
        self,
        actor: &Actor,
        deed: Deed,
        notices: impl IntoIterator<Item = Notice>,
        value: T,
    ) -> Result<Committed<T>, StoreError> {
        if let Some(claim) = &actor.claim {
            claim.made(&self.tx, &deed.object).await?;
        }
        append_audit(&self.tx, self.now, actor, deed).await?;
        let store = self.store.clone();
        let committed = self.commit_unaudited(notices, value).await?;
        store.tally().changed();
        Ok(committed)
    }

    /// The same for what nobody decided: keys that were fetched. No audit row.
    pub(crate) async fn commit_unaudited<T>(
        self,
        notices: impl IntoIterator<Item = Notice>,
        value: T,
    ) -> Result<Committed<T>, StoreError> {
        let Self { store, tx, revision, now } = self;
        let rows: Vec<_> = notices.into_iter().map(|notice| outbox_row(revision, now, notice)).collect();
        for some in rows.chunks(ROWS_AT_ONCE) {
            outbox::Entity::insert_many(some.to_vec()).exec_without_returning(&tx).await?;
        }
        let told = !rows.is_empty();
        let revision = if told { revision } else { Revision { seq: revision.seq - 1, ..revision } };
        if !told {
            put_seq(&tx, revision.seq).await?;
        }
        commit(store, tx, revision).await?;
        Ok(Committed { value, revision })
    }

    /// Commits what is no record of anybody's and says nothing to proxies: no revision, no audit row, and
    /// nobody is woken.
    pub(crate) async fn quietly(self) -> Result<(), StoreError> {
        put_seq(&self.tx, self.revision.seq - 1).await?;
        self.tx.commit().await.map_err(StoreError::of_commit)
    }

    /// Ends a change that found nothing to change.
    pub(crate) async fn nothing<T>(self, value: T) -> Result<Committed<T>, StoreError> {
        let revision = Revision { seq: self.revision.seq - 1, ..self.revision };
        self.tx.rollback().await?;
        Ok(Committed { value, revision })
    }
}

fn outbox_row(revision: Revision, now: i64, notice: Notice) -> outbox::ActiveModel {
    outbox::ActiveModel {
        seq: Set(revision.seq),
        name: Set(notice.name.to_string()),
        tenant_id: Set(notice.tenant.map(|tenant| tenant.0)),
        removed: Set(notice.removed),
        urgent: Set(notice.urgent),
        created_at: Set(now),
    }
}

async fn put_seq(tx: &impl ConnectionTrait, seq: i64) -> Result<(), StoreError> {
    state::Entity::update_many()
        .col_expr(state::Column::Seq, Expr::value(seq))
        .filter(state::Column::Id.eq(STATE_ID))
        .exec(tx)
        .await?;
    Ok(())
}

/// Commits, then wakes who waits. In a task of its own: a caller that goes away in the middle must not
/// leave a commit of which nobody was told.
pub(crate) async fn commit(store: Store, tx: Timed<DatabaseTransaction>, revision: Revision) -> Result<(), StoreError> {
    let task = tokio::spawn(async move {
        hints::notify(&tx, Hint::Change).await?;
        tx.commit().await.map_err(StoreError::of_commit)?;
        store.inner.changes.send_if_modified(|seen| {
            let newer = *seen < revision;
            *seen = revision.max(*seen);
            newer
        });
        // Nobody may be carrying it.
        _ = store.inner.heard.said.send(Hint::Change);
        Ok(())
    });
    task.await.map_err(|_| StoreError::Interrupted)?
}

pub(crate) async fn append_audit(
    tx: &impl ConnectionTrait,
    now: i64,
    actor: &Actor,
    deed: Deed,
) -> Result<(), StoreError> {
    let row = audit::ActiveModel {
        ts: Set(now),
        tenant_id: Set(deed.tenant.map(|tenant| tenant.0)),
        actor: Set(actor.id()),
        actor_kind: Set(actor.kind().to_owned()),
        action: Set(deed.action.to_owned()),
        object: Set(deed.object),
        before: Set(deed.before.map(|value| value.to_string())),
        after: Set(deed.after.map(|value| value.to_string())),
        result: Set("ok".to_owned()),
        ip: Set(actor.ip.clone()),
        trace_id: Set(actor.trace_id.clone()),
        ..Default::default()
    };
    audit::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}
