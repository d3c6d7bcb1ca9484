//! Connections: which credential is used for whom. What is here travels and is printed; the secret does not.

use crate::digest::Canonical;
use crate::{ConnectionId, DepartmentId, Digest, ServerId, TenantId, UserId};

/// How many share a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// Everybody of the tenant.
    Global,
    /// The members of a department.
    Department,
    /// One user.
    User,
}

impl Scope {
    /// All of them, from the widest to the narrowest.
    pub const ALL: [Self; 3] = [Self::Global, Self::Department, Self::User];

    /// The word for REST, rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Global => "global",
            Self::Department => "department",
            Self::User => "user",
        }
    }

    /// Reads the word; `system` is an alias of `global`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "system" => Some(Self::Global),
            word => Self::ALL.into_iter().find(|scope| scope.as_str() == word),
        }
    }
}

/// Whom a connection is for. There is at most one for each server and holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// Everybody of the tenant.
    Global,
    /// The members of this department.
    Department(DepartmentId),
    /// This user.
    User(UserId),
}

impl Holder {
    /// How many share it.
    pub fn scope(self) -> Scope {
        match self {
            Self::Global => Scope::Global,
            Self::Department(_) => Scope::Department,
            Self::User(_) => Scope::User,
        }
    }
}

/// What a connection may be used for. Only an active one is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConnectionStatus {
    /// Used.
    Active,
    /// Somebody put it aside.
    Disabled,
    /// The upstream refused it: only a login, a new credential or a good test makes it active again.
    ReauthRequired,
    /// It does not fit its server any more.
    Invalid,
}

impl ConnectionStatus {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Active, Self::Disabled, Self::ReauthRequired, Self::Invalid];

    /// The word for REST, rows and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
            Self::ReauthRequired => "reauth_required",
            Self::Invalid => "invalid",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == word)
    }
}

/// A connection as proxies know it: that it is there and how new its secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionSpec {
    /// The record's id.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The server that it is for.
    pub server: ServerId,
    /// Whom it is for.
    pub holder: Holder,
    /// The department's name, if it is for a department: what callers' tokens say.
    pub department: Option<String>,
    /// Disabled ones are not pushed.
    pub status: ConnectionStatus,
    /// Raised when a person replaces the credential or signs in again: sessions with the upstream and lists are of one
    /// version.
    pub credential_version: i64,
    /// Raised by every new token and every new credential, never lowered: header lines are of one generation.
    pub token_generation: i64,
}

impl ConnectionSpec {
    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("connection");
        canonical.text(&self.id.to_string());
        canonical.text(&self.tenant.to_string());
        canonical.text(&self.server.to_string());
        canonical.text(self.holder.scope().as_str());
        match self.holder {
            Holder::Global => canonical.text(""),
            Holder::Department(id) => canonical.text(&id.to_string()),
            Holder::User(id) => canonical.text(&id.to_string()),
        }
        canonical.text(self.department.as_deref().unwrap_or_default());
        canonical.text(self.status.as_str());
        canonical.number(self.credential_version as u64);
        canonical.number(self.token_generation as u64);
        canonical.finish()
    }
}

/// What a proxy must know of how a server is authenticated to. Which secret goes where only control knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Binding {
    /// Scopes whose connections are accepted, in this order: the first that there is serves. Empty: header lines are
    /// made without a connection.
    pub scopes: Vec<Scope>,
    /// Values of the caller that become part of the header lines.
    pub context: ContextUse,
    /// People can sign in at the upstream's authorization server.
    pub login: bool,
    /// The caller's own token is exchanged for one of the upstream's: control must see it.
    pub exchange: bool,
    /// All connections see the same lists. Only where nothing or a global connection is accepted.
    pub shared_manifest: bool,
    /// Whether a 401 is answered with one more try under another token.
    pub retry_unauthorized: bool,
}

/// Which values of the caller become part of header lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ContextUse {
    /// `${context.user_id}`.
    pub user: bool,
    /// `${context.department_id}`.
    pub department: bool,
    /// `${context.work_id}`: the login.
    pub login: bool,
}

impl Binding {
    pub(crate) fn write(&self, canonical: &mut Canonical) {
        canonical.number(self.scopes.len() as u64);
        for scope in &self.scopes {
            canonical.text(scope.as_str());
        }
        let ContextUse { user, department, login } = self.context;
        let flags = [user, department, login, self.login, self.exchange, self.shared_manifest, self.retry_unauthorized];
        for flag in flags {
            canonical.number(u64::from(flag));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_back_and_system_is_global() {
        for scope in Scope::ALL {
            assert_eq!(Scope::parse(scope.as_str()), Some(scope));
        }
        for status in ConnectionStatus::ALL {
            assert_eq!(ConnectionStatus::parse(status.as_str()), Some(status));
        }
        assert_eq!((Scope::parse("system"), Scope::parse("Global")), (Some(Scope::Global), None));
    }
}
