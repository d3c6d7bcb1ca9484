//! Rows of `issuer`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "issuer")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub title: String,
    pub issuer: String,
    pub client_id: Option<String>,
    pub client_secret: Option<Vec<u8>>,
    pub audiences: String,
    pub algorithms: String,
    pub claims: String,
    pub scope: Option<String>,
    pub unknown_users: bool,
    pub sign_in: bool,
    pub mcp: bool,
    pub enabled: bool,
    pub metadata: Option<String>,
    pub keys: String,
    pub keys_at: Option<i64>,
    pub tried_at: Option<i64>,
    pub failure: Option<String>,
    pub generation: i64,
    pub created_at: i64,
    pub updated_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
