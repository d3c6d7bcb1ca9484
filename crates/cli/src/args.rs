//! The command line: verbs, flags and their defaults, as clap sees them.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

mod audit;
mod auth;
mod connection;
mod department;
mod document;
mod egress;
mod import;
mod issuer;
mod key;
mod login;
mod role;
mod server;
mod signed_in;
mod span;
mod tenant;
mod token;
mod toolset;
mod user;
mod vault;

pub(crate) use self::audit::{AuditLs, AuditVerb};
pub(crate) use self::auth::{AuthArgs, AuthWord};
pub(crate) use self::connection::{ConnectionLs, ConnectionOf, ConnectionSet, ConnectionVerb, Field, HolderArgs};
pub(crate) use self::department::{DepartmentCreate, DepartmentSet, DepartmentVerb};
pub(crate) use self::document::{Apply, Export};
pub(crate) use self::egress::{Allow, EgressVerb};
pub(crate) use self::import::Import;
pub(crate) use self::issuer::{IssuerAdd, IssuerRecord, IssuerSet, IssuerVerb};
pub(crate) use self::key::{KeyCreate, KeyRotate, KeySet, KeyVerb};
pub(crate) use self::login::Login;
pub(crate) use self::server::{Add, Change, Header, ServerLimits, ServerLs, ServerVerb, ToolVerb};
pub(crate) use self::signed_in::{GrantVerb, SessionVerb};
pub(crate) use self::span::{Instant, Span};
pub(crate) use self::tenant::{StaleAfter, TenantCreate, TenantLimits, TenantSet, TenantVerb};
pub(crate) use self::token::{OnBehalf, Token};
pub(crate) use self::toolset::{Pick, ToolsetAdd, ToolsetArgs, ToolsetSet, ToolsetVerb};
pub(crate) use self::user::{UserCreate, UserSet, UserVerb};
pub(crate) use self::vault::{RotateVerb, VaultVerb};

/// Shown under every `--help`, because scripts depend on it.
const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed (also: a tool reports an error, control refuses a value), 2 wrong usage, 3 not found,
4 refused (no key, key not accepted, role), 5 unreachable, 6 conflict (also: name, port or folder taken).
Environment: GATEHOUSE_URL, GATEHOUSE_KEY (the key itself), GATEHOUSE_HOME (the data folder), GATEHOUSE_CA_FILE,
GATEHOUSE_MCP_URL.";

