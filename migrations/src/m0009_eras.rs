//! A server's record says which eras of the protocol its upstream was found to speak: two bits for each, 0 where nobody
//! has looked.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::integer;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let eras = integer(Server::Eras).default(0).to_owned();
        manager.alter_table(Table::alter().table(Server::Table).add_column(eras).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table(Server::Table).drop_column(Server::Eras).to_owned()).await
    }
}

#[derive(DeriveIden)]
enum Server {
    Table,
    Eras,
}
