//! Passwords and the links by which they are set; and what all of sign-in loses with its user.

use model::{GrantId, KeyRole, ResourceName, UserId};
use store::{
    AuditPage, NewCode, NewGrant, NewSession, NewUser, SessionPage, Store, StoreError, TenantPatch, TenantStore,
    UserPatch, UserRecord,
};

use crate::house::{House, START, actor};

pub(crate) const MINUTE: i64 = 60 * 1_000_000;
pub(crate) const DAY: i64 = 24 * 60 * MINUTE;

pub(crate) async fn person(tenant: &TenantStore, login: &str) -> UserRecord {
    let new = NewUser {
        login: login.to_owned(),
        title: String::new(),
        external_id: None,
        departments: vec![],
        role: KeyRole::User,
        active: true,
    };
    tenant.create_user(&actor(), new).await.unwrap().value
}

/// A hash of its own for each number.
pub(crate) fn hash(number: u32) -> [u8; 32] {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    hash
}

pub(crate) fn session(tenant: &TenantStore, user: UserId, number: u32) -> NewSession {
    NewSession {
        hash: hash(number),
        tenant: tenant.id(),
        user,
        issuer: None,
        ip: Some("192.0.2.1".to_owned()),
        agent: Some("Browser \"1\" ☃".to_owned()),
        expires_at: START + DAY,
    }
}

pub(crate) fn code(user: UserId, number: u32) -> NewCode {
    NewCode {
        hash: hash(number),
        user,
        issuer: None,
        client: "client".to_owned(),
        redirect_uri: "http://127.0.0.1:7/cb".to_owned(),
        resource: "http://localhost:5011/mcp".to_owned(),
        scope: "mcp".to_owned(),
        challenge: "challenge".to_owned(),
        expires_at: START + MINUTE,
    }
}

pub(crate) fn grant(user: UserId, refresh: u32) -> NewGrant {
    NewGrant {
        id: GrantId::fresh(),
        user,
        issuer: None,
        client: "client".to_owned(),
        client_name: "A client".to_owned(),
        resource: "http://localhost:5011/mcp".to_owned(),
        scope: "mcp".to_owned(),
        refresh_hash: hash(refresh),
        expires_at: i64::MAX,
    }
}

/// What proxies are told after a seq: name, removed, urgent.
pub(crate) async fn told(house: &House, since: i64) -> Vec<(ResourceName, bool, bool)> {
    let rows = house.store.platform().outbox_since(since, 1_000).await.unwrap();
    rows.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect()
}

pub(crate) async fn seq(house: &House) -> i64 {
    house.store.platform().revision().await.unwrap().seq
}

/// What was done last, and to what.
pub(crate) async fn last_deed(tenant: &TenantStore) -> (String, String) {
    let row = tenant.audit(AuditPage { limit: 1, ..Default::default() }).await.unwrap().remove(0);
    (row.action, row.object)
}

/// Takers of one thing at once, in two processes; answers what each was told.
pub(crate) async fn race<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
    house: &House,
    second: &Store,
    take: impl Fn(Store) -> F,
) -> Vec<T> {
    let stores = [&house.store, second, &house.store, second];
    let takers: Vec<_> = stores.into_iter().map(|store| tokio::spawn(take(store.clone()))).collect();
    let mut told = Vec::new();
    for taker in takers {
        told.push(taker.await.unwrap());
    }
    told
}

async fn sessions(tenant: &TenantStore) -> usize {
    tenant.sessions(SessionPage { limit: 500, ..Default::default() }).await.unwrap().len()
}

#[tokio::test]
async fn a_password_is_read_back_replaced_and_removed() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    assert_eq!(tenant.password(ann).await.unwrap(), None);
    for phc in ["$argon2id$one", "$argon2id$two"] {
        let before = seq(&house).await;
        tenant.set_password(&actor(), ann, phc.to_owned()).await.unwrap();
        assert_eq!(tenant.password(ann).await.unwrap().as_deref(), Some(phc));
        assert_eq!(seq(&house).await, before, "proxies have nothing to learn of it");
        assert_eq!(last_deed(&tenant).await, ("password.set".to_owned(), format!("user/{ann}")));
    }
    let rows = tenant.audit(AuditPage { limit: 500, ..Default::default() }).await.unwrap();
    assert!(!format!("{rows:?}").contains("argon2id"), "the audit keeps no password");
    tenant.remove_password(&actor(), ann).await.unwrap();
    assert_eq!(tenant.password(ann).await.unwrap(), None);
    let deed = last_deed(&tenant).await;
    tenant.remove_password(&actor(), ann).await.unwrap();
    assert_eq!((last_deed(&tenant).await, deed.0.as_str()), (deed.clone(), "password.remove"));
    let unknown = tenant.set_password(&actor(), UserId::fresh(), "x".to_owned()).await;
    assert!(matches!(unknown, Err(StoreError::NoUser)), "{unknown:?}");
}

