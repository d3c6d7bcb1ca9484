//! How records look as JSON on the native routes.

use serde_json::{Map, Value, json};
use store::{KeyRecord, ServerRecord, TenantRecord};

use crate::proxies::{AttachedProxy, Effective, ProbeReport};
use crate::reconcile::{Counts, Difference, Report};
use crate::rest::answer::instant;
use crate::servers::Probe;

pub(crate) fn server(record: &ServerRecord) -> Value {
    let spec = &record.spec;
    let headers: Map<String, Value> =
        spec.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
    json!({
        "id": spec.id.to_string(),
        "name": spec.name.as_str(),
        "title": spec.title,
        "transport": spec.transport.as_str(),
        "url": spec.url.as_str(),
        "headers": headers,
        "connect_timeout_ms": millis(spec.connect_timeout),
        "read_timeout_ms": millis(spec.read_timeout),
        "disabled_tools": spec.disabled_tools,
        "trust_hints": spec.trust_hints,
        "enabled": record.enabled,
        "generation": spec.generation.0,
        "created_at": instant(record.created_at),
        "updated_at": instant(record.updated_at),
    })
}

pub(crate) fn effective(effective: &Effective) -> Value {
    let rejected: Vec<Value> =
        effective.rejected.iter().map(|one| json!({"proxy": one.proxy, "reason": one.reason})).collect();
    json!({"live": effective.live, "pending": effective.pending, "rejected": rejected})
}

/// What an add's look at the upstream gave; `null` when nobody looked.
pub(crate) fn probe(probe: &Probe) -> Value {
    match probe {
        Probe::Skipped => Value::Null,
        Probe::NeedsAuth => json!({"transport": null, "revision": null, "tools": [], "needs_auth": true}),
        Probe::Spoke(report) => probe_report(report),
    }
}

pub(crate) fn probe_report(report: &ProbeReport) -> Value {
    json!({
        "transport": report.transport.as_str(),
        "revision": report.revision,
        "server_info": raw(&report.server_info),
        "tools": raw(&report.tools),
        "latency_ms": report.latency_ms,
        "needs_auth": false,
    })
}

pub(crate) fn tenant(record: &TenantRecord) -> Value {
    let limits = record.spec.limits;
    json!({
        "id": record.spec.id.to_string(),
        "name": record.spec.name.as_str(),
        "title": record.title,
        "limits": {
            "key_rate": limits.key_rate,
            "tenant_rate": limits.tenant_rate,
            "concurrent": limits.concurrent,
            "streams": limits.streams,
            "upstream_concurrent": limits.upstream_concurrent,
            "servers": limits.servers,
            "request_bytes": limits.request_bytes,
            "response_bytes": limits.response_bytes,
            "call_secs": limits.call_secs,
        },
        "created_at": instant(record.created_at),
    })
}

pub(crate) fn key(record: &KeyRecord) -> Value {
    let verifier = &record.verifier;
    json!({
        "id": verifier.id.as_str(),
        "label": record.label,
        "role": verifier.role.as_str(),
        "user": verifier.user.map(|user| user.to_string()),
        "servers": verifier.servers,
        "expires_at": verifier.expires_at.map(instant),
        "created_at": instant(record.created_at),
        "revoked_at": record.revoked_at.map(instant),
        "last_used_at": record.last_used_at.map(instant),
    })
}

pub(crate) fn proxy(proxy: &AttachedProxy) -> Value {
    json!({
        "node": proxy.node,
        "pool": proxy.pool,
        "attached_at": instant(proxy.since),
        "applied": proxy.applied.to_string(),
        "digest_matches": proxy.digest_matches,
        "rejected": rejected(&proxy.rejected),
        "mounts": proxy.mounts,
    })
}

pub(crate) fn report(report: &Report) -> Value {
    let proxies: Vec<Value> = report
        .proxies
        .iter()
        .map(|proxy| {
            json!({
                "node": proxy.node,
                "answered": proxy.answered,
                "before": counts(proxy.before),
                "after": counts(proxy.after),
                "rejected": rejected(&proxy.rejected),
            })
        })
        .collect();
    let servers: Vec<Value> = report
        .servers
        .iter()
        .map(|line| {
            let mut row = difference(&line.server);
            row.insert("proxy".to_owned(), line.proxy.clone().into());
            row.insert("difference".to_owned(), line.difference.into());
            row.insert("healed".to_owned(), line.healed.into());
            Value::Object(row)
        })
        .collect();
    let upstreams: Vec<Value> = report
        .upstreams
        .iter()
        .map(|line| {
            let mut row = difference(&line.server);
            row.insert("url".to_owned(), line.url.clone().into());
            row.insert("state".to_owned(), "cooling".into());
            row.insert("cooling_ms".to_owned(), line.cooling_ms.into());
            row.insert("proxies".to_owned(), line.proxies.clone().into());
            Value::Object(row)
        })
        .collect();
    json!({
        "complete": report.is_complete(),
        "before": counts(report.before),
        "after": counts(report.after),
        "repaired": report.repaired(),
        "proxies": proxies,
        "servers": servers,
        "upstreams": upstreams,
        "duration_ms": millis(report.took),
    })
}

fn difference(of: &Difference) -> Map<String, Value> {
    [("tenant", of.tenant.to_string()), ("id", of.server.to_string()), ("name", of.name.clone())]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.into()))
        .collect()
}

fn counts(counts: Counts) -> Value {
    json!({"missing": counts.missing, "orphaned": counts.orphaned, "drifted": counts.drifted})
}

fn rejected(rejected: &[(model::ResourceName, String)]) -> Vec<Value> {
    rejected.iter().map(|(name, reason)| json!({"resource": name.to_string(), "reason": reason})).collect()
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// JSON text of an upstream as a value; `null` where it is none.
pub(crate) fn raw(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
