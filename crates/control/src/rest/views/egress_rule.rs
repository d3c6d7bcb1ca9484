//! Rules of the address policy.

use serde::Serialize;
use store::EgressRuleRecord;
use utoipa::ToSchema;

use super::instant;

/// What a platform admin allows beyond the default address policy.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EgressRule)]
pub(crate) struct EgressRuleView {
    /// UUID.
    #[schema(format = "uuid")]
    id: String,
    /// A host name or a network.
    host: String,
    /// A port or a range such as `8000-8100`; null for those of the default policy.
    #[schema(required)]
    ports: Option<String>,
    /// Whether plain http is allowed too.
    http: bool,
    /// Id of the one tenant it is for; null for all.
    #[schema(required, format = "uuid")]
    tenant: Option<String>,
    /// Why, for whoever reads the list next year.
    reason: String,
    /// Who made it.
    #[schema(required)]
    created_by: Option<String>,
    /// The ETag.
    generation: i64,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    updated_at: String,
}

impl From<&EgressRuleRecord> for EgressRuleView {
    fn from(record: &EgressRuleRecord) -> Self {
        let rule = &record.rule;
        Self {
            id: rule.id.to_string(),
            host: rule.host.to_string(),
            ports: rule.ports_text(),
            http: rule.http,
            tenant: rule.tenant.map(|tenant| tenant.to_string()),
            reason: record.reason.clone(),
            created_by: record.created_by.clone(),
            generation: record.generation.0,
            created_at: instant(record.created_at),
            updated_at: instant(record.updated_at),
        }
    }
}
