//! What control counts and shows, and `/metrics` with its health, on a listener of their own.

mod counters;

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use coordination::Coordination;
use store::STATEMENT_SECONDS;
use telemetry::Metrics;
use tower::util::BoxCloneSyncService;

pub(crate) use self::counters::Counters;
use crate::App;
use crate::authorization::Authorization;
use crate::outward::Outward;
use crate::reconcile::Reconciler;
use crate::rest::{Rest, health};
use crate::sign_in::password::Passwords;
use crate::sign_in::tries::Tries;

/// For a collector, and for the `health` command beside this process.
pub(crate) fn router(app: &App) -> Rest {
    let (state, metrics) = (app.clone(), app.metrics.clone());
    let render = async move || ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], metrics.render());
    let health = Router::new().route("/livez", get(health::livez)).route("/readyz", get(health::readyz));
    BoxCloneSyncService::new(Router::new().route("/metrics", get(render)).merge(health.with_state(state)))
}

/// Shows what is looked at when somebody asks.
pub(crate) fn expose(app: &App) {
    let metrics = &app.metrics;
    database(metrics, app);
    Authorization::show(app, metrics);
    let reconciler = app.reconciler.clone();
    metrics.observe(
        &[("gatehouse_mounts_differing", "Mounts that differed from what is intended at the end of the last pass.")],
        &["difference"],
        move |readings| {
            let Some(report) = reconciler.last() else { return };
            let counts = report.after;
            let all = [("missing", counts.missing), ("orphaned", counts.orphaned), ("drifted", counts.drifted)];
            all.into_iter().for_each(|(difference, count)| readings.put(0, &[difference], count as f64));
        },
    );
    let shown = app.clone();
    metrics.observe(
        &[
            ("gatehouse_proxies_attached", "Proxies whose stream is open, at any replica."),
            ("gatehouse_resources_rejected", "Resources that attached proxies refuse."),
            ("gatehouse_proxy_mounts", "Mounts in the tables of attached proxies."),
            ("gatehouse_upstreams_unreachable", "Upstreams that cooled at some proxy during the last pass."),
            ("gatehouse_dev_mode", "1 where loopback upstreams are allowed."),
        ],
        &[],
        move |readings| {
            let attached = shown.proxies.attached();
            readings.put(0, &[], attached.len() as f64);
            readings.put(1, &[], attached.iter().map(|proxy| proxy.rejected.len()).sum::<usize>() as f64);
            readings.put(2, &[], attached.iter().map(|proxy| f64::from(proxy.mounts)).sum());
            let unreachable = shown.reconciler.last().map_or(0, |report| report.upstreams.len());
            readings.put(3, &[], unreachable as f64);
            readings.put(4, &[], f64::from(u8::from(shown.config.dev)));
        },
    );
    let (issuers, aged) = (app.issuers.clone(), app.issuers.clone());
    metrics.observe_counts(
        &[("gatehouse_issuer_fetches_total", "Times that issuers were asked for their keys, by outcome.")],
        &["outcome"],
        move |readings| {
            let (fetched, failed) = issuers.asked();
            readings.put(0, &["ok"], fetched as f64);
            readings.put(0, &["failed"], failed as f64);
        },
    );
    metrics.observe(
        &[("gatehouse_issuer_keys_seconds", "Age of the oldest keys of an issuer that was due at the last look.")],
        &[],
        move |readings| readings.put(0, &[], aged.oldest() as f64 / 1e6),
    );
    let outward = app.outward.clone();
    metrics.bound("outward_requests", Outward::MOST, move || outward.under_way());
    let (passwords, tries) = (app.sign_in.passwords.clone(), app.sign_in.tries.clone());
    metrics.bound("passwords", Passwords::MOST, move || passwords.taken());
    metrics.bound("sign_in_tries", Tries::MOST, move || tries.counted());
    let asked = app.reconciler.clone();
    metrics.bound("asked_passes", Reconciler::MOST_ASKED, move || asked.asked());
}

/// How often Redis was missed.
pub(crate) fn show_redis(metrics: &Metrics, coordination: Arc<Coordination>) {
    metrics.observe_counts(
        &[("gatehouse_redis_missed_total", "Hints and marks that Redis was needed for and did not take.")],
        &[],
        move |readings| readings.put(0, &[], coordination.degraded() as f64),
    );
}

fn database(metrics: &Metrics, app: &App) {
    let store = app.store.clone();
    metrics.observe_seconds(
        "gatehouse_database_seconds",
        "Statements of the database, waiting for a connection included.",
        &STATEMENT_SECONDS,
        move || store.tally().statements(),
    );
    let store = app.store.clone();
    metrics.observe_counts(
        &[
            ("gatehouse_database_failures_total", "Statements that failed or took too long."),
            ("gatehouse_changes_total", "Changes that were committed, each with its audit row."),
        ],
        &[],
        move |readings| {
            readings.put(0, &[], store.tally().failed() as f64);
            readings.put(1, &[], store.tally().changes() as f64);
        },
    );
    let store = app.store.clone();
    metrics.bounds_by(move |fill| {
        for pool in store.pools() {
            let bound = if pool.name == "write" { "database_writers" } else { "database_readers" };
            fill(bound, ["", ""], u64::from(pool.used), u64::from(pool.most));
        }
    });
}
