//! Keys change under everything that is sealed, and nothing is lost by it.

use model::{ConnectionId, DepartmentId, Holder, ManualClock, ServerId, UpstreamUrl};
use store::{Actor, ConnectionRecord, NewConnection, NewDepartment, NewServer, NewTenant, SecretChange, ServerAuth};
use vault::{Keks, LocalKek};

use super::*;
use crate::keyring::Place;

struct House {
    store: Store,
    clock: Arc<ManualClock>,
    dir: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_800_000_000_000_000));
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
        let store = Store::connect(&url, clock.clone()).await.unwrap();
        for kek in ["one", "two"] {
            LocalKek::init(&dir.path().join(kek)).unwrap();
        }
        Self { store, clock, dir }
    }

    /// A keyring on these key files, of which the first one writes.
    fn keyring(&self, keks: &[&str]) -> Arc<Keyring> {
        let mut keks = keks.iter().map(|kek| LocalKek::open(&self.dir.path().join(kek)).unwrap().shared());
        let writing = keks.next().unwrap();
        Arc::new(Keyring::new(self.store.clone(), Keks::new(writing, keks.collect()), self.clock.clone()))
    }

    fn rotation(&self, keyring: &Arc<Keyring>) -> Rotation {
        Rotation::new(self.store.clone(), keyring.clone(), self.clock.clone())
    }

    async fn tenant(&self, name: &str) -> TenantId {
        let new = NewTenant::new(name.parse().unwrap());
        self.store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id
    }

    /// A server with a secret of its own.
    async fn server(&self, keyring: &Keyring, tenant: TenantId) -> ServerId {
        let id = ServerId::fresh();
        let place = Place { tenant, kind: "server", record: id.0, field: "auth_secret" };
        let sealed = keyring.seal(place, 1, b"{\"client_secret\":\"of the server\"}").await.unwrap();
        let auth = ServerAuth {
            config: "{\"type\":\"none\"}".to_owned(),
            binding: None,
            secret: SecretChange::Set { sealed, version: 1 },
        };
        let new = NewServer {
            id: Some(id),
            auth: Some(auth),
            ..NewServer::new(
                "notes".parse().unwrap(),
                "notes".to_owned(),
                UpstreamUrl::parse("https://notes.example/mcp").unwrap(),
            )
        };
        self.store.tenant(tenant).create_server(&Actor::system("test"), new).await.unwrap();
        id
    }

    async fn connection(&self, keyring: &Keyring, tenant: TenantId, server: ServerId, holder: Holder) -> ConnectionId {
        let id = ConnectionId::fresh();
        let secret = format!("secret of {id}");
        let credential = keyring.seal(credential(tenant, id), 1, secret.as_bytes()).await.unwrap();
        let new = NewConnection { credential: Some(credential), ..NewConnection::new(id, server, holder) };
        self.store.tenant(tenant).create_connection(&Actor::system("test"), new).await.unwrap();
        id
    }

    async fn department(&self, tenant: TenantId, number: usize) -> DepartmentId {
        let name = format!("d{number}");
        let new = NewDepartment { name: name.parse().unwrap(), title: name, external_id: None };
        self.store.tenant(tenant).create_department(&Actor::system("test"), new).await.unwrap().value.id
    }

    async fn record(&self, tenant: TenantId, id: ConnectionId) -> ConnectionRecord {
        self.store.tenant(tenant).connection(id).await.unwrap().unwrap()
    }

    async fn opens(&self, keyring: &Keyring, tenant: TenantId, id: ConnectionId) -> bool {
        let record = self.record(tenant, id).await;
        let opened = keyring.open(credential(tenant, id), record.credential_version, &record.credential.unwrap()).await;
        opened.is_ok_and(|plain| *plain == format!("secret of {id}").into_bytes())
    }

    async fn states(&self, tenant: TenantId) -> Vec<(u32, KeyState)> {
        let rows = self.store.platform().tenant_keys(tenant).await.unwrap();
        rows.iter().map(|row| (row.id, row.state)).collect()
    }
}

fn credential(tenant: TenantId, id: ConnectionId) -> Place {
    Place { tenant, kind: "connection", record: id.0, field: "credential" }
}

