//! A folder is filled once, kept, and healed.

use store::TenantPatch;

use super::*;
use crate::Config;

fn at(port: u16) -> Option<SocketAddr> {
    Some(SocketAddr::from(([127, 0, 0, 1], port)))
}

fn listeners(port: u16) -> Asked {
    let [rest, mcp, link, mcp_metrics, metrics, mcp_peers] = [0, 1, 2, 3, 4, 5].map(|offset| at(port + offset));
    Asked { rest, link, metrics, mcp, mcp_metrics, mcp_peers }
}

async fn run(dir: &Path, port: u16, new_keys: bool) -> Option<(String, String)> {
    let mut shown = None;
    init(dir, listeners(port), new_keys, |made| {
        if let Made::Keys { admin, client } = made {
            shown = Some((admin.expose().to_owned(), client.expose().to_owned()));
        }
        Ok(())
    })
    .await
    .unwrap();
    shown
}

#[tokio::test]
async fn a_new_folder_gets_keys_once_and_a_known_one_keeps_them() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("new");
    assert!(run(&dir, 6000, false).await.is_some());
    let read = || Config::parse(&fs::read_to_string(dir.join("control.toml")).unwrap()).unwrap();
    assert_eq!(Some(read().listen), at(6000));
    assert!(read().dev && read().own_listeners.len() == 6);

    assert!(run(&dir, 7000, false).await.is_none());
    assert_eq!(Some(read().listen), at(7000));
    let proxy: Table = fs::read_to_string(dir.join("proxy.toml")).unwrap().parse().unwrap();
    assert_eq!(proxy.get("control"), Some(&Value::Array(vec!["127.0.0.1:7002".into()])));

    init(&dir, Asked { rest: at(8000), ..Asked::default() }, false, |_| Ok(())).await.unwrap();
    assert_eq!((Some(read().listen), Some(read().link_listen)), (at(8000), at(7002)));
}

#[tokio::test]
async fn there_is_somebody_to_sign_in_and_who_was_deleted_does_not_come_back() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 6000, false).await;
    let store = Store::connect(&database(dir.path()), Arc::new(SystemClock)).await.unwrap();
    let tenant = store.platform().tenant_by_name(DEFAULT_TENANT).await.unwrap().unwrap();
    assert!(tenant.spec.authorization_server && tenant.local_accounts);
    let users = store.tenant(tenant.spec.id);
    let admin = users.user_by_login(ADMIN).await.unwrap().unwrap();
    assert_eq!((admin.role, admin.active), (KeyRole::PlatformAdmin, true));
    assert_eq!(users.password(admin.id).await.unwrap(), None, "nobody can guess what is not there");
    users.delete_user(&Actor::system("test"), admin.id, None).await.unwrap();
    run(dir.path(), 6000, true).await;
    assert!(users.user_by_login(ADMIN).await.unwrap().is_none());
}

#[tokio::test]
async fn keys_that_nobody_saw_are_revoked_by_the_next_run() {
    let dir = tempfile::tempdir().unwrap();
    let failed = init(dir.path(), listeners(6000), false, |_| Err(io::Error::other("closed"))).await;
    assert!(matches!(failed, Err(InitError::Show(_))));
    assert!(run(dir.path(), 6000, false).await.is_some());
    let store = Store::connect(&database(dir.path()), Arc::new(SystemClock)).await.unwrap();
    let tenant = store.platform().tenant_by_name(DEFAULT_TENANT).await.unwrap().unwrap();
    let keys = store.tenant(tenant.spec.id).keys(KeyPage { limit: 500, ..KeyPage::default() }).await.unwrap();
    assert_eq!(keys.len(), 4);
    assert_eq!(keys.iter().filter(|key| key.revoked_at.is_none()).count(), 2);
}

#[tokio::test]
async fn new_keys_open_where_the_first_tenant_lets_none_in() {
    let dir = tempfile::tempdir().unwrap();
    run(dir.path(), 6000, false).await;
    let store = Store::connect(&database(dir.path()), Arc::new(SystemClock)).await.unwrap();
    let (platform, actor) = (store.platform(), Actor::system("test"));
    let default = platform.tenant_by_name(DEFAULT_TENANT).await.unwrap().unwrap().spec.id;
    let other = platform.create_tenant(&actor, NewTenant::new("other".parse().unwrap())).await.unwrap().value;
    new_key(&store, &actor, other.spec.id, KeyRole::PlatformAdmin, "nobody has it any more").await.unwrap();
    for name in ["default-2", "default-3"] {
        let first = platform.tenant_by_name(DEFAULT_TENANT).await.unwrap();
        if let Some(open) = first.filter(|tenant| tenant.active) {
            let off = TenantPatch { active: Some(false), ..TenantPatch::default() };
            platform.patch_tenant(&actor, open.spec.id, None, off).await.unwrap();
        } else {
            platform.delete_tenant(&actor, default, None).await.unwrap();
            let second = platform.tenant_by_name("default-2").await.unwrap().unwrap().spec.id;
            platform.delete_tenant(&actor, second, None).await.unwrap();
        }
        let (admin, _) = run(dir.path(), 6000, true).await.expect("two keys");
        let id = admin.parse::<model::KeyText>().unwrap().id();
        let live = platform.live_key(id).await.unwrap().expect("the new key opens something");
        assert_eq!((live.tenant.spec.name.as_str(), live.role), (name, KeyRole::PlatformAdmin));
    }
}

#[tokio::test]
async fn what_a_known_folder_has_lost_is_named_and_not_made_again() {
    for file in ["kek", "gatehouse.db"] {
        let dir = tempfile::tempdir().unwrap();
        run(dir.path(), 6000, false).await;
        let path = dir.path().join(file);
        fs::remove_file(&path).unwrap();
        for new_keys in [false, true] {
            let failed = init(dir.path(), Asked::default(), new_keys, |_| Ok(())).await.unwrap_err();
            assert!(failed.to_string().contains(&format!("/{file} is gone: put it back; ")), "{failed}");
            assert!(!path.exists());
        }
    }
}

#[tokio::test]
async fn a_moved_folder_does_not_come_back_at_its_old_place() {
    let parent = tempfile::tempdir().unwrap();
    let parent = parent.path().canonicalize().unwrap();
    let (old, new) = (parent.join("old"), parent.join("new"));
    run(&old, 6000, false).await;
    fs::rename(&old, &new).unwrap();
    for file in ["control.toml", "proxy.toml"] {
        let failed = init(&new, Asked::default(), false, |_| Ok(())).await.unwrap_err();
        assert!(matches!(failed, InitError::Moved { from } if from == old), "{file} names the old place");
        let text = fs::read_to_string(new.join(file)).unwrap();
        fs::write(new.join(file), text.replace(old.to_str().unwrap(), new.to_str().unwrap())).unwrap();
    }
    assert!(!old.exists());
    assert!(run(&new, 6000, false).await.is_none());
}
