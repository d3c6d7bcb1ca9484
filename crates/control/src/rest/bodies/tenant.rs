//! Tenants: create and change.

use std::time::Duration;

use model::{Limits, TenantName};
use serde_json::Value;
use store::{LimitsPatch, NewTenant, TenantPatch, TenantRecord};
use utoipa::ToSchema;

use super::MAX_TITLE;
use crate::rest::code::Code;
use crate::rest::fields::{Change, Fields, Wrong, count, flag, number, slug, text, texts};

/// Pools of one tenant.
const MAX_POOLS: usize = 16;
/// Seconds that a tenant may be served without hearing of control: a minute to a year.
const STALE: std::ops::RangeInclusive<u64> = 60..=31_536_000;
/// The same of what control gave it for requests: a day at most, for a credential that is taken away serves so long.
const STALE_CREDENTIAL: std::ops::RangeInclusive<u64> = 0..=86_400;

/// A new tenant.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = TenantCreate)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantCreate {
    /// Unique for ever; part of its MCP URLs.
    #[schema(pattern = "^[a-z0-9][a-z0-9-]{0,31}$")]
    name: String,
    /// Free text.
    #[schema(max_length = 200)]
    title: Option<String>,
    limits: Option<LimitsBody>,
    /// Pools whose proxies serve it; `["default"]` when absent.
    #[schema(max_items = 16, min_items = 1)]
    pools: Option<Vec<String>>,
    /// Seconds that a proxy serves it without hearing of control; null for ever, a day when absent.
    #[schema(minimum = 60, maximum = 31536000)]
    stale_after_secs: Option<u64>,
    /// Seconds that a proxy uses header lines of credentials while control is away, at most; 0 only while it answers; null
    /// for four hours.
    #[schema(minimum = 0, maximum = 86400)]
    max_stale_credential_secs: Option<u64>,
    /// Whether MCP clients may sign its users in here; no when absent.
    authorization_server: Option<bool>,
    /// Whether its users may have a password here; yes when absent.
    local_accounts: Option<bool>,
}

/// What to change of a tenant; absent members stay.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = TenantChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantChange {
    /// Free text.
    #[schema(max_length = 200, nullable = false)]
    title: Option<String>,
    limits: Option<LimitsBody>,
    /// Pools whose proxies serve it; null for `["default"]`.
    #[schema(max_items = 16, min_items = 1)]
    pools: Option<Vec<String>>,
    /// Seconds that a proxy serves it without hearing of control; null for ever.
    #[schema(minimum = 60, maximum = 31536000)]
    stale_after_secs: Option<u64>,
    /// Seconds that a proxy uses header lines of credentials while control is away, at most; 0 only while it answers; null
    /// for four hours.
    #[schema(minimum = 0, maximum = 86400)]
    max_stale_credential_secs: Option<u64>,
    /// Whether MCP clients may sign its users in here; null for no.
    authorization_server: Option<bool>,
    /// Whether its users may have a password here; null for yes.
    local_accounts: Option<bool>,
}

/// Some limits; those that are absent stay, null is the default.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the document shows it; the parser beside it reads the body")]
#[schema(as = LimitsChange)]
#[serde(deny_unknown_fields)]
pub(crate) struct LimitsBody {
    /// Requests per second of one key.
    #[schema(minimum = 1, maximum = 1000000)]
    key_rate: Option<u32>,
    /// Requests per second of the whole tenant.
    #[schema(minimum = 1, maximum = 1000000)]
    tenant_rate: Option<u32>,
    /// Calls under way at once.
    #[schema(minimum = 1, maximum = 1000000)]
    concurrent: Option<u32>,
    /// Open GET streams.
    #[schema(minimum = 1, maximum = 1000000)]
    streams: Option<u32>,
    /// Requests under way at once to one upstream.
    #[schema(minimum = 1, maximum = 1000000)]
    upstream_concurrent: Option<u32>,
    /// Live servers.
    #[schema(minimum = 1, maximum = 1000000)]
    servers: Option<u32>,
    /// Bytes of one request body.
    #[schema(minimum = 1, maximum = 67108864)]
    request_bytes: Option<u32>,
    /// Bytes of one JSON answer.
    #[schema(minimum = 1, maximum = 67108864)]
    response_bytes: Option<u32>,
    /// Seconds that one call may take in all.
    #[schema(minimum = 1, maximum = 3600)]
    call_secs: Option<u32>,
}

/// Reads a create; `None` when something is wrong, which `fields` then knows.
pub(crate) fn create(fields: &mut Fields) -> Option<NewTenant> {
    fields.given_by_us();
    let name: Option<TenantName> = fields.required("name", slug);
    let title = fields.optional("title", text(MAX_TITLE));
    let limits = limits(fields);
    let pools = fields.optional("pools", pools);
    let stale_after = stale_after(fields);
    let max_stale_credential = fields.optional("max_stale_credential_secs", stale_credential);
    let authorization_server = fields.optional("authorization_server", flag);
    let local_accounts = fields.optional("local_accounts", flag);
    let new = NewTenant::new(name?);
    Some(NewTenant {
        title: title.unwrap_or(new.title),
        limits: over(limits, new.limits),
        pools: pools.unwrap_or(new.pools),
        stale_after: stale_after.unwrap_or(new.stale_after),
        max_stale_credential: max_stale_credential.unwrap_or(new.max_stale_credential),
        authorization_server: authorization_server.unwrap_or(new.authorization_server),
        local_accounts: local_accounts.unwrap_or(new.local_accounts),
        name: new.name,
    })
}

