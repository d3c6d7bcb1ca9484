//! Sessions: they open something as long as they are used, and end when they are told to.

use model::{IssuerId, SessionId};
use store::{IssuerPatch, SessionPage, Store, StoreError};

use crate::house::{House, START, actor, issuer};
use crate::sign_in::{DAY, MINUTE, hash, last_deed, person, race, seq, session};

fn all() -> SessionPage {
    SessionPage { limit: 500, ..SessionPage::default() }
}

#[tokio::test]
async fn a_session_is_found_by_its_secret_with_user_and_tenant() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let ann = person(&tenant, "ann").await;
    let issuer = IssuerId::fresh();
    let new = store::NewSession { issuer: Some(issuer), ..session(&tenant, ann.id, 1) };
    let before = seq(&house).await;
    let made = platform.create_session(new).await.unwrap();
    assert_eq!(seq(&house).await, before, "proxies have nothing to learn of it");
    assert_eq!(last_deed(&tenant).await, ("session.create".to_owned(), format!("session/{}", made.id)));
    assert_eq!((made.user, made.issuer, made.created_at, made.seen_at), (ann.id, Some(issuer), START, START));
    assert_eq!((made.ip.as_deref(), made.agent.as_deref()), (Some("192.0.2.1"), Some("Browser \"1\" ☃")));
    let live = platform.live_session(hash(1), DAY).await.unwrap().unwrap();
    assert_eq!((&live.session, &live.user), (&made, &ann));
    assert_eq!(live.tenant, tenant.tenant().await.unwrap().unwrap());
    assert_eq!(tenant.session(made.id).await.unwrap(), Some(made.clone()));
    assert_eq!(tenant.sessions(all()).await.unwrap(), [made]);
    assert_eq!(platform.live_session(hash(2), DAY).await.unwrap(), None);
    assert_eq!(tenant.session(SessionId::fresh()).await.unwrap(), None);
}

#[tokio::test]
async fn a_session_ends_at_its_time_and_when_it_lies_idle() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let ann = person(&tenant, "ann").await.id;
    platform.create_session(session(&tenant, ann, 1)).await.unwrap();
    let idle = 30 * MINUTE;
    let opens = async || platform.live_session(hash(1), idle).await.unwrap().is_some();
    house.clock.advance_micros(idle - 1);
    assert!(opens().await);
    house.clock.advance_micros(1);
    assert!(!opens().await, "idle");
    platform.touch_session(hash(1), START + idle).await.unwrap();
    assert!(opens().await);
    let mut at = START + idle;
    while at < START + DAY - idle {
        at += idle - 1;
        house.clock.advance_micros(idle - 1);
        platform.touch_session(hash(1), at).await.unwrap();
    }
    assert!(opens().await);
    house.clock.advance_micros(START + DAY - at);
    platform.touch_session(hash(1), START + DAY).await.unwrap();
    assert!(!opens().await, "at its end, however much it was used");
    assert_eq!(tenant.sessions(all()).await.unwrap(), []);
}

#[tokio::test]
async fn use_is_noted_once_a_minute_and_never_backwards() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let ann = person(&tenant, "ann").await.id;
    let id = platform.create_session(session(&tenant, ann, 1)).await.unwrap().id;
    for (at, seen) in [(MINUTE - 1, 0), (MINUTE, MINUTE), (90 * 1_000_000, MINUTE), (0, MINUTE), (DAY / 2, DAY / 2)] {
        platform.touch_session(hash(1), START + at).await.unwrap();
        assert_eq!(tenant.session(id).await.unwrap().unwrap().seen_at, START + seen, "{at}");
    }
    platform.touch_session(hash(2), START + DAY).await.unwrap();
}

#[tokio::test]
async fn a_session_is_ended_by_its_secret_by_its_id_and_with_all_of_the_user() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let (ann, bob) = (person(&tenant, "ann").await.id, person(&tenant, "bob").await.id);
    let mut ids = Vec::new();
    for number in 0..5 {
        ids.push(
            platform.create_session(session(&tenant, if number < 4 { ann } else { bob }, number)).await.unwrap().id,
        );
    }
    platform.end_session(hash(0)).await.unwrap();
    assert_eq!(last_deed(&tenant).await, ("session.end".to_owned(), format!("session/{}", ids[0])));
    platform.end_session(hash(0)).await.unwrap();
    tenant.end_session_by_id(&actor(), ids[1]).await.unwrap();
    let again = tenant.end_session_by_id(&actor(), ids[1]).await;
    assert!(matches!(again, Err(StoreError::NotFound)), "{again:?}");
    assert_eq!(platform.live_session(hash(1), DAY).await.unwrap(), None);
    let hers = SessionPage { user: Some(ann), ..all() };
    assert_eq!(tenant.sessions(hers).await.unwrap().len(), 2);
    assert_eq!(tenant.end_sessions_of(&actor(), ann).await.unwrap().value, 2);
    assert_eq!(last_deed(&tenant).await, ("session.end_all".to_owned(), format!("user/{ann}")));
    assert_eq!(tenant.end_sessions_of(&actor(), ann).await.unwrap().value, 0);
    let left: Vec<_> = tenant.sessions(all()).await.unwrap().into_iter().map(|session| session.id).collect();
    assert_eq!(left, ids[4..]);
}

