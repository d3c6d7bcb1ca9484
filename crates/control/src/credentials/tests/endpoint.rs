//! A token endpoint on loopback that does as it is told, and remembers what it was asked.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;
use axum::{Json, Router};
use model::{Secret, TenantId};
use serde_json::{Value, json};
use store::ServerRecord;
use tokio::sync::Semaphore;
use url::{Url, form_urlencoded};
use wire::Challenge;

use super::super::issuing::{Grantor, Issuing};
use super::super::request::Failure;
use crate::upstream_login::{ClientAuth, LoginError, Method};

/// The endpoint; it ends with the test.
pub(super) struct Endpoint {
    pub(super) base: String,
    pub(super) state: Arc<Script>,
    task: tokio::task::JoinHandle<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// What it is told, and what it has seen.
#[derive(Default)]
pub(super) struct Script {
    answers: Mutex<VecDeque<(u16, String)>>,
    asked: Mutex<Vec<Asked>>,
    /// The refresh token that is good; each is good once.
    rotating: Mutex<Option<String>>,
    granted: AtomicUsize,
    held: AtomicBool,
    gate: Option<Semaphore>,
    forgotten: AtomicUsize,
    challenged: Mutex<Vec<Challenge>>,
    client: Mutex<String>,
}

impl Asked {
    /// A field of the form.
    pub(super) fn field(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.body.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }
}

impl Endpoint {
    pub(super) async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let script =
            Script { gate: Some(Semaphore::new(0)), client: Mutex::new("gatehouse".into()), ..Script::default() };
        let state = Arc::new(script);
        let router = Router::new().fallback(any(answer)).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, state, task }
    }

    pub(super) fn token_url(&self) -> String {
        format!("{}/token", self.base)
    }

    /// Answers this next, in the place of a token.
    pub(super) fn answers(&self, status: u16, body: &str) {
        self.state.answers.lock().unwrap().push_back((status, body.to_owned()));
    }

    /// What it was asked so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().unwrap().clone()
    }

    /// Each refresh token is good once from now on, this one first.
    pub(super) fn rotates(&self, first: &str) {
        *self.state.rotating.lock().unwrap() = Some(first.to_owned());
    }

    /// Answers nothing until [`Endpoint::goes_on`].
    pub(super) fn holds(&self) {
        self.state.held.store(true, Ordering::SeqCst);
    }

    pub(super) fn goes_on(&self) {
        self.state.held.store(false, Ordering::SeqCst);
        self.state.gate.as_ref().unwrap().add_permits(1_000);
    }

    /// Waits until it was asked so often.
    pub(super) async fn asked_times(&self, times: usize) {
        let asked = async {
            while self.asked().len() < times {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), asked).await.expect("it was not asked");
    }

    /// How often a client was forgotten.
    pub(super) fn forgotten(&self) -> usize {
        self.state.forgotten.load(Ordering::SeqCst)
    }

    pub(super) fn challenged(&self) -> Vec<Challenge> {
        self.state.challenged.lock().unwrap().clone()
    }

    /// Gatehouse is called so from now on.
    pub(super) fn registers(&self, client: &str) {
        *self.state.client.lock().unwrap() = client.to_owned();
    }

    pub(super) fn issuing(&self) -> Double {
        Double { base: self.base.clone(), state: self.state.clone() }
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    State(script): State<Arc<Script>>,
    uri: axum::http::Uri,
    headers: HeaderMap,
    body: String,
) -> axum::response::Response {
    let asked = Asked { path: uri.path().to_owned(), headers, body };
    script.asked.lock().unwrap().push(asked.clone());
    if script.held.load(Ordering::SeqCst) {
        script.gate.as_ref().unwrap().acquire().await.unwrap().forget();
    }
    let scripted = script.answers.lock().unwrap().pop_front();
    if let Some((status, body)) = scripted {
        let status = StatusCode::from_u16(status).unwrap();
        let location = [(header::LOCATION, "http://localhost:9/elsewhere")];
        return if status.is_redirection() {
            (status, location, body).into_response()
        } else {
            (status, body).into_response()
        };
    }
    let number = script.granted.fetch_add(1, Ordering::SeqCst) + 1;
    let mut token = json!({"access_token": format!("at-{number}"), "token_type": "Bearer", "expires_in": 3_600});
    if let Some(good) = script.rotating.lock().unwrap().as_mut() {
        if asked.field("refresh_token").as_ref() != Some(good) {
            return (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant"}))).into_response();
        }
        *good = format!("rt-{number}");
        token["refresh_token"] = Value::String(good.clone());
    }
    Json(token).into_response()
}

/// Who signs people in, as far as refreshing must know.
pub(super) struct Double {
    base: String,
    state: Arc<Script>,
}

#[async_trait]
impl Issuing for Double {
    async fn grantor(&self, _: &ServerRecord, _: Option<&str>) -> Result<Grantor, Failure> {
        Ok(Grantor {
            issuer: self.base.clone(),
            token_url: Url::parse(&format!("{}/token", self.base)).unwrap(),
            revocation_url: None,
            client: ClientAuth {
                id: self.state.client.lock().unwrap().clone(),
                secret: Some(Secret::new("client-secret".into())),
                method: Method::ClientSecretPost,
                fixed: false,
            },
            resource: Some("https://crm.example/mcp".into()),
        })
    }

    async fn token_url(&self, _: TenantId, issuer: &str) -> Result<Url, String> {
        Url::parse(&format!("{}/token", issuer.trim_end_matches('/'))).map_err(|error| error.to_string())
    }

    async fn forget_client(&self, _: &ServerRecord, _: &Grantor) -> Result<(), LoginError> {
        self.state.forgotten.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    async fn challenged(&self, _: &ServerRecord, challenge: &Challenge) -> Result<(), LoginError> {
        self.state.challenged.lock().unwrap().push(challenge.clone());
        Ok(())
    }
}
