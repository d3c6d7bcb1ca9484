//! Data keys: made once, kept for a while, and of no use elsewhere.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use async_trait::async_trait;
use model::ManualClock;
use store::{Actor, NewTenant};
use vault::{KekProvider, LocalKek};

use super::*;

/// A keyring on a key file, which is made where there is none.
pub(crate) fn keyring(store: &Store, kek: &Path, clock: Arc<dyn Clock>) -> Arc<Keyring> {
    if !kek.exists() {
        LocalKek::init(kek).unwrap();
    }
    let keks = Keks::new(LocalKek::open(kek).unwrap().shared(), vec![]);
    Arc::new(Keyring::new(store.clone(), keks, clock))
}

/// A KEK whose holder can go away, and which counts.
struct Remote {
    inner: LocalKek,
    away: AtomicBool,
    asked: AtomicU32,
    last: Mutex<Option<KeyOf>>,
}

impl Remote {
    fn answer(&self, of: KeyOf) -> Result<(), KekError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        *self.last.lock().unwrap() = Some(of);
        if self.away.load(Ordering::SeqCst) {
            return Err(KekError::Unavailable { kek: "remote".into(), cause: "away".into() });
        }
        Ok(())
    }
}

#[async_trait]
impl KekProvider for Remote {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn wrap(&self, of: KeyOf, plain: &[u8; 32]) -> Result<Vec<u8>, KekError> {
        self.answer(of)?;
        self.inner.wrap(of, plain).await
    }

    async fn unwrap(&self, of: KeyOf, wrapped: &[u8]) -> Result<Zeroizing<[u8; 32]>, KekError> {
        self.answer(of)?;
        self.inner.unwrap(of, wrapped).await
    }

    async fn health(&self) -> Result<(), KekError> {
        Ok(())
    }
}

struct House {
    store: Store,
    clock: Arc<ManualClock>,
    remote: Arc<Remote>,
    tenant: TenantId,
    _dir: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_800_000_000_000_000));
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
        let store = Store::connect(&url, clock.clone()).await.unwrap();
        let new = NewTenant::new("acme".parse().unwrap());
        let tenant = store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id;
        LocalKek::init(&dir.path().join("kek")).unwrap();
        let remote = Arc::new(Remote {
            inner: LocalKek::open(&dir.path().join("kek")).unwrap(),
            away: AtomicBool::new(false),
            asked: AtomicU32::new(0),
            last: Mutex::default(),
        });
        Self { store, clock, remote, tenant, _dir: dir }
    }

    fn replica(&self) -> Keyring {
        Keyring::new(self.store.clone(), Keks::new(self.remote.clone(), vec![]), self.clock.clone())
    }

    fn place(&self) -> Place {
        Place { tenant: self.tenant, kind: "connection", record: Uuid::from_u128(1), field: "credential" }
    }
}

#[tokio::test]
async fn a_secret_opens_where_it_belongs_and_nowhere_else() {
    let house = House::open().await;
    let (keyring, here) = (house.replica(), house.place());
    let other = NewTenant::new("other".parse().unwrap());
    let other = house.store.platform().create_tenant(&Actor::system("test"), other).await.unwrap().value.spec.id;
    let sealed = keyring.seal(here, 7, b"hush").await.unwrap();
    assert_eq!(keyring.open(here, 7, &sealed).await.unwrap().as_slice(), b"hush");
    keyring.seal(Place { tenant: other, ..here }, 7, b"theirs").await.unwrap();
    for elsewhere in [
        Place { tenant: other, ..here },
        Place { tenant: PLATFORM, ..here },
        Place { kind: "server", ..here },
        Place { record: Uuid::from_u128(2), ..here },
        Place { field: "token", ..here },
    ] {
        let refused = keyring.open(elsewhere, 7, &sealed).await;
        assert!(matches!(refused, Err(KeyringError::Unreadable(_))), "{elsewhere:?}");
    }
    for version in [0, 6, 8, -7, i64::MAX, i64::MIN] {
        assert!(matches!(keyring.open(here, version, &sealed).await, Err(KeyringError::Unreadable(_))), "{version}");
    }
    let row = keyring.seal_row(here, 7, b"hush").await.unwrap();
    assert_eq!(keyring.open_row(here, &row).await.unwrap().as_slice(), b"hush");
    for cut in [0, 7, 8, 9, 50, row.len() - 1] {
        assert!(keyring.open_row(here, &row[..cut]).await.is_err(), "{cut}");
    }
    let mut later = row;
    later[7] += 1;
    assert!(keyring.open_row(here, &later).await.is_err(), "the version is authenticated");
}

