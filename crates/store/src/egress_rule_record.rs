//! An egress rule as it is stored and created; and its row.

use model::{EgressRule, EgressRuleId, Generation, HostPattern, TenantId};
use sea_orm::ActiveValue::Set;
use serde_json::{Value, json};

use crate::entity::egress_rule;
use crate::{Actor, StoreError, row_text};

/// An egress rule record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressRuleRecord {
    /// What proxies hold.
    pub rule: EgressRule,
    /// Why it is allowed; for people.
    pub reason: String,
    /// The key or the part of Gatehouse that made it.
    pub created_by: Option<String>,
    /// Raised by every change of the record.
    pub generation: Generation,
    /// Microseconds since 1970.
    pub created_at: i64,
    /// Microseconds since 1970.
    pub updated_at: i64,
}

/// An egress rule to be made. Its id is given by the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEgressRule {
    /// For one tenant only.
    pub tenant: Option<TenantId>,
    /// See [`EgressRule::host`].
    pub host: HostPattern,
    /// See [`EgressRule::ports`].
    pub ports: Option<(u16, u16)>,
    /// See [`EgressRule::http`].
    pub http: bool,
    /// See [`EgressRuleRecord::reason`].
    pub reason: String,
}

/// Which egress rules to list, in the order of their making.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressRulePage {
    /// Only those of this tenant.
    pub tenant: Option<TenantId>,
    /// Only those with this text in host or reason, whatever the case (of ASCII letters on SQLite).
    pub search: Option<String>,
    /// Only those after this one.
    pub after: Option<EgressRuleId>,
    /// At most this many, 1 to 500.
    pub limit: u32,
}

impl EgressRuleRecord {
    pub(crate) fn new(actor: &Actor, new: NewEgressRule, now: i64) -> Self {
        let rule = EgressRule {
            id: EgressRuleId::fresh(),
            tenant: new.tenant,
            host: new.host,
            ports: new.ports,
            http: new.http,
        };
        Self {
            rule,
            reason: new.reason,
            created_by: Some(actor.id()),
            generation: Generation(1),
            created_at: now,
            updated_at: now,
        }
    }

    /// What the audit row keeps.
    pub(crate) fn redacted(&self) -> Value {
        json!({
            "tenant": self.rule.tenant.map(|tenant| tenant.to_string()),
            "host": self.rule.host.to_string(),
            "ports": self.rule.ports.map(row_text::ports),
            "http": self.rule.http,
            "reason": self.reason,
        })
    }

    pub(crate) fn into_row(self) -> egress_rule::ActiveModel {
        egress_rule::ActiveModel {
            id: Set(self.rule.id.0),
            tenant_id: Set(self.rule.tenant.map(|tenant| tenant.0)),
            host: Set(self.rule.host.to_string()),
            ports: Set(self.rule.ports.map(row_text::ports)),
            http: Set(self.rule.http),
            reason: Set(self.reason),
            created_by: Set(self.created_by),
            generation: Set(self.generation.0),
            created_at: Set(self.created_at),
            updated_at: Set(self.updated_at),
        }
    }
}

impl TryFrom<egress_rule::Model> for EgressRuleRecord {
    type Error = StoreError;

    fn try_from(row: egress_rule::Model) -> Result<Self, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        let ports = match row.ports {
            None => None,
            Some(text) => Some(row_text::read_ports(&text).ok_or(corrupt("egress_rule.ports"))?),
        };
        let rule = EgressRule {
            id: EgressRuleId(row.id),
            tenant: row.tenant_id.map(TenantId),
            host: row.host.parse().map_err(|_| corrupt("egress_rule.host"))?,
            ports,
            http: row.http,
        };
        Ok(Self {
            rule,
            reason: row.reason,
            created_by: row.created_by,
            generation: Generation(row.generation),
            created_at: row.created_at,
            updated_at: row.updated_at,
        })
    }
}
