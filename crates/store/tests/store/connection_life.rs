//! Connections come and go with what they are of: proxies hold those that can be used, and are told of each other one.

use model::{ConnectionSpec, ConnectionStatus, Holder, Resource, ResourceName, Scope};
use sea_orm::ConnectionTrait as _;
use store::{
    ConnectionPage, ConnectionPatch, DepartmentPatch, KeyState, NewConnection, NewTenantKey, OutboxRow, SecretChange,
    ServerAuth, ServerPatch, TenantPatch, TenantStore, UserPatch,
};

use crate::DATABASE;
use crate::connections::server_in;
use crate::house::{House, Kind, actor, connection, department_in, issuer, user_in};

async fn held(house: &House) -> Vec<ConnectionSpec> {
    let intended = house.store.platform().intended().await.unwrap().resources;
    let connections = intended.into_iter().filter_map(|resource| match resource {
        Resource::Connection(spec) => Some(spec),
        _ => None,
    });
    connections.collect()
}

/// What proxies were told of connections since.
async fn told(house: &House, since: i64) -> Vec<OutboxRow> {
    let rows = house.store.platform().outbox_since(since, 1_000).await.unwrap();
    rows.into_iter().filter(|row| matches!(row.name, ResourceName::Connection(_))).collect()
}

async fn seq(house: &House) -> i64 {
    house.store.platform().revision().await.unwrap().seq
}

async fn count(tenant: &TenantStore) -> usize {
    tenant.connections(ConnectionPage { limit: 100, ..Default::default() }).await.unwrap().len()
}

/// A server with a connection for everybody, one for a department and one for a user.
struct Three {
    house: House,
    tenant: TenantStore,
    server: model::ServerId,
    ann: model::UserId,
    sales: model::DepartmentId,
    ids: [model::ConnectionId; 3],
}

impl Three {
    async fn new() -> Self {
        let house = House::new().await;
        let tenant = house.tenant("acme").await;
        let server = server_in(&tenant, "notes", &Scope::ALL).await;
        let (ann, sales) = (user_in(&tenant, "ann").await, department_in(&tenant, "sales").await);
        let mut ids = Vec::new();
        for holder in [Holder::Global, Holder::Department(sales), Holder::User(ann)] {
            ids.push(tenant.create_connection(&actor(), connection(server, holder)).await.unwrap().value.id);
        }
        let ids = ids.try_into().unwrap();
        Self { house, tenant, server, ann, sales, ids }
    }

    /// Which of the three proxies hold.
    async fn held(&self) -> [bool; 3] {
        let held = held(&self.house).await;
        self.ids.map(|id| held.iter().any(|spec| spec.id == id))
    }

    /// Which of the three are there at all.
    async fn there(&self) -> [bool; 3] {
        let mut there = [false; 3];
        for (id, there) in self.ids.into_iter().zip(&mut there) {
            *there = self.tenant.connection(id).await.unwrap().is_some();
        }
        there
    }

    /// Of which of the three proxies were told since that they are gone, and whether urgently.
    async fn withdrawn(&self, since: i64) -> [Option<bool>; 3] {
        let told = told(&self.house, since).await;
        let of = |id| told.iter().find(|row| row.name == ResourceName::Connection(id) && row.removed);
        self.ids.map(|id| of(id).map(|row| row.urgent))
    }
}

#[tokio::test]
async fn proxies_hold_what_a_connection_is_and_no_secret_of_it() {
    let three = Three::new().await;
    let expected = ConnectionSpec {
        id: three.ids[1],
        tenant: three.tenant.id(),
        server: three.server,
        holder: Holder::Department(three.sales),
        department: Some("sales".to_owned()),
        status: ConnectionStatus::Active,
        credential_version: 1,
        token_generation: 1,
    };
    let specs = held(&three.house).await;
    assert_eq!(specs.len(), 3);
    assert!(specs.contains(&expected), "{specs:?}");
    let record = three.tenant.connection(three.ids[1]).await.unwrap().unwrap();
    assert_eq!(record.spec(), expected);
}

