//! `/api/v1/servers/{server}/connections`: whose credentials are used at a server. Admins see everybody's, users their
//! own; nobody ever sees a secret.

use axum::extract::State;
use axum::response::Response;
use model::{ConnectionId, Holder};
use store::{ConnectionHealth, ConnectionPage, ConnectionRecord, ConnectionSummary, ServerRecord, TenantStore};

use crate::App;
use crate::connections::{self, Asker, Changed as ChangedConnection, ConnectionError, Shown, accepted};
use crate::rest::answer::Answer;
use crate::rest::bodies::connection::{
    self as bodies, ConnectionChange, ConnectionCreate, SecretSearch, StatusChange, scope,
};
use crate::rest::body::Body;
use crate::rest::caller::{Admin, Caller, User};
use crate::rest::code::Code;
use crate::rest::condition::Expected;
use crate::rest::idempotency::once;
use crate::rest::parameters::{Parameters, bad};
use crate::rest::problem::Problem;
use crate::rest::segment::{Segment, Segments};
use crate::rest::servers::find_for;
use crate::rest::views::{Changed, ConnectionPageView, ConnectionView, FoundView, Gone, RevokedView, TrialView};

/// Connections of a page when nobody says, and at most.
const PAGE: u32 = 12;
const MAX_PAGE: u32 = 100;

/// Lists a server's connections in the order of their making, and how all of them do: for a user their own.
#[utoipa::path(get, path = "/api/v1/servers/{server}/connections", tag = "connections",
    operation_id = "listConnections",
    params(("health" = Option<String>, Query, description = "Only those of this health: `all`, `active`, `attention` or `disabled`; they add up"),
        ("search" = Option<String>, Query, description = "Only those with this text in name, subject or holder"),
        ("mine" = Option<bool>, Query, description = "Only the caller's own"),
        ("scope_type" = Option<String>, Query, description = "Only the one for this holder: `global`, `department` or `user`"),
        ("scope_id" = Option<String>, Query, description = "The department or the user, by id, name or login; when absent, the caller")),
    responses((status = 200, body = ConnectionPageView)))]
pub(crate) async fn list(
    State(app): State<App>,
    User(caller): User,
    Segment(named): Segment,
    query: Parameters,
) -> Result<Answer, Problem> {
    let known = ["page_size", "limit", "cursor", "health", "search", "mine", "scope_type", "scope_id"];
    let query = query.only(&known)?;
    let (tenant, asker) = (caller.store(&app), asker(&caller));
    let server = find_for(&caller, &tenant, &named).await?;
    let size = query.page_size_within(PAGE, MAX_PAGE)?;
    let asked = app.cursors.asked_with::<ConnectionId>("connections", Some(caller.tenant()), &query, size)?;
    let Some(holder) = wanted(&tenant, asker, &server, &query).await? else {
        let summary = ConnectionSummary::default().into();
        return Ok(Answer::ok(&ConnectionPageView { items: Vec::new(), next: None, summary }));
    };
    let page = ConnectionPage {
        server: Some(server.spec.id),
        holder,
        health: health(&query)?,
        search: query.text("search").map(str::to_owned),
        after: asked.after,
        limit: asked.reads(),
    };
    let summary = tenant.connection_summary(&page).await?.into();
    let mut records = tenant.connections(page).await?;
    let next = asked.cut(&mut records, |record| record.id);
    let items = records.iter().map(|record| view(&app, &server, record)).collect();
    Ok(Answer::ok(&ConnectionPageView { items, next, summary }))
}

/// Makes a connection. There is one for each server and holder.
#[utoipa::path(post, path = "/api/v1/servers/{server}/connections", tag = "connections",
    operation_id = "createConnection", request_body = ConnectionCreate,
    responses((status = 201, body = Changed<ConnectionView>), (status = 409)))]
pub(crate) async fn create(
    State(app): State<App>,
    User(caller): User,
    Segment(named): Segment,
    body: Body,
) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let given = bodies::create(&mut fields);
    let (tenant, asker) = (caller.store(&app), asker(&caller));
    let server = find_for(&caller, &tenant, &named).await?;
    fields.finish()?;
    let by = app.clone();
    let work = move |actor| async move {
        let made = app.connections.create(&tenant, &actor, asker, &server, given).await?;
        Ok(created(&app, &server, &made))
    };
    Ok(once(&by, &caller, slot, work).await)
}

/// Shows a connection, never its secrets.
#[utoipa::path(get, path = "/api/v1/servers/{server}/connections/{connection}", tag = "connections",
    operation_id = "showConnection", responses((status = 200, body = ConnectionView)))]
pub(crate) async fn show(
    State(app): State<App>,
    User(caller): User,
    Segments(server, id): Segments,
) -> Result<Answer, Problem> {
    let (server, record) = find(&app, &caller, &server, &id).await?;
    Ok(Answer::ok(&view(&app, &server, &record)).at(record.generation))
}

