//! Users as tokens name them: by id, and in each tenant by what its issuer calls them.

use std::collections::HashMap;
use std::sync::Arc;

use model::{TenantId, UserId, UserSpec};

/// All users that tokens may be about.
#[derive(Clone, Default)]
pub(super) struct People {
    users: HashMap<UserId, Arc<UserSpec>>,
    /// Of each tenant; copied only by a change of that tenant's users.
    names: HashMap<TenantId, Arc<Names>>,
}

#[derive(Clone, Default)]
struct Names {
    logins: HashMap<Arc<str>, UserId>,
    external_ids: HashMap<Arc<str>, UserId>,
}

/// Why nobody is called so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// No record has this external id or this login.
    Nobody,
    /// The login is that of somebody with another external id.
    Taken,
}

impl People {
    pub(super) fn get(&self, id: UserId) -> Option<&Arc<UserSpec>> {
        self.users.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<UserSpec>> {
        self.users.values()
    }

    /// Whom an issuer means: who has its id for them, else who has the login and no such id yet.
    pub(super) fn called(
        &self,
        tenant: TenantId,
        external_id: &str,
        login: Option<&str>,
    ) -> Result<&Arc<UserSpec>, Unknown> {
        let names = self.names.get(&tenant).ok_or(Unknown::Nobody)?;
        if let Some(user) = names.external_ids.get(external_id).and_then(|id| self.users.get(id)) {
            return Ok(user);
        }
        let user = login.and_then(|login| names.logins.get(login)).and_then(|id| self.users.get(id));
        match user {
            None => Err(Unknown::Nobody),
            Some(user) if user.external_id.is_none() => Ok(user),
            Some(_) => Err(Unknown::Taken),
        }
    }

    /// Takes new versions of users. Names are left first, so that two users may trade theirs.
    pub(super) fn put(&mut self, users: Vec<UserSpec>) {
        for user in &users {
            self.remove(user.id);
        }
        for user in users {
            let names = Arc::make_mut(self.names.entry(user.tenant).or_default());
            names.logins.insert(user.login.as_str().into(), user.id);
            if let Some(external_id) = &user.external_id {
                names.external_ids.insert(external_id.as_str().into(), user.id);
            }
            self.users.insert(user.id, Arc::new(user));
        }
    }

    pub(super) fn remove(&mut self, id: UserId) {
        let Some(user) = self.users.remove(&id) else { return };
        let Some(names) = self.names.get_mut(&user.tenant) else { return };
        let names = Arc::make_mut(names);
        // Somebody else may have the name by now.
        let leave = |names: &mut HashMap<Arc<str>, UserId>, name: &str| {
            if names.get(name) == Some(&id) {
                names.remove(name);
            }
        };
        leave(&mut names.logins, &user.login);
        if let Some(external_id) = &user.external_id {
            leave(&mut names.external_ids, external_id);
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
        people.users.retain(|_, user| known(user.tenant));
    }
}

#[cfg(test)]
mod tests {
    use model::KeyRole;
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
