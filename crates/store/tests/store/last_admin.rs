//! Nothing leaves the platform without a platform admin's key that opens something.

use std::time::Duration;

use model::{KeyRole, KeyScopes};
use store::{KeyPatch, KeyRotation, NewUser, StoreError, TenantPatch, TenantStore, UserPatch};

use crate::house::{House, START, actor, key, key_id};

async fn admin_key(tenant: &TenantStore, number: u32, user: Option<model::UserId>) {
    let mut new = key(tenant.id(), number);
    new.verifier.role = KeyRole::PlatformAdmin;
    new.verifier.user = user;
    tenant.create_key(&actor(), new).await.unwrap();
}

async fn admin(tenant: &TenantStore, login: &str) -> model::UserId {
    let new = NewUser {
        login: login.to_owned(),
        title: String::new(),
        external_id: None,
        departments: Vec::new(),
        role: KeyRole::PlatformAdmin,
        active: true,
    };
    tenant.create_user(&actor(), new).await.unwrap().value.id
}

fn refused<T: std::fmt::Debug>(answer: Result<T, StoreError>) {
    assert!(matches!(answer, Err(StoreError::LastAdmin)), "{answer:?}");
}

#[tokio::test]
async fn no_way_takes_the_last_platform_admins_power() {
    let house = House::new().await;
    let (tenant, platform) = (house.tenant("acme").await, house.store.platform());
    let ann = admin(&tenant, "ann").await;
    admin_key(&tenant, 1, Some(ann)).await;
    // None of these is one: weaker, ended, of a weaker user, of a tenant that is off.
    let weaker = admin(&tenant, "weaker").await;
    let role = |role| UserPatch { role: Some(role), ..Default::default() };
    tenant.patch_user(&actor(), weaker, None, role(KeyRole::TenantAdmin)).await.unwrap();
    admin_key(&tenant, 2, Some(weaker)).await;
    admin_key(&tenant, 3, None).await;
    tenant.revoke_key(&actor(), key_id(3)).await.unwrap();
    tenant.create_key(&actor(), key(tenant.id(), 4)).await.unwrap();
    let off = house.tenant("off").await;
    admin_key(&off, 5, None).await;
    let inactive = || TenantPatch { active: Some(false), ..Default::default() };
    platform.patch_tenant(&actor(), off.id(), None, inactive()).await.unwrap();
    let before = platform.revision().await.unwrap();

    refused(tenant.revoke_key(&actor(), key_id(1)).await);
    let ended = KeyPatch { expires_at: Some(Some(START)), ..Default::default() };
    refused(tenant.patch_key(&actor(), key_id(1), None, ended).await);
    let elsewhere = KeyScopes { rest: false, ..KeyScopes::PLAIN };
    let elsewhere = KeyPatch { scopes: Some(elsewhere), ..Default::default() };
    refused(tenant.patch_key(&actor(), key_id(1), None, elsewhere).await);
    let dead = KeyRotation {
        id: key_id(9),
        sha256: [9; 32],
        evidence: [9; 32],
        expires_at: Some(START),
        grace: Duration::ZERO,
    };
    refused(tenant.rotate_key(&actor(), key_id(1), dead).await);
    refused(tenant.delete_user(&actor(), ann, None).await);
    refused(tenant.patch_user(&actor(), ann, None, role(KeyRole::TenantAdmin)).await);
    let sleeping = UserPatch { active: Some(false), ..Default::default() };
    refused(tenant.patch_user(&actor(), ann, None, sleeping.clone()).await);
    refused(platform.patch_tenant(&actor(), tenant.id(), None, inactive()).await);
    refused(platform.delete_tenant(&actor(), tenant.id(), None).await);
    assert_eq!(platform.revision().await.unwrap(), before, "nothing of it happened");
    assert!(platform.live_key(key_id(1)).await.unwrap().is_some());

    admin_key(&tenant, 6, None).await;
    tenant.patch_user(&actor(), ann, None, sleeping).await.unwrap();
    refused(tenant.revoke_key(&actor(), key_id(6)).await);
}

#[tokio::test]
async fn two_that_take_each_others_power_at_once_do_not_both_succeed() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let second = house.second_process().await.tenant(tenant.id());
    for round in 0..5 {
        let (one, two) = (key_id(10 * round), key_id(10 * round + 1));
        admin_key(&tenant, 10 * round, None).await;
        admin_key(&tenant, 10 * round + 1, None).await;
        for earlier in 0..round {
            for number in [10 * earlier, 10 * earlier + 1] {
                tenant.revoke_key(&actor(), key_id(number)).await.unwrap();
            }
        }
        let (here, there) = (actor(), actor());
        let (first, other) = tokio::join!(tenant.revoke_key(&here, one), second.revoke_key(&there, two));
        assert_eq!(u32::from(first.is_ok()) + u32::from(other.is_ok()), 1, "{first:?} {other:?}");
    }
}

#[tokio::test]
async fn a_platform_without_any_admin_has_none_to_lose() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_key(&actor(), key(tenant.id(), 1)).await.unwrap();
    tenant.revoke_key(&actor(), key_id(1)).await.unwrap();
    house.store.platform().delete_tenant(&actor(), tenant.id(), None).await.unwrap();
}

#[tokio::test]
async fn the_last_platform_admin_is_left_for_a_day_at_least() {
    const DAY: i64 = 24 * 3600 * 1_000_000;
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    admin_key(&tenant, 1, None).await;
    let ends = |at| KeyPatch { expires_at: Some(Some(at)), ..Default::default() };
    refused(tenant.patch_key(&actor(), key_id(1), None, ends(START + DAY - 1)).await);
    tenant.patch_key(&actor(), key_id(1), None, ends(START + 2 * DAY)).await.unwrap();
    // One that ends soon is no successor of one that doesn't.
    let mut soon = key(tenant.id(), 2);
    (soon.verifier.role, soon.verifier.expires_at) = (KeyRole::PlatformAdmin, Some(START + DAY / 2));
    tenant.create_key(&actor(), soon).await.unwrap();
    refused(tenant.revoke_key(&actor(), key_id(1)).await);
    // Where none is left for as long anyway, none is taken away by what shortens nothing.
    house.clock.advance_micros(2 * DAY - DAY / 4);
    let label = KeyPatch { label: Some("last hours".to_owned()), ..Default::default() };
    tenant.patch_key(&actor(), key_id(1), None, label).await.unwrap();
    refused(tenant.patch_key(&actor(), key_id(1), None, ends(START + 2 * DAY - 1)).await);
    tenant.patch_key(&actor(), key_id(1), None, ends(START + 9 * DAY)).await.unwrap();
}
