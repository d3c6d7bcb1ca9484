//! Sessions of a tenant's users: listed, and ended by their ids.

use model::{IssuerId, SessionId, UserId};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Select,
};
use serde_json::json;

use super::TenantStore;
use crate::bounds::{SESSIONS, beyond};
use crate::change::{Deed, append_audit, begin_write};
use crate::entity::session::{Column, Entity, Model};
use crate::listing::page_size;
use crate::{Actor, Committed, NewSession, SessionPage, SessionRecord, StoreError};

impl TenantStore {
    fn scoped_sessions(&self) -> Select<Entity> {
        Entity::find().filter(self.own_sessions())
    }

    pub(super) fn scoped_session_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_sessions())
    }

    fn own_sessions(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    fn session_record(&self, row: Model) -> Result<SessionRecord, StoreError> {
        let record = SessionRecord::from(row);
        self.check(record.tenant)?;
        Ok(record)
    }

    /// Sessions that have not reached their end, in the order of their making.
    pub async fn sessions(&self, page: SessionPage) -> Result<Vec<SessionRecord>, StoreError> {
        let mut query = self.scoped_sessions().filter(Column::ExpiresAt.gt(self.store.now()));
        if let Some(user) = page.user {
            query = query.filter(Column::UserId.eq(user.0));
        }
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        let query = query.order_by_asc(Column::Id).limit(page_size(page.limit));
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.session_record(row)).collect()
    }

    /// A session that has not reached its end.
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionRecord>, StoreError> {
        let query = self.scoped_sessions().filter(Column::Id.eq(id.0)).filter(Column::ExpiresAt.gt(self.store.now()));
        let row = query.one(&self.store.inner.read).await?;
        row.map(|row| self.session_record(row)).transpose()
    }

    /// Begins a session of an active user. Of a user's sessions the newest 100 are kept.
    pub(crate) async fn begin_session(&self, new: NewSession) -> Result<SessionRecord, StoreError> {
        let tx = begin_write(&self.store).await?;
        let now = self.store.now();
        self.own_record(&tx).await?.filter(|tenant| tenant.is_live()).ok_or(StoreError::NotFound)?;
        // Held until the commit: a user who is made inactive meanwhile would keep the session.
        let user = self.held_user(&tx, new.user).await?.ok_or(StoreError::NoUser)?;
        let hash = new.hash;
        let record = SessionRecord::new(new, now);
        Entity::insert(record.clone().into_row(hash)).exec_without_returning(&tx).await?;
        let newest_first = self.scoped_sessions().filter(Column::UserId.eq(record.user.0));
        let newest_first = newest_first.order_by_desc(Column::CreatedAt).order_by_desc(Column::Id);
        let old = beyond(&tx, newest_first, SESSIONS).await?;
        let old = Column::Id.is_in(old.into_iter().map(|row| row.id));
        self.scoped_session_deletion().filter(old).exec(&tx).await?;
        let actor = Actor {
            tenant: Some(self.tenant),
            user: Some(record.user),
            name: user.login,
            ip: record.ip.clone(),
            ..Actor::default()
        };
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "session.create",
            object: record.object(),
            before: None,
            after: Some(record.redacted()),
        };
        append_audit(&tx, now, &actor, deed).await?;
        tx.commit().await.map_err(StoreError::of_commit)?;
        self.store.tally().changed();
        Ok(record)
    }

    /// Ends a session.
    pub async fn end_session_by_id(&self, actor: &Actor, id: SessionId) -> Result<Committed<()>, StoreError> {
        let (change, _) = self.begin().await?;
        let ended = self.scoped_session_deletion().filter(Column::Id.eq(id.0)).exec_with_returning(&change.tx).await?;
        let row = ended.into_iter().next().ok_or(StoreError::NotFound)?;
        let record = self.session_record(row)?;
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "session.end",
            object: record.object(),
            before: Some(record.redacted()),
            after: None,
        };
        change.commit(actor, deed, [], ()).await
    }

    /// Ends all sessions of a user; answers how many. None of an unknown user.
    pub async fn end_sessions_of(&self, actor: &Actor, user: UserId) -> Result<Committed<u64>, StoreError> {
        let (change, _) = self.begin().await?;
        let ended = self.drop_sessions(&change.tx, user).await?;
        if ended == 0 {
            return change.nothing(0).await;
        }
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "session.end_all",
            object: format!("user/{user}"),
            before: Some(json!({ "sessions": ended })),
            after: None,
        };
        change.commit(actor, deed, [], ended).await
    }

    /// Drops all sessions of a user.
    pub(super) async fn drop_sessions(&self, db: &impl ConnectionTrait, user: UserId) -> Result<u64, StoreError> {
        let ended = self.scoped_session_deletion().filter(Column::UserId.eq(user.0)).exec(db).await?;
        Ok(ended.rows_affected)
    }

    /// Drops all sessions that began at this issuer, or with a password.
    pub(super) async fn drop_sessions_by_way(
        &self,
        db: &impl ConnectionTrait,
        issuer: Option<IssuerId>,
    ) -> Result<(), StoreError> {
        let way = issuer.map_or(Column::IssuerId.is_null(), |issuer| Column::IssuerId.eq(issuer.0));
        self.scoped_session_deletion().filter(way).exec(db).await?;
        Ok(())
    }
}
