//! Rows of `tenant_key`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenant_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: i64,
    pub kek_id: Vec<u8>,
    pub wrapped: Vec<u8>,
    pub state: String,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
