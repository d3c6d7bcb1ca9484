//! Files that other programs write become what their connections are used with.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use model::{ConnectionId, ManualClock, TenantId, UpstreamUrl};
use serde_json::{Value, json};
use store::{NewConnection, NewServer, NewTenant, NewUser, ServerAuth};

use super::*;
use crate::auth::{Context, parse_native};
use crate::keyring::tests::keyring;
use crate::{App, Config};

struct House {
    app: App,
    clock: Arc<ManualClock>,
    tenant: TenantId,
    server: ServerRecord,
    record: ConnectionRecord,
    imports: Imports,
    dir: tempfile::TempDir,
}

const CONTEXT: Context = Context { user_id: None, department_id: None, work_id: None };

impl House {
    /// A server that takes a bearer token, and ann's connection, which has no credential yet.
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        // Files are of the machine's time.
        let clock = Arc::new(ManualClock::at(model::SystemClock.now_micros()));
        let (app, imports) = started(&dir, &clock).await;
        let (store, actor) = (&app.store, Actor::system("test"));
        let new = NewTenant::new("acme".parse().unwrap());
        let tenant = store.platform().create_tenant(&actor, new).await.unwrap().value.spec.id;
        let (config, _) = parse_native(json!({"type": "bearer", "scopes": ["user"]})).unwrap();
        let auth =
            ServerAuth { config: config.to_stored(), binding: config.binding(), secret: store::SecretChange::Keep };
        let url = UpstreamUrl::parse("https://crm.example/mcp").unwrap();
        let new = NewServer { auth: Some(auth), ..NewServer::new("crm".parse().unwrap(), "CRM".into(), url) };
        let handle = store.tenant(tenant);
        let server = handle.create_server(&actor, new).await.unwrap().value;
        let new = NewUser {
            login: "ann@a.example".into(),
            title: "Ann".into(),
            external_id: None,
            departments: vec![],
            role: model::KeyRole::User,
            active: true,
        };
        let ann = handle.create_user(&actor, new).await.unwrap().value.id;
        let new = NewConnection::new(ConnectionId::fresh(), server.spec.id, Holder::User(ann));
        let record = handle.create_connection(&actor, new).await.unwrap().value;
        Self { app, clock, tenant, server, record, imports, dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("imports").join(self.tenant.to_string()).join("crm").join("user-ann%40a.example.json")
    }

    /// Puts a file there as other programs do: written beside, then renamed.
    fn writes(&self, text: &str) {
        put(&self.path(), text, 0o600);
    }

    async fn looked(&mut self) -> ConnectionRecord {
        self.imports.look().await.unwrap();
        self.now().await
    }

    async fn now(&self) -> ConnectionRecord {
        self.app.store.tenant(self.tenant).connection(self.record.id).await.unwrap().unwrap()
    }

    async fn line(&self) -> String {
        let record = self.now().await;
        let lines = self.app.credentials.lines(&self.server, Some(&record), &CONTEXT, 0).await.unwrap();
        lines.headers[0].1.expose().to_owned()
    }
}

async fn started(dir: &tempfile::TempDir, clock: &Arc<ManualClock>) -> (App, Imports) {
    let database = format!("sqlite://{}?mode=rwc", dir.path().join("db").display());
    let store = Store::connect(&database, clock.clone()).await.unwrap();
    let keyring = keyring(&store, &dir.path().join("kek"), clock.clone());
    let config = format!("database = \"{database}\"\nkek_file = \"kek\"\npki_dir = \"pki\"\n");
    let fleet = crate::fleet::Fleet::new(store.clone(), keyring.clone(), clock.clone());
    let config = Config::parse(&config).unwrap();
    let control = crate::Control::new(config, store, fleet, clock.clone(), keyring, &[7; 32]);
    let root = dir.path().join("imports");
    let imports = Imports::of(Some(root), &control);
    (Arc::new(control), imports)
}

fn put(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let new = path.with_extension("tmp");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(new, path).unwrap();
}

