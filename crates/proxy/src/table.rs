//! The live table: tenants, mounts and keys, swapped as a whole and read without a lock.

mod issuer;
mod mount;
mod people;
mod tenant;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};
use egress::{Egress, Policy};
use model::{
    Digest, EgressRule, EgressRuleId, GrantId, HostPattern, IssuerId, KeyId, KeyVerifier, Resource, ResourceKind,
    ResourceName, RevokedGrant, ServerId, ServerSpec, SignerId, TenantId, UserId, UserSpec, table_digest,
};

use self::issuer::Issuers;
pub(crate) use self::issuer::{Issuer, Signer};
pub(crate) use self::mount::{Listed, Mount, Way};
use self::people::People;
pub(crate) use self::people::Unknown;
pub(crate) use self::tenant::Tenant;
use crate::limits::Rate;

/// A key with the rate it may be used at.
pub(crate) struct Key {
    pub(crate) verifier: KeyVerifier,
    pub(crate) rate: Rate,
}

/// One immutable state of everything a request may need.
#[derive(Default)]
pub(crate) struct Table {
    tenants: HashMap<TenantId, Arc<Tenant>>,
    tenant_names: HashMap<Box<str>, TenantId>,
    keys: HashMap<KeyId, Arc<Key>>,
    /// Who tokens may be about. Copied only by a change of users.
    people: Arc<People>,
    /// Whose tokens are believed.
    issuers: Arc<Issuers>,
    signers: HashMap<SignerId, Arc<Signer>>,
    /// Grants whose tokens are not good any more.
    revoked: HashMap<GrantId, RevokedGrant>,
    /// What control pushed.
    servers: HashMap<ServerId, Arc<Mount>>,
    /// What was added through the internal calls: in memory only, belongs to its tenant.
    internal: HashMap<ServerId, Arc<Mount>>,
    /// Exceptions to the address policy.
    rules: HashMap<EgressRuleId, Arc<EgressRule>>,
    /// Of all that was pushed; made when it is first asked for, since thousands of users take a moment.
    digest: OnceLock<Digest>,
}

impl Table {
    pub(crate) fn tenant(&self, id: TenantId) -> Option<&Arc<Tenant>> {
        self.tenants.get(&id)
    }

    pub(crate) fn tenant_named(&self, name: &str) -> Option<&Arc<Tenant>> {
        self.tenants.get(self.tenant_names.get(name)?)
    }

    pub(crate) fn key(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.keys.get(&id)
    }

    pub(crate) fn user(&self, id: UserId) -> Option<&Arc<UserSpec>> {
        self.people.get(id)
    }

    /// The user of a tenant whom an issuer calls so.
    pub(crate) fn user_called(
        &self,
        tenant: TenantId,
        external_id: &str,
        login: Option<&str>,
    ) -> Result<&Arc<UserSpec>, Unknown> {
        self.people.called(tenant, external_id, login)
    }

    pub(crate) fn issuer(&self, id: IssuerId) -> Option<&Arc<Issuer>> {
        self.issuers.get(id)
    }

    /// The issuer of a tenant whose access tokens say `iss`.
    pub(crate) fn issuer_of(&self, tenant: TenantId, iss: &str) -> Option<&Arc<Issuer>> {
        self.issuers.of(tenant).find(|issuer| issuer.spec.issuer == iss)
    }

