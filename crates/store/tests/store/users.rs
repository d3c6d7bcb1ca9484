//! Users: what is written is read, logins are unique, and a user's keys are never stronger than the user.

use model::{DepartmentId, Generation, KeyRole, ResourceName, UserId};
use sea_orm::ConnectionTrait as _;
use store::{NewUser, StoreError, TenantStore, UserPage, UserPatch, UserRecord};

use crate::departments::made as department;
use crate::house::{House, START, actor, key, key_id};

fn user(login: &str) -> NewUser {
    NewUser {
        login: login.to_owned(),
        title: format!("{login} of ours"),
        external_id: None,
        departments: Vec::new(),
        role: KeyRole::User,
        active: true,
    }
}

async fn made(tenant: &TenantStore, login: &str) -> UserRecord {
    tenant.create_user(&actor(), user(login)).await.unwrap().value
}

async fn key_of(tenant: &TenantStore, user: UserId, number: u32, role: KeyRole) {
    let mut new = key(tenant.id(), number);
    new.verifier.user = Some(user);
    new.verifier.role = role;
    tenant.create_key(&actor(), new).await.unwrap();
}

fn all() -> UserPage {
    UserPage { limit: 100, ..UserPage::default() }
}

/// What proxies are told after a seq: name, removed, urgent.
async fn told(house: &House, since: i64) -> Vec<(ResourceName, bool, bool)> {
    let rows = house.store.platform().outbox_since(since, 100).await.unwrap();
    rows.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect()
}

async fn seq(house: &House) -> i64 {
    house.store.platform().revision().await.unwrap().seq
}

async fn role_of(house: &House, number: u32) -> Option<KeyRole> {
    house.store.platform().live_key(key_id(number)).await.unwrap().map(|live| live.role)
}

#[tokio::test]
async fn a_created_user_is_read_back_the_same_by_id_and_login() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (sales, labs) = (department(&tenant, "sales").await, department(&tenant, "labs").await);
    let new = NewUser {
        external_id: Some("x-1".to_owned()),
        departments: vec![labs.id, sales.id, labs.id],
        role: KeyRole::TenantAdmin,
        ..user("ann")
    };
    let ann = tenant.create_user(&actor(), new).await.unwrap().value;
    let names: Vec<_> = ann.departments.iter().map(|department| department.name.as_str()).collect();
    assert_eq!(names, ["labs", "sales"], "in the given order, each once");
    assert_eq!((ann.generation, ann.created_at, ann.active, ann.deleted_at), (Generation(1), START, true, None));
    assert_eq!(tenant.user(ann.id).await.unwrap(), Some(ann.clone()));
    assert_eq!(tenant.user_by_login("ann").await.unwrap(), Some(ann.clone()));
    assert_eq!(tenant.users(all()).await.unwrap(), [ann]);
    assert_eq!(tenant.user(UserId::fresh()).await.unwrap(), None);
    assert_eq!(tenant.user_by_login("Ann").await.unwrap(), None);
}

#[tokio::test]
async fn departments_of_a_user_are_live_ones_of_the_same_tenant() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let (mine, theirs) = (department(&tenant, "sales").await, department(&other, "labs").await);
    let gone = department(&tenant, "gone").await;
    tenant.delete_department(&actor(), gone.id, None).await.unwrap();
    for id in [theirs.id, gone.id, DepartmentId::fresh()] {
        let new = NewUser { departments: vec![mine.id, id], ..user("ann") };
        assert!(matches!(tenant.create_user(&actor(), new).await, Err(StoreError::NoDepartment)));
    }
    let many = (0..33).map(|_| DepartmentId::fresh()).collect();
    let refused = tenant.create_user(&actor(), NewUser { departments: many, ..user("ann") }).await;
    assert!(matches!(refused, Err(StoreError::Bound { limit: 32, .. })));

    let ann = tenant.create_user(&actor(), NewUser { departments: vec![mine.id], ..user("ann") }).await.unwrap().value;
    tenant.delete_department(&actor(), mine.id, None).await.unwrap();
    assert_eq!(tenant.user(ann.id).await.unwrap().unwrap().departments, []);
    tenant.restore_department(&actor(), mine.id).await.unwrap();
    assert_eq!(tenant.user(ann.id).await.unwrap(), Some(ann));
}

