//! What recover found and healed.

use serde::Serialize;
use utoipa::ToSchema;

use super::millis;
use super::proxy::{RefusalView, refusals};
use crate::reconcile::{Adopted, Counts, Difference, Report};

/// What a pass of recover found, and what it healed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Report)]
pub(crate) struct ReportView {
    /// Whether every proxy answered and refused nothing.
    complete: bool,
    before: CountsView,
    after: CountsView,
    /// Differences that are gone.
    repaired: usize,
    proxies: Vec<ProxyLine>,
    servers: Vec<ServerLine>,
    upstreams: Vec<UpstreamLine>,
    /// Records that can't be read, and are held back.
    unreadable: Vec<UnreadableLine>,
    /// What was made of mounts that were there past control.
    adopted: Vec<AdoptedLine>,
    /// How long the pass took.
    duration_ms: u64,
}

/// A report, and whether anything was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Recovered)]
pub(crate) struct RecoveredView {
    #[serde(flatten)]
    pub(crate) report: ReportView,
    /// Whether it only looked.
    pub(crate) dry_run: bool,
}

/// Differences between what is intended and what proxies have mounted.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Counts)]
struct CountsView {
    missing: usize,
    orphaned: usize,
    drifted: usize,
}

/// One proxy in a report.
#[derive(Debug, Serialize, ToSchema)]
struct ProxyLine {
    node: String,
    /// Whether it answered in time.
    answered: bool,
    before: CountsView,
    after: CountsView,
    rejected: Vec<RefusalView>,
}

/// One difference in a report.
#[derive(Debug, Serialize, ToSchema)]
struct ServerLine {
    #[serde(flatten)]
    server: MountLine,
    /// On which proxy.
    proxy: String,
    /// missing, orphaned or drifted.
    difference: String,
    /// Whether it is gone.
    healed: bool,
}

/// One upstream that is not tried at the moment.
#[derive(Debug, Serialize, ToSchema)]
struct UpstreamLine {
    #[serde(flatten)]
    server: MountLine,
    /// Without its query.
    url: String,
    /// `cooling`.
    state: String,
    /// Milliseconds until it is tried again.
    cooling_ms: u64,
    proxies: Vec<String>,
}

/// A record that can't be read.
#[derive(Debug, Serialize, ToSchema)]
struct UnreadableLine {
    /// E.g. `server/<id>`.
    resource: String,
    /// What is wrong.
    reason: String,
}

/// A mount that was there past control, and the record that it became.
#[derive(Debug, Serialize, ToSchema)]
struct AdoptedLine {
    #[serde(flatten)]
    mount: MountLine,
    /// The id of the new record; null if none was made.
    #[schema(required)]
    server: Option<String>,
    /// The name of the new record; null if none was made.
    #[schema(required)]
    server_name: Option<String>,
    /// Why none was made.
    #[schema(required)]
    reason: Option<String>,
}

/// A server as it is mounted.
#[derive(Debug, Serialize, ToSchema)]
struct MountLine {
    tenant: String,
    id: String,
    name: String,
}

impl From<&Report> for ReportView {
    fn from(report: &Report) -> Self {
        let proxies = report.proxies.iter().map(|proxy| ProxyLine {
            node: proxy.node.clone(),
            answered: proxy.answered,
            before: proxy.before.into(),
            after: proxy.after.into(),
            rejected: refusals(&proxy.rejected),
        });
        let servers = report.servers.iter().map(|line| ServerLine {
            server: (&line.server).into(),
            proxy: line.proxy.clone(),
            difference: line.difference.to_owned(),
            healed: line.healed,
        });
        let upstreams = report.upstreams.iter().map(|line| UpstreamLine {
            server: (&line.server).into(),
            url: line.url.clone(),
            state: "cooling".to_owned(),
            cooling_ms: line.cooling_ms,
            proxies: line.proxies.clone(),
        });
        let unreadable = report
            .unreadable
            .iter()
            .map(|line| UnreadableLine { resource: line.resource.clone(), reason: line.reason.clone() });
        Self {
            complete: report.is_complete(),
            before: report.before.into(),
            after: report.after.into(),
            repaired: report.repaired(),
            proxies: proxies.collect(),
            servers: servers.collect(),
            upstreams: upstreams.collect(),
            unreadable: unreadable.collect(),
            adopted: report.adopted.iter().map(AdoptedLine::from).collect(),
            duration_ms: millis(report.took),
        }
    }
}

impl From<&Adopted> for AdoptedLine {
    fn from(adopted: &Adopted) -> Self {
        let made = adopted.record.as_ref();
        Self {
            mount: (&adopted.mount).into(),
            server: made.ok().map(|(id, _)| id.to_string()),
            server_name: made.ok().map(|(_, name)| name.to_string()),
            reason: made.err().cloned(),
        }
    }
}

impl From<Counts> for CountsView {
    fn from(counts: Counts) -> Self {
        Self { missing: counts.missing, orphaned: counts.orphaned, drifted: counts.drifted }
    }
}

impl From<&Difference> for MountLine {
    fn from(of: &Difference) -> Self {
        Self { tenant: of.tenant.to_string(), id: of.server.to_string(), name: of.name.clone() }
    }
}
