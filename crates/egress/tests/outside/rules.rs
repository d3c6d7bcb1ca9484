//! What rules of a platform admin and dev mode open, and what they never open.

use std::net::SocketAddr;
use std::sync::Arc;

use egress::{Policy, Refusal};
use model::{EgressRule, EgressRuleId, HostPattern, TenantId};
use uuid::Uuid;

use crate::world::{World, dev, reach, tenant};

fn rule(host: &str) -> EgressRule {
    EgressRule { id: EgressRuleId::fresh(), host: host.parse().unwrap(), ports: None, http: false, tenant: None }
}

fn policy(rules: impl IntoIterator<Item = EgressRule>) -> Policy {
    Policy { rules: rules.into_iter().collect(), ..Policy::default() }
}

/// A world with an inner network.
fn world() -> Arc<World> {
    let world = World::default()
        .answer("mcp.svc.cluster.local", &[&["10.1.2.3"]])
        .answer("tools", &[&["10.1.2.4"]])
        .answer("split.example.com", &[&["93.184.215.14", "10.1.2.3"]])
        .answer("inner.example.com", &[&["10.1.2.3"]])
        .answer("sneaky.example.com", &[&["127.0.0.1"]])
        .answer("cloudy.example.com", &[&["169.254.169.254"]])
        .answer("localhost", &[&["::1", "127.0.0.1"]]);
    Arc::new(world)
}

#[tokio::test]
async fn a_host_rule_opens_the_name_and_where_it_leads() {
    let world = world();
    for (rule_host, url, expected) in [
        ("mcp.svc.cluster.local", "https://mcp.svc.cluster.local/", Ok(())),
        ("MCP.svc.cluster.local.", "https://mcp.svc.cluster.local/", Ok(())),
        ("mcp.svc.cluster.local", "https://MCP.svc.cluster.local./", Ok(())),
        ("tools", "https://tools:8080/", Ok(())),
        ("inner.example.com", "https://inner.example.com/", Ok(())),
        ("split.example.com", "https://split.example.com/", Ok(())),
        ("tools", "https://tools:81/", Err(Refusal::Port)),
        ("tools", "https://tools:5432/", Err(Refusal::Port)),
        ("tools", "http://tools:8080/", Err(Refusal::HttpsRequired)),
        ("tools", "https://tools2/", Err(Refusal::HostName)),
        ("tools", "https://a.tools/", Ok(())),
        ("tools", "https://10.1.2.4/", Err(Refusal::Address)),
        ("inner.example.com", "https://sub.inner.example.com/", Ok(())),
        ("mcp.svc.cluster.local", "https://other.svc.cluster.local/", Err(Refusal::HostName)),
        // Never, whatever a rule says.
        ("sneaky.example.com", "https://sneaky.example.com/", Err(Refusal::Address)),
        ("cloudy.example.com", "https://cloudy.example.com/", Err(Refusal::Metadata)),
        ("metadata.google.internal", "https://metadata.google.internal/", Err(Refusal::Metadata)),
        ("localhost", "https://localhost/", Err(Refusal::HostName)),
        ("a.localhost", "https://a.localhost/", Err(Refusal::HostName)),
    ] {
        assert_eq!(reach(&world, policy([rule(rule_host)]), url).await, expected, "{rule_host}: {url}");
    }
}

