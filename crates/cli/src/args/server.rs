//! `gatehouse server …`.

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, Subcommand, ValueEnum};

use super::Call;

/// What to do with servers.
#[derive(Debug, Subcommand)]
pub(crate) enum ServerVerb {
    /// Add a server; it is probed through a proxy first and nothing is saved when that fails
    Add(Add),
    /// List servers
    #[command(visible_alias = "list")]
    Ls {
        /// Only those whose name or title holds this text
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Show one server
    Show {
        /// Name or id of the server
        server: String,
    },
    /// Change a server; running calls finish as they began
    Set(Change),
    /// Remove servers
    #[command(visible_alias = "remove")]
    Rm {
        /// Names or ids
        #[arg(required = true)]
        servers: Vec<String>,
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
    },
    /// Call a tool of a server
    Call(Call),
}

/// A new server.
#[derive(Debug, Clone, Args)]
pub(crate) struct Add {
    /// Its slug: 1 to 32 of a-z, 0-9 and -; tools appear as NAME__tool
    pub(crate) name: String,
    /// The URL of its MCP endpoint
    #[arg(value_name = "URL")]
    pub(crate) upstream: String,
    /// How it is spoken to
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) transport: TransportWord,
    /// Free text for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// Public header for every request, `Name: value`; never a secret
    #[arg(long = "header", value_name = "NAME: VALUE")]
    pub(crate) headers: Vec<Header>,
    /// Limit for connecting, in ms
    #[arg(long, value_name = "MS")]
    pub(crate) connect_timeout: Option<u64>,
    /// Limit for the first byte of an answer, in ms
    #[arg(long, value_name = "MS")]
    pub(crate) read_timeout: Option<u64>,
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
}

/// What to change of a server; what isn't named stays.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true))]
pub(crate) struct Change {
    /// Name or id of the server
    pub(crate) server: String,
    /// New slug
    #[arg(long, group = "what")]
    pub(crate) name: Option<String>,
    /// New URL of its MCP endpoint; not probed: `gatehouse server test` does
    #[arg(long = "to", value_name = "URL", group = "what")]
    pub(crate) upstream: Option<String>,
    /// How it is spoken to
    #[arg(long, value_enum, group = "what")]
    pub(crate) transport: Option<TransportWord>,
    /// Free text for people
    #[arg(long, group = "what")]
    pub(crate) title: Option<String>,
    /// All public headers anew, `Name: value`; never a secret
    #[arg(long = "header", value_name = "NAME: VALUE", group = "what")]
    pub(crate) headers: Vec<Header>,
    /// No public headers any more
    #[arg(long, group = "what", conflicts_with = "headers")]
    pub(crate) no_headers: bool,
    /// Limit for connecting, in ms
    #[arg(long, value_name = "MS", group = "what")]
    pub(crate) connect_timeout: Option<u64>,
    /// Limit for the first byte of an answer, in ms
    #[arg(long, value_name = "MS", group = "what")]
    pub(crate) read_timeout: Option<u64>,
    /// All hidden tools anew
    #[arg(long = "disable-tool", value_name = "TOOL", group = "what", value_parser = NonEmptyStringValueParser::new())]
    pub(crate) disabled_tools: Vec<String>,
    /// No hidden tools any more
    #[arg(long, group = "what", conflicts_with = "disabled_tools")]
    pub(crate) no_disabled_tools: bool,
    /// Believe the server's hints or not
    #[arg(long, value_name = "BOOL", group = "what")]
    pub(crate) trust_hints: Option<bool>,
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
