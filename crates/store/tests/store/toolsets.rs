//! Toolsets: what is written is read and reaches proxies, and only servers that are there can be named.

use model::{Generation, Listing, Resource, ResourceName, ServerId, ToolsetId, ToolsetSpec, ToolsetTool};
use store::{AuditPage, NewToolset, StoreError, TenantPatch, TenantStore, ToolsetPage, ToolsetPatch, ToolsetRecord};

use crate::house::{House, START, actor, server};

fn new(name: &str, tools: Vec<ToolsetTool>) -> NewToolset {
    NewToolset {
        name: name.parse().unwrap(),
        title: format!("{name} for people"),
        description: Some("What it is for".to_owned()),
        listing: Listing::Search,
        tools,
    }
}

fn entry(server: ServerId, tool: &str) -> ToolsetTool {
    ToolsetTool { server, tool: tool.to_owned(), name: None, description: None }
}

async fn made(tenant: &TenantStore, name: &str) -> ToolsetRecord {
    tenant.create_toolset(&actor(), new(name, vec![])).await.unwrap().value
}

async fn notes(tenant: &TenantStore) -> ServerId {
    tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id
}

async fn seq(house: &House) -> i64 {
    house.store.platform().revision().await.unwrap().seq
}

/// What proxies are told after a seq: name, removed, urgent.
async fn told(house: &House, since: i64) -> Vec<(ResourceName, bool, bool)> {
    let rows = house.store.platform().outbox_since(since, 100).await.unwrap();
    rows.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect()
}

async fn intended(house: &House) -> Vec<ToolsetSpec> {
    let resources = house.store.platform().intended().await.unwrap().resources.into_iter();
    let toolsets = resources.filter_map(|resource| match resource {
        Resource::Toolset(spec) => Some(spec),
        _ => None,
    });
    toolsets.collect()
}

#[tokio::test]
async fn a_created_toolset_is_read_back_the_same_and_is_intended() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let notes = notes(&tenant).await;
    let renamed = ToolsetTool {
        name: Some("find".to_owned()),
        description: Some("Finds.\nQuickly.".to_owned()),
        ..entry(notes, "search.notes")
    };
    let tools = vec![renamed, entry(notes, "*")];
    let since = seq(&house).await;
    let record = tenant.create_toolset(&actor(), new("office", tools.clone())).await.unwrap().value;
    let id = record.spec.id;
    assert_eq!((record.spec.generation, record.created_at, &record.spec.tools), (Generation(1), START, &tools));
    assert_eq!(tenant.toolset(id).await.unwrap(), Some(record.clone()));
    assert_eq!(tenant.toolset_by_name("office").await.unwrap(), Some(record.clone()));
    assert_eq!(tenant.toolset(ToolsetId::fresh()).await.unwrap(), None);
    assert_eq!(intended(&house).await, [record.spec]);
    assert_eq!(told(&house, since).await, [(ResourceName::Toolset(id), false, false)]);
}

#[tokio::test]
async fn a_change_keeps_what_is_absent_and_raises_the_generation() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (old, notes) = (made(&tenant, "office").await, notes(&tenant).await);
    let (id, since) = (old.spec.id, seq(&house).await);
    house.clock.advance_micros(5);
    let patch = ToolsetPatch {
        description: Some(None),
        listing: Some(Listing::Tools),
        tools: Some(vec![entry(notes, "search")]),
        ..Default::default()
    };
    let changed = tenant.change_toolset(&actor(), id, Some(Generation(1)), patch.clone()).await.unwrap().value;
    let mut expected = old.clone();
    (expected.spec.description, expected.spec.listing) = (None, Listing::Tools);
    (expected.spec.tools, expected.spec.generation) = (vec![entry(notes, "search")], Generation(2));
    expected.updated_at = START + 5;
    assert_eq!(changed, expected);
    assert_eq!(tenant.toolset(id).await.unwrap(), Some(expected.clone()));
    assert_eq!((told(&house, since).await.len(), intended(&house).await), (1, vec![expected.spec]));

    let same = tenant.change_toolset(&actor(), id, None, patch).await.unwrap();
    assert_eq!(same.value.spec.generation, Generation(2), "nothing to change");
    let stale = tenant.change_toolset(&actor(), id, Some(Generation(1)), ToolsetPatch::default()).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(2) })), "{stale:?}");
    let none = tenant.change_toolset(&actor(), ToolsetId::fresh(), None, ToolsetPatch::default()).await;
    assert!(matches!(none, Err(StoreError::NotFound)), "{none:?}");
}

