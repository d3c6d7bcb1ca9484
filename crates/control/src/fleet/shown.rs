//! The state of the link as metrics.

use std::collections::HashMap;
use std::sync::Arc;

use model::Revision;
use telemetry::Metrics;

use super::counters::{Latency, LinkCounters, PUSH_MILLIS};
use super::lag::UNDER_WAY;
use super::rates::Rates;
use super::relay::DOING;
use super::roster::REMEMBERED;
use super::service::REQUESTS;
use super::stream::{COMMANDS, OUTGOING};
use super::tickets::CAPACITY;
use super::{Fleet, SENDS};

impl Fleet {
    /// Shows the link in the metrics of the process.
    pub(crate) fn show(self: &Arc<Self>, metrics: &Metrics) {
        self.show_counters(metrics);
        self.show_bounds(metrics);
        let fleet = self.clone();
        metrics.observe(
            &[
                ("gatehouse_revision_seq", "Sequence number of the intended state, as published."),
                ("gatehouse_revision_epoch", "Epoch of the intended state."),
                ("gatehouse_revision_lag", "How many changes the proxy that is furthest behind has yet to take."),
                ("gatehouse_proxies_lagging", "Attached proxies that have yet to take a change."),
                ("gatehouse_proxies_differing", "Attached proxies whose table is not what they acknowledged."),
                (
                    "gatehouse_proxy_oldest_contact_seconds",
                    "Since the attached proxy was heard of that was silent longest.",
                ),
                ("gatehouse_certificate_seconds", "Until the first certificate of an attached proxy ends."),
            ],
            &[],
            move |readings| {
                let revision = fleet.known().revision;
                readings.put(0, &[], revision.seq as f64);
                readings.put(1, &[], revision.epoch as f64);
                let attached = fleet.roster.attached();
                let behind = |applied: Revision| {
                    if applied.epoch == revision.epoch { (revision.seq - applied.seq).max(0) } else { revision.seq }
                };
                let lag = attached.iter().map(|proxy| behind(proxy.applied)).max().unwrap_or(0);
                readings.put(2, &[], lag as f64);
                readings.put(3, &[], attached.iter().filter(|proxy| proxy.applied < revision).count() as f64);
                readings.put(4, &[], attached.iter().filter(|proxy| !proxy.digest_matches).count() as f64);
                let now = fleet.clock.now_micros();
                let oldest = fleet.roster.oldest_contact().map_or(0, |heard| now.saturating_sub(heard));
                readings.put(5, &[], oldest as f64 / 1e6);
                if let Some(until) = attached.iter().filter_map(|proxy| proxy.certificate_until).min() {
                    readings.put(6, &[], until.saturating_sub(now) as f64 / 1e6);
                }
            },
        );
    }

    fn show_counters(&self, metrics: &Metrics) {
        let counters = self.counters.clone();
        metrics.observe_counts(
            &[
                ("gatehouse_link_sessions_total", "Streams of proxies that were accepted."),
                ("gatehouse_link_refused_total", "Streams of proxies that were refused."),
                ("gatehouse_link_replaced_total", "Streams that a newer one of the same node ended."),
                ("gatehouse_link_foreign_total", "Questions of proxies about what their pool has no business with."),
                ("gatehouse_pushes_total", "Pushes that were sent, snapshots included."),
                ("gatehouse_snapshots_total", "Snapshots that were sent."),
                ("gatehouse_snapshot_bytes_total", "Bytes of resources in them."),
                ("gatehouse_nonce_mismatches_total", "Answers to another push than the one under way."),
                ("gatehouse_digest_mismatches_total", "Heartbeats whose digest was not what was acknowledged."),
                ("gatehouse_whole_reads_total", "Readings of the whole intended state."),
                ("gatehouse_relayed_commands_total", "Commands that were passed on to another replica."),
            ],
            &[],
            move |readings| {
                let counts = [
                    &counters.sessions,
                    &counters.refused,
                    &counters.replaced,
                    &counters.foreign,
                    &counters.pushes,
                    &counters.snapshots,
                    &counters.snapshot_bytes,
                    &counters.nonce_mismatches,
                    &counters.digest_mismatches,
                    &counters.whole_reads,
                    &counters.relayed,
                ];
                counts.into_iter().enumerate().for_each(|(at, count)| readings.put(at, &[], count.get() as f64));
            },
        );
        for (name, help, latency) in [
            (
                "gatehouse_push_seconds",
                "From a push to its answer, for each proxy.",
                (|counters| &counters.push) as fn(&LinkCounters) -> &Latency,
            ),
            (
                "gatehouse_config_lag_seconds",
                "From the commit of a change to the answer of the last proxy attached here; revocations apart.",
                |counters| &counters.config_lag,
            ),
            (
                "gatehouse_revoke_lag_seconds",
                "From the commit of a revocation to the answer of the last proxy attached here.",
                |counters| &counters.revoke_lag,
            ),
        ] {
            let counters = self.counters.clone();
            let bounds = PUSH_MILLIS.map(|millis| millis as f64 / 1e3);
            metrics.observe_seconds(name, help, &bounds, move || latency(&counters).read());
        }
    }

    fn show_bounds(self: &Arc<Self>, metrics: &Metrics) {
        let fleet = self.clone();
        metrics.bound("tickets", CAPACITY as u64, move || fleet.tickets.len() as u64);
        let fleet = self.clone();
        metrics.bound("remembered_proxies", REMEMBERED as u64, move || fleet.roster.with_nodes(HashMap::len) as u64);
        let sends = self.sends.clone();
        metrics.bound("snapshots_under_way", SENDS as u64, move || (SENDS - sends.available_permits()) as u64);
        let fleet = self.clone();
        metrics.bound("lease_rates", Rates::MOST as u64, move || fleet.rates.len() as u64);
        let fleet = self.clone();
        metrics.bound("relayed_commands", DOING as u64, move || fleet.relay.doing() as u64);
        let fleet = self.clone();
        metrics.bound("changes_under_way", UNDER_WAY as u64, move || fleet.lag.len() as u64);
        let fleet = self.clone();
        metrics.bounds_by(move |fill| {
            let fullest = fleet.roster.fullest();
            for (bound, used, limit) in [
                ("proxy_requests", fullest.requests, REQUESTS),
                ("proxy_commands", fullest.commands, COMMANDS),
                ("proxy_messages", fullest.messages, OUTGOING),
            ] {
                fill(bound, ["", ""], used as u64, limit as u64);
            }
        });
    }
}
