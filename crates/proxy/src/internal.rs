//! The seed's four internal calls: mounts in memory, by a tenant admin, gone at restart.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use model::{Generation, KeyRole, ServerId, ServerName, ServerSpec, Transport, UpstreamUrl};
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::commands::ProbeSpec;
use crate::fault::Fault;
use crate::gate::Gate;
use crate::path::Internal;
use crate::principal::Authenticated;
use crate::table::{InternalError, Mount};
use crate::timers::scaled;

/// The tenant that a platform admin acts in; `default` when absent.
const TENANT: HeaderName = HeaderName::from_static("gatehouse-tenant");
/// Longest body.
const BODY: usize = 256 << 10;
/// How long it may take.
const ARRIVAL: Duration = Duration::from_secs(30);
/// Limit of a health check.
const CHECK: Duration = Duration::from_secs(10);

impl Gate {
    pub(crate) async fn internal(
        &self,
        who: Authenticated,
        call: Internal,
        head: Parts,
        body: Incoming,
    ) -> Result<Response<Body>, Fault> {
        let who = self.acting(who, &head.headers)?;
        let method = match call {
            Internal::Healthcheck | Internal::List => Method::GET,
            Internal::Add => Method::POST,
            Internal::Remove => Method::DELETE,
        };
        if head.method != method {
            return Err(Fault::MethodNotAllowed(match call {
                Internal::Healthcheck | Internal::List => "GET",
                Internal::Add => "POST",
                Internal::Remove => "DELETE",
            }));
        }
        let query = head.uri.query().unwrap_or_default();
        let (status, body) = match call {
            Internal::Healthcheck => self.healthcheck(&who, parameter(query, "mcp_url")).await,
            Internal::List => (StatusCode::OK, list(&who)),
            Internal::Add => self.add(&who, body).await,
            Internal::Remove => self.remove(&who, parameter(query, "service_name")),
        };
        let mut response = Response::new(Body::full(Bytes::from(body.to_string())));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(response)
    }

    /// The admin, in the tenant that is meant.
    fn acting(&self, who: Authenticated, headers: &HeaderMap) -> Result<Authenticated, Fault> {
        let table = self.tables.load();
        match who.role() {
            KeyRole::Viewer | KeyRole::User => Err(Fault::Forbidden),
            KeyRole::TenantAdmin | KeyRole::PlatformAdmin => {
                let Some(named) = headers.get(TENANT) else { return Ok(who) };
                let named = named.to_str().unwrap_or_default();
                let by_id = named.parse().ok().and_then(|id| table.tenant(id));
                let tenant = by_id.or_else(|| table.tenant_named(named)).ok_or(Fault::NotFound)?;
                who.in_tenant(tenant).ok_or(Fault::NotFound)
            }
        }
    }

    async fn healthcheck(&self, who: &Authenticated, url: Option<String>) -> (StatusCode, Value) {
        let Some(url) = url.filter(|url| !url.is_empty()) else {
            return (StatusCode::BAD_REQUEST, json!({ "error": "query param 'mcp_url' is required" }));
        };
        let failed = |class: &str| {
            let message = format!("Failed to connect to MCP server: {class}");
            (StatusCode::INTERNAL_SERVER_ERROR, json!({ "status": "error", "message": message, "url": url }))
        };
        let Ok(parsed) = UpstreamUrl::parse(&url) else { return failed("not a usable URL") };
        let spec = ProbeSpec {
            tenant: who.tenant.spec.id,
            url: parsed,
            transport: Transport::Auto,
            headers: Vec::new(),
            connect_timeout: CHECK,
            read_timeout: CHECK,
            lines: None,
        };
        match tokio::time::timeout(CHECK, self.probe(&spec)).await {
            Ok(Ok(_)) => {
                let body = json!({ "status": "success", "message": "MCP service is reachable", "connected": true, "url": url });
                (StatusCode::OK, body)
            }
            Ok(Err(failure)) => failed(failure.class),
            Err(_) => failed("timeout"),
        }
    }

