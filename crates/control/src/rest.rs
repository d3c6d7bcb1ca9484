//! REST: the route table, one line per endpoint, as data that tests read.

mod answer;
mod arrival;
mod audit;
mod bodies;
mod body;
mod caller;
pub(crate) mod code;
mod condition;
mod connections;
mod credentials;
mod cursor;
mod deadline;
mod departments;
mod docs;
mod egress_rules;
pub(crate) mod fields;
mod grants;
pub(crate) mod health;
mod hosts;
mod idempotency;
mod import;
mod issuers;
mod json;
mod keys;
mod login;
mod me;
mod openapi;
mod parameters;
mod problem;
mod proxies;
mod recover;
mod retell;
mod seed;
mod segment;
mod servers;
mod sessions;
mod sign_in_links;
mod tenants;
mod tokens;
mod tools;
pub(crate) mod toolsets;
mod trace;
mod users;
mod vault;
mod views;
mod whose;

#[cfg(test)]
mod tests;

use std::convert::Infallible;

use axum::Router;
use axum::extract::Request;
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use tower::util::BoxCloneSyncService;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::NormalizePath;

use crate::App;
use crate::authorization;
use crate::pages;
pub(crate) use crate::rest::arrival::{Cut, is_declared, whole};
pub(crate) use crate::rest::cursor::Cursors;
pub(crate) use crate::rest::json::parse as parse_json;
use crate::rest::problem::Problem;
pub(crate) use crate::rest::problem::Title;
pub(crate) use crate::rest::segment::Segment;
pub(crate) use crate::rest::trace::{carried, trace_id};

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Anyone, without a key.
    Anyone,
    /// Every live key.
    Member,
    /// Every live key that may call in the name of users, whatever its role.
    ActAs,
    /// Users and admins of the tenant: not viewers.
    User,
    /// Viewers and admins of the tenant: not users.
    Viewer,
    /// Admins of the tenant.
    Admin,
    /// Admins of the tenant, refused with the seed's bodies.
    Seed,
    /// Platform admins.
    Platform,
}

/// What ends whatever it has become meanwhile.
const ENDED_BY_NAME: [&str; 2] = ["/api/v1/sessions/{session}", "/api/v1/grants/{grant}"];

/// One endpoint. `access` is what the handler's extractor enforces; a test compares the two.
pub(crate) struct Route {
    method: &'static str,
    path: &'static str,
    access: Access,
    to: MethodRouter<App>,
    /// Proxies are asked, which ask upstreams: only these set how long it takes.
    asks_proxies: bool,
}

impl Route {
    /// Whether a change must name the generation that it was made from.
    fn is_conditional(&self) -> bool {
        let native = self.access != Access::Seed;
        native
            && (matches!(self.method, "PATCH" | "DELETE") || (self.method == "PUT" && self.path.ends_with("/status")))
            && (self.method, self.path) != ("DELETE", "/api/v1/keys/{key}")
            && !ENDED_BY_NAME.contains(&self.path)
            && self.path != "/api/v1/servers/{server}/credentials/{field}"
    }
}

fn route(method: &'static str, path: &'static str, access: Access, to: MethodRouter<App>) -> Route {
    Route { method, path, access, to, asks_proxies: false }
}

fn asking(method: &'static str, path: &'static str, access: Access, to: MethodRouter<App>) -> Route {
    Route { asks_proxies: true, ..route(method, path, access, to) }
}