#[tokio::test]
async fn replicas_that_seal_at_once_make_one_key() {
    let house = House::open().await;
    let (one, two) = (house.replica(), house.replica());
    let (a, b) = tokio::join!(one.seal(house.place(), 1, b"a"), two.seal(house.place(), 2, b"b"));
    assert_eq!(two.open(house.place(), 1, &a.unwrap()).await.unwrap().as_slice(), b"a");
    assert_eq!(one.open(house.place(), 2, &b.unwrap()).await.unwrap().as_slice(), b"b");
    let (a, b) = (one.fingerprint(house.tenant, b"x"), two.fingerprint(house.tenant, b"x"));
    assert_eq!(a.await.unwrap(), b.await.unwrap());
    assert_eq!(one.cursor_key().await.unwrap(), house.replica().cursor_key().await.unwrap());
}

#[tokio::test]
async fn opened_keys_serve_fifteen_minutes_without_the_holder_of_the_kek_and_then_none() {
    let house = House::open().await;
    let keyring = house.replica();
    let sealed = keyring.seal(house.place(), 1, b"hush").await.unwrap();
    house.remote.away.store(true, Ordering::SeqCst);
    for _ in 0..15 {
        house.clock.advance_micros(60_000_000);
        assert_eq!(keyring.open(house.place(), 1, &sealed).await.unwrap().as_slice(), b"hush");
        keyring.seal(house.place(), 1, b"more").await.unwrap();
    }
    house.clock.advance_micros(1);
    assert!(matches!(keyring.open(house.place(), 1, &sealed).await, Err(KeyringError::Unavailable(_))));
    assert!(matches!(keyring.seal(house.place(), 1, b"x").await, Err(KeyringError::Unavailable(_))));
    house.remote.away.store(false, Ordering::SeqCst);
    house.clock.advance_micros(AWAY_MICROS);
    assert_eq!(keyring.open(house.place(), 1, &sealed).await.unwrap().as_slice(), b"hush");
}

#[tokio::test]
async fn fault_63_who_waited_for_an_answer_of_the_keks_holder_does_not_wait_for_the_next_one() {
    let house = House::open().await;
    let mut sealed = Vec::new();
    for number in 0..20 {
        let new = NewTenant::new(format!("t{number}").parse().unwrap());
        let made = house.store.platform().create_tenant(&Actor::system("test"), new).await.unwrap();
        let place = Place { tenant: made.value.spec.id, ..house.place() };
        sealed.push((place, house.replica().seal(place, 1, b"hush").await.unwrap()));
    }
    let keyring = house.replica();
    house.remote.away.store(true, Ordering::SeqCst);
    house.remote.asked.store(0, Ordering::SeqCst);
    for (place, sealed) in &sealed {
        assert!(matches!(keyring.open(*place, 1, sealed).await, Err(KeyringError::Unavailable(_))));
    }
    assert_eq!(house.remote.asked.load(Ordering::SeqCst), 1, "one question shows that nobody is there");
    house.clock.advance_micros(AWAY_MICROS);
    assert!(matches!(keyring.check_sealing(sealed[0].0.tenant).await, Err(KeyringError::Unavailable(_))));
    house.remote.away.store(false, Ordering::SeqCst);
    house.clock.advance_micros(AWAY_MICROS);
    for (place, sealed) in &sealed {
        assert_eq!(keyring.open(*place, 1, sealed).await.unwrap().as_slice(), b"hush");
    }
}

#[tokio::test]
async fn a_crowd_asks_the_holder_of_the_kek_once() {
    let house = House::open().await;
    let sealed = house.replica().seal(house.place(), 1, b"hush").await.unwrap();
    let keyring = house.replica();
    house.remote.asked.store(0, Ordering::SeqCst);
    let all = futures::future::join_all((0..50).map(|_| keyring.open(house.place(), 1, &sealed))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(house.remote.asked.load(Ordering::SeqCst), 1);
    house.clock.advance_micros(KEPT + 1);
    keyring.cache.sweep(house.clock.now_micros());
    assert_eq!(keyring.cache.len(), 0, "what nobody uses is forgotten");
}

const KEPT: i64 = cache::KEPT_MICROS;
