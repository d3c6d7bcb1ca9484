//! `/api/v1/proxies`: who is attached. For platform admins: pools are shared by tenants.

use axum::extract::State;

use crate::App;
use crate::rest::admin::Admin;
use crate::rest::answer::Answer;
use crate::rest::problem::Problem;
use crate::rest::views;

pub(crate) async fn list(State(app): State<App>, _: Admin) -> Result<Answer, Problem> {
    Ok(Answer::page(app.proxies.attached().iter().map(views::proxy).collect(), None))
}