#[tokio::test]
async fn a_network_rule_opens_addresses_and_no_names() {
    let world = world();
    for (net, url, expected) in [
        ("10.1.0.0/16", "https://10.1.2.3/", Ok(())),
        ("10.1.2.99/16", "https://10.1.2.3/", Ok(())),
        ("10.1.2.3", "https://10.1.2.3/", Ok(())),
        ("10.1.0.0/16", "https://10.2.0.1/", Err(Refusal::Address)),
        ("10.1.0.0/16", "https://inner.example.com/", Ok(())),
        ("10.1.0.0/16", "https://split.example.com/", Ok(())),
        ("10.1.0.0/16", "https://tools/", Err(Refusal::HostName)),
        ("10.1.0.0/16", "https://mcp.svc.cluster.local/", Err(Refusal::HostName)),
        ("10.1.0.0/16", "https://10.1.2.3:22/", Err(Refusal::Port)),
        ("10.1.0.0/16", "http://10.1.2.3:8080/", Err(Refusal::HttpsRequired)),
        ("fd12::/16", "https://[fd12::1]/", Ok(())),
        ("fd12::/16", "https://[fd13::1]/", Err(Refusal::Address)),
        ("::ffff:0:0/96", "https://[::ffff:10.1.2.3]/", Ok(())),
        ("64:ff9b::/96", "https://[64:ff9b::808:808]/", Ok(())),
        // Never, whatever a rule says.
        ("0.0.0.0/0", "https://127.0.0.1/", Err(Refusal::Address)),
        ("0.0.0.0/0", "https://sneaky.example.com/", Err(Refusal::Address)),
        ("127.0.0.0/8", "https://127.0.0.1:8080/", Err(Refusal::Address)),
        ("0.0.0.0/0", "https://0.0.0.0/", Err(Refusal::Address)),
        ("0.0.0.0/0", "https://224.0.0.1/", Err(Refusal::Address)),
        ("169.254.0.0/16", "https://169.254.169.254/", Err(Refusal::Metadata)),
        ("168.63.129.16", "https://168.63.129.16/", Err(Refusal::Metadata)),
        ("100.64.0.0/10", "https://100.100.100.200/", Err(Refusal::Metadata)),
        ("fd00:ec2::254", "https://[fd00:ec2::254]/", Err(Refusal::Metadata)),
        ("::/0", "https://[::1]/", Err(Refusal::Address)),
        ("::/0", "https://[::ffff:127.0.0.1]/", Err(Refusal::Address)),
        ("::/0", "https://[::ffff:169.254.169.254]/", Err(Refusal::Metadata)),
        ("::/0", "https://[64:ff9b::a9fe:a9fe]/", Err(Refusal::Metadata)),
        ("::/0", "https://[2002:7f00:1::]/", Err(Refusal::Address)),
        ("::/0", "https://[fe80::1]/", Err(Refusal::Address)),
    ] {
        assert_eq!(reach(&world, policy([rule(net)]), url).await, expected, "{net}: {url}");
    }
}

#[tokio::test]
async fn a_rule_opens_plain_http_and_ports_only_where_it_says_so() {
    let world = world();
    let http = |host: &str| EgressRule { http: true, ..rule(host) };
    let ports = |host: &str, ports| EgressRule { ports: Some(ports), ..rule(host) };
    let both = |host: &str, range| EgressRule { http: true, ..ports(host, range) };
    for (rule, url, expected) in [
        (http("tools"), "http://tools/", Ok(())),
        (http("tools"), "http://tools:8080/", Ok(())),
        (http("tools"), "https://tools/", Ok(())),
        (http("tools"), "http://tools:22/", Err(Refusal::HttpsRequired)),
        (http("tools"), "http://mcp.example.com/", Err(Refusal::HttpsRequired)),
        (http("10.0.0.0/8"), "http://10.1.2.3/", Ok(())),
        (http("10.0.0.0/8"), "http://inner.example.com/", Ok(())),
        // The name passes until its addresses are known: a public one still needs https.
        (http("10.0.0.0/8"), "http://mcp.example.com/", Err(Refusal::HttpsRequired)),
        (http("10.0.0.0/8"), "http://split.example.com/", Err(Refusal::HttpsRequired)),
        (http("mcp.example.com"), "http://mcp.example.com/", Ok(())),
        (ports("tools", (22, 25)), "https://tools:22/", Ok(())),
        (ports("tools", (22, 25)), "https://tools:25/", Ok(())),
        (ports("tools", (22, 25)), "https://tools:26/", Err(Refusal::Port)),
        (ports("tools", (22, 25)), "https://tools:443/", Err(Refusal::Port)),
        (ports("tools", (22, 25)), "http://tools:22/", Err(Refusal::HttpsRequired)),
        (ports("tools", (25, 22)), "https://tools:23/", Err(Refusal::Port)),
        (both("tools", (80, 80)), "http://tools/", Ok(())),
        (ports("93.184.215.14", (80, 80)), "https://mcp.example.com:80/", Ok(())),
        (ports("93.184.215.14", (80, 80)), "https://other.example.com:81/", Err(Refusal::Port)),
        (ports("10.0.0.0/8", (80, 80)), "https://mcp.example.com:80/", Err(Refusal::Port)),
    ] {
        assert_eq!(reach(&world, policy([rule.clone()]), url).await, expected, "{rule:?}: {url}");
    }
}

#[tokio::test]
async fn a_rule_for_one_tenant_opens_nothing_for_another() {
    let world = world();
    let other = TenantId(Uuid::from_u128(2));
    let (ours, theirs) =
        (EgressRule { tenant: Some(tenant()), ..rule("tools") }, EgressRule { tenant: Some(other), ..rule("tools") });
    assert_eq!(reach(&world, policy([ours]), "https://tools/").await, Ok(()));
    assert_eq!(reach(&world, policy([theirs]), "https://tools/").await, Err(Refusal::HostName));
}

