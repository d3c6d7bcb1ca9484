//! Rows of `audit`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub seq: i64,
    pub ts: i64,
    pub tenant_id: Option<Uuid>,
    pub actor: String,
    pub actor_kind: String,
    pub action: String,
    pub object: String,
    pub before: Option<String>,
    pub after: Option<String>,
    pub result: String,
    pub reason: Option<String>,
    pub ip: Option<String>,
    pub trace_id: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
