//! Turns a request into an [`Admin`] bound to a tenant. Nothing else can make one.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use model::{KeyRole, KeyText, KeyTextError, KeyVerifier, Principal, TenantId};
use store::{Actor, KeyRecord, StoreError, TenantStore};
use subtle::ConstantTimeEq as _;

use crate::App;
use crate::rest::problem::Problem;
use crate::rest::trace::trace_id;

/// Somebody who may administer one tenant: a tenant admin their own, a platform admin the one that
/// the request names.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    tenant: TenantId,
    key: KeyVerifier,
    label: String,
    ip: Option<String>,
}

/// Why a request comes from no admin.
#[derive(Debug)]
pub(crate) enum NotAdmin {
    /// No key, an unknown, a revoked or an expired one.
    Unauthenticated,
    /// A key whose shape or checksum is wrong; nothing was looked up.
    Malformed(KeyTextError),
    /// The key is a client's.
    Client,
    /// The tenant that the request names isn't, or isn't the key's.
    NoTenant,
    /// The request names its tenant in the query.
    TenantInQuery,
    /// The key or the tenant can't be read.
    Store(StoreError),
}

impl From<StoreError> for NotAdmin {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for NotAdmin {
    fn into_response(self) -> Response {
        Problem::from(self).into_response()
    }
}

impl From<NotAdmin> for Problem {
    fn from(why: NotAdmin) -> Self {
        match why {
            NotAdmin::Unauthenticated => Self::Unauthenticated,
            NotAdmin::Malformed(error) => Self::MalformedKey(error),
            NotAdmin::Client => Self::Forbidden("tenant_admin"),
            NotAdmin::NoTenant => Self::NotFound,
            NotAdmin::TenantInQuery => Self::Query {
                code: "tenant_in_query",
                detail: "the tenant comes from the key, or from the header Gatehouse-Tenant".to_owned(),
            },
            NotAdmin::Store(error) => error.into(),
        }
    }
}

/// Somebody who may administer the whole platform.
#[derive(Debug, Clone)]
pub(crate) struct PlatformAdmin(Admin);

impl Admin {
    /// The tenant that this request is about.
    pub(crate) fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// What the key's holder may do.
    pub(crate) fn role(&self) -> KeyRole {
        self.key.role
    }

    /// The handle to the tenant's data.
    pub(crate) fn store(&self, app: &App) -> TenantStore {
        app.store.tenant(self.tenant)
    }

    /// Who calls, as a proxy knows it: for commands that run as the caller.
    pub(crate) fn principal(&self) -> Principal {
        Principal { tenant: self.tenant, user: self.key.user, key: self.key.id }
    }

    /// Who calls, for the audit row.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            tenant: Some(self.tenant),
            key: Some(self.key.id),
            name: self.label.clone(),
            ip: self.ip.clone(),
            trace_id: Some(trace_id()),
            claim: None,
        }
    }
}

impl PlatformAdmin {
    /// The same caller, bound to the tenant that the request names.
    pub(crate) fn admin(&self) -> &Admin {
        &self.0
    }
}

impl FromRequestParts<App> for Admin {
    type Rejection = NotAdmin;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, NotAdmin> {
        let record = authenticate(parts, app).await?;
        let role = record.verifier.role;
        if role < KeyRole::TenantAdmin {
            return Err(NotAdmin::Client);
        }
        let tenant = match parts.headers.get("gatehouse-tenant") {
            None => record.verifier.tenant,
            Some(named) => named_tenant(app, named.to_str().unwrap_or_default(), &record.verifier).await?,
        };
        refuse_tenant_in_query(parts)?;
        let ip = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_string());
        Ok(Self { tenant, key: record.verifier, label: record.label, ip })
    }
}

impl FromRequestParts<App> for PlatformAdmin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let admin = Admin::from_request_parts(parts, app).await?;
        match admin.role() {
            KeyRole::PlatformAdmin => Ok(Self(admin)),
            KeyRole::TenantAdmin | KeyRole::User | KeyRole::Viewer => Err(Problem::Forbidden("platform_admin")),
        }
    }
}

/// The record of the key that the request carries. A mistyped key is refused before any look-up;
/// unknown, wrong, revoked and expired ones look the same.
async fn authenticate(parts: &Parts, app: &App) -> Result<KeyRecord, NotAdmin> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(NotAdmin::Unauthenticated)?;
    let text = header.to_str().ok().and_then(bearer).ok_or(NotAdmin::Unauthenticated)?;
    let key: KeyText = text.parse().map_err(NotAdmin::Malformed)?;
    let record = app.store.platform().key(key.id()).await?;
    let presented = key.sha256();
    let known = record.as_ref().map_or([0; 32], |record| record.verifier.sha256);
    let same = bool::from(presented.ct_eq(&known));
    let now = app.clock.now_micros();
    record.filter(|record| same && is_live(record, now)).ok_or(NotAdmin::Unauthenticated)
}

/// Whether the key opens anything at `now`, microseconds since 1970.
pub(crate) fn is_live(key: &KeyRecord, now: i64) -> bool {
    key.revoked_at.is_none() && key.verifier.expires_at.is_none_or(|expires_at| now < expires_at)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The tenant that `Gatehouse-Tenant` names, by id or by name. A tenant admin finds only the own
/// one; every other looks like one that does not exist.
async fn named_tenant(app: &App, named: &str, key: &KeyVerifier) -> Result<TenantId, NotAdmin> {
    let tenants = app.store.platform();
    let found = match named.parse::<TenantId>() {
        Ok(id) => tenants.tenant(id).await?,
        Err(_) => None,
    };
    let found = match found {
        // A name may look like an id.
        None => tenants.tenant_by_name(named).await?,
        found => found,
    };
    let allowed = |id: &TenantId| key.role == KeyRole::PlatformAdmin || *id == key.tenant;
    found.map(|tenant| tenant.spec.id).filter(allowed).ok_or(NotAdmin::NoTenant)
}

/// A tenant comes from the key or the header only.
fn refuse_tenant_in_query(parts: &Parts) -> Result<(), NotAdmin> {
    let query = parts.uri.query().unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| matches!(&*name, "tenant" | "tenant_id"));
    if named { Err(NotAdmin::TenantInQuery) } else { Ok(()) }
}