    /// The issuers of a tenant whose access tokens are taken, the oldest first.
    pub(crate) fn issuers_of(&self, tenant: TenantId) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.of(tenant)
    }

    pub(crate) fn signer(&self, id: SignerId) -> Option<&Arc<Signer>> {
        self.signers.get(&id)
    }

    /// The key under which control signs, or soon will.
    pub(crate) fn newest_signer(&self) -> Option<&Arc<Signer>> {
        self.signers.values().max_by_key(|signer| (signer.spec.until, signer.spec.id))
    }

    /// Whether tokens of this grant are good no more.
    pub(crate) fn is_revoked(&self, grant: GrantId) -> bool {
        self.revoked.contains_key(&grant)
    }

    pub(crate) fn users(&self) -> impl Iterator<Item = &Arc<UserSpec>> {
        self.people.iter()
    }

    pub(crate) fn issuers(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.iter()
    }

    pub(crate) fn server(&self, id: ServerId) -> Option<&Arc<Mount>> {
        self.servers.get(&id).or_else(|| self.internal.get(&id))
    }

    pub(crate) fn tenants(&self) -> impl Iterator<Item = &Arc<Tenant>> {
        self.tenants.values()
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.values()
    }

    pub(crate) fn mounts(&self) -> impl Iterator<Item = &Arc<Mount>> {
        self.servers.values().chain(self.internal.values())
    }

    /// The pushed resources and their digests, sorted by the text of the name.
    fn held(&self) -> Vec<(ResourceName, Digest)> {
        let mut held: Vec<(String, ResourceName, Digest)> = Vec::new();
        let mut add = |name: ResourceName, digest| held.push((name.to_string(), name, digest));
        for tenant in self.tenants.values() {
            add(ResourceName::Tenant(tenant.spec.id), tenant.spec.digest());
        }
        for mount in self.servers.values() {
            add(ResourceName::Server(mount.spec.id), mount.digest);
        }
        for key in self.keys.values() {
            add(ResourceName::Key(key.verifier.id), key.verifier.digest());
        }
        for rule in self.rules.values() {
            add(ResourceName::Egress(rule.id), rule.digest());
        }
        for user in self.people.iter() {
            add(ResourceName::User(user.id), user.digest());
        }
        for issuer in self.issuers.iter() {
            add(ResourceName::Issuer(issuer.spec.id), issuer.spec.digest());
        }
        for signer in self.signers.values() {
            add(ResourceName::Signer(signer.spec.id), signer.spec.digest());
        }
        for grant in self.revoked.values() {
            add(ResourceName::Revoked(grant.id), grant.digest());
        }
        held.sort_by(|left, right| left.0.cmp(&right.0));
        held.into_iter().map(|(_, name, digest)| (name, digest)).collect()
    }

    /// Ends the streams of those whom nothing lets in any more at `now`, or not as then; and answers that still
    /// stream to those who may not even use their server. At the beginning of time (`i64::MIN`) nothing has expired.
    pub(crate) fn end_streams(&self, now: i64) {
        for tenant in self.tenants.values() {
            tenant.hub.end_streams(|caller| caller.is_as_before(self, now));
            tenant.hub.end_answers(|caller, server| caller.may_still_use(self, now, server));
        }
    }
}

/// Whether such a resource is one of those that let somebody in.
fn lets_somebody_in(name: &ResourceName) -> bool {
    match name.kind() {
        ResourceKind::Key
        | ResourceKind::User
        | ResourceKind::Issuer
        | ResourceKind::Signer
        | ResourceKind::Revoked
        | ResourceKind::Tenant => true,
        ResourceKind::Server | ResourceKind::Egress => false,
    }
}

/// What is to be different.
#[derive(Debug, Default)]
pub struct Change {
    /// Everything that is not among the upserts goes (a snapshot).
    pub replace_all: bool,
    /// What is new or changed.
    pub upserts: Vec<Resource>,
    /// What goes.
    pub removes: Vec<ResourceName>,
}

impl Change {
    /// What it is about, for all that is named.
    fn names(&self) -> impl Iterator<Item = ResourceName> {
        self.upserts.iter().map(Resource::name).chain(self.removes.iter().copied())
    }
}

/// Why a mount can't be added through the internal calls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InternalError {
    #[error("a mount of this name exists")]
    Taken,
    #[error("{0}")]
    Refused(String),
}

/// The table and its only writer.
pub struct Tables {
    current: ArcSwap<Table>,
    /// Held while a change is made, never over IO.
    write: Mutex<()>,
    egress: Egress,
    /// The address policy without the table's rules: what the configuration says.
    configured: Arc<Policy>,
}