/// Every endpoint of :5010.
#[rustfmt::skip]
pub(crate) fn routes() -> Vec<Route> {
    use Access::{ActAs, Admin, Anyone, Member, Platform, Seed, User, Viewer};
    vec![
        route("GET",    "/",                                        Anyone,   get(health::page)),
        route("GET",    "/livez",                                   Anyone,   get(health::livez)),
        route("GET",    "/readyz",                                  Anyone,   get(health::readyz)),
        route("GET",    "/docs",                                    Anyone,   get(docs::page)),
        route("GET",    "/docs/{file}",                             Anyone,   get(docs::asset)),
        route("GET",    "/openapi.json",                            Anyone,   get(docs::document)),
        route("GET",    "/api/v1/openapi.json",                     Anyone,   get(docs::document_v1)),

        route("GET",    "/oauth/client-metadata.json",              Anyone,   get(login::client_metadata)),

        route("GET",    "/api/v1/me",                               Member,   get(me::show)),

        route("POST",   "/api/v1/tenants",                          Platform, post(tenants::create)),
        route("GET",    "/api/v1/tenants",                          Platform, get(tenants::list)),
        route("GET",    "/api/v1/tenants/{tenant}",                 Platform, get(tenants::show)),
        route("PATCH",  "/api/v1/tenants/{tenant}",                 Platform, patch(tenants::change)),
        route("DELETE", "/api/v1/tenants/{tenant}",                 Platform, delete(tenants::remove)),
        route("POST",   "/api/v1/tenants/{tenant}/enable",          Platform, post(tenants::enable)),
        route("POST",   "/api/v1/tenants/{tenant}/disable",         Platform, post(tenants::disable)),
        route("POST",   "/api/v1/tenants/{tenant}/restore",         Platform, post(tenants::restore)),

        route("POST",   "/api/v1/departments",                      Admin,    post(departments::create)),
        route("GET",    "/api/v1/departments",                      Viewer,   get(departments::list)),
        route("GET",    "/api/v1/departments/{department}",         Viewer,   get(departments::show)),
        route("PATCH",  "/api/v1/departments/{department}",         Admin,    patch(departments::change)),
        route("DELETE", "/api/v1/departments/{department}",         Admin,    delete(departments::remove)),
        route("POST",   "/api/v1/departments/{department}/restore", Admin,    post(departments::restore)),

        route("POST",   "/api/v1/users",                            Admin,    post(users::create)),
        route("GET",    "/api/v1/users",                            Viewer,   get(users::list)),
        route("GET",    "/api/v1/users/{user}",                     Viewer,   get(users::show)),
        route("PATCH",  "/api/v1/users/{user}",                     Admin,    patch(users::change)),
        route("DELETE", "/api/v1/users/{user}",                     Admin,    delete(users::remove)),
        route("POST",   "/api/v1/users/{user}/enable",              Admin,    post(users::enable)),
        route("POST",   "/api/v1/users/{user}/disable",             Admin,    post(users::disable)),
        route("POST",   "/api/v1/users/{user}/restore",             Admin,    post(users::restore)),

        route("POST",   "/api/v1/users/{user}/sign-in-link",        Admin,    post(sign_in_links::create)),

        route("GET",    "/api/v1/sessions",                         Member,   get(sessions::list)),
        route("DELETE", "/api/v1/sessions/{session}",               Member,   delete(sessions::end)),
        route("GET",    "/api/v1/grants",                           Member,   get(grants::list)),
        route("DELETE", "/api/v1/grants/{grant}",                   Member,   delete(grants::revoke)),

        route("POST",   "/api/v1/keys",                             Admin,    post(keys::create)),
        route("GET",    "/api/v1/keys",                             Member,   get(keys::list)),
        route("GET",    "/api/v1/keys/{key}",                       Member,   get(keys::show)),
        route("PATCH",  "/api/v1/keys/{key}",                       Admin,    patch(keys::change)),
        route("DELETE", "/api/v1/keys/{key}",                       Admin,    delete(keys::revoke)),
        route("POST",   "/api/v1/keys/{key}/rotate",                Admin,    post(keys::rotate)),

        route("POST",   "/api/v1/tokens",                           ActAs,    post(tokens::issue)),

        asking("POST",  "/api/v1/issuers",                          Admin,    post(issuers::create)),
        route("GET",    "/api/v1/issuers",                          Viewer,   get(issuers::list)),
        route("GET",    "/api/v1/issuers/{issuer}",                 Viewer,   get(issuers::show)),
        route("PATCH",  "/api/v1/issuers/{issuer}",                 Admin,    patch(issuers::change)),
        route("DELETE", "/api/v1/issuers/{issuer}",                 Admin,    delete(issuers::remove)),
        route("POST",   "/api/v1/issuers/{issuer}/enable",          Admin,    post(issuers::enable)),
        route("POST",   "/api/v1/issuers/{issuer}/disable",         Admin,    post(issuers::disable)),
        asking("POST",  "/api/v1/issuers/{issuer}/refresh",         Admin,    post(issuers::refresh)),

        asking("POST",  "/api/v1/servers",                          Admin,    post(servers::add)),
        route("GET",    "/api/v1/servers",                          Member,   get(servers::list)),
        route("GET",    "/api/v1/servers/{server}",                 Member,   get(servers::show)),
        route("PATCH",  "/api/v1/servers/{server}",                 Admin,    patch(servers::change)),
        route("DELETE", "/api/v1/servers/{server}",                 Admin,    delete(servers::remove)),
        route("POST",   "/api/v1/servers/{server}/enable",          Admin,    post(servers::enable)),
        route("POST",   "/api/v1/servers/{server}/disable",         Admin,    post(servers::disable)),
        route("POST",   "/api/v1/servers/{server}/restore",         Admin,    post(servers::restore)),
        route("GET",    "/api/v1/servers/{server}/dependencies",    Viewer,   get(servers::dependencies)),
        asking("POST",  "/api/v1/servers/{server}/test",            Admin,    post(servers::test)),
        asking("POST",  "/api/v1/servers/{server}/call",            Admin,    post(tools::call)),
        route("PUT",    "/api/v1/servers/{server}/credentials",     Admin,    put(credentials::change)),
        route("DELETE", "/api/v1/servers/{server}/credentials/{field}", Admin, delete(credentials::remove)),
        asking("GET",   "/api/v1/servers/{server}/tools",           Member,   get(tools::list)),
        asking("POST",  "/api/v1/servers/{server}/tools/refresh",   Admin,    post(tools::refresh)),
        route("POST",   "/api/v1/servers/{server}/tools/{tool}/enable",  Admin, post(tools::enable)),
        route("POST",   "/api/v1/servers/{server}/tools/{tool}/disable", Admin, post(tools::disable)),

        route("GET",    "/api/v1/servers/{server}/connections",                      User,  get(connections::list)),
        route("POST",   "/api/v1/servers/{server}/connections",                      User,  post(connections::create)),
        route("GET",    "/api/v1/servers/{server}/connections/{connection}",         User,  get(connections::show)),
        route("PATCH",  "/api/v1/servers/{server}/connections/{connection}",         User,  patch(connections::change)),
        route("DELETE", "/api/v1/servers/{server}/connections/{connection}",         User,  delete(connections::remove)),
        route("PUT",    "/api/v1/servers/{server}/connections/{connection}/status",  User,  put(connections::status)),
        asking("POST",  "/api/v1/servers/{server}/connections/{connection}/test",    User,  post(connections::test)),
        asking("POST",  "/api/v1/servers/{server}/connections/{connection}/revoke",  User,  post(connections::revoke)),
        route("POST",   "/api/v1/servers/{server}/connections/login",                User,  post(login::begin)),
        route("GET",    "/api/v1/servers/{server}/connections/login/{attempt}",      User,  get(login::show)),
        route("POST",   "/api/v1/connections/find",                                  Admin, post(connections::find_by_secret)),

        route("POST",   "/api/v1/toolsets",                         Admin,    post(toolsets::create)),
        route("GET",    "/api/v1/toolsets",                         Member,   get(toolsets::list)),
        route("GET",    "/api/v1/toolsets/{toolset}",               Member,   get(toolsets::show)),
        route("PATCH",  "/api/v1/toolsets/{toolset}",               Admin,    patch(toolsets::change)),
        route("DELETE", "/api/v1/toolsets/{toolset}",               Admin,    delete(toolsets::remove)),

        route("POST",   "/api/v1/egress-rules",                     Platform, post(egress_rules::create)),
        route("GET",    "/api/v1/egress-rules",                     Platform, get(egress_rules::list)),
        route("GET",    "/api/v1/egress-rules/{rule}",              Platform, get(egress_rules::show)),
        route("DELETE", "/api/v1/egress-rules/{rule}",              Platform, delete(egress_rules::remove)),

        route("GET",    "/api/v1/audit",                            Viewer,   get(audit::list)),
        route("GET",    "/api/v1/proxies",                          Platform, get(proxies::list)),
        route("GET",    "/api/v1/vault",                            Platform, get(vault::show)),
        route("POST",   "/api/v1/vault/rotate",                     Platform, post(vault::start)),
        asking("POST",  "/api/v1/recover",                          Admin,    post(recover::run)),
        asking("POST",  "/api/v1/import",                           Admin,    post(import::run)),

        asking("GET",   "/api/mcp/tools",                           Seed,     get(seed::tools)),
        asking("POST",  "/api/mcp/add",                             Seed,     post(seed::add)),
        asking("GET",   "/api/mcp/list",                            Seed,     get(seed::list)),
        asking("GET",   "/api/mcp/recover",                         Seed,     get(seed::recover_by_get).head(seed::no_head)),
        asking("POST",  "/api/mcp/recover",                         Seed,     post(seed::recover)),
        asking("DELETE", "/api/mcp",                                Seed,     delete(seed::remove)),
    ]
}

