//! Every spelling of a place that may not be reached, and that none of them is dialled.

use std::sync::Arc;

use egress::{Policy, Refusal};
use url::Url;

use crate::world::{World, reach};

/// Hosts in a URL that stand for an address, and why each is refused.
const LITERALS: &[(&str, Refusal)] = {
    use Refusal::{Address, Metadata};
    &[
        // Loopback, in the spellings that resolvers and parsers know.
        ("127.0.0.1", Address),
        ("127.0.0.2", Address),
        ("127.255.255.254", Address),
        ("127.1", Address),
        ("127.0.1", Address),
        ("0x7f.1", Address),
        ("0x7f.0.0.1", Address),
        ("0x7F000001", Address),
        ("0x7f.0x0.0x0.0x1", Address),
        ("2130706433", Address),
        ("017700000001", Address),
        ("0177.0.0.1", Address),
        ("0177.1", Address),
        ("0000177.0.0.1", Address),
        ("127.0.0.1.", Address),
        ("127.1.", Address),
        ("%31%32%37.0.0.1", Address),
        ("127%2e0%2e0%2e1", Address),
        ("127。0。0。1", Address),
        ("127．0．0．1", Address),
        ("１２７.0.0.1", Address),
        ("①②⑦.0.0.1", Address),
        ("𝟭𝟮𝟳.𝟬.𝟬.𝟭", Address),
        ("0x7f。1", Address),
        ("[::1]", Address),
        ("[0:0:0:0:0:0:0:1]", Address),
        ("[0000:0000:0000:0000:0000:0000:0000:0001]", Address),
        ("[::0.0.0.1]", Address),
        // Unspecified, which reaches this machine.
        ("0.0.0.0", Address),
        ("0", Address),
        ("0.1.2.3", Address),
        ("00000000", Address),
        ("0x0", Address),
        ("[::]", Address),
        ("[0:0::0]", Address),
        // Private.
        ("10.0.0.1", Address),
        ("10.255.255.255", Address),
        ("10.1", Address),
        ("012.0.0.1", Address),
        ("0xa.1", Address),
        ("167772161", Address),
        ("172.16.0.1", Address),
        ("172.31.255.255", Address),
        ("0xac100001", Address),
        ("192.168.0.1", Address),
        ("192.168.255.255", Address),
        ("192.168.257", Address),
        ("3232235777", Address),
        ("0300.0250.1.1", Address),
        // Shared, protocol assignments, documentation, relays, benchmarks.
        ("100.64.0.1", Address),
        ("100.127.255.255", Address),
        ("192.0.0.1", Address),
        ("192.0.0.170", Address),
        ("192.0.2.1", Address),
        ("192.88.99.1", Address),
        ("198.18.0.1", Address),
        ("198.19.255.255", Address),
        ("198.51.100.7", Address),
        ("203.0.113.7", Address),
        // Multicast, reserved, broadcast.
        ("224.0.0.1", Address),
        ("239.255.255.250", Address),
        ("240.0.0.1", Address),
        ("255.255.255.254", Address),
        ("255.255.255.255", Address),
        ("4294967295", Address),
        ("0xffffffff", Address),
        // Metadata and the rest of link-local.
        ("169.254.169.254", Metadata),
        ("169.254.170.2", Metadata),
        ("169.254.170.23", Metadata),
        ("169.254.0.1", Metadata),
        ("2852039166", Metadata),
        ("0xa9fea9fe", Metadata),
        ("0xa9.0xfe.0xa9.0xfe", Metadata),
        ("0251.0376.0251.0376", Metadata),
        ("169.254.43518", Metadata),
        ("169.16689662", Metadata),
        ("168.63.129.16", Metadata),
        ("100.100.100.200", Metadata),
        ("192.0.0.192", Metadata),
        ("[fd00:ec2::254]", Metadata),
        ("[fd00:0ec2:0:0:0:0:0:254]", Metadata),
        ("[fd00:ec2::23]", Metadata),
        ("[fd20:ce::254]", Metadata),
        // IPv4 in IPv6: mapped, compatible, translated, NAT64, 6to4, Teredo.
        ("[::ffff:127.0.0.1]", Address),
        ("[::ffff:7f00:1]", Address),
        ("[0:0:0:0:0:ffff:7f00:0001]", Address),
        ("[::ffff:10.0.0.1]", Address),
        ("[::ffff:8.8.8.8]", Address),
        ("[::ffff:0:0]", Address),
        ("[::ffff:169.254.169.254]", Metadata),
        ("[::ffff:a9fe:a9fe]", Metadata),
        ("[::ffff:168.63.129.16]", Metadata),
        ("[::127.0.0.1]", Address),
        ("[::7f00:1]", Address),
        ("[::8.8.8.8]", Address),
        ("[::a9fe:a9fe]", Metadata),
        ("[::ffff:0:127.0.0.1]", Address),
        ("[::ffff:0:a9fe:a9fe]", Metadata),
        ("[64:ff9b::7f00:1]", Address),
        ("[64:ff9b::127.0.0.1]", Address),
        ("[64:ff9b::a9fe:a9fe]", Metadata),
        ("[64:ff9b::10.0.0.1]", Address),
        ("[64:ff9b::8.8.8.8]", Address),
        ("[64:ff9b:1::a9fe:a9fe]", Metadata),
        ("[64:ff9b:1:a9fe:a9:fe00::]", Metadata),
        ("[64:ff9b:1::7f00:1]", Address),
        ("[64:ff9b:1:7f00:0:100::]", Address),
        ("[2002:7f00:1::]", Address),
        ("[2002:7f00:0001::1]", Address),
        ("[2002:a9fe:a9fe::]", Metadata),
        ("[2002:a00:1::1]", Address),
        ("[2002:808:808::1]", Address),
        ("[2001:0:7f00:1::]", Address),
        ("[2001:0:a9fe:a9fe::]", Metadata),
        ("[2001:0:4136:e378:8000:63bf:3fff:fdd2]", Address),
        ("[2001:0:4136:e378:8000:63bf:5601:5601]", Metadata),
        // IPv6 that isn't global unicast.
        ("[2001::1]", Address),
        ("[2001:2::1]", Address),
        ("[2001:10::1]", Address),
        ("[2001:1ff:ffff::1]", Address),
        ("[2001:db8::1]", Address),
        ("[3fff::1]", Address),
        ("[3fff:fff::1]", Address),
        ("[5f00::1]", Address),
        ("[100::1]", Address),
        ("[fc00::1]", Address),
        ("[fd12:3456:789a::1]", Address),
        ("[fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]", Address),
        ("[fe80::1]", Address),
        ("[fe80::a9fe:a9fe]", Address),
        ("[febf::1]", Address),
        ("[fec0::1]", Address),
        ("[feff::1]", Address),
        ("[ff02::1]", Address),
        ("[ff0e::1]", Address),
        ("[4000::1]", Address),
        ("[1fff::1]", Address),
        ("[8000::1]", Address),
        ("[e000::1]", Address),
    ]
};

