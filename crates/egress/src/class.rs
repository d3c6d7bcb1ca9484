//! What kind of place an IP address is.
//!
//! Allow-only: an address is public because a list says so, and an IPv6 address that carries an IPv4
//! address is also judged by what it carries.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of place an address is, from the most harmless to the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Global unicast: reachable by default.
    Public,
    /// Private, shared, documentation and the like: only where a rule says so.
    Special,
    /// This machine: only in dev mode.
    Loopback,
    /// Unspecified, multicast, broadcast, reserved, link-local: never.
    Never,
    /// Where clouds hand out credentials: never.
    Metadata,
}

impl Class {
    /// Judges an address, and the IPv4 addresses that it carries.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }
}

/// Metadata services that stand outside 169.254/16: Azure's, Alibaba's, Oracle's.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(192, 0, 0, 192)];

/// Amazon's metadata service, its pod identity agent, its resolver and its clock; Google's metadata service.
const METADATA_V6: [Ipv6Addr; 5] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0023),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0253),
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0123),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

fn of_v4(ip: Ipv4Addr) -> Class {
    let [a, b, c, _] = ip.octets();
    if METADATA_V4.contains(&ip) {
        return Class::Metadata;
    }
    match (a, b, c) {
        // All of link-local: clouds add services there (169.254.169.254, .170.2, .170.23), nobody serves MCP.
        (169, 254, _) => Class::Metadata,
        (127, _, _) => Class::Loopback,
        // 0/8 reaches this machine on Linux.
        (0, _, _) | (224..=255, _, _) => Class::Never,
        (10, _, _)
        | (100, 64..=127, _)
        | (172, 16..=31, _)
        | (192, 0, 0 | 2)
        | (192, 88, 99)
        | (192, 168, _)
        | (198, 18..=19, _)
        | (198, 51, 100)
        | (203, 0, 113) => Class::Special,
        _ => Class::Public,
    }
}

fn of_v6(ip: Ipv6Addr) -> Class {
    // Before it is read as the compatible form of 0.0.0.1.
    if ip == Ipv6Addr::LOCALHOST {
        return Class::Loopback;
    }
    let own = alone(ip);
    // What is carried can only make it worse: a mapped public address is still no way out. Dev mode
    // opens 127/8 and ::1 as they are, not in disguise.
    let carried = carried(ip).into_iter().flatten().map(of_v4);
    let carried = carried.map(|inner| if inner == Class::Loopback { Class::Never } else { inner });
    carried.fold(own, Class::max)
}

/// The class of an IPv6 address that carries nothing.
fn alone(ip: Ipv6Addr) -> Class {
    if METADATA_V6.contains(&ip) {
        return Class::Metadata;
    }
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Never,
        // Link-local, old site-local, multicast.
        [0xfe80..=0xffff, ..] => Class::Never,
        // IETF protocol assignments with Teredo, documentation, 6to4.
        [0x2001, 0..=0x01ff | 0x0db8, ..] | [0x2002, ..] | [0x3fff, 0..=0x0fff, ..] => Class::Special,
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Special,
    }
}

/// The IPv4 addresses inside an IPv6 address: mapped, compatible, translated, NAT64, 6to4, Teredo.
fn carried(ip: Ipv6Addr) -> [Option<Ipv4Addr>; 2] {
    let low = |a: u16, b: u16| Some(Ipv4Addr::from_bits(u32::from(a) << 16 | u32::from(b)));
    match ip.segments() {
        // ::/96, ::ffff:0:0/96, ::ffff:0:0:0/96
        [0, 0, 0, 0, 0 | 0xffff, 0, g, h] | [0, 0, 0, 0, 0, 0xffff, g, h] => [low(g, h), None],
        // 64:ff9b::/96
        [0x64, 0xff9b, 0, 0, 0, 0, g, h] => [low(g, h), None],
        // 64:ff9b:1::/48 may be cut at /96 or at /48 (RFC 8215, RFC 6052).
        [0x64, 0xff9b, 1, 0, 0, 0, g, h] => [low(g, h), None],
        [0x64, 0xff9b, 1, d, e, f, g, h] => [low(d, e << 8 | f >> 8), low(g, h)],
        [0x2002, b, c, ..] => [low(b, c), None],
        // Teredo: the server as it is, the client inverted.
        [0x2001, 0, c, d, _, _, g, h] => [low(c, d), low(!g, !h)],
        _ => [None, None],
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every way to carry an IPv4 address in an IPv6 one.
    fn disguises(ip: Ipv4Addr) -> [Ipv6Addr; 8] {
        let bits = ip.to_bits();
        let (g, h) = ((bits >> 16) as u16, bits as u16);
        [
            Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, g, h),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, g, h),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, g, h),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, g, h),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, g, h),
            Ipv6Addr::new(0x64, 0xff9b, 1, g, h >> 8, h << 8, 0, 0),
            Ipv6Addr::new(0x2002, g, h, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, 0x4136, 0xe378, 0x8000, 0x63bf, !g, !h),
        ]
    }

    proptest! {
        #[test]
        fn a_disguise_never_makes_an_address_more_harmless(bits: u32) {
            let ip = Ipv4Addr::from_bits(bits);
            let bare = Class::of(ip.into());
            for disguised in disguises(ip) {
                let class = Class::of(disguised.into());
                prop_assert!(class != Class::Public && class >= bare, "{ip} as {disguised}: {class:?}");
                prop_assert!(class != Class::Loopback || disguised == Ipv6Addr::LOCALHOST);
            }
        }

        #[test]
        fn a_public_ipv6_address_is_global_unicast(bits: u128) {
            for bits in [bits, bits >> 3 | 1 << 125] {
                let ip = Ipv6Addr::from_bits(bits);
                let inside = bits >> 125 == 1;
                prop_assert!(inside || Class::of(ip.into()) != Class::Public, "{ip}");
            }
        }
    }

    #[test]
    fn inner_addresses_in_any_disguise_are_as_bad_as_they_are() {
        let inner =
            ["127.0.0.1", "10.0.0.1", "169.254.169.254", "168.63.129.16", "0.0.0.0", "224.0.0.1", "192.168.1.1"];
        for ip in inner.map(|ip| ip.parse::<Ipv4Addr>().unwrap()) {
            for disguised in disguises(ip) {
                let (bare, class) = (Class::of(ip.into()), Class::of(disguised.into()));
                assert!(class >= bare && class != Class::Loopback, "{ip} as {disguised}: {class:?}");
            }
        }
    }
}
