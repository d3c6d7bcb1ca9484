//! Servers: what is written is read, names are unique, generations guard.

use std::time::Duration;

use model::{Generation, Limits, ServerId, ServerLimits, TenantId, Transport, UpstreamUrl};
use store::{AuditPage, SecretChange, ServerAuth, ServerLimitsPatch, ServerPage, ServerPatch, StoreError};

use crate::house::{House, START, actor, server};

fn all() -> ServerPage {
    ServerPage { limit: 100, ..ServerPage::default() }
}

fn newest(limit: u32) -> AuditPage {
    AuditPage { limit, ..AuditPage::default() }
}

#[tokio::test]
async fn a_created_server_is_read_back_the_same_by_id_name_and_title() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let created = tenant.create_server(&actor(), server("notes")).await.unwrap().value;

    assert_eq!(created.spec.generation, Generation(1));
    assert_eq!((created.created_at, created.updated_at, created.deleted_at), (START, START, None));
    assert_eq!(tenant.server(created.spec.id).await.unwrap(), Some(created.clone()));
    assert_eq!(tenant.server_by_name("notes").await.unwrap(), Some(created.clone()));
    assert_eq!(tenant.server_by_title("notes for people").await.unwrap(), Some(created.clone()));
    assert_eq!(tenant.servers(all()).await.unwrap(), [created]);
    assert_eq!(tenant.server(ServerId::fresh()).await.unwrap(), None);
    assert_eq!(tenant.server_by_name("other").await.unwrap(), None);
    assert_eq!(tenant.server_by_title("notes").await.unwrap(), None);
}

#[tokio::test]
async fn names_and_titles_are_unique_among_the_live_servers_of_a_tenant() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let first = tenant.create_server(&actor(), server("notes")).await.unwrap().value;

    let mut same_name = server("notes");
    same_name.title = "free".to_owned();
    assert!(matches!(tenant.create_server(&actor(), same_name.clone()).await, Err(StoreError::NameTaken)));
    let mut same_title = server("free");
    same_title.title = first.spec.title.clone();
    assert!(matches!(tenant.create_server(&actor(), same_title).await, Err(StoreError::TitleTaken)));
    assert!(other.create_server(&actor(), server("notes")).await.is_ok());

    tenant.delete_server(&actor(), first.spec.id, None).await.unwrap();
    let again = tenant.create_server(&actor(), server("notes")).await.unwrap().value;
    assert_ne!(again.spec.id, first.spec.id);
}

#[tokio::test]
async fn a_change_to_a_taken_name_or_title_is_refused_and_to_its_own_is_not() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let notes = tenant.create_server(&actor(), server("notes")).await.unwrap().value;
    tenant.create_server(&actor(), server("wiki")).await.unwrap();

    let patch = |patch| tenant.patch_server(&ACTOR, notes.spec.id, None, patch);
    static ACTOR: std::sync::LazyLock<store::Actor> = std::sync::LazyLock::new(actor);
    let name = ServerPatch { name: Some("wiki".parse().unwrap()), ..Default::default() };
    assert!(matches!(patch(name).await, Err(StoreError::NameTaken)));
    let title = ServerPatch { title: Some("wiki for people".to_owned()), ..Default::default() };
    assert!(matches!(patch(title).await, Err(StoreError::TitleTaken)));
    let own = ServerPatch { name: Some("notes".parse().unwrap()), trust_hints: Some(false), ..Default::default() };
    assert_eq!(patch(own).await.unwrap().value.spec.generation, Generation(2));
    assert_eq!(tenant.server(notes.spec.id).await.unwrap().unwrap().spec.name, notes.spec.name);
}

#[tokio::test]
async fn fifty_creates_of_one_name_at_once_give_exactly_one_server() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let before = house.store.platform().revision().await.unwrap();

    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let tenant = tenant.clone();
            let mut new = server("notes");
            new.title = format!("title {number}");
            tokio::spawn(async move { tenant.create_server(&actor(), new).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(refused) => assert!(matches!(refused, StoreError::NameTaken), "{refused:?}"),
        }
    }
    assert_eq!(made, 1);
    assert_eq!(tenant.servers(all()).await.unwrap().len(), 1);
    assert_eq!(house.store.platform().revision().await.unwrap().seq, before.seq + 1);
}

