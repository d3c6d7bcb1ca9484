//! Who may be signed in, and the end of it.

use model::UserId;
use sea_orm::{ColumnTrait, ConnectionTrait, QueryFilter, QuerySelect};

use super::TenantStore;
use crate::change::{Change, Notice};
use crate::entity::{oauth_grant, user};
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

    /// Ends all by which a user is signed in or has let clients in: the user is inactive or deleted.
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
