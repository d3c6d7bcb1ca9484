//! The end of a server: deleted, restored or erased, and what still refers to it.

use model::{Generation, KeyId, ResourceName, ServerId};
use sea_orm::{ColumnTrait, ConnectionTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect};

use super::TenantStore;
use crate::change::Deed;
use crate::dependencies::LISTED;
use crate::entity::api_key;
use crate::entity::server::Column;
use crate::listing::lists;
use crate::{Actor, Committed, Dependencies, KeyReference, Restored, ServerRecord, StoreError};

impl TenantStore {
    /// A deleted server.
    pub async fn deleted_server(&self, id: ServerId) -> Result<Option<ServerRecord>, StoreError> {
        self.one_server(&self.store.inner.read, self.scoped_server_tombstones().filter(Column::Id.eq(id.0))).await
    }

    /// Deletes a server: its row stays as a tombstone, its name and title are free again, its secrets and connections
    /// are erased. Deleting a tombstone is `NotFound`.
    pub async fn delete_server(
        &self,
        actor: &Actor,
        id: ServerId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.server_at(&change, self.scoped_servers(), id, expected).await?;
        let mut after = before.clone();
        // What is deleted has no secrets: they don't wait for the purge.
        (after.deleted_at, after.auth_secret) = (Some(change.now), None);
        self.write_server(&change, actor, &before, &mut after).await?;
        let committed = self.commit_server(change, &tenant, actor, "server.delete", Some(before), after).await?;
        Ok(Committed { value: (), revision: committed.revision })
    }

    /// Brings a deleted server back as it was, but for its secrets; `NameTaken` or `TitleTaken` if another one has these by
    /// now. Restoring a live one changes nothing.
    pub async fn restore_server(
        &self,
        actor: &Actor,
        id: ServerId,
    ) -> Result<Committed<Restored<ServerRecord>>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let live = self.scoped_servers().filter(Column::Id.eq(id.0));
        if let Some(record) = self.one_server(&change.tx, live).await? {
            return change.nothing(Restored::whole(record)).await;
        }
        let before = self.server_at(&change, self.scoped_server_tombstones(), id, None).await?;
        let mut after = before.clone();
        after.deleted_at = None;
        self.check_server_fits(&change, &tenant, &after).await?;
        self.write_server(&change, actor, &before, &mut after).await?;
        let Committed { value, revision } =
            self.commit_server(change, &tenant, actor, "server.restore", Some(before), after).await?;
        let enter_again = value.lost();
        Ok(Committed { value: Restored { record: value, enter_again }, revision })
    }

    /// Erases a deleted server for good. `StillLive` if it is not deleted, `Referenced` if live keys
    /// name it.
    pub async fn purge_server(
        &self,
        actor: &Actor,
        id: ServerId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let (change, _) = self.begin().await?;
        let live = self.scoped_servers().filter(Column::Id.eq(id.0));
        if self.one_server(&change.tx, live).await?.is_some() {
            return Err(StoreError::StillLive);
        }
        let record = self.server_at(&change, self.scoped_server_tombstones(), id, expected).await?;
        let dependencies = self.references(&change.tx, &record, change.now).await?;
        if !dependencies.is_empty() {
            return Err(StoreError::Referenced(Box::new(dependencies)));
        }
        self.scoped_server_deletion().filter(Column::Id.eq(id.0)).exec(&change.tx).await?;
        let name = ResourceName::Server(id);
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "server.purge",
            object: name.to_string(),
            before: Some(record.redacted()),
            after: None,
        };
        change.commit(actor, deed, [self.notice(name, false, false)], ()).await
    }

    /// What refers to a server, live or deleted; `None` if it isn't.
    pub async fn server_dependencies(&self, id: ServerId) -> Result<Option<Dependencies>, StoreError> {
        let record = match self.server(id).await? {
            Some(record) => Some(record),
            None => self.deleted_server(id).await?,
        };
        match record {
            Some(record) => Ok(Some(self.references(&self.store.inner.read, &record, self.store.now()).await?)),
            None => Ok(None),
        }
    }

    /// Keys name servers by their slug. A tombstone whose name a live server has by now is meant by none.
    async fn references(
        &self,
        db: &impl ConnectionTrait,
        record: &ServerRecord,
        now: i64,
    ) -> Result<Dependencies, StoreError> {
        let name = record.spec.name.as_str();
        let heir = self.scoped_servers().filter(Column::Name.eq(name));
        if record.deleted_at.is_some() && self.one_server(db, heir).await?.is_some() {
            return Ok(Dependencies::default());
        }
        let those = || self.scoped_live_keys(now).filter(lists(self.backend(), api_key::Column::Servers, name));
        let rows = those()
            .select_only()
            .columns([api_key::Column::Id, api_key::Column::Label])
            .order_by_asc(api_key::Column::CreatedAt)
            .limit(LISTED)
            .into_tuple::<(String, String)>()
            .all(db)
            .await?;
        let keys = rows.into_iter().map(|(id, label)| {
            let id: KeyId = id.parse().map_err(|_| StoreError::Corrupt { what: "api_key.id" })?;
            Ok(KeyReference { id, label })
        });
        let keys = keys.collect::<Result<Vec<_>, StoreError>>()?;
        Ok(Dependencies { keys, key_count: those().count(db).await? })
    }
}
