//! Tokens of connections: one refreshes, nothing old replaces what is newer, and a login stands against a refresh.

use std::time::Duration;

use model::{ConnectionId, ConnectionStatus, Generation, Holder, Scope};
use store::{
    AuditPage, ConnectionPatch, ConnectionRecord, CredentialChange, LastError, LeaseOutcome, NewConnection,
    NewCredential, PutLogin, PutToken, StoreError, TenantStore, Verdict,
};
use uuid::Uuid;

use crate::connections::server_in;
use crate::house::{House, actor, connection};

const LONG: Duration = Duration::from_secs(300);
const OVER: Duration = Duration::ZERO;

async fn made(tenant: &TenantStore) -> ConnectionRecord {
    let server = server_in(tenant, "notes", &[Scope::Global]).await;
    tenant.create_connection(&actor(), connection(server, Holder::Global)).await.unwrap().value
}

fn token(lease: Option<Uuid>, expected_generation: i64) -> PutToken {
    PutToken {
        lease,
        expected_generation,
        token: vec![expected_generation as u8 + 1],
        expires_at: Some(9),
        refreshable: true,
        fingerprints: vec![[expected_generation as u8; 16]],
    }
}

fn login(expected_version: i64, expected_generation: i64) -> PutLogin {
    PutLogin {
        expected_version,
        expected_generation,
        token: vec![77],
        expires_at: None,
        refreshable: true,
        fingerprints: vec![[6; 16]],
        credential: None,
        external_subject: Some("ann@upstream".to_owned()),
    }
}

async fn seqs(house: &House) -> i64 {
    house.store.platform().revision().await.unwrap().seq
}

#[tokio::test]
async fn a_token_is_put_over_the_generation_that_it_was_made_of_and_pushed() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let first = made(&tenant).await;
    let before = seqs(&house).await;
    let put = tenant.put_token(first.id, token(None, 1)).await.unwrap();
    assert_eq!(put.revision.seq, before + 1, "proxies are told");
    let expected = ConnectionRecord {
        token: Some(vec![2]),
        token_generation: 2,
        token_expires_at: Some(9),
        refreshable: true,
        ..first.clone()
    };
    assert_eq!(put.value, expected, "version and generation of the record stay");
    assert_eq!(tenant.connection(first.id).await.unwrap(), Some(expected));
    let late = tenant.put_token(first.id, token(None, 1)).await;
    assert!(matches!(late, Err(StoreError::TokenStale { current: 2 })), "{late:?}");
    let early = tenant.put_token(first.id, token(None, 3)).await;
    assert!(matches!(early, Err(StoreError::TokenStale { current: 2 })));
    let unknown = tenant.put_token(ConnectionId::fresh(), token(None, 1)).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
    let audit = tenant.audit(AuditPage { limit: 50, ..Default::default() }).await.unwrap();
    let of_it = audit.iter().filter(|row| row.object.starts_with("connection/"));
    assert_eq!(of_it.count(), 1, "nobody decided it");
    let found = tenant.connections_with_fingerprint([1; 16]).await.unwrap();
    assert_eq!(found.len(), 1, "the secrets of a token are found too");
}

#[tokio::test]
async fn of_any_number_of_processes_one_has_the_lease() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant).await.id;
    let second = house.second_process().await.tenant(tenant.id());
    let race = (0..12).map(|number: u128| {
        let tenant = if number.is_multiple_of(2) { tenant.clone() } else { second.clone() };
        tokio::spawn(async move { tenant.lease_refresh(id, Uuid::from_u128(number + 1), 1, LONG).await.unwrap() })
    });
    let mut leased = 0;
    for outcome in futures::future::join_all(race).await {
        match outcome.unwrap() {
            LeaseOutcome::Leased(record) => {
                leased += 1;
                assert_eq!(record.token_generation, 1);
            }
            LeaseOutcome::Busy { until, left } => {
                assert!(until > 0 && left > Duration::ZERO && left <= LONG, "{left:?}");
            }
            LeaseOutcome::Newer(record) => panic!("{record:?}"),
        }
    }
    assert_eq!(leased, 1);
}

