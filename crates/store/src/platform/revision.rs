//! The revision of the whole intended state.

use model::Revision;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};

use super::PlatformStore;
use crate::change::{self, Deed, STATE_ID};
use crate::entity::state::{Column, Entity, Model};
use crate::{Actor, StoreError};

impl PlatformStore {
    /// Where the intended state is now.
    pub async fn revision(&self) -> Result<Revision, StoreError> {
        read(&self.store.inner.read).await
    }

    /// Begins a new epoch: a proxy holds a higher seq than the database, so the database was restored
    /// from a backup, and what proxies hold must be replaced whole. The seq stays. Nothing happens if the
    /// database is not behind `above` (any more): of many proxies that come back the first raises it.
    pub async fn raise_epoch(&self, above: Revision) -> Result<Revision, StoreError> {
        let now = self.store.now();
        let tx = change::begin_write(&self.store).await?;
        // Locked, so that no seq is taken between this read and the write (PostgreSQL; SQLite has the lock).
        let row = Entity::find_by_id(STATE_ID).lock_exclusive().one(&tx).await?;
        let old = row.map(Revision::from).ok_or(StoreError::Corrupt { what: "state" })?;
        if old >= above {
            tx.rollback().await?;
            return Ok(old);
        }
        // At least one higher, even if the clock was set back since the first migration.
        let new = Revision { epoch: now.max(old.epoch + 1), ..old };
        Entity::update_many()
            .col_expr(Column::Epoch, Expr::value(new.epoch))
            .filter(Column::Id.eq(STATE_ID))
            .exec(&tx)
            .await?;
        let deed = Deed {
            tenant: None,
            action: "epoch.raise",
            object: "state".to_owned(),
            before: Some(old.to_string().into()),
            after: Some(new.to_string().into()),
        };
        change::append_audit(&tx, now, &Actor::system("fleet"), deed).await?;
        change::commit(self.store.clone(), tx, new).await?;
        self.store.tally().changed();
        Ok(new)
    }
}

pub(super) async fn read(db: &impl ConnectionTrait) -> Result<Revision, StoreError> {
    let row = Entity::find_by_id(STATE_ID).one(db).await?;
    row.map(Revision::from).ok_or(StoreError::Corrupt { what: "state" })
}

impl From<Model> for Revision {
    fn from(row: Model) -> Self {
        Self { epoch: row.epoch, seq: row.seq }
    }
}