impl Tables {
    /// An empty table whose mounts go out through `egress`. Its rules come on top of those that the
    /// policy of `egress` has now; nobody else changes that policy from here on.
    pub fn new(egress: Egress) -> Self {
        Self { current: ArcSwap::default(), write: Mutex::new(()), configured: egress.policy(), egress }
    }

    pub(crate) fn load(&self) -> Guard<Arc<Table>> {
        self.current.load()
    }

    /// The table, to be kept for longer than a request.
    pub(crate) fn load_full(&self) -> Arc<Table> {
        self.current.load_full()
    }

    /// Makes a new table of the old one and swaps it in. Requests under way finish on the mounts
    /// they hold. What can't be applied is returned with its reason, keeps its last good version
    /// and spoils nothing else.
    pub fn apply(&self, change: Change) -> Vec<(ResourceName, String)> {
        let _write = self.lock();
        let old = self.current.load_full();
        let mut next = Draft::new(&old, &change);
        let lets_in = change.replace_all || change.names().any(|name| lets_somebody_in(&name));
        let mut rejected = Vec::new();
        let (mut tenants, mut servers, mut keys, mut users) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for resource in change.upserts {
            match resource {
                Resource::Tenant(tenant) => tenants.push(tenant),
                Resource::Server(server) => servers.push(server),
                Resource::Key(key) => keys.push(key),
                Resource::Egress(rule) => drop(next.table.rules.insert(rule.id, Arc::new(rule))),
                Resource::User(user) => users.push(user),
                Resource::Issuer(issuer) => {
                    let name = ResourceName::Issuer(issuer.id);
                    match Issuer::new(issuer) {
                        Ok(issuer) => Arc::make_mut(&mut next.table.issuers).put(issuer),
                        Err(error) => rejected.push((name, format!("its key set can't be used: {error}"))),
                    }
                }
                Resource::Signer(signer) => {
                    next.table.signers.insert(signer.id, Arc::new(Signer::new(signer)));
                }
                Resource::Revoked(grant) => drop(next.table.revoked.insert(grant.id, grant)),
            }
        }
        // Before the servers that need them.
        self.govern(&old, &next.table);
        for tenant in tenants {
            next.put_tenant(&old, tenant);
        }
        // Those that go or change leave their names first, so that two servers may trade names.
        for server in &servers {
            next.forget_server(server.id);
        }
        for server in servers {
            let name = ResourceName::Server(server.id);
            let id = server.id;
            if let Err(reason) = next.put_server(&old, &self.egress, server) {
                rejected.push((name, reason));
                next.restore_server(&old, id);
            }
        }
        for key in keys {
            next.put_key(key);
        }
        if !users.is_empty() {
            Arc::make_mut(&mut next.table.people).put(users);
        }
        next.close_ways(&old, &self.egress);
        let next = Arc::new(next.finish(&old));
        self.current.store(next.clone());
        // After the swap: whoever comes now is judged by the new table.
        if lets_in {
            next.end_streams(i64::MIN);
        }
        rejected
    }

    /// Brings the address policy in line with the rules. From here on no new connection is made, and no
    /// idle one used again, that they do not allow.
    fn govern(&self, old: &Table, next: &Table) {
        if old.rules == next.rules {
            return;
        }
        let rules = self.configured.rules.iter().cloned().chain(next.rules.values().map(|rule| rule.as_ref().clone()));
        let revision = self.egress.policy().revision + 1;
        self.egress.set_policy(Policy { rules: rules.collect(), revision, ..self.configured.as_ref().clone() });
    }

    /// The pushed resources and their digests, sorted by the text of the name.
    pub fn held(&self) -> Vec<(ResourceName, Digest)> {
        self.current.load().held()
    }

