//! `/api/v1/toolsets`: selections of tools with URLs of their own. Changed by admins, read by everybody of the tenant;
//! who has a restricted key sees the entries of its servers.

use std::collections::HashMap;

use axum::extract::State;
use axum::response::Response;
use model::{DEFAULT_TENANT, ResourceName, ServerId, ServerName, ToolsetId, ToolsetSpec, ToolsetTool};
use store::{Committed, NewToolset, StoreError, TenantStore, ToolsetPage, ToolsetPatch, ToolsetRecord};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::toolset::{self as bodies, Entry, Named, ToolsetChange, ToolsetCreate};
use crate::rest::body::Body;
use crate::rest::caller::{Admin, Caller, Member};
use crate::rest::code::Code;
use crate::rest::condition::Expected;
use crate::rest::fields::FieldError;
use crate::rest::idempotency::once;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::servers;
use crate::rest::views::{Changed, Gone, Page, ToolsetView};

/// Makes a toolset.
#[utoipa::path(post, path = "/api/v1/toolsets", tag = "toolsets", operation_id = "createToolset",
    request_body = ToolsetCreate, responses((status = 201, body = Changed<ToolsetView>), (status = 409)))]
pub(crate) async fn create(State(app): State<App>, Admin(caller): Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let given = bodies::create(&mut fields);
    fields.finish()?;
    let bodies::Create { name, title, description, listing, tools } = given.ok_or(Problem::Internal)?;
    let tenant = caller.store(&app);
    let tools = found(&tenant, tools, &[]).await?;
    let title = title.unwrap_or_else(|| name.to_string());
    let new = NewToolset { name, title, description, listing, tools };
    let (by, who) = (app.clone(), caller.clone());
    let work = move |actor| async move {
        let committed = tenant.create_toolset(&actor, new).await?;
        created(&app, &who, committed).await
    };
    Ok(once(&by, &caller, slot, work).await)
}

/// Lists toolsets in the order of their making.
#[utoipa::path(get, path = "/api/v1/toolsets", tag = "toolsets", operation_id = "listToolsets",
    params(("search" = Option<String>, Query, description = "Only those with this text in name or title")),
    responses((status = 200, body = Page<ToolsetView>)))]
pub(crate) async fn list(State(app): State<App>, Member(caller): Member, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "search"])?;
    let asked = app.cursors.asked::<ToolsetId>("toolsets", Some(caller.tenant()), &query)?;
    let search = query.text("search").map(str::to_owned);
    let page = ToolsetPage { search, after: asked.after, limit: asked.reads() };
    let mut records = caller.store(&app).toolsets(page).await?;
    let next = asked.cut(&mut records, |record| record.spec.id);
    let items = shown(&app, &caller, &records).await?;
    Ok(Answer::ok(&Page { items, next }))
}

/// Shows a toolset.
#[utoipa::path(get, path = "/api/v1/toolsets/{toolset}", tag = "toolsets", operation_id = "showToolset",
    responses((status = 200, body = ToolsetView)))]
pub(crate) async fn show(
    State(app): State<App>,
    Member(caller): Member,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let record = find(&caller.store(&app), &named).await?.ok_or(Problem::NotFound)?;
    let generation = record.spec.generation;
    Ok(Answer::ok(&one(&app, &caller, record).await?).at(generation))
}

/// Changes a toolset; absent members stay.
#[utoipa::path(patch, path = "/api/v1/toolsets/{toolset}", tag = "toolsets", operation_id = "changeToolset",
    request_body = ToolsetChange, responses((status = 200, body = Changed<ToolsetView>), (status = 409)))]
pub(crate) async fn change(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let given = bodies::change(&mut fields);
    fields.finish()?;
    let tenant = caller.store(&app);
    let record = find(&tenant, &named).await?.ok_or(Problem::NotFound)?;
    let tools = match given.tools {
        None => None,
        Some(tools) => Some(found(&tenant, tools, &record.spec.tools).await?),
    };
    let (name, title, description, listing) = (given.name, given.title, given.description, given.listing);
    let patch = ToolsetPatch { name, title, description, listing, tools };
    let committed = tenant.change_toolset(&caller.actor(), record.spec.id, expected, patch).await?;
    let generation = committed.value.spec.generation;
    Ok(Answer::ok(&told(&app, &caller, committed).await?).at(generation))
}

/// Deletes a toolset for good.
#[utoipa::path(delete, path = "/api/v1/toolsets/{toolset}", tag = "toolsets", operation_id = "deleteToolset",
    responses((status = 200, body = Gone)))]
pub(crate) async fn remove(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let spec = find(&tenant, &named).await?.ok_or(Problem::NotFound)?.spec;
    let committed = tenant.delete_toolset(&caller.actor(), spec.id, expected).await?;
    let effective = app.servers.settled(committed.revision, ResourceName::Toolset(spec.id)).await.into();
    Ok(Answer::ok(&Gone { id: spec.id.to_string(), name: Some(spec.name.to_string()), effective }))
}

