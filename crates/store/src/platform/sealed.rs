//! Envelopes of the platform's own secrets, made and opened by the vault, opaque here.

use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, EntityTrait};

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
}
