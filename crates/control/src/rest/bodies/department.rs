//! Departments: create and change.

use model::DepartmentName;
use store::{DepartmentPatch, NewDepartment};
use utoipa::ToSchema;

use super::MAX_TITLE;
use crate::rest::fields::{Fields, slug, text, words};

/// A new department.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = DepartmentCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct DepartmentCreate {
    /// Unique among the tenant's live departments.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$")]
    name: String,
    /// Free text; the name when absent.
    #[schema(max_length = 200)]
    title: Option<String>,
    /// What another system calls it.
    #[schema(min_length = 1, max_length = 200)]
    external_id: Option<String>,
}

/// What to change of a department; absent members stay.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = DepartmentChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct DepartmentChange {
    /// Unique among the tenant's live departments.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$", nullable = false)]
    name: Option<String>,
    /// Free text.
    #[schema(max_length = 200, nullable = false)]
    title: Option<String>,
    /// What another system calls it; null for nothing.
    #[schema(min_length = 1, max_length = 200)]
    external_id: Option<String>,
}

/// Reads a create; `None` when something is wrong, which `fields` then knows.
pub(crate) fn create(fields: &mut Fields) -> Option<NewDepartment> {
    fields.given_by_us();
    let name: Option<DepartmentName> = fields.required("name", slug);
    let title = fields.optional("title", text(MAX_TITLE));
    let external_id = fields.optional("external_id", words(MAX_TITLE));
    let name = name?;
    Some(NewDepartment { title: title.unwrap_or_else(|| name.to_string()), name, external_id })
}

/// Reads a PATCH.
pub(crate) fn change(fields: &mut Fields) -> DepartmentPatch {
    fields.given_by_us();
    DepartmentPatch {
        name: fields.replace("name", slug),
        title: fields.replace("title", text(MAX_TITLE)),
        external_id: fields.change("external_id", words(MAX_TITLE)).nullable(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<DepartmentCreate, _>(create);
        agree::<DepartmentChange, _>(change);
    }
}
