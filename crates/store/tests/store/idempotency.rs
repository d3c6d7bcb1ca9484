//! The book of answers: a create that is sent twice happens once, whatever dies in between.

use model::KeyId;
use sea_orm::ConnectionTrait as _;
use store::{Actor, Claim, Place, Seen, ServerPage, Store, StoreError, StoredAnswer, TenantStore};

use crate::DATABASE;
use crate::house::{House, Kind, START, actor, server};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3600 * SECOND;
const ONE: [u8; 32] = [1; 32];

fn place(tenant: &TenantStore, word: &str) -> Place {
    Place { tenant: tenant.id(), key: "adminadminadmin0".parse().unwrap(), word: word.to_owned() }
}

async fn claim(store: &Store, tenant: &TenantStore) -> Seen {
    store.platform().claim(place(tenant, "word"), ONE).await.unwrap()
}

async fn fresh(store: &Store, tenant: &TenantStore) -> Claim {
    match claim(store, tenant).await {
        Seen::Fresh(claim) => claim,
        other => panic!("{other:?}"),
    }
}

fn under(claim: &Claim) -> Actor {
    Actor { claim: Some(claim.clone()), ..actor() }
}

fn answer() -> StoredAnswer {
    let headers = vec![("location".to_owned(), "/api/v1/servers/x".to_owned())];
    StoredAnswer { status: 201, headers, body: Some("{\"name\":\"☃\"}".to_owned()) }
}

async fn servers(tenant: &TenantStore) -> usize {
    tenant.servers(ServerPage { limit: 100, ..Default::default() }).await.unwrap().len()
}

#[tokio::test]
async fn a_request_is_claimed_made_answered_and_told_again() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let owner = fresh(&house.store, &tenant).await;
    assert_eq!(claim(&house.store, &tenant).await, Seen::Running);

    let made = tenant.create_server(&under(&owner), server("notes")).await.unwrap().value;
    let Seen::Made { object, claim: retold } = claim(&house.store, &tenant).await else { panic!("it is made") };
    assert_eq!(object, format!("server/{}", made.spec.id));
    assert_eq!(retold, owner);
    house.clock.advance_micros(2 * 60 * SECOND);
    assert!(matches!(claim(&house.store, &tenant).await, Seen::Made { .. }), "what is made is never claimed again");

    house.store.platform().keep_answer(&owner, answer()).await.unwrap();
    assert_eq!(claim(&house.store, &tenant).await, Seen::Done(answer()));
    assert_eq!(claim(&house.second_process().await, &tenant).await, Seen::Done(answer()));
    let kept = house.store.platform().keep_answer(&owner, answer()).await;
    assert!(matches!(kept, Err(StoreError::ClaimLost)), "the first answer stays");
}

#[tokio::test]
async fn a_place_is_one_request_of_one_key_in_one_tenant() {
    let house = House::new().await;
    let (acme, other) = (house.tenant("acme").await, house.tenant("other").await);
    fresh(&house.store, &acme).await;
    let platform = house.store.platform();
    assert_eq!(platform.claim(place(&acme, "word"), [2; 32]).await.unwrap(), Seen::OtherRequest);
    let somebody: KeyId = "somebodysomebody".parse().unwrap();
    for place in [place(&other, "word"), place(&acme, "Word"), Place { key: somebody, ..place(&acme, "word") }] {
        assert!(matches!(platform.claim(place.clone(), ONE).await.unwrap(), Seen::Fresh(_)), "{place:?}");
    }
}

#[tokio::test]
async fn a_request_that_failed_may_be_sent_again_and_one_that_made_something_may_not() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let first = fresh(&house.store, &tenant).await;
    house.store.platform().release(&first).await.unwrap();
    house.clock.advance_micros(1);
    let second = fresh(&house.store, &tenant).await;
    house.store.platform().release(&first).await.unwrap();
    assert_eq!(claim(&house.store, &tenant).await, Seen::Running, "an old owner gives nothing of a new one back");
    tenant.create_server(&under(&second), server("notes")).await.unwrap();
    house.store.platform().release(&second).await.unwrap();
    assert!(matches!(claim(&house.store, &tenant).await, Seen::Made { .. }));
}

