//! Rows of `proxy_status`.

use sea_orm::entity::prelude::*;

#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "proxy_status")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub node: String,
    pub pool: String,
    pub instance: String,
    pub epoch: i64,
    pub seq: i64,
    pub last_seen: i64,
    pub rejected: String,
    pub replica: String,
    pub attached: bool,
    pub mounts: i32,
    pub digest_matches: bool,
    pub since: i64,
    pub peer_address: Option<String>,
}

impl ActiveModelBehavior for ActiveModel {}