/// Changes a connection; absent members stay. A new credential clears what went wrong before.
#[utoipa::path(patch, path = "/api/v1/servers/{server}/connections/{connection}", tag = "connections",
    operation_id = "changeConnection", request_body = ConnectionChange,
    responses((status = 200, body = Changed<ConnectionView>), (status = 409)))]
pub(crate) async fn change(
    State(app): State<App>,
    User(caller): User,
    Segments(server, id): Segments,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let patch = bodies::change(&mut fields);
    let (server, record) = find(&app, &caller, &server, &id).await?;
    fields.finish()?;
    asker(&caller).may_give(&patch.given)?;
    let (tenant, actor) = (caller.store(&app), caller.actor());
    let changed = app.connections.patch(&tenant, &actor, &server, &record, expected, &patch).await?;
    Ok(answered(&app, &server, &changed))
}

/// Removes a connection: no proxy uses it any more.
#[utoipa::path(delete, path = "/api/v1/servers/{server}/connections/{connection}", tag = "connections",
    operation_id = "deleteConnection", responses((status = 200, body = Gone)))]
pub(crate) async fn remove(
    State(app): State<App>,
    User(caller): User,
    Segments(server, id): Segments,
    Expected(expected): Expected,
) -> Result<Answer, Problem> {
    let (server, record) = find(&app, &caller, &server, &id).await?;
    let (tenant, id) = (caller.store(&app), record.id);
    let effective = app.connections.remove(&tenant, &caller.actor(), id, expected).await?.into();
    app.upstream_login.revoke_beside(server, record);
    Ok(Answer::ok(&Gone { id: id.to_string(), name: None, effective }))
}

/// Puts an active connection aside, or takes up one that was put aside.
#[utoipa::path(put, path = "/api/v1/servers/{server}/connections/{connection}/status", tag = "connections",
    operation_id = "changeConnectionStatus", request_body = StatusChange,
    responses((status = 200, body = Changed<ConnectionView>), (status = 409)))]
pub(crate) async fn status(
    State(app): State<App>,
    User(caller): User,
    Segments(server, id): Segments,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let status = bodies::status_change(&mut fields);
    let (server, record) = find(&app, &caller, &server, &id).await?;
    fields.finish()?;
    let status = status.ok_or(Problem::Internal)?;
    let (tenant, actor) = (caller.store(&app), caller.actor());
    let changed = app.connections.status(&tenant, &actor, &server, &record, expected, status).await?;
    Ok(answered(&app, &server, &changed))
}

/// Asks the upstream with this very credential, past every cache. Always 200: that the upstream fails is the answer,
/// not a failure of the question. One that the upstream takes is active from then on, unless it was put aside.
#[utoipa::path(post, path = "/api/v1/servers/{server}/connections/{connection}/test", tag = "connections",
    operation_id = "testConnection", responses((status = 200, body = TrialView), (status = 409), (status = 422)))]
pub(crate) async fn test(
    State(app): State<App>,
    User(caller): User,
    Segments(server, id): Segments,
) -> Result<Answer, Problem> {
    let (server, record) = find(&app, &caller, &server, &id).await?;
    let tenant = caller.store(&app);
    let tried = connections::test(&app, &tenant, &caller.actor(), asker(&caller), &server, &record).await;
    let (outcome, record) = match tried {
        Ok(tried) => tried,
        Err(ConnectionError::Required { scopes, login }) => {
            let login_url = if login { login_url(&app, &server).await? } else { None };
            return Err(Problem::ConnectionRequired { scopes, login_url });
        }
        Err(error) => return Err(error.into()),
    };
    Ok(Answer::ok(&TrialView::of(&outcome, view(&app, &server, &record))))
}

/// Takes tokens back at the authorization server that granted them, as far as it lets us, and forgets every secret of the
/// connection here in any case.
#[utoipa::path(post, path = "/api/v1/servers/{server}/connections/{connection}/revoke", tag = "connections",
    operation_id = "revokeConnection", responses((status = 200, body = RevokedView)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    User(caller): User,
    Segments(server, id): Segments,
) -> Result<Answer, Problem> {
    let (server, record) = find(&app, &caller, &server, &id).await?;
    let tenant = caller.store(&app);
    let (changed, upstream) = connections::revoke(&app, &tenant, &caller.actor(), &server, &record).await?;
    let view = RevokedView {
        connection: view(&app, &server, &changed.record),
        effective: changed.effective.into(),
        upstream: upstream.into(),
    };
    Ok(Answer::ok(&view).at(changed.record.generation))
}

/// Says which connections use a secret that has leaked. The secret is neither kept nor logged.
#[utoipa::path(post, path = "/api/v1/connections/find", tag = "connections", operation_id = "findConnections",
    request_body = SecretSearch, responses((status = 200, body = FoundView)))]
pub(crate) async fn find_by_secret(
    State(app): State<App>,
    Admin(caller): Admin,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let secret = bodies::find(&mut fields);
    fields.finish()?;
    let (secret, tenant) = (secret.ok_or(Problem::Internal)?, caller.store(&app));
    let found = app.connections.find(&tenant, &secret).await?;
    let mut items = Vec::with_capacity(found.len());
    for record in found {
        // One that is being deleted takes its connections along.
        if let Some(server) = tenant.server(record.server).await? {
            items.push(view(&app, &server, &record));
        }
    }
    Ok(Answer::ok(&FoundView { items }))
}

