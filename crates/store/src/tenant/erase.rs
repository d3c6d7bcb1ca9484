//! Everything of a tenant, gone for good.

use sea_orm::ConnectionTrait;

use super::TenantStore;
use crate::StoreError;

impl TenantStore {
    /// Erases all rows of the tenant but its own and the audit's; those that refer to others first.
    pub(crate) async fn erase_all(&self, db: &impl ConnectionTrait) -> Result<(), StoreError> {
        self.scoped_membership_deletion().exec(db).await?;
        self.scoped_key_deletion().exec(db).await?;
        self.scoped_user_deletion().exec(db).await?;
        self.scoped_department_deletion().exec(db).await?;
        self.scoped_manifest_deletion().exec(db).await?;
        self.scoped_server_deletion().exec(db).await?;
        Ok(())
    }
}
