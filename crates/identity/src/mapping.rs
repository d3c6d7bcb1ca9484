//! Who a token of an issuer is about, by the claims that its tenant has named.

use model::{ClaimMapping, KeyRole};

use crate::json::{Json, Members};
use crate::{KeyPrint, TokenError};

/// The most departments that a token may name.
pub const MAX_DEPARTMENTS: usize = 64;
/// The longest name of a department, in characters.
pub const MAX_DEPARTMENT: usize = 128;
/// The longest subject, external id or login, in characters.
const MAX_NAME: usize = 256;

/// Whom an issuer vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The claim `sub`.
    pub subject: String,
    /// What the issuer calls the user for ever.
    pub external_id: String,
    /// The login, if the token has one.
    pub login: Option<String>,
    /// Names of departments in the token's order; `None` if it says nothing of them.
    pub departments: Option<Vec<String>>,
    /// The strongest role that the token's values stand for; `None` if they stand for none.
    pub role: Option<KeyRole>,
    /// When the token ends, in seconds since 1970.
    pub expires_at: i64,
    /// The issuer's key that signed it.
    pub key: KeyPrint,
}

impl Issued {
    pub(crate) fn of(
        payload: &Members,
        mapping: &ClaimMapping,
        expires_at: i64,
        key: KeyPrint,
    ) -> Result<Self, TokenError> {
        let subject = payload.get("sub").and_then(name).ok_or(TokenError::Claim("sub"))?;
        let external_id =
            claim(payload, &mapping.external_id).and_then(name).ok_or(TokenError::Claim("external_id"))?;
        let login = match claim(payload, &mapping.login) {
            None => None,
            Some(login) => Some(name(login).ok_or(TokenError::Claim("login"))?),
        };
        let departments = match mapping.departments.as_ref().and_then(|path| claim(payload, path)) {
            None => None,
            Some(list) => Some(departments(list).ok_or(TokenError::Claim("departments"))?),
        };
        let role = match mapping.role.as_ref().and_then(|path| claim(payload, path)) {
            None => None,
            Some(values) => strongest(&values.texts().ok_or(TokenError::Claim("role"))?, &mapping.roles),
        };
        Ok(Self { subject, external_id, login, departments, role, expires_at, key })
    }
}

/// The claim of this name or, if there is none, the one that its dots lead to. `null` is as good as nothing.
fn claim<'a>(payload: &'a Members, path: &str) -> Option<&'a Json> {
    let found = payload.get(path).or_else(|| {
        let mut steps = path.split('.');
        let first = payload.get(steps.next()?)?;
        steps.try_fold(first, |value, step| match value {
            Json::Object(members) => members.get(step),
            _ => None,
        })
    });
    found.filter(|value| **value != Json::Null)
}

fn name(value: &Json) -> Option<String> {
    value.text().filter(|text| fits(text, MAX_NAME)).map(str::to_owned)
}

/// The names in their order, one that stands twice where it stood first.
pub(crate) fn departments(value: &Json) -> Option<Vec<String>> {
    let texts = value.texts().filter(|texts| texts.len() <= MAX_DEPARTMENTS)?;
    let mut names: Vec<String> = Vec::with_capacity(texts.len());
    for text in texts {
        if !fits(text, MAX_DEPARTMENT) {
            return None;
        }
        if !names.iter().any(|name| name == text) {
            names.push(text.to_owned());
        }
    }
    Some(names)
}

/// Neither empty nor too long, and nothing that could end a header or hide in a log.
pub(crate) fn fits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.chars().count() <= most && !text.chars().any(char::is_control)
}

fn strongest(values: &[&str], roles: &[(String, KeyRole)]) -> Option<KeyRole> {
    roles.iter().filter(|(value, _)| values.contains(&value.as_str())).map(|(_, role)| *role).max()
}
