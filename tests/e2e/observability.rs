//! Prometheus scrapes a running house: what it shows is documented, and dashboard and alerts find their data.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tests::collector::Collector;
use tests::packages::{repository, skipped};
use tests::prometheus::{Listeners, Prometheus, checked, exposed, text};
use tests::{Behaviour, Gatehouse, Mcp, Upstream, eventually};

use crate::ways::{mounted, nowhere};

#[test]
fn prometheus_itself_accepts_the_configuration_and_the_rules() {
    if skipped("prometheus") {
        return;
    }
    checked("config", "prometheus.yaml");
    checked("rules", "alerts.yaml");
}

#[tokio::test]
async fn every_query_of_dashboard_and_alerts_finds_data_in_a_house_that_lived() {
    let collector = Collector::start().await;
    let plan = Gatehouse::plan().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let house = plan.env("OTEL_BSP_SCHEDULE_DELAY", "200").start().await;
    let listeners = Listeners::of(&house);
    let Some(prometheus) = Prometheus::start(&listeners) else { return };
    let life = Life::lived(&house).await;

    let mut waiting: BTreeMap<String, String> = dashboard();
    waiting.extend(alerts());
    assert!(waiting.len() > 60, "{}", waiting.len());
    let left = std::cell::RefCell::new(waiting);
    let found = async {
        eventually("every query finds data", || async {
            life.goes_on(&house).await;
            let asked: Vec<(String, String)> = left.borrow().clone().into_iter().collect();
            for (name, query) in asked {
                let found = prometheus.query(&query).await;
                if found.iter().any(|sample| sample["value"][1] != "NaN") {
                    left.borrow_mut().remove(&name);
                }
            }
            left.borrow().is_empty().then_some(())
        })
        .await;
    };
    if tokio::time::timeout(tests::patience::PATIENCE - std::time::Duration::from_secs(5), found).await.is_err() {
        panic!("these find nothing: {:#?}", left.borrow());
    }
    // Prometheus has taken the rules in, too: they are evaluated.
    assert!(!prometheus.query("ALERTS").await.is_empty(), "no alert was ever pending or firing");
}

#[tokio::test]
async fn every_metric_is_documented_with_its_type_and_none_is_only_documented() {
    let collector = Collector::start().await;
    let plan = Gatehouse::plan().env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint());
    let house = plan.start().await;
    let listeners = Listeners::of(&house);
    let _life = Life::lived(&house).await;
    let documented = documented();
    for (of, listener) in [("control", &listeners.control), ("proxy", &listeners.proxy)] {
        let expected: BTreeMap<String, String> = documented
            .iter()
            .filter(|metric| metric.of == of || metric.of == "both")
            .map(|metric| (metric.name.clone(), metric.kind.clone()))
            .collect();
        eventually(&format!("what {of} exposes is what deploy/metrics.md says"), || async {
            let shown = exposed(listener).await;
            let differs: BTreeSet<_> = shown
                .iter()
                .chain(&expected)
                .filter(|(name, kind)| shown.get(*name) != expected.get(*name) || kind.is_empty())
                .collect();
            if !differs.is_empty() {
                eprintln!("{of}: {differs:?}");
            }
            differs.is_empty().then_some(())
        })
        .await;
        for line in text(listener).await.lines().filter(|line| !line.starts_with('#')) {
            let (name, labels) = line.split_once('{').unwrap_or((line.split(' ').next().unwrap(), ""));
            let metric = documented.iter().find(|metric| {
                name == metric.name
                    || ["_bucket", "_sum", "_count"].iter().any(|end| name.strip_suffix(end) == Some(&metric.name))
            });
            let metric = metric.unwrap_or_else(|| panic!("{name} is not documented"));
            let labels = labels.rsplit_once('}').map_or("", |(labels, _)| labels);
            let shown =
                labels.split("\",").filter_map(|label| label.split_once('=')).map(|(label, _)| label.trim_matches(','));
            let shown: BTreeSet<&str> = shown.filter(|label| *label != "le").collect();
            assert_eq!(shown, metric.labels.iter().map(String::as_str).collect(), "labels of {line}");
        }
    }
}