#[tokio::test]
async fn proxies_hold_no_connection_that_is_disabled_or_empty() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for (number, (status, credential, holds)) in [
        (ConnectionStatus::Active, true, true),
        (ConnectionStatus::Active, false, false),
        (ConnectionStatus::Disabled, true, false),
        (ConnectionStatus::ReauthRequired, true, true),
        (ConnectionStatus::ReauthRequired, false, true),
        (ConnectionStatus::Invalid, true, true),
    ]
    .into_iter()
    .enumerate()
    {
        let server = server_in(&tenant, &format!("s{number}"), &[Scope::Global]).await;
        let base = connection(server, Holder::Global);
        let since = seq(&house).await;
        let new = NewConnection { status, credential: base.credential.clone().filter(|_| credential), ..base };
        let id = tenant.create_connection(&actor(), new).await.unwrap().value.id;
        assert_eq!(held(&house).await.iter().any(|spec| spec.id == id), holds, "{status:?} {credential}");
        assert!(told(&house, since).await.iter().all(|row| row.removed != holds), "{status:?} {credential}");
    }
}

#[tokio::test]
async fn disabling_a_connection_withdraws_it_urgently_and_enabling_brings_it_back() {
    let three = Three::new().await;
    let since = seq(&three.house).await;
    let to = |status| ConnectionPatch { status: Some(status), ..Default::default() };
    let id = three.ids[2];
    three.tenant.patch_connection(&actor(), id, None, to(ConnectionStatus::Disabled)).await.unwrap();
    assert_eq!(three.held().await, [true, true, false]);
    assert_eq!(three.withdrawn(since).await, [None, None, Some(true)]);
    three.tenant.patch_connection(&actor(), id, None, to(ConnectionStatus::Active)).await.unwrap();
    assert_eq!(three.held().await, [true; 3]);
}

#[tokio::test]
async fn disabling_a_server_withdraws_its_connections_and_deleting_it_erases_them() {
    let three = Three::new().await;
    let other = server_in(&three.tenant, "other", &[Scope::Global]).await;
    three.tenant.create_connection(&actor(), connection(other, Holder::Global)).await.unwrap();
    let since = seq(&three.house).await;
    let enabled = |enabled| ServerPatch { enabled: Some(enabled), ..Default::default() };
    three.tenant.patch_server(&actor(), three.server, None, enabled(false)).await.unwrap();
    assert_eq!((three.held().await, three.there().await), ([false; 3], [true; 3]));
    assert_eq!(three.withdrawn(since).await, [Some(true); 3]);
    three.tenant.patch_server(&actor(), three.server, None, enabled(true)).await.unwrap();
    assert_eq!(three.held().await, [true; 3]);

    let since = seq(&three.house).await;
    three.tenant.delete_server(&actor(), three.server, None).await.unwrap();
    assert_eq!((three.held().await, three.there().await), ([false; 3], [false; 3]));
    assert_eq!(three.withdrawn(since).await, [Some(true); 3]);
    assert_eq!(held(&three.house).await.len(), 1, "another server's stays");
    let restored = three.tenant.restore_server(&actor(), three.server).await.unwrap().value;
    assert_eq!(restored.enter_again, ["connections"]);
    assert_eq!(three.there().await, [false; 3]);
}

#[tokio::test]
async fn a_deleted_server_has_no_secret_any_more() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = server_in(&tenant, "notes", &[]).await;
    let secret = SecretChange::Set { sealed: vec![1], version: 1 };
    let auth = ServerAuth { config: "{}".to_owned(), binding: None, secret };
    let patch = ServerPatch { auth: Some(auth), ..Default::default() };
    tenant.patch_server(&actor(), id, None, patch).await.unwrap();
    tenant.delete_server(&actor(), id, None).await.unwrap();
    assert_eq!(tenant.deleted_server(id).await.unwrap().unwrap().auth_secret, None);
    let restored = tenant.restore_server(&actor(), id).await.unwrap().value;
    assert_eq!((restored.enter_again, restored.record.auth_secret_version), (vec!["auth"], 1));
}