#[tokio::test]
async fn twenty_creates_of_one_login_at_once_give_exactly_one_user() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let tenant = tenant.clone();
            tokio::spawn(async move { tenant.create_user(&actor(), user("ann")).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(refused) => assert!(matches!(refused, StoreError::LoginTaken), "{refused:?}"),
        }
    }
    assert_eq!((made, tenant.users(all()).await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_patch_keeps_what_is_absent_and_clears_what_is_null() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (sales, labs) = (department(&tenant, "sales").await, department(&tenant, "labs").await);
    let new = NewUser { external_id: Some("x-1".to_owned()), departments: vec![sales.id], ..user("ann") };
    let old = tenant.create_user(&actor(), new).await.unwrap().value;
    house.clock.advance_micros(5);

    let patch = UserPatch { departments: Some(vec![labs.id, sales.id]), ..Default::default() };
    let moved = tenant.patch_user(&actor(), old.id, Some(Generation(1)), patch.clone()).await.unwrap().value;
    assert_eq!(moved.departments.iter().map(|one| one.id).collect::<Vec<_>>(), [labs.id, sales.id]);
    assert_eq!((&moved.external_id, &moved.login, moved.updated_at), (&old.external_id, &old.login, START + 5));
    assert_eq!(tenant.patch_user(&actor(), old.id, None, patch).await.unwrap().value, moved, "nothing to change");

    let patch = UserPatch {
        login: Some("anna".to_owned()),
        title: Some(String::new()),
        external_id: Some(None),
        departments: Some(Vec::new()),
        ..Default::default()
    };
    let plain = tenant.patch_user(&actor(), old.id, Some(Generation(2)), patch).await.unwrap().value;
    assert_eq!((plain.login.as_str(), plain.title.as_str(), &plain.external_id), ("anna", "", &None));
    assert_eq!(tenant.user(old.id).await.unwrap(), Some(plain));

    made(&tenant, "bob").await;
    let taken = UserPatch { login: Some("bob".to_owned()), ..Default::default() };
    assert!(matches!(tenant.patch_user(&actor(), old.id, None, taken).await, Err(StoreError::LoginTaken)));
    let stale = tenant.patch_user(&actor(), old.id, Some(Generation(2)), UserPatch::default()).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(3) })));
}

#[tokio::test]
async fn a_users_keys_open_what_the_user_and_the_key_both_may() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = made(&tenant, "ann").await;
    key_of(&tenant, ann.id, 1, KeyRole::TenantAdmin).await;
    key_of(&tenant, ann.id, 2, KeyRole::Viewer).await;
    tenant.create_key(&actor(), key(tenant.id(), 3)).await.unwrap();
    assert_eq!((role_of(&house, 1).await, role_of(&house, 2).await), (Some(KeyRole::User), Some(KeyRole::Viewer)));

    let since = seq(&house).await;
    let role = |role| UserPatch { role: Some(role), ..Default::default() };
    tenant.patch_user(&actor(), ann.id, None, role(KeyRole::TenantAdmin)).await.unwrap();
    let him = |urgent| (ResourceName::User(ann.id), false, urgent);
    assert_eq!(told(&house, since).await, [(ResourceName::Key(key_id(1)), false, false), him(false)], "it gains");
    assert_eq!(role_of(&house, 1).await, Some(KeyRole::TenantAdmin));

    let since = seq(&house).await;
    tenant.patch_user(&actor(), ann.id, None, role(KeyRole::Viewer)).await.unwrap();
    assert_eq!(told(&house, since).await, [(ResourceName::Key(key_id(1)), false, true), him(true)], "it loses");
    assert_eq!(role_of(&house, 1).await, Some(KeyRole::Viewer));

    let since = seq(&house).await;
    let title = UserPatch { title: Some("Ann".to_owned()), ..Default::default() };
    tenant.patch_user(&actor(), ann.id, None, title).await.unwrap();
    assert_eq!(told(&house, since).await, [], "no proxy holds titles");
}

