//! Users: create and change. Departments are named by id or name, and looked up by the handler.

use model::KeyRole;
use serde_json::Value;
use utoipa::ToSchema;

use super::MAX_TITLE;
use crate::rest::code::Code;
use crate::rest::fields::{Fields, Wrong, flag, role, text, texts, words};
use crate::rest::views::RoleView;

/// Characters of a login.
const MAX_LOGIN: usize = 128;
/// Departments of one user.
const MAX_DEPARTMENTS: usize = 32;

/// A new user.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = UserCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserCreate {
    /// How the user is known, e.g. `ann` or `ann@example.com`: no spaces, no slash.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$")]
    login: String,
    /// Name for people; the login when absent.
    #[schema(max_length = 200)]
    title: Option<String>,
    /// What another system calls the user.
    #[schema(min_length = 1, max_length = 200)]
    external_id: Option<String>,
    /// Names or ids of departments, in the order that counts.
    #[schema(max_items = 32)]
    departments: Option<Vec<String>>,
    /// What the user may do; `user` when absent.
    role: Option<RoleView>,
    /// Whether the user's keys open anything; true when absent.
    active: Option<bool>,
}

/// What to change of a user; absent members stay.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = UserChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChange {
    /// How the user is known.
    #[schema(pattern = "^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$", nullable = false)]
    login: Option<String>,
    /// Name for people.
    #[schema(max_length = 200, nullable = false)]
    title: Option<String>,
    /// What another system calls the user; null for nothing.
    #[schema(min_length = 1, max_length = 200)]
    external_id: Option<String>,
    /// All departments anew, by name or id; null for none.
    #[schema(max_items = 32)]
    departments: Option<Vec<String>>,
    /// What the user may do; null for `user`.
    role: Option<RoleView>,
    /// Whether the user's keys open anything.
    #[schema(nullable = false)]
    active: Option<bool>,
}

/// A create as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) login: String,
    pub(crate) title: String,
    pub(crate) external_id: Option<String>,
    /// Names or ids.
    pub(crate) departments: Vec<String>,
    pub(crate) role: KeyRole,
    pub(crate) active: bool,
}

/// A PATCH as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) login: Option<String>,
    pub(crate) title: Option<String>,
    pub(crate) external_id: Option<Option<String>>,
    /// Names or ids.
    pub(crate) departments: Option<Vec<String>>,
    pub(crate) role: Option<KeyRole>,
    pub(crate) active: Option<bool>,
}

/// Reads a create; `None` when something is wrong, which `fields` then knows.
pub(crate) fn create(fields: &mut Fields) -> Option<Create> {
    fields.given_by_us();
    let login = fields.required("login", login);
    let title = fields.optional("title", text(MAX_TITLE));
    let external_id = fields.optional("external_id", words(MAX_TITLE));
    let departments = fields.optional("departments", texts(MAX_DEPARTMENTS, 64)).unwrap_or_default();
    let role = fields.optional("role", role).unwrap_or(KeyRole::User);
    let active = fields.optional("active", flag).unwrap_or(true);
    let login = login?;
    Some(Create { title: title.unwrap_or_else(|| login.clone()), login, external_id, departments, role, active })
}

/// Reads a PATCH.
pub(crate) fn change(fields: &mut Fields) -> Patch {
    fields.given_by_us();
    Patch {
        login: fields.replace("login", login),
        title: fields.replace("title", text(MAX_TITLE)),
        external_id: fields.change("external_id", words(MAX_TITLE)).nullable(),
        departments: fields.change("departments", texts(MAX_DEPARTMENTS, 64)).or_default(Vec::new),
        role: fields.change("role", role).or_default(|| KeyRole::User),
        active: fields.replace("active", flag),
    }
}

/// A login fits into a path and a log line: no spaces, no slash.
fn login(value: Value) -> Result<String, Wrong> {
    let login = text(MAX_LOGIN)(value)?;
    let begins = login.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    let fits = login.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte));
    if begins && fits {
        Ok(login)
    } else {
        Err((Code::Slug, "must be letters, digits and ._@+-, beginning with a letter or digit".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<UserCreate, _>(create);
        agree::<UserChange, _>(change);
    }

    #[test]
    fn a_login_fits_into_a_path() {
        for (text, fits) in [
            ("ann", true),
            ("ann@example.com", true),
            ("a+b_c-d.e", true),
            ("", false),
            ("@a", false),
            ("a/b", false),
            ("a b", false),
            ("ü", false),
        ] {
            assert_eq!(login(json!(text)).is_ok(), fits, "{text}");
        }
    }
}
