//! Grants: they live while their refresh tokens are used one after the other, and end at once.

use model::{GrantId, ResourceName, UserId};
use store::{GRANT_IDLE, GRANT_LIFE, GrantPage, GrantRecord, NewGrant, Rotation, Store, StoreError, TenantStore};

use crate::house::{House, START, actor};
use crate::sign_in::{DAY, grant, hash, last_deed, person, race, seq, told};

async fn made(tenant: &TenantStore, user: UserId, refresh: u32) -> GrantRecord {
    tenant.create_grant(&actor(), grant(user, refresh)).await.unwrap().value
}

async fn rotated(tenant: &TenantStore, old: u32, new: u32, now: i64) -> GrantRecord {
    match tenant.rotate_refresh(hash(old), hash(new), now).await.unwrap() {
        Rotation::Rotated(grant) => grant,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_grant_is_read_back_the_same_and_told_to_nobody() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let (ann, bob) = (person(&tenant, "ann").await.id, person(&tenant, "bob").await.id);
    let before = seq(&house).await;
    let new = grant(ann, 1);
    let it = tenant.create_grant(&actor(), new.clone()).await.unwrap().value;
    assert_eq!(seq(&house).await, before, "proxies learn of it by its tokens");
    assert_eq!(last_deed(&tenant).await, ("grant.create".to_owned(), format!("grant/{}", it.id)));
    assert_eq!((it.id, it.tenant, it.user, &it.client), (new.id, tenant.id(), ann, &new.client));
    assert_eq!((&it.client_name, &it.resource, &it.scope), (&new.client_name, &new.resource, &new.scope));
    assert_eq!((it.created_at, it.used_at, it.expires_at, it.revoked_at), (START, START, START + GRANT_LIFE, None));
    assert_eq!(tenant.grant(it.id).await.unwrap(), Some(it.clone()));
    assert_eq!(tenant.grant_of_refresh(hash(1)).await.unwrap(), Some(it.clone()));
    assert_eq!(other.grant(it.id).await.unwrap(), None);
    assert_eq!(other.grant_of_refresh(hash(1)).await.unwrap(), None);
    let bobs = made(&tenant, bob, 2).await;
    tenant.revoke_grant(&actor(), bobs.id).await.unwrap();
    for (user, live, found) in [
        (None, None, vec![it.id, bobs.id]),
        (Some(bob), None, vec![bobs.id]),
        (None, Some(true), vec![it.id]),
        (None, Some(false), vec![bobs.id]),
        (Some(ann), Some(false), vec![]),
    ] {
        let page = GrantPage { user, live, after: None, limit: 10 };
        let ids: Vec<_> = tenant.grants(page).await.unwrap().into_iter().map(|grant| grant.id).collect();
        assert_eq!(ids, found, "{user:?} {live:?}");
    }
    let page = GrantPage { after: Some(it.id), limit: 10, ..Default::default() };
    assert_eq!(tenant.grants(page).await.unwrap().len(), 1);
    let unknown = tenant.create_grant(&actor(), grant(UserId::fresh(), 9)).await;
    assert!(matches!(unknown, Err(StoreError::NoUser)), "{unknown:?}");
}

#[tokio::test]
async fn refresh_tokens_follow_one_another_until_the_grant_is_old_or_idle() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    let (it, idle) = (made(&tenant, ann, 0).await, made(&tenant, ann, 1_000).await);
    let mut now = START;
    for number in 0..3 {
        now += GRANT_IDLE - 1;
        let found = rotated(&tenant, number, number + 1, now).await;
        assert_eq!(found, GrantRecord { used_at: now, ..it.clone() });
    }
    assert_eq!(tenant.rotate_refresh(hash(3), hash(4), START + GRANT_LIFE).await.unwrap(), Rotation::Unknown, "old");
    let late = START + GRANT_IDLE;
    assert_eq!(tenant.rotate_refresh(hash(1_000), hash(1_001), late).await.unwrap(), Rotation::Unknown, "idle");
    assert_eq!(tenant.grant(idle.id).await.unwrap(), Some(idle), "nothing was written");
    rotated(&tenant, 3, 4, now).await;
    assert_eq!(tenant.rotate_refresh(hash(99), hash(5), now).await.unwrap(), Rotation::Unknown);
}

