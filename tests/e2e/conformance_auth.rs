//! Gatehouse as the MCP client of the official conformance suite's auth scenarios, beside the suite's own TypeScript client.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use serde_json::{Value, json};
use tests::Gatehouse;
use tests::conformance::{Found, VERSIONS, client, client_scenarios};
use tests::packages::{repository, skipped};

use crate::harbour::Person;

/// Scenarios at a time.
const AT_ONCE: usize = 4;

/// What the table in the repository says of a scenario: checks passed, and those that fail, with the reason in the file.
type Table = BTreeMap<String, (usize, Vec<String>)>;

fn expected() -> BTreeMap<String, Table> {
    let path = repository().join("tests/fixtures/conformance_auth.json");
    let text = std::fs::read_to_string(path).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    let mut versions = BTreeMap::new();
    for (version, scenarios) in table["gatehouse"].as_object().unwrap() {
        let mut all = Table::new();
        for (scenario, found) in scenarios.as_object().unwrap() {
            let failed = found["failed"].as_array().into_iter().flatten().filter_map(|id| id.as_str());
            let failed = failed.map(str::to_owned).collect();
            all.insert(scenario.clone(), (usize::try_from(found["passed"].as_u64().unwrap()).unwrap(), failed));
        }
        versions.insert(version.clone(), all);
    }
    versions
}

#[tokio::test]
async fn gatehouse_is_the_client_of_every_auth_scenario_as_the_table_says() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let ann = Person::new(&house.admin(), "ann").await;
    let host = house.control().trim_start_matches("http://").to_owned();
    let environment = [
        ("GATEHOUSE_CONTROL", house.control().to_owned()),
        ("GATEHOUSE_PROXY", house.proxy()),
        ("GATEHOUSE_ADMIN_KEY", house.admin_key().to_owned()),
        ("GATEHOUSE_CLIENT_KEY", ann.key.clone()),
        ("GATEHOUSE_COOKIES", json!(ann.visitor.cookies(&host)).to_string()),
    ];
    let expected = expected();
    let mut differ = Vec::new();
    for (version, package) in VERSIONS {
        let scenarios = client_scenarios(package, "auth/").await;
        let found: Vec<(String, Found)> = futures::stream::iter(scenarios)
            .map(|scenario| {
                let environment = &environment;
                async move {
                    let found = client(package, &scenario, "conformance_auth.mjs", environment).await;
                    (scenario, found)
                }
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        println!("conformance {version}");
        for (scenario, found) in &found {
            println!("  {scenario}: {} passed, failed {:?}", found.passed, found.failed);
            let wanted = expected[version].get(scenario);
            if wanted != Some(&(found.passed, found.failed.clone())) {
                differ.push(format!("{version} {scenario}: the table says {wanted:?}\n{}", found.said));
            }
        }
        let missing: Vec<_> =
            expected[version].keys().filter(|known| !found.iter().any(|(scenario, _)| scenario == *known)).collect();
        assert!(missing.is_empty(), "{version} has no {missing:?}");
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
