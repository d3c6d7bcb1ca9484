//! The look-up that authenticates a request, before any tenant is known.

use model::KeyId;
use sea_orm::EntityTrait;

use super::PlatformStore;
use crate::entity::api_key;
use crate::{KeyRecord, LiveKey, StoreError};

impl PlatformStore {
    /// A key of any tenant as it is stored. Revoked and expired ones come with their marks.
    pub async fn key(&self, id: KeyId) -> Result<Option<KeyRecord>, StoreError> {
        let row = api_key::Entity::find_by_id(id.to_string()).one(&self.store.inner.read).await?;
        row.map(KeyRecord::try_from).transpose()
    }

    /// A key of any tenant if it opens something now: neither revoked nor expired, its user and its
    /// tenant active and not deleted.
    pub async fn live_key(&self, id: KeyId) -> Result<Option<LiveKey>, StoreError> {
        let Some(record) = self.key(id).await? else { return Ok(None) };
        let handle = self.store.tenant(record.verifier.tenant);
        let Some(tenant) = handle.tenant().await?.filter(|tenant| tenant.is_live()) else { return Ok(None) };
        let bound = handle.bound_of(&self.store.inner.read, &record).await?;
        let role = record.verifier_within(bound, self.store.now()).map(|verifier| verifier.role);
        Ok(role.map(|role| LiveKey { record, role, tenant }))
    }

    /// What it takes to check evidence that was made with a key of any tenant (see [`model::KeyText::evidence`]), whether or
    /// not the key has ended. No proxy is told of it.
    pub async fn key_evidence(&self, id: KeyId) -> Result<Option<[u8; 32]>, StoreError> {
        let row = api_key::Entity::find_by_id(id.to_string()).one(&self.store.inner.read).await?;
        let read = |row: api_key::Model| {
            row.evidence.as_slice().try_into().map_err(|_| StoreError::Corrupt { what: "api_key.evidence" })
        };
        row.map(read).transpose()
    }
}