/// One stretch of a job, which is begun if it has not been.
async fn step(rotation: &Rotation, what: What) -> Step {
    let (word, tenant) = what.words();
    let platform = rotation.store.platform();
    platform.begin_vault_job(&Actor::system("test"), word, tenant, 0).await.unwrap();
    let taken = platform.take_vault_job(word, tenant, rotation.owner, LEASE).await.unwrap();
    let Some(mut job) = taken else { return Step::Lost };
    match what {
        What::Kek => rotation.rewrap_some(&mut job).await.unwrap(),
        What::DataKeys(tenant) => rotation.reseal_some(tenant, &mut job).await.unwrap(),
    }
}

/// The same to the end; time passes where it has to. Answers what could not be done.
async fn finish(house: &House, rotation: &Rotation, what: What) -> Option<String> {
    for _ in 0..100 {
        match step(rotation, what).await {
            Step::On => (),
            Step::Wait => house.clock.advance_micros(micros(SETTLED)),
            Step::Lost => panic!("nobody else is there"),
            Step::End(failure) => return failure,
        }
    }
    panic!("it never ends")
}

#[tokio::test]
async fn a_tenants_new_key_takes_over_all_its_secrets_and_the_old_one_is_destroyed() {
    let house = House::open().await;
    let keyring = house.keyring(&["one"]);
    let (acme, other) = (house.tenant("acme").await, house.tenant("other").await);
    let server = house.server(&keyring, acme).await;
    let theirs = house.connection(&keyring, other, house.server(&keyring, other).await, Holder::Global).await;
    let mut ids = vec![house.connection(&keyring, acme, server, Holder::Global).await];
    for number in 0..usize::try_from(PAGE).unwrap() + 3 {
        let department = house.department(acme, number).await;
        ids.push(house.connection(&keyring, acme, server, Holder::Department(department)).await);
    }
    house.clock.advance_micros(1_000_000);
    let rotation = house.rotation(&keyring);
    assert_eq!(finish(&house, &rotation, What::DataKeys(Some(acme))).await, None);

    assert_eq!(house.states(acme).await, [(1, KeyState::Destroyed), (2, KeyState::Primary)]);
    assert_eq!(house.states(other).await, [(1, KeyState::Primary)], "another tenant's is not touched");
    let fresh = house.keyring(&["one"]);
    for id in ids {
        assert!(house.opens(&fresh, acme, id).await && house.opens(&keyring, acme, id).await, "{id}");
    }
    assert!(house.opens(&fresh, other, theirs).await);
    let record = house.store.tenant(acme).server(server).await.unwrap().unwrap();
    let place = Place { tenant: acme, kind: "server", record: server.0, field: "auth_secret" };
    let opened = fresh.open(place, record.auth_secret_version, &record.auth_secret.unwrap()).await.unwrap();
    assert_eq!(opened.as_slice(), b"{\"client_secret\":\"of the server\"}");
}

#[tokio::test]
async fn a_rotation_of_all_takes_the_platforms_own_secrets_along() {
    let house = House::open().await;
    let keyring = house.keyring(&["one"]);
    let acme = house.tenant("acme").await;
    let id = house.connection(&keyring, acme, house.server(&keyring, acme).await, Holder::Global).await;
    let before = keyring.fingerprint(acme, b"leaked").await.unwrap();
    let signing = crate::signing::Signing::new(
        house.store.clone(),
        keyring.clone(),
        house.clock.clone(),
        "http://127.0.0.1:1".to_owned(),
    );
    signing.keep().await.unwrap();
    house.clock.advance_micros(1_000_000);
    assert_eq!(finish(&house, &house.rotation(&keyring), What::DataKeys(None)).await, None);
    for tenant in [acme, PLATFORM] {
        assert_eq!(house.states(tenant).await, [(1, KeyState::Destroyed), (2, KeyState::Primary)]);
    }
    let fresh = house.keyring(&["one"]);
    assert!(house.opens(&fresh, acme, id).await);
    assert_eq!(fresh.fingerprint(acme, b"leaked").await.unwrap(), before, "fingerprints never change");
    let signing =
        crate::signing::Signing::new(house.store.clone(), fresh, house.clock.clone(), "http://127.0.0.1:1".to_owned());
    signing.keep().await.unwrap();
}

