//! `gatehouse server …`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::{AuthArgs, Call};

const EXAMPLES: &str = "\
Examples:
  gatehouse server add notes https://notes.example/mcp --title Notes --tag team
  gatehouse server add tracker https://tracker.example/mcp          wants a login? then: gatehouse login tracker
  gatehouse server add wiki https://wiki.example/mcp --auth bearer --credential-file token.txt
  pass show wiki | gatehouse server set wiki --credential-file -
  gatehouse server add crm https://crm.example/mcp --auth api-key --auth-header X-Key --connections user,global
  gatehouse server set notes --call-secs 20 --retry-count 2 --no-description
  gatehouse server tools notes --refresh
  gatehouse server tool disable notes drop_table
  gatehouse server rm notes
  gatehouse server restore notes";

/// What to do with servers.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum ServerVerb {
    /// Add a server; it is probed through a proxy first and nothing is saved when that fails
    Add(Add),
    /// List servers
    #[command(visible_alias = "list")]
    Ls(ServerLs),
    /// Show one server
    Show {
        /// Name or id of the server
        server: String,
    },
    /// Change a server; running calls finish as they began
    Set(Change),
    /// Remove servers; `restore` brings one back for 90 days
    #[command(visible_alias = "remove")]
    Rm {
        /// Names or ids
        #[arg(required = true)]
        servers: Vec<String>,
        /// Forget servers that were removed before, for good
        #[arg(long)]
        purge: bool,
    },
    /// Bring a removed server back
    Restore {
        /// Name or id of the server
        server: String,
    },
    /// What refers to a server
    Deps {
        /// Name or id of the server
        server: String,
    },
    /// Mount a server that was disabled
    Enable {
        /// Name or id of the server
        server: String,
    },
    /// Unmount a server and keep its record
    Disable {
        /// Name or id of the server
        server: String,
    },
    /// Probe a server through a proxy
    Test {
        /// Name or id of the server
        server: String,
    },
    /// List the tools of a server
    Tools {
        /// Name or id of the server
        server: String,
        /// Ask the upstream anew
        #[arg(long)]
        refresh: bool,
    },
    /// Show or hide one tool of a server
    #[command(subcommand)]
    Tool(ToolVerb),
    /// Call a tool of a server
    Call(Call),
}

/// What to do with one tool: a hidden one is absent from lists and refused by name.
#[derive(Debug, Subcommand)]
pub(crate) enum ToolVerb {
    /// Offer a tool that was hidden
    Enable {
        /// Name or id of the server
        server: String,
        /// The tool, as the server names it
        tool: String,
    },
    /// Hide a tool
    Disable {
        /// Name or id of the server
        server: String,
        /// The tool, as the server names it
        tool: String,
    },
}

/// Which servers to list.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerLs {
    /// Only those whose name or title holds this text
    #[arg(long, value_name = "TEXT")]
    pub(crate) search: Option<String>,
    /// Only those with this tag
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// Only those that are mounted
    #[arg(long, conflicts_with = "disabled")]
    pub(crate) enabled: bool,
    /// Only those that are not mounted
    #[arg(long)]
    pub(crate) disabled: bool,
    /// Removed ones instead
    #[arg(long)]
    pub(crate) deleted: bool,
}

/// A new server.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Add {
    /// Its slug: 1 to 32 of a-z, 0-9 and -; tools appear as NAME__tool
    pub(crate) name: String,
    /// The URL of its MCP endpoint
    #[arg(value_name = "URL")]
    pub(crate) upstream: String,
    /// How it is spoken to
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) transport: TransportWord,
    /// Short text for people [default: the name]
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Long text for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// Tag to find it by, repeat for more
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// Word or https URL of a picture
    #[arg(long)]
    pub(crate) icon: Option<String>,
    /// Public header for every request, `Name: value`; never a secret
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<Header>,
    /// Limit for connecting, in ms
    #[arg(long, value_name = "MS")]
    pub(crate) connect_timeout: Option<u64>,
    /// Limit for the first byte of an answer, in ms
    #[arg(long, value_name = "MS")]
    pub(crate) read_timeout: Option<u64>,
    /// How often connecting, lists and reads are tried again, 0 to 10
    #[arg(long, value_name = "N")]
    pub(crate) retry_count: Option<u64>,
    /// Wait before trying again, in ms
    #[arg(long, value_name = "MS")]
    pub(crate) retry_delay: Option<u64>,
    #[command(flatten)]
    pub(crate) limits: ServerLimits,
    /// Hide this tool (repeat for more)
    #[arg(long = "disable-tool", value_name = "TOOL", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) disabled_tools: Vec<String>,
    /// Believe the server's read-only and idempotent hints (for retries only)
    #[arg(long)]
    pub(crate) trust_hints: bool,
    /// Save the record without mounting it
    #[arg(long)]
    pub(crate) disabled: bool,
    /// Save it even if it can't be reached now
    #[arg(long)]
    pub(crate) skip_validation: bool,
    #[command(flatten)]
    pub(crate) auth: Box<AuthArgs>,
}

