//! OAuth clients: kept while they are used, each tenant's its own.

use model::ResourceName;
use store::{ClientKind, ClientRecord, StoreError};

use crate::house::{House, START, actor};
use crate::sign_in::{DAY, MINUTE, grant, last_deed, person, seq, told};

fn client(id: &str) -> ClientRecord {
    ClientRecord {
        id: id.to_owned(),
        kind: ClientKind::Registered,
        name: "A \"client\" ☃".to_owned(),
        redirect_uris: vec!["http://127.0.0.1/cb".to_owned(), "com.example:/cb".to_owned()],
        created_at: START,
        used_at: None,
        expires_at: START + DAY,
    }
}

#[tokio::test]
async fn a_client_is_read_back_the_same_until_its_end() {
    let house = House::new().await;
    let (tenant, other) = (house.tenant("acme").await, house.tenant("other").await);
    let before = seq(&house).await;
    tenant.create_client(client("one")).await.unwrap();
    assert_eq!(seq(&house).await, before);
    assert_eq!(tenant.client("one").await.unwrap(), Some(client("one")));
    assert_eq!(tenant.client("One").await.unwrap(), None);
    assert_eq!(other.client("one").await.unwrap(), None);
    house.clock.advance_micros(DAY);
    assert_eq!(tenant.client("one").await.unwrap(), None);
    tenant.touch_client("one", START + 9 * DAY).await.unwrap();
    assert_eq!(tenant.client("one").await.unwrap(), None, "what has ended does not come back");
    tenant.create_client(ClientRecord { expires_at: START + 2 * DAY, ..client("one") }).await.unwrap();
    assert!(tenant.client("one").await.unwrap().is_some(), "but its place is free");
}

#[tokio::test]
async fn use_lets_a_client_live_longer_and_never_shorter() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    tenant.create_client(client("one")).await.unwrap();
    house.clock.advance_micros(MINUTE);
    for (until, expires_at) in [(3 * DAY, 3 * DAY), (2 * DAY, 3 * DAY)] {
        tenant.touch_client("one", START + until).await.unwrap();
        let record = tenant.client("one").await.unwrap().unwrap();
        assert_eq!((record.used_at, record.expires_at), (Some(START + MINUTE), START + expires_at));
    }
    tenant.touch_client("nobody", START + DAY).await.unwrap();
}

#[tokio::test]
async fn a_document_replaces_what_it_said_before_and_a_registration_nothing() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = "https://client.example/meta.json";
    for name in ["before", "after"] {
        let record = ClientRecord { kind: ClientKind::Document, name: name.to_owned(), ..client(id) };
        tenant.create_client(record.clone()).await.unwrap();
        assert_eq!(tenant.client(id).await.unwrap(), Some(record));
    }
    tenant.create_client(client("one")).await.unwrap();
    assert!(tenant.create_client(ClientRecord { name: "thief".to_owned(), ..client("one") }).await.is_err());
    assert_eq!(tenant.client("one").await.unwrap(), Some(client("one")));
}

#[tokio::test]
async fn a_client_that_is_removed_takes_its_grants_along_urgently() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let ann = person(&tenant, "ann").await.id;
    for id in ["client", "other"] {
        tenant.create_client(client(id)).await.unwrap();
    }
    let its = tenant.create_grant(&actor(), grant(ann, 1)).await.unwrap().value.id;
    let others = store::NewGrant { client: "other".to_owned(), ..grant(ann, 2) };
    let others = tenant.create_grant(&actor(), others).await.unwrap().value.id;
    let before = seq(&house).await;
    tenant.remove_client(&actor(), "client").await.unwrap();
    assert_eq!(told(&house, before).await, [(ResourceName::Revoked(its), false, true)]);
    assert_eq!(last_deed(&tenant).await, ("client.remove".to_owned(), "client/client".to_owned()));
    assert_eq!(tenant.client("client").await.unwrap(), None);
    assert_eq!(tenant.grant(its).await.unwrap().unwrap().revoked_at, Some(START));
    assert_eq!(tenant.grant(others).await.unwrap().unwrap().revoked_at, None);
    let again = tenant.remove_client(&actor(), "client").await;
    assert!(matches!(again, Err(StoreError::NotFound)), "{again:?}");
}
