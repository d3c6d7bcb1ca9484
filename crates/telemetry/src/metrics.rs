//! A small metrics registry: handles are made once at start and then cost one atomic each.

use prometheus::core::Collector;
use prometheus::{Encoder as _, HistogramOpts, Opts, Registry, TextEncoder};

pub use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

/// Buckets for durations in seconds: 100 us to 30 s.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Name of the metric that stands in for one that can't be registered.
const SPARE: &str = "spare";

/// The metrics of one process. Cloning gives another handle to the same registry.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Registry);

impl Metrics {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// A counter that only rises.
    pub fn counter(&self, name: &'static str, help: &'static str) -> IntCounter {
        self.registered(name, IntCounter::new(name, help), || IntCounter::new(SPARE, SPARE))
    }

    /// A family of counters told apart by labels; make the handles with `with_label_values` at
    /// start, not on the hot path. Labels must have few values.
    pub fn counters(&self, name: &'static str, help: &'static str, labels: &[&str]) -> IntCounterVec {
        let made = |name: &str| IntCounterVec::new(Opts::new(name, help), labels);
        self.registered(name, made(name), || made(SPARE))
    }

    /// A value that rises and falls.
    pub fn gauge(&self, name: &'static str, help: &'static str) -> IntGauge {
        self.registered(name, IntGauge::new(name, help), || IntGauge::new(SPARE, SPARE))
    }

    /// A distribution of durations in seconds, 100 us to 30 s.
    pub fn seconds(&self, name: &'static str, help: &'static str) -> Histogram {
        let made = |name: &str| Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()));
        self.registered(name, made(name), || made(SPARE))
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.0.gather(), &mut text) {
            tracing::error!(%error, "metrics can't be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// Registers a metric; a name that is bad or taken is a mistake of ours that must not stop the
    /// process, so it is logged and the metric counts unseen.
    fn registered<M: Collector + Clone + 'static>(
        &self,
        name: &'static str,
        metric: Result<M, prometheus::Error>,
        spare: impl FnOnce() -> Result<M, prometheus::Error>,
    ) -> M {
        let registered = metric.and_then(|metric| self.0.register(Box::new(metric.clone())).map(|()| metric));
        registered.unwrap_or_else(|error| {
            tracing::error!(name, %error, "metric can't be registered");
            #[allow(clippy::expect_used, reason = "the spare name is a literal; label names are literals of ours")]
            spare().expect("the spare metric")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::new();
        let calls = metrics.counter("gatehouse_calls_total", "Calls.");
        let kinds = metrics.counters("gatehouse_answers_total", "Answers.", &["kind"]);
        calls.inc_by(3);
        kinds.with_label_values(&["ok"]).inc();
        metrics.gauge("gatehouse_streams", "Open streams.").set(2);
        let text = metrics.render();
        assert!(text.contains("gatehouse_calls_total 3"));
        assert!(text.contains("gatehouse_answers_total{kind=\"ok\"} 1"));
        assert!(text.contains("gatehouse_streams 2"));
    }

    #[test]
    fn a_taken_name_is_no_panic() {
        let metrics = Metrics::new();
        metrics.counter("same_total", "One.").inc();
        metrics.counter("same_total", "Two.").inc();
        assert!(metrics.render().contains("same_total 1"));
    }
}
