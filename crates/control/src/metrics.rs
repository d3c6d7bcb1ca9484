//! `/metrics` of control, and its health, on a listener of their own.

use std::sync::Arc;

use axum::Router;
use axum::http::header;
use axum::routing::get;
use telemetry::{IntGauge, Metrics};
use tower::util::BoxCloneSyncService;

use crate::App;
use crate::rest::{Rest, health};

/// Gauges that are read when somebody asks.
struct Page {
    metrics: Metrics,
    attached: IntGauge,
    rejected: IntGauge,
    mounts: IntGauge,
    missing: IntGauge,
    orphaned: IntGauge,
    drifted: IntGauge,
    cooling: IntGauge,
}

impl Page {
    fn new() -> Self {
        let metrics = Metrics::new();
        let gauge = |name, help| metrics.gauge(name, help);
        Self {
            attached: gauge("gatehouse_control_proxies_attached", "Proxies whose stream is open."),
            rejected: gauge("gatehouse_control_resources_rejected", "Resources that attached proxies refuse."),
            mounts: gauge("gatehouse_control_mounts", "Mounts in the tables of attached proxies."),
            missing: gauge("gatehouse_control_mounts_missing", "Missing after the last pass."),
            orphaned: gauge("gatehouse_control_mounts_orphaned", "Orphaned after the last pass."),
            drifted: gauge("gatehouse_control_mounts_drifted", "Drifted after the last pass."),
            cooling: gauge("gatehouse_control_upstreams_cooling", "Upstreams that some proxy can't reach."),
            metrics,
        }
    }

    fn render(&self, app: &App) -> String {
        let attached = app.proxies.attached();
        let size = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.attached.set(size(attached.len()));
        self.rejected.set(size(attached.iter().map(|proxy| proxy.rejected.len()).sum()));
        self.mounts.set(attached.iter().map(|proxy| i64::from(proxy.mounts)).sum());
        if let Some(report) = app.reconciler.last() {
            self.missing.set(size(report.after.missing));
            self.orphaned.set(size(report.after.orphaned));
            self.drifted.set(size(report.after.drifted));
            self.cooling.set(size(report.upstreams.len()));
        }
        self.metrics.render()
    }
}

/// For a collector, and for the `health` command beside this process.
pub(crate) fn router(app: &App) -> Rest {
    let (state, app, page) = (app.clone(), app.clone(), Arc::new(Page::new()));
    let render = async move || ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page.render(&app));
    let health = Router::new().route("/livez", get(health::livez)).route("/readyz", get(health::readyz));
    BoxCloneSyncService::new(Router::new().route("/metrics", get(render)).merge(health.with_state(state)))
}
