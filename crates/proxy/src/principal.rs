//! Who is calling: from the `Authorization` header to a proof that nothing else can make.
//!
//! What a bearer looks like decides alone which way judges it, and that way's word is final: nothing that
//! failed is tried as something else.

mod token;

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use mcp::ListKind;
use model::{KeyRole, KeyTextError, KeyVerifier, PresentedKey, Principal, Subject, TenantId, UserId, UserSpec};
use subtle::ConstantTimeEq;

use self::token::Verified;
pub(crate) use self::token::{Tokens, looks_like_token};
use crate::client::Client;
use crate::credentials::{Served, Unserved};
use crate::fault::Fault;
use crate::hosts::Hosts;
use crate::limits::Rate;
use crate::path::Target;
use crate::table::{Key, Listed, Mount, Table, Tenant};

/// Longest Authorization header that is looked at: a token, its scheme and a little air.
const MAX_HEADER: usize = identity::MAX_TOKEN + 16;

/// Somebody who showed a valid key or token. Only [`authenticate`] and, for what control asks for,
/// [`Authenticated::by_control`] make one.
#[derive(Clone)]
pub(crate) struct Authenticated {
    pub(crate) tenant: Arc<Tenant>,
    caller: Caller,
}

/// What lets somebody in. Streams and sessions with upstreams keep it, to learn whether it still does.
#[derive(Clone)]
pub(crate) enum Caller {
    /// A key, in its own name.
    Key(Arc<Key>),
    /// A user, by a token or by control's word.
    Person(Arc<Person>),
}

/// A user as the caller of one request.
pub(crate) struct Person {
    subject: Subject,
    /// `None` for a user who signed in at control.
    token: Option<Arc<Verified>>,
    /// The user's record; `None` where an issuer's word suffices.
    user: Option<Arc<UserSpec>>,
    /// The key whose holder acts for the user.
    acting: Option<Arc<Key>>,
    role: KeyRole,
    rate: Option<Arc<Rate>>,
}

/// Where a request goes, as far as it decides which tokens are meant for it.
#[derive(Clone, Copy)]
pub(crate) struct Endpoint<'a> {
    /// The tenant that the path names.
    pub(crate) tenant: Option<&'a str>,
    /// `None` for the internal calls, which take keys only.
    pub(crate) target: Option<Target<'a>>,
    /// What our URLs begin with, for these headers.
    pub(crate) hosts: &'a Hosts,
    pub(crate) headers: &'a HeaderMap,
}

/// What requests that show tokens share.
pub(crate) struct Judges<'a> {
    pub(crate) table: &'a Table,
    pub(crate) tokens: &'a Tokens,
}

/// Checks the key or token of a request against the table; does no IO. `now` is in microseconds since 1970.
/// Every way to fail ends in 401 or 403, never in another identity.
pub(crate) fn authenticate(judges: &Judges<'_>, endpoint: &Endpoint<'_>, now: i64) -> Result<Authenticated, Fault> {
    let bearer = bearer(endpoint.headers)?;
    if bearer.starts_with("ghk_") {
        return by_key(judges.table, bearer, now);
    }
    match endpoint.target {
        Some(target) if looks_like_token(bearer) => judges.by_token(bearer, endpoint, target, now),
        _ => Err(Fault::invalid("unauthenticated")),
    }
}

/// The one bearer of a request.
fn bearer(headers: &HeaderMap) -> Result<&str, Fault> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Fault::unauthenticated());
    };
    let text = value.to_str().ok().filter(|text| text.len() <= MAX_HEADER).ok_or_else(Fault::unauthenticated)?;
    let (scheme, bearer) = text.split_once(' ').ok_or_else(Fault::unauthenticated)?;
    match (scheme.eq_ignore_ascii_case("bearer"), bearer.trim()) {
        (false, _) | (true, "") => Err(Fault::unauthenticated()),
        (true, bearer) => Ok(bearer),
    }
}

