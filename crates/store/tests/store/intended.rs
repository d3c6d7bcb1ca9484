//! The intended state and the outbox tell the same story.

use std::collections::BTreeMap;

use model::{
    Clock, ConnectionId, ConnectionStatus, DepartmentId, Digest, Holder, IssuerId, KeyId, KeyRole, Resource,
    ResourceName, Revision, ServerId, SignerId, SignerSpec, UserId,
};
use proptest::prelude::*;
use sea_orm::ConnectionTrait as _;
use store::{
    ConnectionPatch, CredentialChange, DepartmentPatch, FetchedKeys, IntendedState, IssuerPatch, NewConnection,
    NewCredential, NewDepartment, NewIssuer, NewUser, PutToken, Retention, ServerPatch, Store, Tail, TenantPatch,
    TenantStore, UserPatch,
};

use crate::house::{House, START, actor, connection, issuer, key, key_id, server};

async fn names(store: &Store) -> Vec<ResourceName> {
    store.platform().intended().await.unwrap().resources.iter().map(Resource::name).collect()
}

#[tokio::test]
async fn disabled_deleted_and_revoked_things_are_not_intended() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let disabled = tenant.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let deleted = tenant.create_server(&actor(), server("b")).await.unwrap().value.spec.id;
    let mounted = tenant.create_server(&actor(), server("c")).await.unwrap().value;
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    let kept = tenant.create_key(&actor(), key(tenant.id(), 2)).await.unwrap().value;
    let since = house.store.platform().revision().await.unwrap();

    let off = ServerPatch { enabled: Some(false), ..Default::default() };
    tenant.patch_server(&actor(), disabled, None, off).await.unwrap();
    tenant.delete_server(&actor(), deleted, None).await.unwrap();
    let last = tenant.revoke_key(&actor(), key_id(1)).await.unwrap();

    let IntendedState { revision, resources, .. } = house.store.platform().intended().await.unwrap();
    assert_eq!(revision, last.revision);
    assert_eq!(resources[1..], [Resource::Server(mounted.spec), Resource::Key(kept.verifier)]);
    assert!(matches!(&resources[0], Resource::Tenant(spec) if spec.id == tenant.id()));
    let told: Vec<_> = house.store.platform().outbox_since(since.seq, 10).await.unwrap();
    let told: Vec<_> = told.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect();
    assert_eq!(
        told,
        [
            (ResourceName::Server(disabled), true, false),
            (ResourceName::Server(deleted), true, false),
            (ResourceName::Key(key_id(1)), true, true),
        ]
    );
}

#[tokio::test]
async fn a_row_that_cannot_be_read_holds_up_no_other() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let bad = tenant.create_server(&actor(), server("bad")).await.unwrap().value.spec.id;
    let good = tenant.create_server(&actor(), server("good")).await.unwrap().value.spec.id;
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    tenant.create_key(&actor(), key(tenant.id(), 2)).await.unwrap();
    let db = house.raw().await;
    for sql in
        ["UPDATE server SET url = 'nonsense' WHERE name = 'bad'", "UPDATE api_key SET role = 'x' WHERE label = 'key 1'"]
    {
        db.execute_unprepared(sql).await.unwrap();
    }
    let IntendedState { resources, unreadable, .. } = house.store.platform().intended().await.unwrap();
    let names: Vec<_> = resources.iter().map(Resource::name).collect();
    assert_eq!(names, [ResourceName::Tenant(tenant.id()), ResourceName::Server(good), ResourceName::Key(key_id(2))]);
    let unreadable: Vec<_> = unreadable.into_iter().map(|one| (one.name, one.tenant)).collect();
    let of_tenant = |name| (Some(name), Some(tenant.id()));
    assert_eq!(unreadable, [ResourceName::Server(bad), ResourceName::Key(key_id(1))].map(of_tenant));
}

#[tokio::test]
async fn an_expiring_key_is_intended_until_it_expires() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut new = key(tenant.id(), 1);
    new.verifier.expires_at = Some(START + 10);
    tenant.create_key(&actor(), new).await.unwrap();
    house.clock.advance_micros(9);
    assert!(names(&house.store).await.contains(&ResourceName::Key(key_id(1))));
    house.clock.advance_micros(1);
    assert!(!names(&house.store).await.contains(&ResourceName::Key(key_id(1))));
    assert!(house.store.platform().key(key_id(1)).await.unwrap().is_some());
}

