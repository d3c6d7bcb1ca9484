//! Who is calling: from the `Authorization` header to a proof that nothing else can make.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use model::{KeyRole, KeyTextError, PresentedKey, Principal};
use subtle::ConstantTimeEq;

use crate::fault::Fault;
use crate::table::{Key, Mount, Table, Tenant};

/// Longest Authorization header that is looked at.
const MAX_HEADER: usize = 512;

/// Somebody who showed a valid key. Only [`authenticate`] makes one.
#[derive(Clone)]
pub(crate) struct Authenticated {
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) key: Arc<Key>,
}

/// Checks the key of a request against the table; does no IO. `now` is in microseconds since 1970.
/// Every way to fail ends in 401, never in another identity.
pub(crate) fn authenticate(table: &Table, headers: &HeaderMap, now: i64) -> Result<Authenticated, Fault> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Fault::Unauthenticated("unauthenticated"));
    };
    let text =
        value.to_str().ok().filter(|text| text.len() <= MAX_HEADER).ok_or(Fault::Unauthenticated("unauthenticated"))?;
    let (scheme, token) = text.split_once(' ').ok_or(Fault::Unauthenticated("unauthenticated"))?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Fault::Unauthenticated("unauthenticated"));
    }
    let presented: PresentedKey = token.trim().parse().map_err(|error| match error {
        KeyTextError::Checksum => Fault::Unauthenticated("malformed_key"),
        KeyTextError::Shape => Fault::Unauthenticated("unauthenticated"),
    })?;
    let key = table.key(presented.id).ok_or(Fault::Unauthenticated("unauthenticated"))?;
    let same = key.verifier.sha256.ct_eq(&presented.sha256);
    if !bool::from(same) || key.verifier.expires_at.is_some_and(|at| at <= now) {
        return Err(Fault::Unauthenticated("unauthenticated"));
    }
    let tenant = table.tenant(key.verifier.tenant).ok_or(Fault::Unauthenticated("unauthenticated"))?;
    Ok(Authenticated { tenant: tenant.clone(), key: key.clone() })
}

impl Authenticated {
    /// For a command of control's: the principal was authenticated there, the table knows the rest.
    pub(crate) fn by_control(table: &Table, principal: &Principal) -> Option<Self> {
        let key = table.key(principal.key)?;
        let tenant = table.tenant(principal.tenant)?;
        let may = key.verifier.tenant == principal.tenant || key.verifier.role == KeyRole::PlatformAdmin;
        may.then(|| Self { tenant: tenant.clone(), key: key.clone() })
    }

    /// The same admin acting in another tenant, if the role allows it.
    pub(crate) fn in_tenant(self, tenant: &Arc<Tenant>) -> Option<Self> {
        let own = self.tenant.spec.id == tenant.spec.id;
        (own || self.key.verifier.role == KeyRole::PlatformAdmin)
            .then(|| Self { tenant: tenant.clone(), key: self.key })
    }

    /// Whether the key may use a server of this name.
    pub(crate) fn may_use(&self, name: &str) -> bool {
        self.key.verifier.servers.as_ref().is_none_or(|servers| servers.iter().any(|server| server == name))
    }

    /// A mount of the caller's tenant that the key may use; another one looks absent.
    pub(crate) fn mount(&self, name: &str) -> Option<&Arc<Mount>> {
        if self.may_use(name) { self.tenant.mounts.get(name) } else { None }
    }

    /// All mounts that the key may use, in the order of their names.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = &Arc<Mount>> {
        self.tenant.mounts.values().filter(|mount| self.may_use(mount.name()))
    }

    /// What tells the views of two keys apart.
    pub(crate) fn view(&self) -> Option<Arc<[Box<str>]>> {
        let servers = self.key.verifier.servers.as_ref()?;
        Some(servers.iter().map(|name| name.as_str().into()).collect())
    }
}
