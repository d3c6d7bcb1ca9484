//! Connections: one for each server and holder, found, changed, and counted by how they fare.

use model::{ConnectionId, ConnectionStatus, DepartmentId, Generation, Holder, Scope, ServerId, UserId};
use store::{
    AuditPage, ConnectionHealth, ConnectionPage, ConnectionPatch, ConnectionRecord, ConnectionSummary,
    CredentialChange, NewConnection, NewCredential, Reference, SecretChange, ServerAuth, ServerPatch, StoreError,
    TenantStore,
};

use crate::house::{House, actor, connection, department_in, server, server_for, user_in};

pub(crate) async fn server_in(tenant: &TenantStore, name: &str, scopes: &[Scope]) -> ServerId {
    tenant.create_server(&actor(), server_for(name, scopes)).await.unwrap().value.spec.id
}

fn all() -> ConnectionPage {
    ConnectionPage { limit: 100, ..Default::default() }
}

async fn listed(tenant: &TenantStore, page: ConnectionPage) -> Vec<ConnectionId> {
    tenant.connections(page).await.unwrap().into_iter().map(|record| record.id).collect()
}

#[tokio::test]
async fn a_connection_comes_back_as_it_was_made() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = server_in(&tenant, "notes", &[Scope::User, Scope::Department]).await;
    let ann = user_in(&tenant, "ann").await;
    let new = NewConnection {
        display_name: Some("Ann's ☃".to_owned()),
        external_subject: Some("ann@upstream".to_owned()),
        token: Some(vec![0, 255]),
        token_expires_at: Some(9),
        refreshable: true,
        meta: r#"{"a":1}"#.to_owned(),
        import_digest: Some(vec![5; 32]),
        ..connection(server, Holder::User(ann))
    };
    let made = tenant.create_connection(&actor(), new).await.unwrap().value;
    assert_eq!((made.holder_name.as_deref(), made.generation), (Some("ann"), Generation(1)));
    assert_eq!((made.credential_version, made.token_generation), (1, 1));
    assert_eq!((made.credential.as_deref(), made.token.as_deref()), (Some(&[1, 2, 3][..]), Some(&[0, 255][..])));
    assert_eq!(tenant.connection(made.id).await.unwrap().as_ref(), Some(&made));
    assert_eq!(tenant.connection_of(server, Holder::User(ann)).await.unwrap().as_ref(), Some(&made));
    assert_eq!(tenant.connection_of(server, Holder::Global).await.unwrap(), None);

    let sales = department_in(&tenant, "sales").await;
    let reference = Reference { source: "files".to_owned(), name: "notes/key".to_owned() };
    let new = NewConnection {
        reference: Some(reference.clone()),
        credential: None,
        ..connection(server, Holder::Department(sales))
    };
    let made = tenant.create_connection(&actor(), new).await.unwrap().value;
    assert_eq!((made.holder_name.as_deref(), made.reference.as_ref()), (Some("sales"), Some(&reference)));
    assert_eq!(tenant.connection(made.id).await.unwrap(), Some(made));
}

