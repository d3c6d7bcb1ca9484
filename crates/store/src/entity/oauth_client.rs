//! Rows of `oauth_client`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_client")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub kind: String,
    pub name: String,
    pub redirect_uris: String,
    pub created_at: i64,
    pub used_at: Option<i64>,
    pub expires_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
