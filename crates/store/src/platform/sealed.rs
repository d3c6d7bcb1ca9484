//! Envelopes of the platform's own secrets, made and opened by the vault, opaque here.

use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter};

use super::PlatformStore;
use crate::StoreError;
use crate::entity::sealed::{ActiveModel, Column, Entity};

impl PlatformStore {
    /// The envelope kept under `name`.
    pub async fn sealed(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let row = Entity::find_by_id(name.to_owned()).one(&self.store.inner.read).await?;
        Ok(row.map(|row| row.bytes))
    }

    /// Keeps an envelope under `name`, in place of the one before.
    pub async fn put_sealed(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        let row = ActiveModel { name: Set(name.to_owned()), bytes: Set(bytes) };
        Entity::insert(row)
            .on_conflict(OnConflict::column(Column::Name).update_column(Column::Bytes).to_owned())
            .exec_without_returning(&self.store.inner.write)
            .await?;
        Ok(())
    }

    /// Keeps an envelope in place of `before`, or where there is none; says no if another one is there. Of several who
    /// try at once one is told yes.
    pub async fn replace_sealed(&self, name: &str, before: Option<&[u8]>, bytes: Vec<u8>) -> Result<bool, StoreError> {
        let write = &self.store.inner.write;
        let Some(before) = before else {
            let row = ActiveModel { name: Set(name.to_owned()), bytes: Set(bytes) };
            let kept_away = OnConflict::column(Column::Name).do_nothing().to_owned();
            let inserted = Entity::insert(row).on_conflict(kept_away).exec_without_returning(write).await?;
            return Ok(inserted > 0);
        };
        let replaced = Entity::update_many()
            .col_expr(Column::Bytes, Expr::value(bytes))
            .filter(Column::Name.eq(name))
            .filter(Column::Bytes.eq(before.to_vec()))
            .exec(write)
            .await?;
        Ok(replaced.rows_affected > 0)
    }
}