#[tokio::test]
async fn there_is_one_connection_for_each_server_and_holder() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (a, b) = (server_in(&tenant, "a", &Scope::ALL).await, server_in(&tenant, "b", &Scope::ALL).await);
    let (ann, sales) = (user_in(&tenant, "ann").await, department_in(&tenant, "sales").await);
    for server in [a, b] {
        for holder in [Holder::Global, Holder::User(ann), Holder::Department(sales)] {
            tenant.create_connection(&actor(), connection(server, holder)).await.unwrap();
            let again = tenant.create_connection(&actor(), connection(server, holder)).await;
            assert!(matches!(again, Err(StoreError::ConnectionExists)), "{again:?}");
        }
    }
    let attempts = (0..8).map(|_| {
        let (tenant, server) = (tenant.clone(), a);
        tokio::spawn(async move {
            let bob = user_in(&tenant, &format!("bob{}", uuid::Uuid::now_v7())).await;
            let made = |_| {
                let tenant = tenant.clone();
                async move { tenant.create_connection(&actor(), connection(server, Holder::User(bob))).await.is_ok() }
            };
            futures::future::join_all((0..4).map(made)).await.into_iter().filter(|made| *made).count()
        })
    });
    for attempt in futures::future::join_all(attempts).await {
        assert_eq!(attempt.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_connection_is_for_a_server_and_a_holder_of_the_tenant_who_are_live() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let server = server_in(&tenant, "notes", &Scope::ALL).await;
    let theirs = server_in(&other, "notes", &Scope::ALL).await;
    let (ann, sales) = (user_in(&other, "ann").await, department_in(&other, "sales").await);
    let gone = user_in(&tenant, "gone").await;
    tenant.delete_user(&actor(), gone, None).await.unwrap();
    let make = async |server, holder| tenant.create_connection(&actor(), connection(server, holder)).await;
    for server in [theirs, ServerId::fresh()] {
        assert!(matches!(make(server, Holder::Global).await, Err(StoreError::NotFound)));
    }
    for user in [ann, gone, UserId::fresh()] {
        assert!(matches!(make(server, Holder::User(user)).await, Err(StoreError::NoUser)));
    }
    for department in [sales, DepartmentId::fresh()] {
        assert!(matches!(make(server, Holder::Department(department)).await, Err(StoreError::NoDepartment)));
    }
    assert!(listed(&tenant, all()).await.is_empty());
}

#[tokio::test]
async fn a_server_and_its_connection_are_made_together_or_not_at_all() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = ServerId::fresh();
    let new = connection(id, Holder::Global);
    let both = tenant.create_server_with_connection(&actor(), server_for("notes", &[Scope::Global]), new).await;
    let (made, bound) = both.unwrap().value;
    assert_eq!((made.spec.id, bound.server), (id, id));
    assert_eq!(tenant.server(id).await.unwrap(), Some(made));
    assert_eq!(tenant.connection_of(id, Holder::Global).await.unwrap(), Some(bound));
    let audit = tenant.audit(AuditPage { limit: 10, ..Default::default() }).await.unwrap();
    let mut deeds: Vec<_> = audit.iter().map(|row| row.action.as_str()).collect();
    deeds.sort_unstable();
    assert_eq!(deeds[..2], ["connection.create", "server.create"]);

    let too_long = NewConnection { meta: "x".repeat(5_000), ..connection(ServerId::fresh(), Holder::Global) };
    let refused = tenant.create_server_with_connection(&actor(), server("wiki"), too_long).await;
    assert!(matches!(refused, Err(StoreError::Bound { .. })), "{refused:?}");
    assert_eq!(tenant.server_by_name("wiki").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_too_long_is_refused() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = server_in(&tenant, "notes", &[Scope::Global]).await;
    let base = || connection(server, Holder::Global);
    for new in [
        NewConnection { credential: Some(vec![0; (32 << 10) + 1]), ..base() },
        NewConnection { token: Some(vec![0; (32 << 10) + 1]), ..base() },
        NewConnection { meta: " ".repeat((4 << 10) + 1), ..base() },
        NewConnection { fingerprints: (0..65).map(|number| [number; 16]).collect(), ..base() },
    ] {
        let refused = tenant.create_connection(&actor(), new).await;
        assert!(matches!(refused, Err(StoreError::Bound { .. })), "{refused:?}");
    }
    let most = NewConnection { credential: Some(vec![0; 32 << 10]), meta: " ".repeat(4 << 10), ..base() };
    let most = NewConnection { fingerprints: (0..64).map(|number| [number; 16]).collect(), ..most };
    tenant.create_connection(&actor(), most).await.unwrap();
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = server_in(&tenant, "notes", &[Scope::Global]).await;
    let before = tenant.create_connection(&actor(), connection(server, Holder::Global)).await.unwrap();
    let id = before.value.id;
    house.clock.advance_micros(5);
    let nothing = tenant.patch_connection(&actor(), id, None, ConnectionPatch::default()).await.unwrap();
    assert_eq!(nothing, before);

    let patch = ConnectionPatch { display_name: Some(Some("Ours".to_owned())), ..Default::default() };
    let named = tenant.patch_connection(&actor(), id, Some(Generation(1)), patch.clone()).await.unwrap();
    assert_eq!(named.revision, before.revision, "proxies don't know the name");
    let expected = ConnectionRecord {
        display_name: Some("Ours".to_owned()),
        generation: Generation(2),
        updated_at: before.value.updated_at + 5,
        ..before.value.clone()
    };
    assert_eq!(named.value, expected);
    assert_eq!(tenant.connection(id).await.unwrap(), Some(expected));
    let stale = tenant.patch_connection(&actor(), id, Some(Generation(1)), patch).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(2) })), "{stale:?}");
    let unknown = tenant.patch_connection(&actor(), ConnectionId::fresh(), None, ConnectionPatch::default()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound)));
}

