//! A user as it is stored, created and changed; and its row.

use model::{DepartmentId, DepartmentName, Generation, KeyRole, TenantId, UserId, UserSpec};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::StoreError;
use crate::entity::user;

/// A user record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRecord {
    /// The user's id.
    pub id: UserId,
    /// The tenant that the user belongs to.
    pub tenant: TenantId,
    /// Unique among the tenant's live users.
    pub login: String,
    /// Free text for people.
    pub title: String,
    /// What another system calls the user; unique among the tenant's live users.
    pub external_id: Option<String>,
    /// The live departments of the user, the first one first.
    pub departments: Vec<Membership>,
    /// The most that any of the user's keys may do.
    pub role: KeyRole,
    /// Whether the user's keys open anything.
    pub active: bool,
    /// Raised by every change of the record.
    pub generation: Generation,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// Microseconds since 1970; a record with this set is a tombstone.
    pub deleted_at: Option<i64>,
}

/// A department as one of a user's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// The department's id.
    pub id: DepartmentId,
    /// The department's name.
    pub name: DepartmentName,
}

/// A user to be made. The id is given by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUser {
    /// See [`UserRecord::login`].
    pub login: String,
    /// See [`UserRecord::title`].
    pub title: String,
    /// See [`UserRecord::external_id`].
    pub external_id: Option<String>,
    /// Live departments of the tenant in this order; one that stands twice counts once.
    pub departments: Vec<DepartmentId>,
    /// See [`UserRecord::role`].
    pub role: KeyRole,
    /// See [`UserRecord::active`].
    pub active: bool,
}

/// What to change of a user; `None` leaves a field alone, `Some(None)` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPatch {
    /// See [`UserRecord::login`].
    pub login: Option<String>,
    /// See [`UserRecord::title`].
    pub title: Option<String>,
    /// See [`UserRecord::external_id`].
    pub external_id: Option<Option<String>>,
    /// See [`NewUser::departments`]: replaces all of them.
    pub departments: Option<Vec<DepartmentId>>,
    /// See [`UserRecord::role`].
    pub role: Option<KeyRole>,
    /// See [`UserRecord::active`].
    pub active: Option<bool>,
}

/// Which users to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserPage {
    /// Only those with this text in login, title or external id, whatever the case (of ASCII letters on
    /// SQLite).
    pub search: Option<String>,
    /// Only those of this department.
    pub department: Option<DepartmentId>,
    /// Only active or only inactive ones.
    pub active: Option<bool>,
    /// Tombstones instead of live ones.
    pub deleted: bool,
    /// Only those after this one.
    pub after: Option<UserId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

