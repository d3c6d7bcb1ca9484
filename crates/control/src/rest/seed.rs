//! The surface `/api/mcp` of the seed (the system whose surface is kept), frozen: old clients match on
//! its bodies byte by byte. The same code as the native routes does the work.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::UpstreamUrl;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use store::{ServerPage, ServerRecord, StoreError};
use utoipa::ToSchema;

use crate::App;
use crate::proxies::{CommandError, Effective, Reach};
use crate::reconcile::{RecoverError, Report, Scope};
use crate::rest::bodies::server::plain;
use crate::rest::caller::{Admin, Caller, Refused};
use crate::rest::fields::upstream_url;
use crate::rest::parameters::Parameters;
use crate::rest::problem::{CHALLENGE, Problem, Title};
use crate::rest::views::{EffectiveView, ReportView};
use crate::servers::ServersError;

/// One element of `tools`, its members in the seed's order.
#[derive(Serialize)]
pub(crate) struct Element {
    name: String,
    description: String,
    params: [(); 0],
    source: &'static str,
    /// The input schema as the upstream wrote it, as a text.
    inputs: String,
    output_type: &'static str,
    class_name: String,
}

/// One element of `remote_mcp_server_list`.
#[derive(Serialize)]
pub(crate) struct Listed {
    remote_mcp_server_name: String,
    remote_mcp_server: String,
    status: bool,
}

/// What is read of an upstream's tool.
#[derive(Deserialize)]
struct Tool<'a> {
    name: String,
    description: Option<String>,
    #[serde(borrow, rename = "inputSchema")]
    input_schema: Option<&'a RawValue>,
}

const TOOLS_FAILED: &str = "Failed to get tools from remote MCP server";
const ADD_FAILED: &str = "Failed to add remote MCP proxy";
const DELETE_FAILED: &str = "Failed to delete remote MCP proxy";
const LIST_FAILED: &str = "Failed to get remote MCP proxy";
const RECOVER_FAILED: &str = "Failed to recover remote MCP proxy";

/// Every answer of the surface.
pub(crate) enum SeedAnswer {
    Tools(Vec<Element>),
    ToolsFailed,
    Added(Effective),
    NameExists,
    CannotConnect,
    AddFailed,
    Deleted(Effective),
    NotRecorded,
    DeleteFailed,
    List(Vec<Listed>),
    ListFailed,
    Recovered(Box<Report>),
    RecoverFailed(Option<Box<Report>>),
    RecoverUnread,
    Unauthorized,
    Forbidden,
    MissingParameter(&'static str),
    NoTenant,
    TenantInQuery,
    /// A fault of ours before the call began, in the call's own words.
    Fault(StatusCode, &'static str),
}

impl SeedAnswer {
    /// Status, message and the members beside `message` and `status`.
    fn shape(self) -> (StatusCode, Option<String>, Vec<(&'static str, String)>) {
        use StatusCode as S;
        let bad = |message: &str| (S::BAD_REQUEST, Some(message.to_owned()), Vec::new());
        let done = |message: &str, extra| (S::OK, Some(message.to_owned()), extra);
        match self {
            Self::Tools(tools) => (S::OK, None, vec![("tools", json_text(&tools))]),
            Self::ToolsFailed => bad(TOOLS_FAILED),
            Self::Added(effective) => done("Successfully added remote MCP proxy", unfinished(&effective)),
            Self::NameExists => (S::CONFLICT, Some("Service name already exists".to_owned()), Vec::new()),
            Self::CannotConnect => {
                (S::SERVICE_UNAVAILABLE, Some("Cannot connect to remote MCP server".to_owned()), Vec::new())
            }
            Self::AddFailed => bad(ADD_FAILED),
            Self::Deleted(effective) => done("Successfully deleted remote MCP proxy", unfinished(&effective)),
            Self::NotRecorded => bad("Failed to delete remote MCP server, server not record"),
            Self::DeleteFailed => bad(DELETE_FAILED),
            Self::List(servers) => (S::OK, None, vec![("remote_mcp_server_list", json_text(&servers))]),
            Self::ListFailed => bad(LIST_FAILED),
            Self::Recovered(report) => done(
                "Successfully recovered remote MCP proxy",
                vec![("report", json_text(&ReportView::from(&*report)))],
            ),
            Self::RecoverFailed(report) => (
                S::BAD_REQUEST,
                Some(RECOVER_FAILED.to_owned()),
                vec![("report", json_text(&report.as_deref().map(ReportView::from)))],
            ),
            Self::RecoverUnread => {
                let report = vec![("report", "null".to_owned())];
                (S::BAD_REQUEST, Some("Failed to load remote MCP proxy list".to_owned()), report)
            }
            Self::Unauthorized => (S::UNAUTHORIZED, Some("Unauthorized".to_owned()), Vec::new()),
            Self::Forbidden => (S::FORBIDDEN, Some("Forbidden".to_owned()), Vec::new()),
            Self::MissingParameter(name) => {
                (S::BAD_REQUEST, Some(format!("Query parameter '{name}' is required")), Vec::new())
            }
            Self::NoTenant => (S::NOT_FOUND, Some("Tenant not found".to_owned()), Vec::new()),
            Self::TenantInQuery => bad("The tenant comes from the key or from the header Gatehouse-Tenant"),
            Self::Fault(status, message) => (status, Some(message.to_owned()), Vec::new()),
        }
    }
}

/// Committed and not yet in every proxy's table: said beside the success.
fn unfinished(effective: &Effective) -> Vec<(&'static str, String)> {
    if effective.pending == 0 && effective.rejected.is_empty() {
        Vec::new()
    } else {
        vec![("effective", json_text(&EffectiveView::from(effective.clone())))]
    }
}

fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "[]".to_owned())
}

impl IntoResponse for SeedAnswer {
    fn into_response(self) -> Response {
        let (status, message, extra) = self.shape();
        let word = if status.is_success() { "success" } else { "error" };
        // Written by hand: lists stand before `status`, everything else after it, as in the seed.
        let member = |(name, json): (&str, String)| format!("\"{name}\":{json}");
        let status_member = format!("\"status\":\"{word}\"");
        let extra = extra.into_iter().map(member);
        let members: Vec<String> = match message {
            None => extra.chain([status_member]).collect(),
            Some(message) => {
                [format!("\"message\":{}", Value::from(message)), status_member].into_iter().chain(extra).collect()
            }
        };
        let body = format!("{{{}}}", members.join(","));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(CHALLENGE));
        }
        response
    }
}

