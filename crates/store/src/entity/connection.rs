//! Rows of `connection`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "connection")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub server_id: Uuid,
    pub scope: String,
    pub holder_id: Uuid,
    pub display_name: Option<String>,
    pub external_subject: Option<String>,
    pub status: String,
    pub generation: i64,
    pub credential: Option<Vec<u8>>,
    pub reference_source: Option<String>,
    pub reference_name: Option<String>,
    pub credential_version: i64,
    pub token: Option<Vec<u8>>,
    pub token_generation: i64,
    pub token_expires_at: Option<i64>,
    pub refreshable: bool,
    pub meta: String,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    pub error_at: Option<i64>,
    pub last_success_at: Option<i64>,
    pub import_digest: Option<Vec<u8>>,
    pub lease_owner: Option<Uuid>,
    pub lease_until: Option<i64>,
    pub created_by: Option<String>,
    pub updated_by: Option<String>,
    pub created_at: i64,
    pub updated_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
