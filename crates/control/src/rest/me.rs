//! `/api/v1/me`: who asks.

use axum::extract::State;

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::caller::Member;
use crate::rest::problem::Problem;
use crate::rest::views::{KeyView, MeView, TenantView, UserView};

/// Shows whom the presented key stands for, and in which tenant.
#[utoipa::path(get, path = "/api/v1/me", tag = "me", operation_id = "showMe",
    responses((status = 200, body = MeView)))]
pub(crate) async fn show(State(app): State<App>, Member(caller): Member) -> Result<Answer, Problem> {
    let key = &caller.key().record;
    // The user is one of the key's own tenant, whichever one the request is about.
    let user = match key.verifier.user {
        None => None,
        Some(id) => app.store.tenant(key.verifier.tenant).user(id).await?,
    };
    let tenant = caller.store(&app).tenant().await?.ok_or(Problem::NotFound)?;
    Ok(Answer::ok(&MeView {
        key: KeyView::from(key),
        user: user.as_ref().map(UserView::from),
        tenant: TenantView::from(&tenant),
        role: caller.role().into(),
    }))
}
