//! `/api/v1/servers`: the records that an admin manages.

use axum::extract::State;
use axum::response::Response;
use model::ServerId;
use store::{ServerPage, ServerPatch, ServerRecord, StoreError, TenantStore};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::server::{self, ServerChange, ServerCreate};
use crate::rest::body::Body;
use crate::rest::caller::{Admin, Caller, Member, Viewer};
use crate::rest::condition::Expected;
use crate::rest::connections::{asker, login_url};
use crate::rest::idempotency::once;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::views::{
    AddedView, Changed, ChangedServerView, DependenciesView, Gone, NeedsView, Page, ProbeView, RestoredServerView,
    ServerView, TestView,
};
use crate::servers::{self, Changed as ChangedServer, Probe, ServersError};

/// Adds a server. A proxy looks at the upstream first; if that fails, nothing is saved.
#[utoipa::path(post, path = "/api/v1/servers", tag = "servers", operation_id = "addServer",
    request_body = ServerCreate, responses((status = 201, body = AddedView), (status = 409)))]
pub(crate) async fn add(State(app): State<App>, Admin(caller): Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let add = server::create(&mut fields);
    fields.finish()?;
    let add = add.ok_or(Problem::Internal)?;
    let (by, tenant) = (app.clone(), caller.store(&app));
    let user = asker(&caller).user();
    let work = move |actor| async move {
        let added = servers::add(&app, &tenant, &actor, user, add).await?;
        let location = format!("/api/v1/servers/{}", added.record.spec.id);
        let needs = match &added.probe {
            Probe::NeedsAuth { challenge, sent } => {
                let login_url = login_url(&app, &added.record).await?;
                Some(NeedsView::of(&added.record, challenge, *sent, login_url))
            }
            Probe::Skipped | Probe::Spoke(_) => None,
        };
        let view = AddedView {
            server: ServerView::from(&added.record),
            effective: added.effective.into(),
            probe: ProbeView::of(&added.probe),
            needs,
            connection: added.connection.map(|id| id.to_string()),
            warnings: added.warnings,
        };
        Ok(Answer::created(location, &view).at(added.record.spec.generation))
    };
    Ok(once(&by, &caller, slot, work).await)
}

/// Lists servers in the order of their making: for a restricted key those that it may use.
#[utoipa::path(get, path = "/api/v1/servers", tag = "servers", operation_id = "listServers",
    params(("search" = Option<String>, Query, description = "Only those with this text in name, title or description"),
        ("enabled" = Option<bool>, Query, description = "Only enabled or only disabled ones"),
        ("tag" = Option<String>, Query, description = "Only those with exactly this tag"),
        ("deleted" = Option<bool>, Query, description = "Deleted ones instead")),
    responses((status = 200, body = Page<ServerView>)))]
pub(crate) async fn list(State(app): State<App>, Member(caller): Member, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "search", "enabled", "tag", "deleted"])?;
    let asked = app.cursors.asked::<ServerId>("servers", Some(caller.tenant()), &query)?;
    let page = ServerPage {
        names: caller.servers().map(<[_]>::to_vec),
        search: query.text("search").map(str::to_owned),
        enabled: query.flag("enabled")?,
        tag: query.text("tag").map(str::to_owned),
        deleted: query.flag("deleted")?.unwrap_or(false),
        after: asked.after,
        limit: asked.reads(),
    };
    let mut records = caller.store(&app).servers(page).await?;
    let next = asked.cut(&mut records, |record| record.spec.id);
    Ok(Answer::ok(&Page { items: records.iter().map(ServerView::from).collect(), next }))
}

/// Shows a server.
#[utoipa::path(get, path = "/api/v1/servers/{server}", tag = "servers", operation_id = "showServer",
    responses((status = 200, body = ServerView)))]
pub(crate) async fn show(
    State(app): State<App>,
    Member(caller): Member,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let record = find_for(&caller, &caller.store(&app), &named).await?;
    Ok(Answer::ok(&ServerView::from(&record)).at(record.spec.generation))
}