#[tokio::test]
async fn what_is_intended_is_read_at_one_revision_while_others_write() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let writer = tokio::spawn({
        let tenant = tenant.clone();
        async move {
            for number in 0..60 {
                tenant.create_server(&actor(), server(&format!("s{number}"))).await.unwrap();
            }
        }
    });
    while !writer.is_finished() {
        let IntendedState { revision, resources, .. } = house.store.platform().intended().await.unwrap();
        assert_eq!(resources.len() as i64, revision.seq, "one resource per seq, never one more or less");
    }
    writer.await.unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Create { tenant: usize, name: u8, enabled: bool },
    Patch { tenant: usize, server: usize, name: Option<u8>, enabled: Option<bool> },
    Delete { tenant: usize, server: usize },
    MakeKey { tenant: usize },
    Revoke { tenant: usize, key: usize },
    MakeUser { tenant: usize, active: bool, department: Option<usize> },
    PatchUser { tenant: usize, user: usize, active: Option<bool>, departments: Option<Vec<usize>> },
    DeleteUser { tenant: usize, user: usize },
    RestoreUser { tenant: usize, user: usize },
    MakeDepartment { tenant: usize, name: u8 },
    RenameDepartment { tenant: usize, department: usize, name: u8 },
    DeleteDepartment { tenant: usize, department: usize },
    RestoreDepartment { tenant: usize, department: usize },
    MakeIssuer { tenant: usize, name: u8, enabled: bool },
    ChangeIssuer { tenant: usize, issuer: usize, enabled: bool },
    FetchKeys { tenant: usize, issuer: usize, at: i64 },
    DeleteIssuer { tenant: usize, issuer: usize },
    Connect { tenant: usize, server: usize, holder: usize, given: bool },
    ChangeConnection { tenant: usize, connection: usize, to: u8 },
    PutToken { tenant: usize, connection: usize },
    Disconnect { tenant: usize, connection: usize },
    Sleep { tenant: usize, active: bool },
    PutSigner { until: i64 },
    RemoveSigners { before: i64 },
    Purge,
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let tenant = 0..2usize;
    let step = prop_oneof![
        4 => (tenant.clone(), 0..6u8, any::<bool>()).prop_map(|(tenant, name, enabled)| Step::Create { tenant, name, enabled }),
        4 => (tenant.clone(), 0..8usize, proptest::option::of(0..6u8), proptest::option::of(any::<bool>()))
            .prop_map(|(tenant, server, name, enabled)| Step::Patch { tenant, server, name, enabled }),
        2 => (tenant.clone(), 0..8usize).prop_map(|(tenant, server)| Step::Delete { tenant, server }),
        2 => tenant.clone().prop_map(|tenant| Step::MakeKey { tenant }),
        2 => (tenant.clone(), 0..4usize).prop_map(|(tenant, key)| Step::Revoke { tenant, key }),
        3 => (tenant.clone(), any::<bool>(), proptest::option::of(0..4usize))
            .prop_map(|(tenant, active, department)| Step::MakeUser { tenant, active, department }),
        3 => (
            tenant.clone(),
            0..6usize,
            proptest::option::of(any::<bool>()),
            proptest::option::of(proptest::collection::vec(0..4usize, 0..3)),
        )
            .prop_map(|(tenant, user, active, departments)| Step::PatchUser { tenant, user, active, departments }),
        2 => (tenant.clone(), 0..6usize).prop_map(|(tenant, user)| Step::DeleteUser { tenant, user }),
        1 => (tenant.clone(), 0..6usize).prop_map(|(tenant, user)| Step::RestoreUser { tenant, user }),
        2 => (tenant.clone(), 0..6u8).prop_map(|(tenant, name)| Step::MakeDepartment { tenant, name }),
        2 => (tenant.clone(), 0..4usize, 0..6u8)
            .prop_map(|(tenant, department, name)| Step::RenameDepartment { tenant, department, name }),
        1 => (tenant.clone(), 0..4usize).prop_map(|(tenant, department)| Step::DeleteDepartment { tenant, department }),
        1 => (tenant.clone(), 0..4usize).prop_map(|(tenant, department)| Step::RestoreDepartment { tenant, department }),
        2 => (tenant.clone(), 0..3u8, any::<bool>())
            .prop_map(|(tenant, name, enabled)| Step::MakeIssuer { tenant, name, enabled }),
        2 => (tenant.clone(), 0..3usize, any::<bool>())
            .prop_map(|(tenant, issuer, enabled)| Step::ChangeIssuer { tenant, issuer, enabled }),
        2 => (tenant.clone(), 0..3usize, 0..3i64)
            .prop_map(|(tenant, issuer, at)| Step::FetchKeys { tenant, issuer, at }),
        1 => (tenant.clone(), 0..3usize).prop_map(|(tenant, issuer)| Step::DeleteIssuer { tenant, issuer }),
        6 => (tenant.clone(), 0..8usize, 0..7usize, any::<bool>())
            .prop_map(|(tenant, server, holder, given)| Step::Connect { tenant, server, holder, given }),
        3 => (tenant.clone(), 0..6usize, 0..6u8)
            .prop_map(|(tenant, connection, to)| Step::ChangeConnection { tenant, connection, to }),
        2 => (tenant.clone(), 0..6usize).prop_map(|(tenant, connection)| Step::PutToken { tenant, connection }),
        1 => (tenant.clone(), 0..6usize).prop_map(|(tenant, connection)| Step::Disconnect { tenant, connection }),
        1 => (tenant.clone(), any::<bool>()).prop_map(|(tenant, active)| Step::Sleep { tenant, active }),
        1 => (0..9i64).prop_map(|until| Step::PutSigner { until }),
        1 => (0..9i64).prop_map(|before| Step::RemoveSigners { before }),
        1 => Just(Step::Purge),
        1 => Just(Step::Look),
    ];
    proptest::collection::vec(step, 1..80)
}

