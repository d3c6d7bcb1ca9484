//! The intended state as the fleet pushes it: read once per revision, cut once per pool, shared by all sessions.
//!
//! A state never changes; the next one shares with it everything that did not differ.

mod entries;
mod view;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use model::{Digest, Resource, ResourceKind, ResourceName, Revision, TenantId, table_digest};
use store::{IntendedState, Unreadable};

use self::entries::{Entries, Entry, Touched};
pub(crate) use self::view::{Stamp, View};

/// Names of which it is remembered whose they are, beyond those that are intended.
const REMEMBERED: usize = 4_096;

/// The whole intended state at one revision.
#[derive(Debug, Default)]
pub(crate) struct Intended {
    /// Which revision this is.
    pub(crate) revision: Revision,
    entries: Entries,
    pools: HashMap<TenantId, Arc<[String]>>,
    /// What the proxies of each pool that has tenants are to hold.
    views: BTreeMap<String, Arc<View>>,
    /// What all others are to hold.
    common: Arc<View>,
    /// Whose the resources were that changed lately, gone ones included.
    owners: HashMap<ResourceName, Option<TenantId>>,
    /// Counts the published states: one may be corrected without a new revision.
    serial: u64,
}

/// What differs between two states.
#[derive(Debug, Default)]
struct Difference {
    /// Entries as they are now; `None` for those that are gone.
    entries: Touched,
    /// Pools as they are now; `None` for tenants that are gone.
    pools: HashMap<TenantId, Option<Arc<[String]>>>,
}

impl Intended {
    /// The state that was read whole, as the one that follows this. What can't be read stays as it was, except
    /// what lets somebody in: a key that nobody can judge opens nothing.
    pub(crate) fn replaced(&self, state: IntendedState) -> Self {
        let kept: HashSet<ResourceName> = kept(&state.unreadable).collect();
        let mut difference = Difference::default();
        let present: HashSet<ResourceName> = state.resources.iter().map(Resource::name).collect();
        let gone = self.entries.iter().map(|(name, _)| *name).filter(|name| !present.contains(name));
        difference.entries.extend(gone.filter(|name| !kept.contains(name)).map(|name| (name, None)));
        let tenants_gone = self.pools.keys().filter(|id| !state.pools.contains_key(id));
        let tenants_gone = tenants_gone.filter(|id| !kept.contains(&ResourceName::Tenant(**id)));
        difference.pools.extend(tenants_gone.map(|id| (*id, None)));
        self.take(&mut difference, state.resources, state.pools);
        self.next(state.revision, difference)
    }

    /// This state with what was named and read of the next one.
    pub(crate) fn changed(&self, named: &[(ResourceName, Option<TenantId>)], state: IntendedState) -> Self {
        let kept: HashSet<ResourceName> = kept(&state.unreadable).collect();
        let present: HashSet<ResourceName> = state.resources.iter().map(Resource::name).collect();
        let mut difference = Difference::default();
        let mut leaves = |name: ResourceName| {
            if self.entries.get(&name).is_some() && !present.contains(&name) && !kept.contains(&name) {
                difference.entries.insert(name, None);
            }
        };
        for (name, _) in named {
            leaves(*name);
            let ResourceName::Tenant(tenant) = name else { continue };
            // A tenant stands for all that belongs to it.
            let of_tenant = self.entries.iter().filter(|(_, entry)| entry.resource.tenant() == Some(*tenant));
            of_tenant.for_each(|(name, _)| leaves(*name));
            if !state.pools.contains_key(tenant) && !kept.contains(name) {
                difference.pools.insert(*tenant, None);
            }
        }
        self.take(&mut difference, state.resources, state.pools);
        let mut next = self.next(state.revision, difference);
        if next.owners.len() + named.len() > REMEMBERED {
            next.owners.clear();
        }
        next.owners.extend(named.iter().take(REMEMBERED).copied());
        next
    }

    /// Notes what of this differs from what we have.
    fn take(&self, difference: &mut Difference, resources: Vec<Resource>, pools: HashMap<TenantId, Vec<String>>) {
        for resource in resources {
            let (name, digest) = (resource.name(), resource.digest());
            if self.digest_of(&name) != Some(digest) {
                difference.entries.insert(name, Some(Arc::new(Entry { resource, digest })));
            }
        }
        for (tenant, pools) in pools {
            if self.pools.get(&tenant).is_none_or(|ours| **ours != *pools) {
                difference.pools.insert(tenant, Some(pools.into()));
            }
        }
    }

