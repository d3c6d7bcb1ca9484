//! Rows of `vault_job`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "vault_job")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub what: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    pub cursor: Option<String>,
    pub done: i64,
    pub total: i64,
    pub owner: Uuid,
    pub until_at: i64,
    pub state: String,
    pub failure: Option<String>,
    pub asked_by: String,
    pub created_at: i64,
    pub updated_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
