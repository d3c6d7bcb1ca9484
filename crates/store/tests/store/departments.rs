//! Departments: what is written is read, names are unique, generations guard.

use model::{DepartmentId, Generation};
use store::{DepartmentPage, DepartmentPatch, DepartmentRecord, NewDepartment, StoreError, TenantStore};

use crate::house::{House, START, actor};

pub(crate) fn department(name: &str) -> NewDepartment {
    NewDepartment { name: name.parse().unwrap(), title: format!("{name} for people"), external_id: None }
}

pub(crate) async fn made(tenant: &TenantStore, name: &str) -> DepartmentRecord {
    tenant.create_department(&actor(), department(name)).await.unwrap().value
}

fn all() -> DepartmentPage {
    DepartmentPage { limit: 100, ..DepartmentPage::default() }
}

#[tokio::test]
async fn a_created_department_is_read_back_the_same() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let before = house.store.platform().revision().await.unwrap();
    let sales = made(&tenant, "sales").await;
    assert_eq!((sales.generation, sales.created_at, sales.deleted_at), (Generation(1), START, None));
    assert_eq!(tenant.department(sales.id).await.unwrap(), Some(sales.clone()));
    assert_eq!(tenant.department_by_name("sales").await.unwrap(), Some(sales.clone()));
    assert_eq!(tenant.departments(all()).await.unwrap(), [sales]);
    assert_eq!(tenant.department(DepartmentId::fresh()).await.unwrap(), None);
    assert_eq!(
        house.store.platform().revision().await.unwrap(),
        before,
        "no proxy holds departments that nobody belongs to"
    );
}

#[tokio::test]
async fn twenty_creates_of_one_name_at_once_give_exactly_one_department() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let tenant = tenant.clone();
            tokio::spawn(async move { tenant.create_department(&actor(), department("sales")).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(refused) => assert!(matches!(refused, StoreError::NameTaken), "{refused:?}"),
        }
    }
    assert_eq!((made, tenant.departments(all()).await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_patch_keeps_what_is_absent_and_clears_what_is_null() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let old = made(&tenant, "sales").await;
    let patch = DepartmentPatch { external_id: Some(Some("x-1".to_owned())), ..Default::default() };
    let with = tenant.patch_department(&actor(), old.id, Some(Generation(1)), patch).await.unwrap().value;
    assert_eq!((with.external_id.as_deref(), &with.title), (Some("x-1"), &old.title));
    let patch =
        DepartmentPatch { name: Some("selling".parse().unwrap()), title: Some(String::new()), external_id: Some(None) };
    let without = tenant.patch_department(&actor(), old.id, Some(Generation(2)), patch.clone()).await.unwrap().value;
    assert_eq!((without.name.as_str(), without.title.as_str(), &without.external_id), ("selling", "", &None));
    assert_eq!(tenant.department(old.id).await.unwrap(), Some(without.clone()));
    assert_eq!(tenant.patch_department(&actor(), old.id, None, patch.clone()).await.unwrap().value, without);
    let stale = tenant.patch_department(&actor(), old.id, Some(Generation(2)), patch).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(3) })));

    let other = made(&tenant, "other").await;
    let taken = DepartmentPatch { name: Some("selling".parse().unwrap()), ..Default::default() };
    assert!(matches!(tenant.patch_department(&actor(), other.id, None, taken).await, Err(StoreError::NameTaken)));
}

#[tokio::test]
async fn a_deleted_department_comes_back_unless_its_name_was_taken() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let old = made(&tenant, "sales").await;
    tenant.delete_department(&actor(), old.id, Some(Generation(1))).await.unwrap();
    assert_eq!(tenant.department(old.id).await.unwrap(), None);
    assert_eq!(tenant.departments(all()).await.unwrap(), []);
    let tombs = tenant.departments(DepartmentPage { deleted: true, ..all() }).await.unwrap();
    assert_eq!(tombs.iter().map(|tomb| tomb.id).collect::<Vec<_>>(), [old.id]);
    assert!(matches!(tenant.delete_department(&actor(), old.id, None).await, Err(StoreError::NotFound)));

    let heir = made(&tenant, "sales").await;
    assert!(matches!(tenant.restore_department(&actor(), old.id).await, Err(StoreError::NameTaken)));
    tenant.delete_department(&actor(), heir.id, None).await.unwrap();
    let back = tenant.restore_department(&actor(), old.id).await.unwrap().value;
    assert_eq!((back.record.generation, back.record.deleted_at), (Generation(3), None));
    assert_eq!(tenant.restore_department(&actor(), old.id).await.unwrap().value, back);
}

#[tokio::test]
async fn lists_are_paged_and_searched_literally() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for (name, title, external_id) in [("a", "100%", None), ("b", "x_y", Some("EXT\\1")), ("c", "plain", None)] {
        let new =
            NewDepartment { title: title.to_owned(), external_id: external_id.map(str::to_owned), ..department(name) };
        tenant.create_department(&actor(), new).await.unwrap();
    }
    let names = async |page| -> Vec<String> {
        tenant.departments(page).await.unwrap().into_iter().map(|record| record.name.to_string()).collect()
    };
    for (search, found) in
        [("%", vec!["a"]), ("_", vec!["b"]), ("ext\\", vec!["b"]), ("PLAIN", vec!["c"]), ("z", vec![])]
    {
        assert_eq!(names(DepartmentPage { search: Some(search.to_owned()), ..all() }).await, found, "{search}");
    }
    let first = tenant.departments(DepartmentPage { limit: 2, ..Default::default() }).await.unwrap();
    let after = first.last().map(|record| record.id);
    assert_eq!(names(DepartmentPage { after, limit: 2, ..Default::default() }).await, ["c"]);
}
