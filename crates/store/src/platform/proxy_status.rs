//! What each proxy last said of itself, written by the replica that holds its stream, read by all.

use model::Revision;
use sea_orm::sea_query::{Alias, Expr, ExprTrait as _, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::PlatformStore;
use crate::StoreError;
use crate::entity::proxy_status::{ActiveModel, Column, Entity, Model};

/// The most rows that one call answers.
const MAX_ROWS: u64 = 10_000;
/// Rows of one statement: both databases bound the number of values.
const BATCH: usize = 500;

/// A proxy as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyStatus {
    /// `pool/random-per-boot`.
    pub node: String,
    /// The pool that its certificate names.
    pub pool: String,
    /// The same for every start from one data folder; empty if it is not known.
    pub instance: String,
    /// The replica of control that holds its stream, or held it last.
    pub replica: String,
    /// Whether the stream is open.
    pub attached: bool,
    /// When the stream began, microseconds since 1970.
    pub since: i64,
    /// The revision that it acknowledged last.
    pub applied: Revision,
    /// Whether the last heartbeat's digest was control's.
    pub digest_matches: bool,
    /// Mounts in its table.
    pub mounts: u32,
    /// Microseconds since 1970.
    pub last_seen: i64,
    /// What it rejected and why, as a JSON object.
    pub rejected: String,
    /// `host:port` where other proxies of its pool reach it; `None` for nowhere.
    pub peer_address: Option<String>,
}

impl PlatformStore {
    /// Writes the rows of proxies, each in place of the one before, 500 in a statement. The row of a
    /// stream that began later stays: the proxy has moved to another replica since.
    pub async fn put_proxy_statuses(&self, statuses: Vec<ProxyStatus>) -> Result<(), StoreError> {
        let columns = [
            Column::Pool,
            Column::Instance,
            Column::Epoch,
            Column::Seq,
            Column::LastSeen,
            Column::Rejected,
            Column::Replica,
            Column::Attached,
            Column::Mounts,
            Column::DigestMatches,
            Column::Since,
            Column::PeerAddress,
        ];
        let not_newer = Expr::col((Entity, Column::Since)).lte(Expr::col((Alias::new("excluded"), Column::Since)));
        let replace = OnConflict::column(Column::Node).update_columns(columns).action_and_where(not_newer).to_owned();
        for batch in statuses.chunks(BATCH) {
            let rows = batch.iter().cloned().map(row);
            let insert = Entity::insert_many(rows).on_conflict(replace.clone());
            insert.exec_without_returning(&self.store.inner.write).await?;
        }
        Ok(())
    }

    /// Drops the rows of proxies that `replica` held and that will not come back.
    pub async fn remove_proxy_statuses(&self, replica: &str, nodes: Vec<String>) -> Result<(), StoreError> {
        if !nodes.is_empty() {
            let rows = Entity::delete_many().filter(Column::Node.is_in(nodes)).filter(Column::Replica.eq(replica));
            rows.exec(&self.store.inner.write).await?;
        }
        Ok(())
    }

    /// Proxies seen since then (microseconds since 1970), last seen first, at most 10,000.
    pub async fn proxy_statuses(&self, since: i64) -> Result<Vec<ProxyStatus>, StoreError> {
        let query = Entity::find()
            .filter(Column::LastSeen.gte(since))
            .order_by_desc(Column::LastSeen)
            .order_by_asc(Column::Node)
            .limit(MAX_ROWS);
        Ok(query.all(&self.store.inner.read).await?.into_iter().map(ProxyStatus::from).collect())
    }

    /// Drops proxies not seen since `before` (microseconds since 1970); answers how many. Node ids are
    /// new at every boot, so rows would pile up.
    pub async fn forget_proxies(&self, before: i64) -> Result<u64, StoreError> {
        let forgotten = Entity::delete_many().filter(Column::LastSeen.lt(before)).exec(&self.store.inner.write).await?;
        Ok(forgotten.rows_affected)
    }
}

fn row(status: ProxyStatus) -> ActiveModel {
    ActiveModel {
        node: Set(status.node),
        pool: Set(status.pool),
        instance: Set(status.instance),
        epoch: Set(status.applied.epoch),
        seq: Set(status.applied.seq),
        last_seen: Set(status.last_seen),
        rejected: Set(status.rejected),
        replica: Set(status.replica),
        attached: Set(status.attached),
        mounts: Set(i32::try_from(status.mounts).unwrap_or(i32::MAX)),
        digest_matches: Set(status.digest_matches),
        since: Set(status.since),
        peer_address: Set(status.peer_address),
    }
}

impl From<Model> for ProxyStatus {
    fn from(row: Model) -> Self {
        Self {
            node: row.node,
            pool: row.pool,
            instance: row.instance,
            replica: row.replica,
            attached: row.attached,
            since: row.since,
            applied: Revision { epoch: row.epoch, seq: row.seq },
            digest_matches: row.digest_matches,
            mounts: u32::try_from(row.mounts).unwrap_or(0),
            last_seen: row.last_seen,
            rejected: row.rejected,
            peer_address: row.peer_address,
        }
    }
}
