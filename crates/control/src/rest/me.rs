//! `/api/v1/me`: who asks.

use axum::extract::State;

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::caller::Member;
use crate::rest::problem::Problem;
use crate::rest::views::{KeyView, MeView, TenantView, UserView};

/// Shows who asks, and in which tenant.
#[utoipa::path(get, path = "/api/v1/me", tag = "me", operation_id = "showMe",
    responses((status = 200, body = MeView)))]
pub(crate) async fn show(State(app): State<App>, Member(caller): Member) -> Result<Answer, Problem> {
    // The user is one of the caller's own tenant, whichever one the request is about.
    let user = match caller.user() {
        None => None,
        Some(id) => app.store.tenant(caller.home()).user(id).await?,
    };
    let tenant = caller.store(&app).tenant().await?.ok_or(Problem::NotFound)?;
    Ok(Answer::ok(&MeView {
        key: caller.key().map(|key| KeyView::from(&key.record)),
        user: user.as_ref().map(UserView::from),
        tenant: TenantView::from(&tenant),
        role: caller.role().into(),
    }))
}