#[tokio::test]
async fn dev_mode_opens_loopback_and_nothing_else() {
    let world = world();
    for (url, expected) in [
        ("http://127.0.0.1/", Ok(())),
        ("http://127.0.0.1:3001/mcp", Ok(())),
        ("http://127.9.9.9:3306/", Ok(())),
        ("https://127.0.0.1:8443/", Ok(())),
        ("http://2130706433:3001/", Ok(())),
        ("http://[::1]:3001/", Ok(())),
        ("http://localhost:3001/", Ok(())),
        ("http://LOCALHOST.:3001/", Ok(())),
        ("https://localhost/", Ok(())),
        ("http://foo.localhost:3001/", Err(Refusal::HostName)),
        ("http://localhost.localdomain:3001/", Err(Refusal::HostName)),
        ("http://[::ffff:127.0.0.1]:3001/", Err(Refusal::Address)),
        ("http://0.0.0.0:3001/", Err(Refusal::Address)),
        ("http://[::]:3001/", Err(Refusal::Address)),
        ("http://10.1.2.3:3001/", Err(Refusal::Address)),
        ("http://192.168.1.1/", Err(Refusal::Address)),
        ("http://169.254.169.254/", Err(Refusal::Metadata)),
        ("https://metadata.google.internal/", Err(Refusal::Metadata)),
        ("http://mcp.example.com/", Err(Refusal::HttpsRequired)),
        ("https://mcp.example.com:22/", Err(Refusal::Port)),
        ("https://sneaky.example.com/", Err(Refusal::Address)),
        ("https://tools/", Err(Refusal::HostName)),
        ("https://mcp.example.com/", Ok(())),
    ] {
        assert_eq!(reach(&world, dev(), url).await, expected, "{url}");
    }
}

#[tokio::test]
async fn localhost_must_lead_to_loopback() {
    for answer in ["10.0.0.1", "93.184.215.14", "169.254.169.254"] {
        let world = Arc::new(World::default().answer("localhost", &[&["127.0.0.1", answer]]));
        assert!(reach(&world, dev(), "https://localhost/").await.is_err(), "{answer}");
    }
}

#[tokio::test]
async fn our_own_listeners_are_never_reached() {
    let world = world();
    let own = |addr: &str| {
        let own: SocketAddr = addr.parse().unwrap();
        Policy { own: vec![own], rules: vec![EgressRule { http: true, ..rule("10.0.0.0/8") }], ..dev() }
    };
    for (listener, url, expected) in [
        ("127.0.0.1:5010", "http://127.0.0.1:5010/", Err(Refusal::OwnListener)),
        ("127.0.0.1:5010", "http://127.0.0.2:5010/", Err(Refusal::OwnListener)),
        ("127.0.0.1:5010", "http://localhost:5010/", Err(Refusal::OwnListener)),
        ("127.0.0.1:5010", "http://[::1]:5010/", Err(Refusal::OwnListener)),
        ("127.0.0.1:5010", "http://127.0.0.1:5011/", Ok(())),
        ("127.0.0.1:5010", "http://10.1.2.3:5010/", Ok(())),
        ("127.0.0.1:5010", "https://8.8.8.8:5010/", Ok(())),
        ("10.1.2.3:5010", "http://10.1.2.3:5010/", Err(Refusal::OwnListener)),
        ("10.1.2.3:5010", "http://inner.example.com:5010/", Err(Refusal::OwnListener)),
        ("10.1.2.3:5010", "http://10.1.2.3:5011/", Ok(())),
        ("0.0.0.0:5010", "http://127.0.0.1:5010/", Err(Refusal::OwnListener)),
        ("0.0.0.0:5010", "http://10.1.2.3:5010/", Err(Refusal::OwnListener)),
        ("[::]:5010", "http://[::1]:5010/", Err(Refusal::OwnListener)),
        ("[::]:5010", "http://127.0.0.1:5010/", Err(Refusal::OwnListener)),
        ("8.8.8.8:443", "https://8.8.8.8/", Err(Refusal::OwnListener)),
        ("8.8.8.8:443", "https://8.8.4.4/", Ok(())),
    ] {
        assert_eq!(reach(&world, own(listener), url).await, expected, "{listener}: {url}");
    }
}

#[test]
fn a_host_pattern_is_a_name_or_a_network() {
    for (text, shown) in [
        ("Tools.Example.COM.", "tools.example.com"),
        ("tools", "tools"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("10.20.30.40/16", "10.20.0.0/16"),
        ("10.20.30.40", "10.20.30.40/32"),
        ("::1", "::1/128"),
        ("[fd12::1]", "fd12::1/128"),
        ("fd12::/16", "fd12::/16"),
    ] {
        assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), shown);
    }
    for text in ["", ".", "*", "*.example.com", "10.0.0.0/33", "a b", "https://x/", "x:443", "x/16", "127.1"] {
        assert!(text.parse::<HostPattern>().is_err(), "{text}");
    }
}
