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

    /// Reads ports as they are written: `443`, or `8000-8100` with both included.
    pub fn parse_ports(text: &str) -> Result<(u16, u16), EgressRuleError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| {
            let digits = text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u16>().ok().filter(|port| digits && *port > 0).ok_or(EgressRuleError::Ports)
        };
        let (first, last) = (port(first)?, port(last)?);
        if first <= last { Ok((first, last)) } else { Err(EgressRuleError::Ports) }
    }

    /// The ports as [`EgressRule::parse_ports`] reads them; `None` for those of the default policy.
    pub fn ports_text(&self) -> Option<String> {
        self.ports.map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
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

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressRuleError {
    /// What stands before the ports.
    #[error(transparent)]
    Host(#[from] HostPatternError),
    /// What stands behind the colon.
    #[error("the ports must be one such as 443 or a range such as 8000-8100")]
    Ports,
    /// Something else than `--http` behind the place.
    #[error("must be HOST|CIDR[:PORTS][ --http]")]
    Shape,
}

/// `HOST|CIDR[:PORTS][ --http]`, as in a configuration: for every tenant, under a fresh id. A single
/// IPv6 address stands in brackets when ports follow.
impl FromStr for EgressRule {
    type Err = EgressRuleError;

    fn from_str(text: &str) -> Result<Self, EgressRuleError> {
        let mut words = text.split_ascii_whitespace();
        let place = words.next().ok_or(EgressRuleError::Shape)?;
        let http = match (words.next(), words.next()) {
            (None, None) => false,
            (Some("--http"), None) => true,
            _ => return Err(EgressRuleError::Shape),
        };
        let (host, ports) = host_and_ports(place);
        Ok(Self {
            id: EgressRuleId::fresh(),
            tenant: None,
            host: host.parse()?,
            ports: ports.map(Self::parse_ports).transpose()?,
            http,
        })
    }
}

/// Cuts at the colon that stands before ports; those inside of an IPv6 address don't.
fn host_and_ports(place: &str) -> (&str, Option<&str>) {
    let after = match (place.rfind(']'), place.find('/')) {
        (Some(bracket), _) => bracket,
        (None, Some(slash)) => slash,
        (None, None) if place.matches(':').count() > 1 => return (place, None),
        (None, None) => 0,
    };
    let colon = place.get(after..).and_then(|rest| rest.find(':')).map(|colon| after + colon);
    match colon.and_then(|colon| place.split_at_checked(colon)) {
        Some((host, ports)) => (host, ports.strip_prefix(':')),
        None => (place, None),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_read_as_it_is_written() {
        for (text, host, ports, http) in [
            ("tools", "tools", None, false),
            ("Tools.SVC.:8080", "tools.svc", Some((8080, 8080)), false),
            ("tools --http", "tools", None, true),
            ("tools:8000-8100   --http", "tools", Some((8000, 8100)), true),
            ("10.20.1.1/16", "10.20.0.0/16", None, false),
            ("10.20.0.0/16:80 --http", "10.20.0.0/16", Some((80, 80)), true),
            ("10.1.2.3:443", "10.1.2.3/32", Some((443, 443)), false),
            ("fd12::1", "fd12::1/128", None, false),
            ("[fd12::1]:8443", "fd12::1/128", Some((8443, 8443)), false),
            ("fd12::/16:8443", "fd12::/16", Some((8443, 8443)), false),
        ] {
            let rule: EgressRule = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((rule.host.to_string().as_str(), rule.ports, rule.http), (host, ports, http), "{text}");
            assert_eq!(rule.tenant, None, "{text}");
        }
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (text, error) in [
            ("", EgressRuleError::Shape),
            ("tools --https", EgressRuleError::Shape),
            ("tools --http --http", EgressRuleError::Shape),
            ("*.corp", EgressRuleError::Host(HostPatternError)),
            ("10.0.0.0/33", EgressRuleError::Host(HostPatternError)),
            (":80", EgressRuleError::Host(HostPatternError)),
            ("tools:", EgressRuleError::Ports),
            ("tools:0", EgressRuleError::Ports),
            ("tools:90-80", EgressRuleError::Ports),
            ("tools:80-", EgressRuleError::Ports),
            ("tools:+80", EgressRuleError::Ports),
            ("tools:70000", EgressRuleError::Ports),
        ] {
            assert_eq!(text.parse::<EgressRule>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn ports_are_told_as_they_are_read() {
        for text in ["443", "8000-8100"] {
            let rule = EgressRule {
                ports: Some(EgressRule::parse_ports(text).unwrap()),
                ..format!("tools:{text}").parse().unwrap()
            };
            assert_eq!(rule.ports_text().as_deref(), Some(text));
        }
    }
}
