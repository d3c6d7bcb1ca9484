//! `gatehouse token`, and what `gatehouse call` needs to call for somebody.

use clap::Args;

use super::span::Span;

const EXAMPLES: &str = "\
Examples:
  gatehouse key create --label backend --scope act_as
  gatehouse token --as ann --server notes --ttl 5m --key-file backend.key
  gatehouse call notes echo message=hi --as ann --key-file backend.key

The key needs the scope `act_as`. The token opens MCP on the proxies, for this user and, with --server, for
this server alone; it ends by itself and can't be taken back, but for the key, the user or the tenant.";

/// A token for somebody.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Token {
    /// Login or id of the user in whose name it is
    #[arg(long = "as", value_name = "USER")]
    pub(crate) user: String,
    /// Name or id of the one server that it is for [default: all of the tenant]
    #[arg(long, value_name = "SERVER")]
    pub(crate) server: Option<String>,
    /// How long it serves, at most 15m [default: 5m]
    #[arg(long, value_name = "SPAN")]
    pub(crate) ttl: Option<Span>,
}

/// For whom a tool is called, and where.
#[derive(Debug, Clone, Args)]
pub(crate) struct OnBehalf {
    /// Call through the proxy in the name of this user; the key needs the scope `act_as`
    #[arg(long = "as", value_name = "USER")]
    pub(crate) user: Option<String>,
    /// URL of the proxy, for --as [default: that of the data folder]
    #[arg(long, value_name = "PROXY", env = "GATEHOUSE_MCP_URL")]
    pub(crate) mcp_url: Option<String>,
}
