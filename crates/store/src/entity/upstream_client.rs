//! Rows of `upstream_client`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "upstream_client")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub server_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub issuer: String,
    pub client_id: String,
    pub secret: Option<Vec<u8>>,
    pub auth_method: String,
    pub redirect_uri: String,
    pub registered_at: i64,
    pub secret_expires_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
