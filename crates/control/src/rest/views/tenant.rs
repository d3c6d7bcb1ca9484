//! Tenants.

use model::Limits;
use serde::Serialize;
use store::TenantRecord;
use utoipa::ToSchema;

use super::instant;

/// A tenant: the isolation boundary.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantView {
    /// UUID; never changes.
    #[schema(format = "uuid")]
    id: String,
    /// Unique; part of its MCP URLs.
    name: String,
    /// Free text.
    title: String,
    limits: LimitsView,
    /// Pools whose proxies serve it.
    pools: Vec<String>,
    /// Seconds that a proxy serves it without hearing of control; null for ever.
    #[schema(required)]
    stale_after_secs: Option<u64>,
    /// Seconds that a proxy uses header lines of credentials while control is away.
    max_stale_credential_secs: u64,
    /// Whether MCP clients may sign its users in here.
    authorization_server: bool,
    /// Whether its users may have a password here.
    local_accounts: bool,
    /// Whether its keys open anything.
    active: bool,
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

/// What a tenant may use; each proxy counts by itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
pub(crate) struct LimitsView {
    /// Requests per second of one key.
    key_rate: u32,
    /// Requests per second of the whole tenant.
    tenant_rate: u32,
    /// Calls under way at once.
    concurrent: u32,
    /// Open GET streams.
    streams: u32,
    /// Requests under way at once to one upstream.
    upstream_concurrent: u32,
    /// Live servers.
    servers: u32,
    /// Bytes of one request body.
    request_bytes: u32,
    /// Bytes of one JSON answer.
    response_bytes: u32,
    /// Seconds that one call may take in all.
    call_secs: u32,
}

impl From<Limits> for LimitsView {
    fn from(limits: Limits) -> Self {
        Self {
            key_rate: limits.key_rate,
            tenant_rate: limits.tenant_rate,
            concurrent: limits.concurrent,
            streams: limits.streams,
            upstream_concurrent: limits.upstream_concurrent,
            servers: limits.servers,
            request_bytes: limits.request_bytes,
            response_bytes: limits.response_bytes,
            call_secs: limits.call_secs,
        }
    }
}

impl From<&TenantRecord> for TenantView {
    fn from(record: &TenantRecord) -> Self {
        Self {
            id: record.spec.id.to_string(),
            name: record.spec.name.to_string(),
            title: record.title.clone(),
            limits: record.spec.limits.into(),
            pools: record.pools.clone(),
            stale_after_secs: record.spec.stale_after.map(|after| after.as_secs()),
            max_stale_credential_secs: record.max_stale_credential.as_secs(),
            authorization_server: record.spec.authorization_server,
            local_accounts: record.local_accounts,
            active: record.active,
            generation: record.generation.0,
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
            deleted_at: record.deleted_at.map(instant),
        }
    }
}
