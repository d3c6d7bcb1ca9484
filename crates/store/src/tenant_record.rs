//! A tenant as it is stored and created; and its row.

use model::{Limits, TenantId, TenantName, TenantSpec};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::tenant;
use crate::{StoreError, row_text};

/// A tenant record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantRecord {
    /// What proxies hold.
    pub spec: TenantSpec,
    /// Free text for people.
    pub title: String,
    /// Microseconds since 1970.
    pub created_at: i64,
}

/// A tenant to be made. Its id is given by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTenant {
    /// Unique among all tenants.
    pub name: TenantName,
    /// Free text for people.
    pub title: String,
    /// What it may use.
    pub limits: Limits,
}

impl TenantRecord {
    pub(crate) fn new(new: NewTenant, now: i64) -> Self {
        let spec = TenantSpec {
            id: TenantId::fresh(),
            name: new.name,
            limits: new.limits,
            stale_after: Some(model::TenantSpec::STALE_AFTER),
        };
        Self { spec, title: new.title, created_at: now }
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({ "name": self.spec.name.as_str(), "title": self.title, "limits": row_text::limits(&self.spec.limits) })
    }

    pub(crate) fn into_row(self) -> tenant::ActiveModel {
        tenant::ActiveModel {
            id: Set(self.spec.id.0),
            name: Set(self.spec.name.to_string()),
            title: Set(self.title),
            limits: Set(row_text::limits(&self.spec.limits).to_string()),
            created_at: Set(self.created_at),
        }
    }
}

impl TryFrom<tenant::Model> for TenantRecord {
    type Error = StoreError;

    fn try_from(row: tenant::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let spec = TenantSpec {
            id: TenantId(row.id),
            name: row.name.parse().map_err(|_| corrupt("tenant.name"))?,
            limits: row_text::read_limits(&row.limits).ok_or(corrupt("tenant.limits"))?,
            stale_after: Some(model::TenantSpec::STALE_AFTER),
        };
        Ok(Self { spec, title: row.title, created_at: row.created_at })
    }
}