/// The whole of :5010 as one service.
pub(crate) type Rest = BoxCloneSyncService<Request, Response, Infallible>;

/// The column of layers, from the outside in.
pub(crate) fn rest(app: App) -> Rest {
    let mut router = Router::new();
    for route in routes() {
        let to = if route.asks_proxies { route.to } else { route.to.layer(middleware::from_fn(deadline::layer)) };
        router = router.route(route.path, to);
    }
    for page in pages::routes() {
        let to = if page.own_pace { page.to } else { page.to.layer(middleware::from_fn(deadline::layer)) };
        router = router.route(page.path, to);
    }
    for (_, path, to) in authorization::routes() {
        router = router.route(path, to.layer(middleware::from_fn(deadline::layer)));
    }
    let router = router
        .fallback(async || Problem::NoRoute)
        .method_not_allowed_fallback(async || Problem::Method)
        // Innermost: a foreign page learns nothing, not even which routes exist.
        .layer(middleware::from_fn_with_state(app.clone(), hosts::layer))
        // A fault in a handler is one request's fault.
        .layer(CatchPanicLayer::custom(panicked))
        // Outside of everything that can refuse, so that people see a page and browsers its policy.
        .layer(middleware::from_fn_with_state(app.clone(), pages::layer))
        // The same, so that old clients can read every refusal.
        .layer(middleware::from_fn(seed::layer))
        // Outermost, so that every answer has a trace id.
        .layer(middleware::from_fn_with_state(app.clone(), trace::layer))
        .with_state(app);
    // Before routing: with and without a trailing slash are one route, without a redirect.
    BoxCloneSyncService::new(NormalizePath::trim_trailing_slash(router))
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    use axum::response::IntoResponse as _;
    tracing::error!("a handler panicked");
    Problem::Internal.into_response()
}
