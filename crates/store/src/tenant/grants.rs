//! What users let OAuth clients do: made, read, and taken back.

use model::{GrantId, ResourceName, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    UpdateMany,
};
use serde_json::json;

use super::TenantStore;
use crate::bounds::{GRANTS, beyond};
use crate::change::{Change, Deed, Notice};
use crate::entity::oauth_grant::{Column, Entity, Model};
use crate::grant_record::GRANT_IDLE;
use crate::listing::page_size;
use crate::{Actor, Committed, GrantPage, GrantRecord, NewGrant, StoreError, TenantRecord};

impl TenantStore {
    pub(super) fn scoped_grants(&self) -> Select<Entity> {
        Entity::find().filter(self.own_grants())
    }

    pub(super) fn scoped_grant_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_grants())
    }

    pub(super) fn scoped_grant_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_grants())
    }

    fn own_grants(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    pub(super) fn grant_record(&self, row: Model) -> Result<GrantRecord, StoreError> {
        let record = GrantRecord::from(row);
        self.check(record.tenant)?;
        Ok(record)
    }

    /// Makes a grant with its first refresh token. Of a user's live grants the newest 100 stay; those before
    /// are revoked. `NoUser` for a user who is inactive or not there, and if people may not come in any more in the way
    /// that this one did; `Replayed` if its code was shown twice.
    pub async fn create_grant(&self, actor: &Actor, new: NewGrant) -> Result<Committed<GrantRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        if !tenant.is_live() {
            return Err(StoreError::NotFound);
        }
        self.active_user(&change.tx, new.user).await?.ok_or(StoreError::NoUser)?;
        self.check_way_is_open(&change, &tenant, new.issuer).await?;
        if self.is_replayed(&change, new.id).await? {
            return Err(StoreError::Replayed);
        }
        let first = new.refresh_hash;
        let record = GrantRecord::new(self.tenant, new, change.now);
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        self.put_refresh(&change.tx, record.id, first, 1, change.now).await?;
        let newest_first = self.scoped_grants().filter(live(change.now)).filter(Column::UserId.eq(record.user.0));
        let newest_first = newest_first.order_by_desc(Column::CreatedAt).order_by_desc(Column::Id);
        let old = beyond(&change.tx, newest_first, GRANTS).await?;
        let revoked = self.revoke_those(&change, Column::Id.is_in(old.into_iter().map(|row| row.id))).await?;
        let notices = self.notices_of_revoked(&tenant, &revoked);
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "grant.create",
            object: record.object(),
            before: None,
            after: Some(record.redacted()),
        };
        change.commit(actor, deed, notices, record).await
    }

    /// A grant, with its mark if it is revoked.
    pub async fn grant(&self, id: GrantId) -> Result<Option<GrantRecord>, StoreError> {
        self.one_grant(&self.store.inner.read, id).await
    }

    pub(super) async fn one_grant(
        &self,
        db: &impl ConnectionTrait,
        id: GrantId,
    ) -> Result<Option<GrantRecord>, StoreError> {
        let row = self.scoped_grants().filter(Column::Id.eq(id.0)).one(db).await?;
        row.map(|row| self.grant_record(row)).transpose()
    }

    /// Grants in the order of their making.
    pub async fn grants(&self, page: GrantPage) -> Result<Vec<GrantRecord>, StoreError> {
        let mut query = self.scoped_grants();
        if let Some(user) = page.user {
            query = query.filter(Column::UserId.eq(user.0));
        }
        if let Some(wanted) = page.live {
            let live = live(self.store.now());
            query = query.filter(if wanted { live } else { live.not() });
        }
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        let query = query.order_by_asc(Column::Id).limit(page_size(page.limit));
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.grant_record(row)).collect()
    }

    /// Takes a grant back, urgently. Taking it back again changes nothing.
    pub async fn revoke_grant(&self, actor: &Actor, id: GrantId) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.one_grant(&change.tx, id).await?.ok_or(StoreError::NotFound)?;
        if before.revoked_at.is_some() {
            return change.nothing(()).await;
        }
        self.revoke_one(change, &tenant, actor, "grant.revoke", id).await
    }

    /// Takes back all grants of a user, urgently; answers how many. None of an unknown user.
    pub async fn revoke_grants_of(&self, actor: &Actor, user: UserId) -> Result<Committed<u64>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let revoked = self.revoke_those(&change, Column::UserId.eq(user.0)).await?;
        if revoked.is_empty() {
            return change.nothing(0).await;
        }
        let ids: Vec<_> = revoked.iter().map(|grant| grant.id.to_string()).collect();
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "grant.revoke_all",
            object: format!("user/{user}"),
            before: Some(json!({ "grants": ids })),
            after: None,
        };
        let notices = self.notices_of_revoked(&tenant, &revoked);
        change.commit(actor, deed, notices, revoked.len() as u64).await
    }

    /// Takes back a grant if it is there and was not yet, and commits what the change has done besides.
    pub(super) async fn revoke_one(
        &self,
        change: Change,
        tenant: &TenantRecord,
        actor: &Actor,
        action: &'static str,
        id: GrantId,
    ) -> Result<Committed<()>, StoreError> {
        let revoked = self.revoke_those(&change, Column::Id.eq(id.0)).await?;
        let notices = self.notices_of_revoked(tenant, &revoked);
        let deed = Deed {
            tenant: Some(self.tenant),
            action,
            object: format!("grant/{id}"),
            before: revoked.first().map(GrantRecord::redacted),
            after: None,
        };
        change.commit(actor, deed, notices, ()).await
    }

    /// Marks those of the tenant's grants for which the condition holds as revoked; answers which were not
    /// yet. Their access tokens live on for minutes, so proxies are told of each.
    pub(super) async fn revoke_those(
        &self,
        change: &Change,
        those: impl sea_orm::sea_query::IntoCondition,
    ) -> Result<Vec<GrantRecord>, StoreError> {
        let revoked = self
            .scoped_grant_update()
            .col_expr(Column::RevokedAt, Expr::value(change.now))
            .filter(Column::RevokedAt.is_null())
            .filter(those.into_condition())
            .exec_with_returning(&change.tx)
            .await?;
        revoked.into_iter().map(|row| self.grant_record(row)).collect()
    }

    pub(super) fn notices_of_revoked(&self, tenant: &TenantRecord, revoked: &[GrantRecord]) -> Vec<Notice> {
        let notice = |grant: &GrantRecord| self.notice(ResourceName::Revoked(grant.id), tenant.is_live(), true);
        revoked.iter().map(notice).collect()
    }
}

/// What is written in [`GrantRecord::is_live`].
pub(crate) fn live(now: i64) -> Condition {
    Condition::all()
        .add(Column::RevokedAt.is_null())
        .add(Column::ExpiresAt.gt(now))
        .add(Column::UsedAt.gt(now.saturating_sub(GRANT_IDLE)))
}
