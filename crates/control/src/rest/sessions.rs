//! `/api/v1/sessions`: where people are signed in. Users see and end their own, admins those of the tenant.

use axum::extract::State;
use model::SessionId;
use store::{SessionPage, SessionRecord};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::caller::Member;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::views::{Forgotten, Page, SessionView};
use crate::rest::whose::{is_theirs, may_end, whose};

/// Lists sessions in the order of their making: for users only their own.
#[utoipa::path(get, path = "/api/v1/sessions", tag = "sessions", operation_id = "listSessions",
    params(("user" = Option<String>, Query, description = "Only those of this user, by login or id")),
    responses((status = 200, body = Page<SessionView>)))]
pub(crate) async fn list(State(app): State<App>, Member(caller): Member, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "user"])?;
    let asked = app.cursors.asked::<SessionId>("sessions", Some(caller.tenant()), &query)?;
    let tenant = caller.store(&app);
    let Some(user) = whose(&caller, &tenant, query.text("user")).await? else {
        return Ok(Answer::ok(&Page::<SessionView> { items: Vec::new(), next: None }));
    };
    let mut sessions =
        tenant.sessions(SessionPage { user: user.only(), after: asked.after, limit: asked.reads() }).await?;
    let next = asked.cut(&mut sessions, |session| session.id);
    let this = caller.session().map(|live| live.session.id);
    Ok(Answer::ok(&Page { items: sessions.iter().map(|session| SessionView::of(session, this)).collect(), next }))
}

/// Ends a session: its cookie opens nothing from now on.
#[utoipa::path(delete, path = "/api/v1/sessions/{session}", tag = "sessions", operation_id = "endSession",
    responses((status = 200, body = Forgotten)))]
pub(crate) async fn end(
    State(app): State<App>,
    Member(caller): Member,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let id: SessionId = named.parse().map_err(|_| Problem::NotFound)?;
    let found: Option<SessionRecord> = tenant.session(id).await?;
    let session = found.filter(|session| is_theirs(&caller, session.user)).ok_or(Problem::NotFound)?;
    let login = may_end(&caller, &tenant, session.user).await?;
    tenant.end_session_by_id(&caller.actor(), id).await?;
    Ok(Answer::ok(&Forgotten { id: id.to_string(), name: login }))
}
