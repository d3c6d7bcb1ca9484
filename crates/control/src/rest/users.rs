//! `/api/v1/users`: changed by admins, read by viewers too.

use axum::extract::State;
use axum::response::Response;
use model::{DepartmentId, KeyRole, UserId};
use store::{NewUser, StoreError, TenantStore, UserPage, UserPatch, UserRecord};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::user::{self, UserChange, UserCreate};
use crate::rest::body::Body;
use crate::rest::caller::{Admin, Caller, Viewer};
use crate::rest::code::Code;
use crate::rest::condition::Expected;
use crate::rest::departments;
use crate::rest::fields::FieldError;
use crate::rest::idempotency::once;
use crate::rest::parameters::{Parameters, bad};
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::views::{Forgotten, Page, RestoredView, ShownUserView, UserView};

/// Makes a user; a key of their own is made apart.
#[utoipa::path(post, path = "/api/v1/users", tag = "users", operation_id = "createUser", request_body = UserCreate,
    responses((status = 201, body = UserView), (status = 409)))]
pub(crate) async fn create(State(app): State<App>, Admin(caller): Admin, body: Body) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let given = user::create(&mut fields);
    fields.finish()?;
    let given = given.ok_or(Problem::Internal)?;
    may_give(&caller, Some(given.role))?;
    let tenant = caller.store(&app);
    let new = NewUser {
        departments: resolved(&tenant, &given.departments).await?,
        login: given.login,
        title: given.title,
        external_id: given.external_id,
        role: given.role,
        active: given.active,
    };
    let work = move |actor| async move {
        let record = tenant.create_user(&actor, new).await?.value;
        let location = format!("/api/v1/users/{}", record.id);
        Ok(Answer::created(location, &UserView::from(&record)).at(record.generation))
    };
    Ok(once(&app, &caller, slot, work).await)
}

/// Lists users in the order of their making.
#[utoipa::path(get, path = "/api/v1/users", tag = "users", operation_id = "listUsers",
    params(("search" = Option<String>, Query, description = "Only those with this text in login, title or external id"),
        ("department" = Option<String>, Query, description = "Only those of this department, by name or id"),
        ("active" = Option<bool>, Query, description = "Only active or only inactive ones"),
        ("deleted" = Option<bool>, Query, description = "Deleted ones instead")),
    responses((status = 200, body = Page<UserView>)))]
pub(crate) async fn list(State(app): State<App>, Viewer(caller): Viewer, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "search", "department", "active", "deleted"])?;
    let asked = app.cursors.asked::<UserId>("users", Some(caller.tenant()), &query)?;
    let tenant = caller.store(&app);
    let department = match query.text("department") {
        None => None,
        Some(named) => {
            let found = departments::find(&tenant, named).await?;
            Some(found.ok_or_else(|| bad(Code::Department, "no such department".to_owned()))?.id)
        }
    };
    let page = UserPage {
        search: query.text("search").map(str::to_owned),
        department,
        active: query.flag("active")?,
        deleted: query.flag("deleted")?.unwrap_or(false),
        after: asked.after,
        limit: asked.reads(),
    };
    let mut users = tenant.users(page).await?;
    let next = asked.cut(&mut users, |user| user.id);
    Ok(Answer::ok(&Page { items: users.iter().map(UserView::from).collect(), next }))
}

/// Shows a user.
#[utoipa::path(get, path = "/api/v1/users/{user}", tag = "users", operation_id = "showUser",
    responses((status = 200, body = ShownUserView)))]
pub(crate) async fn show(
    State(app): State<App>,
    Viewer(caller): Viewer,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = find(&tenant, &named).await?.ok_or(Problem::NotFound)?;
    let has_password = tenant.password(record.id).await?.is_some();
    Ok(Answer::ok(&ShownUserView { record: UserView::from(&record), has_password }).at(record.generation))
}

/// Changes a user; absent members stay. A lower role is felt by the user's keys at once.
#[utoipa::path(patch, path = "/api/v1/users/{user}", tag = "users", operation_id = "changeUser",
    request_body = UserChange, responses((status = 200, body = UserView), (status = 409)))]
pub(crate) async fn change(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
    body: Body,
) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let given = user::change(&mut fields);
    fields.finish()?;
    may_give(&caller, given.role)?;
    let tenant = caller.store(&app);
    let record = mine(&caller, &tenant, &named).await?;
    let departments = match &given.departments {
        None => None,
        Some(named) => Some(resolved(&tenant, named).await?),
    };
    let patch = UserPatch {
        login: given.login,
        title: given.title,
        external_id: given.external_id,
        departments,
        role: given.role,
        active: given.active,
    };
    let record = tenant.patch_user(&caller.actor(), record.id, expected, patch).await?.value;
    Ok(Answer::ok(&UserView::from(&record)).at(record.generation))
}

/// Deletes a user, whose keys are dead at once.
#[utoipa::path(delete, path = "/api/v1/users/{user}", tag = "users", operation_id = "deleteUser",
    responses((status = 200, body = Forgotten), (status = 409)))]