fn sealed(version: i64) -> CredentialChange {
    CredentialChange { to: NewCredential::Sealed(vec![9, version as u8]), version, fingerprints: vec![[8; 16]] }
}

#[tokio::test]
async fn a_new_credential_takes_the_token_away_and_raises_version_and_generation() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = server_in(&tenant, "notes", &[Scope::Global]).await;
    let new = NewConnection {
        token: Some(vec![4]),
        token_expires_at: Some(7),
        refreshable: true,
        status: ConnectionStatus::ReauthRequired,
        ..connection(server, Holder::Global)
    };
    let before = tenant.create_connection(&actor(), new).await.unwrap();
    let id = before.value.id;
    for version in [1, 3] {
        let patch = ConnectionPatch { credential: Some(sealed(version)), ..Default::default() };
        let stale = tenant.patch_connection(&actor(), id, None, patch).await;
        assert!(matches!(stale, Err(StoreError::Stale { .. })), "sealed for {version}");
    }
    let patch = ConnectionPatch { credential: Some(sealed(2)), ..Default::default() };
    let after = tenant.patch_connection(&actor(), id, None, patch).await.unwrap();
    assert!(after.revision > before.revision);
    let after = after.value;
    assert_eq!((after.credential_version, after.token_generation), (2, 2));
    assert_eq!((after.credential.as_deref(), after.token.as_deref()), (Some(&[9, 2][..]), None));
    assert_eq!((after.token_expires_at, after.refreshable), (None, false));
    assert_eq!(after.status, ConnectionStatus::Active, "a new credential is trusted again");
    assert_eq!(tenant.connection(id).await.unwrap().as_ref(), Some(&after));

    let to = NewCredential::Reference(Reference { source: "files".to_owned(), name: "x".to_owned() });
    let credential = CredentialChange { to, version: 3, fingerprints: vec![] };
    let patch = ConnectionPatch { credential: Some(credential), ..Default::default() };
    let after = tenant.patch_connection(&actor(), id, None, patch).await.unwrap().value;
    assert!(after.credential.is_none() && after.reference.is_some() && after.has_credentials());
    let credential = CredentialChange { to: NewCredential::Cleared, version: 4, fingerprints: vec![] };
    let patch = ConnectionPatch { credential: Some(credential), ..Default::default() };
    let after = tenant.patch_connection(&actor(), id, None, patch).await.unwrap().value;
    assert!(!after.has_credentials());
    assert_eq!((after.credential_version, after.token_generation), (4, 4));
}

#[tokio::test]
async fn a_secret_finds_the_connections_that_use_it_now() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (a, b) = (server_in(&tenant, "a", &[Scope::Global]).await, server_in(&tenant, "b", &[Scope::Global]).await);
    let one = tenant.create_connection(&actor(), connection(a, Holder::Global)).await.unwrap().value.id;
    let both = NewConnection { token_fingerprints: vec![[7; 16], [6; 16]], ..connection(b, Holder::Global) };
    let two = tenant.create_connection(&actor(), both).await.unwrap().value.id;
    let found = async |fingerprint: [u8; 16]| {
        let found = tenant.connections_with_fingerprint(fingerprint).await.unwrap();
        found.into_iter().map(|record| record.id).collect::<Vec<_>>()
    };
    assert_eq!((found([7; 16]).await, found([6; 16]).await, found([5; 16]).await), (vec![one, two], vec![two], vec![]));
    let patch = ConnectionPatch { credential: Some(sealed(2)), ..Default::default() };
    tenant.patch_connection(&actor(), two, None, patch).await.unwrap();
    assert_eq!((found([7; 16]).await, found([6; 16]).await, found([8; 16]).await), (vec![one], vec![], vec![two]));
    tenant.delete_connection(&actor(), one, None).await.unwrap();
    assert_eq!(found([7; 16]).await, []);
    let other = house.tenant("other").await;
    assert_eq!(other.connections_with_fingerprint([8; 16]).await.unwrap(), []);
}

