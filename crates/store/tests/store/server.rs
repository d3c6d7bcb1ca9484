//! What only PostgreSQL has: a server that can be away, slow, full or read-only, and other clients on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::{Limits, ManualClock};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use store::{ServerPage, Store, StoreError, TenantStore};
use tests::relay::Relay;
use tests::{Postgres, eventually, patient};

use crate::house::{House, START, actor, server, tenant_in};

fn all() -> ServerPage {
    ServerPage { limit: 100, ..Default::default() }
}

async fn open(postgres: &Postgres) -> Store {
    Store::connect(&postgres.url(), Arc::new(ManualClock::at(START))).await.unwrap()
}

async fn tenant(store: &Store) -> TenantStore {
    let limits = Limits { servers: 100_000, ..Limits::default() };
    store.tenant(tenant_in(store, "acme", limits).await.spec.id)
}

/// Reads and writes end with `Unavailable`, more of them than there are connections.
async fn refuses(tenant: &TenantStore) {
    let calls: Vec<_> = (0..30)
        .map(|number| {
            let tenant = tenant.clone();
            tokio::spawn(async move {
                match number % 2 {
                    0 => tenant.servers(all()).await.map(drop),
                    _ => tenant.create_server(&actor(), server(&format!("away{number}"))).await.map(drop),
                }
            })
        })
        .collect();
    for call in calls {
        let refused = call.await.unwrap().unwrap_err();
        assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    }
}

/// Where the server of a house listens.
fn address_of(house: &House) -> std::net::SocketAddr {
    house.url.split(['@', '/']).find_map(|part| part.parse().ok()).unwrap()
}

/// How many connections stores have to the database.
async fn connections(house: &House) -> i64 {
    count(house, "").await
}

/// How many statements of the store run at the server.
async fn busy(house: &House) -> i64 {
    count(house, "AND state = 'active'").await
}

async fn count(house: &House, those: &str) -> i64 {
    let sql = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
         AND application_name = 'gatehouse-control' {those}"
    );
    let statement = sea_orm::Statement::from_string(sea_orm::DbBackend::Postgres, sql);
    let raw = house.raw().await;
    let counted = raw.query_one_raw(statement).await.unwrap().unwrap().try_get_by_index(0).unwrap();
    raw.close().await.unwrap();
    counted
}

#[tokio::test]
async fn a_statement_whose_caller_went_away_ends_at_the_server_too() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let blocker = house.raw().await.begin().await.unwrap();
    blocker.execute_unprepared("LOCK TABLE server, state IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let began = Instant::now();
    let calls: Vec<_> = (0..3)
        .flat_map(|number| {
            let (reader, writer) = (tenant.clone(), tenant.clone());
            [
                tokio::spawn(async move { reader.servers(all()).await.map(drop) }),
                tokio::spawn(
                    async move { writer.create_server(&actor(), server(&format!("s{number}"))).await.map(drop) },
                ),
            ]
        })
        .collect();
    eventually("all statements wait at the server", || async { (busy(&house).await == 6).then_some(()) }).await;
    calls.iter().for_each(tokio::task::JoinHandle::abort);
    eventually("none runs any more", || async { (busy(&house).await == 0).then_some(()) }).await;
    assert!(began.elapsed() < Duration::from_secs(4), "the server's own deadline was not what ended them");
    blocker.rollback().await.unwrap();
    assert!(tenant.servers(all()).await.unwrap().is_empty());
    tenant.create_server(&actor(), server("after")).await.unwrap();
}

#[tokio::test]
async fn a_lock_that_somebody_holds_is_waited_for_and_then_told_as_unavailable() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let blocker = house.raw().await.begin().await.unwrap();
    blocker.execute_unprepared("LOCK TABLE server, state IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let (read, written) = {
        let actor = actor();
        tokio::join!(tenant.servers(all()), tenant.create_server(&actor, server("notes")))
    };
    assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
    assert!(matches!(written, Err(StoreError::Unavailable(_))), "{written:?}");
    blocker.rollback().await.unwrap();
    tenant.create_server(&actor(), server("notes")).await.unwrap();
}

