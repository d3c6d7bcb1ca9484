//! What a pass found, what it healed and what is left.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use model::{ResourceName, ServerId, TenantId};
use store::Unreadable;

use super::adopt::Adopted;
use super::plan::{Difference, Plan};
use crate::proxies::{AttachedProxy, ObservedProxy};

/// How many mounts differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Intended and not mounted.
    pub missing: usize,
    /// Mounted past control.
    pub orphaned: usize,
    /// Mounted with another content.
    pub drifted: usize,
}

/// One proxy's line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyLine {
    /// The node id.
    pub node: String,
    /// Whether it answered, at the first and at the second look.
    pub answered: bool,
    /// What differed.
    pub before: Counts,
    /// What still differs.
    pub after: Counts,
    /// What it refuses, and why.
    pub rejected: Vec<(ResourceName, String)>,
}

/// One difference on one proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLine {
    /// The proxy's node id.
    pub proxy: String,
    /// Which server.
    pub server: Difference,
    /// `missing`, `orphaned` or `drifted`.
    pub difference: &'static str,
    /// Whether the second look found it healed.
    pub healed: bool,
}

/// An upstream that at least one proxy can't reach and doesn't try for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamLine {
    /// Which server.
    pub server: Difference,
    /// Where it is, without the query, which may hold a secret.
    pub url: String,
    /// Until the first proxy tries it again.
    pub cooling_ms: u64,
    /// Who says so.
    pub proxies: Vec<String>,
}

/// A stored record that can't be read: proxies keep what they have of it, a key opens nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLine {
    /// The resource's name as it stands in the database.
    pub resource: String,
    /// What is wrong with it.
    pub reason: String,
}

/// The report of one pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Over all proxies, before.
    pub before: Counts,
    /// Over all proxies, after.
    pub after: Counts,
    /// Each proxy.
    pub proxies: Vec<ProxyLine>,
    /// Each difference.
    pub servers: Vec<ServerLine>,
    /// Each upstream that can't be reached: no failure of the pass.
    pub upstreams: Vec<UpstreamLine>,
    /// Each record that can't be read.
    pub unreadable: Vec<UnreadableLine>,
    /// What was to become a record.
    pub adopted: Vec<Adopted>,
    /// How long it took.
    pub took: Duration,
}

/// What proxies said beside their plans, within the scope of a pass.
pub(super) struct Seen<'a> {
    pub(super) observed: &'a [ObservedProxy],
    pub(super) attached: &'a [AttachedProxy],
    /// Names of the intended resources in scope: refusals of others are not this tenant's to see.
    pub(super) in_scope: &'a HashSet<ResourceName>,
    pub(super) tenant: Option<TenantId>,
    pub(super) unreadable: &'a [Unreadable],
}

impl Report {
    /// Puts the two looks together.
    pub(super) fn of(before: &[Plan], after: &[Plan], seen: &Seen<'_>, took: Duration) -> Self {
        let later: HashMap<&str, &Plan> = after.iter().map(|plan| (plan.node.as_str(), plan)).collect();
        let gone = Plan::default();
        let mut report = Self {
            before: Counts::default(),
            after: Counts::default(),
            proxies: Vec::new(),
            servers: Vec::new(),
            upstreams: seen.upstreams(),
            unreadable: seen.unreadable(),
            adopted: Vec::new(),
            took,
        };
        for plan in before {
            // A proxy that went away between the looks did not answer.
            let now = later.get(plan.node.as_str()).copied().unwrap_or(&gone);
            let line = ProxyLine {
                node: plan.node.clone(),
                answered: plan.answered && now.answered,
                before: plan.counts(),
                after: if now.answered { now.counts() } else { plan.counts() },
                rejected: seen.rejected(&plan.node),
            };
            report.before.add(line.before);
            report.after.add(line.after);
            report.proxies.push(line);
            report.servers.extend(lines(plan, now));
        }
        report
    }

    /// Whether every record can be read, every proxy answered, refused nothing and has what is intended, and what
    /// was to become a record is one. An orphan or an upstream that can't be reached is no failure.
    pub fn is_complete(&self) -> bool {
        let proxies = self.proxies.iter().all(|proxy| proxy.answered && proxy.rejected.is_empty());
        let records = self.unreadable.is_empty() && self.adopted.iter().all(|one| one.record.is_ok());
        proxies && records && self.after.missing == 0 && self.after.drifted == 0
    }

    /// Differences that were healed.
    pub fn repaired(&self) -> usize {
        self.servers.iter().filter(|line| line.healed).count()
    }
}

impl Counts {
    fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.orphaned += other.orphaned;
        self.drifted += other.drifted;
    }
}

impl Plan {
    /// How many of each.
    pub fn counts(&self) -> Counts {
        Counts { missing: self.missing.len(), orphaned: self.orphaned.len(), drifted: self.drifted.len() }
    }
}

fn lines(before: &Plan, after: &Plan) -> Vec<ServerLine> {
    let kinds = [
        ("missing", &before.missing, &after.missing),
        ("orphaned", &before.orphaned, &after.orphaned),
        ("drifted", &before.drifted, &after.drifted),
    ];
    let mut lines = Vec::new();
    for (difference, then, now) in kinds {
        let left: HashSet<ServerId> = now.iter().map(|one| one.server).collect();
        lines.extend(then.iter().map(|one| ServerLine {
            proxy: before.node.clone(),
            server: one.clone(),
            difference,
            healed: after.answered && !left.contains(&one.server),
        }));
    }
    lines
}

impl Seen<'_> {
    fn rejected(&self, node: &str) -> Vec<(ResourceName, String)> {
        let proxy = self.attached.iter().find(|proxy| proxy.node == node);
        let rejected = proxy.into_iter().flat_map(|proxy| &proxy.rejected);
        rejected.filter(|(name, _)| self.in_scope.contains(name)).cloned().collect()
    }

    fn unreadable(&self) -> Vec<UnreadableLine> {
        let in_scope = self.unreadable.iter().filter(|one| self.tenant.is_none_or(|only| one.tenant == Some(only)));
        in_scope.map(|one| UnreadableLine { resource: one.text.clone(), reason: one.reason.clone() }).collect()
    }

    /// One line for each upstream, whoever and however many can't reach it.
    fn upstreams(&self) -> Vec<UpstreamLine> {
        let mut lines: BTreeMap<ServerId, UpstreamLine> = BTreeMap::new();
        for proxy in self.observed {
            for mount in &proxy.mounts {
                let Some(cooling_ms) = mount.cooling_ms else { continue };
                if self.tenant.is_some_and(|only| only != mount.tenant) {
                    continue;
                }
                let line = lines.entry(mount.server).or_insert_with(|| UpstreamLine {
                    server: Difference { tenant: mount.tenant, server: mount.server, name: mount.name.clone() },
                    url: mount.url.split('?').next().unwrap_or_default().to_owned(),
                    cooling_ms,
                    proxies: Vec::new(),
                });
                line.cooling_ms = line.cooling_ms.min(cooling_ms);
                line.proxies.push(proxy.node.clone());
            }
        }
        lines.into_values().collect()
    }
}
