//! The differences between intended and observed mounts of one proxy: pure.

use std::collections::{HashMap, HashSet};

use model::{Digest, Resource, ServerId, ServerSpec, TenantId};
use store::IntendedState;

use super::Scope;
use crate::proxies::{ObservedMount, ObservedProxy};

/// One server that a plan is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which record.
    pub server: ServerId,
    /// Its slug.
    pub name: String,
}

/// What is wrong on one proxy. It describes and is not executed step by step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The proxy's node id.
    pub node: String,
    /// Whether the proxy answered; if not, the lists are empty and say nothing.
    pub answered: bool,
    /// Intended and not mounted.
    pub missing: Vec<Difference>,
    /// Mounted and not intended, added past control: removed only by a prune.
    pub orphaned: Vec<Difference>,
    /// Mounted with another content than intended, or by control and no longer intended.
    pub drifted: Vec<Difference>,
}

impl Plan {
    /// Whether nothing is to be done for this proxy.
    pub fn is_clean(&self, scope: Scope) -> bool {
        let orphans_stay = !scope.prune && !scope.adopt;
        self.answered
            && self.missing.is_empty()
            && self.drifted.is_empty()
            && (self.orphaned.is_empty() || orphans_stay)
    }
}

/// Compares one proxy's mounts with the servers that are intended for its pool, of one tenant or of all.
pub fn plan(intended: &IntendedState, observed: &ObservedProxy, tenant: Option<TenantId>) -> Plan {
    let mut plan = Plan { node: observed.node.clone(), answered: observed.answered, ..Plan::default() };
    if !observed.answered {
        return plan;
    }
    let in_scope = |of: TenantId| tenant.is_none_or(|only| only == of);
    let served = |of: &TenantId| intended.pools.get(of).is_some_and(|pools| pools.contains(&observed.pool));
    let pushed: HashMap<ServerId, Digest> =
        observed.mounts.iter().filter(|mount| !mount.internal).map(|mount| (mount.server, mount.digest)).collect();
    let mut known = HashSet::new();
    let specs = intended.resources.iter().filter_map(server);
    for spec in specs.filter(|spec| in_scope(spec.tenant) && served(&spec.tenant)) {
        known.insert(spec.id);
        match pushed.get(&spec.id) {
            None => plan.missing.push(of_spec(spec)),
            Some(digest) if *digest != spec.digest() => plan.drifted.push(of_spec(spec)),
            Some(_) => (),
        }
    }
    for mount in observed.mounts.iter().filter(|mount| in_scope(mount.tenant)) {
        if mount.internal {
            plan.orphaned.push(of_mount(mount));
        } else if !known.contains(&mount.server) {
            // Control mounted it once, so control takes it down without being told to prune.
            plan.drifted.push(of_mount(mount));
        }
    }
    plan
}

fn server(resource: &Resource) -> Option<&ServerSpec> {
    match resource {
        Resource::Server(spec) => Some(spec),
        Resource::Tenant(_) | Resource::Key(_) | Resource::Egress(_) => None,
        Resource::User(_) | Resource::Issuer(_) | Resource::Signer(_) | Resource::Revoked(_) => None,
        Resource::Connection(_) | Resource::Toolset(_) => None,
    }
}

fn of_spec(spec: &ServerSpec) -> Difference {
    Difference { tenant: spec.tenant, server: spec.id, name: spec.name.to_string() }
}

fn of_mount(mount: &ObservedMount) -> Difference {
    Difference { tenant: mount.tenant, server: mount.server, name: mount.name.clone() }
}

#[cfg(test)]
mod tests;
