//! Identity providers: what is written is read, what they are trusted with reaches proxies, and fetched keys too.

use model::{ClaimMapping, Generation, IssuerId, IssuerSpec, KeyRole, Resource, ResourceName, SigningAlgorithm};
use store::{
    AuditPage, FetchedKeys, IssuerPage, IssuerPatch, IssuerRecord, NewIssuer, StoreError, TenantPatch, TenantStore,
};

use crate::house::{House, START, actor, issuer};

const HOUR: i64 = 3_600_000_000;

fn all() -> IssuerPage {
    IssuerPage { limit: 100, ..IssuerPage::default() }
}

fn fetched(keys: &str, at: i64) -> FetchedKeys {
    FetchedKeys { document: format!(r#"{{"keys":["{keys}"]}}"#), metadata: format!(r#"{{"at":{at}}}"#), at }
}

async fn made(tenant: &TenantStore, name: &str) -> IssuerRecord {
    tenant.create_issuer(&actor(), issuer(name)).await.unwrap().value
}

async fn seq(house: &House) -> i64 {
    house.store.platform().revision().await.unwrap().seq
}

/// What proxies are told after a seq: name, removed, urgent.
async fn told(house: &House, since: i64) -> Vec<(ResourceName, bool, bool)> {
    let rows = house.store.platform().outbox_since(since, 100).await.unwrap();
    rows.into_iter().map(|row| (row.name, row.removed, row.urgent)).collect()
}

async fn intended(house: &House) -> Vec<IssuerSpec> {
    let resources = house.store.platform().intended().await.unwrap().resources.into_iter();
    let issuers = resources.filter_map(|resource| match resource {
        Resource::Issuer(spec) => Some(spec),
        _ => None,
    });
    issuers.collect()
}

#[tokio::test]
async fn a_created_issuer_is_read_back_the_same_and_is_intended() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let roles = vec![("boss".to_owned(), KeyRole::TenantAdmin), ("staff".to_owned(), KeyRole::User)];
    let claims = ClaimMapping { role: Some("realm.roles".to_owned()), roles, ..ClaimMapping::default() };
    let new = NewIssuer { claims, scope: Some("mcp".to_owned()), ..issuer("idp") };
    let id = new.id;
    let record = tenant.create_issuer(&actor(), new).await.unwrap().value;
    assert_eq!((record.id, record.generation, record.created_at), (id, Generation(1), START));
    assert_eq!((record.keys.as_str(), record.keys_at, record.tried_at), (r#"{"keys":[]}"#, None, None));
    assert_eq!((record.spec().keys_until, record.client_secret.as_deref()), (0, Some([1, 2, 3].as_slice())));
    assert_eq!(tenant.issuer(id).await.unwrap(), Some(record.clone()));
    assert_eq!(tenant.issuer_named("idp").await.unwrap(), Some(record.clone()));
    assert_eq!(house.store.platform().issuer_by_id(id).await.unwrap(), Some(record.clone()));
    assert_eq!(intended(&house).await, [record.spec()]);
    assert_eq!(tenant.issuer(IssuerId::fresh()).await.unwrap(), None);

    let with_keys = NewIssuer { fetched: Some(fetched("a", START - 5)), ..issuer("second") };
    let second = tenant.create_issuer(&actor(), with_keys).await.unwrap().value;
    assert_eq!((second.spec().keys_until, second.tried_at), (START - 5 + 24 * HOUR, Some(START - 5)));
    let none = tenant.create_issuer(&actor(), NewIssuer { enabled: false, ..issuer("off") }).await.unwrap().value;
    assert_eq!(intended(&house).await, [record.spec(), second.spec()], "a disabled one is not intended");
    let page = IssuerPage { enabled: Some(false), ..all() };
    assert_eq!(tenant.issuers(page).await.unwrap(), [none]);
}

#[tokio::test]
async fn names_and_issuers_are_unique_in_a_tenant_only() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let first = made(&tenant, "idp").await;
    made(&other, "idp").await;
    let same_name = NewIssuer { issuer: "https://else.example".to_owned(), ..issuer("idp") };
    let refused = tenant.create_issuer(&actor(), same_name).await;
    assert!(matches!(refused, Err(StoreError::NameTaken)), "{refused:?}");
    let same_issuer = NewIssuer { issuer: first.issuer.clone(), ..issuer("else") };
    let refused = tenant.create_issuer(&actor(), same_issuer).await;
    assert!(matches!(refused, Err(StoreError::IssuerTaken)), "{refused:?}");
    let second = made(&tenant, "second").await;
    let name = IssuerPatch { name: Some("idp".parse().unwrap()), ..Default::default() };
    let refused = tenant.change_issuer(&actor(), second.id, None, name).await;
    assert!(matches!(refused, Err(StoreError::NameTaken)), "{refused:?}");
    for number in 0..18 {
        made(&tenant, &format!("n{number}")).await;
    }
    let many = tenant.create_issuer(&actor(), issuer("many")).await;
    assert!(matches!(many, Err(StoreError::Bound { what: "issuers", limit: 20 })), "{many:?}");
}

#[tokio::test]
async fn a_change_keeps_what_is_absent_and_what_it_takes_away_is_urgent() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let old = made(&tenant, "idp").await;
    let change = async |patch: IssuerPatch| {
        let since = seq(&house).await;
        let record = tenant.change_issuer(&actor(), old.id, None, patch).await.unwrap().value;
        let told: Vec<_> =
            told(&house, since).await.into_iter().map(|(_, removed, urgent)| (removed, urgent)).collect();
        (record, told)
    };
    let none = IssuerPatch::default;
    let (renamed, quiet) = change(IssuerPatch {
        title: Some("New".to_owned()),
        client_id: Some(None),
        client_secret: Some(Some(vec![9])),
        sign_in: Some(false),
        ..none()
    })
    .await;
    assert_eq!(quiet, [], "no proxy holds that");
    let mut expected =
        IssuerRecord { title: "New".to_owned(), client_id: None, client_secret: Some(vec![9]), ..old.clone() };
    (expected.sign_in, expected.generation) = (false, Generation(2));
    assert_eq!(renamed, expected);
    assert_eq!(tenant.issuer(old.id).await.unwrap(), Some(expected));
    let audiences = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    for (patch, expected) in [
        (IssuerPatch { audiences: audiences(&["gatehouse", "more"]), ..none() }, (false, false)),
        (IssuerPatch { audiences: audiences(&["more"]), ..none() }, (false, true)),
        (IssuerPatch { algorithms: Some(SigningAlgorithm::ALL.into()), ..none() }, (false, false)),
        (IssuerPatch { algorithms: Some(vec![SigningAlgorithm::EdDsa]), ..none() }, (false, true)),
        (IssuerPatch { scope: Some(Some("mcp".to_owned())), ..none() }, (false, true)),
        (IssuerPatch { scope: Some(None), ..none() }, (false, false)),
        (IssuerPatch { unknown_users: Some(true), ..none() }, (false, false)),
        (IssuerPatch { unknown_users: Some(false), ..none() }, (false, true)),
        (IssuerPatch { claims: Some(ClaimMapping::default()), ..none() }, (false, true)),
        (IssuerPatch { mcp: Some(false), ..none() }, (false, true)),
        (IssuerPatch { enabled: Some(false), ..none() }, (true, true)),
        (IssuerPatch { enabled: Some(true), ..none() }, (false, false)),
    ] {
        let shown = format!("{:?} {:?}", patch.audiences, patch.enabled);
        assert_eq!(change(patch).await.1, [expected], "{shown}");
    }
    let same = tenant.change_issuer(&actor(), old.id, None, IssuerPatch { mcp: Some(false), ..none() }).await.unwrap();
    assert_eq!(same.value.generation, Generation(14), "nothing to change");
    let stale = tenant.change_issuer(&actor(), old.id, Some(Generation(1)), none()).await;
    assert!(matches!(stale, Err(StoreError::Stale { current: Generation(14) })), "{stale:?}");
}

#[tokio::test]
async fn a_deleted_issuer_is_gone_for_good_urgently() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let record = made(&tenant, "idp").await;
    let since = seq(&house).await;
    let stale = tenant.delete_issuer(&actor(), record.id, Some(Generation(2))).await;
    assert!(matches!(stale, Err(StoreError::Stale { .. })), "{stale:?}");
    tenant.delete_issuer(&actor(), record.id, Some(Generation(1))).await.unwrap();
    assert_eq!(told(&house, since).await, [(ResourceName::Issuer(record.id), true, true)]);
    assert_eq!((tenant.issuers(all()).await.unwrap(), intended(&house).await), (vec![], vec![]));
    let again = tenant.delete_issuer(&actor(), record.id, None).await;
    assert!(matches!(again, Err(StoreError::NotFound)), "{again:?}");
    made(&tenant, "idp").await;
    let page = AuditPage { object: Some(format!("issuer/{}", record.id)), limit: 10, ..Default::default() };
    let rows = tenant.audit(page).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.action.as_str()).collect::<Vec<_>>(), ["issuer.delete", "issuer.create"]);
    let text = format!("{rows:?}{record:?}");
    assert!(text.contains("has_client_secret") && !text.contains("1,2,3") && !text.contains("1, 2, 3"), "{text}");
}

