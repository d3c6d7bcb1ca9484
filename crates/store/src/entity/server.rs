//! Rows of `server`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "server")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub name: String,
    pub title: String,
    pub generation: i64,
    pub transport: String,
    pub url: String,
    pub headers: String,
    pub connect_timeout_ms: i64,
    pub read_timeout_ms: i64,
    pub disabled_tools: String,
    pub trust_hints: bool,
    pub retry_count: i32,
    pub retry_delay_ms: i64,
    pub limits: String,
    pub enabled: bool,
    pub description: Option<String>,
    pub tags: String,
    pub icon: Option<String>,
    pub created_by: Option<String>,
    pub updated_by: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
    pub deleted_at: Option<i64>,
    pub auth: String,
    pub auth_secret: Option<Vec<u8>>,
    pub auth_secret_version: i64,
    pub binding: Option<String>,
    pub eras: i32,
}

impl ActiveModelBehavior for ActiveModel {}