#[tokio::test]
async fn two_processes_that_create_one_name_make_one_server() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let second = house.second_process().await.tenant(tenant.id());
    for number in 0..10 {
        let name = format!("notes-{number}");
        let (here, there) = (actor(), actor());
        let (one, two) =
            tokio::join!(tenant.create_server(&here, server(&name)), second.create_server(&there, server(&name)));
        assert_eq!(u32::from(one.is_ok()) + u32::from(two.is_ok()), 1, "{one:?} {two:?}");
    }
}

#[tokio::test]
async fn a_patch_changes_the_named_fields_and_no_others() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let old = tenant.create_server(&actor(), server("notes")).await.unwrap().value;
    house.clock.advance_micros(5);

    let patch = ServerPatch { url: Some(UpstreamUrl::parse("http://new.example/").unwrap()), ..Default::default() };
    let new = tenant.patch_server(&actor(), old.spec.id, Some(Generation(1)), patch).await.unwrap().value;
    let mut expected = old.clone();
    expected.spec.url = UpstreamUrl::parse("http://new.example/").unwrap();
    expected.spec.generation = Generation(2);
    expected.updated_at = START + 5;
    assert_eq!(new, expected);
    assert_eq!(tenant.server(old.spec.id).await.unwrap(), Some(expected));

    let everything = ServerPatch {
        eras: Some(model::Eras { session: Some(true), stateless: Some(false) }),
        name: Some("renamed".parse().unwrap()),
        title: Some("Renamed".to_owned()),
        transport: Some(Transport::Sse),
        url: Some(UpstreamUrl::parse("https://x.example/sse").unwrap()),
        headers: Some(vec![]),
        connect_timeout: Some(Duration::from_secs(9)),
        read_timeout: Some(Duration::from_micros(10_000_999)),
        disabled_tools: Some(vec![]),
        trust_hints: Some(false),
        retry_count: Some(10),
        retry_delay: Some(Duration::from_secs(60)),
        limits: ServerLimitsPatch { concurrent: Some(Some(3)), ..Default::default() },
        description: Some(Some("a text".to_owned())),
        tags: Some(vec!["a".to_owned(), "b".to_owned()]),
        icon: Some(Some("book".to_owned())),
        enabled: Some(false),
        auth: Some(ServerAuth { config: r#"{"type":"bearer"}"#.to_owned(), binding: None, secret: SecretChange::Keep }),
        bare: true,
    };
    let new = tenant.patch_server(&actor(), old.spec.id, None, everything).await.unwrap().value;
    assert_eq!(new.spec.read_timeout, Duration::from_secs(10), "kept in whole milliseconds");
    assert_eq!((new.enabled, new.spec.transport, new.spec.generation), (false, Transport::Sse, Generation(3)));
    assert_eq!((new.spec.retry_count, new.spec.retry_delay), (10, Duration::from_secs(60)));
    assert_eq!((new.description.as_deref(), new.icon.as_deref(), new.tags.len()), (Some("a text"), Some("book"), 2));
    assert_eq!(tenant.server(old.spec.id).await.unwrap(), Some(new));
}

#[tokio::test]
async fn absent_keeps_and_null_clears() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut new = server("notes");
    new.description = Some("a text".to_owned());
    new.icon = Some("book".to_owned());
    new.limits = ServerLimits { concurrent: Some(4), response_bytes: Some(5), call_secs: Some(6) };
    let old = tenant.create_server(&actor(), new).await.unwrap().value;
    let patch = ServerPatch {
        description: Some(None),
        limits: ServerLimitsPatch { response_bytes: Some(None), call_secs: Some(Some(9)), ..Default::default() },
        ..Default::default()
    };
    let new = tenant.patch_server(&actor(), old.spec.id, None, patch).await.unwrap().value;
    assert_eq!((new.description.as_ref(), new.icon.as_deref()), (None, Some("book")));
    let limits = ServerLimits { concurrent: Some(4), response_bytes: None, call_secs: Some(9) };
    assert_eq!(new.spec.limits, limits);
    assert_eq!(tenant.server(old.spec.id).await.unwrap(), Some(new));
}

