//! A proxy's status names its data folder, so that a restarted proxy is not counted twice.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::text;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let instance = text(ProxyStatus::Instance).default("").to_owned();
        manager.alter_table(Table::alter().table(ProxyStatus::Table).add_column(instance).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::alter().table(ProxyStatus::Table).drop_column(ProxyStatus::Instance).to_owned();
        manager.alter_table(table).await
    }
}

#[derive(DeriveIden)]
enum ProxyStatus {
    Table,
    Instance,
}