#[tokio::test]
async fn outcomes_are_told_by_layer_and_series_go_with_their_server() {
    let house = Gatehouse::start().await;
    let listeners = Listeners::of(&house);
    let life = Life::lived(&house).await;
    let shown = text(&listeners.proxy).await;
    for (server, outcome) in [
        ("notes", "ok"),
        ("notes", "tool_error"),
        ("notes", "rpc_error"),
        ("dead", "transport_error"),
        ("closed", "transport_error"),
        ("streams", "ok"),
        ("streams", "tool_error"),
    ] {
        let counted = sample(&shown, "gatehouse_upstream_requests_total", &[("server", server), ("outcome", outcome)]);
        assert!(counted >= 1.0, "{server} {outcome}: {counted}\n{shown}");
    }
    let refused = sample(&shown, "gatehouse_upstream_failures_total", &[("server", "closed"), ("class", "auth")]);
    assert!(refused >= 1.0);
    assert!(sample(&shown, "gatehouse_upstream_cooling_seconds", &[("server", "dead")]) > 0.0);

    house.admin().remove("notes").await.expect(200);
    eventually("the series of a removed server go", || async {
        (!text(&listeners.proxy).await.contains("server=\"notes\"")).then_some(())
    })
    .await;
    drop(life);
}

#[tokio::test]
async fn what_is_shown_of_a_tenant_goes_with_it() {
    let house = Gatehouse::start().await;
    let (listeners, admin) = (Listeners::of(&house), house.admin());
    let acme = admin.tenant("acme").await;
    let _notes = mounted(&acme, "notes").await;
    let id = admin.get("/api/v1/tenants/acme").await.expect(200).json()["id"].as_str().unwrap().to_owned();
    let mcp = Mcp::open(&house.at("/servers/notes/mcp"), &acme.key("user").await).await;
    mcp.call("echo", json!({"text": "well"})).await;
    let shown = text(&listeners.proxy).await;
    for name in ["gatehouse_tenant_info", "gatehouse_upstream_requests_total"] {
        assert!(sample(&shown, name, &[("tenant", id.as_str())]) >= 1.0, "{name}\n{shown}");
    }
    admin.post("/api/v1/tenants/acme/disable", &json!(null)).await.expect(200);
    eventually("nothing of the tenant is shown", || async {
        (!text(&listeners.proxy).await.contains(&id)).then_some(())
    })
    .await;
    assert!(!text(&listeners.control).await.contains(&id), "control shows nothing of single tenants");
}

/// What happened in a house before somebody looks.
struct Life {
    upstreams: Vec<Upstream>,
    sessions: Vec<Mcp>,
}

impl Life {
    /// Calls that go well and wrong in each layer, servers that come and go, and a pass of recover.
    async fn lived(house: &Gatehouse) -> Self {
        let admin = house.admin();
        let notes = mounted(&admin, "notes").await;
        let streams = mounted(&admin, "streams").await;
        streams.answer_as_events();
        let closed = mounted(&admin, "closed").await;
        let passing = mounted(&admin, "passing").await;
        let dead = mounted(&admin, "dead").await;
        let mut sessions = Vec::new();
        for server in ["notes", "streams", "closed", "dead"] {
            sessions.push(house.mcp_of(server).await);
        }
        for _ in 0..3 {
            for mcp in &sessions[..2] {
                mcp.call("echo", json!({"text": "well"})).await;
                mcp.call("fail", json!({"text": "not well"})).await;
                mcp.call("nobody offers this", json!({})).await;
            }
        }
        closed.always(Some(Behaviour::Unauthorized));
        sessions[2].call("echo", json!({"text": "closed"})).await;
        dead.end();
        eventually("the dead upstream cools", || async {
            let answer = sessions[3].call("echo", json!({"text": "anybody?"})).await;
            (answer["error"]["code"] == -31001).then_some(())
        })
        .await;
        admin.post("/api/v1/servers", &json!({"name": "nowhere", "url": nowhere(), "skip_validation": true})).await;
        admin.remove("passing").await.expect(200);
        admin.recover(false).await.expect(200);
        admin.get("/no/such/route").await;
        let aggregate = house.mcp().await;
        aggregate.tools().await;
        sessions.push(aggregate);
        Self { upstreams: vec![notes, streams, closed, passing, dead], sessions }
    }

