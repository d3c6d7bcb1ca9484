//! The link against a control that is played by the test, over real mutual TLS.

mod control;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use egress::{Egress, Policy};
use model::{
    Generation, KeyRole, KeyVerifier, Limits, Principal, Resource, Revision, ServerId, ServerSpec, TenantId,
    TenantSpec, Transport, UpstreamUrl, table_digest,
};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;
use wire::{FromProxy, Outcome, Refusal, Work};

use self::control::Control;
use super::{Line, LinkConfig, LinkError, LinkStatus, Perform, Queues, run};
use crate::last_good::LastGood;
use crate::peers::Peers;
use crate::peers::tests::alone;
use crate::seal::Sealer;
use crate::table::Tables;
use crate::unknown_keys::UnknownKeys;

/// Longer than anything here takes; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(30);
const EPOCH: i64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_says_what_it_holds_and_applies_what_comes() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    assert!(stream.hello.node.starts_with("default/") && stream.hello.held.is_empty());
    let answer = stream.push(at(1), true, false, &[tenant(), server("one", 1)], vec![]).await;
    assert_eq!((answer.refusal, answer.rejected.len(), answer.held.len()), (None, 0, 2));
    assert_eq!(answer.revision, at(1));
    let answer = stream.push(at(2), false, false, &[server("two", 2)], vec![server("one", 1).name()]).await;
    assert_eq!(answer.refusal, None);
    let held: Vec<_> = proxy.tables.held().into_iter().map(|(name, _)| name).collect();
    assert_eq!(held, vec![server("two", 2).name(), tenant().name()]);
    let status = proxy.status(|status| status.current && status.revision == at(2)).await;
    assert!(status.attached);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_resource_is_rejected_by_itself() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.push(at(1), true, false, &[tenant(), server("one", 1)], vec![]).await;
    // Two servers of one name: the second can't be mounted.
    let answer = stream.push(at(2), false, false, &[server("one", 2), server("three", 3)], vec![]).await;
    assert_eq!(answer.refusal, None);
    let rejected: Vec<_> = answer.rejected.iter().map(|rejected| rejected.name.clone()).collect();
    assert_eq!(rejected, vec![server("one", 2).name().to_string()]);
    let held: Vec<_> = proxy.tables.held().into_iter().map(|(name, _)| name).collect();
    assert!(held.contains(&server("one", 1).name()) && held.contains(&server("three", 3).name()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_push_is_refused_and_a_new_epoch_comes_whole() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.push(at(5), true, false, &[tenant(), server("one", 1)], vec![]).await;
    let answer = stream.push(at(4), true, false, &[tenant()], vec![]).await;
    assert_eq!((answer.refusal, answer.revision), (Some(Refusal::StaleRevision), at(5)));
    let next_epoch = Revision { epoch: EPOCH + 1, seq: 1 };
    let answer = stream.push(next_epoch, false, false, &[], vec![]).await;
    assert_eq!(answer.refusal, Some(Refusal::SnapshotNeeded));
    assert_eq!(proxy.tables.held().len(), 2);
    let answer = stream.push(next_epoch, true, false, &[tenant()], vec![]).await;
    assert_eq!((answer.refusal, answer.revision), (None, next_epoch));
    assert_eq!(proxy.tables.held().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_stream_is_opened_again_and_says_what_is_held() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.push(at(1), true, false, &[tenant(), server("one", 1)], vec![]).await;
    let first = stream.hello.clone();
    stream.end();
    let stream = control.accept().await;
    assert_eq!((stream.hello.revision, stream.hello.held.len()), (at(1), 2));
    assert_eq!((&stream.hello.node, &stream.hello.instance), (&first.node, &first.instance));
    assert_eq!(proxy.tables.held().len(), 2, "nothing changed meanwhile");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_proxy_serves_from_its_last_good_table() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.push(at(7), true, false, &[tenant(), server("one", 1)], vec![]).await;
    let (dir, node) = (proxy.stop().await, stream.hello.node.clone());
    assert_eq!(stream.next().await, Some(FromProxy::Goodbye));
    assert_eq!(stream.next().await, None);
    let again = Proxy::start_in(&control, dir);
    assert_eq!(again.tables.held().len(), 2, "before control was heard of");
    assert!(again.sealer.is_ready());
    let stream = control.accept().await;
    assert_eq!((stream.hello.revision, stream.hello.held.len()), (at(7), 2));
    assert_ne!(stream.hello.node, node);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_the_other_proxies_are_is_known_after_a_start_without_control() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    assert_eq!(stream.hello.peer_address.as_deref(), Some("10.0.0.1:5015"));
    let peer = |node: &str, address: &str| wire::Peer { node: node.to_owned(), address: address.to_owned() };
    let list = vec![peer("default/1", "10.0.0.1:5015"), peer("default/2", "10.0.0.2:5015")];
    stream.peers(list.clone());
    stream.push(at(1), true, false, &[tenant()], vec![]).await;
    assert_eq!(proxy.peers.len(), 1, "the other one");
    let dir = proxy.stop().await;
    assert_eq!(LastGood::open(dir.path()).unwrap().load_peers(), list);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_is_on_disk_before_its_answer() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.push(at(1), true, false, &[tenant(), key()], vec![]).await;
    stream.push(at(2), false, true, &[], vec![key().name()]).await;
    let on_disk = LastGood::open(proxy.dir.path()).unwrap().load();
    assert_eq!((on_disk.revision, on_disk.resources), (at(2), vec![tenant()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_rule_that_is_taken_away_is_off_the_disk_before_its_answer() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    let rule: model::EgressRule = "10.0.0.0/8 --http".parse().unwrap();
    let less = Resource::Egress(model::EgressRule { http: false, ..rule.clone() });
    let rule = Resource::Egress(rule);
    stream.push(at(1), true, false, &[tenant(), rule.clone()], vec![]).await;
    // Urgent or not: after a restart nothing may be open that is closed now.
    for (seq, upserts, removes, left) in [
        (2, vec![less.clone()], vec![], vec![tenant(), less]),
        (3, vec![rule.clone()], vec![], vec![tenant(), rule.clone()]),
        (4, vec![], vec![rule.name()], vec![tenant()]),
    ] {
        stream.push(at(seq), false, false, &upserts, removes).await;
        let on_disk = LastGood::open(proxy.dir.path()).unwrap().load();
        assert_eq!((on_disk.revision, on_disk.resources), (at(seq), left));
        std::fs::remove_file(proxy.dir.path().join("table")).unwrap();
        assert_eq!(LastGood::open(proxy.dir.path()).unwrap().load().revision, at(seq), "nor in the older generation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_hears_nothing_of_a_revocation_that_is_not_on_disk() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.push(at(1), true, false, &[tenant(), key()], vec![]).await;
    // Folders in the files' way: nothing can be written or removed, even by root.
    let in_the_way = ["revocations.new", "table.1.new", "table.1"].map(|name| proxy.dir.path().join(name));
    for path in &in_the_way {
        _ = std::fs::remove_file(path);
        std::fs::create_dir(path).unwrap();
    }
    stream.send_push(at(2), false, true, &[], vec![key().name()]);
    assert_eq!(stream.next().await, None, "no answer");
    proxy.status(|status| !status.attached).await;
    in_the_way.iter().for_each(|path| std::fs::remove_dir(path).unwrap());
    let stream = control.accept().await;
    assert_eq!(stream.hello.revision, at(2));
    let on_disk = LastGood::open(proxy.dir.path()).unwrap().load();
    assert_eq!((on_disk.revision, on_disk.resources), (at(2), vec![tenant()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn whom_tokens_let_in_is_off_the_disk_before_its_answer_and_a_revoked_grant_is_on_it() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    let tenant_id = TenantId(Uuid::from_u128(1));
    let user = model::UserSpec {
        id: model::UserId(Uuid::from_u128(1)),
        tenant: tenant_id,
        login: "ann".to_owned(),
        external_id: Some("a|1".to_owned()),
        role: KeyRole::User,
        active: true,
        departments: vec!["sales".to_owned()],
    };
    let inactive = Resource::User(model::UserSpec { active: false, ..user.clone() });
    let user = Resource::User(user);
    let signer = Resource::Signer(model::SignerSpec {
        id: model::SignerId(Uuid::from_u128(1)),
        url: "http://127.0.0.1:5010".to_owned(),
        public: [1; 32],
        until: i64::MAX,
    });
    let grant = |tenant| Resource::Revoked(model::RevokedGrant { id: model::GrantId(Uuid::from_u128(1)), tenant });
    stream.push(at(1), true, false, &[tenant(), user.clone(), signer.clone()], vec![]).await;
    let revoked = grant(tenant_id);
    // Urgent or not: after a restart nobody may come in who may not now.
    for (seq, upserts, removes, left) in [
        (2, vec![inactive.clone()], vec![], vec![tenant(), inactive.clone(), signer.clone()]),
        (3, vec![], vec![signer.name()], vec![tenant(), inactive.clone()]),
        (4, vec![revoked.clone()], vec![], vec![tenant(), inactive.clone(), revoked.clone()]),
        (5, vec![], vec![user.name()], vec![tenant(), revoked.clone()]),
    ] {
        let before = std::fs::read(proxy.dir.path().join("table.1")).unwrap_or_default();
        stream.push(at(seq), false, false, &upserts, removes).await;
        let newest = LastGood::open(proxy.dir.path()).unwrap().load();
        assert_eq!((newest.revision, newest.resources), (at(seq), left.clone()));
        std::fs::remove_file(proxy.dir.path().join("table")).unwrap();
        let older = LastGood::open(proxy.dir.path()).unwrap().load();
        assert_eq!((older.revision, older.resources), (at(seq), left), "nor in the older generation");
        // Cut between the log and the table: the log knows better.
        if seq == 4 {
            std::fs::write(proxy.dir.path().join("table"), before).unwrap();
            let cut = LastGood::open(proxy.dir.path()).unwrap().load();
            assert_eq!((cut.revision, cut.resources), (at(3), vec![tenant(), inactive.clone(), revoked.clone()]));
        }
    }
    // A grant whose last token has ended is forgotten, in the log too.
    stream.push(at(6), false, true, &[], vec![revoked.name()]).await;
    assert_eq!(LastGood::open(proxy.dir.path()).unwrap().load().resources, vec![tenant()]);
    assert_ne!(grant(TenantId::fresh()).digest(), revoked.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_shut_out_before_ever_coming_in_is_on_disk_before_the_answer() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.push(at(1), true, false, &[tenant()], vec![]).await;
    // Somebody whom an issuer might send as a stranger.
    let inactive = Resource::User(model::UserSpec {
        id: model::UserId(Uuid::from_u128(1)),
        tenant: TenantId(Uuid::from_u128(1)),
        login: "eve".to_owned(),
        external_id: Some("a|9".to_owned()),
        role: KeyRole::User,
        active: false,
        departments: vec![],
    });
    let Resource::Tenant(plain) = tenant() else { unreachable!() };
    let signs_in = Resource::Tenant(TenantSpec { authorization_server: true, ..plain });
    for (seq, pushed, left) in [
        (2, &inactive, vec![tenant(), inactive.clone()]),
        (3, &signs_in, vec![signs_in.clone(), inactive.clone()]),
        // Whom the tenant's authorization server has let in.
        (4, &tenant(), vec![tenant(), inactive.clone()]),
    ] {
        stream.push(at(seq), false, false, std::slice::from_ref(pushed), vec![]).await;
        if *pushed == signs_in {
            continue;
        }
        for _ in 0..2 {
            let on_disk = LastGood::open(proxy.dir.path()).unwrap().load();
            assert_eq!((on_disk.revision, &on_disk.resources), (at(seq), &left));
            _ = std::fs::remove_file(proxy.dir.path().join("table"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn control_hears_of_an_unknown_key_even_if_it_was_away() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let issuer = model::IssuerId(Uuid::from_u128(7));
    proxy.unknown_keys.note(issuer, 0);
    proxy.unknown_keys.note(issuer, 1);
    let mut stream = control.accept().await;
    let told = |message| match message {
        FromProxy::UnknownKey(issuer) => Some(issuer),
        _ => None,
    };
    assert_eq!(stream.wait(told).await, issuer);
    proxy.unknown_keys.note(issuer, 30_000_000);
    assert_eq!(stream.wait(told).await, issuer);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_with_a_bad_key_set_keeps_its_last_good_version() {
    let control = Control::start().await;
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    let issuer = model::IssuerSpec {
        id: model::IssuerId(Uuid::from_u128(7)),
        tenant: TenantId(Uuid::from_u128(1)),
        issuer: "https://id.example".to_owned(),
        audiences: vec![],
        algorithms: vec![model::SigningAlgorithm::Es256],
        claims: model::ClaimMapping::default(),
        scope: None,
        unknown_users: false,
        mcp: true,
        keys: r#"{"keys":[]}"#.to_owned(),
        keys_until: 1,
    };
    let bad = model::IssuerSpec { keys: "{".to_owned(), ..issuer.clone() };
    let good = Resource::Issuer(issuer);
    assert_eq!(stream.push(at(1), true, false, &[tenant(), good.clone()], vec![]).await.rejected, vec![]);
    let answer = stream.push(at(2), false, false, &[Resource::Issuer(bad), server("one", 1)], vec![]).await;
    let rejected: Vec<_> = answer.rejected.iter().map(|rejected| rejected.name.clone()).collect();
    assert_eq!(rejected, [good.name().to_string()]);
    let held = proxy.tables.held();
    assert!(held.contains(&(good.name(), good.digest())) && held.len() == 3, "{held:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_carry_the_tables_digest() {
    let control = Control::start().await;
    let _proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    let empty = table_digest(std::iter::empty());
    let heartbeat = stream.wait(|message| match message {
        FromProxy::Heartbeat(heartbeat) => Some(heartbeat),
        _ => None,
    });
    assert_eq!(heartbeat.await.digest, empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn sealing_keys_that_cannot_be_had_are_fetched_again() {
    let control = Control::start().await;
    // The fetch before the stream, and the one that the first heartbeat causes.
    control.failing_keys.store(2, Ordering::SeqCst);
    let proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    let fetched = async {
        let mut id = 0;
        while !proxy.sealer.is_ready() {
            id += 1;
            stream.heartbeat(Revision::default(), table_digest(std::iter::empty()), 1);
            stream.command(id, PATIENCE, Work::PruneInternal(None));
            stream.outcome(id).await;
        }
    };
    tokio::time::timeout(PATIENCE, fetched).await.expect("it is not tried again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_that_believes_something_else_is_told_anew() {
    let control = Control::start().await;
    let _proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.push(at(1), true, false, &[tenant()], vec![]).await;
    let (right, wrong) =
        (table_digest(std::iter::once((tenant().name().to_string().as_str(), tenant().digest()))), tenant().digest());
    for digest in [wrong, wrong, right, wrong, wrong] {
        stream.heartbeat(at(1), digest, 0);
    }
    stream.command(1, PATIENCE, Work::Resync);
    assert!(matches!(stream.outcome(1).await, Outcome::Resynced(_)), "one may be under way");
    stream.heartbeat(at(1), wrong, 0);
    assert_eq!(stream.next().await, None);
    assert_eq!(control.accept().await.hello.held.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_run_beside_the_stream_and_are_bounded() {
    let control = Control::start().await;
    let _proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    let principal = Principal { tenant: TenantId(Uuid::nil()), user: None, key: Some(key_id()) };
    let call = |tool: &str| Work::Call {
        principal: principal.clone(),
        server: ServerId(Uuid::nil()),
        tool: tool.to_owned(),
        arguments: "{}".to_owned(),
    };
    // As many calls as there are slots, none of which ends by itself, and one more.
    for id in 0..64 {
        stream.command(id, PATIENCE, call("hang"));
    }
    stream.command(64, PATIENCE, call("echo"));
    assert!(matches!(stream.outcome(64).await, Outcome::Failed { class, .. } if class == "rejected"));
    // What needs no slot is still answered, in its turn.
    stream.command(65, PATIENCE, Work::Resync);
    assert_eq!(stream.outcome(65).await, Outcome::Resynced(vec![]));
    stream.end();

    let mut stream = control.accept().await;
    stream.command(1, PATIENCE, call("echo"));
    assert_eq!(stream.outcome(1).await, Outcome::Called(b"echo".to_vec()));
    stream.command(2, Duration::from_millis(1), call("hang"));
    assert!(matches!(stream.outcome(2).await, Outcome::Failed { class, .. } if class == "timeout"));
    stream.command(3, PATIENCE, call("huge"));
    assert!(matches!(stream.outcome(3).await, Outcome::Failed { message, .. } if message.contains("4 MiB")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_longer_than_a_message_does_not_end_the_stream() {
    let control = Control::start().await;
    let _proxy = Proxy::start(&control);
    let mut stream = control.accept().await;
    stream.command(1, PATIENCE, Work::Observe);
    assert!(matches!(stream.outcome(1).await, Outcome::Observed(mounts) if mounts.len() == 20_000));
    assert_eq!(stream.push(at(1), true, false, &[tenant()], vec![]).await.refusal, None);
    assert_eq!(control.attached(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_address_is_tried_when_the_first_is_dead() {
    let control = Control::start().await;
    // A port that was free a moment ago: nobody answers there.
    let dead = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let proxy = Proxy::start_with(&control, tempfile::tempdir().unwrap(), vec![dead.to_string(), control.address()]);
    control.accept().await;
    proxy.status(|status| status.attached).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_control_of_another_ca_is_not_spoken_to() {
    let (control, stranger) = (Control::start().await, Control::start().await);
    let proxy = Proxy::start_with(&control, tempfile::tempdir().unwrap(), vec![stranger.address(), control.address()]);
    control.accept().await;
    proxy.status(|status| status.attached).await;
    assert_eq!(stranger.attached(), 0);
}

#[tokio::test]
async fn a_link_without_files_or_addresses_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (status, _) = watch::channel(LinkStatus::default());
    let missing = dir.path().join("missing.pem");
    let config = LinkConfig {
        controls: vec![],
        ca: missing.clone(),
        cert: missing.clone(),
        key: missing.clone(),
        pool: "default".into(),
        revision: Revision::default(),
        status,
    };
    let last_good = LastGood::open(dir.path()).unwrap();
    let ended = run(
        config,
        tables(),
        Hand,
        Arc::default(),
        last_good,
        Queues::default(),
        Line::new("default"),
        alone("default/1", None),
        UnknownKeys::default(),
        CancellationToken::new(),
    )
    .await;
    assert!(matches!(ended, Err(LinkError::File { path, .. }) if path == missing));
}

/// Does commands as the tests need them.
#[derive(Clone)]
struct Hand;

impl Perform for Hand {
    async fn perform(&self, work: Work, _: String) -> Outcome {
        match work {
            Work::Call { tool, .. } if tool == "hang" => std::future::pending().await,
            Work::Call { tool, .. } if tool == "huge" => Outcome::Called(vec![b'x'; 5 << 20]),
            Work::Call { tool, .. } => Outcome::Called(tool.into_bytes()),
            _ => Outcome::Pruned(0),
        }
    }

    /// More than one message carries.
    fn mounts(&self) -> Vec<crate::commands::ObservedMount> {
        let mount = |number| crate::commands::ObservedMount {
            tenant: TenantId(Uuid::from_u128(1)),
            server: ServerId(Uuid::from_u128(number)),
            name: format!("server-{number}"),
            url: "https://notes.example/".repeat(10),
            digest: tenant().digest(),
            internal: true,
            cooling: None,
            spec: None,
        };
        (0..20_000).map(mount).collect()
    }
}

/// A proxy's half of the link, with a real table and a real folder.
struct Proxy {
    dir: TempDir,
    tables: Arc<Tables>,
    sealer: Arc<Sealer>,
    status: watch::Receiver<LinkStatus>,
    unknown_keys: UnknownKeys,
    peers: Arc<Peers>,
    shutdown: CancellationToken,
    running: Option<JoinHandle<()>>,
}

impl Proxy {
    fn start(control: &Control) -> Self {
        Self::start_in(control, tempfile::tempdir().unwrap())
    }

    fn start_in(control: &Control, dir: TempDir) -> Self {
        Self::start_with(control, dir, vec![control.address()])
    }

    fn start_with(control: &Control, dir: TempDir, controls: Vec<String>) -> Self {
        let (tables, sealer) = (tables(), Arc::new(Sealer::default()));
        let last_good = LastGood::open(dir.path()).unwrap();
        let revision = last_good.restore(&tables, &sealer);
        let (publish, status) = watch::channel(LinkStatus::default());
        let file = |name: &str| control.dir.path().join(name);
        let config = LinkConfig {
            controls,
            ca: file("ca.pem"),
            cert: file("proxy.pem"),
            key: file("proxy.key"),
            pool: "default".to_owned(),
            revision,
            status: publish,
        };
        let shutdown = CancellationToken::new();
        let unknown_keys = UnknownKeys::default();
        let (queues, unknown) = (Queues::default(), unknown_keys.clone());
        let line = Line::new("default");
        let peers = alone("default/1", Some("10.0.0.1:5015"));
        let told = peers.clone();
        let link = run(
            config,
            tables.clone(),
            Hand,
            sealer.clone(),
            last_good,
            queues,
            line,
            peers,
            unknown,
            shutdown.clone(),
        );
        let running = Some(tokio::spawn(async move { link.await.unwrap() }));
        Self { dir, tables, sealer, status, unknown_keys, peers: told, shutdown, running }
    }

    async fn status(&self, until: impl FnMut(&LinkStatus) -> bool) -> LinkStatus {
        let mut status = self.status.clone();
        *tokio::time::timeout(PATIENCE, status.wait_for(until)).await.expect("it never came").unwrap()
    }

    /// Stops as a process does that was told to, and hands the folder over.
    async fn stop(mut self) -> TempDir {
        self.shutdown.cancel();
        self.running.take().unwrap().await.unwrap();
        std::mem::replace(&mut self.dir, tempfile::tempdir().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

fn tables() -> Arc<Tables> {
    let policy = Policy { dev: true, own: vec![], rules: vec![], revision: 1 };
    Arc::new(Tables::new(Egress::new(policy).unwrap()))
}

fn at(seq: i64) -> Revision {
    Revision { epoch: EPOCH, seq }
}

fn tenant() -> Resource {
    let id = TenantId(Uuid::from_u128(1));
    Resource::Tenant(TenantSpec {
        id,
        name: "default".parse().unwrap(),
        limits: Limits::default(),
        stale_after: Some(model::TenantSpec::STALE_AFTER),
        authorization_server: false,
    })
}

fn server(name: &str, id: u128) -> Resource {
    Resource::Server(ServerSpec {
        id: ServerId(Uuid::from_u128(id)),
        tenant: TenantId(Uuid::from_u128(1)),
        name: name.parse().unwrap(),
        title: name.to_owned(),
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

fn key_id() -> model::KeyId {
    "0123456789abcdef".parse().unwrap()
}

fn key() -> Resource {
    Resource::Key(KeyVerifier {
        id: key_id(),
        tenant: TenantId(Uuid::from_u128(1)),
        user: None,
        role: KeyRole::User,
        scopes: model::KeyScopes::PLAIN,
        sha256: [7; 32],
        servers: None,
        expires_at: None,
    })
}
