//! `POST /api/v1/users/{user}/sign-in-link`: the way to a first password, or to another one.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use store::Actor;

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::sign_in_link::{self, SignInLinkCreate};
use crate::rest::body::{Body, OptionalBody};
use crate::rest::caller::Admin;
use crate::rest::code::Code;
use crate::rest::fields::FieldError;
use crate::rest::idempotency::once;
use crate::rest::problem::Problem;
use crate::rest::segment::Segment;
use crate::rest::users;
use crate::rest::views::{SignInLinkView, instant};
use crate::sign_in::link;

/// Makes a link by which the user sets a password, once. It is in `url`, this once.
#[utoipa::path(post, path = "/api/v1/users/{user}/sign-in-link", tag = "users", operation_id = "createSignInLink",
    request_body = Option<SignInLinkCreate>, responses((status = 201, body = SignInLinkView), (status = 409)))]
pub(crate) async fn create(
    State(app): State<App>,
    Admin(caller): Admin,
    Segment(named): Segment,
    OptionalBody(body): OptionalBody,
) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let life = sign_in_link::create(&mut fields);
    fields.finish()?;
    let tenant = caller.store(&app);
    let user = users::find(&tenant, &named).await?.ok_or(Problem::NotFound)?;
    // Whoever has the link is the user.
    users::may_give(&caller, Some(user.role))?;
    if !tenant.tenant().await?.is_some_and(|tenant| tenant.local_accounts) {
        return Err(Problem::LocalAccountsOff);
    }
    if !user.active {
        let detail = "is not active".to_owned();
        return Err(vec![FieldError { field: "user".to_owned(), code: Code::User, detail }].into());
    }
    let by = app.clone();
    let work = move |actor| async move {
        // It can't be told again from a record: a second one is harmless.
        let actor = Actor { claim: None, ..actor };
        let life = Duration::from_secs(life);
        let made = link::make(&tenant, &actor, user.id, app.clock.now_micros(), life).await?;
        let made = made.ok_or(Problem::Internal)?;
        let url = format!("{}{}", app.config.base_url(), made.path.expose());
        let view = SignInLinkView { url: Some(url), expires_at: instant(made.expires_at) };
        Ok(Answer::created(format!("/api/v1/users/{}", user.id), &view).shown_once("url"))
    };
    Ok(once(&by, &caller, slot, work).await)
}
