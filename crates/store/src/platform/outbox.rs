//! What changed since a revision, for proxies that were told up to there.

use model::ResourceName;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::PlatformStore;
use crate::StoreError;
use crate::entity::outbox::{Column, Entity, Model};

/// The most rows that one call answers.
const MAX_ROWS: u32 = 10_000;

/// One changed resource. Every seq has a row until it is pruned, so a reader whose next seq is missing
/// knows that it came too late and needs the whole state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxRow {
    /// The seq of the change.
    pub seq: i64,
    /// What changed.
    pub name: ResourceName,
    /// It is no longer intended.
    pub removed: bool,
    /// It must not wait: a revocation.
    pub urgent: bool,
}

impl PlatformStore {
    /// The rows after `seq`, in order, at most `limit` and at most 10,000.
    pub async fn outbox_since(&self, seq: i64, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let rows = Entity::find()
            .filter(Column::Seq.gt(seq))
            .order_by_asc(Column::Seq)
            .order_by_asc(Column::Name)
            .limit(u64::from(limit.min(MAX_ROWS)))
            .all(&self.store.inner.read)
            .await?;
        rows.into_iter().map(OutboxRow::try_from).collect()
    }

    /// Drops the rows of changes made before `before` (microseconds since 1970); answers how many.
    pub async fn prune_outbox(&self, before: i64) -> Result<u64, StoreError> {
        let old = Entity::delete_many().filter(Column::CreatedAt.lt(before));
        Ok(old.exec(&self.store.inner.write).await?.rows_affected)
    }
}

impl TryFrom<Model> for OutboxRow {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let name = row.name.parse().map_err(|_| StoreError::Corrupt { what: "outbox.name" })?;
        Ok(Self { seq: row.seq, name, removed: row.removed, urgent: row.urgent })
    }
}
