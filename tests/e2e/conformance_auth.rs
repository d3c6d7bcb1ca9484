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

/// By scenario, the checks that fail.
pub(crate) type Table = BTreeMap<String, Vec<String>>;

const TABLE: &str = "conformance_auth.json";

/// What a table in the repository says. How many checks pass depends on how often something is asked, so it isn't there.
pub(crate) fn expected(table: &str) -> (BTreeMap<String, Table>, Value) {
    let path = repository().join("tests/fixtures").join(table);
    let text = std::fs::read_to_string(path).unwrap();
    let table: Value = serde_json::from_str(&text).unwrap();
    let of = |ids: &Value| ids.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let scenarios = |all: &Value| all.as_object().unwrap().iter().map(|(name, ids)| (name.clone(), of(ids))).collect();
    let versions = table["gatehouse"].as_object().unwrap().iter();
    (versions.map(|(version, all)| (version.clone(), scenarios(all))).collect(), table["losses"].clone())
}

/// What fails has a reason, and no reason is left over.
pub(crate) fn losses_and_reasons_agree(table: &str) {
    let (versions, losses) = expected(table);
    for (version, scenarios) in &versions {
        for (scenario, failed) in scenarios {
            let reason = losses.get(scenario).or(losses.get(format!("{version} {scenario}")));
            assert_eq!(failed.is_empty(), reason.is_none(), "{version} {scenario}");
        }
    }
}

#[test]
fn nothing_is_lost_in_an_auth_scenario_without_a_reason() {
    losses_and_reasons_agree(TABLE);
}

#[tokio::test]
async fn gatehouse_is_the_client_of_every_auth_scenario_as_the_table_says() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let host = house.control().trim_start_matches("http://").to_owned();
    let (expected, _) = expected(TABLE);
    let mut differ = Vec::new();
    for (version, package) in VERSIONS {
        let scenarios = client_scenarios(package, "auth/").await;
        let found: Vec<(String, Found)> = futures::stream::iter(scenarios.into_iter().enumerate())
            .map(|(at, scenario)| {
                let (admin, house, host) = (&admin, &house, &host);
                async move {
                    // Each has a person of its own: nobody may begin this many logins in a minute.
                    let person = Person::new(admin, &format!("v{version}-{at}")).await;
                    let environment = [
                        ("GATEHOUSE_CONTROL", house.control().to_owned()),
                        ("GATEHOUSE_PROXY", house.proxy()),
                        ("GATEHOUSE_ADMIN_KEY", house.admin_key().to_owned()),
                        ("GATEHOUSE_CLIENT_KEY", person.key.clone()),
                        ("GATEHOUSE_COOKIES", json!(person.visitor.cookies(host)).to_string()),
                    ];
                    let found = client(package, &scenario, "conformance_auth.mjs", &environment).await;
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
            if wanted != Some(&found.failed) || (found.failed.is_empty() && found.passed == 0) {
                differ.push(format!("{version} {scenario}: the table says {wanted:?}\n{}", found.said));
            }
        }
        let missing: Vec<_> =
            expected[version].keys().filter(|known| !found.iter().any(|(scenario, _)| scenario == *known)).collect();
        assert!(missing.is_empty(), "{version} has no {missing:?}");
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