/// Who asks, as connections know them.
pub(crate) fn asker(caller: &Caller) -> Asker {
    Asker::new(caller.role(), caller.user().filter(|_| caller.home() == caller.tenant()))
}

/// A connection of this server that the caller may know of. One of another server or another user looks like none.
pub(crate) async fn find(
    app: &App,
    caller: &Caller,
    server: &str,
    id: &str,
) -> Result<(ServerRecord, ConnectionRecord), Problem> {
    let tenant = caller.store(app);
    let server = find_for(caller, &tenant, server).await?;
    let id: ConnectionId = id.parse().map_err(|_| Problem::NotFound)?;
    let found = tenant.connection(id).await?;
    let found = found.filter(|record| record.server == server.spec.id && asker(caller).sees(record));
    Ok((server, found.ok_or(Problem::NotFound)?))
}

/// Which holder a list is of: `Some(None)` for all, `None` for nobody.
async fn wanted(
    tenant: &TenantStore,
    asker: Asker,
    server: &ServerRecord,
    query: &Parameters,
) -> Result<Option<Option<Holder>>, Problem> {
    let own = asker.user().map(Holder::User);
    let named = query.text("scope_id");
    let holder = match query.text("scope_type") {
        None if named.is_some() => {
            return Err(bad(Code::ConnectionScope, "`scope_id` needs `scope_type`".to_owned()));
        }
        None => None,
        Some(word) => {
            let scope = scope(word.into()).map_err(|(code, detail)| bad(code, detail))?;
            match asker.holder(tenant, accepted(server), Some(scope), named).await {
                Ok(holder) => Some(holder),
                // Others' connections look like none.
                Err(ConnectionError::Forbidden) => return Ok(None),
                Err(ConnectionError::Fields(wrong)) => {
                    let first = wrong.into_iter().next().ok_or(Problem::Internal)?;
                    return Err(bad(first.code, format!("`scope_id` {}", first.detail)));
                }
                Err(ConnectionError::Store(error)) => return Err(error.into()),
                Err(_) => return Err(Problem::Internal),
            }
        }
    };
    let only_own = query.flag("mine")?.unwrap_or(false) || !asker.sees_all();
    Ok(match (only_own, holder) {
        (false, holder) => Some(holder),
        (true, None) => own.map(Some),
        (true, Some(holder)) => (Some(holder) == own).then_some(Some(holder)),
    })
}

fn health(query: &Parameters) -> Result<Option<ConnectionHealth>, Problem> {
    match query.text("health") {
        None | Some("all") => Ok(None),
        Some("active") => Ok(Some(ConnectionHealth::Active)),
        Some("attention") => Ok(Some(ConnectionHealth::Attention)),
        Some("disabled") => Ok(Some(ConnectionHealth::Disabled)),
        Some(_) => Err(bad(Code::Health, "`health` must be all, active, attention or disabled".to_owned())),
    }
}

fn view(app: &App, server: &ServerRecord, record: &ConnectionRecord) -> ConnectionView {
    ConnectionView::of(server, record, Shown::of(server, record, app.clock.now_micros()))
}

/// The answer of a create, also when it is told again.
pub(crate) fn created(app: &App, server: &ServerRecord, made: &ChangedConnection) -> Answer {
    let location = format!("/api/v1/servers/{}/connections/{}", server.spec.id, made.record.id);
    let view = Changed { record: view(app, server, &made.record), effective: made.effective.clone().into() };
    Answer::created(location, &view).at(made.record.generation)
}

fn answered(app: &App, server: &ServerRecord, changed: &ChangedConnection) -> Answer {
    let view = Changed { record: view(app, server, &changed.record), effective: changed.effective.clone().into() };
    Answer::ok(&view).at(changed.record.generation)
}

/// Where somebody logs in to a server's upstream.
pub(crate) async fn login_url(app: &App, server: &ServerRecord) -> Result<Option<String>, Problem> {
    let tenant = app.store.platform().tenant(server.spec.tenant).await?;
    let link = |name| format!("{}/connect/{name}/{}", app.config.base_url(), server.spec.name);
    Ok(tenant.map(|tenant| link(tenant.spec.name)))
}

impl From<ConnectionError> for Problem {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::Store(error) => error.into(),
            ConnectionError::Keyring(error) => error.into(),
            ConnectionError::Sealed => Self::Sealed,
            ConnectionError::Command(error) => error.into(),
            ConnectionError::Fields(wrong) => Self::Fields(wrong),
            ConnectionError::Forbidden => Self::Forbidden("tenant_admin"),
            ConnectionError::Exists(id) => Self::ConnectionExists(id),
            ConnectionError::Transition { from, to } => Self::StatusTransition { from, to },
            ConnectionError::Unreadable => Self::CredentialUnreadable,
            ConnectionError::Required { scopes, .. } => Self::ConnectionRequired { scopes, login_url: None },
        }
    }
}
