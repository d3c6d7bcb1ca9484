//! Sessions by their secrets, before any tenant is known.

use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::PlatformStore;
use crate::change::{Deed, append_audit, begin_write};
use crate::entity::session::{Column, Entity};
use crate::{Actor, LiveSession, NewSession, SessionRecord, StoreError};

/// The use of a session is noted at most this often, microseconds.
const NOTED_MICROS: i64 = 60 * 1_000_000;

impl PlatformStore {
    /// Begins a session. `NoUser` for a user who is inactive or not there, `NotFound` for such a tenant.
    pub async fn create_session(&self, new: NewSession) -> Result<SessionRecord, StoreError> {
        self.store.tenant(new.tenant).begin_session(new).await
    }

    /// The session with this secret's SHA-256 if it opens something now: it has not reached its end, was
    /// used within the last `idle_micros`, and its user and tenant are active and not deleted.
    pub async fn live_session(&self, hash: [u8; 32], idle_micros: i64) -> Result<Option<LiveSession>, StoreError> {
        let now = self.store.now();
        let row = Entity::find()
            .filter(Column::Sha256.eq(hash.to_vec()))
            .filter(Column::ExpiresAt.gt(now))
            .filter(Column::SeenAt.gt(now.saturating_sub(idle_micros)))
            .one(&self.store.inner.read)
            .await?;
        let Some(session) = row.map(SessionRecord::from) else { return Ok(None) };
        let handle = self.store.tenant(session.tenant);
        let Some(tenant) = handle.tenant().await?.filter(|tenant| tenant.is_live()) else { return Ok(None) };
        let user = handle.active_user(&self.store.inner.read, session.user).await?;
        Ok(user.map(|user| LiveSession { session, user, tenant }))
    }

    /// Notes that a session was used at `at`, microseconds since 1970; at most once a minute.
    pub async fn touch_session(&self, hash: [u8; 32], at: i64) -> Result<(), StoreError> {
        Entity::update_many()
            .col_expr(Column::SeenAt, Expr::value(at))
            .filter(Column::Sha256.eq(hash.to_vec()))
            .filter(Column::SeenAt.lte(at.saturating_sub(NOTED_MICROS)))
            .exec(&self.store.inner.write)
            .await?;
        Ok(())
    }

    /// Ends a session: its user signs out. An unknown one is ended already.
    pub async fn end_session(&self, hash: [u8; 32]) -> Result<(), StoreError> {
        let tx = begin_write(&self.store).await?;
        let ended = Entity::delete_many().filter(Column::Sha256.eq(hash.to_vec())).exec_with_returning(&tx).await?;
        let Some(session) = ended.into_iter().next().map(SessionRecord::from) else {
            tx.rollback().await?;
            return Ok(());
        };
        let actor = Actor { tenant: Some(session.tenant), user: Some(session.user), ..Actor::default() };
        let deed = Deed {
            tenant: Some(session.tenant),
            action: "session.end",
            object: session.object(),
            before: Some(session.redacted()),
            after: None,
        };
        append_audit(&tx, self.store.now(), &actor, deed).await?;
        tx.commit().await.map_err(StoreError::of_commit)?;
        self.store.tally().changed();
        Ok(())
    }
}
