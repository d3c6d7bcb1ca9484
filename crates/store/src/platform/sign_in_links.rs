//! Links by their secrets, before any tenant is known.

use model::{TenantId, UserId};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::PlatformStore;
use crate::StoreError;
use crate::entity::sign_in_link::{Column, Entity, Model};

impl PlatformStore {
    /// Whose link has this secret's SHA-256, if it is still good; it stays so.
    pub async fn link(&self, hash: [u8; 32]) -> Result<Option<(TenantId, UserId)>, StoreError> {
        let row = Entity::find()
            .filter(Column::Sha256.eq(hash.to_vec()))
            .filter(Column::ExpiresAt.gt(self.store.now()))
            .one(&self.store.inner.read)
            .await?;
        self.owner(row).await
    }

    /// Takes a link that is good at `now`, microseconds since 1970. Of any number who try, one is told
    /// whose it is.
    pub async fn take_link(&self, hash: [u8; 32], now: i64) -> Result<Option<(TenantId, UserId)>, StoreError> {
        let taken = Entity::delete_many()
            .filter(Column::Sha256.eq(hash.to_vec()))
            .filter(Column::ExpiresAt.gt(now))
            .exec_with_returning(&self.store.inner.write)
            .await?;
        self.owner(taken.into_iter().next()).await
    }

    /// Nobody's once the user or the tenant is inactive or deleted.
    async fn owner(&self, row: Option<Model>) -> Result<Option<(TenantId, UserId)>, StoreError> {
        let Some(row) = row else { return Ok(None) };
        let (tenant, user) = (TenantId(row.tenant_id), UserId(row.user_id));
        let handle = self.store.tenant(tenant);
        if !handle.tenant().await?.is_some_and(|tenant| tenant.is_live()) {
            return Ok(None);
        }
        let user = handle.active_user(&self.store.inner.read, user).await?;
        Ok(user.map(|user| (tenant, user.id)))
    }
}
