//! A department as it is stored, created and changed; and its row.

use model::{DepartmentId, DepartmentName, Generation, TenantId};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::StoreError;
use crate::entity::department;

/// A department record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DepartmentRecord {
    /// Its id.
    pub id: DepartmentId,
    /// The tenant it belongs to.
    pub tenant: TenantId,
    /// Unique among the tenant's live departments.
    pub name: DepartmentName,
    /// Free text for people.
    pub title: String,
    /// What another system calls it.
    pub external_id: Option<String>,
    /// Raised by every change of the record.
    pub generation: Generation,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
    /// Microseconds since 1970; a record with this set is a tombstone.
    pub deleted_at: Option<i64>,
}

/// A department to be made. Its id is given by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDepartment {
    /// See [`DepartmentRecord::name`].
    pub name: DepartmentName,
    /// See [`DepartmentRecord::title`].
    pub title: String,
    /// See [`DepartmentRecord::external_id`].
    pub external_id: Option<String>,
}

/// What to change of a department; `None` leaves a field alone, `Some(None)` clears it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DepartmentPatch {
    /// See [`DepartmentRecord::name`].
    pub name: Option<DepartmentName>,
    /// See [`DepartmentRecord::title`].
    pub title: Option<String>,
    /// See [`DepartmentRecord::external_id`].
    pub external_id: Option<Option<String>>,
}

/// Which departments to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DepartmentPage {
    /// Only those with this text in name, title or external id, whatever the case (of ASCII letters on
    /// SQLite).
    pub search: Option<String>,
    /// Tombstones instead of live ones.
    pub deleted: bool,
    /// Only those after this one.
    pub after: Option<DepartmentId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

impl DepartmentRecord {
    pub(crate) fn new(tenant: TenantId, new: NewDepartment, now: i64) -> Self {
        Self {
            id: DepartmentId::fresh(),
            tenant,
            name: new.name,
            title: new.title,
            external_id: new.external_id,
            generation: Generation(1),
            created_at: now,
            updated_at: now,
            deleted_at: None,
        }
    }

    /// The record with the patch applied; generation and time are left alone.
    pub(crate) fn patched(&self, patch: DepartmentPatch) -> Self {
        let mut record = self.clone();
        record.name = patch.name.unwrap_or(record.name);
        record.title = patch.title.unwrap_or(record.title);
        record.external_id = patch.external_id.unwrap_or(record.external_id);
        record
    }

    /// How the audit and the book of answers name it.
    pub(crate) fn object(&self) -> String {
        format!("department/{}", self.id)
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "name": self.name.as_str(),
            "title": self.title,
            "external_id": self.external_id,
            "generation": self.generation.0,
        })
    }

    pub(crate) fn into_row(self) -> department::ActiveModel {
        department::ActiveModel {
            tenant_id: Set(self.tenant.0),
            id: Set(self.id.0),
            name: Set(self.name.to_string()),
            title: Set(self.title),
            external_id: Set(self.external_id),
            generation: Set(self.generation.0),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
            deleted_at: Set(self.deleted_at),
        }
    }
}

impl TryFrom<department::Model> for DepartmentRecord {
    type Error = StoreError;

    fn try_from(row: department::Model) -> Result<Self, StoreError> {
        Ok(Self {
            id: DepartmentId(row.id),
            tenant: TenantId(row.tenant_id),
            name: row.name.parse().map_err(|_| StoreError::Corrupt { what: "department.name" })?,
            title: row.title,
            external_id: row.external_id,
            generation: Generation(row.generation),
            created_at: row.created_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        })
    }
}
