//! A tenant's users: create, read, list, change.

use model::{Generation, Holder, ResourceName, UserId};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, UpdateMany,
};

use super::TenantStore;
use super::connections::of_holder;
use crate::bounds::{USERS, room_for_one};
use crate::change::{Change, Deed, Notice};
use crate::entity::user::{Column, Entity, Model};
use crate::generation::expect;
use crate::listing::{holds, page_size};
use crate::platform::last_admin::LastAdmin;
use crate::user_record::takes_place;
use crate::{Actor, Committed, NewUser, StoreError, TenantRecord, UserPage, UserPatch, UserRecord};

impl TenantStore {
    /// The tenant's live users.
    pub(super) fn scoped_users(&self) -> Select<Entity> {
        Entity::find().filter(self.own_users()).filter(Column::DeletedAt.is_null())
    }

    /// The tenant's deleted users.
    pub(super) fn scoped_user_tombstones(&self) -> Select<Entity> {
        Entity::find().filter(self.own_users()).filter(Column::DeletedAt.is_not_null())
    }

    /// Live and deleted ones: proxies hold both.
    pub(super) fn scoped_all_users(&self) -> Select<Entity> {
        Entity::find().filter(self.own_users())
    }

    /// Live and deleted ones, for writes.
    fn scoped_user_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_users())
    }

    /// The same for erasing.
    pub(super) fn scoped_user_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_users())
    }

    fn own_users(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    pub(super) async fn one_user(
        &self,
        db: &impl ConnectionTrait,
        query: Select<Entity>,
    ) -> Result<Option<UserRecord>, StoreError> {
        let row = query.one(db).await?;
        Ok(self.user_records(db, row.into_iter().collect()).await?.pop())
    }

    async fn user_records(&self, db: &impl ConnectionTrait, rows: Vec<Model>) -> Result<Vec<UserRecord>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let mut departments = self.departments_of(db, rows.iter().map(|row| row.id).collect()).await?;
        let records = rows.into_iter().map(|row| {
            let departments = departments.remove(&row.id).unwrap_or_default();
            let record = UserRecord::from_row(row, departments)?;
            self.check(record.tenant)?;
            Ok(record)
        });
        records.collect()
    }

    /// Makes a user: `LoginTaken`, `ExternalIdTaken`, `NoDepartment`, or `Bound` if there are 10,000 already.
    pub async fn create_user(&self, actor: &Actor, new: NewUser) -> Result<Committed<UserRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let departments = self.chosen_departments(&change, &new.departments).await?;
        let record = UserRecord::new(self.tenant, new, departments, change.now);
        self.check_user_fits(&change, &record).await?;
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        self.write_memberships(&change, record.id, &record.departments).await?;
        self.commit_user(change, &tenant, actor, "user.create", None, record).await
    }

    /// A live user.
    pub async fn user(&self, id: UserId) -> Result<Option<UserRecord>, StoreError> {
        self.one_user(&self.store.inner.read, self.scoped_users().filter(Column::Id.eq(id.0))).await
    }

    /// A live user by the login.
    pub async fn user_by_login(&self, login: &str) -> Result<Option<UserRecord>, StoreError> {
        self.one_user(&self.store.inner.read, self.scoped_users().filter(Column::Login.eq(login))).await
    }

    /// A live user by what another system calls them.
    pub async fn user_by_external_id(&self, external_id: &str) -> Result<Option<UserRecord>, StoreError> {
        let query = self.scoped_users().filter(Column::ExternalId.eq(external_id));
        self.one_user(&self.store.inner.read, query.order_by_asc(Column::Id)).await
    }

    /// The user who had this external id when deleted: of several, the last. Such a one must not come in as a stranger.
    pub async fn deleted_user_by_external_id(&self, external_id: &str) -> Result<Option<UserRecord>, StoreError> {
        let query = self.scoped_user_tombstones().filter(Column::ExternalId.eq(external_id));
        self.one_user(&self.store.inner.read, query.order_by_desc(Column::DeletedAt)).await
    }

    /// Users in the order of their making.
    pub async fn users(&self, page: UserPage) -> Result<Vec<UserRecord>, StoreError> {
        let those = if page.deleted { self.scoped_user_tombstones() } else { self.scoped_users() };
        let mut query = those.order_by_asc(Column::Id).limit(page_size(page.limit));
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        if let Some(active) = page.active {
            query = query.filter(Column::Active.eq(active));
        }
        if let Some(department) = page.department {
            query = query.filter(Column::Id.in_subquery(self.members_of(department)));
        }
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            let columns = [Column::Login, Column::Title, Column::ExternalId];
            query = query.filter(holds(self.backend(), &columns, &text));
        }
        let db = &self.store.inner.read;
        self.user_records(db, query.all(db).await?).await
    }

    /// Changes a user; what it takes from the user's keys leaves proxies urgently. With `expected`, only
    /// at that generation, else `Stale`. `LastAdmin` if nobody could administer the platform any more.
    pub async fn patch_user(
        &self,
        actor: &Actor,
        id: UserId,
        expected: Option<Generation>,
        mut patch: UserPatch,
    ) -> Result<Committed<UserRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.user_at(&change, self.scoped_users(), id, expected).await?;
        let departments = patch.departments.take();
        let mut after = before.patched(patch);
        if let Some(ids) = &departments {
            after.departments = self.chosen_departments(&change, ids).await?;
        }
        if after == before {
            return change.nothing(before).await;
        }
        self.check_login_is_free(&change, &after).await?;
        if after.external_id != before.external_id {
            self.check_external_id_is_free(&change, &after).await?;
        }
        if departments.is_some() {
            self.write_memberships(&change, id, &after.departments).await?;
        }
        self.write_and_commit_user(change, &tenant, actor, "user.change", before, after).await
    }

    pub(super) async fn user_at(
        &self,
        change: &Change,
        those: Select<Entity>,
        id: UserId,
        expected: Option<Generation>,
    ) -> Result<UserRecord, StoreError> {
        let query = those.filter(Column::Id.eq(id.0));
        let record = self.one_user(&change.tx, query).await?.ok_or(StoreError::NotFound)?;
        expect(record.generation, expected)?;
        Ok(record)
    }

    /// `NoUser` unless the tenant has this user.
    pub(super) async fn check_user_is(&self, change: &Change, id: UserId) -> Result<(), StoreError> {
        let known = self.scoped_users().filter(Column::Id.eq(id.0)).count(&change.tx).await? == 1;
        if known { Ok(()) } else { Err(StoreError::NoUser) }
    }

    pub(super) async fn check_user_fits(&self, change: &Change, record: &UserRecord) -> Result<(), StoreError> {
        self.check_login_is_free(change, record).await?;
        self.check_external_id_is_free(change, record).await?;
        room_for_one(&change.tx, self.scoped_users(), "users", USERS).await
    }

    async fn check_login_is_free(&self, change: &Change, record: &UserRecord) -> Result<(), StoreError> {
        let others = self.scoped_users().filter(Column::Id.ne(record.id.0));
        let taken = others.filter(Column::Login.eq(record.login.as_str())).count(&change.tx).await? > 0;
        if taken { Err(StoreError::LoginTaken) } else { Ok(()) }
    }

    /// Two users whom an identity provider calls the same would be one to proxies. Rows of earlier programs may be:
    /// only a new id is looked at.
    async fn check_external_id_is_free(&self, change: &Change, record: &UserRecord) -> Result<(), StoreError> {
        let Some(external_id) = &record.external_id else { return Ok(()) };
        let others = self.scoped_users().filter(Column::Id.ne(record.id.0));
        let taken = others.filter(Column::ExternalId.eq(external_id.as_str())).count(&change.tx).await? > 0;
        if taken { Err(StoreError::ExternalIdTaken) } else { Ok(()) }
    }

    /// Writes every column of the user, one generation on, if the row is where it was read, and commits
    /// unless that leaves no platform admin.
    pub(super) async fn write_and_commit_user(
        &self,
        change: Change,
        tenant: &TenantRecord,
        actor: &Actor,
        action: &'static str,
        before: UserRecord,
        mut after: UserRecord,
    ) -> Result<Committed<UserRecord>, StoreError> {
        let last_admin = LastAdmin::look(&self.store, &change).await?;
        let current = before.generation;
        after.generation = Generation(current.0 + 1);
        after.updated_at = change.now;
        let written = self
            .scoped_user_update()
            .set(after.clone().into_row())
            .filter(Column::Id.eq(after.id.0))
            .filter(Column::Generation.eq(current.0))
            .exec(&change.tx)
            .await?;
        if written.rows_affected != 1 {
            return Err(StoreError::Stale { current });
        }
        last_admin.stays(&change).await?;
        self.commit_user(change, tenant, actor, action, Some(before), after).await
    }

    /// Proxies hold the user, and what the user's keys may do. Who may not come in any more is signed out.
    async fn commit_user(
        &self,
        change: Change,
        tenant: &TenantRecord,
        actor: &Actor,
        action: &'static str,
        before: Option<UserRecord>,
        after: UserRecord,
    ) -> Result<Committed<UserRecord>, StoreError> {
        let mut notices = match &before {
            Some(before) if before.bound() != after.bound() => {
                self.notices_of_keys(&change, tenant, before, &after).await?
            }
            _ => Vec::new(),
        };
        let shut_out = after.bound().is_none() && before.as_ref().is_some_and(|before| before.bound().is_some());
        if shut_out {
            notices.extend(self.sign_out(&change, tenant, after.id).await?);
        }
        if after.deleted_at.is_some() {
            notices.extend(self.erase_oldest_users(&change).await?);
        }
        if let Some(before) = &before {
            notices.extend(self.follow_user(&change, tenant, before, &after).await?);
        }
        let (had, has) = (before.as_ref().map(UserRecord::spec), after.spec());
        if had.as_ref() != Some(&has) {
            let urgent = takes_place(had.as_ref(), &has);
            notices.push(self.notice(ResourceName::User(after.id), tenant.is_live(), urgent));
        }
        let deed = Deed {
            tenant: Some(self.tenant),
            action,
            object: after.object(),
            before: before.map(|record| record.redacted()),
            after: after.deleted_at.is_none().then(|| after.redacted()),
        };
        change.commit(actor, deed, notices, after).await
    }

    /// What goes or comes with a user who was changed: the connections that are theirs alone.
    async fn follow_user(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        before: &UserRecord,
        after: &UserRecord,
    ) -> Result<Vec<Notice>, StoreError> {
        let those = of_holder(Holder::User(after.id));
        if after.deleted_at.is_some() {
            return self.erase_connections(change, tenant.is_live(), those).await;
        }
        let (had, has) = (before.bound().is_some(), after.bound().is_some());
        if had == has {
            return Ok(Vec::new());
        }
        let ids = self.connection_ids(change, those).await?;
        self.notices_of_connections(change, tenant.is_live(), ids, had).await
    }

    /// A notice for each key that opens something else since its user was changed.
    async fn notices_of_keys(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        before: &UserRecord,
        after: &UserRecord,
    ) -> Result<Vec<Notice>, StoreError> {
        if !tenant.is_live() {
            return Ok(Vec::new());
        }
        let keys = self.live_keys(&change.tx, Some(after.id), change.now).await?;
        let notices = keys.iter().filter_map(|key| {
            let role = |bound| key.verifier_within(bound, change.now).map(|verifier| verifier.role);
            let (had, has) = (role(before.bound()), role(after.bound()));
            let name = ResourceName::Key(key.verifier.id);
            (had != has).then(|| self.notice(name, has.is_some(), has < had))
        });
        Ok(notices.collect())
    }
}
