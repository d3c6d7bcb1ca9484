//! Tenants: changed, switched off, deleted, restored, erased, with all that is theirs.

use std::time::Duration;

use model::{Generation, KeyRole, Limits, ResourceName, TenantId, TenantSpec};
use store::{
    AuditPage, LimitsPatch, NewEgressRule, NewIssuer, NewTenant, NewUser, StoreError, TenantPage, TenantPatch,
    TenantRecord,
};

use crate::departments::made as department;
use crate::house::{House, START, actor, issuer, key, key_id, server};

fn all() -> TenantPage {
    TenantPage { limit: 100, ..TenantPage::default() }
}

async fn made(house: &House, name: &str) -> TenantRecord {
    let new = NewTenant::new(name.parse().unwrap());
    house.store.platform().create_tenant(&actor(), new).await.unwrap().value
}

fn active(active: bool) -> TenantPatch {
    TenantPatch { active: Some(active), ..TenantPatch::default() }
}

#[tokio::test]
async fn a_tenant_of_which_nothing_was_said_has_the_defaults() {
    let house = House::new().await;
    let acme = made(&house, "acme").await;
    assert_eq!((acme.title.as_str(), acme.active, acme.generation), ("acme", true, Generation(1)));
    assert_eq!((acme.pools.as_slice(), acme.spec.limits), (&["default".to_owned()][..], Limits::default()));
    assert_eq!(acme.spec.stale_after, Some(TenantSpec::STALE_AFTER));
    assert_eq!(acme.max_stale_credential, Duration::from_secs(4 * 3_600));
    assert_eq!(house.store.tenant(acme.spec.id).tenant().await.unwrap(), Some(acme));
    assert_eq!(house.store.tenant(TenantId::fresh()).tenant().await.unwrap(), None);
}

#[tokio::test]
async fn ten_creates_of_one_name_at_once_give_exactly_one_tenant() {
    let house = House::new().await;
    let tasks: Vec<_> = (0..10)
        .map(|_| {
            let platform = house.store.platform();
            let new = NewTenant::new("acme".parse().unwrap());
            tokio::spawn(async move { platform.create_tenant(&actor(), new).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(refused) => assert!(matches!(refused, StoreError::NameTaken), "{refused:?}"),
        }
    }
    assert_eq!((made, house.store.platform().tenants(all()).await.unwrap().len()), (1, 1));
}

#[tokio::test]
async fn a_patch_changes_the_named_settings_and_no_others() {
    let house = House::new().await;
    let platform = house.store.platform();
    let old = made(&house, "acme").await;
    let id = old.spec.id;
    house.clock.advance_micros(5);
    let patch = TenantPatch {
        title: Some("Acme".to_owned()),
        limits: LimitsPatch { servers: Some(7), ..Default::default() },
        pools: Some(vec!["eu".to_owned(), "us".to_owned()]),
        stale_after: Some(None),
        max_stale_credential: Some(Duration::from_millis(2_500)),
        authorization_server: Some(true),
        local_accounts: Some(false),
        active: None,
    };
    let new = platform.patch_tenant(&actor(), id, Some(Generation(1)), patch.clone()).await.unwrap().value;
    let mut expected = old.clone();
    expected.title = "Acme".to_owned();
    expected.spec.limits.servers = 7;
    expected.pools = vec!["eu".to_owned(), "us".to_owned()];
    expected.spec.stale_after = None;
    expected.max_stale_credential = Duration::from_secs(2);
    expected.spec.authorization_server = true;
    expected.local_accounts = false;
    expected.generation = Generation(2);
    expected.updated_at = START + 5;
    assert_eq!(new, expected);
    assert_eq!(platform.tenant(id).await.unwrap(), Some(expected.clone()));
    assert_eq!(platform.patch_tenant(&actor(), id, None, patch).await.unwrap().value, expected, "nothing to change");
    let stale = platform.patch_tenant(&actor(), id, Some(Generation(1)), active(false)).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(2) })));
    let again = TenantPatch { stale_after: Some(Some(Duration::from_millis(9_999))), ..Default::default() };
    let again = platform.patch_tenant(&actor(), id, None, again).await.unwrap().value;
    assert_eq!(again.spec.stale_after, Some(Duration::from_secs(9)), "kept in whole seconds");
    assert_eq!(again.pools, expected.pools);
}

