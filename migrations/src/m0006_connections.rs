//! Credentials: how servers are authenticated to, connections with what is sealed of them, tenants' data keys, and
//! what is registered, learned and under way at upstreams' authorization servers.
//!
//! What is sealed is opaque bytes here.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, blob, blob_null, boolean, text, text_null, uuid, uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// New columns of servers, with what old rows have.
fn columns() -> [ColumnDef; 4] {
    [
        text(Server::Auth).default(r#"{"type":"none"}"#).to_owned(),
        blob_null(Server::AuthSecret),
        big_integer(Server::AuthSecretVersion).default(0).to_owned(),
        text_null(Server::Binding),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in columns() {
            manager.alter_table(Table::alter().table(Server::Table).add_column(column).to_owned()).await?;
        }
        let tables = [
            connection(),
            fingerprint(),
            tenant_key(),
            upstream_client(),
            upstream_metadata(),
            login_attempt(),
            vault_job(),
        ];
        for table in tables {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            "vault_job",
            "login_attempt",
            "upstream_metadata",
            "upstream_client",
            "tenant_key",
            "connection_fingerprint",
            "connection",
        ] {
            manager.drop_table(Table::drop().table(Alias::new(table)).to_owned()).await?;
        }
        for column in columns() {
            let name = Alias::new(column.get_column_name());
            manager.alter_table(Table::alter().table(Server::Table).drop_column(name).to_owned()).await?;
        }
        Ok(())
    }
}

/// What is a server's goes with the server's row.
fn of_server(table: impl IntoIden + Copy, tenant: impl IntoIden, server: impl IntoIden) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(table.into_iden(), (tenant, server))
        .to(Server::Table, (Server::TenantId, Server::Id))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

/// The holder is a department or a user, and the nil id for everybody: one column, so that one index keeps them apart.
fn connection() -> TableCreateStatement {
    Table::create()
        .table(Connection::Table)
        .col(uuid(Connection::TenantId))
        .col(uuid(Connection::Id))
        .col(uuid(Connection::ServerId))
        .col(text(Connection::Scope))
        .col(uuid(Connection::HolderId))
        .col(text_null(Connection::DisplayName))
        .col(text_null(Connection::ExternalSubject))
        .col(text(Connection::Status))
        .col(big_integer(Connection::Generation))
        .col(blob_null(Connection::Credential))
        .col(text_null(Connection::ReferenceSource))
        .col(text_null(Connection::ReferenceName))
        .col(big_integer(Connection::CredentialVersion))
        .col(blob_null(Connection::Token))
        .col(big_integer(Connection::TokenGeneration))
        .col(big_integer_null(Connection::TokenExpiresAt))
        .col(boolean(Connection::Refreshable))
        .col(text(Connection::Meta))
        .col(text_null(Connection::ErrorCode))
        .col(text_null(Connection::ErrorMessage))
        .col(big_integer_null(Connection::ErrorAt))
        .col(big_integer_null(Connection::LastSuccessAt))
        .col(blob_null(Connection::ImportDigest))
        .col(uuid_null(Connection::LeaseOwner))
        .col(big_integer_null(Connection::LeaseUntil))
        .col(text_null(Connection::CreatedBy))
        .col(text_null(Connection::UpdatedBy))
        .col(big_integer(Connection::CreatedAt))
        .col(big_integer(Connection::UpdatedAt))
        .primary_key(Index::create().col(Connection::TenantId).col(Connection::Id))
        .foreign_key(&mut of_server(Connection::Table, Connection::TenantId, Connection::ServerId))
        .to_owned()
}

/// Of which secret it is (`part`: credential or token), so that a new one takes only its own away.
fn fingerprint() -> TableCreateStatement {
    let of_connection = ForeignKey::create()
        .from(ConnectionFingerprint::Table, (ConnectionFingerprint::TenantId, ConnectionFingerprint::ConnectionId))
        .to(Connection::Table, (Connection::TenantId, Connection::Id))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned();
    Table::create()
        .table(ConnectionFingerprint::Table)
        .col(uuid(ConnectionFingerprint::TenantId))
        .col(uuid(ConnectionFingerprint::ConnectionId))
        .col(text(ConnectionFingerprint::Part))
        .col(blob(ConnectionFingerprint::Fingerprint))
        .primary_key(
            Index::create()
                .col(ConnectionFingerprint::TenantId)
                .col(ConnectionFingerprint::ConnectionId)
                .col(ConnectionFingerprint::Part)
                .col(ConnectionFingerprint::Fingerprint),
        )
        .foreign_key(&mut of_connection.clone())
        .to_owned()
}

/// Not only of tenants: the platform's keys have the nil id.
fn tenant_key() -> TableCreateStatement {
    Table::create()
        .table(TenantKey::Table)
        .col(uuid(TenantKey::TenantId))
        .col(big_integer(TenantKey::KeyId))
        .col(blob(TenantKey::KekId))
        .col(blob(TenantKey::Wrapped))
        .col(text(TenantKey::State))
        .col(big_integer(TenantKey::CreatedAt))
        .primary_key(Index::create().col(TenantKey::TenantId).col(TenantKey::KeyId))
        .to_owned()
}

fn upstream_client() -> TableCreateStatement {
    Table::create()
        .table(UpstreamClient::Table)
        .col(uuid(UpstreamClient::TenantId))
        .col(uuid(UpstreamClient::ServerId))
        .col(text(UpstreamClient::Issuer))
        .col(text(UpstreamClient::ClientId))
        .col(blob_null(UpstreamClient::Secret))
        .col(text(UpstreamClient::AuthMethod))
        .col(text(UpstreamClient::RedirectUri))
        .col(big_integer(UpstreamClient::RegisteredAt))
        .col(big_integer_null(UpstreamClient::SecretExpiresAt))
        .primary_key(
            Index::create().col(UpstreamClient::TenantId).col(UpstreamClient::ServerId).col(UpstreamClient::Issuer),
        )
        .foreign_key(&mut of_server(UpstreamClient::Table, UpstreamClient::TenantId, UpstreamClient::ServerId))
        .to_owned()
}

fn upstream_metadata() -> TableCreateStatement {
    Table::create()
        .table(UpstreamMetadata::Table)
        .col(uuid(UpstreamMetadata::TenantId))
        .col(uuid(UpstreamMetadata::ServerId))
        .col(text(UpstreamMetadata::Document))
        .col(big_integer(UpstreamMetadata::UntilAt))
        .primary_key(Index::create().col(UpstreamMetadata::TenantId).col(UpstreamMetadata::ServerId))
        .foreign_key(&mut of_server(UpstreamMetadata::Table, UpstreamMetadata::TenantId, UpstreamMetadata::ServerId))
        .to_owned()
}

fn login_attempt() -> TableCreateStatement {
    Table::create()
        .table(LoginAttempt::Table)
        .col(uuid(LoginAttempt::TenantId))
        .col(uuid(LoginAttempt::Id))
        .col(uuid(LoginAttempt::ServerId))
        .col(text(LoginAttempt::Scope))
        .col(uuid(LoginAttempt::HolderId))
        .col(text(LoginAttempt::Actor))
        .col(text(LoginAttempt::State))
        .col(text_null(LoginAttempt::Error))
        .col(uuid_null(LoginAttempt::ConnectionId))
        .col(big_integer(LoginAttempt::CreatedAt))
        .col(big_integer(LoginAttempt::ExpiresAt))
        .primary_key(Index::create().col(LoginAttempt::TenantId).col(LoginAttempt::Id))
        .foreign_key(&mut of_server(LoginAttempt::Table, LoginAttempt::TenantId, LoginAttempt::ServerId))
        .to_owned()
}

/// One row for each kind of job, and for each tenant of those that are about one; the nil id for all.
fn vault_job() -> TableCreateStatement {
    Table::create()
        .table(VaultJob::Table)
        .col(text(VaultJob::What))
        .col(uuid(VaultJob::TenantId))
        .col(text_null(VaultJob::Cursor))
        .col(big_integer(VaultJob::Done))
        .col(big_integer(VaultJob::Total))
        .col(uuid(VaultJob::Owner))
        .col(big_integer(VaultJob::UntilAt))
        .col(text(VaultJob::State))
        .col(text_null(VaultJob::Failure))
        .col(text(VaultJob::AskedBy))
        .col(big_integer(VaultJob::CreatedAt))
        .col(big_integer(VaultJob::UpdatedAt))
        .primary_key(Index::create().col(VaultJob::What).col(VaultJob::TenantId))
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &str| Index::create().name(name).to_owned();
    vec![
        index("connection_place")
            .table(Connection::Table)
            .col(Connection::TenantId)
            .col(Connection::ServerId)
            .col(Connection::Scope)
            .col(Connection::HolderId)
            .unique()
            .to_owned(),
        index("connection_holder")
            .table(Connection::Table)
            .col(Connection::TenantId)
            .col(Connection::HolderId)
            .to_owned(),
        index("connection_fingerprint_found")
            .table(ConnectionFingerprint::Table)
            .col(ConnectionFingerprint::TenantId)
            .col(ConnectionFingerprint::Fingerprint)
            .to_owned(),
        index("login_attempt_age")
            .table(LoginAttempt::Table)
            .col(LoginAttempt::TenantId)
            .col(LoginAttempt::CreatedAt)
            .to_owned(),
        index("login_attempt_end").table(LoginAttempt::Table).col(LoginAttempt::ExpiresAt).to_owned(),
    ]
}

#[derive(DeriveIden)]
enum Server {
    Table,
    TenantId,
    Id,
    Auth,
    AuthSecret,
    AuthSecretVersion,
    Binding,
}

#[derive(DeriveIden, Clone, Copy)]
enum Connection {
    Table,
    TenantId,
    Id,
    ServerId,
    Scope,
    HolderId,
    DisplayName,
    ExternalSubject,
    Status,
    Generation,
    Credential,
    ReferenceSource,
    ReferenceName,
    CredentialVersion,
    Token,
    TokenGeneration,
    TokenExpiresAt,
    Refreshable,
    Meta,
    ErrorCode,
    ErrorMessage,
    ErrorAt,
    LastSuccessAt,
    ImportDigest,
    LeaseOwner,
    LeaseUntil,
    CreatedBy,
    UpdatedBy,
    CreatedAt,
    UpdatedAt,
}

#[derive(DeriveIden)]
enum ConnectionFingerprint {
    Table,
    TenantId,
    ConnectionId,
    Part,
    Fingerprint,
}

#[derive(DeriveIden)]
enum TenantKey {
    Table,
    TenantId,
    KeyId,
    KekId,
    Wrapped,
    State,
    CreatedAt,
}

#[derive(DeriveIden, Clone, Copy)]
enum UpstreamClient {
    Table,
    TenantId,
    ServerId,
    Issuer,
    ClientId,
    Secret,
    AuthMethod,
    RedirectUri,
    RegisteredAt,
    SecretExpiresAt,
}

#[derive(DeriveIden, Clone, Copy)]
enum UpstreamMetadata {
    Table,
    TenantId,
    ServerId,
    Document,
    UntilAt,
}

#[derive(DeriveIden, Clone, Copy)]
enum LoginAttempt {
    Table,
    TenantId,
    Id,
    ServerId,
    Scope,
    HolderId,
    Actor,
    State,
    Error,
    ConnectionId,
    CreatedAt,
    ExpiresAt,
}

#[derive(DeriveIden)]
enum VaultJob {
    Table,
    What,
    TenantId,
    Cursor,
    Done,
    Total,
    Owner,
    UntilAt,
    State,
    Failure,
    AskedBy,
    CreatedAt,
    UpdatedAt,
}
