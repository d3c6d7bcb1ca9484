//! Who may be signed in, and the end of it.

use model::{IssuerId, UserId};
use sea_orm::{ColumnTrait, ConnectionTrait, PaginatorTrait, QueryFilter, QuerySelect};

use super::TenantStore;
use crate::change::{Change, Notice};
use crate::entity::{issuer, oauth_grant, user};
use crate::{StoreError, TenantRecord, UserRecord};

impl TenantStore {
    /// An active user. Whether the tenant is active is another question.
    pub(crate) async fn active_user(
        &self,
        db: &impl ConnectionTrait,
        id: UserId,
    ) -> Result<Option<UserRecord>, StoreError> {
        self.one_user(db, self.scoped_users().filter(user::Column::Id.eq(id.0)).filter(user::Column::Active.eq(true)))
            .await
    }

    /// The same, who stays so until the transaction ends: on PostgreSQL others may write meanwhile.
    pub(super) async fn held_user(
        &self,
        tx: &impl ConnectionTrait,
        id: UserId,
    ) -> Result<Option<UserRecord>, StoreError> {
        let active = self.scoped_users().filter(user::Column::Id.eq(id.0)).filter(user::Column::Active.eq(true));
        self.one_user(tx, active.lock_shared()).await
    }

    /// `NoUser` unless people may come in through this issuer, or with a password. Whoever closes a way has taken back
    /// what was there; what is made of it later must not outlive that.
    pub(super) async fn check_way_is_open(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        through: Option<IssuerId>,
    ) -> Result<(), StoreError> {
        let open = match through {
            None => tenant.local_accounts,
            Some(id) => {
                let own = self.scoped_issuers().filter(issuer::Column::Id.eq(id.0));
                let open = own.filter(issuer::Column::Enabled.eq(true)).filter(issuer::Column::SignIn.eq(true));
                open.count(&change.tx).await? == 1
            }
        };
        if open { Ok(()) } else { Err(StoreError::NoUser) }
    }

    /// Ends all to which people came through an issuer, or with a password (`None`): nobody may come in that way any
    /// more. What they let clients do is taken back urgently.
    pub(crate) async fn close_way(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        through: Option<IssuerId>,
    ) -> Result<Vec<Notice>, StoreError> {
        self.drop_sessions_by_way(&change.tx, through).await?;
        self.drop_codes_by_way(&change.tx, through).await?;
        let column = oauth_grant::Column::IssuerId;
        let way = through.map_or(column.is_null(), |issuer| column.eq(issuer.0));
        let revoked = self.revoke_those(change, way).await?;
        Ok(self.notices_of_revoked(tenant, &revoked))
    }

    /// Ends all by which a user is signed in or has let clients in: the user is inactive or deleted, or has another
    /// password.
    pub(super) async fn sign_out(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        user: UserId,
    ) -> Result<Vec<Notice>, StoreError> {
        self.drop_links(&change.tx, user).await?;
        self.drop_sessions(&change.tx, user).await?;
        self.drop_codes(&change.tx, user).await?;
        let revoked = self.revoke_those(change, oauth_grant::Column::UserId.eq(user.0)).await?;
        Ok(self.notices_of_revoked(tenant, &revoked))
    }
}
