//! A role as it is typed.

use clap::ValueEnum;

/// What a user, or the holder of a key, may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleWord {
    /// Reads everything of its tenant, changes and calls nothing
    Viewer,
    /// Calls MCP, reads the servers and tools of its tenant
    #[value(alias = "client")]
    User,
    /// Administers one tenant
    #[value(name = "tenant_admin", alias = "tenant-admin")]
    TenantAdmin,
    /// Administers every tenant
    #[value(name = "platform_admin", alias = "platform-admin")]
    PlatformAdmin,
}

impl RoleWord {
    /// The word that REST knows.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::User => "user",
            Self::TenantAdmin => "tenant_admin",
            Self::PlatformAdmin => "platform_admin",
        }
    }
}