impl UserRecord {
    pub(crate) fn new(tenant: TenantId, new: NewUser, departments: Vec<Membership>, now: i64) -> Self {
        Self {
            id: UserId::fresh(),
            tenant,
            login: new.login,
            title: new.title,
            external_id: new.external_id,
            departments,
            role: new.role,
            active: new.active,
            generation: Generation(1),
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }

    /// The record with the patch applied; generation, time and departments are left alone.
    pub(crate) fn patched(&self, patch: UserPatch) -> Self {
        let mut record = self.clone();
        record.login = patch.login.unwrap_or(record.login);
        record.title = patch.title.unwrap_or(record.title);
        record.external_id = patch.external_id.unwrap_or(record.external_id);
        record.role = patch.role.unwrap_or(record.role);
        record.active = patch.active.unwrap_or(record.active);
        record
    }

    /// The most that the user's keys may do; `None` for nothing.
    pub(crate) fn bound(&self) -> Option<KeyRole> {
        (self.active && self.deleted_at.is_none()).then_some(self.role)
    }

    /// What proxies hold of the user. Somebody who was deleted stays known to them, as nobody who comes in.
    pub fn spec(&self) -> UserSpec {
        UserSpec {
            id: self.id,
            tenant: self.tenant,
            login: self.login.clone(),
            external_id: self.external_id.clone(),
            role: self.role,
            active: self.bound().is_some(),
            departments: self.departments.iter().map(|department| department.name.to_string()).collect(),
        }
    }

    /// How the audit and the book of answers name the user.
    pub(crate) fn object(&self) -> String {
        format!("user/{}", self.id)
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "login": self.login,
            "title": self.title,
            "external_id": self.external_id,
            "departments": self.departments.iter().map(|department| department.name.as_str()).collect::<Vec<_>>(),
            "role": self.role.as_str(),
            "active": self.active,
            "generation": self.generation.0,
        })
    }

    /// The row; departments have rows of their own.
    pub(crate) fn into_row(self) -> user::ActiveModel {
        user::ActiveModel {
            tenant_id: Set(self.tenant.0),
            id: Set(self.id.0),
            login: Set(self.login),
            title: Set(self.title),
            external_id: Set(self.external_id),
            role: Set(self.role.as_str().to_owned()),
            active: Set(self.active),
            generation: Set(self.generation.0),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
            deleted_at: Set(self.deleted_at),
        }
    }

    pub(crate) fn from_row(row: user::Model, departments: Vec<Membership>) -> Result<Self, StoreError> {
        Ok(Self {
            id: UserId(row.id),
            tenant: TenantId(row.tenant_id),
            login: row.login,
            title: row.title,
            external_id: row.external_id,
            departments,
            role: KeyRole::parse(&row.role).ok_or(StoreError::Corrupt { what: "user.role" })?,
            active: row.active,
            generation: Generation(row.generation),
            created_at: row.created_at,
            updated_at: row.updated_at.max(row.created_at),
            deleted_at: row.deleted_at,
        })
    }
}

/// What proxies hold of the user of this row. Of one whose role can't be read they hold that nobody comes in.
pub(crate) fn spec_of(row: user::Model, departments: Vec<String>) -> (UserSpec, Result<(), StoreError>) {
    let role = KeyRole::parse(&row.role);
    let spec = UserSpec {
        id: UserId(row.id),
        tenant: TenantId(row.tenant_id),
        login: row.login,
        external_id: row.external_id,
        role: role.unwrap_or(KeyRole::Viewer),
        active: role.is_some() && row.active && row.deleted_at.is_none(),
        departments,
    };
    (spec, role.map(drop).ok_or(StoreError::Corrupt { what: "user.role" }))
}

/// Whether somebody whom the first lets in is kept out, or may do less, by the second: proxies must hear of it at
/// once.
pub(crate) fn takes_place(before: Option<&UserSpec>, after: &UserSpec) -> bool {
    let Some(before) = before else { return false };
    let called_otherwise = before.login != after.login || before.external_id != after.external_id;
    before.active && (!after.active || after.role < before.role || called_otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_a_users_place_is_told_from_what_gives_one() {
        let base = UserSpec {
            id: UserId::fresh(),
            tenant: TenantId::fresh(),
            login: "ann".to_owned(),
            external_id: Some("7".to_owned()),
            role: KeyRole::User,
            active: true,
            departments: vec!["sales".to_owned()],
        };
        for (after, takes) in [
            (base.clone(), false),
            (UserSpec { role: KeyRole::TenantAdmin, ..base.clone() }, false),
            (UserSpec { departments: vec![], ..base.clone() }, false),
            (UserSpec { role: KeyRole::Viewer, ..base.clone() }, true),
            (UserSpec { active: false, ..base.clone() }, true),
            (UserSpec { login: "bob".to_owned(), ..base.clone() }, true),
            (UserSpec { external_id: None, ..base.clone() }, true),
        ] {
            assert_eq!(takes_place(Some(&base), &after), takes, "{after:?}");
            let inactive = UserSpec { active: false, ..base.clone() };
            assert!(!takes_place(Some(&inactive), &after) && !takes_place(None, &after));
        }
    }
}