#[tokio::test]
async fn sessions_are_listed_in_pages() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    for number in 0..5 {
        house.store.platform().create_session(session(&tenant, ann, number)).await.unwrap();
    }
    let whole = tenant.sessions(all()).await.unwrap();
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = tenant.sessions(SessionPage { user: Some(ann), after, limit: 2 }).await.unwrap();
        after = page.last().map(|session| session.id);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!((paged.len(), &paged), (5, &whole));
}

#[tokio::test]
async fn a_user_has_a_hundred_sessions_and_the_oldest_goes() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let (ann, bob) = (person(&tenant, "ann").await.id, person(&tenant, "bob").await.id);
    platform.create_session(session(&tenant, bob, 1_000)).await.unwrap();
    for number in 0..102 {
        house.clock.advance_micros(1);
        platform.create_session(session(&tenant, ann, number)).await.unwrap();
    }
    assert_eq!(tenant.sessions(all()).await.unwrap().len(), 101);
    for (number, opens) in [(0, false), (1, false), (2, true), (101, true), (1_000, true)] {
        assert_eq!(platform.live_session(hash(number), DAY).await.unwrap().is_some(), opens, "{number}");
    }
}

#[tokio::test]
async fn sessions_begun_at_an_issuer_end_when_it_is_disabled_or_deleted() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let ann = person(&tenant, "ann").await.id;
    platform.create_session(session(&tenant, ann, 0)).await.unwrap();
    let begin = async |number, issuer| {
        let new = store::NewSession { issuer: Some(issuer), ..session(&tenant, ann, number) };
        platform.create_session(new).await.unwrap();
    };
    let (one, two) = (issuer("one"), issuer("two"));
    let one = tenant.create_issuer(&actor(), one).await.unwrap().value;
    let two =
        tenant.create_issuer(&actor(), store::NewIssuer { issuer: "https://two.example".to_owned(), ..two }).await;
    let two = two.unwrap().value;
    begin(1, one.id).await;
    begin(2, two.id).await;
    let opens = async || {
        let mut open = Vec::new();
        for number in 0..3 {
            open.push(platform.live_session(hash(number), DAY).await.unwrap().is_some());
        }
        open
    };
    let title = IssuerPatch { title: Some("New".to_owned()), ..Default::default() };
    tenant.change_issuer(&actor(), one.id, None, title).await.unwrap();
    assert_eq!(opens().await, [true, true, true]);
    let disabled = IssuerPatch { enabled: Some(false), ..Default::default() };
    tenant.change_issuer(&actor(), one.id, None, disabled).await.unwrap();
    assert_eq!(opens().await, [true, false, true]);
    tenant.delete_issuer(&actor(), two.id, None).await.unwrap();
    assert_eq!(opens().await, [true, false, false]);
}

#[tokio::test]
async fn a_session_without_its_audit_row_never_began_and_never_ended() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let ann = person(&tenant, "ann").await.id;
    platform.create_session(session(&tenant, ann, 1)).await.unwrap();
    house.refuse_rows_of("audit").await;
    assert!(platform.create_session(session(&tenant, ann, 2)).await.is_err());
    assert!(platform.end_session(hash(1)).await.is_err());
    assert!(platform.live_session(hash(2), DAY).await.unwrap().is_none());
    assert!(platform.live_session(hash(1), DAY).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_many_end_at_once_is_ended_once() {
    let house = House::new().await;
    let (tenant, second) = (house.tenant("acme").await, house.second_process().await);
    let ann = person(&tenant, "ann").await.id;
    for number in 0..10 {
        let id = house.store.platform().create_session(session(&tenant, ann, number)).await.unwrap().id;
        let tenant = tenant.id();
        let end = move |store: Store| async move { store.tenant(tenant).end_session_by_id(&actor(), id).await.is_ok() };
        let told = race(&house, &second, end).await;
        assert_eq!(told.into_iter().filter(|ended| *ended).count(), 1);
    }
}
