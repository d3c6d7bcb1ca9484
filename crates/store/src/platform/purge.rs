//! What nobody needs any more goes for good: old tombstones, dead keys, ended sessions and grants, answers, commands,
//! hints, audit rows.
//!
//! Proxies hold nothing of it but deleted users and revoked grants, and are told when these go. Every other
//! statement removes one batch and stands alone: a pass that is cut goes on where it was, and replicas that pass at
//! the same time remove each row once. A row that is restored in the meantime is no longer due and stays.

use std::collections::HashMap;

use model::TenantId;
use sea_orm::sea_query::{Expr, ExprTrait as _, Query};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait, Iterable, PrimaryKeyToColumn as _, QueryFilter, QueryOrder, QuerySelect,
    QueryTrait,
};
use serde_json::json;
use uuid::Uuid;

use super::PlatformStore;
use super::idempotency::KEPT_MICROS;
use crate::change::{Change, Deed, append_audit, begin_write};
use crate::entity::{
    api_key, attempt, audit, command, department, idempotency, login_attempt, oauth_client, oauth_code, oauth_grant,
    outbox, server, session, sign_in_link, tenant, user,
};
use crate::grant_record::GRANT_IDLE;
use crate::{Actor, StoreError};

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;
/// How long a grant is kept after its end, microseconds: longer than any token of it lives.
const GRANT_MICROS: i64 = 3600 * 1_000_000;
/// How long a login at an upstream is shown after its time, microseconds.
const LOGIN_MICROS: i64 = 3600 * 1_000_000;
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
    /// Sessions that have reached their end.
    pub sessions: u64,
    /// Sign-in links, round trips and authorization codes that nobody came back for, and logins at upstreams that were
    /// over for an hour.
    pub attempts: u64,
    /// OAuth clients that were not used for long.
    pub clients: u64,
    /// Grants that have ended or were revoked, with their refresh tokens.
    pub grants: u64,
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
        let ended = now.saturating_sub(GRANT_MICROS);
        // Keys and grants before the users that they point to, and what a tenant has before the tenant.
        let purged = Purged {
            keys: self.purge(dead_keys(buried)).await? + self.purge(keys_of_users(buried)).await?,
            grants: self.purge_revoked(ended).await? + self.purge(ended_grants(ended)).await?,
            users: self.purge_users(buried).await?,
            departments: self
                .purge((department::Entity, Condition::all().add(department::Column::DeletedAt.lt(buried))))
                .await?,
            servers: self.purge((server::Entity, Condition::all().add(server::Column::DeletedAt.lt(buried)))).await?,
            tenants: self.purge_tenants(buried).await?,
            sessions: self.purge((session::Entity, Condition::all().add(session::Column::ExpiresAt.lte(now)))).await?,
            attempts: self.purge_attempts(now).await?,
            clients: self
                .purge((oauth_client::Entity, Condition::all().add(oauth_client::Column::ExpiresAt.lte(now))))
                .await?,
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

    /// Removes deleted users. Proxies know them, so that no stranger comes in as one: each batch is a change.
    async fn purge_users(&self, before: i64) -> Result<u64, StoreError> {
        use user::Column;
        let due = || user::Entity::find().filter(Column::DeletedAt.lt(before)).select_only();
        let mut removed = 0;
        // Looked at first, so that a pass that finds none takes no turn.
        while due().column(Column::Id).into_tuple::<Uuid>().one(&self.store.inner.read).await?.is_some() {
            let change = Change::begin(&self.store).await?;
            let batch = due().columns([Column::TenantId, Column::Id]).limit(BATCH).into_tuple::<(Uuid, Uuid)>();
            let batch = batch.all(&change.tx).await?;
            if batch.is_empty() {
                change.nothing(()).await?;
                break;
            }
            removed += batch.len() as u64;
            let mut by_tenant: HashMap<Uuid, Vec<Uuid>> = HashMap::new();
            batch.into_iter().for_each(|(tenant, id)| by_tenant.entry(tenant).or_default().push(id));
            let mut notices = Vec::new();
            for (tenant, ids) in by_tenant {
                notices.extend(self.store.tenant(TenantId(tenant)).erase_users(&change, ids).await?);
            }
            change.commit_unaudited(notices, ()).await?;
        }
        Ok(removed)
    }

    async fn purge_attempts(&self, now: i64) -> Result<u64, StoreError> {
        let links = (sign_in_link::Entity, Condition::all().add(sign_in_link::Column::ExpiresAt.lte(now)));
        let trips = (attempt::Entity, Condition::all().add(attempt::Column::ExpiresAt.lte(now)));
        let codes = (oauth_code::Entity, Condition::all().add(oauth_code::Column::ExpiresAt.lte(now)));
        let kept = now.saturating_sub(LOGIN_MICROS);
        let logins = (login_attempt::Entity, Condition::all().add(login_attempt::Column::ExpiresAt.lte(kept)));
        let ended = self.purge(links).await? + self.purge(trips).await? + self.purge(codes).await?;
        Ok(ended + self.purge(logins).await?)
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
            match self.purge_tenant(&Actor::system("purge"), TenantId(tenant.id)).await {
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

/// Of these proxies know nothing.
fn ended_grants(before: i64) -> (oauth_grant::Entity, Condition) {
    use oauth_grant::Column;
    let ended =
        Condition::any().add(Column::ExpiresAt.lt(before)).add(Column::UsedAt.lt(before.saturating_sub(GRANT_IDLE)));
    (oauth_grant::Entity, Condition::all().add(Column::RevokedAt.is_null()).add(ended))
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