fn by_key(table: &Table, text: &str, now: i64) -> Result<Authenticated, Fault> {
    let presented: PresentedKey = text.parse().map_err(|error| match error {
        KeyTextError::Checksum => Fault::invalid("malformed_key"),
        KeyTextError::Shape => Fault::invalid("unauthenticated"),
    })?;
    let key = table.key(presented.id).ok_or_else(|| Fault::invalid("unauthenticated"))?;
    let same = key.verifier.sha256.ct_eq(&presented.sha256);
    if !bool::from(same) || is_over(&key.verifier, now) {
        return Err(Fault::invalid("unauthenticated"));
    }
    let tenant = table.tenant(key.verifier.tenant).ok_or_else(|| Fault::invalid("unauthenticated"))?;
    if !key.verifier.scopes.mcp {
        return Err(Fault::insufficient(identity::SCOPE));
    }
    Ok(Authenticated { tenant: tenant.clone(), caller: Caller::Key(key.clone()) })
}

fn is_over(key: &KeyVerifier, now: i64) -> bool {
    key.expires_at.is_some_and(|at| at <= now)
}

impl Authenticated {
    /// For a command of control's: the principal was authenticated there, the table knows the rest.
    pub(crate) fn by_control(table: &Table, principal: &Principal) -> Option<Self> {
        let tenant = table.tenant(principal.tenant)?;
        let (caller, may) = match principal.key {
            Some(id) => {
                let key = table.key(id)?;
                let own = key.verifier.tenant == principal.tenant;
                match principal.user.filter(|user| key.verifier.user != Some(*user)) {
                    None => (Caller::Key(key.clone()), own || key.verifier.role == KeyRole::PlatformAdmin),
                    // Another user than the key's own: its holder acts for them, as with a token.
                    Some(user) => {
                        let user = table.user(user).filter(|user| user.active && user.tenant == principal.tenant)?;
                        let person = Person {
                            subject: Subject::on_behalf(id, user.id),
                            token: None,
                            user: Some(user.clone()),
                            acting: Some(key.clone()),
                            role: user.role.min(KeyRole::User),
                            rate: None,
                        };
                        (Caller::Person(Arc::new(person)), own && key.verifier.scopes.act_as)
                    }
                }
            }
            None => {
                let user = table.user(principal.user?).filter(|user| user.active)?;
                let own = user.tenant == principal.tenant;
                let person = Person {
                    subject: Subject::of_user(user.id),
                    token: None,
                    user: Some(user.clone()),
                    acting: None,
                    role: user.role,
                    rate: None,
                };
                (Caller::Person(Arc::new(person)), own || user.role == KeyRole::PlatformAdmin)
            }
        };
        may.then(|| Self { tenant: tenant.clone(), caller })
    }

    /// The same admin acting in another tenant, if the role allows it.
    pub(crate) fn in_tenant(self, tenant: &Arc<Tenant>) -> Option<Self> {
        let own = self.tenant.spec.id == tenant.spec.id;
        (own || self.role() == KeyRole::PlatformAdmin).then(|| Self { tenant: tenant.clone(), caller: self.caller })
    }

    /// Who this is if what let them in is shown again now; `None` if it lets nobody in any more.
    pub(crate) fn again(&self, table: &Table, now: i64) -> Option<Self> {
        Self::of_caller(table, self.tenant.spec.id, &self.caller, now)
    }

    /// The same, of whom only the caller was kept.
    pub(crate) fn of_caller(table: &Table, tenant: TenantId, caller: &Caller, now: i64) -> Option<Self> {
        let tenant = table.tenant(tenant)?.clone();
        let caller = caller.again(table, now).filter(Caller::speaks_mcp)?;
        Some(Self { tenant, caller })
    }

    /// What sessions and streams are bound to.
    pub(crate) fn subject(&self) -> Subject {
        self.caller.subject()
    }

    /// What let this caller in.
    pub(crate) fn caller(&self) -> &Caller {
        &self.caller
    }

