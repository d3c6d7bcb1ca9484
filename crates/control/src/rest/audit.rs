//! `/api/v1/audit`: who did what to what in a tenant.

use axum::extract::State;
use store::AuditPage;

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::caller::Viewer;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::views::{AuditView, Page};

/// Lists audit rows, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "audit", operation_id = "listAudit",
    params(("since" = Option<String>, Query, format = DateTime, description = "Only rows at or after this instant"),
        ("until" = Option<String>, Query, format = DateTime, description = "Only rows before this instant"),
        ("actor" = Option<String>, Query, description = "Only rows of this key's id, or of this part of Gatehouse"),
        ("action" = Option<String>, Query, description = "Only this action, e.g. server.create"),
        ("object" = Option<String>, Query, description = "Only rows about this, e.g. server/<id>")),
    responses((status = 200, body = Page<AuditView>)))]
pub(crate) async fn list(State(app): State<App>, Viewer(caller): Viewer, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "since", "until", "actor", "action", "object"])?;
    let asked = app.cursors.asked::<i64>("audit", Some(caller.tenant()), &query)?;
    let page = AuditPage {
        since: query.instant("since")?,
        until: query.instant("until")?,
        actor: query.text("actor").map(str::to_owned),
        action: query.text("action").map(str::to_owned),
        object: query.text("object").map(str::to_owned),
        before: asked.after,
        limit: asked.reads(),
    };
    let mut rows = caller.store(&app).audit(page).await?;
    let next = asked.cut(&mut rows, |row| row.seq);
    Ok(Answer::ok(&Page { items: rows.into_iter().map(AuditView::from).collect(), next }))
}
