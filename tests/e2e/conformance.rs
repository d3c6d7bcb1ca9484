//! Every scenario of the conformance suite that the server of the fixtures passes directly, through Gatehouse.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::Value;
use tests::conformance::{Served, server};
use tests::forwarder::Forwarder;
use tests::packages::{Everything, repository, skipped};
use tests::{Conforming, Gatehouse};

/// What is found in one suite, by scenario.
type Found = BTreeMap<String, Served>;

/// Which suite, as the fixture calls it.
const SESSIONS_BEFORE: &str = "0.1.16 all";
const SESSIONS: &str = "0.2.0-alpha.12 2025-11-25";
const STATELESS: &str = "0.2.0-alpha.12 2026-07-28";

fn fixture() -> Value {
    let path = repository().join("tests/fixtures/conformance_server.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn words(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

async fn run(suite: &str, url: &str) -> Found {
    let fixture = fixture();
    let arguments = words(&fixture["suites"][suite]["arguments"]);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    server(fixture["suites"][suite]["package"].as_str().unwrap(), url, &arguments).await
}

async fn alone(package: &str, scenario: &str, url: &str) -> Served {
    let mut found = server(package, url, &["--scenario", scenario]).await;
    found.remove(scenario).unwrap_or_else(|| panic!("{scenario} is not in {found:?}"))
}

/// A house, what stands before it, and the server behind it.
struct Way {
    house: Gatehouse,
    forwarder: Forwarder,
    upstream: Conforming,
}

impl Way {
    async fn new() -> Self {
        let (house, upstream) = tokio::join!(Gatehouse::start(), Conforming::start());
        house.admin().add("conforming", upstream.url()).await;
        drop(house.mcp_of("conforming").await);
        let forwarder = Forwarder::start(&house.proxy(), house.client_key()).await;
        Self { house, forwarder, upstream }
    }
}

/// Whether nothing is worse through than direct.
fn kept(direct: &Served, through: &Served) -> bool {
    through.well() && through.warned.iter().all(|warned| direct.warned.contains(warned)) && through.passed > 0
        || (direct.passed == 0 && through.well())
}

/// A line for each scenario, and what is wrong where it is not kept; the last line is counted by `make conformance`.
fn table(suite: &str, direct: &Found, through: &Found) -> (String, Vec<String>) {
    let (mut table, mut lost) = (format!("{suite:<48}{:>10}{:>10}\n", "direct", "through"), Vec::new());
    let figures = |served: &Served| format!("{}/{}", served.passed, served.passed + served.failed.len());
    let nothing = Served::default();
    let mut passes = 0;
    for (scenario, direct) in direct {
        let through = through.get(scenario).unwrap_or(&nothing);
        let _ = writeln!(table, "  {scenario:<46}{:>10}{:>10}", figures(direct), figures(through));
        if !direct.well() {
            continue;
        }
        passes += 1;
        if !kept(direct, through) {
            lost.push(format!("{scenario}: failed {:?}, warned {:?}", through.failed, through.warned));
        }
    }
    for lost in &lost {
        let _ = writeln!(table, "  lost: {lost}");
    }
    let _ = writeln!(table, "kept {} of {passes}", passes - lost.len());
    (table, lost)
}

/// Where `make conformance` looks for the tables.
fn print(suite: &str, table: &str) {
    println!("{table}");
    let folder = repository().join("build/conformance");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(suite.replace(' ', "_")), table).unwrap();
}

async fn through_is_not_worse_than_direct(suite: &str) {
    if skipped("node") {
        return;
    }
    let way = Way::new().await;
    let direct = run(suite, way.upstream.url()).await;
    let fixture = fixture();
    let counts = words(&fixture["suites"][suite]["counts"]);
    let failing: Vec<_> = counts
        .iter()
        .filter(|scenario| fixture["exceptions"].get(scenario).is_none())
        .filter(|scenario| !direct.get(*scenario).is_some_and(Served::well))
        .collect();
    assert!(failing.is_empty(), "the server of the fixtures does not pass {failing:?}: {direct:?}");

    let through = run(suite, &way.forwarder.at("/servers/conforming/mcp")).await;
    let (table, lost) = table(suite, &direct, &through);
    print(suite, &table);
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[test]
fn the_fixture_counts_what_the_suite_requires_and_has_three_exceptions_at_most() {
    let fixture = fixture();
    let counts = |suite: &str| words(&fixture["suites"][suite]["counts"]).into_iter().collect::<BTreeSet<_>>();
    assert_eq!([SESSIONS_BEFORE, SESSIONS, STATELESS].map(|suite| counts(suite).len()), [32, 30, 37]);
    assert!(fixture["exceptions"].as_object().unwrap().len() <= 3);
}

#[tokio::test]
async fn conformance_sessions_as_the_older_suite_tries_them() {
    through_is_not_worse_than_direct(SESSIONS_BEFORE).await;
}

#[tokio::test]
async fn conformance_sessions_of_2025_11_25() {
    through_is_not_worse_than_direct(SESSIONS).await;
}

#[tokio::test]
async fn conformance_stateless_requests_of_2026_07_28() {
    through_is_not_worse_than_direct(STATELESS).await;
}

#[tokio::test]
async fn conformance_of_the_aggregate_in_what_needs_no_names() {
    if skipped("node") {
        return;
    }
    let way = Way::new().await;
    let everything = Everything::streamable().await;
    way.house.admin().add("everything", everything.url()).await;
    crate::ways::until_offered(&way.house.mcp().await, "everything__echo", true).await;
    let wanted = words(&fixture()["aggregate"]);
    let (mut lost, mut tried) = (Vec::new(), BTreeSet::new());
    for suite in [SESSIONS_BEFORE, SESSIONS, STATELESS] {
        let direct = run(suite, way.upstream.url()).await;
        let through = run(suite, &way.forwarder.at("/mcp")).await;
        let of = |found: &Found| -> Found {
            let found = found.iter().filter(|(scenario, _)| wanted.contains(scenario));
            found.map(|(scenario, served)| (scenario.clone(), served.clone())).collect()
        };
        let (direct, through) = (of(&direct), of(&through));
        tried.extend(direct.keys().cloned());
        let suite = format!("/mcp: {suite}");
        let (table, worse) = table(&suite, &direct, &through);
        print(&suite.replace(['/', ':'], ""), &table);
        lost.extend(worse);
    }
    assert_eq!(tried, wanted.into_iter().collect());
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}

#[tokio::test]
async fn conformance_of_headers_caching_and_names_of_hosts_whatever_the_upstream_is() {
    if skipped("node") {
        return;
    }
    let house = Gatehouse::start().await;
    let (streamable, sse) = (Everything::streamable().await, Everything::sse().await);
    house.admin().add("everything", streamable.url()).await;
    house.admin().add("older", sse.url()).await;
    let forwarder = Forwarder::start(&house.proxy(), house.client_key()).await;
    let fixture = fixture();
    let package = fixture["suites"][STATELESS]["package"].as_str().unwrap();
    let (mut direct, mut through) = (Found::new(), Found::new());
    for server in ["everything", "older"] {
        drop(house.mcp_of(server).await);
        for scenario in words(&fixture["whatever_the_upstream"]) {
            let served = alone(package, &scenario, &forwarder.at(&format!("/servers/{server}/mcp"))).await;
            // There is nothing to hold it against: the upstream speaks no later revision than 2025-11-25.
            direct.insert(format!("{server} {scenario}"), Served { passed: served.passed, ..Served::default() });
            through.insert(format!("{server} {scenario}"), served);
        }
    }
    let (table, lost) = table("in front of session-era upstreams", &direct, &through);
    print("session-era_upstreams", &table);
    assert!(lost.is_empty(), "{}", lost.join("\n"));
}
