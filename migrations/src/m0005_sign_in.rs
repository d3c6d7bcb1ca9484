//! How people come in: passwords and links, sessions, attempts under way, and what they let OAuth clients do.
//!
//! Of everything that opens something only the SHA-256 is kept.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{big_integer, big_integer_null, blob, text, text_null, uuid, uuid_null};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [password(), link(), session(), attempt(), client(), code(), grant(), refresh_token()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [
            "refresh_token",
            "oauth_grant",
            "oauth_code",
            "oauth_client",
            "attempt",
            "session",
            "sign_in_link",
            "password",
        ] {
            manager.drop_table(Table::drop().table(Alias::new(table)).to_owned()).await?;
        }
        Ok(())
    }
}

/// What is a user's goes with the user's row.
fn of_user(table: impl IntoIden + Copy, tenant: impl IntoIden, user: impl IntoIden) -> ForeignKeyCreateStatement {
    ForeignKey::create()
        .from(table.into_iden(), (tenant, user))
        .to(User::Table, (User::TenantId, User::Id))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned()
}

fn password() -> TableCreateStatement {
    Table::create()
        .table(Password::Table)
        .col(uuid(Password::TenantId))
        .col(uuid(Password::UserId))
        .col(text(Password::Phc))
        .col(big_integer(Password::CreatedAt))
        .primary_key(Index::create().col(Password::TenantId).col(Password::UserId))
        .foreign_key(&mut of_user(Password::Table, Password::TenantId, Password::UserId))
        .to_owned()
}

fn link() -> TableCreateStatement {
    Table::create()
        .table(SignInLink::Table)
        .col(blob(SignInLink::Sha256).primary_key())
        .col(uuid(SignInLink::TenantId))
        .col(uuid(SignInLink::UserId))
        .col(big_integer(SignInLink::CreatedAt))
        .col(big_integer(SignInLink::ExpiresAt))
        .foreign_key(&mut of_user(SignInLink::Table, SignInLink::TenantId, SignInLink::UserId))
        .to_owned()
}

fn session() -> TableCreateStatement {
    Table::create()
        .table(Session::Table)
        .col(uuid(Session::TenantId))
        .col(uuid(Session::Id))
        .col(blob(Session::Sha256))
        .col(uuid(Session::UserId))
        .col(uuid_null(Session::IssuerId))
        .col(text_null(Session::Ip))
        .col(text_null(Session::Agent))
        .col(big_integer(Session::CreatedAt))
        .col(big_integer(Session::SeenAt))
        .col(big_integer(Session::ExpiresAt))
        .primary_key(Index::create().col(Session::TenantId).col(Session::Id))
        .foreign_key(&mut of_user(Session::Table, Session::TenantId, Session::UserId))
        .to_owned()
}

/// Of nobody yet: who comes back from a sign-in is known only then.
fn attempt() -> TableCreateStatement {
    Table::create()
        .table(Attempt::Table)
        .col(blob(Attempt::Sha256).primary_key())
        .col(text(Attempt::Kind))
        .col(text(Attempt::Payload))
        .col(blob(Attempt::Binding))
        .col(big_integer(Attempt::CreatedAt))
        .col(big_integer(Attempt::ExpiresAt))
        .to_owned()
}

fn client() -> TableCreateStatement {
    Table::create()
        .table(OauthClient::Table)
        .col(uuid(OauthClient::TenantId))
        .col(text(OauthClient::Id))
        .col(text(OauthClient::Kind))
        .col(text(OauthClient::Name))
        .col(text(OauthClient::RedirectUris))
        .col(big_integer(OauthClient::CreatedAt))
        .col(big_integer_null(OauthClient::UsedAt))
        .col(big_integer(OauthClient::ExpiresAt))
        .primary_key(Index::create().col(OauthClient::TenantId).col(OauthClient::Id))
        .foreign_key(ForeignKey::create().from(OauthClient::Table, OauthClient::TenantId).to(Tenant::Table, Tenant::Id))
        .to_owned()
}

