//! A tenant's toolsets: create, read, list, change, delete.

use std::collections::{HashMap, HashSet};

use model::{Generation, ResourceName, ServerId, ServerName, ToolsetId, ToolsetSpec, ToolsetTool};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, Select, UpdateMany,
};
use uuid::Uuid;

use super::TenantStore;
use crate::bounds::{TOOLSET_TOOLS, TOOLSETS, fits, room_for_one};
use crate::change::{Change, Deed};
use crate::entity::server;
use crate::entity::toolset::{Column, Entity, Model};
use crate::generation::expect;
use crate::listing::{holds, page_size};
use crate::{Actor, Committed, NewToolset, StoreError, ToolsetPage, ToolsetPatch, ToolsetRecord};

/// Ids of one query.
const IDS_AT_ONCE: usize = 1_000;

impl TenantStore {
    /// The tenant's toolsets.
    pub(super) fn scoped_toolsets(&self) -> Select<Entity> {
        Entity::find().filter(self.own_toolsets())
    }

    /// The same for writes.
    fn scoped_toolset_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_toolsets())
    }

    /// The same for erasing.
    pub(super) fn scoped_toolset_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_toolsets())
    }

    fn own_toolsets(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    fn toolset_record(&self, row: Model) -> Result<ToolsetRecord, StoreError> {
        let record = ToolsetRecord::try_from(row)?;
        self.check(record.spec.tenant)?;
        Ok(record)
    }

    async fn one_toolset(
        &self,
        db: &impl ConnectionTrait,
        query: Select<Entity>,
    ) -> Result<Option<ToolsetRecord>, StoreError> {
        query.one(db).await?.map(|row| self.toolset_record(row)).transpose()
    }

    /// Makes a toolset: `NameTaken`, `NoServer` for an entry of a server that isn't live, or `Bound` if there are 256
    /// already or it has more than 500 entries.
    pub async fn create_toolset(&self, actor: &Actor, new: NewToolset) -> Result<Committed<ToolsetRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let record = ToolsetRecord::new(self.tenant, new, actor, change.now);
        self.check_toolset(&change, &record.spec, &[]).await?;
        room_for_one(&change.tx, self.scoped_toolsets(), "toolsets", TOOLSETS).await?;
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        let notice = self.notice(ResourceName::Toolset(record.spec.id), tenant.is_live(), false);
        change.commit(actor, self.toolset_deed("toolset.create", None, Some(&record)), [notice], record).await
    }

    /// A toolset.
    pub async fn toolset(&self, id: ToolsetId) -> Result<Option<ToolsetRecord>, StoreError> {
        self.one_toolset(&self.store.inner.read, self.scoped_toolsets().filter(Column::Id.eq(id.0))).await
    }

    /// A toolset by its slug.
    pub async fn toolset_by_name(&self, name: &str) -> Result<Option<ToolsetRecord>, StoreError> {
        self.one_toolset(&self.store.inner.read, self.scoped_toolsets().filter(Column::Name.eq(name))).await
    }

    /// The names that these servers have, as far as they are live.
    pub async fn server_names(&self, ids: &[ServerId]) -> Result<HashMap<ServerId, ServerName>, StoreError> {
        let mut names = HashMap::new();
        // Both databases bound the values of a statement.
        for some in ids.chunks(IDS_AT_ONCE) {
            let rows = self
                .scoped_servers()
                .filter(server::Column::Id.is_in(some.iter().map(|id| id.0)))
                .select_only()
                .columns([server::Column::Id, server::Column::Name])
                .into_tuple::<(Uuid, String)>()
                .all(&self.store.inner.read)
                .await?;
            for (id, name) in rows {
                names.insert(ServerId(id), name.parse().map_err(|_| StoreError::Corrupt { what: "server.name" })?);
            }
        }
        Ok(names)
    }

    /// Toolsets in the order of their making.
    pub async fn toolsets(&self, page: ToolsetPage) -> Result<Vec<ToolsetRecord>, StoreError> {
        let mut query = self.scoped_toolsets().order_by_asc(Column::Id).limit(page_size(page.limit));
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            query = query.filter(holds(self.backend(), &[Column::Name, Column::Title], &text));
        }
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.toolset_record(row)).collect()
    }

    /// Changes a toolset. With `expected`, only at that generation, else `Stale`. A patch that changes nothing commits
    /// nothing.
    pub async fn change_toolset(
        &self,
        actor: &Actor,
        id: ToolsetId,
        expected: Option<Generation>,
        patch: ToolsetPatch,
    ) -> Result<Committed<ToolsetRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.toolset_at(&change, id, expected).await?;
        let mut after = before.patched(patch);
        if after == before {
            return change.nothing(before).await;
        }
        self.check_toolset(&change, &after.spec, &before.spec.tools).await?;
        after.spec.generation = Generation(before.spec.generation.0 + 1);
        after.updated_by = Some(actor.id());
        after.updated_at = change.now;
        // The change holds the writers' turn, so the row is where it was read.
        let row = after.clone().into_row();
        self.scoped_toolset_update().set(row).filter(Column::Id.eq(id.0)).exec(&change.tx).await?;
        let notice = self.notice(ResourceName::Toolset(id), tenant.is_live(), false);
        let deed = self.toolset_deed("toolset.change", Some(&before), Some(&after));
        change.commit(actor, deed, [notice], after).await
    }

    /// Takes a toolset away for good. With `expected`, only at that generation, else `Stale`.
    pub async fn delete_toolset(
        &self,
        actor: &Actor,
        id: ToolsetId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let (change, _) = self.begin().await?;
        let record = self.toolset_at(&change, id, expected).await?;
        self.scoped_toolset_deletion().filter(Column::Id.eq(id.0)).exec(&change.tx).await?;
        let notice = self.notice(ResourceName::Toolset(id), false, false);
        change.commit(actor, self.toolset_deed("toolset.delete", Some(&record), None), [notice], ()).await
    }

    async fn toolset_at(
        &self,
        change: &Change,
        id: ToolsetId,
        expected: Option<Generation>,
    ) -> Result<ToolsetRecord, StoreError> {
        let query = self.scoped_toolsets().filter(Column::Id.eq(id.0));
        let record = self.one_toolset(&change.tx, query).await?.ok_or(StoreError::NotFound)?;
        expect(record.spec.generation, expected)?;
        Ok(record)
    }

    /// Whether the name is free, and whether there are the servers of all entries that were not there before.
    async fn check_toolset(
        &self,
        change: &Change,
        spec: &ToolsetSpec,
        before: &[ToolsetTool],
    ) -> Result<(), StoreError> {
        fits(spec.tools.len(), "tools of a toolset", TOOLSET_TOOLS)?;
        let others =
            self.scoped_toolsets().filter(Column::Id.ne(spec.id.0)).filter(Column::Name.eq(spec.name.as_str()));
        if others.count(&change.tx).await? > 0 {
            return Err(StoreError::NameTaken);
        }
        let known: HashSet<ServerId> = before.iter().map(|entry| entry.server).collect();
        let new = spec.tools.iter().map(|entry| entry.server).filter(|server| !known.contains(server));
        let new: HashSet<Uuid> = new.map(|server| server.0).collect();
        if new.is_empty() {
            return Ok(());
        }
        let there = self.scoped_servers().filter(server::Column::Id.is_in(new.iter().copied()));
        if there.count(&change.tx).await? == new.len() as u64 { Ok(()) } else { Err(StoreError::NoServer) }
    }

    fn toolset_deed(
        &self,
        action: &'static str,
        before: Option<&ToolsetRecord>,
        after: Option<&ToolsetRecord>,
    ) -> Deed {
        Deed {
            tenant: Some(self.tenant),
            action,
            object: after.or(before).map(ToolsetRecord::object).unwrap_or_default(),
            before: before.map(ToolsetRecord::redacted),
            after: after.map(ToolsetRecord::redacted),
        }
    }
}
