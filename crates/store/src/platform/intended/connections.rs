//! Which connections proxies hold: those of a server and a holder who are live, that are not disabled and that have
//! something to authenticate with. One that was refused is held whatever it has: without it a wider one would be used.

use model::{ConnectionId, ConnectionSpec, ConnectionStatus, Scope, ServerId, TenantId};
use sea_orm::sea_query::{Expr, ExprTrait as _};
use sea_orm::{
    ColumnTrait, Condition, EntityTrait as _, FromQueryResult, JoinType, QueryFilter, QuerySelect, RelationDef, Select,
};
use uuid::Uuid;

use crate::StoreError;
use crate::connection_record::read_holder;
use crate::entity::connection::{Column, Entity};
use crate::entity::{department, server, user};

/// What proxies are told of a row: none of its secrets is read.
#[derive(Debug, FromQueryResult)]
pub(super) struct Told {
    pub(super) tenant_id: Uuid,
    pub(super) id: Uuid,
    server_id: Uuid,
    scope: String,
    holder_id: Uuid,
    status: String,
    credential_version: i64,
    token_generation: i64,
    department: Option<String>,
}

/// Those of a query that proxies hold, as far as their tenant is live.
pub(crate) fn intended(those: Select<Entity>) -> Select<Entity> {
    let refused = [ConnectionStatus::ReauthRequired, ConnectionStatus::Invalid].map(ConnectionStatus::as_str);
    let given = Condition::any()
        .add(Column::Credential.is_not_null())
        .add(Column::ReferenceSource.is_not_null())
        .add(Column::Token.is_not_null())
        .add(Column::Status.is_in(refused));
    let held = Condition::any()
        .add(Column::Scope.eq(Scope::Global.as_str()))
        .add(
            Condition::all()
                .add(Column::Scope.eq(Scope::Department.as_str()))
                .add(department::Column::Id.is_not_null()),
        )
        .add(Condition::all().add(Column::Scope.eq(Scope::User.as_str())).add(user::Column::Id.is_not_null()));
    those
        .join(JoinType::InnerJoin, server_of())
        .join(JoinType::LeftJoin, department_of())
        .join(JoinType::LeftJoin, user_of())
        .filter(Column::Status.ne(ConnectionStatus::Disabled.as_str()))
        .filter(given)
        .filter(held)
}

/// What of them proxies are told.
pub(super) fn columns(those: Select<Entity>) -> Select<Entity> {
    those
        .select_only()
        .columns([Column::TenantId, Column::Id, Column::ServerId, Column::Scope, Column::HolderId, Column::Status])
        .columns([Column::CredentialVersion, Column::TokenGeneration])
        .column_as(department::Column::Name, "department")
}

impl Told {
    pub(super) fn spec(self) -> Result<ConnectionSpec, StoreError> {
        let corrupt = |what| StoreError::Corrupt { what };
        Ok(ConnectionSpec {
            id: ConnectionId(self.id),
            tenant: TenantId(self.tenant_id),
            server: ServerId(self.server_id),
            holder: read_holder(&self.scope, self.holder_id).ok_or(corrupt("connection.scope"))?,
            department: self.department,
            status: ConnectionStatus::parse(&self.status).ok_or(corrupt("connection.status"))?,
            credential_version: self.credential_version,
            token_generation: self.token_generation,
        })
    }
}

/// A live, enabled one. Connections carry their tenant, so both columns.
fn server_of() -> RelationDef {
    let relation: RelationDef = Entity::belongs_to(server::Entity)
        .from((Column::TenantId, Column::ServerId))
        .to((server::Column::TenantId, server::Column::Id))
        .into();
    relation.on_condition(|_, right| {
        Condition::all()
            .add(Expr::col((right.clone(), server::Column::Enabled)).eq(true))
            .add(Expr::col((right, server::Column::DeletedAt)).is_null())
    })
}

/// A live one.
fn department_of() -> RelationDef {
    let relation: RelationDef = Entity::belongs_to(department::Entity)
        .from((Column::TenantId, Column::HolderId))
        .to((department::Column::TenantId, department::Column::Id))
        .into();
    relation.on_condition(|_, right| Condition::all().add(Expr::col((right, department::Column::DeletedAt)).is_null()))
}

/// A live, active one.
fn user_of() -> RelationDef {
    let relation: RelationDef = Entity::belongs_to(user::Entity)
        .from((Column::TenantId, Column::HolderId))
        .to((user::Column::TenantId, user::Column::Id))
        .into();
    relation.on_condition(|_, right| {
        Condition::all()
            .add(Expr::col((right.clone(), user::Column::Active)).eq(true))
            .add(Expr::col((right, user::Column::DeletedAt)).is_null())
    })
}