#[tokio::test]
async fn a_new_password_ends_what_the_old_one_opened() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let (ann, bob) = (person(&tenant, "ann").await.id, person(&tenant, "bob").await.id);
    for (user, number) in [(ann, 1), (bob, 2)] {
        tenant.create_link(&actor(), user, hash(number), START + DAY).await.unwrap();
        platform.create_session(session(&tenant, user, number)).await.unwrap();
    }
    tenant.set_password(&actor(), ann, "phc".to_owned()).await.unwrap();
    assert_eq!(platform.link(hash(1)).await.unwrap(), None);
    assert_eq!(platform.live_session(hash(1), DAY).await.unwrap(), None);
    assert_eq!(platform.link(hash(2)).await.unwrap(), Some((tenant.id(), bob)));
    assert!(platform.live_session(hash(2), DAY).await.unwrap().is_some());
    tenant.set_password(&actor(), bob, "phc".to_owned()).await.unwrap();
    platform.create_session(session(&tenant, bob, 3)).await.unwrap();
    tenant.remove_password(&actor(), bob).await.unwrap();
    assert_eq!(sessions(&tenant).await, 0);
}

#[tokio::test]
async fn a_link_is_good_once_until_its_end() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let ann = person(&tenant, "ann").await.id;
    for number in [1, 2] {
        tenant.create_link(&actor(), ann, hash(number), START + MINUTE).await.unwrap();
    }
    assert_eq!(last_deed(&tenant).await, ("sign_in_link.create".to_owned(), format!("user/{ann}")));
    let hers = Some((tenant.id(), ann));
    assert_eq!(platform.link(hash(1)).await.unwrap(), hers);
    assert_eq!(platform.link(hash(1)).await.unwrap(), hers, "a look takes nothing");
    assert_eq!(platform.take_link(hash(1), START).await.unwrap(), hers);
    assert_eq!(platform.take_link(hash(1), START).await.unwrap(), None);
    assert_eq!(platform.link(hash(1)).await.unwrap(), None);
    house.clock.advance_micros(MINUTE);
    assert_eq!(platform.link(hash(2)).await.unwrap(), None);
    assert_eq!(platform.take_link(hash(2), START + MINUTE).await.unwrap(), None);
    assert_eq!(platform.take_link(hash(9), START).await.unwrap(), None);
}

#[tokio::test]
async fn a_user_has_five_links_and_the_oldest_goes() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    for number in 0..7 {
        house.clock.advance_micros(1);
        tenant.create_link(&actor(), ann, hash(number), START + DAY).await.unwrap();
    }
    let mut good = Vec::new();
    for number in 0..7 {
        if house.store.platform().link(hash(number)).await.unwrap().is_some() {
            good.push(number);
        }
    }
    assert_eq!(good, [2, 3, 4, 5, 6]);
    let unknown = tenant.create_link(&actor(), UserId::fresh(), hash(8), START + DAY).await;
    assert!(matches!(unknown, Err(StoreError::NoUser)), "{unknown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_those_who_take_a_link_at_once_one_has_it() {
    let house = House::new().await;
    let (tenant, second) = (house.tenant("acme").await, house.second_process().await);
    let ann = person(&tenant, "ann").await.id;
    for number in 0..20 {
        tenant.create_link(&actor(), ann, hash(number), START + DAY).await.unwrap();
        let take = |store: Store| async move { store.platform().take_link(hash(number), START).await.unwrap() };
        let told = race(&house, &second, take).await;
        assert_eq!(told.into_iter().flatten().collect::<Vec<_>>(), [(tenant.id(), ann)], "{number}");
    }
}

/// A user with everything by which somebody can be signed in, known by `number`.
async fn signed_in(house: &House, tenant: &TenantStore, login: &str, number: u32) -> (UserId, GrantId) {
    let user = person(tenant, login).await.id;
    tenant.set_password(&actor(), user, "phc".to_owned()).await.unwrap();
    tenant.create_link(&actor(), user, hash(number), START + DAY).await.unwrap();
    house.store.platform().create_session(session(tenant, user, number)).await.unwrap();
    tenant.create_code(code(user, number)).await.unwrap();
    let grant = tenant.create_grant(&actor(), grant(user, number)).await.unwrap().value.id;
    (user, grant)
}