    async fn add(&self, who: &Authenticated, body: Incoming) -> (StatusCode, Value) {
        let invalid = |what: &str| error(StatusCode::BAD_REQUEST, format!("Invalid request: {what}"));
        let body = match tokio::time::timeout(scaled(ARRIVAL), Limited::new(body, BODY).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return invalid("the body is too large or did not arrive"),
            Err(_) => {
                return error(StatusCode::REQUEST_TIMEOUT, "Invalid request: the body did not arrive".to_owned());
            }
        };
        let Ok(Value::Object(body)) = serde_json::from_slice::<Value>(&body) else {
            return invalid("the body is not a JSON object");
        };
        let spec = match self.wanted(who, &body) {
            Ok(spec) => spec,
            Err(what) => return invalid(&what),
        };
        let name = spec.title.clone();
        let taken = |mount: &Arc<Mount>| mount.name() == spec.name.as_str() || mount.spec.title == spec.title;
        if who.tenant.mounts.values().any(taken) {
            return error(StatusCode::CONFLICT, "Service name already exists".to_owned());
        }
        let probe = ProbeSpec {
            tenant: spec.tenant,
            url: spec.url.clone(),
            transport: spec.transport,
            headers: Vec::new(),
            connect_timeout: spec.connect_timeout,
            read_timeout: spec.read_timeout,
            lines: None,
        };
        if let Err(failure) = self.probe(&probe).await {
            tracing::debug!(class = failure.class, "an internal mount was not reachable");
            return error(StatusCode::SERVICE_UNAVAILABLE, "Cannot connect to remote MCP server".to_owned());
        }
        match self.tables.add_internal(spec) {
            Ok(()) => {
                let message = format!("Remote proxy '{name}' added successfully");
                (StatusCode::OK, json!({ "status": "success", "message": message }))
            }
            Err(InternalError::Taken) => error(StatusCode::CONFLICT, "Service name already exists".to_owned()),
            Err(InternalError::Refused(reason)) => {
                tracing::debug!(reason, "an internal mount was refused");
                error(StatusCode::INTERNAL_SERVER_ERROR, format!("Failed to add remote proxy '{name}'"))
            }
        }
    }

    /// The server that a body describes; on this surface the transport is `sse` unless it says otherwise.
    fn wanted(&self, who: &Authenticated, body: &Map<String, Value>) -> Result<ServerSpec, String> {
        let text = |field: &str| match body.get(field) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text.as_str()),
            Some(_) => Err(format!("{field} must be a text that is not empty")),
            None => Err(format!("{field} is missing")),
        };
        let title = text("service_name")?.to_owned();
        if title.chars().count() > 200 || title.chars().any(char::is_control) {
            return Err("service_name must have at most 200 characters and no control characters".to_owned());
        }
        let url = UpstreamUrl::parse(text("mcp_url")?).map_err(|error| format!("mcp_url: {error}"))?;
        let transport = match body.get("transport") {
            None => Transport::Sse,
            Some(Value::String(word)) => Transport::parse(word).map_err(|error| format!("transport: {error}"))?,
            Some(_) => return Err("transport must be a text".to_owned()),
        };
        Ok(ServerSpec {
            id: ServerId::fresh(),
            tenant: who.tenant.spec.id,
            name: title.parse().unwrap_or_else(|_| ServerName::from_title(&title, 0)),
            title,
            generation: Generation(1),
            transport,
            url,
            headers: Vec::new(),
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(30),
            disabled_tools: Vec::new(),
            trust_hints: false,
            retry_count: 0,
            retry_delay: Duration::from_secs(1),
            limits: model::ServerLimits::default(),
            binding: None,
            eras: model::Eras::default(),
        })
    }

    fn remove(&self, who: &Authenticated, name: Option<String>) -> (StatusCode, Value) {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return (StatusCode::BAD_REQUEST, json!({ "error": "query param 'service_name' is required" }));
        };
        let slug = who
            .tenant
            .mounts
            .values()
            .find(|mount| mount.internal && (mount.spec.title == name || mount.name() == name));
        match slug {
            Some(mount) if self.tables.remove_internal_named(who.tenant.spec.id, mount.name()) => {
                let message = format!("Remote proxy '{name}' removed successfully");
                (StatusCode::OK, json!({ "status": "success", "message": message }))
            }
            _ => error(StatusCode::NOT_FOUND, format!("Remote proxy '{name}' not found")),
        }
    }
}

fn list(who: &Authenticated) -> Value {
    let proxies: Map<String, Value> = who
        .tenant
        .mounts
        .values()
        .map(|mount| {
            let transport = if mount.transport() == Transport::Sse { "sse" } else { "streamable-http" };
            (mount.spec.title.clone(), json!({ "mcp_url": mount.spec.url.as_str(), "transport": transport }))
        })
        .collect();
    json!({ "status": "success", "proxies": proxies })
}

fn error(status: StatusCode, message: String) -> (StatusCode, Value) {
    (status, json!({ "status": "error", "message": message }))
}

fn parameter(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