#[tokio::test]
async fn r61_a_file_that_is_renamed_into_place_is_used_and_one_that_stays_is_not_read_again() {
    let mut house = House::open().await;
    assert_eq!(house.looked().await, house.record, "no file, no folder");
    house.writes("one");
    let first = house.looked().await;
    assert_eq!((first.token_generation, first.credential_version), (2, 1));
    assert_eq!(house.line().await, "Bearer one");
    // Unchanged, and the same content once more under another inode.
    assert_eq!(house.looked().await, first);
    house.writes("one");
    assert_eq!(house.looked().await, first);
    house.writes(r#"{"access_token":"two","expires_in":3600}"#);
    let second = house.looked().await;
    assert_eq!((second.token_generation, second.credential_version), (3, 1), "no session with the upstream ends");
    assert!(second.token_expires_at.is_some());
    assert_eq!(house.line().await, "Bearer two");
    // What it has is the baseline of a process that begins.
    let (_, mut again) = started(&house.dir, &house.clock).await;
    again.look().await.unwrap();
    assert_eq!(house.now().await, second);
}

#[tokio::test]
async fn r61_other_secrets_are_a_new_credential() {
    let mut house = House::open().await;
    house.writes(r#"{"secrets":{"access_token":"one","extra":"x"}}"#);
    let first = house.looked().await;
    assert_eq!(first.credential_version, 2);
    house.writes(r#"{"secrets":{"access_token":"two","extra":"x"}}"#);
    let second = house.looked().await;
    assert_eq!((second.credential_version, second.token_generation), (2, first.token_generation + 1));
    assert_eq!(house.line().await, "Bearer two");
}

#[tokio::test]
async fn r62_what_is_wrong_with_a_file_stands_in_the_record_and_takes_nothing_away() {
    let mut house = House::open().await;
    house.writes("one");
    house.looked().await;
    let (path, outside) = (house.path(), house.dir.path().join("outside"));
    put(&outside, "outside", 0o600);
    for (what, code) in [
        ("open", "import_unreadable"),
        ("bad", "import_unreadable"),
        ("long", "import_unreadable"),
        ("link", "import_unreadable"),
        ("gone", "import_missing"),
    ] {
        match what {
            "open" => put(&path, "two", 0o644),
            "bad" => put(&path, r#"{"secrets":7}"#, 0o600),
            "long" => put(&path, &"x".repeat(20_000), 0o600),
            "link" => {
                fs::remove_file(&path).unwrap();
                std::os::unix::fs::symlink(&outside, &path).unwrap();
            }
            _ => fs::remove_file(&path).unwrap(),
        }
        let record = house.looked().await;
        assert_eq!(record.last_error.as_ref().map(|error| error.code.as_str()), Some(code), "{what}");
        assert_eq!((record.status, record.token_generation), (ConnectionStatus::Active, 2), "{what}");
        assert_eq!(house.line().await, "Bearer one", "{what}");
        assert!(!format!("{record:?}").contains("outside"));
    }
    house.writes("three");
    let healed = house.looked().await;
    assert_eq!((healed.last_error, house.line().await.as_str()), (None, "Bearer three"));
}

#[tokio::test]
async fn a_file_makes_no_connection_and_is_taken_when_there_is_one() {
    let mut house = House::open().await;
    let tenant = house.app.store.tenant(house.tenant);
    tenant.delete_connection(&Actor::system("test"), house.record.id, None).await.unwrap();
    house.writes("one");
    for stranger in ["global.json", "user-bob.json", "../crm2/global.json", "readme.txt"] {
        put(&house.path().with_file_name("x").parent().unwrap().join(stranger), "x", 0o600);
    }
    house.imports.look().await.unwrap();
    assert!(tenant.connection(house.record.id).await.unwrap().is_none());
    let new = NewConnection::new(ConnectionId::fresh(), house.server.spec.id, house.record.holder);
    house.record = tenant.create_connection(&Actor::system("test"), new).await.unwrap().value;
    house.imports.look().await.unwrap();
    assert_eq!(house.now().await.token_generation, 1, "not with each look");
    house.clock.advance_micros(micros(AGAIN));
    assert_eq!((house.looked().await.token_generation, house.line().await.as_str()), (2, "Bearer one"));
}

#[tokio::test]
async fn a_token_from_outside_ends_the_wait_for_a_login() {
    let mut house = House::open().await;
    let patch = ConnectionPatch { status: Some(ConnectionStatus::ReauthRequired), ..ConnectionPatch::default() };
    let tenant = house.app.store.tenant(house.tenant);
    tenant.patch_connection(&Actor::system("test"), house.record.id, None, patch).await.unwrap();
    let fresh: Value = json!({"access_token": "one", "refresh_token": "rt"});
    house.writes(&fresh.to_string());
    let record = house.looked().await;
    assert_eq!((record.status, house.line().await.as_str()), (ConnectionStatus::Active, "Bearer one"));
}
