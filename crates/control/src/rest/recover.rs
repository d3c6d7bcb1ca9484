//! `POST /api/v1/recover`: compare, heal, report, within one tenant.

use axum::extract::{Request, State};
use serde_json::Value;

use crate::App;
use crate::reconcile::{RecoverError, Scope};
use crate::rest::admin::Admin;
use crate::rest::answer::Answer;
use crate::rest::fields::{Fields, flag};
use crate::rest::problem::Problem;
use crate::rest::query::Query;
use crate::rest::{body, json, views};

/// Options come as query parameters or as members of a body.
pub(crate) async fn run(
    State(app): State<App>,
    admin: Admin,
    query: Query,
    request: Request,
) -> Result<Answer, Problem> {
    let query = query.only(&["dry_run", "prune"])?;
    let (mut dry_run, mut prune) = (query.flag("dry_run")?, query.flag("prune")?);
    let given = body::read(request).await?;
    if !given.is_empty() {
        let mut fields = Fields::of(json::parse(&given).map_err(Problem::Json)?)?;
        dry_run = fields.optional("dry_run", flag).or(dry_run);
        prune = fields.optional("prune", flag).or(prune);
        fields.finish()?;
    }
    let (dry_run, prune) = (dry_run.unwrap_or(false), prune.unwrap_or(false));
    let report = app.reconciler.run(Scope { tenant: Some(admin.tenant()), dry_run, prune }).await?;
    let mut view = views::report(&report);
    if let Value::Object(members) = &mut view {
        members.insert("dry_run".to_owned(), dry_run.into());
    }
    Ok(Answer::ok(view))
}

impl From<RecoverError> for Problem {
    fn from(error: RecoverError) -> Self {
        match error {
            RecoverError::Intended(error) => error.into(),
            RecoverError::NoProxyAttached => Self::NoProxyAttached,
            RecoverError::Busy => Self::RecoverBusy,
        }
    }
}
