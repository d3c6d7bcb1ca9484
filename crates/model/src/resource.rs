//! The unit of config delivery: one named thing that a proxy holds, applies or rejects by itself.

use std::fmt;
use std::str::FromStr;

use crate::{
    Digest, EgressRule, EgressRuleId, IdError, KeyId, KeyVerifier, ServerId, ServerSpec, TenantId, TenantSpec,
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
}

/// The name of a resource: `tenant/<id>`, `server/<id>`, `key/<id>` or `egress/<id>`. Sorts by its text.
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
}

impl ResourceName {
    /// The kind that this name stands for.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Tenant(_) => ResourceKind::Tenant,
            Self::Server(_) => ResourceKind::Server,
            Self::Key(_) => ResourceKind::Key,
            Self::Egress(_) => ResourceKind::Egress,
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
}

impl Resource {
    /// The name it is held under.
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Tenant(tenant) => ResourceName::Tenant(tenant.id),
            Self::Server(server) => ResourceName::Server(server.id),
            Self::Key(key) => ResourceName::Key(key.id),
            Self::Egress(rule) => ResourceName::Egress(rule.id),
        }
    }

    /// The tenant it belongs to; `None` for an egress rule that is for all.
    pub fn tenant(&self) -> Option<TenantId> {
        match self {
            Self::Tenant(tenant) => Some(tenant.id),
            Self::Server(server) => Some(server.tenant),
            Self::Key(key) => Some(key.tenant),
            Self::Egress(rule) => rule.tenant,
        }
    }

    /// The digest of its content.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Tenant(tenant) => tenant.digest(),
            Self::Server(server) => server.digest(),
            Self::Key(key) => key.digest(),
            Self::Egress(rule) => rule.digest(),
        }
    }
}
