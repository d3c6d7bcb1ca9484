//! Which ports a rule opens; the rule itself is a noun of `model`.

use model::EgressRule;

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
