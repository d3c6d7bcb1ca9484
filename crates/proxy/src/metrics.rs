//! The counters of the data plane; handles are made once and then cost one atomic each.

use telemetry::{IntCounter, IntCounterVec, IntGauge, Metrics};

/// What the proxy counts.
pub(crate) struct Counters {
    calls: IntCounterVec,
    refused: IntCounterVec,
    /// Requests that are being answered.
    pub(crate) active: IntGauge,
    /// Open GET streams.
    pub(crate) streams: IntGauge,
}

/// The three layers of an outcome, for one server.
pub(crate) struct Outcomes {
    /// The upstream answered with a result (a tool error is one).
    pub(crate) answered: IntCounter,
    /// The upstream answered with a JSON-RPC error.
    pub(crate) rejected: IntCounter,
    /// No answer came, or none that could be passed on.
    pub(crate) failed: IntCounter,
}

impl Counters {
    /// Registers everything.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            calls: metrics.counters(
                "gatehouse_upstream_requests_total",
                "Requests to upstreams, by tenant, server and outcome.",
                &["tenant", "server", "outcome"],
            ),
            refused: metrics.counters(
                "gatehouse_refused_total",
                "Requests that the gateway refused itself, by reason.",
                &["reason"],
            ),
            active: metrics.gauge("gatehouse_active_requests", "Requests that are being answered."),
            streams: metrics.gauge("gatehouse_open_streams", "Open GET streams."),
        }
    }

    /// The handles of one server.
    pub(crate) fn outcomes(&self, tenant: &str, server: &str) -> Outcomes {
        let handle = |outcome| self.calls.with_label_values(&[tenant, server, outcome]);
        Outcomes { answered: handle("answered"), rejected: handle("rejected"), failed: handle("failed") }
    }

    /// Counts a refusal; reasons are few and ours.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
    }
}
