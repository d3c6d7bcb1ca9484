//! The rules of pushing, against a model of a proxy.

use std::collections::BTreeMap;

use model::{
    ClaimMapping, GrantId, IssuerId, IssuerSpec, KeyRole, KeyScopes, KeyVerifier, Limits, Resource, RevokedGrant,
    SignerId, SignerSpec, TenantId, TenantSpec, UserId, UserSpec,
};
use proptest::prelude::*;
use uuid::Uuid;
use wire::Rejected;

use super::*;

/// A proxy that applies what it is told, except what it is told to reject.
#[derive(Default)]
struct Proxy {
    at: Revision,
    held: BTreeMap<String, (ResourceName, Digest)>,
}

impl Proxy {
    fn hello(&self) -> Hello {
        Hello {
            node: "default/1".into(),
            boot: "1".into(),
            instance: "1".into(),
            build: "test".into(),
            protocol: (wire::PROTOCOL_LOWEST, wire::PROTOCOL_HIGHEST),
            revision: self.at,
            held: self.held(),
            peer_address: None,
        }
    }

    fn held(&self) -> Vec<(ResourceName, Digest)> {
        self.held.values().copied().collect()
    }

    fn digest(&self) -> Digest {
        digest_of_table(self.held.values().copied())
    }

    fn apply(&mut self, plan: &Plan, intended: &View, reject: impl Fn(&ResourceName) -> bool) -> Answer {
        let mut rejected = vec![];
        if plan.head.snapshot {
            let stays: HashSet<_> = plan.upserts.iter().copied().collect();
            self.held.retain(|_, (name, _)| stays.contains(name));
        }
        for name in &plan.upserts {
            if reject(name) {
                rejected.push(Rejected { name: name.to_string(), reason: "no".into() });
            } else {
                self.held.insert(name.to_string(), (*name, intended.digest_of(name).unwrap()));
            }
        }
        for name in &plan.removes {
            self.held.remove(&name.to_string());
        }
        self.at = plan.head.revision;
        Answer {
            nonce: plan.head.nonce,
            revision: self.at,
            rejected,
            refusal: None,
            held: if plan.head.snapshot { self.held() } else { vec![] },
        }
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat { revision: self.at, digest: self.digest(), sealing_key: 0 }
    }
}

fn tenant(id: u8, version: u32) -> Resource {
    Resource::Tenant(TenantSpec {
        id: TenantId(Uuid::from_u128(id.into())),
        name: format!("tenant-{id}").parse().unwrap(),
        limits: Limits { servers: version, ..Limits::default() },
        stale_after: Some(model::TenantSpec::STALE_AFTER),
        authorization_server: false,
    })
}

fn key(expires_at: Option<i64>) -> Resource {
    Resource::Key(KeyVerifier {
        id: "0123456789abcdef".parse().unwrap(),
        tenant: TenantId(Uuid::from_u128(1)),
        user: None,
        role: KeyRole::User,
        scopes: KeyScopes::PLAIN,
        sha256: [1; 32],
        servers: None,
        expires_at,
    })
}

fn revision(seq: i64) -> Revision {
    Revision { epoch: 1, seq }
}

fn state(seq: i64, resources: Vec<Resource>, before: &View) -> Arc<View> {
    at(revision(seq), resources, before)
}

fn at(revision: Revision, resources: Vec<Resource>, before: &View) -> Arc<View> {
    Arc::new(before.replaced(revision, resources))
}

/// Brings the proxy to `intended` in one push and answers what was pushed.
fn bring(session: &mut Session, proxy: &mut Proxy, intended: &Arc<View>) -> Option<Plan> {
    let plan = session.next_push(intended)?;
    let answer = proxy.apply(&plan, intended, |_| false);
    session.answered(answer).unwrap();
    assert_eq!(session.next_push(intended).map(|_| ()), None, "one push is enough");
    Some(plan)
}

#[test]
fn an_empty_proxy_gets_a_snapshot_and_then_only_differences() {
    let (mut proxy, empty) = (Proxy::default(), View::default());
    let mut session = Session::new(&proxy.hello());
    let first = state(1, vec![tenant(1, 1), tenant(2, 1)], &empty);
    let plan = bring(&mut session, &mut proxy, &first).unwrap();
    assert!(plan.head.snapshot && plan.upserts.len() == 2);
    let second = state(2, vec![tenant(1, 2), tenant(3, 1)], &first);
    let plan = bring(&mut session, &mut proxy, &second).unwrap();
    assert!(!plan.head.snapshot);
    assert_eq!((plan.upserts.len(), plan.removes.len()), (2, 1));
    assert_eq!(session.digest(), proxy.digest());
    assert_eq!(session.settled(), Some(revision(2)));
}

