//! What proxies know of users: who may come in, as what, and with which departments, at every moment.

use model::{KeyRole, Resource, ResourceName, Revision, TenantId, UserId, UserSpec};
use sea_orm::ConnectionTrait as _;
use store::{DepartmentPatch, IntendedState, NewUser, Tail, TenantPatch, TenantStore, UserPatch};

use crate::departments::made as department;
use crate::house::{House, actor};

fn user(login: &str, departments: &[model::DepartmentId]) -> NewUser {
    NewUser {
        login: login.to_owned(),
        title: String::new(),
        external_id: Some(format!("{login}@idp")),
        departments: departments.to_vec(),
        role: KeyRole::User,
        active: true,
    }
}

async fn made(tenant: &TenantStore, login: &str, departments: &[model::DepartmentId]) -> UserId {
    tenant.create_user(&actor(), user(login, departments)).await.unwrap().value.id
}

fn users(state: IntendedState) -> Vec<UserSpec> {
    let users = state.resources.into_iter().filter_map(|resource| match resource {
        Resource::User(spec) => Some(spec),
        _ => None,
    });
    users.collect()
}

fn departments(of: &[UserSpec]) -> Vec<Vec<&str>> {
    of.iter().map(|spec| spec.departments.iter().map(String::as_str).collect()).collect()
}

/// The users that changed since then, as they are now.
async fn changed(house: &House, since: Revision) -> Vec<UserSpec> {
    match house.store.platform().tail(since).await.unwrap() {
        Tail::Changed { state, .. } => users(state),
        other => panic!("{other:?}"),
    }
}

async fn known(house: &House) -> Vec<UserSpec> {
    users(house.store.platform().intended().await.unwrap())
}

#[tokio::test]
async fn a_user_is_known_with_the_names_of_departments_in_their_order() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let (sales, labs) = (department(&tenant, "sales").await.id, department(&tenant, "labs").await.id);
    let (ann, bob) = (made(&tenant, "ann", &[sales, labs]).await, made(&tenant, "bob", &[labs, sales]).await);
    let theirs = department(&other, "sales").await.id;
    made(&other, "ann", &[theirs]).await;
    let specs = known(&house).await;
    let of = |id| specs.iter().find(|spec| spec.id == id).unwrap().clone();
    let expected = UserSpec {
        id: ann,
        tenant: tenant.id(),
        login: "ann".to_owned(),
        external_id: Some("ann@idp".to_owned()),
        role: KeyRole::User,
        active: true,
        departments: vec!["sales".to_owned(), "labs".to_owned()],
    };
    assert_eq!((of(ann), of(bob).departments), (expected, vec!["labs".to_owned(), "sales".to_owned()]));
    assert_eq!(specs.len(), 3);
    assert_eq!(tenant.user(ann).await.unwrap().unwrap().spec(), of(ann), "the record says the same");
}

#[tokio::test]
async fn who_was_shut_out_or_deleted_stays_known_as_that() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (ann, bob) = (made(&tenant, "ann", &[]).await, made(&tenant, "bob", &[]).await);
    let since = house.store.platform().revision().await.unwrap();
    let off = UserPatch { active: Some(false), ..Default::default() };
    tenant.patch_user(&actor(), ann, None, off).await.unwrap();
    tenant.delete_user(&actor(), bob, None).await.unwrap();
    let now = changed(&house, since).await;
    assert_eq!(now.iter().map(|spec| (spec.id, spec.active)).collect::<Vec<_>>(), [(ann, false), (bob, false)]);
    assert_eq!(known(&house).await, now);
    let rows = house.store.platform().outbox_since(since.seq, 10).await.unwrap();
    assert!(rows.iter().all(|row| row.urgent && !row.removed), "{rows:?}");
    let sleep = TenantPatch { active: Some(false), ..Default::default() };
    house.store.platform().patch_tenant(&actor(), tenant.id(), None, sleep).await.unwrap();
    assert_eq!(known(&house).await, [], "of a tenant that sleeps nobody is known");
}

#[tokio::test]
async fn a_department_that_is_renamed_deleted_or_restored_is_told_for_each_of_its_users() {
    let house = House::new().await;
    let (tenant, platform) = (house.tenant("acme").await, house.store.platform());
    let (sales, labs) = (department(&tenant, "sales").await.id, department(&tenant, "labs").await.id);
    let (ann, bob) = (made(&tenant, "ann", &[sales, labs]).await, made(&tenant, "bob", &[sales]).await);
    made(&tenant, "eve", &[labs]).await;
    let now = async || platform.revision().await.unwrap();

    let since = now().await;
    let title = DepartmentPatch { title: Some("New".to_owned()), ..Default::default() };
    tenant.patch_department(&actor(), sales, None, title).await.unwrap();
    assert_eq!(now().await, since, "no proxy holds titles");
    let name = DepartmentPatch { name: Some("selling".parse().unwrap()), ..Default::default() };
    tenant.patch_department(&actor(), sales, None, name).await.unwrap();
    let told = changed(&house, since).await;
    assert_eq!(told.iter().map(|spec| spec.id).collect::<Vec<_>>(), [ann, bob]);
    assert_eq!(departments(&told), [vec!["selling", "labs"], vec!["selling"]]);

    let since = now().await;
    tenant.delete_department(&actor(), sales, None).await.unwrap();
    assert_eq!(departments(&changed(&house, since).await), [vec!["labs"], vec![]]);
    let since = now().await;
    tenant.restore_department(&actor(), sales).await.unwrap();
    assert_eq!(departments(&changed(&house, since).await), [vec!["selling", "labs"], vec!["selling"]]);
    let since = now().await;
    let swapped = UserPatch { departments: Some(vec![labs, sales]), ..Default::default() };
    tenant.patch_user(&actor(), ann, None, swapped).await.unwrap();
    assert_eq!(departments(&changed(&house, since).await), [vec!["labs", "selling"]]);
    assert_eq!(
        changed(&house, since).await,
        known(&house).await.into_iter().filter(|spec| spec.id == ann).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn of_a_user_whom_nobody_can_judge_proxies_know_that_nobody_comes_in() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = made(&tenant, "ann", &[]).await;
    house.raw().await.execute_unprepared("UPDATE \"user\" SET role = 'king'").await.unwrap();
    let state = house.store.platform().intended().await.unwrap();
    let unreadable: Vec<_> = state.unreadable.iter().map(|one| (one.name, one.tenant)).collect();
    assert_eq!(unreadable, [(Some(ResourceName::User(ann)), Some(tenant.id()))]);
    let of: Vec<(TenantId, bool)> = users(state).into_iter().map(|spec| (spec.tenant, spec.active)).collect();
    assert_eq!(of, [(tenant.id(), false)]);
}
