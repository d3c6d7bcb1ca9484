//! Links by which a user sets a password, each good for one time.

use model::UserId;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, QueryFilter, QueryOrder, Select,
};
use serde_json::json;

use super::TenantStore;
use crate::bounds::{LINKS, beyond};
use crate::change::Deed;
use crate::entity::sign_in_link::{ActiveModel, Column, Entity};
use crate::{Actor, Committed, StoreError};

impl TenantStore {
    fn scoped_links(&self) -> Select<Entity> {
        Entity::find().filter(self.own_links())
    }

    pub(super) fn scoped_link_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_links())
    }

    fn own_links(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    /// Makes a link for a user until `expires_at`, microseconds since 1970. Of a user's links the newest 5
    /// are kept. `NoUser` for a user that isn't there or is inactive.
    pub async fn create_link(
        &self,
        actor: &Actor,
        user: UserId,
        hash: [u8; 32],
        expires_at: i64,
    ) -> Result<Committed<()>, StoreError> {
        let (change, _) = self.begin().await?;
        self.active_user(&change.tx, user).await?.ok_or(StoreError::NoUser)?;
        let row = ActiveModel {
            sha256: Set(hash.to_vec()),
            tenant_id: Set(self.tenant.0),
            user_id: Set(user.0),
            created_at: Set(change.now),
            expires_at: Set(expires_at),
        };
        Entity::insert(row).exec_without_returning(&change.tx).await?;
        let newest_first = self.scoped_links().filter(Column::UserId.eq(user.0)).order_by_desc(Column::CreatedAt);
        let old = beyond(&change.tx, newest_first.order_by_desc(Column::Sha256), LINKS).await?;
        let old = Column::Sha256.is_in(old.into_iter().map(|row| row.sha256));
        self.scoped_link_deletion().filter(old).exec(&change.tx).await?;
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "sign_in_link.create",
            object: format!("user/{user}"),
            before: None,
            after: Some(json!({ "expires_at": expires_at })),
        };
        change.commit(actor, deed, [], ()).await
    }

    /// Drops all links of a user.
    pub(super) async fn drop_links(&self, db: &impl ConnectionTrait, user: UserId) -> Result<(), StoreError> {
        self.scoped_link_deletion().filter(Column::UserId.eq(user.0)).exec(db).await?;
        Ok(())
    }
}