pub(crate) async fn remove(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    Expected(expected): Expected,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = mine(&caller, &tenant, &named).await?;
    tenant.delete_user(&caller.actor(), record.id, expected).await?;
    Ok(Answer::ok(&Forgotten { id: record.id.to_string(), name: record.login }))
}

/// Brings a deleted user back, with the keys that have not ended since.
#[utoipa::path(post, path = "/api/v1/users/{user}/restore", tag = "users", operation_id = "restoreUser",
    responses((status = 200, body = RestoredView<UserView>), (status = 409)))]
pub(crate) async fn restore(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let found = match (find(&tenant, &named).await?, named.parse()) {
        // By a login that is taken again, the deleted one is meant.
        (Some(live), Err(_)) if newest_deleted(&tenant, &named).await?.is_some_and(|gone| gone.id != live.id) => {
            return Err(Problem::Taken { field: "login" });
        }
        (Some(live), _) => Some(live),
        (None, Ok(id)) => tenant.deleted_user(id).await?,
        (None, Err(_)) => newest_deleted(&tenant, &named).await?,
    };
    let record = found.ok_or(Problem::NotFound)?;
    // Their keys come back with them.
    may_give(&caller, Some(record.role))?;
    let restored = tenant.restore_user(&caller.actor(), record.id).await?.value;
    let view = RestoredView { record: UserView::from(&restored.record), enter_again: restored.enter_again };
    Ok(Answer::ok(&view).at(restored.record.generation))
}

/// Lets a user's keys in again.
#[utoipa::path(post, path = "/api/v1/users/{user}/enable", tag = "users", operation_id = "enableUser",
    responses((status = 200, body = UserView)))]
pub(crate) async fn enable(app: State<App>, caller: Admin, named: Segment) -> Result<Answer, Problem> {
    switch(app, caller, named, true).await
}

/// Refuses all keys of a user; the record stays.
#[utoipa::path(post, path = "/api/v1/users/{user}/disable", tag = "users", operation_id = "disableUser",
    responses((status = 200, body = UserView), (status = 409)))]
pub(crate) async fn disable(app: State<App>, caller: Admin, named: Segment) -> Result<Answer, Problem> {
    switch(app, caller, named, false).await
}

async fn switch(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    active: bool,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let record = mine(&caller, &tenant, &named).await?;
    let patch = UserPatch { active: Some(active), ..UserPatch::default() };
    let record = tenant.patch_user(&caller.actor(), record.id, None, patch).await?.value;
    Ok(Answer::ok(&UserView::from(&record)).at(record.generation))
}

/// The tenant's live user of this id or login. Another tenant's looks like none.
pub(crate) async fn find(tenant: &TenantStore, named: &str) -> Result<Option<UserRecord>, StoreError> {
    let by_id = match named.parse() {
        Ok(id) => tenant.user(id).await?,
        Err(_) => None,
    };
    match by_id {
        // A login may look like an id.
        None => tenant.user_by_login(named).await,
        found => Ok(found),
    }
}

/// A user that the caller may change: who stands above them is changed by their like only.
async fn mine(caller: &Caller, tenant: &TenantStore, named: &str) -> Result<UserRecord, Problem> {
    let record = find(tenant, named).await?.ok_or(Problem::NotFound)?;
    may_give(caller, Some(record.role))?;
    Ok(record)
}

/// Nobody gives more than they have.
pub(crate) fn may_give(caller: &Caller, role: Option<KeyRole>) -> Result<(), Problem> {
    let above = role == Some(KeyRole::PlatformAdmin) && caller.role() != KeyRole::PlatformAdmin;
    if above { Err(Problem::Forbidden("platform_admin")) } else { Ok(()) }
}

/// The ids of departments that are named by id or by name; each that isn't one is told with its place.
async fn resolved(tenant: &TenantStore, named: &[String]) -> Result<Vec<DepartmentId>, Problem> {
    let (mut ids, mut wrong) = (Vec::new(), Vec::new());
    for (at, name) in named.iter().enumerate() {
        match departments::find(tenant, name).await? {
            Some(department) => ids.push(department.id),
            None => wrong.push(FieldError {
                field: format!("departments.{at}"),
                code: Code::Department,
                detail: "is no department of this tenant".to_owned(),
            }),
        }
    }
    if wrong.is_empty() { Ok(ids) } else { Err(wrong.into()) }
}

/// Of the deleted users with this login the last one that was made.
async fn newest_deleted(tenant: &TenantStore, login: &str) -> Result<Option<UserRecord>, StoreError> {
    let mut newest = None;
    let search = Some(login.to_owned());
    let mut page = UserPage { search, deleted: true, limit: 500, ..UserPage::default() };
    loop {
        let found = tenant.users(page.clone()).await?;
        let Some(last) = found.last() else { return Ok(newest) };
        page.after = Some(last.id);
        newest = found.into_iter().rfind(|record| record.login == login).or(newest);
    }
}