    /// The most that this caller may do.
    pub(crate) fn role(&self) -> KeyRole {
        self.caller.role()
    }

    /// The user who calls or is called for, if one is known here.
    pub(crate) fn user(&self) -> Option<UserId> {
        self.caller.user()
    }

    /// What the user is called.
    pub(crate) fn login(&self) -> Option<&str> {
        self.caller.login()
    }

    /// The user's departments, in the user's order.
    pub(crate) fn departments(&self) -> Vec<&str> {
        self.caller.departments()
    }

    /// As whom a mount is used.
    pub(crate) fn served(&self, mount: &Mount) -> Result<Served, Unserved> {
        self.tenant.hub.served(mount, Some(&self.caller))
    }

    /// What is known of the caller's list of a mount without asking anybody.
    pub(crate) fn known(&self, mount: &Mount, client: Client, kind: ListKind) -> Option<Arc<Listed>> {
        mount.known(self.served(mount).ok()?.part, mount.terms(client), kind)
    }

    /// When what was shown ends, microseconds since 1970.
    pub(crate) fn expires_at(&self) -> Option<i64> {
        match &self.caller {
            Caller::Key(key) => key.verifier.expires_at,
            Caller::Person(person) => {
                let token = person.token.as_ref().map(|token| token.ends_at());
                let acting = person.acting.as_ref().and_then(|key| key.verifier.expires_at);
                token.into_iter().chain(acting).min()
            }
        }
    }

    /// How often this caller may ask; `None` for who comes through control, which counts by itself.
    pub(crate) fn rate(&self) -> Option<&Rate> {
        match &self.caller {
            Caller::Key(key) => Some(&key.rate),
            Caller::Person(person) => person.rate.as_deref(),
        }
    }

    /// Whether the caller may use a server of this name.
    pub(crate) fn may_use(&self, name: &str) -> bool {
        self.caller.may_use(name)
    }

    /// A mount of the caller's tenant that the caller may use; another one looks absent.
    pub(crate) fn mount(&self, name: &str) -> Option<&Arc<Mount>> {
        if self.may_use(name) { self.tenant.mounts.get(name) } else { None }
    }

    /// All mounts that the caller may use, in the order of their names.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = &Arc<Mount>> {
        self.tenant.mounts.values().filter(|mount| self.may_use(mount.name()))
    }

    /// What tells the views of two callers apart.
    pub(crate) fn view(&self) -> Option<Arc<[Box<str>]>> {
        let servers = self.caller.servers()?;
        Some(servers.iter().map(|name| name.as_str().into()).collect())
    }
}

impl Caller {
    /// What sessions and streams are bound to.
    pub(crate) fn subject(&self) -> Subject {
        match self {
            Self::Key(key) => Subject::of_key(key.verifier.id),
            Self::Person(person) => person.subject,
        }
    }

    /// The user who calls or is called for, if one is known here.
    pub(crate) fn user(&self) -> Option<UserId> {
        match self {
            Self::Key(key) => key.verifier.user,
            Self::Person(person) => person.user.as_ref().map(|user| user.id),
        }
    }

    /// What the user is called.
    pub(crate) fn login(&self) -> Option<&str> {
        let Self::Person(person) = self else { return None };
        let recorded = person.user.as_ref().map(|user| user.login.as_str());
        recorded.or_else(|| person.token.as_ref()?.login())
    }

    /// The user's departments, in the user's order.
    pub(crate) fn departments(&self) -> Vec<&str> {
        let Self::Person(person) = self else { return Vec::new() };
        let recorded = person.user.as_ref().map_or(&[][..], |user| &user.departments);
        match &person.token {
            Some(token) => token.departments(recorded),
            None => recorded.iter().map(String::as_str).collect(),
        }
    }

    /// The nouns of it, for questions about a tenant.
    pub(crate) fn principal(&self, tenant: TenantId) -> Principal {
        let key = match self {
            Self::Key(key) => Some(key.verifier.id),
            Self::Person(person) => person.acting.as_ref().map(|key| key.verifier.id),
        };
        Principal { tenant, user: self.user(), key }
    }