    /// The pushed resources themselves: what the last good table file holds.
    pub fn resources(&self) -> Vec<Resource> {
        let table = self.current.load();
        let tenants = table.tenants.values().map(|tenant| Resource::Tenant(tenant.spec.clone()));
        let servers = table.servers.values().map(|mount| Resource::Server(mount.spec.clone()));
        let keys = table.keys.values().map(|key| Resource::Key(key.verifier.clone()));
        let rules = table.rules.values().map(|rule| Resource::Egress(rule.as_ref().clone()));
        let users = table.people.iter().map(|user| Resource::User(user.as_ref().clone()));
        let issuers = table.issuers.iter().map(|issuer| Resource::Issuer(issuer.spec.clone()));
        let signers = table.signers.values().map(|signer| Resource::Signer(signer.spec.clone()));
        let revoked = table.revoked.values().map(|grant| Resource::Revoked(*grant));
        let pushed = tenants.chain(servers).chain(keys).chain(rules);
        pushed.chain(users).chain(issuers).chain(signers).chain(revoked).collect()
    }

    /// The digest of what is held, for heartbeats.
    pub fn digest(&self) -> Digest {
        let table = self.current.load();
        *table.digest.get_or_init(|| {
            let held: Vec<(String, Digest)> =
                table.held().into_iter().map(|(name, digest)| (name.to_string(), digest)).collect();
            table_digest(held.iter().map(|(name, digest)| (name.as_str(), *digest)))
        })
    }

    /// The mounts that were added through the internal calls: orphans, as control sees it.
    pub fn internal_mounts(&self) -> Vec<ServerSpec> {
        self.current.load().internal.values().map(|mount| mount.spec.clone()).collect()
    }

    /// Removes the internal mounts of one tenant, or of all. Says how many went.
    pub fn remove_internal(&self, tenant: Option<TenantId>) -> u32 {
        self.change_internal(|internal| {
            let before = internal.len();
            internal.retain(|_, mount| tenant.is_some_and(|tenant| tenant != mount.spec.tenant));
            (before - internal.len()) as u32
        })
    }

    pub(crate) fn add_internal(&self, spec: ServerSpec) -> Result<(), InternalError> {
        let _write = self.lock();
        let old = self.current.load_full();
        let tenant = old.tenant(spec.tenant).ok_or_else(|| InternalError::Refused("no such tenant".to_owned()))?;
        if tenant.mounts.contains_key(spec.name.as_str()) {
            return Err(InternalError::Taken);
        }
        if tenant.mounts.len() >= tenant.usage.limits.servers as usize {
            return Err(InternalError::Refused("the tenant's quota of servers is used up".to_owned()));
        }
        let mount = Mount::new(spec, &self.egress, &tenant.usage.limits, true, None)
            .map_err(|refusal| InternalError::Refused(refusal.to_string()))?;
        let mut next = Draft::new(&old, &Change::default());
        next.table.internal.insert(mount.spec.id, Arc::new(mount));
        next.touch(tenant.spec.id);
        self.current.store(Arc::new(next.finish(&old)));
        Ok(())
    }

    pub(crate) fn remove_internal_named(&self, tenant: TenantId, name: &str) -> bool {
        self.change_internal(|internal| {
            let before = internal.len();
            internal.retain(|_, mount| mount.spec.tenant != tenant || mount.spec.name.as_str() != name);
            before != internal.len()
        })
    }

