//! `/api/v1/departments`: changed by admins, read by viewers too.

use axum::extract::State;
use axum::response::Response;
use model::DepartmentId;
use store::{DepartmentPage, DepartmentRecord, StoreError, TenantStore};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::department::{self, DepartmentChange, DepartmentCreate};
use crate::rest::body::Body;
use crate::rest::caller::{Admin, Viewer};
use crate::rest::condition::Expected;
use crate::rest::idempotency::once;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::views::{DepartmentView, Forgotten, Page, RestoredView};

/// Makes a department.
#[utoipa::path(post, path = "/api/v1/departments", tag = "departments", operation_id = "createDepartment",
    request_body = DepartmentCreate, responses((status = 201, body = DepartmentView), (status = 409)))]
pub(crate) async fn create(State(app): State<App>, Admin(caller): Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let new = department::create(&mut fields);
    fields.finish()?;
    let new = new.ok_or(Problem::Internal)?;
    let tenant = caller.store(&app);
    let work = move |actor| async move {
        let record = tenant.create_department(&actor, new).await?.value;
        let location = format!("/api/v1/departments/{}", record.id);
        Ok(Answer::created(location, &DepartmentView::from(&record)).at(record.generation))
    };
    Ok(once(&app, &caller, slot, work).await)
}

/// Lists departments in the order of their making.
#[utoipa::path(get, path = "/api/v1/departments", tag = "departments", operation_id = "listDepartments",
    params(("search" = Option<String>, Query, description = "Only those with this text in name, title or external id"),
        ("deleted" = Option<bool>, Query, description = "Deleted ones instead")),
    responses((status = 200, body = Page<DepartmentView>)))]
pub(crate) async fn list(State(app): State<App>, Viewer(caller): Viewer, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "search", "deleted"])?;
    let asked = app.cursors.asked::<DepartmentId>("departments", Some(caller.tenant()), &query)?;
    let page = DepartmentPage {
        search: query.text("search").map(str::to_owned),
        deleted: query.flag("deleted")?.unwrap_or(false),
        after: asked.after,
        limit: asked.reads(),
    };
    let mut departments = caller.store(&app).departments(page).await?;
    let next = asked.cut(&mut departments, |department| department.id);
    Ok(Answer::ok(&Page { items: departments.iter().map(DepartmentView::from).collect(), next }))
}

/// Shows a department.
#[utoipa::path(get, path = "/api/v1/departments/{department}", tag = "departments", operation_id = "showDepartment",
    responses((status = 200, body = DepartmentView)))]
pub(crate) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let record = find(&caller.store(&app), &named).await?.ok_or(Problem::NotFound)?;
    Ok(Answer::ok(&DepartmentView::from(&record)).at(record.generation))
}

/// Changes a department; absent members stay.
#[utoipa::path(patch, path = "/api/v1/departments/{department}", tag = "departments",
    operation_id = "changeDepartment", request_body = DepartmentChange,
    responses((status = 200, body = DepartmentView), (status = 409)))]
pub(crate) async fn change(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let patch = department::change(&mut fields);
    fields.finish()?;
    let tenant = caller.store(&app);
    let id = find(&tenant, &named).await?.ok_or(Problem::NotFound)?.id;
    let record = tenant.patch_department(&caller.actor(), id, expected, patch).await?.value;
    Ok(Answer::ok(&DepartmentView::from(&record)).at(record.generation))
}

/// Deletes a department; its users stay.
#[utoipa::path(delete, path = "/api/v1/departments/{department}", tag = "departments",
    operation_id = "deleteDepartment", responses((status = 200, body = Forgotten)))]
pub(crate) async fn remove(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = find(&tenant, &named).await?.ok_or(Problem::NotFound)?;
    tenant.delete_department(&caller.actor(), record.id, expected).await?;
    Ok(Answer::ok(&Forgotten { id: record.id.to_string(), name: record.name.to_string() }))
}

/// Brings a deleted department back.
#[utoipa::path(post, path = "/api/v1/departments/{department}/restore", tag = "departments",
    operation_id = "restoreDepartment",
    responses((status = 200, body = RestoredView<DepartmentView>), (status = 409)))]
pub(crate) async fn restore(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let id = match (find(&tenant, &named).await?, named.parse()) {
        // By a name that is taken again, the deleted one is meant.
        (Some(live), Err(_)) if newest_deleted(&tenant, &named).await?.is_some_and(|gone| gone.id != live.id) => {
            return Err(Problem::Taken { field: "name" });
        }
        (Some(live), _) => live.id,
        (None, Ok(id)) => id,
        (None, Err(_)) => newest_deleted(&tenant, &named).await?.ok_or(Problem::NotFound)?.id,
    };
    let restored = tenant.restore_department(&caller.actor(), id).await?.value;
    let view = RestoredView { record: DepartmentView::from(&restored.record), enter_again: restored.enter_again };
    Ok(Answer::ok(&view).at(restored.record.generation))
}

/// The tenant's live department of this id or name. Another tenant's looks like none.
pub(crate) async fn find(tenant: &TenantStore, named: &str) -> Result<Option<DepartmentRecord>, StoreError> {
    let by_id = match named.parse() {
        Ok(id) => tenant.department(id).await?,
        Err(_) => None,
    };
    match by_id {
        // A name may look like an id.
        None => tenant.department_by_name(named).await,
        found => Ok(found),
    }
}

/// Of the deleted departments with this name the last one that was made.
async fn newest_deleted(tenant: &TenantStore, name: &str) -> Result<Option<DepartmentRecord>, StoreError> {
    let mut newest = None;
    let mut page = DepartmentPage { search: Some(name.to_owned()), deleted: true, after: None, limit: 500 };
    loop {
        let found = tenant.departments(page.clone()).await?;
        let Some(last) = found.last() else { return Ok(newest) };
        page.after = Some(last.id);
        newest = found.into_iter().rfind(|record| record.name.as_str() == name).or(newest);
    }
}
