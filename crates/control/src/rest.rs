//! REST: the route table, one line per endpoint, as data that tests read.

mod admin;
mod answer;
mod body;
mod code;
mod condition;
mod cursor;
mod fields;
pub(crate) mod health;
mod hosts;
mod idempotency;
mod json;
mod keys;
mod parameters;
mod problem;
mod proxies;
mod recover;
mod seed;
mod segment;
mod server_body;
mod servers;
mod tenants;
mod trace;
mod views;

#[cfg(test)]
mod tests;

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post};
use tower::util::BoxCloneSyncService;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::NormalizePath;

use crate::App;
pub(crate) use crate::rest::idempotency::Idempotency;
use crate::rest::problem::Problem;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone, without a key.
    Anyone,
    /// Admins of the tenant.
    Admin,
    /// Admins of the tenant, refused with the seed's bodies.
    Seed,
    /// Platform admins.
    Platform,
}

/// One endpoint. `access` is what the handler's extractor enforces; a test compares the two.
#[cfg_attr(not(test), allow(dead_code, reason = "read by the test that visits every route"))]
pub(crate) struct Route {
    method: &'static str,
    path: &'static str,
    access: Access,
    to: MethodRouter<App>,
}

fn route(method: &'static str, path: &'static str, access: Access, to: MethodRouter<App>) -> Route {
    Route { method, path, access, to }
}

/// Every endpoint of :5010.
#[rustfmt::skip]
pub(crate) fn routes() -> Vec<Route> {
    use Access::{Admin, Anyone, Platform, Seed};
    vec![
        route("GET",    "/",                               Anyone,   get(health::page)),
        route("GET",    "/livez",                          Anyone,   get(health::livez)),
        route("GET",    "/readyz",                         Anyone,   get(health::readyz)),

        route("POST",   "/api/v1/tenants",                 Platform, post(tenants::create)),
        route("GET",    "/api/v1/tenants",                 Platform, get(tenants::list)),

        route("POST",   "/api/v1/servers",                 Admin,    post(servers::add)),
        route("GET",    "/api/v1/servers",                 Admin,    get(servers::list)),
        route("GET",    "/api/v1/servers/{server}",        Admin,    get(servers::show)),
        route("PATCH",  "/api/v1/servers/{server}",        Admin,    patch(servers::change)),
        route("DELETE", "/api/v1/servers/{server}",        Admin,    delete(servers::remove)),
        route("POST",   "/api/v1/servers/{server}/enable", Admin,    post(servers::enable)),
        route("POST",   "/api/v1/servers/{server}/disable", Admin,   post(servers::disable)),
        route("POST",   "/api/v1/servers/{server}/test",   Admin,    post(servers::test)),
        route("GET",    "/api/v1/servers/{server}/tools",  Admin,    get(servers::tools)),
        route("POST",   "/api/v1/servers/{server}/call",   Admin,    post(servers::call)),

        route("POST",   "/api/v1/keys",                    Admin,    post(keys::create)),
        route("GET",    "/api/v1/keys",                    Admin,    get(keys::list)),
        route("DELETE", "/api/v1/keys/{key}",              Admin,    delete(keys::revoke)),

        route("GET",    "/api/v1/proxies",                 Platform, get(proxies::list)),
        route("POST",   "/api/v1/recover",                 Admin,    post(recover::run)),

        route("GET",    "/api/mcp/tools",                  Seed,     get(seed::tools)),
        route("POST",   "/api/mcp/add",                    Seed,     post(seed::add)),
        route("GET",    "/api/mcp/list",                   Seed,     get(seed::list)),
        route("GET",    "/api/mcp/recover",                Seed,     get(seed::recover).head(seed::no_head)),
        route("POST",   "/api/mcp/recover",                Seed,     post(seed::recover)),
        route("DELETE", "/api/mcp",                        Seed,     delete(seed::remove)),
    ]
}

/// The whole of :5010 as one service.
pub(crate) type Rest = BoxCloneSyncService<Request, Response, Infallible>;

/// The column of layers, from the outside in.
pub(crate) fn rest(app: App) -> Rest {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.path, route.to);
    }
    let router = router
        .fallback(async || Problem::NoRoute)
        .method_not_allowed_fallback(async || Problem::Method)
        // Innermost: a foreign page learns nothing, not even which routes exist.
        .layer(middleware::from_fn_with_state(app.clone(), hosts::layer))
        // A fault in a handler is one request's fault.
        .layer(CatchPanicLayer::custom(panicked))
        // Outside of everything that can refuse, so that old clients can read every refusal.
        .layer(middleware::from_fn(seed::layer))
        // Outermost, so that every answer has a trace id.
        .layer(middleware::from_fn(trace::layer))
        .with_state(app);
    // Before routing: with and without a trailing slash are one route, without a redirect.
    BoxCloneSyncService::new(NormalizePath::trim_trailing_slash(router))
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    use axum::response::IntoResponse as _;
    tracing::error!("a handler panicked");
    Problem::Internal.into_response()
}
