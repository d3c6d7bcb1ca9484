//! Keys: create, change and rotate.

use std::time::Duration;

use model::{KeyRole, KeyScopes, ServerName};
use serde_json::Value;
use utoipa::ToSchema;

use super::MAX_TITLE;
use crate::rest::code::Code;
use crate::rest::fields::{Change, Fields, Wrong, number, role, text, texts, words};
use crate::rest::parameters::micros;
use crate::rest::views::{RoleView, ScopeView};

/// Days until a key ends when nobody says, and at most.
const DEFAULT_DAYS: u64 = 90;
const MAX_DAYS: u64 = 3650;
const DAY_MICROS: i64 = 86_400 * 1_000_000;
/// There are no more.
const MAX_SCOPES: usize = 3;
/// Servers that one key may name.
const MAX_SERVERS: usize = 200;
/// Seconds that a rotated key serves beside its successor: a day when nobody says, 30 days at most.
const DEFAULT_GRACE: u64 = 86_400;
const MAX_GRACE: u64 = 30 * 86_400;

/// A new key.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = KeyCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyCreate {
    /// What it is for.
    #[schema(max_length = 200)]
    label: Option<String>,
    /// What its holder may do; `user` when absent. Of the key's and its user's role the weaker counts.
    role: Option<RoleView>,
    /// What it may be used for; `mcp` and `rest` when absent. `act_as` lets its holder ask for tokens in the name of
    /// the tenant's users.
    #[schema(max_items = 3)]
    scopes: Option<Vec<ScopeView>>,
    /// Login or id of the user whose key it is.
    #[schema(min_length = 1, max_length = 128)]
    user: Option<String>,
    /// Names of the servers it may use; null for all. For keys of users only.
    #[schema(max_items = 200)]
    servers: Option<Vec<String>>,
    /// When it ends: within ten years. 90 days from now when neither this nor `expires_in_days` is there.
    #[schema(format = "date-time")]
    expires_at: Option<String>,
    /// The same, counted from now.
    #[schema(minimum = 1, maximum = 3650)]
    expires_in_days: Option<u64>,
}

/// What to change of a key; absent members stay.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = KeyChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyChange {
    /// What it is for.
    #[schema(max_length = 200)]
    label: Option<String>,
    /// What it may be used for; null for `mcp` and `rest`.
    #[schema(max_items = 3)]
    scopes: Option<Vec<ScopeView>>,
    /// Names of the servers it may use; null for all.
    #[schema(max_items = 200)]
    servers: Option<Vec<String>>,
    /// When it ends: within ten years.
    #[schema(format = "date-time", nullable = false)]
    expires_at: Option<String>,
}

/// How a key gives way to the next.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = KeyRotate)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyRotate {
    /// Seconds that the old key serves beside the new one; a day when absent.
    #[schema(minimum = 0, maximum = 2592000)]
    grace_secs: Option<u64>,
}

/// A create as it was read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Create {
    pub(crate) label: String,
    pub(crate) role: KeyRole,
    pub(crate) scopes: KeyScopes,
    /// Login or id.
    pub(crate) user: Option<String>,
    pub(crate) servers: Option<Vec<String>>,
    /// Microseconds since 1970.
    pub(crate) expires_at: i64,
}

/// A PATCH as it was read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) label: Option<String>,
    pub(crate) scopes: Option<KeyScopes>,
    pub(crate) servers: Option<Option<Vec<String>>>,
    /// Microseconds since 1970.
    pub(crate) expires_at: Option<i64>,
}

/// Reads a create at `now`, microseconds since 1970.
pub(crate) fn create(fields: &mut Fields, now: i64) -> Create {
    fields.given_by_us();
    let label = fields.optional("label", text(MAX_TITLE)).unwrap_or_default();
    let role = fields.optional("role", role).unwrap_or(KeyRole::User);
    let scopes = fields.optional("scopes", scopes).unwrap_or_default();
    let user = fields.optional("user", words(128));
    let servers = fields.optional("servers", servers);
    if servers.is_some() && role != KeyRole::User {
        fields.wrong("servers", (Code::Role, "restricts keys of users only".to_owned()));
    }
    let days = fields.optional("expires_in_days", number(1..=MAX_DAYS));
    let at = fields.optional("expires_at", expiry(now));
    if days.is_some() && at.is_some() {
        fields.wrong("expires_in_days", (Code::Expiry, "says the same as expires_at: send one of them".to_owned()));
    }
    let expires_at = at.unwrap_or_else(|| after(now, days.unwrap_or(DEFAULT_DAYS)));
    Create { label, role, scopes, user, servers, expires_at }
}

/// Reads a PATCH at `now`, microseconds since 1970.
pub(crate) fn change(fields: &mut Fields, now: i64) -> Patch {
    fields.given_by_us();
    fields.immutable(&["role", "user", "key", "replaces"]);
    Patch {
        label: fields.change("label", text(MAX_TITLE)).or_default(String::new),
        scopes: fields.change("scopes", scopes).or_default(KeyScopes::default),
        servers: match fields.change("servers", servers) {
            Change::Keep => None,
            Change::Clear => Some(None),
            Change::Set(servers) => Some(Some(servers)),
        },
        expires_at: fields.replace("expires_at", expiry(now)),
    }
}

/// Reads how long the old key serves beside the new one.
pub(crate) fn rotate(fields: &mut Fields) -> Duration {
    let grace = fields.optional("grace_secs", number(0..=MAX_GRACE));
    Duration::from_secs(grace.unwrap_or(DEFAULT_GRACE))
}

/// When a key ends that lives this many days.
fn after(now: i64, days: u64) -> i64 {
    now.saturating_add(i64::try_from(days).unwrap_or(i64::MAX).saturating_mul(DAY_MICROS))
}

fn expiry(now: i64) -> impl FnOnce(Value) -> Result<i64, Wrong> {
    move |value| {
        let wrong = || {
            (
                Code::Expiry,
                "must be an instant such as 2027-01-31T00:00:00Z, in the future, within ten years".to_owned(),
            )
        };
        let at = micros(&text(64)(value)?).ok_or_else(wrong)?;
        if at > now && at <= after(now, MAX_DAYS) { Ok(at) } else { Err(wrong()) }
    }
}

fn scopes(value: Value) -> Result<KeyScopes, Wrong> {
    let words = texts(MAX_SCOPES, 16)(value)?;
    let scopes = KeyScopes::parse(words.iter().map(String::as_str));
    scopes.map_err(|_| (Code::Scope, "a scope is mcp, rest or act_as".to_owned()))
}

fn servers(value: Value) -> Result<Vec<String>, Wrong> {
    let names = texts(MAX_SERVERS, 32)(value)?;
    let slugs = names.iter().try_for_each(|name| name.parse::<ServerName>().map(drop));
    slugs.map_err(|error| (Code::Slug, error.to_string())).map(|()| names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<KeyCreate, _>(|fields| create(fields, 0));
        agree::<KeyChange, _>(|fields| change(fields, 0));
        agree::<KeyRotate, _>(rotate);
    }

    #[test]
    fn a_key_ends_in_the_future_within_ten_years() {
        let now = micros("2027-01-01T00:00:00Z").unwrap();
        for (text, fits) in [
            ("2027-01-01T00:00:01Z", true),
            ("2036-12-01T00:00:00Z", true),
            ("2027-01-01T00:00:00Z", false),
            ("2037-01-01T00:00:00Z", false),
            ("tomorrow", false),
        ] {
            assert_eq!(expiry(now)(json!(text)).is_ok(), fits, "{text}");
        }
    }
}
