//! A tenant's settings as proxies enforce them.

use std::time::Duration;

use crate::digest::Canonical;
use crate::{Digest, TenantId, TenantName};

/// Limits of one tenant, counted by each proxy by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Limits {
    /// Requests per second of one key (a burst of twice as many is allowed).
    pub key_rate: u32,
    /// Requests per second of the whole tenant (same burst rule).
    pub tenant_rate: u32,
    /// Calls of the tenant under way at once.
    pub concurrent: u32,
    /// Open GET streams of the tenant.
    pub streams: u32,
    /// Requests under way at once to one upstream; as many again may queue for at most 2 s.
    pub upstream_concurrent: u32,
    /// Live servers of the tenant.
    pub servers: u32,
    /// Bytes of one request body.
    pub request_bytes: u32,
    /// Bytes of one JSON answer.
    pub response_bytes: u32,
    /// Seconds that one call may take in all.
    pub call_secs: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_rate: 50,
            tenant_rate: 500,
            concurrent: 200,
            streams: 100,
            upstream_concurrent: 64,
            servers: 200,
            request_bytes: 1 << 20,
            response_bytes: 8 << 20,
            call_secs: 120,
        }
    }
}

impl Limits {
    /// Rates and counts of 10^6, sizes as always: the limit code runs and never refuses. For the
    /// first tenant of `gatehouse up` and for the benchmarks.
    pub fn generous() -> Self {
        Self {
            key_rate: 1_000_000,
            tenant_rate: 1_000_000,
            concurrent: 1_000_000,
            streams: 1_000_000,
            upstream_concurrent: 1_000_000,
            servers: 1_000_000,
            ..Self::default()
        }
    }
}

/// A tenant as a proxy knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSpec {
    /// The tenant's id.
    pub id: TenantId,
    /// The tenant's slug, as in `/t/{tenant}/mcp`.
    pub name: TenantName,
    /// What it may use.
    pub limits: Limits,
    /// How long a proxy may serve it without hearing of control, in whole seconds; `None` for ever.
    pub stale_after: Option<Duration>,
    /// Whether MCP clients may sign people in at control's authorization server.
    pub authorization_server: bool,
}

impl TenantSpec {
    /// A day: the staleness of a tenant for which nothing else was said.
    pub const STALE_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("tenant");
        canonical.text(&self.id.to_string());
        canonical.text(self.name.as_str());
        let limits = self.limits;
        for number in [
            limits.key_rate,
            limits.tenant_rate,
            limits.concurrent,
            limits.streams,
            limits.upstream_concurrent,
            limits.servers,
            limits.request_bytes,
            limits.response_bytes,
            limits.call_secs,
        ] {
            canonical.number(u64::from(number));
        }
        canonical.number(self.stale_after.map_or(u64::MAX, |after| after.as_secs()));
        canonical.number(u64::from(self.authorization_server));
        canonical.finish()
    }
}
