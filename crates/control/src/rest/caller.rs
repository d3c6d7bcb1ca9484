//! Turns a request into somebody who may do what the route does. Nothing else can make one.

use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use model::{KeyId, KeyRole, KeyScopes, KeyText, KeyTextError, Principal, TenantId, UserId};
use store::{Actor, Claim, LiveKey, LiveSession, StoreError, TenantStore};
use subtle::ConstantTimeEq as _;

use crate::App;
use crate::rest::code::Code;
use crate::rest::problem::Problem;
use crate::rest::trace::trace_id;
use crate::sign_in::session::{self, SignedIn};
use crate::sign_in::site::Site;

/// The header in which pages of ours show the session's CSRF token.
const CSRF: &str = "gatehouse-csrf";
/// How long finding out who calls may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody who may come in, bound to a tenant: their own, or the one that a platform admin names.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    tenant: TenantId,
    who: Who,
    ip: Option<String>,
}

/// What let somebody in.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// A key of theirs.
    Key(Box<LiveKey>),
    /// The cookie of a session of theirs.
    Session(Box<LiveSession>),
}

impl Who {
    /// The tenant that they belong to.
    fn home(&self) -> TenantId {
        match self {
            Self::Key(key) => key.tenant.spec.id,
            Self::Session(live) => live.tenant.spec.id,
        }
    }

    /// The weaker role of key and user.
    fn role(&self) -> KeyRole {
        match self {
            Self::Key(key) => key.role,
            Self::Session(live) => session::role(live),
        }
    }

    /// What it may be used for.
    fn scopes(&self) -> KeyScopes {
        match self {
            Self::Key(key) => key.record.verifier.scopes,
            Self::Session(_) => KeyScopes { mcp: false, rest: true, act_as: false },
        }
    }
}

