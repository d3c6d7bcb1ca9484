//! The end of revoked grants: proxies forget them when no token of theirs can live any more.

use model::{GrantId, ResourceName, TenantId};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::PlatformStore;
use crate::StoreError;
use crate::change::{Change, Notice};
use crate::entity::oauth_grant::{Column, Entity};

/// Grants that one change removes.
const BATCH: u64 = 500;

impl PlatformStore {
    /// Removes the grants that were revoked before `before`, microseconds since 1970, each with a notice;
    /// answers how many.
    pub(super) async fn purge_revoked(&self, before: i64) -> Result<u64, StoreError> {
        let due = || Entity::find().filter(Column::RevokedAt.lt(before));
        let mut removed = 0;
        // Looked at first, so that a pass that finds none takes no turn.
        while due().one(&self.store.inner.read).await?.is_some() {
            let change = Change::begin(&self.store).await?;
            let due = due().order_by_asc(Column::RevokedAt).limit(BATCH).all(&change.tx).await?;
            if due.is_empty() {
                // Another replica was first.
                change.nothing(()).await?;
                break;
            }
            let ids = Column::Id.is_in(due.iter().map(|row| row.id));
            let gone = Entity::delete_many().filter(ids).filter(Column::RevokedAt.lt(before));
            let gone = gone.exec_with_returning(&change.tx).await?;
            removed += gone.len() as u64;
            let notices: Vec<_> = gone
                .iter()
                .map(|row| Notice {
                    tenant: Some(TenantId(row.tenant_id)),
                    name: ResourceName::Revoked(GrantId(row.id)),
                    removed: true,
                    urgent: false,
                })
                .collect();
            change.commit_unaudited(notices, ()).await?;
        }
        Ok(removed)
    }
}
