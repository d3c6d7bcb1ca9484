//! `gatehouse tenant …`.

use serde_json::Value;

use super::body::Body;
use super::records::{Records, items, query};
use crate::api::Api;
use crate::args::{StaleAfter, TenantCreate, TenantLimits, TenantSet, TenantVerb};
use crate::failure::Failure;
use crate::screen::{Screen, cell, state, table};

const TENANTS: Records = Records { path: "tenants", name: "name" };

/// Does one verb.
pub(super) async fn run(api: &Api, verb: TenantVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        TenantVerb::Create(create) => TENANTS.create(api, &create_body(&create).value(), screen).await,
        TenantVerb::Ls { deleted } => {
            let list = api.list(&["tenants"], &query(&[], &[("deleted", deleted)])).await?;
            screen.show(&list, |list| listed(list, deleted))
        }
        TenantVerb::Show { name } => TENANTS.show(api, &name, screen).await,
        TenantVerb::Set(set) => TENANTS.set(api, &set.tenant, &set_body(&set).change()?, screen).await,
        TenantVerb::Rm { names } => TENANTS.remove(api, &names, screen).await,
        TenantVerb::Restore { name } => TENANTS.act(api, &name, "restore", "restored", screen).await,
        TenantVerb::Enable { name } => TENANTS.act(api, &name, "enable", "enabled", screen).await,
        TenantVerb::Disable { name } => TENANTS.act(api, &name, "disable", "disabled", screen).await,
    }
}

fn create_body(create: &TenantCreate) -> Body {
    Body::default()
        .with("name", Some(create.name.as_str()))
        .with("title", create.title.as_deref())
        .with_all("pools", &create.pools)
        .with("stale_after_secs", create.stale_after.map(stale_after))
        .with("max_stale_credential_secs", create.max_stale_credential.map(|span| span.0))
        .with("authorization_server", create.signing_in.authorization_server.map(|on| on.0))
        .with("local_accounts", create.signing_in.local_accounts.map(|on| on.0))
        .inside("limits", limits(&create.limits))
}

fn set_body(set: &TenantSet) -> Body {
    Body::default()
        .with("title", set.title.as_deref())
        .with_all("pools", &set.pools)
        .with("stale_after_secs", set.stale_after.map(stale_after))
        .with("max_stale_credential_secs", set.max_stale_credential.map(|span| span.0))
        .with("authorization_server", set.signing_in.authorization_server.map(|on| on.0))
        .with("local_accounts", set.signing_in.local_accounts.map(|on| on.0))
        .inside("limits", limits(&set.limits))
}

fn stale_after(stale_after: StaleAfter) -> Value {
    match stale_after {
        StaleAfter::Seconds(seconds) => seconds.into(),
        StaleAfter::Never => Value::Null,
    }
}

fn limits(limits: &TenantLimits) -> Body {
    Body::default()
        .with("key_rate", limits.key_rate)
        .with("tenant_rate", limits.tenant_rate)
        .with("concurrent", limits.concurrent)
        .with("streams", limits.streams)
        .with("upstream_concurrent", limits.upstream_concurrent)
        .with("servers", limits.servers)
        .with("request_bytes", limits.request_bytes)
        .with("response_bytes", limits.response_bytes)
        .with("call_secs", limits.call_secs)
}

fn listed(document: &Value, deleted: bool) -> String {
    if deleted {
        let row = |tenant: &Value| ["name", "deleted_at", "id", "title"].map(|member| cell(tenant, member));
        return table(["NAME", "REMOVED", "ID", "TITLE"], &items(document).map(row).collect::<Vec<_>>());
    }
    let row =
        |tenant: &Value| [cell(tenant, "name"), state(tenant, "active"), cell(tenant, "id"), cell(tenant, "title")];
    table(["NAME", "STATE", "ID", "TITLE"], &items(document).map(row).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    fn typed(line: &str) -> Value {
        match Cli::try_parse_from(line.split_whitespace()).unwrap().verb {
            Verb::Tenant(TenantVerb::Create(create)) => create_body(&create).value(),
            Verb::Tenant(TenantVerb::Set(set)) => set_body(&set).change().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_removed_tenant_is_told_with_its_end_and_not_as_enabled() {
        let list = json!({"items": [{"name": "acme", "active": true, "deleted_at": "2026-01-31T12:00:00Z"}]});
        let told = listed(&list, true);
        assert!(told.contains("REMOVED") && told.contains("2026-01-31") && !told.contains("enabled"), "{told}");
    }

    #[test]
    fn only_what_was_said_is_sent() {
        for (line, expected) in [
            ("g tenant create acme", json!({"name": "acme"})),
            (
                "g tenant create acme --title A --pool eu --pool us --stale-after 12h --servers 5 --call-secs 9",
                json!({"name": "acme", "title": "A", "pools": ["eu", "us"], "stale_after_secs": 43_200,
                    "limits": {"servers": 5, "call_secs": 9}}),
            ),
            ("g tenant set acme --stale-after never", json!({"stale_after_secs": null})),
            ("g tenant set acme --max-stale-credential 0s", json!({"max_stale_credential_secs": 0})),
            ("g tenant set acme --max-stale-credential 2h", json!({"max_stale_credential_secs": 7_200})),
            (
                "g tenant set acme --authorization-server on --local-accounts off",
                json!({"authorization_server": true, "local_accounts": false}),
            ),
            ("g tenant set acme --key-rate 7", json!({"limits": {"key_rate": 7}})),
        ] {
            assert_eq!(typed(line), expected, "{line}");
        }
    }
}
