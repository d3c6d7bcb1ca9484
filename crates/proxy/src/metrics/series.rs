//! The series of single servers: made with a server's first request, gone with its last mount, bounded in number.
//!
//! Thousands of servers are scraped at once, so what never happened to a server has no series, but for what alerts
//! watch: a series that begins with its first event does not show it as a rise.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use telemetry::{Histogram, HistogramVec, IntCounter, IntCounterVec, Metrics};

/// Servers with series of their own. Those beyond share one, whose tenant and server are [`OTHER`].
pub(super) const MOST: usize = 10_000;
/// See [`MOST`]; a slug can't be spelled like this.
pub(super) const OTHER: &str = "_other";

/// Classes of latency, in seconds: few, because each server has each of them.
const SECONDS: [f64; 6] = [0.005, 0.025, 0.1, 0.5, 2.5, 30.0];

/// Every outcome and its word.
const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::Ok, "ok"),
    (Outcome::ToolError, "tool_error"),
    (Outcome::RpcError, "rpc_error"),
    (Outcome::TransportError, "transport_error"),
    (Outcome::Cancelled, "cancelled"),
    (Outcome::Abandoned, "abandoned"),
];

/// Every class of a failure; what is none of these counts as the last.
const CLASSES: [&str; 11] = [
    "auth",
    "timeout",
    "refused",
    "dns",
    "tls",
    "not_found",
    "protocol",
    "address_blocked",
    "cooling",
    "busy",
    "other",
];

/// The class that somebody is told of at once.
const WATCHED: &str = "address_blocked";

/// How a request to an upstream ended, by the layer that ended it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A result.
    Ok,
    /// A result that says of itself that the tool failed.
    ToolError,
    /// A JSON-RPC error of the upstream's.
    RpcError,
    /// No answer, or none that could be passed on.
    TransportError,
    /// The client cancelled it.
    Cancelled,
    /// The client went away before the end.
    Abandoned,
}

/// The families, and who has series in them.
pub(super) struct Servers {
    requests: IntCounterVec,
    failures: IntCounterVec,
    seconds: HistogramVec,
    known: Mutex<HashMap<[Box<str>; 2], Weak<Series>>>,
}

/// The handles of one server.
pub(crate) struct Series {
    key: [Box<str>; 2],
    outcomes: [OnceLock<IntCounter>; OUTCOMES.len()],
    failures: [OnceLock<IntCounter>; CLASSES.len()],
    seconds: Histogram,
    servers: Arc<Servers>,
}

impl Servers {
    pub(super) fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.counters(
                "gatehouse_upstream_requests_total",
                "Requests of clients that went to an upstream, by the layer that ended them.",
                &["tenant", "server", "outcome"],
            ),
            failures: metrics.counters(
                "gatehouse_upstream_failures_total",
                "Transport errors by class; `auth` is a 401 or 403 of the upstream's.",
                &["tenant", "server", "class"],
            ),
            seconds: metrics.seconds_in(
                "gatehouse_upstream_seconds",
                "From taking up a request for an upstream to the outcome, queue and retries included.",
                &["tenant", "server"],
                &SECONDS,
            ),
            known: Mutex::default(),
        }
    }

    pub(super) fn of(self: &Arc<Self>, tenant: &str, server: &str) -> Arc<Series> {
        let mut known = self.lock();
        let mut key = [tenant.into(), server.into()];
        if !known.contains_key(&key) && known.len() >= MOST {
            key = [OTHER.into(), OTHER.into()];
        }
        if let Some(series) = known.get(&key).and_then(Weak::upgrade) {
            return series;
        }
        let [tenant, server] = key.each_ref().map(|part| &**part);
        let series = Arc::new(Series {
            outcomes: [const { OnceLock::new() }; OUTCOMES.len()],
            failures: [const { OnceLock::new() }; CLASSES.len()],
            seconds: self.seconds.with_label_values(&[tenant, server]),
            servers: self.clone(),
            key,
        });
        series.outcome(Outcome::Ok);
        series.outcome(Outcome::TransportError);
        series.failure(WATCHED);
        known.insert(series.key.clone(), Arc::downgrade(&series));
        series
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<[Box<str>; 2], Weak<Series>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Series {
    /// Counts one request.
    pub(crate) fn ended(&self, outcome: Outcome, took: Duration) {
        if let Some(counter) = self.outcome(outcome) {
            counter.inc();
        }
        self.seconds.observe(took.as_secs_f64());
    }

    /// Counts why one failed.
    pub(crate) fn failed(&self, class: &str) {
        if let Some(counter) = self.failure(class) {
            counter.inc();
        }
    }

    fn failure(&self, class: &str) -> Option<&IntCounter> {
        let at = CLASSES.iter().position(|known| *known == class).unwrap_or(CLASSES.len() - 1);
        let (counter, class) = (self.failures.get(at)?, CLASSES.get(at)?);
        Some(counter.get_or_init(|| self.servers.failures.with_label_values(&self.labels(class))))
    }

    fn outcome(&self, outcome: Outcome) -> Option<&IntCounter> {
        let (counter, (_, word)) = (self.outcomes.get(outcome as usize)?, OUTCOMES.get(outcome as usize)?);
        Some(counter.get_or_init(|| self.servers.requests.with_label_values(&self.labels(word))))
    }

    fn labels<'a>(&'a self, third: &'a str) -> [&'a str; 3] {
        let [tenant, server] = &self.key;
        [tenant, server, third]
    }
}