#[test]
fn a_proxy_that_holds_everything_is_told_nothing() {
    let mut proxy = Proxy::default();
    let intended = state(5, vec![tenant(1, 1)], &View::default());
    bring(&mut Session::new(&proxy.hello()), &mut proxy, &intended);
    let mut again = Session::new(&proxy.hello());
    assert!(again.next_push(&intended).is_none());
    assert_eq!(again.settled(), Some(revision(5)));
    let later = state(6, vec![tenant(1, 1), tenant(2, 1)], &intended);
    let plan = bring(&mut Session::new(&proxy.hello()), &mut proxy, &later).unwrap();
    assert_eq!((plan.head.snapshot, plan.upserts.len()), (false, 1));
}

#[test]
fn changes_during_a_push_become_one_push() {
    let mut proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let mut states = vec![state(1, vec![tenant(1, 0)], &View::default())];
    let plan = session.next_push(&states[0]).unwrap();
    for version in 1..1_000 {
        let next = state(i64::from(version) + 1, vec![tenant(1, version)], states.last().unwrap());
        assert!(session.next_push(&next).is_none());
        states.push(next);
    }
    session.answered(proxy.apply(&plan, &states[0], |_| false)).unwrap();
    let last = states.last().unwrap();
    let plan = bring(&mut session, &mut proxy, last).unwrap();
    assert_eq!((plan.upserts.len(), plan.head.revision), (1, revision(1_000)));
}

#[test]
fn a_rejected_resource_is_remembered_until_it_changes() {
    let mut proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let first = state(1, vec![tenant(1, 1), tenant(2, 1)], &View::default());
    let bad = tenant(2, 0).name();
    let plan = session.next_push(&first).unwrap();
    session.answered(proxy.apply(&plan, &first, |name| *name == bad)).unwrap();
    assert_eq!(session.rejected(), vec![(bad, "no".to_owned())]);
    assert_eq!(session.digest(), proxy.digest());
    assert!(session.next_push(&first).is_none());
    let second = state(2, vec![tenant(1, 2), tenant(2, 1)], &first);
    assert_eq!(bring(&mut session, &mut proxy, &second).unwrap().upserts, vec![tenant(1, 0).name()]);
    let third = state(3, vec![tenant(1, 2), tenant(2, 2)], &second);
    assert_eq!(bring(&mut session, &mut proxy, &third).unwrap().upserts, vec![bad]);
    assert!(session.rejected().is_empty());
}

#[test]
fn two_mismatching_heartbeats_lead_to_a_snapshot() {
    let mut proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let intended = state(1, vec![tenant(1, 1), tenant(2, 1)], &View::default());
    bring(&mut session, &mut proxy, &intended);
    session.heartbeat(&proxy.heartbeat());
    assert!(session.digest_matches());
    proxy.held.pop_first();
    session.heartbeat(&proxy.heartbeat());
    assert!(!session.digest_matches() && session.next_push(&intended).is_none());
    session.heartbeat(&proxy.heartbeat());
    let plan = bring(&mut session, &mut proxy, &intended).unwrap();
    assert!(plan.head.snapshot);
    session.heartbeat(&proxy.heartbeat());
    assert!(session.digest_matches());
}

#[test]
fn a_resync_pushes_what_the_proxy_really_lacks() {
    let mut proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let intended = state(1, vec![tenant(1, 1), tenant(2, 1)], &View::default());
    bring(&mut session, &mut proxy, &intended);
    session.resynced(proxy.held());
    assert!(session.next_push(&intended).is_none(), "nothing is wrong");
    proxy.held.pop_first();
    session.resynced(proxy.held());
    assert_eq!(bring(&mut session, &mut proxy, &intended).unwrap().upserts, vec![tenant(1, 0).name()]);
}

#[test]
fn a_resync_that_crosses_a_push_is_compared_after_its_answer() {
    let mut proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let first = state(1, vec![tenant(1, 1), tenant(2, 1)], &View::default());
    bring(&mut session, &mut proxy, &first);
    let second = state(2, vec![tenant(1, 1), tenant(2, 1), tenant(3, 1)], &first);
    proxy.held.pop_first();
    let held = proxy.held();
    let plan = session.next_push(&second).unwrap();
    let answer = proxy.apply(&plan, &second, |_| false);
    session.resynced(held);
    session.answered(answer).unwrap();
    assert_eq!(bring(&mut session, &mut proxy, &second).unwrap().upserts, vec![tenant(1, 0).name()]);
}

