//! One tenant as requests see it: limits in use, mounts by name, and who listens.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TenantSpec;

use super::{Mount, Toolset};
use crate::hub::Hub;
use crate::limits::TenantUse;

/// A tenant in one state of the table.
pub(crate) struct Tenant {
    pub(crate) spec: TenantSpec,
    /// What is under way, against the limits as they are now.
    pub(crate) usage: Arc<TenantUse>,
    /// Streams, subscriptions and the tenant's epoch; lives as long as the tenant.
    pub(crate) hub: Arc<Hub>,
    /// By slug; another tenant's mounts are not in here, so they look absent.
    pub(crate) mounts: BTreeMap<Box<str>, Arc<Mount>>,
    /// Those of them that take a credential.
    pub(crate) bound: Box<[Arc<Mount>]>,
    /// By slug.
    pub(crate) toolsets: BTreeMap<Box<str>, Arc<Toolset>>,
}

impl Tenant {
    pub(super) fn new(spec: TenantSpec, before: Option<&Self>) -> Self {
        let usage = match before {
            Some(before) if before.spec.limits == spec.limits => before.usage.clone(),
            Some(before) => Arc::new(before.usage.limited(spec.limits)),
            None => Arc::new(TenantUse::new(spec.limits)),
        };
        // What else belongs to it is collected when the change is finished.
        let hub = before.map_or_else(Default::default, |before| before.hub.clone());
        Self { spec, usage, hub, mounts: BTreeMap::new(), bound: Box::default(), toolsets: BTreeMap::new() }
    }

    pub(super) fn with(
        &self,
        mounts: BTreeMap<Box<str>, Arc<Mount>>,
        toolsets: BTreeMap<Box<str>, Arc<Toolset>>,
    ) -> Self {
        let bound = mounts.values().filter(|mount| mount.spec.binding.is_some()).cloned().collect();
        Self { spec: self.spec.clone(), usage: self.usage.clone(), hub: self.hub.clone(), mounts, bound, toolsets }
    }

    /// Tells those who listen at toolsets what these hold now; streams at one that is gone end.
    pub(super) fn toolsets_changed(&self) {
        self.hub.toolsets_changed(|id| self.toolsets.values().find(|toolset| toolset.spec.id == id).map(Arc::as_ref));
    }

    /// Tells those who listen of every mount that came, went or changed since `before`; streams on a
    /// server that is gone end.
    pub(super) fn mounts_changed(&self, before: Option<&Self>) {
        self.hub.end_streams_of_absent(|server| self.mounts.values().any(|mount| mount.spec.id == server));
        self.hub.bump();
        let none = BTreeMap::new();
        let before = before.map_or(&none, |before| &before.mounts);
        let same = |left: &BTreeMap<Box<str>, Arc<Mount>>, mount: &Mount| {
            left.get(mount.name()).is_some_and(|other| other.uid == mount.uid)
        };
        let gone = before.values().filter(|mount| !same(&self.mounts, mount));
        for mount in gone.chain(self.mounts.values().filter(|mount| !same(before, mount))) {
            self.hub.lists_changed(Hub::ALL_LISTS, mount, None);
        }
    }
}