    fn role(&self) -> KeyRole {
        match self {
            Self::Key(key) => key.verifier.role,
            Self::Person(person) => person.role,
        }
    }

    /// Names of the servers that may be used; `None` for all of the tenant's.
    fn servers(&self) -> Option<&[String]> {
        let key = match self {
            Self::Key(key) => key,
            Self::Person(person) => person.acting.as_ref()?,
        };
        key.verifier.servers.as_deref()
    }

    fn may_use(&self, name: &str) -> bool {
        self.servers().is_none_or(|servers| servers.iter().any(|server| server == name))
    }

    /// Who this would be if what let them in were shown again now; `None` if it lets nobody in any more.
    /// At the beginning of time (`i64::MIN`) nothing has expired.
    fn again(&self, table: &Table, now: i64) -> Option<Self> {
        match self {
            Self::Key(key) => {
                let (known, shown) = (table.key(key.verifier.id)?, &key.verifier);
                let same = known.verifier.sha256 == shown.sha256 && known.verifier.tenant == shown.tenant;
                (same && !is_over(&known.verifier, now)).then(|| Self::Key(known.clone()))
            }
            Self::Person(person) => match &person.token {
                Some(token) => {
                    let standing = token.standing(table, now)?;
                    Some(Self::Person(Arc::new(standing.person(token.clone(), person.rate.clone()))))
                }
                None => {
                    let user = table.user(person.user.as_ref()?.id).filter(|user| user.active)?;
                    let (acting, role) = match &person.acting {
                        None => (None, user.role),
                        Some(key) => {
                            let acts = |key: &&Arc<Key>| key.verifier.scopes.act_as && !is_over(&key.verifier, now);
                            let key = table.key(key.verifier.id).filter(acts)?;
                            (Some(key.clone()), user.role.min(KeyRole::User))
                        }
                    };
                    let (subject, token, user, rate) = (person.subject, None, Some(user.clone()), None);
                    Some(Self::Person(Arc::new(Person { subject, token, user, acting, role, rate })))
                }
            },
        }
    }

    /// Whether it lets somebody in at all, however little that may do.
    pub(crate) fn is_known(&self, table: &Table) -> bool {
        self.again(table, i64::MIN).is_some()
    }

    /// Whether it would let the same in with the same rights. Whose stream was opened with others opens it again.
    pub(crate) fn is_as_before(&self, table: &Table, now: i64) -> bool {
        match (self, self.again(table, now)) {
            (Self::Key(before), Some(Self::Key(key))) => before.verifier == key.verifier,
            (Self::Person(before), Some(Self::Person(person))) => {
                let acting = |person: &Person| person.acting.as_ref().map(|key| key.verifier.clone());
                before.user == person.user && acting(before) == acting(&person)
            }
            _ => false,
        }
    }

    /// Whether it would still be let through to the server of this name.
    pub(crate) fn may_still_use(&self, table: &Table, now: i64, server: &str) -> bool {
        self.again(table, now)
            .is_some_and(|caller| caller.speaks_mcp() && caller.role().calls_mcp() && caller.may_use(server))
    }

    /// Whether it has the scope for MCP; no token without it gets this far.
    fn speaks_mcp(&self) -> bool {
        match self {
            Self::Key(key) => key.verifier.scopes.mcp,
            Self::Person(_) => true,
        }
    }
}

#[cfg(test)]
impl Caller {
    /// A key for tests that need nothing but somebody.
    pub(crate) fn for_test(id: &str) -> Self {
        let verifier = KeyVerifier {
            id: id.parse().unwrap(),
            tenant: model::TenantId(uuid::Uuid::from_u128(1)),
            user: None,
            role: KeyRole::User,
            scopes: model::KeyScopes::PLAIN,
            sha256: [0; 32],
            servers: None,
            expires_at: None,
        };
        Self::Key(Arc::new(Key { verifier, rate: Rate::new(1) }))
    }
}

