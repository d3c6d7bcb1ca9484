//! The first tables: tenants and what they own, and the revision, outbox and audit of every change.
//!
//! Times are microseconds since 1970 in `bigint` and structured values are JSON in `text`, because
//! the two databases agree on those and on little else.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, big_pk_auto, blob, boolean, integer, pk_uuid, text, text_null, text_uniq, uuid,
    uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [tenant(), user(), api_key(), server(), state(), outbox(), audit(), sealed(), proxy_status()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["proxy_status", "sealed", "audit", "outbox", "state", "server", "api_key", "user", "tenant"] {
            manager.drop_table(Table::drop().table(Alias::new(table)).to_owned()).await?;
        }
        Ok(())
    }
}

fn tenant() -> TableCreateStatement {
    Table::create()
        .table(Tenant::Table)
        .col(pk_uuid(Tenant::Id))
        .col(text_uniq(Tenant::Name))
        .col(text(Tenant::Title))
        .col(text(Tenant::Limits))
        .col(big_integer(Tenant::CreatedAt))
        .to_owned()
}

fn user() -> TableCreateStatement {
    Table::create()
        .table(User::Table)
        .col(uuid(User::TenantId))
        .col(uuid(User::Id))
        .col(text(User::Login))
        .col(text_null(User::ExternalId))
        .col(text(User::Role))
        .col(boolean(User::Active))
        .col(text(User::Departments))
        .col(big_integer(User::CreatedAt))
        .primary_key(Index::create().col(User::TenantId).col(User::Id))
        .foreign_key(ForeignKey::create().from(User::Table, User::TenantId).to(Tenant::Table, Tenant::Id))
        .to_owned()
}

fn api_key() -> TableCreateStatement {
    Table::create()
        .table(ApiKey::Table)
        .col(text(ApiKey::Id).primary_key())
        .col(uuid(ApiKey::TenantId))
        .col(uuid_null(ApiKey::UserId))
        .col(text(ApiKey::Role))
        .col(text(ApiKey::Label))
        .col(blob(ApiKey::Sha256))
        .col(blob(ApiKey::Evidence))
        .col(text_null(ApiKey::Servers))
        .col(big_integer_null(ApiKey::ExpiresAt))
        .col(big_integer(ApiKey::CreatedAt))
        .col(big_integer_null(ApiKey::RevokedAt))
        .col(big_integer_null(ApiKey::LastUsedAt))
        .foreign_key(ForeignKey::create().from(ApiKey::Table, ApiKey::TenantId).to(Tenant::Table, Tenant::Id))
        .foreign_key(
            ForeignKey::create()
                .from(ApiKey::Table, (ApiKey::TenantId, ApiKey::UserId))
                .to(User::Table, (User::TenantId, User::Id)),
        )
        .to_owned()
}

fn server() -> TableCreateStatement {
    Table::create()
        .table(Server::Table)
        .col(uuid(Server::TenantId))
        .col(uuid(Server::Id))
        .col(text(Server::Name))
        .col(text(Server::Title))
        .col(big_integer(Server::Generation))
        .col(text(Server::Transport))
        .col(text(Server::Url))
        .col(text(Server::Headers))
        .col(big_integer(Server::ConnectTimeoutMs))
        .col(big_integer(Server::ReadTimeoutMs))
        .col(text(Server::DisabledTools))
        .col(boolean(Server::TrustHints))
        .col(boolean(Server::Enabled))
        .col(big_integer(Server::CreatedAt))
        .col(big_integer(Server::UpdatedAt))
        .col(big_integer_null(Server::DeletedAt))
        .primary_key(Index::create().col(Server::TenantId).col(Server::Id))
        .foreign_key(ForeignKey::create().from(Server::Table, Server::TenantId).to(Tenant::Table, Tenant::Id))
        .to_owned()
}

/// One row: the revision of the whole intended state, and the lock that makes writers take turns.
fn state() -> TableCreateStatement {
    Table::create()
        .table(State::Table)
        .col(integer(State::Id).primary_key())
        .col(big_integer(State::Epoch))
        .col(big_integer(State::Seq))
        .to_owned()
}

fn outbox() -> TableCreateStatement {
    Table::create()
        .table(Outbox::Table)
        .col(big_integer(Outbox::Seq))
        .col(text(Outbox::Name))
        .col(uuid(Outbox::TenantId))
        .col(boolean(Outbox::Removed))
        .col(boolean(Outbox::Urgent))
        .col(big_integer(Outbox::CreatedAt))
        .primary_key(Index::create().col(Outbox::Seq).col(Outbox::Name))
        .to_owned()
}

fn audit() -> TableCreateStatement {
    Table::create()
        .table(Audit::Table)
        .col(big_pk_auto(Audit::Seq))
        .col(big_integer(Audit::Ts))
        .col(uuid_null(Audit::TenantId))
        .col(text(Audit::Actor))
        .col(text(Audit::ActorKind))
        .col(text(Audit::Action))
        .col(text(Audit::Object))
        .col(text_null(Audit::Before))
        .col(text_null(Audit::After))
        .col(text(Audit::Result))
        .col(text_null(Audit::Reason))
        .col(text_null(Audit::Ip))
        .col(text_null(Audit::TraceId))
        .to_owned()
}

