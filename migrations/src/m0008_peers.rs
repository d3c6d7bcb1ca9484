//! A proxy's status says where other proxies of its pool reach it.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text_null;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let address = text_null(ProxyStatus::PeerAddress);
        manager.alter_table(Table::alter().table(ProxyStatus::Table).add_column(address).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter().table(ProxyStatus::Table).drop_column(ProxyStatus::PeerAddress).to_owned();
        manager.alter_table(table).await
    }
}

#[derive(DeriveIden)]
enum ProxyStatus {
    Table,
    PeerAddress,
}
