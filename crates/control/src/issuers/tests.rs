//! Keys are fetched when they are due or missed, by one replica, and what was fetched stays when the issuer goes.

pub(crate) mod idp;

use std::sync::Arc;

use model::{ClaimMapping, IssuerId, ManualClock, SigningAlgorithm, TenantId};
use store::{Actor, IssuerRecord, NewIssuer, NewTenant, Store};

use self::idp::Idp;
use super::*;
use crate::fleet::Fleet;
use crate::keyring::tests::keyring;
use crate::servers::Servers;

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;

struct House {
    store: Store,
    clock: Arc<ManualClock>,
    tenant: TenantId,
    idp: Idp,
    dir: tempfile::TempDir,
}

impl House {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_800_000_000_000_000));
        let url = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
        let store = Store::connect(&url, clock.clone()).await.unwrap();
        let new = NewTenant::new("acme".parse().unwrap());
        let tenant = store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id;
        Self { store, clock, tenant, idp: Idp::open().await, dir }
    }

    fn replica(&self) -> Issuers {
        let keyring = keyring(&self.store, &self.dir.path().join("kek"), self.clock.clone());
        let fleet = Fleet::new(self.store.clone(), keyring.clone(), self.clock.clone());
        let policy = egress::Policy { dev: true, ..egress::Policy::default() };
        let outward = Outward::new(Servers::new(self.store.clone(), fleet, policy), true);
        Issuers::new(self.store.clone(), outward, keyring, self.clock.clone(), true)
    }

    async fn issuer(&self, name: &str) -> IssuerId {
        let new = NewIssuer {
            id: IssuerId::fresh(),
            name: name.parse().unwrap(),
            title: name.to_owned(),
            issuer: format!("{}/{name}", self.idp.base),
            client_id: None,
            client_secret: None,
            audiences: vec![],
            algorithms: vec![SigningAlgorithm::EdDsa],
            claims: ClaimMapping::default(),
            scope: None,
            unknown_users: false,
            sign_in: false,
            mcp: true,
            enabled: true,
            fetched: None,
        };
        self.store.tenant(self.tenant).create_issuer(&Actor::system("test"), new).await.unwrap().value.id
    }

    async fn record(&self, id: IssuerId) -> IssuerRecord {
        self.store.tenant(self.tenant).issuer(id).await.unwrap().unwrap()
    }

    /// How often the keys were asked for.
    fn asked(&self) -> usize {
        self.idp.requests().iter().filter(|head| head.starts_with("GET /keys ")).count()
    }

    fn now(&self) -> i64 {
        self.clock.now_micros()
    }
}

#[tokio::test]
async fn keys_are_fetched_at_once_and_every_ten_minutes() {
    let house = House::open().await;
    let (issuers, id) = (house.replica(), house.issuer("a").await);
    issuers.renew_due().await.unwrap();
    let first = house.record(id).await;
    assert_eq!((first.keys_at, first.failure.as_deref()), (Some(house.now()), None));
    assert!(issuers.discovery(&first).unwrap().token_endpoint.is_some());
    let rotated = house.idp.rotate(&["two", "three"]);
    house.clock.advance_micros(9 * MINUTE);
    issuers.renew_due().await.unwrap();
    assert_eq!((house.record(id).await.keys, house.asked()), (first.keys, 1), "not yet");
    house.clock.advance_micros(2 * MINUTE);
    issuers.renew_due().await.unwrap();
    assert_eq!((house.record(id).await.keys, house.asked()), (rotated, 2));
}

#[tokio::test]
async fn of_several_replicas_one_asks() {
    let house = House::open().await;
    let (one, two, three) = (house.replica(), house.replica(), house.replica());
    let id = house.issuer("a").await;
    for round in 1..=3 {
        let (a, b, c) = tokio::join!(one.renew_due(), two.renew_due(), three.renew_due());
        a.and(b).and(c).unwrap();
        assert_eq!(house.asked(), round);
        house.clock.advance_micros(11 * MINUTE);
    }
    assert!(house.record(id).await.failure.is_none());
}

#[tokio::test]
async fn an_issuer_that_is_down_for_an_hour_is_still_believed_and_after_a_day_no_longer() {
    let house = House::open().await;
    let (issuers, id) = (house.replica(), house.issuer("a").await);
    issuers.renew_due().await.unwrap();
    let good = house.record(id).await;
    house.idp.down(true);
    let began = house.now();
    while house.now() < began + HOUR {
        house.clock.advance_micros(11 * MINUTE);
        issuers.renew_due().await.unwrap();
    }
    let hour = house.record(id).await;
    assert_eq!((&hour.keys, hour.keys_at), (&good.keys, good.keys_at));
    assert!(hour.failure.as_deref().is_some_and(|why| why.starts_with("its discovery document can't be fetched")));
    assert!(hour.spec().keys_until > house.now());
    assert_eq!((issuers.asked().0, issuers.asked().1), (1, 6));
    assert!(issuers.oldest() >= HOUR, "{}", issuers.oldest());

    house.clock.advance_micros(23 * HOUR);
    issuers.renew_due().await.unwrap();
    assert!(house.record(id).await.spec().keys_until <= house.now(), "nobody may believe them any more");
    house.idp.down(false);
    house.clock.advance_micros(11 * MINUTE);
    issuers.renew_due().await.unwrap();
    let back = house.record(id).await;
    assert_eq!((back.failure, back.keys_at), (None, Some(house.now())));
}

