//! What each proxy last said of itself, written by the process that holds its stream.

use model::Revision;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::PlatformStore;
use crate::StoreError;
use crate::change::begin_write;
use crate::entity::proxy_status::{ActiveModel, Column, Entity, Model};

/// The most rows that one call answers.
const MAX_ROWS: u64 = 1_000;

/// A proxy as it was last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyStatus {
    /// `pool/random-per-boot`.
    pub node: String,
    /// The pool that its certificate names.
    pub pool: String,
    /// The same for every start from one data folder; empty if it is not known.
    pub instance: String,
    /// The revision that it acknowledged last.
    pub applied: Revision,
    /// Microseconds since 1970.
    pub last_seen: i64,
    /// What it rejected and why, as JSON.
    pub rejected: String,
}

impl PlatformStore {
    /// Writes the rows of proxies, each in place of the one before, in one transaction.
    pub async fn put_proxy_statuses(&self, statuses: Vec<ProxyStatus>) -> Result<(), StoreError> {
        if statuses.is_empty() {
            return Ok(());
        }
        let columns = [Column::Pool, Column::Instance, Column::Epoch, Column::Seq, Column::LastSeen, Column::Rejected];
        let replace = OnConflict::column(Column::Node).update_columns(columns).to_owned();
        let tx = begin_write(&self.store).await?;
        for status in statuses {
            let row = ActiveModel {
                node: Set(status.node),
                pool: Set(status.pool),
                instance: Set(status.instance),
                epoch: Set(status.applied.epoch),
                seq: Set(status.applied.seq),
                last_seen: Set(status.last_seen),
                rejected: Set(status.rejected),
            };
            Entity::insert(row).on_conflict(replace.clone()).exec_without_returning(&tx).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// Drops the row of a proxy that will not come back.
    pub async fn remove_proxy_status(&self, node: &str) -> Result<(), StoreError> {
        Entity::delete_by_id(node).exec(&self.store.inner.write).await?;
        Ok(())
    }

    /// Proxies, last seen first, at most 1000.
    pub async fn proxy_statuses(&self) -> Result<Vec<ProxyStatus>, StoreError> {
        let query = Entity::find().order_by_desc(Column::LastSeen).order_by_asc(Column::Node).limit(MAX_ROWS);
        Ok(query.all(&self.store.inner.read).await?.into_iter().map(ProxyStatus::from).collect())
    }

    /// Drops proxies not seen since `before` (microseconds since 1970); answers how many. Node ids are
    /// new at every boot, so rows would pile up.
    pub async fn forget_proxies(&self, before: i64) -> Result<u64, StoreError> {
        let forgotten = Entity::delete_many().filter(Column::LastSeen.lt(before)).exec(&self.store.inner.write).await?;
        Ok(forgotten.rows_affected)
    }
}

impl From<Model> for ProxyStatus {
    fn from(row: Model) -> Self {
        Self {
            node: row.node,
            pool: row.pool,
            instance: row.instance,
            applied: Revision { epoch: row.epoch, seq: row.seq },
            last_seen: row.last_seen,
            rejected: row.rejected,
        }
    }
}
