//! What is looked at when somebody asks: the table, the link, who cools, and the fill of every bound.

use std::sync::Arc;
use std::time::{Duration, Instant};

use telemetry::Metrics;
use tokio::sync::watch;

use super::own::{self, Fill};
use super::series::{MOST, OTHER};
use crate::elsewhere::TELLING;
use crate::gate::Gate;
use crate::link::LinkStatus;
use crate::peers;
use crate::questions;
use crate::server::CONNECTIONS;
use crate::table::Mount;

/// Shows the state of the proxy in its metrics.
pub(crate) fn expose(metrics: &Metrics, gate: &Arc<Gate>, link: watch::Receiver<LinkStatus>, dev: bool) {
    gate.show(metrics);
    let shown = gate.clone();
    metrics.observe(
        &[
            ("gatehouse_link_attached", "1 while a stream to control is open."),
            ("gatehouse_link_current", "1 once the table was brought to what is intended on this stream."),
            ("gatehouse_link_epoch", "Epoch of the revision of the table."),
            ("gatehouse_link_seq", "Sequence number of the revision of the table."),
            ("gatehouse_link_heard_seconds", "Since control was last heard of; absent if it never was."),
            ("gatehouse_dev_mode", "1 where loopback upstreams are allowed."),
        ],
        &[],
        move |readings| {
            let status = *link.borrow();
            readings.put(0, &[], f64::from(u8::from(status.attached)));
            readings.put(1, &[], f64::from(u8::from(status.current)));
            readings.put(2, &[], status.revision.epoch as f64);
            readings.put(3, &[], status.revision.seq as f64);
            if let Some(heard) = shown.readiness.last_heard() {
                readings.put(4, &[], shown.clock.now_micros().saturating_sub(heard) as f64 / 1e6);
            }
            readings.put(5, &[], f64::from(u8::from(dev)));
        },
    );
}

impl Gate {
    /// Shows what it has in its table, and how full its bounds are, in these metrics.
    pub fn show(self: &Arc<Self>, metrics: &Metrics) {
        table(metrics, self.clone());
        bounds(metrics, self);
        tenants(metrics, self.clone());
    }
}

fn table(metrics: &Metrics, gate: Arc<Gate>) {
    let cooling = gate.clone();
    metrics.observe(
        &[
            ("gatehouse_tenants", "Tenants in the table."),
            ("gatehouse_mounts", "Mounts in the table."),
            ("gatehouse_mounts_internal", "Mounts that were added past control."),
            ("gatehouse_keys", "Keys in the table."),
            ("gatehouse_calls_under_way", "Requests that wait for an upstream."),
            ("gatehouse_upstreams_cooling", "Upstreams that are left alone for a while."),
            ("gatehouse_users", "Users in the table."),
            ("gatehouse_issuers", "Identity providers of tenants in the table."),
        ],
        &[],
        move |readings| {
            let table = gate.tables.load();
            let now = Instant::now();
            readings.put(0, &[], table.tenants().count() as f64);
            readings.put(1, &[], table.mounts().count() as f64);
            readings.put(2, &[], table.mounts().filter(|mount| mount.internal).count() as f64);
            readings.put(3, &[], table.keys().count() as f64);
            readings.put(4, &[], gate.flights.len() as f64);
            let cooling = table.mounts().filter(|mount| mount.cooldown.remaining(now).is_some());
            readings.put(5, &[], cooling.count() as f64);
            readings.put(6, &[], table.users().count() as f64);
            readings.put(7, &[], table.issuers().count() as f64);
        },
    );
    let named = cooling.clone();
    metrics.observe(
        &[("gatehouse_tenant_info", "1; the labels are a tenant's id and its name. At most 10,000.")],
        &["tenant", "name"],
        move |readings| {
            for tenant in named.tables.load().tenants().take(MOST) {
                readings.put(0, &[&tenant.spec.id.to_string(), tenant.spec.name.as_str()], 1.0);
            }
        },
    );
    metrics.observe(
        &[("gatehouse_upstream_cooling_seconds", "Until the upstream is tried again; only of those that cool.")],
        &["tenant", "server"],
        move |readings| {
            let (table, now) = (cooling.tables.load(), Instant::now());
            let all = table.mounts().filter_map(|mount| Some((mount, mount.cooldown.remaining(now)?)));
            let named = |(mount, left): (&Arc<Mount>, Duration)| {
                (labels(mount), vec![Fill { bound: "", used: left.as_secs_f64(), limit: 1.0 }])
            };
            own::show(MOST, [OTHER, OTHER], all.map(named), |_, [tenant, server], used, _| {
                readings.put(0, &[tenant, server], used);
            });
        },
    );
}