    fn next(&self, revision: Revision, difference: Difference) -> Self {
        let mut next = Self {
            revision,
            serial: self.serial + 1,
            entries: self.entries.clone(),
            pools: self.pools.clone(),
            owners: self.owners.clone(),
            views: BTreeMap::new(),
            common: Arc::default(),
        };
        for (tenant, pools) in &difference.pools {
            match pools {
                Some(pools) => _ = next.pools.insert(*tenant, pools.clone()),
                None => _ = next.pools.remove(tenant),
            }
        }
        for (name, entry) in &difference.entries {
            next.entries.set(*name, entry.clone());
        }
        // A tenant that moved takes everything along, changed or not.
        let mut touched = difference.entries;
        if !difference.pools.is_empty() {
            let moved = |entry: &Entry| entry.resource.tenant().is_some_and(|id| difference.pools.contains_key(&id));
            for (name, entry) in next.entries.iter().filter(|(_, entry)| moved(entry)) {
                touched.entry(*name).or_insert_with(|| Some(entry.clone()));
            }
        }
        let names: HashSet<&String> = next.pools.values().flat_map(|pools| pools.iter()).collect();
        next.common = Arc::new(self.common.next(revision, next.serial, &touched, |entry| next.is_in(entry, None)));
        next.views = names
            .into_iter()
            .map(|pool| {
                let belongs = |entry: &Entry| next.is_in(entry, Some(pool));
                let view = match self.views.get(pool) {
                    Some(before) => before.next(revision, next.serial, &touched, belongs),
                    None => View::begun(next.serial).next(revision, next.serial, &next.all(), belongs),
                };
                (pool.clone(), Arc::new(view))
            })
            .collect();
        next
    }

    fn all(&self) -> Touched {
        self.entries.iter().map(|(name, entry)| (*name, Some(entry.clone()))).collect()
    }

    /// Whether the entry belongs to what a pool holds; `None` is a pool that no tenant names.
    fn is_in(&self, entry: &Entry, pool: Option<&String>) -> bool {
        match (entry.resource.tenant(), pool) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(tenant), Some(pool)) => self.pools.get(&tenant).is_some_and(|pools| pools.contains(pool)),
        }
    }

    /// What the proxies of a pool are to hold.
    pub(crate) fn view(&self, pool: &str) -> Arc<View> {
        self.views.get(pool).unwrap_or(&self.common).clone()
    }

    /// Whether the pool has tenants.
    pub(crate) fn serves_any(&self, pool: &str) -> bool {
        self.views.contains_key(pool)
    }

    /// Whether the proxies of the pool may know of the tenant.
    pub(crate) fn serves(&self, pool: &str, tenant: TenantId) -> bool {
        self.pools.get(&tenant).is_some_and(|pools| pools.iter().any(|named| named == pool))
    }

    /// Whether a change of the resource concerns the proxies of the pool. Where it is not known whose the
    /// resource is, it concerns every pool that has tenants.
    pub(crate) fn concerns(&self, pool: &str, name: &ResourceName) -> bool {
        let present = self.entries.get(name).map(|entry| entry.resource.tenant());
        match present.or_else(|| self.owners.get(name).copied()).flatten() {
            Some(tenant) if self.pools.contains_key(&tenant) => self.serves(pool, tenant),
            _ => self.serves_any(pool),
        }
    }

    /// Whether the resource is the tenant's, or was it lately.
    pub(crate) fn knows(&self, name: ResourceName, tenant: TenantId) -> bool {
        let present = self.entries.get(&name).map(|entry| entry.resource.tenant());
        present.or_else(|| self.owners.get(&name).copied()).flatten() == Some(tenant)
    }

    /// The digest of one resource; `None` if it isn't intended.
    fn digest_of(&self, name: &ResourceName) -> Option<Digest> {
        self.entries.get(name).map(|entry| entry.digest)
    }

    /// Whether the two hold the same in every pool.
    pub(crate) fn holds_the_same_as(&self, other: &Self) -> bool {
        let digests = |of: &Self| of.views.iter().map(|(pool, view)| (pool.clone(), view.digest())).collect::<Vec<_>>();
        self.common.digest() == other.common.digest() && digests(self) == digests(other)
    }
}

/// What stays as it was because nobody can read it.
fn kept(unreadable: &[Unreadable]) -> impl Iterator<Item = ResourceName> {
    let lets_in = |name: &ResourceName| {
        use ResourceKind::{Issuer, Key, Signer, User};
        matches!(name.kind(), Key | User | Issuer | Signer)
    };
    unreadable.iter().filter_map(|one| one.name).filter(move |name| !lets_in(name))
}

/// The digest of a table of these, in any order.
pub(crate) fn digest_of_table(held: impl Iterator<Item = (ResourceName, Digest)>) -> Digest {
    let held: Vec<_> = held.map(|(name, digest)| (name.to_string(), digest)).collect();
    table_digest(held.iter().map(|(name, digest)| (name.as_str(), *digest)))
}

#[cfg(test)]
mod tests;
