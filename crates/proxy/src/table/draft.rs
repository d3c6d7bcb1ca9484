//! A change of the table in the making: a copy of the one before, in which what hangs together is brought in line.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use egress::Egress;
use model::{
    EgressRule, HostPattern, KeyVerifier, Resource, ResourceName, ServerId, ServerSpec, TenantId, TenantSpec,
    ToolsetSpec,
};

use super::issuer::Issuers;
use super::mount::Partitions;
use super::people::People;
use super::toolsets::Toolsets;
use super::{Change, Key, Mount, Table, Tenant};
use crate::limits::Rate;

/// A table in the making.
pub(super) struct Draft {
    pub(super) table: Table,
    /// Tenants whose mounts must be collected anew.
    touched: Vec<TenantId>,
    /// The names in use, per tenant; only of tenants that are touched.
    names: HashMap<(TenantId, Box<str>), ServerId>,
}

impl Draft {
    pub(super) fn new(old: &Table, change: &Change) -> Self {
        let mut table = Table {
            tenants: old.tenants.clone(),
            tenant_names: HashMap::new(),
            keys: old.keys.clone(),
            people: old.people.clone(),
            issuers: old.issuers.clone(),
            signers: old.signers.clone(),
            revoked: old.revoked.clone(),
            connections: old.connections.clone(),
            toolsets: old.toolsets.clone(),
            servers: old.servers.clone(),
            internal: old.internal.clone(),
            rules: old.rules.clone(),
            digest: OnceLock::new(),
        };
        let mut touched = Vec::new();
        if change.replace_all {
            let stay: HashSet<ResourceName> = change.upserts.iter().map(Resource::name).collect();
            table.tenants.retain(|id, _| stay.contains(&ResourceName::Tenant(*id)));
            table.keys.retain(|id, _| stay.contains(&ResourceName::Key(*id)));
            table.rules.retain(|id, _| stay.contains(&ResourceName::Egress(*id)));
            table.signers.retain(|id, _| stay.contains(&ResourceName::Signer(*id)));
            table.revoked.retain(|id, _| stay.contains(&ResourceName::Revoked(*id)));
            if table.connections.iter().any(|spec| !stay.contains(&ResourceName::Connection(spec.id))) {
                let connections = Arc::make_mut(&mut table.connections);
                connections.retain(|spec| stay.contains(&ResourceName::Connection(spec.id)));
            }
            touched.extend(Toolsets::retain(&mut table.toolsets, |toolset| {
                stay.contains(&ResourceName::Toolset(toolset.id))
            }));
            People::retain(&mut table.people, |user| stay.contains(&ResourceName::User(user.id)));
            Issuers::retain(&mut table.issuers, |issuer| stay.contains(&ResourceName::Issuer(issuer.id)));
            table.servers.retain(|id, mount| {
                let stays = stay.contains(&ResourceName::Server(*id));
                if !stays {
                    touched.push(mount.spec.tenant);
                }
                stays
            });
        }
        for name in &change.removes {
            match name {
                ResourceName::Tenant(id) => drop(table.tenants.remove(id)),
                ResourceName::Key(id) => drop(table.keys.remove(id)),
                ResourceName::Egress(id) => drop(table.rules.remove(id)),
                ResourceName::User(id) => Arc::make_mut(&mut table.people).remove(*id),
                ResourceName::Issuer(id) => Arc::make_mut(&mut table.issuers).remove(*id),
                ResourceName::Signer(id) => drop(table.signers.remove(id)),
                ResourceName::Revoked(id) => drop(table.revoked.remove(id)),
                ResourceName::Connection(id) => Arc::make_mut(&mut table.connections).remove(*id),
                ResourceName::Toolset(id) => touched.extend(Arc::make_mut(&mut table.toolsets).remove(*id)),
                ResourceName::Server(id) => {
                    if let Some(mount) = table.servers.remove(id) {
                        touched.push(mount.spec.tenant);
                    }
                }
            }
        }
        // One pass, and only when servers come: a change of keys costs nothing here.
        let names = if change.upserts.iter().any(|resource| matches!(resource, Resource::Server(_))) {
            table
                .servers
                .values()
                .map(|mount| ((mount.spec.tenant, mount.spec.name.as_str().into()), mount.spec.id))
                .collect()
        } else {
            HashMap::new()
        };
        Self { table, touched, names }
    }

    pub(super) fn touch(&mut self, tenant: TenantId) {
        self.touched.push(tenant);
    }

