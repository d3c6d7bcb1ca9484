//! Where a request comes from if a reverse proxy has passed it on. Nothing else reads the header `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// What every proxy adds to: the address that it was asked from.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// Hops that are looked at.
const MOST: usize = 64;

/// The reverse proxies before this service (`trusted_proxies`). Of none, only the connection counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trusted(Arc<[IpNet]>);

impl Trusted {
    pub(crate) fn new(nets: &[IpNet]) -> Self {
        Self(nets.into())
    }

    /// Whom limits and audit mean: the peer, and if that is a trusted proxy, whoever asked it. Each hop writes behind
    /// what it was sent, so that what a stranger has made up stands to the left of the stranger's own address.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> SocketAddr {
        let mut client = peer.ip().to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(MOST) {
            if !self.holds(client) {
                break;
            }
            // What can't be read hides whoever stands before it: the last one that is known answers for it.
            let Some(before) = std::str::from_utf8(hop).ok().and_then(address) else { break };
            client = before;
        }
        if client == peer.ip().to_canonical() { peer } else { SocketAddr::new(client, 0) }
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// One hop: an address; some proxies add the port.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim();
    let bracketed = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || hop.parse::<SocketAddr>().ok().map(|address| address.ip());
    let ip = hop.parse::<IpAddr>().ok().or_else(with_port).or_else(|| bracketed().map(IpAddr::V6))?;
    Some(ip.to_canonical())
}

/// One of `trusted_proxies`: a network, or an address alone. The whole internet is no proxy.
pub(crate) fn net(text: &str) -> Option<IpNet> {
    let net = text.parse::<IpNet>().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))?;
    (net.prefix_len() > 0).then(|| net.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &[&str], peer: &str, lines: &[&[u8]]) -> String {
        let nets: Vec<IpNet> = trusted.iter().map(|text| net(text).unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, axum::http::HeaderValue::from_bytes(line).unwrap());
        }
        Trusted::new(&nets).client(SocketAddr::new(peer.parse().unwrap(), 4711), &headers).ip().to_string()
    }

    #[test]
    fn the_last_address_that_is_no_proxy_of_ours_is_the_clients() {
        let proxies = &["10.0.0.0/8", "fd00::/8"];
        for (trusted, peer, lines, expected) in [
            (&[][..], "10.0.0.1", &[&b"203.0.113.9"[..]][..], "10.0.0.1"),
            (proxies, "192.0.2.1", &[b"203.0.113.9"], "192.0.2.1"),
            (proxies, "10.0.0.1", &[], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"203.0.113.9"], "203.0.113.9"),
            (proxies, "::ffff:10.0.0.1", &[b"203.0.113.9"], "203.0.113.9"),
            (proxies, "10.0.0.1", &[b"::ffff:203.0.113.9"], "203.0.113.9"),
            // Made up by the client, who stands to the right of it.
            (proxies, "10.0.0.1", &[b"127.0.0.1, 203.0.113.9"], "203.0.113.9"),
            (proxies, "10.0.0.1", &[b"10.9.9.9, 203.0.113.9"], "203.0.113.9"),
            (proxies, "10.0.0.1", &[b"127.0.0.1", b"203.0.113.9"], "203.0.113.9"),
            // Through several proxies, all of them ours, or one that is not.
            (proxies, "10.0.0.1", &[b"203.0.113.9, 10.0.0.2,10.0.0.3"], "203.0.113.9"),
            (proxies, "10.0.0.1", &[b"203.0.113.9", b"10.0.0.2 ,\tfd00::1"], "203.0.113.9"),
            (proxies, "10.0.0.1", &[b"203.0.113.9, 198.51.100.1, 10.0.0.3"], "198.51.100.1"),
            (proxies, "10.0.0.1", &[b"10.0.0.7, 10.0.0.3"], "10.0.0.7"),
            (proxies, "10.0.0.1", &[b"203.0.113.9:4711"], "203.0.113.9"),
            (proxies, "10.0.0.1", &[b"[2001:db8::1]:4711"], "2001:db8::1"),
            (proxies, "10.0.0.1", &[b"[2001:db8::1]"], "2001:db8::1"),
            (proxies, "10.0.0.1", &[b"2001:db8::1"], "2001:db8::1"),
            // Garbage: whoever passed it on.
            (proxies, "10.0.0.1", &[b""], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"unknown"], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"203.0.113.9, unknown"], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"203.0.113.9, unknown, 10.0.0.2"], "10.0.0.2"),
            (proxies, "10.0.0.1", &[b"203.0.113.9,"], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"203.0.113.999"], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"203.0.113.9 10.0.0.2"], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"\xff\xfe"], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"for=203.0.113.9"], "10.0.0.1"),
            (proxies, "10.0.0.1", &[b"0x7f.1"], "10.0.0.1"),
        ] {
            let shown: Vec<_> = lines.iter().map(|line| String::from_utf8_lossy(line)).collect();
            assert_eq!(client(trusted, peer, lines), expected, "{peer} {shown:?}");
        }
    }

    #[test]
    fn no_more_hops_are_looked_at_than_any_way_has() {
        let many = vec!["10.0.0.2"; 10_000].join(",");
        assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[format!("203.0.113.9,{many}").as_bytes()]), "10.0.0.2");
    }

    #[test]
    fn a_proxy_is_a_network_or_an_address_and_not_everybody() {
        for (text, read) in [
            ("10.0.0.0/8", Some("10.0.0.0/8")),
            ("10.1.2.3/8", Some("10.0.0.0/8")),
            ("192.0.2.7", Some("192.0.2.7/32")),
            ("fd00::/8", Some("fd00::/8")),
            ("::1", Some("::1/128")),
            ("0.0.0.0/0", None),
            ("::/0", None),
            ("10.0.0.0/33", None),
            ("proxy.example", None),
            ("", None),
        ] {
            assert_eq!(net(text).map(|net| net.to_string()).as_deref(), read, "{text}");
        }
    }

    proptest::proptest! {
        /// Whatever a stranger sends, a trusted proxy that adds the stranger's address makes it theirs.
        #[test]
        fn nobody_chooses_their_address(sent in "[ -~]{0,60}") {
            let line = format!("{sent}, 203.0.113.9");
            assert_eq!(client(&["10.0.0.0/8"], "10.0.0.1", &[line.as_bytes()]), "203.0.113.9");
        }
    }
}
