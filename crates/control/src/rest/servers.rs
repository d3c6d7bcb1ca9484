//! `/api/v1/servers`: the records that an admin manages.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use model::ServerId;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use store::{Page, ServerPatch, ServerRecord, TenantStore};

use crate::App;
use crate::proxies::CommandError;
use crate::rest::admin::Admin;
use crate::rest::answer::Answer;
use crate::rest::body::Body;
use crate::rest::condition::Expected;
use crate::rest::path::Path;
use crate::rest::problem::Problem;
use crate::rest::query::{Query, bad};
use crate::rest::server_body::{add_server, server_patch};
use crate::rest::{fields, views};
use crate::servers::Changed;

pub(crate) async fn add(State(app): State<App>, admin: Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let add = add_server(&mut fields);
    fields.finish()?;
    let Some(add) = add else { return Err(Problem::Internal) };
    let (book, caller) = (app.idempotency.clone(), admin.clone());
    let work = async move {
        let changed = app.servers.add(&admin.store(&app), &admin.actor(), add).await?;
        let location = format!("/api/v1/servers/{}", changed.record.spec.id);
        let mut body = views::server(&changed.record);
        extend(&mut body, "effective", views::effective(&changed.effective));
        extend(&mut body, "probe", views::probe(&changed.probe));
        Ok(Answer::created(location, body).at(changed.record.spec.generation))
    };
    Ok(book.once(&caller, slot, work).await)
}

pub(crate) async fn list(State(app): State<App>, admin: Admin, query: Query) -> Result<Answer, Problem> {
    let query = query.only(&["limit", "page_size", "cursor", "search", "enabled"])?;
    let limit = query.limit()?;
    let after = match query.text("cursor") {
        None => None,
        Some(cursor) => Some(cursor.parse().map_err(|_| bad("cursor", "not a cursor of this list".to_owned()))?),
    };
    let enabled = query.flag("enabled")?;
    let page = Page { search: query.text("search").map(str::to_owned), enabled, after, limit: limit + 1 };
    let mut records = admin.store(&app).servers(page).await?;
    let more = records.len() > limit as usize;
    records.truncate(limit as usize);
    let next = records.last().filter(|_| more).map(|last| last.spec.id.to_string());
    Ok(Answer::page(records.iter().map(views::server).collect(), next))
}

pub(crate) async fn show(State(app): State<App>, admin: Admin, Path(server): Path) -> Result<Answer, Problem> {
    let record = find(&admin.store(&app), &server).await?;
    Ok(Answer::ok(views::server(&record)).at(record.spec.generation))
}

pub(crate) async fn change(
    State(app): State<App>,
    admin: Admin,
    Path(server): Path,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let patch = server_patch(&mut fields);
    fields.finish()?;
    let tenant = admin.store(&app);
    let record = find(&tenant, &server).await?;
    Ok(changed(app.servers.change(&tenant, &admin.actor(), &record, expected, patch).await?))
}

pub(crate) async fn remove(
    State(app): State<App>,
    admin: Admin,
    Path(server): Path,
    Expected(expected): Expected,
) -> Result<Answer, Problem> {
    let tenant = admin.store(&app);
    let record = find(&tenant, &server).await?;
    let effective = app.servers.delete(&tenant, &admin.actor(), record.spec.id, expected).await?;
    Ok(Answer::ok(json!({
        "id": record.spec.id.to_string(),
        "name": record.spec.name.as_str(),
        "effective": views::effective(&effective),
    })))
}

pub(crate) async fn enable(state: State<App>, admin: Admin, server: Path) -> Result<Answer, Problem> {
    switch(state, admin, server, true).await
}

pub(crate) async fn disable(state: State<App>, admin: Admin, server: Path) -> Result<Answer, Problem> {
    switch(state, admin, server, false).await
}

async fn switch(State(app): State<App>, admin: Admin, Path(server): Path, enabled: bool) -> Result<Answer, Problem> {
    let tenant = admin.store(&app);
    let record = find(&tenant, &server).await?;
    let patch = ServerPatch { enabled: Some(enabled), ..ServerPatch::default() };
    Ok(changed(app.servers.change(&tenant, &admin.actor(), &record, None, patch).await?))
}

/// Always 200: that the upstream fails is the answer, not a failure of the question.
pub(crate) async fn test(State(app): State<App>, admin: Admin, Path(server): Path) -> Result<Answer, Problem> {
    let record = find(&admin.store(&app), &server).await?;
    match app.servers.test(&record).await {
        Ok(report) => {
            let mut body = views::probe_report(&report);
            extend(&mut body, "ok", Value::Bool(true));
            Ok(Answer::ok(body))
        }
        Err(CommandError::Upstream { class, message }) => {
            Ok(Answer::ok(json!({"ok": false, "class": class, "message": message})))
        }
        Err(error @ CommandError::TimedOut) => {
            Ok(Answer::ok(json!({"ok": false, "class": "timeout", "message": error.to_string()})))
        }
        Err(error @ (CommandError::NoProxyAttached | CommandError::Rejected(_))) => Err(error.into()),
    }
}

pub(crate) async fn tools(State(app): State<App>, admin: Admin, Path(server): Path) -> Result<Response, Problem> {
    let record = find(&admin.store(&app), &server).await?;
    let tools = app.proxies.list_tools(admin.tenant(), record.spec.id, admin.principal()).await?;
    Ok(raw_json(format!("{{\"items\":{tools},\"next\":null}}")))
}

pub(crate) async fn call(
    State(app): State<App>,
    admin: Admin,
    Path(server): Path,
    body: Body,
) -> Result<Response, Problem> {
    let Body { mut fields, bytes, .. } = body;
    let tool = fields.required("tool", fields::text(256));
    fields.optional("arguments", |value| match value {
        Value::Object(_) => Ok(()),
        _ => Err(("type", "must be an object".to_owned())),
    });
    fields.finish()?;
    let record = find(&admin.store(&app), &server).await?;
    let given: Given<'_> = serde_json::from_slice(&bytes).map_err(|_| Problem::Internal)?;
    let arguments = given.arguments.map_or("{}", RawValue::get);
    let tool = tool.unwrap_or_default();
    let answer = app.proxies.call(admin.tenant(), record.spec.id, admin.principal(), &tool, arguments).await?;
    Ok(raw_json(answer))
}

/// The arguments of a call as they came: numbers that no machine type holds and the order of members
/// are the tool's.
#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// JSON of an upstream, passed on as it came.
fn raw_json(text: String) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (headers, text).into_response()
}

fn changed(changed: Changed) -> Answer {
    let mut body = views::server(&changed.record);
    extend(&mut body, "effective", views::effective(&changed.effective));
    Answer::ok(body).at(changed.record.spec.generation)
}

fn extend(body: &mut Value, member: &str, value: Value) {
    if let Some(object) = body.as_object_mut() {
        object.insert(member.to_owned(), value);
    }
}

/// The tenant's live server of this id or name. Another tenant's looks like none.
pub(crate) async fn find(tenant: &TenantStore, server: &str) -> Result<ServerRecord, Problem> {
    let by_id = match server.parse::<ServerId>() {
        Ok(id) => tenant.server(id).await?,
        Err(_) => None,
    };
    match by_id {
        Some(record) => Ok(record),
        None => tenant.server_by_name(server).await?.ok_or(Problem::NotFound),
    }
}