    fn change_internal<T>(&self, change: impl FnOnce(&mut HashMap<ServerId, Arc<Mount>>) -> T) -> T {
        let _write = self.lock();
        let old = self.current.load_full();
        let mut next = Draft::new(&old, &Change::default());
        let changed = change(&mut next.table.internal);
        for tenant in old.internal.values().map(|mount| mount.spec.tenant) {
            next.touch(tenant);
        }
        self.current.store(Arc::new(next.finish(&old)));
        changed
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.write.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A table in the making.
struct Draft {
    table: Table,
    /// Tenants whose mounts must be collected anew.
    touched: Vec<TenantId>,
    /// The names in use, per tenant; only of tenants that are touched.
    names: HashMap<(TenantId, Box<str>), ServerId>,
}

impl Draft {
    fn new(old: &Table, change: &Change) -> Self {
        let mut table = Table {
            tenants: old.tenants.clone(),
            tenant_names: HashMap::new(),
            keys: old.keys.clone(),
            people: old.people.clone(),
            issuers: old.issuers.clone(),
            signers: old.signers.clone(),
            revoked: old.revoked.clone(),
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

    fn touch(&mut self, tenant: TenantId) {
        self.touched.push(tenant);
    }

    fn put_tenant(&mut self, old: &Table, spec: model::TenantSpec) {
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

    fn forget_server(&mut self, id: ServerId) {
        if let Some(mount) = self.table.servers.remove(&id) {
            self.touched.push(mount.spec.tenant);
            self.names.remove(&(mount.spec.tenant, mount.spec.name.as_str().into()));
        }
    }

    fn put_server(&mut self, old: &Table, egress: &Egress, spec: ServerSpec) -> Result<(), String> {
        let tenant = self.table.tenants.get(&spec.tenant).ok_or("its tenant is not known here")?;
        let name = (spec.tenant, spec.name.as_str().into());
        if self.names.contains_key(&name) {
            return Err(format!("another server of this tenant is mounted as {}", spec.name));
        }
        let mount = match old.servers.get(&spec.id) {
            Some(before) if before.spec == spec => before.clone(),
            before => {
                let mount = Mount::new(spec, egress, &tenant.usage.limits, false, before.map(Arc::as_ref));
                Arc::new(mount.map_err(|refusal| refusal.to_string())?)
            }
        };
        // What control intends beats what somebody added here by hand.
        self.table.internal.retain(|_, other| other.spec.tenant != name.0 || other.spec.name != mount.spec.name);
        self.touched.push(name.0);
        self.names.insert(name, mount.spec.id);
        self.table.servers.insert(mount.spec.id, mount);
        Ok(())
    }

    fn restore_server(&mut self, old: &Table, id: ServerId) {
        if let Some(mount) = old.servers.get(&id) {
            let name = (mount.spec.tenant, mount.spec.name.as_str().into());
            if !self.names.contains_key(&name) && self.table.tenants.contains_key(&name.0) {
                self.names.insert(name, id);
                self.table.servers.insert(id, mount.clone());
            }
        }
    }

    fn put_key(&mut self, verifier: KeyVerifier) {
        let rate = self.table.tenants.get(&verifier.tenant).map_or(1, |tenant| tenant.usage.limits.key_rate);
        let key = match self.table.keys.get(&verifier.id) {
            Some(before) if before.verifier == verifier => before.clone(),
            _ => Arc::new(Key { verifier, rate: Rate::new(rate) }),
        };
        self.table.keys.insert(key.verifier.id, key);
    }

    /// Mounts anew whatever a rule that was taken away may have opened: streams and sessions through it
    /// end with the mount that held them.
    fn close_ways(&mut self, old: &Table, egress: &Egress) {
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
    fn finish(mut self, old: &Table) -> Table {
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
                let tenant = tenant.with_mounts(mounts);
                self.table.tenants.insert(id, Arc::new(tenant));
            }
        }
        // A tenant that is gone takes what belongs to it along.
        let tenants = &self.table.tenants;
        self.table.servers.retain(|_, mount| tenants.contains_key(&mount.spec.tenant));
        self.table.internal.retain(|_, mount| tenants.contains_key(&mount.spec.tenant));
        self.table.keys.retain(|_, key| tenants.contains_key(&key.verifier.tenant));
        self.table.revoked.retain(|_, grant| tenants.contains_key(&grant.tenant));
        People::retain_tenants(&mut self.table.people, |tenant| tenants.contains_key(&tenant));
        Issuers::retain(&mut self.table.issuers, |issuer| tenants.contains_key(&issuer.tenant));
        self.table.tenant_names =
            tenants.values().map(|tenant| (tenant.spec.name.as_str().into(), tenant.spec.id)).collect();
        for id in old.tenants.keys().filter(|id| !tenants.contains_key(*id)).chain(&self.touched) {
            let before = old.tenants.get(id);
            match (tenants.get(id), before) {
                (Some(tenant), _) => tenant.mounts_changed(before.map(Arc::as_ref)),
                (None, Some(before)) => before.hub.end_all(),
                (None, None) => (),
            }
        }
        self.table
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
