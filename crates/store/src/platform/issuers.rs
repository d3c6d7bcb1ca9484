//! Identity providers of all tenants: for who fetches their keys.

use model::IssuerId;
use sea_orm::sea_query::{Expr, NullOrdering};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, JoinType, Order, QueryFilter, QueryOrder, QuerySelect, RelationDef,
};

use super::PlatformStore;
use crate::entity::issuer::{Column, Entity};
use crate::entity::tenant;
use crate::listing::page_size;
use crate::{IssuerRecord, StoreError};

impl PlatformStore {
    /// Enabled identity providers of active tenants that were last asked before `before` (microseconds since 1970),
    /// those that wait longest first. One that can't be read is skipped: it is shown with the intended state.
    pub async fn issuers_due(&self, before: i64, limit: u32) -> Result<Vec<IssuerRecord>, StoreError> {
        let due = Condition::any().add(Column::TriedAt.is_null()).add(Column::TriedAt.lt(before));
        let rows = Entity::find()
            .join(JoinType::InnerJoin, tenant_of_issuer())
            .filter(tenant::Column::Active.eq(true))
            .filter(tenant::Column::DeletedAt.is_null())
            .filter(Column::Enabled.eq(true))
            .filter(due)
            .order_by_with_nulls(Column::TriedAt, Order::Asc, NullOrdering::First)
            .limit(page_size(limit))
            .all(&self.store.inner.read)
            .await?;
        Ok(rows.into_iter().filter_map(|row| IssuerRecord::try_from(row).ok()).collect())
    }

    /// Takes the turn to ask an identity provider that was last asked at `seen`: from now on it was asked at `now`. Of
    /// several replicas that try at once one is told yes.
    pub async fn claim_issuer(&self, id: IssuerId, seen: Option<i64>, now: i64) -> Result<bool, StoreError> {
        let as_seen = seen.map_or_else(|| Column::TriedAt.is_null(), |seen| Column::TriedAt.eq(seen));
        let claimed = Entity::update_many()
            .col_expr(Column::TriedAt, Expr::value(now))
            .filter(Column::Id.eq(id.0))
            .filter(as_seen)
            .exec(&self.store.inner.write)
            .await?;
        Ok(claimed.rows_affected > 0)
    }

    /// An identity provider of whichever tenant: a proxy knows its id alone.
    pub async fn issuer_by_id(&self, id: IssuerId) -> Result<Option<IssuerRecord>, StoreError> {
        let row = Entity::find().filter(Column::Id.eq(id.0)).one(&self.store.inner.read).await?;
        row.map(IssuerRecord::try_from).transpose()
    }
}

fn tenant_of_issuer() -> RelationDef {
    Entity::belongs_to(tenant::Entity).from(Column::TenantId).to(tenant::Column::Id).into()
}
