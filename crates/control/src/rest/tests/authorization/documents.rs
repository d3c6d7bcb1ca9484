//! Clients that are described by a document at their id.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::Uri;
use axum::routing::get;
use serde_json::json;
use tokio::net::TcpListener;

use super::world::{World, authorize_with, exchange, led, of};

/// A site of a client, and how often it was asked.
struct Site {
    origin: String,
    asked: Arc<AtomicUsize>,
}

impl Site {
    async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicUsize::new(0));
        let state = (origin.clone(), asked.clone());
        let document = async |State((origin, asked)): State<(String, Arc<AtomicUsize>)>, uri: Uri| {
            asked.fetch_add(1, Ordering::SeqCst);
            let id = match uri.path() {
                "/other.json" => format!("{origin}/client.json"),
                path => format!("{origin}{path}"),
            };
            json!({"client_id": id, "client_name": "Document App", "redirect_uris": ["http://127.0.0.1/callback"]})
                .to_string()
        };
        let to = async || axum::response::Redirect::temporary("/client.json");
        let large = async || "x".repeat(100_000);
        let router = Router::new()
            .route("/client.json", get(document))
            .route("/other.json", get(document))
            .route("/large.json", get(large))
            .route("/moved.json", get(to))
            .with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, asked }
    }

    fn id(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn a_client_is_described_by_its_own_document() {
    let (world, site) = (World::open().await, Site::open().await);
    let client = site.id("/client.json");
    let path = authorize_with(&client, &[]);
    // Strangers can't make us fetch: they sign in first.
    assert_eq!(world.get("", &path).await.status.as_u16(), 303);
    assert_eq!(site.asked(), 0);
    let page = world.get(&world.ann.cookie, &path).await;
    assert!(
        page.text.contains("Document App") && page.text.contains("it calls itself the app of 127.0.0.1; any program"),
        "{}",
        page.text
    );
    let code = of(&led(&world.answer(&path, "allow").await), "code").unwrap();
    let reply = world.exchange(&client, &code).await;
    assert_eq!(reply.status.as_u16(), 200, "{}", reply.text);
    let token = reply.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(world.refresh(&client, &token).await.status.as_u16(), 200);
    let store = world.house.app.store.tenant(world.house.acme);
    let grants = store.grants(store::GrantPage { limit: 9, ..Default::default() }).await.unwrap();
    assert_eq!(grants[0].client_name, "Document App");
    assert_eq!(site.asked(), 1, "it is kept for a while");
    world.house.clock.advance_micros(601_000_000);
    world.get(&world.session(world.ann.id).await.cookie, &path).await;
    assert_eq!(site.asked(), 2, "and then it is fetched anew");
}

#[tokio::test]
async fn a_document_that_is_not_its_own_describes_nobody() {
    let (world, site) = (World::open().await, Site::open().await);
    for client in [
        site.id("/other.json"),
        site.id("/large.json"),
        site.id("/none.json"),
        site.id("/moved.json"),
        "http://127.0.0.1:5010/api/v1/openapi.json".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
        "https://169.254.169.254/latest/meta-data".to_owned(),
        "https://10.0.0.1/client.json".to_owned(),
    ] {
        let reply = world.get(&world.ann.cookie, &authorize_with(&client, &[])).await;
        assert_eq!(reply.status.as_u16(), 400, "{client}: {}", reply.text);
        assert!(reply.text.contains("data-code=\"invalid_client\""), "{client}: {}", reply.text);
    }
    assert_eq!(site.asked(), 1, "a redirect is not followed");
}

#[tokio::test]
async fn outside_of_dev_mode_nothing_on_loopback_is_fetched() {
    let (world, site) = (World::without_dev().await, Site::open().await);
    let reply = world.get(&world.ann.cookie, &authorize_with(&site.id("/client.json"), &[])).await;
    assert_eq!((reply.status.as_u16(), site.asked()), (400, 0), "{}", reply.text);
}

#[tokio::test]
async fn nobody_makes_us_fetch_by_the_dozen() {
    let (world, site) = (World::open().await, Site::open().await);
    for at in 0..10 {
        let client = site.id(&format!("/client.json?{at}"));
        assert_eq!(world.get(&world.ann.cookie, &authorize_with(&client, &[])).await.status.as_u16(), 400);
    }
    assert_eq!(site.asked(), 10);
    let client = site.id("/client.json?more");
    assert_eq!(world.get(&world.ann.cookie, &authorize_with(&client, &[])).await.status.as_u16(), 429);
    assert_eq!(site.asked(), 10);
    // What can't be had is not asked for again at once either.
    let again = site.id("/client.json?0");
    assert_eq!(world.get(&world.ann.cookie, &authorize_with(&again, &[])).await.status.as_u16(), 400);
    assert_eq!(site.asked(), 10);
}

#[tokio::test]
async fn a_code_of_a_document_needs_no_registration() {
    let (world, site) = (World::open().await, Site::open().await);
    let client = site.id("/client.json");
    let code = of(&led(&world.answer(&authorize_with(&client, &[]), "allow").await), "code").unwrap();
    let mut fields = exchange(&client, &code).to_vec();
    fields
        .iter_mut()
        .filter(|field| field.0 == "client_id")
        .for_each(|field| field.1 = "http://127.0.0.1:1/client.json");
    assert_eq!(world.token(&fields).await.told_oauth(), (400, "invalid_grant".to_owned()));
}