#[tokio::test]
async fn the_keys_of_an_inactive_or_deleted_user_open_nothing_and_leave_urgently() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = made(&tenant, "ann").await;
    for number in [1, 2, 3] {
        key_of(&tenant, ann.id, number, KeyRole::User).await;
    }
    tenant.revoke_key(&actor(), key_id(3)).await.unwrap();
    let both = |removed, urgent| {
        let mut told = [1, 2].map(|number| (ResourceName::Key(key_id(number)), removed, urgent)).to_vec();
        // Proxies know who may not come in.
        told.push((ResourceName::User(ann.id), false, urgent));
        told
    };
    let active = |active| UserPatch { active: Some(active), ..Default::default() };

    let since = seq(&house).await;
    tenant.patch_user(&actor(), ann.id, None, active(false)).await.unwrap();
    assert_eq!((told(&house, since).await, role_of(&house, 1).await), (both(true, true), None));
    let since = seq(&house).await;
    tenant.delete_user(&actor(), ann.id, None).await.unwrap();
    assert_eq!(told(&house, since).await, [], "they were gone already");
    tenant.restore_user(&actor(), ann.id).await.unwrap();
    assert_eq!(role_of(&house, 1).await, None, "deleted while inactive, it comes back inactive");

    let since = seq(&house).await;
    tenant.patch_user(&actor(), ann.id, None, active(true)).await.unwrap();
    assert_eq!((told(&house, since).await, role_of(&house, 1).await), (both(false, false), Some(KeyRole::User)));
    let since = seq(&house).await;
    tenant.delete_user(&actor(), ann.id, None).await.unwrap();
    assert_eq!((told(&house, since).await, role_of(&house, 1).await), (both(true, true), None));
    let since = seq(&house).await;
    tenant.restore_user(&actor(), ann.id).await.unwrap();
    assert_eq!(told(&house, since).await, both(false, false));
    assert_eq!(role_of(&house, 3).await, None, "what was revoked stays so");
}

#[tokio::test]
async fn keys_are_made_for_users_that_are() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let gone = made(&tenant, "gone").await;
    tenant.delete_user(&actor(), gone.id, None).await.unwrap();
    let theirs = made(&other, "ann").await;
    for user in [gone.id, theirs.id, UserId::fresh()] {
        let mut new = key(tenant.id(), 1);
        new.verifier.user = Some(user);
        assert!(matches!(tenant.create_key(&actor(), new).await, Err(StoreError::NoUser)));
    }
}

