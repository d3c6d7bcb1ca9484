//! What the data plane counts; handles are made once and then cost one atomic each.

mod bounds;
mod own;
mod series;

use std::sync::Arc;
use std::time::Duration;

use telemetry::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Metrics, trace};

pub(crate) use self::bounds::expose;
pub(crate) use self::series::{Outcome, Series};

/// What the proxy counts.
pub(crate) struct Counters {
    servers: Arc<series::Servers>,
    refused: IntCounterVec,
    methods: Methods,
    /// Requests that are being answered.
    pub(crate) active: IntGauge,
    /// Open GET streams.
    pub(crate) streams: IntGauge,
    /// Open connections of clients.
    pub(crate) connections: IntGauge,
    /// Open connections of other proxies.
    pub(crate) peer_connections: IntGauge,
    forwarded: IntCounter,
}

/// One handle for each method that is asked often.
struct Methods {
    call: Histogram,
    list: Histogram,
    initialize: Histogram,
    other: Histogram,
}

impl Counters {
    /// Registers everything.
    pub(crate) fn new(metrics: &Metrics) -> Self {
        let refused = metrics.counters(
            "gatehouse_refused_total",
            "Requests that the gateway refused or could not serve, by reason.",
            &["reason"],
        );
        // Shown from the beginning: the first one is what somebody waits for.
        refused.with_label_values(&["internal"]);
        Self {
            servers: Arc::new(series::Servers::new(metrics)),
            refused,
            methods: Methods::new(&metrics.seconds_by(
                "gatehouse_request_seconds",
                "From a read request to the head of its answer, upstreams included, by MCP method.",
                &["method"],
            )),
            active: metrics.gauge("gatehouse_active_requests", "Requests that are being answered."),
            streams: metrics.gauge("gatehouse_open_streams", "Open GET streams."),
            connections: metrics.gauge("gatehouse_open_connections", "Open connections of clients."),
            peer_connections: metrics.gauge("gatehouse_peer_connections", "Open connections of other proxies."),
            forwarded: metrics.counter(
                "gatehouse_forwarded_total",
                "Messages of sessions that another proxy keeps, passed on to it.",
            ),
        }
    }

    /// The series of one server; at most 10,000 servers have their own.
    pub(crate) fn server(&self, tenant: &str, server: &str) -> Arc<Series> {
        self.servers.of(tenant, server)
    }

    /// Counts a refusal; reasons are few and ours.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused.with_label_values(&[reason]).inc();
        trace::describe(|span| span.failed(reason));
    }

    /// A message was passed on to another proxy.
    pub(crate) fn forwarded(&self) {
        self.forwarded.inc();
    }

    /// How long a request took.
    pub(crate) fn served(&self, method: &str, took: Duration) {
        self.methods.of(method).observe(took.as_secs_f64());
    }
}

impl Methods {
    fn new(seconds: &HistogramVec) -> Self {
        let handle = |method| seconds.with_label_values(&[method]);
        Self {
            call: handle("tools/call"),
            list: handle("tools/list"),
            initialize: handle("initialize"),
            other: handle("other"),
        }
    }

    fn of(&self, method: &str) -> &Histogram {
        match method {
            "tools/call" => &self.call,
            "tools/list" => &self.list,
            "initialize" => &self.initialize,
            _ => &self.other,
        }
    }
}