/// Everything below `/api/mcp` that isn't answered here (no such call, a wrong method, a foreign host,
/// a fault) has the two frozen keys too, with the status that it has everywhere.
pub(crate) async fn layer(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let ours = path == "/api/mcp" || path.starts_with("/api/mcp/");
    let mut response = next.run(request).await;
    if ours && let Some(Title(title)) = response.extensions().get().copied() {
        let body = format!("{{\"message\":{},\"status\":\"error\"}}", Value::from(title));
        *response.body_mut() = body.into();
        response.headers_mut().remove(header::CONTENT_LENGTH);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    response
}

/// An admin on this surface: refused with the seed's bodies.
pub(crate) struct SeedAdmin(Caller);

impl FromRequestParts<App> for SeedAdmin {
    type Rejection = SeedAnswer;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, SeedAnswer> {
        // A key only: a link on a foreign page could recover with somebody's cookie.
        if !parts.headers.contains_key(header::AUTHORIZATION) {
            return Err(SeedAnswer::Unauthorized);
        }
        let let_in = Admin::from_request_parts(parts, app).await;
        let_in.map(|Admin(caller)| Self(caller)).map_err(|why| match why {
            Refused::Unauthenticated | Refused::Malformed(_) | Refused::Forged => SeedAnswer::Unauthorized,
            Refused::Role(_) | Refused::Scope(_) => SeedAnswer::Forbidden,
            Refused::NoTenant => SeedAnswer::NoTenant,
            Refused::TenantInQuery => SeedAnswer::TenantInQuery,
            Refused::Slow => SeedAnswer::Fault(Problem::Unavailable.code().status(), failure(parts)),
            Refused::Store(error) => SeedAnswer::Fault(Problem::from(error).code().status(), failure(parts)),
        })
    }
}

/// How the call that was asked for says that it failed.
fn failure(parts: &Parts) -> &'static str {
    let called = parts.uri.path().trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    match called {
        "tools" => TOOLS_FAILED,
        "add" => ADD_FAILED,
        "list" => LIST_FAILED,
        "recover" => RECOVER_FAILED,
        _ => DELETE_FAILED,
    }
}

/// The two parameters that most calls have.
struct Named {
    service_name: String,
    url: Option<UpstreamUrl>,
}

impl Named {
    fn of(query: &Parameters) -> Result<Self, SeedAnswer> {
        let given = |name| query.text(name).ok_or(SeedAnswer::MissingParameter(name));
        let (service_name, url) = (given("service_name")?, given("mcp_url")?);
        Ok(Self { service_name: service_name.to_owned(), url: upstream_url(url).ok() })
    }

