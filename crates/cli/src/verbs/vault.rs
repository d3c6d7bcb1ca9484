//! `gatehouse vault …`.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::args::{RotateVerb, VaultVerb};
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// How often is asked how far it is.
const LOOKS: Duration = Duration::from_millis(500);

/// Does one verb. The vault stands above tenants: `--tenant` says whose key, not where to look.
pub(super) async fn run(api: &Api, verb: VaultVerb, screen: Screen) -> Result<(), Failure> {
    let platform = api.of_tenant(None);
    match verb {
        VaultVerb::Status => {
            let state = platform.get(&["vault"]).await?.body;
            screen.show(&state, told)
        }
        VaultVerb::Rotate(what) => {
            let job = rotate(&platform, what, api.tenant()).await?;
            screen.show(&job, line)?;
            match cell(&job, "failure") {
                failure if failure.is_empty() => Ok(()),
                failure => Err(Failure::Failed(failure)),
            }
        }
    }
}

/// Begins, and waits for the end. Whoever stops waiting stops nothing: control goes on.
async fn rotate(platform: &Api, what: RotateVerb, tenant: Option<&str>) -> Result<Value, Failure> {
    let body = match (what, tenant) {
        (RotateVerb::Kek, _) => json!({"what": "kek"}),
        (RotateVerb::Tenant, None) => json!({"what": "tenant"}),
        (RotateVerb::Tenant, Some(tenant)) => json!({"what": "tenant", "tenant": tenant}),
    };
    let mut job = platform.post(&["vault", "rotate"], &body).await?.body;
    let (mut said, people) = (false, std::io::stderr().is_terminal());
    while cell(&job, "state") == "running" {
        if people {
            said = true;
            say(&format!("\r\x1b[K{}", line(&job)));
        }
        tokio::time::sleep(LOOKS).await;
        let state = platform.get(&["vault"]).await?.body;
        let same = |other: &&Value| other.get("what") == job.get("what") && other.get("tenant") == job.get("tenant");
        job = items_of(&state, "jobs").find(same).cloned().ok_or_else(gone)?;
    }
    if said {
        say("\r\x1b[K");
    }
    Ok(job)
}

fn items_of<'a>(state: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    state.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn gone() -> Failure {
    Failure::Failed("control knows nothing of the rotation any more".to_owned())
}

/// A progress line that can't be written is no reason to stop.
fn say(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

fn line(job: &Value) -> String {
    let what = match (cell(job, "what").as_str(), cell(job, "tenant")) {
        ("kek", _) => "data keys under the new key".to_owned(),
        (_, tenant) if tenant.is_empty() => "secrets of all tenants".to_owned(),
        (_, tenant) => format!("secrets of tenant {tenant}"),
    };
    format!("{what}: {} of {}, {}", cell(job, "done"), cell(job, "total"), cell(job, "state"))
}

fn told(state: &Value) -> String {
    let flag = |kek: &Value, name: &str| kek.get(name).and_then(Value::as_bool).unwrap_or(false);
    let rows: Vec<_> = items_of(state, "keks")
        .map(|kek| {
            let how = match (flag(kek, "configured"), flag(kek, "healthy"), flag(kek, "writes")) {
                (false, ..) => "missing",
                (_, false, _) => "does not answer",
                (.., true) => "writes",
                _ => "read only",
            };
            [cell(kek, "id"), how.to_owned(), cell(kek, "data_keys")]
        })
        .collect();
    let mut text = table(["KEY", "STATE", "DATA KEYS"], &rows);
    for job in items_of(state, "jobs") {
        text.push_str(&format!("\n{}", line(job)));
        match cell(job, "failure") {
            failure if failure.is_empty() => (),
            failure => text.push_str(&format!(" ({failure})")),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_says_what_each_key_is_good_for_and_how_far_the_work_is() {
        let state = json!({
            "keks": [
                {"id": "local:2", "writes": true, "configured": true, "healthy": true, "data_keys": 3},
                {"id": "local:1", "writes": false, "configured": true, "healthy": true, "data_keys": 1},
                {"id": "transit:x", "writes": false, "configured": true, "healthy": false, "data_keys": 1},
                {"id": "local:0", "writes": false, "configured": false, "healthy": false, "data_keys": 2},
            ],
            "jobs": [
                {"what": "kek", "tenant": null, "state": "running", "done": 3, "total": 7, "failure": null},
                {"what": "tenant", "tenant": null, "state": "failed", "done": 9, "total": 9, "failure": "why"},
            ],
        });
        let told = told(&state);
        for part in ["writes", "read only", "does not answer", "missing", "under the new key: 3 of 7, running"] {
            assert!(told.contains(part), "{part} in {told}");
        }
        assert!(told.ends_with("secrets of all tenants: 9 of 9, failed (why)"), "{told}");
    }
}