fn bounds(metrics: &Metrics, gate: &Arc<Gate>) {
    let connections = gate.counters.connections.clone();
    metrics.bound("connections", CONNECTIONS as u64, move || u64::try_from(connections.get()).unwrap_or_default());
    for (name, most, used) in
        gate.sessions.fill().into_iter().chain(gate.tokens.fill()).chain(gate.sessions.credentials.fill())
    {
        metrics.bound(name, most, used);
    }
    let sessions = gate.clone();
    metrics.bounds_by(move |fill| {
        for (name, most, used) in sessions.client_sessions.fill() {
            fill(name, ["", ""], used, most);
        }
    });
    let questions = gate.questions.clone();
    metrics.bound("waiting_questions", questions::WAITING as u64, move || questions.len() as u64);
    for (name, most, used) in gate.events.fill() {
        metrics.bound(name, most, used);
    }
    let (most, used) = gate.views.fill();
    metrics.bound("merged_lists_bytes", most, used);
    let (most, used) = gate.shelves.fill();
    metrics.bound("shelved_tools_bytes", most, used);
    let (most, used) = gate.tables.fill();
    metrics.bound("connection_lists_bytes", most, used);
    sharing(metrics, gate);
    let posted = gate.clone();
    metrics.bounds_by(move |fill| {
        let (waiting, most) = posted.sse_clients.fill();
        fill("sse_stream_events", ["", ""], waiting as u64, most as u64);
    });
    let egress = gate.egress.clone();
    metrics.bounds_by(move |fill| {
        if let Some((used, most)) = egress.lookups() {
            fill("dns_lookups", ["", ""], used, most);
        }
    });
}

/// What is between this proxy and the others of its pool.
fn sharing(metrics: &Metrics, gate: &Arc<Gate>) {
    let connections = gate.counters.peer_connections.clone();
    let used = move || u64::try_from(connections.get()).unwrap_or_default();
    metrics.bound("peer_connections", CONNECTIONS as u64, used);
    let Some(elsewhere) = gate.elsewhere.clone() else { return };
    let telling = elsewhere.clone();
    metrics.bound("told_proxies", TELLING as u64, move || telling.telling() as u64);
    metrics.bound("known_proxies", peers::MOST as u64, move || elsewhere.peers.len() as u64);
}

/// Of tenants and servers only what is in use: the others are as many as there are records.
fn tenants(metrics: &Metrics, gate: Arc<Gate>) {
    metrics.bounds_by(move |fill| {
        let table = gate.tables.load();
        let mut fill = |bound, labels: [&str; 2], used: f64, limit: f64| fill(bound, labels, used as u64, limit as u64);
        let tenants = table.tenants().map(|tenant| {
            let (waiting, most) = tenant.hub.fill();
            let mut fills = vec![Fill { bound: "tenant_stream_events", used: waiting as f64, limit: most as f64 }];
            fills.extend(tenant.usage.fill().map(|(bound, used, limit)| Fill {
                bound,
                used: f64::from(used),
                limit: f64::from(limit),
            }));
            ([tenant.spec.id.to_string(), String::new()], fills)
        });
        own::show(MOST, [OTHER, ""], tenants, &mut fill);
        let mounts = table.mounts().map(|mount| {
            let fills = mount.fill().map(|(bound, used, limit)| Fill { bound, used: used as f64, limit: limit as f64 });
            (labels(mount), fills.into())
        });
        own::show(MOST, [OTHER, OTHER], mounts, &mut fill);
    });
}

fn labels(mount: &Mount) -> [String; 2] {
    [mount.spec.tenant.to_string(), mount.name().to_owned()]
}