/// One URL and one key per person in front of many MCP servers.
#[derive(Debug, Parser)]
#[command(name = "gatehouse", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) access: Access,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Where control is, who asks, and how the answer looks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Access {
    /// Folder of `gatehouse up` [default: ~/.gatehouse]
    // An alias may name one: what is typed after it wins.
    #[arg(long, global = true, value_name = "DIR", env = "GATEHOUSE_HOME", overrides_with = "data_dir")]
    pub(crate) data_dir: Option<PathBuf>,
    /// URL of control [default: that of the data folder, else http://127.0.0.1:5010]
    #[arg(long, global = true, value_name = "CONTROL", env = "GATEHOUSE_URL")]
    pub(crate) url: Option<String>,
    /// PEM file of the authority behind control's certificate, if it is none that everybody knows
    #[arg(long, global = true, value_name = "FILE", env = "GATEHOUSE_CA_FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// File that holds the key [default: GATEHOUSE_KEY, else the data folder's admin key]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// Tenant to work on, for a platform admin [default: the key's]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tenant: Option<String>,
    /// Print one JSON document instead of text for people
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Start both processes here, with everything they need, and keep them running
    Up(Up),
    /// Say whether control and proxies serve
    Status,
    /// Add, change and use servers
    #[command(subcommand)]
    Server(ServerVerb),
    /// List the tools of a server
    Tools {
        /// Name or id of the server
        server: String,
    },
    /// Call a tool of a server, as an admin who tries it or in the name of a user; others call with an MCP client
    Call(Call),
    /// Selections of tools with URLs of their own
    #[command(subcommand)]
    Toolset(ToolsetVerb),
    /// People who hold keys
    #[command(subcommand)]
    User(UserVerb),
    /// Groups of users
    #[command(subcommand)]
    Department(DepartmentVerb),
    /// Keys of people and programs
    #[command(subcommand)]
    Key(KeyVerb),
    /// Identity providers of the tenant (OpenID Connect)
    #[command(subcommand)]
    Issuer(IssuerVerb),
    /// People who are signed in at control
    #[command(subcommand)]
    Session(SessionVerb),
    /// MCP clients that people have let in
    #[command(subcommand)]
    Grant(GrantVerb),
    /// Credentials that are used at servers: everybody's, a department's, a user's own
    #[command(subcommand)]
    Connection(ConnectionVerb),
    /// Connect a server by signing in at its own sign-in page (OAuth)
    Login(Login),
    /// Take what a login has given back, and forget it
    Logout(ConnectionOf),
    /// Get a token in the name of a user, for a backend that calls for many
    Token(Token),
    /// Whose key this is, and what it may do
    Whoami,
    /// Tenants and their settings, for platform admins
    #[command(subcommand)]
    Tenant(TenantVerb),
    /// Addresses beyond public https that servers may have, for platform admins
    #[command(subcommand)]
    Egress(EgressVerb),
    /// Proxies that are attached to control, for platform admins
    #[command(subcommand)]
    Proxy(ProxyVerb),
    /// Keys under which secrets are sealed, for platform admins
    #[command(subcommand)]
    Vault(VaultVerb),
    /// Compare what should be mounted with what is, and heal the difference
    Recover(Recover),
    /// Who changed what, and when
    #[command(subcommand)]
    Audit(AuditVerb),
    /// Take servers and credentials along from a system that Gatehouse replaces
    Import(Import),
    /// Print everything that is declared as one YAML document
    Export(Export),
    /// Make records as a YAML document says; the plan is shown first
    Apply(Apply),
    /// Show the certificates of the data folder and when they end
    Certs,
    /// Print the version
    Version,
}

/// `gatehouse up`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Up {
    /// Where REST and the status page listen; port 0 picks a free one, once per folder
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5010")]
    pub(crate) control: SocketAddr,
    /// Where MCP clients connect; port 0 picks a free one, once per folder
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:5011")]
    pub(crate) mcp: SocketAddr,
    /// Where proxies attach [default: port 5012 beside 5010, else a free one]
    #[arg(long, value_name = "ADDR")]
    pub(crate) link: Option<SocketAddr>,
    /// Print one line of JSON when both planes serve
    #[arg(long)]
    pub(crate) ready_json: bool,
    /// Make two new keys for a known folder and revoke the old ones
    #[arg(long)]
    pub(crate) new_keys: bool,
    /// Leave a dead process dead (for tests)
    #[arg(long)]
    pub(crate) no_restart: bool,
}

/// A call of one tool.
#[derive(Debug, Clone, Args)]
pub(crate) struct Call {
    /// Name or id of the server
    pub(crate) server: String,
    /// The tool, as the server names it
    pub(crate) tool: String,
    /// One JSON object, or `-` to read it from standard input, or key=value pairs (a value that is JSON is taken as JSON)
    #[arg(value_name = "JSON|KEY=VALUE")]
    pub(crate) arguments: Vec<String>,
    #[command(flatten)]
    pub(crate) on_behalf: OnBehalf,
}

/// `gatehouse recover`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Recover {
    /// Report the differences, change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Also remove mounts that no record stands behind
    #[arg(long, conflicts_with = "adopt")]
    pub(crate) prune: bool,
    /// Make records of mounts that no record stands behind
    #[arg(long)]
    pub(crate) adopt: bool,
}

/// `gatehouse proxy`.
#[derive(Debug, Subcommand)]
pub(crate) enum ProxyVerb {
    /// List attached proxies
    #[command(visible_alias = "list")]
    Ls,
}

#[cfg(test)]
mod tests;