    /// The tenant's live record with this title and this URL.
    async fn record(&self, app: &App, admin: &Caller) -> Result<Option<ServerRecord>, StoreError> {
        if !self.title_fits() {
            return Ok(None);
        }
        let record = admin.store(app).server_by_title(&self.service_name).await?;
        Ok(record.filter(|record| Some(&record.spec.url) == self.url.as_ref()))
    }

    /// A title as the native route takes it.
    fn title_fits(&self) -> bool {
        self.service_name.chars().count() <= 200
            && !self.service_name.trim().is_empty()
            && !self.service_name.chars().any(char::is_control)
    }
}

/// The refusals of this surface.
#[derive(Serialize, ToSchema)]
pub(crate) struct SeedProblem {
    /// What went wrong.
    message: String,
    /// `error`.
    status: String,
}

/// Shows the tools of a remote MCP server.
#[utoipa::path(get, path = "/api/mcp/tools", tag = "compatibility", operation_id = "seedTools",
    params(("service_name" = String, Query), ("mcp_url" = String, Query)),
    responses((status = 200, body = Object)))]
pub(crate) async fn tools(
    State(app): State<App>,
    SeedAdmin(admin): SeedAdmin,
    query: Parameters,
) -> Result<SeedAnswer, SeedAnswer> {
    let named = Named::of(&query)?;
    let failed = |_| SeedAnswer::ToolsFailed;
    let record = named.record(&app, &admin).await.map_err(|_| SeedAnswer::ToolsFailed)?;
    let Named { service_name, url } = named;
    let (server, disabled, tools) = match record {
        Some(record) => {
            let id = record.spec.id;
            let tools = app.proxies.list_tools(admin.tenant(), id, admin.principal()).await.map_err(failed)?;
            (record.spec.name, record.spec.disabled_tools, tools)
        }
        // Not recorded: looked at under the name that it would get.
        None => {
            let add = plain(url.ok_or(SeedAnswer::ToolsFailed)?, None);
            let report = app.servers.look(admin.tenant(), &add, None).await.map_err(|_| SeedAnswer::ToolsFailed)?;
            if report.challenge.is_some() {
                return Err(SeedAnswer::ToolsFailed);
            }
            (model::ServerName::from_title(&service_name, 0), Vec::new(), report.tools)
        }
    };
    let tools: Vec<&RawValue> = serde_json::from_str(&tools).map_err(|_| SeedAnswer::ToolsFailed)?;
    let shown = tools.iter().filter_map(|tool| element(server.as_str(), &disabled, tool.get()));
    Ok(SeedAnswer::Tools(shown.collect()))
}

/// One element of `tools`; `None` for a disabled tool and for what is no tool.
fn element(server: &str, disabled: &[String], tool: &str) -> Option<Element> {
    let tool: Tool<'_> = serde_json::from_str(tool).ok()?;
    if disabled.contains(&tool.name) {
        return None;
    }
    let exposed = mcp::names::exposed(server, &tool.name);
    Some(Element {
        name: exposed.clone(),
        description: tool.description.unwrap_or_default(),
        params: [],
        source: "mcp",
        inputs: tool.input_schema.map_or_else(|| "{}".to_owned(), |schema| schema.get().to_owned()),
        output_type: "string",
        class_name: exposed,
    })
}

/// Adds a remote MCP server.
#[utoipa::path(post, path = "/api/mcp/add", tag = "compatibility", operation_id = "seedAdd",
    params(("service_name" = String, Query), ("mcp_url" = String, Query)),
    responses((status = 200, body = Object), (status = 409)))]
pub(crate) async fn add(
    State(app): State<App>,
    SeedAdmin(admin): SeedAdmin,
    query: Parameters,
) -> Result<Response, SeedAnswer> {
    let named = Named::of(&query)?;
    if !named.title_fits() {
        return Err(SeedAnswer::AddFailed);
    }
    let add = plain(named.url.ok_or(SeedAnswer::AddFailed)?, Some(named.service_name));
    // A client that goes away doesn't cut the change.
    let work = crate::rest::trace::carried(async move {
        crate::servers::add(&app, &admin.store(&app), &admin.actor(), None, add).await
    });
    let outcome = tokio::spawn(work).await.map_err(|_| SeedAnswer::AddFailed)?;
    Ok(match outcome {
        Ok(changed) => SeedAnswer::Added(changed.effective),
        Err(ServersError::Store(StoreError::NameTaken | StoreError::TitleTaken)) => SeedAnswer::NameExists,
        Err(ServersError::Probe(CommandError::Upstream { .. } | CommandError::TimedOut)) => SeedAnswer::CannotConnect,
        Err(error) => {
            tracing::info!(error = %telemetry::chain(&error), "an add of the seed's surface failed");
            SeedAnswer::AddFailed
        }
    }
    .into_response())
}

