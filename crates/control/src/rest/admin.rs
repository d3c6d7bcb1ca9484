//! Turns a request into an [`Admin`] bound to a tenant. Nothing else can make one.

use std::net::SocketAddr;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use model::{KeyRole, KeyText, KeyVerifier, Principal, TenantId};
use store::{Actor, KeyRecord, TenantStore};
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
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let record = authenticate(parts, app).await?;
        let role = record.verifier.role;
        if role == KeyRole::Client {
            return Err(Problem::Forbidden("tenant_admin"));
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
            KeyRole::TenantAdmin | KeyRole::Client => Err(Problem::Forbidden("platform_admin")),
        }
    }
}

/// The record of the key that the request carries. A mistyped key is refused before any look-up;
/// unknown, wrong, revoked and expired ones look the same.
async fn authenticate(parts: &Parts, app: &App) -> Result<KeyRecord, Problem> {
    let header = parts.headers.get(AUTHORIZATION).ok_or(Problem::Unauthenticated)?;
    let text = header.to_str().ok().and_then(bearer).ok_or(Problem::Unauthenticated)?;
    let key: KeyText = text.parse().map_err(Problem::MalformedKey)?;
    let record = app.store.platform().key(key.id()).await?;
    let presented = key.sha256();
    let known = record.as_ref().map_or([0; 32], |record| record.verifier.sha256);
    let same = bool::from(presented.ct_eq(&known));
    let now = app.clock.now_micros();
    let live = |record: &KeyRecord| {
        record.revoked_at.is_none() && record.verifier.expires_at.is_none_or(|expires_at| now < expires_at)
    };
    record.filter(|record| same && live(record)).ok_or(Problem::Unauthenticated)
}

fn bearer(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The tenant that `Gatehouse-Tenant` names, by id or by name. A tenant admin finds only the own
/// one; every other looks like one that does not exist.
async fn named_tenant(app: &App, named: &str, key: &KeyVerifier) -> Result<TenantId, Problem> {
    let tenants = app.store.platform();
    let found = match named.parse::<TenantId>() {
        Ok(id) => tenants.tenants().await?.into_iter().find(|tenant| tenant.spec.id == id),
        Err(_) => tenants.tenant_by_name(named).await?,
    };
    let allowed = |id: &TenantId| key.role == KeyRole::PlatformAdmin || *id == key.tenant;
    found.map(|tenant| tenant.spec.id).filter(allowed).ok_or(Problem::NotFound)
}

/// A tenant comes from the key or the header only.
fn refuse_tenant_in_query(parts: &Parts) -> Result<(), Problem> {
    let query = parts.uri.query().unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes()).any(|(name, _)| matches!(&*name, "tenant" | "tenant_id"));
    if named {
        return Err(Problem::Query {
            code: "tenant_in_query",
            detail: "the tenant comes from the key, or from the header Gatehouse-Tenant".to_owned(),
        });
    }
    Ok(())
}
