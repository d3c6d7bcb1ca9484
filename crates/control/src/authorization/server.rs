//! Whose authorization server is asked.

use axum::http::StatusCode;
use model::TenantName;
use store::{TenantRecord, TenantStore};

use crate::App;
use crate::authorization::refusal::{Reason, Refusal};

/// An authorization server: that of a live tenant which has it switched on.
pub(crate) struct Server {
    pub(crate) tenant: TenantRecord,
    /// The name under which clients know it, byte by byte.
    pub(crate) issuer: String,
}

impl Server {
    /// By the tenant's name in the path. A tenant without one looks like none.
    pub(crate) async fn of(app: &App, named: &str) -> Result<Self, Refusal> {
        let found = match named.parse::<TenantName>() {
            Ok(name) => app.store.platform().tenant_by_name(name.as_str()).await?,
            Err(_) => None,
        };
        let tenant = found.filter(|tenant| tenant.active && tenant.spec.authorization_server).ok_or(NONE)?;
        let issuer = format!("{}/oauth/{}", app.config.base_url(), tenant.spec.name);
        Ok(Self { tenant, issuer })
    }

    pub(crate) fn name(&self) -> &TenantName {
        &self.tenant.spec.name
    }

    /// The handle to the tenant's data.
    pub(crate) fn store(&self, app: &App) -> TenantStore {
        app.store.tenant(self.tenant.spec.id)
    }
}

const NONE: Refusal =
    Refusal::new(Reason::InvalidRequest, "there is no authorization server here").with(StatusCode::NOT_FOUND);
