//! Recover: what is intended against what is mounted, healed and counted, while calls go on.

use serde_json::{Value, json};
use tests::load::Load;
use tests::packages::run_python;
use tests::{Gatehouse, Http, Upstream, eventually};

use crate::ways::{Town, mounted, nowhere, until_offered};

/// What a report counted before it healed anything: missing, orphaned, drifted.
fn differences(report: &Value) -> [u64; 3] {
    ["missing", "orphaned", "drifted"].map(|kind| report["before"][kind].as_u64().unwrap_or_else(|| panic!("{report}")))
}

#[tokio::test]
async fn recover_heals_what_is_wrong_and_touches_nothing_else() {
    if tests::packages::skipped("python") {
        return;
    }
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let town = Town::build(&house, 1, 4).await;
    let (old, new) = (Upstream::named("old").await, Upstream::named("new").await);
    let _missing = Upstream::named("missing").await;
    admin
        .post("/api/v1/servers", &json!({"name": "missing", "url": _missing.url(), "enabled": false}))
        .await
        .expect(201);
    admin.add("drifted", &old.url()).await;
    let unreachable = mounted(&admin, "unreachable").await;
    unreachable.end();
    // Somebody has to find out that it is gone.
    assert!(house.mcp().await.call("unreachable__echo", json!({"text": "anybody?"})).await["error"].is_object());
    let elsewhere = mounted(&house.admin().tenant("elsewhere").await, "elsewhere").await;
    let mcp = house.mcp().await;
    until_offered(&mcp, "drifted__echo", true).await;
    let calm = admin.recover(false).await.expect(200).json();
    assert_eq!(differences(&calm), [0, 0, 0], "{calm}");

    let load = Load::start(town.targets.clone(), town.pace()).await;
    load.more(50).await;
    // Behind everybody's back, so that no push follows; a heartbeat may heal it first, then it is done again.
    let report = eventually("recover meets all three differences", || async {
        add_orphan(&house, &old).await;
        tamper(&house, "UPDATE server SET enabled = 1 WHERE name = 'missing'").await;
        tamper(&house, &format!("UPDATE server SET url = '{}' WHERE name = 'drifted'", new.url())).await;
        let answer = admin.recover(false).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let report = answer.json();
        if differences(&report) == [1, 1, 1] {
            return Some(report);
        }
        tamper(&house, "UPDATE server SET enabled = 0 WHERE name = 'missing'").await;
        tamper(&house, &format!("UPDATE server SET url = '{}' WHERE name = 'drifted'", old.url())).await;
        admin.recover(true).await;
        None
    })
    .await;
    let lines = report["upstreams"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "{report}");
    assert_eq!(lines[0]["name"], "unreachable", "{report}");
    assert_eq!(report["complete"], true, "a cooling upstream is no failure: {report}");
    assert_eq!(report["after"], json!({"missing": 0, "orphaned": 1, "drifted": 0}), "{report}");
    until_offered(&mcp, "missing__echo", true).await;
    assert_eq!(mcp.text("missing__echo", json!({"text": "back"})).await, "missing: back");
    assert_eq!(mcp.text("drifted__echo", json!({"text": "moved"})).await, "new: moved");

    // The orphan was reported and left alone; it goes with prune, and then nothing is left to do.
    assert!(proxies(&house).await.get("lost").is_some());
    let pruned = admin.recover(true).await.expect(200).json();
    assert_eq!(differences(&pruned), [0, 1, 0], "{pruned}");
    assert!(proxies(&house).await.get("lost").is_none());
    let again = admin.recover(true).await.expect(200).json();
    assert_eq!(differences(&again), [0, 0, 0], "{again}");

    // Another tenant was never looked at, and nobody's calls noticed.
    let (verified, failures) = load.finish().await;
    assert!(failures.is_empty(), "{failures:?}");
    assert!(verified > 50);
    assert_eq!(elsewhere.calls(""), 0);
    let record = house.admin().in_tenant("elsewhere").server("elsewhere").await.expect(200).json();
    assert_eq!(record["generation"], 1, "{record}");
}

#[tokio::test]
async fn an_unreachable_upstream_is_one_line_and_no_failure() {
    let house = Gatehouse::start().await;
    let admin = house.admin();
    let _live = mounted(&admin, "live").await;
    let body = json!({"name": "unreachable", "url": nowhere(), "skip_validation": true});
    admin.post("/api/v1/servers", &body).await.expect(201);
    let mcp = house.mcp().await;
    for _ in 0..4 {
        mcp.tools().await;
    }
    let report = admin.recover(false).await.expect(200).json();
    assert_eq!(differences(&report), [0, 0, 0], "{report}");
    assert_eq!(mcp.text("live__echo", json!({"text": "x"})).await, "live: x");
}

async fn tamper(house: &Gatehouse, statement: &str) {
    let file = house.dir().join("gatehouse.db");
    let done = run_python("sql.py", &[file.to_str().unwrap(), statement]).await;
    assert_eq!(done["changed"], 1, "{statement}");
}

async fn add_orphan(house: &Gatehouse, upstream: &Upstream) {
    let bearer = format!("Bearer {}", house.admin_key());
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = json!({"service_name": "lost", "mcp_url": upstream.url(), "transport": "streamable-http"});
    let url = house.at("/add-remote-proxies");
    let answer = Http::default().send("POST", &url, &headers, body.to_string()).await.unwrap();
    assert!([200, 409].contains(&answer.status.as_u16()), "{}", answer.text());
}

async fn proxies(house: &Gatehouse) -> Value {
    let bearer = format!("Bearer {}", house.admin_key());
    let url = house.at("/list-remote-proxies");
    let answer = Http::default().send("GET", &url, &[("authorization", &bearer)], "").await.unwrap();
    answer.expect(200).json()["proxies"].clone()
}
