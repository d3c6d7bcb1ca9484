//! `/api/v1/import`: rows of a system that Gatehouse replaces.

mod carry;

use axum::extract::State;

pub(crate) use self::carry::{Import, Outcome, Told};
use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::import::{Given, ImportBody, import};
use crate::rest::body::Body;
use crate::rest::caller::Admin;
use crate::rest::connections::asker;
use crate::rest::problem::Problem;
use crate::rest::views::ImportedView;

/// Makes servers and connections of rows. What is there already is passed over: the same rows can be sent again.
#[utoipa::path(post, path = "/api/v1/import", tag = "import", operation_id = "importRows",
    request_body = ImportBody, responses((status = 200, body = ImportedView)))]
pub(crate) async fn run(State(app): State<App>, Admin(caller): Admin, body: Body) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let given = import(&mut fields);
    fields.finish()?;
    let Given { from, dry_run, key, servers, rows } = given.ok_or(Problem::Internal)?;
    let (tenant, actor, asker) = (caller.store(&app), caller.actor(), asker(&caller));
    // A client that goes away cuts no row in the middle.
    let work = tokio::spawn(async move {
        let mut import = Import { app: &app, tenant, actor, asker, from, dry_run, key, servers };
        let mut told = Vec::with_capacity(rows.len());
        for (line, row) in rows {
            told.push(import.row(line, row).await?);
        }
        Ok::<_, Problem>(told)
    });
    let told = work.await.map_err(|_| Problem::Internal)??;
    Ok(Answer::ok(&ImportedView::from(told)))
}
