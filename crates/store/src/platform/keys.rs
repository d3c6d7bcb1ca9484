//! The look-up that authenticates a request, before any tenant is known.

use model::KeyId;
use sea_orm::EntityTrait;

use super::PlatformStore;
use crate::entity::api_key;
use crate::{KeyRecord, StoreError};

impl PlatformStore {
    /// A key of any tenant. Revoked and expired ones come with their marks: the caller judges them.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let row = api_key::Entity::find_by_id(id.to_string()).one(&self.store.inner.read).await?;
        row.map(KeyRecord::try_from).transpose()
    }
}