#[tokio::test]
async fn an_inactive_or_deleted_tenant_takes_all_it_has_with_it_urgently_and_brings_it_back() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let platform = house.store.platform();
    let id = tenant.id();
    let mounted = tenant.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let mut disabled = server("b");
    disabled.enabled = false;
    tenant.create_server(&actor(), disabled).await.unwrap();
    tenant.create_key(&actor(), key(id, 1)).await.unwrap();
    tenant.create_key(&actor(), key(id, 2)).await.unwrap();
    tenant.revoke_key(&actor(), key_id(2)).await.unwrap();
    other.create_server(&actor(), server("a")).await.unwrap();
    let sleeper = NewUser {
        login: "ann".to_owned(),
        title: String::new(),
        external_id: None,
        departments: Vec::new(),
        role: KeyRole::User,
        active: false,
    };
    let sleeper = tenant.create_user(&actor(), sleeper).await.unwrap().value.id;
    let mut asleep = key(id, 3);
    asleep.verifier.user = Some(sleeper);
    tenant.create_key(&actor(), asleep).await.unwrap();

    let rule = NewEgressRule {
        tenant: Some(id),
        host: "notes.internal".parse().unwrap(),
        ports: None,
        http: true,
        reason: "in the cluster".to_owned(),
    };
    let rule = platform.create_egress_rule(&actor(), rule).await.unwrap().value.rule.id;

    let known = tenant.create_issuer(&actor(), issuer("known")).await.unwrap().value.id;
    tenant.create_issuer(&actor(), NewIssuer { enabled: false, ..issuer("disabled") }).await.unwrap();
    let mut names = [
        ResourceName::User(sleeper),
        ResourceName::Issuer(known),
        ResourceName::Tenant(id),
        ResourceName::Server(mounted),
        ResourceName::Key(key_id(1)),
        ResourceName::Egress(rule),
    ];
    names.sort_by_key(ToString::to_string);
    let told = async |since: i64| -> Vec<_> {
        let rows = platform.outbox_since(since, 100).await.unwrap();
        rows.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect()
    };
    let all = |gone| names.map(|name| (name, gone, gone));
    let live = async || platform.live_key(key_id(1)).await.unwrap().is_some();
    let seq = async || platform.revision().await.unwrap().seq;

    let since = seq().await;
    platform.patch_tenant(&actor(), id, None, active(false)).await.unwrap();
    assert_eq!((told(since).await, live().await), (all(true).to_vec(), false));
    let since = seq().await;
    let late = tenant.create_server(&actor(), server("late")).await.unwrap().value.spec.id;
    assert_eq!(told(since).await, [(ResourceName::Server(late), true, false)], "made, but not to be mounted");
    tenant.delete_server(&actor(), late, None).await.unwrap();
    let since = seq().await;
    platform.patch_tenant(&actor(), id, None, active(true)).await.unwrap();
    assert_eq!((told(since).await, live().await), (all(false).to_vec(), true));
    let since = seq().await;
    platform.delete_tenant(&actor(), id, None).await.unwrap();
    assert_eq!((told(since).await, live().await), (all(true).to_vec(), false));
    let since = seq().await;
    platform.restore_tenant(&actor(), id).await.unwrap();
    assert_eq!((told(since).await, live().await), (all(false).to_vec(), true));
}

#[tokio::test]
async fn a_deleted_tenant_is_gone_keeps_its_name_and_takes_no_changes() {
    let house = House::new().await;
    let (tenant, platform) = (house.tenant("acme").await, house.store.platform());
    let id = tenant.id();
    platform.delete_tenant(&actor(), id, Some(Generation(1))).await.unwrap();
    assert_eq!((platform.tenant(id).await.unwrap(), platform.tenant_by_name("acme").await.unwrap()), (None, None));
    assert_eq!((platform.tenants(all()).await.unwrap(), tenant.tenant().await.unwrap()), (vec![], None));
    let tomb = platform.deleted_tenant(id).await.unwrap().unwrap();
    assert_eq!(platform.deleted_tenant_by_name("acme").await.unwrap(), Some(tomb.clone()));
    assert_eq!(platform.tenants(TenantPage { deleted: true, ..all() }).await.unwrap(), [tomb]);
    let heir = NewTenant::new("acme".parse().unwrap());
    assert!(matches!(platform.create_tenant(&actor(), heir).await, Err(StoreError::NameTaken)));
    assert!(matches!(tenant.create_server(&actor(), server("a")).await, Err(StoreError::NotFound)));
    assert!(matches!(tenant.create_key(&actor(), key(id, 1)).await, Err(StoreError::NotFound)));
    assert!(matches!(platform.delete_tenant(&actor(), id, None).await, Err(StoreError::NotFound)));
    assert!(matches!(platform.patch_tenant(&actor(), id, None, active(false)).await, Err(StoreError::NotFound)));
    let back = platform.restore_tenant(&actor(), id).await.unwrap().value;
    assert!(back.enter_again.is_empty());
    assert_eq!(platform.tenant(id).await.unwrap(), Some(back.record.clone()));
    assert_eq!(platform.restore_tenant(&actor(), id).await.unwrap().value, back);
}