#[tokio::test]
async fn a_token_that_is_used_twice_revokes_its_grant_however_old_it_is() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    let (it, other) = (made(&tenant, ann, 0).await, made(&tenant, ann, 100).await);
    for number in 0..5 {
        rotated(&tenant, number, number + 1, START + 1).await;
    }
    let before = seq(&house).await;
    assert_eq!(tenant.rotate_refresh(hash(1), hash(9), START + 2).await.unwrap(), Rotation::Reused(it.id));
    assert_eq!(told(&house, before).await, [(ResourceName::Revoked(it.id), false, true)]);
    assert_eq!(last_deed(&tenant).await, ("grant.refresh_reused".to_owned(), format!("grant/{}", it.id)));
    assert!(tenant.grant(it.id).await.unwrap().unwrap().revoked_at.is_some());
    assert_eq!(tenant.rotate_refresh(hash(5), hash(6), START + 2).await.unwrap(), Rotation::Unknown, "nor the last");
    assert_eq!(tenant.rotate_refresh(hash(9), hash(6), START + 2).await.unwrap(), Rotation::Unknown, "nor the thief's");
    let after = seq(&house).await;
    assert_eq!(tenant.rotate_refresh(hash(0), hash(9), START + 2).await.unwrap(), Rotation::Reused(it.id));
    assert_eq!(seq(&house).await, after, "once is enough");
    rotated(&tenant, 100, 101, START + 2).await;
    assert!(tenant.grant(other.id).await.unwrap().unwrap().is_live(START + 2));
}

#[tokio::test]
async fn a_revocation_is_urgent_and_happens_once() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (ann, bob) = (person(&tenant, "ann").await.id, person(&tenant, "bob").await.id);
    let (one, two) = (made(&tenant, ann, 1).await.id, made(&tenant, ann, 2).await.id);
    let (three, bobs) = (made(&tenant, ann, 3).await.id, made(&tenant, bob, 4).await.id);
    let before = seq(&house).await;
    let revision = tenant.revoke_grant(&actor(), one).await.unwrap().revision;
    assert_eq!(told(&house, before).await, [(ResourceName::Revoked(one), false, true)]);
    assert_eq!(revision.seq, before + 1);
    assert_eq!(last_deed(&tenant).await, ("grant.revoke".to_owned(), format!("grant/{one}")));
    house.clock.advance_micros(5);
    tenant.revoke_grant(&actor(), one).await.unwrap();
    assert_eq!(seq(&house).await, before + 1);
    assert_eq!(tenant.grant(one).await.unwrap().unwrap().revoked_at, Some(START));
    let unknown = tenant.revoke_grant(&actor(), GrantId::fresh()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)), "{unknown:?}");

    assert_eq!(tenant.revoke_grants_of(&actor(), ann).await.unwrap().value, 2);
    let notices = told(&house, before + 1).await;
    for id in [two, three] {
        assert!(notices.contains(&(ResourceName::Revoked(id), false, true)), "{notices:?}");
    }
    assert_eq!((notices.len(), seq(&house).await), (2, before + 2));
    assert_eq!(tenant.revoke_grants_of(&actor(), ann).await.unwrap().value, 0);
    assert!(tenant.grant(bobs).await.unwrap().unwrap().revoked_at.is_none());
}

#[tokio::test]
async fn a_user_has_a_hundred_live_grants_and_the_oldest_is_revoked() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    let mut ids = Vec::new();
    for number in 0..100 {
        house.clock.advance_micros(1);
        ids.push(made(&tenant, ann, number).await.id);
    }
    tenant.revoke_grant(&actor(), ids[50]).await.unwrap();
    house.clock.advance_micros(1);
    ids.push(made(&tenant, ann, 100).await.id);
    assert!(tenant.grant(ids[0]).await.unwrap().unwrap().revoked_at.is_none(), "only live ones count");
    let before = seq(&house).await;
    house.clock.advance_micros(1);
    made(&tenant, ann, 101).await;
    assert_eq!(told(&house, before).await, [(ResourceName::Revoked(ids[0]), false, true)]);
    let live = GrantPage { live: Some(true), limit: 500, ..Default::default() };
    assert_eq!(tenant.grants(live).await.unwrap().len(), 100);
}