type Table = BTreeMap<String, Digest>;

/// A random walk over the store, remembering what an observer saw on the way.
struct Walk {
    house: House,
    tenants: Vec<TenantStore>,
    servers: Vec<ServerId>,
    keys: Vec<KeyId>,
    users: Vec<UserId>,
    departments: Vec<DepartmentId>,
    issuers: Vec<IssuerId>,
    connections: Vec<ConnectionId>,
    seen: Vec<(Revision, Table)>,
}

impl Walk {
    async fn take(&mut self, step: Step) {
        let name = |number: u8| format!("s{number}");
        match step {
            Step::Create { tenant, name: number, enabled } => {
                let mut new = server(&name(number));
                new.enabled = enabled;
                if let Ok(made) = self.tenants[tenant].create_server(&actor(), new).await {
                    self.servers.push(made.value.spec.id);
                }
            }
            Step::Patch { tenant, server, name: number, enabled } => {
                let Some(id) = self.servers.get(server) else { return };
                let patch = ServerPatch {
                    name: number.map(|number| name(number).parse().unwrap()),
                    enabled,
                    ..Default::default()
                };
                let _ = self.tenants[tenant].patch_server(&actor(), *id, None, patch).await;
            }
            Step::Delete { tenant, server } => {
                let Some(id) = self.servers.get(server) else { return };
                let _ = self.tenants[tenant].delete_server(&actor(), *id, None).await;
            }
            Step::MakeKey { tenant } => {
                let id = self.keys.len() as u32;
                let tenant = &self.tenants[tenant];
                self.keys.push(tenant.create_key(&actor(), key(tenant.id(), id)).await.unwrap().value.verifier.id);
            }
            Step::Revoke { tenant, key } => {
                let Some(id) = self.keys.get(key) else { return };
                let _ = self.tenants[tenant].revoke_key(&actor(), *id).await;
            }
            Step::MakeUser { tenant, active, department } => {
                let departments = department.and_then(|at| self.departments.get(at)).copied().into_iter().collect();
                let login = format!("user{}", self.users.len());
                let new = NewUser {
                    login,
                    title: String::new(),
                    external_id: None,
                    departments,
                    role: KeyRole::User,
                    active,
                };
                if let Ok(made) = self.tenants[tenant].create_user(&actor(), new).await {
                    self.users.push(made.value.id);
                    let mut new = key(self.tenants[tenant].id(), self.keys.len() as u32);
                    new.verifier.user = Some(made.value.id);
                    self.keys.push(self.tenants[tenant].create_key(&actor(), new).await.unwrap().value.verifier.id);
                }
            }
            Step::PatchUser { tenant, user, active, departments } => {
                let Some(id) = self.users.get(user) else { return };
                let chosen =
                    |at: Vec<usize>| at.into_iter().filter_map(|at| self.departments.get(at).copied()).collect();
                let patch = UserPatch { active, departments: departments.map(chosen), ..Default::default() };
                let _ = self.tenants[tenant].patch_user(&actor(), *id, None, patch).await;
            }
            Step::DeleteUser { tenant, user } => {
                let Some(id) = self.users.get(user) else { return };
                let _ = self.tenants[tenant].delete_user(&actor(), *id, None).await;
            }
            Step::RestoreUser { tenant, user } => {
                let Some(id) = self.users.get(user) else { return };
                let _ = self.tenants[tenant].restore_user(&actor(), *id).await;
            }
            Step::MakeDepartment { tenant, name: number } => {
                let name = name(number).parse().unwrap();
                let new = NewDepartment { name, title: String::new(), external_id: None };
                if let Ok(made) = self.tenants[tenant].create_department(&actor(), new).await {
                    self.departments.push(made.value.id);
                }
            }
            Step::RenameDepartment { tenant, department, name: number } => {
                let Some(id) = self.departments.get(department) else { return };
                let patch = DepartmentPatch { name: Some(name(number).parse().unwrap()), ..Default::default() };
                let _ = self.tenants[tenant].patch_department(&actor(), *id, None, patch).await;
            }
            Step::DeleteDepartment { tenant, department } => {
                let Some(id) = self.departments.get(department) else { return };
                let _ = self.tenants[tenant].delete_department(&actor(), *id, None).await;
            }
            Step::RestoreDepartment { tenant, department } => {
                let Some(id) = self.departments.get(department) else { return };
                let _ = self.tenants[tenant].restore_department(&actor(), *id).await;
            }
            Step::MakeIssuer { tenant, name: number, enabled } => {
                let new = NewIssuer { enabled, ..issuer(&name(number)) };
                if let Ok(made) = self.tenants[tenant].create_issuer(&actor(), new).await {
                    self.issuers.push(made.value.id);
                }
            }
            Step::ChangeIssuer { tenant, issuer, enabled } => {
                let Some(id) = self.issuers.get(issuer) else { return };
                let patch = IssuerPatch { enabled: Some(enabled), ..Default::default() };
                let _ = self.tenants[tenant].change_issuer(&actor(), *id, None, patch).await;
            }
            Step::FetchKeys { tenant, issuer, at } => {
                let Some(id) = self.issuers.get(issuer) else { return };
                // The same keys within and beyond an hour.
                let at = at * 2_000_000_000;
                let fetched = FetchedKeys { document: "{}".to_owned(), metadata: at.to_string(), at };
                let _ = self.tenants[tenant].set_issuer_keys(*id, fetched).await;
            }
            Step::DeleteIssuer { tenant, issuer } => {
                let Some(id) = self.issuers.get(issuer) else { return };
                let _ = self.tenants[tenant].delete_issuer(&actor(), *id, None).await;
            }
            Step::Connect { tenant, server, holder, given } => {
                let Some(server) = self.servers.get(server) else { return };
                let holder = match holder {
                    0 => Some(Holder::Global),
                    1..=3 => self.users.get(holder - 1).map(|id| Holder::User(*id)),
                    _ => self.departments.get(holder - 4).map(|id| Holder::Department(*id)),
                };
                let Some(holder) = holder else { return };
                let base = connection(*server, holder);
                let new = NewConnection { credential: base.credential.clone().filter(|_| given), ..base };
                if let Ok(made) = self.tenants[tenant].create_connection(&actor(), new).await {
                    self.connections.push(made.value.id);
                }
            }
            Step::ChangeConnection { tenant, connection, to } => {
                let Some(id) = self.connections.get(connection) else { return };
                let Ok(Some(record)) = self.tenants[tenant].connection(*id).await else { return };
                let version = record.credential_version + 1;
                let credential = |to| Some(CredentialChange { to, version, fingerprints: vec![] });
                let patch = match ConnectionStatus::ALL.get(usize::from(to)) {
                    Some(status) => ConnectionPatch { status: Some(*status), ..Default::default() },
                    None if to == 4 => ConnectionPatch {
                        credential: credential(NewCredential::Sealed(vec![to])),
                        ..Default::default()
                    },
                    None => ConnectionPatch { credential: credential(NewCredential::Cleared), ..Default::default() },
                };
                let _ = self.tenants[tenant].patch_connection(&actor(), *id, None, patch).await;
            }
            Step::PutToken { tenant, connection } => {
                let Some(id) = self.connections.get(connection) else { return };
                let Ok(Some(record)) = self.tenants[tenant].connection(*id).await else { return };
                let put = PutToken {
                    lease: None,
                    expected_generation: record.token_generation,
                    token: vec![1],
                    expires_at: None,
                    refreshable: true,
                    fingerprints: vec![],
                };
                let _ = self.tenants[tenant].put_token(*id, put).await;
            }
            Step::Disconnect { tenant, connection } => {
                let Some(id) = self.connections.get(connection) else { return };
                let _ = self.tenants[tenant].delete_connection(&actor(), *id, None).await;
            }
            Step::Sleep { tenant, active } => {
                let patch = TenantPatch { active: Some(active), ..Default::default() };
                let id = self.tenants[tenant].id();
                self.house.store.platform().patch_tenant(&actor(), id, None, patch).await.unwrap();
            }
            Step::PutSigner { until } => {
                let url = "https://gatehouse.example".to_owned();
                let spec = SignerSpec { id: SignerId::fresh(), url, public: [7; 32], until };
                let _ = self.house.store.platform().put_signer(spec).await;
            }
            Step::RemoveSigners { before } => {
                self.house.store.platform().remove_signers(before).await.unwrap();
            }
            Step::Purge => {
                self.house.clock.advance_micros(1);
                let at_once = Retention { tombstone_days: 0, audit_days: 400 };
                self.house
                    .store
                    .platform()
                    .purge_expired(Clock::now_micros(&*self.house.clock), at_once)
                    .await
                    .unwrap();
            }
            Step::Look => self.look().await,
        }
    }

