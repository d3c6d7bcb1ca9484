//! What the management service keeps beyond the first tables: settings of tenants, departments, users, the whole
//! server record, manifests, egress rules, and the rows by which replicas work together.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, blob, blob_null, boolean, integer, small_integer_null, text, text_null, uuid,
    uuid_null,
};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// New columns of tables that exist, with what old rows have.
fn columns() -> Vec<(DynIden, Vec<ColumnDef>)> {
    vec![
        (
            Tenant::Table.into_iden(),
            vec![
                text(Tenant::Settings).default("{}").to_owned(),
                boolean(Tenant::Active).default(true).to_owned(),
                big_integer(Tenant::Generation).default(1).to_owned(),
                big_integer(Tenant::UpdatedAt).default(0).to_owned(),
                big_integer_null(Tenant::DeletedAt),
            ],
        ),
        (
            User::Table.into_iden(),
            vec![
                text(User::Title).default("").to_owned(),
                big_integer(User::Generation).default(1).to_owned(),
                big_integer(User::UpdatedAt).default(0).to_owned(),
                big_integer_null(User::DeletedAt),
            ],
        ),
        (
            ApiKey::Table.into_iden(),
            vec![text_null(ApiKey::Replaces), big_integer(ApiKey::Generation).default(1).to_owned()],
        ),
        (
            Server::Table.into_iden(),
            vec![
                text_null(Server::Description),
                text(Server::Tags).default("[]").to_owned(),
                text_null(Server::Icon),
                integer(Server::RetryCount).default(0).to_owned(),
                big_integer(Server::RetryDelayMs).default(1000).to_owned(),
                text(Server::Limits).default("{}").to_owned(),
                text_null(Server::CreatedBy),
                text_null(Server::UpdatedBy),
            ],
        ),
        (
            ProxyStatus::Table.into_iden(),
            vec![
                text(ProxyStatus::Replica).default("").to_owned(),
                boolean(ProxyStatus::Attached).default(false).to_owned(),
                integer(ProxyStatus::Mounts).default(0).to_owned(),
                boolean(ProxyStatus::DigestMatches).default(true).to_owned(),
                big_integer(ProxyStatus::Since).default(0).to_owned(),
            ],
        ),
    ]
}

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // One column at a time: SQLite takes no more in one statement.
        for (table, columns) in columns() {
            for column in columns {
                manager.alter_table(Table::alter().table(table.clone()).add_column(column).to_owned()).await?;
            }
        }
        // No program has written users or departments of users before this step.
        let departments = Table::alter().table(User::Table).drop_column(User::Departments).to_owned();
        manager.alter_table(departments).await?;
        // A notice may be about what belongs to no tenant. Its rows are only hints for proxies that are behind; without
        // them they get the whole state.
        manager.drop_table(Table::drop().table(Outbox::Table).to_owned()).await?;
        for table in tables() {
            manager.create_table(table).await?;
        }
        manager.drop_index(Index::drop().name("user_login").table(User::Table).to_owned()).await?;
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let (role, user) = (Expr::value("user"), Expr::col(ApiKey::Role).eq("client"));
        let rename = Query::update().table(ApiKey::Table).value(ApiKey::Role, role).and_where(user).to_owned();
        manager.execute(rename).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let (role, user) = (Expr::value("client"), Expr::col(ApiKey::Role).eq("user"));
        let rename = Query::update().table(ApiKey::Table).value(ApiKey::Role, role).and_where(user).to_owned();
        manager.execute(rename).await?;
        for (name, table) in INDEXES_OF_OLD_TABLES {
            manager.drop_index(Index::drop().name(name).table(Alias::new(table)).to_owned()).await?;
        }
        for table in ["command", "idempotency", "egress_rule", "manifest", "membership", "department", "outbox"] {
            manager.drop_table(Table::drop().table(Alias::new(table)).to_owned()).await?;
        }
        let login =
            Index::create().name("user_login").table(User::Table).col(User::TenantId).col(User::Login).to_owned();
        manager.create_index(login.clone().unique().to_owned()).await?;
        let before = outbox(ColumnDef::new(Outbox::TenantId).uuid().not_null().to_owned());
        manager.create_table(before).await?;
        let departments = text(User::Departments).default("[]").to_owned();
        manager.alter_table(Table::alter().table(User::Table).add_column(departments).to_owned()).await?;
        for (table, columns) in columns() {
            for column in columns {
                let name = Alias::new(column.get_column_name());
                manager.alter_table(Table::alter().table(table.clone()).drop_column(name).to_owned()).await?;
            }
        }
        Ok(())
    }
}

fn tables() -> [TableCreateStatement; 7] {
    [
        outbox(uuid_null(Outbox::TenantId)),
        department(),
        membership(),
        manifest(),
        egress_rule(),
        idempotency(),
        command(),
    ]
}

