//! `/api/v1/servers/{server}/connections/login`: links with which people connect a server by signing in at its
//! authorization server, and how that went.

use axum::extract::State;
use axum::response::Response;
use model::{Holder, KeyRole, Scope};
use store::{Actor, ServerRecord, TenantStore};
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use crate::App;
use crate::connections::{Shown, TokenState, accepted};
use crate::pages::allowed_return;
use crate::rest::answer::Answer;
use crate::rest::bodies::login::{self, Begin, LoginCreate};
use crate::rest::body::{Body, OptionalBody};
use crate::rest::caller::{Caller, User};
use crate::rest::code::Code;
use crate::rest::connections::{asker, login_url};
use crate::rest::fields::FieldError;
use crate::rest::idempotency::once;
use crate::rest::problem::Problem;
use crate::rest::segment::{Segment, Segments};
use crate::rest::servers::find_for;
use crate::rest::views::{LoginErrorView, LoginStateView, LoginView, instant};
use crate::upstream_login::{AttemptView, Outcome, document};

/// Makes a link with which somebody connects the server. Nothing has happened before they have gone there themselves,
/// signed in to Gatehouse, and then at the server's authorization server.
#[utoipa::path(post, path = "/api/v1/servers/{server}/connections/login", tag = "connections",
    operation_id = "beginLogin", request_body = Option<LoginCreate>,
    responses((status = 201, body = LoginView), (status = 400)))]
pub(crate) async fn begin(
    State(app): State<App>,
    User(caller): User,
    Segment(named): Segment,
    OptionalBody(body): OptionalBody,
) -> Result<Response, Problem> {
    let Body { mut fields, slot, .. } = body;
    let given = login::begin(&mut fields);
    let tenant = caller.store(&app);
    let server = find_for(&caller, &tenant, &named).await?;
    fields.finish()?;
    if !server.spec.binding.as_ref().is_some_and(|binding| binding.login) {
        return Err(Problem::LoginNotSupported);
    }
    let back = match &given.back {
        None => None,
        Some(back) => Some(allowed_return(&app, back).ok_or_else(|| {
            wrong("return_url", Code::ReturnUrl, "is neither a path of this service nor below an allowed URL")
        })?),
    };
    let holder = holder(&caller, &tenant, &server, &given).await?;
    let by = app.clone();
    let who = identity(&caller);
    // It can't be told again from a record: a second one is harmless.
    let work = move |_: Actor| async move {
        let made = app.upstream_login.attempt(&tenant, server.spec.id, holder, who).await?;
        let attempt = made.id.to_string();
        let pairs =
            [("attempt", attempt.as_str())].into_iter().chain(back.iter().map(|back| ("return", back.as_str())));
        let query = Serializer::new(String::new()).extend_pairs(pairs).finish();
        let url = login_url(&app, &server).await?.ok_or(Problem::NotFound)?;
        let location = format!("/api/v1/servers/{}/connections/login/{}", server.spec.id, made.id);
        let view = LoginView { login_url: format!("{url}?{query}"), attempt, expires_at: instant(made.expires_at) };
        Ok(Answer::created(location, &view))
    };
    Ok(once(&by, &caller, slot, work).await)
}

/// Shows how a login stands, to whoever made the link. What was stored before does not count: only this login.
#[utoipa::path(get, path = "/api/v1/servers/{server}/connections/login/{attempt}", tag = "connections",
    operation_id = "showLogin", responses((status = 200, body = LoginStateView)))]
pub(crate) async fn show(
    State(app): State<App>,
    User(caller): User,
    Segments(named, attempt): Segments,
) -> Result<Answer, Problem> {
    let tenant = caller.store(&app);
    let server = find_for(&caller, &tenant, &named).await?;
    let id: Uuid = attempt.parse().map_err(|_| Problem::NotFound)?;
    let found = app.upstream_login.attempt_at(&tenant, server.spec.id, id).await?;
    let AttemptView { outcome, .. } =
        found.filter(|attempt| attempt.actor == identity(&caller)).ok_or(Problem::NotFound)?;
    let none = LoginStateView {
        state: "pending",
        error: None,
        connection: None,
        token_state: "none",
        refresh_available: false,
        expires_at: None,
    };
    let view = match outcome {
        Outcome::Pending => none,
        Outcome::Failed(code, message) => {
            LoginStateView { state: "failed", error: Some(LoginErrorView { code, message }), ..none }
        }
        Outcome::Authorized(id) => {
            // It may be gone again.
            let connection = tenant.connection(id).await?;
            let shown = connection.as_ref().map(|one| Shown::of(&server, one, app.clock.now_micros()).token_state);
            LoginStateView {
                state: "authorized",
                connection: Some(id.to_string()),
                token_state: shown.map_or("none", token_state),
                refresh_available: connection.as_ref().is_some_and(|connection| connection.refreshable),
                expires_at: connection.and_then(|connection| connection.token_expires_at).map(instant),
                error: None,
            }
        }
    };
    Ok(Answer::ok(&view))
}

/// Who we are to authorization servers that read such documents: the same for everybody, and nothing of anybody.
#[utoipa::path(get, path = "/oauth/client-metadata.json", tag = "document", operation_id = "clientMetadata",
    responses((status = 200, body = Object)))]
pub(crate) async fn client_metadata(State(app): State<App>) -> Answer {
    Answer::ok(&document(&app.config.base_url()))
}

/// Whom the connection is for. An admin may make a link for others: only they themselves can go on with it.
async fn holder(
    caller: &Caller,
    tenant: &TenantStore,
    server: &ServerRecord,
    given: &Begin,
) -> Result<Holder, Problem> {
    let accepted = accepted(server);
    let nobodys = asker(caller).user().is_none();
    let scope = match given.scope {
        // Who is somebody connects their own, where that is accepted.
        None if !nobodys && accepted.contains(&Scope::User) => Some(Scope::User),
        None if nobodys && given.holder.is_none() && accepted.contains(&Scope::Global) => Some(Scope::Global),
        scope => scope,
    };
    let holder = asker(caller).holder(tenant, accepted, scope, given.holder.as_deref()).await?;
    if !accepted.contains(&holder.scope()) {
        let words: Vec<&str> = accepted.iter().map(|scope| scope.as_str()).collect();
        let detail = format!("the server accepts {}", words.join(", "));
        return Err(wrong("scope_type", Code::ScopeNotAccepted, &detail));
    }
    let own = matches!(holder, Holder::User(user) if asker(caller).user() == Some(user));
    if own || caller.role() >= KeyRole::TenantAdmin { Ok(holder) } else { Err(Problem::Forbidden("tenant_admin")) }
}

/// Who asks, as attempts are bound to them: a person, by whichever key or session, or a key of nobody.
fn identity(caller: &Caller) -> String {
    match (caller.user(), caller.key()) {
        (Some(user), _) => format!("user:{user}"),
        (None, Some(key)) => format!("key:{}", key.record.verifier.id.as_str()),
        (None, None) => String::new(),
    }
}

fn token_state(state: TokenState) -> &'static str {
    match state {
        TokenState::Authorized => "authorized",
        TokenState::Refreshable => "refreshable",
        TokenState::ReauthRequired => "reauth_required",
        TokenState::None => "none",
    }
}

fn wrong(field: &str, code: Code, detail: &str) -> Problem {
    Problem::Fields(vec![FieldError { field: field.to_owned(), code, detail: detail.to_owned() }])
}
