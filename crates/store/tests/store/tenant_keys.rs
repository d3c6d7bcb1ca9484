//! Data keys: one of a tenant's seals, of two who make one the first has it, and each is wrapped anew once.

use model::TenantId;
use store::{KeyState, NewTenantKey, TenantKey};

use crate::house::House;

const PLATFORM: TenantId = TenantId(uuid::Uuid::nil());

fn key(tenant: TenantId, id: u32, by: u8) -> NewTenantKey {
    NewTenantKey { tenant, id, kek_id: vec![1], wrapped: vec![by; 40] }
}

fn states(keys: &[TenantKey]) -> Vec<(u32, KeyState)> {
    keys.iter().map(|key| (key.id, key.state)).collect()
}

#[tokio::test]
async fn of_two_who_make_a_tenants_first_key_both_use_the_same() {
    let house = House::new().await;
    let second = house.second_process().await;
    for tenant in [house.tenant("acme").await.id(), PLATFORM] {
        let race = (0..6u8).map(|by| {
            let platform = if by % 2 == 0 { house.store.platform() } else { second.platform() };
            tokio::spawn(
                async move { platform.put_tenant_key(key(tenant, u32::from(by) + 1, by), None).await.unwrap() },
            )
        });
        let mut answers = Vec::new();
        for answer in futures::future::join_all(race).await {
            answers.push(answer.unwrap());
        }
        assert_eq!(answers[0].len(), 1);
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        assert_eq!(house.store.platform().tenant_keys(tenant).await.unwrap(), answers[0]);
    }
}

#[tokio::test]
async fn the_next_key_seals_and_those_before_still_open() {
    let house = House::new().await;
    let (platform, tenant) = (house.store.platform(), house.tenant("acme").await.id());
    platform.put_tenant_key(key(tenant, 1, 1), None).await.unwrap();
    let unmoved = platform.put_tenant_key(key(tenant, 2, 2), None).await.unwrap();
    assert_eq!(states(&unmoved), [(1, KeyState::Primary)], "there is one that the caller did not know of");
    let taken = platform.put_tenant_key(key(tenant, 1, 2), Some(1)).await.unwrap();
    assert_eq!(taken, unmoved, "a number never comes back");
    let keys = platform.put_tenant_key(key(tenant, 2, 2), Some(1)).await.unwrap();
    assert_eq!(states(&keys), [(1, KeyState::Enabled), (2, KeyState::Primary)]);
    assert!(!platform.destroy_tenant_key(tenant, 2).await.unwrap(), "what seals is not destroyed");
    assert!(platform.destroy_tenant_key(tenant, 1).await.unwrap());
    let keys = platform.tenant_keys(tenant).await.unwrap();
    assert_eq!((states(&keys), keys[0].wrapped.len()), (vec![(1, KeyState::Destroyed), (2, KeyState::Primary)], 0));
    assert!(!platform.destroy_tenant_key(tenant, 1).await.unwrap());
    assert!(!platform.destroy_tenant_key(TenantId::fresh(), 2).await.unwrap());
    assert!(!format!("{keys:?}").contains("2, 2"), "nothing wrapped is printed");
}

#[tokio::test]
async fn a_key_is_wrapped_anew_by_the_first_who_tries_and_never_after_its_end() {
    let house = House::new().await;
    let (platform, tenant) = (house.store.platform(), house.tenant("acme").await.id());
    let before = platform.put_tenant_key(key(tenant, 1, 1), None).await.unwrap().pop().unwrap();
    assert_eq!(platform.keks_in_use().await.unwrap(), [(vec![1], 1)]);
    assert!(platform.rewrap_tenant_key(&before, vec![9], vec![9; 50]).await.unwrap());
    assert!(!platform.rewrap_tenant_key(&before, vec![8], vec![8; 50]).await.unwrap(), "it is another one by now");
    let now = platform.tenant_keys(tenant).await.unwrap().pop().unwrap();
    assert_eq!((now.kek_id.as_slice(), now.wrapped.as_slice()), (&[9][..], &[9; 50][..]));
    assert_eq!(platform.keks_in_use().await.unwrap(), [(vec![9], 1)]);
    platform.put_tenant_key(key(tenant, 2, 2), Some(1)).await.unwrap();
    platform.destroy_tenant_key(tenant, 1).await.unwrap();
    let destroyed = TenantKey { wrapped: vec![], ..now };
    assert!(!platform.rewrap_tenant_key(&destroyed, vec![7], vec![7]).await.unwrap());
}

#[tokio::test]
async fn the_keys_of_all_tenants_come_page_by_page() {
    let house = House::new().await;
    let platform = house.store.platform();
    let mut expected = Vec::new();
    for name in ["a", "b", "c"] {
        let tenant = house.tenant(name).await.id();
        platform.put_tenant_key(key(tenant, 1, 1), None).await.unwrap();
        platform.put_tenant_key(key(tenant, 2, 2), Some(1)).await.unwrap();
        expected.extend([(tenant, 1), (tenant, 2)]);
    }
    platform.put_tenant_key(key(PLATFORM, 7, 1), None).await.unwrap();
    expected.push((PLATFORM, 7));
    expected.sort_unstable();
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = platform.tenant_keys_after(after, 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some((last.tenant, last.id));
        found.extend(page.iter().map(|key| (key.tenant, key.id)));
    }
    assert_eq!(found, expected);
}