#[tokio::test]
async fn a_deleted_user_comes_back_unless_the_login_was_taken() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let sales = department(&tenant, "sales").await;
    let new = NewUser { departments: vec![sales.id], ..user("ann") };
    let old = tenant.create_user(&actor(), new).await.unwrap().value;
    tenant.delete_user(&actor(), old.id, Some(Generation(1))).await.unwrap();
    assert_eq!((tenant.user(old.id).await.unwrap(), tenant.user_by_login("ann").await.unwrap()), (None, None));
    let tombs = tenant.users(UserPage { deleted: true, ..all() }).await.unwrap();
    assert_eq!(tombs.iter().map(|tomb| tomb.id).collect::<Vec<_>>(), [old.id]);

    let heir = made(&tenant, "ann").await;
    assert!(matches!(tenant.restore_user(&actor(), old.id).await, Err(StoreError::LoginTaken)));
    tenant.delete_user(&actor(), heir.id, None).await.unwrap();
    let back = tenant.restore_user(&actor(), old.id).await.unwrap().value;
    assert!(back.enter_again.is_empty());
    assert_eq!((back.record.departments, back.record.generation), (old.departments, Generation(3)));
    assert!(matches!(tenant.restore_user(&actor(), UserId::fresh()).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn an_external_id_is_of_one_live_user() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let called = |login: &str, id: &str| NewUser { external_id: Some(id.to_owned()), ..user(login) };
    let ann = tenant.create_user(&actor(), called("ann", "7")).await.unwrap().value;
    other.create_user(&actor(), called("ann", "7")).await.unwrap();
    assert_eq!(tenant.user_by_external_id("7").await.unwrap(), Some(ann.clone()));
    assert_eq!(tenant.user_by_external_id("8").await.unwrap(), None);
    let taken = tenant.create_user(&actor(), called("bob", "7")).await;
    assert!(matches!(taken, Err(StoreError::ExternalIdTaken)), "{taken:?}");
    let bob = made(&tenant, "bob").await;
    let patch = |id: &str| UserPatch { external_id: Some(Some(id.to_owned())), ..Default::default() };
    let taken = tenant.patch_user(&actor(), bob.id, None, patch("7")).await;
    assert!(matches!(taken, Err(StoreError::ExternalIdTaken)), "{taken:?}");

    tenant.delete_user(&actor(), ann.id, None).await.unwrap();
    assert_eq!(tenant.user_by_external_id("7").await.unwrap(), None);
    let known = async |tenant: &TenantStore| tenant.deleted_user_by_external_id("7").await.unwrap().map(|user| user.id);
    assert_eq!((known(&tenant).await, known(&other).await), (Some(ann.id), None));
    let since = seq(&house).await;
    tenant.patch_user(&actor(), bob.id, None, patch("7")).await.unwrap();
    assert_eq!(told(&house, since).await, [(ResourceName::User(bob.id), false, true)], "who was bob is not any more");
    let taken = tenant.restore_user(&actor(), ann.id).await;
    assert!(matches!(taken, Err(StoreError::ExternalIdTaken)), "{taken:?}");

    // Rows of an earlier program may be double: they can be changed all the same.
    let double = format!("UPDATE \"user\" SET external_id = '7' WHERE login = '{}'", made(&tenant, "eve").await.login);
    house.raw().await.execute_unprepared(&double).await.unwrap();
    let title = UserPatch { title: Some("Bob".to_owned()), ..Default::default() };
    tenant.patch_user(&actor(), bob.id, None, title).await.unwrap();
    assert_eq!(tenant.user_by_external_id("7").await.unwrap().unwrap().id, bob.id, "the older one");
}

#[tokio::test]
async fn lists_are_paged_searched_literally_and_narrowed() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let sales = department(&tenant, "sales").await;
    for (login, title, departments, active) in [
        ("ann@x", "100%", vec![sales.id], true),
        ("bob_y", "Bob", vec![], true),
        ("bobby", "c\\d", vec![sales.id], false),
    ] {
        let new = NewUser { title: title.to_owned(), departments, active, ..user(login) };
        tenant.create_user(&actor(), new).await.unwrap();
    }
    let logins = async |page| -> Vec<String> {
        tenant.users(page).await.unwrap().into_iter().map(|record| record.login).collect()
    };
    for (search, found) in
        [("%", vec!["ann@x"]), ("_", vec!["bob_y"]), ("\\", vec!["bobby"]), ("BOB", vec!["bob_y", "bobby"])]
    {
        assert_eq!(logins(UserPage { search: Some(search.to_owned()), ..all() }).await, found, "{search}");
    }
    assert_eq!(logins(UserPage { department: Some(sales.id), ..all() }).await, ["ann@x", "bobby"]);
    assert_eq!(logins(UserPage { active: Some(false), ..all() }).await, ["bobby"]);
    assert_eq!(logins(UserPage { department: Some(DepartmentId::fresh()), ..all() }).await, [""; 0]);
    let first = tenant.users(UserPage { limit: 2, ..Default::default() }).await.unwrap();
    let after = first.last().map(|record| record.id);
    assert_eq!(logins(UserPage { after, limit: 2, ..Default::default() }).await, ["bobby"]);
}

#[tokio::test]
async fn every_change_has_an_audit_row() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = made(&tenant, "ann").await;
    let patch = UserPatch { role: Some(KeyRole::Viewer), ..Default::default() };
    tenant.patch_user(&actor(), ann.id, None, patch).await.unwrap();
    tenant.delete_user(&actor(), ann.id, None).await.unwrap();
    tenant.restore_user(&actor(), ann.id).await.unwrap();
    let page = store::AuditPage { object: Some(format!("user/{}", ann.id)), limit: 10, ..Default::default() };
    let rows = tenant.audit(page).await.unwrap();
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["user.restore", "user.delete", "user.change", "user.create"]);
    assert!(rows[2].before.as_ref().unwrap().contains("\"role\":\"user\""));
    assert!(rows[2].after.as_ref().unwrap().contains("\"role\":\"viewer\""));
    assert_eq!((rows[1].after.is_none(), rows[3].before.is_none()), (true, true));
}
