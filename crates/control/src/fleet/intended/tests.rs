//! What each pool is to hold, state after state.

use std::collections::HashMap;
use std::time::Duration;

use model::{
    EgressRule, EgressRuleId, Generation, GrantId, KeyId, KeyRole, KeyScopes, KeyVerifier, Limits, RevokedGrant,
    ServerId, ServerLimits, ServerSpec, SignerId, SignerSpec, TenantSpec, Transport, UpstreamUrl, UserId, UserSpec,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn id(number: u8) -> TenantId {
    TenantId(Uuid::from_u128(number.into()))
}

fn tenant(number: u8) -> Resource {
    let name = format!("tenant-{number}").parse().unwrap();
    let (limits, stale_after, authorization_server) = (Limits::default(), None, false);
    Resource::Tenant(TenantSpec { id: id(number), name, limits, stale_after, authorization_server })
}

fn server(of: u8, number: u128, title: &str) -> Resource {
    Resource::Server(ServerSpec {
        id: ServerId(Uuid::from_u128(number)),
        tenant: id(of),
        name: "notes".parse().unwrap(),
        title: title.to_owned(),
        generation: Generation(1),
        transport: Transport::Auto,
        url: UpstreamUrl::parse("https://notes.example/").unwrap(),
        headers: vec![],
        connect_timeout: Duration::from_secs(1),
        read_timeout: Duration::from_secs(1),
        disabled_tools: vec![],
        trust_hints: false,
        retry_count: 0,
        retry_delay: Duration::from_secs(1),
        limits: ServerLimits::default(),
        binding: None,
        eras: model::Eras::default(),
    })
}

fn key(of: u8) -> Resource {
    let id = format!("{of:016}").parse::<KeyId>().unwrap();
    let tenant = self::id(of);
    let (user, scopes, sha256, servers, expires_at) = (None, KeyScopes::PLAIN, [1; 32], None, None);
    Resource::Key(KeyVerifier { id, tenant, user, role: KeyRole::User, scopes, sha256, servers, expires_at })
}

fn rule(tenant: Option<u8>) -> Resource {
    let id = EgressRuleId(Uuid::from_u128(900 + u128::from(tenant.unwrap_or(0))));
    let host = "10.0.0.0/8".parse().unwrap();
    Resource::Egress(EgressRule { id, tenant: tenant.map(self::id), host, ports: None, http: false })
}

fn whole(seq: i64, resources: Vec<Resource>, pools: &[(u8, &[&str])]) -> IntendedState {
    let pools =
        pools.iter().map(|(tenant, pools)| (id(*tenant), pools.iter().map(|pool| (*pool).to_owned()).collect()));
    IntendedState { revision: Revision { epoch: 1, seq }, resources, pools: pools.collect(), unreadable: vec![] }
}

fn unreadable(name: ResourceName) -> Unreadable {
    Unreadable { name: Some(name), text: name.to_string(), tenant: None, reason: "bad".to_owned() }
}

fn names(intended: &Intended, pool: &str) -> HashSet<ResourceName> {
    intended.view(pool).names().copied().collect()
}

fn set(resources: &[Resource]) -> HashSet<ResourceName> {
    resources.iter().map(Resource::name).collect()
}

#[test]
fn a_pool_holds_its_tenants_and_the_rules_for_all() {
    let all = vec![tenant(1), tenant(2), server(1, 11, "a"), server(2, 21, "b"), key(2), rule(None), rule(Some(2))];
    let intended = Intended::default().replaced(whole(1, all, &[(1, &["default", "edge"]), (2, &["edge"])]));
    assert_eq!(names(&intended, "default"), set(&[tenant(1), server(1, 11, ""), rule(None)]));
    assert_eq!(names(&intended, "edge").len(), 7);
    assert_eq!(names(&intended, "nobody"), set(&[rule(None)]));
    assert!(intended.serves("edge", id(2)) && !intended.serves("default", id(2)) && !intended.serves_any("nobody"));
    let name = server(2, 21, "").name();
    assert!(intended.concerns("edge", &name) && !intended.concerns("default", &name));
    let unknown = server(2, 99, "").name();
    assert!(intended.concerns("default", &unknown) && !intended.concerns("nobody", &unknown));
}

#[test]
fn a_tenant_that_moves_takes_everything_along() {
    let all = vec![tenant(1), server(1, 11, "a"), key(1)];
    let before = Intended::default().replaced(whole(1, all.clone(), &[(1, &["default"])]));
    let stamp = before.view("default").stamp();
    let named = [(tenant(1).name(), Some(id(1)))];
    let after = before.changed(&named, whole(2, all.clone(), &[(1, &["edge"])]));
    assert!(names(&after, "default").is_empty());
    assert_eq!(names(&after, "edge"), set(&all));
    assert_eq!(after.view("default").touched_since(stamp), None, "another lineage: compared whole");
    let back = after.changed(&named, whole(3, all.clone(), &[(1, &["default", "edge"])]));
    assert_eq!(names(&back, "default"), set(&all));
    assert_ne!(back.view("default").stamp(), stamp);
}

#[test]
fn a_tenant_that_goes_takes_everything_along_whatever_else_is_named() {
    let all = vec![tenant(1), tenant(2), server(1, 11, "a"), server(2, 21, "b"), key(1), rule(Some(1))];
    let pools: &[(u8, &[&str])] = &[(1, &["default"]), (2, &["default"])];
    let before = Intended::default().replaced(whole(1, all, pools));
    let after = before.changed(&[(tenant(1).name(), Some(id(1)))], whole(2, vec![], &[]));
    assert_eq!(names(&after, "default"), set(&[tenant(2), server(2, 21, "")]));
    // Whose it was is remembered while somebody may ask how far its end has come.
    let gone = server(2, 21, "").name();
    let after = after.changed(&[(gone, Some(id(2)))], whole(3, vec![], &[(2, &["default"])]));
    assert!(after.concerns("default", &gone) && !after.concerns("edge", &gone));
}

#[test]
fn what_cannot_be_read_stays_as_it_was_except_what_lets_somebody_in() {
    let pools: &[(u8, &[&str])] = &[(1, &["default"])];
    let revoked = Resource::Revoked(RevokedGrant { id: GrantId(Uuid::from_u128(3)), tenant: id(1) });
    let user = Resource::User(UserSpec {
        id: UserId(Uuid::from_u128(4)),
        tenant: id(1),
        login: "ann".to_owned(),
        external_id: None,
        role: KeyRole::User,
        active: true,
        departments: vec![],
    });
    let signer = SignerSpec { id: SignerId(Uuid::from_u128(5)), url: String::new(), public: [1; 32], until: 1 };
    let all = vec![tenant(1), server(1, 11, "a"), revoked.clone(), key(1), user, Resource::Signer(signer)];
    let before = Intended::default().replaced(whole(1, all.clone(), pools));
    assert_eq!(names(&before, "default"), set(&all));
    let held_back = all.iter().map(|resource| unreadable(resource.name())).collect();
    let state = IntendedState { unreadable: held_back, ..whole(2, vec![], &[]) };
    let named: Vec<_> = all.iter().map(|resource| (resource.name(), Some(id(1)))).collect();
    for after in [before.replaced(state.clone()), before.changed(&named, state)] {
        assert_eq!(names(&after, "default"), set(&[tenant(1), server(1, 11, ""), revoked.clone()]));
    }
}

#[test]
fn a_proxy_that_is_a_few_states_behind_is_told_only_what_changed() {
    let pools: &[(u8, &[&str])] = &[(1, &["default"])];
    let mut intended = Intended::default().replaced(whole(1, vec![tenant(1)], pools));
    let old = intended.view("default").stamp();
    for number in 0..3 {
        let one = server(1, number, "a");
        let named = [(one.name(), Some(id(1)))];
        intended = intended.changed(&named, whole(2 + i64::try_from(number).unwrap(), vec![one], pools));
    }
    let touched = intended.view("default").touched_since(old).unwrap();
    assert_eq!(touched, set(&[server(1, 0, ""), server(1, 1, ""), server(1, 2, "")]));
    for _ in 0..100 {
        intended = intended.changed(&[], whole(9, vec![], pools));
    }
    assert_eq!(intended.view("default").touched_since(old), None);
}

fn resources() -> impl Strategy<Value = Vec<(u8, u128, Option<u8>)>> {
    prop::collection::vec((0u8..3, 0u128..12, prop::option::of(0u8..3)), 0..12)
}

proptest! {
    /// However a state came about, it is what a whole reading would give, digests included.
    #[test]
    fn changes_add_up_to_the_whole(steps in prop::collection::vec(resources(), 1..12)) {
        const POOLS: [&[&str]; 3] = [&["a"], &["a", "b"], &["b"]];
        let pools: Vec<(u8, &[&str])> = (0..3).map(|number| (number, POOLS[usize::from(number)])).collect();
        let mut wanted: HashMap<u128, Resource> = HashMap::new();
        let tenants = || (0..3).map(tenant);
        let mut intended = Intended::default().replaced(whole(1, tenants().collect(), &pools));
        for (seq, step) in (2..).zip(steps) {
            let mut named = vec![];
            for (of, number, title) in step {
                let number = number * 3 + u128::from(of);
                let one = server(of, number, &title.map(|title| title.to_string()).unwrap_or_default());
                named.push((one.name(), Some(id(of))));
                match title {
                    Some(_) => _ = wanted.insert(number, one),
                    None => _ = wanted.remove(&number),
                }
            }
            let read = wanted.values().filter(|one| named.iter().any(|(name, _)| *name == one.name())).cloned();
            intended = intended.changed(&named, whole(seq, read.collect(), &pools));
            let all = tenants().chain(wanted.values().cloned()).collect();
            let whole = Intended::default().replaced(whole(seq, all, &pools));
            prop_assert!(intended.holds_the_same_as(&whole));
            for pool in ["a", "b"] {
                prop_assert_eq!(names(&intended, pool), names(&whole, pool));
                prop_assert_eq!(intended.view(pool).len(), names(&whole, pool).len());
            }
        }
    }
}
