//! The data keys of tenants and of the platform, wrapped by a key that is not in the database.
//!
//! A tenant that was deleted has none any more and gets none: a row stays of each, so that its number comes back for no
//! other.

use std::fmt;

use model::TenantId;
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::PlatformStore;
use crate::StoreError;
use crate::bounds::{self, TENANT_KEYS, room_for_one};
use crate::change::Change;
use crate::entity::tenant;
use crate::entity::tenant_key::{ActiveModel, Column, Entity, Model};
use crate::listing::page_size;

/// What a data key is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyState {
    /// It seals and opens; at most one of a tenant's keys is this.
    Primary,
    /// It opens.
    Enabled,
    /// It is gone: nothing that it sealed can be read.
    Destroyed,
}

impl KeyState {
    const ALL: [Self; 3] = [Self::Primary, Self::Enabled, Self::Destroyed];

    /// The word for rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Primary => "primary",
            Self::Enabled => "enabled",
            Self::Destroyed => "destroyed",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }
}

/// A data key as it is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct TenantKey {
    /// Whose it is; the nil id for the platform.
    pub tenant: TenantId,
    /// Its number within the tenant.
    pub id: u32,
    /// Under which key it is wrapped.
    pub kek_id: Vec<u8>,
    /// The key itself, wrapped; empty for one that is destroyed.
    pub wrapped: Vec<u8>,
    /// What it is good for.
    pub state: KeyState,
    /// Microseconds since 1970.
    pub created_at: i64,
}

/// A data key to be made.
#[derive(Clone)]
pub struct NewTenantKey {
    /// See [`TenantKey::tenant`].
    pub tenant: TenantId,
    /// See [`TenantKey::id`]: one that none of the tenant's keys ever had.
    pub id: u32,
    /// See [`TenantKey::kek_id`]; at most 32 KiB.
    pub kek_id: Vec<u8>,
    /// See [`TenantKey::wrapped`]; at most 32 KiB.
    pub wrapped: Vec<u8>,
}

/// Without the wrapped bytes.
impl fmt::Debug for TenantKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKey")
            .field("tenant", &self.tenant)
            .field("id", &self.id)
            .field("state", &self.state)
            .field("created_at", &self.created_at)
            .finish_non_exhaustive()
    }
}

impl PlatformStore {
    /// All data keys of a tenant, those that are destroyed too, by their numbers. The nil id stands for the platform.
    pub async fn tenant_keys(&self, tenant: TenantId) -> Result<Vec<TenantKey>, StoreError> {
        keys(&self.store.inner.read, tenant).await
    }

    /// Makes the tenant's next primary key in place of the one that the caller knows as such (`None` for no key that
    /// seals); what was primary still opens. Answers the tenant's keys: if another one was first, without the new one.
    /// `NotFound` for a tenant that was deleted, `Bound` for the 1001st key.
    pub async fn put_tenant_key(
        &self,
        new: NewTenantKey,
        instead_of: Option<u32>,
    ) -> Result<Vec<TenantKey>, StoreError> {
        bounds::fits_sealed(&new.wrapped)?;
        bounds::fits_sealed(&new.kek_id)?;
        let change = Change::begin(&self.store).await?;
        let dead = tenant::Entity::find_by_id(new.tenant.0).filter(tenant::Column::DeletedAt.is_not_null());
        if dead.count(&change.tx).await? > 0 {
            return Err(StoreError::NotFound);
        }
        let there = keys(&change.tx, new.tenant).await?;
        let primary = there.iter().find(|key| key.state == KeyState::Primary).map(|key| key.id);
        if primary != instead_of || there.iter().any(|key| key.id == new.id) {
            return change.nothing(there).await.map(|nothing| nothing.value);
        }
        let own = || Entity::find().filter(Column::TenantId.eq(new.tenant.0));
        room_for_one(&change.tx, own(), "data keys of one tenant", TENANT_KEYS).await?;
        Entity::update_many()
            .col_expr(Column::State, Expr::value(KeyState::Enabled.as_str()))
            .filter(Column::TenantId.eq(new.tenant.0))
            .filter(Column::State.eq(KeyState::Primary.as_str()))
            .exec(&change.tx)
            .await?;
        let row = ActiveModel {
            tenant_id: Set(new.tenant.0),
            key_id: Set(new.id.into()),
            kek_id: Set(new.kek_id),
            wrapped: Set(new.wrapped),
            state: Set(KeyState::Primary.as_str().to_owned()),
            created_at: Set(change.now),
        };
        Entity::insert(row).exec_without_returning(&change.tx).await?;
        let there = keys(&change.tx, new.tenant).await?;
        change.quietly().await?;
        Ok(there)
    }

