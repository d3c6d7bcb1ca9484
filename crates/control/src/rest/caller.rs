//! Turns a request into somebody who may do what the route does. Nothing else can make one.

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use model::{KeyRole, KeyText, KeyTextError, Principal, TenantId};
use store::{Actor, Claim, LiveKey, StoreError, TenantStore};
use subtle::ConstantTimeEq as _;

use crate::App;
use crate::rest::code::Code;
use crate::rest::problem::Problem;
use crate::rest::trace::trace_id;

/// How long finding out who calls may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Somebody with a live key, bound to a tenant: the key's own, or the one that a platform admin names.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    tenant: TenantId,
    key: LiveKey,
    ip: Option<String>,
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
                let key = authenticate(parts, app).await?;
                let lets_in: fn(KeyRole) -> bool = $lets_in;
                if !lets_in(key.role) {
                    return Err(Refused::Role($needs));
                }
                Caller::of(parts, app, key).await.map(Self)
            }
        }
    )*};
}

levels! {
    /// Every live key: for what users see too.
    Member needs "viewer": |_| true;
    /// Viewers and admins: who may read everything of the tenant.
    Viewer needs "viewer": |role| role != KeyRole::User;
    /// Admins of the tenant, platform admins among them.
    Admin needs "tenant_admin": |role| role >= KeyRole::TenantAdmin;
    /// Platform admins.
    Platform needs "platform_admin": |role| role == KeyRole::PlatformAdmin;
}

impl Caller {
    async fn of(parts: &Parts, app: &App, key: LiveKey) -> Result<Self, Refused> {
        let tenant = match parts.headers.get("gatehouse-tenant") {
            None => key.tenant.spec.id,
            Some(named) => in_time(named_tenant(app, named.to_str().unwrap_or_default(), &key)).await?,
        };
        refuse_tenant_in_query(parts)?;
        let ip = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
        Ok(Self { tenant, key, ip })
    }

    /// The tenant that this request is about.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The key that was presented.
    pub(crate) fn key(&self) -> &LiveKey {
        &self.key
    }

    /// What the caller may do: the weaker role of key and user.
    pub(crate) fn role(&self) -> KeyRole {
        self.key.role
    }

    /// The servers that the key is restricted to, by name; `None` for all.
    pub(crate) fn servers(&self) -> Option<&[String]> {
        self.key.record.verifier.servers.as_deref()
    }

    /// The handle to the tenant's data.
    pub(crate) fn store(&self, app: &App) -> TenantStore {
        app.store.tenant(self.tenant)
    }

    /// Who calls, as a proxy knows it: for commands that run as the caller.
    pub(crate) fn principal(&self) -> Principal {
        let key = &self.key.record.verifier;
        Principal { tenant: self.tenant, user: key.user, key: key.id }
    }

    /// Who calls, for the audit row.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            tenant: Some(self.tenant),
            key: Some(self.key.record.verifier.id),
            name: self.key.record.label.clone(),
            ip: self.ip.clone(),
            trace_id: Some(trace_id()),
            claim: None,
        }
    }

    /// The same, with the claim under which its first change is written down.
    pub(crate) fn claiming(&self, claim: Option<Claim>) -> Actor {
        Actor { claim, ..self.actor() }
    }
}

/// The live key that the request carries. A mistyped key is refused before any look-up; unknown, wrong,
/// revoked and expired ones look the same.
async fn authenticate(parts: &Parts, app: &App) -> Result<LiveKey, Refused> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(Refused::Unauthenticated)?;
    let text = header.to_str().ok().and_then(bearer).ok_or(Refused::Unauthenticated)?;
    let presented: KeyText = text.parse().map_err(Refused::Malformed)?;
    let live = in_time(async { Ok(app.store.platform().live_key(presented.id()).await?) }).await?;
    let known = live.as_ref().map_or([0; 32], |key| key.record.verifier.sha256);
    let same = bool::from(presented.sha256().ct_eq(&known));
    live.filter(|_| same).ok_or(Refused::Unauthenticated)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The tenant that `Gatehouse-Tenant` names, by id or by name. Who is no platform admin finds only the
/// own one; every other looks like one that does not exist.
async fn named_tenant(app: &App, named: &str, key: &LiveKey) -> Result<TenantId, Refused> {
    let found = crate::rest::tenants::find(app, named).await?;
    let allowed = |id: &TenantId| key.role == KeyRole::PlatformAdmin || *id == key.tenant.spec.id;
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
