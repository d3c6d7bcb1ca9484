//! `gatehouse tenant …`.

use std::str::FromStr;

use clap::{Args, Subcommand};

use super::span::Span;

const EXAMPLES: &str = "\
Examples:
  gatehouse tenant create acme --title 'Acme Ltd' --servers 50
  gatehouse tenant set acme --call-secs 300 --stale-after never
  gatehouse tenant set acme --authorization-server on --local-accounts off
  gatehouse server ls --tenant acme
  gatehouse tenant disable acme        its keys are refused at once, its records stay";

/// What to do with tenants.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum TenantVerb {
    /// Create a tenant
    Create(TenantCreate),
    /// List tenants
    #[command(visible_alias = "list")]
    Ls {
        /// Removed ones instead
        #[arg(long)]
        deleted: bool,
    },
    /// Show one tenant and its limits
    Show {
        /// Name or id of the tenant
        name: String,
    },
    /// Change a tenant; what isn't named stays
    Set(TenantSet),
    /// Remove tenants with everything in them; `restore` brings one back for 90 days
    #[command(visible_alias = "remove")]
    Rm {
        /// Names or ids
        #[arg(required = true)]
        names: Vec<String>,
    },
    /// Bring a removed tenant back
    Restore {
        /// Name or id of the tenant
        name: String,
    },
    /// Let the keys of a tenant in again
    Enable {
        /// Name or id of the tenant
        name: String,
    },
    /// Refuse all keys and tokens of a tenant and keep its records
    Disable {
        /// Name or id of the tenant
        name: String,
    },
}

/// A new tenant.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TenantCreate {
    /// Its slug: 1 to 32 of a-z, 0-9 and -; it stays for ever
    pub(crate) name: String,
    /// Free text for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Pool of proxies that serve it, repeat for more [default: default]
    #[arg(long = "pool", value_name = "POOL")]
    pub(crate) pools: Vec<String>,
    /// How long proxies serve it without control: 24h, or `never` to end [default: 24h]
    #[arg(long, value_name = "SPAN|never")]
    pub(crate) stale_after: Option<StaleAfter>,
    /// How long proxies use credentials without control, a day at most: 4h, or 0s for only while it answers [default: 4h]
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_stale_credential: Option<StaleCredential>,
    #[command(flatten)]
    pub(crate) signing_in: SigningIn,
    #[command(flatten)]
    pub(crate) limits: TenantLimits,
}

/// What to change of a tenant.
#[derive(Debug, Clone, Args)]
pub(crate) struct TenantSet {
    /// Name or id of the tenant
    pub(crate) tenant: String,
    /// Free text for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// All pools of proxies anew, repeat for more
    #[arg(long = "pool", value_name = "POOL")]
    pub(crate) pools: Vec<String>,
    /// How long proxies serve it without control: 24h, or `never` to end
    #[arg(long, value_name = "SPAN|never")]
    pub(crate) stale_after: Option<StaleAfter>,
    /// How long proxies use credentials without control, a day at most: 4h, or 0s for only while it answers
    #[arg(long, value_name = "SPAN")]
    pub(crate) max_stale_credential: Option<StaleCredential>,
    #[command(flatten)]
    pub(crate) signing_in: SigningIn,
    #[command(flatten)]
    pub(crate) limits: TenantLimits,
}

/// How people of a tenant sign in.
#[derive(Debug, Clone, Args)]
pub(crate) struct SigningIn {
    /// Whether MCP clients may sign people in at control [default: off]
    #[arg(long, value_name = "on|off")]
    pub(crate) authorization_server: Option<Switch>,
    /// Whether people may have a password at control [default: on]
    #[arg(long, value_name = "on|off")]
    pub(crate) local_accounts: Option<Switch>,
}

/// `on` or `off`, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Switch(pub(crate) bool);

impl FromStr for Switch {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" | "true" | "yes" => Ok(Self(true)),
            "off" | "false" | "no" => Ok(Self(false)),
            _ => Err("expected on or off"),
        }
    }
}

/// What a tenant may use, counted by each proxy by itself.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct TenantLimits {
    /// Requests per second of one key
    #[arg(long, value_name = "N")]
    pub(crate) key_rate: Option<u32>,
    /// Requests per second of the whole tenant
    #[arg(long, value_name = "N")]
    pub(crate) tenant_rate: Option<u32>,
    /// Calls under way at once
    #[arg(long, value_name = "N")]
    pub(crate) concurrent: Option<u32>,
    /// Open streams
    #[arg(long, value_name = "N")]
    pub(crate) streams: Option<u32>,
    /// Requests under way at once to one server
    #[arg(long, value_name = "N")]
    pub(crate) upstream_concurrent: Option<u32>,
    /// Servers
    #[arg(long, value_name = "N")]
    pub(crate) servers: Option<u32>,
    /// Bytes of one request
    #[arg(long, value_name = "BYTES")]
    pub(crate) request_bytes: Option<u32>,
    /// Bytes of one answer
    #[arg(long, value_name = "BYTES")]
    pub(crate) response_bytes: Option<u32>,
    /// Seconds that one call may take
    #[arg(long, value_name = "SECS")]
    pub(crate) call_secs: Option<u32>,
}

/// How long a tenant is served without control.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StaleAfter {
    Seconds(i64),
    Never,
}

/// Seconds that proxies use credentials without control; none is as good as any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StaleCredential(pub(crate) i64);

impl FromStr for StaleCredential {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "0" | "0s" => Ok(Self(0)),
            text => text.parse().map(|span: Span| Self(span.seconds())),
        }
    }
}

impl FromStr for StaleAfter {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "never" => Ok(Self::Never),
            text => text.parse().map(|span: Span| Self::Seconds(span.seconds())),
        }
    }
}
