//! Who is calling: what keys may be used for, the identity providers of tenants, and the keys under which control
//! signs tokens.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, blob, blob_null, boolean, text, text_null, uuid};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // What the keys of earlier programs could do, and what those that such a program makes meanwhile can.
        let scopes = text(ApiKey::Scopes).default(r#"["mcp","rest"]"#).to_owned();
        manager.alter_table(Table::alter().table(ApiKey::Table).add_column(scopes).to_owned()).await?;
        manager.create_table(issuer()).await?;
        manager.create_table(signer()).await?;
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Signer::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(Issuer::Table).to_owned()).await?;
        manager.alter_table(Table::alter().table(ApiKey::Table).drop_column(ApiKey::Scopes).to_owned()).await
    }
}

fn issuer() -> TableCreateStatement {
    Table::create()
        .table(Issuer::Table)
        .col(uuid(Issuer::TenantId))
        .col(uuid(Issuer::Id))
        .col(text(Issuer::Name))
        .col(text(Issuer::Title))
        .col(text(Issuer::Issuer))
        .col(text_null(Issuer::ClientId))
        .col(blob_null(Issuer::ClientSecret))
        .col(text(Issuer::Audiences))
        .col(text(Issuer::Algorithms))
        .col(text(Issuer::Claims))
        .col(text_null(Issuer::Scope))
        .col(boolean(Issuer::UnknownUsers))
        .col(boolean(Issuer::SignIn))
        .col(boolean(Issuer::Mcp))
        .col(boolean(Issuer::Enabled))
        .col(text_null(Issuer::Metadata))
        .col(text(Issuer::Keys))
        .col(big_integer_null(Issuer::KeysAt))
        .col(big_integer_null(Issuer::TriedAt))
        .col(text_null(Issuer::Failure))
        .col(big_integer(Issuer::Generation))
        .col(big_integer(Issuer::CreatedAt))
        .col(big_integer(Issuer::UpdatedAt))
        .primary_key(Index::create().col(Issuer::TenantId).col(Issuer::Id))
        .foreign_key(ForeignKey::create().from(Issuer::Table, Issuer::TenantId).to(Tenant::Table, Tenant::Id))
        .to_owned()
}

/// Public keys only; the private ones are in `sealed`.
fn signer() -> TableCreateStatement {
    Table::create()
        .table(Signer::Table)
        .col(uuid(Signer::Id).primary_key())
        .col(text(Signer::Url))
        .col(blob(Signer::PublicKey))
        .col(big_integer(Signer::UntilAt))
        .col(big_integer(Signer::CreatedAt))
        .to_owned()
}

fn indexes() -> [IndexCreateStatement; 4] {
    let index = |name: &str| Index::create().name(name).table(Issuer::Table).to_owned();
    [
        index("issuer_name").col(Issuer::TenantId).col(Issuer::Name).unique().to_owned(),
        // Of one tenant no two may claim the same tokens.
        index("issuer_url").col(Issuer::TenantId).col(Issuer::Issuer).unique().to_owned(),
        // Looked up by the notices of proxies, before the tenant is known.
        index("issuer_id").col(Issuer::Id).unique().to_owned(),
        // The next to be fetched.
        index("issuer_tried").col(Issuer::TriedAt).to_owned(),
    ]
}

#[derive(DeriveIden)]
enum Tenant {
    Table,
    Id,
}

#[derive(DeriveIden)]
enum ApiKey {
    Table,
    Scopes,
}

#[derive(DeriveIden)]
#[allow(clippy::enum_variant_names, reason = "each is the name of a column")]
enum Issuer {
    Table,
    TenantId,
    Id,
    Name,
    Title,
    Issuer,
    ClientId,
    ClientSecret,
    Audiences,
    Algorithms,
    Claims,
    Scope,
    UnknownUsers,
    SignIn,
    Mcp,
    Enabled,
    Metadata,
    Keys,
    KeysAt,
    TriedAt,
    Failure,
    Generation,
    CreatedAt,
    UpdatedAt,
}

#[derive(DeriveIden)]
enum Signer {
    Table,
    Id,
    Url,
    PublicKey,
    UntilAt,
    CreatedAt,
}