impl Drop for Series {
    fn drop(&mut self) {
        let mut known = self.servers.lock();
        // Another version of the server may have taken the name up meanwhile.
        if known.get(&self.key).is_none_or(|series| !std::ptr::eq(series.as_ptr(), self)) {
            return;
        }
        known.remove(&self.key);
        let [tenant, server] = self.key.each_ref().map(|part| &**part);
        let outcomes = OUTCOMES.iter().zip(&self.outcomes).filter(|(_, counter)| counter.get().is_some());
        let failures = CLASSES.iter().zip(&self.failures).filter(|(_, counter)| counter.get().is_some());
        let removed = outcomes
            .map(|((_, word), _)| self.servers.requests.remove_label_values(&[tenant, server, word]))
            .chain(failures.map(|(class, _)| self.servers.failures.remove_label_values(&[tenant, server, class])))
            .chain([self.servers.seconds.remove_label_values(&[tenant, server])]);
        for error in removed.filter_map(Result::err) {
            tracing::error!(%error, server, "the series of a server can't be removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOOK: Duration = Duration::from_millis(1);

    #[test]
    fn a_server_has_series_as_long_as_somebody_holds_them() {
        let metrics = Metrics::new();
        let servers = Arc::new(Servers::new(&metrics));
        let first = servers.of("acme", "notes");
        first.ended(Outcome::ToolError, TOOK);
        first.failed("auth");
        first.failed("never heard of");
        let second = servers.of("acme", "notes");
        drop(first);
        second.ended(Outcome::ToolError, TOOK);
        let text = metrics.render();
        for line in [
            r#"gatehouse_upstream_requests_total{outcome="tool_error",server="notes",tenant="acme"} 2"#,
            r#"gatehouse_upstream_failures_total{class="auth",server="notes",tenant="acme"} 1"#,
            r#"gatehouse_upstream_failures_total{class="other",server="notes",tenant="acme"} 1"#,
            r#"gatehouse_upstream_seconds_count{server="notes",tenant="acme"} 2"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        drop(second);
        assert!(!metrics.render().contains("notes"), "{}", metrics.render());
    }

    #[test]
    fn what_never_happened_to_a_server_has_no_series_but_for_what_alerts_watch() {
        let metrics = Metrics::new();
        let servers = Arc::new(Servers::new(&metrics));
        let series = servers.of("acme", "notes");
        let shown = |text: &str, name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        let text = metrics.render();
        assert_eq!(shown(&text, "gatehouse_upstream_requests_total{"), 2, "{text}");
        assert_eq!(shown(&text, "gatehouse_upstream_failures_total{"), 1, "{text}");
        series.ended(Outcome::Abandoned, TOOK);
        series.failed("dns");
        let text = metrics.render();
        assert_eq!(shown(&text, "gatehouse_upstream_requests_total{"), 3, "{text}");
        assert_eq!(shown(&text, "gatehouse_upstream_failures_total{"), 2, "{text}");
    }

    #[test]
    fn ten_thousand_busy_servers_are_about_twenty_megabytes() {
        let metrics = Metrics::new();
        let servers = Arc::new(Servers::new(&metrics));
        let tenant = |at: usize| format!("01890000-0000-7000-8000-{:012x}", at / 10);
        let name = |at: usize| format!("server-{at:05}");
        let all: Vec<Arc<Series>> = (0..MOST).map(|at| servers.of(&tenant(at), &name(at))).collect();
        for series in &all {
            series.ended(Outcome::Ok, TOOK);
            series.ended(Outcome::ToolError, TOOK);
        }
        for series in all.iter().step_by(10) {
            series.ended(Outcome::TransportError, TOOK);
            series.failed("timeout");
        }
        // As many bounds as a busy server has in use.
        metrics.bounds_by(move |fill| {
            for at in 0..MOST {
                ["upstream_places", "upstream_idle_connections"]
                    .into_iter()
                    .for_each(|bound| fill(bound, [&tenant(at), &name(at)], 1, 64));
            }
        });
        let begun = std::time::Instant::now();
        let text = metrics.render();
        println!("{} bytes in {:?}", text.len(), begun.elapsed());
        assert!(text.len() < 21_000_000, "{} bytes", text.len());
    }

    #[test]
    fn outcomes_are_indexed_as_they_are_listed() {
        assert!(OUTCOMES.iter().enumerate().all(|(at, (outcome, _))| *outcome as usize == at));
    }

    #[test]
    fn servers_beyond_the_bound_share_one_series() {
        let metrics = Metrics::new();
        let servers = Arc::new(Servers::new(&metrics));
        let all: Vec<Arc<Series>> = (0..MOST + 5).map(|at| servers.of("acme", &at.to_string())).collect();
        all.last().unwrap().ended(Outcome::Ok, TOOK);
        let text = metrics.render();
        assert!(text.contains(r#"requests_total{outcome="ok",server="_other",tenant="_other"} 1"#));
        assert_eq!(text.matches("gatehouse_upstream_seconds_count").count(), MOST + 1);
        drop(all);
        assert!(!metrics.render().contains("acme"));
    }
}
