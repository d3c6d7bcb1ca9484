//! Users as tokens name them: by id, and in each tenant by what its issuer calls them.

use std::collections::HashMap;
use std::sync::Arc;

use model::{Digest, KeyRole, TenantId, UserId, UserSpec};

/// All users that tokens may be about.
#[derive(Clone, Default)]
pub(crate) struct People {
    users: HashMap<UserId, Known>,
    /// Of each tenant; copied only by a change of that tenant's users.
    names: HashMap<TenantId, Arc<Names>>,
}

/// A user, and the digest that is told of them: all are told at each revocation, so it is made once.
#[derive(Clone)]
struct Known {
    spec: Arc<UserSpec>,
    digest: Digest,
}

#[derive(Clone, Default)]
struct Names {
    logins: Holders,
    external_ids: Holders,
}

/// Who is called what. A deleted user keeps the names, of which somebody else may have one by now: all of
/// them are known, so that the end of one leaves the others theirs.
#[derive(Clone, Default)]
struct Holders(HashMap<Arc<str>, Vec<UserId>>);

impl Holders {
    fn add(&mut self, name: &str, id: UserId) {
        self.0.entry(name.into()).or_default().push(id);
    }

    fn remove(&mut self, name: &str, id: UserId) {
        let Some(holders) = self.0.get_mut(name) else { return };
        holders.retain(|holder| *holder != id);
        if holders.is_empty() {
            self.0.remove(name);
        }
    }

    fn of(&self, name: &str) -> &[UserId] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }
}

/// Why nobody is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// No record has this external id or this login.
    Nobody,
    /// The login is that of somebody with another external id, or of an admin.
    Taken,
}

