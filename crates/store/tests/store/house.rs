//! A database of its own for each test, and the records that tests begin with.

use std::sync::Arc;
use std::time::Duration;

use model::{
    Binding, ClaimMapping, ConnectionId, DepartmentId, Holder, IssuerId, KeyId, KeyRole, KeyScopes, KeyVerifier,
    Limits, ManualClock, Scope, ServerId, SigningAlgorithm, TenantId, Transport, UpstreamUrl, UserId,
};
use sea_orm::{ConnectionTrait as _, Database, DatabaseConnection};
use store::{
    Actor, NewConnection, NewDepartment, NewIssuer, NewKey, NewServer, NewTenant, NewUser, SecretChange, ServerAuth,
    Store, TenantRecord, TenantStore,
};

use crate::DATABASE;

/// When every house begins.
pub(crate) const START: i64 = 1_800_000_000_000_000;

/// The two databases; each of the two test programs runs the whole suite on one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(dead_code, reason = "each of the two programs is one of them")]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

pub(crate) struct House {
    pub(crate) store: Store,
    pub(crate) clock: Arc<ManualClock>,
    /// Where the database is.
    pub(crate) url: String,
    _folder: tempfile::TempDir,
}

impl House {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = empty_database(&folder);
        let clock = Arc::new(ManualClock::at(START));
        let store = Store::connect(&url, clock.clone()).await.unwrap();
        Self { store, clock, url, _folder: folder }
    }

    /// Another process on the same database.
    pub(crate) async fn second_process(&self) -> Store {
        Store::connect(&self.url, self.clock.clone()).await.unwrap()
    }

    /// The database past the store.
    pub(crate) async fn raw(&self) -> DatabaseConnection {
        Database::connect(&self.url).await.unwrap()
    }

    /// Makes the database refuse new rows of a table, as a full disk would.
    pub(crate) async fn refuse_rows_of(&self, table: &str) {
        let (sqlite, postgres) = (
            format!("CREATE TRIGGER broken BEFORE INSERT ON {table} BEGIN SELECT RAISE(ABORT, 'disk full'); END"),
            format!(
                "CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'disk full'; END $$; \
                 CREATE TRIGGER broken BEFORE INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION broken()"
            ),
        );
        let sql = if DATABASE == Kind::Sqlite { sqlite } else { postgres };
        self.raw().await.execute_unprepared(&sql).await.unwrap();
    }

    /// Takes `refuse_rows_of` back.
    pub(crate) async fn accept_rows_of(&self, table: &str) {
        let sql = match DATABASE {
            Kind::Sqlite => "DROP TRIGGER broken".to_owned(),
            Kind::Postgres => format!("DROP TRIGGER broken ON {table}; DROP FUNCTION broken()"),
        };
        self.raw().await.execute_unprepared(&sql).await.unwrap();
    }

    pub(crate) async fn tenant(&self, name: &str) -> TenantStore {
        self.store.tenant(self.tenant_with(name, Limits::default()).await.spec.id)
    }

    pub(crate) async fn tenant_with(&self, name: &str, limits: Limits) -> TenantRecord {
        tenant_in(&self.store, name, limits).await
    }
}

/// The same in any store.
pub(crate) async fn tenant_in(store: &Store, name: &str, limits: Limits) -> TenantRecord {
    let new = NewTenant { limits, ..NewTenant::new(name.parse().unwrap()) };
    store.platform().create_tenant(&actor(), new).await.unwrap().value
}

/// The address of a database that has no schema yet.
pub(crate) fn empty_database(folder: &tempfile::TempDir) -> String {
    match DATABASE {
        Kind::Sqlite => format!("sqlite://{}/gatehouse.db?mode=rwc", folder.path().display()),
        Kind::Postgres => tests::postgres::database().expect("without SKIP=postgres: this program is about PostgreSQL"),
    }
}

pub(crate) fn actor() -> Actor {
    Actor {
        tenant: None,
        key: Some("adminadminadmin0".parse().unwrap()),
        user: None,
        name: "admin".to_owned(),
        ip: Some("127.0.0.1".to_owned()),
        trace_id: Some("trace-1".to_owned()),
        claim: None,
    }
}

pub(crate) fn server(name: &str) -> NewServer {
    let url = UpstreamUrl::parse(&format!("https://{name}.example/mcp?token=hidden")).unwrap();
    NewServer {
        transport: Transport::Auto,
        headers: vec![("X-Team".to_owned(), "a \"b\" ☃".to_owned()), ("X-Team".to_owned(), "second".to_owned())],
        connect_timeout: Duration::from_millis(1_500),
        read_timeout: Duration::from_secs(30),
        disabled_tools: vec!["drop_table".to_owned()],
        trust_hints: true,
        enabled: true,
        ..NewServer::new(name.parse().unwrap(), format!("{name} for people"), url)
    }
}

/// A server that accepts connections of these scopes.
pub(crate) fn server_for(name: &str, scopes: &[Scope]) -> NewServer {
    let binding = Binding { scopes: scopes.to_vec(), ..Binding::default() };
    let auth =
        ServerAuth { config: r#"{"type":"bearer"}"#.to_owned(), binding: Some(binding), secret: SecretChange::Keep };
    NewServer { auth: Some(auth), ..server(name) }
}

/// A connection with a sealed credential.
pub(crate) fn connection(server: ServerId, holder: Holder) -> NewConnection {
    NewConnection {
        credential: Some(vec![1, 2, 3]),
        fingerprints: vec![[7; 16]],
        ..NewConnection::new(ConnectionId::fresh(), server, holder)
    }
}

pub(crate) async fn user_in(tenant: &TenantStore, login: &str) -> UserId {
    let new = NewUser {
        login: login.to_owned(),
        title: String::new(),
        external_id: None,
        departments: vec![],
        role: KeyRole::User,
        active: true,
    };
    tenant.create_user(&actor(), new).await.unwrap().value.id
}

pub(crate) async fn department_in(tenant: &TenantStore, name: &str) -> DepartmentId {
    let new = NewDepartment { name: name.parse().unwrap(), title: String::new(), external_id: None };
    tenant.create_department(&actor(), new).await.unwrap().value.id
}

pub(crate) fn issuer(name: &str) -> NewIssuer {
    NewIssuer {
        id: IssuerId::fresh(),
        name: name.parse().unwrap(),
        title: format!("{name} for people"),
        issuer: format!("https://{name}.example"),
        client_id: Some("gatehouse".to_owned()),
        client_secret: Some(vec![1, 2, 3]),
        audiences: vec!["gatehouse".to_owned()],
        algorithms: vec![SigningAlgorithm::Rs256, SigningAlgorithm::Es256],
        claims: ClaimMapping { departments: Some("groups".to_owned()), ..ClaimMapping::default() },
        scope: None,
        unknown_users: false,
        sign_in: true,
        mcp: true,
        enabled: true,
        fetched: None,
    }
}

pub(crate) fn key_id(number: u32) -> KeyId {
    format!("key{number:013}").parse().unwrap()
}

pub(crate) fn key(tenant: TenantId, number: u32) -> NewKey {
    let verifier = KeyVerifier {
        id: key_id(number),
        tenant,
        user: None,
        role: KeyRole::User,
        scopes: KeyScopes::PLAIN,
        sha256: [number as u8; 32],
        servers: Some(vec!["notes".to_owned()]),
        expires_at: None,
    };
    NewKey { verifier, evidence: [7; 32], label: format!("key {number}") }
}
