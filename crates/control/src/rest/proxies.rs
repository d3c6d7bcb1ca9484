//! `/api/v1/proxies`: who is attached. For platform admins: pools, mounts and refusals are of all
//! tenants.

use axum::extract::State;

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::caller::Platform;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::views::{Page, ProxyView};

/// Lists the attached proxies, by their node ids.
#[utoipa::path(get, path = "/api/v1/proxies", tag = "proxies", operation_id = "listProxies",
    responses((status = 200, body = Page<ProxyView>)))]
pub(crate) async fn list(State(app): State<App>, _: Platform, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor"])?;
    let asked = app.cursors.asked::<String>("proxies", None, &query)?;
    let mut proxies = app.proxies.attached();
    proxies.retain(|proxy| asked.after.as_ref().is_none_or(|after| proxy.node > *after));
    proxies.sort_by(|one, other| one.node.cmp(&other.node));
    let next = asked.cut(&mut proxies, |proxy| proxy.node.clone());
    Ok(Answer::ok(&Page { items: proxies.iter().map(ProxyView::from).collect(), next }))
}
