//! Which connections there are, found by server and holder. In pieces, so that a new token copies one of them and not
//! the connections of everybody.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, LazyLock};

use model::{Binding, ConnectionId, ConnectionSpec, Digest, Holder, Scope, ServerId, TenantId, UserId};

/// Pieces of a map.
const PIECES: usize = 256;

/// The connections that were pushed. Copying it copies no piece.
#[derive(Clone, Default)]
pub(crate) struct Connections {
    by_id: Pieces<ConnectionId, Arc<ConnectionSpec>>,
    by_holder: Pieces<(ServerId, HolderName), ConnectionId>,
}

/// Whom a connection is for, as callers are known: by the department's name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum HolderName {
    Global,
    Department(Box<str>),
    User(UserId),
}

impl HolderName {
    fn of(spec: &ConnectionSpec) -> Self {
        match spec.holder {
            Holder::Global => Self::Global,
            Holder::Department(_) => Self::Department(spec.department.as_deref().unwrap_or_default().into()),
            Holder::User(id) => Self::User(id),
        }
    }
}

impl Connections {
    pub(super) fn put(&mut self, spec: ConnectionSpec) {
        self.remove(spec.id);
        self.by_holder.insert((spec.server, HolderName::of(&spec)), spec.id);
        self.by_id.insert(spec.id, Arc::new(spec));
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        let Some(spec) = self.by_id.remove(&id) else { return };
        let holder = (spec.server, HolderName::of(&spec));
        // Another one may have taken its place before it was removed.
        if self.by_holder.get(&holder) == Some(&id) {
            self.by_holder.remove(&holder);
        }
    }

    pub(super) fn retain(&mut self, stays: impl Fn(&ConnectionSpec) -> bool) {
        let gone: Vec<ConnectionId> = self.iter().filter(|spec| !stays(spec)).map(|spec| spec.id).collect();
        gone.into_iter().for_each(|id| self.remove(id));
    }

    pub(super) fn digests(&self) -> impl Iterator<Item = (ConnectionId, Digest)> {
        self.iter().map(|spec| (spec.id, spec.digest()))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<ConnectionSpec>> {
        self.by_id.values()
    }

    /// Connections that are not the same in both; of those that are in both, either version.
    pub(super) fn differences<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Arc<ConnectionSpec>> {
        let pieces = self.by_id.0.iter().zip(&other.by_id.0).filter(|(one, two)| !Arc::ptr_eq(one, two));
        pieces.flat_map(|(one, two)| {
            let not_in = |piece: &'a HashMap<ConnectionId, Arc<ConnectionSpec>>| {
                move |spec: &&'a Arc<ConnectionSpec>| piece.get(&spec.id).is_none_or(|other| other != *spec)
            };
            one.values().filter(not_in(two)).chain(two.values().filter(not_in(one)))
        })
    }

    pub(crate) fn get(&self, id: ConnectionId) -> Option<&Arc<ConnectionSpec>> {
        self.by_id.get(&id)
    }

    /// The connection that serves a caller: of the first accepted scope in which there is one; of several departments
    /// the first in the caller's order.
    pub(crate) fn serving(
        &self,
        tenant: TenantId,
        server: ServerId,
        binding: &Binding,
        user: Option<UserId>,
        departments: &[&str],
    ) -> Option<&Arc<ConnectionSpec>> {
        let find = |holder| {
            let spec = self.by_id.get(self.by_holder.get(&(server, holder))?)?;
            (spec.tenant == tenant).then_some(spec)
        };
        binding.scopes.iter().find_map(|scope| match scope {
            Scope::Global => find(HolderName::Global),
            Scope::User => find(HolderName::User(user?)),
            Scope::Department => departments.iter().find_map(|name| find(HolderName::Department((*name).into()))),
        })
    }
}

/// A map in pieces that are shared until they are changed.
struct Pieces<K, V>(Box<[Arc<HashMap<K, V>>]>);

