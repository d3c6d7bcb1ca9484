//! A tenant's servers: create, read, list, change, delete.

use model::{Generation, ResourceName, ServerId};
use sea_orm::sea_query::{Expr, ExprTrait, Func, LikeExpr};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, QuerySelect, Select,
    UpdateMany,
};

use super::TenantStore;
use crate::change::{Change, Deed, Notice};
use crate::entity::server::{Column, Entity, Model};
use crate::{Actor, Committed, NewServer, Page, ServerPatch, ServerRecord, StoreError};

/// The most servers that one list answers.
const MAX_PAGE: u32 = 500;

impl TenantStore {
    /// The tenant's live servers: every read starts here.
    fn scoped_servers(&self) -> Select<Entity> {
        Entity::find().filter(self.live_servers())
    }

    /// The same for writes.
    fn scoped_server_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.live_servers())
    }

    fn live_servers(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0)).add(Column::DeletedAt.is_null())
    }

    fn server_record(&self, row: Model) -> Result<ServerRecord, StoreError> {
        let record = ServerRecord::try_from(row)?;
        self.check(record.spec.tenant)?;
        Ok(record)
    }

    async fn one_server(
        &self,
        db: &impl ConnectionTrait,
        query: Select<Entity>,
    ) -> Result<Option<ServerRecord>, StoreError> {
        query.one(db).await?.map(|row| self.server_record(row)).transpose()
    }

    /// Makes a server: `NameTaken`, `TitleTaken`, `Quota`, or `NotFound` if the tenant isn't.
    pub async fn create_server(&self, actor: &Actor, new: NewServer) -> Result<Committed<ServerRecord>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let limit = self.limits(&change.tx).await?.servers;
        let record = ServerRecord::new(self.tenant, new, change.now);
        self.check_server_is_unique(&change, &record).await?;
        if self.scoped_servers().count(&change.tx).await? >= u64::from(limit) {
            return Err(StoreError::Quota { limit });
        }
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        self.commit_server(change, actor, "server.create", None, record).await
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

    /// Live servers in the order of their making, at most `page.limit` and at most 500.
    pub async fn servers(&self, page: Page) -> Result<Vec<ServerRecord>, StoreError> {
        let mut query = self.scoped_servers().order_by_asc(Column::Id).limit(u64::from(page.limit.clamp(1, MAX_PAGE)));
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        if let Some(enabled) = page.enabled {
            query = query.filter(Column::Enabled.eq(enabled));
        }
        if let Some(text) = page.search.filter(|text| !text.is_empty()) {
            query = query.filter(Condition::any().add(holds(Column::Name, &text)).add(holds(Column::Title, &text)));
        }
        let rows = query.all(&self.store.inner.read).await?;
        rows.into_iter().map(|row| self.server_record(row)).collect()
    }

    /// Changes a server. With `expected`, only at that generation, else `Stale`. A patch that changes
    /// nothing commits nothing and leaves the generation alone.
    pub async fn patch_server(
        &self,
        actor: &Actor,
        id: ServerId,
        expected: Option<Generation>,
        patch: ServerPatch,
    ) -> Result<Committed<ServerRecord>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let before = self.server_at(&change, id, expected).await?;
        let mut after = before.patched(patch);
        if after == before {
            return change.nothing(before).await;
        }
        self.check_server_is_unique(&change, &after).await?;
        after.updated_at = change.now;
        self.write_server(&change, &before, &mut after).await?;
        self.commit_server(change, actor, "server.change", Some(before), after).await
    }

    /// Deletes a server: its row stays as a tombstone, its name and title are free again. Deleting a
    /// tombstone is `NotFound`.
    pub async fn delete_server(
        &self,
        actor: &Actor,
        id: ServerId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let change = Change::begin(&self.store).await?;
        let before = self.server_at(&change, id, expected).await?;
        let mut after = before.clone();
        after.deleted_at = Some(change.now);
        after.updated_at = change.now;
        self.write_server(&change, &before, &mut after).await?;
        let committed = self.commit_server(change, actor, "server.delete", Some(before), after).await?;
        Ok(Committed { value: (), revision: committed.revision })
    }

    async fn server_at(
        &self,
        change: &Change,
        id: ServerId,
        expected: Option<Generation>,
    ) -> Result<ServerRecord, StoreError> {
        let query = self.scoped_servers().filter(Column::Id.eq(id.0));
        let record = self.one_server(&change.tx, query).await?.ok_or(StoreError::NotFound)?;
        let current = record.spec.generation;
        if expected.is_some_and(|expected| expected != current) {
            return Err(StoreError::Stale { current });
        }
        Ok(record)
    }

    /// Writes every column of `after` over `before`, one generation on.
    async fn write_server(
        &self,
        change: &Change,
        before: &ServerRecord,
        after: &mut ServerRecord,
    ) -> Result<(), StoreError> {
        let current = before.spec.generation;
        after.spec.generation = Generation(current.0 + 1);
        let written = self
            .scoped_server_update()
            .set(after.clone().into_row())
            .filter(Column::Id.eq(before.spec.id.0))
            .filter(Column::Generation.eq(current.0))
            .exec(&change.tx)
            .await?;
        if written.rows_affected == 1 { Ok(()) } else { Err(StoreError::Stale { current }) }
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

    async fn commit_server(
        &self,
        change: Change,
        actor: &Actor,
        action: &'static str,
        before: Option<ServerRecord>,
        after: ServerRecord,
    ) -> Result<Committed<ServerRecord>, StoreError> {
        let name = ResourceName::Server(after.spec.id);
        let deed = Deed {
            tenant: Some(self.tenant),
            action,
            object: name.to_string(),
            before: before.map(|record| record.redacted()),
            after: after.deleted_at.is_none().then(|| after.redacted()),
        };
        let notice = Notice { tenant: Some(self.tenant), name, removed: !after.is_intended(), urgent: false };
        change.commit(actor, deed, [notice], after).await
    }
}

/// Whether the column holds the text, whatever the case (of ASCII letters on SQLite).
fn holds(column: Column, text: &str) -> Expr {
    let escaped = text.to_lowercase().replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    Expr::expr(Func::lower(Expr::col(column))).like(LikeExpr::new(format!("%{escaped}%")).escape('\\'))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{ManualClock, TenantId};
    use sea_orm::TryIntoModel;

    use super::*;
    use crate::Store;

    #[tokio::test]
    async fn a_row_of_another_tenant_is_stopped_at_the_mapper() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db?mode=rwc", folder.path().display());
        let store = Store::connect(&url, Arc::new(ManualClock::at(1))).await.unwrap();
        let new = NewServer {
            name: "notes".parse().unwrap(),
            title: "Notes".to_owned(),
            transport: model::Transport::Auto,
            url: model::UpstreamUrl::parse("https://x.example/").unwrap(),
            headers: Vec::new(),
            connect_timeout: std::time::Duration::from_secs(1),
            read_timeout: std::time::Duration::from_secs(1),
            disabled_tools: Vec::new(),
            trust_hints: false,
            enabled: true,
        };
        let (mine, theirs) = (TenantId::fresh(), TenantId::fresh());
        let row = || ServerRecord::new(theirs, new.clone(), 1).into_row().try_into_model().unwrap();
        assert!(matches!(store.tenant(mine).server_record(row()), Err(StoreError::CrossTenant)));
        assert!(store.tenant(theirs).server_record(row()).is_ok());
    }
}