/// Names that are refused before they are resolved.
const NAMES: &[(&str, Refusal)] = {
    use Refusal::{HostName, Metadata};
    &[
        ("localhost", HostName),
        ("LOCALHOST", HostName),
        ("LocalHost", HostName),
        ("localhost.", HostName),
        ("ｌｏｃａｌｈｏｓｔ", HostName),
        ("%6cocalhost", HostName),
        ("ⓛⓞⓒⓐⓛⓗⓞⓢⓣ", HostName),
        ("local\u{ad}host", HostName),
        ("foo.localhost", HostName),
        ("a.b.localhost.", HostName),
        ("localhost.localdomain", HostName),
        ("printer.local", HostName),
        ("PRINTER.LOCAL.", HostName),
        ("kubernetes.default.svc.cluster.local", HostName),
        ("vault.internal", HostName),
        ("host.docker.internal", HostName),
        ("ip-10-0-0-1.ec2.internal", HostName),
        ("router.lan", HostName),
        ("nas.home", HostName),
        ("wiki.corp", HostName),
        ("box.home.arpa", HostName),
        ("1.0.0.127.in-addr.arpa", HostName),
        ("intranet", HostName),
        ("redis", HostName),
        ("redis.", HostName),
        ("kubernetes", HostName),
        ("com", HostName),
        ("metadata", Metadata),
        ("metadata.", Metadata),
        ("METADATA", Metadata),
        ("metadata.google.internal", Metadata),
        ("metadata.google.internal.", Metadata),
        ("Metadata.Google.Internal", Metadata),
        ("metadata.azure.com", Metadata),
        ("metadata.platformequinix.com", Metadata),
        ("ｍetadata.google.internal", Metadata),
        ("instance-data", Metadata),
        ("instance-data.ec2.internal", Metadata),
    ]
};

