//! How much the keys of users may do: never more than their user.

use std::collections::HashMap;

use model::{KeyRole, UserId};
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QuerySelect};
use uuid::Uuid;

use super::TenantStore;
use crate::entity::user::Column;
use crate::{KeyRecord, StoreError};

/// The strongest role that each live user leaves to its keys.
pub(crate) struct Bounds(HashMap<UserId, KeyRole>);

impl Bounds {
    /// For a key without a user the platform's strongest role; `None` for a key of a user that is
    /// inactive or deleted.
    pub(crate) fn of(&self, key: &KeyRecord) -> Option<KeyRole> {
        match key.verifier.user {
            None => Some(KeyRole::PlatformAdmin),
            Some(user) => self.0.get(&user).copied(),
        }
    }

    /// Of active users that are not deleted, with their roles' words.
    pub(crate) fn read(rows: Vec<(Uuid, String)>) -> Result<Self, StoreError> {
        let role = |word: &str| KeyRole::parse(word).ok_or(StoreError::Corrupt { what: "user.role" });
        rows.into_iter().map(|(id, word)| Ok((UserId(id), role(&word)?))).collect::<Result<_, _>>().map(Self)
    }
}

impl TenantStore {
    /// The bounds of all live users of the tenant.
    pub(super) async fn bounds(&self, db: &impl ConnectionTrait) -> Result<Bounds, StoreError> {
        let rows = self.scoped_users().filter(Column::Active.eq(true)).select_only();
        Bounds::read(rows.columns([Column::Id, Column::Role]).into_tuple().all(db).await?)
    }

    /// The bound of one key.
    pub(crate) async fn bound_of(
        &self,
        db: &impl ConnectionTrait,
        key: &KeyRecord,
    ) -> Result<Option<KeyRole>, StoreError> {
        let Some(user) = key.verifier.user else { return Ok(Some(KeyRole::PlatformAdmin)) };
        let row = self.scoped_users().filter(Column::Active.eq(true)).filter(Column::Id.eq(user.0)).select_only();
        let rows = row.columns([Column::Id, Column::Role]).into_tuple().all(db).await?;
        Ok(Bounds::read(rows)?.of(key))
    }
}
