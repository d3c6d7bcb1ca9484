//! What survives on disk, and what never comes back.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use model::{
    Generation, KeyRole, KeyVerifier, Limits, ServerId, ServerSpec, TenantId, TenantSpec, Transport, UpstreamUrl,
};
use wire::SealingKey;

use super::*;

fn tenant() -> Resource {
    Resource::Tenant(TenantSpec {
        id: TenantId::fresh(),
        name: "default".parse().unwrap(),
        limits: Limits::default(),
        stale_after: Some(model::TenantSpec::STALE_AFTER),
        authorization_server: false,
    })
}

fn server(number: usize) -> Resource {
    Resource::Server(ServerSpec {
        id: ServerId::fresh(),
        tenant: TenantId::fresh(),
        name: format!("server-{number}").parse().unwrap(),
        title: String::new(),
        generation: Generation(1),
        transport: Transport::Auto,
        url: UpstreamUrl::parse("http://127.0.0.1:9/mcp").unwrap(),
        headers: vec![],
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        disabled_tools: vec![],
        trust_hints: false,
        retry_count: 0,
        retry_delay: Duration::from_secs(1),
        limits: model::ServerLimits::default(),
        binding: None,
        eras: model::Eras::default(),
    })
}

fn key() -> Resource {
    Resource::Key(KeyVerifier {
        id: "0123456789abcdef".parse().unwrap(),
        tenant: TenantId::fresh(),
        user: None,
        role: KeyRole::User,
        scopes: model::KeyScopes::PLAIN,
        sha256: [7; 32],
        servers: None,
        expires_at: None,
    })
}

fn at(seq: i64) -> Revision {
    Revision { epoch: 1, seq }
}

fn save(last_good: &LastGood, seq: i64, resources: &[Resource]) {
    last_good.save(|| (at(seq), resources.to_vec())).unwrap();
}

fn loaded(dir: &Path) -> Loaded {
    LastGood::open(dir).unwrap().load()
}

#[test]
fn what_is_saved_is_loaded_and_closed_to_others() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    assert!(loaded(dir.path()).resources.is_empty());
    let resources = vec![tenant(), server(1), key()];
    save(&last_good, 3, &resources);
    last_good
        .save_keys(&FleetKeys {
            current: SealingKey { id: 2, key: [2; 32] },
            previous: Some(SealingKey { id: 1, key: [1; 32] }),
        })
        .unwrap();
    let read = loaded(dir.path());
    assert_eq!((read.revision, read.resources), (at(3), resources));
    let keys = read.keys.unwrap();
    assert_eq!((keys.current.id, keys.previous.as_ref().map(|key| key.key)), (2, Some([1; 32])));
    for entry in fs::read_dir(dir.path()).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", entry.file_name());
    }
    assert_eq!(LastGood::open(dir.path()).unwrap().instance(), last_good.instance());
}

#[test]
fn a_damaged_newest_generation_falls_back_to_the_older_one_and_then_to_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    save(&last_good, 1, &[server(1)]);
    save(&last_good, 2, &[server(1), server(2)]);
    assert_eq!(loaded(dir.path()).revision, at(2));
    let damage = |name: &str, flip: usize| {
        let path = dir.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[flip] ^= 1;
        fs::write(&path, bytes).unwrap();
    };
    damage(NEWEST, 40);
    assert_eq!(loaded(dir.path()).revision, at(1));
    damage(OLDER, 0);
    let nothing = loaded(dir.path());
    assert_eq!((nothing.revision, nothing.resources.len()), (Revision::default(), 0));
}

#[test]
fn no_cut_and_no_flip_of_a_file_is_ever_half_believed() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    save(&last_good, 1, &[tenant(), key()]);
    let path = dir.path().join(NEWEST);
    let whole = fs::read(&path).unwrap();
    for len in 0..whole.len() {
        fs::write(&path, &whole[..len]).unwrap();
        assert!(last_good.load().resources.is_empty(), "cut at {len}");
    }
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, &flipped).unwrap();
        assert!(last_good.load().resources.is_empty(), "flipped at {at}");
    }
    fs::write(&path, &whole).unwrap();
    assert_eq!(last_good.load().resources.len(), 2);
}

#[test]
fn another_nodes_file_or_one_of_another_purpose_is_not_believed() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (mine, other) = (LastGood::open(ours.path()).unwrap(), LastGood::open(theirs.path()).unwrap());
    save(&other, 9, &[server(1)]);
    fs::copy(theirs.path().join(NEWEST), ours.path().join(NEWEST)).unwrap();
    assert!(mine.load().resources.is_empty());
    save(&mine, 1, &[server(1)]);
    fs::copy(ours.path().join(NEWEST), ours.path().join(KEYS)).unwrap();
    assert!(mine.load().keys.is_none());
    assert_ne!(mine.instance(), other.instance());
}