    async fn look(&mut self) {
        let IntendedState { revision, resources, .. } = self.house.store.platform().intended().await.unwrap();
        let table = resources.iter().map(|resource| (resource.name().to_string(), resource.digest())).collect();
        self.seen.push((revision, table));
    }

    /// From every earlier look, the outbox leads to the state of today.
    async fn check(mut self) {
        self.look().await;
        let (today, now) = self.seen.last().unwrap();
        for (then, table) in &self.seen {
            let rows = self.house.store.platform().outbox_since(then.seq, 10_000).await.unwrap();
            let mut seqs: Vec<_> = rows.iter().map(|row| row.seq).collect();
            seqs.dedup();
            assert_eq!(seqs, (then.seq + 1..=today.seq).collect::<Vec<_>>(), "every seq has its row");
            let mut table = table.clone();
            for row in rows {
                let name = row.name.to_string();
                // A later row may speak of a thing that is gone by now: then today's state decides.
                match now.get(&name) {
                    Some(digest) => table.insert(name, *digest),
                    None => table.remove(&name),
                };
            }
            assert_eq!(&table, now);
            let Tail::Changed { named, state, .. } = self.house.store.platform().tail(*then).await.unwrap() else {
                assert_eq!(then, today);
                continue;
            };
            let read: Table =
                state.resources.iter().map(|resource| (resource.name().to_string(), resource.digest())).collect();
            assert!(read.iter().all(|(name, digest)| now.get(name) == Some(digest)), "{read:?} {now:?}");
            for (name, _) in named {
                let name = name.to_string();
                assert_eq!(read.contains_key(&name), now.contains_key(&name), "{name}");
            }
        }
        let mut last_word = BTreeMap::new();
        for row in self.house.store.platform().outbox_since(0, 10_000).await.unwrap() {
            last_word.insert(row.name.to_string(), row.removed);
        }
        for (name, removed) in last_word {
            assert_eq!(removed, !now.contains_key(&name), "{name}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_outbox_leads_from_any_revision_to_the_intended_state(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            let tenants = vec![house.tenant("one").await, house.tenant("two").await];
            let mut walk = Walk {
                house,
                tenants,
                servers: Vec::new(),
                keys: Vec::new(),
                users: Vec::new(),
                departments: Vec::new(),
                issuers: Vec::new(),
                connections: Vec::new(),
                seen: Vec::new(),
            };
            walk.look().await;
            for step in steps {
                walk.take(step).await;
            }
            walk.check().await;
        });
    }
}