/// What to change of a server; what isn't named stays.
#[derive(Debug, Clone, Args)]
pub(crate) struct Change {
    /// Name or id of the server
    pub(crate) server: String,
    /// New slug
    #[arg(long)]
    pub(crate) name: Option<String>,
    /// New URL of its MCP endpoint; not probed: `gatehouse server test` does
    #[arg(long = "to", value_name = "URL")]
    pub(crate) upstream: Option<String>,
    /// How it is spoken to
    #[arg(long, value_enum)]
    pub(crate) transport: Option<TransportWord>,
    /// Short text for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Long text for people
    #[arg(long, value_name = "TEXT")]
    pub(crate) description: Option<String>,
    /// No description any more
    #[arg(long, conflicts_with = "description")]
    pub(crate) no_description: bool,
    /// All tags anew, repeat for more
    #[arg(long = "tag", value_name = "TAG")]
    pub(crate) tags: Vec<String>,
    /// No tags any more
    #[arg(long, conflicts_with = "tags")]
    pub(crate) no_tags: bool,
    /// Word or https URL of a picture
    #[arg(long)]
    pub(crate) icon: Option<String>,
    /// No picture any more
    #[arg(long, conflicts_with = "icon")]
    pub(crate) no_icon: bool,
    /// All public headers anew, `Name: value`; never a secret
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<Header>,
    /// No public headers any more
    #[arg(long, conflicts_with = "headers")]
    pub(crate) no_headers: bool,
    /// Limit for connecting, in ms
    #[arg(long, value_name = "MS")]
    pub(crate) connect_timeout: Option<u64>,
    /// Limit for the first byte of an answer, in ms
    #[arg(long, value_name = "MS")]
    pub(crate) read_timeout: Option<u64>,
    /// How often connecting, lists and reads are tried again, 0 to 10
    #[arg(long, value_name = "N")]
    pub(crate) retry_count: Option<u64>,
    /// Wait before trying again, in ms
    #[arg(long, value_name = "MS")]
    pub(crate) retry_delay: Option<u64>,
    #[command(flatten)]
    pub(crate) limits: ServerLimits,
    /// The tenant's limit of calls under way holds again
    #[arg(long, conflicts_with = "concurrent")]
    pub(crate) no_concurrent: bool,
    /// The tenant's limit of an answer's size holds again
    #[arg(long, conflicts_with = "response_bytes")]
    pub(crate) no_response_bytes: bool,
    /// The tenant's limit of a call's time holds again
    #[arg(long, conflicts_with = "call_secs")]
    pub(crate) no_call_secs: bool,
    /// All hidden tools anew
    #[arg(long = "disable-tool", value_name = "TOOL", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) disabled_tools: Vec<String>,
    /// No hidden tools any more
    #[arg(long, conflicts_with = "disabled_tools")]
    pub(crate) no_disabled_tools: bool,
    /// Believe the server's hints or not
    #[arg(long, value_name = "BOOL")]
    pub(crate) trust_hints: Option<bool>,
    #[command(flatten)]
    pub(crate) auth: Box<AuthArgs>,
    /// Forget everybody's credential
    #[arg(long, conflicts_with_all = ["credential_file", "credential_fields"])]
    pub(crate) no_credential: bool,
}

/// Limits of one server, each at most the tenant's.
#[derive(Debug, Clone, Args)]
pub(crate) struct ServerLimits {
    /// Calls under way at once
    #[arg(long, value_name = "N")]
    pub(crate) concurrent: Option<u64>,
    /// Bytes of one answer
    #[arg(long, value_name = "BYTES")]
    pub(crate) response_bytes: Option<u64>,
    /// Seconds that one call may take
    #[arg(long, value_name = "SECS")]
    pub(crate) call_secs: Option<u64>,
}

/// A transport as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportWord {
    /// Find out
    Auto,
    /// 2025-03-26 and later
    #[value(name = "streamable_http", aliases = ["streamable-http", "streamablehttp", "http", "http-streamable"])]
    StreamableHttp,
    /// HTTP+SSE of 2024-11-05
    Sse,
}

impl TransportWord {
    /// The word that REST knows.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::StreamableHttp => "streamable_http",
            Self::Sse => "sse",
        }
    }
}

/// A header as it is typed: `Name: value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl std::str::FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once(':').ok_or("expected `Name: value`")?;
        if name.trim().is_empty() {
            return Err("expected a name before the colon");
        }
        Ok(Self { name: name.trim().to_owned(), value: value.trim().to_owned() })
    }
}