/// A used code stays until it would have expired, with the grant that was made of it.
fn code() -> TableCreateStatement {
    Table::create()
        .table(OauthCode::Table)
        .col(blob(OauthCode::Sha256).primary_key())
        .col(uuid(OauthCode::TenantId))
        .col(uuid(OauthCode::UserId))
        .col(uuid(OauthCode::GrantId))
        .col(uuid_null(OauthCode::IssuerId))
        .col(text(OauthCode::ClientId))
        .col(text(OauthCode::RedirectUri))
        .col(text(OauthCode::Resource))
        .col(text(OauthCode::Scope))
        .col(text(OauthCode::Challenge))
        .col(big_integer(OauthCode::CreatedAt))
        .col(big_integer(OauthCode::ExpiresAt))
        .col(big_integer_null(OauthCode::UsedAt))
        .col(big_integer_null(OauthCode::ReplayedAt))
        .foreign_key(&mut of_user(OauthCode::Table, OauthCode::TenantId, OauthCode::UserId))
        .to_owned()
}

fn grant() -> TableCreateStatement {
    Table::create()
        .table(OauthGrant::Table)
        .col(uuid(OauthGrant::TenantId))
        .col(uuid(OauthGrant::Id))
        .col(uuid(OauthGrant::UserId))
        .col(uuid_null(OauthGrant::IssuerId))
        .col(text(OauthGrant::ClientId))
        .col(text(OauthGrant::ClientName))
        .col(text(OauthGrant::Resource))
        .col(text(OauthGrant::Scope))
        .col(big_integer(OauthGrant::CreatedAt))
        .col(big_integer(OauthGrant::UsedAt))
        .col(big_integer(OauthGrant::ExpiresAt))
        .col(big_integer_null(OauthGrant::RevokedAt))
        .primary_key(Index::create().col(OauthGrant::TenantId).col(OauthGrant::Id))
        .foreign_key(&mut of_user(OauthGrant::Table, OauthGrant::TenantId, OauthGrant::UserId))
        .to_owned()
}