#[tokio::test]
async fn who_made_and_who_changed_a_server_are_known() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let made = tenant.create_server(&store::Actor::system("importer"), server("notes")).await.unwrap().value;
    assert_eq!((made.created_by.as_deref(), made.updated_by.as_deref()), (Some("importer"), Some("importer")));
    let patch = ServerPatch { enabled: Some(false), ..Default::default() };
    let changed = tenant.patch_server(&actor(), made.spec.id, None, patch).await.unwrap().value;
    assert_eq!(changed.created_by.as_deref(), Some("importer"));
    assert_eq!(changed.updated_by.as_deref(), Some("adminadminadmin0"));
}

#[tokio::test]
async fn two_hundred_edits_that_name_what_they_read_lose_no_update() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut new = server("notes");
    new.disabled_tools = Vec::new();
    let id = tenant.create_server(&actor(), new).await.unwrap().value.spec.id;
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let tenant = tenant.clone();
            tokio::spawn(async move {
                loop {
                    let read = tenant.server(id).await.unwrap().unwrap().spec;
                    let mut tools = read.disabled_tools;
                    tools.push(format!("tool {number}"));
                    let patch = ServerPatch { disabled_tools: Some(tools), ..Default::default() };
                    match tenant.patch_server(&actor(), id, Some(read.generation), patch).await {
                        Err(StoreError::Stale { current }) => assert!(current > read.generation),
                        done => break done.unwrap(),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let spec = tenant.server(id).await.unwrap().unwrap().spec;
    assert_eq!(spec.generation, Generation(201));
    let mut tools = spec.disabled_tools;
    tools.sort_unstable();
    tools.dedup();
    assert_eq!(tools.len(), 200);
}

#[tokio::test]
async fn tools_that_are_switched_at_once_are_all_switched() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut new = server("notes");
    new.disabled_tools = (0..20).map(|number| format!("old {number}")).collect();
    let id = tenant.create_server(&actor(), new).await.unwrap().value.spec.id;
    let tasks: Vec<_> = (0..20)
        .flat_map(|number| [(format!("old {number}"), true), (format!("new {number}"), false)])
        .map(|(tool, enabled)| {
            let tenant = tenant.clone();
            tokio::spawn(async move { tenant.set_tool(&actor(), id, None, &tool, enabled).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let spec = tenant.server(id).await.unwrap().unwrap().spec;
    let mut tools = spec.disabled_tools;
    tools.sort_unstable();
    let mut expected: Vec<_> = (0..20).map(|number| format!("new {number}")).collect();
    expected.sort_unstable();
    assert_eq!((tools, spec.generation), (expected, Generation(41)));

    let before = house.store.platform().revision().await.unwrap();
    let again = tenant.set_tool(&actor(), id, None, "new 0", false).await.unwrap();
    assert_eq!((again.value.spec.generation, again.revision), (Generation(41), before), "nothing to switch");
    let stale = tenant.set_tool(&actor(), id, Some(Generation(1)), "new 0", true).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(41) })));
}

#[tokio::test]
async fn a_change_at_another_generation_is_stale_and_changes_nothing() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    let disable = || ServerPatch { enabled: Some(false), ..Default::default() };
    let before = house.store.platform().revision().await.unwrap();

    for expected in [Generation(0), Generation(2), Generation(i64::MAX)] {
        let refused = tenant.patch_server(&actor(), id, Some(expected), disable()).await;
        assert!(matches!(refused, Err(StoreError::Stale { current: Generation(1) })));
        let refused = tenant.delete_server(&actor(), id, Some(expected)).await;
        assert!(matches!(refused, Err(StoreError::Stale { current: Generation(1) })));
    }
    assert_eq!(house.store.platform().revision().await.unwrap(), before);
    assert!(tenant.server(id).await.unwrap().unwrap().enabled);
}

#[tokio::test]
async fn of_many_changes_at_one_generation_exactly_one_wins() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let tenant = tenant.clone();
            let patch = ServerPatch { title: Some(format!("title {number}")), ..Default::default() };
            tokio::spawn(async move { tenant.patch_server(&actor(), id, Some(Generation(1)), patch).await })
        })
        .collect();
    let mut won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => won += 1,
            Err(refused) => assert!(matches!(refused, StoreError::Stale { current: Generation(2) }), "{refused:?}"),
        }
    }
    assert_eq!(won, 1);
}