/// Why a request is not let in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// No key, an unknown, a revoked or an expired one; its user or tenant may be inactive.
    Unauthenticated,
    /// A key whose shape or checksum is wrong; nothing was looked up.
    Malformed(KeyTextError),
    /// The role is too low; names what is needed.
    Role(&'static str),
    /// The key is not for this; names the scope that is needed.
    Scope(&'static str),
    /// A session's cookie, and no proof that a page of ours sent the request.
    Forged,
    /// The tenant that the request names isn't, or isn't the key's.
    NoTenant,
    /// The request names its tenant in the query.
    TenantInQuery,
    /// The key or the tenant can't be read.
    Store(StoreError),
    /// The database took too long.
    Slow,
}

impl From<StoreError> for Refused {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refused> for Problem {
    fn from(why: Refused) -> Self {
        match why {
            Refused::Unauthenticated => Self::Unauthenticated,
            Refused::Malformed(error) => Self::MalformedKey(error),
            Refused::Role(needs) => Self::Forbidden(needs),
            Refused::Scope(needs) => Self::Scope(needs),
            Refused::Forged => Self::Forged,
            Refused::NoTenant => Self::NotFound,
            Refused::TenantInQuery => Self::Query {
                code: Code::TenantInQuery,
                detail: "the tenant comes from the key, or from the header Gatehouse-Tenant".to_owned(),
            },
            Refused::Store(error) => error.into(),
            Refused::Slow => Self::Unavailable,
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

macro_rules! levels {
    ($($(#[$doc:meta])* $name:ident needs $needs:literal: $lets_in:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone)]
        pub(crate) struct $name(pub(crate) Caller);

        impl FromRequestParts<App> for $name {
            type Rejection = Refused;

            async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
                let who = authenticate(parts, app).await?;
                // Before the role: an admin's key that is not for this is no key for this.
                if !who.scopes().rest {
                    return Err(Refused::Scope("rest"));
                }
                let lets_in: fn(KeyRole) -> bool = $lets_in;
                if !lets_in(who.role()) {
                    return Err(Refused::Role($needs));
                }
                Caller::of(parts, app, who).await.map(Self)
            }
        }
    )*};
}

levels! {
    /// Everybody who may come in: for what users see too.
    Member needs "viewer": |_| true;
    /// Users and admins: who may have something of their own.
    User needs "user": |role| role != KeyRole::Viewer;
    /// Viewers and admins: who may read everything of the tenant.
    Viewer needs "viewer": |role| role != KeyRole::User;
    /// Admins of the tenant, platform admins among them.
    Admin needs "tenant_admin": |role| role >= KeyRole::TenantAdmin;
    /// Platform admins.
    Platform needs "platform_admin": |role| role == KeyRole::PlatformAdmin;
}

/// Keys that may call in the name of users, whatever their role and whatever else they are for.
#[derive(Debug, Clone)]
pub(crate) struct ActAs(pub(crate) Caller);

impl FromRequestParts<App> for ActAs {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let who = authenticate(parts, app).await?;
        if !who.scopes().act_as {
            return Err(Refused::Scope("act_as"));
        }
        Caller::of(parts, app, who).await.map(Self)
    }
}

impl Caller {
    async fn of(parts: &Parts, app: &App, who: Who) -> Result<Self, Refused> {
        let tenant = match parts.headers.get("gatehouse-tenant") {
            None => who.home(),
            Some(named) => in_time(named_tenant(app, named.to_str().unwrap_or_default(), &who)).await?,
        };
        refuse_tenant_in_query(parts)?;
        Ok(Self { tenant, who, ip: session::ip(parts) })
    }

    /// The tenant that this request is about.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The tenant that the caller belongs to.
    pub(crate) fn home(&self) -> TenantId {
        self.who.home()
    }

    /// The key that was presented.
    pub(crate) fn key(&self) -> Option<&LiveKey> {
        match &self.who {
            Who::Key(key) => Some(key),
            Who::Session(_) => None,
        }
    }

    /// Whose key it is, or who signed in; a user of [`Caller::home`].
    pub(crate) fn user(&self) -> Option<UserId> {
        match &self.who {
            Who::Key(key) => key.record.verifier.user,
            Who::Session(live) => Some(live.user.id),
        }
    }

    /// The session whose cookie came along.
    pub(crate) fn session(&self) -> Option<&LiveSession> {
        match &self.who {
            Who::Key(_) => None,
            Who::Session(live) => Some(live),
        }
    }

    /// What the caller may do: of a key and its user the weaker role.
    pub(crate) fn role(&self) -> KeyRole {
        self.who.role()
    }

    /// The servers that the key is restricted to, by name; `None` for all.
    pub(crate) fn servers(&self) -> Option<&[String]> {
        self.key()?.record.verifier.servers.as_deref()
    }

    /// Whose page of the book of answers is used.
    pub(crate) fn book(&self) -> KeyId {
        match &self.who {
            Who::Key(key) => key.record.verifier.id,
            Who::Session(live) => page_of(live.user.id),
        }
    }

    /// The handle to the tenant's data.
    pub(crate) fn store(&self, app: &App) -> TenantStore {
        app.store.tenant(self.tenant)
    }

    /// Who calls, as a proxy knows it: for commands that run as the caller.
    pub(crate) fn principal(&self) -> Principal {
        Principal { tenant: self.tenant, user: self.user(), key: self.key().map(|key| key.record.verifier.id) }
    }

    /// Who calls, for the audit row.
    pub(crate) fn actor(&self) -> Actor {
        match &self.who {
            Who::Key(key) => Actor {
                tenant: Some(self.tenant),
                key: Some(key.record.verifier.id),
                user: None,
                name: key.record.label.clone(),
                ip: self.ip.clone(),
                trace_id: Some(trace_id()),
                claim: None,
            },
            Who::Session(live) => Actor { tenant: Some(self.tenant), ..session::actor(live, self.ip.clone()) },
        }
    }

    /// The same, with the claim under which its first change is written down.
    pub(crate) fn claiming(&self, claim: Option<Claim>) -> Actor {
        Actor { claim, ..self.actor() }
    }
}

/// Who the request says that it comes from. A key decides alone, whatever cookie comes with it. A mistyped one is
/// refused before any look-up; unknown, wrong, revoked and expired ones look the same. Two credentials are none:
/// nobody can say which one counts.
async fn authenticate(parts: &Parts, app: &App) -> Result<Who, Refused> {
    let mut headers = parts.headers.get_all(AUTHORIZATION).iter();
    let Some(header) = headers.next() else { return signed_in(parts, app).await };
    if headers.next().is_some() {
        return Err(Refused::Unauthenticated);
    }
    let text = header.to_str().ok().and_then(bearer).ok_or(Refused::Unauthenticated)?;
    let presented: KeyText = text.parse().map_err(Refused::Malformed)?;
    let live = in_time(async { Ok(app.store.platform().live_key(presented.id()).await?) }).await?;
    let known = live.as_ref().map_or([0; 32], |key| key.record.verifier.sha256);
    let same = bool::from(presented.sha256().ct_eq(&known));
    live.filter(|_| same).map(|key| Who::Key(Box::new(key))).ok_or(Refused::Unauthenticated)
}

/// Who came with the cookie of a session. Browsers send it for any page that asks: what changes something must show
/// that a page of ours did.
async fn signed_in(parts: &Parts, app: &App) -> Result<Who, Refused> {
    let site = Site::of(&app.config, &parts.uri, &parts.headers);
    let who = in_time(async { Ok(SignedIn::of(app, &site, parts).await?) }).await?.ok_or(Refused::Unauthenticated)?;
    if !parts.method.is_safe() {
        let mut shown = parts.headers.get_all(CSRF).iter();
        let (first, more) = (shown.next(), shown.next());
        let same = first.is_some_and(|shown| bool::from(shown.as_bytes().ct_eq(who.csrf().as_bytes())));
        if !same || more.is_some() || !site.sent(&parts.headers, false) {
            return Err(Refused::Forged);
        }
    }
    Ok(Who::Session(Box::new(who.live().clone())))
}

/// The book of answers has a page for each key; a person's has the random part of their own id as its name, which
/// no key has.
fn page_of(user: UserId) -> KeyId {
    let [.., a, b, c, d, e, f, g, h] = *user.0.as_bytes();
    KeyId::of_hex([a, b, c, d, e, f, g, h])
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The tenant that `Gatehouse-Tenant` names, by id or by name. Who is no platform admin finds only the
/// own one; every other looks like one that does not exist.
async fn named_tenant(app: &App, named: &str, who: &Who) -> Result<TenantId, Refused> {
    let found = crate::rest::tenants::find(app, named).await?;
    let allowed = |id: &TenantId| who.role() == KeyRole::PlatformAdmin || *id == who.home();
    found.map(|tenant| tenant.spec.id).filter(allowed).ok_or(Refused::NoTenant)
}

/// A tenant comes from the key or the header only.
fn refuse_tenant_in_query(parts: &Parts) -> Result<(), Refused> {
    let query = parts.uri.query().unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| matches!(&*name, "tenant" | "tenant_id"));
    if named { Err(Refused::TenantInQuery) } else { Ok(()) }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Refused>>) -> Result<T, Refused> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(Refused::Slow))
}