/// Removes a remote MCP server.
#[utoipa::path(delete, path = "/api/mcp", tag = "compatibility", operation_id = "seedRemove",
    params(("service_name" = String, Query), ("mcp_url" = String, Query)),
    responses((status = 200, body = Object)))]
pub(crate) async fn remove(
    State(app): State<App>,
    SeedAdmin(admin): SeedAdmin,
    query: Parameters,
) -> Result<SeedAnswer, SeedAnswer> {
    let named = Named::of(&query)?;
    let record = named.record(&app, &admin).await.map_err(|_| SeedAnswer::DeleteFailed)?;
    let Some(record) = record else { return Err(SeedAnswer::NotRecorded) };
    let tenant = admin.store(&app);
    match app.servers.delete(&tenant, &admin.actor(), record.spec.id, None).await {
        Ok(effective) => Ok(SeedAnswer::Deleted(effective)),
        // Somebody else deleted it meanwhile.
        Err(ServersError::Store(StoreError::NotFound)) => Err(SeedAnswer::NotRecorded),
        Err(_) => Err(SeedAnswer::DeleteFailed),
    }
}

/// Lists remote MCP servers. Every live record of the tenant; `status` says whether it is mounted now.
#[utoipa::path(get, path = "/api/mcp/list", tag = "compatibility", operation_id = "seedList",
    responses((status = 200, body = Object)))]
pub(crate) async fn list(State(app): State<App>, SeedAdmin(admin): SeedAdmin) -> Result<SeedAnswer, SeedAnswer> {
    let tenant = admin.store(&app);
    let mounted: std::collections::HashSet<_> = app
        .proxies
        .observe(Reach::All)
        .await
        .iter()
        .flat_map(|proxy| &proxy.mounts)
        .map(|mount| mount.server)
        .collect();
    let mut servers = Vec::new();
    let mut after = None;
    loop {
        let page = ServerPage { after, limit: 500, ..ServerPage::default() };
        let records = tenant.servers(page).await.map_err(|_| SeedAnswer::ListFailed)?;
        let Some(last) = records.last() else { break };
        after = Some(last.spec.id);
        servers.extend(records.into_iter().map(|record| Listed {
            status: mounted.contains(&record.spec.id),
            remote_mcp_server: record.spec.url.as_str().to_owned(),
            remote_mcp_server_name: record.spec.title,
        }));
    }
    Ok(SeedAnswer::List(servers))
}

/// HEAD would run a pass: it is not the seed's, so it is no method of recover.
pub(crate) async fn no_head() -> impl IntoResponse {
    ([(header::ALLOW, "GET,POST")], Problem::Method)
}

/// Mounts again what should be mounted. GET is for old clients; it changes state, so it asks for a key like
/// every other call here.
#[utoipa::path(get, path = "/api/mcp/recover", tag = "compatibility", operation_id = "seedRecoverByGet",
    responses((status = 200, body = Object)))]
pub(crate) async fn recover_by_get(app: State<App>, admin: SeedAdmin) -> SeedAnswer {
    recover(app, admin).await
}

/// Mounts again what should be mounted.
#[utoipa::path(post, path = "/api/mcp/recover", tag = "compatibility", operation_id = "seedRecover",
    responses((status = 200, body = Object)))]
pub(crate) async fn recover(State(app): State<App>, SeedAdmin(caller): SeedAdmin) -> SeedAnswer {
    match app.reconciler.run_by(&caller.actor(), Scope { tenant: Some(caller.tenant()), ..Scope::default() }).await {
        Ok(report) if report.is_complete() => SeedAnswer::Recovered(Box::new(report)),
        Ok(report) => SeedAnswer::RecoverFailed(Some(Box::new(report))),
        Err(RecoverError::NoProxyAttached | RecoverError::Busy) => SeedAnswer::RecoverFailed(None),
        Err(RecoverError::Intended(error)) => {
            tracing::error!(error = %telemetry::chain(&error), "the intended state can't be read");
            SeedAnswer::RecoverUnread
        }
    }
}
