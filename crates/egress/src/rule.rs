//! What a platform admin allows beyond the default: a host or a network, ports, plain http, for whom.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use model::TenantId;

/// One exception of a platform admin. It opens private ranges, single-label and internal names, ports
/// and plain http; never loopback, link-local, metadata or Gatehouse's own listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The host whose name and addresses are allowed, or the network.
    pub host: HostPattern,
    /// First and last port, both included. `None`: the ports of the default policy and, with `http`, 80.
    pub ports: Option<(u16, u16)>,
    /// Whether plain http is allowed.
    pub http: bool,
    /// For one tenant only.
    pub tenant: Option<TenantId>,
}

/// An exact host name, or a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPattern {
    /// A name, lower case, without a trailing dot. No wildcard.
    Name(String),
    /// A network; a single address is a network of one.
    Net(IpNet),
}

/// Neither a host name nor a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a host name, an IP address or a network such as 10.20.0.0/16")]
pub struct HostPatternError;

impl Rule {
    /// Whether the rule speaks for this tenant.
    pub(crate) fn is_for(&self, tenant: TenantId) -> bool {
        self.tenant.is_none_or(|only| only == tenant)
    }

    /// Whether the rule allows this port and this scheme.
    pub(crate) fn opens(&self, port: u16, https: bool) -> bool {
        let port_allowed = match self.ports {
            Some((first, last)) => (first..=last).contains(&port),
            None => is_default_port(port) || (self.http && port == 80),
        };
        port_allowed && (https || self.http)
    }

    /// Whether the rule is about this name.
    pub(crate) fn names(&self, host: &str) -> bool {
        matches!(&self.host, HostPattern::Name(name) if name == host)
    }

    /// Whether the rule is about this address.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        matches!(&self.host, HostPattern::Net(net) if net.contains(&ip))
    }
}

/// Ports where databases, caches, queues and cluster agents listen, that no MCP server has by right.
const INTERNAL_PORTS: [u16; 33] = [
    1433, 1521, 2049, 2181, 2375, 2376, 2379, 2380, 3306, 3389, 4001, 4369, 5432, 5672, 5984, 5985, 5986, 6379, 6443,
    7000, 7001, 8500, 9042, 9092, 9200, 9300, 10250, 10255, 11211, 15672, 27017, 27018, 50070,
];

/// Whether the default policy allows the port: 443 and 1024 to 65535 less the well-known internal ones.
pub(crate) fn is_default_port(port: u16) -> bool {
    port == 443 || (port >= 1024 && !INTERNAL_PORTS.contains(&port))
}

impl FromStr for HostPattern {
    type Err = HostPatternError;

    fn from_str(text: &str) -> Result<Self, HostPatternError> {
        if let Ok(net) = text.parse::<IpNet>() {
            return Ok(Self::Net(net.trunc()));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(Self::Net(ip.into()));
        }
        // The same parser as for URLs, so that a rule and a URL can't spell one name in two ways.
        match url::Host::parse(text.strip_suffix('.').unwrap_or(text)) {
            Ok(url::Host::Domain(name)) if !name.is_empty() && name.len() <= 253 && !name.contains('*') => {
                Ok(Self::Name(name.to_ascii_lowercase()))
            }
            _ => Err(HostPatternError),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Net(net) => write!(f, "{net}"),
        }
    }
}
