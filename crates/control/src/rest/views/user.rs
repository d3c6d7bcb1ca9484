//! Users.

use serde::Serialize;
use store::UserRecord;
use utoipa::ToSchema;

use super::{RoleView, instant};

/// A user inside a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    /// UUID; never changes.
    #[schema(format = "uuid")]
    id: String,
    /// How the user is known; unique among the tenant's live users.
    login: String,
    /// Name for people.
    title: String,
    /// What another system calls the user.
    #[schema(required)]
    external_id: Option<String>,
    /// In the order that counts.
    departments: Vec<DepartmentReference>,
    /// What the user may do; a key of the user may do less, never more.
    role: RoleView,
    /// Whether the user's keys open anything.
    active: bool,
    /// Raised by every change; the ETag.
    generation: i64,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
    /// When the user was deleted; null for a live one.
    #[schema(required, format = "date-time")]
    deleted_at: Option<String>,
}

/// A user as one is shown alone.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ShownUser)]
pub(crate) struct ShownUserView {
    #[serde(flatten)]
    pub(crate) record: UserView,
    /// Whether the user has a password here.
    pub(crate) has_password: bool,
}

/// A department of a user.
#[derive(Debug, Serialize, ToSchema)]
struct DepartmentReference {
    #[schema(format = "uuid")]
    id: String,
    name: String,
}

impl From<&UserRecord> for UserView {
    fn from(record: &UserRecord) -> Self {
        let departments = record.departments.iter();
        Self {
            id: record.id.to_string(),
            login: record.login.to_string(),
            title: record.title.clone(),
            external_id: record.external_id.clone(),
            departments: departments
                .map(|of| DepartmentReference { id: of.id.to_string(), name: of.name.to_string() })
                .collect(),
            role: record.role.into(),
            active: record.active,
            generation: record.generation.0,
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
            deleted_at: record.deleted_at.map(instant),
        }
    }
}
