//! `gatehouse recover`.

use serde_json::Value;

use super::body::Body;
use crate::api::Api;
use crate::args::Recover;
use crate::failure::Failure;
use crate::screen::{Screen, cell, plain, table};

/// Has control compare and heal, and tells what it found. Fails when something that should have been
/// healed is not.
pub(super) async fn run(api: &Api, recover: &Recover, screen: Screen) -> Result<(), Failure> {
    let body = Body::default()
        .with("dry_run", Some(recover.dry_run))
        .with("prune", Some(recover.prune))
        .with("adopt", recover.adopt.then_some(true))
        .value();
    let report = api.post(&["recover"], &body).await?.body;
    screen.show(&report, told)?;
    let complete = report.get("complete").and_then(Value::as_bool).unwrap_or(true);
    if complete || recover.dry_run { Ok(()) } else { Err(Failure::Failed("not everything was healed".to_owned())) }
}

const DIFFERENCES: [&str; 3] = ["missing", "orphaned", "drifted"];

fn told(report: &Value) -> String {
    let before = counts(report, "before");
    let after = counts(report, "after");
    let silent = items(report, "proxies").any(|proxy| !flag(proxy, "answered"));
    let mut text = match (before, flag(report, "dry_run")) {
        ([0, 0, 0], _) if silent => "nothing is known to differ\n".to_owned(),
        ([0, 0, 0], _) => "nothing differs\n".to_owned(),
        (before, true) => format!("found: {}; nothing was changed\n", listed(before)),
        (before, false) => format!("found: {}; {} healed\n", listed(before), cell(report, "repaired")),
    };
    let row = |line: &Value| {
        let healed = if flag(line, "healed") { "healed" } else { "left" };
        [cell(line, "name"), cell(line, "difference"), healed.to_owned(), cell(line, "proxy")]
    };
    let rows: Vec<_> = items(report, "servers").map(row).collect();
    if !rows.is_empty() {
        text.push_str(&table(["SERVER", "DIFFERENCE", "STATE", "PROXY"], &rows));
    }
    for proxy in items(report, "proxies") {
        let node = plain(&cell(proxy, "node"));
        if !flag(proxy, "answered") {
            text.push_str(&format!("{node} did not answer\n"));
        }
        for refused in items(proxy, "rejected") {
            let (resource, reason) = (plain(&cell(refused, "resource")), plain(&cell(refused, "reason")));
            text.push_str(&format!("{node} refuses {resource}: {reason}\n"));
        }
    }
    for upstream in items(report, "upstreams") {
        let (name, url) = (plain(&cell(upstream, "name")), plain(&cell(upstream, "url")));
        let seconds = upstream.get("cooling_ms").and_then(Value::as_u64).unwrap_or(0).div_ceil(1000);
        text.push_str(&format!("{name} can't be reached at {url}: tried again in {seconds} s\n"));
    }
    let [_, orphaned, _] = after;
    if orphaned > 0 {
        text.push_str(&format!(
            "{orphaned} without a record: `--prune` removes them, `--adopt` makes records of them\n"
        ));
    }
    text
}

fn counts(report: &Value, when: &str) -> [u64; 3] {
    let counts = report.get(when);
    DIFFERENCES.map(|one| counts.and_then(|counts| counts.get(one)).and_then(Value::as_u64).unwrap_or(0))
}

fn listed(counts: [u64; 3]) -> String {
    let each = counts.iter().zip(DIFFERENCES).filter(|(count, _)| **count > 0);
    each.map(|(count, what)| format!("{count} {what}")).collect::<Vec<_>>().join(", ")
}

fn items<'a>(value: &'a Value, member: &str) -> impl Iterator<Item = &'a Value> {
    value.get(member).and_then(Value::as_array).into_iter().flatten()
}

fn flag(value: &Value, member: &str) -> bool {
    value.get(member).and_then(Value::as_bool).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_clean_report_is_one_line() {
        let none = json!({"missing": 0, "orphaned": 0, "drifted": 0});
        let report = json!({"complete": true, "before": none, "after": none, "repaired": 0, "servers": [], "proxies": [{"node": "a", "answered": true}]});
        assert_eq!(told(&report), "nothing differs\n");
    }

    #[test]
    fn a_silent_proxy_may_differ() {
        let none = json!({"missing": 0, "orphaned": 0, "drifted": 0});
        let report = json!({"before": none, "after": none, "proxies": [{"node": "a", "answered": false}]});
        assert_eq!(told(&report), "nothing is known to differ\na did not answer\n");
    }

    #[test]
    fn every_difference_and_every_silent_proxy_is_a_line() {
        let report = json!({
            "before": {"missing": 1, "orphaned": 1, "drifted": 0}, "after": {"missing": 0, "orphaned": 1, "drifted": 0},
            "repaired": 1, "dry_run": false,
            "servers": [
                {"name": "notes", "difference": "missing", "healed": true, "proxy": "default/a"},
                {"name": "stray", "difference": "orphaned", "healed": false, "proxy": "default/a"},
            ],
            "proxies": [{"node": "default/b", "answered": false, "rejected": [{"resource": "server/x", "reason": "bad"}]}],
            "upstreams": [{"name": "dead", "url": "http://h/mcp", "cooling_ms": 29_001}],
        });
        let expected = "\
found: 1 missing, 1 orphaned; 1 healed
SERVER  DIFFERENCE  STATE   PROXY
notes   missing     healed  default/a
stray   orphaned    left    default/a
default/b did not answer
default/b refuses server/x: bad
dead can't be reached at http://h/mcp: tried again in 30 s
1 without a record: `--prune` removes them, `--adopt` makes records of them
";
        assert_eq!(told(&report), expected);
    }
}