    /// A little of everything again: rates need something that rises while somebody looks.
    async fn goes_on(&self, house: &Gatehouse) {
        let admin = house.admin();
        self.sessions[0].call("echo", json!({"text": "still well"})).await;
        admin.add("passing", &self.upstreams[0].url()).await;
        admin.remove("passing").await.expect(200);
        let label = uuid::Uuid::new_v4().to_string();
        let made = admin.post("/api/v1/keys", &json!({"role": "user", "label": label})).await.expect(201).json();
        admin.send("DELETE", &format!("/api/v1/keys/{}", made["id"].as_str().unwrap()), &json!(null)).await.expect(200);
        admin.recover(false).await.expect(200);
    }
}

/// Every query of the dashboard by panel, its variables filled in.
fn dashboard() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(repository().join("deploy/grafana/gatehouse.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut queries = BTreeMap::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        for target in panel["targets"].as_array().into_iter().flatten() {
            let query = target["expr"].as_str().unwrap().replace("$__rate_interval", "1m").replace("$tenant", ".*");
            assert!(!query.contains('$'), "a variable that nobody fills in: {query}");
            queries.insert(format!("{}: {query}", panel["title"]), query);
        }
    }
    queries
}

/// What each alert compares; the comparison itself answers 0 or 1 instead of nothing or something.
fn alerts() -> BTreeMap<String, String> {
    let mut queries = BTreeMap::new();
    let rules = tests::deploy::document("prometheus/alerts.yaml");
    for rule in rules["groups"].as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap()) {
        let query = rule["expr"].as_str().unwrap().replace("[5m]", "[1m]").replace("[10m]", "[1m]");
        let at = [" > ", " < ", " == "].iter().filter_map(|sign| Some((query.rfind(sign)?, *sign))).max();
        let (at, sign) = at.unwrap_or_else(|| panic!("an alert that compares nothing: {query}"));
        let (left, right) = (&query[..at], &query[at + sign.len()..]);
        queries.insert(format!("{}", rule["alert"]), format!("{left}{sign}bool {right}"));
    }
    queries
}

/// One line of deploy/metrics.md.
struct Documented {
    name: String,
    kind: String,
    labels: BTreeSet<String>,
    of: String,
}

fn documented() -> Vec<Documented> {
    let text = std::fs::read_to_string(repository().join("deploy/metrics.md")).unwrap();
    let rows = text.lines().filter(|line| line.starts_with("| `gatehouse_"));
    let documented: Vec<Documented> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let labels = cells[3].split(", ").filter(|label| !label.is_empty()).map(str::to_owned).collect();
            let name = cells[1].trim_matches('`').to_owned();
            Documented { name, kind: cells[2].to_owned(), labels, of: cells[4].to_owned() }
        })
        .collect();
    assert!(documented.len() > 40, "deploy/metrics.md has no table");
    documented
}

/// The value of the first series with these labels; 0 if there is none.
fn sample(text: &str, name: &str, labels: &[(&str, &str)]) -> f64 {
    let fits = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{'))
            && labels.iter().all(|(label, value)| line.contains(&format!("{label}=\"{value}\"")))
    };
    let line = text.lines().find(fits);
    line.and_then(|line| line.rsplit_once(' ')?.1.parse().ok()).unwrap_or(0.0)
}
