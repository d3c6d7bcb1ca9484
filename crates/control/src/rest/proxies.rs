//! `/api/v1/proxies`: who is attached. For platform admins: pools, mounts and refusals are of all
//! tenants.

use axum::extract::State;

use crate::App;
use crate::rest::admin::PlatformAdmin;
use crate::rest::answer::Answer;
use crate::rest::problem::Problem;
use crate::rest::views;

pub(crate) async fn list(State(app): State<App>, _: PlatformAdmin) -> Result<Answer, Problem> {
    Ok(Answer::page(app.proxies.attached().iter().map(views::proxy).collect(), None))
}