#[cfg(test)]
mod tests {
    use model::{KeyId, KeyScopes, Limits, Resource, TenantId, TenantSpec};
    use uuid::Uuid;

    use super::*;
    use crate::table::{Change, Tables};

    const KEY: &str = "0123456789abcdef";

    fn tenant(number: u128) -> TenantId {
        TenantId(Uuid::from_u128(number))
    }

    fn user(number: u128, of: u128, active: bool) -> Resource {
        Resource::User(UserSpec {
            id: UserId(Uuid::from_u128(number)),
            tenant: tenant(of),
            login: format!("user-{number}"),
            external_id: None,
            role: KeyRole::PlatformAdmin,
            active,
            departments: vec!["sales".to_owned()],
        })
    }

    /// Two tenants with users, and a key of the first whose own user is 1.
    fn tables(scopes: KeyScopes, role: KeyRole) -> Tables {
        let tables = Tables::new(egress::Egress::new(egress::Policy::default()).unwrap());
        let mut upserts: Vec<Resource> = [1, 2]
            .map(|number| {
                Resource::Tenant(TenantSpec {
                    id: tenant(number),
                    name: format!("t-{number}").parse().unwrap(),
                    limits: Limits::default(),
                    stale_after: None,
                    authorization_server: false,
                })
            })
            .into();
        upserts.extend([user(1, 1, true), user(2, 1, true), user(3, 1, false), user(4, 2, true)]);
        upserts.push(Resource::Key(KeyVerifier {
            id: KEY.parse().unwrap(),
            tenant: tenant(1),
            user: Some(UserId(Uuid::from_u128(1))),
            role,
            scopes,
            sha256: [1; 32],
            servers: Some(vec!["notes".to_owned()]),
            expires_at: None,
        }));
        assert_eq!(tables.apply(Change { upserts, ..Change::default() }), []);
        tables
    }

    #[test]
    fn control_lets_a_key_act_for_another_user_only_where_a_token_could() {
        let acts = KeyScopes { mcp: false, rest: true, act_as: true };
        let key: KeyId = KEY.parse().unwrap();
        for (scopes, of, user, lets_in) in [
            (KeyScopes::PLAIN, 1, None, true),
            (KeyScopes::PLAIN, 1, Some(1), true),
            (KeyScopes::PLAIN, 2, Some(1), true),
            (KeyScopes::PLAIN, 1, Some(2), false),
            (acts, 1, Some(2), true),
            (acts, 1, Some(3), false),
            (acts, 1, Some(4), false),
            (acts, 2, Some(4), false),
            (acts, 1, Some(9), false),
        ] {
            let tables = tables(scopes, KeyRole::PlatformAdmin);
            let user = user.map(|number| UserId(Uuid::from_u128(number)));
            let principal = Principal { tenant: tenant(of), user, key: Some(key) };
            let who = Authenticated::by_control(&tables.load(), &principal);
            assert_eq!(who.is_some(), lets_in, "{scopes:?} {of} {user:?}");
            let Some(who) = who.filter(|_| user == Some(UserId(Uuid::from_u128(2)))) else { continue };
            assert_eq!((who.user(), who.role()), (user, KeyRole::User), "no more than the user, and no admin");
            assert_eq!(who.subject(), Subject::on_behalf(key, UserId(Uuid::from_u128(2))));
            assert_eq!(who.departments(), ["sales"]);
            assert!(who.may_use("notes") && !who.may_use("tasks"), "no server that the key may not use");
            let still = |server| who.caller().may_still_use(&tables.load(), 0, server);
            assert!(still("notes") && !still("tasks"), "nor later");
            assert_eq!(tables.apply(Change { removes: vec![model::ResourceName::Key(key)], ..Change::default() }), []);
            assert!(!who.caller().is_known(&tables.load()), "it ends with the key");
        }
    }
}