/// Whether link, session, and grant open something.
async fn opens(house: &House, tenant: &TenantStore, number: u32, grant: GrantId) -> [bool; 3] {
    let platform = house.store.platform();
    let link = platform.link(hash(number)).await.unwrap().is_some();
    let session = platform.live_session(hash(number), DAY).await.unwrap().is_some();
    [link, session, tenant.grant(grant).await.unwrap().unwrap().revoked_at.is_none()]
}

#[tokio::test]
async fn a_user_who_is_made_inactive_or_deleted_is_signed_out_everywhere_and_for_good() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (eve, hers) = signed_in(&house, &tenant, "eve", 9).await;
    for (number, delete) in [(1, false), (2, true)] {
        let (user, grant) = signed_in(&house, &tenant, &format!("user{number}"), number).await;
        assert_eq!(opens(&house, &tenant, number, grant).await, [true; 3]);
        let title = UserPatch { title: Some("new".to_owned()), ..Default::default() };
        tenant.patch_user(&actor(), user, None, title).await.unwrap();
        assert_eq!(opens(&house, &tenant, number, grant).await, [true; 3], "another change takes nothing");

        let before = seq(&house).await;
        if delete {
            tenant.delete_user(&actor(), user, None).await.unwrap();
        } else {
            let inactive = UserPatch { active: Some(false), ..Default::default() };
            tenant.patch_user(&actor(), user, None, inactive).await.unwrap();
        }
        assert_eq!(opens(&house, &tenant, number, grant).await, [false; 3]);
        let notices = told(&house, before).await;
        assert!(notices.contains(&(ResourceName::Revoked(grant), false, true)), "{notices:?}");
        assert_eq!(seq(&house).await, before + 1, "all in one change");
        let late = house.store.platform().create_session(session(&tenant, user, 77)).await;
        assert!(matches!(late, Err(StoreError::NoUser)), "{late:?}");
        assert!(matches!(tenant.create_code(code(user, 77)).await, Err(StoreError::NoUser)));
        let late = tenant.create_link(&actor(), user, hash(77), START + DAY).await;
        assert!(matches!(late, Err(StoreError::NoUser)), "{late:?}");

        if delete {
            tenant.restore_user(&actor(), user).await.unwrap();
        } else {
            let active = UserPatch { active: Some(true), ..Default::default() };
            tenant.patch_user(&actor(), user, None, active).await.unwrap();
        }
        assert_eq!(opens(&house, &tenant, number, grant).await, [false; 3]);
        assert!(matches!(tenant.take_code(hash(number)).await.unwrap(), store::CodeTaken::Unknown));
        assert_eq!(tenant.password(user).await.unwrap().as_deref(), Some("phc"), "the account itself is as before");
    }
    assert_eq!(opens(&house, &tenant, 9, hers).await, [true; 3], "{eve:?} is another");
}

#[tokio::test]
async fn in_a_tenant_that_is_disabled_nothing_opens_until_it_is_enabled() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let platform = house.store.platform();
    let (user, grant) = signed_in(&house, &tenant, "ann", 1).await;
    let set = async |active| {
        let patch = TenantPatch { active: Some(active), ..Default::default() };
        platform.patch_tenant(&actor(), tenant.id(), None, patch).await.unwrap();
    };
    set(false).await;
    assert_eq!(opens(&house, &tenant, 1, grant).await, [false, false, true]);
    assert_eq!(tenant.rotate_refresh(hash(1), hash(2), START).await.unwrap(), store::Rotation::Unknown);
    let late = platform.create_session(session(&tenant, user, 3)).await;
    assert!(matches!(late, Err(StoreError::NotFound)), "{late:?}");
    set(true).await;
    assert_eq!(opens(&house, &tenant, 1, grant).await, [true; 3]);
    assert!(matches!(tenant.rotate_refresh(hash(1), hash(2), START).await.unwrap(), store::Rotation::Rotated(_)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stays_signed_in_who_signs_in_while_being_made_inactive() {
    let house = House::new().await;
    let (tenant, second) = (house.tenant("acme").await, house.second_process().await);
    for number in 0..20 {
        let user = person(&tenant, &format!("user{number}")).await.id;
        let inactive = UserPatch { active: Some(false), ..Default::default() };
        let platform = second.platform();
        let new = session(&tenant, user, number);
        let actor = actor();
        let (session, patched) =
            tokio::join!(platform.create_session(new), tenant.patch_user(&actor, user, None, inactive));
        patched.unwrap();
        assert!(session.is_ok() || matches!(session, Err(StoreError::NoUser)), "{session:?}");
        assert_eq!(sessions(&tenant).await, 0, "{number}");
    }
}
