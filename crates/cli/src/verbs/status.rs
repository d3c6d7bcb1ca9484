//! `gatehouse status`.

use egress::EgressError;
use serde_json::{Value, json};
use url::Url;

use super::proxies::attached;
use crate::access::Target;
use crate::api::Api;
use crate::failure::Failure;
use crate::progress;
use crate::ready::is_ready;
use crate::screen::{Screen, cell, table};

/// Asks both planes whether they serve; with a key also which proxies are attached. Needs no key.
pub(super) async fn run(target: &Target, screen: Screen) -> Result<(), Failure> {
    let (control, cause) = plane(target, Some(&target.control)).await?;
    let (mcp, _) = plane(target, target.mcp.as_ref()).await?;
    let (key, attached) = match (control, &target.key) {
        (_, None) => ("none", None),
        (Plane::Serves, Some(_)) => known(Api::open(target)?.list(&["proxies"], &[]).await)?,
        _ => ("not tried", None),
    };
    let document = json!({
        "control": { "url": target.control.as_str(), "state": control.told() },
        "mcp": { "url": target.mcp.as_ref().map(Url::as_str), "state": mcp.told() },
        "key": key,
        "proxies": attached.as_ref().and_then(|list| list.get("items")),
    });
    screen.show(&document, told)?;
    match (control, mcp) {
        (Plane::Serves, Plane::Serves | Plane::Unknown) => Ok(()),
        (Plane::Absent, _) => {
            let cause = cause.map(Into::into);
            Err(Failure::Unreachable { what: format!("no answer from {}", target.control), cause })
        }
        (_, Plane::Absent) => Err(Failure::Unreachable { what: "the proxy does not answer".to_owned(), cause: None }),
        _ => Err(Failure::Failed("not ready".to_owned())),
    }
}

/// What became of the key, and the proxies if it may see them. Whether the planes serve is told either way.
fn known(listed: Result<Value, Failure>) -> Result<(&'static str, Option<Value>), Failure> {
    match listed {
        Err(Failure::Refused(problem)) if problem.status == 401 => Ok(("refused", None)),
        Err(Failure::Refused(problem)) if problem.status == 403 => Ok(("accepted", None)),
        other => other.map(|list| ("accepted", Some(list))),
    }
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

/// What is known of the plane at this URL, and why nobody answers there.
async fn plane(target: &Target, base: Option<&Url>) -> Result<(Plane, Option<EgressError>), Failure> {
    let Some(base) = base else { return Ok((Plane::Unknown, None)) };
    Ok(match progress::during("asking", is_ready(target.client(base)?)).await {
        Ok(true) => (Plane::Serves, None),
        Ok(false) => (Plane::NotReady, None),
        Err(why) => (Plane::Absent, Some(why)),
    })
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
    if cell(document, "key") == "refused" {
        text.push_str("\nthe key was refused: it is unknown, revoked or ended, or its user or tenant is disabled\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::problem::Problem;

    #[test]
    fn a_key_that_is_not_let_in_spoils_no_status() {
        let refused = |status| Err(Failure::Refused(Box::new(Problem { status, ..Problem::default() })));
        assert_eq!(known(refused(401)).unwrap(), ("refused", None));
        assert_eq!(known(refused(403)).unwrap(), ("accepted", None));
        assert!(known(refused(500)).is_err());
    }

    #[test]
    fn a_refused_key_is_told() {
        let plane = json!({"url": "http://h", "state": "serves"});
        let told = |key: &str| told(&json!({"control": plane, "mcp": plane, "key": key}));
        assert!(told("refused").contains("the key was refused"));
        assert!(!told("accepted").contains("refused"));
    }
}
