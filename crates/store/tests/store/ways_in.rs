//! What ends with the way by which people came in: their sessions, and what they let clients do.

use model::{GrantId, IssuerId, ResourceName, UserId};
use store::{
    CodeTaken, IssuerPatch, IssuerRecord, NewCode, NewGrant, NewSession, Rotation, StoreError, TenantPatch, TenantStore,
};

use crate::house::{House, START, actor, issuer};
use crate::sign_in::{DAY, code, grant, hash, person, seq, session, told};

async fn offered(tenant: &TenantStore, name: &str) -> IssuerRecord {
    tenant.create_issuer(&actor(), issuer(name)).await.unwrap().value
}

/// A session, a code and a grant of somebody who came in this way.
async fn came(house: &House, tenant: &TenantStore, user: UserId, way: Option<IssuerId>, number: u32) -> GrantId {
    let new = NewSession { issuer: way, ..session(tenant, user, number) };
    house.store.platform().create_session(new).await.unwrap();
    tenant.create_code(NewCode { issuer: way, ..code(user, number) }).await.unwrap();
    let made = tenant.create_grant(&actor(), NewGrant { issuer: way, ..grant(user, number) }).await.unwrap().value;
    assert_eq!(made.issuer, way);
    assert_eq!(tenant.grant(made.id).await.unwrap(), Some(made.clone()));
    made.id
}

/// Whether the session is alive, and the grant.
async fn open(house: &House, tenant: &TenantStore, number: u32, grant: GrantId) -> (bool, bool) {
    let session = house.store.platform().live_session(hash(number), DAY).await.unwrap();
    (session.is_some(), tenant.grant(grant).await.unwrap().unwrap().revoked_at.is_none())
}

fn set(patch: impl FnOnce(&mut IssuerPatch)) -> IssuerPatch {
    let mut it = IssuerPatch::default();
    patch(&mut it);
    it
}

#[tokio::test]
async fn who_came_through_an_issuer_has_nothing_left_when_it_lets_nobody_in_any_more() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    let stays = offered(&tenant, "stays").await;
    let others =
        [(1, came(&house, &tenant, ann, None, 1).await), (2, came(&house, &tenant, ann, Some(stays.id), 2).await)];
    let ends = [
        ("disabled", Some(set(|patch| patch.enabled = Some(false)))),
        ("not-offered", Some(set(|patch| patch.sign_in = Some(false)))),
        ("deleted", None),
    ];
    for (number, (name, patch)) in (10..).zip(ends) {
        let it = offered(&tenant, name).await;
        let hers = came(&house, &tenant, ann, Some(it.id), number).await;
        let renamed = set(|patch| patch.title = Some("Else".to_owned()));
        tenant.change_issuer(&actor(), it.id, None, renamed).await.unwrap();
        assert_eq!(open(&house, &tenant, number, hers).await, (true, true), "{name}");
        let before = seq(&house).await;
        match patch {
            Some(patch) => _ = tenant.change_issuer(&actor(), it.id, None, patch).await.unwrap(),
            None => _ = tenant.delete_issuer(&actor(), it.id, None).await.unwrap(),
        }
        assert_eq!(open(&house, &tenant, number, hers).await, (false, false), "{name}");
        assert_eq!(seq(&house).await, before + 1, "{name}: in one change");
        assert!(told(&house, before).await.contains(&(ResourceName::Revoked(hers), false, true)), "{name}");
        assert_eq!(tenant.take_code(hash(number)).await.unwrap(), CodeTaken::Unknown, "{name}");
        assert_eq!(
            tenant.rotate_refresh(hash(number), hash(99), START).await.unwrap(),
            Rotation::Unknown,
            "{name}: a refresh"
        );
        // What was on its way when it happened.
        let late = tenant.create_code(NewCode { issuer: Some(it.id), ..code(ann, 90) }).await;
        assert!(matches!(late, Err(StoreError::NoUser)), "{name}: {late:?}");
        let late = tenant.create_grant(&actor(), NewGrant { issuer: Some(it.id), ..grant(ann, 91) }).await;
        assert!(matches!(late, Err(StoreError::NoUser)), "{name}: {late:?}");
    }
    for (number, hers) in others {
        assert_eq!(open(&house, &tenant, number, hers).await, (true, true), "{number}");
    }
}

#[tokio::test]
async fn who_came_with_a_password_has_nothing_left_when_passwords_count_no_more() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let (ann, bob) = (person(&tenant, "ann").await.id, person(&other, "bob").await.id);
    let platform = house.store.platform();
    let local_accounts = |on| TenantPatch { local_accounts: Some(on), ..Default::default() };
    let stays = offered(&tenant, "stays").await;
    let through = came(&house, &tenant, ann, Some(stays.id), 1).await;
    let hers = came(&house, &tenant, ann, None, 2).await;
    let his = came(&house, &other, bob, None, 3).await;
    platform.patch_tenant(&actor(), tenant.id(), None, local_accounts(true)).await.unwrap();
    for (on, urgent) in [(true, false), (false, true)] {
        let before = seq(&house).await;
        let server = TenantPatch { authorization_server: Some(on), ..Default::default() };
        platform.patch_tenant(&actor(), tenant.id(), None, server).await.unwrap();
        assert_eq!(told(&house, before).await, [(ResourceName::Tenant(tenant.id()), false, urgent)], "{on}");
    }
    let title = TenantPatch { title: Some("Else".to_owned()), ..Default::default() };
    platform.patch_tenant(&actor(), tenant.id(), None, title).await.unwrap();
    assert_eq!(open(&house, &tenant, 2, hers).await, (true, true));

    let before = seq(&house).await;
    platform.patch_tenant(&actor(), tenant.id(), None, local_accounts(false)).await.unwrap();
    let mut said = told(&house, before).await;
    said.sort_by_key(|told| format!("{told:?}"));
    let mut expected = [(ResourceName::Tenant(tenant.id()), false, false), (ResourceName::Revoked(hers), false, true)];
    expected.sort_by_key(|told| format!("{told:?}"));
    assert_eq!((seq(&house).await, said.as_slice()), (before + 1, expected.as_slice()));
    assert_eq!(open(&house, &tenant, 2, hers).await, (false, false));
    assert_eq!(tenant.take_code(hash(2)).await.unwrap(), CodeTaken::Unknown);
    assert_eq!(open(&house, &tenant, 1, through).await, (true, true), "through the issuer");
    assert_eq!(open(&house, &other, 3, his).await, (true, true), "of another tenant");
    let late = tenant.create_grant(&actor(), grant(ann, 9)).await;
    assert!(matches!(late, Err(StoreError::NoUser)), "{late:?}");
    let late = tenant.create_code(code(ann, 9)).await;
    assert!(matches!(late, Err(StoreError::NoUser)), "{late:?}");

    platform.patch_tenant(&actor(), tenant.id(), None, local_accounts(true)).await.unwrap();
    assert_eq!(open(&house, &tenant, 2, hers).await, (false, false), "what ended stays so");
    let again = came(&house, &tenant, ann, None, 4).await;
    let before = seq(&house).await;
    let both = TenantPatch { local_accounts: Some(false), active: Some(false), ..Default::default() };
    platform.patch_tenant(&actor(), tenant.id(), None, both).await.unwrap();
    let said = told(&house, before).await;
    let of_grant = said.iter().filter(|(name, ..)| *name == ResourceName::Revoked(again)).count();
    assert_eq!(of_grant, 1, "{said:?}");
    assert_eq!(open(&house, &tenant, 4, again).await, (false, false));
}
