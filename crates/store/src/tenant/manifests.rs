//! What each server offered when it was asked last, as proxies report it.

use model::{Digest, ServerId, TenantId};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, Select};

use super::TenantStore;
use crate::StoreError;
use crate::bounds::MANIFEST_BYTES;
use crate::change::begin_write;
use crate::entity::manifest::{ActiveModel, Column, Entity, Model};
use crate::entity::server;

/// The tools of a server as its upstream listed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Whose they are.
    pub server: ServerId,
    /// Tells two manifests apart without reading them.
    pub digest: Digest,
    /// The upstream's own JSON list, byte for byte; at most 8 MiB.
    pub tools: String,
    /// When a proxy fetched it last, microseconds since 1970.
    pub fetched_at: i64,
}

impl TenantStore {
    fn scoped_manifests(&self) -> Select<Entity> {
        Entity::find().filter(self.own_manifests())
    }

    pub(super) fn scoped_manifest_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_manifests())
    }

    fn own_manifests(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    /// The last manifest of a live server, if any proxy reported one.
    pub async fn manifest(&self, server: ServerId) -> Result<Option<Manifest>, StoreError> {
        if self.server(server).await?.is_none() {
            return Ok(None);
        }
        let row = self.scoped_manifests().filter(Column::ServerId.eq(server.0)).one(&self.store.inner.read).await?;
        row.map(|row| self.manifest_of(row)).transpose()
    }

    /// Keeps a manifest of a live server in place of one that is older: `NotFound`, or `Bound` if it is
    /// too long. It is observed, not intended: no revision and no audit row.
    pub async fn put_manifest(&self, manifest: Manifest) -> Result<(), StoreError> {
        if manifest.tools.len() > MANIFEST_BYTES as usize {
            return Err(StoreError::Bound { what: "bytes of one manifest", limit: MANIFEST_BYTES });
        }
        let tx = begin_write(&self.store).await?;
        let known = self.scoped_servers().filter(server::Column::Id.eq(manifest.server.0)).count(&tx).await?;
        if known == 0 {
            return Err(StoreError::NotFound);
        }
        let held = self.scoped_manifests().filter(Column::ServerId.eq(manifest.server.0)).one(&tx).await?;
        if held.is_some_and(|held| held.fetched_at > manifest.fetched_at) {
            return Ok(());
        }
        let row = ActiveModel {
            tenant_id: Set(self.tenant.0),
            server_id: Set(manifest.server.0),
            digest: Set(manifest.digest.0.to_vec()),
            tools: Set(manifest.tools),
            fetched_at: Set(manifest.fetched_at),
        };
        let replace = OnConflict::columns([Column::TenantId, Column::ServerId])
            .update_columns([Column::Digest, Column::Tools, Column::FetchedAt])
            .to_owned();
        Entity::insert(row).on_conflict(replace).exec_without_returning(&tx).await?;
        tx.commit().await?;
        Ok(())
    }

    fn manifest_of(&self, row: Model) -> Result<Manifest, StoreError> {
        self.check(TenantId(row.tenant_id))?;
        Ok(Manifest {
            server: ServerId(row.server_id),
            digest: Digest::from_slice(&row.digest).ok_or(StoreError::Corrupt { what: "manifest.digest" })?,
            tools: row.tools,
            fetched_at: row.fetched_at,
        })
    }
}