#[tokio::test]
async fn a_rotation_that_was_cut_after_any_stretch_is_finished_by_whoever_finds_it() {
    for cut in 0..6 {
        let house = House::open().await;
        let keyring = house.keyring(&["one"]);
        let acme = house.tenant("acme").await;
        let id = house.connection(&keyring, acme, house.server(&keyring, acme).await, Holder::Global).await;
        house.clock.advance_micros(1_000_000);
        let what = What::DataKeys(Some(acme));
        let first = house.rotation(&keyring);
        for _ in 0..cut {
            step(&first, what).await;
            assert!(house.opens(&keyring, acme, id).await, "cut after {cut}");
        }
        // Its lease has lapsed: whoever takes the job next is as good as it was.
        let owner = first.owner;
        drop(first);
        let fresh = house.keyring(&["one"]);
        let second = Rotation { owner, ..house.rotation(&fresh) };
        assert_eq!(finish(&house, &second, what).await, None);
        assert_eq!(house.states(acme).await, [(1, KeyState::Destroyed), (2, KeyState::Primary)], "cut after {cut}");
        assert!(house.opens(&fresh, acme, id).await);
    }
}

#[tokio::test]
async fn what_was_sealed_with_the_old_key_and_written_late_is_found_by_the_second_look() {
    let house = House::open().await;
    let keyring = house.keyring(&["one"]);
    let acme = house.tenant("acme").await;
    let server = house.server(&keyring, acme).await;
    house.connection(&keyring, acme, server, Holder::Global).await;
    let late = ConnectionId::fresh();
    let secret = format!("secret of {late}");
    let sealed = keyring.seal(credential(acme, late), 1, secret.as_bytes()).await.unwrap();
    house.clock.advance_micros(1_000_000);
    let (rotation, what) = (house.rotation(&keyring), What::DataKeys(Some(acme)));
    while !matches!(step(&rotation, what).await, Step::Wait) {}
    let holder = Holder::Department(house.department(acme, 1).await);
    let new = NewConnection { credential: Some(sealed), ..NewConnection::new(late, server, holder) };
    house.store.tenant(acme).create_connection(&Actor::system("test"), new).await.unwrap();
    assert_eq!(finish(&house, &rotation, what).await, None);
    assert_eq!(house.states(acme).await, [(1, KeyState::Destroyed), (2, KeyState::Primary)]);
    assert!(house.opens(&house.keyring(&["one"]), acme, late).await);
}

#[tokio::test]
async fn a_secret_that_cannot_be_opened_is_left_as_it_is_and_keeps_the_old_key() {
    let house = House::open().await;
    let keyring = house.keyring(&["one"]);
    let acme = house.tenant("acme").await;
    let server = house.server(&keyring, acme).await;
    let good = house.connection(&keyring, acme, server, Holder::Global).await;
    let odd = ConnectionId::fresh();
    // Sealed for another record: moved in the database.
    let moved = keyring.seal(credential(acme, good), 1, b"moved").await.unwrap();
    let holder = Holder::Department(house.department(acme, 1).await);
    let new = NewConnection { credential: Some(moved.clone()), ..NewConnection::new(odd, server, holder) };
    house.store.tenant(acme).create_connection(&Actor::system("test"), new).await.unwrap();
    house.clock.advance_micros(1_000_000);
    let failure = finish(&house, &house.rotation(&keyring), What::DataKeys(Some(acme))).await.unwrap();
    assert!(failure.starts_with("1 secrets can't be opened"), "{failure}");
    assert_eq!(house.record(acme, odd).await.credential, Some(moved));
    assert_eq!(house.states(acme).await, [(1, KeyState::Enabled), (2, KeyState::Primary)]);
    assert!(house.opens(&keyring, acme, good).await);
}

