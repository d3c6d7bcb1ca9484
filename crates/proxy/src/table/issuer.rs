//! Whose tokens are believed: the issuers of tenants, and control's signing keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use identity::{KeySetError, SignerKey, Verifier};
use model::{Digest, IssuerId, IssuerSpec, SignerSpec, TenantId};

/// An issuer with its keys, read once.
pub(crate) struct Issuer {
    pub(crate) spec: IssuerSpec,
    pub(crate) verifier: Verifier,
    /// Of everything but the keys and how long they may be trusted: keys come and go, and each token has its own.
    pub(crate) likeness: Digest,
}

impl Issuer {
    pub(super) fn new(mut spec: IssuerSpec) -> Result<Self, KeySetError> {
        let verifier = Verifier::new(&spec)?;
        let (keys, until) = (std::mem::take(&mut spec.keys), std::mem::take(&mut spec.keys_until));
        let likeness = spec.digest();
        (spec.keys, spec.keys_until) = (keys, until);
        Ok(Self { spec, verifier, likeness })
    }
}

/// A key of control's, read once.
pub(crate) struct Signer {
    pub(crate) spec: SignerSpec,
    pub(crate) key: SignerKey,
}

impl Signer {
    pub(super) fn new(spec: SignerSpec) -> Self {
        Self { key: SignerKey::new(&spec), spec }
    }
}

/// All issuers.
#[derive(Clone, Default)]
pub(crate) struct Issuers {
    issuers: BTreeMap<IssuerId, Arc<Issuer>>,
    /// Those whose access tokens are taken, the oldest first.
    of_tenants: HashMap<TenantId, Vec<Arc<Issuer>>>,
}

impl Issuers {
    pub(super) fn get(&self, id: IssuerId) -> Option<&Arc<Issuer>> {
        self.issuers.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Issuer>> {
        self.issuers.values()
    }

    pub(super) fn of(&self, tenant: TenantId) -> impl Iterator<Item = &Arc<Issuer>> {
        self.of_tenants.get(&tenant).into_iter().flatten()
    }

    pub(super) fn put(&mut self, issuer: Issuer) {
        self.issuers.insert(issuer.spec.id, Arc::new(issuer));
        self.collect();
    }

    pub(super) fn remove(&mut self, id: IssuerId) {
        self.issuers.remove(&id);
        self.collect();
    }

    /// Keeps only those issuers; nothing is copied if that is all of them.
    pub(super) fn retain(issuers: &mut Arc<Self>, stays: impl Fn(&IssuerSpec) -> bool) {
        if issuers.iter().any(|issuer| !stays(&issuer.spec)) {
            let issuers = Arc::make_mut(issuers);
            issuers.issuers.retain(|_, issuer| stays(&issuer.spec));
            issuers.collect();
        }
    }

    fn collect(&mut self) {
        self.of_tenants.clear();
        for issuer in self.issuers.values().filter(|issuer| issuer.spec.mcp) {
            self.of_tenants.entry(issuer.spec.tenant).or_default().push(issuer.clone());
        }
    }
}
