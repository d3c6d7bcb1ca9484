//! Authorization codes: each is taken once, and one that is shown twice takes back what was made of it.

use model::{GrantId, IssuerId, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Select,
    UpdateMany,
};

use super::TenantStore;
use crate::bounds::{CODES, beyond};
use crate::change::Change;
use crate::entity::oauth_code::{Column, Entity};
use crate::{Actor, Code, CodeTaken, NewCode, StoreError};

impl TenantStore {
    fn scoped_codes(&self) -> Select<Entity> {
        Entity::find().filter(self.own_codes())
    }

    fn scoped_code_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_codes())
    }

    pub(super) fn scoped_code_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_codes())
    }

    fn own_codes(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    /// Keeps a code of an active user. Of a user's codes the newest 100 are kept. `NoUser` for others, and if people may
    /// not come in any more in the way that this one did.
    pub async fn create_code(&self, new: NewCode) -> Result<(), StoreError> {
        let (change, tenant) = self.begin().await?;
        let user = new.user;
        self.check_way_is_open(&change, &tenant, new.issuer).await?;
        self.active_user(&change.tx, user).await?.ok_or(StoreError::NoUser)?;
        Entity::insert(new.into_row(self.tenant, change.now)).exec_without_returning(&change.tx).await?;
        let newest_first = self.scoped_codes().filter(Column::UserId.eq(user.0)).order_by_desc(Column::CreatedAt);
        let old = beyond(&change.tx, newest_first.order_by_desc(Column::Sha256), CODES).await?;
        let old = Column::Sha256.is_in(old.into_iter().map(|row| row.sha256));
        self.scoped_code_deletion().filter(old).exec(&change.tx).await?;
        change.quietly().await
    }

    /// Takes a code. Of any number who try, one has it; all others learn that they are late, and the grant
    /// that was made of it, or is being made, is revoked before they do. What is no code is only looked up: strangers
    /// who make something up don't write.
    pub async fn take_code(&self, hash: [u8; 32]) -> Result<CodeTaken, StoreError> {
        let known = self.scoped_codes().filter(Column::Sha256.eq(hash.to_vec()));
        if known.count(&self.store.inner.read).await? == 0 {
            return Ok(CodeTaken::Unknown);
        }
        let now = self.store.now();
        let taken = self
            .scoped_code_update()
            .col_expr(Column::UsedAt, Expr::value(now))
            .filter(Column::Sha256.eq(hash.to_vec()))
            .filter(Column::UsedAt.is_null())
            .filter(Column::ExpiresAt.gt(now))
            .exec_with_returning(&self.store.inner.write)
            .await?;
        match taken.into_iter().next() {
            Some(row) => Ok(CodeTaken::Fresh(Code::from(row))),
            None => self.replayed(hash).await,
        }
    }

    /// Marks a used code, so that no grant is made of it any more, and revokes the one that was.
    async fn replayed(&self, hash: [u8; 32]) -> Result<CodeTaken, StoreError> {
        let (change, tenant) = match self.begin().await {
            Err(StoreError::NotFound) => return Ok(CodeTaken::Unknown),
            begun => begun?,
        };
        let used = self.scoped_codes().filter(Column::Sha256.eq(hash.to_vec())).filter(Column::UsedAt.is_not_null());
        let Some(row) = used.one(&change.tx).await? else {
            return change.nothing(CodeTaken::Unknown).await.map(|nothing| nothing.value);
        };
        let id = GrantId(row.grant_id);
        if row.replayed_at.is_some() {
            return change.nothing(CodeTaken::Replayed(id)).await.map(|nothing| nothing.value);
        }
        let mark = self.scoped_code_update().col_expr(Column::ReplayedAt, Expr::value(change.now));
        mark.filter(Column::Sha256.eq(hash.to_vec())).exec(&change.tx).await?;
        let actor = Actor::system("authorization");
        self.revoke_one(change, &tenant, &actor, "grant.code_replayed", id).await?;
        Ok(CodeTaken::Replayed(id))
    }

    /// Whether the code of which this grant would be made was shown twice.
    pub(super) async fn is_replayed(&self, change: &Change, grant: GrantId) -> Result<bool, StoreError> {
        let query = self.scoped_codes().filter(Column::GrantId.eq(grant.0)).filter(Column::ReplayedAt.is_not_null());
        Ok(query.count(&change.tx).await? > 0)
    }

    /// Drops all codes of people who came in through this issuer, or with a password.
    pub(super) async fn drop_codes_by_way(
        &self,
        db: &impl ConnectionTrait,
        issuer: Option<IssuerId>,
    ) -> Result<(), StoreError> {
        let way = issuer.map_or(Column::IssuerId.is_null(), |issuer| Column::IssuerId.eq(issuer.0));
        self.scoped_code_deletion().filter(way).exec(db).await?;
        Ok(())
    }

    /// Drops all codes of a user.
    pub(super) async fn drop_codes(&self, db: &impl ConnectionTrait, user: UserId) -> Result<(), StoreError> {
        self.scoped_code_deletion().filter(Column::UserId.eq(user.0)).exec(db).await?;
        Ok(())
    }
}
