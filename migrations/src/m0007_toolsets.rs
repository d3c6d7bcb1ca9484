//! Toolsets: named selections of tools over several servers.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, text, text_null, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(toolset()).await?;
        let mut name = Index::create().name("toolset_name").table(Toolset::Table).to_owned();
        manager.create_index(name.col(Toolset::TenantId).col(Toolset::Name).unique().to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Toolset::Table).to_owned()).await
    }
}

/// The entries name servers by id and without a key: what is deleted keeps its place until it is restored.
fn toolset() -> TableCreateStatement {
    Table::create()
        .table(Toolset::Table)
        .col(uuid(Toolset::TenantId))
        .col(uuid(Toolset::Id))
        .col(text(Toolset::Name))
        .col(text(Toolset::Title))
        .col(text_null(Toolset::Description))
        .col(text(Toolset::Listing))
        .col(text(Toolset::Tools))
        .col(big_integer(Toolset::Generation))
        .col(text_null(Toolset::CreatedBy))
        .col(text_null(Toolset::UpdatedBy))
        .col(big_integer(Toolset::CreatedAt))
        .col(big_integer(Toolset::UpdatedAt))
        .primary_key(Index::create().col(Toolset::TenantId).col(Toolset::Id))
        .foreign_key(ForeignKey::create().from(Toolset::Table, Toolset::TenantId).to(Tenant::Table, Tenant::Id))
        .to_owned()
}

#[derive(DeriveIden)]
enum Tenant {
    Table,
    Id,
}

#[derive(DeriveIden)]
enum Toolset {
    Table,
    TenantId,
    Id,
    Name,
    Title,
    Description,
    Listing,
    Tools,
    Generation,
    CreatedBy,
    UpdatedBy,
    CreatedAt,
    UpdatedAt,
}
