//! What a rule opens, and what none does; the rule itself is a noun of `model`.

use std::net::IpAddr;

use model::{EgressRule, HostPattern};

use crate::address::refused_always;
use crate::class::Class;

/// Whether a rule about this place would open nothing: metadata services, link-local, multicast. Loopback
/// is not among them, since dev mode lets it in.
pub fn opens_nothing(host: &HostPattern) -> bool {
    match host {
        HostPattern::Name(name) => refused_always(name, true).is_err(),
        // Within such a block all addresses are of the kind of its ends, or only single ones are not.
        HostPattern::Net(net) => {
            let one_block = match net.network() {
                IpAddr::V4(_) => net.prefix_len() >= 8,
                IpAddr::V6(first) => net.prefix_len() == 128 || matches!(first.segments(), [0xfe80..=0xffff, ..]),
            };
            one_block && [net.network(), net.broadcast()].into_iter().all(|ip| Class::of(ip) >= Class::Never)
        }
    }
}

/// Whether the rule allows this port and this scheme.
pub(crate) fn opens(rule: &EgressRule, port: u16, https: bool) -> bool {
    let port_allowed = match rule.ports {
        Some((first, last)) => (first..=last).contains(&port),
        None => is_default_port(port) || (rule.http && port == 80),
    };
    port_allowed && (https || rule.http)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_for_what_is_never_reached_opens_nothing() {
        for (host, nothing) in [
            ("169.254.169.254", true),
            ("169.254.0.0/16", true),
            ("169.254.0.0/15", false),
            ("100.100.100.200", true),
            ("100.64.0.0/10", false),
            ("224.0.0.0/8", true),
            ("0.0.0.0/0", false),
            ("10.0.0.0/8", false),
            ("8.8.8.8", false),
            ("127.0.0.1", false),
            ("fe80::/10", true),
            ("fd00:ec2::254", true),
            ("fd00::/8", false),
            ("64:ff9b::/96", false),
            ("::/0", false),
            ("metadata.google.internal", true),
            ("instance-data", true),
            ("wiki.corp", false),
        ] {
            assert_eq!(opens_nothing(&host.parse().unwrap()), nothing, "{host}");
        }
    }
}
