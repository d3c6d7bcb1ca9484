//! The token endpoint: a code, or the refresh token of last time, for an access token.

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use model::{Secret, UserId};
use store::{Actor, Code, CodeTaken, GRANT_LIFE, NewGrant, Rotation, StoreError};
use url::Url;

use crate::App;
use crate::authorization::document::is_document;
use crate::authorization::exchange::{Exchange, With};
use crate::authorization::issue::{self, ENDED};
use crate::authorization::refusal::{FAULT, Reason, Refusal};
use crate::authorization::resource::Resource;
use crate::authorization::secrets;
use crate::authorization::server::Server;
use crate::authorization::{SCOPE, address, body, clients, pkce};
use crate::rest::{Segment, trace_id};
use crate::sign_in::session;

/// What a client is told that asks for another resource than its user was shown.
const OTHER_RESOURCE: Refusal = Refusal::new(
    Reason::InvalidTarget,
    "the user has allowed another resource; ask for it in an authorization of its own",
);

/// Exchanges.
pub(crate) async fn exchange(
    State(app): State<App>,
    Segment(named): Segment,
    request: Request,
) -> Result<Response, Refusal> {
    let server = Server::of(&app, &named).await?;
    let (parts, parameters) = body::form(request).await?;
    let asked = Exchange::parse(&parameters, &parts.headers, server.name())?;
    let asker = (address(&parts), asked.client.clone());
    let rate = &app.authorization.exchanges;
    if !rate.take(asker.clone(), app.clock.now_micros()) {
        return Err(TOO_MANY);
    }
    let answer = exchanged(&app, &server, &parts, &asked).await?;
    rate.give_back(asker);
    Ok(answer)
}

/// What a client is told that fails too often.
pub(crate) const TOO_MANY: Refusal = Refusal::new(Reason::SlowDown, "too many requests failed; try again in a minute");

async fn exchanged(app: &App, server: &Server, parts: &Parts, asked: &Exchange) -> Result<Response, Refusal> {
    let by = |user| actor(server, parts, user, &asked.client);
    match &asked.with {
        With::Code { code, redirect_uri, verifier } => {
            let hash = secrets::Kind::Code.hash(code).ok_or(ENDED)?;
            let name = name(app, server, &asked.client).await?;
            // Taken before it is looked at: whoever shows it, and however, nobody can try again.
            let code = match server.store(app).take_code(hash).await? {
                CodeTaken::Fresh(code) => code,
                CodeTaken::Replayed(grant) => {
                    tracing::warn!(%grant, "a code was shown twice: what was made of it is revoked");
                    return Err(ENDED);
                }
                CodeTaken::Unknown => return Err(ENDED),
            };
            let own = code.client == asked.client && code.redirect_uri == *redirect_uri;
            if !own || !pkce::fits(&code.challenge, verifier) {
                return Err(ENDED);
            }
            same(asked.resource.as_ref(), &code.resource)?;
            from_code(app, server, &by(code.user), code, name).await
        }
        With::Refresh { token } => {
            let hash = secrets::Kind::Refresh.hash(token).ok_or(ENDED)?;
            // Looked at before it is replaced: another client's mistake must not cost the right one its grant.
            let grant = server.store(app).grant_of_refresh(hash).await?.ok_or(ENDED)?;
            if grant.client != asked.client {
                return Err(ENDED);
            }
            same(asked.resource.as_ref(), &grant.resource)?;
            refreshed(app, server, &by(grant.user), &asked.client, hash).await
        }
    }
}

async fn from_code(app: &App, server: &Server, by: &Actor, code: Code, name: String) -> Result<Response, Refusal> {
    let user = issue::user(app, server, code.user).await?;
    let (refresh, refresh_hash) = fresh()?;
    let new = NewGrant {
        id: code.grant,
        user: code.user,
        issuer: code.issuer,
        client: code.client,
        client_name: name,
        resource: code.resource,
        scope: SCOPE.to_owned(),
        refresh_hash,
        expires_at: app.clock.now_micros().saturating_add(GRANT_LIFE),
    };
    let store = server.store(app);
    let grant = match store.create_grant(by, new).await {
        Ok(made) => made.value,
        Err(StoreError::NoUser | StoreError::Replayed) => return Err(ENDED),
        Err(error) => return Err(error.into()),
    };
    touch(app, server, &grant.client).await?;
    issue::tokens(app, &grant, &user, &refresh).await
}

/// The user is read anew each time. Who is not to have tokens any more loses the grant, not only this answer.
async fn refreshed(app: &App, server: &Server, by: &Actor, client: &str, hash: [u8; 32]) -> Result<Response, Refusal> {
    let store = server.store(app);
    let (refresh, next) = fresh()?;
    let grant = match store.rotate_refresh(hash, next, app.clock.now_micros()).await? {
        Rotation::Rotated(grant) => grant,
        Rotation::Reused(grant) => {
            tracing::warn!(%grant, "a refresh token was shown twice: its grant is revoked");
            return Err(ENDED);
        }
        Rotation::Unknown => return Err(ENDED),
    };
    let user = match issue::user(app, server, grant.user).await {
        Err(refusal) if refusal == ENDED => {
            store.revoke_grant(by, grant.id).await?;
            return Err(ENDED);
        }
        read => read?,
    };
    touch(app, server, client).await?;
    issue::tokens(app, &grant, &user, &refresh).await
}

/// A client lives while it is used.
async fn touch(app: &App, server: &Server, client: &str) -> Result<(), StoreError> {
    server.store(app).touch_client(client, app.clock.now_micros().saturating_add(clients::UNUSED)).await
}

/// What a known client calls itself. One of a document whose name was not kept is called by its host.
async fn name(app: &App, server: &Server, id: &str) -> Result<String, Refusal> {
    let record = server.store(app).client(id).await?;
    match record {
        Some(record) => Ok(record.name),
        None if is_document(id) => {
            Ok(Url::parse(id).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default())
        }
        None => Err(clients::UNKNOWN),
    }
}

fn same(asked: Option<&Resource>, allowed: &str) -> Result<(), Refusal> {
    if asked.is_none_or(|asked| asked.as_str() == allowed) { Ok(()) } else { Err(OTHER_RESOURCE) }
}

fn fresh() -> Result<(Secret, [u8; 32]), Refusal> {
    secrets::Kind::Refresh.fresh().ok_or(FAULT)
}

/// Who acts, for the audit row: the user, through a client.
pub(crate) fn actor(server: &Server, parts: &Parts, user: UserId, client: &str) -> Actor {
    Actor {
        tenant: Some(server.tenant.spec.id),
        user: Some(user),
        name: format!("client {client}"),
        ip: session::ip(parts),
        trace_id: Some(trace_id()),
        ..Actor::default()
    }
}