#[tokio::test]
async fn a_patch_that_changes_nothing_commits_nothing() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let created = tenant.create_server(&actor(), server("notes")).await.unwrap();
    let same = ServerPatch { enabled: Some(true), name: Some("notes".parse().unwrap()), ..Default::default() };
    let answer = tenant.patch_server(&actor(), created.value.spec.id, None, same).await.unwrap();
    assert_eq!(answer, created);
    assert_eq!(house.store.platform().revision().await.unwrap(), created.revision);
    assert_eq!(tenant.audit(newest(10)).await.unwrap().len(), 2, "the tenant's and the server's creation");
}

#[tokio::test]
async fn a_deleted_server_is_gone_from_every_read_and_every_change() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    tenant.delete_server(&actor(), id, Some(Generation(1))).await.unwrap();

    assert_eq!(tenant.server(id).await.unwrap(), None);
    assert_eq!(tenant.server_by_name("notes").await.unwrap(), None);
    assert_eq!(tenant.server_by_title("notes for people").await.unwrap(), None);
    assert!(tenant.servers(all()).await.unwrap().is_empty());
    assert!(matches!(tenant.delete_server(&actor(), id, None).await, Err(StoreError::NotFound)));
    let patch = ServerPatch { enabled: Some(true), ..Default::default() };
    assert!(matches!(tenant.patch_server(&actor(), id, None, patch).await, Err(StoreError::NotFound)));
}

#[tokio::test]
async fn the_tenants_quota_counts_live_servers_only() {
    let house = House::new().await;
    let tenant = house.tenant_with("acme", Limits { servers: 2, ..Limits::default() }).await;
    let tenant = house.store.tenant(tenant.spec.id);
    let first = tenant.create_server(&actor(), server("a")).await.unwrap().value;
    tenant.create_server(&actor(), server("b")).await.unwrap();
    assert!(matches!(tenant.create_server(&actor(), server("c")).await, Err(StoreError::Quota { limit: 2 })));
    tenant.delete_server(&actor(), first.spec.id, None).await.unwrap();
    assert!(tenant.create_server(&actor(), server("c")).await.is_ok());
}

#[tokio::test]
async fn an_unknown_tenant_has_nothing_and_gets_nothing() {
    let house = House::new().await;
    let nobody = house.store.tenant(TenantId::fresh());
    assert!(matches!(nobody.create_server(&actor(), server("notes")).await, Err(StoreError::NotFound)));
    assert!(nobody.servers(all()).await.unwrap().is_empty());
}

#[tokio::test]
async fn lists_are_paged_in_the_order_of_making() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(tenant.create_server(&actor(), server(&format!("s{number}"))).await.unwrap().value.spec.id);
    }
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = tenant.servers(ServerPage { after, limit: 3, ..ServerPage::default() }).await.unwrap();
        assert!(page.len() <= 3);
        let Some(last) = page.last() else { break };
        after = Some(last.spec.id);
        seen.extend(page.iter().map(|record| record.spec.id));
    }
    assert_eq!(seen, ids);
    assert_eq!(tenant.servers(ServerPage::default()).await.unwrap().len(), 1, "a limit of 0 is 1");
}

