//! `gatehouse toolset …`.

use std::str::FromStr;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  gatehouse toolset add support --tool tickets/search --tool tickets/create=new_ticket --tool 'wiki/*'
  gatehouse toolset set support --listing search
  gatehouse export --tenant acme    what tools are called and described as is written best in a document

MCP clients find it at a proxy, at /toolsets/NAME/mcp.";

/// What to do with toolsets.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum ToolsetVerb {
    /// Make a toolset
    #[command(visible_alias = "create")]
    Add(ToolsetAdd),
    /// List toolsets
    #[command(visible_alias = "list")]
    Ls {
        /// Only those with this text in name or title
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Show one toolset
    Show {
        /// Name or id of the toolset
        toolset: String,
    },
    /// Change a toolset; what isn't named stays
    #[command(visible_alias = "update")]
    Set(ToolsetSet),
    /// Remove toolsets for good
    #[command(visible_alias = "remove")]
    Rm {
        /// Names or ids
        #[arg(required = true)]
        toolsets: Vec<String>,
    },
}

/// A new toolset.
#[derive(Debug, Clone, Args)]
pub(crate) struct ToolsetAdd {
    /// Its slug: 1 to 32 of a-z, 0-9 and -
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) record: ToolsetArgs,
}

/// What to change of a toolset.
#[derive(Debug, Clone, Args)]
pub(crate) struct ToolsetSet {
    /// Name or id of the toolset
    pub(crate) toolset: String,
    /// New slug
    #[arg(long)]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) record: ToolsetArgs,
    /// Nothing is said of it any more
    #[arg(long, conflicts_with = "description")]
    pub(crate) no_description: bool,
    /// Take everything out of it
    #[arg(long, conflicts_with = "tools")]
    pub(crate) no_tools: bool,
}

/// What both say.
#[derive(Debug, Clone, Args)]
pub(crate) struct ToolsetArgs {
    /// Free text for people
    #[arg(long)]
    pub(crate) title: Option<String>,
    /// What MCP clients are told that it is for
    #[arg(long)]
    pub(crate) description: Option<String>,
    /// Show its tools, or only tools to search, describe and call them [default: tools]
    #[arg(long, value_parser = PossibleValuesParser::new(["tools", "search"]))]
    pub(crate) listing: Option<String>,
    /// A tool of a server and what it is called here, `*` for all of the server (repeat for more); those that are named
    /// replace all that were in it
    #[arg(long = "tool", value_name = "SERVER/TOOL[=NAME]")]
    pub(crate) tools: Vec<Pick>,
}

/// One tool of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) server: String,
    pub(crate) tool: String,
    pub(crate) name: Option<String>,
}

impl FromStr for Pick {
    type Err = &'static str;

    /// What stands behind the last `=` is a name if it can be one: tools may have `=` in theirs.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (server, rest) = text.split_once('/').ok_or("must be SERVER/TOOL or SERVER/TOOL=NAME")?;
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        let (tool, name) = match rest.rsplit_once('=').filter(|(tool, name)| !tool.is_empty() && is_name(name)) {
            Some((tool, name)) => (tool, Some(name.to_owned())),
            None => (rest, None),
        };
        if server.is_empty() || tool.is_empty() {
            return Err("names no server or no tool");
        }
        Ok(Self { server: server.to_owned(), tool: tool.to_owned(), name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_is_picked_by_its_server_and_may_be_renamed() {
        for (text, expected) in [
            ("notes/search", Some(("notes", "search", None))),
            ("notes/search=find", Some(("notes", "search", Some("find")))),
            ("notes/a/b=c=d", Some(("notes", "a/b=c", Some("d")))),
            ("notes/a=b.c", Some(("notes", "a=b.c", None))),
            ("notes/*", Some(("notes", "*", None))),
            ("notes", None),
            ("/search", None),
            ("notes/", None),
        ] {
            let read = text.parse::<Pick>().ok();
            let read = read.as_ref().map(|pick| (pick.server.as_str(), pick.tool.as_str(), pick.name.as_deref()));
            assert_eq!(read, expected, "{text}");
        }
    }
}