#[tokio::test]
async fn an_erased_tenant_leaves_its_audit_and_nothing_else() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let platform = house.store.platform();
    let id = tenant.id();
    for tenant in [&tenant, &other] {
        let sales = department(tenant, "sales").await;
        let new = NewUser {
            login: "ann".to_owned(),
            title: String::new(),
            external_id: None,
            departments: vec![sales.id],
            role: KeyRole::User,
            active: true,
        };
        let ann = tenant.create_user(&actor(), new).await.unwrap().value.id;
        let mut new = key(tenant.id(), if tenant.id() == id { 1 } else { 2 });
        new.verifier.user = Some(ann);
        tenant.create_key(&actor(), new).await.unwrap();
        tenant.create_server(&actor(), server("notes")).await.unwrap();
        let rule = NewEgressRule {
            tenant: Some(tenant.id()),
            host: "10.0.0.0/8".parse().unwrap(),
            ports: None,
            http: false,
            reason: "in the cluster".to_owned(),
        };
        platform.create_egress_rule(&actor(), rule).await.unwrap();
    }
    assert!(matches!(platform.purge_tenant(&actor(), id).await, Err(StoreError::StillLive)));
    platform.delete_tenant(&actor(), id, None).await.unwrap();
    platform.purge_tenant(&actor(), id).await.unwrap();
    assert_eq!(platform.deleted_tenant(id).await.unwrap(), None);
    assert!(matches!(platform.purge_tenant(&actor(), id).await, Err(StoreError::NotFound)));
    assert_eq!(platform.key(key_id(1)).await.unwrap(), None);
    assert!(platform.key(key_id(2)).await.unwrap().is_some());
    let rules = platform.egress_rules(store::EgressRulePage { limit: 10, ..Default::default() }).await.unwrap();
    assert_eq!(rules.iter().map(|record| record.rule.tenant).collect::<Vec<_>>(), [Some(other.id())]);
    assert_eq!(other.users(store::UserPage { limit: 9, ..Default::default() }).await.unwrap().len(), 1);
    let audit = tenant.audit(AuditPage { limit: 1, ..AuditPage::default() }).await.unwrap();
    assert_eq!(audit[0].action, "tenant.purge");
    assert_eq!(made(&house, "acme").await.spec.name.as_str(), "acme", "the name is free now");
}

#[tokio::test]
async fn lists_are_paged_searched_literally_and_narrowed() {
    let house = House::new().await;
    let platform = house.store.platform();
    for (name, title) in [("a", "100%"), ("b", "x_y"), ("c", "Plain")] {
        let new = NewTenant { title: title.to_owned(), ..NewTenant::new(name.parse().unwrap()) };
        platform.create_tenant(&actor(), new).await.unwrap();
    }
    let b = platform.tenant_by_name("b").await.unwrap().unwrap().spec.id;
    platform.patch_tenant(&actor(), b, None, active(false)).await.unwrap();
    let names = async |page| -> Vec<String> {
        platform.tenants(page).await.unwrap().into_iter().map(|record| record.spec.name.to_string()).collect()
    };
    for (search, found) in [("%", vec!["a"]), ("_", vec!["b"]), ("pLAIN", vec!["c"]), ("\\", vec![])] {
        assert_eq!(names(TenantPage { search: Some(search.to_owned()), ..all() }).await, found, "{search}");
    }
    assert_eq!(names(TenantPage { active: Some(true), ..all() }).await, ["a", "c"]);
    assert_eq!(names(TenantPage { after: Some(b), ..all() }).await, ["c"]);
    assert_eq!(names(TenantPage { limit: 2, ..TenantPage::default() }).await, ["a", "b"]);
}