fn outbox(tenant: ColumnDef) -> TableCreateStatement {
    Table::create()
        .table(Outbox::Table)
        .col(big_integer(Outbox::Seq))
        .col(text(Outbox::Name))
        .col(tenant)
        .col(boolean(Outbox::Removed))
        .col(boolean(Outbox::Urgent))
        .col(big_integer(Outbox::CreatedAt))
        .primary_key(Index::create().col(Outbox::Seq).col(Outbox::Name))
        .to_owned()
}

fn department() -> TableCreateStatement {
    Table::create()
        .table(Department::Table)
        .col(uuid(Department::TenantId))
        .col(uuid(Department::Id))
        .col(text(Department::Name))
        .col(text(Department::Title))
        .col(text_null(Department::ExternalId))
        .col(big_integer(Department::Generation))
        .col(big_integer(Department::CreatedAt))
        .col(big_integer(Department::UpdatedAt))
        .col(big_integer_null(Department::DeletedAt))
        .primary_key(Index::create().col(Department::TenantId).col(Department::Id))
        .foreign_key(ForeignKey::create().from(Department::Table, Department::TenantId).to(Tenant::Table, Tenant::Id))
        .to_owned()
}

/// A user's departments in their order.
fn membership() -> TableCreateStatement {
    let of_user = ForeignKey::create()
        .from(Membership::Table, (Membership::TenantId, Membership::UserId))
        .to(User::Table, (User::TenantId, User::Id))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned();
    let in_department = ForeignKey::create()
        .from(Membership::Table, (Membership::TenantId, Membership::DepartmentId))
        .to(Department::Table, (Department::TenantId, Department::Id))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned();
    Table::create()
        .table(Membership::Table)
        .col(uuid(Membership::TenantId))
        .col(uuid(Membership::UserId))
        .col(uuid(Membership::DepartmentId))
        .col(integer(Membership::Position))
        .primary_key(Index::create().col(Membership::TenantId).col(Membership::UserId).col(Membership::DepartmentId))
        .foreign_key(&mut of_user.clone())
        .foreign_key(&mut in_department.clone())
        .to_owned()
}

/// The tools that a server offered when it was asked last.
fn manifest() -> TableCreateStatement {
    let of_server = ForeignKey::create()
        .from(Manifest::Table, (Manifest::TenantId, Manifest::ServerId))
        .to(Server::Table, (Server::TenantId, Server::Id))
        .on_delete(ForeignKeyAction::Cascade)
        .to_owned();
    Table::create()
        .table(Manifest::Table)
        .col(uuid(Manifest::TenantId))
        .col(uuid(Manifest::ServerId))
        .col(blob(Manifest::Digest))
        .col(text(Manifest::Tools))
        .col(big_integer(Manifest::FetchedAt))
        .primary_key(Index::create().col(Manifest::TenantId).col(Manifest::ServerId))
        .foreign_key(&mut of_server.clone())
        .to_owned()
}

fn egress_rule() -> TableCreateStatement {
    Table::create()
        .table(EgressRule::Table)
        .col(uuid(EgressRule::Id).primary_key())
        .col(uuid_null(EgressRule::TenantId))
        .col(text(EgressRule::Host))
        .col(text_null(EgressRule::Ports))
        .col(boolean(EgressRule::Http))
        .col(text(EgressRule::Reason))
        .col(text_null(EgressRule::CreatedBy))
        .col(big_integer(EgressRule::Generation))
        .col(big_integer(EgressRule::CreatedAt))
        .col(big_integer(EgressRule::UpdatedAt))
        .foreign_key(ForeignKey::create().from(EgressRule::Table, EgressRule::TenantId).to(Tenant::Table, Tenant::Id))
        .to_owned()
}

/// Answers of requests that carried an Idempotency-Key; without an answer it still runs.
fn idempotency() -> TableCreateStatement {
    Table::create()
        .table(Idempotency::Table)
        .col(uuid(Idempotency::TenantId))
        .col(text(Idempotency::KeyId))
        .col(text(Idempotency::IdemKey))
        .col(blob(Idempotency::Fingerprint))
        .col(text(Idempotency::State))
        .col(small_integer_null(Idempotency::Status))
        .col(text_null(Idempotency::Headers))
        .col(text_null(Idempotency::Body))
        .col(big_integer(Idempotency::CreatedAt))
        .primary_key(Index::create().col(Idempotency::TenantId).col(Idempotency::KeyId).col(Idempotency::IdemKey))
        .to_owned()
}

/// Commands for proxies that are attached to another replica, and their answers.
fn command() -> TableCreateStatement {
    Table::create()
        .table(Command::Table)
        .col(uuid(Command::Id).primary_key())
        .col(text(Command::Node))
        .col(text(Command::Replica))
        .col(blob(Command::Body))
        .col(text_null(Command::TakenBy))
        .col(big_integer(Command::CreatedAt))
        .col(big_integer(Command::DeadlineAt))
        .col(blob_null(Command::Answer))
        .col(big_integer_null(Command::AnsweredAt))
        .to_owned()
}

