//! Recover: what was seeded is counted, healed and reported; other tenants are untouched.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use model::{Digest, ServerId};
use serde_json::{Value, json};
use store::NewServer;

use super::double::NODE;
use super::house::{House, NOTES, OTHER};
use crate::proxies::ObservedMount;
use crate::reconcile::{RecoverError, Scope};
use crate::rest::problem::Problem;

fn counts(missing: u64, orphaned: u64, drifted: u64) -> Value {
    json!({"missing": missing, "orphaned": orphaned, "drifted": drifted})
}

/// Three records, all mounted; then one goes missing, one drifts, an orphan comes, one cools.
async fn disturbed() -> House {
    let house = House::open().await;
    for name in ["kept", "lost", "moved"] {
        house.add(name, NOTES).await;
    }
    house.ask(&house.other_admin, "POST", "/api/v1/servers", &format!("{{\"url\":\"{OTHER}\"}}")).await;
    house.app.reconciler.run(Scope::default()).await.unwrap();
    let orphan = |tenant, name: &str| ObservedMount {
        tenant,
        server: ServerId::fresh(),
        name: name.to_owned(),
        title: name.to_owned(),
        url: OTHER.to_owned(),
        digest: Digest([7; 32]),
        internal: true,
        cooling_ms: None,
        spec: None,
    };
    house.proxies.with(|state| {
        state.mounts.retain(|mount| mount.name != "lost");
        for mount in &mut state.mounts {
            match mount.name.as_str() {
                "moved" => mount.digest = Digest([9; 32]),
                "kept" => mount.cooling_ms = Some(1500),
                _ => (),
            }
        }
        state.mounts.push(orphan(house.acme, "orphan"));
        state.mounts.push(orphan(house.other, "theirs"));
    });
    house
}

#[tokio::test]
async fn differences_are_counted_healed_and_reported_one_by_one() {
    let house = disturbed().await;
    let dry = house.admin("POST", "/api/v1/recover?dry_run=true", "").await.json();
    assert_eq!((&dry["before"], &dry["after"]), (&counts(1, 1, 1), &counts(1, 1, 1)));
    assert_eq!(dry["upstreams"].as_array().unwrap().len(), 1);
    assert_eq!(dry["upstreams"][0]["name"], "kept");

    let healed = house.admin("POST", "/api/v1/recover", "").await;
    assert_eq!(healed.status, StatusCode::OK);
    let healed = healed.json();
    assert_eq!((&healed["before"], &healed["after"]), (&counts(1, 1, 1), &counts(0, 1, 0)));
    assert_eq!((healed["complete"].as_bool(), healed["repaired"].as_i64()), (Some(true), Some(2)));
    let lines = healed["servers"].as_array().unwrap();
    assert_eq!(lines.len(), 3);
    assert!(lines.iter().all(|line| line["healed"] == (line["difference"] != "orphaned")));
    assert_eq!(healed["proxies"][0]["node"], NODE);

    let again = house.admin("POST", "/api/v1/recover", "").await.json();
    assert_eq!((&again["before"], again["repaired"].as_i64()), (&counts(0, 1, 0), Some(0)));
}

#[tokio::test]
async fn a_prune_removes_the_tenants_own_orphans_only() {
    let house = disturbed().await;
    for (path, body) in [("/api/v1/recover?prune=true", ""), ("/api/v1/recover", "{\"prune\":true}")] {
        let report = house.admin("POST", path, body).await.json();
        assert_eq!(report["after"], counts(0, 0, 0));
    }
    let left = house.proxies.with(|state| state.mounts.iter().filter(|mount| mount.internal).count());
    assert_eq!(left, 1);
    let theirs = house.ask(&house.other_admin, "POST", "/api/v1/recover", "").await.json();
    assert_eq!(theirs["before"], counts(0, 1, 0));
}

