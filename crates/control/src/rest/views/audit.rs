//! Audit rows.

use serde::Serialize;
use serde_json::Value;
use store::AuditRow;
use utoipa::ToSchema;

use super::{instant, raw};

/// Who did what to what.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Audit)]
pub(crate) struct AuditView {
    /// Rises with every row; gaps are allowed.
    seq: i64,
    #[schema(format = "date-time")]
    at: String,
    /// A key's id, or the part of Gatehouse that acted.
    actor: String,
    /// `key` or `system`.
    actor_kind: String,
    /// Noun and verb, e.g. `server.create`.
    action: String,
    /// What was changed, e.g. `server/<id>`.
    object: String,
    /// The object before, without secrets; null for a create.
    before: Value,
    /// The object after, without secrets; null for a delete.
    after: Value,
    /// `ok`.
    result: String,
    /// Why, where there is something to say.
    #[schema(required)]
    reason: Option<String>,
    /// Where the request came from.
    #[schema(required)]
    ip: Option<String>,
    /// The trace of the request.
    #[schema(required)]
    trace_id: Option<String>,
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            seq: row.seq,
            at: instant(row.ts),
            actor: row.actor,
            actor_kind: row.actor_kind,
            action: row.action,
            object: row.object,
            before: row.before.as_deref().map_or(Value::Null, raw),
            after: row.after.as_deref().map_or(Value::Null, raw),
            result: row.result,
            reason: row.reason,
            ip: row.ip,
            trace_id: row.trace_id,
        }
    }
}
