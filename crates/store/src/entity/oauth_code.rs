//! Rows of `oauth_code`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "oauth_code")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub sha256: Vec<u8>,
    pub tenant_id: Uuid,
    pub user_id: Uuid,
    pub grant_id: Uuid,
    pub issuer_id: Option<Uuid>,
    pub client_id: String,
    pub redirect_uri: String,
    pub resource: String,
    pub scope: String,
    pub challenge: String,
    pub created_at: i64,
    pub expires_at: i64,
    pub used_at: Option<i64>,
    pub replayed_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
