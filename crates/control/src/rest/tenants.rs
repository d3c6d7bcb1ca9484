//! `/api/v1/tenants`: for platform admins.

use axum::extract::State;
use axum::response::Response;
use model::{Limits, TenantName};
use serde_json::Value;
use store::NewTenant;

use crate::App;
use crate::rest::admin::PlatformAdmin;
use crate::rest::answer::Answer;
use crate::rest::body::Body;
use crate::rest::fields::{Fields, number, text};
use crate::rest::problem::Problem;
use crate::rest::query::{Query, bad};
use crate::rest::views;

pub(crate) async fn create(State(app): State<App>, admin: PlatformAdmin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let name = fields
        .required("name", |value| text(256)(value)?.parse::<TenantName>().map_err(|error| ("slug", error.to_string())));
    let title = fields.optional("title", text(200));
    let limits = limits(&mut fields);
    fields.finish()?;
    let Some(name) = name else { return Err(Problem::Internal) };
    let new = NewTenant { title: title.unwrap_or_else(|| name.to_string()), name, limits };
    let (book, caller) = (app.idempotency.clone(), admin.admin().clone());
    let work = async move {
        let tenant = app.store.platform().create_tenant(&admin.admin().actor(), new).await?.value;
        Ok(Answer::created("/api/v1/tenants".to_owned(), views::tenant(&tenant)))
    };
    Ok(book.once(&caller, slot, work).await)
}

pub(crate) async fn list(State(app): State<App>, _: PlatformAdmin, query: Query) -> Result<Answer, Problem> {
    let query = query.only(&["limit", "page_size", "cursor"])?;
    let limit = query.limit()? as usize;
    let mut tenants = app.store.platform().tenants().await?;
    tenants.sort_by_key(|tenant| tenant.spec.id);
    if let Some(cursor) = query.text("cursor") {
        let after = cursor.parse().map_err(|_| bad("cursor", "not a cursor of this list".to_owned()))?;
        tenants.retain(|tenant| tenant.spec.id > after);
    }
    let more = tenants.len() > limit;
    tenants.truncate(limit);
    let next = tenants.last().filter(|_| more).map(|last| last.spec.id.to_string());
    Ok(Answer::page(tenants.iter().map(views::tenant).collect(), next))
}

/// The given limits over the default ones; each is 1 to its bound.
fn limits(fields: &mut Fields) -> Limits {
    let mut limits = Limits::default();
    let Some(members) = fields.optional("limits", |value| match value {
        Value::Object(_) => Ok(value),
        _ => Err(("type", "must be an object".to_owned())),
    }) else {
        return limits;
    };
    let Ok(mut inner) = Fields::of(members) else { return limits };
    for (name, limit, most) in [
        ("key_rate", &mut limits.key_rate, 1_000_000),
        ("tenant_rate", &mut limits.tenant_rate, 1_000_000),
        ("concurrent", &mut limits.concurrent, 1_000_000),
        ("streams", &mut limits.streams, 1_000_000),
        ("upstream_concurrent", &mut limits.upstream_concurrent, 1_000_000),
        ("servers", &mut limits.servers, 1_000_000),
        ("request_bytes", &mut limits.request_bytes, 64 << 20),
        ("response_bytes", &mut limits.response_bytes, 64 << 20),
        ("call_secs", &mut limits.call_secs, 3_600),
    ] {
        if let Some(given) = inner.optional(name, number(1..=most)) {
            *limit = u32::try_from(given).unwrap_or(u32::MAX);
        }
    }
    for wrong in inner.finish().err().unwrap_or_default() {
        fields.wrong(format!("limits.{}", wrong.field), (wrong.code, wrong.detail));
    }
    limits
}
