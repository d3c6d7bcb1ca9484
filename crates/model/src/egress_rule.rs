//! What a platform admin allows beyond the default address policy.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

use crate::digest::Canonical;
use crate::{Digest, EgressRuleId, TenantId};

/// One exception of a platform admin: a host or a network, ports, plain http, for whom. It opens
/// private ranges, single-label and internal names, ports and plain http; never loopback, link-local,
/// metadata or Gatehouse's own listeners.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRule {
    /// The record's id; a rule of the configuration has a fresh one.
    pub id: EgressRuleId,
    /// For one tenant only.
    pub tenant: Option<TenantId>,
    /// The host whose name and addresses are allowed, or the network.
    pub host: HostPattern,
    /// First and last port, both included. `None`: the ports of the default policy and, with `http`, 80.
    pub ports: Option<(u16, u16)>,
    /// Whether plain http is allowed.
    pub http: bool,
}

impl EgressRule {
    /// Whether the rule speaks for this tenant.
    pub fn is_for(&self, tenant: TenantId) -> bool {
        self.tenant.is_none_or(|only| only == tenant)
    }

    /// Whether the rule is about this name.
    pub fn names(&self, host: &str) -> bool {
        matches!(&self.host, HostPattern::Name(name) if name == host)
    }

    /// Whether the rule is about this address.
    pub fn contains(&self, ip: IpAddr) -> bool {
        matches!(&self.host, HostPattern::Net(net) if net.contains(&ip))
    }

    /// The digest under which proxies report this resource.
    pub fn digest(&self) -> Digest {
        let mut canonical = Canonical::new("egress");
        canonical.text(&self.id.to_string());
        canonical.text(&self.tenant.map(|tenant| tenant.to_string()).unwrap_or_default());
        canonical.text(&self.host.to_string());
        let ports = self.ports.map_or(u64::MAX, |(first, last)| u64::from(first) << 16 | u64::from(last));
        canonical.number(ports);
        canonical.number(u64::from(self.http));
        canonical.finish()
    }
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
