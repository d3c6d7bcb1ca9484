//! As whom Gatehouse registered itself at servers' authorization servers, and what these say of themselves.

use std::fmt;

use model::{ServerId, TenantId};
use sea_orm::sea_query::OnConflict;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter,
    QueryOrder, Select,
};

use super::TenantStore;
use crate::StoreError;
use crate::bounds::{self, UPSTREAM_CLIENTS, UPSTREAM_METADATA_BYTES, beyond};
use crate::change::{Change, begin_write};
use crate::entity::{server, upstream_client as client, upstream_metadata as metadata};

/// A client that was registered for a server. One that somebody registered by hand is in the server's record instead.
#[derive(Clone, PartialEq, Eq)]
pub struct UpstreamClient {
    /// For which server.
    pub server: ServerId,
    /// At which authorization server.
    pub issuer: String,
    /// The name that this gave.
    pub client_id: String,
    /// The secret that it gave, sealed by the vault.
    pub secret: Option<Vec<u8>>,
    /// How the client authenticates itself there.
    pub auth_method: String,
    /// Where browsers come back to: another address needs another registration.
    pub redirect_uri: String,
    /// When it was stored, microseconds since 1970.
    pub registered_at: i64,
    /// When the secret ends, microseconds since 1970.
    pub secret_expires_at: Option<i64>,
}

/// A client to be kept.
#[derive(Clone)]
pub struct NewUpstreamClient {
    /// See [`UpstreamClient::server`].
    pub server: ServerId,
    /// See [`UpstreamClient::issuer`].
    pub issuer: String,
    /// See [`UpstreamClient::client_id`].
    pub client_id: String,
    /// See [`UpstreamClient::secret`]; at most 32 KiB.
    pub secret: Option<Vec<u8>>,
    /// See [`UpstreamClient::auth_method`].
    pub auth_method: String,
    /// See [`UpstreamClient::redirect_uri`].
    pub redirect_uri: String,
    /// See [`UpstreamClient::secret_expires_at`].
    pub secret_expires_at: Option<i64>,
    /// The name of the client that it replaces; `None` if there was none.
    pub replaces: Option<String>,
}

/// What is known of a server's authorization server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamMetadata {
    /// The caller's own JSON, at most 64 KiB.
    pub document: String,
    /// When it is to be asked again, microseconds since 1970.
    pub until: i64,
}

/// Without the sealed bytes.
impl fmt::Debug for UpstreamClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamClient")
            .field("server", &self.server)
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("secret", &self.secret.is_some())
            .field("auth_method", &self.auth_method)
            .field("redirect_uri", &self.redirect_uri)
            .field("registered_at", &self.registered_at)
            .field("secret_expires_at", &self.secret_expires_at)
            .finish()
    }
}

impl TenantStore {
    fn scoped_upstream_clients(&self) -> Select<client::Entity> {
        client::Entity::find().filter(self.own_upstream_clients())
    }

    pub(super) fn scoped_upstream_client_deletion(&self) -> DeleteMany<client::Entity> {
        client::Entity::delete_many().filter(self.own_upstream_clients())
    }

    fn own_upstream_clients(&self) -> Condition {
        Condition::all().add(client::Column::TenantId.eq(self.tenant.0))
    }

    fn scoped_upstream_metadata(&self) -> Select<metadata::Entity> {
        metadata::Entity::find().filter(self.own_upstream_metadata())
    }

    pub(super) fn scoped_upstream_metadata_deletion(&self) -> DeleteMany<metadata::Entity> {
        metadata::Entity::delete_many().filter(self.own_upstream_metadata())
    }

    fn own_upstream_metadata(&self) -> Condition {
        Condition::all().add(metadata::Column::TenantId.eq(self.tenant.0))
    }

    /// The client that was registered for a server there.
    pub async fn upstream_client(&self, server: ServerId, issuer: &str) -> Result<Option<UpstreamClient>, StoreError> {
        self.one_upstream_client(&self.store.inner.read, server, issuer).await
    }

    async fn one_upstream_client(
        &self,
        db: &impl ConnectionTrait,
        server: ServerId,
        issuer: &str,
    ) -> Result<Option<UpstreamClient>, StoreError> {
        let query = self.scoped_upstream_clients().filter(client::Column::ServerId.eq(server.0));
        let row = query.filter(client::Column::Issuer.eq(issuer)).one(db).await?;
        row.map(|row| self.upstream_client_of(row)).transpose()
    }

    fn upstream_client_of(&self, row: client::Model) -> Result<UpstreamClient, StoreError> {
        self.check(TenantId(row.tenant_id))?;
        Ok(UpstreamClient {
            server: ServerId(row.server_id),
            issuer: row.issuer,
            client_id: row.client_id,
            secret: row.secret,
            auth_method: row.auth_method,
            redirect_uri: row.redirect_uri,
            registered_at: row.registered_at,
            secret_expires_at: row.secret_expires_at,
        })
    }