#[tokio::test]
async fn a_missed_key_is_asked_for_at_most_every_half_minute() {
    let house = House::open().await;
    let (issuers, id) = (house.replica(), house.issuer("a").await);
    issuers.renew_due().await.unwrap();
    let old = house.record(id).await;
    let rotated = house.idp.rotate(&["two"]);
    for _ in 0..20 {
        assert_eq!(issuers.missing_a_key(&old).await.unwrap().keys, old.keys, "asked a moment ago");
        issuers.renew_wanted([id]).await.unwrap();
    }
    assert_eq!(house.asked(), 1);
    house.clock.advance_micros(MISSED_MICROS);
    assert_eq!(issuers.missing_a_key(&house.record(id).await).await.unwrap().keys, rotated);
    // Somebody who read the record before finds that its turn is taken.
    issuers.missing_a_key(&old).await.unwrap();
    issuers.renew_wanted([id, IssuerId::fresh()]).await.unwrap();
    assert_eq!(house.asked(), 2);
    house.clock.advance_micros(MISSED_MICROS);
    issuers.renew_wanted([id]).await.unwrap();
    assert_eq!(house.asked(), 3);
}

#[tokio::test]
async fn what_a_proxy_misses_is_asked_for_without_waiting() {
    let house = House::open().await;
    let (issuers, id, wanted) = (house.replica(), house.issuer("a").await, Arc::<Wanted>::default());
    issuers.renew_due().await.unwrap();
    let rotated = house.idp.rotate(&["two"]);
    house.clock.advance_micros(MISSED_MICROS);
    let task = tokio::spawn(issuers.run_forever(wanted.clone()));
    wanted.ask(id);
    let mut tries = 0;
    while house.record(id).await.keys != rotated {
        tries += 1;
        assert!(tries < 1_000, "nobody asked");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    task.abort();
}

#[tokio::test]
async fn an_issuer_that_is_not_what_it_should_be_is_named_so() {
    let house = House::open().await;
    let issuers = house.replica();
    let document = |issuer: &str, jwks: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{jwks}"}}"#);
    let (base, well_known) = (house.idp.base.clone(), "/.well-known/openid-configuration");
    let here = format!("{base}/x");
    let symmetric = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"a"}]}"#;
    house.idp.answers("/symmetric", "200 OK", "", symmetric);
    house.idp.answers("/large", "200 OK", "", &"x".repeat((64 << 10) + 1));
    for (status, headers, body, told) in [
        ("404 Not Found", "", String::new(), "can't be fetched: the answer has the status 404"),
        ("302 Found", "location: https://elsewhere.example/\r\n", String::new(), "redirects to another origin"),
        ("200 OK", "", "<html>".to_owned(), "is not one"),
        ("200 OK", "", document(&format!("{here}/"), &format!("{base}/keys")), "names another issuer"),
        ("200 OK", "", document(&here, "http://keys.example/"), "a `jwks_uri` that is not an https URL"),
        ("200 OK", "", document(&here, &format!("{base}/none")), "its keys can't be fetched"),
        ("200 OK", "", document(&here, &format!("{base}/large")), "more than 65536 bytes"),
        ("200 OK", "", document(&here, &format!("{base}/symmetric")), "no key for RS256"),
    ] {
        house.idp.answers(&format!("/x{well_known}"), status, headers, &body);
        let why = issuers.look(house.tenant, &here).await.unwrap_err().to_string();
        assert!(why.contains(told), "{body}: {why}");
    }
    assert!(matches!(issuers.look(house.tenant, "http://10.0.0.1/").await, Err(LookError::Issuer)));
    let heads = house.idp.requests().join("\n").to_lowercase();
    assert!(!heads.contains("authorization") && !heads.contains("cookie"));
}

#[tokio::test]
async fn a_clients_secret_opens_for_its_record_only() {
    let house = House::open().await;
    let issuers = house.replica();
    let mut record = house.record(house.issuer("a").await).await;
    assert!(issuers.secret(&record).await.unwrap().is_none());
    let secret = model::Secret::new("hush-hush".to_owned());
    let sealed = issuers.seal_secret(record.tenant, record.id, &secret).await.unwrap();
    assert!(!sealed.windows(9).any(|window| window == b"hush-hush"));
    record.client_secret = Some(sealed);
    assert_eq!(issuers.secret(&record).await.unwrap().unwrap().expose(), "hush-hush");
    record.id = IssuerId::fresh();
    assert!(issuers.secret(&record).await.is_err());
}
