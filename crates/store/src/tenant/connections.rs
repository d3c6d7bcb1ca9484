//! A tenant's connections: create, read, list, change, delete, and what proxies are told of them.

use std::collections::HashMap;

use model::{
    Binding, ConnectionId, ConnectionSpec, ConnectionStatus, DepartmentId, Generation, Holder, ResourceName, Scope,
    ServerId, UserId,
};
use sea_orm::sea_query::{CaseStatement, Expr, ExprTrait as _, IntoCondition};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, DeleteMany, EntityTrait, PaginatorTrait, QueryFilter, QueryOrder,
    QuerySelect, QueryTrait, Select, UpdateMany,
};
use uuid::Uuid;

use super::TenantStore;
use crate::bounds::{CONNECTIONS, room_for_one};
use crate::change::{Change, Deed, Notice, append_audit};
use crate::connection_record::holder_id;
use crate::entity::connection::{Column, Entity, Model};
use crate::entity::{department, server, user};
use crate::generation::expect;
use crate::listing::{holds, page_size};
use crate::platform::intended::connections::intended;
use crate::{
    Actor, Committed, ConnectionHealth, ConnectionPage, ConnectionPatch, ConnectionRecord, ConnectionSummary,
    NewConnection, NewServer, ServerRecord, StoreError,
};

/// Connections that are named one by one when several come or go at once. Of more the whole tenant is told of: that is
/// one row, and cheaper to read.
const NAMED: usize = if cfg!(test) { 2 } else { 500 };
/// The most connections that a fingerprint finds.
const FOUND: u64 = 500;

impl TenantStore {
    pub(super) fn scoped_connections(&self) -> Select<Entity> {
        Entity::find().filter(self.own_connections())
    }

    pub(super) fn scoped_connection_update(&self) -> UpdateMany<Entity> {
        Entity::update_many().filter(self.own_connections())
    }

    pub(super) fn scoped_connection_deletion(&self) -> DeleteMany<Entity> {
        Entity::delete_many().filter(self.own_connections())
    }

    fn own_connections(&self) -> Condition {
        Condition::all().add(Column::TenantId.eq(self.tenant.0))
    }

