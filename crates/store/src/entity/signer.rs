//! Rows of `signer`: public keys only.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signer")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub url: String,
    pub public_key: Vec<u8>,
    pub until_at: i64,
    pub created_at: i64,
}

impl ActiveModelBehavior for ActiveModel {}
