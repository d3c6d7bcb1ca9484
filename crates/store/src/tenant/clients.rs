//! OAuth clients that registered themselves, or whose documents were read.

use sea_orm::sea_query::{Expr, OnConflict};
use sea_orm::{
    ColumnTrait, Condition, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder, Select, UpdateMany,
};

use super::TenantStore;
use crate::bounds::CLIENTS;
use crate::change::{Change, Deed};
use crate::entity::oauth_client::{Column, Entity};
use crate::entity::oauth_grant;
use crate::{Actor, ClientKind, ClientRecord, Committed, StoreError};

/// How long a client is safe that nobody has let in yet, microseconds.
const FRESH_MICROS: i64 = 3600 * 1_000_000;

impl TenantStore {
    fn scoped_clients(&self) -> Select<Entity> {
        Entity::find().filter(self.own_clients())
    }

    fn scoped_client_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_clients())
    }

    pub(super) fn scoped_client_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_clients())
    }

    fn own_clients(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    /// Keeps a client; one that is described by a document replaces what the document said before. Of more than
    /// 1,000 the oldest goes that nobody let in within an hour, so that strangers who register clients keep nobody out
    /// for long; `QuotaClients` if there is none. No right comes with it, so no audit row.
    pub async fn create_client(&self, record: ClientRecord) -> Result<(), StoreError> {
        let (change, _) = self.begin().await?;
        self.scoped_client_deletion().filter(Column::ExpiresAt.lte(change.now)).exec(&change.tx).await?;
        let others = self.scoped_clients().filter(Column::Id.ne(&*record.id)).count(&change.tx).await?;
        if others >= u64::from(CLIENTS) && !self.displace_client(&change).await? {
            return Err(StoreError::QuotaClients { limit: CLIENTS });
        }
        let replaces = record.kind == ClientKind::Document;
        let mut insert = Entity::insert(record.into_row(self.tenant));
        if replaces {
            let key = OnConflict::columns([Column::TenantId, Column::Id]);
            let columns = [Column::Name, Column::RedirectUris, Column::ExpiresAt];
            insert = insert.on_conflict({ key }.update_columns(columns).to_owned());
        }
        insert.exec_without_returning(&change.tx).await?;
        change.quietly().await
    }

    /// Makes room for one client; answers whether there is any.
    async fn displace_client(&self, change: &Change) -> Result<bool, StoreError> {
        let unused = self.scoped_clients().filter(Column::UsedAt.is_null());
        let unused = unused.filter(Column::CreatedAt.lte(change.now.saturating_sub(FRESH_MICROS)));
        let Some(oldest) = unused.order_by_asc(Column::CreatedAt).one(&change.tx).await? else { return Ok(false) };
        self.scoped_client_deletion().filter(Column::Id.eq(oldest.id)).exec(&change.tx).await?;
        Ok(true)
    }

    /// A client that has not ended.
    pub async fn client(&self, id: &str) -> Result<Option<ClientRecord>, StoreError> {
        let query = self.scoped_clients().filter(Column::Id.eq(id)).filter(Column::ExpiresAt.gt(self.store.now()));
        query.one(&self.store.inner.read).await?.map(ClientRecord::try_from).transpose()
    }

    /// Notes that a client was used now, and lets it live until `expires_at`, microseconds since 1970, if
    /// that is later. An unknown one is ignored.
    pub async fn touch_client(&self, id: &str, expires_at: i64) -> Result<(), StoreError> {
        let db = &self.store.inner.write;
        let now = self.store.now();
        let live = || self.scoped_client_update().filter(Column::Id.eq(id)).filter(Column::ExpiresAt.gt(now));
        live().col_expr(Column::UsedAt, Expr::value(now)).exec(db).await?;
        let later = live().col_expr(Column::ExpiresAt, Expr::value(expires_at));
        later.filter(Column::ExpiresAt.lt(expires_at)).exec(db).await?;
        Ok(())
    }

    /// Forgets a client, and revokes what users let it do, urgently.
    pub async fn remove_client(&self, actor: &Actor, id: &str) -> Result<Committed<()>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let removed = self.scoped_client_deletion().filter(Column::Id.eq(id)).exec_with_returning(&change.tx).await?;
        let row = removed.into_iter().next().ok_or(StoreError::NotFound)?;
        let record = ClientRecord::try_from(row)?;
        let its = oauth_grant::Column::ClientId.eq(id);
        let revoked = self.revoke_those(&change, its).await?;
        let deed = Deed {
            tenant: Some(self.tenant),
            action: "client.remove",
            object: record.object(),
            before: Some(record.redacted()),
            after: None,
        };
        let notices = self.notices_of_revoked(&tenant, &revoked);
        change.commit(actor, deed, notices, ()).await
    }
}