#[tokio::test]
async fn a_server_moves_only_while_its_connections_have_no_secrets() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = server_in(&tenant, "notes", &Scope::ALL).await;
    let other = server_in(&tenant, "other", &Scope::ALL).await;
    tenant.create_connection(&actor(), connection(other, Holder::Global)).await.unwrap();
    let bare = NewConnection { credential: None, ..connection(server, Holder::Global) };
    let made = tenant.create_connection(&actor(), bare).await.unwrap().value;
    let moves = |to: &str| ServerPatch {
        url: Some(model::UpstreamUrl::parse(to).unwrap()),
        bare: true,
        ..ServerPatch::default()
    };
    tenant.patch_server(&actor(), server, None, moves("https://one.example/")).await.unwrap();
    let change = CredentialChange { to: NewCredential::Sealed(vec![7]), version: 2, fingerprints: vec![] };
    let patch = ConnectionPatch { credential: Some(change), ..ConnectionPatch::default() };
    tenant.patch_connection(&actor(), made.id, None, patch).await.unwrap();
    let refused = tenant.patch_server(&actor(), server, None, moves("https://two.example/")).await;
    assert!(matches!(refused, Err(StoreError::NotBare)), "{refused:?}");
    assert_eq!(tenant.server(server).await.unwrap().unwrap().spec.url.as_str(), "https://one.example/");
    tenant.delete_connection(&actor(), made.id, None).await.unwrap();
    tenant.patch_server(&actor(), server, None, moves("https://two.example/")).await.unwrap();
}

#[tokio::test]
async fn a_deleted_connection_is_gone_and_proxies_are_told_urgently() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = server_in(&tenant, "notes", &[Scope::Global]).await;
    let made = tenant.create_connection(&actor(), connection(server, Holder::Global)).await.unwrap();
    let id = made.value.id;
    let stale = tenant.delete_connection(&actor(), id, Some(Generation(7))).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })));
    tenant.delete_connection(&actor(), id, Some(Generation(1))).await.unwrap();
    assert_eq!(tenant.connection(id).await.unwrap(), None);
    assert!(matches!(tenant.delete_connection(&actor(), id, None).await, Err(StoreError::NotFound)));
    let told = house.store.platform().outbox_since(made.revision.seq, 10).await.unwrap();
    assert_eq!(told.len(), 1);
    assert!(told[0].removed && told[0].urgent);
    tenant.create_connection(&actor(), connection(server, Holder::Global)).await.unwrap();
}

#[tokio::test]
async fn lists_are_paged_in_the_order_of_their_making() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let (a, b) = (server_in(&tenant, "a", &[Scope::User]).await, server_in(&tenant, "b", &[Scope::User]).await);
    let (mut of_a, mut anns) = (Vec::new(), Vec::new());
    for number in 0..5 {
        let user = user_in(&tenant, &format!("ann{number}")).await;
        for server in [a, b] {
            let new = connection(server, Holder::User(user));
            if server == a {
                of_a.push(new.id);
            }
            if number == 0 {
                anns.push((user, new.id));
            }
            tenant.create_connection(&actor(), new).await.unwrap();
        }
    }
    let page = |after, limit| ConnectionPage { server: Some(a), after, limit, ..Default::default() };
    assert_eq!(listed(&tenant, page(None, 2)).await, of_a[..2]);
    assert_eq!(listed(&tenant, page(Some(of_a[1]), 2)).await, of_a[2..4]);
    assert_eq!(listed(&tenant, page(Some(of_a[3]), 2)).await, of_a[4..]);
    let (user, ids) = (anns[0].0, anns.iter().map(|(_, id)| *id).collect::<Vec<_>>());
    assert_eq!(listed(&tenant, ConnectionPage { holder: Some(Holder::User(user)), ..all() }).await, ids);
    assert_eq!(listed(&tenant, all()).await.len(), 10);
}

