//! With another tenant's ids, every method of a tenant's handle behaves as with unknown ones.

use model::{Generation, KeyId, Resource, ServerId};
use store::{Page, ServerPatch, StoreError, TenantStore};

use crate::house::{House, actor, key, key_id, server};

/// What a tenant has, seen through its own handle.
async fn state(tenant: &TenantStore) -> impl PartialEq + std::fmt::Debug {
    let servers = tenant.servers(Page { limit: 500, ..Page::default() }).await.unwrap();
    (servers, tenant.keys().await.unwrap(), tenant.audit(1_000).await.unwrap())
}

/// Every method that takes an id or a name, told as text so that answers can be compared.
async fn every_answer(tenant: &TenantStore, server: ServerId, name: &str, title: &str, key: KeyId) -> Vec<String> {
    let touch = || ServerPatch { trust_hints: Some(false), ..Default::default() };
    let told = |answer: Result<String, StoreError>| answer.unwrap_or_else(|error| format!("{error:?}"));
    let mut answers = vec![
        format!("{:?}", tenant.server(server).await),
        format!("{:?}", tenant.server_by_name(name).await),
        format!("{:?}", tenant.server_by_title(title).await),
    ];
    for expected in [None, Some(Generation(1)), Some(Generation(7))] {
        answers
            .push(told(tenant.patch_server(&actor(), server, expected, touch()).await.map(|done| format!("{done:?}"))));
        answers.push(told(tenant.delete_server(&actor(), server, expected).await.map(|done| format!("{done:?}"))));
    }
    answers.push(told(tenant.revoke_key(&actor(), key).await.map(|done| format!("{done:?}"))));
    answers.push(told(tenant.key_used(key, i64::MAX).await.map(|()| "ok".to_owned())));
    for enabled in [None, Some(true), Some(false)] {
        let page = Page { search: Some(title.to_owned()), enabled, after: None, limit: 500 };
        answers.push(format!("{:?}", tenant.servers(page).await));
    }
    answers
}

#[tokio::test]
async fn another_tenants_ids_are_unknown_ids() {
    let house = House::new().await;
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    one.create_server(&actor(), server("mine")).await.unwrap();
    one.create_key(&actor(), key(one.id(), 1)).await.unwrap();
    let theirs = two.create_server(&actor(), server("theirs")).await.unwrap().value.spec;
    two.create_key(&actor(), key(two.id(), 2)).await.unwrap();
    let (before_one, before_two) = (state(&one).await, state(&two).await);

    let foreign = every_answer(&one, theirs.id, theirs.name.as_str(), &theirs.title, key_id(2)).await;
    let unknown = every_answer(&one, ServerId::fresh(), "nothing", "nothing at all", key_id(3)).await;

    assert_eq!(foreign, unknown);
    assert_eq!(state(&two).await, before_two);
    assert_eq!(state(&one).await, before_one);
}

#[tokio::test]
async fn another_tenants_cursor_shows_only_ones_own() {
    let house = House::new().await;
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    let theirs = two.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let mine = one.create_server(&actor(), server("b")).await.unwrap().value.spec.id;
    two.create_server(&actor(), server("c")).await.unwrap();
    let page = Page { after: Some(theirs), limit: 500, ..Page::default() };
    let seen: Vec<_> = one.servers(page).await.unwrap().into_iter().map(|record| record.spec.id).collect();
    assert_eq!(seen, [mine]);
}

#[tokio::test]
async fn a_key_for_another_tenant_is_not_stored() {
    let house = House::new().await;
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    assert!(matches!(one.create_key(&actor(), key(two.id(), 1)).await, Err(StoreError::CrossTenant)));
    assert!(one.keys().await.unwrap().is_empty() && two.keys().await.unwrap().is_empty());
}

#[tokio::test]
async fn quotas_and_names_of_one_tenant_are_no_ones_elses() {
    let house = House::new().await;
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    for tenant in [&one, &two] {
        tenant.create_server(&actor(), server("notes")).await.unwrap();
    }
    let (_, intended, _) = house.store.platform().intended().await.unwrap();
    for tenant in [&one, &two] {
        let servers = intended
            .iter()
            .filter(|resource| matches!(resource, Resource::Server(_)) && resource.tenant() == Some(tenant.id()));
        assert_eq!(servers.count(), 1);
    }
}

#[test]
fn every_method_of_the_handle_takes_part_in_these_tests() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/tenant");
    let mut methods = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let source = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in source.lines().filter_map(|line| line.trim_start().strip_prefix("pub async fn ")) {
            let method = line.split('(').next().unwrap();
            assert!(include_str!("isolation.rs").contains(&format!(".{method}(")), "{method} has no part");
            methods += 1;
        }
    }
    assert!(methods >= 11, "{methods}");
}
