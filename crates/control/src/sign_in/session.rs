//! Who is signed in: the session that a request's cookie opens.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use model::{IssuerId, KeyRole, TenantId, UserId};
use store::{Actor, LiveSession, NewSession, StoreError, TenantRecord, TenantStore, UserRecord};

use super::cookies::Cookie;
use super::site::Site;
use super::token::Token;
use crate::App;
use crate::rest::trace_id;
use crate::timers::micros;

/// How long a session lives, whatever is done with it.
pub(crate) const LONGEST: Duration = Duration::from_secs(12 * 60 * 60);
/// How long it lives without being used.
pub(crate) const IDLE: Duration = Duration::from_secs(30 * 60);
/// How exactly its last use is kept.
const TOUCH: Duration = Duration::from_secs(60);
/// Longest text of a browser's own name that is kept.
const MAX_AGENT: usize = 200;

/// Somebody who is signed in, as one request knows them. Only a cookie that opens a live session makes one.
pub(crate) struct SignedIn {
    live: LiveSession,
    token: Token,
    ip: Option<String>,
}

impl SignedIn {
    /// Whom the cookie of this request stands for; `None` for everybody else. The tenant and the user are active,
    /// and the way by which they came in is still open.
    pub(crate) async fn of(app: &App, site: &Site, parts: &Parts) -> Result<Option<Self>, StoreError> {
        let Some(token) = Cookie::Session.read(site, &parts.headers) else { return Ok(None) };
        let hash = token.hash();
        let platform = app.store.platform();
        let Some(live) = platform.live_session(hash, micros(IDLE)).await? else { return Ok(None) };
        if !is_open(app, &live).await? {
            return Ok(None);
        }
        let now = app.clock.now_micros();
        if now.saturating_sub(live.session.seen_at) >= micros(TOUCH) {
            // A database that takes no writes lets people read on; without the note they are out after half an hour.
            if let Err(error) = platform.touch_session(hash, now).await {
                tracing::warn!(error = %telemetry::chain(&error), "that a session was used could not be noted");
            }
        }
        Ok(Some(Self { live, token, ip: ip(parts) }))
    }

    /// The user's record.
    pub(crate) fn user(&self) -> &UserRecord {
        &self.live.user
    }

    /// The user's tenant.
    pub(crate) fn tenant(&self) -> &TenantRecord {
        &self.live.tenant
    }

    /// The session.
    pub(crate) fn live(&self) -> &LiveSession {
        &self.live
    }

    /// What the user may do in this session.
    pub(crate) fn role(&self) -> KeyRole {
        role(&self.live)
    }

    /// The handle to the data of the user's tenant.
    pub(crate) fn store(&self, app: &App) -> TenantStore {
        app.store.tenant(self.live.tenant.spec.id)
    }

    /// What every form of this session carries, and the header `Gatehouse-CSRF`: only pages of ours know it.
    pub(crate) fn csrf(&self) -> String {
        self.token.derived_text(CSRF)
    }

    /// What else only this session's browser can have, one for each purpose.
    pub(crate) fn derived(&self, purpose: &str) -> [u8; 32] {
        self.token.derived(purpose)
    }

    /// The same as text.
    pub(crate) fn derived_text(&self, purpose: &str) -> String {
        self.token.derived_text(purpose)
    }

    /// Who acts, for the audit row.
    pub(crate) fn actor(&self) -> Actor {
        actor(&self.live, self.ip.clone())
    }

    /// Ends the session at once, for every replica.
    pub(crate) async fn end(&self, app: &App) -> Result<(), StoreError> {
        app.store.platform().end_session(self.token.hash()).await
    }
}

/// What a session's secret is derived for.
pub(crate) const CSRF: &str = "csrf";

/// What somebody may do in a session. An issuer is its tenant's own, and whoever administers the tenant chooses
/// whom it lets in: it makes nobody more than that.
pub(crate) fn role(live: &LiveSession) -> KeyRole {
    match live.session.issuer {
        Some(_) => live.user.role.min(KeyRole::TenantAdmin),
        None => live.user.role,
    }
}

/// Who acts in a session, for the audit row.
pub(crate) fn actor(live: &LiveSession, ip: Option<String>) -> Actor {
    Actor {
        tenant: Some(live.tenant.spec.id),
        user: Some(live.user.id),
        name: live.user.login.clone(),
        ip,
        trace_id: Some(trace_id()),
        ..Actor::default()
    }
}

/// Whether people may still come in the way that this session did.
async fn is_open(app: &App, live: &LiveSession) -> Result<bool, StoreError> {
    match live.session.issuer {
        None => Ok(live.tenant.local_accounts),
        Some(id) => {
            let issuer = app.store.tenant(live.tenant.spec.id).issuer(id).await?;
            Ok(issuer.is_some_and(|issuer| issuer.enabled && issuer.sign_in))
        }
    }
}

/// Who has just proved to be somebody.
pub(crate) struct Proven {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    /// The issuer that said so; `None` for a password.
    pub(crate) issuer: Option<IssuerId>,
}

/// Begins a session under a new id, whatever cookie the browser had: nobody can have put it there before.
pub(crate) async fn begin(app: &App, site: &Site, parts: &Parts, proven: Proven) -> Result<Option<Token>, StoreError> {
    let Some(token) = Token::fresh() else { return Ok(None) };
    let platform = app.store.platform();
    if let Some(old) = Cookie::Session.read(site, &parts.headers) {
        platform.end_session(old.hash()).await?;
    }
    let new = NewSession {
        hash: token.hash(),
        tenant: proven.tenant,
        user: proven.user,
        issuer: proven.issuer,
        ip: ip(parts),
        agent: agent(parts),
        expires_at: app.clock.now_micros().saturating_add(micros(LONGEST)),
    };
    platform.create_session(new).await?;
    Ok(Some(token))
}

/// Where a request came from; IPv4 is IPv4 on whichever socket it came.
pub(crate) fn address(parts: &Parts) -> Option<IpAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical())
}

/// The same, as records have it.
pub(crate) fn ip(parts: &Parts) -> Option<String> {
    address(parts).map(|address| address.to_string())
}

/// What the browser calls itself, cut and without control characters.
fn agent(parts: &Parts) -> Option<String> {
    let agent = parts.headers.get(USER_AGENT)?.to_str().ok()?;
    Some(agent.chars().filter(|character| !character.is_control()).take(MAX_AGENT).collect())
}
