//! A tenant's audit rows.

use model::TenantId;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};

use super::TenantStore;
use crate::StoreError;
use crate::entity::audit::{Column, Entity, Model};

/// The most rows that one call answers.
const MAX_ROWS: u32 = 1_000;

/// Who did what to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Rises with every row of the whole database; gaps are allowed.
    pub seq: i64,
    /// Microseconds since 1970.
    pub ts: i64,
    /// Whose object it was; `None` for the platform's.
    pub tenant: Option<TenantId>,
    /// A key's id, or the part of Gatehouse that acted.
    pub actor: String,
    /// `key` or `system`.
    pub actor_kind: String,
    /// Noun and verb, e.g. `server.create`.
    pub action: String,
    /// A resource's name, e.g. `server/<id>`.
    pub object: String,
    /// The object before, as JSON without secrets.
    pub before: Option<String>,
    /// The object after, as JSON without secrets.
    pub after: Option<String>,
    /// `ok`.
    pub result: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// Where the request came from.
    pub ip: Option<String>,
    /// The trace of the request.
    pub trace_id: Option<String>,
}

impl TenantStore {
    fn scoped_audit(&self) -> Select<Entity> {
        Entity::find().filter(Column::TenantId.eq(self.tenant.0))
    }

    fn audit_row(&self, row: Model) -> Result<AuditRow, StoreError> {
        let row = AuditRow::from(row);
        self.check(row.tenant.ok_or(StoreError::CrossTenant)?)?;
        Ok(row)
    }

    /// The newest rows first, at most `limit` and at most 1000.
    pub async fn audit(&self, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
        let query = self.scoped_audit().order_by_desc(Column::Seq).limit(u64::from(limit.min(MAX_ROWS)));
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.audit_row(row)).collect()
    }
}

impl From<Model> for AuditRow {
    fn from(row: Model) -> Self {
        Self {
            seq: row.seq,
            ts: row.ts,
            tenant: row.tenant_id.map(TenantId),
            actor: row.actor,
            actor_kind: row.actor_kind,
            action: row.action,
            object: row.object,
            before: row.before,
            after: row.after,
            result: row.result,
            reason: row.reason,
            ip: row.ip,
            trace_id: row.trace_id,
        }
    }
}
