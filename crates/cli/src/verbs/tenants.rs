//! `gatehouse tenant …`.

use serde_json::{Value, json};

use crate::api::Api;
use crate::args::TenantVerb;
use crate::failure::Failure;
use crate::screen::{Screen, cell, table};

/// Does one verb.
pub(super) async fn run(api: &Api, verb: TenantVerb, screen: Screen) -> Result<(), Failure> {
    match verb {
        TenantVerb::Create { name, title } => {
            let body = match title {
                Some(title) => json!({ "name": name, "title": title }),
                None => json!({ "name": name }),
            };
            let created = api.post(&["tenants"], &body).await?.body;
            screen.show(&created, |created| format!("{} created", cell(created, "name")))
        }
        TenantVerb::Ls => screen.show(&api.list(&["tenants"], &[]).await?, |document| {
            let row = |tenant: &Value| [cell(tenant, "name"), cell(tenant, "id"), cell(tenant, "title")];
            let rows: Vec<_> = document.get("items").and_then(Value::as_array).into_iter().flatten().map(row).collect();
            table(["NAME", "ID", "TITLE"], &rows)
        }),
    }
}
