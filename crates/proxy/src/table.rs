//! The live table: tenants, mounts and keys, swapped as a whole and read without a lock.

mod connections;
mod draft;
mod eras;
mod issuer;
mod manifest;
mod mount;
mod offers;
mod people;
mod tenant;
mod toolsets;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwap, Guard};
use egress::{Egress, Policy};
use model::{
    ConnectionId, ConnectionStatus, Digest, EgressRule, EgressRuleId, GrantId, IssuerId, KeyId, KeyVerifier, Resource,
    ResourceKind, ResourceName, RevokedGrant, ServerId, ServerSpec, SignerId, TenantId, UserId, UserSpec, table_digest,
};

pub(crate) use self::connections::Connections;
use self::draft::Draft;
use self::issuer::Issuers;
pub(crate) use self::issuer::{Issuer, Signer};
use self::mount::Partitions;
pub(crate) use self::mount::{Listed, Mount, Way};
pub(crate) use self::offers::Offered;
pub(crate) use self::people::{People, Unknown};
pub(crate) use self::tenant::Tenant;
use self::toolsets::Toolsets;
pub(crate) use self::toolsets::{Plain, Toolset};
use crate::answer::OVERTIME;
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
    /// Which credentials there are. Copied only by a change of them.
    connections: Arc<Connections>,
    /// Selections of tools. Copied only by a change of them.
    toolsets: Arc<Toolsets>,
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

    /// Which credentials there are.
    pub(crate) fn connections(&self) -> &Connections {
        &self.connections
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
        for (id, digest) in self.people.digests() {
            add(ResourceName::User(id), digest);
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
        for (id, digest) in self.connections.digests() {
            add(ResourceName::Connection(id), digest);
        }
        for toolset in self.toolsets.iter() {
            add(ResourceName::Toolset(toolset.id), toolset.digest());
        }
        held.sort_by(|left, right| left.0.cmp(&right.0));
        held.into_iter().map(|(_, name, digest)| (name, digest)).collect()
    }

    /// Ends the streams of those whom nothing lets in any more at `now`, or not as then; and answers that still
    /// stream to those who may not even use their server: these have their overtime. At the beginning of time
    /// (`i64::MIN`) nothing has expired.
    pub(crate) fn end_streams(&self, now: i64) {
        let then = now.saturating_sub(i64::try_from(OVERTIME.as_micros()).unwrap_or_default());
        for tenant in self.tenants.values() {
            tenant.hub.end_streams(|caller| caller.is_as_before(self, now));
            tenant.hub.end_answers(|caller, server| caller.may_still_use(self, then, server));
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
        ResourceKind::Server | ResourceKind::Egress | ResourceKind::Connection | ResourceKind::Toolset => false,
    }
}

/// Whether credentials or what they are good for may go with such a resource.
fn is_of_credentials(name: &ResourceName) -> bool {
    matches!(name.kind(), ResourceKind::Connection | ResourceKind::Server | ResourceKind::Tenant)
}

/// What a change was about. `names`: those of [`is_of_credentials`].
fn touched(old: &Table, next: &Table, whole: bool, names: &[ResourceName]) -> Touched {
    let mut connections: Vec<ConnectionId> = names
        .iter()
        .filter_map(|name| match name {
            ResourceName::Connection(id) => Some(*id),
            _ => None,
        })
        .collect();
    let servers = whole || connections.len() < names.len();
    // Those of a tenant that is gone go without being named, as does whatever is not in a snapshot.
    if servers && !Arc::ptr_eq(&old.connections, &next.connections) {
        connections.extend(old.connections.iter().map(|spec| spec.id));
        connections.sort_unstable();
        connections.dedup();
    }
    let ended = |id: &ConnectionId| {
        let Some(before) = old.connections.get(*id) else { return false };
        next.connections.get(*id).is_none_or(|now| {
            now.credential_version != before.credential_version || now.status != ConnectionStatus::Active
        })
    };
    let restored = |id: &&ConnectionId| {
        let generation = |table: &Table| table.connections.get(**id).map(|spec| spec.token_generation);
        generation(next).zip(generation(old)).is_some_and(|(now, before)| now < before)
    };
    let restored = connections.iter().filter(restored).copied().collect();
    Touched { ended: connections.iter().any(ended), servers, connections, restored }
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
    /// Lists of single connections, of all mounts.
    partitions: Arc<Partitions>,
    /// Who is told of changes.
    told: OnceLock<Told>,
}

/// Told what a change was about, and of the table after it, before the change is answered.
type Told = Box<dyn Fn(&Touched, &Table) + Send + Sync>;

/// What a change was about, as far as credentials are concerned.
#[derive(Debug, Default)]
pub(crate) struct Touched {
    /// Connections that came, went or changed.
    pub(crate) connections: Vec<ConnectionId>,
    /// Those of them whose tokens are counted from further back than before.
    pub(crate) restored: HashSet<ConnectionId>,
    /// Servers or tenants went or changed.
    pub(crate) servers: bool,
    /// A connection is gone, or nothing that was begun with it may go on.
    pub(crate) ended: bool,
}

impl Tables {
    /// An empty table whose mounts go out through `egress`. Its rules come on top of those that the
    /// policy of `egress` has now; nobody else changes that policy from here on.
    pub fn new(egress: Egress) -> Self {
        Self {
            current: ArcSwap::default(),
            write: Mutex::new(()),
            configured: egress.policy(),
            egress,
            partitions: Arc::default(),
            told: OnceLock::new(),
        }
    }

    /// Who is told of changes; the first one stays.
    pub(crate) fn tell(&self, told: impl Fn(&Touched, &Table) + Send + Sync + 'static) {
        _ = self.told.set(Box::new(told));
    }

    /// Most bytes of lists of single connections, and what tells how many there are.
    pub(crate) fn fill(&self) -> (u64, impl Fn() -> u64 + use<>) {
        let partitions = self.partitions.clone();
        (Partitions::MOST, move || partitions.fill())
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
        let names: Vec<ResourceName> = change.names().filter(is_of_credentials).collect();
        let whole = change.replace_all;
        let mut rejected = Vec::new();
        let (mut tenants, mut servers, mut keys, mut users) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut toolsets = Vec::new();
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
                Resource::Connection(spec) => Arc::make_mut(&mut next.table.connections).put(spec),
                Resource::Toolset(toolset) => toolsets.push(toolset),
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
            if let Err(reason) = next.put_server(&old, &self.egress, &self.partitions, server) {
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
        for toolset in toolsets {
            let name = ResourceName::Toolset(toolset.id);
            if let Err(reason) = next.put_toolset(toolset) {
                rejected.push((name, reason));
            }
        }
        next.close_ways(&old, &self.egress);
        let next = Arc::new(next.finish(&old));
        let touched = touched(&old, &next, whole, &names);
        self.current.store(next.clone());
        if let Some(told) = self.told.get() {
            told(&touched, &next);
        }
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
        let connections = table.connections.iter().map(|spec| Resource::Connection((**spec).clone()));
        let toolsets = table.toolsets.iter().map(|toolset| Resource::Toolset(toolset.clone()));
        let pushed = tenants.chain(servers).chain(keys).chain(rules).chain(toolsets);
        pushed.chain(users).chain(issuers).chain(signers).chain(revoked).chain(connections).collect()
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
            .map_err(|refusal| InternalError::Refused(refusal.to_string()))?
            .within(&self.partitions);
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