#[tokio::test]
async fn a_grant_without_its_audit_or_outbox_row_was_never_revoked() {
    for table in ["audit", "outbox"] {
        let house = House::new().await;
        let tenant = house.tenant("acme").await;
        let ann = person(&tenant, "ann").await.id;
        let it = made(&tenant, ann, 1).await;
        rotated(&tenant, 1, 2, START).await;
        house.refuse_rows_of(table).await;
        assert!(tenant.revoke_grant(&actor(), it.id).await.is_err());
        assert!(tenant.rotate_refresh(hash(1), hash(3), START).await.is_err(), "reused");
        assert_eq!(tenant.grant(it.id).await.unwrap(), Some(it.clone()));
        house.accept_rows_of(table).await;
        assert_eq!(tenant.rotate_refresh(hash(1), hash(3), START).await.unwrap(), Rotation::Reused(it.id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_use_a_refresh_token_at_once_one_gets_on_and_the_grant_is_revoked() {
    let house = House::new().await;
    let (tenant, second) = (house.tenant("acme").await, house.second_process().await);
    for number in 0..20 {
        let user = person(&tenant, &format!("user{number}")).await.id;
        let it = made(&tenant, user, number).await;
        let id = tenant.id();
        let next = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(1_000 + 10 * number));
        let take = move |store: Store| {
            let new = hash(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            async move { store.tenant(id).rotate_refresh(hash(number), new, START).await.unwrap() }
        };
        let told = race(&house, &second, take).await;
        let won = told.iter().filter(|one| matches!(one, Rotation::Rotated(_))).count();
        let late = told.iter().filter(|one| **one == Rotation::Reused(it.id)).count();
        assert_eq!((won, late), (1, 3), "{number}: {told:?}");
        assert!(tenant.grant(it.id).await.unwrap().unwrap().revoked_at.is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_is_revoked_while_it_is_refreshed_stays_revoked() {
    let house = House::new().await;
    let (tenant, second) = (house.tenant("acme").await, house.second_process().await);
    let other = second.tenant(tenant.id());
    let ann = person(&tenant, "ann").await.id;
    for number in 0..20 {
        let it = made(&tenant, ann, number).await;
        let actor = actor();
        let (refreshed, revoked) = tokio::join!(
            other.rotate_refresh(hash(number), hash(1_000 + number), START + DAY),
            tenant.revoke_grant(&actor, it.id)
        );
        revoked.unwrap();
        assert!(matches!(refreshed.unwrap(), Rotation::Rotated(_) | Rotation::Unknown), "{number}");
        assert!(tenant.grant(it.id).await.unwrap().unwrap().revoked_at.is_some());
        for token in [number, 1_000 + number] {
            let after = tenant.rotate_refresh(hash(token), hash(2_000 + number), START + DAY).await.unwrap();
            assert!(matches!(after, Rotation::Unknown | Rotation::Reused(_)), "{number}: {after:?}");
        }
    }
}

#[tokio::test]
async fn a_grant_is_no_other_tenants() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let ann = person(&tenant, "ann").await.id;
    let it = made(&tenant, ann, 1).await;
    assert!(matches!(
        other.create_grant(&actor(), NewGrant { id: it.id, ..grant(ann, 2) }).await,
        Err(StoreError::NoUser)
    ));
    assert_eq!(other.rotate_refresh(hash(1), hash(2), START).await.unwrap(), Rotation::Unknown);
    assert!(matches!(other.revoke_grant(&actor(), it.id).await, Err(StoreError::NotFound)));
    assert_eq!(other.revoke_grants_of(&actor(), ann).await.unwrap().value, 0);
    assert_eq!(tenant.grant(it.id).await.unwrap(), Some(it));
}