#[test]
fn a_revoked_key_never_returns() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    let (server, key) = (server(1), key());
    let both = [server.clone(), key.clone()];
    save(&last_good, 1, &both);
    save(&last_good, 2, &both);
    let before = fs::read(dir.path().join(NEWEST)).unwrap();
    let revoked = [(key.name(), key.digest())];
    last_good.save_revocation(&revoked, || (at(3), vec![server.clone()])).unwrap();
    // Both generations are without it.
    fs::write(dir.path().join(NEWEST), b"damaged").unwrap();
    assert_eq!(loaded(dir.path()).resources, vec![server.clone()]);
    // An older file that somehow survived as the older generation does not serve at all,
    fs::write(dir.path().join(OLDER), &before).unwrap();
    assert!(loaded(dir.path()).resources.is_empty());
    // and as the newest one it serves without the key.
    fs::write(dir.path().join(NEWEST), &before).unwrap();
    assert_eq!(loaded(dir.path()).resources, vec![server]);
    // A log that can't be read vouches for nothing.
    fs::remove_file(dir.path().join(NEWEST)).unwrap();
    fs::write(dir.path().join("revocations"), b"damaged").unwrap();
    assert!(loaded(dir.path()).resources.is_empty());
}

#[test]
fn a_user_whose_version_was_revoked_is_no_stranger() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    let user = model::UserSpec {
        id: model::UserId::fresh(),
        tenant: TenantId::fresh(),
        login: "ann".to_owned(),
        external_id: Some("x-ann".to_owned()),
        role: KeyRole::User,
        active: true,
        departments: vec![],
    };
    let ann = Resource::User(user.clone());
    save(&last_good, 1, std::slice::from_ref(&ann));
    let before = fs::read(dir.path().join(NEWEST)).unwrap();
    last_good.save_revocation(&[(ann.name(), ann.digest())], || (at(2), vec![])).unwrap();
    // A crash after the log was written leaves the table as it was.
    fs::write(dir.path().join(NEWEST), &before).unwrap();
    assert_eq!(loaded(dir.path()).resources, [Resource::User(model::UserSpec { active: false, ..user })]);
}

#[test]
fn a_revocation_that_cannot_be_written_leaves_no_table_behind() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    let key = key();
    save(&last_good, 1, std::slice::from_ref(&key));
    save(&last_good, 2, std::slice::from_ref(&key));
    // A folder in the file's way makes the write fail, even for root.
    fs::create_dir(dir.path().join("revocations.new")).unwrap();
    last_good.save_revocation(&[(key.name(), key.digest())], || (at(3), vec![])).unwrap();
    assert!(loaded(dir.path()).resources.is_empty());
}

#[test]
fn a_revocation_that_could_not_be_written_is_owed_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    let key = key();
    save(&last_good, 1, std::slice::from_ref(&key));
    let before = fs::read(dir.path().join(NEWEST)).unwrap();
    // Folders in the files' way: nothing can be written or removed, even by root.
    let in_the_way = ["revocations.new", OLDER].map(|name| dir.path().join(name));
    in_the_way.iter().for_each(|path| fs::create_dir(path).unwrap());
    last_good.save_revocation(&[(key.name(), key.digest())], || (at(2), vec![])).unwrap_err();
    last_good.pay(|| (at(2), vec![])).unwrap_err();
    last_good.save(|| (at(2), vec![])).unwrap_err();
    in_the_way.iter().for_each(|path| fs::remove_dir(path).unwrap());
    save(&last_good, 3, &[tenant()]);
    assert_eq!(loaded(dir.path()).revision, at(3));
    // The log knows it too.
    fs::write(dir.path().join(NEWEST), &before).unwrap();
    assert!(loaded(dir.path()).resources.is_empty());
}

#[test]
fn what_control_has_pushed_anew_is_no_longer_revoked() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    let tenant = tenant();
    last_good.save_revocation(&[(tenant.name(), tenant.digest())], || (at(2), vec![])).unwrap();
    save(&last_good, 3, std::slice::from_ref(&tenant));
    assert_eq!(loaded(dir.path()).resources, vec![tenant]);
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(LastGood::open(dir.path()).unwrap());
    let key = dir.path().join("node.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(matches!(LastGood::open(dir.path()).err(), Some(LastGoodError::OpenToOthers { .. })));
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&key, b"short").unwrap();
    assert!(matches!(LastGood::open(dir.path()).err(), Some(LastGoodError::Key { .. })));
}

#[test]
fn a_thousand_servers_come_back_whole() {
    let dir = tempfile::tempdir().unwrap();
    let last_good = LastGood::open(dir.path()).unwrap();
    let servers: Vec<_> = (0..1_000).map(server).collect();
    save(&last_good, 1, &servers);
    assert_eq!(loaded(dir.path()).resources, servers);
}
