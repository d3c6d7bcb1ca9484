//! `gatehouse import`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  gatehouse import --from yuxi rows.jsonl --old-key-file master.key --dry-run
  gatehouse import --from weknora rows.jsonl --old-key-file aes.key --old-tenant 1 --tenant acme
  gatehouse import --from nexent rows.jsonl

The file holds one row of a table as one JSON object in each line, as `SELECT row_to_json(t) FROM mcp_servers t` prints
them: of yuxi mcp_servers and mcp_connections, of weknora mcp_services and mcp_oauth_tokens, of nexent mcp_record_t, in
any order. Users are found by external id or login, departments by name: make them first. What is there already is
passed over, so that the same file can be imported again.";

/// Take servers and credentials along from a system that Gatehouse replaces.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Import {
    /// The system that the rows are of
    #[arg(long, value_enum)]
    pub(crate) from: From,
    /// The rows, one JSON object in each line
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Only say what would become of the rows
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// File with the key under which that system has encrypted, readable for you alone
    #[arg(long, value_name = "FILE")]
    pub(crate) old_key_file: Option<PathBuf>,
    /// Only rows of this tenant of that system, where the file has rows of several
    #[arg(long, value_name = "ID")]
    pub(crate) old_tenant: Option<String>,
}

/// A system that Gatehouse replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum From {
    Yuxi,
    Weknora,
    Nexent,
}

impl From {
    /// The word in a request.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Yuxi => "yuxi",
            Self::Weknora => "weknora",
            Self::Nexent => "nexent",
        }
    }

    /// A column that only rows of servers have.
    pub(crate) fn server_column(self) -> &'static str {
        match self {
            Self::Yuxi => "transport",
            Self::Weknora => "transport_type",
            Self::Nexent => "mcp_server",
        }
    }
}