#[tokio::test]
async fn fetched_keys_are_told_if_they_are_others_and_by_the_hour_otherwise() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = made(&tenant, "idp").await.id;
    let issuer = ResourceName::Issuer(id);
    let rows = async || tenant.audit(AuditPage { limit: 50, ..Default::default() }).await.unwrap().len();
    let audited = rows().await;
    let fetch = async |keys: &str, at: i64| {
        let since = seq(&house).await;
        let record = tenant.set_issuer_keys(id, fetched(keys, at)).await.unwrap().value;
        assert_eq!(tenant.issuer(id).await.unwrap(), Some(record.clone()));
        (told(&house, since).await, record)
    };
    let (news, record) = fetch("a", START).await;
    assert_eq!((news, record.spec().keys_until), (vec![(issuer, false, true)], START + 24 * HOUR));
    assert_eq!(record.generation, Generation(1), "nobody changed the record");
    let (news, record) = fetch("a", START + HOUR - 1).await;
    assert_eq!((news, record.spec().keys_until), (vec![], START + 24 * HOUR));
    assert_eq!(
        (record.tried_at, record.metadata),
        (Some(START + HOUR - 1), Some(fetched("a", START + HOUR - 1).metadata))
    );
    let (news, record) = fetch("a", START + HOUR).await;
    assert_eq!((news, record.spec().keys_until), (vec![(issuer, false, false)], START + 25 * HOUR));
    assert_eq!(intended(&house).await, [record.spec()]);
    let (news, record) = fetch("b", START + HOUR + 1).await;
    assert_eq!((news, record.spec().keys_until), (vec![(issuer, false, true)], START + 25 * HOUR + 1));
    let (news, late) = fetch("a", START).await;
    assert_eq!((news, late), (vec![], record.clone()), "an answer that was overtaken");
    assert_eq!(rows().await, audited, "nobody did it");

    let since = seq(&house).await;
    tenant.set_issuer_failure(id, &"ä".repeat(900), START + 2 * HOUR).await.unwrap();
    let failed = tenant.issuer(id).await.unwrap().unwrap();
    assert_eq!((failed.failure.as_deref(), failed.tried_at), (Some("ä".repeat(500).as_str()), Some(START + 2 * HOUR)));
    assert_eq!((failed.spec(), told(&house, since).await), (record.spec(), vec![]), "its keys stay");
    assert_eq!(fetch("b", START + 3 * HOUR).await.1.failure, None);

    let long = FetchedKeys { document: "x".repeat((64 << 10) + 1), ..fetched("a", START + 4 * HOUR) };
    let refused = tenant.set_issuer_keys(id, long).await;
    assert!(matches!(refused, Err(StoreError::Bound { limit: 65_536, .. })), "{refused:?}");
    let gone = tenant.set_issuer_keys(IssuerId::fresh(), fetched("a", START)).await;
    assert!(matches!(gone, Err(StoreError::NotFound)), "{gone:?}");
}