/// Changes a server; absent members stay, null goes back to the default.
#[utoipa::path(patch, path = "/api/v1/servers/{server}", tag = "servers", operation_id = "changeServer",
    request_body = ServerChange, responses((status = 200, body = ChangedServerView), (status = 409)))]
pub(crate) async fn change(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let change = server::change(&mut fields);
    fields.finish()?;
    let tenant = caller.store(&app);
    let record = find(&tenant, &named).await?;
    let (actor, asker) = (caller.actor(), asker(&caller));
    // A client that goes away doesn't cut a change of several steps.
    let work = crate::rest::trace::carried(async move {
        servers::change(&app, &tenant, &actor, asker, &record, expected, change).await
    });
    let changed = tokio::spawn(work).await.map_err(|_| Problem::Internal)??;
    let view = ChangedServerView {
        server: ServerView::from(&changed.record),
        effective: changed.effective.into(),
        warnings: changed.warnings,
    };
    Ok(Answer::ok(&view).at(changed.record.spec.generation))
}

/// Deletes a server: it is unmounted, its name is free, and `restore` brings it back for 90 days. With
/// `purge` a deleted one is erased for good.
#[utoipa::path(delete, path = "/api/v1/servers/{server}", tag = "servers", operation_id = "deleteServer",
    params(("purge" = Option<bool>, Query, description = "Erase a deleted server for good")),
    responses((status = 200, body = Gone), (status = 409)))]
pub(crate) async fn remove(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
    query: Parameters,
) -> Result<Answer, Problem> {
    let purge = query.only(&["purge"])?.flag("purge")?.unwrap_or(false);
    let (tenant, actor) = (caller.store(&app), caller.actor());
    let (record, effective) = if purge {
        let record = find_any(&tenant, &named).await?;
        let committed = tenant.purge_server(&actor, record.spec.id, expected).await?;
        let name = model::ResourceName::Server(record.spec.id);
        let effective = app.servers.settled(committed.revision, name).await;
        (record, effective)
    } else {
        let record = find(&tenant, &named).await?;
        let effective = app.servers.delete(&tenant, &actor, record.spec.id, expected).await?;
        (record, effective)
    };
    Ok(Answer::ok(&Gone {
        id: record.spec.id.to_string(),
        name: Some(record.spec.name.to_string()),
        effective: effective.into(),
    }))
}

/// Mounts a server.
#[utoipa::path(post, path = "/api/v1/servers/{server}/enable", tag = "servers", operation_id = "enableServer",
    responses((status = 200, body = Changed<ServerView>)))]
pub(crate) async fn enable(app: State<App>, caller: Admin, named: Segment) -> Result<Answer, Problem> {
    switch(app, caller, named, true).await
}

/// Unmounts a server; its record stays.
#[utoipa::path(post, path = "/api/v1/servers/{server}/disable", tag = "servers", operation_id = "disableServer",
    responses((status = 200, body = Changed<ServerView>)))]
pub(crate) async fn disable(app: State<App>, caller: Admin, named: Segment) -> Result<Answer, Problem> {
    switch(app, caller, named, false).await
}

async fn switch(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    enabled: bool,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = find(&tenant, &named).await?;
    let patch = ServerPatch { enabled: Some(enabled), ..ServerPatch::default() };
    let change = patch.into();
    Ok(changed(servers::change(&app, &tenant, &caller.actor(), asker(&caller), &record, None, change).await?))
}

/// Brings a deleted server back as it was, and says what must be entered again.
#[utoipa::path(post, path = "/api/v1/servers/{server}/restore", tag = "servers", operation_id = "restoreServer",
    responses((status = 200, body = RestoredServerView), (status = 409)))]
