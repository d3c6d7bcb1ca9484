//! `/api/v1/tokens`: short tokens with which the holder of a key calls MCP in the name of a user.

use axum::extract::State;
use identity::{Audience, By, Claims};
use model::{ResourceName, UserId};
use serde_json::json;
use store::{ServerRecord, UserRecord};
use uuid::Uuid;

use crate::App;
use crate::rest::answer::Answer;
use crate::rest::bodies::token::{self, TokenCreate};
use crate::rest::body::Body;
use crate::rest::caller::{ActAs, Caller};
use crate::rest::code::Code;
use crate::rest::fields::FieldError;
use crate::rest::problem::Problem;
use crate::rest::servers;
use crate::rest::users;
use crate::rest::views::{NewTokenView, instant};

const SECOND: i64 = 1_000_000;
/// Proxies may not have heard yet of what changed since so long.
const HEARD_MICROS: i64 = 10 * SECOND;

/// Makes a token in the name of a user. It ends by itself, or with its key or its user.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "tokens", operation_id = "issueToken", request_body = TokenCreate,
    responses((status = 201, body = NewTokenView)))]
pub(crate) async fn issue(State(app): State<App>, ActAs(caller): ActAs, body: Body) -> Result<Answer, Problem> {
    let Body { mut fields, .. } = body;
    let given = token::create(&mut fields);
    fields.finish()?;
    let given = given.ok_or(Problem::Internal)?;
    let key = acting_key(&caller)?;
    let user = represented(&app, &caller, "user", &given.user).await?;
    let server = match &given.server {
        None => None,
        Some(named) => Some(usable(&app, &caller, named).await?),
    };
    let now = app.clock.now_micros();
    let (issued_at, ttl) = (now / SECOND, i64::try_from(given.ttl.as_secs()).unwrap_or(0));
    let claims = Claims {
        audience: match &server {
            None => Audience::Tenant(caller.tenant()),
            Some(server) => Audience::Server(server.spec.id),
        },
        tenant: caller.tenant(),
        user: user.id,
        departments: user.departments.iter().map(|department| department.name.to_string()).collect(),
        by: By::Key(key),
        issued_at,
        expires_at: issued_at.saturating_add(ttl),
        id: Uuid::new_v4(),
    };
    let signed = app.signing.sign(&claims).await.map_err(|error| {
        tracing::error!(error = %telemetry::chain(&error), "a token can't be signed");
        Problem::Unavailable
    })?;
    if signed.token.expose().len() > identity::MAX_TOKEN {
        return Err(wrong("user", Code::TooLong, "has more departments than fit into a token"));
    }
    let after = json!({
        "key": key.as_str(),
        "server": server.as_ref().map(|server| server.spec.name.as_str()),
        "ttl": ttl,
        "jti": claims.id.to_string(),
    });
    // Nobody gets a token of which nothing is written down.
    caller.store(&app).note(&caller.actor(), "token.issue", object(user.id), after).await?;
    if signed.young || user.updated_at > now - HEARD_MICROS {
        // The first call with the token comes right after this answer.
        let young = if signed.young { ResourceName::Signer(signed.signer) } else { ResourceName::User(user.id) };
        let revision = app.store.platform().revision().await?;
        app.servers.settled(revision, young).await;
    }
    Ok(Answer::made(&NewTokenView {
        token: signed.token.expose().to_owned(),
        expires_at: instant(claims.expires_at.saturating_mul(SECOND)),
        audience: claims.audience.to_string(),
        user: user.id.to_string(),
    }))
}

/// The key with which somebody acts for others. Only in its own tenant: of another one it knows no users.
pub(crate) fn acting_key(caller: &Caller) -> Result<model::KeyId, Problem> {
    let key = caller.key().filter(|key| key.record.verifier.scopes.act_as).ok_or(Problem::Scope("act_as"))?;
    if caller.tenant() != caller.home() {
        return Err(Problem::NotFound);
    }
    Ok(key.record.verifier.id)
}

/// The active user that the field `field` names.
pub(crate) async fn represented(
    app: &App,
    caller: &Caller,
    field: &'static str,
    named: &str,
) -> Result<UserRecord, Problem> {
    let found = users::find(&caller.store(app), named).await?.filter(|user| user.active);
    found.ok_or_else(|| wrong(field, Code::User, "is no active user of this tenant"))
}

/// How the audit names a user.
pub(crate) fn object(user: UserId) -> String {
    ResourceName::User(user).to_string()
}

/// A server that the caller's key may use.
async fn usable(app: &App, caller: &Caller, named: &str) -> Result<ServerRecord, Problem> {
    match servers::find_for(caller, &caller.store(app), named).await {
        Ok(server) if server.enabled => Ok(server),
        Ok(_) | Err(Problem::NotFound) => Err(wrong("server", Code::Server, "is no server that this key may use")),
        Err(other) => Err(other),
    }
}

fn wrong(field: &str, code: Code, detail: &str) -> Problem {
    Problem::Fields(vec![FieldError { field: field.to_owned(), code, detail: detail.to_owned() }])
}
