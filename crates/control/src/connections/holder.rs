//! Who asks about connections, and whom a connection is for.

use model::{DepartmentId, Holder, KeyRole, Scope, UserId};
use store::{ConnectionRecord, StoreError, TenantStore};

use super::{ConnectionError, Given};
use crate::rest::code::Code;
use crate::rest::fields::{Change, FieldError};

/// Who asks: an admin of the tenant, or somebody about what is their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asker {
    admin: bool,
    /// The user of this tenant that asks; `None` for a key of nobody, and for a platform admin of another tenant.
    user: Option<UserId>,
}

impl Asker {
    /// Somebody with this role, who is this user of the tenant.
    pub(crate) fn new(role: KeyRole, user: Option<UserId>) -> Self {
        Self { admin: role >= KeyRole::TenantAdmin, user }
    }

    /// The user that asks.
    pub(crate) fn user(self) -> Option<UserId> {
        self.user
    }

    /// Whether everybody's connections are seen.
    pub(crate) fn sees_all(self) -> bool {
        self.admin
    }

    /// Whether this connection is seen, and may be changed. Another's does not exist.
    pub(crate) fn sees(self, record: &ConnectionRecord) -> bool {
        self.may_hold(record.holder)
    }

    /// Whether a connection for this holder may be made at a server that accepts these scopes.
    pub(super) fn may_make(self, holder: Holder, accepted: &[Scope]) -> bool {
        self.admin || (self.may_hold(holder) && accepted.contains(&Scope::User))
    }

    /// Refuses a reference of who is no admin: what lies in the tenant's part of a source is not theirs alone.
    pub(crate) fn may_give(self, given: &Change<Given>) -> Result<(), ConnectionError> {
        match given {
            Change::Set(Given::Reference(_)) if !self.admin => Err(ConnectionError::Forbidden),
            _ => Ok(()),
        }
    }

    fn may_hold(self, holder: Holder) -> bool {
        self.admin || matches!(holder, Holder::User(user) if Some(user) == self.user)
    }

    /// Whom a connection is for, as it was said. What was left away is whoever asks, at the first scope that fits.
    /// Who is no admin is told of nobody else, not even whether they exist.
    pub(crate) async fn holder(
        self,
        tenant: &TenantStore,
        accepted: &[Scope],
        scope: Option<Scope>,
        named: Option<&str>,
    ) -> Result<Holder, ConnectionError> {
        let first = if self.admin { accepted.first().copied().unwrap_or(Scope::Global) } else { Scope::User };
        match scope.unwrap_or(first) {
            // There is one only, whatever it is called.
            Scope::Global if self.admin => Ok(Holder::Global),
            Scope::Department if self.admin => {
                let named = named.ok_or_else(|| wrong(Code::Required, "a department's connection names it"))?;
                let found = department(tenant, named).await?;
                found.map(Holder::Department).ok_or_else(|| wrong(Code::Department, "is no department of this tenant"))
            }
            Scope::User => self.user_named(tenant, named).await.map(Holder::User),
            Scope::Global | Scope::Department => Err(ConnectionError::Forbidden),
        }
    }

    async fn user_named(self, tenant: &TenantStore, named: Option<&str>) -> Result<UserId, ConnectionError> {
        let Some(named) = named else {
            return self.user.ok_or_else(|| {
                if self.admin {
                    wrong(Code::Required, "the key is nobody's: name a user")
                } else {
                    ConnectionError::Forbidden
                }
            });
        };
        let found = user(tenant, named).await?;
        match (self.admin, found) {
            (true, found) => found.ok_or_else(|| wrong(Code::User, "is no user of this tenant")),
            (false, Some(user)) if self.user == Some(user) => Ok(user),
            (false, _) => Err(ConnectionError::Forbidden),
        }
    }
}

/// The tenant's live user of this id or login.
async fn user(tenant: &TenantStore, named: &str) -> Result<Option<UserId>, StoreError> {
    let by_id = match named.parse() {
        Ok(id) => tenant.user(id).await?,
        Err(_) => None,
    };
    Ok(match by_id {
        // A login may look like an id.
        None => tenant.user_by_login(named).await?,
        found => found,
    }
    .map(|user| user.id))
}

/// The tenant's live department of this id or name.
async fn department(tenant: &TenantStore, named: &str) -> Result<Option<DepartmentId>, StoreError> {
    let by_id = match named.parse() {
        Ok(id) => tenant.department(id).await?,
        Err(_) => None,
    };
    Ok(match by_id {
        None => tenant.department_by_name(named).await?,
        found => found,
    }
    .map(|department| department.id))
}

/// A holder who is not there any more.
pub(super) fn gone(code: Code) -> ConnectionError {
    wrong(code, "is not there any more")
}

fn wrong(code: Code, detail: &str) -> ConnectionError {
    ConnectionError::Fields(vec![FieldError { field: "scope_id".to_owned(), code, detail: detail.to_owned() }])
}