#[tokio::test]
async fn those_that_wait_longest_are_due_first_and_those_of_sleeping_tenants_never() {
    let house = House::new().await;
    let (tenant, off) = (house.tenant("acme").await, house.tenant("off").await);
    let (a, b, c) = (made(&tenant, "a").await.id, made(&tenant, "b").await.id, made(&tenant, "c").await.id);
    tenant.create_issuer(&actor(), NewIssuer { enabled: false, ..issuer("d") }).await.unwrap();
    made(&off, "a").await;
    let sleep = TenantPatch { active: Some(false), ..Default::default() };
    house.store.platform().patch_tenant(&actor(), off.id(), None, sleep).await.unwrap();
    tenant.set_issuer_keys(a, fetched("a", START + 20)).await.unwrap();
    tenant.set_issuer_failure(b, "no answer", START + 10).await.unwrap();
    let due = async |before, limit| -> Vec<_> {
        let due = house.store.platform().issuers_due(before, limit).await.unwrap();
        due.into_iter().map(|record| record.id).collect()
    };
    assert_eq!(due(START + 21, 10).await, [c, b, a]);
    assert_eq!(due(START + 20, 10).await, [c, b]);
    assert_eq!(due(START + 21, 1).await, [c]);
}

#[tokio::test]
async fn of_those_who_would_ask_at_once_one_does() {
    let house = House::new().await;
    let (tenant, store) = (house.tenant("acme").await, &house.store);
    let id = made(&tenant, "corp").await.id;
    let claim =
        |seen: Option<i64>, now: i64| async move { store.platform().claim_issuer(id, seen, now).await.unwrap() };
    let first = tokio::join!(claim(None, 5), claim(None, 5), claim(None, 6));
    assert_eq!([first.0, first.1, first.2].iter().filter(|won| **won).count(), 1);
    let tried = tenant.issuer(id).await.unwrap().unwrap().tried_at;
    assert!(!claim(None, 7).await && !claim(Some(4), 7).await, "it was asked since");
    assert!(claim(tried, 7).await);
    assert_eq!(tenant.issuer(id).await.unwrap().unwrap().tried_at, Some(7));
    assert!(!house.store.platform().claim_issuer(IssuerId::fresh(), None, 8).await.unwrap());
}

#[tokio::test]
async fn lists_are_paged_and_searched_literally() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    for (name, title) in [("a", "100%"), ("b", "x_y"), ("c", "plain")] {
        tenant.create_issuer(&actor(), NewIssuer { title: title.to_owned(), ..issuer(name) }).await.unwrap();
    }
    let names = async |page| -> Vec<String> {
        tenant.issuers(page).await.unwrap().into_iter().map(|record| record.name.to_string()).collect()
    };
    for (search, found) in [("%", vec!["a"]), ("_", vec!["b"]), ("PLAIN", vec!["c"]), ("//b.", vec!["b"])] {
        assert_eq!(names(IssuerPage { search: Some(search.to_owned()), ..all() }).await, found, "{search}");
    }
    let first = tenant.issuers(IssuerPage { limit: 2, ..Default::default() }).await.unwrap();
    let after = first.last().map(|record| record.id);
    assert_eq!(names(IssuerPage { after, limit: 2, ..Default::default() }).await, ["c"]);
}
