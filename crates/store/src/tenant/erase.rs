//! What is gone for good: users whom nobody needs to know any more, and everything of a tenant.

use model::{GrantId, ResourceName, UserId};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DeleteMany, EntityTrait, QueryFilter, QueryOrder, QuerySelect, UpdateMany,
};
use uuid::Uuid;

use super::TenantStore;
use crate::StoreError;
use crate::bounds::{USER_TOMBSTONES, beyond};
use crate::change::{Change, Notice};
use crate::entity::{api_key, idempotency, issuer, oauth_grant, server, tenant_key, user, vault_job};
use crate::platform::tenant_keys::KeyState;

impl TenantStore {
    /// Kept answers to the tenant's requests.
    fn scoped_answer_deletion(&self) -> DeleteMany<idempotency::Entity> {
        idempotency::Entity::delete_many().filter(idempotency::Column::TenantId.eq(self.tenant.0))
    }

    /// Erases deleted users with all that was theirs; answers what proxies are told.
    pub(crate) async fn erase_users(&self, change: &Change, ids: Vec<Uuid>) -> Result<Vec<Notice>, StoreError> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let revoked = self.scoped_grants().filter(oauth_grant::Column::UserId.is_in(ids.clone()));
        let revoked = revoked.filter(oauth_grant::Column::RevokedAt.is_not_null()).select_only();
        let revoked: Vec<Uuid> = revoked.column(oauth_grant::Column::Id).into_tuple().all(&change.tx).await?;
        // What else was theirs goes with their rows.
        self.scoped_key_deletion().filter(api_key::Column::UserId.is_in(ids.clone())).exec(&change.tx).await?;
        self.scoped_user_deletion().filter(user::Column::Id.is_in(ids.clone())).exec(&change.tx).await?;
        let users = ids.into_iter().map(|id| ResourceName::User(UserId(id)));
        let names = users.chain(revoked.into_iter().map(|id| ResourceName::Revoked(GrantId(id))));
        Ok(names.map(|name| self.notice(name, false, false)).collect())
    }

    /// Erases the users who were deleted first, if there are more than proxies can know.
    pub(super) async fn erase_oldest_users(&self, change: &Change) -> Result<Vec<Notice>, StoreError> {
        let latest =
            self.scoped_user_tombstones().order_by_desc(user::Column::DeletedAt).order_by_desc(user::Column::Id);
        let oldest = beyond(&change.tx, latest, USER_TOMBSTONES).await?;
        self.erase_users(change, oldest.into_iter().map(|row| row.id).collect()).await
    }

    fn scoped_data_key_deletion(&self) -> DeleteMany<tenant_key::Entity> {
        tenant_key::Entity::delete_many().filter(tenant_key::Column::TenantId.eq(self.tenant.0))
    }

    fn scoped_data_key_update(&self) -> UpdateMany<tenant_key::Entity> {
        tenant_key::Entity::update_many().filter(tenant_key::Column::TenantId.eq(self.tenant.0))
    }

    fn scoped_vault_job_deletion(&self) -> DeleteMany<vault_job::Entity> {
        vault_job::Entity::delete_many().filter(vault_job::Column::TenantId.eq(self.tenant.0))
    }

    /// Makes all secrets of a tenant unreadable for ever, in backups of other tables too: its data keys are destroyed,
    /// and what they sealed is erased. The numbers of the keys stay taken, so that none comes back as another.
    pub(crate) async fn shred(&self, change: &Change) -> Result<(), StoreError> {
        let none = Expr::value(None::<Vec<u8>>);
        self.scoped_data_key_update()
            .col_expr(tenant_key::Column::State, Expr::value(KeyState::Destroyed.as_str()))
            .col_expr(tenant_key::Column::Wrapped, Expr::value(Vec::<u8>::new()))
            .exec(&change.tx)
            .await?;
        self.scoped_connection_deletion().exec(&change.tx).await?;
        self.scoped_upstream_client_deletion().exec(&change.tx).await?;
        self.scoped_login_attempt_deletion().exec(&change.tx).await?;
        let servers = self.scoped_server_update().filter(server::Column::AuthSecret.is_not_null());
        servers.col_expr(server::Column::AuthSecret, none.clone()).exec(&change.tx).await?;
        let issuers = self.scoped_issuer_update().filter(issuer::Column::ClientSecret.is_not_null());
        issuers.col_expr(issuer::Column::ClientSecret, none).exec(&change.tx).await?;
        Ok(())
    }

    /// Erases all rows of the tenant but its own and the audit's; those that refer to others first.
    pub(crate) async fn erase_all(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        self.scoped_answer_deletion().exec(db).await?;
        self.scoped_membership_deletion().exec(db).await?;
        self.scoped_key_deletion().exec(db).await?;
        self.scoped_refresh_token_deletion().exec(db).await?;
        self.scoped_grant_deletion().exec(db).await?;
        self.scoped_code_deletion().exec(db).await?;
        self.scoped_client_deletion().exec(db).await?;
        self.scoped_session_deletion().exec(db).await?;
        self.scoped_link_deletion().exec(db).await?;
        self.scoped_password_deletion().exec(db).await?;
        self.scoped_user_deletion().exec(db).await?;
        self.scoped_department_deletion().exec(db).await?;
        self.scoped_manifest_deletion().exec(db).await?;
        self.scoped_connection_deletion().exec(db).await?;
        self.scoped_upstream_client_deletion().exec(db).await?;
        self.scoped_upstream_metadata_deletion().exec(db).await?;
        self.scoped_login_attempt_deletion().exec(db).await?;
        self.scoped_data_key_deletion().exec(db).await?;
        self.scoped_vault_job_deletion().exec(db).await?;
        self.scoped_toolset_deletion().exec(db).await?;
        self.scoped_server_deletion().exec(db).await?;
        self.scoped_issuer_deletion().exec(db).await?;
        Ok(())
    }
}
