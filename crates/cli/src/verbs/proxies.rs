//! `gatehouse proxy …`.

use serde_json::Value;

use crate::api::Api;
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// Lists attached proxies.
pub(super) async fn list(api: &Api, screen: Screen) -> Result<(), Failure> {
    screen.show(&api.list(&["proxies"], &[]).await?, |document| {
        let none = Vec::new();
        attached(document.get("items").and_then(Value::as_array).unwrap_or(&none))
    })
}

/// One line for each proxy.
pub(super) fn attached(proxies: &[Value]) -> String {
    if proxies.is_empty() {
        return "no proxy is attached".to_owned();
    }
    let row = |proxy: &Value| {
        [
            cell(proxy, "node"),
            cell(proxy, "pool"),
            cell(proxy, "applied"),
            cell(proxy, "mounts"),
            cell(proxy, "attached_at"),
            proxy
                .get("rejected")
                .and_then(Value::as_array)
                .map(|rejected| rejected.len().to_string())
                .unwrap_or_default(),
        ]
    };
    table(["PROXY", "POOL", "REVISION", "MOUNTS", "SINCE", "REJECTED"], &proxies.iter().map(row).collect::<Vec<_>>())
}