impl People {
    pub(crate) fn get(&self, id: UserId) -> Option<&Arc<UserSpec>> {
        self.users.get(&id).map(|known| &known.spec)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<UserSpec>> {
        self.users.values().map(|known| &known.spec)
    }

    /// The digests of all.
    pub(super) fn digests(&self) -> impl Iterator<Item = (UserId, Digest)> {
        self.users.iter().map(|(id, known)| (*id, known.digest))
    }

    /// Whom an issuer means: who has its id for them, else who has the login, no such id yet, and is no admin. Somebody active
    /// before somebody who is not, who keeps strangers out of a name that nobody else has.
    pub(super) fn called(
        &self,
        tenant: TenantId,
        external_id: &str,
        login: Option<&str>,
    ) -> Result<&Arc<UserSpec>, Unknown> {
        let names = self.names.get(&tenant).ok_or(Unknown::Nobody)?;
        if let Some(user) = self.first(names.external_ids.of(external_id)) {
            return Ok(user);
        }
        match login.and_then(|login| self.first(names.logins.of(login))) {
            None => Err(Unknown::Nobody),
            // A login is what the issuer lets people be called: nobody becomes an admin by it.
            Some(user) if user.external_id.is_none() && user.role < KeyRole::TenantAdmin => Ok(user),
            Some(_) => Err(Unknown::Taken),
        }
    }

    /// The same of them whatever the order in which they came: the oldest active one, else the oldest.
    fn first(&self, ids: &[UserId]) -> Option<&Arc<UserSpec>> {
        ids.iter().filter_map(|id| self.get(*id)).min_by_key(|user| (!user.active, user.id))
    }

    /// Takes new versions of users.
    pub(super) fn put(&mut self, users: Vec<UserSpec>) {
        for user in users {
            self.remove(user.id);
            let names = Arc::make_mut(self.names.entry(user.tenant).or_default());
            names.logins.add(&user.login, user.id);
            if let Some(external_id) = &user.external_id {
                names.external_ids.add(external_id, user.id);
            }
            self.users.insert(user.id, Known { digest: user.digest(), spec: Arc::new(user) });
        }
    }

    pub(super) fn remove(&mut self, id: UserId) {
        let Some(Known { spec: user, .. }) = self.users.remove(&id) else { return };
        let Some(names) = self.names.get_mut(&user.tenant) else { return };
        let names = Arc::make_mut(names);
        names.logins.remove(&user.login, id);
        if let Some(external_id) = &user.external_id {
            names.external_ids.remove(external_id, id);
        }
    }

    /// Keeps only those users; nothing is copied if that is all of them.
    pub(super) fn retain(people: &mut Arc<Self>, stays: impl Fn(&UserSpec) -> bool) {
        let gone: Vec<UserId> = people.iter().filter(|user| !stays(user)).map(|user| user.id).collect();
        if !gone.is_empty() {
            let people = Arc::make_mut(people);
            gone.into_iter().for_each(|id| people.remove(id));
        }
    }

    /// A tenant that is gone takes its users along.
    pub(super) fn retain_tenants(people: &mut Arc<Self>, known: impl Fn(TenantId) -> bool) {
        if people.names.keys().all(|tenant| known(*tenant)) {
            return;
        }
        let people = Arc::make_mut(people);
        people.names.retain(|tenant, _| known(*tenant));
        people.users.retain(|_, user| known(user.spec.tenant));
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn user(id: u128, tenant: u128, login: &str, external_id: Option<&str>) -> UserSpec {
        UserSpec {
            id: UserId(Uuid::from_u128(id)),
            tenant: TenantId(Uuid::from_u128(tenant)),
            login: login.to_owned(),
            external_id: external_id.map(str::to_owned),
            role: KeyRole::User,
            active: true,
            departments: Vec::new(),
        }
    }

    fn called(people: &People, tenant: u128, external_id: &str, login: Option<&str>) -> Result<u128, Unknown> {
        people.called(TenantId(Uuid::from_u128(tenant)), external_id, login).map(|user| user.id.0.as_u128())
    }

    #[test]
    fn an_external_id_counts_before_a_login_and_nobody_is_taken_for_another() {
        let mut people = People::default();
        people.put(vec![
            user(1, 1, "ann", Some("x-ann")),
            user(2, 1, "bob", None),
            user(3, 2, "ann", None),
            user(4, 1, "eve", Some("x-eve")),
        ]);
        for (tenant, external_id, login, expected) in [
            (1, "x-ann", Some("bob"), Ok(1)),
            (1, "x-bob", Some("bob"), Ok(2)),
            (1, "x-other", Some("ann"), Err(Unknown::Taken)),
            (1, "x-other", Some("carl"), Err(Unknown::Nobody)),
            (1, "x-other", None, Err(Unknown::Nobody)),
            (1, "X-ANN", None, Err(Unknown::Nobody)),
            (2, "x-ann", Some("ann"), Ok(3)),
            (2, "x-ann", None, Err(Unknown::Nobody)),
            (3, "x-ann", Some("ann"), Err(Unknown::Nobody)),
        ] {
            assert_eq!(called(&people, tenant, external_id, login), expected, "{tenant} {external_id} {login:?}");
        }
    }

    #[test]
    fn a_deleted_users_names_are_another_ones_too() {
        let deleted = |id| UserSpec { active: false, ..user(id, 1, "ann", Some("x-ann")) };
        let (old, new) = (deleted(1), user(2, 1, "ann", Some("x-ann")));
        for order in [vec![old.clone(), new.clone()], vec![new.clone(), old.clone()]] {
            let mut people = People::default();
            people.put(order);
            assert_eq!(called(&people, 1, "x-ann", None), Ok(2), "the live one, whoever came last");
            // Who was deleted is forgotten: the live one is still called so.
            let mut without_old = people.clone();
            without_old.remove(old.id);
            assert_eq!(called(&without_old, 1, "x-ann", Some("ann")), Ok(2));
            // The live one is renamed: the name leads to the deleted one, and to no stranger.
            people.put(vec![user(2, 1, "ann-2", Some("y"))]);
            assert_eq!(called(&people, 1, "x-ann", None), Ok(1));
            people.put(vec![deleted(3)]);
            people.remove(old.id);
            assert_eq!(called(&people, 1, "x-ann", None), Ok(3));
        }
        let mut people = People::default();
        let nameless = |id, active| UserSpec { active, ..user(id, 1, "bob", None) };
        people.put(vec![nameless(1, false), nameless(2, true), nameless(3, false)]);
        assert_eq!(called(&people, 1, "x-bob", Some("bob")), Ok(2));
    }

    #[test]
    fn a_login_alone_makes_nobody_an_admin() {
        for (role, by_login) in [
            (KeyRole::Viewer, Ok(1)),
            (KeyRole::User, Ok(1)),
            (KeyRole::TenantAdmin, Err(Unknown::Taken)),
            (KeyRole::PlatformAdmin, Err(Unknown::Taken)),
        ] {
            let mut people = People::default();
            people.put(vec![UserSpec { role, ..user(1, 1, "ann", None) }]);
            assert_eq!(called(&people, 1, "x", Some("ann")), by_login, "{role:?}");
            people.put(vec![UserSpec { role, ..user(1, 1, "ann", Some("x")) }]);
            assert_eq!(called(&people, 1, "x", Some("ann")), Ok(1), "{role:?}: an admin has said so");
        }
    }

    #[test]
    fn names_go_with_their_users_and_may_be_traded() {
        let mut people = Arc::new(People::default());
        Arc::make_mut(&mut people).put(vec![user(1, 1, "ann", Some("a")), user(2, 1, "bob", Some("b"))]);
        let before = people.clone();
        Arc::make_mut(&mut people).put(vec![user(1, 1, "bob", Some("b")), user(2, 1, "ann", Some("a"))]);
        assert_eq!((called(&people, 1, "a", None), called(&people, 1, "b", None)), (Ok(2), Ok(1)));
        assert_eq!(called(&before, 1, "a", None), Ok(1), "the table before is as it was");
        Arc::make_mut(&mut people).remove(UserId(Uuid::from_u128(2)));
        assert_eq!(
            (called(&people, 1, "a", Some("ann")), called(&people, 1, "b", None)),
            (Err(Unknown::Nobody), Ok(1))
        );
        People::retain(&mut people, |user| user.login != "bob");
        assert_eq!(people.iter().count(), 0);
        People::retain_tenants(&mut people, |_| false);
        assert!(people.names.is_empty());
    }
}
