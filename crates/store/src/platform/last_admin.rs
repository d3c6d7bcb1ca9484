//! No change leaves the platform without anybody who could administer it.

use model::{KeyRole, TenantId};
use sea_orm::sea_query::NullOrdering;
use sea_orm::{ColumnTrait, EntityTrait, Order, QueryFilter, QueryOrder};

use crate::change::Change;
use crate::entity::api_key::{Column, Entity};
use crate::tenant::keys::live;
use crate::{KeyRecord, Store, StoreError};

/// How long a platform admin must be left, microseconds: time to make another one. A day.
const LEFT_MICROS: i64 = 24 * 3600 * 1_000_000;

/// Until when platform admins' keys opened something as the change began. A platform that has none yet has
/// none to lose.
pub(crate) struct LastAdmin {
    store: Store,
    until: Option<i64>,
}

impl LastAdmin {
    /// Looks before the change writes.
    pub(crate) async fn look(store: &Store, change: &Change) -> Result<Self, StoreError> {
        Ok(Self { store: store.clone(), until: until(store, change).await? })
    }

    /// Looks again after it has written: `LastAdmin` if it took the last one's power, now or within a day. The
    /// change holds the writers' turn, so two that take each other's power can't both pass.
    pub(crate) async fn stays(self, change: &Change) -> Result<(), StoreError> {
        let Some(before) = self.until else { return Ok(()) };
        let enough = before.min(change.now.saturating_add(LEFT_MICROS));
        let left = until(&self.store, change).await?;
        if left.is_some_and(|left| left >= enough) { Ok(()) } else { Err(StoreError::LastAdmin) }
    }
}

/// When the last key of a platform admin ends that opens something now; `i64::MAX` for never.
async fn until(store: &Store, change: &Change) -> Result<Option<i64>, StoreError> {
    let query = Entity::find()
        .filter(Column::Role.eq(KeyRole::PlatformAdmin.as_str()))
        .filter(live(change.now))
        .order_by_with_nulls(Column::ExpiresAt, Order::Desc, NullOrdering::First);
    for row in query.all(&change.tx).await? {
        let tenant = store.tenant(TenantId(row.tenant_id));
        // A key that can't be read opens nothing.
        let Ok(key) = KeyRecord::try_from(row) else { continue };
        if !tenant.own_record(&change.tx).await?.is_some_and(|tenant| tenant.is_live()) {
            continue;
        }
        let bound = tenant.bound_of(&change.tx, &key).await?;
        if let Some(opens) = key.verifier_within(bound, change.now)
            && opens.role == KeyRole::PlatformAdmin
            && opens.scopes.rest
        {
            return Ok(Some(opens.expires_at.unwrap_or(i64::MAX)));
        }
    }
    Ok(None)
}
