//! No change leaves the platform without anybody who could administer it.

use model::{KeyRole, TenantId};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::change::Change;
use crate::entity::api_key::{Column, Entity};
use crate::tenant::keys::live;
use crate::{KeyRecord, Store, StoreError};

/// Whether a platform admin's key opened something when the change began. A platform that has none yet
/// has none to lose.
pub(crate) struct LastAdmin {
    store: Store,
    lived: bool,
}

impl LastAdmin {
    /// Looks before the change writes.
    pub(crate) async fn look(store: &Store, change: &Change) -> Result<Self, StoreError> {
        Ok(Self { store: store.clone(), lived: an_admin_lives(store, change).await? })
    }

    /// Looks again after it has written: `LastAdmin` if it took the last one's power. The change holds
    /// the writers' turn, so two that take each other's power can't both pass.
    pub(crate) async fn stays(self, change: &Change) -> Result<(), StoreError> {
        if self.lived && !an_admin_lives(&self.store, change).await? { Err(StoreError::LastAdmin) } else { Ok(()) }
    }
}

async fn an_admin_lives(store: &Store, change: &Change) -> Result<bool, StoreError> {
    let query = Entity::find().filter(Column::Role.eq(KeyRole::PlatformAdmin.as_str())).filter(live(change.now));
    for row in query.all(&change.tx).await? {
        let tenant = store.tenant(TenantId(row.tenant_id));
        // A key that can't be read opens nothing.
        let Ok(key) = KeyRecord::try_from(row) else { continue };
        if !tenant.own_record(&change.tx).await?.is_some_and(|tenant| tenant.is_live()) {
            continue;
        }
        let bound = tenant.bound_of(&change.tx, &key).await?;
        if key.verifier_within(bound, change.now).is_some_and(|key| key.role == KeyRole::PlatformAdmin) {
            return Ok(true);
        }
    }
    Ok(false)
}
