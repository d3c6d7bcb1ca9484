//! How many of each there may be: what bounds every read and every table that proxies hold.
//!
//! Small in unit tests, so that they can be reached there.

use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QuerySelect, Select};

use crate::StoreError;

/// Live keys of one tenant.
pub(crate) const KEYS: u32 = if cfg!(test) { 3 } else { 10_000 };
/// Live users of one tenant.
pub(crate) const USERS: u32 = if cfg!(test) { 3 } else { 10_000 };
/// Deleted users of one tenant: proxies know them, so that no stranger comes in as one.
pub(crate) const USER_TOMBSTONES: u32 = if cfg!(test) { 2 } else { 10_000 };
/// Live departments of one tenant.
pub(crate) const DEPARTMENTS: u32 = if cfg!(test) { 3 } else { 1_000 };
/// Departments of one user.
pub(crate) const MEMBERSHIPS: u32 = if cfg!(test) { 2 } else { 32 };
/// Disabled tools of one server.
pub(crate) const DISABLED_TOOLS: u32 = if cfg!(test) { 2 } else { 2_000 };
/// Egress rules of the platform.
pub(crate) const EGRESS_RULES: u32 = if cfg!(test) { 3 } else { 1_000 };
/// Identity providers of one tenant.
pub(crate) const ISSUERS: u32 = if cfg!(test) { 2 } else { 20 };
/// Bytes of the keys of an identity provider, and of what it says of itself.
pub(crate) const ISSUER_BYTES: u32 = 64 << 10;
/// Keys under which control signs tokens.
pub(crate) const SIGNERS: u32 = if cfg!(test) { 2 } else { 16 };
/// Live OAuth clients of one tenant.
pub(crate) const CLIENTS: u32 = if cfg!(test) { 3 } else { 1_000 };
/// Live grants of one user; the oldest goes.
pub(crate) const GRANTS: u32 = if cfg!(test) { 3 } else { 100 };
/// Authorization codes of one user; the oldest goes.
pub(crate) const CODES: u32 = if cfg!(test) { 3 } else { 100 };
/// Refresh tokens of one grant, with those that were replaced: more than a grant that is refreshed every 10
/// minutes has in its life. The oldest goes, and is unknown then.
pub(crate) const REFRESH_TOKENS: u32 = if cfg!(test) { 3 } else { 20_000 };
/// Sessions of one user; the oldest goes.
pub(crate) const SESSIONS: u32 = if cfg!(test) { 3 } else { 100 };
/// Sign-in links of one user; the oldest goes.
pub(crate) const LINKS: u32 = if cfg!(test) { 2 } else { 5 };
/// Attempts under way, of the whole platform; the oldest goes.
pub(crate) const ATTEMPTS: u32 = if cfg!(test) { 3 } else { 100_000 };
/// Bytes of one server's manifest.
pub(crate) const MANIFEST_BYTES: u32 = 8 << 20;

/// Bytes of how a server is authenticated to.
pub(crate) const AUTH_BYTES: u32 = 32 << 10;
/// Bytes of one sealed value.
pub(crate) const SEALED_BYTES: u32 = 32 << 10;
/// Connections of one tenant, be they of one server or of many.
pub(crate) const CONNECTIONS: u32 = if cfg!(test) { 3 } else { 1_000_000 };
/// Fingerprints of one secret of a connection.
pub(crate) const FINGERPRINTS: u32 = if cfg!(test) { 2 } else { 64 };
/// Bytes of what people note of a connection.
pub(crate) const META_BYTES: u32 = 4 << 10;
/// Authorization servers of one server at which Gatehouse registered itself; the oldest goes.
pub(crate) const UPSTREAM_CLIENTS: u32 = if cfg!(test) { 2 } else { 16 };
/// Bytes of what is known of a server's authorization server.
pub(crate) const UPSTREAM_METADATA_BYTES: u32 = 64 << 10;
/// Logins at upstreams of one tenant; the oldest goes.
pub(crate) const LOGIN_ATTEMPTS: u32 = if cfg!(test) { 3 } else { 10_000 };
/// Toolsets of one tenant.
pub(crate) const TOOLSETS: u32 = if cfg!(test) { 2 } else { 256 };
/// Entries of one toolset.
pub(crate) const TOOLSET_TOOLS: u32 = if cfg!(test) { 3 } else { model::MAX_TOOLSET_TOOLS as u32 };
/// Data keys of one tenant, those that were destroyed included.
pub(crate) const TENANT_KEYS: u32 = if cfg!(test) { 3 } else { 1_000 };

