//! Authorization codes: each is taken once, and one that is shown again takes back what was made of it.

use model::{ResourceName, UserId};
use store::{Code, CodeTaken, NewGrant, Rotation, Store, StoreError, TenantStore};

use crate::house::{House, START, actor};
use crate::sign_in::{MINUTE, code, grant, hash, last_deed, person, race, seq, told};

/// Takes a code that nobody took.
async fn taken(tenant: &TenantStore, number: u32) -> Code {
    match tenant.take_code(hash(number)).await.unwrap() {
        CodeTaken::Fresh(code) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_code_is_taken_once_by_its_tenant_until_its_end() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let ann = person(&tenant, "ann").await.id;
    for number in [1, 2] {
        tenant.create_code(code(ann, number)).await.unwrap();
    }
    assert_eq!(other.take_code(hash(1)).await.unwrap(), CodeTaken::Unknown);
    let new = code(ann, 1);
    let it = taken(&tenant, 1).await;
    assert_eq!((it.user, &it.client, &it.redirect_uri), (ann, &new.client, &new.redirect_uri));
    assert_eq!((&it.resource, &it.scope, &it.challenge), (&new.resource, &new.scope, &new.challenge));
    assert_eq!(it.created_at, START);
    house.clock.advance_micros(MINUTE);
    assert_eq!(tenant.take_code(hash(2)).await.unwrap(), CodeTaken::Unknown, "too old");
    assert_eq!(tenant.take_code(hash(3)).await.unwrap(), CodeTaken::Unknown);
    let unknown = tenant.create_code(code(UserId::fresh(), 4)).await;
    assert!(matches!(unknown, Err(StoreError::NoUser)), "{unknown:?}");
}

#[tokio::test]
async fn a_code_that_is_shown_twice_revokes_what_was_made_of_it() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    tenant.create_code(code(ann, 1)).await.unwrap();
    let id = taken(&tenant, 1).await.grant;
    tenant.create_grant(&actor(), NewGrant { id, ..grant(ann, 5) }).await.unwrap();
    let before = seq(&house).await;
    // Long after it would have expired: as long as it is remembered.
    house.clock.advance_micros(10 * MINUTE);
    assert_eq!(tenant.take_code(hash(1)).await.unwrap(), CodeTaken::Replayed(id));
    assert_eq!(told(&house, before).await, [(ResourceName::Revoked(id), false, true)]);
    assert_eq!(last_deed(&tenant).await, ("grant.code_replayed".to_owned(), format!("grant/{id}")));
    assert_eq!(tenant.grant(id).await.unwrap().unwrap().revoked_at, Some(START + 10 * MINUTE));
    let now = START + 10 * MINUTE;
    assert_eq!(tenant.rotate_refresh(hash(5), hash(6), now).await.unwrap(), Rotation::Unknown);
    let audited = tenant.audit(store::AuditPage { limit: 500, ..Default::default() }).await.unwrap().len();
    assert_eq!(tenant.take_code(hash(1)).await.unwrap(), CodeTaken::Replayed(id));
    let again = tenant.audit(store::AuditPage { limit: 500, ..Default::default() }).await.unwrap().len();
    assert_eq!(again, audited, "whoever goes on trying fills no table");
}

#[tokio::test]
async fn no_grant_is_made_of_a_code_that_was_shown_twice_before() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    tenant.create_code(code(ann, 1)).await.unwrap();
    let id = taken(&tenant, 1).await.grant;
    assert_eq!(tenant.take_code(hash(1)).await.unwrap(), CodeTaken::Replayed(id));
    let late = tenant.create_grant(&actor(), NewGrant { id, ..grant(ann, 5) }).await;
    assert!(matches!(late, Err(StoreError::Replayed)), "{late:?}");
    assert_eq!(tenant.grant(id).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_has_a_hundred_codes_and_the_oldest_goes() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    for number in 0..102 {
        house.clock.advance_micros(1);
        tenant.create_code(code(ann, number)).await.unwrap();
    }
    for number in [0, 1] {
        assert_eq!(tenant.take_code(hash(number)).await.unwrap(), CodeTaken::Unknown);
    }
    taken(&tenant, 2).await;
    taken(&tenant, 101).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_take_a_code_at_once_one_has_it_and_nothing_is_made_of_it() {
    let house = House::new().await;
    let (tenant, second) = (house.tenant("acme").await, house.second_process().await);
    let ann = person(&tenant, "ann").await.id;
    for number in 0..20 {
        tenant.create_code(code(ann, number)).await.unwrap();
        let id = tenant.id();
        let take = move |store: Store| async move {
            let tenant = store.tenant(id);
            let taken = tenant.take_code(hash(number)).await.unwrap();
            if let CodeTaken::Fresh(code) = &taken {
                // Too late or soon revoked: the others are at it already.
                _ = tenant.create_grant(&actor(), NewGrant { id: code.grant, ..grant(ann, number) }).await;
            }
            taken
        };
        let told = race(&house, &second, take).await;
        let fresh: Vec<_> = told
            .iter()
            .filter_map(|one| if let CodeTaken::Fresh(code) = one { Some(code.grant) } else { None })
            .collect();
        assert_eq!(fresh.len(), 1, "{number}: {told:?}");
        let late = told.iter().filter(|one| **one == CodeTaken::Replayed(fresh[0])).count();
        assert_eq!(late, 3, "{number}: {told:?}");
        let made = tenant.grant(fresh[0]).await.unwrap();
        assert!(made.is_none_or(|grant| grant.revoked_at.is_some()), "{number}");
    }
}