#[tokio::test]
async fn no_spelling_of_an_inner_address_is_dialled() {
    let world = Arc::new(World::default());
    for (host, refusal) in LITERALS {
        for (scheme, port) in [("https", ""), ("https", ":8443"), ("http", "")] {
            let url = format!("{scheme}://{host}{port}/mcp");
            assert_eq!(reach(&world, Policy::default(), &url).await, Err(*refusal), "{url}");
        }
    }
    assert!(world.dialled().is_empty() && world.resolved().is_empty());
}

#[tokio::test]
async fn inner_names_are_refused_before_they_are_resolved() {
    let world = Arc::new(World::default());
    for (host, refusal) in NAMES {
        let url = format!("https://{host}/mcp");
        assert_eq!(reach(&world, Policy::default(), &url).await, Err(*refusal), "{url}");
    }
    assert!(world.dialled().is_empty() && world.resolved().is_empty());
}

#[tokio::test]
async fn a_name_that_leads_inside_is_refused_after_it_is_resolved() {
    for (host, refusal) in LITERALS {
        let url = Url::parse(&format!("https://{host}/")).unwrap();
        let inner = url.host_str().unwrap().trim_matches(['[', ']']);
        let world = Arc::new(World::default().answer("mcp.example.com", &[&[inner]]));
        assert_eq!(reach(&world, Policy::default(), "https://mcp.example.com/mcp").await, Err(*refusal), "{host}");
        assert_eq!(world.resolved(), ["mcp.example.com"]);
    }
}

#[tokio::test]
async fn public_addresses_over_https_are_dialled() {
    let world = Arc::new(World::default());
    for url in [
        "https://mcp.example.com/mcp",
        "https://MCP.Example.COM./mcp",
        "https://mcp.example.com:8443/",
        "https://mcp.example.com:65535/",
        "https://bücher.example/",
        "https://my-metadata.example.com/",
        "https://local.example.com/",
        "https://localhost.example.com/",
        "https://internal.example.com/",
        "https://mcp_1.example.com/",
        "https://8.8.8.8/",
        "https://134744072/",
        "https://11.0.0.1/",
        "https://9.255.255.255/",
        "https://100.63.255.255/",
        "https://100.128.0.1/",
        "https://126.255.255.255/",
        "https://128.0.0.1/",
        "https://169.253.1.1/",
        "https://169.255.1.1/",
        "https://172.15.255.255/",
        "https://172.32.0.1/",
        "https://192.0.1.1/",
        "https://192.167.255.255/",
        "https://192.169.0.1/",
        "https://198.17.255.255/",
        "https://198.20.0.1/",
        "https://203.0.112.1/",
        "https://203.0.114.1/",
        "https://223.255.255.255/",
        "https://168.63.129.17/",
        "https://[2606:4700::1111]/",
        "https://[2001:4860:4860::8888]/",
        "https://[2001:200::1]/",
        "https://[2a00:1450:4001:81b::200e]:8443/",
        "https://[3ffe::1]/",
        "https://[3fff:1000::1]/",
        "https://[2003::7f00:1]/",
    ] {
        assert_eq!(reach(&world, Policy::default(), url).await, Ok(()), "{url}");
    }
}

