//! Whose sessions and grants somebody sees, and whose they may end: their own, and as an admin those of the tenant.

use model::{KeyRole, UserId};
use store::TenantStore;

use crate::rest::caller::Caller;
use crate::rest::code::Code;
use crate::rest::parameters::bad;
use crate::rest::problem::Problem;
use crate::rest::users;

/// Whose sessions or grants a list shows.
pub(crate) enum Whose {
    /// Everybody's of the tenant.
    All,
    /// One user's.
    One(UserId),
}

impl Whose {
    /// The user, for a list that can be of one.
    pub(crate) fn only(&self) -> Option<UserId> {
        match self {
            Self::All => None,
            Self::One(user) => Some(*user),
        }
    }
}

/// Of whom the caller may see, and wants to; `None` for a caller who is nobody's key.
pub(crate) async fn whose(
    caller: &Caller,
    tenant: &TenantStore,
    named: Option<&str>,
) -> Result<Option<Whose>, Problem> {
    let own = caller.role() == KeyRole::User;
    let Some(named) = named else {
        return Ok(if own { caller.user().map(Whose::One) } else { Some(Whose::All) });
    };
    let found = users::find(tenant, named).await?.filter(|user| !own || caller.user() == Some(user.id));
    let found = found.ok_or_else(|| bad(Code::User, "no such user".to_owned()))?;
    Ok(Some(Whose::One(found.id)))
}

/// Whether the caller may end what is this user's; who may not does not see that it is there.
pub(crate) fn is_theirs(caller: &Caller, user: UserId) -> bool {
    caller.role() >= KeyRole::TenantAdmin || caller.user() == Some(user)
}

/// The login of a user whose sessions and grants the caller may end: who stands above the caller ends their own.
pub(crate) async fn may_end(caller: &Caller, tenant: &TenantStore, user: UserId) -> Result<String, Problem> {
    let record = tenant.user(user).await?.ok_or(Problem::NotFound)?;
    if caller.user() != Some(user) {
        users::may_give(caller, Some(record.role))?;
    }
    Ok(record.login)
}
