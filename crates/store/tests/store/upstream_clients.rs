//! Clients that were registered at upstreams' authorization servers, and what is known of these.

use model::{ServerId, UpstreamUrl};
use store::{NewUpstreamClient, ServerPatch, StoreError, UpstreamMetadata};

use crate::house::{House, actor, server};

fn client(server: ServerId, id: &str, replaces: Option<&str>) -> NewUpstreamClient {
    NewUpstreamClient {
        server,
        issuer: "https://auth.example".to_owned(),
        client_id: id.to_owned(),
        secret: Some(vec![1, 2]),
        auth_method: "client_secret_post".to_owned(),
        redirect_uri: "https://gatehouse.example/oauth/callback".to_owned(),
        secret_expires_at: Some(5),
        replaces: replaces.map(str::to_owned),
    }
}

#[tokio::test]
async fn replicas_that_register_at_once_go_on_with_the_same_client() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    assert_eq!(tenant.upstream_client(id, "https://auth.example").await.unwrap(), None);
    let second = house.second_process().await.tenant(tenant.id());
    let race = (0..6).map(|number| {
        let tenant = if number % 2 == 0 { tenant.clone() } else { second.clone() };
        tokio::spawn(async move { tenant.put_upstream_client(client(id, &format!("c{number}"), None)).await.unwrap() })
    });
    let mut got: Vec<_> = futures::future::join_all(race).await.into_iter().map(|one| one.unwrap()).collect();
    got.dedup();
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(tenant.upstream_client(id, "https://auth.example").await.unwrap().as_ref(), Some(&got[0]));
    assert_eq!(got[0].secret.as_deref(), Some(&[1, 2][..]));
}

#[tokio::test]
async fn a_client_is_replaced_and_dropped_by_who_knows_which_one_is_there() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let put =
        async |name: &str, replaces| tenant.put_upstream_client(client(id, name, replaces)).await.unwrap().client_id;
    assert_eq!(put("one", None).await, "one");
    assert_eq!(put("two", Some("other")).await, "one");
    assert_eq!(put("two", Some("one")).await, "two");
    let drop = async |name| tenant.drop_upstream_client(id, "https://auth.example", name).await.unwrap();
    assert!(!drop("one").await, "a verdict about the client before drops none");
    assert!(drop("two").await && !drop("two").await);
    assert_eq!(put("three", Some("two")).await, "three");
    let none = tenant.put_upstream_client(client(ServerId::fresh(), "x", None)).await;
    assert!(matches!(none, Err(StoreError::NotFound)));
    tenant.delete_server(&actor(), id, None).await.unwrap();
    assert_eq!(tenant.upstream_client(id, "https://auth.example").await.unwrap(), None);
}

#[tokio::test]
async fn what_is_known_of_an_upstream_ends_when_its_server_is_elsewhere() {
    let house = House::new().await;
    let tenant = house.tenant("acme").await;
    let id = tenant.create_server(&actor(), server("a")).await.unwrap().value.spec.id;
    let known = |text: &str| UpstreamMetadata { document: text.to_owned(), until: 7 };
    tenant.put_upstream_metadata(id, known("{}")).await.unwrap();
    tenant.put_upstream_metadata(id, known("{\"a\":1}")).await.unwrap();
    assert_eq!(tenant.upstream_metadata(id).await.unwrap(), Some(known("{\"a\":1}")));
    let title = ServerPatch { title: Some("Other".to_owned()), ..Default::default() };
    tenant.patch_server(&actor(), id, None, title).await.unwrap();
    assert!(tenant.upstream_metadata(id).await.unwrap().is_some());
    let url = ServerPatch { url: Some(UpstreamUrl::parse("https://new.example/").unwrap()), ..Default::default() };
    tenant.patch_server(&actor(), id, None, url).await.unwrap();
    assert_eq!(tenant.upstream_metadata(id).await.unwrap(), None);
    let long = tenant.put_upstream_metadata(id, known(&"x".repeat((64 << 10) + 1))).await;
    assert!(matches!(long, Err(StoreError::Bound { .. })));
    let none = tenant.put_upstream_metadata(ServerId::fresh(), known("{}")).await;
    assert!(matches!(none, Err(StoreError::NotFound)));
}
