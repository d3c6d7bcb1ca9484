//! The unit of config delivery: one named thing that a proxy holds, applies or rejects by itself.

use std::fmt;
use std::str::FromStr;

use crate::{Digest, IdError, KeyId, KeyVerifier, ServerId, ServerSpec, TenantId, TenantSpec};

/// Which kind of resource a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ResourceKind {
    /// A tenant's settings and limits.
    Tenant,
    /// A mounted server.
    Server,
    /// A key verifier.
    Key,
}

/// The name of a resource: `tenant/<id>`, `server/<id>` or `key/<id>`. Sorts by its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceName {
    /// A tenant's settings and limits.
    Tenant(TenantId),
    /// A mounted server.
    Server(ServerId),
    /// A key verifier.
    Key(KeyId),
}

impl ResourceName {
    /// The kind that this name stands for.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::Tenant(_) => ResourceKind::Tenant,
            Self::Server(_) => ResourceKind::Server,
            Self::Key(_) => ResourceKind::Key,
        }
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tenant(id) => write!(f, "tenant/{id}"),
            Self::Server(id) => write!(f, "server/{id}"),
            Self::Key(id) => write!(f, "key/{id}"),
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
}

impl Resource {
    /// The name it is held under.
    pub fn name(&self) -> ResourceName {
        match self {
            Self::Tenant(tenant) => ResourceName::Tenant(tenant.id),
            Self::Server(server) => ResourceName::Server(server.id),
            Self::Key(key) => ResourceName::Key(key.id),
        }
    }

    /// The tenant it belongs to.
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Tenant(tenant) => tenant.id,
            Self::Server(server) => server.tenant,
            Self::Key(key) => key.tenant,
        }
    }

    /// The digest of its content.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Tenant(tenant) => tenant.digest(),
            Self::Server(server) => server.digest(),
            Self::Key(key) => key.digest(),
        }
    }
}
