//! Everything of a tenant, gone for good.

use sea_orm::{ColumnTrait, ConnectionTrait, DeleteMany, EntityTrait, QueryFilter};

use super::TenantStore;
use crate::StoreError;
use crate::entity::idempotency;

impl TenantStore {
    /// Kept answers to the tenant's requests.
    fn scoped_answer_deletion(&self) -> DeleteMany<idempotency::Entity> {
        idempotency::Entity::delete_many().filter(idempotency::Column::TenantId.eq(self.tenant.0))
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
        self.scoped_server_deletion().exec(db).await?;
        self.scoped_issuer_deletion().exec(db).await?;
        Ok(())
    }
}
