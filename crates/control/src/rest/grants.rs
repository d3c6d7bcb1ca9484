//! `/api/v1/grants`: which clients may call in whose name. Users see and revoke their own, admins those of the tenant.

use axum::extract::State;
use model::{GrantId, ResourceName};
use store::{GrantPage, GrantRecord};

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::caller::Member;
use crate::rest::parameters::Parameters;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::views::{Gone, GrantView, Page};
use crate::rest::whose::{is_theirs, may_end, whose};

/// Lists grants in the order of their making: for users only their own.
#[utoipa::path(get, path = "/api/v1/grants", tag = "grants", operation_id = "listGrants",
    params(("user" = Option<String>, Query, description = "Only those of this user, by login or id"),
        ("live" = Option<bool>, Query, description = "Only those that are neither revoked nor at their end, or only the others")),
    responses((status = 200, body = Page<GrantView>)))]
pub(crate) async fn list(State(app): State<App>, Member(caller): Member, query: Parameters) -> Result<Answer, Problem> {
    let query = query.only(&["page_size", "limit", "cursor", "user", "live"])?;
    let asked = app.cursors.asked::<GrantId>("grants", Some(caller.tenant()), &query)?;
    let tenant = caller.store(&app);
    let live = query.flag("live")?;
    let Some(user) = whose(&caller, &tenant, query.text("user")).await? else {
        return Ok(Answer::ok(&Page::<GrantView> { items: Vec::new(), next: None }));
    };
    let page = GrantPage { user: user.only(), live, after: asked.after, limit: asked.reads() };
    let mut grants = tenant.grants(page).await?;
    let next = asked.cut(&mut grants, |grant| grant.id);
    Ok(Answer::ok(&Page { items: grants.iter().map(GrantView::from).collect(), next }))
}

/// Revokes a grant: its tokens open nothing from now on, on no proxy.
#[utoipa::path(delete, path = "/api/v1/grants/{grant}", tag = "grants", operation_id = "revokeGrant",
    responses((status = 200, body = Gone)))]
pub(crate) async fn revoke(
    State(app): State<App>,
    Member(caller): Member,
    Segment(named): Segment,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let id: GrantId = named.parse().map_err(|_| Problem::NotFound)?;
    let found: Option<GrantRecord> = tenant.grant(id).await?;
    let grant = found.filter(|grant| is_theirs(&caller, grant.user)).ok_or(Problem::NotFound)?;
    may_end(&caller, &tenant, grant.user).await?;
    let committed = tenant.revoke_grant(&caller.actor(), id).await?;
    let effective = app.servers.settled(committed.revision, ResourceName::Revoked(id)).await.into();
    Ok(Answer::ok(&Gone { id: id.to_string(), name: Some(grant.client_name), effective }))
}
