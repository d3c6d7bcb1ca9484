//! Rows of `idempotency`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub tenant_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_id: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub idem_key: String,
    pub fingerprint: Vec<u8>,
    pub state: String,
    pub status: Option<i16>,
    pub headers: Option<String>,
    pub body: Option<String>,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
