//! The metrics of one process: handles are made once at start and then cost one atomic each; what is
//! better looked at than counted is read when somebody asks.

mod observed;

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, HistogramOpts, Opts, Registry, TextEncoder};

pub use self::observed::Readings;
use self::observed::{Bounds, Classes, Observed};
pub use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

/// Buckets for durations in seconds: 100 us to 30 s.
const SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// Name of the metric that stands in for one that can't be registered.
const SPARE: &str = "spare";

/// The metrics of one process. Cloning gives another handle to the same registry.
#[derive(Clone, Default)]
pub struct Metrics {
    registry: Registry,
    bounds: Bounds,
}

impl Metrics {
    /// A registry that holds the version of the program, and the bounds that [`Metrics::bound`] names.
    pub fn new() -> Self {
        let metrics = Self::default();
        metrics.observe(
            &[("gatehouse_build_info", "1; the label is the version of the program.")],
            &["version"],
            |readings| readings.put(0, &[env!("CARGO_PKG_VERSION")], 1.0),
        );
        let bounds = metrics.bounds.clone();
        metrics.observe(
            &[
                ("gatehouse_bound_used", "How much of a bound is in use; per tenant and server only while it is."),
                ("gatehouse_bound_limit", "The bound itself."),
            ],
            &["bound", "tenant", "server"],
            move |readings| bounds.read(readings),
        );
        metrics
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

    /// A family of such distributions, as [`Metrics::counters`].
    pub fn seconds_by(&self, name: &'static str, help: &'static str, labels: &[&str]) -> HistogramVec {
        self.seconds_in(name, help, labels, SECONDS)
    }

    /// The same in the caller's classes, for families of many: `bounds` are in seconds and rise.
    pub fn seconds_in(&self, name: &'static str, help: &'static str, labels: &[&str], bounds: &[f64]) -> HistogramVec {
        let made = |name: &str| HistogramVec::new(HistogramOpts::new(name, help).buckets(bounds.to_vec()), labels);
        self.registered(name, made(name), || made(SPARE))
    }

    /// Gauges that `read` fills whenever somebody asks: names with their help, all with these labels.
    pub fn observe(
        &self,
        families: &[(&'static str, &'static str)],
        labels: &[&str],
        read: impl Fn(&Readings<'_>) + Send + Sync + 'static,
    ) {
        let registered = Observed::new(families, labels, Box::new(read))
            .and_then(|observed| self.registry.register(Box::new(observed)));
        if let Err(error) = registered {
            tracing::error!(?families, %error, "metrics can't be registered");
        }
    }

    /// Counters that are kept elsewhere: as [`Metrics::observe`], of values that only rise.
    pub fn observe_counts(
        &self,
        families: &[(&'static str, &'static str)],
        labels: &[&str],
        read: impl Fn(&Readings<'_>) + Send + Sync + 'static,
    ) {
        let observed = Observed::new(families, labels, Box::new(read)).map(Observed::rising);
        if let Err(error) = observed.and_then(|observed| self.registry.register(Box::new(observed))) {
            tracing::error!(?families, %error, "metrics can't be registered");
        }
    }

    /// A distribution of durations that is kept elsewhere: `read` gives how many fell into each class, the
    /// first up to `bounds[0]` seconds and the last beyond all, and the sum of all in seconds.
    pub fn observe_seconds(
        &self,
        name: &'static str,
        help: &'static str,
        bounds: &[f64],
        read: impl Fn() -> (Vec<u64>, f64) + Send + Sync + 'static,
    ) {
        let classes = Classes::new(name, help, bounds, Box::new(read));
        if let Err(error) = classes.and_then(|classes| self.registry.register(Box::new(classes))) {
            tracing::error!(name, %error, "metric can't be registered");
        }
    }

    /// A bound of the process, and how to learn how much of it is in use.
    pub fn bound(&self, bound: &'static str, limit: u64, used: impl Fn() -> u64 + Send + Sync + 'static) {
        self.bounds_by(move |fill| fill(bound, ["", ""], used(), limit));
    }

    /// Bounds of tenants and servers: `read` tells name, `[tenant, server]`, use and limit of those in use.
    pub fn bounds_by(&self, read: impl Fn(&mut dyn FnMut(&'static str, [&str; 2], u64, u64)) + Send + Sync + 'static) {
        self.bounds.add(Box::new(read));
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.gather(), &mut text) {
            tracing::error!(%error, "metrics can't be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// All metrics as they are now.
    pub(crate) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// Registers a metric; a name that is bad or taken is a mistake of ours that must not stop the
    /// process, so it is logged and the metric counts unseen.
    fn registered<M: Collector + Clone + 'static>(
        &self,
        name: &'static str,
        metric: Result<M, prometheus::Error>,
        spare: impl FnOnce() -> Result<M, prometheus::Error>,
    ) -> M {
        let registered = metric.and_then(|metric| self.registry.register(Box::new(metric.clone())).map(|()| metric));
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

    #[test]
    fn a_bound_shows_its_fill_beside_its_limit() {
        let metrics = Metrics::new();
        metrics.bound("connections", 100, || 7);
        metrics.bounds_by(|fill| fill("calls", ["acme", "notes"], 1, 2));
        let text = metrics.render();
        for line in [
            r#"gatehouse_bound_used{bound="connections",server="",tenant=""} 7"#,
            r#"gatehouse_bound_limit{bound="connections",server="",tenant=""} 100"#,
            r#"gatehouse_bound_used{bound="calls",server="notes",tenant="acme"} 1"#,
            r#"gatehouse_bound_limit{bound="calls",server="notes",tenant="acme"} 2"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_counted_elsewhere_is_shown_as_what_it_is() {
        let metrics = Metrics::new();
        metrics.observe_counts(&[("pushes_total", "Pushes.")], &[], |readings| readings.put(0, &[], 3.0));
        metrics.observe_seconds("push_seconds", "Latency.", &[0.5, 1.0], || (vec![2, 1, 4], 9.5));
        let text = metrics.render();
        for line in [
            "# TYPE pushes_total counter",
            "pushes_total 3",
            "# TYPE push_seconds histogram",
            r#"push_seconds_bucket{le="0.5"} 2"#,
            r#"push_seconds_bucket{le="1"} 3"#,
            r#"push_seconds_bucket{le="+Inf"} 7"#,
            "push_seconds_sum 9.5",
            "push_seconds_count 7",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }

    #[test]
    fn what_is_observed_is_read_anew_each_time() {
        let metrics = Metrics::new();
        let servers = std::sync::Arc::new(std::sync::Mutex::new(vec!["notes", "mail"]));
        let seen = servers.clone();
        metrics.observe(&[("cooling", "Seconds.")], &["server"], move |readings| {
            seen.lock().unwrap().iter().for_each(|server| readings.put(0, &[server], 1.0));
        });
        assert!(metrics.render().contains(r#"cooling{server="mail"} 1"#));
        servers.lock().unwrap().pop();
        let text = metrics.render();
        assert!(text.contains(r#"cooling{server="notes"} 1"#) && !text.contains("mail"), "{text}");
    }
}
