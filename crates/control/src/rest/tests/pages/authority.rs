//! An authorization server of an upstream, on loopback, that says what a test wants, and writes down what it was asked.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use url::Url;

use super::House;
use crate::auth::AuthConfig;
use store::{Actor, NewServer, ServerAuth, ServerRecord};

/// What was asked: path, head of authorization, form or body.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) authorization: String,
    pub(super) body: String,
}

impl Asked {
    /// A field of the form.
    pub(super) fn field(&self, name: &str) -> String {
        let mut fields = url::form_urlencoded::parse(self.body.as_bytes());
        fields.find(|(other, _)| other == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
    }
}

pub(super) struct Authority {
    pub(super) base: String,
    state: Arc<Said>,
    task: JoinHandle<()>,
}

struct Said {
    script: Mutex<Script>,
    /// Taken by each exchange; a test that takes it first holds them back.
    gate: Semaphore,
}

#[derive(Default)]
struct Script {
    documents: HashMap<String, Value>,
    asked: Vec<Asked>,
    registered: usize,
    /// What a token endpoint says instead of a token.
    refusal: Option<(u16, Value)>,
    token: Value,
    registration: Value,
}

impl Authority {
    pub(super) async fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let script = Script {
            token: json!({"access_token": "at-1", "refresh_token": "rt-1", "token_type": "Bearer", "expires_in": 3600}),
            ..Script::default()
        };
        let state = Arc::new(Said { script: Mutex::new(script), gate: Semaphore::new(1) });
        let router = Router::new().fallback(answer).with_state(state.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        let authority = Self { base, state, task };
        authority.stands("/.well-known/oauth-protected-resource/mcp", authority.resource());
        authority.stands("/.well-known/oauth-authorization-server", authority.metadata(""));
        authority
    }

    fn with<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.state.script.lock().unwrap())
    }

    /// The server that it protects.
    pub(super) fn url(&self) -> String {
        format!("{}/mcp", self.base)
    }

    /// What the server says of itself.
    pub(super) fn resource(&self) -> Value {
        json!({"resource": self.url(), "authorization_servers": [self.base]})
    }

    /// What the authorization server says of itself, with this path behind its origin.
    pub(super) fn metadata(&self, path: &str) -> Value {
        let base = &self.base;
        json!({
            "issuer": format!("{base}{path}"),
            "authorization_endpoint": format!("{base}/authorize"),
            "token_endpoint": format!("{base}/token"),
            "registration_endpoint": format!("{base}/register"),
            "revocation_endpoint": format!("{base}/revoke"),
            "code_challenge_methods_supported": ["S256"],
        })
    }

    /// Puts a document there.
    pub(super) fn stands(&self, path: &str, document: Value) {
        self.with(|script| script.documents.insert(path.to_owned(), document));
    }

    /// Changes what the authorization server says of itself; null takes a member away.
    pub(super) fn says(&self, member: &str, value: Value) {
        self.with(|script| {
            let document = script.documents.get_mut("/.well-known/oauth-authorization-server").unwrap();
            match value {
                Value::Null => drop(document.as_object_mut().unwrap().remove(member)),
                value => document[member] = value,
            }
        });
    }

    /// Takes all documents away.
    pub(super) fn says_nothing(&self) {
        self.with(|script| script.documents.clear());
    }

    /// What the next tokens are.
    pub(super) fn gives(&self, token: Value) {
        self.with(|script| script.token = token);
    }

    /// What a registration says beside the client's id.
    pub(super) fn registers(&self, more: Value) {
        self.with(|script| script.registration = more);
    }

    /// The token endpoint says this from now on; `None`: it gives tokens.
    pub(super) fn refuses(&self, refusal: Option<(u16, Value)>) {
        self.with(|script| script.refusal = refusal);
    }

    /// What was asked at a path.
    pub(super) fn asked(&self, path: &str) -> Vec<Asked> {
        self.with(|script| script.asked.iter().filter(|asked| asked.path == path).cloned().collect())
    }

    /// Holds exchanges back.
    pub(super) async fn held(&self) -> tokio::sync::SemaphorePermit<'_> {
        self.state.gate.acquire().await.unwrap()
    }

    /// Makes it acme's server `notes`, with these settings.
    pub(super) async fn server(&self, house: &House, auth: Value) -> ServerRecord {
        self.named(house, "notes", auth).await
    }

    pub(super) async fn named(&self, house: &House, name: &str, auth: Value) -> ServerRecord {
        let (config, secret) = crate::auth::parse_native(auth).unwrap();
        assert!(secret.is_empty());
        made(house, name, &self.url(), &config).await
    }
}

/// A server of acme.
pub(super) async fn made(house: &House, name: &str, url: &str, config: &AuthConfig) -> ServerRecord {
    let mut new = NewServer::new(name.parse().unwrap(), format!("The {name}"), model::UpstreamUrl::parse(url).unwrap());
    new.auth =
        Some(ServerAuth { config: config.to_stored(), binding: config.binding(), secret: store::SecretChange::Keep });
    house.app.store.tenant(house.acme).create_server(&Actor::system("test"), new).await.unwrap().value
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(State(said): State<Arc<Said>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let authorization = request.headers().get("authorization").map_or("", |line| line.to_str().unwrap()).to_owned();
    let body: Bytes = request.into_body().collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    let _turn = if path == "/token" { Some(said.gate.acquire().await.unwrap()) } else { None };
    let mut script = said.script.lock().unwrap();
    script.asked.push(Asked { path: path.clone(), authorization, body: body.clone() });
    let (status, answer) = match path.as_str() {
        "/register" => {
            script.registered += 1;
            let mut answer = json!({"client_id": format!("client-{}", script.registered)});
            if let Some(more) = script.registration.as_object() {
                answer.as_object_mut().unwrap().extend(more.clone());
            }
            (201, answer)
        }
        "/token" => script.refusal.clone().unwrap_or_else(|| (200, script.token.clone())),
        "/revoke" => (200, json!({})),
        path => match script.documents.get(path) {
            Some(document) => (200, document.clone()),
            None => (404, json!({})),
        },
    };
    let kind = [("content-type", "application/json")];
    (StatusCode::from_u16(status).unwrap(), kind, answer.to_string()).into_response()
}

/// Where a page leads on to by itself.
pub(super) fn leads_to(reply: &super::super::house::Reply) -> Url {
    let refresh = reply.header("refresh");
    let to =
        refresh.strip_prefix("0;url=").unwrap_or_else(|| panic!("it leads nowhere: {} {}", reply.status, reply.text));
    Url::parse(to).unwrap()
}

/// A parameter of a URL.
pub(super) fn parameter(url: &Url, name: &str) -> String {
    url.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// The challenge that fits a verifier.
pub(super) fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes()))
}