/// The answer of a create.
pub(crate) async fn created(
    app: &App,
    caller: &Caller,
    committed: Committed<ToolsetRecord>,
) -> Result<Answer, Problem> {
    let (id, generation) = (committed.value.spec.id, committed.value.spec.generation);
    let view = told(app, caller, committed).await?;
    Ok(Answer::created(format!("/api/v1/toolsets/{id}"), &view).at(generation))
}

async fn told(
    app: &App,
    caller: &Caller,
    committed: Committed<ToolsetRecord>,
) -> Result<Changed<ToolsetView>, Problem> {
    let name = ResourceName::Toolset(committed.value.spec.id);
    let effective = app.servers.settled(committed.revision, name).await.into();
    Ok(Changed { record: one(app, caller, committed.value).await?, effective })
}

async fn one(app: &App, caller: &Caller, record: ToolsetRecord) -> Result<ToolsetView, Problem> {
    shown(app, caller, &[record]).await?.pop().ok_or(Problem::Internal)
}

/// Records as the caller may see them.
async fn shown(app: &App, caller: &Caller, records: &[ToolsetRecord]) -> Result<Vec<ToolsetView>, Problem> {
    let tenant = caller.store(app);
    let names = names(&tenant, records).await?;
    let own = tenant.tenant().await?.ok_or(Problem::NotFound)?.spec.name;
    let prefix = Some(own.as_str()).filter(|name| *name != DEFAULT_TENANT);
    let may = |name: Option<&ServerName>| may_see(caller, name);
    Ok(records.iter().map(|record| ToolsetView::of(record, &names, prefix, may)).collect())
}

/// The names of the live servers of toolsets.
pub(crate) async fn names(
    tenant: &TenantStore,
    records: &[ToolsetRecord],
) -> Result<HashMap<ServerId, ServerName>, StoreError> {
    let mut ids: Vec<ServerId> =
        records.iter().flat_map(|record| &record.spec.tools).map(|entry| entry.server).collect();
    ids.sort_unstable();
    ids.dedup();
    tenant.server_names(&ids).await
}

/// To a restricted key other servers look like none.
fn may_see(caller: &Caller, server: Option<&ServerName>) -> bool {
    caller.servers().is_none_or(|names| server.is_some_and(|server| names.iter().any(|name| name == server.as_str())))
}

/// Entries with the servers that they name. Deleted ones are known as far as they are in the toolset already.
async fn found(tenant: &TenantStore, entries: Vec<Entry>, before: &[ToolsetTool]) -> Result<Vec<ToolsetTool>, Problem> {
    let (mut ids, mut tools, mut wrong): (HashMap<Named, Option<ServerId>>, Vec<ToolsetTool>, Vec<FieldError>) =
        Default::default();
    for (at, entry) in entries.into_iter().enumerate() {
        let Entry { server, tool, name, description } = entry;
        let id = match ids.get(&server) {
            Some(known) => *known,
            None => {
                let id = look_up(tenant, &server, before).await?;
                ids.insert(server, id);
                id
            }
        };
        match id {
            Some(server) => tools.push(ToolsetTool { server, tool, name, description }),
            None => wrong.push(FieldError {
                field: format!("tools[{at}].server"),
                code: Code::Server,
                detail: "is no server of this tenant".to_owned(),
            }),
        }
    }
    if wrong.is_empty() { checked(tools) } else { Err(wrong.into()) }
}

async fn look_up(tenant: &TenantStore, server: &Named, before: &[ToolsetTool]) -> Result<Option<ServerId>, Problem> {
    let found = match server {
        Named::Id(id) => tenant.server(*id).await?,
        Named::Word(word) => match servers::find(tenant, word).await {
            Ok(record) => Some(record),
            Err(Problem::NotFound) => None,
            Err(other) => return Err(other),
        },
    };
    let id = match server {
        Named::Id(id) => Some(*id),
        Named::Word(word) => word.parse().ok(),
    };
    let stays = || id.filter(|id| before.iter().any(|entry| entry.server == *id));
    Ok(found.map(|record| record.spec.id).or_else(stays))
}

/// Entries that can be served.
fn checked(tools: Vec<ToolsetTool>) -> Result<Vec<ToolsetTool>, Problem> {
    match ToolsetSpec::check(&tools) {
        Ok(()) => Ok(tools),
        Err((at, error)) => {
            let (member, (code, detail)) = bodies::wrong(error);
            let field = if member.is_empty() { "tools".to_owned() } else { format!("tools[{at}].{member}") };
            Err(vec![FieldError { field, code, detail }].into())
        }
    }
}

/// The tenant's toolset of this id or name. Another tenant's looks like none.
pub(crate) async fn find(tenant: &TenantStore, named: &str) -> Result<Option<ToolsetRecord>, StoreError> {
    let by_id = match named.parse() {
        Ok(id) => tenant.toolset(id).await?,
        Err(_) => None,
    };
    match by_id {
        // A name may look like an id.
        None => tenant.toolset_by_name(named).await,
        found => Ok(found),
    }
}
