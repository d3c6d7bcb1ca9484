//! `/api/v1/tenants`: for platform admins.

use axum::extract::State;
use axum::response::Response;
use model::{ResourceName, TenantId};
use store::{Committed, StoreError, TenantPage, TenantPatch, TenantRecord};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::tenant::{self, TenantChange, TenantCreate};
use crate::rest::body::Body;
use crate::rest::caller::Platform;
use crate::rest::condition::Expected;
use crate::rest::idempotency::once;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::views::{Changed, Gone, Page, TenantView};

/// Makes a tenant.
#[utoipa::path(post, path = "/api/v1/tenants", tag = "tenants", operation_id = "createTenant", request_body = TenantCreate,
    responses((status = 201, body = Changed<TenantView>), (status = 409)))]
pub(crate) async fn create(
    State(app): State<App>,
    Platform(caller): Platform,
    body: Body,
) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let new = tenant::create(&mut fields);
    fields.finish()?;
    let new = new.ok_or(Problem::Internal)?;
    let by = app.clone();
    let work = move |actor| async move {
        let committed = app.store.platform().create_tenant(&actor, new).await?;
        let location = format!("/api/v1/tenants/{}", committed.value.spec.id);
        let generation = committed.value.generation;
        Ok(Answer::created(location, &told(&app, committed).await).at(generation))
    };
    Ok(once(&by, &caller, slot, work).await)
}

/// Lists tenants in the order of their making.
#[utoipa::path(get, path = "/api/v1/tenants", tag = "tenants", operation_id = "listTenants",
    params(("search" = Option<String>, Query, description = "Only those with this text in name or title"),
        ("active" = Option<bool>, Query, description = "Only active or only inactive ones"),
        ("deleted" = Option<bool>, Query, description = "Deleted ones instead")),
    responses((status = 200, body = Page<TenantView>)))]
pub(crate) async fn list(State(app): State<App>, _: Platform, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "search", "active", "deleted"])?;
    let asked = app.cursors.asked::<TenantId>("tenants", None, &query)?;
    let page = TenantPage {
        search: query.text("search").map(str::to_owned),
        active: query.flag("active")?,
        deleted: query.flag("deleted")?.unwrap_or(false),
        after: asked.after,
        limit: asked.reads(),
    };
    let mut tenants = app.store.platform().tenants(page).await?;
    let next = asked.cut(&mut tenants, |tenant| tenant.spec.id);
    Ok(Answer::ok(&Page { items: tenants.iter().map(TenantView::from).collect(), next }))
}

/// Shows a tenant.
#[utoipa::path(get, path = "/api/v1/tenants/{tenant}", tag = "tenants", operation_id = "showTenant",
    responses((status = 200, body = TenantView)))]
pub(crate) async fn show(State(app): State<App>, _: Platform, Segment(named): Segment) -> Result<Answer, Problem> {
    let record = find(&app, &named).await?.ok_or(Problem::NotFound)?;
    Ok(Answer::ok(&TenantView::from(&record)).at(record.generation))
}

/// Changes a tenant; absent members stay.
#[utoipa::path(patch, path = "/api/v1/tenants/{tenant}", tag = "tenants", operation_id = "changeTenant",
    request_body = TenantChange, responses((status = 200, body = Changed<TenantView>)))]
pub(crate) async fn change(
    State(app): State<App>,
    Platform(caller): Platform,
    Segment(named): Segment,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let patch = tenant::change(&mut fields);
    fields.finish()?;
    let id = find(&app, &named).await?.ok_or(Problem::NotFound)?.spec.id;
    let committed = app.store.platform().patch_tenant(&caller.actor(), id, expected, patch).await?;
    Ok(changed(&app, committed).await)
}

/// Deletes a tenant: all of its keys are dead and all of its servers unmounted.
#[utoipa::path(delete, path = "/api/v1/tenants/{tenant}", tag = "tenants", operation_id = "deleteTenant",
    responses((status = 200, body = Gone), (status = 409)))]
pub(crate) async fn remove(
    State(app): State<App>,
    Platform(caller): Platform,
    Segment(named): Segment,
    Expected(expected): Expected,
) -> Result<Answer, Problem> {
    let record = find(&app, &named).await?.ok_or(Problem::NotFound)?;
    let id = record.spec.id;
    let committed = app.store.platform().delete_tenant(&caller.actor(), id, expected).await?;
    // Here at once; other replicas miss its row within a minute.
    app.keyring.forget(id);
    let effective = app.servers.settled(committed.revision, ResourceName::Tenant(id)).await.into();
    Ok(Answer::ok(&Gone { id: id.to_string(), name: Some(record.spec.name.to_string()), effective }))
}

/// Brings a deleted tenant back.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/restore", tag = "tenants", operation_id = "restoreTenant",
    responses((status = 200, body = Changed<TenantView>), (status = 409)))]
pub(crate) async fn restore(
    State(app): State<App>,
    Platform(caller): Platform,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let platform = app.store.platform();
    let id = match (find(&app, &named).await?, named.parse()) {
        (Some(live), _) => live.spec.id,
        (None, Ok(id)) => id,
        // The name of a deleted tenant stays taken, so it names one.
        (None, Err(_)) => platform.deleted_tenant_by_name(&named).await?.ok_or(Problem::NotFound)?.spec.id,
    };
    let Committed { value, revision } = platform.restore_tenant(&caller.actor(), id).await?;
    Ok(changed(&app, Committed { value: value.record, revision }).await)
}

/// Lets a tenant's keys in again and mounts its servers.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/enable", tag = "tenants", operation_id = "enableTenant",
    responses((status = 200, body = Changed<TenantView>)))]
pub(crate) async fn enable(app: State<App>, caller: Platform, named: Segment) -> Result<Answer, Problem> {
    switch(app, caller, named, true).await
}

/// Refuses all keys of a tenant and unmounts its servers; its records stay.
#[utoipa::path(post, path = "/api/v1/tenants/{tenant}/disable", tag = "tenants", operation_id = "disableTenant",
    responses((status = 200, body = Changed<TenantView>), (status = 409)))]
pub(crate) async fn disable(app: State<App>, caller: Platform, named: Segment) -> Result<Answer, Problem> {
    switch(app, caller, named, false).await
}

async fn switch(
    State(app): State<App>,
    Platform(caller): Platform,
    Segment(named): Segment,
    active: bool,
) -> Result<Answer, Problem> {
    let id = find(&app, &named).await?.ok_or(Problem::NotFound)?.spec.id;
    let patch = TenantPatch { active: Some(active), ..TenantPatch::default() };
    let committed = app.store.platform().patch_tenant(&caller.actor(), id, None, patch).await?;
    Ok(changed(&app, committed).await)
}

async fn changed(app: &App, committed: Committed<TenantRecord>) -> Answer {
    let generation = committed.value.generation;
    Answer::ok(&told(app, committed).await).at(generation)
}

async fn told(app: &App, committed: Committed<TenantRecord>) -> Changed<TenantView> {
    let name = ResourceName::Tenant(committed.value.spec.id);
    let effective = app.servers.settled(committed.revision, name).await.into();
    Changed { record: TenantView::from(&committed.value), effective }
}

/// The tenant of this id or name that is not deleted.
pub(crate) async fn find(app: &App, named: &str) -> Result<Option<TenantRecord>, StoreError> {
    let tenants = app.store.platform();
    let by_id = match named.parse::<TenantId>() {
        Ok(id) => tenants.tenant(id).await?,
        Err(_) => None,
    };
    match by_id {
        // A name may look like an id.
        None => tenants.tenant_by_name(named).await,
        found => Ok(found),
    }
}