#[tokio::test]
async fn the_automatic_pass_leaves_orphans_alone() {
    let house = disturbed().await;
    let report = house.app.reconciler.run(Scope::default()).await.unwrap();
    assert_eq!((report.after.missing, report.after.orphaned, report.after.drifted), (0, 2, 0));
    assert!(report.is_complete() && report.took < Duration::from_secs(60));
}

#[tokio::test]
async fn a_proxy_that_refuses_or_is_silent_is_one_line_and_not_complete() {
    let house = disturbed().await;
    let notes = house.admin("GET", "/api/v1/servers/kept", "").await.json();
    let id: ServerId = notes["id"].as_str().unwrap().parse().unwrap();
    house.proxies.with(|state| state.rejected = vec![(model::ResourceName::Server(id), "no such pool".to_owned())]);
    let report = house.admin("POST", "/api/v1/recover", "").await.json();
    assert_eq!(report["complete"], false);
    assert_eq!(report["proxies"][0]["rejected"][0]["reason"], "no such pool");
    // Another tenant is not told of it.
    let theirs = house.ask(&house.other_admin, "POST", "/api/v1/recover", "").await.json();
    assert_eq!((theirs["complete"].as_bool(), theirs["proxies"][0]["rejected"].clone()), (Some(true), json!([])));

    house.proxies.with(|state| (state.rejected.clear(), state.answers = false));
    let report = house.admin("POST", "/api/v1/recover", "").await.json();
    assert_eq!((report["complete"].as_bool(), report["proxies"][0]["answered"].as_bool()), (Some(false), Some(false)));
    house.proxies.with(|state| state.attached = false);
    assert_eq!(house.admin("POST", "/api/v1/recover", "").await.told(), (503, "no_proxy_attached".to_owned()));
}

#[tokio::test]
async fn what_was_added_during_the_look_is_no_difference() {
    let house = House::open().await;
    house.add("notes", NOTES).await;
    house.app.reconciler.run(Scope::default()).await.unwrap();
    let new = NewServer::new("fresh".parse().unwrap(), "Fresh".to_owned(), model::UpstreamUrl::parse(OTHER).unwrap());
    let resyncs = house.proxies.with(|state| {
        state.arrives = Some((house.acme, new));
        state.resyncs
    });
    let report = house.admin("POST", "/api/v1/recover", "").await.json();
    assert_eq!((&report["before"], report["servers"].as_array().unwrap().len()), (&counts(0, 0, 0), 0));
    assert_eq!(house.proxies.with(|state| state.resyncs), resyncs);
}

#[tokio::test]
async fn passes_that_wait_are_counted_and_one_too_many_is_refused() {
    let house = House::open().await;
    let held = house.proxies.looking.acquire().await.unwrap();
    let passes = futures::future::join_all((0..17).map(|_| house.app.reconciler.run(Scope::default())));
    let (passes, ()) = tokio::join!(passes, async { drop(held) });
    let busy = passes.iter().filter(|pass| matches!(pass, Err(RecoverError::Busy))).count();
    assert_eq!((busy, passes.iter().filter(|pass| pass.is_ok()).count()), (1, 16));
    let busy = Problem::from(RecoverError::Busy).into_response();
    assert_eq!(
        (busy.status(), busy.headers()["retry-after"].to_str().unwrap()),
        (StatusCode::SERVICE_UNAVAILABLE, "1")
    );
}

#[tokio::test]
async fn a_report_shows_no_query_of_a_url() {
    let house = House::open().await;
    let url = format!("{NOTES}?token=canary");
    house.proxies.speaks(&url, "[]");
    house.add("notes", &url).await;
    house.app.reconciler.run(Scope::default()).await.unwrap();
    house.proxies.with(|state| state.mounts[0].cooling_ms = Some(9));
    let report = house.admin("POST", "/api/v1/recover", "").await;
    assert_eq!(report.json()["upstreams"][0]["url"], NOTES);
    assert!(!report.text.contains("canary"));
}
