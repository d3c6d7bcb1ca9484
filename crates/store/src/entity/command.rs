//! Rows of `command`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "command")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    pub node: String,
    pub replica: String,
    pub body: Vec<u8>,
    pub taken_by: Option<String>,
    pub created_at: i64,
    pub deadline_at: i64,
    pub answer: Option<Vec<u8>>,
    pub answered_at: Option<i64>,
}

impl ActiveModelBehavior for ActiveModel {}