pub(crate) async fn restore(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let found = find_any(&tenant, &named).await?;
    let by_name = named == found.spec.name.as_str();
    if by_name && found.deleted_at.is_none() && newest_deleted(&tenant, &named).await?.is_some() {
        // The deleted one is meant: to say that the live one is back would be no answer.
        return Err(Problem::Taken { field: "name" });
    }
    let id = found.spec.id;
    let committed = tenant.restore_server(&caller.actor(), id).await?;
    let effective = app.servers.settled(committed.revision, model::ResourceName::Server(id)).await;
    let record = committed.value.record;
    let view = RestoredServerView {
        server: ServerView::from(&record),
        effective: effective.into(),
        enter_again: committed.value.enter_again,
    };
    Ok(Answer::ok(&view).at(record.spec.generation))
}

/// Looks at the upstream past every cache, with the caller's own connection. That the upstream fails is the answer, not
/// a failure of the question; that the caller has no connection is one.
#[utoipa::path(post, path = "/api/v1/servers/{server}/test", tag = "servers", operation_id = "testServer",
    responses((status = 200, body = TestView), (status = 400)))]
pub(crate) async fn test(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = find(&tenant, &named).await?;
    let url = login_url(&app, &record).await?;
    match servers::test(&app, &tenant, asker(&caller).user(), &record).await {
        Ok(tried) => Ok(Answer::ok(&TestView::of(&record, tried, url)?)),
        Err(ServersError::ConnectionRequired { scopes, login }) => {
            Err(Problem::ConnectionRequired { scopes, login_url: url.filter(|_| login) })
        }
        Err(error) => Err(error.into()),
    }
}

/// Lists what refers to a server, live or deleted.
#[utoipa::path(get, path = "/api/v1/servers/{server}/dependencies", tag = "servers",
    operation_id = "showServerDependencies", responses((status = 200, body = DependenciesView)))]
pub(crate) async fn dependencies(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let id = find_any(&tenant, &named).await?.spec.id;
    let dependencies = tenant.server_dependencies(id).await?.ok_or(Problem::NotFound)?;
    Ok(Answer::ok(&DependenciesView::from(&dependencies)))
}

pub(crate) fn changed(changed: ChangedServer) -> Answer {
    let view = Changed { record: ServerView::from(&changed.record), effective: changed.effective.into() };
    Answer::ok(&view).at(changed.record.spec.generation)
}

/// The tenant's live server of this id or name. Another tenant's looks like none.
pub(crate) async fn find(tenant: &TenantStore, named: &str) -> Result<ServerRecord, Problem> {
    let by_id = match named.parse::<ServerId>() {
        Ok(id) => tenant.server(id).await?,
        Err(_) => None,
    };
    match by_id {
        Some(record) => Ok(record),
        // A name may look like an id.
        None => tenant.server_by_name(named).await?.ok_or(Problem::NotFound),
    }
}

/// The same for who may have a restricted key: a server that it may not use looks like none.
pub(crate) async fn find_for(caller: &Caller, tenant: &TenantStore, named: &str) -> Result<ServerRecord, Problem> {
    let record = find(tenant, named).await?;
    let may = caller.servers().is_none_or(|names| names.iter().any(|name| name == record.spec.name.as_str()));
    if may { Ok(record) } else { Err(Problem::NotFound) }
}

/// The same as [`find`], or a deleted one: by id, or the last one that was made of those with the name.
async fn find_any(tenant: &TenantStore, named: &str) -> Result<ServerRecord, Problem> {
    match find(tenant, named).await {
        Err(Problem::NotFound) => (),
        found => return found,
    }
    let deleted = match named.parse::<ServerId>() {
        Ok(id) => tenant.deleted_server(id).await?,
        Err(_) => newest_deleted(tenant, named).await?,
    };
    deleted.ok_or(Problem::NotFound)
}

async fn newest_deleted(tenant: &TenantStore, name: &str) -> Result<Option<ServerRecord>, StoreError> {
    let mut newest = None;
    let search = Some(name.to_owned());
    let mut page = ServerPage { search, deleted: true, limit: 500, ..ServerPage::default() };
    loop {
        let found = tenant.servers(page.clone()).await?;
        let Some(last) = found.last() else { return Ok(newest) };
        page.after = Some(last.spec.id);
        newest = found.into_iter().rfind(|record| record.spec.name.as_str() == name).or(newest);
    }
}
