//! The address policy follows the table: what a rule opens, what closes with it, and what none opens.

use egress::Policy;
use model::{EgressRule, Resource, ServerSpec, TenantId};
use proxy::{Change, Tables};
use serde_json::json;
use tests::mcp::code_of;
use tests::{Mcp, Upstream, eventually};

use crate::house::{House, server, tenant};

/// An address of an inner network, which the street leads to an upstream of the test.
const INNER: &str = "10.1.2.3";

fn rule(text: &str) -> EgressRule {
    text.parse().unwrap()
}

/// A house in earnest, with `notes` at an inner address.
async fn house(upstream: &Upstream) -> (House, ServerSpec) {
    let house = House::under(Policy::default()).await;
    house.street.lead(INNER, &upstream.url());
    let spec = server("notes", &format!("http://{INNER}:8080/mcp"));
    house.mount(&spec);
    (house, spec)
}

/// The code of what `echo` answers, 0 if it answers.
async fn code(mcp: &Mcp) -> i64 {
    let answer = mcp.call("notes__echo", json!({"text": "x"})).await;
    if answer["result"].is_object() { 0 } else { code_of(&answer) }
}

#[tokio::test]
async fn a_rule_opens_what_it_says_for_as_long_as_it_is_there() {
    let upstream = Upstream::start().await;
    let (house, _) = house(&upstream).await;
    let mcp = house.session_on_all().await;
    assert_eq!(code(&mcp).await, -31007);
    assert_eq!(house.street.dials(), 0);
    for text in ["10.1.0.0/16", "10.9.0.0/16 --http", "10.1.2.3:9000 --http"] {
        let rule = rule(text);
        house.put([Resource::Egress(rule.clone())]);
        assert_eq!(code(&mcp).await, -31007, "{text}");
        house.remove([Resource::Egress(rule).name()]);
    }
    let opens = rule("10.1.0.0/16:8000-8100 --http");
    house.put([Resource::Egress(opens.clone())]);
    assert_eq!(code(&mcp).await, 0);
    house.remove([Resource::Egress(opens.clone()).name()]);
    assert_eq!(code(&mcp).await, -31007, "no connection that rests is used again");
    house.put([Resource::Egress(opens.clone())]);
    assert_eq!(code(&mcp).await, 0);
    house.put([Resource::Egress(EgressRule { http: false, ..opens })]);
    assert_eq!(code(&mcp).await, -31007, "it was replaced by less");
}

#[tokio::test]
async fn a_rule_that_is_taken_away_closes_what_it_had_opened() {
    let upstream = Upstream::start().await;
    let (house, _) = house(&upstream).await;
    let opens = Resource::Egress(rule("10.1.2.3:8080 --http"));
    house.put([opens.clone()]);
    let mcp = house.session_on_all().await;
    assert_eq!(code(&mcp).await, 0);
    let _stream = mcp.listen().await;
    eventually("the upstream is listened to", async || (upstream.listeners() == 1).then_some(())).await;
    house.remove([opens.name()]);
    eventually("nobody listens any more", async || (upstream.listeners() == 0).then_some(())).await;
    eventually("every connection is closed", async || (upstream.open_connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_rule_of_one_tenant_opens_nothing_for_another() {
    let upstream = Upstream::start().await;
    let (house, _) = house(&upstream).await;
    let mcp = house.session_on_all().await;
    let opens = rule("10.1.2.3:8080 --http");
    house.put([Resource::Egress(EgressRule { tenant: Some(TenantId::fresh()), ..opens.clone() })]);
    assert_eq!(code(&mcp).await, -31007);
    house.put([Resource::Egress(EgressRule { tenant: Some(tenant().id), ..opens })]);
    assert_eq!(code(&mcp).await, 0);
}

#[tokio::test]
async fn no_rule_opens_loopback_or_a_metadata_service() {
    let upstream = Upstream::start().await;
    let (house, spec) = house(&upstream).await;
    house.street.lead("169.254.169.254", &upstream.url());
    for (text, url) in [
        ("127.0.0.0/8:1-65535 --http", upstream.url()),
        ("0.0.0.0/0:1-65535 --http", upstream.url()),
        ("0.0.0.0/0:1-65535 --http", "http://169.254.169.254/mcp".to_owned()),
        ("169.254.169.254:80 --http", "http://169.254.169.254/mcp".to_owned()),
        ("metadata.internal --http", "http://metadata.internal/mcp".to_owned()),
        ("localhost:1-65535 --http", upstream.url().replace("127.0.0.1", "localhost")),
    ] {
        house.put([Resource::Egress(rule(text))]);
        house.mount(&ServerSpec { url: model::UpstreamUrl::parse(&url).unwrap(), ..spec.clone() });
        let mcp = house.session_on_all().await;
        assert_eq!(code(&mcp).await, -31007, "{text}: {url}");
    }
    assert_eq!(house.street.dials(), 0);
}

#[tokio::test]
async fn rules_of_the_configuration_stay_whatever_the_table_says() {
    let upstream = Upstream::start().await;
    let configured = Policy { rules: vec![rule("10.1.2.3:8080 --http")], ..Policy::default() };
    let house = House::under(configured).await;
    house.street.lead(INNER, &upstream.url());
    house.mount(&server("notes", &format!("http://{INNER}:8080/mcp")));
    let mcp = house.session_on_all().await;
    let another = Resource::Egress(rule("10.9.0.0/16"));
    assert_eq!(code(&mcp).await, 0);
    house.put([another.clone()]);
    assert_eq!(code(&mcp).await, 0);
    house.remove([another.name()]);
    assert_eq!(code(&mcp).await, 0);
}

#[tokio::test]
async fn what_the_table_holds_brings_its_rules_back() {
    let upstream = Upstream::start().await;
    let (house, spec) = house(&upstream).await;
    let opens = rule("10.1.2.3:8080 --http");
    house.put([Resource::Egress(opens.clone())]);
    let egress = egress::Egress::new(Policy::default()).unwrap();
    let again = Tables::new(egress.clone());
    let change = Change { replace_all: true, upserts: house.tables.resources(), removes: Vec::new() };
    assert_eq!(again.apply(change), []);
    assert_eq!(egress.policy().rules, [opens]);
    assert_eq!(again.held(), house.tables.held());
    assert_eq!(again.digest(), house.tables.digest());
    // A snapshot without them takes them away.
    let upserts = vec![Resource::Tenant(tenant()), Resource::Server(spec)];
    assert_eq!(again.apply(Change { replace_all: true, upserts, removes: Vec::new() }), []);
    assert_eq!(egress.policy().rules, []);
}