    /// Keeps a client that was registered, if what it replaces is still there; answers the one that is there then. Of
    /// two replicas that register at once both go on with the same one. Of one server the newest 16 are kept.
    /// `NotFound` for no live server.
    pub async fn put_upstream_client(&self, new: NewUpstreamClient) -> Result<UpstreamClient, StoreError> {
        if let Some(secret) = &new.secret {
            bounds::fits_sealed(secret)?;
        }
        let (change, _) = self.begin().await?;
        let known = self.scoped_servers().filter(server::Column::Id.eq(new.server.0)).count(&change.tx).await?;
        if known == 0 {
            return Err(StoreError::NotFound);
        }
        let there = self.one_upstream_client(&change.tx, new.server, &new.issuer).await?;
        if let Some(there) = there.filter(|there| Some(&there.client_id) != new.replaces.as_ref()) {
            return change.nothing(there).await.map(|nothing| nothing.value);
        }
        let of_server = client::Column::ServerId.eq(new.server.0);
        let before = self.scoped_upstream_client_deletion().filter(of_server.clone());
        before.filter(client::Column::Issuer.eq(new.issuer.as_str())).exec(&change.tx).await?;
        let row = client::ActiveModel {
            tenant_id: Set(self.tenant.0),
            server_id: Set(new.server.0),
            issuer: Set(new.issuer.clone()),
            client_id: Set(new.client_id),
            secret: Set(new.secret),
            auth_method: Set(new.auth_method),
            redirect_uri: Set(new.redirect_uri),
            registered_at: Set(change.now),
            secret_expires_at: Set(new.secret_expires_at),
        };
        client::Entity::insert(row).exec_without_returning(&change.tx).await?;
        let newest_first = self.scoped_upstream_clients().filter(of_server.clone());
        let newest_first =
            newest_first.order_by_desc(client::Column::RegisteredAt).order_by_desc(client::Column::Issuer);
        let old = beyond(&change.tx, newest_first, UPSTREAM_CLIENTS).await?;
        if !old.is_empty() {
            let old = client::Column::Issuer.is_in(old.into_iter().map(|row| row.issuer));
            self.scoped_upstream_client_deletion().filter(of_server).filter(old).exec(&change.tx).await?;
        }
        let there = self.one_upstream_client(&change.tx, new.server, &new.issuer).await?.ok_or(StoreError::NotFound)?;
        change.quietly().await?;
        Ok(there)
    }

    /// Forgets a client that its authorization server does not know any more; says no if another one is there by now.
    pub async fn drop_upstream_client(
        &self,
        server: ServerId,
        issuer: &str,
        client_id: &str,
    ) -> Result<bool, StoreError> {
        let dropped = self
            .scoped_upstream_client_deletion()
            .filter(client::Column::ServerId.eq(server.0))
            .filter(client::Column::Issuer.eq(issuer))
            .filter(client::Column::ClientId.eq(client_id))
            .exec(&self.store.inner.write)
            .await?;
        Ok(dropped.rows_affected == 1)
    }

    /// What is known of a server's authorization server, old or not.
    pub async fn upstream_metadata(&self, server: ServerId) -> Result<Option<UpstreamMetadata>, StoreError> {
        let query = self.scoped_upstream_metadata().filter(metadata::Column::ServerId.eq(server.0));
        let Some(row) = query.one(&self.store.inner.read).await? else { return Ok(None) };
        self.check(TenantId(row.tenant_id))?;
        Ok(Some(UpstreamMetadata { document: row.document, until: row.until_at }))
    }

    /// Keeps what is known of a server's authorization server, until its address or the way to authenticate to it
    /// changes. `NotFound` for no live server.
    pub async fn put_upstream_metadata(&self, server: ServerId, known: UpstreamMetadata) -> Result<(), StoreError> {
        bounds::fits(known.document.len(), "bytes of what is known of an upstream", UPSTREAM_METADATA_BYTES)?;
        let tx = begin_write(&self.store).await?;
        if self.scoped_servers().filter(server::Column::Id.eq(server.0)).count(&tx).await? == 0 {
            return Err(StoreError::NotFound);
        }
        let row = metadata::ActiveModel {
            tenant_id: Set(self.tenant.0),
            server_id: Set(server.0),
            document: Set(known.document),
            until_at: Set(known.until),
        };
        let replace = OnConflict::columns([metadata::Column::TenantId, metadata::Column::ServerId])
            .update_columns([metadata::Column::Document, metadata::Column::UntilAt])
            .to_owned();
        metadata::Entity::insert(row).on_conflict(replace).exec_without_returning(&tx).await?;
        tx.commit().await?;
        Ok(())
    }

    pub(super) async fn forget_upstream_metadata(&self, change: &Change, server: ServerId) -> Result<(), StoreError> {
        let known = self.scoped_upstream_metadata_deletion().filter(metadata::Column::ServerId.eq(server.0));
        known.exec(&change.tx).await?;
        Ok(())
    }

    pub(super) async fn forget_upstream_clients(&self, change: &Change, server: ServerId) -> Result<(), StoreError> {
        let registered = self.scoped_upstream_client_deletion().filter(client::Column::ServerId.eq(server.0));
        registered.exec(&change.tx).await?;
        Ok(())
    }
}
