//! Refresh tokens: each is replaced by its use, and one that is used twice takes its grant back.

use model::GrantId;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DatabaseTransaction, DeleteMany, EntityTrait,
    QueryFilter, Select, UpdateMany,
};

use super::TenantStore;
use super::grants::live;
use crate::bounds::REFRESH_TOKENS;
use crate::change::begin_write;
use crate::entity::oauth_grant;
use crate::entity::refresh_token::{ActiveModel, Column, Entity, Model};
use crate::timed::Timed;
use crate::{Actor, GrantRecord, Rotation, StoreError};

impl TenantStore {
    fn scoped_refresh_tokens(&self) -> Select<Entity> {
        Entity::find().filter(self.own_refresh_tokens())
    }

    fn scoped_refresh_token_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_refresh_tokens())
    }

    pub(super) fn scoped_refresh_token_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_refresh_tokens())
    }

    fn own_refresh_tokens(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    async fn one_refresh_token(&self, db: &impl ConnectionTrait, hash: [u8; 32]) -> Result<Option<Model>, StoreError> {
        Ok(self.scoped_refresh_tokens().filter(Column::Sha256.eq(hash.to_vec())).one(db).await?)
    }

    /// The grant of a refresh token, whether it was replaced or not.
    pub async fn grant_of_refresh(&self, hash: [u8; 32]) -> Result<Option<GrantRecord>, StoreError> {
        let Some(token) = self.one_refresh_token(&self.store.inner.read, hash).await? else { return Ok(None) };
        self.grant(GrantId(token.grant_id)).await
    }

    /// Puts `new` in the place of the refresh token `old`, if its grant lives at `now`, microseconds since
    /// 1970. Of any number who show `old`, one gets on; if there is another, the grant is revoked.
    pub async fn rotate_refresh(&self, old: [u8; 32], new: [u8; 32], now: i64) -> Result<Rotation, StoreError> {
        let tx = begin_write(&self.store).await?;
        match self.replace_refresh(&tx, old, new, now).await? {
            Some(grant) => {
                tx.commit().await.map_err(StoreError::of_commit)?;
                Ok(Rotation::Rotated(grant))
            }
            None => {
                tx.rollback().await?;
                self.reused(old).await
            }
        }
    }

    /// `None` if `old` may not be replaced; what was written until then must be rolled back. The grant's row
    /// first: whoever revokes it writes there.
    async fn replace_refresh(
        &self,
        tx: &Timed<DatabaseTransaction>,
        old: [u8; 32],
        new: [u8; 32],
        now: i64,
    ) -> Result<Option<GrantRecord>, StoreError> {
        if !self.own_record(tx).await?.is_some_and(|tenant| tenant.is_live()) {
            return Ok(None);
        }
        let Some(token) = self.one_refresh_token(tx, old).await? else { return Ok(None) };
        let used = self
            .scoped_grant_update()
            .col_expr(oauth_grant::Column::UsedAt, Expr::value(now))
            .filter(oauth_grant::Column::Id.eq(token.grant_id))
            .filter(live(now))
            .exec_with_returning(tx)
            .await?;
        let Some(grant) = used.into_iter().next() else { return Ok(None) };
        let grant = self.grant_record(grant)?;
        let replaced = self
            .scoped_refresh_token_update()
            .col_expr(Column::ReplacedAt, Expr::value(now))
            .filter(Column::Sha256.eq(old.to_vec()))
            .filter(Column::ReplacedAt.is_null())
            .exec(tx)
            .await?;
        if replaced.rows_affected != 1 || self.active_user(tx, grant.user).await?.is_none() {
            return Ok(None);
        }
        let number = token.number + 1;
        self.put_refresh(tx, grant.id, new, number, now).await?;
        let ancient = Column::Number.lte(number - i64::from(REFRESH_TOKENS));
        let of_grant = self.scoped_refresh_token_deletion().filter(Column::GrantId.eq(grant.id.0));
        of_grant.filter(ancient).exec(tx).await?;
        Ok(Some(grant))
    }

    /// Revokes the grant of a token that was replaced before.
    async fn reused(&self, hash: [u8; 32]) -> Result<Rotation, StoreError> {
        let (change, tenant) = match self.begin().await {
            Err(StoreError::NotFound) => return Ok(Rotation::Unknown),
            begun => begun?,
        };
        let token = self.one_refresh_token(&change.tx, hash).await?.filter(|token| token.replaced_at.is_some());
        let Some(token) = token else {
            return change.nothing(Rotation::Unknown).await.map(|nothing| nothing.value);
        };
        let id = GrantId(token.grant_id);
        if self.one_grant(&change.tx, id).await?.is_none_or(|grant| grant.revoked_at.is_some()) {
            return change.nothing(Rotation::Reused(id)).await.map(|nothing| nothing.value);
        }
        self.revoke_one(change, &tenant, &Actor::system("authorization"), "grant.refresh_reused", id).await?;
        Ok(Rotation::Reused(id))
    }

    /// Writes down a refresh token of a grant.
    pub(super) async fn put_refresh(
        &self,
        db: &impl ConnectionTrait,
        grant: GrantId,
        hash: [u8; 32],
        number: i64,
        now: i64,
    ) -> Result<(), StoreError> {
        let row = ActiveModel {
            sha256: Set(hash.to_vec()),
            tenant_id: Set(self.tenant.0),
            grant_id: Set(grant.0),
            number: Set(number),
            created_at: Set(now),
            replaced_at: Set(None),
        };
        Entity::insert(row).exec_without_returning(db).await?;
        Ok(())
    }
}
