//! `gatehouse egress …`.

use serde_json::Value;

use super::body::Body;
use super::records::{each, items};
use crate::api::Api;
use crate::args::{Allow, EgressVerb};
use crate::declared::{Kind, Names};
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// Does one verb. Rules stand above tenants: `--tenant` says for whom a rule holds, not where to look.
pub(super) async fn run(api: &Api, verb: EgressVerb, screen: Screen) -> Result<(), Failure> {
    let platform = api.of_tenant(None);
    match verb {
        EgressVerb::Allow(allow) => {
            let created = platform.post(&["egress-rules"], &body(&allow, api.tenant())).await?.body;
            screen.show(&created, |created| format!("{} is allowed, by rule {}", place(created), cell(created, "id")))
        }
        EgressVerb::Ls => {
            let mut list = platform.list(&["egress-rules"], &[]).await?;
            let tenants = platform.list(&["tenants"], &[]).await?;
            let mut names = Names::default();
            names.learn(Kind::Tenant, items(&tenants));
            if let Some(tenant) = api.tenant() {
                keep_those_for(&mut list, &names, tenant);
            }
            screen.show(&list, |list| listed(list, &names))
        }
        EgressVerb::Rm { ids } => {
            each(&ids, "removed", screen, async |id| platform.remove(&["egress-rules", id]).await).await
        }
    }
}

fn body(allow: &Allow, tenant: Option<&str>) -> Value {
    Body::default()
        .with("host", Some(allow.destination.host.as_str()))
        .with("ports", allow.destination.ports.as_deref())
        .with("http", allow.http.then_some(true))
        .with("tenant", tenant)
        .with("reason", Some(allow.reason.as_str()))
        .value()
}

/// A rule without a tenant holds for every one. The tenant is named by name or id.
fn keep_those_for(list: &mut Value, names: &Names, tenant: &str) {
    if let Some(items) = list.get_mut("items").and_then(Value::as_array_mut) {
        items.retain(|rule| {
            let only = names.of(rule, "tenant");
            only.is_empty() || only == tenant || cell(rule, "tenant") == tenant
        });
    }
}

fn place(rule: &Value) -> String {
    match cell(rule, "ports") {
        ports if ports.is_empty() => cell(rule, "host"),
        ports => format!("{}:{ports}", cell(rule, "host")),
    }
}

fn listed(document: &Value, names: &Names) -> String {
    let row = |rule: &Value| {
        let http = rule.get("http").and_then(Value::as_bool).unwrap_or(false);
        let whose = Some(names.of(rule, "tenant")).filter(|whose| !whose.is_empty());
        [
            cell(rule, "id"),
            place(rule),
            if http { "http, https" } else { "https" }.to_owned(),
            whose.unwrap_or_else(|| "all".to_owned()),
            cell(rule, "reason"),
        ]
    };
    let rows: Vec<_> = items(document).map(row).collect();
    if rows.is_empty() {
        return "no rules: servers may have public addresses over https".to_owned();
    }
    table(["ID", "ADDRESS", "OVER", "TENANT", "REASON"], &rows)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Verb};

    #[test]
    fn a_rule_is_for_the_tenant_that_is_named() {
        let line = "g egress allow wiki:8000-8100 --http --tenant acme --reason because";
        let cli = Cli::try_parse_from(line.split_whitespace()).unwrap();
        let Verb::Egress(EgressVerb::Allow(allow)) = cli.verb else { panic!("{line}") };
        let expected =
            json!({"host": "wiki", "ports": "8000-8100", "http": true, "tenant": "acme", "reason": "because"});
        assert_eq!(body(&allow, cli.access.tenant.as_deref()), expected);
    }

    #[test]
    fn a_list_can_be_asked_for_one_tenant() {
        let mut list = json!({"items": [
            {"id": "1", "host": "a", "tenant": null}, {"id": "2", "host": "b", "tenant": "t"}, {"id": "3", "host": "c", "tenant": "u"},
        ]});
        let mut names = Names::default();
        names.learn(Kind::Tenant, &[json!({"id": "t", "name": "acme"}), json!({"id": "u", "name": "globex"})]);
        keep_those_for(&mut list, &names, "acme");
        let told = listed(&list, &names);
        assert!(told.contains("all") && told.contains("acme") && !told.contains("globex"), "{told}");
    }
}