fn sealed() -> TableCreateStatement {
    Table::create().table(Sealed::Table).col(text(Sealed::Name).primary_key()).col(blob(Sealed::Bytes)).to_owned()
}

fn proxy_status() -> TableCreateStatement {
    Table::create()
        .table(ProxyStatus::Table)
        .col(text(ProxyStatus::Node).primary_key())
        .col(text(ProxyStatus::Pool))
        .col(big_integer(ProxyStatus::Epoch))
        .col(big_integer(ProxyStatus::Seq))
        .col(big_integer(ProxyStatus::LastSeen))
        .col(text(ProxyStatus::Rejected))
        .to_owned()
}

/// A tombstone's name and title are free again, hence the partial ones.
fn indexes() -> [IndexCreateStatement; 6] {
    [
        Index::create()
            .name("server_live_name")
            .table(Server::Table)
            .col(Server::TenantId)
            .col(Server::Name)
            .unique()
            .and_where(Expr::col(Server::DeletedAt).is_null())
            .to_owned(),
        Index::create()
            .name("server_live_title")
            .table(Server::Table)
            .col(Server::TenantId)
            .col(Server::Title)
            .unique()
            .and_where(Expr::col(Server::DeletedAt).is_null())
            .to_owned(),
        Index::create().name("user_login").table(User::Table).col(User::TenantId).col(User::Login).unique().to_owned(),
        Index::create()
            .name("api_key_tenant")
            .table(ApiKey::Table)
            .col(ApiKey::TenantId)
            .col(ApiKey::CreatedAt)
            .to_owned(),
        Index::create().name("audit_tenant").table(Audit::Table).col(Audit::TenantId).col(Audit::Seq).to_owned(),
        Index::create().name("proxy_status_seen").table(ProxyStatus::Table).col(ProxyStatus::LastSeen).to_owned(),
    ]
}

#[derive(DeriveIden)]
enum Tenant {
    Table,
    Id,
    Name,
    Title,
    Limits,
    CreatedAt,
}

#[derive(DeriveIden)]
enum User {
    Table,
    TenantId,
    Id,
    Login,
    ExternalId,
    Role,
    Active,
    Departments,
    CreatedAt,
}

#[derive(DeriveIden)]
enum ApiKey {
    Table,
    Id,
    TenantId,
    UserId,
    Role,
    Label,
    Sha256,
    Evidence,
    Servers,
    ExpiresAt,
    CreatedAt,
    RevokedAt,
    LastUsedAt,
}

#[derive(DeriveIden)]
enum Server {
    Table,
    TenantId,
    Id,
    Name,
    Title,
    Generation,
    Transport,
    Url,
    Headers,
    ConnectTimeoutMs,
    ReadTimeoutMs,
    DisabledTools,
    TrustHints,
    Enabled,
    CreatedAt,
    UpdatedAt,
    DeletedAt,
}

#[derive(DeriveIden)]
enum State {
    Table,
    Id,
    Epoch,
    Seq,
}

#[derive(DeriveIden)]
enum Outbox {
    Table,
    Seq,
    Name,
    TenantId,
    Removed,
    Urgent,
    CreatedAt,
}

#[derive(DeriveIden)]
enum Audit {
    Table,
    Seq,
    Ts,
    TenantId,
    Actor,
    ActorKind,
    Action,
    Object,
    Before,
    After,
    Result,
    Reason,
    Ip,
    TraceId,
}

#[derive(DeriveIden)]
enum Sealed {
    Table,
    Name,
    Bytes,
}

#[derive(DeriveIden)]
enum ProxyStatus {
    Table,
    Node,
    Pool,
    Epoch,
    Seq,
    LastSeen,
    Rejected,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_databases_get_the_same_tables_and_partial_indexes() {
        for table in [tenant(), user(), api_key(), server(), state(), outbox(), audit(), sealed(), proxy_status()] {
            let (sqlite, postgres) = (table.to_string(SqliteQueryBuilder), table.to_string(PostgresQueryBuilder));
            assert!(sqlite.starts_with("CREATE TABLE") && postgres.starts_with("CREATE TABLE"), "{sqlite}");
            assert!(!postgres.contains("timestamp") && !postgres.contains("json"), "{postgres}");
        }
        for index in &indexes()[..2] {
            for sql in [index.to_string(SqliteQueryBuilder), index.to_string(PostgresQueryBuilder)] {
                assert!(
                    sql.starts_with("CREATE UNIQUE INDEX") && sql.ends_with("WHERE \"deleted_at\" IS NULL"),
                    "{sql}"
                );
            }
        }
        let sqlite = audit().to_string(SqliteQueryBuilder);
        assert!(sqlite.contains("AUTOINCREMENT"), "{sqlite}");
        let postgres = audit().to_string(PostgresQueryBuilder);
        assert!(postgres.contains("bigserial") || postgres.contains("GENERATED"), "{postgres}");
    }
}