    pub(super) fn put_tenant(&mut self, old: &Table, spec: TenantSpec) {
        self.touch(spec.id);
        let before = old.tenants.get(&spec.id).map(Arc::as_ref);
        let (id, limits) = (spec.id, spec.limits);
        self.table.tenants.insert(id, Arc::new(Tenant::new(spec, before)));
        let Some(before) = before.map(|before| before.spec.limits).filter(|before| *before != limits) else { return };
        let mounts = self.table.servers.values().chain(self.table.internal.values());
        mounts.filter(|mount| mount.spec.tenant == id).for_each(|mount| mount.limited(&limits));
        if before.key_rate != limits.key_rate {
            for key in self.table.keys.values_mut().filter(|key| key.verifier.tenant == id) {
                *key = Arc::new(Key { verifier: key.verifier.clone(), rate: Rate::new(limits.key_rate) });
            }
        }
    }

    pub(super) fn put_toolset(&mut self, spec: ToolsetSpec) -> Result<(), String> {
        self.touched.extend(Arc::make_mut(&mut self.table.toolsets).put(spec)?);
        Ok(())
    }

    pub(super) fn forget_server(&mut self, id: ServerId) {
        if let Some(mount) = self.table.servers.remove(&id) {
            self.touched.push(mount.spec.tenant);
            self.names.remove(&(mount.spec.tenant, mount.spec.name.as_str().into()));
        }
    }

    pub(super) fn put_server(
        &mut self,
        old: &Table,
        egress: &Egress,
        partitions: &Arc<Partitions>,
        spec: ServerSpec,
    ) -> Result<(), String> {
        let tenant = self.table.tenants.get(&spec.tenant).ok_or("its tenant is not known here")?;
        let name = (spec.tenant, spec.name.as_str().into());
        if self.names.contains_key(&name) {
            return Err(format!("another server of this tenant is mounted as {}", spec.name));
        }
        let mount = match old.servers.get(&spec.id) {
            Some(before) if before.spec == spec => before.clone(),
            before => {
                let mount = Mount::new(spec, egress, &tenant.usage.limits, false, before.map(Arc::as_ref));
                Arc::new(mount.map_err(|refusal| refusal.to_string())?.within(partitions))
            }
        };
        // What control intends beats what somebody added here by hand.
        self.table.internal.retain(|_, other| other.spec.tenant != name.0 || other.spec.name != mount.spec.name);
        self.touched.push(name.0);
        self.names.insert(name, mount.spec.id);
        self.table.servers.insert(mount.spec.id, mount);
        Ok(())
    }

    pub(super) fn restore_server(&mut self, old: &Table, id: ServerId) {
        if let Some(mount) = old.servers.get(&id) {
            let name = (mount.spec.tenant, mount.spec.name.as_str().into());
            if !self.names.contains_key(&name) && self.table.tenants.contains_key(&name.0) {
                self.names.insert(name, id);
                self.table.servers.insert(id, mount.clone());
            }
        }
    }

    pub(super) fn put_key(&mut self, verifier: KeyVerifier) {
        let rate = self.table.tenants.get(&verifier.tenant).map_or(1, |tenant| tenant.usage.limits.key_rate);
        let key = match self.table.keys.get(&verifier.id) {
            Some(before) if before.verifier == verifier => before.clone(),
            _ => Arc::new(Key { verifier, rate: Rate::new(rate) }),
        };
        self.table.keys.insert(key.verifier.id, key);
    }

    /// Mounts anew whatever a rule that was taken away may have opened: streams and sessions through it
    /// end with the mount that held them.
    pub(super) fn close_ways(&mut self, old: &Table, egress: &Egress) {
        let stays = |rule: &EgressRule| self.table.rules.get(&rule.id).is_some_and(|now| **now == *rule);
        let taken: Vec<&EgressRule> = old.rules.values().map(Arc::as_ref).filter(|rule| !stays(rule)).collect();
        if taken.is_empty() {
            return;
        }
        for mount in self.table.servers.values_mut().chain(self.table.internal.values_mut()) {
            let Some(tenant) = self.table.tenants.get(&mount.spec.tenant) else { continue };
            if taken.iter().any(|rule| may_have_opened(rule, &mount.spec))
                && let Ok(again) = mount.again(egress, &tenant.usage.limits)
            {
                self.touched.push(mount.spec.tenant);
                *mount = Arc::new(again);
            }
        }
    }