#[test]
fn a_state_corrected_without_a_new_revision_is_pushed() {
    let mut proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let first = state(1, vec![tenant(1, 1)], &View::default());
    bring(&mut session, &mut proxy, &first);
    let corrected = state(1, vec![tenant(1, 2)], &first);
    bring(&mut session, &mut proxy, &corrected).unwrap();
    assert_eq!(proxy.digest(), corrected.digest());
    // The next one's differences are those to the corrected state, which this session never saw.
    let unseen = state(1, vec![tenant(1, 3)], &corrected);
    let next = state(2, vec![tenant(1, 3), tenant(2, 1)], &unseen);
    bring(&mut session, &mut proxy, &next).unwrap();
    assert_eq!(proxy.digest(), next.digest());
}

#[test]
fn proxies_never_go_back_except_into_a_new_epoch() {
    let mut proxy = Proxy::default();
    let new = state(9, vec![tenant(1, 1)], &View::default());
    bring(&mut Session::new(&proxy.hello()), &mut proxy, &new);
    let mut session = Session::new(&proxy.hello());
    let old = state(8, vec![], &View::default());
    assert!(session.next_push(&old).is_none(), "a replica that lags");
    let restored = at(Revision { epoch: 2, seq: 3 }, vec![tenant(2, 1)], &old);
    let plan = bring(&mut session, &mut proxy, &restored).unwrap();
    assert!(plan.head.snapshot);
    assert_eq!(proxy.held().len(), 1);
}

#[test]
fn what_takes_something_from_a_key_is_urgent() {
    let mut proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let base = state(1, vec![tenant(1, 1), key(None)], &View::default());
    assert!(!bring(&mut session, &mut proxy, &base).unwrap().head.urgent);
    let narrowed = state(2, vec![tenant(1, 1), key(Some(7))], &base);
    assert!(bring(&mut session, &mut proxy, &narrowed).unwrap().head.urgent);
    let limits = state(3, vec![tenant(1, 2), key(Some(7))], &narrowed);
    assert!(!bring(&mut session, &mut proxy, &limits).unwrap().head.urgent);
    let revoked = state(4, vec![tenant(1, 2)], &limits);
    assert!(bring(&mut session, &mut proxy, &revoked).unwrap().head.urgent);
}

fn user(active: bool) -> Resource {
    Resource::User(UserSpec {
        id: UserId(Uuid::from_u128(7)),
        tenant: TenantId(Uuid::from_u128(1)),
        login: "ann".to_owned(),
        external_id: None,
        role: KeyRole::User,
        active,
        departments: vec![],
    })
}

fn issuer(scope: Option<&str>) -> Resource {
    Resource::Issuer(IssuerSpec {
        id: IssuerId(Uuid::from_u128(8)),
        tenant: TenantId(Uuid::from_u128(1)),
        issuer: "https://id.example".to_owned(),
        audiences: vec![],
        algorithms: vec![],
        claims: ClaimMapping::default(),
        scope: scope.map(str::to_owned),
        unknown_users: true,
        mcp: true,
        keys: r#"{"keys":[]}"#.to_owned(),
        keys_until: 1,
    })
}

fn signer(until: i64) -> Resource {
    Resource::Signer(SignerSpec { id: SignerId(Uuid::from_u128(9)), url: String::new(), public: [1; 32], until })
}

#[test]
fn what_takes_something_from_a_user_is_urgent_and_what_gives_is_not() {
    let revoked =
        Resource::Revoked(RevokedGrant { id: GrantId(Uuid::from_u128(10)), tenant: TenantId(Uuid::from_u128(1)) });
    let mut proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let mut before = state(1, vec![tenant(1, 1)], &View::default());
    bring(&mut session, &mut proxy, &before).unwrap();
    for (seq, (resources, urgent)) in (2..).zip([
        (vec![user(true)], false),
        (vec![user(false)], true),
        (vec![user(false), issuer(None)], false),
        (vec![user(false), issuer(Some("mcp"))], true),
        (vec![issuer(Some("mcp"))], true),
        (vec![signer(1)], true),
        (vec![signer(2)], false),
        (vec![signer(2), revoked], true),
        (vec![signer(2)], false),
        (vec![], true),
    ]) {
        let all = [vec![tenant(1, 1)], resources].concat();
        let next = state(seq, all, &before);
        assert_eq!(bring(&mut session, &mut proxy, &next).unwrap().head.urgent, urgent, "{seq}");
        before = next;
    }
}