#[tokio::test]
async fn plain_http_and_other_schemes_are_refused() {
    let world = Arc::new(World::default());
    for (url, refusal) in [
        ("http://mcp.example.com/", Refusal::HttpsRequired),
        ("http://mcp.example.com:8080/", Refusal::HttpsRequired),
        ("http://8.8.8.8/", Refusal::HttpsRequired),
        ("http://[2606:4700::1111]/", Refusal::HttpsRequired),
        ("ftp://mcp.example.com/", Refusal::Scheme),
        ("ws://mcp.example.com/", Refusal::Scheme),
        ("wss://mcp.example.com/", Refusal::Scheme),
        ("file:///etc/passwd", Refusal::Scheme),
        ("gopher://mcp.example.com:6379/_x", Refusal::Scheme),
        ("data:text/plain,x", Refusal::Scheme),
        ("unix:/run/x.sock", Refusal::Scheme),
        ("javascript:alert(1)", Refusal::Scheme),
        ("https://user@mcp.example.com/", Refusal::UserInfo),
        ("https://user:secret@mcp.example.com/", Refusal::UserInfo),
        ("https://mcp.example.com@127.0.0.1/", Refusal::UserInfo),
    ] {
        assert_eq!(reach(&world, Policy::default(), url).await, Err(refusal), "{url}");
    }
    assert!(world.resolved().is_empty());
}

#[tokio::test]
async fn only_443_and_high_ports_that_no_database_uses_are_dialled() {
    let world = Arc::new(World::default());
    for port in [443, 1024, 3000, 8000, 8080, 8443, 9000, 50000, 65535] {
        let url = format!("https://mcp.example.com:{port}/");
        assert_eq!(reach(&world, Policy::default(), &url).await, Ok(()), "{port}");
    }
    for port in [
        0, 1, 21, 22, 23, 25, 53, 80, 110, 135, 139, 389, 445, 465, 587, 636, 993, 1023, 2375, 2376, 2379, 2380, 3306,
        3389, 4001, 5432, 6379, 6443, 8500, 9200, 9300, 10250, 10255, 11211, 27017,
    ] {
        for host in ["mcp.example.com", "8.8.8.8", "[2606:4700::1111]"] {
            let url = format!("https://{host}:{port}/");
            assert_eq!(reach(&world, Policy::default(), &url).await, Err(Refusal::Port), "{url}");
        }
    }
}

#[test]
fn texts_that_are_no_url_do_not_parse() {
    for text in [
        "https://",
        "https:///",
        "https://256.0.0.1/",
        "https://1.2.3.4.5/",
        "https://0x7f.0.0.0.1/",
        "https://4294967296/",
        "https://127.0.0.0x100/",
        "https://1.2.3.08/",
        "https://[::1/",
        "https://[::1%25eth0]/",
        "https://[::ffff:127.0.0.256]/",
        "https://exa mple.com/",
        "https://exa%00mple.com/",
        "https://example.com:65536/",
        "https://example.com:-1/",
        "https://a.b.0x1/",
    ] {
        assert!(Url::parse(text).is_err(), "{text}");
    }
}

#[test]
fn a_refusal_shows_no_address_and_has_a_stable_code() {
    use Refusal::{Address, HostName, HttpsRequired, Metadata, OwnListener, Port, Scheme, UserInfo};
    for (refusal, code) in [
        (HttpsRequired, "https_required"),
        (Scheme, "url_scheme"),
        (UserInfo, "url_userinfo"),
        (HostName, "address_blocked"),
        (Port, "address_blocked"),
        (Address, "address_blocked"),
        (OwnListener, "address_blocked"),
        (Metadata, "address_blocked"),
    ] {
        assert_eq!(refusal.code(), code);
        assert!(!refusal.to_string().contains(|c: char| c.is_ascii_digit()), "{refusal}");
    }
}
