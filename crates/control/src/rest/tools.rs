//! `/api/v1/servers/{server}/tools` and `…/call`: what a server offers, and using it as the caller.

use axum::extract::State;
use model::{Digest, Principal};
use ring::digest::{SHA256, digest};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use store::{Manifest, ServerRecord, TenantStore};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::call::{Call, ToolCall, call as tool_of};
use crate::rest::body::Body;
use crate::rest::caller::{Admin, Caller, Member};
use crate::rest::problem::Problem;
use crate::rest::segment::{Segment, Segments};
use crate::rest::servers::{changed, find, find_for};
use crate::rest::tokens::{acting_key, object, represented};
use crate::rest::views::{Changed, ServerView, ToolsView, enabled_tools, instant};

/// Shows the tools that a server offered when it was asked last, and asks it if it never was.
#[utoipa::path(get, path = "/api/v1/servers/{server}/tools", tag = "servers", operation_id = "listTools",
    responses((status = 200, body = ToolsView)))]
pub(crate) async fn list(
    State(app): State<App>,
    Member(caller): Member,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = find_for(&caller, &tenant, &named).await?;
    let manifest = match tenant.manifest(record.spec.id).await? {
        Some(manifest) => manifest,
        None => fetch(&app, &caller, &tenant, &record).await?,
    };
    Ok(shown(&record, &manifest))
}

/// Asks a server for its tools anew.
#[utoipa::path(post, path = "/api/v1/servers/{server}/tools/refresh", tag = "servers", operation_id = "refreshTools",
    responses((status = 200, body = ToolsView)))]
pub(crate) async fn refresh(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = find(&tenant, &named).await?;
    let manifest = fetch(&app, &caller, &tenant, &record).await?;
    Ok(shown(&record, &manifest))
}

/// Shows a tool to clients again, and lets them call it.
#[utoipa::path(post, path = "/api/v1/servers/{server}/tools/{tool}/enable", tag = "servers",
    operation_id = "enableTool", responses((status = 200, body = Changed<ServerView>)))]
pub(crate) async fn enable(app: State<App>, caller: Admin, named: Segments) -> Result<Answer, Problem> {
    switch(app, caller, named, true).await
}

/// Hides a tool from clients, and refuses it by name too.
#[utoipa::path(post, path = "/api/v1/servers/{server}/tools/{tool}/disable", tag = "servers",
    operation_id = "disableTool", responses((status = 200, body = Changed<ServerView>)))]
pub(crate) async fn disable(app: State<App>, caller: Admin, named: Segments) -> Result<Answer, Problem> {
    switch(app, caller, named, false).await
}

async fn switch(
    State(app): State<App>,
    Admin(caller): Admin,
    Segments(server, tool): Segments,
    enabled: bool,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = find(&tenant, &server).await?;
    // A tool that the server has not shown yet may be disabled beforehand; none has a name like these.
    if tool.is_empty() || tool.chars().count() > 256 || tool.chars().any(char::is_control) {
        return Err(Problem::NotFound);
    }
    let committed = tenant.set_tool(&caller.actor(), record.spec.id, None, &tool, enabled).await?;
    Ok(changed(app.servers.told(committed).await))
}

/// Calls a tool as the caller or, with `as`, as a user; the answer is `{"result": …}` or `{"error": …}` as the upstream gave it.
#[utoipa::path(post, path = "/api/v1/servers/{server}/call", tag = "servers", operation_id = "callTool",
    request_body = ToolCall, responses((status = 200, body = Object)))]
pub(crate) async fn call(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, bytes, .. } = body;
    let call = tool_of(&mut fields);
    fields.finish()?;
    let Call { tool, user } = call.ok_or(Problem::Internal)?;
    let record = find(&caller.store(&app), &named).await?;
    let principal = match user {
        None => caller.principal(),
        Some(user) => as_user(&app, &caller, &record, &tool, &user).await?,
    };
    let given: Given<'_> = serde_json::from_slice(&bytes).map_err(|_| Problem::Internal)?;
    let arguments = given.arguments.map_or("{}", RawValue::get);
    let answer = app.proxies.call(caller.tenant(), record.spec.id, principal, &tool, arguments).await?;
    Ok(Answer::raw(answer))
}

/// The user as whom somebody calls, which is written down before it is done.
async fn as_user(
    app: &App,
    caller: &Caller,
    record: &ServerRecord,
    tool: &str,
    named: &str,
) -> Result<Principal, Problem> {
    let key = acting_key(caller)?;
    let user = represented(app, caller, "as", named).await?.id;
    let after = json!({ "key": key.as_str(), "server": record.spec.name.as_str(), "tool": tool });
    caller.store(app).note(&caller.actor(), "user.call_as", object(user), after).await?;
    Ok(Principal { tenant: caller.tenant(), user: Some(user), key: Some(key) })
}

/// The arguments of a call as they came: numbers that no machine type holds and the order of members
/// are the tool's.
#[derive(Deserialize)]
struct Given<'a> {
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

/// Asks a proxy for the tools, as the caller, and keeps them.
async fn fetch(app: &App, caller: &Caller, tenant: &TenantStore, record: &ServerRecord) -> Result<Manifest, Problem> {
    let tools = app.proxies.list_tools(caller.tenant(), record.spec.id, caller.principal()).await?;
    let digest = Digest::from_slice(digest(&SHA256, tools.as_bytes()).as_ref()).ok_or(Problem::Internal)?;
    let manifest = Manifest { server: record.spec.id, digest, tools, fetched_at: app.clock.now_micros() };
    tenant.put_manifest(manifest.clone()).await?;
    Ok(manifest)
}

fn shown(record: &ServerRecord, manifest: &Manifest) -> Answer {
    Answer::ok(&ToolsView {
        items: enabled_tools(&manifest.tools, &record.spec.disabled_tools),
        next: None,
        fetched_at: instant(manifest.fetched_at),
    })
}