/// Reads a PATCH.
pub(crate) fn change(fields: &mut Fields) -> TenantPatch {
    fields.given_by_us();
    fields.immutable(&["name", "active"]);
    TenantPatch {
        title: fields.replace("title", text(MAX_TITLE)),
        limits: limits(fields),
        pools: fields.change("pools", pools).or_default(|| vec!["default".to_owned()]),
        stale_after: stale_after(fields),
        max_stale_credential: fields
            .change("max_stale_credential_secs", stale_credential)
            .or_default(|| TenantRecord::MAX_STALE_CREDENTIAL),
        authorization_server: fields.change("authorization_server", flag).or_default(|| false),
        local_accounts: fields.change("local_accounts", flag).or_default(|| true),
        active: None,
    }
}

fn stale_credential(value: Value) -> Result<Duration, Wrong> {
    number(STALE_CREDENTIAL)(value).map(Duration::from_secs)
}

fn stale_after(fields: &mut Fields) -> Option<Option<Duration>> {
    fields.change("stale_after_secs", |value| number(STALE)(value).map(Duration::from_secs)).nullable()
}

fn pools(value: Value) -> Result<Vec<String>, Wrong> {
    let pools = texts(MAX_POOLS, 64)(value)?;
    let is_word = |pool: &String| pool.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    match pools.is_empty() {
        true => Err((Code::Required, "must name at least one pool".to_owned())),
        false if !pools.iter().all(is_word) => Err((Code::Slug, "a pool is letters, digits, - and _".to_owned())),
        false => Ok(pools),
    }
}

fn limits(fields: &mut Fields) -> LimitsPatch {
    const COUNT: u32 = 1_000_000;
    const BYTES: u32 = 64 << 20;
    let usual = Limits::default();
    let read = |inner: &mut Fields| {
        let mut limit = |name: &str, most: u32, usual: u32| inner.change(name, count(1..=most)).or_default(|| usual);
        LimitsPatch {
            key_rate: limit("key_rate", COUNT, usual.key_rate),
            tenant_rate: limit("tenant_rate", COUNT, usual.tenant_rate),
            concurrent: limit("concurrent", COUNT, usual.concurrent),
            streams: limit("streams", COUNT, usual.streams),
            upstream_concurrent: limit("upstream_concurrent", COUNT, usual.upstream_concurrent),
            servers: limit("servers", COUNT, usual.servers),
            request_bytes: limit("request_bytes", BYTES, usual.request_bytes),
            response_bytes: limit("response_bytes", BYTES, usual.response_bytes),
            call_secs: limit("call_secs", 3_600, usual.call_secs),
        }
    };
    match fields.object("limits", read) {
        Change::Keep => LimitsPatch::default(),
        Change::Set(patch) => patch,
        Change::Clear => LimitsPatch {
            key_rate: Some(usual.key_rate),
            tenant_rate: Some(usual.tenant_rate),
            concurrent: Some(usual.concurrent),
            streams: Some(usual.streams),
            upstream_concurrent: Some(usual.upstream_concurrent),
            servers: Some(usual.servers),
            request_bytes: Some(usual.request_bytes),
            response_bytes: Some(usual.response_bytes),
            call_secs: Some(usual.call_secs),
        },
    }
}

fn over(patch: LimitsPatch, usual: Limits) -> Limits {
    Limits {
        key_rate: patch.key_rate.unwrap_or(usual.key_rate),
        tenant_rate: patch.tenant_rate.unwrap_or(usual.tenant_rate),
        concurrent: patch.concurrent.unwrap_or(usual.concurrent),
        streams: patch.streams.unwrap_or(usual.streams),
        upstream_concurrent: patch.upstream_concurrent.unwrap_or(usual.upstream_concurrent),
        servers: patch.servers.unwrap_or(usual.servers),
        request_bytes: patch.request_bytes.unwrap_or(usual.request_bytes),
        response_bytes: patch.response_bytes.unwrap_or(usual.response_bytes),
        call_secs: patch.call_secs.unwrap_or(usual.call_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::agree;
    use super::*;

    #[test]
    fn the_document_and_the_parser_know_the_same_members() {
        agree::<TenantCreate, _>(create);
        agree::<TenantChange, _>(change);
    }

    #[test]
    fn staleness_is_a_day_unless_something_is_said() {
        for (body, expected) in [
            (serde_json::json!({"name": "a"}), Some(Duration::from_secs(86_400))),
            (serde_json::json!({"name": "a", "stale_after_secs": null}), None),
            (serde_json::json!({"name": "a", "stale_after_secs": 60}), Some(Duration::from_secs(60))),
        ] {
            assert_eq!(create(&mut Fields::of(body).unwrap()).unwrap().stale_after, expected);
        }
    }

    #[test]
    fn header_lines_are_stale_after_four_hours_unless_something_is_said() {
        let four_hours = Duration::from_secs(14_400);
        for (said, made, changed) in [
            (serde_json::json!({}), four_hours, None),
            (serde_json::json!({"max_stale_credential_secs": null}), four_hours, Some(four_hours)),
            (serde_json::json!({"max_stale_credential_secs": 0}), Duration::ZERO, Some(Duration::ZERO)),
        ] {
            let mut body = said.clone();
            body["name"] = "a".into();
            assert_eq!(create(&mut Fields::of(body).unwrap()).unwrap().max_stale_credential, made, "{said}");
            assert_eq!(change(&mut Fields::of(said).unwrap()).max_stale_credential, changed);
        }
        let mut fields = Fields::of(serde_json::json!({"max_stale_credential_secs": 86_401})).unwrap();
        change(&mut fields);
        assert!(fields.finish().is_err());
    }
}
