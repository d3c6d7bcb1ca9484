//! Which departments a user belongs to, in their order.

use std::collections::HashMap;

use model::{DepartmentId, UserId};
use sea_orm::sea_query::SelectStatement;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select,
};
use uuid::Uuid;

use super::TenantStore;
use crate::bounds::MEMBERSHIPS;
use crate::change::Change;
use crate::entity::department;
use crate::entity::membership::{ActiveModel, Column, Entity};
use crate::{Membership, StoreError};

impl TenantStore {
    fn scoped_memberships(&self) -> Select<Entity> {
        Entity::find().filter(self.own_memberships())
    }

    pub(super) fn scoped_membership_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_memberships())
    }

    fn own_memberships(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    /// The live departments of each of these users.
    pub(super) async fn departments_of(
        &self,
        db: &impl ConnectionTrait,
        users: Vec<Uuid>,
    ) -> Result<HashMap<Uuid, Vec<Membership>>, StoreError> {
        let rows = self.scoped_memberships().filter(Column::UserId.is_in(users)).order_by_asc(Column::Position);
        let rows = rows.all(db).await?;
        let mut ids: Vec<_> = rows.iter().map(|row| row.department_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let known = self.known_departments(db, ids).await?;
        let mut found: HashMap<Uuid, Vec<Membership>> = HashMap::new();
        for row in rows {
            if let Some(department) = known.get(&row.department_id) {
                found.entry(row.user_id).or_default().push(department.clone());
            }
        }
        Ok(found)
    }

    /// The departments that a user is to have: `NoDepartment` if one is not a live one of the tenant,
    /// `Bound` if there are more than 32.
    pub(super) async fn chosen_departments(
        &self,
        change: &Change,
        ids: &[DepartmentId],
    ) -> Result<Vec<Membership>, StoreError> {
        let mut chosen: Vec<Uuid> = Vec::new();
        for id in ids {
            if !chosen.contains(&id.0) {
                chosen.push(id.0);
            }
            if chosen.len() > MEMBERSHIPS as usize {
                return Err(StoreError::Bound { what: "departments of one user", limit: MEMBERSHIPS });
            }
        }
        let known = self.known_departments(&change.tx, chosen.clone()).await?;
        chosen.iter().map(|id| known.get(id).cloned().ok_or(StoreError::NoDepartment)).collect()
    }

    async fn known_departments(
        &self,
        db: &impl ConnectionTrait,
        ids: Vec<Uuid>,
    ) -> Result<HashMap<Uuid, Membership>, StoreError> {
        if ids.is_empty() {
            return Ok(HashMap::new());
        }
        let rows = self.scoped_departments().filter(department::Column::Id.is_in(ids)).all(db).await?;
        let read = rows.into_iter().map(|row| {
            let record = self.department_record(row)?;
            Ok((record.id.0, Membership { id: record.id, name: record.name }))
        });
        read.collect()
    }

    /// Puts a user's departments in place of those before.
    pub(super) async fn write_memberships(
        &self,
        change: &Change,
        user: UserId,
        departments: &[Membership],
    ) -> Result<(), StoreError> {
        self.scoped_membership_deletion().filter(Column::UserId.eq(user.0)).exec(&change.tx).await?;
        let rows = (0..).zip(departments).map(|(position, department)| ActiveModel {
            tenant_id: Set(self.tenant.0),
            user_id: Set(user.0),
            department_id: Set(department.id.0),
            position: Set(position),
        });
        if !departments.is_empty() {
            Entity::insert_many(rows).exec_without_returning(&change.tx).await?;
        }
        Ok(())
    }

    /// The users of a department, deleted ones too.
    pub(super) async fn member_ids(
        &self,
        db: &impl ConnectionTrait,
        department: DepartmentId,
    ) -> Result<Vec<UserId>, StoreError> {
        let members = self.scoped_memberships().filter(Column::DepartmentId.eq(department.0)).select_only();
        let ids: Vec<Uuid> = members.column(Column::UserId).into_tuple().all(db).await?;
        Ok(ids.into_iter().map(UserId).collect())
    }

    /// The users of a department, as a subquery.
    pub(super) fn members_of(&self, department: DepartmentId) -> SelectStatement {
        let members = self.scoped_memberships().filter(Column::DepartmentId.eq(department.0));
        members.select_only().column(Column::UserId).into_query()
    }
}
