//! All that is sealed, page by page, replaced only where it is still what was read.

use std::collections::BTreeSet;

use model::{Holder, ServerId, TenantId};
use store::{
    ConnectionPatch, CredentialChange, NewConnection, NewCredential, NewUpstreamClient, Resealed, SealedValue,
    SecretChange, ServerAuth, StoreError, TenantStore,
};

use crate::house::{House, actor, connection, issuer, server, user_in};

fn client(server: ServerId, issuer: &str, secret: u8) -> NewUpstreamClient {
    NewUpstreamClient {
        server,
        issuer: issuer.to_owned(),
        client_id: "c".to_owned(),
        secret: Some(vec![secret; 3]),
        auth_method: "client_secret_basic".to_owned(),
        redirect_uri: "https://x/".to_owned(),
        secret_expires_at: None,
        replaces: None,
    }
}

/// Two servers with all kinds of secrets.
async fn furnish(tenant: &TenantStore) {
    for (number, name) in [(1, "a"), (2, "b")] {
        let secret = SecretChange::Set { sealed: vec![number, 1], version: 1 };
        let auth = ServerAuth { config: "{}".to_owned(), binding: None, secret };
        let new = store::NewServer { auth: Some(auth), ..server(name) };
        let id = tenant.create_server(&actor(), new).await.unwrap().value.spec.id;
        let both = NewConnection { token: Some(vec![number, 2]), ..connection(id, Holder::Global) };
        tenant.create_connection(&actor(), both).await.unwrap();
        let ann = user_in(tenant, &format!("ann{number}")).await;
        tenant.create_connection(&actor(), connection(id, Holder::User(ann))).await.unwrap();
        let bob = user_in(tenant, &format!("bob{number}")).await;
        let bare = NewConnection { credential: None, fingerprints: vec![], ..connection(id, Holder::User(bob)) };
        tenant.create_connection(&actor(), bare).await.unwrap();
        for at in ["https://one.example/a", "https://two.example/b"] {
            tenant.put_upstream_client(client(id, at, number)).await.unwrap();
        }
    }
    tenant.create_issuer(&actor(), issuer("idp")).await.unwrap();
}

async fn walk(house: &House, tenant: Option<TenantId>, limit: u32) -> Vec<SealedValue> {
    let platform = house.store.platform();
    let (mut cursor, mut found) = (None::<String>, Vec::new());
    loop {
        let page = platform.sealed_values_after(tenant, cursor.as_deref(), limit).await.unwrap();
        found.extend(page.values);
        let Some(next) = page.next else { return found };
        cursor = Some(next);
    }
}

#[tokio::test]
async fn pages_of_any_length_show_every_sealed_value_once() {
    let house = House::new().await;
    let (one, two) = (house.tenant("one").await, house.tenant("two").await);
    furnish(&one).await;
    furnish(&two).await;
    for name in ["x/y", "z"] {
        house.store.platform().put_sealed(name, vec![5]).await.unwrap();
    }
    for (tenant, expected) in [(None, 28), (Some(one.id()), 13), (Some(TenantId(uuid::Uuid::nil())), 2)] {
        for limit in [1, 2, 3, 200] {
            let found = walk(&house, tenant, limit).await;
            let places: BTreeSet<_> =
                found.iter().map(|value| (value.tenant, value.kind, value.record, value.field.clone())).collect();
            assert_eq!((found.len(), places.len()), (expected, expected), "{tenant:?} {limit} {found:?}");
            assert!(tenant.is_none_or(|tenant| found.iter().all(|value| value.tenant == tenant)));
        }
        assert_eq!(house.store.platform().sealed_value_count(tenant).await.unwrap(), expected as u64);
    }
    let nonsense = house.store.platform().sealed_values_after(None, Some("nonsense"), 5).await;
    assert!(matches!(nonsense, Err(StoreError::Corrupt { .. })));
}

#[tokio::test]
async fn every_sealed_value_can_be_replaced_once_by_who_read_it() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    furnish(&tenant).await;
    house.store.platform().put_sealed("name", vec![5]).await.unwrap();
    let before = house.store.platform().revision().await.unwrap();
    let values = walk(&house, None, 200).await;
    let anew = |values: &[SealedValue]| -> Vec<Resealed> {
        let sealed = |value: &SealedValue| [&[99], value.sealed.as_slice()].concat();
        values.iter().map(|value| Resealed { value: value.clone(), sealed: sealed(value) }).collect()
    };
    let replaced = house.store.platform().replace_sealed_values(anew(&values)).await.unwrap();
    assert_eq!(replaced, values.len() as u64);
    assert_eq!(house.store.platform().replace_sealed_values(anew(&values)).await.unwrap(), 0, "they are others by now");
    let after = walk(&house, None, 200).await;
    assert_eq!(
        anew(&values).into_iter().map(|one| one.sealed).collect::<Vec<_>>(),
        after.iter().map(|value| value.sealed.clone()).collect::<Vec<_>>()
    );
    let strip = |values: Vec<SealedValue>| -> Vec<_> {
        values.into_iter().map(|value| SealedValue { sealed: vec![], ..value }).collect()
    };
    assert_eq!(strip(after), strip(values), "place and version stay");
    assert_eq!(house.store.platform().revision().await.unwrap(), before, "nobody is told: nothing is another");
}

#[tokio::test]
async fn what_a_person_gave_meanwhile_is_not_replaced() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let made = tenant.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let id = tenant.create_connection(&actor(), connection(made, Holder::Global)).await.unwrap().value.id;
    let values = walk(&house, Some(tenant.id()), 200).await;
    assert_eq!((values.len(), values[0].field.as_str(), values[0].version), (1, "credential", 1));
    let credential = CredentialChange { to: NewCredential::Sealed(vec![42]), version: 2, fingerprints: vec![] };
    let patch = ConnectionPatch { credential: Some(credential), ..Default::default() };
    tenant.patch_connection(&actor(), id, None, patch).await.unwrap();
    let late = Resealed { value: values[0].clone(), sealed: vec![7] };
    assert_eq!(house.store.platform().replace_sealed_values(vec![late]).await.unwrap(), 0);
    assert_eq!(tenant.connection(id).await.unwrap().unwrap().credential, Some(vec![42]));
}
