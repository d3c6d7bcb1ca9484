//! Rows of `api_key`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_key")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    pub tenant_id: Uuid,
    pub user_id: Option<Uuid>,
    pub role: String,
    pub label: String,
    pub sha256: Vec<u8>,
    pub evidence: Vec<u8>,
    pub scopes: String,
    pub servers: Option<String>,
    pub expires_at: Option<i64>,
    pub created_at: i64,
    pub revoked_at: Option<i64>,
    pub last_used_at: Option<i64>,
    pub replaces: Option<String>,
    pub generation: i64,
}

impl ActiveModelBehavior for ActiveModel {}