/// Indexes on tables of earlier steps, which no dropped table takes along.
const INDEXES_OF_OLD_TABLES: [(&str, &str); 8] = [
    ("server_list", "server"),
    ("server_deleted", "server"),
    ("user_live_login", "user"),
    ("user_external_id", "user"),
    ("api_key_user", "api_key"),
    ("api_key_chain", "api_key"),
    ("api_key_role", "api_key"),
    ("audit_time", "audit"),
];

fn indexes() -> Vec<IndexCreateStatement> {
    let index = |name: &str| Index::create().name(name).to_owned();
    vec![
        // Lists, in the order of their making; and tombstones for the purge.
        index("server_list")
            .table(Server::Table)
            .col(Server::TenantId)
            .col(Server::DeletedAt)
            .col(Server::Id)
            .to_owned(),
        index("server_deleted").table(Server::Table).col(Server::DeletedAt).to_owned(),
        // A deleted user's login is free again.
        index("user_live_login")
            .table(User::Table)
            .col(User::TenantId)
            .col(User::Login)
            .unique()
            .and_where(Expr::col(User::DeletedAt).is_null())
            .to_owned(),
        index("user_external_id").table(User::Table).col(User::TenantId).col(User::ExternalId).to_owned(),
        index("api_key_user").table(ApiKey::Table).col(ApiKey::TenantId).col(ApiKey::UserId).to_owned(),
        index("api_key_chain").table(ApiKey::Table).col(ApiKey::TenantId).col(ApiKey::Replaces).to_owned(),
        // The platform's admins are few: they are looked for at every change that might take the last one's power.
        index("api_key_role").table(ApiKey::Table).col(ApiKey::Role).to_owned(),
        index("audit_time").table(Audit::Table).col(Audit::TenantId).col(Audit::Ts).to_owned(),
        index("department_live_name")
            .table(Department::Table)
            .col(Department::TenantId)
            .col(Department::Name)
            .unique()
            .and_where(Expr::col(Department::DeletedAt).is_null())
            .to_owned(),
        index("membership_department")
            .table(Membership::Table)
            .col(Membership::TenantId)
            .col(Membership::DepartmentId)
            .col(Membership::UserId)
            .to_owned(),
        index("egress_rule_tenant").table(EgressRule::Table).col(EgressRule::TenantId).to_owned(),
        index("idempotency_age").table(Idempotency::Table).col(Idempotency::CreatedAt).to_owned(),
        index("command_node").table(Command::Table).col(Command::Node).col(Command::AnsweredAt).to_owned(),
        index("command_deadline").table(Command::Table).col(Command::DeadlineAt).to_owned(),
    ]
}

#[derive(DeriveIden)]
enum Tenant {
    Table,
    Id,
    Settings,
    Active,
    Generation,
    UpdatedAt,
    DeletedAt,
}

#[derive(DeriveIden)]
enum User {
    Table,
    TenantId,
    Id,
    Login,
    ExternalId,
    Departments,
    Title,
    Generation,
    UpdatedAt,
    DeletedAt,
}

#[derive(DeriveIden)]
enum ApiKey {
    Table,
    TenantId,
    UserId,
    Role,
    Replaces,
    Generation,
}

#[derive(DeriveIden)]
enum Server {
    Table,
    TenantId,
    Id,
    DeletedAt,
    Description,
    Tags,
    Icon,
    RetryCount,
    RetryDelayMs,
    Limits,
    CreatedBy,
    UpdatedBy,
}

#[derive(DeriveIden)]
enum ProxyStatus {
    Table,
    Replica,
    Attached,
    Mounts,
    DigestMatches,
    Since,
}

#[derive(DeriveIden)]
enum Audit {
    Table,
    TenantId,
    Ts,
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
enum Department {
    Table,
    TenantId,
    Id,
    Name,
    Title,
    ExternalId,
    Generation,
    CreatedAt,
    UpdatedAt,
    DeletedAt,
}

#[derive(DeriveIden)]
enum Membership {
    Table,
    TenantId,
    UserId,
    DepartmentId,
    Position,
}

#[derive(DeriveIden)]
enum Manifest {
    Table,
    TenantId,
    ServerId,
    Digest,
    Tools,
    FetchedAt,
}

#[derive(DeriveIden)]
enum EgressRule {
    Table,
    Id,
    TenantId,
    Host,
    Ports,
    Http,
    Reason,
    CreatedBy,
    Generation,
    CreatedAt,
    UpdatedAt,
}

#[derive(DeriveIden)]
enum Idempotency {
    Table,
    TenantId,
    KeyId,
    IdemKey,
    Fingerprint,
    State,
    Status,
    Headers,
    Body,
    CreatedAt,
}

#[derive(DeriveIden)]
enum Command {
    Table,
    Id,
    Node,
    Replica,
    Body,
    TakenBy,
    CreatedAt,
    DeadlineAt,
    Answer,
    AnsweredAt,
}
