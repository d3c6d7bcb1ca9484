//! What nobody needs any more goes for good: old tombstones, dead keys, answers, commands, hints, audit rows.
//!
//! Nothing of it is intended, so proxies are told nothing. Every statement removes one batch and stands
//! alone: a pass that is cut goes on where it was, and replicas that pass at the same time remove each row
//! once. A row that is restored in the meantime is no longer due and stays.

use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, Iterable, PrimaryKeyToColumn as _, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};
use serde_json::json;

use super::PlatformStore;
use super::idempotency::KEPT_MICROS;
use crate::change::{Deed, append_audit, begin_write};
use crate::entity::{api_key, audit, command, department, idempotency, outbox, server, tenant, user};
use crate::{Actor, StoreError};

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
/// Rows that one statement removes: others wait for it on SQLite.
const BATCH: u64 = if cfg!(test) { 2 } else { 500 };
/// Tenants that one pass removes whole.
const TENANTS: u64 = 10;

/// How long things are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Deleted records, and keys that were revoked or have expired; days.
    pub tombstone_days: u32,
    /// Audit rows; days.
    pub audit_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { tombstone_days: 90, audit_days: 400 }
    }
}

/// How many rows a pass removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Purged {
    /// Deleted tenants, each with all that was theirs.
    pub tenants: u64,
    /// Deleted servers, with their manifests.
    pub servers: u64,
    /// Deleted users, with their keys.
    pub users: u64,
    /// Deleted departments.
    pub departments: u64,
    /// Keys that were dead for long, and those of users who went.
    pub keys: u64,
    /// Kept answers.
    pub answers: u64,
    /// Commands that nobody waits for.
    pub commands: u64,
    /// Hints for proxies that are behind: those further behind get the whole state.
    pub hints: u64,
    /// Audit rows.
    pub audit: u64,
}

impl PlatformStore {
    /// Removes what is due at `now` (microseconds since 1970).
    pub async fn purge_expired(&self, now: i64, keep: Retention) -> Result<Purged, StoreError> {
        let before = |days: u32| now.saturating_sub(i64::from(days).saturating_mul(DAY_MICROS));
        let (buried, forgotten) = (before(keep.tombstone_days), before(keep.audit_days));
        // Keys before the users that they point to, and what a tenant has before the tenant.
        let purged = Purged {
            keys: self.purge(dead_keys(buried)).await? + self.purge(keys_of_users(buried)).await?,
            users: self.purge((user::Entity, Condition::all().add(user::Column::DeletedAt.lt(buried)))).await?,
            departments: self
                .purge((department::Entity, Condition::all().add(department::Column::DeletedAt.lt(buried))))
                .await?,
            servers: self.purge((server::Entity, Condition::all().add(server::Column::DeletedAt.lt(buried)))).await?,
            tenants: self.purge_tenants(buried).await?,
            answers: self
                .purge((
                    idempotency::Entity,
                    Condition::all().add(idempotency::Column::CreatedAt.lt(now.saturating_sub(KEPT_MICROS))),
                ))
                .await?,
            commands: self
                .purge((command::Entity, Condition::all().add(command::Column::DeadlineAt.lt(before(1)))))
                .await?,
            hints: self.purge((outbox::Entity, Condition::all().add(outbox::Column::CreatedAt.lt(before(1))))).await?,
            audit: self.purge((audit::Entity, Condition::all().add(audit::Column::Ts.lt(forgotten)))).await?,
        };
        self.note(now, purged).await?;
        Ok(purged)
    }

    /// Removes the rows of a table for which the condition holds, batch by batch; answers how many.
    async fn purge<E: EntityTrait>(&self, (_, due): (E, Condition)) -> Result<u64, StoreError> {
        let key: Vec<E::Column> = E::PrimaryKey::iter().map(E::PrimaryKey::into_column).collect();
        let tuple = || Expr::tuple(key.iter().map(|column| Expr::col(*column)));
        let mut removed = 0;
        loop {
            let batch = E::find().select_only().columns(key.clone()).filter(due.clone()).limit(BATCH).into_query();
            // The condition again: what was restored since the batch was chosen is not due.
            let rows = E::delete_many()
                .filter(tuple().in_subquery(batch))
                .filter(due.clone())
                .exec(&self.store.inner.write)
                .await?
                .rows_affected;
            removed += rows;
            if rows == 0 {
                return Ok(removed);
            }
        }
    }

    async fn purge_tenants(&self, before: i64) -> Result<u64, StoreError> {
        let due = tenant::Entity::find()
            .filter(tenant::Column::DeletedAt.lt(before))
            .order_by_asc(tenant::Column::Id)
            .limit(TENANTS)
            .all(&self.store.inner.read)
            .await?;
        let mut removed = 0;
        for tenant in due {
            match self.purge_tenant(&Actor::system("purge"), model::TenantId(tenant.id)).await {
                Ok(_) => removed += 1,
                // Another replica was first, or it was restored.
                Err(StoreError::NotFound | StoreError::StillLive) => (),
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// One audit row for a pass that removed records for good.
    async fn note(&self, now: i64, purged: Purged) -> Result<(), StoreError> {
        let Purged { servers, users, departments, keys, audit, .. } = purged;
        if servers + users + departments + keys + audit == 0 {
            return Ok(());
        }
        let after =
            json!({ "servers": servers, "users": users, "departments": departments, "keys": keys, "audit": audit });
        let deed =
            Deed { tenant: None, action: "purge.run", object: "expired".to_owned(), before: None, after: Some(after) };
        let tx = begin_write(&self.store).await?;
        append_audit(&tx, now, &Actor::system("purge"), deed).await?;
        tx.commit().await?;
        self.store.tally().changed();
        Ok(())
    }
}

fn dead_keys(before: i64) -> (api_key::Entity, Condition) {
    use api_key::Column;
    let dead = Condition::any().add(Column::RevokedAt.lt(before)).add(Column::ExpiresAt.lt(before));
    (api_key::Entity, dead)
}

fn keys_of_users(before: i64) -> (api_key::Entity, Condition) {
    let users = Query::select()
        .columns([user::Column::TenantId, user::Column::Id])
        .from(user::Entity)
        .and_where(Expr::col(user::Column::DeletedAt).lt(before))
        .to_owned();
    let owner = Expr::tuple([Expr::col(api_key::Column::TenantId), Expr::col(api_key::Column::UserId)]);
    (api_key::Entity, Condition::all().add(owner.in_subquery(users)))
}