impl<K, V> Clone for Pieces<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Default for Pieces<K, V> {
    fn default() -> Self {
        Self((0..PIECES).map(|_| Arc::default()).collect())
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Pieces<K, V> {
    fn at(&self, key: &K) -> usize {
        static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        HASHER.hash_one(key) as usize % PIECES
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.0.get(self.at(key))?.get(key)
    }

    fn insert(&mut self, key: K, value: V) {
        let at = self.at(&key);
        if let Some(piece) = self.0.get_mut(at) {
            Arc::make_mut(piece).insert(key, value);
        }
    }

    fn remove(&mut self, key: &K) -> Option<V> {
        let at = self.at(key);
        let piece = self.0.get_mut(at)?;
        // Nothing to remove is nothing to copy.
        piece.contains_key(key).then(|| Arc::make_mut(piece).remove(key))?
    }

    fn values(&self) -> impl Iterator<Item = &V> {
        self.0.iter().flat_map(|piece| piece.values())
    }
}

#[cfg(test)]
mod tests {
    use model::{ConnectionStatus, DepartmentId};
    use uuid::Uuid;

    use super::*;

    const TENANT: TenantId = TenantId(Uuid::from_u128(1));
    const SERVER: ServerId = ServerId(Uuid::from_u128(2));

    fn connection(id: u128, holder: Holder, department: Option<&str>) -> ConnectionSpec {
        ConnectionSpec {
            id: ConnectionId(Uuid::from_u128(id)),
            tenant: TENANT,
            server: SERVER,
            holder,
            department: department.map(str::to_owned),
            status: ConnectionStatus::Active,
            credential_version: 1,
            token_generation: 1,
        }
    }

    fn user(id: u128) -> UserId {
        UserId(Uuid::from_u128(id))
    }

    #[test]
    fn the_first_accepted_scope_with_a_connection_serves() {
        let mut all = Connections::default();
        let department = |id| Holder::Department(DepartmentId(Uuid::from_u128(id)));
        all.put(connection(10, Holder::Global, None));
        all.put(connection(11, department(1), Some("sales")));
        all.put(connection(12, department(2), Some("law")));
        all.put(connection(13, Holder::User(user(7)), None));
        let cascade = [Scope::User, Scope::Department, Scope::Global];
        type Line<'a> = (&'a [Scope], Option<u128>, &'a [&'a str], Option<u128>);
        let table: [Line<'_>; 8] = [
            (&cascade, Some(7), &["law"], Some(13)),
            (&cascade, Some(8), &["art", "law", "sales"], Some(12)),
            (&cascade, None, &[], Some(10)),
            (&[Scope::User], Some(8), &["law"], None),
            (&[Scope::User], None, &[], None),
            (&[Scope::Department], Some(7), &["art"], None),
            (&[Scope::Global, Scope::User], Some(7), &[], Some(10)),
            (&[], Some(7), &["law"], None),
        ];
        for (scopes, caller, departments, serves) in table {
            let binding = Binding { scopes: scopes.to_vec(), ..Binding::default() };
            let found = all.serving(TENANT, SERVER, &binding, caller.map(user), departments);
            assert_eq!(found.map(|spec| spec.id.0.as_u128()), serves, "{scopes:?} {caller:?} {departments:?}");
        }
    }

    #[test]
    fn another_tenants_connection_serves_nobody_here() {
        let mut all = Connections::default();
        all.put(connection(10, Holder::Global, None));
        let binding = Binding { scopes: vec![Scope::Global], ..Binding::default() };
        assert!(all.serving(TenantId(Uuid::from_u128(9)), SERVER, &binding, None, &[]).is_none());
    }

    #[test]
    fn what_replaces_a_connection_is_found_and_what_is_gone_is_not() {
        let mut all = Connections::default();
        let binding = Binding { scopes: vec![Scope::Global], ..Binding::default() };
        let serving =
            |all: &Connections| all.serving(TENANT, SERVER, &binding, None, &[]).map(|spec| spec.id.0.as_u128());
        all.put(connection(10, Holder::Global, None));
        let before = all.clone();
        all.put(connection(11, Holder::Global, None));
        all.remove(ConnectionId(Uuid::from_u128(10)));
        assert_eq!((serving(&all), serving(&before)), (Some(11), Some(10)));
        all.retain(|_| false);
        assert_eq!((serving(&all), all.iter().count()), (None, 0));
    }
}