#[tokio::test]
async fn lists_are_searched_literally_and_whatever_the_case() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for (name, title) in [("notes", "100% Sure"), ("wiki", "a_b"), ("mail", "axb \\ c"), ("ecole", "École")] {
        let mut new = server(name);
        new.title = title.to_owned();
        tenant.create_server(&actor(), new).await.unwrap();
    }
    let disabled = ServerPatch { enabled: Some(false), ..Default::default() };
    let mail = tenant.server_by_name("mail").await.unwrap().unwrap().spec.id;
    tenant.patch_server(&actor(), mail, None, disabled).await.unwrap();

    for (search, enabled, found) in [
        (Some("NOTE"), None, vec!["notes"]),
        (Some("%"), None, vec!["notes"]),
        (Some("_"), None, vec!["wiki"]),
        (Some("\\"), None, vec!["mail"]),
        (Some("sure"), None, vec!["notes"]),
        (Some("'; drop table server; --"), None, vec![]),
        (Some("École"), None, vec!["ecole"]),
        (Some("\\%"), None, vec![]),
        (Some(""), None, vec!["notes", "wiki", "mail", "ecole"]),
        (None, Some(true), vec!["notes", "wiki", "ecole"]),
        (None, Some(false), vec!["mail"]),
        (Some("i"), Some(true), vec!["wiki"]),
    ] {
        let page = ServerPage { search: search.map(str::to_owned), enabled, limit: 10, ..ServerPage::default() };
        let names: Vec<_> =
            tenant.servers(page).await.unwrap().into_iter().map(|record| record.spec.name.to_string()).collect();
        assert_eq!(names, found, "{search:?} {enabled:?}");
    }
}

#[tokio::test]
async fn every_change_has_an_audit_row_without_secrets() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("notes")).await.unwrap().value.spec.id;
    let disable = ServerPatch { enabled: Some(false), ..Default::default() };
    tenant.patch_server(&actor(), id, None, disable).await.unwrap();
    tenant.delete_server(&actor(), id, None).await.unwrap();

    let rows = tenant.audit(newest(10)).await.unwrap();
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(actions, ["server.delete", "server.change", "server.create", "tenant.create"]);
    for row in &rows[..3] {
        assert_eq!(row.object, format!("server/{id}"));
        assert_eq!(
            (row.actor.as_str(), row.actor_kind.as_str(), row.result.as_str()),
            ("adminadminadmin0", "key", "ok")
        );
        assert_eq!((row.ts, row.ip.as_deref(), row.trace_id.as_deref()), (START, Some("127.0.0.1"), Some("trace-1")));
        assert_eq!(row.tenant, Some(tenant.id()));
        let texts = format!("{:?}{:?}", row.before, row.after);
        assert!(texts.contains("X-Team") && !texts.contains("second") && !texts.contains("hidden"), "{texts}");
    }
    assert_eq!((rows[0].after.is_none(), rows[2].before.is_none()), (true, true));
    assert!(rows[1].before.as_ref().unwrap().contains("\"enabled\":true"));
    assert!(rows[1].after.as_ref().unwrap().contains("\"enabled\":false"));
    assert_eq!(tenant.audit(newest(2)).await.unwrap(), rows[..2]);
}

#[tokio::test]
async fn lists_are_narrowed_to_exactly_one_tag() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for (name, tags) in [
        ("one", vec!["prod", "eu"]),
        ("two", vec!["prod-eu", "a\"prod"]),
        ("three", vec!["Prod", "\\"]),
        ("four", vec!["eu", "x%y", "prod"]),
    ] {
        let mut new = server(name);
        new.tags = tags.into_iter().map(str::to_owned).collect();
        tenant.create_server(&actor(), new).await.unwrap();
    }
    for (tag, found) in [
        ("prod", vec!["one", "four"]),
        ("eu", vec!["one", "four"]),
        ("Prod", vec!["three"]),
        ("a\"prod", vec!["two"]),
        ("\\", vec!["three"]),
        ("x%y", vec!["four"]),
        ("%", vec![]),
        ("pro", vec![]),
        ("", vec![]),
    ] {
        let page = ServerPage { tag: Some(tag.to_owned()), ..all() };
        let names: Vec<_> =
            tenant.servers(page).await.unwrap().into_iter().map(|record| record.spec.name.to_string()).collect();
        assert_eq!(names, found, "{tag}");
    }
}
