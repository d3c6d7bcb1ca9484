//! `POST /api/v1/recover`: compare, heal, report, within one tenant.

use axum::extract::{Request, State};

use crate::App;
use crate::reconcile::{RecoverError, Scope};
use crate::rest::answer::Answer;
use crate::rest::bodies::recover::{RecoverBody, options};
use crate::rest::caller::Admin;
use crate::rest::fields::Fields;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::views::{RecoveredView, ReportView};
use crate::rest::{body, json};

/// Compares what should be mounted with what each proxy has, and heals the difference. Options come as
/// query parameters or as members of a body.
#[utoipa::path(post, path = "/api/v1/recover", tag = "recover", operation_id = "recover",
    params(("dry_run" = Option<bool>, Query, description = "Only look"),
        ("prune" = Option<bool>, Query, description = "Remove what was mounted past control"),
        ("adopt" = Option<bool>, Query, description = "Make records of what was mounted past control")),
    request_body = Option<RecoverBody>,
    responses((status = 200, body = RecoveredView)))]
pub(crate) async fn run(
    State(app): State<App>,
    Admin(caller): Admin,
    query: Parameters,
    request: Request,
) -> Result<Answer, Problem> {
    let query = query.only(&["dry_run", "prune", "adopt"])?;
    let mut dry_run = query.flag("dry_run")?;
    let mut prune = query.flag("prune")?;
    let mut adopt = query.flag("adopt")?;
    let declared = body::is_json(request.headers());
    let given = body::read(request).await?;
    if !given.is_empty() && !declared {
        return Err(Problem::MediaType);
    }
    if !given.is_empty() {
        let mut fields = Fields::of(json::parse(&given).map_err(Problem::Json)?)?;
        let given = options(&mut fields);
        dry_run = given.dry_run.or(dry_run);
        prune = given.prune.or(prune);
        adopt = given.adopt.or(adopt);
        fields.finish()?;
    }
    let (dry_run, prune) = (dry_run.unwrap_or(false), prune.unwrap_or(false));
    let scope = Scope { tenant: Some(caller.tenant()), dry_run, prune, adopt: adopt.unwrap_or(false) };
    let report = app.reconciler.run_by(&caller.actor(), scope).await?;
    Ok(Answer::ok(&RecoveredView { report: ReportView::from(&report), dry_run }))
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