#[tokio::test]
async fn a_toolsets_name_is_unique_in_its_tenant_only() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    made(&tenant, "office").await;
    made(&other, "office").await;
    let taken = tenant.create_toolset(&actor(), new("office", vec![])).await;
    assert!(matches!(taken, Err(StoreError::NameTaken)), "{taken:?}");
    let second = made(&tenant, "second").await;
    let name = ToolsetPatch { name: Some("office".parse().unwrap()), ..Default::default() };
    let taken = tenant.change_toolset(&actor(), second.spec.id, None, name).await;
    assert!(matches!(taken, Err(StoreError::NameTaken)), "{taken:?}");
}

#[tokio::test]
async fn only_live_servers_come_in_and_those_that_go_keep_their_entries() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let (mine, theirs) = (notes(&tenant).await, notes(&other).await);
    for server in [theirs, ServerId::fresh()] {
        let tools = vec![entry(mine, "a"), entry(server, "a")];
        let refused = tenant.create_toolset(&actor(), new("office", tools)).await;
        assert!(matches!(refused, Err(StoreError::NoServer)), "{refused:?}");
    }
    let record = tenant.create_toolset(&actor(), new("office", vec![entry(mine, "a")])).await.unwrap().value;
    tenant.delete_server(&actor(), mine, None).await.unwrap();
    assert_eq!(tenant.toolset(record.spec.id).await.unwrap().unwrap().spec.tools, record.spec.tools);
    let kept = vec![entry(mine, "b")];
    let patch = |tools: &[ToolsetTool]| ToolsetPatch { tools: Some(tools.to_vec()), ..Default::default() };
    tenant.change_toolset(&actor(), record.spec.id, None, patch(&kept)).await.unwrap();
    let refused = tenant.create_toolset(&actor(), new("late", kept.clone())).await;
    assert!(matches!(refused, Err(StoreError::NoServer)), "it is deleted: {refused:?}");
    tenant.restore_server(&actor(), mine).await.unwrap();
    assert_eq!(intended(&house).await[0].tools, kept);
}

#[tokio::test]
async fn a_deleted_toolset_is_gone_and_the_audit_knows_what_it_was() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let record = made(&tenant, "office").await;
    let (id, since) = (record.spec.id, seq(&house).await);
    let stale = tenant.delete_toolset(&actor(), id, Some(Generation(2))).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })), "{stale:?}");
    tenant.delete_toolset(&actor(), id, Some(Generation(1))).await.unwrap();
    assert_eq!(told(&house, since).await, [(ResourceName::Toolset(id), true, false)]);
    let all = ToolsetPage { limit: 100, ..ToolsetPage::default() };
    assert_eq!((tenant.toolsets(all).await.unwrap(), intended(&house).await), (vec![], vec![]));
    let page = AuditPage { object: Some(format!("toolset/{id}")), limit: 10, ..Default::default() };
    let actions: Vec<_> = tenant.audit(page).await.unwrap().into_iter().map(|row| row.action).collect();
    assert_eq!(actions, ["toolset.delete", "toolset.create"]);
}

#[tokio::test]
async fn a_tenants_toolsets_come_and_go_with_it() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let name = ResourceName::Toolset(made(&tenant, "office").await.spec.id);
    for (active, removed) in [(false, true), (true, false)] {
        let since = seq(&house).await;
        let patch = TenantPatch { active: Some(active), ..Default::default() };
        house.store.platform().patch_tenant(&actor(), tenant.id(), None, patch).await.unwrap();
        assert!(told(&house, since).await.iter().any(|row| (row.0, row.1) == (name, removed)), "{active}");
        assert_eq!(intended(&house).await.len(), usize::from(active));
    }
}

#[tokio::test]
async fn toolsets_are_paged_and_searched_literally() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for (name, title) in [("a", "100%"), ("b", "x_y"), ("c", "plain")] {
        tenant.create_toolset(&actor(), NewToolset { title: title.to_owned(), ..new(name, vec![]) }).await.unwrap();
    }
    let names = async |page| -> Vec<String> {
        tenant.toolsets(page).await.unwrap().into_iter().map(|record| record.spec.name.to_string()).collect()
    };
    for (search, found) in [("%", vec!["a"]), ("_", vec!["b"]), ("PLAIN", vec!["c"])] {
        let page = ToolsetPage { search: Some(search.to_owned()), limit: 9, ..Default::default() };
        assert_eq!(names(page).await, found, "{search}");
    }
    let first = tenant.toolsets(ToolsetPage { limit: 2, ..Default::default() }).await.unwrap();
    let after = first.last().map(|record| record.spec.id);
    assert_eq!(names(ToolsetPage { after, limit: 2, ..Default::default() }).await, ["c"]);
}
