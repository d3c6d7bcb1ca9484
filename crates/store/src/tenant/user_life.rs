//! The end of a user: deleted, or restored.

use model::{Generation, UserId};
use sea_orm::{ColumnTrait, QueryFilter};

use super::TenantStore;
use crate::entity::user::Column;
use crate::{Actor, Committed, Restored, StoreError, UserRecord};

impl TenantStore {
    /// A deleted user.
    pub async fn deleted_user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        self.one_user(&self.store.inner.read, self.scoped_user_tombstones().filter(Column::Id.eq(id.0))).await
    }

    /// Deletes a user: the row stays as a tombstone (of the last 10,000), the login is free again, and the user's keys
    /// open nothing and the user's connections are erased, urgently. `LastAdmin` if nobody could administer the platform any more.
    pub async fn delete_user(
        &self,
        actor: &Actor,
        id: UserId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.user_at(&change, self.scoped_users(), id, expected).await?;
        let mut after = before.clone();
        after.deleted_at = Some(change.now);
        let committed = self.write_and_commit_user(change, &tenant, actor, "user.delete", before, after).await?;
        Ok(Committed { value: (), revision: committed.revision })
    }

    /// Brings a deleted user back with the keys that have not ended since; `LoginTaken` or
    /// `ExternalIdTaken` if another one has these by now. Restoring a live one changes nothing.
    pub async fn restore_user(&self, actor: &Actor, id: UserId) -> Result<Committed<Restored<UserRecord>>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let live = self.scoped_users().filter(Column::Id.eq(id.0));
        if let Some(record) = self.one_user(&change.tx, live).await? {
            return change.nothing(Restored::whole(record)).await;
        }
        let before = self.user_at(&change, self.scoped_user_tombstones(), id, None).await?;
        let mut after = before.clone();
        after.deleted_at = None;
        self.check_user_fits(&change, &after).await?;
        let Committed { value, revision } =
            self.write_and_commit_user(change, &tenant, actor, "user.restore", before, after).await?;
        Ok(Committed { value: Restored::whole(value), revision })
    }
}