    /// Keeps a data key wrapped anew in place of what the caller unwrapped; says no if another one was first, or the key
    /// is destroyed.
    pub async fn rewrap_tenant_key(
        &self,
        before: &TenantKey,
        kek_id: Vec<u8>,
        wrapped: Vec<u8>,
    ) -> Result<bool, StoreError> {
        bounds::fits_sealed(&wrapped)?;
        bounds::fits_sealed(&kek_id)?;
        let written = Entity::update_many()
            .col_expr(Column::KekId, Expr::value(kek_id))
            .col_expr(Column::Wrapped, Expr::value(wrapped))
            .filter(Column::TenantId.eq(before.tenant.0))
            .filter(Column::KeyId.eq(i64::from(before.id)))
            .filter(Column::Wrapped.eq(before.wrapped.clone()))
            .filter(Column::State.ne(KeyState::Destroyed.as_str()))
            .exec(&self.store.inner.write)
            .await?;
        Ok(written.rows_affected == 1)
    }

    /// Destroys a data key that only opens; says no for a primary one. That nothing is sealed under it any more is the
    /// caller's to know.
    pub async fn destroy_tenant_key(&self, tenant: TenantId, id: u32) -> Result<bool, StoreError> {
        let written = Entity::update_many()
            .col_expr(Column::State, Expr::value(KeyState::Destroyed.as_str()))
            .col_expr(Column::Wrapped, Expr::value(Vec::<u8>::new()))
            .filter(Column::TenantId.eq(tenant.0))
            .filter(Column::KeyId.eq(i64::from(id)))
            .filter(Column::State.eq(KeyState::Enabled.as_str()))
            .exec(&self.store.inner.write)
            .await?;
        Ok(written.rows_affected == 1)
    }

    /// Data keys of all tenants that are not destroyed, in order, at most 500 after this one.
    pub async fn tenant_keys_after(
        &self,
        after: Option<(TenantId, u32)>,
        limit: u32,
    ) -> Result<Vec<TenantKey>, StoreError> {
        let mut query = Entity::find().filter(Column::State.ne(KeyState::Destroyed.as_str()));
        if let Some((tenant, id)) = after {
            let later = Condition::all().add(Column::TenantId.eq(tenant.0)).add(Column::KeyId.gt(i64::from(id)));
            query = query.filter(Condition::any().add(Column::TenantId.gt(tenant.0)).add(later));
        }
        let query = query.order_by_asc(Column::TenantId).order_by_asc(Column::KeyId).limit(page_size(limit));
        query.all(&self.store.inner.read).await?.into_iter().map(TenantKey::try_from).collect()
    }

    /// How many data keys are wrapped under each key: one that none is under can be put away.
    pub async fn keks_in_use(&self) -> Result<Vec<(Vec<u8>, u64)>, StoreError> {
        let query = Entity::find().filter(Column::State.ne(KeyState::Destroyed.as_str())).select_only();
        let query = query.column(Column::KekId).expr_as(Expr::col(Column::KeyId).count(), "keys");
        let query = query.group_by(Column::KekId).order_by_asc(Column::KekId);
        let rows = query.into_tuple::<(Vec<u8>, i64)>().all(&self.store.inner.read).await?;
        Ok(rows.into_iter().map(|(kek, keys)| (kek, u64::try_from(keys).unwrap_or_default())).collect())
    }
}

/// Whether the tenant ever had a data key, and so something sealed.
pub(super) async fn has_keys(db: &impl ConnectionTrait, tenant: TenantId) -> Result<bool, StoreError> {
    Ok(Entity::find().filter(Column::TenantId.eq(tenant.0)).count(db).await? > 0)
}

async fn keys(db: &impl ConnectionTrait, tenant: TenantId) -> Result<Vec<TenantKey>, StoreError> {
    let query = Entity::find().filter(Column::TenantId.eq(tenant.0)).order_by_asc(Column::KeyId);
    query.all(db).await?.into_iter().map(TenantKey::try_from).collect()
}

impl TryFrom<Model> for TenantKey {
    type Error = StoreError;

    fn try_from(row: Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(Self {
            tenant: TenantId(row.tenant_id),
            id: u32::try_from(row.key_id).map_err(|_| corrupt("tenant_key.key_id"))?,
            kek_id: row.kek_id,
            wrapped: row.wrapped,
            state: KeyState::parse(&row.state).ok_or(corrupt("tenant_key.state"))?,
            created_at: row.created_at,
        })
    }
}