#[tokio::test]
async fn switching_a_user_off_withdraws_their_connection_and_deleting_them_erases_it() {
    let three = Three::new().await;
    let since = seq(&three.house).await;
    let active = |active| UserPatch { active: Some(active), ..Default::default() };
    three.tenant.patch_user(&actor(), three.ann, None, active(false)).await.unwrap();
    assert_eq!((three.held().await, three.there().await), ([true, true, false], [true; 3]));
    assert_eq!(three.withdrawn(since).await, [None, None, Some(true)]);
    three.tenant.patch_user(&actor(), three.ann, None, active(true)).await.unwrap();
    assert_eq!(three.held().await, [true; 3]);
    let since = seq(&three.house).await;
    three.tenant.delete_user(&actor(), three.ann, None).await.unwrap();
    assert_eq!((three.held().await, three.there().await), ([true, true, false], [true, true, false]));
    assert_eq!(three.withdrawn(since).await, [None, None, Some(true)]);
    three.tenant.restore_user(&actor(), three.ann).await.unwrap();
    assert_eq!(three.there().await, [true, true, false], "a secret does not come back");
}

#[tokio::test]
async fn renaming_a_department_tells_proxies_and_deleting_it_erases_its_connections() {
    let three = Three::new().await;
    let since = seq(&three.house).await;
    let name = DepartmentPatch { name: Some("trade".parse().unwrap()), ..Default::default() };
    three.tenant.patch_department(&actor(), three.sales, None, name).await.unwrap();
    let rows = told(&three.house, since).await;
    assert_eq!(rows.iter().map(|row| row.name).collect::<Vec<_>>(), [ResourceName::Connection(three.ids[1])]);
    let spec = held(&three.house).await.into_iter().find(|spec| spec.id == three.ids[1]).unwrap();
    assert_eq!(spec.department.as_deref(), Some("trade"));
    let since = seq(&three.house).await;
    let title = DepartmentPatch { title: Some("Trade".to_owned()), ..Default::default() };
    three.tenant.patch_department(&actor(), three.sales, None, title).await.unwrap();
    assert_eq!(told(&three.house, since).await, []);
    three.tenant.delete_department(&actor(), three.sales, None).await.unwrap();
    assert_eq!((three.held().await, three.there().await), ([true, false, true], [true, false, true]));
    assert_eq!(three.withdrawn(since).await, [None, Some(true), None]);
}

#[tokio::test]
async fn switching_a_tenant_off_withdraws_its_connections_and_deleting_it_shreds_its_keys() {
    let three = Three::new().await;
    let platform = three.house.store.platform();
    let id = three.tenant.id();
    let other = three.house.tenant("other").await;
    for tenant in [id, other.id()] {
        let key = NewTenantKey { tenant, id: 1, kek_id: vec![1], wrapped: vec![2] };
        platform.put_tenant_key(key, None).await.unwrap();
    }
    let secret = three.tenant.create_issuer(&actor(), issuer("idp")).await.unwrap().value.id;
    let active = |active| TenantPatch { active: Some(active), ..Default::default() };
    let since = seq(&three.house).await;
    platform.patch_tenant(&actor(), id, None, active(false)).await.unwrap();
    assert_eq!((three.held().await, three.there().await), ([false; 3], [true; 3]));
    assert_eq!(three.withdrawn(since).await, [Some(true); 3]);
    platform.patch_tenant(&actor(), id, None, active(true)).await.unwrap();
    assert_eq!(three.held().await, [true; 3]);

    platform.delete_tenant(&actor(), id, None).await.unwrap();
    let keys = platform.tenant_keys(id).await.unwrap();
    assert_eq!(
        keys.iter().map(|key| (key.id, key.state, key.wrapped.len())).collect::<Vec<_>>(),
        [(1, KeyState::Destroyed, 0)]
    );
    assert_eq!(platform.tenant_keys(other.id()).await.unwrap()[0].state, KeyState::Primary);
    let again = NewTenantKey { tenant: id, id: 2, kek_id: vec![1], wrapped: vec![2] };
    assert!(matches!(platform.put_tenant_key(again.clone(), None).await, Err(store::StoreError::NotFound)));
    let restored = platform.restore_tenant(&actor(), id).await.unwrap().value;
    assert_eq!(restored.enter_again, ["secrets"]);
    assert_eq!((three.held().await, three.there().await), ([false; 3], [false; 3]));
    assert_eq!(three.tenant.issuer(secret).await.unwrap().unwrap().client_secret, None);
    assert_eq!(platform.put_tenant_key(again, None).await.unwrap().len(), 2);

    platform.delete_tenant(&actor(), id, None).await.unwrap();
    platform.purge_tenant(&actor(), id).await.unwrap();
    assert_eq!(platform.tenant_keys(id).await.unwrap(), []);
}

