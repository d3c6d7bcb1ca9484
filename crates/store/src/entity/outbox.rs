//! Rows of `outbox`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "outbox")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    pub tenant_id: Option<Uuid>,
    pub removed: bool,
    pub urgent: bool,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