#[test]
fn answers_to_other_pushes_change_nothing() {
    let proxy = Proxy::default();
    let mut session = Session::new(&proxy.hello());
    let intended = state(1, vec![tenant(1, 1)], &View::default());
    session.next_push(&intended).unwrap();
    let stray = Answer { nonce: 99, revision: revision(5), rejected: vec![], refusal: None, held: vec![] };
    session.answered(stray).unwrap();
    assert_eq!(session.strays(), 1);
    assert!(session.awaits_answer());
    assert_eq!(session.at(), Revision::default());
}

#[test]
fn a_proxy_that_refuses_everything_is_given_up() {
    let mut session = Session::new(&Proxy::default().hello());
    let intended = state(1, vec![tenant(1, 1)], &View::default());
    for turn in 1..=3 {
        let plan = session.next_push(&intended).unwrap();
        let refused = Answer {
            nonce: plan.head.nonce,
            revision: Revision::default(),
            rejected: vec![],
            refusal: Some(Refusal::SnapshotNeeded),
            held: vec![],
        };
        assert_eq!(session.answered(refused).is_err(), turn == 3);
    }
}

#[derive(Debug, Clone)]
enum Step {
    Change(u8, Option<u32>),
    Push,
    Answer,
    LoseAnswer,
    Reconnect,
    Drift(u8),
    Heartbeat,
    Resync,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0u8..6, prop::option::of(0u32..3)).prop_map(|(id, version)| Step::Change(id, version)),
        4 => Just(Step::Push),
        4 => Just(Step::Answer),
        1 => Just(Step::LoseAnswer),
        1 => Just(Step::Reconnect),
        1 => (0u8..6).prop_map(Step::Drift),
        1 => Just(Step::Heartbeat),
        1 => Just(Step::Resync),
    ];
    prop::collection::vec(step, 0..60)
}

proptest! {
    /// Any interleaving of changes, pushes, lost answers, drift and reconnects ends in agreement.
    #[test]
    fn every_history_converges(steps in steps()) {
        let mut wanted: BTreeMap<u8, u32> = BTreeMap::new();
        let mut seq = 1;
        let mut intended = state(seq, vec![], &View::default());
        let mut proxy = Proxy::default();
        let mut session = Session::new(&proxy.hello());
        let mut answer: Option<Answer> = None;
        let mut before: Option<Vec<(ResourceName, Digest)>> = None;
        for step in steps {
            match step {
                Step::Change(id, version) => {
                    match version {
                        Some(version) => _ = wanted.insert(id, version),
                        None => _ = wanted.remove(&id),
                    }
                    seq += 1;
                    let resources = wanted.iter().map(|(id, version)| tenant(*id, *version)).collect();
                    intended = state(seq, resources, &intended);
                }
                Step::Push => {
                    if let Some(plan) = session.next_push(&intended) {
                        let at = proxy.at;
                        before = Some(proxy.held());
                        answer = Some(proxy.apply(&plan, &intended, |_| false));
                        prop_assert!(proxy.at >= at, "never backwards");
                    }
                }
                Step::Answer => if let Some(answer) = answer.take() {
                    session.answered(answer).unwrap();
                    before = None;
                },
                Step::LoseAnswer | Step::Reconnect => {
                    (answer, before) = (None, None);
                    session = Session::new(&proxy.hello());
                }
                Step::Drift(id) => _ = proxy.held.remove(&tenant(id, 0).name().to_string()),
                Step::Heartbeat => session.heartbeat(&proxy.heartbeat()),
                // It may have been said before a push that is not answered yet.
                Step::Resync => session.resynced(before.clone().unwrap_or_else(|| proxy.held())),
            }
        }
        if let Some(answer) = answer { session.answered(answer).unwrap() }
        for _ in 0..6 {
            if let Some(plan) = session.next_push(&intended) {
                session.answered(proxy.apply(&plan, &intended, |_| false)).unwrap();
            }
            session.heartbeat(&proxy.heartbeat());
        }
        prop_assert_eq!(proxy.digest(), intended.digest());
        prop_assert_eq!(session.settled(), Some(intended.revision));
        prop_assert!(session.digest_matches());
    }
}
