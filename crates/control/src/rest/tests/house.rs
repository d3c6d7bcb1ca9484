//! The router with two tenants and a key of each role, and a client to speak to it.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use model::{KeyRole, KeyScopes, ManualClock, TenantId};
use serde_json::Value;
use store::{Actor, NewTenant, Store};
use tempfile::TempDir;
use tower::ServiceExt as _;

use super::double::Double;
use crate::keys::{Mint, mint};
use crate::rest::{Rest, rest};
use crate::{App, Config, Control};

/// Loopback upstreams that the tests' double knows.
pub(super) const NOTES: &str = "http://127.0.0.1:9001/mcp";
pub(super) const OTHER: &str = "http://127.0.0.1:9002/mcp";
pub(super) const DEAD: &str = "http://127.0.0.1:9003/mcp";
/// What a backend's key is for.
pub(super) const ACT_AS: KeyScopes = KeyScopes { mcp: false, rest: false, act_as: true };
pub(super) const TOOLS: &str = r#"[{"name":"list","description":"Lists.","inputSchema":{"type":"object"}}]"#;

pub(super) struct House {
    pub(super) app: App,
    pub(super) rest: Rest,
    pub(super) proxies: Arc<Double>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) acme: TenantId,
    pub(super) other: TenantId,
    pub(super) platform: String,
    pub(super) admin: String,
    pub(super) client: String,
    pub(super) viewer: String,
    pub(super) other_admin: String,
    /// Acts for users of acme, and does nothing else.
    pub(super) backend: String,
    settings: &'static str,
    dir: Arc<TempDir>,
}

/// An answer, read to its end.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Reply {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The stable code of a problem.
    pub(super) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// Status and error of an answer to an OAuth client.
    pub(super) fn told_oauth(&self) -> (u16, String) {
        (self.status.as_u16(), self.json()["error"].as_str().unwrap_or_default().to_owned())
    }

    /// Status and code at once.
    pub(super) fn told(&self) -> (u16, String) {
        (self.status.as_u16(), self.code())
    }
}

impl House {
    pub(super) async fn open() -> Self {
        Self::with("dev = true\n").await
    }

    /// The same as a real deployment has it: without dev mode.
    pub(super) async fn without_dev() -> Self {
        Self::with("").await
    }

    pub(super) async fn with(settings: &'static str) -> Self {
        let dir = Arc::new(tempfile::tempdir().unwrap());
        let clock = Arc::new(ManualClock::at(1_800_000_000_000_000));
        let (app, proxies) = app(&dir, &clock, settings).await;
        let store = &app.store;
        let (acme, other) = (tenant(store, "acme").await, tenant(store, "other").await);
        Self {
            rest: rest(app.clone()),
            platform: key(store, acme, KeyRole::PlatformAdmin).await,
            admin: key(store, acme, KeyRole::TenantAdmin).await,
            client: key(store, acme, KeyRole::User).await,
            viewer: key(store, acme, KeyRole::Viewer).await,
            other_admin: key(store, other, KeyRole::TenantAdmin).await,
            backend: key_for(store, acme, KeyRole::Viewer, ACT_AS).await,
            app,
            proxies,
            clock,
            acme,
            other,
            settings,
            dir,
        }
    }

    /// Another process on the same database, as after a restart or beside the first.
    pub(super) async fn replica(&self) -> Self {
        let (app, proxies) = app(&self.dir, &self.clock, self.settings).await;
        Self {
            rest: rest(app.clone()),
            app,
            proxies,
            clock: self.clock.clone(),
            acme: self.acme,
            other: self.other,
            platform: self.platform.clone(),
            admin: self.admin.clone(),
            client: self.client.clone(),
            viewer: self.viewer.clone(),
            other_admin: self.other_admin.clone(),
            backend: self.backend.clone(),
            settings: self.settings,
            dir: self.dir.clone(),
        }
    }

    /// A request that `change` may still alter.
    pub(super) async fn send(
        &self,
        method: &str,
        path: &str,
        body: &str,
        change: impl FnOnce(&mut HeaderMap),
    ) -> Reply {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "127.0.0.1:5010")
            .body(Body::from(body.to_owned()));
        let headers = request.as_mut().unwrap().headers_mut();
        if !body.is_empty() {
            headers.insert("content-type", "application/json".parse().unwrap());
        }
        change(headers);
        let response = self.rest.clone().oneshot(request.unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        Reply { status: parts.status, headers: parts.headers, text }
    }

    /// A request with a key, if there is one.
    pub(super) async fn ask(&self, key: &str, method: &str, path: &str, body: &str) -> Reply {
        self.send(method, path, body, |headers| bearer(headers, key)).await
    }

    /// A request as acme's admin.
    pub(super) async fn admin(&self, method: &str, path: &str, body: &str) -> Reply {
        self.ask(&self.admin, method, path, body).await
    }

    /// The same with one more header.
    pub(super) async fn admin_with(&self, header: (&'static str, &str), method: &str, path: &str, body: &str) -> Reply {
        self.send(method, path, body, |headers| {
            bearer(headers, &self.admin);
            headers.insert(header.0, header.1.parse().unwrap());
        })
        .await
    }

    /// Adds a server as acme's admin and gives its record.
    pub(super) async fn add(&self, name: &str, url: &str) -> Value {
        let body = format!(r#"{{"name":"{name}","url":"{url}"}}"#);
        let reply = self.admin("POST", "/api/v1/servers", &body).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text);
        reply.json()
    }
}

async fn app(dir: &TempDir, clock: &Arc<ManualClock>, settings: &str) -> (App, Arc<Double>) {
    let database = format!("sqlite://{}?mode=rwc", dir.path().join("gatehouse.db").display());
    let store = Store::connect(&database, clock.clone()).await.unwrap();
    let config = format!(
        "database = \"{database}\"\nkek_file = \"kek\"\npki_dir = \"pki\"\n\
         own_listeners = [\"127.0.0.1:5010\"]\n{settings}"
    );
    let proxies = Arc::new(Double::new(store.clone()));
    proxies.speaks(NOTES, TOOLS);
    proxies.speaks(OTHER, TOOLS);
    let config = Config::parse(&config).unwrap();
    let keyring = crate::keyring::tests::keyring(&store, &dir.path().join("kek"), clock.clone());
    let app = Arc::new(Control::new(config, store, proxies.clone(), clock.clone(), keyring, &[7; 32]));
    (app, proxies)
}

pub(super) fn bearer(headers: &mut HeaderMap, key: &str) {
    if !key.is_empty() {
        headers.insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
}

pub(super) async fn tenant(store: &Store, name: &str) -> TenantId {
    let new = NewTenant::new(name.parse().unwrap());
    store.platform().create_tenant(&Actor::system("test"), new).await.unwrap().value.spec.id
}

pub(super) async fn key(store: &Store, tenant: TenantId, role: KeyRole) -> String {
    key_for(store, tenant, role, KeyScopes::PLAIN).await
}

/// The same for other uses.
pub(super) async fn key_for(store: &Store, tenant: TenantId, role: KeyRole, scopes: KeyScopes) -> String {
    let label = role.as_str().to_owned();
    made(store, Mint { tenant, user: None, role, scopes, servers: None, expires_at: None, label }).await
}

pub(super) async fn made(store: &Store, what: Mint) -> String {
    let tenant = what.tenant;
    let minted = mint(what).unwrap();
    store.tenant(tenant).create_key(&Actor::system("test"), minted.new).await.unwrap();
    minted.text.expose().to_owned()
}
