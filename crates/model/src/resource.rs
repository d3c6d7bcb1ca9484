//! The unit of config delivery: one named thing that a proxy holds, applies or rejects by itself.

use std::fmt;
use std::str::FromStr;

use crate::{
    ConnectionId, ConnectionSpec, Digest, EgressRule, EgressRuleId, GrantId, IdError, IssuerId, IssuerSpec, KeyId,
    KeyVerifier, RevokedGrant, ServerId, ServerSpec, SignerId, SignerSpec, TenantId, TenantSpec, ToolsetId,
    ToolsetSpec, UserId, UserSpec,
};

/// Which kind of resource a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A tenant's settings and limits.
    Tenant,
    /// A mounted server.
    Server,
    /// A key verifier.
    Key,
    /// A rule of the address policy.
    Egress,
    /// A user, as the bound of what tokens in that name may do.
    User,
    /// A tenant's identity provider.
    Issuer,
    /// A key under which control signs tokens.
    Signer,
    /// A grant that was taken back.
    Revoked,
    /// A credential bound to a server and whom it is for.
    Connection,
    /// A selection of tools over several servers.
    Toolset,
}

/// The name of a resource: `tenant/<id>`, `server/<id>`, `key/<id>`, `egress/<id>`, `user/<id>`, `issuer/<id>`,
/// `signer/<id>`, `revoked/<id>`, `connection/<id>` or `toolset/<id>`. Sorts by its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceName {
    /// A tenant's settings and limits.
    Tenant(TenantId),
    /// A mounted server.
    Server(ServerId),
    /// A key verifier.
    Key(KeyId),
    /// A rule of the address policy.
    Egress(EgressRuleId),
    /// A user, as the bound of what tokens in that name may do.
    User(UserId),
    /// A tenant's identity provider.
    Issuer(IssuerId),
    /// A key under which control signs tokens.
    Signer(SignerId),
    /// A grant that was taken back.
    Revoked(GrantId),
    /// A credential bound to a server and whom it is for.
    Connection(ConnectionId),
    /// A selection of tools over several servers.
    Toolset(ToolsetId),
}

impl ResourceName {
    /// The kind that this name stands for.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Tenant(_) => ResourceKind::Tenant,
            Self::Server(_) => ResourceKind::Server,
            Self::Key(_) => ResourceKind::Key,
            Self::Egress(_) => ResourceKind::Egress,
            Self::User(_) => ResourceKind::User,
            Self::Issuer(_) => ResourceKind::Issuer,
            Self::Signer(_) => ResourceKind::Signer,
            Self::Revoked(_) => ResourceKind::Revoked,
            Self::Connection(_) => ResourceKind::Connection,
            Self::Toolset(_) => ResourceKind::Toolset,
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "tenant/{id}"),
            Self::Server(id) => write!(f, "server/{id}"),
            Self::Key(id) => write!(f, "key/{id}"),
            Self::Egress(id) => write!(f, "egress/{id}"),
            Self::User(id) => write!(f, "user/{id}"),
            Self::Issuer(id) => write!(f, "issuer/{id}"),
            Self::Signer(id) => write!(f, "signer/{id}"),
            Self::Revoked(id) => write!(f, "revoked/{id}"),
            Self::Connection(id) => write!(f, "connection/{id}"),
            Self::Toolset(id) => write!(f, "toolset/{id}"),
        }
    }
}

impl FromStr for ResourceName {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once('/') {
            Some(("tenant", id)) => id.parse().map(Self::Tenant),
            Some(("server", id)) => id.parse().map(Self::Server),
            Some(("key", id)) => id.parse().map(Self::Key),
            Some(("egress", id)) => id.parse().map(Self::Egress),
            Some(("user", id)) => id.parse().map(Self::User),
            Some(("issuer", id)) => id.parse().map(Self::Issuer),
            Some(("signer", id)) => id.parse().map(Self::Signer),
            Some(("revoked", id)) => id.parse().map(Self::Revoked),
            Some(("connection", id)) => id.parse().map(Self::Connection),
            Some(("toolset", id)) => id.parse().map(Self::Toolset),
            _ => Err(IdError { kind: "resource" }),
        }
    }
}

/// One resource as control pushes it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// A tenant's settings and limits.
    Tenant(TenantSpec),
    /// A mounted server.
    Server(ServerSpec),
    /// A key verifier.
    Key(KeyVerifier),
    /// A rule of the address policy.
    Egress(EgressRule),
    /// A user, as the bound of what tokens in that name may do.
    User(UserSpec),
    /// A tenant's identity provider.
    Issuer(IssuerSpec),
    /// A key under which control signs tokens.
    Signer(SignerSpec),
    /// A grant that was taken back.
    Revoked(RevokedGrant),
    /// A credential bound to a server and whom it is for.
    Connection(ConnectionSpec),
    /// A selection of tools over several servers.
    Toolset(ToolsetSpec),
}

impl Resource {
    /// The name it is held under.
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Tenant(tenant) => ResourceName::Tenant(tenant.id),
            Self::Server(server) => ResourceName::Server(server.id),
            Self::Key(key) => ResourceName::Key(key.id),
            Self::Egress(rule) => ResourceName::Egress(rule.id),
            Self::User(user) => ResourceName::User(user.id),
            Self::Issuer(issuer) => ResourceName::Issuer(issuer.id),
            Self::Signer(signer) => ResourceName::Signer(signer.id),
            Self::Revoked(grant) => ResourceName::Revoked(grant.id),
            Self::Connection(connection) => ResourceName::Connection(connection.id),
            Self::Toolset(toolset) => ResourceName::Toolset(toolset.id),
        }
    }

    /// The tenant it belongs to; `None` for a signer, and for an egress rule that is for all.
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant.id),
            Self::Server(server) => Some(server.tenant),
            Self::Key(key) => Some(key.tenant),
            Self::Egress(rule) => rule.tenant,
            Self::User(user) => Some(user.tenant),
            Self::Issuer(issuer) => Some(issuer.tenant),
            Self::Signer(_) => None,
            Self::Revoked(grant) => Some(grant.tenant),
            Self::Connection(connection) => Some(connection.tenant),
            Self::Toolset(toolset) => Some(toolset.tenant),
        }
    }

    /// The digest of its content.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Tenant(tenant) => tenant.digest(),
            Self::Server(server) => server.digest(),
            Self::Key(key) => key.digest(),
            Self::Egress(rule) => rule.digest(),
            Self::User(user) => user.digest(),
            Self::Issuer(issuer) => issuer.digest(),
            Self::Signer(signer) => signer.digest(),
            Self::Revoked(grant) => grant.digest(),
            Self::Connection(connection) => connection.digest(),
            Self::Toolset(toolset) => toolset.digest(),
        }
    }
}