#[tokio::test]
async fn a_new_kek_takes_over_all_data_keys_and_the_old_one_can_be_put_away() {
    let house = House::open().await;
    let old = house.keyring(&["one"]);
    let mut secrets = Vec::new();
    for number in 0..5 {
        let tenant = house.tenant(&format!("t{number}")).await;
        let server = house.server(&old, tenant).await;
        secrets.push((tenant, house.connection(&old, tenant, server, Holder::Global).await));
    }
    let both = house.keyring(&["two", "one"]);
    for (tenant, id) in &secrets {
        assert!(house.opens(&both, *tenant, *id).await, "both are read before the rotation");
    }
    assert_eq!(finish(&house, &house.rotation(&both), What::Kek).await, None);
    let in_use = house.store.platform().keks_in_use().await.unwrap();
    assert_eq!(in_use, [(both.keks().writing().as_bytes().to_vec(), 5)]);
    let (new, gone) = (house.keyring(&["two"]), house.keyring(&["one"]));
    for (tenant, id) in secrets {
        assert!(house.opens(&new, tenant, id).await);
        assert!(!house.opens(&gone, tenant, id).await, "the old one opens nothing any more");
    }
}

#[tokio::test]
async fn a_data_key_of_a_kek_that_is_not_there_is_told_and_kept() {
    let house = House::open().await;
    let (one, two) = (house.keyring(&["one"]), house.keyring(&["two"]));
    let (a, b) = (house.tenant("a").await, house.tenant("b").await);
    let lost = house.connection(&one, a, house.server(&one, a).await, Holder::Global).await;
    house.connection(&two, b, house.server(&two, b).await, Holder::Global).await;
    let failure = finish(&house, &house.rotation(&two), What::Kek).await.unwrap();
    assert!(failure.starts_with("1 data keys can't be opened"), "{failure}");
    assert!(house.opens(&house.keyring(&["one"]), a, lost).await, "with the KEK back it opens");
}

#[tokio::test]
async fn the_secrets_of_a_deleted_tenant_open_nowhere_and_its_keys_are_forgotten() {
    let house = House::open().await;
    let keyring = house.keyring(&["one"]);
    let acme = house.tenant("acme").await;
    let id = house.connection(&keyring, acme, house.server(&keyring, acme).await, Holder::Global).await;
    let backup = house.record(acme, id).await.credential.unwrap();
    assert!(keyring.open(credential(acme, id), 1, &backup).await.is_ok());
    house.store.platform().delete_tenant(&Actor::system("test"), acme, None).await.unwrap();

    let elsewhere = house.keyring(&["one"]);
    let refused = elsewhere.open(credential(acme, id), 1, &backup).await;
    assert!(matches!(refused, Err(KeyringError::Unreadable(_))), "not even out of a backup of the row");
    assert!(matches!(elsewhere.seal(credential(acme, id), 2, b"x").await, Err(KeyringError::Store(_))));
    // Who had the key opened forgets it when it is told, and looks at its row within a minute.
    let other = house.keyring(&["one"]);
    other.forget(acme);
    assert!(other.open(credential(acme, id), 1, &backup).await.is_err());
    house.clock.advance_micros(60_000_000);
    for _ in 0..2 {
        assert!(keyring.open(credential(acme, id), 1, &backup).await.is_err());
    }
}

#[tokio::test]
async fn a_data_key_that_has_sealed_for_a_year_makes_room_for_a_new_one_by_itself() {
    let house = House::open().await;
    let keyring = house.keyring(&["one"]);
    let acme = house.tenant("acme").await;
    let id = house.connection(&keyring, acme, house.server(&keyring, acme).await, Holder::Global).await;
    let rotation = house.rotation(&keyring);
    house.clock.advance_micros(LIFE - 1_000_000);
    let young = house.tenant("young").await;
    house.connection(&keyring, young, house.server(&keyring, young).await, Holder::Global).await;
    rotation.begin_what_is_due().await.unwrap();
    assert!(house.store.platform().vault_jobs().await.unwrap().is_empty());

    house.clock.advance_micros(1_000_000);
    for _ in 0..2 {
        rotation.begin_what_is_due().await.unwrap();
    }
    let jobs = house.store.platform().vault_jobs().await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.tenant).collect::<Vec<_>>(), [Some(acme)], "once, and nobody else's");
    assert_eq!(finish(&house, &rotation, What::DataKeys(Some(acme))).await, None);
    assert_eq!(house.states(acme).await, [(1, KeyState::Destroyed), (2, KeyState::Primary)]);
    assert!(house.opens(&house.keyring(&["one"]), acme, id).await);
}
