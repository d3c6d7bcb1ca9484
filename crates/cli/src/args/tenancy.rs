//! `gatehouse key …` and `gatehouse tenant …`.

use clap::{Args, Subcommand, ValueEnum};

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Create a key; it is shown once
    Create(KeyCreate),
    /// List keys (never their secret part)
    #[command(visible_alias = "list")]
    Ls,
    /// End a key everywhere
    Revoke {
        /// The key's id: its 16 characters after `ghk_…_` (of a whole key only these are used)
        id: String,
    },
}

/// A new key.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyCreate {
    /// What it is for
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// What its holder may do
    #[arg(long, value_enum, default_value = "client")]
    pub(crate) role: RoleWord,
    /// Restrict it to this server (repeat for more)
    #[arg(long = "server", value_name = "NAME")]
    pub(crate) servers: Vec<String>,
    /// Days until it ends [default: control's, 90]
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub(crate) days: Option<u32>,
}

/// A role as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RoleWord {
    /// Calls MCP, reads nothing on control
    Client,
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
            Self::Client => "client",
            Self::TenantAdmin => "tenant_admin",
            Self::PlatformAdmin => "platform_admin",
        }
    }
}

/// What to do with tenants.
#[derive(Debug, Subcommand)]
pub(crate) enum TenantVerb {
    /// Create a tenant
    Create {
        /// Its slug: 1 to 32 of a-z, 0-9 and -
        name: String,
        /// Free text for people
        #[arg(long)]
        title: Option<String>,
    },
    /// List tenants
    #[command(visible_alias = "list")]
    Ls,
}