#[tokio::test]
async fn a_server_that_stops_freezes_and_comes_back_is_used_again_without_a_restart() {
    let Some(mut postgres) = Postgres::start() else { return };
    let store = open(&postgres).await;
    let tenant = tenant(&store).await;
    tenant.create_server(&actor(), server("before")).await.unwrap();

    postgres.stop();
    refuses(&tenant).await;
    postgres.restart();
    tenant.create_server(&actor(), server("restarted")).await.unwrap();

    postgres.freeze();
    refuses(&tenant).await;
    postgres.thaw();
    tenant.create_server(&actor(), server("thawed")).await.unwrap();
    let names: Vec<_> = tenant.servers(all()).await.unwrap().into_iter().map(|one| one.spec.name.to_string()).collect();
    assert_eq!(names, ["before", "restarted", "thawed"]);
}

#[tokio::test]
async fn a_full_disk_and_a_read_only_database_refuse_writes_and_serve_reads() {
    let Some(postgres) = Postgres::on_small_disk(64) else { return };
    let store = open(&postgres).await;
    let tenant = tenant(&store).await;
    tenant.create_server(&actor(), server("before")).await.unwrap();

    let mut numbers = 0..;
    let mut name = || format!("s{}", numbers.next().unwrap());
    postgres.fill();
    let refused = loop {
        if let Err(refused) = tenant.create_server(&actor(), server(&name())).await {
            break refused;
        }
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
    let kept = numbers.start - 1;
    let seq = store.platform().revision().await.unwrap().seq;
    assert_eq!(seq, 2 + i64::from(kept), "nothing half is left");
    postgres.free();
    tenant.create_server(&actor(), server("freed")).await.unwrap();

    // For new connections; the old ones are ended.
    postgres.sql("ALTER DATABASE gatehouse SET default_transaction_read_only = on");
    postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'gatehouse-control'");
    let refused = tenant.create_server(&actor(), server("late")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Full(_)), "{refused:?}");
    assert!(tenant.server_by_name("freed").await.unwrap().is_some());
    assert!(tenant.server_by_name("late").await.unwrap().is_none());
}

#[tokio::test]
async fn a_slow_server_costs_its_callers_their_deadline_and_the_server_no_more_connections() {
    let house = House::new().await;
    let home = address_of(&house);
    let wire = Relay::to(home).await;
    let url = house.url.replace(&home.to_string(), &wire.address().to_string());
    let store = Store::connect(&url, Arc::new(ManualClock::at(START))).await.unwrap();
    let tenant = tenant(&store).await;
    wire.slow(Duration::from_secs(2));
    let calls: Vec<_> = (0..40)
        .map(|number| {
            let tenant = tenant.clone();
            tokio::spawn(async move {
                match number % 2 {
                    0 => tenant.servers(all()).await.map(drop),
                    _ => tenant.create_server(&actor(), server(&format!("s{number}"))).await.map(drop),
                }
            })
        })
        .collect();
    for call in calls {
        let answer = patient("a slow call ends", call).await.unwrap();
        assert!(matches!(answer, Ok(()) | Err(StoreError::Unavailable(_))), "{answer:?}");
        assert!(connections(&house).await <= 24, "those of the two stores");
    }
    wire.slow(Duration::ZERO);
    eventually("it is used again", || async { tenant.create_server(&actor(), server("after")).await.ok().map(drop) })
        .await;
}

#[tokio::test]
async fn the_address_says_whether_the_connection_must_be_encrypted() {
    let house = House::new().await;
    let clock = || Arc::new(ManualClock::at(START));
    for wanted in ["sslmode=require", "sslmode=verify-full&sslrootcert=/nonexistent/ca.pem"] {
        let refused = Store::connect(&format!("{}?{wanted}", house.url), clock()).await;
        assert!(refused.is_err(), "this server has no certificate: {wanted}");
    }
    assert!(Store::connect(&house.url.replacen("postgres:", "postgresql:", 1), clock()).await.is_ok());
}