#[tokio::test]
async fn a_lease_ends_by_time_by_its_owner_and_with_the_token_it_was_for() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant).await.id;
    let [one, two] = [1, 2].map(Uuid::from_u128);
    let leased = async |owner, generation, length| {
        matches!(tenant.lease_refresh(id, owner, generation, length).await.unwrap(), LeaseOutcome::Leased(_))
    };
    assert!(leased(one, 1, LONG).await && !leased(two, 1, LONG).await);
    assert!(leased(one, 1, LONG).await, "the owner may have it for longer");
    tenant.release_refresh(id, two).await.unwrap();
    assert!(!leased(two, 1, LONG).await, "nobody ends another's");
    tenant.release_refresh(id, one).await.unwrap();
    assert!(leased(two, 1, OVER).await && leased(one, 1, LONG).await, "one that is over is nobody's");

    tenant.put_token(id, token(Some(one), 1)).await.unwrap();
    let newer = tenant.lease_refresh(id, two, 1, LONG).await.unwrap();
    assert!(matches!(newer, LeaseOutcome::Newer(record) if record.token_generation == 2));
    assert!(leased(two, 2, LONG).await, "the put has given it up");
    let unknown = tenant.lease_refresh(ConnectionId::fresh(), one, 1, LONG).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn an_owner_that_was_relieved_cannot_put_its_token() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant).await.id;
    let [slow, next] = [1, 2].map(Uuid::from_u128);
    tenant.lease_refresh(id, slow, 1, OVER).await.unwrap();
    tenant.lease_refresh(id, next, 1, LONG).await.unwrap();
    let lost = tenant.put_token(id, token(Some(slow), 1)).await;
    assert!(matches!(lost, Err(StoreError::LeaseLost)), "{lost:?}");
    tenant.put_token(id, token(Some(next), 1)).await.unwrap();
    let stale = tenant.put_token(id, token(Some(slow), 1)).await;
    assert!(matches!(stale, Err(StoreError::TokenStale { current: 2 })), "{stale:?}");
    assert_eq!(tenant.connection(id).await.unwrap().unwrap().token, Some(vec![2]));
}

#[tokio::test]
async fn an_owner_whose_lease_is_over_and_whom_nobody_relieved_may_still_put_its_token() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant).await.id;
    let slow = Uuid::from_u128(1);
    tenant.lease_refresh(id, slow, 1, OVER).await.unwrap();
    assert_eq!(tenant.put_token(id, token(Some(slow), 1)).await.unwrap().value.token_generation, 2);
}

#[tokio::test]
async fn a_login_replaces_everything_and_makes_the_connection_active() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let first = made(&tenant).await;
    let refused = Verdict::Refused {
        status: Some(ConnectionStatus::ReauthRequired),
        code: "unauthorized".to_owned(),
        message: "no".to_owned(),
    };
    assert!(tenant.verdict(first.id, 1, refused).await.unwrap());
    let owner = Uuid::from_u128(1);
    tenant.lease_refresh(first.id, owner, 1, LONG).await.unwrap();
    let before = seqs(&house).await;
    let done = tenant.put_login(&actor(), first.id, login(1, 1)).await.unwrap();
    assert_eq!(done.revision.seq, before + 1);
    let record = done.value;
    assert_eq!((record.credential_version, record.token_generation, record.status), (2, 2, ConnectionStatus::Active));
    assert_eq!((&record.credential, record.token.as_deref(), &record.last_error), (&None, Some(&[77][..]), &None));
    assert_eq!((record.external_subject.as_deref(), record.generation), (Some("ann@upstream"), Generation(2)));
    assert_eq!(tenant.connection(first.id).await.unwrap(), Some(record));
    let beaten = tenant.put_token(first.id, token(Some(owner), 1)).await;
    assert!(matches!(beaten, Err(StoreError::TokenStale { .. })), "a refresh that was under way is too late");
    let free = tenant.lease_refresh(first.id, Uuid::from_u128(2), 2, LONG).await.unwrap();
    assert!(matches!(free, LeaseOutcome::Leased(_)));
    assert!(tenant.connections_with_fingerprint([7; 16]).await.unwrap().is_empty(), "the credential before is gone");
}

#[tokio::test]
async fn a_login_loses_against_a_later_credential_but_not_against_a_refresh() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant).await.id;
    tenant.put_token(id, token(None, 1)).await.unwrap();
    let to_be_sealed_again = tenant.put_login(&actor(), id, login(1, 1)).await;
    assert!(matches!(to_be_sealed_again, Err(StoreError::TokenStale { current: 2 })), "{to_be_sealed_again:?}");
    let credential = CredentialChange { to: NewCredential::Sealed(vec![5]), version: 2, fingerprints: vec![] };
    let patch = ConnectionPatch { credential: Some(credential), ..Default::default() };
    let later = tenant.patch_connection(&actor(), id, None, patch).await.unwrap().value;
    let beaten = tenant.put_login(&actor(), id, login(1, later.token_generation)).await;
    assert!(matches!(beaten, Err(StoreError::Stale { .. })), "{beaten:?}");
    assert_eq!(tenant.connection(id).await.unwrap(), Some(later), "the newer state stands as it was");
}

#[tokio::test]
async fn logins_refreshes_and_credentials_at_once_leave_one_of_them_whole() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant).await.id;
    let second = house.second_process().await.tenant(tenant.id());
    let race = (0..24).map(|number| {
        let tenant = if number % 2 == 0 { tenant.clone() } else { second.clone() };
        tokio::spawn(async move {
            let now = tenant.connection(id).await.unwrap().unwrap();
            let (version, generation) = (now.credential_version, now.token_generation);
            let put = match number % 3 {
                0 => tenant.put_token(id, token(None, generation)).await,
                1 => tenant.put_login(&actor(), id, login(version, generation)).await,
                _ => {
                    let to = NewCredential::Sealed(vec![5]);
                    let credential = CredentialChange { to, version: version + 1, fingerprints: vec![] };
                    let patch = ConnectionPatch { credential: Some(credential), ..Default::default() };
                    tenant.patch_connection(&actor(), id, None, patch).await
                }
            };
            match put {
                Ok(_) => 1,
                Err(StoreError::TokenStale { .. } | StoreError::Stale { .. }) => 0,
                Err(error) => panic!("{error}"),
            }
        })
    });
    let done: i64 = futures::future::join_all(race).await.into_iter().map(|one| one.unwrap()).sum();
    let last = tenant.connection(id).await.unwrap().unwrap();
    assert!(done > 0);
    assert_eq!(last.token_generation, 1 + done, "each that was told yes has its own generation");
    assert!(last.has_credentials());
}