/// `Bound` for what is longer than it may be.
pub(crate) fn fits(len: usize, what: &'static str, limit: u32) -> Result<(), StoreError> {
    if len <= limit as usize { Ok(()) } else { Err(StoreError::Bound { what, limit }) }
}

/// The same for what the vault made.
pub(crate) fn fits_sealed(sealed: &[u8]) -> Result<(), StoreError> {
    fits(sealed.len(), "bytes of a sealed value", SEALED_BYTES)
}

/// Refuses one more if there are `limit` already.
pub(crate) async fn room_for_one<E: EntityTrait>(
    db: &impl ConnectionTrait,
    those: Select<E>,
    what: &'static str,
    limit: u32,
) -> Result<(), StoreError>
where
    E::Model: Send + Sync,
{
    if those.count(db).await? < u64::from(limit) { Ok(()) } else { Err(StoreError::Bound { what, limit }) }
}

/// The most rows that make room at once.
const BEYOND: u64 = 1_000;

/// What stands beyond the first `keep` of an ordered query.
pub(crate) async fn beyond<E: EntityTrait>(
    db: &impl ConnectionTrait,
    those: Select<E>,
    keep: u32,
) -> Result<Vec<E::Model>, StoreError> {
    Ok(those.offset(u64::from(keep)).limit(BEYOND).all(db).await?)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use model::{
        Binding, ConnectionId, Holder, KeyId, KeyRole, KeyScopes, KeyVerifier, ManualClock, Resource, ResourceName,
        Scope, UpstreamUrl,
    };

    use super::*;
    use crate::{
        Actor, ClientKind, ClientRecord, KeyPage, NewAttempt, NewConnection, NewDepartment, NewEgressRule, NewGrant,
        NewIssuer, NewKey, NewLoginAttempt, NewServer, NewTenant, NewTenantKey, NewToolset, NewUpstreamClient, NewUser,
        Rotation, SecretChange, ServerAuth, ServerPatch, Store, Tail, TenantStore,
    };

    async fn store(clock: Arc<ManualClock>) -> (tempfile::TempDir, Store, TenantStore) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}/x.db?mode=rwc", folder.path().display());
        let store = Store::connect(&url, clock).await.unwrap();
        let new = NewTenant::new("acme".parse().unwrap());
        let tenant = store.platform().create_tenant(&actor(), new).await.unwrap().value.spec.id;
        let tenant = store.tenant(tenant);
        (folder, store, tenant)
    }

    fn actor() -> Actor {
        Actor::system("test")
    }

    fn bound<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> (&'static str, u32) {
        match answer {
            Err(StoreError::Bound { what, limit }) => (what, limit),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn only_live_keys_count() {
        let clock = Arc::new(ManualClock::at(1));
        let (_folder, _store, tenant) = store(clock.clone()).await;
        let id = |number: u32| -> KeyId { format!("key{number:013}").parse().unwrap() };
        let create = async |number: u32, expires_at: Option<i64>| {
            clock.advance_micros(1);
            let verifier = KeyVerifier {
                id: id(number),
                tenant: tenant.id(),
                user: None,
                role: KeyRole::User,
                scopes: KeyScopes::PLAIN,
                sha256: [0; 32],
                servers: None,
                expires_at,
            };
            tenant.create_key(&actor(), NewKey { verifier, evidence: [0; 32], label: String::new() }).await.map(drop)
        };
        create(0, None).await.unwrap();
        create(1, Some(50)).await.unwrap();
        create(2, None).await.unwrap();
        assert!(matches!(create(3, None).await, Err(StoreError::QuotaKeys { limit: 3 })));
        tenant.revoke_key(&actor(), id(2)).await.unwrap();
        create(4, None).await.unwrap();
        clock.advance_micros(50);
        create(5, None).await.unwrap();
        assert!(matches!(create(6, None).await, Err(StoreError::QuotaKeys { limit: 3 })));
        let live = KeyPage { live: Some(true), limit: 9, ..KeyPage::default() };
        let listed: Vec<_> = tenant.keys(live).await.unwrap().into_iter().map(|key| key.verifier.id).collect();
        assert_eq!(listed, [id(0), id(4), id(5)]);
    }

    #[tokio::test]
    async fn users_departments_and_memberships_have_bounds_that_deletions_make_room_in() {
        let (_folder, _store, tenant) = store(Arc::new(ManualClock::at(1))).await;
        let mut departments = Vec::new();
        let department =
            |name: &str| NewDepartment { name: name.parse().unwrap(), title: String::new(), external_id: None };
        for name in ["a", "b", "c"] {
            departments.push(tenant.create_department(&actor(), department(name)).await.unwrap().value.id);
        }
        assert_eq!(bound(tenant.create_department(&actor(), department("d")).await), ("departments", 3));
        tenant.delete_department(&actor(), departments[2], None).await.unwrap();
        departments[2] = tenant.create_department(&actor(), department("d")).await.unwrap().value.id;

        let user = |login: &str, departments: &[_]| NewUser {
            login: login.to_owned(),
            title: String::new(),
            external_id: None,
            departments: departments.to_vec(),
            role: KeyRole::User,
            active: true,
        };
        let many = tenant.create_user(&actor(), user("a", &departments)).await;
        assert_eq!(bound(many), ("departments of one user", 2));
        let first = tenant.create_user(&actor(), user("a", &departments[..2])).await.unwrap().value.id;
        for login in ["b", "c"] {
            tenant.create_user(&actor(), user(login, &[])).await.unwrap();
        }
        assert_eq!(bound(tenant.create_user(&actor(), user("d", &[])).await), ("users", 3));
        tenant.delete_user(&actor(), first, None).await.unwrap();
        tenant.create_user(&actor(), user("d", &[])).await.unwrap();
        assert_eq!(bound(tenant.restore_user(&actor(), first).await), ("users", 3));
    }

    #[tokio::test]
    async fn egress_rules_and_disabled_tools_have_bounds() {
        let (_folder, store, tenant) = store(Arc::new(ManualClock::at(1))).await;
        let rule = |host: &str| NewEgressRule {
            tenant: None,
            host: host.parse().unwrap(),
            ports: None,
            http: false,
            reason: "test".to_owned(),
        };
        for host in ["a", "b", "c"] {
            store.platform().create_egress_rule(&actor(), rule(host)).await.unwrap();
        }
        assert_eq!(bound(store.platform().create_egress_rule(&actor(), rule("d")).await), ("egress rules", 3));

        let url = UpstreamUrl::parse("https://x.example/").unwrap();
        let new = NewServer::new("notes".parse().unwrap(), "Notes".to_owned(), url);
        let id = tenant.create_server(&actor(), new).await.unwrap().value.spec.id;
        for tool in ["a", "b", "a"] {
            tenant.set_tool(&actor(), id, None, tool, false).await.unwrap();
        }
        assert_eq!(bound(tenant.set_tool(&actor(), id, None, "c", false).await), ("disabled tools", 2));
        tenant.set_tool(&actor(), id, None, "a", true).await.unwrap();
        tenant.set_tool(&actor(), id, None, "c", false).await.unwrap();
    }

    #[tokio::test]
    async fn of_the_deleted_users_the_latest_stay_and_proxies_hear_of_the_others() {
        let clock = Arc::new(ManualClock::at(1));
        let (_folder, store, tenant) = store(clock.clone()).await;
        let mut deleted = Vec::new();
        for number in 0..4u32 {
            clock.advance_micros(1);
            let new = NewUser {
                login: number.to_string(),
                title: String::new(),
                external_id: None,
                departments: vec![],
                role: KeyRole::User,
                active: true,
            };
            let user = tenant.create_user(&actor(), new).await.unwrap().value.id;
            let verifier = KeyVerifier {
                id: format!("key{number:013}").parse().unwrap(),
                tenant: tenant.id(),
                user: Some(user),
                role: KeyRole::User,
                scopes: KeyScopes::PLAIN,
                sha256: [0; 32],
                servers: None,
                expires_at: Some(i64::from(number) + 3),
            };
            let key = NewKey { verifier, evidence: [0; 32], label: String::new() };
            tenant.create_key(&actor(), key).await.unwrap();
            deleted.push((user, tenant.delete_user(&actor(), user, None).await.unwrap().revision));
        }
        for (at, (user, revision)) in deleted.iter().enumerate() {
            assert_eq!(tenant.deleted_user(*user).await.unwrap().is_some(), at > 1, "{at}");
            let rows = store.platform().outbox_since(revision.seq - 1, 100).await.unwrap();
            let gone = rows.iter().filter(|row| row.seq == revision.seq && row.removed);
            let gone: Vec<_> =
                gone.filter(|row| matches!(row.name, ResourceName::User(_))).map(|row| row.name).collect();
            let expected: Vec<_> =
                at.checked_sub(2).map(|oldest| ResourceName::User(deleted[oldest].0)).into_iter().collect();
            assert_eq!(gone, expected, "{at}");
        }
        let keys = tenant.keys(KeyPage { limit: 9, ..KeyPage::default() }).await.unwrap();
        assert_eq!(keys.len(), 2, "their keys go with them");
    }

    #[tokio::test]
    async fn issuers_have_a_bound_that_deletions_make_room_in() {
        let (_folder, _store, tenant) = store(Arc::new(ManualClock::at(1))).await;
        let issuer = |name: &str| NewIssuer {
            id: model::IssuerId::fresh(),
            name: name.parse().unwrap(),
            title: String::new(),
            issuer: format!("https://{name}.example"),
            client_id: None,
            client_secret: None,
            audiences: vec![],
            algorithms: vec![],
            claims: model::ClaimMapping::default(),
            scope: None,
            unknown_users: false,
            sign_in: false,
            mcp: true,
            enabled: false,
            fetched: None,
        };
        let first = tenant.create_issuer(&actor(), issuer("a")).await.unwrap().value.id;
        tenant.create_issuer(&actor(), issuer("b")).await.unwrap();
        assert_eq!(bound(tenant.create_issuer(&actor(), issuer("c")).await), ("issuers", 2));
        tenant.delete_issuer(&actor(), first, None).await.unwrap();
        tenant.create_issuer(&actor(), issuer("c")).await.unwrap();
    }

    #[tokio::test]
    async fn toolsets_and_their_entries_have_bounds_and_deletions_make_room() {
        let (_folder, _store, tenant) = store(Arc::new(ManualClock::at(1))).await;
        let url = UpstreamUrl::parse("https://x.example/").unwrap();
        let new = NewServer::new("notes".parse().unwrap(), "Notes".to_owned(), url);
        let server = tenant.create_server(&actor(), new).await.unwrap().value.spec.id;
        let toolset = |name: &str, tools: usize| NewToolset {
            name: name.parse().unwrap(),
            title: String::new(),
            description: None,
            listing: model::Listing::Tools,
            tools: (0..tools).map(|at| entry(server, at)).collect(),
        };
        let first = tenant.create_toolset(&actor(), toolset("a", 3)).await.unwrap().value.spec.id;
        assert_eq!(bound(tenant.create_toolset(&actor(), toolset("b", 4)).await), ("tools of a toolset", 3));
        tenant.create_toolset(&actor(), toolset("b", 0)).await.unwrap();
        assert_eq!(bound(tenant.create_toolset(&actor(), toolset("c", 0)).await), ("toolsets", 2));
        tenant.delete_toolset(&actor(), first, None).await.unwrap();
        tenant.create_toolset(&actor(), toolset("c", 0)).await.unwrap();
    }

    fn entry(server: model::ServerId, at: usize) -> model::ToolsetTool {
        model::ToolsetTool { server, tool: at.to_string(), name: None, description: None }
    }

    fn hash(number: u8) -> [u8; 32] {
        [number; 32]
    }

    #[tokio::test]
    async fn clients_that_have_ended_make_room_and_a_known_one_needs_none() {
        let clock = Arc::new(ManualClock::at(1));
        let (_folder, _store, tenant) = store(clock.clone()).await;
        let client = |id: &str, expires_at| ClientRecord {
            id: id.to_owned(),
            kind: ClientKind::Document,
            name: String::new(),
            redirect_uris: vec![],
            created_at: 1,
            used_at: None,
            expires_at,
        };
        for (id, expires_at) in [("a", 50), ("b", 99), ("c", 99)] {
            tenant.create_client(client(id, expires_at)).await.unwrap();
        }
        assert!(matches!(tenant.create_client(client("d", 99)).await, Err(StoreError::QuotaClients { limit: 3 })));
        tenant.create_client(client("c", 98)).await.unwrap();
        clock.advance_micros(49);
        tenant.create_client(client("d", 99)).await.unwrap();
        assert!(tenant.client("a").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn the_oldest_client_that_nobody_let_in_makes_room_after_an_hour() {
        let hour = 3600 * 1_000_000;
        let clock = Arc::new(ManualClock::at(1));
        let (_folder, _store, tenant) = store(clock.clone()).await;
        let create = async |id: &str| {
            let client = ClientRecord {
                id: id.to_owned(),
                kind: ClientKind::Registered,
                name: String::new(),
                redirect_uris: vec![],
                created_at: model::Clock::now_micros(&*clock),
                used_at: None,
                expires_at: i64::MAX,
            };
            tenant.create_client(client).await
        };
        for id in ["used", "first", "second"] {
            create(id).await.unwrap();
            clock.advance_micros(1);
        }
        tenant.touch_client("used", i64::MAX).await.unwrap();
        clock.advance_micros(hour - 3);
        assert!(matches!(create("late").await, Err(StoreError::QuotaClients { limit: 3 })));
        clock.advance_micros(1);
        create("late").await.unwrap();
        for (id, known) in [("used", true), ("first", false), ("second", true), ("late", true)] {
            assert_eq!(tenant.client(id).await.unwrap().is_some(), known, "{id}");
        }
    }

    #[tokio::test]
    async fn the_oldest_attempt_makes_room() {
        let clock = Arc::new(ManualClock::at(1));
        let (_folder, store, _tenant) = store(clock.clone()).await;
        for number in 0..5 {
            clock.advance_micros(1);
            let attempt = NewAttempt {
                hash: hash(number),
                kind: String::new(),
                payload: String::new(),
                binding: [0; 32],
                expires_at: 99,
            };
            store.platform().create_attempt(attempt).await.unwrap();
        }
        for number in 0..5 {
            assert_eq!(store.platform().attempt(hash(number)).await.unwrap().is_some(), number > 1, "{number}");
        }
    }

    #[tokio::test]
    async fn the_oldest_refresh_tokens_of_a_grant_are_forgotten_and_open_nothing() {
        let (_folder, _store, tenant) = store(Arc::new(ManualClock::at(1))).await;
        let user = NewUser {
            login: "a".to_owned(),
            title: String::new(),
            external_id: None,
            departments: vec![],
            role: KeyRole::User,
            active: true,
        };
        let user = tenant.create_user(&actor(), user).await.unwrap().value.id;
        let new = NewGrant {
            id: model::GrantId::fresh(),
            user,
            issuer: None,
            client: String::new(),
            client_name: String::new(),
            resource: String::new(),
            scope: String::new(),
            refresh_hash: hash(0),
            expires_at: i64::MAX,
        };
        let id = new.id;
        tenant.create_grant(&actor(), new).await.unwrap();
        for number in 0..5 {
            let rotation = tenant.rotate_refresh(hash(number), hash(number + 1), 1).await.unwrap();
            assert!(matches!(rotation, Rotation::Rotated(_)), "{rotation:?}");
        }
        for number in 0..6 {
            assert_eq!(tenant.grant_of_refresh(hash(number)).await.unwrap().is_some(), number > 2, "{number}");
        }
        assert_eq!(tenant.rotate_refresh(hash(2), hash(9), 1).await.unwrap(), Rotation::Unknown);
        assert_eq!(tenant.rotate_refresh(hash(3), hash(9), 1).await.unwrap(), Rotation::Reused(id));
    }

    #[tokio::test]
    async fn connections_their_fingerprints_and_logins_have_bounds() {
        let clock = Arc::new(ManualClock::at(1));
        let (_folder, store, tenant) = store(clock.clone()).await;
        let mut servers = Vec::new();
        for name in ["a", "b", "c", "d"] {
            let url = UpstreamUrl::parse("https://x.example/").unwrap();
            let new = NewServer::new(name.parse().unwrap(), name.to_owned(), url);
            servers.push(tenant.create_server(&actor(), new).await.unwrap().value.spec.id);
        }
        let new = |server| NewConnection {
            credential: Some(vec![1]),
            ..NewConnection::new(ConnectionId::fresh(), server, Holder::Global)
        };
        let many = NewConnection { fingerprints: vec![[1; 16], [2; 16], [3; 16]], ..new(servers[0]) };
        assert_eq!(bound(tenant.create_connection(&actor(), many).await), ("secrets of one connection", 2));
        let twice = NewConnection { fingerprints: vec![[1; 16], [2; 16], [1; 16]], ..new(servers[0]) };
        let first = tenant.create_connection(&actor(), twice).await.unwrap().value.id;
        for server in &servers[1..3] {
            tenant.create_connection(&actor(), new(*server)).await.unwrap();
        }
        assert_eq!(bound(tenant.create_connection(&actor(), new(servers[3])).await), ("connections", 3));
        tenant.delete_connection(&actor(), first, None).await.unwrap();
        tenant.create_connection(&actor(), new(servers[3])).await.unwrap();
        let logins: Vec<_> = (0..4u128).map(uuid::Uuid::from_u128).collect();
        for id in &logins {
            clock.advance_micros(1);
            let new = NewLoginAttempt {
                id: *id,
                server: servers[0],
                holder: Holder::Global,
                actor: String::new(),
                expires_at: i64::MAX,
            };
            tenant.create_login_attempt(new).await.unwrap();
        }
        let mut kept = Vec::new();
        for id in &logins {
            kept.push(tenant.login_attempt(*id).await.unwrap().is_some());
        }
        assert_eq!(kept, [false, true, true, true], "the oldest makes room");
        for issuer in ["one", "two", "three"] {
            clock.advance_micros(1);
            let new = NewUpstreamClient {
                server: servers[0],
                issuer: issuer.to_owned(),
                client_id: issuer.to_owned(),
                secret: None,
                auth_method: "none".to_owned(),
                redirect_uri: String::new(),
                secret_expires_at: None,
                replaces: None,
            };
            tenant.put_upstream_client(new).await.unwrap();
        }
        let there = async |issuer| tenant.upstream_client(servers[0], issuer).await.unwrap().is_some();
        assert_eq!((there("one").await, there("two").await, there("three").await), (false, true, true));
        for id in 1..=3 {
            let new = NewTenantKey { tenant: tenant.id(), id, kek_id: vec![1], wrapped: vec![1] };
            store.platform().put_tenant_key(new, (id > 1).then(|| id - 1)).await.unwrap();
        }
        let new = NewTenantKey { tenant: tenant.id(), id: 4, kek_id: vec![1], wrapped: vec![1] };
        assert_eq!(bound(store.platform().put_tenant_key(new, Some(3)).await), ("data keys of one tenant", 3));
    }

    #[tokio::test]
    async fn of_more_connections_than_can_be_named_the_whole_tenant_is_told_of() {
        let (_folder, store, tenant) = store(Arc::new(ManualClock::at(1))).await;
        let url = UpstreamUrl::parse("https://x.example/").unwrap();
        let binding = Binding { scopes: vec![Scope::User], ..Binding::default() };
        let auth = ServerAuth { config: "{}".to_owned(), binding: Some(binding), secret: SecretChange::Keep };
        let new = NewServer { auth: Some(auth), ..NewServer::new("a".parse().unwrap(), "a".to_owned(), url) };
        let server = tenant.create_server(&actor(), new).await.unwrap().value.spec.id;
        for (login, enough) in [("ann", false), ("bob", false), ("eve", true)] {
            let new = NewUser {
                login: login.to_owned(),
                title: String::new(),
                external_id: None,
                departments: vec![],
                role: KeyRole::User,
                active: true,
            };
            let user = tenant.create_user(&actor(), new).await.unwrap().value.id;
            let new = NewConnection::new(ConnectionId::fresh(), server, Holder::User(user));
            tenant.create_connection(&actor(), NewConnection { credential: Some(vec![1]), ..new }).await.unwrap();
            let since = store.platform().revision().await.unwrap();
            for enabled in [false, true] {
                let patch = ServerPatch { enabled: Some(enabled), ..ServerPatch::default() };
                tenant.patch_server(&actor(), server, None, patch).await.unwrap();
            }
            let rows = store.platform().outbox_since(since.seq, 100).await.unwrap();
            let of_tenant = rows.iter().filter(|row| row.name == ResourceName::Tenant(tenant.id())).count();
            let of_connections = rows.iter().filter(|row| matches!(row.name, ResourceName::Connection(_))).count();
            assert_eq!((of_tenant > 0, of_connections > 0), (enough, !enough), "{rows:?}");
            let Tail::Changed { named, state, .. } = store.platform().tail(since).await.unwrap() else { panic!() };
            assert!(!named.is_empty());
            let read = state.resources.iter().filter(|it| matches!(it, Resource::Connection(_))).count();
            let whole = store.platform().intended().await.unwrap().resources;
            let there = whole.iter().filter(|it| matches!(it, Resource::Connection(_))).count();
            assert_eq!(read, there);
        }
    }
}
