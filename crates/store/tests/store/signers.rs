//! Signers: told to all proxies before they sign, and gone when their last token has ended.

use model::{Resource, ResourceName, SignerId, SignerSpec};
use store::{SignerRow, StoreError};

use crate::house::{House, START};

fn signer(number: u8, until: i64) -> SignerSpec {
    let url = "https://gatehouse.example".to_owned();
    SignerSpec { id: SignerId::fresh(), url, public: [number; 32], until }
}

async fn told(house: &House, since: i64) -> Vec<(ResourceName, bool, bool)> {
    let rows = house.store.platform().outbox_since(since, 100).await.unwrap();
    rows.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect()
}

async fn intended(house: &House) -> Vec<SignerSpec> {
    let resources = house.store.platform().intended().await.unwrap().resources.into_iter();
    let signers = resources.filter_map(|resource| match resource {
        Resource::Signer(spec) => Some(spec),
        _ => None,
    });
    signers.collect()
}

#[tokio::test]
async fn a_signer_is_told_once_and_again_when_it_changes() {
    let house = House::new().await;
    let platform = house.store.platform();
    let first = signer(1, START + 10);
    let name = ResourceName::Signer(first.id);
    let put = platform.put_signer(first.clone()).await.unwrap();
    assert_eq!(put.value, SignerRow { spec: first.clone(), created_at: START });
    house.clock.advance_micros(5);
    assert_eq!(platform.put_signer(first.clone()).await.unwrap(), put, "nothing to change");
    let longer = SignerSpec { until: START + 20, url: "https://other.example".to_owned(), ..first.clone() };
    platform.put_signer(longer.clone()).await.unwrap();
    platform.put_signer(SignerSpec { until: START + 15, ..longer.clone() }).await.unwrap();
    assert_eq!(told(&house, 0).await, [(name, false, false), (name, false, false), (name, false, true)]);
    let rows = platform.signers().await.unwrap();
    assert_eq!(rows, [SignerRow { spec: SignerSpec { until: START + 15, ..longer }, created_at: START }]);
    let another = platform.put_signer(SignerSpec { public: [9; 32], ..first }).await;
    assert!(matches!(another, Err(StoreError::Corrupt { .. })), "{another:?}");
}

#[tokio::test]
async fn signers_are_intended_until_they_are_removed_whatever_the_time() {
    let house = House::new().await;
    let platform = house.store.platform();
    let (old, new) = (signer(1, START + 10), signer(2, START + 20));
    platform.put_signer(old.clone()).await.unwrap();
    house.clock.advance_micros(1);
    platform.put_signer(new.clone()).await.unwrap();
    house.clock.advance_micros(1_000);
    assert_eq!(intended(&house).await.len(), 2);
    let since = platform.revision().await.unwrap();
    assert_eq!(platform.remove_signers(START + 10).await.unwrap().value, 0);
    assert_eq!(platform.revision().await.unwrap(), since);
    assert_eq!(platform.remove_signers(START + 11).await.unwrap().value, 1);
    assert_eq!(told(&house, since.seq).await, [(ResourceName::Signer(old.id), true, true)]);
    assert_eq!(intended(&house).await, [new]);
}

#[tokio::test]
async fn there_are_at_most_sixteen() {
    let house = House::new().await;
    let platform = house.store.platform();
    for number in 0..16 {
        platform.put_signer(signer(number, START)).await.unwrap();
    }
    let many = platform.put_signer(signer(16, START)).await;
    assert!(matches!(many, Err(StoreError::Bound { what: "signers", limit: 16 })), "{many:?}");
}