#[tokio::test]
async fn a_verdict_about_an_older_token_is_ignored() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant).await.id;
    tenant.put_token(id, token(None, 1)).await.unwrap();
    let before = tenant.connection(id).await.unwrap();
    let refused = |status| Verdict::Refused { status, code: "unauthorized".to_owned(), message: "no".to_owned() };
    let invalid = refused(Some(ConnectionStatus::ReauthRequired));
    for generation in [1, 3] {
        assert!(!tenant.verdict(id, generation, invalid.clone()).await.unwrap());
        assert!(!tenant.verdict(id, generation, Verdict::Accepted).await.unwrap());
    }
    assert!(!tenant.verdict(ConnectionId::fresh(), 1, Verdict::Accepted).await.unwrap());
    assert_eq!(tenant.connection(id).await.unwrap(), before);
    assert!(tenant.verdict(id, 2, invalid).await.unwrap());
}

#[tokio::test]
async fn a_verdict_is_noted_and_only_another_status_is_news_to_proxies() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant).await.id;
    let start = seqs(&house).await;
    let now = async || tenant.connection(id).await.unwrap().unwrap();
    let refused = |status| Verdict::Refused { status, code: "unauthorized".to_owned(), message: "é".repeat(600) };
    assert!(tenant.verdict(id, 1, Verdict::Accepted).await.unwrap());
    let first = now().await.last_success_at.unwrap();
    house.clock.advance_micros(59_000_000);
    tenant.verdict(id, 1, Verdict::Accepted).await.unwrap();
    assert_eq!(now().await.last_success_at, Some(first), "once a minute is enough");
    house.clock.advance_micros(1_000_000);
    tenant.verdict(id, 1, Verdict::Accepted).await.unwrap();
    assert_eq!(now().await.last_success_at, Some(first + 60_000_000));

    tenant.verdict(id, 1, refused(None)).await.unwrap();
    let error = now().await.last_error.unwrap();
    assert_eq!((error.code.as_str(), error.message.len(), error.at), ("unauthorized", 1_000, first + 60_000_000));
    assert_eq!((now().await.status, now().await.generation), (ConnectionStatus::Active, Generation(1)));
    tenant.verdict(id, 1, Verdict::Accepted).await.unwrap();
    assert_eq!(now().await.last_error, None);
    assert_eq!(seqs(&house).await, start);

    tenant.verdict(id, 1, refused(Some(ConnectionStatus::ReauthRequired))).await.unwrap();
    assert_eq!((now().await.status, seqs(&house).await), (ConnectionStatus::ReauthRequired, start + 1));
    tenant.verdict(id, 1, Verdict::Accepted).await.unwrap();
    assert!(now().await.last_error.is_some(), "what was said before it was refused");
    let off = ConnectionPatch { status: Some(ConnectionStatus::Disabled), ..Default::default() };
    tenant.patch_connection(&actor(), id, None, off).await.unwrap();
    tenant.verdict(id, 1, refused(Some(ConnectionStatus::ReauthRequired))).await.unwrap();
    assert_eq!(now().await.status, ConnectionStatus::Disabled);
}

#[tokio::test]
async fn a_token_that_nothing_can_renew_is_dropped_unless_there_is_a_newer_one() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = server_in(&tenant, "notes", &[Scope::Global]).await;
    let new = NewConnection {
        credential: None,
        token: Some(vec![1]),
        refreshable: true,
        ..connection(server, Holder::Global)
    };
    let id = tenant.create_connection(&actor(), new).await.unwrap().value.id;
    tenant.put_token(id, token(None, 1)).await.unwrap();
    let error = || LastError { code: "invalid_grant".to_owned(), message: "no".to_owned(), at: 5 };
    let drop = async |generation| tenant.drop_token(id, generation, ConnectionStatus::ReauthRequired, error()).await;
    assert!(matches!(drop(1).await, Err(StoreError::TokenStale { current: 2 })));
    let before = seqs(&house).await;
    let dropped = drop(2).await.unwrap().value;
    assert_eq!((&dropped.token, dropped.refreshable, dropped.token_generation), (&None, false, 2));
    assert_eq!((dropped.status, dropped.last_error.clone()), (ConnectionStatus::ReauthRequired, Some(error())));
    assert_eq!((tenant.connection(id).await.unwrap(), seqs(&house).await), (Some(dropped), before + 1));
    let intended = house.store.platform().intended().await.unwrap().resources;
    let held = intended.iter().any(|resource| matches!(resource, model::Resource::Connection(spec) if spec.id == id));
    assert!(held, "proxies know that somebody must sign in again, and use no wider one");
}
