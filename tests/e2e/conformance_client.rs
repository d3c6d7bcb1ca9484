//! Gatehouse as the MCP client of the official conformance suite's scenarios that are not about authorization, with the
//! TypeScript client in front of it.

use futures::StreamExt as _;
use tests::Gatehouse;
use tests::conformance::{Found, VERSIONS, client, client_scenarios};
use tests::packages::{repository, skipped};

use crate::conformance_auth::{expected, losses_and_reasons_agree};

const TABLE: &str = "conformance_client.json";
/// Scenarios at a time.
const AT_ONCE: usize = 4;

#[test]
fn nothing_is_lost_in_a_client_scenario_without_a_reason() {
    losses_and_reasons_agree(TABLE);
}

#[tokio::test]
async fn gatehouse_is_the_client_of_every_other_scenario_as_the_table_says() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let environment = [
        ("GATEHOUSE_CONTROL", house.control().to_owned()),
        ("GATEHOUSE_PROXY", house.proxy()),
        ("GATEHOUSE_ADMIN_KEY", house.admin_key().to_owned()),
        ("GATEHOUSE_CLIENT_KEY", house.client_key().to_owned()),
        ("GATEHOUSE_NODE_MODULES", repository().join("build/node/node_modules").display().to_string()),
    ];
    let environment = &environment;
    let (expected, _) = expected(TABLE);
    let mut differ = Vec::new();
    for (version, package) in VERSIONS {
        let mut scenarios = client_scenarios(package, "").await;
        scenarios.retain(|scenario| expected[version].contains_key(scenario));
        assert_eq!(scenarios.len(), expected[version].len(), "{version} has {scenarios:?}");
        let found: Vec<(String, Found)> = futures::stream::iter(scenarios)
            .map(|scenario| async move {
                let found = client(package, &scenario, "conformance_client.mjs", environment).await;
                (scenario, found)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        println!("conformance {version}");
        for (scenario, found) in &found {
            println!("  {scenario}: {} passed, failed {:?}", found.passed, found.failed);
            if expected[version][scenario] != found.failed || (found.failed.is_empty() && !found.well) {
                differ.push(format!("{version} {scenario}: {found:?}\n{}", found.said));
            }
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
