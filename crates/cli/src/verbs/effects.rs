//! What a change did on the proxies, in a few words behind the sentence that says what was changed.

use serde_json::Value;

use crate::screen::{self, cell};

/// What a change did, and what a probe found, each if the answer tells.
pub(super) fn effects(answer: &Value) -> String {
    let mut told = answer.get("probe").filter(|probe| probe.is_object()).map(probed).unwrap_or_default();
    let Some(effective) = answer.get("effective").filter(|effective| effective.is_object()) else { return told };
    let count = |member| effective.get(member).and_then(Value::as_u64).unwrap_or(0);
    let rejected = effective.get("rejected").and_then(Value::as_array);
    match (count("live"), count("pending"), rejected.map_or(0, Vec::len)) {
        (0, 0, 0) => told.push_str("; no proxy is attached"),
        (live, ..) => told.push_str(&format!("; in effect on {}", plural(live, "proxy", "proxies"))),
    }
    if count("pending") > 0 {
        told.push_str(&format!(", pending on {}", count("pending")));
    }
    for rejected in rejected.into_iter().flatten() {
        told.push_str(&format!("\n  rejected by {}: {}", cell(rejected, "proxy"), cell(rejected, "reason")));
    }
    told.lines().map(screen::plain).collect::<Vec<_>>().join("\n")
}

/// What a look at the upstream found.
pub(super) fn probed(probe: &Value) -> String {
    if probe.get("needs_auth").and_then(Value::as_bool) == Some(true) {
        return ": it answers, and wants a credential".to_owned();
    }
    let tools = probe.get("tools").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let both = probe.get("eras").and_then(Value::as_array).is_some_and(|eras| eras.len() > 1);
    let also = if both { " and without sessions" } else { "" };
    format!(": {} {}{also}, {}", cell(probe, "transport"), cell(probe, "revision"), plural(tools, "tool", "tools"))
}

fn plural(count: u64, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_change_did_is_told() {
        let answer = json!({
            "probe": {"transport": "sse", "revision": "2024-11-05", "tools": [{}, {}]},
            "effective": {"live": 1, "pending": 2, "rejected": [{"proxy": "default/a", "reason": "bad\u{7}url"}]}
        });
        assert_eq!(
            effects(&answer),
            ": sse 2024-11-05, 2 tools; in effect on 1 proxy, pending on 2\n  rejected by default/a: bad?url"
        );
        let both = json!({"transport": "streamable_http", "revision": "2025-11-25", "eras": ["session", "stateless"]});
        assert_eq!(probed(&both), ": streamable_http 2025-11-25 and without sessions, 0 tools");
        assert_eq!(effects(&json!({"name": "n"})), "");
    }
}
