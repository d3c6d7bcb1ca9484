//! A tenant's servers: create, read, list, change.

use model::{Generation, ResourceName, ServerId};
use sea_orm::sea_query::IntoCondition as _;
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, UpdateMany,
};

use super::TenantStore;
use crate::change::{Change, Deed, Notice};
use crate::entity::connection;
use crate::entity::server::{Column, Entity, Model};
use crate::generation::expect;
use crate::listing::{holds, lists, page_size};
use crate::{Actor, Committed, NewServer, ServerPage, ServerPatch, ServerRecord, StoreError, TenantRecord};

impl TenantStore {
    /// The tenant's live servers.
    pub(super) fn scoped_servers(&self) -> Select<Entity> {
        Entity::find().filter(self.own_servers()).filter(Column::DeletedAt.is_null())
    }

    /// The tenant's deleted servers.
    pub(super) fn scoped_server_tombstones(&self) -> Select<Entity> {
        Entity::find().filter(self.own_servers()).filter(Column::DeletedAt.is_not_null())
    }

    /// Live and deleted ones, for writes.
    pub(super) fn scoped_server_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_servers())
    }

    /// The same for erasing.
    pub(super) fn scoped_server_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_servers())
    }

    fn own_servers(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    fn server_record(&self, row: Model) -> Result<ServerRecord, StoreError> {
        let record = ServerRecord::try_from(row)?;
        self.check(record.spec.tenant)?;
        Ok(record)
    }

    pub(super) async fn one_server(
        &self,
        db: &impl ConnectionTrait,
        query: Select<Entity>,
    ) -> Result<Option<ServerRecord>, StoreError> {
        query.one(db).await?.map(|row| self.server_record(row)).transpose()
    }

    /// Makes a server: `NameTaken`, `TitleTaken`, `Quota`, or `NotFound` if the tenant isn't.
    pub async fn create_server(&self, actor: &Actor, new: NewServer) -> Result<Committed<ServerRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let record = self.put_server(&change, &tenant, actor, new).await?;
        self.commit_server(change, &tenant, actor, "server.create", None, record).await
    }

    pub(super) async fn put_server(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        actor: &Actor,
        new: NewServer,
    ) -> Result<ServerRecord, StoreError> {
        let record = ServerRecord::new(self.tenant, actor, new, change.now)?;
        self.check_server_fits(change, tenant, &record).await?;
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        Ok(record)
    }

    /// A live server.
    pub async fn server(&self, id: ServerId) -> Result<Option<ServerRecord>, StoreError> {
        self.one_server(&self.store.inner.read, self.scoped_servers().filter(Column::Id.eq(id.0))).await
    }

    /// A live server by its slug.
    pub async fn server_by_name(&self, name: &str) -> Result<Option<ServerRecord>, StoreError> {
        self.one_server(&self.store.inner.read, self.scoped_servers().filter(Column::Name.eq(name))).await
    }

    /// A live server by its title.
    pub async fn server_by_title(&self, title: &str) -> Result<Option<ServerRecord>, StoreError> {
        self.one_server(&self.store.inner.read, self.scoped_servers().filter(Column::Title.eq(title))).await
    }

    /// Servers in the order of their making.
    pub async fn servers(&self, page: ServerPage) -> Result<Vec<ServerRecord>, StoreError> {
        let those = if page.deleted { self.scoped_server_tombstones() } else { self.scoped_servers() };
        let mut query = those.order_by_asc(Column::Id).limit(page_size(page.limit));
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        if let Some(names) = page.names {
            query = query.filter(Column::Name.is_in(names));
        }
        if let Some(enabled) = page.enabled {
            query = query.filter(Column::Enabled.eq(enabled));
        }
        if let Some(tag) = &page.tag {
            query = query.filter(lists(self.backend(), Column::Tags, tag));
        }
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            let columns = [Column::Name, Column::Title, Column::Description];
            query = query.filter(holds(self.backend(), &columns, &text));
        }
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.server_record(row)).collect()
    }

    /// Changes a server. With `expected`, only at that generation, else `Stale`. A patch that changes
    /// nothing commits nothing and leaves the generation alone. `NotBare` for one that asks for a server without
    /// secrets of connections.
    pub async fn patch_server(
        &self,
        actor: &Actor,
        id: ServerId,
        expected: Option<Generation>,
        patch: ServerPatch,
    ) -> Result<Committed<ServerRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.server_at(&change, self.scoped_servers(), id, expected).await?;
        if patch.bare && self.given_connections(&change, id).await? > 0 {
            return Err(StoreError::NotBare);
        }
        self.commit_changed_server(change, tenant, actor, "server.change", before, |before| before.patched(patch)).await
    }

    /// Changes a live server by a pure step.
    pub(super) async fn change_server(
        &self,
        actor: &Actor,
        id: ServerId,
        expected: Option<Generation>,
        action: &'static str,
        step: impl FnOnce(&ServerRecord) -> Result<ServerRecord, StoreError>,
    ) -> Result<Committed<ServerRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.server_at(&change, self.scoped_servers(), id, expected).await?;
        self.commit_changed_server(change, tenant, actor, action, before, step).await
    }

    async fn commit_changed_server(
        &self,
        change: Change,
        tenant: TenantRecord,
        actor: &Actor,
        action: &'static str,
        before: ServerRecord,
        step: impl FnOnce(&ServerRecord) -> Result<ServerRecord, StoreError>,
    ) -> Result<Committed<ServerRecord>, StoreError> {
        let mut after = step(&before)?;
        if after == before {
            return change.nothing(before).await;
        }
        self.check_server_is_unique(&change, &after).await?;
        self.write_server(&change, actor, &before, &mut after).await?;
        self.commit_server(change, &tenant, actor, action, Some(before), after).await
    }

    pub(super) async fn server_at(
        &self,
        change: &Change,
        those: Select<Entity>,
        id: ServerId,
        expected: Option<Generation>,
    ) -> Result<ServerRecord, StoreError> {
        let query = those.filter(Column::Id.eq(id.0));
        let record = self.one_server(&change.tx, query).await?.ok_or(StoreError::NotFound)?;
        expect(record.spec.generation, expected)?;
        Ok(record)
    }

    /// Writes every column of `after` over `before`, one generation on.
    pub(super) async fn write_server(
        &self,
        change: &Change,
        actor: &Actor,
        before: &ServerRecord,
        after: &mut ServerRecord,
    ) -> Result<(), StoreError> {
        let current = before.spec.generation;
        after.spec.generation = Generation(current.0 + 1);
        after.updated_at = change.now;
        after.updated_by = Some(actor.id());
        let written = self
            .scoped_server_update()
            .set(after.clone().into_row())
            .filter(Column::Id.eq(before.spec.id.0))
            .filter(Column::Generation.eq(current.0))
            .exec(&change.tx)
            .await?;
        if written.rows_affected == 1 { Ok(()) } else { Err(StoreError::Stale { current }) }
    }

    /// Whether there is room for one more server, with this name and title.
    pub(super) async fn check_server_fits(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        record: &ServerRecord,
    ) -> Result<(), StoreError> {
        self.check_server_is_unique(change, record).await?;
        let limit = tenant.spec.limits.servers;
        let room = self.scoped_servers().count(&change.tx).await? < u64::from(limit);
        if room { Ok(()) } else { Err(StoreError::Quota { limit }) }
    }

    /// Names the taken field. Writers take turns, so what is free here is free at the insert; the two
    /// partial indexes stand behind this for other programs.
    async fn check_server_is_unique(&self, change: &Change, record: &ServerRecord) -> Result<(), StoreError> {
        let others = || self.scoped_servers().filter(Column::Id.ne(record.spec.id.0));
        if others().filter(Column::Name.eq(record.spec.name.as_str())).count(&change.tx).await? > 0 {
            return Err(StoreError::NameTaken);
        }
        if others().filter(Column::Title.eq(record.spec.title.as_str())).count(&change.tx).await? > 0 {
            return Err(StoreError::TitleTaken);
        }
        Ok(())
    }

    pub(super) async fn commit_server(
        &self,
        change: Change,
        tenant: &TenantRecord,
        actor: &Actor,
        action: &'static str,
        before: Option<ServerRecord>,
        after: ServerRecord,
    ) -> Result<Committed<ServerRecord>, StoreError> {
        let deed = self.server_deed(action, before.as_ref(), &after);
        let mut notices = vec![self.server_notice(tenant, &after)];
        if let Some(before) = &before {
            notices.extend(self.follow_server(&change, tenant, before, &after).await?);
        }
        change.commit(actor, deed, notices, after).await
    }

    /// What goes or comes with a server that was changed: its connections, and what was learned of where it was.
    async fn follow_server(
        &self,
        change: &Change,
        tenant: &TenantRecord,
        before: &ServerRecord,
        after: &ServerRecord,
    ) -> Result<Vec<Notice>, StoreError> {
        let those = connection::Column::ServerId.eq(after.spec.id.0);
        if before.spec.url != after.spec.url || before.auth != after.auth || after.deleted_at.is_some() {
            self.forget_upstream_metadata(change, after.spec.id).await?;
        }
        if after.deleted_at.is_some() {
            self.forget_upstream_clients(change, after.spec.id).await?;
            return self.erase_connections(change, tenant.is_live(), those.into_condition()).await;
        }
        if before.is_intended() == after.is_intended() {
            return Ok(Vec::new());
        }
        let ids = self.connection_ids(change, those).await?;
        self.notices_of_connections(change, tenant.is_live(), ids, before.is_intended()).await
    }

    pub(super) fn server_notice(&self, tenant: &TenantRecord, record: &ServerRecord) -> Notice {
        self.notice(ResourceName::Server(record.spec.id), tenant.is_live() && record.is_intended(), false)
    }

    pub(super) fn server_deed(
        &self,
        action: &'static str,
        before: Option<&ServerRecord>,
        after: &ServerRecord,
    ) -> Deed {
        Deed {
            tenant: Some(self.tenant),
            action,
            object: ResourceName::Server(after.spec.id).to_string(),
            before: before.map(ServerRecord::redacted),
            after: after.deleted_at.is_none().then(|| after.redacted()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{ManualClock, TenantId, UpstreamUrl};
    use sea_orm::TryIntoModel;

    use super::*;
    use crate::Store;

    #[tokio::test]
    async fn a_row_of_another_tenant_is_stopped_at_the_mapper() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db?mode=rwc", folder.path().display());
        let store = Store::connect(&url, Arc::new(ManualClock::at(1))).await.unwrap();
        let upstream = UpstreamUrl::parse("https://x.example/").unwrap();
        let new = NewServer::new("notes".parse().unwrap(), "Notes".to_owned(), upstream);
        let (mine, theirs) = (TenantId::fresh(), TenantId::fresh());
        let actor = Actor::system("test");
        let row = || ServerRecord::new(theirs, &actor, new.clone(), 1).unwrap().into_row().try_into_model().unwrap();
        assert!(matches!(store.tenant(mine).server_record(row()), Err(StoreError::CrossTenant)));
        assert!(store.tenant(theirs).server_record(row()).is_ok());
    }
}
