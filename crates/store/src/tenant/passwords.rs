//! Passwords of local accounts, as their PHC strings.

use model::UserId;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, DeleteMany, EntityTrait, QueryFilter, Select};

use super::TenantStore;
use crate::change::Deed;
use crate::entity::password::{ActiveModel, Column, Entity};
use crate::{Actor, Committed, StoreError};

impl TenantStore {
    fn scoped_passwords(&self) -> Select<Entity> {
        Entity::find().filter(self.own_passwords())
    }

    pub(super) fn scoped_password_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_passwords())
    }

    fn own_passwords(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    /// A user's password as its PHC string; `None` for a user without one. Whether the user may sign in
    /// is another question.
    pub async fn password(&self, user: UserId) -> Result<Option<String>, StoreError> {
        let row = self.scoped_passwords().filter(Column::UserId.eq(user.0)).one(&self.store.inner.read).await?;
        row.map(|row| self.check(model::TenantId(row.tenant_id)).map(|()| row.phc)).transpose()
    }

    /// Gives a user a password, in the place of the one before. Whoever knew the old one, or has a link, a session or
    /// a grant of it, is out: a new session comes after this. `NoUser` for a user that isn't there.
    pub async fn set_password(&self, actor: &Actor, user: UserId, phc: String) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        self.check_user_is(&change, user).await?;
        let row = ActiveModel {
            tenant_id: Set(self.tenant.0),
            user_id: Set(user.0),
            phc: Set(phc),
            created_at: Set(change.now),
        };
        let replace = OnConflict::columns([Column::TenantId, Column::UserId])
            .update_columns([Column::Phc, Column::CreatedAt])
            .to_owned();
        Entity::insert(row).on_conflict(replace).exec_without_returning(&change.tx).await?;
        let notices = self.sign_out(&change, &tenant, user).await?;
        change.commit(actor, self.password_deed("password.set", user), notices, ()).await
    }

    /// Takes a user's password away, and with it all sessions, links and grants. Without one nothing changes.
    pub async fn remove_password(&self, actor: &Actor, user: UserId) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let removed =
            self.scoped_password_deletion().filter(Column::UserId.eq(user.0)).exec(&change.tx).await?.rows_affected;
        if removed == 0 {
            return change.nothing(()).await;
        }
        let notices = self.sign_out(&change, &tenant, user).await?;
        change.commit(actor, self.password_deed("password.remove", user), notices, ()).await
    }

    fn password_deed(&self, action: &'static str, user: UserId) -> Deed {
        Deed { tenant: Some(self.tenant), action, object: format!("user/{user}"), before: None, after: None }
    }
}
