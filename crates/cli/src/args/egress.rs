//! `gatehouse egress …`: the address in one word, as `address_blocked` prints it.

use std::str::FromStr;

use clap::{Args, Subcommand};
use model::{EgressRule, EgressRuleError};

const EXAMPLES: &str = "\
Examples:
  gatehouse egress allow wiki.tools.svc:8080 --http --reason 'in-cluster wiki'
  gatehouse egress allow 10.20.0.0/16:8000-8100 --tenant acme --reason 'Acme on premises'
  gatehouse egress allow fd00::/8:443 --reason 'private network'

Public addresses over https need no rule. Addresses of cloud metadata are never allowed.";

/// What to do with the rules of outgoing addresses.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum EgressVerb {
    /// Let servers have an address that the policy refuses otherwise
    Allow(Allow),
    /// List the rules; with --tenant those that hold for it
    #[command(visible_alias = "list")]
    Ls,
    /// Remove rules; servers that need one are refused from then on
    #[command(visible_alias = "remove")]
    Rm {
        /// Ids of the rules
        #[arg(required = true)]
        ids: Vec<String>,
    },
}

/// A new rule; with the global --tenant it holds for that tenant only.
#[derive(Debug, Clone, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Allow {
    /// Name or address range and its ports, e.g. wiki.tools.svc:8080 [default: 443, with --http also 80]
    #[arg(value_name = "HOST|CIDR[:PORTS]")]
    pub(crate) destination: Destination,
    /// Also over plain http
    #[arg(long)]
    pub(crate) http: bool,
    /// Why, for whoever reads the list next year
    #[arg(long)]
    pub(crate) reason: String,
}

/// A host or a range, and ports as they were typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Destination {
    pub(crate) host: String,
    pub(crate) ports: Option<String>,
}

impl FromStr for Destination {
    type Err = EgressRuleError;

    /// As rules of a configuration are read; `--http` is a flag here.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(char::is_whitespace) {
            return Err(EgressRuleError::Shape);
        }
        let rule: EgressRule = text.parse()?;
        Ok(Self { host: rule.host.to_string(), ports: rule.ports_text() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_a_host_or_a_range_and_its_ports() {
        for (text, expected) in [
            ("wiki.tools.svc", Some(("wiki.tools.svc", None))),
            ("wiki:8080", Some(("wiki", Some("8080")))),
            ("10.0.0.0/8:8000-8100", Some(("10.0.0.0/8", Some("8000-8100")))),
            ("10.1.2.3:8443", Some(("10.1.2.3/32", Some("8443")))),
            ("[fd00::1]:443", Some(("fd00::1/128", Some("443")))),
            ("http://wiki", None),
            ("wiki --http", None),
            ("wiki:0", None),
            ("", None),
        ] {
            let read = text.parse::<Destination>().ok();
            let read = read.as_ref().map(|read| (read.host.as_str(), read.ports.as_deref()));
            assert_eq!(read, expected, "{text}");
        }
    }
}