#[tokio::test]
async fn a_search_looks_at_names_subjects_holders_and_scope_words_and_takes_no_wildcards() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let server = server_in(&tenant, "notes", &Scope::ALL).await;
    let (ann, sales) = (user_in(&tenant, "ann_1").await, department_in(&tenant, "sales").await);
    let new = |holder, name: &str, subject: &str| NewConnection {
        display_name: Some(name.to_owned()),
        external_subject: Some(subject.to_owned()),
        ..connection(server, holder)
    };
    let (everybody, theirs, hers) = (
        new(Holder::Global, "100% ours", "Robot"),
        new(Holder::Department(sales), "Team", "team@x"),
        new(Holder::User(ann), "Own", "x\\y"),
    );
    let ids = [everybody.id, theirs.id, hers.id];
    for one in [everybody, theirs, hers] {
        tenant.create_connection(&actor(), one).await.unwrap();
    }
    for (text, found) in [
        ("OURS", vec![0]),
        ("robot", vec![0]),
        ("%", vec![0]),
        ("_", vec![2]),
        ("\\", vec![2]),
        ("sale", vec![1]),
        ("ANN", vec![2]),
        ("Team@", vec![1]),
        ("global", vec![0]),
        ("System", vec![0]),
        ("department", vec![1]),
        (" dept ", vec![1]),
        ("user", vec![2]),
        ("o", vec![0, 2]),
        ("nobody", vec![]),
        ("", vec![0, 1, 2]),
    ] {
        let expected: Vec<_> = found.into_iter().map(|at: usize| ids[at]).collect();
        let page = ConnectionPage { server: Some(server), search: Some(text.to_owned()), ..all() };
        assert_eq!(listed(&tenant, page.clone()).await, expected, "{text:?}");
        assert_eq!(tenant.connection_summary(&page).await.unwrap().total, expected.len() as u64, "{text:?}");
    }
}

#[tokio::test]
async fn health_filters_add_up_and_agree_with_the_records() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let servers = [
        server_in(&tenant, "users", &[Scope::User]).await,
        server_in(&tenant, "cascade", &[Scope::User, Scope::Department, Scope::Global]).await,
        tenant.create_server(&actor(), server("none")).await.unwrap().value.spec.id,
        server_in(&tenant, "inline", &[]).await,
    ];
    let exchange = tenant.server(servers[0]).await.unwrap().unwrap().spec.binding.unwrap();
    let exchange = model::Binding { exchange: true, ..exchange };
    let auth = ServerAuth { config: "{}".to_owned(), binding: Some(exchange), secret: SecretChange::Keep };
    let exchange = store::NewServer { auth: Some(auth), ..server("exchange") };
    let exchange = tenant.create_server(&actor(), exchange).await.unwrap().value.spec.id;
    let (ann, sales) = (user_in(&tenant, "ann").await, department_in(&tenant, "sales").await);
    let [bob, eve, joe] = [user_in(&tenant, "bob").await, user_in(&tenant, "eve").await, user_in(&tenant, "joe").await];
    let mut statuses = ConnectionStatus::ALL.into_iter().cycle();
    for server in servers.into_iter().chain([exchange]) {
        for holder in [Holder::Global, Holder::Department(sales), Holder::User(ann), Holder::User(bob)] {
            let base = NewConnection { status: statuses.next().unwrap(), ..connection(server, holder) };
            let bare = NewConnection { credential: None, ..base.clone() };
            tenant.create_connection(&actor(), if holder == Holder::User(bob) { bare } else { base }).await.unwrap();
        }
        statuses.next();
        let usable = connection(server, Holder::User(eve));
        let bare = NewConnection { credential: None, ..connection(server, Holder::User(joe)) };
        for new in [usable, bare] {
            tenant.create_connection(&actor(), new).await.unwrap();
        }
    }
    let mut pages = vec![all()];
    pages.extend(servers.into_iter().chain([exchange]).map(|server| ConnectionPage { server: Some(server), ..all() }));
    let mut seen = std::collections::HashSet::new();
    for page in pages {
        let mut counted = ConnectionSummary::default();
        for record in tenant.connections(page.clone()).await.unwrap() {
            let binding = tenant.server(record.server).await.unwrap().unwrap().spec.binding;
            let health = record.health(binding.as_ref());
            seen.insert((health, record.status));
            counted.total += 1;
            match health {
                ConnectionHealth::Active => counted.active += 1,
                ConnectionHealth::Attention => counted.attention += 1,
                ConnectionHealth::Disabled => counted.disabled += 1,
            }
            for asked in [ConnectionHealth::Active, ConnectionHealth::Attention, ConnectionHealth::Disabled] {
                let page = ConnectionPage { health: Some(asked), ..page.clone() };
                assert_eq!(listed(&tenant, page).await.contains(&record.id), asked == health, "{record:?} {asked:?}");
            }
        }
        let summary = tenant.connection_summary(&page).await.unwrap();
        assert_eq!(summary, counted);
        assert_eq!(summary.active + summary.attention + summary.disabled, summary.total);
    }
    assert!(seen.len() >= 5, "every kind was there: {seen:?}");
}

