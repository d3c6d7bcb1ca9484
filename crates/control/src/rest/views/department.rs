//! Departments.

use serde::Serialize;
use store::DepartmentRecord;
use utoipa::ToSchema;

use super::instant;

/// A department inside a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Department)]
pub(crate) struct DepartmentView {
    /// UUID; never changes.
    #[schema(format = "uuid")]
    id: String,
    /// Unique among the tenant's live departments.
    name: String,
    /// Free text.
    title: String,
    /// What another system calls it.
    #[schema(required)]
    external_id: Option<String>,
    /// Raised by every change; the ETag.
    generation: i64,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
    /// When it was deleted; null for a live one.
    #[schema(required, format = "date-time")]
    deleted_at: Option<String>,
}

impl From<&DepartmentRecord> for DepartmentView {
    fn from(record: &DepartmentRecord) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name.to_string(),
            title: record.title.clone(),
            external_id: record.external_id.clone(),
            generation: record.generation.0,
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
            deleted_at: record.deleted_at.map(instant),
        }
    }
}
