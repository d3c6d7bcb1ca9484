//! A tenant's departments: create, read, list, change, delete, restore.

use model::{DepartmentId, Generation, Holder, ResourceName};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, UpdateMany,
};

use super::TenantStore;
use super::connections::of_holder;
use crate::bounds::{DEPARTMENTS, room_for_one};
use crate::change::{Change, Deed, Notice};
use crate::entity::department::{Column, Entity, Model};
use crate::generation::expect;
use crate::listing::{holds, page_size};
use crate::{
    Actor, Committed, DepartmentPage, DepartmentPatch, DepartmentRecord, NewDepartment, Restored, StoreError,
    TenantRecord,
};

impl TenantStore {
    /// The tenant's live departments.
    pub(super) fn scoped_departments(&self) -> Select<Entity> {
        Entity::find().filter(self.own_departments()).filter(Column::DeletedAt.is_null())
    }

    /// The tenant's deleted departments.
    fn scoped_department_tombstones(&self) -> Select<Entity> {
        Entity::find().filter(self.own_departments()).filter(Column::DeletedAt.is_not_null())
    }

    /// Live and deleted ones, for writes.
    fn scoped_department_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_departments())
    }

    /// The same for erasing.
    pub(super) fn scoped_department_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_departments())
    }

    fn own_departments(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    pub(super) fn department_record(&self, row: Model) -> Result<DepartmentRecord, StoreError> {
        let record = DepartmentRecord::try_from(row)?;
        self.check(record.tenant)?;
        Ok(record)
    }

    async fn one_department(
        &self,
        db: &impl ConnectionTrait,
        query: Select<Entity>,
    ) -> Result<Option<DepartmentRecord>, StoreError> {
        query.one(db).await?.map(|row| self.department_record(row)).transpose()
    }

    /// Makes a department: `NameTaken`, or `Bound` if there are 1000 already.
    pub async fn create_department(
        &self,
        actor: &Actor,
        new: NewDepartment,
    ) -> Result<Committed<DepartmentRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let record = DepartmentRecord::new(self.tenant, new, change.now);
        self.check_department_fits(&change, &record).await?;
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        self.commit_department(change, &tenant, actor, "department.create", None, record).await
    }

    /// A live department.
    pub async fn department(&self, id: DepartmentId) -> Result<Option<DepartmentRecord>, StoreError> {
        self.one_department(&self.store.inner.read, self.scoped_departments().filter(Column::Id.eq(id.0))).await
    }

    /// A live department by its slug.
    pub async fn department_by_name(&self, name: &str) -> Result<Option<DepartmentRecord>, StoreError> {
        self.one_department(&self.store.inner.read, self.scoped_departments().filter(Column::Name.eq(name))).await
    }

    /// Departments in the order of their making.
    pub async fn departments(&self, page: DepartmentPage) -> Result<Vec<DepartmentRecord>, StoreError> {
        let those = if page.deleted { self.scoped_department_tombstones() } else { self.scoped_departments() };
        let mut query = those.order_by_asc(Column::Id).limit(page_size(page.limit));
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            let columns = [Column::Name, Column::Title, Column::ExternalId];
            query = query.filter(holds(self.backend(), &columns, &text));
        }
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.department_record(row)).collect()
    }

    /// Changes a department. With `expected`, only at that generation, else `Stale`. A patch that
    /// changes nothing commits nothing.
    pub async fn patch_department(
        &self,
        actor: &Actor,
        id: DepartmentId,
        expected: Option<Generation>,
        patch: DepartmentPatch,
    ) -> Result<Committed<DepartmentRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.department_at(&change, self.scoped_departments(), id, expected).await?;
        let mut after = before.patched(patch);
        if after == before {
            return change.nothing(before).await;
        }
        self.check_department_is_unique(&change, &after).await?;
        self.write_department(&change, &mut after).await?;
        self.commit_department(change, &tenant, actor, "department.change", Some(before), after).await
    }

    /// Deletes a department: its row stays as a tombstone, its name is free again, its users show it
    /// no more, and its connections are erased.
    pub async fn delete_department(
        &self,
        actor: &Actor,
        id: DepartmentId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.department_at(&change, self.scoped_departments(), id, expected).await?;
        let mut after = before.clone();
        after.deleted_at = Some(change.now);
        self.write_department(&change, &mut after).await?;
        let committed =
            self.commit_department(change, &tenant, actor, "department.delete", Some(before), after).await?;
        Ok(Committed { value: (), revision: committed.revision })
    }

    /// Brings a deleted department back, with those of its users that nobody gave other departments
    /// since; `NameTaken` if another one has the name by now. Restoring a live one changes nothing.
    pub async fn restore_department(
        &self,
        actor: &Actor,
        id: DepartmentId,
    ) -> Result<Committed<Restored<DepartmentRecord>>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let live = self.scoped_departments().filter(Column::Id.eq(id.0));
        if let Some(record) = self.one_department(&change.tx, live).await? {
            return change.nothing(Restored::whole(record)).await;
        }
        let before = self.department_at(&change, self.scoped_department_tombstones(), id, None).await?;
        let mut after = before.clone();
        after.deleted_at = None;
        self.check_department_fits(&change, &after).await?;
        self.write_department(&change, &mut after).await?;
        let Committed { value, revision } =
            self.commit_department(change, &tenant, actor, "department.restore", Some(before), after).await?;
        Ok(Committed { value: Restored::whole(value), revision })
    }

    async fn department_at(
        &self,
        change: &Change,
        those: Select<Entity>,
        id: DepartmentId,
        expected: Option<Generation>,
    ) -> Result<DepartmentRecord, StoreError> {
        let query = those.filter(Column::Id.eq(id.0));
        let record = self.one_department(&change.tx, query).await?.ok_or(StoreError::NotFound)?;
        expect(record.generation, expected)?;
        Ok(record)
    }

    /// Writes every column, one generation on, if the row is where it was read.
    async fn write_department(&self, change: &Change, after: &mut DepartmentRecord) -> Result<(), StoreError> {
        let current = after.generation;
        after.generation = Generation(current.0 + 1);
        after.updated_at = change.now;
        let written = self
            .scoped_department_update()
            .set(after.clone().into_row())
            .filter(Column::Id.eq(after.id.0))
            .filter(Column::Generation.eq(current.0))
            .exec(&change.tx)
            .await?;
        if written.rows_affected == 1 { Ok(()) } else { Err(StoreError::Stale { current }) }
    }

    async fn check_department_fits(&self, change: &Change, record: &DepartmentRecord) -> Result<(), StoreError> {
        self.check_department_is_unique(change, record).await?;
        room_for_one(&change.tx, self.scoped_departments(), "departments", DEPARTMENTS).await
    }

    async fn check_department_is_unique(&self, change: &Change, record: &DepartmentRecord) -> Result<(), StoreError> {
        let others = self.scoped_departments().filter(Column::Id.ne(record.id.0));
        let taken = others.filter(Column::Name.eq(record.name.as_str())).count(&change.tx).await? > 0;
        if taken { Err(StoreError::NameTaken) } else { Ok(()) }
    }

    /// What goes with a department that was deleted, and what has another name with one that was renamed: its
    /// connections.
    async fn follow_department(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        before: &DepartmentRecord,
        after: &DepartmentRecord,
    ) -> Result<Vec<Notice>, StoreError> {
        let those = of_holder(Holder::Department(after.id));
        if after.deleted_at.is_some() {
            return self.erase_connections(change, tenant.is_live(), those).await;
        }
        if before.name == after.name {
            return Ok(Vec::new());
        }
        let ids = self.connection_ids(change, those).await?;
        self.notices_of_connections(change, tenant.is_live(), ids, false).await
    }

    /// Proxies hold no departments, but users with the names of theirs.
    async fn commit_department(
        &self,
        change: Change,
        tenant: &TenantRecord,
        actor: &Actor,
        action: &'static str,
        before: Option<DepartmentRecord>,
        after: DepartmentRecord,
    ) -> Result<Committed<DepartmentRecord>, StoreError> {
        let shown = |record: &DepartmentRecord| record.deleted_at.is_none().then(|| record.name.clone());
        let members = match &before {
            Some(before) if shown(before) != shown(&after) => self.member_ids(&change.tx, after.id).await?,
            _ => Vec::new(),
        };
        let told = |user| self.notice(ResourceName::User(user), tenant.is_live(), false);
        let mut notices: Vec<_> = members.into_iter().map(told).collect();
        if let Some(before) = &before {
            notices.extend(self.follow_department(&change, tenant, before, &after).await?);
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
}