    /// Collects the mounts of every touched tenant and wakes those who listen there.
    pub(super) fn finish(mut self, old: &Table) -> Table {
        self.touched.sort_unstable();
        self.touched.dedup();
        let mut mounts: HashMap<TenantId, BTreeMap<Box<str>, Arc<Mount>>> =
            self.touched.iter().map(|id| (*id, BTreeMap::new())).collect();
        for mount in self.table.internal.values().chain(self.table.servers.values()) {
            if let Some(mounts) = mounts.get_mut(&mount.spec.tenant) {
                mounts.insert(mount.spec.name.as_str().into(), mount.clone());
            }
        }
        for (id, mounts) in mounts {
            if let Some(tenant) = self.table.tenants.get(&id) {
                let tenant = tenant.with(mounts, self.table.toolsets.of(id));
                self.table.tenants.insert(id, Arc::new(tenant));
            }
        }
        // A tenant that is gone takes what belongs to it along.
        let tenants = &self.table.tenants;
        self.table.servers.retain(|_, mount| tenants.contains_key(&mount.spec.tenant));
        self.table.internal.retain(|_, mount| tenants.contains_key(&mount.spec.tenant));
        self.table.keys.retain(|_, key| tenants.contains_key(&key.verifier.tenant));
        self.table.revoked.retain(|_, grant| tenants.contains_key(&grant.tenant));
        if self.table.connections.iter().any(|spec| !tenants.contains_key(&spec.tenant)) {
            Arc::make_mut(&mut self.table.connections).retain(|spec| tenants.contains_key(&spec.tenant));
        }
        _ = Toolsets::retain(&mut self.table.toolsets, |toolset| tenants.contains_key(&toolset.tenant));
        People::retain_tenants(&mut self.table.people, |tenant| tenants.contains_key(&tenant));
        Issuers::retain(&mut self.table.issuers, |issuer| tenants.contains_key(&issuer.tenant));
        self.table.tenant_names =
            tenants.values().map(|tenant| (tenant.spec.name.as_str().into(), tenant.spec.id)).collect();
        for id in old.tenants.keys().filter(|id| !tenants.contains_key(*id)).chain(&self.touched) {
            let before = old.tenants.get(id);
            match (tenants.get(id), before) {
                (Some(tenant), _) => {
                    tenant.mounts_changed(before.map(Arc::as_ref));
                    tenant.toolsets_changed();
                }
                (None, Some(before)) => before.hub.end_all(),
                (None, None) => (),
            }
        }
        self.tell_of_people(old);
        self.tell_of_connections(old);
        self.table
    }

    /// Whose departments count is the same everywhere.
    fn tell_of_people(&self, old: &Table) {
        let now = &self.table.people;
        let changed = !Arc::ptr_eq(&old.people, now);
        for (id, tenant) in &self.table.tenants {
            if changed || !old.tenants.contains_key(id) {
                tenant.hub.people_changed(now);
            }
        }
    }

    /// Every tenant of whom a connection came, went or changed serves by those that there are now.
    fn tell_of_connections(&self, old: &Table) {
        let (before, now) = (&old.connections, &self.table.connections);
        if Arc::ptr_eq(before, now) {
            // A tenant that has just come knows of none yet.
            let news = self.table.tenants.iter().filter(|(id, _)| !old.tenants.contains_key(*id));
            return news.for_each(|(_, tenant)| tenant.hub.connections_changed(now, &[]));
        }
        let mut servers: HashMap<TenantId, HashSet<ServerId>> = self
            .table
            .tenants
            .keys()
            .filter(|id| !old.tenants.contains_key(*id))
            .map(|id| (*id, HashSet::new()))
            .collect();
        for spec in before.differences(now) {
            servers.entry(spec.tenant).or_default().insert(spec.server);
        }
        for (id, servers) in servers {
            let Some(tenant) = self.table.tenants.get(&id) else { continue };
            let mounts: Vec<Arc<Mount>> =
                servers.iter().filter_map(|server| self.table.servers.get(server).cloned()).collect();
            tenant.hub.connections_changed(now, &mounts);
        }
    }
}

/// Whether a connection to a server may exist because of a rule. Where a name leads is not known here.
fn may_have_opened(rule: &EgressRule, server: &ServerSpec) -> bool {
    let about = match server.url.url().host() {
        Some(url::Host::Domain(name)) => {
            rule.names(name.trim_end_matches('.')) || matches!(rule.host, HostPattern::Net(_))
        }
        Some(url::Host::Ipv4(ip)) => rule.contains(ip.into()),
        Some(url::Host::Ipv6(ip)) => rule.contains(ip.into()),
        None => false,
    };
    about && rule.is_for(server.tenant)
}
