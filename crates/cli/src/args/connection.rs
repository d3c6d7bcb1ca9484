//! `gatehouse connection …`: whose credential is used at a server.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  gatehouse connection ls notes
  gatehouse connection ls --all --mine
  gatehouse connection set notes --credential-file token.txt          your own, or the only one that notes accepts
  pass show notes | gatehouse connection set notes --credential-file -
  gatehouse connection set notes --scope department --for research --field api_key=key.txt --field team=team.txt
  gatehouse connection set notes --scope global --reference files:notes.token
  gatehouse connection test notes
  gatehouse connection status notes disabled --scope user --for ann
  gatehouse connection rm notes --scope user --for ann
  gatehouse connection find < leaked-key.txt

A connection is a credential for one server and one user, one department, or everybody (global). Where a server wants a
login, use `gatehouse login SERVER`.
Secrets are never typed and never shown: a file that only you can read holds them, or `-`, which is standard input.
A credential file holds one secret as it is, or a JSON object such as
  {\"secrets\": {\"api_key\": \"…\"}}   or   {\"access_token\": \"…\", \"refresh_token\": \"…\", \"expires_in\": 3600}.
HEALTH is `attention` where somebody must do something; LAST ERROR says what, and `test` asks again.";

/// What to do with connections.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum ConnectionVerb {
    /// List the connections of a server; who is no admin sees their own
    #[command(visible_alias = "list")]
    Ls(ConnectionLs),
    /// Show one connection; secrets are never shown
    Show(ConnectionOf),
    /// Make a connection, or give the one that is there a new credential
    Set(ConnectionSet),
    /// Put a connection aside, or use it again
    Status(ConnectionStatus),
    /// Ask the upstream with this very credential, past every cache
    Test(ConnectionOf),
    /// Take the credential back at its authorization server, and forget it here
    Revoke(ConnectionOf),
    /// Remove a connection: no proxy uses it any more
    #[command(visible_alias = "remove")]
    Rm(ConnectionOf),
    /// Which connections use this secret? It is read from standard input and is not kept
    Find {
        /// File that holds the secret instead
        #[arg(long, value_name = "FILE|-", default_value = "-")]
        secret_file: PathBuf,
    },
}

/// How many share a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ScopeWord {
    /// One user
    User,
    /// The members of a department
    Department,
    /// Everybody
    #[value(alias = "system")]
    Global,
}

impl ScopeWord {
    /// The word that REST knows.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Department => "department",
            Self::Global => "global",
        }
    }
}

/// Of which health connections are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum HealthWord {
    /// Every one
    All,
    /// Those that can be used
    Active,
    /// Those that somebody must look after
    Attention,
    /// Those that were put aside
    Disabled,
}

impl HealthWord {
    /// The word that REST knows.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Active => "active",
            Self::Attention => "attention",
            Self::Disabled => "disabled",
        }
    }
}

/// What a connection's status can be set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatusWord {
    /// Used
    Active,
    /// Put aside
    Disabled,
}

impl StatusWord {
    /// The word that REST knows.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Disabled => "disabled",
        }
    }
}

/// Which connections to list.
#[derive(Debug, Clone, Args)]
#[command(group(ArgGroup::new("servers").required(true).args(["server", "all"])))]
pub(crate) struct ConnectionLs {
    /// Name or id of the server
    pub(crate) server: Option<String>,
    /// Those of every server
    #[arg(long)]
    pub(crate) all: bool,
    /// Only your own
    #[arg(long)]
    pub(crate) mine: bool,
    /// Only those of this health
    #[arg(long, value_enum)]
    pub(crate) health: Option<HealthWord>,
    /// Only those with this text in name, subject, holder or maker
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
}

/// One connection: there is at most one for each server and holder.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionOf {
    /// Name or id of the server
    pub(crate) server: String,
    #[command(flatten)]
    pub(crate) holder: HolderArgs,
}

/// Whom a connection is for.
#[derive(Debug, Clone, Args)]
pub(crate) struct HolderArgs {
    /// How many share it [default: your own, or the only one that there can be]
    #[arg(long, value_enum)]
    pub(crate) scope: Option<ScopeWord>,
    /// The user or the department, by login, name or id [default: yourself]
    #[arg(long = "for", value_name = "LOGIN|DEPARTMENT", requires = "scope")]
    pub(crate) holder: Option<String>,
}

/// A new credential.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ConnectionSet {
    #[command(flatten)]
    pub(crate) of: ConnectionOf,
    /// File that holds the credential, a text or a JSON object; `-` reads standard input
    #[arg(long, value_name = "FILE|-", conflicts_with_all = ["fields", "reference"])]
    pub(crate) credential_file: Option<PathBuf>,
    /// One secret of the credential, from a file of its own; repeat for more
    #[arg(long = "field", value_name = "NAME=FILE|-", conflicts_with = "reference")]
    pub(crate) fields: Vec<Field>,
    /// Where the credential is kept instead of here: `files` or `http`, as control's settings reference_* say, and the
    /// name below the tenant's folder there
    #[arg(long, value_name = "SOURCE:NAME")]
    pub(crate) reference: Option<ReferenceArg>,
    /// Name for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) display_name: Option<String>,
    /// Who the upstream says that it is, for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) external_subject: Option<String>,
}

/// A new status.
#[derive(Debug, Clone, Args)]
pub(crate) struct ConnectionStatus {
    /// Name or id of the server
    pub(crate) server: String,
    /// What it shall be
    #[arg(value_enum)]
    pub(crate) status: StatusWord,
    #[command(flatten)]
    pub(crate) holder: HolderArgs,
}

/// A secret's name and the file that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

impl FromStr for Field {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            Some((name, file)) if !name.is_empty() && !file.is_empty() => {
                Ok(Self { name: name.to_owned(), file: PathBuf::from(file) })
            }
            _ => Err("expected NAME=FILE, where the file holds the secret"),
        }
    }
}

/// Where a credential is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReferenceArg {
    pub(crate) source: String,
    pub(crate) name: String,
}

impl FromStr for ReferenceArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((source, name)) if !source.is_empty() && !name.is_empty() => {
                Ok(Self { source: source.to_owned(), name: name.to_owned() })
            }
            _ => Err("expected SOURCE:NAME"),
        }
    }
}