/// All of a grant, in their order: one that was replaced is known again when it is shown.
fn refresh_token() -> TableCreateStatement {
    let of_grant = ForeignKey::create()
        .from(RefreshToken::Table, (RefreshToken::TenantId, RefreshToken::GrantId))
        .to(OauthGrant::Table, (OauthGrant::TenantId, OauthGrant::Id))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned();
    Table::create()
        .table(RefreshToken::Table)
        .col(blob(RefreshToken::Sha256).primary_key())
        .col(uuid(RefreshToken::TenantId))
        .col(uuid(RefreshToken::GrantId))
        .col(big_integer(RefreshToken::Number))
        .col(big_integer(RefreshToken::CreatedAt))
        .col(big_integer_null(RefreshToken::ReplacedAt))
        .foreign_key(&mut of_grant.clone())
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &str| Index::create().name(name).to_owned();
    vec![
        index("session_sha256").table(Session::Table).col(Session::Sha256).unique().to_owned(),
        index("session_user")
            .table(Session::Table)
            .col(Session::TenantId)
            .col(Session::UserId)
            .col(Session::CreatedAt)
            .to_owned(),
        index("session_end").table(Session::Table).col(Session::ExpiresAt).to_owned(),
        index("sign_in_link_user")
            .table(SignInLink::Table)
            .col(SignInLink::TenantId)
            .col(SignInLink::UserId)
            .col(SignInLink::CreatedAt)
            .to_owned(),
        index("sign_in_link_end").table(SignInLink::Table).col(SignInLink::ExpiresAt).to_owned(),
        index("attempt_age").table(Attempt::Table).col(Attempt::CreatedAt).col(Attempt::Sha256).to_owned(),
        index("attempt_end").table(Attempt::Table).col(Attempt::ExpiresAt).to_owned(),
        index("oauth_client_end").table(OauthClient::Table).col(OauthClient::ExpiresAt).to_owned(),
        index("oauth_code_user")
            .table(OauthCode::Table)
            .col(OauthCode::TenantId)
            .col(OauthCode::UserId)
            .col(OauthCode::CreatedAt)
            .to_owned(),
        index("oauth_code_grant").table(OauthCode::Table).col(OauthCode::TenantId).col(OauthCode::GrantId).to_owned(),
        index("oauth_code_end").table(OauthCode::Table).col(OauthCode::ExpiresAt).to_owned(),
        index("oauth_grant_user")
            .table(OauthGrant::Table)
            .col(OauthGrant::TenantId)
            .col(OauthGrant::UserId)
            .col(OauthGrant::CreatedAt)
            .to_owned(),
        index("oauth_grant_client")
            .table(OauthGrant::Table)
            .col(OauthGrant::TenantId)
            .col(OauthGrant::ClientId)
            .to_owned(),
        index("oauth_grant_issuer")
            .table(OauthGrant::Table)
            .col(OauthGrant::TenantId)
            .col(OauthGrant::IssuerId)
            .to_owned(),
        index("oauth_grant_revoked").table(OauthGrant::Table).col(OauthGrant::RevokedAt).to_owned(),
        index("oauth_grant_used").table(OauthGrant::Table).col(OauthGrant::UsedAt).to_owned(),
        index("oauth_grant_end").table(OauthGrant::Table).col(OauthGrant::ExpiresAt).to_owned(),
        index("refresh_token_grant")
            .table(RefreshToken::Table)
            .col(RefreshToken::TenantId)
            .col(RefreshToken::GrantId)
            .col(RefreshToken::Number)
            .unique()
            .to_owned(),
    ]
}

#[derive(DeriveIden)]
enum Tenant {
    Table,
    Id,
}

#[derive(DeriveIden)]
enum User {
    Table,
    TenantId,
    Id,
}

#[derive(DeriveIden, Clone, Copy)]
enum Password {
    Table,
    TenantId,
    UserId,
    Phc,
    CreatedAt,
}

#[derive(DeriveIden, Clone, Copy)]
enum SignInLink {
    Table,
    Sha256,
    TenantId,
    UserId,
    CreatedAt,
    ExpiresAt,
}

#[derive(DeriveIden, Clone, Copy)]
enum Session {
    Table,
    TenantId,
    Id,
    Sha256,
    UserId,
    IssuerId,
    Ip,
    Agent,
    CreatedAt,
    SeenAt,
    ExpiresAt,
}

#[derive(DeriveIden)]
enum Attempt {
    Table,
    Sha256,
    Kind,
    Payload,
    Binding,
    CreatedAt,
    ExpiresAt,
}

#[derive(DeriveIden)]
enum OauthClient {
    Table,
    TenantId,
    Id,
    Kind,
    Name,
    RedirectUris,
    CreatedAt,
    UsedAt,
    ExpiresAt,
}

#[derive(DeriveIden, Clone, Copy)]
enum OauthCode {
    Table,
    Sha256,
    TenantId,
    UserId,
    GrantId,
    IssuerId,
    ClientId,
    RedirectUri,
    Resource,
    Scope,
    Challenge,
    CreatedAt,
    ExpiresAt,
    UsedAt,
    ReplayedAt,
}

#[derive(DeriveIden, Clone, Copy)]
enum OauthGrant {
    Table,
    TenantId,
    Id,
    UserId,
    IssuerId,
    ClientId,
    ClientName,
    Resource,
    Scope,
    CreatedAt,
    UsedAt,
    ExpiresAt,
    RevokedAt,
}

#[derive(DeriveIden)]
enum RefreshToken {
    Table,
    Sha256,
    TenantId,
    GrantId,
    Number,
    CreatedAt,
    ReplacedAt,
}