#[tokio::test]
async fn an_owner_that_died_is_followed_after_a_minute_and_one_that_was_only_slow_makes_nothing() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let slow = fresh(&house.store, &tenant).await;
    house.clock.advance_micros(60 * SECOND - 1);
    assert_eq!(claim(&house.store, &tenant).await, Seen::Running);
    house.clock.advance_micros(1);
    let next = fresh(&house.second_process().await, &tenant).await;

    let late = tenant.create_server(&under(&slow), server("notes")).await;
    assert!(matches!(late, Err(StoreError::ClaimLost)), "{late:?}");
    assert!(matches!(house.store.platform().keep_answer(&slow, answer()).await, Err(StoreError::ClaimLost)));
    assert_eq!(servers(&tenant).await, 0);
    tenant.create_server(&under(&next), server("notes")).await.unwrap();
    assert_eq!(servers(&tenant).await, 1);
}

#[tokio::test]
async fn a_change_that_fails_leaves_its_claim_running() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_server(&actor(), server("notes")).await.unwrap();
    let owner = fresh(&house.store, &tenant).await;
    let refused = tenant.create_server(&under(&owner), server("notes")).await;
    assert!(matches!(refused, Err(StoreError::NameTaken)));
    assert_eq!(claim(&house.store, &tenant).await, Seen::Running);
}

#[tokio::test]
async fn a_second_change_of_the_same_request_is_made_too() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let owner = fresh(&house.store, &tenant).await;
    let first = tenant.create_server(&under(&owner), server("notes")).await.unwrap().value.spec.id;
    tenant.create_server(&under(&owner), server("wiki")).await.unwrap();
    let Seen::Made { object, .. } = claim(&house.store, &tenant).await else { panic!("it is made") };
    assert_eq!(object, format!("server/{first}"), "what was made first");
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let owner = fresh(&house.store, &tenant).await;
    house.store.platform().keep_answer(&owner, answer()).await.unwrap();
    house.clock.advance_micros(DAY - 1);
    assert_eq!(claim(&house.store, &tenant).await, Seen::Done(answer()));
    house.clock.advance_micros(1);
    fresh(&house.store, &tenant).await;
}

#[tokio::test]
async fn of_many_that_claim_at_once_one_has_it() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let stores = [house.store.clone(), house.second_process().await];
    for round in 0..2 {
        // First of nothing, then of a claim whose owner died.
        let tasks: Vec<_> = (0..30)
            .map(|number| {
                let (store, tenant) = (stores[number % 2].clone(), tenant.clone());
                tokio::spawn(async move { claim(&store, &tenant).await })
            })
            .collect();
        let mut owners = 0;
        for task in tasks {
            match task.await.unwrap() {
                Seen::Fresh(_) => owners += 1,
                other => assert_eq!(other, Seen::Running),
            }
        }
        assert_eq!(owners, 1, "round {round}");
        house.clock.advance_micros(61 * SECOND);
    }
}

#[tokio::test]
async fn the_book_of_a_tenant_is_bounded_and_the_oldest_goes_first() {
    let house = House::new().await;
    let (loud, calm) = (house.tenant("loud").await, house.tenant("calm").await);
    let oldest = fresh(&house.store, &calm).await;
    let id = match DATABASE {
        Kind::Sqlite => format!("X'{}'", loud.id().to_string().replace('-', "")),
        Kind::Postgres => format!("'{}'::uuid", loud.id()),
    };
    let blob = if DATABASE == Kind::Sqlite { "X'01'" } else { "'\\x01'::bytea" };
    let rows = format!(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000) \
         INSERT INTO idempotency (tenant_id, key_id, idem_key, fingerprint, state, created_at) \
         SELECT {id}, 'k', 'w' || i, {blob}, 'running', {START} + i FROM n"
    );
    let raw = house.raw().await;
    raw.execute_unprepared(&rows).await.unwrap();
    house.clock.advance_micros(SECOND);
    fresh(&house.store, &loud).await;
    let backend = raw.get_database_backend();
    let count = "SELECT count(*), min(created_at) FROM idempotency WHERE key_id = 'k'";
    let row = raw.query_one_raw(sea_orm::Statement::from_string(backend, count)).await.unwrap().unwrap();
    let (left, oldest_left): (i64, i64) = (row.try_get_by_index(0).unwrap(), row.try_get_by_index(1).unwrap());
    assert_eq!((left, oldest_left), (9_999, START + 2));
    house.store.platform().keep_answer(&oldest, answer()).await.unwrap();
}