    /// The rows as records, with the names of their holders.
    pub(super) async fn connection_records(
        &self,
        db: &impl ConnectionTrait,
        rows: Vec<Model>,
    ) -> Result<Vec<ConnectionRecord>, StoreError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let of = |scope: Scope| {
            let those = rows.iter().filter(move |row| row.scope == scope.as_str()).map(|row| row.holder_id);
            those.collect::<Vec<_>>()
        };
        let mut names: HashMap<Uuid, String> = HashMap::new();
        let (departments, users) = (of(Scope::Department), of(Scope::User));
        if !departments.is_empty() {
            use department::Column;
            let query = self.scoped_departments().filter(Column::Id.is_in(departments)).select_only();
            names.extend(query.columns([Column::Id, Column::Name]).into_tuple::<(Uuid, String)>().all(db).await?);
        }
        if !users.is_empty() {
            use user::Column;
            let query = self.scoped_users().filter(Column::Id.is_in(users)).select_only();
            names.extend(query.columns([Column::Id, Column::Login]).into_tuple::<(Uuid, String)>().all(db).await?);
        }
        let records = rows.into_iter().map(|row| {
            let name = names.get(&row.holder_id).cloned();
            let record = ConnectionRecord::from_row(row, name)?;
            self.check(record.tenant)?;
            Ok(record)
        });
        records.collect()
    }

    pub(super) async fn one_connection(
        &self,
        db: &impl ConnectionTrait,
        query: Select<Entity>,
    ) -> Result<Option<ConnectionRecord>, StoreError> {
        let row = query.one(db).await?;
        Ok(self.connection_records(db, row.into_iter().collect()).await?.pop())
    }

    /// Makes a connection: `ConnectionExists` for a server and holder that have one, `NotFound` for no live server,
    /// `NoUser` and `NoDepartment` for no live holder, `Bound` for what is too much.
    pub async fn create_connection(
        &self,
        actor: &Actor,
        new: NewConnection,
    ) -> Result<Committed<ConnectionRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let record = self.put_connection(&change, actor, new).await?;
        let notices = self.notices_of_connections(&change, tenant.is_live(), [record.id], false).await?;
        let deed = self.connection_deed("connection.create", None, Some(&record));
        change.commit(actor, deed, notices, record).await
    }

    /// Makes a server and its connection for everybody, or neither. Its id is `connection.server` and must be that of
    /// the server.
    pub async fn create_server_with_connection(
        &self,
        actor: &Actor,
        server: NewServer,
        connection: NewConnection,
    ) -> Result<Committed<(ServerRecord, ConnectionRecord)>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let server = NewServer { id: Some(connection.server), ..server };
        let server = self.put_server(&change, &tenant, actor, server).await?;
        let connection = self.put_connection(&change, actor, connection).await?;
        let deed = self.connection_deed("connection.create", None, Some(&connection));
        append_audit(&change.tx, change.now, actor, deed).await?;
        let mut notices = vec![self.server_notice(&tenant, &server)];
        notices.extend(self.notices_of_connections(&change, tenant.is_live(), [connection.id], false).await?);
        let deed = self.server_deed("server.create", None, &server);
        change.commit(actor, deed, notices, (server, connection)).await
    }

    async fn put_connection(
        &self,
        change: &Change,
        actor: &Actor,
        new: NewConnection,
    ) -> Result<ConnectionRecord, StoreError> {
        let mut record = ConnectionRecord::new(self.tenant, actor.id(), &new, change.now)?;
        let server = self.scoped_servers().filter(server::Column::Id.eq(new.server.0));
        if server.count(&change.tx).await? == 0 {
            return Err(StoreError::NotFound);
        }
        record.holder_name = self.name_of(change, new.holder).await?;
        if self.scoped_connections().filter(place(new.server, new.holder)).count(&change.tx).await? > 0 {
            return Err(StoreError::ConnectionExists);
        }
        room_for_one(&change.tx, self.scoped_connections(), "connections", CONNECTIONS).await?;
        Entity::insert(record.clone().into_row()).exec_without_returning(&change.tx).await?;
        self.put_fingerprints(change, record.id, Part::Credential, new.fingerprints).await?;
        self.put_fingerprints(change, record.id, Part::Token, new.token_fingerprints).await?;
        Ok(record)
    }

    /// The holder's name; `NoUser` or `NoDepartment` if the tenant has no such.
    async fn name_of(&self, change: &Change, holder: Holder) -> Result<Option<String>, StoreError> {
        match holder {
            Holder::Global => Ok(None),
            Holder::Department(DepartmentId(id)) => {
                let query = self.scoped_departments().filter(department::Column::Id.eq(id));
                let row = query.one(&change.tx).await?.ok_or(StoreError::NoDepartment)?;
                Ok(Some(row.name))
            }
            Holder::User(UserId(id)) => {
                let row = self.scoped_users().filter(user::Column::Id.eq(id)).one(&change.tx).await?;
                Ok(Some(row.ok_or(StoreError::NoUser)?.login))
            }
        }
    }

    /// A connection.
    pub async fn connection(&self, id: ConnectionId) -> Result<Option<ConnectionRecord>, StoreError> {
        self.one_connection(&self.store.inner.read, self.scoped_connections().filter(Column::Id.eq(id.0))).await
    }

    /// The connection for this server and holder.
    pub async fn connection_of(
        &self,
        server: ServerId,
        holder: Holder,
    ) -> Result<Option<ConnectionRecord>, StoreError> {
        self.one_connection(&self.store.inner.read, self.scoped_connections().filter(place(server, holder))).await
    }

    /// Connections in the order of their making.
    pub async fn connections(&self, page: ConnectionPage) -> Result<Vec<ConnectionRecord>, StoreError> {
        let db = &self.store.inner.read;
        let mut query = self.found_connections(&page).order_by_asc(Column::Id).limit(page_size(page.limit));
        if let Some(health) = page.health {
            let [active, attention, disabled] = self.healths(db, page.server).await?;
            query = query.filter(match health {
                ConnectionHealth::Active => active,
                ConnectionHealth::Attention => attention,
                ConnectionHealth::Disabled => disabled,
            });
        }
        if let Some(after) = page.after {
            query = query.filter(Column::Id.gt(after.0));
        }
        let rows = query.all(db).await?;
        self.connection_records(db, rows).await
    }

    /// How many connections of such a page fare how; its health, place and length don't count.
    pub async fn connection_summary(&self, page: &ConnectionPage) -> Result<ConnectionSummary, StoreError> {
        let db = &self.store.inner.read;
        let [active, attention, disabled] = self.healths(db, page.server).await?;
        let count = |those: Condition| Expr::expr(CaseStatement::new().case(those, 1i32).finally(0i32)).sum();
        let query = self.found_connections(page).select_only();
        let query = query.expr_as(count(active), "active").expr_as(count(attention), "attention");
        let query = query.expr_as(count(disabled), "disabled");
        // Of no rows the sums are null.
        let counted = query.into_tuple::<(Option<i64>, Option<i64>, Option<i64>)>().one(db).await?;
        let (active, attention, disabled) = counted.unwrap_or_default();
        let number = |sum: Option<i64>| u64::try_from(sum.unwrap_or_default()).unwrap_or_default();
        let (active, attention, disabled) = (number(active), number(attention), number(disabled));
        Ok(ConnectionSummary { total: active + attention + disabled, active, attention, disabled })
    }

    /// Those that a page is about, whatever their health.
    fn found_connections(&self, page: &ConnectionPage) -> Select<Entity> {
        let mut query = self.scoped_connections();
        if let Some(server) = page.server {
            query = query.filter(Column::ServerId.eq(server.0));
        }
        if let Some(holder) = page.holder {
            query = query.filter(of_holder(holder));
        }
        match &page.search {
            Some(text) if !text.is_empty() => query.filter(self.searched(text)),
            _ => query,
        }
    }

    /// What a search finds: texts, names of holders, and words for scopes.
    fn searched(&self, text: &str) -> Condition {
        let backend = self.backend();
        let departments = {
            use department::Column;
            let those = self.scoped_departments().filter(holds(backend, &[Column::Name, Column::Title], text));
            those.select_only().column(Column::Id).into_query()
        };
        let users = {
            use user::Column;
            let those = self.scoped_users().filter(holds(backend, &[Column::Login, Column::Title], text));
            those.select_only().column(Column::Id).into_query()
        };
        let scope = match text.trim().to_lowercase().as_str() {
            "dept" => Some(Scope::Department),
            word => Scope::parse(word),
        };
        holds(backend, &[Column::DisplayName, Column::ExternalSubject], text)
            .add(Column::HolderId.in_subquery(departments))
            .add(Column::HolderId.in_subquery(users))
            .add_option(scope.map(|scope| Column::Scope.eq(scope.as_str())))
    }

    /// Active, attention and disabled, as [`ConnectionRecord::health`] has it: a connection fulfils one of them. What
    /// servers accept is in their records, so those that accept the same are one alternative.
    async fn healths(&self, db: &impl ConnectionTrait, server: Option<ServerId>) -> Result<[Condition; 3], StoreError> {
        let mut servers = self.scoped_servers();
        if let Some(id) = server {
            servers = servers.filter(server::Column::Id.eq(id.0));
        }
        let columns = [server::Column::Id, server::Column::Binding];
        let rows = servers.select_only().columns(columns).into_tuple::<(Uuid, Option<String>)>().all(db).await?;
        let mut alike: HashMap<(Vec<Scope>, bool), Vec<Uuid>> = HashMap::new();
        for (id, binding) in rows {
            // Of one that can't be read no connection is used.
            let binding = binding.and_then(|text| crate::row_text::read_binding(&text));
            if let Some(Binding { scopes, exchange, .. }) = binding {
                alike.entry((scopes, exchange)).or_default().push(id);
            }
        }
        let given = given();
        // No server at all is no alternative, which must be no connection, not every one.
        let fits =
            alike.into_iter().fold(Condition::any().add(Expr::value(1).eq(0)), |any, ((scopes, needless), ids)| {
                let accepted = Column::Scope.is_in(scopes.into_iter().map(Scope::as_str));
                let those = Condition::all().add(Column::ServerId.is_in(ids)).add(accepted);
                any.add(if needless { those } else { those.add(given.clone()) })
            });
        let status = |status: ConnectionStatus| Column::Status.eq(status.as_str());
        let active = Condition::all().add(status(ConnectionStatus::Active)).add(fits);
        let disabled = Condition::all().add(status(ConnectionStatus::Disabled));
        let attention = Condition::all().add(disabled.clone().not()).add(active.clone().not());
        Ok([active, attention, disabled])
    }

    /// How many connections of a server have anything to authenticate with.
    pub(super) async fn given_connections(&self, change: &Change, server: ServerId) -> Result<u64, StoreError> {
        let those = self.scoped_connections().filter(Column::ServerId.eq(server.0));
        Ok(those.filter(given()).count(&change.tx).await?)
    }

    /// Changes a connection. With `expected`, only at that generation, else `Stale`. A patch that changes nothing
    /// commits nothing. What takes it away from proxies is urgent.
    pub async fn patch_connection(
        &self,
        actor: &Actor,
        id: ConnectionId,
        expected: Option<Generation>,
        patch: ConnectionPatch,
    ) -> Result<Committed<ConnectionRecord>, StoreError> {
        let (change, tenant) = self.begin().await?;
        let before = self.connection_at(&change, id, expected).await?;
        let mut after = before.patched(&patch)?;
        if after == before {
            return change.nothing(before).await;
        }
        if let Some(credential) = patch.credential {
            self.put_fingerprints(&change, id, Part::Credential, credential.fingerprints).await?;
            self.put_fingerprints(&change, id, Part::Token, Vec::new()).await?;
        }
        self.change_connection(&change, actor, &before, &mut after).await?;
        let notices = self.connection_notices(&change, tenant.is_live(), &before, &after).await?;
        let deed = self.connection_deed("connection.change", Some(&before), Some(&after));
        change.commit(actor, deed, notices, after).await
    }

    /// Deletes a connection with its secrets, urgently.
    pub async fn delete_connection(
        &self,
        actor: &Actor,
        id: ConnectionId,
        expected: Option<Generation>,
    ) -> Result<Committed<()>, StoreError> {
        let (change, _) = self.begin().await?;
        let before = self.connection_at(&change, id, expected).await?;
        self.scoped_connection_deletion().filter(Column::Id.eq(id.0)).exec(&change.tx).await?;
        let deed = self.connection_deed("connection.delete", Some(&before), None);
        let notice = self.notice(ResourceName::Connection(id), false, true);
        change.commit(actor, deed, [notice], ()).await
    }

    /// Connections with this secret in credential or token, at most 500.
    pub async fn connections_with_fingerprint(
        &self,
        fingerprint: [u8; 16],
    ) -> Result<Vec<ConnectionRecord>, StoreError> {
        let db = &self.store.inner.read;
        let query = self.scoped_connections().filter(Column::Id.in_subquery(self.marked_with(fingerprint)));
        let rows = query.order_by_asc(Column::Id).limit(FOUND).all(db).await?;
        self.connection_records(db, rows).await
    }

    pub(super) async fn connection_at(
        &self,
        change: &Change,
        id: ConnectionId,
        expected: Option<Generation>,
    ) -> Result<ConnectionRecord, StoreError> {
        let query = self.scoped_connections().filter(Column::Id.eq(id.0));
        let record = self.one_connection(&change.tx, query).await?.ok_or(StoreError::NotFound)?;
        expect(record.generation, expected)?;
        Ok(record)
    }

    /// Writes what somebody decided, one generation on.
    pub(super) async fn change_connection(
        &self,
        change: &Change,
        actor: &Actor,
        before: &ConnectionRecord,
        after: &mut ConnectionRecord,
    ) -> Result<(), StoreError> {
        after.generation = Generation(before.generation.0 + 1);
        after.updated_at = change.now;
        after.updated_by = Some(actor.id());
        self.write_connection(change, before, after).await
    }

    /// Writes every column but the lease's, if the row is where it was read.
    pub(super) async fn write_connection(
        &self,
        change: &Change,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<(), StoreError> {
        let written = self
            .scoped_connection_update()
            .set(after.clone().into_row())
            .filter(Column::Id.eq(before.id.0))
            .filter(Column::Generation.eq(before.generation.0))
            .filter(Column::TokenGeneration.eq(before.token_generation))
            .exec(&change.tx)
            .await?;
        if written.rows_affected == 1 { Ok(()) } else { Err(StoreError::Stale { current: before.generation }) }
    }

    /// What proxies are told of a changed connection: nothing if it is the same to them.
    pub(super) async fn connection_notices(
        &self,
        change: &Change,
        live: bool,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Vec<Notice>, StoreError> {
        let (had, has) = (before.intended(), after.intended());
        if had == has {
            return Ok(Vec::new());
        }
        let urgent = takes_away(had.as_ref(), has.as_ref());
        self.notices_of_connections(change, live, [after.id], urgent).await
    }

    /// What proxies are told of connections that have just been changed, as they are now.
    pub(super) async fn notices_of_connections(
        &self,
        change: &Change,
        live: bool,
        ids: impl IntoIterator<Item = ConnectionId>,
        urgent: bool,
    ) -> Result<Vec<Notice>, StoreError> {
        let ids: Vec<_> = ids.into_iter().collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        if ids.len() > NAMED {
            return Ok(vec![self.notice(ResourceName::Tenant(self.tenant), live, urgent)]);
        }
        let query = intended(self.scoped_connections()).filter(Column::Id.is_in(ids.iter().map(|id| id.0)));
        let there: Vec<Uuid> = query.select_only().column(Column::Id).into_tuple().all(&change.tx).await?;
        let notice =
            |id: ConnectionId| self.notice(ResourceName::Connection(id), live && there.contains(&id.0), urgent);
        Ok(ids.into_iter().map(notice).collect())
    }

    /// Those that proxies hold while the tenant is active, none if there are too many to be named.
    pub(super) async fn connections_of_live(&self, db: &impl ConnectionTrait) -> Result<Vec<ConnectionId>, StoreError> {
        let query = intended(self.scoped_connections()).select_only().column(Column::Id).limit(NAMED as u64 + 1);
        let ids: Vec<Uuid> = query.into_tuple().all(db).await?;
        Ok(if ids.len() > NAMED { Vec::new() } else { ids.into_iter().map(ConnectionId).collect() })
    }

    /// The ids of those of the tenant's connections for which the condition holds; of too many to be named one more than
    /// that.
    pub(super) async fn connection_ids(
        &self,
        change: &Change,
        those: impl IntoCondition,
    ) -> Result<Vec<ConnectionId>, StoreError> {
        let query = self.scoped_connections().filter(those.into_condition()).select_only().column(Column::Id);
        let query = query.order_by_asc(Column::Id).limit(NAMED as u64 + 1);
        let ids: Vec<Uuid> = query.into_tuple().all(&change.tx).await?;
        Ok(ids.into_iter().map(ConnectionId).collect())
    }

    /// Erases those of the tenant's connections for which the condition holds; answers what proxies are told, urgently.
    pub(super) async fn erase_connections(
        &self,
        change: &Change,
        live: bool,
        those: Condition,
    ) -> Result<Vec<Notice>, StoreError> {
        let ids = self.connection_ids(change, those.clone()).await?;
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        self.scoped_connection_deletion().filter(those).exec(&change.tx).await?;
        self.notices_of_connections(change, live, ids, true).await
    }

    pub(super) fn connection_deed(
        &self,
        action: &'static str,
        before: Option<&ConnectionRecord>,
        after: Option<&ConnectionRecord>,
    ) -> Deed {
        Deed {
            tenant: Some(self.tenant),
            action,
            object: after.or(before).map(ConnectionRecord::object).unwrap_or_default(),
            before: before.map(ConnectionRecord::redacted),
            after: after.map(ConnectionRecord::redacted),
        }
    }
}

/// Which secret of a connection a fingerprint is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// What a person gave.
    Credential,
    /// What was obtained with it.
    Token,
}

impl Part {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Credential => "credential",
            Self::Token => "token",
        }
    }
}

/// What has anything to authenticate with.
fn given() -> Condition {
    Condition::any()
        .add(Column::Credential.is_not_null())
        .add(Column::ReferenceSource.is_not_null())
        .add(Column::Token.is_not_null())
}

/// There is at most one row there.
fn place(server: ServerId, holder: Holder) -> Condition {
    Condition::all().add(Column::ServerId.eq(server.0)).add(of_holder(holder))
}

/// What is this holder's.
pub(super) fn of_holder(holder: Holder) -> Condition {
    Condition::all().add(Column::Scope.eq(holder.scope().as_str())).add(Column::HolderId.eq(holder_id(holder)))
}

/// Whether proxies must stop using something: at once, not merely soon.
fn takes_away(had: Option<&ConnectionSpec>, has: Option<&ConnectionSpec>) -> bool {
    let Some(had) = had else { return false };
    has.is_none_or(|has| has.status != had.status || has.credential_version != had.credential_version)
}