#[tokio::test]
async fn an_erased_tenant_leaves_no_row_of_its_connections() {
    let three = Three::new().await;
    three.house.store.platform().delete_tenant(&actor(), three.tenant.id(), None).await.unwrap();
    let raw = three.house.raw().await;
    for table in ["connection", "connection_fingerprint"] {
        let sql = format!("SELECT count(*) FROM {table}");
        let statement = sea_orm::Statement::from_string(raw.get_database_backend(), sql);
        let row = raw.query_one_raw(statement).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<i64>(0).unwrap(), 0, "{table}");
    }
    assert_eq!(count(&three.tenant).await, 0);
}

#[tokio::test]
async fn a_connection_that_cannot_be_read_holds_up_no_other() {
    let three = Three::new().await;
    let db = three.house.raw().await;
    // Everybody's that is somebody's.
    let sql = "UPDATE connection SET holder_id = id WHERE scope = 'global'";
    db.execute_unprepared(sql).await.unwrap();
    assert_eq!(three.held().await, [false, true, true]);
    let state = three.house.store.platform().intended().await.unwrap();
    let unreadable: Vec<_> = state.unreadable.into_iter().map(|one| (one.name, one.tenant)).collect();
    assert_eq!(unreadable, [(Some(ResourceName::Connection(three.ids[0])), Some(three.tenant.id()))]);
}

/// As many users with a connection to the server as the database makes in one statement, each with a fingerprint.
async fn crowd(house: &House, tenant: &TenantStore, server: model::ServerId, size: u32) {
    let (of, to) = (tenant.id().0.simple(), server.0.simple());
    let (id, blob) = match DATABASE {
        Kind::Sqlite => ("unhex(printf('%032x', {N} + n))", "x'01'"),
        Kind::Postgres => ("lpad(to_hex({N} + n), 32, '0')::uuid", "'\\x01'::bytea"),
    };
    let uuid = |hex: &dyn std::fmt::Display| match DATABASE {
        Kind::Sqlite => format!("x'{hex}'"),
        Kind::Postgres => format!("'{hex}'::uuid"),
    };
    let id = |from: &str| id.replace("{N}", from);
    let (of, to, key, holder) = (uuid(&of), uuid(&to), id("1000000"), id("9000000"));
    let no = if DATABASE == Kind::Sqlite { "0" } else { "false" };
    let numbers = format!("WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {size})");
    let raw = house.raw().await;
    for sql in [
        format!(
            "INSERT INTO connection (tenant_id, id, server_id, scope, holder_id, status, generation, credential, \
             credential_version, token_generation, refreshable, meta, created_at, updated_at) {numbers} \
             SELECT {of}, {key}, {to}, 'user', {holder}, 'active', 1, {blob}, 1, 1, {no}, '{{}}', 0, 0 FROM n"
        ),
        format!(
            "INSERT INTO connection_fingerprint (tenant_id, connection_id, part, fingerprint) {numbers} \
             SELECT {of}, {key}, 'credential', {blob} FROM n"
        ),
    ] {
        raw.execute_unprepared(&sql).await.unwrap();
    }
}

#[tokio::test]
async fn what_has_very_many_connections_is_deleted_within_a_transactions_time() {
    let size = if std::env::var_os("GATEHOUSE_LONG").is_some() { 200_000 } else { 2_000 };
    let house = House::new().await;
    for tenant_goes in [false, true] {
        let tenant = house.tenant(if tenant_goes { "large" } else { "acme" }).await;
        let server = server_in(&tenant, "notes", &Scope::ALL).await;
        crowd(&house, &tenant, server, size).await;
        let since = seq(&house).await;
        let began = std::time::Instant::now();
        if tenant_goes {
            house.store.platform().delete_tenant(&actor(), tenant.id(), None).await.unwrap();
        } else {
            tenant.delete_server(&actor(), server, None).await.unwrap();
        }
        println!("{size} connections were erased in {:?}", began.elapsed());
        assert_eq!(count(&tenant).await, 0);
        let rows = house.store.platform().outbox_since(since, 1_000).await.unwrap();
        let of_tenant = rows.iter().filter(|row| matches!(row.name, ResourceName::Tenant(_)));
        assert_eq!((of_tenant.count(), rows.iter().any(|row| row.urgent)), (1, true), "the tenant stands for all");
        assert!(rows.len() < 10, "{}", rows.len());
    }
}
