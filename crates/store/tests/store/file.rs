//! What only SQLite has: a file.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use model::ManualClock;
use sea_orm::ConnectionTrait as _;
use store::{Store, StoreError};

use crate::house::{House, START, actor, server};

fn path(house: &House) -> PathBuf {
    let rest = house.url.strip_prefix("sqlite://").unwrap();
    rest.split('?').next().unwrap().into()
}

#[tokio::test]
async fn the_database_file_and_its_log_are_closed_to_others() {
    let house = House::new().await;
    house.tenant("acme").await;
    for entry in std::fs::read_dir(path(&house).parent().unwrap()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.path());
    }
}

#[tokio::test]
async fn other_addresses_and_unusable_folders_are_refused_clearly() {
    let clock = || Arc::new(ManualClock::at(START));
    for url in ["", "gatehouse.db", "mysql://x/y", "sqlite::memory:", "sqlite://:memory:"] {
        assert!(matches!(Store::connect(url, clock()).await, Err(StoreError::Address)), "{url}");
    }
    let refused = Store::connect("sqlite:///nonexistent/folder/x.db?mode=rwc", clock()).await.unwrap_err();
    assert!(refused.to_string().contains("/nonexistent/folder/x.db"), "{refused}");
}

#[tokio::test]
async fn a_file_that_is_no_database_and_one_with_a_broken_page_are_told_at_the_start() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for number in 0..50 {
        tenant.create_server(&actor(), server(&format!("s{number}"))).await.unwrap();
    }
    house.store.clone().close().await.unwrap();
    let whole = std::fs::read(path(&house)).unwrap();
    let open = async |bytes: &[u8]| {
        std::fs::write(path(&house), bytes).unwrap();
        let url = format!("sqlite://{}", path(&house).display());
        Store::connect(&url, Arc::new(ManualClock::at(START))).await
    };
    assert!(open(&whole).await.is_ok());
    let mut broken = whole.clone();
    let middle = broken.len() / 2 / 4096 * 4096;
    broken[middle..middle + 4096].fill(0xa5);
    for bytes in [broken, b"not a database, but long enough to be read as one".repeat(100)] {
        let refused = open(&bytes).await.unwrap_err();
        assert!(matches!(refused, StoreError::Damaged { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_locked_file_is_waited_for_and_then_refused() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let raw = house.raw().await;
    let hold = async || raw.execute_unprepared("BEGIN IMMEDIATE").await.unwrap();

    hold().await;
    let refused = tenant.create_server(&actor(), server("late")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert_eq!(tenant.server_by_name("late").await.unwrap(), None, "reads go on");
    raw.execute_unprepared("ROLLBACK").await.unwrap();

    hold().await;
    let waits = async { tenant.create_server(&actor(), server("patient")).await };
    let release = async {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        raw.execute_unprepared("ROLLBACK").await.unwrap();
    };
    let (made, ()) = tokio::join!(waits, release);
    assert!(made.is_ok(), "{made:?}");
}
