//! `gatehouse status` and `gatehouse proxy ls`.

use serde_json::{Value, json};
use url::Url;

use crate::access::Target;
use crate::api::Api;
use crate::failure::Failure;
use crate::progress;
use crate::ready::is_ready;
use crate::screen::{Screen, cell, table};

/// Asks both planes whether they serve; with a key also which proxies are attached. Needs no key.
pub(super) async fn run(target: &Target, screen: Screen) -> Result<(), Failure> {
    let control = plane(Some(&target.control)).await;
    let mcp = plane(target.mcp.as_ref()).await;
    let attached = match (control, &target.key) {
        (Plane::Serves, Some(_)) => known(Api::open(target)?.list(&["proxies"], &[]).await)?,
        _ => None,
    };
    let document = json!({
        "control": { "url": target.control.as_str(), "state": control.told() },
        "mcp": { "url": target.mcp.as_ref().map(Url::as_str), "state": mcp.told() },
        "proxies": attached.as_ref().and_then(|list| list.get("items")),
    });
    screen.show(&document, told)?;
    match (control, mcp) {
        (Plane::Serves, Plane::Serves | Plane::Unknown) => Ok(()),
        (Plane::Absent, _) => {
            Err(Failure::Unreachable { what: format!("nobody answers at {}", target.control), cause: None })
        }
        (_, Plane::Absent) => Err(Failure::Unreachable { what: "the proxy does not answer".to_owned(), cause: None }),
        _ => Err(Failure::Failed("not ready".to_owned())),
    }
}

/// A key that may not see the proxies, or ended, still sees whether the planes serve.
fn known(listed: Result<Value, Failure>) -> Result<Option<Value>, Failure> {
    match listed {
        Err(Failure::Refused(problem)) if matches!(problem.status, 401 | 403) => Ok(None),
        other => other.map(Some),
    }
}

/// Lists attached proxies.
pub(super) async fn proxies(api: &Api, screen: Screen) -> Result<(), Failure> {
    screen.show(&api.list(&["proxies"], &[]).await?, |document| {
        let none = Vec::new();
        attached(document.get("items").and_then(Value::as_array).unwrap_or(&none))
    })
}

/// What is known of a plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plane {
    Serves,
    NotReady,
    Absent,
    Unknown,
}

impl Plane {
    fn told(self) -> &'static str {
        match self {
            Self::Serves => "serves",
            Self::NotReady => "not ready",
            Self::Absent => "does not answer",
            Self::Unknown => "unknown",
        }
    }
}

async fn plane(base: Option<&Url>) -> Plane {
    let Some(base) = base else { return Plane::Unknown };
    match progress::during("asking", is_ready(base)).await {
        Ok(true) => Plane::Serves,
        Ok(false) => Plane::NotReady,
        Err(_) => Plane::Absent,
    }
}

fn told(document: &Value) -> String {
    let row = |name: &str| {
        let plane = document.get(name).cloned().unwrap_or_default();
        [name.to_owned(), cell(&plane, "state"), cell(&plane, "url")]
    };
    let mut text = table(["PLANE", "STATE", "URL"], &[row("control"), row("mcp")]);
    if let Some(proxies) = document.get("proxies").and_then(Value::as_array) {
        text.push('\n');
        text.push_str(&attached(proxies));
    }
    text
}

fn attached(proxies: &[Value]) -> String {
    if proxies.is_empty() {
        return "no proxy is attached".to_owned();
    }
    let row = |proxy: &Value| {
        [
            cell(proxy, "node"),
            cell(proxy, "pool"),
            cell(proxy, "applied"),
            cell(proxy, "mounts"),
            cell(proxy, "attached_at"),
            proxy
                .get("rejected")
                .and_then(Value::as_array)
                .map(|rejected| rejected.len().to_string())
                .unwrap_or_default(),
        ]
    };
    table(["PROXY", "POOL", "REVISION", "MOUNTS", "SINCE", "REJECTED"], &proxies.iter().map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;

    #[test]
    fn a_key_that_is_not_let_in_spoils_no_status() {
        let refused = |status| Err(Failure::Refused(Box::new(Problem { status, ..Problem::default() })));
        for status in [401, 403] {
            assert_eq!(known(refused(status)).unwrap(), None);
        }
        assert!(known(refused(500)).is_err());
    }
}
