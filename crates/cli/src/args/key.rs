//! `gatehouse key …`.

use clap::{Args, Subcommand};

use super::role::RoleWord;
use super::span::Span;

const EXAMPLES: &str = "\
Examples:
  gatehouse key create --user ann --label laptop --expires-in 90d
  gatehouse key create --label ci --server notes --server wiki
  gatehouse key create --label backend --scope act_as    asks for tokens in the name of users, and nothing else
  gatehouse key rotate 0123456789abcdef --grace 7d    the old key serves for a week beside the new one
  gatehouse key revoke 0123456789abcdef

A KEY is named by its id: the 16 characters after `ghk_…_`. Of a whole key only these are used and sent.";

/// What a key may be used for.
const SCOPES: [&str; 3] = ["mcp", "rest", "act_as"];

/// What to do with keys.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum KeyVerb {
    /// Create a key; it is shown once
    #[command(visible_alias = "add")]
    Create(KeyCreate),
    /// List keys (never their secret part)
    #[command(visible_alias = "list")]
    Ls,
    /// Show one key (never its secret part)
    Show {
        /// Id of the key
        #[arg(value_name = "KEY")]
        id: String,
    },
    /// Change a key; what isn't named stays
    Set(KeySet),
    /// Make a second key that replaces this one; it is shown once, the old one ends after the grace
    Rotate(KeyRotate),
    /// End keys everywhere, at once
    Revoke {
        /// Ids of the keys
        #[arg(value_name = "KEY", required = true)]
        ids: Vec<String>,
    },
}

/// A new key.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct KeyCreate {
    /// What it is for
    #[arg(long, default_value = "")]
    pub(crate) label: String,
    /// What its holder may do, if the user of the key may too
    #[arg(long, value_enum, default_value = "user")]
    pub(crate) role: RoleWord,
    /// Login or id of the user whose key it is [default: nobody's, e.g. a program's]
    #[arg(long, value_name = "LOGIN")]
    pub(crate) user: Option<String>,
    /// Restrict it to this server, repeat for more
    #[arg(long = "server", value_name = "NAME")]
    pub(crate) servers: Vec<String>,
    /// What it may be used for, repeat for more [default: mcp and rest]
    #[arg(long = "scope", value_name = "SCOPE", value_parser = SCOPES)]
    pub(crate) scopes: Vec<String>,
    /// How long it serves: 30s, 15m, 12h, 90d, 2w [default: 90d]
    #[arg(long, value_name = "SPAN")]
    pub(crate) expires_in: Option<Span>,
}

/// What to change of a key.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeySet {
    /// Id of the key
    #[arg(value_name = "KEY")]
    pub(crate) id: String,
    /// What it is for
    #[arg(long)]
    pub(crate) label: Option<String>,
    /// Restrict it to these servers only, repeat for more
    #[arg(long = "server", value_name = "NAME")]
    pub(crate) servers: Vec<String>,
    /// No restriction to servers any more
    #[arg(long, conflicts_with = "servers")]
    pub(crate) no_servers: bool,
    /// What it may be used for, all scopes anew, repeat for more
    #[arg(long = "scope", value_name = "SCOPE", value_parser = SCOPES)]
    pub(crate) scopes: Vec<String>,
    /// How long it serves from now on: 30s, 15m, 12h, 90d, 2w
    #[arg(long, value_name = "SPAN")]
    pub(crate) expires_in: Option<Span>,
}

/// The change from one key to the next.
#[derive(Debug, Clone, Args)]
pub(crate) struct KeyRotate {
    /// Id of the key
    #[arg(value_name = "KEY")]
    pub(crate) id: String,
    /// How long the old key serves beside the new one, at most 30d [default: 24h]
    #[arg(long, value_name = "SPAN")]
    pub(crate) grace: Option<Span>,
    /// The old key ends now
    #[arg(long, conflicts_with = "grace")]
    pub(crate) no_grace: bool,
}
