//! `/api/v1/sessions`: where people are signed in. Users see and end their own, admins those of the tenant.

use axum::extract::State;
use model::{KeyRole, SessionId, UserId};
use store::{SessionPage, SessionRecord, TenantStore};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::caller::{Caller, Member};
use crate::rest::code::Code;
use crate::rest::parameters::{Parameters, bad};
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::users;
use crate::rest::views::{Forgotten, Page, SessionView};

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

/// Whose sessions or grants a list shows.
pub(crate) enum Whose {
    /// Everybody's of the tenant.
    All,
    /// One user's.
    One(UserId),
}

impl Whose {
    /// The user, for a list that can be of one.
    pub(crate) fn only(&self) -> Option<UserId> {
        match self {
            Self::All => None,
            Self::One(user) => Some(*user),
        }
    }
}

/// Of whom the caller may see, and wants to; `None` for a caller who is nobody's key.
pub(crate) async fn whose(
    caller: &Caller,
    tenant: &TenantStore,
    named: Option<&str>,
) -> Result<Option<Whose>, Problem> {
    let own = caller.role() == KeyRole::User;
    let Some(named) = named else {
        return Ok(if own { caller.user().map(Whose::One) } else { Some(Whose::All) });
    };
    let found = users::find(tenant, named).await?.filter(|user| !own || caller.user() == Some(user.id));
    let found = found.ok_or_else(|| bad(Code::User, "no such user".to_owned()))?;
    Ok(Some(Whose::One(found.id)))
}

/// Whether the caller may end what is this user's; who may not does not see that it is there.
pub(crate) fn is_theirs(caller: &Caller, user: UserId) -> bool {
    caller.role() >= KeyRole::TenantAdmin || caller.user() == Some(user)
}

/// The login of a user whose sessions and grants the caller may end: who stands above the caller ends their own.
pub(crate) async fn may_end(caller: &Caller, tenant: &TenantStore, user: UserId) -> Result<String, Problem> {
    let record = tenant.user(user).await?.ok_or(Problem::NotFound)?;
    if caller.user() != Some(user) {
        users::may_give(caller, Some(record.role))?;
    }
    Ok(record.login)
}
