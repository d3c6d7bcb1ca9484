//! How far a change has come over the proxies of all replicas: pure.

use std::collections::HashMap;
use std::time::Duration;

use model::{ResourceName, Revision};

use super::others::Other;
use super::roster::Node;
use crate::proxies::{Effective, Rejected};

/// A change, and the proxies that it concerns.
pub(super) struct Question<'a, F> {
    pub(super) revision: Revision,
    pub(super) resource: ResourceName,
    /// Proxies of ours that left longer ago don't count; rows of others are all younger.
    pub(super) window: Duration,
    /// Whether a pool's proxies are to have it.
    pub(super) concerns: F,
    pub(super) others: &'a [Other],
}

/// Counts each proxy once: where two replicas know of it, as the one that had it last says.
pub(super) fn effective<F: Fn(&str) -> bool>(nodes: &HashMap<String, Node>, question: &Question<'_, F>) -> Effective {
    let mut effective = Effective::default();
    let ours = nodes.iter().filter(|(name, node)| !superseded(name, node, question.others));
    for (name, node) in ours.filter(|(_, node)| (question.concerns)(&node.pool)) {
        let reached = node.settled.is_some_and(|settled| settled >= question.revision);
        let seen = node.left.is_none_or(|left| left.elapsed() < question.window);
        count(&mut effective, question, name, &node.rejected, reached, node.left.is_none(), seen);
    }
    let others = question.others.iter().filter(|other| !known_better(other, nodes, question.others));
    for other in others.filter(|other| (question.concerns)(&other.pool)) {
        let reached = other.applied >= question.revision;
        count(&mut effective, question, &other.node, &other.rejected, reached, other.attached, true);
    }
    effective.rejected.sort_by(|a, b| a.proxy.cmp(&b.proxy));
    effective
}

fn count<F>(
    effective: &mut Effective,
    question: &Question<'_, F>,
    proxy: &str,
    rejected: &[(ResourceName, String)],
    reached: bool,
    attached: bool,
    seen: bool,
) {
    let reason = rejected.iter().find(|(name, _)| *name == question.resource);
    match (reached, reason) {
        (true, Some((_, reason))) => {
            effective.rejected.push(Rejected { proxy: proxy.to_owned(), reason: reason.clone() });
        }
        (true, None) if attached => effective.live += 1,
        _ if seen => effective.pending += 1,
        _ => (),
    }
}

/// Whether a proxy that left us has come up at another replica since, as the same process or as a new one from
/// the same data folder.
pub(super) fn superseded(name: &str, node: &Node, others: &[Other]) -> bool {
    let follows = |other: &Other| {
        let same = other.node == name || (!node.instance.is_empty() && other.instance == node.instance);
        same && other.since > node.since
    };
    node.left.is_some() && others.iter().any(follows)
}

/// Whether somebody else knows the proxy of a row better: we have it, or it has come back to a third.
pub(super) fn known_better(row: &Other, nodes: &HashMap<String, Node>, others: &[Other]) -> bool {
    let same_process = nodes.get(&row.node).is_some_and(|node| node.left.is_none() || node.since >= row.since);
    let same_folder =
        |instance: &str, since: i64| !row.instance.is_empty() && instance == row.instance && since > row.since;
    same_process
        || nodes.values().any(|node| same_folder(&node.instance, node.since))
        || others.iter().any(|other| same_folder(&other.instance, other.since))
}
