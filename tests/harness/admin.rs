//! The REST API as an admin's program sees it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::{Answer, Http, canary};

/// Calls control with one key, in one tenant.
#[derive(Clone)]
pub struct Admin {
    http: Http,
    base: String,
    key: String,
    tenant: Option<String>,
}

impl Admin {
    /// Speaks to control at `base` with `key`, in the key's own tenant.
    pub fn new(base: &str, key: &str) -> Self {
        let base = base.trim_end_matches('/').to_owned();
        Self { http: Http::default(), base, key: key.to_owned(), tenant: None }
    }

    /// The same key in another tenant.
    pub fn in_tenant(&self, tenant: &str) -> Self {
        Self { tenant: Some(tenant.to_owned()), ..self.clone() }
    }

    /// The same tenant with another key.
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: key.to_owned(), ..self.clone() }
    }

    /// Any request; `body` null sends none. `Err` when no answer came.
    pub async fn try_send(
        &self,
        method: &str,
        path: &str,
        extra: &[(&str, &str)],
        body: &Value,
    ) -> Result<Answer, String> {
        let bearer = format!("Bearer {}", self.key);
        let mut headers = vec![("authorization", bearer.as_str())];
        if let Some(tenant) = &self.tenant {
            headers.push(("gatehouse-tenant", tenant));
        }
        let mut bytes = Vec::new();
        if !body.is_null() {
            headers.push(("content-type", "application/json"));
            bytes = body.to_string().into_bytes();
        }
        headers.extend_from_slice(extra);
        let answer = self.http.send(method, &format!("{}{path}", self.base), &headers, bytes).await?;
        canary::none_in(&format!("the answer to {method} {path}"), &answer.body);
        Ok(answer)
    }

    /// Any request; panics when no answer came.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.try_send(method, path, &[], body).await.unwrap_or_else(|error| panic!("{error}"))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &Value::Null).await
    }

    /// POST.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, body).await
    }

    /// Adds a server by slug and URL and returns its record.
    pub async fn add(&self, name: &str, url: &str) -> Value {
        self.post("/api/v1/servers", &json!({"name": name, "url": url})).await.expect(201).json()
    }

    /// The record of a server.
    pub async fn server(&self, name: &str) -> Answer {
        self.get(&format!("/api/v1/servers/{name}")).await
    }

    /// The record's `ETag`.
    async fn etag(&self, name: &str) -> String {
        self.server(name).await.expect(200).header("etag").to_owned()
    }

    /// Changes a server, whatever its generation is.
    pub async fn patch(&self, name: &str, body: &Value) -> Answer {
        let etag = self.etag(name).await;
        self.try_send("PATCH", &format!("/api/v1/servers/{name}"), &[("if-match", &etag)], body).await.unwrap()
    }

    /// Removes a server, whatever its generation is.
    pub async fn remove(&self, name: &str) -> Answer {
        let etag = self.etag(name).await;
        let extra = [("if-match", etag.as_str())];
        self.try_send("DELETE", &format!("/api/v1/servers/{name}"), &extra, &Value::Null).await.unwrap()
    }

    /// Makes a tenant and returns an admin of it: the same key, in that tenant.
    pub async fn tenant(&self, name: &str) -> Self {
        self.post("/api/v1/tenants", &json!({"name": name, "title": name})).await.expect(201);
        self.in_tenant(name)
    }

    /// Makes a key of this role in this tenant and returns its text.
    pub async fn key(&self, role: &str) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let label = format!("test key {}", COUNT.fetch_add(1, Ordering::Relaxed));
        let answer = self.post("/api/v1/keys", &json!({"role": role, "label": label})).await.expect(201);
        answer.json()["key"].as_str().expect("a new key's text stands in `key`").to_owned()
    }

    /// Makes a key for the MCP clients of a user and returns its text.
    pub async fn key_of(&self, login: &str) -> String {
        let answer =
            self.post("/api/v1/keys", &json!({"role": "user", "user": login, "label": login})).await.expect(201);
        answer.json()["key"].as_str().expect("a new key's text stands in `key`").to_owned()
    }

    /// Runs recover; `prune` removes what nobody intended.
    pub async fn recover(&self, prune: bool) -> Answer {
        let path = if prune { "/api/v1/recover?prune=true" } else { "/api/v1/recover" };
        self.post(path, &Value::Null).await
    }
}
