//! A tenant's audit rows.

use model::TenantId;
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select};
use serde_json::Value;

use super::TenantStore;
use crate::change::{Deed, append_audit};
use crate::entity::audit::{Column, Entity, Model};
use crate::listing::page_size;
use crate::{Actor, StoreError};

/// Who did what to what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Rises with every row of the whole database; gaps are allowed.
    pub seq: i64,
    /// Microseconds since 1970.
    pub ts: i64,
    /// Whose object it was; `None` for the platform's.
    pub tenant: Option<TenantId>,
    /// A key's id, a user's, or the part of Gatehouse that acted.
    pub actor: String,
    /// `key`, `user` or `system`.
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

/// Which audit rows to list, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// Only those at this instant or later, microseconds since 1970.
    pub since: Option<i64>,
    /// Only those before this instant, microseconds since 1970.
    pub until: Option<i64>,
    /// Only those of this actor: a key's id, a user's, or a part of Gatehouse.
    pub actor: Option<String>,
    /// Only those with exactly this action.
    pub action: Option<String>,
    /// Only those about exactly this object.
    pub object: Option<String>,
    /// Only those before this one's seq.
    pub before: Option<i64>,
    /// At most this many, 1 to 500.
    pub limit: u32,
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

    /// The newest rows first.
    pub async fn audit(&self, page: AuditPage) -> Result<Vec<AuditRow>, StoreError> {
        let AuditPage { since, until, actor, action, object, before, limit } = page;
        let condition = Condition::all()
            .add_option(since.map(|since| Column::Ts.gte(since)))
            .add_option(until.map(|until| Column::Ts.lt(until)))
            .add_option(actor.map(|actor| Column::Actor.eq(actor)))
            .add_option(action.map(|action| Column::Action.eq(action)))
            .add_option(object.map(|object| Column::Object.eq(object)))
            .add_option(before.map(|before| Column::Seq.lt(before)));
        let query = self.scoped_audit().filter(condition).order_by_desc(Column::Seq).limit(page_size(limit));
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.audit_row(row)).collect()
    }
}

impl TenantStore {
    /// Writes down what was done and changed no record: `action` is a noun and a verb, `object` what it was done to,
    /// `after` says more of it, without secrets.
    pub async fn note(
        &self,
        actor: &Actor,
        action: &'static str,
        object: String,
        after: Value,
    ) -> Result<(), StoreError> {
        let deed = Deed { tenant: Some(self.tenant), action, object, before: None, after: Some(after) };
        append_audit(&self.store.inner.write, self.store.now(), actor, deed).await?;
        self.store.tally().changed();
        Ok(())
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
