//! Attached proxies.

use model::ResourceName;
use serde::Serialize;
use utoipa::ToSchema;

use super::instant;
use crate::proxies::AttachedProxy;

/// A proxy whose stream is open.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Proxy)]
pub(crate) struct ProxyView {
    /// `pool/random-per-boot`.
    node: String,
    /// The pool that its certificate names.
    pool: String,
    #[schema(format = "date-time")]
    attached_at: String,
    /// The newest revision that it has in its table.
    applied: String,
    /// Whether the last heartbeat's digest was control's.
    digest_matches: bool,
    /// What it refused; it keeps the last good version of each.
    rejected: Vec<RefusalView>,
    /// Mounts in its table.
    mounts: u32,
    /// The replica of control that holds its stream.
    replica: String,
    /// Whether two processes seem to have its node id.
    duplicate_node: bool,
    /// When its certificate ends; null for proxies of other replicas.
    #[schema(required, format = "date-time")]
    certificate_until: Option<String>,
}

/// A resource that a proxy refused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Refusal)]
pub(crate) struct RefusalView {
    /// E.g. `server/<id>`.
    resource: String,
    /// Why.
    reason: String,
}

pub(super) fn refusals(rejected: &[(ResourceName, String)]) -> Vec<RefusalView> {
    rejected.iter().map(|(name, reason)| RefusalView { resource: name.to_string(), reason: reason.clone() }).collect()
}

impl From<&AttachedProxy> for ProxyView {
    fn from(proxy: &AttachedProxy) -> Self {
        Self {
            node: proxy.node.clone(),
            pool: proxy.pool.clone(),
            attached_at: instant(proxy.since),
            applied: proxy.applied.to_string(),
            digest_matches: proxy.digest_matches,
            rejected: refusals(&proxy.rejected),
            mounts: proxy.mounts,
            replica: proxy.replica.clone(),
            duplicate_node: proxy.duplicate_node,
            certificate_until: proxy.certificate_until.map(instant),
        }
    }
}