#[tokio::test]
async fn a_page_of_no_servers_is_empty_and_adds_up() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for server in [None, Some(ServerId::fresh())] {
        let page = ConnectionPage { server, health: Some(ConnectionHealth::Active), ..all() };
        assert!(listed(&tenant, page.clone()).await.is_empty());
        assert_eq!(tenant.connection_summary(&page).await.unwrap(), ConnectionSummary::default());
    }
}

#[tokio::test]
async fn neither_audit_nor_debug_shows_a_secret_or_a_note() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let secret = b"SEALED".to_vec();
    let auth = ServerAuth {
        config: r#"{"type":"custom_token","url":"https://x/?k=HIDDEN"}"#.to_owned(),
        binding: None,
        secret: SecretChange::Set { sealed: secret.clone(), version: 1 },
    };
    let new = store::NewServer { auth: Some(auth), ..server("notes") };
    let made = tenant.create_server(&actor(), new).await.unwrap().value;
    let new = NewConnection {
        credential: Some(secret.clone()),
        token: Some(secret.clone()),
        meta: r#"{"note":"HIDDEN"}"#.to_owned(),
        ..NewConnection::new(ConnectionId::fresh(), made.spec.id, Holder::Global)
    };
    let record = tenant.create_connection(&actor(), new).await.unwrap().value;
    let patch = ConnectionPatch { credential: Some(sealed(2)), ..Default::default() };
    tenant.patch_connection(&actor(), record.id, None, patch).await.unwrap();
    let audit = tenant.audit(AuditPage { limit: 100, ..Default::default() }).await.unwrap();
    let text = format!("{audit:?}");
    assert!(text.contains("custom_token") && text.contains("note"), "{text}");
    let bytes = format!("{secret:?}");
    for shown in [text, format!("{made:?} {record:?}")] {
        assert!(!shown.contains("SEALED") && !shown.contains(&bytes), "{shown}");
    }
    let audit = format!("{audit:?}");
    assert!(!audit.contains("HIDDEN"), "{audit}");
}

#[tokio::test]
async fn how_a_server_is_authenticated_to_comes_back_with_what_proxies_are_told() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let made = tenant.create_server(&actor(), server("notes")).await.unwrap().value;
    assert_eq!((made.auth.as_str(), made.auth_secret_version), (r#"{"type":"none"}"#, 0));
    assert_eq!((&made.auth_secret, &made.spec.binding), (&None, &None));
    let binding = model::Binding {
        scopes: vec![Scope::User, Scope::Global],
        context: model::ContextUse { user: true, department: false, login: true },
        login: true,
        exchange: false,
        shared_manifest: false,
        retry_unauthorized: true,
    };
    let auth = |secret| {
        let auth = ServerAuth { config: r#"{"type":"x"}"#.to_owned(), binding: Some(binding.clone()), secret };
        ServerPatch { auth: Some(auth), ..Default::default() }
    };
    let id = made.spec.id;
    let patch = async |secret| tenant.patch_server(&actor(), id, None, auth(secret)).await.map(|made| made.value);
    let set = |byte: u8, version| SecretChange::Set { sealed: vec![byte], version };
    assert!(matches!(patch(set(1, 2)).await, Err(StoreError::Stale { .. })));
    let after = patch(set(1, 1)).await.unwrap();
    assert_eq!((after.auth_secret.as_deref(), after.auth_secret_version), (Some(&[1][..]), 1));
    assert_eq!(after.spec.binding.as_ref(), Some(&binding));
    assert_eq!(tenant.server(id).await.unwrap().as_ref(), Some(&after));
    assert_eq!(patch(SecretChange::Keep).await.unwrap(), after, "nothing is new");
    assert!(matches!(patch(set(2, 1)).await, Err(StoreError::Stale { .. })));
    let cleared = patch(SecretChange::Clear).await.unwrap();
    assert_eq!((&cleared.auth_secret, cleared.auth_secret_version), (&None, 1), "no version comes twice");
    assert!(matches!(patch(set(3, 1)).await, Err(StoreError::Stale { .. })));
    assert_eq!(patch(set(3, 2)).await.unwrap().auth_secret_version, 2);
    assert!(matches!(
        patch(SecretChange::Set { sealed: vec![0; 40_000], version: 3 }).await,
        Err(StoreError::Bound { .. })
    ));
    let pushed = house.store.platform().intended().await.unwrap().resources;
    assert!(
        pushed.iter().any(|it| matches!(it, model::Resource::Server(spec) if spec.binding.as_ref() == Some(&binding)))
    );
}
