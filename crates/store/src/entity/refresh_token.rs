//! Rows of `refresh_token`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "refresh_token")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sha256: Vec<u8>,
    pub tenant_id: Uuid,
    pub grant_id: Uuid,
    pub number: i64,
    pub created_at: i64,
    pub replaced_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
